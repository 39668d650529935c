//! How a connection ended, and whether coming back can help.

use std::time::Duration;

use awc::http::StatusCode;
use thiserror::Error;

use super::wire::Problem;

/// Why a connection could not be opened, or is no more.
#[derive(Debug, Error)]
pub enum Ending {
    #[error("cannot reach the broker at {0}")]
    Unreachable(String),
    #[error("the broker refused the connection ({0}){hint}", hint = hint(*.0))]
    Refused(StatusCode),
    #[error("that address does not speak Tidewire: {0}")]
    NotTidewire(String),
    #[error("the broker closed the connection: {} ({code})", if .reason.is_empty() { meaning(*.code) } else { .reason })]
    Closed { code: u16, reason: String },
    #[error("the connection was cut: {0}")]
    Cut(String),
    #[error("the broker has been silent for {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// A frame that contradicts what both sides know; the connection is dropped and read anew.
    #[error("the broker said something unexpected: {0}")]
    Disagreement(String),
    /// An error frame that belongs to the whole connection.
    #[error("{0}")]
    Problem(Box<Problem>),
}

impl Ending {
    /// Whether the same attempt may succeed later. Close codes: docs/protocol.md, section 6.
    pub fn may_come_back(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Cut(_) | Self::Silent(_) | Self::Disagreement(_) => true,
            Self::Refused(status) => {
                *status == StatusCode::TOO_MANY_REQUESTS
                    || *status == StatusCode::REQUEST_TIMEOUT
                    || status.is_server_error()
            }
            Self::NotTidewire(_) => false,
            Self::Closed { code, .. } => !matches!(code, 4400 | 4401 | 4403 | 4409 | 4413),
            Self::Problem(problem) => problem.passes(),
        }
    }

    /// A newer run of the same producer took over.
    pub fn is_replaced(&self) -> bool {
        match self {
            Self::Closed { code, .. } => *code == REPLACED,
            Self::Problem(problem) => problem.fences(),
            _ => false,
        }
    }
}

/// The close code of a connection whose producer attached anew elsewhere.
const REPLACED: u16 = 4409;

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => ": give a valid token with --token or TIDEWIRE_TOKEN",
        StatusCode::FORBIDDEN => ": this token may not connect here",
        StatusCode::NOT_FOUND => ": is this the address of a Tidewire broker?",
        _ => "",
    }
}

fn meaning(code: u16) -> &'static str {
    match code {
        1000 | 1001 => "it said good-bye",
        4400 => "not its protocol",
        4401 => "not authenticated",
        4403 => "not allowed",
        4408 => "idle or stalled",
        4409 => "replaced by a newer producer",
        4413 => "too large",
        4429 => "too much",
        4500 => "its fault",
        4503 => "it is draining",
        _ => "without a reason",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16) -> Ending {
        Ending::Closed {
            code,
            reason: String::new(),
        }
    }

    #[test]
    fn close_codes_say_who_comes_back() {
        for code in [1000, 1001, 1006, 1011, 4408, 4429, 4500, 4503] {
            assert!(closed(code).may_come_back(), "{code}");
        }
        for code in [4400, 4401, 4403, 4409, 4413] {
            assert!(!closed(code).may_come_back(), "{code}");
        }
    }

    #[test]
    fn a_refused_handshake_is_final_unless_the_broker_is_busy() {
        assert!(!Ending::Refused(StatusCode::UNAUTHORIZED).may_come_back());
        assert!(!Ending::Refused(StatusCode::NOT_FOUND).may_come_back());
        assert!(Ending::Refused(StatusCode::SERVICE_UNAVAILABLE).may_come_back());
        assert!(Ending::Refused(StatusCode::TOO_MANY_REQUESTS).may_come_back());
    }

    #[test]
    fn replaced_is_told_apart() {
        assert!(closed(4409).is_replaced());
        assert!(!closed(4401).is_replaced());
        let fenced = Problem {
            code: "producer_fenced".into(),
            ..Problem::default()
        };
        assert!(Ending::Problem(Box::new(fenced)).is_replaced());
    }

    #[test]
    fn an_ending_reads_like_a_sentence() {
        assert_eq!(
            closed(4503).to_string(),
            "the broker closed the connection: it is draining (4503)"
        );
        let reason = Ending::Closed {
            code: 4401,
            reason: "the token has expired".into(),
        };
        assert_eq!(
            reason.to_string(),
            "the broker closed the connection: the token has expired (4401)"
        );
    }
}
