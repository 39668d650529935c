//! Structured logs on standard error: events with fields, no payloads, no secrets.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Libraries that tell at level info what only their authors want to know. A filter that names them is heeded.
const TALKATIVE: [&str; 2] = ["fjall", "lsm_tree"];

/// Starts logging for the whole process; a second call changes nothing.
pub fn start(log: &Log) {
    let mut filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    for library in TALKATIVE {
        if !log.level.contains(library)
            && let Ok(quiet) = format!("{library}=warn").parse()
        {
            filter = filter.add_directive(quiet);
        }
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_target(false);
    let started = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started before");
    }
}
