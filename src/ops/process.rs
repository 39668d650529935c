//! The descriptor limit: raised at start, and how many connections it allows.

/// Descriptors kept for everything that is no connection (listener, logs, runtimes, files).
const RESERVED: u64 = 64;

/// Raises the soft limit to the hard one; answers with how many descriptors may be open.
pub fn raise_descriptor_limit() -> u64 {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "the descriptor limit could not be raised");
            rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(1024, |(soft, _)| soft)
        }
    }
}

/// Connections that fit under a descriptor limit.
pub fn connections_under(descriptors: u64) -> usize {
    let connections = descriptors.saturating_sub(RESERVED).max(16);
    usize::try_from(connections)
        .unwrap_or(usize::MAX)
        .min(1_000_000)
}
