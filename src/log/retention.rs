//! How long a topic keeps its events.

use std::time::Duration;

/// The first bound that is reached applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub events: usize,
    /// Bytes of memory, the broker's own overhead for each event included.
    pub bytes: usize,
    pub age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            events: 10_000,
            bytes: 16 << 20,
            age: Duration::from_secs(3600),
        }
    }
}

/// Why events left the log before a reader had them; also a label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrimCause {
    Count,
    Bytes,
    Age,
    /// The bound on all logs together.
    Memory,
    /// Deltas of an ended message: no gap.
    Compaction,
}

impl TrimCause {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::Memory => "memory",
            Self::Compaction => "compaction",
        }
    }
}
