//! What can be wrong with a configuration, said so that it can be mended: what, where, the fix.

use std::fmt;

use thiserror::Error;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table of settings.
    Default,
    /// A line of the file, counted from 1.
    File { path: String, line: usize },
    /// An environment variable, by name.
    Variable(String),
    /// A flag, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong; its text is one line, [`Problem::fix`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path} (from {named_by}): {reason}")]
    Unreadable {
        path: String,
        named_by: Origin,
        reason: String,
    },
    /// The file with API keys cannot be read.
    #[error("cannot read the keys file {path} (from auth.keys_file): {reason}")]
    UnreadableKeys { path: String, reason: String },
    /// The file is not TOML at that place.
    #[error("{origin}: {what}")]
    Syntax { origin: Origin, what: String },
    /// A key, table or variable that does not exist.
    #[error("{origin}: unknown {what} `{name}`")]
    Unknown {
        origin: Origin,
        what: &'static str,
        name: String,
        fix: String,
    },
    /// A value that its key does not take.
    #[error("{origin}: `{key}` = {value}: {what}")]
    BadValue {
        origin: Origin,
        key: String,
        value: String,
        what: String,
        fix: String,
    },
    /// A table without a key that it needs.
    #[error("{origin}: [{table}] has no {key}")]
    Missing {
        origin: Origin,
        table: String,
        key: String,
        fix: String,
    },
    /// Values that are good alone and not together. `what` names each key with its origin.
    #[error("{what}")]
    Contradiction {
        keys: Vec<String>,
        what: String,
        fix: String,
    },
}

impl Problem {
    /// What to do about it.
    pub fn fix(&self) -> &str {
        match self {
            Self::Unreadable { .. } => {
                "name a file that exists and can be read, or leave --config and TIDEWIRE_CONFIG out"
            }
            Self::UnreadableKeys { .. } => {
                "make the file (an empty one is good), let the broker read it, or name another one \
                 in auth.keys_file"
            }
            Self::Syntax { .. } => "write valid TOML: `key = value` lines under [table] headers",
            Self::Unknown { fix, .. }
            | Self::BadValue { fix, .. }
            | Self::Missing { fix, .. }
            | Self::Contradiction { fix, .. } => fix,
        }
    }
}

/// Every problem of one configuration: those of the file in the order of its lines, then those of
/// variables, of flags, and contradictions. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        debug_assert!(!problems.is_empty());
        Self { problems }
    }

    /// What is wrong.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}\n  fix: {}", problem.fix())?;
        }
        Ok(())
    }
}

/// `text` on one line and of bounded length, for showing what somebody wrote: it may hold line
/// breaks and terminal controls.
pub fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let mut shown: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MOST)
        .collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}
