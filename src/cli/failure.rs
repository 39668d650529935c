//! Why a command that needs no broker does not do what it was asked.

use std::fmt;
use std::process::ExitCode;

use super::target::{REFUSED, USAGE, say};

#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The command was given wrongly.
    Usage(String),
    /// What it was to work with cannot be used.
    Refused(String),
}

impl Failure {
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }

    pub fn refused(message: impl fmt::Display) -> Self {
        Self::Refused(message.to_string())
    }

    /// Says it.
    pub fn exit(&self, command: &str) -> ExitCode {
        say(command, self);
        ExitCode::from(match self {
            Self::Usage(_) => USAGE,
            Self::Refused(_) => REFUSED,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(message) | Self::Refused(message)) = self;
        f.write_str(message)
    }
}

/// A duration of the command line, such as `90d`.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    crate::config::units::parse_duration(text).map_err(|error| error.to_string())
}
