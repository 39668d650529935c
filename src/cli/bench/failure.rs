//! Why a bench could not be run, or ended before its time. Each says what to do.

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::cli::target::{REFUSED, USAGE};

#[derive(Debug, Error)]
pub enum Failure {
    /// Nobody answers there.
    #[error("cannot reach {address}: {error}; is it running, and is --url right?")]
    Unreachable { address: String, error: String },
    /// The broker said no.
    #[error("{who} refused {what}: {problem}{}", hint(*.status, .problem))]
    Refused {
        who: &'static str,
        what: &'static str,
        /// Of HTTP, or 0.
        status: u16,
        problem: String,
    },
    /// Something else answers there.
    #[error("what answers at {address} is not {wanted}: {said}; is --url (or --against) right?")]
    NotThePeer {
        address: String,
        wanted: &'static str,
        said: String,
    },
    /// It ended a connection.
    #[error("{what} was closed by the other side: {reason} ({code})")]
    Closed {
        what: &'static str,
        code: u16,
        reason: String,
    },
    /// The line ended without a word.
    #[error("{what} was cut: {why}; did the broker die?")]
    Cut { what: &'static str, why: String },
    /// It lives, but does not answer.
    #[error("{1} for {0:?}; is the broker stopped, or far beyond its load?")]
    Silent(Duration, &'static str),
    /// The command asks for what the broker or this computer does not allow.
    #[error("{0}")]
    Asked(String),
    /// This computer.
    #[error("{0}")]
    Here(#[from] io::Error),
}

impl Failure {
    pub fn code(&self) -> u8 {
        match self {
            Self::Asked(_) => USAGE,
            _ => REFUSED,
        }
    }

    pub fn cut(what: &'static str, error: &io::Error) -> Self {
        Self::Cut {
            what,
            why: error.to_string(),
        }
    }
}

/// What to do, by the status or by the code that stands in the problem.
fn hint(status: u16, problem: &str) -> &'static str {
    let says = |code: &str| problem.ends_with(&format!("({code})"));
    match status {
        401 => "; give a valid token with --token or TIDEWIRE_TOKEN",
        _ if says("unauthenticated") => "; give a valid token with --token or TIDEWIRE_TOKEN",
        403 => "; use a token that may subscribe and publish below --prefix",
        _ if says("forbidden") => "; use a token that may subscribe and publish below --prefix",
        429 => "; ask for less (--rate, --readers, --topics), or raise the broker's limit",
        _ if says("rate_limited") => "; ask for less (--rate), or raise the broker's limit",
        503 => "; it stops, is full, or cannot store: try again later",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let refused = Failure::Refused {
            who: "the broker",
            what: "a reader",
            status: 401,
            problem: "no token came (unauthenticated)".into(),
        };
        assert_eq!(
            refused.to_string(),
            "the broker refused a reader: no token came (unauthenticated); give a valid token with --token or TIDEWIRE_TOKEN"
        );
    }
}
