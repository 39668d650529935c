//! How a connection ended, and whether coming back can help.

use std::time::Duration;

use awc::http::StatusCode;
use thiserror::Error;

use super::wire::Problem;

/// Why a connection could not be opened, or is no more.
#[derive(Debug, Error)]
pub enum Ending {
    /// Nobody answers there.
    #[error("cannot reach the broker at {0}")]
    Unreachable(String),
    /// The handshake was answered with that status.
    #[error("{who} ({0}){hint}", who = who_refused(*.0), hint = hint(*.0))]
    Refused(StatusCode),
    /// What answers is no broker: a wrong address, or a network's log-in page.
    #[error("that address does not speak Tidewire: {0}")]
    NotTidewire(String),
    /// The broker closed the connection.
    #[error("the broker closed the connection: {} ({code})", if .reason.is_empty() { meaning(*.code) } else { .reason })]
    Closed {
        /// docs/protocol.md, section 14; 1005: none was given.
        code: u16,
        /// What the broker says of it.
        reason: String,
    },
    /// The line ended without a close frame.
    #[error("the connection was cut: {0}")]
    Cut(String),
    /// Nothing was heard for that long.
    #[error("the broker has been silent for {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// A frame that contradicts what both sides know; the connection is dropped and read anew.
    #[error("the broker said something unexpected: {0}")]
    Disagreement(String),
    /// An error frame that belongs to the whole connection.
    #[error("{0}")]
    Problem(Box<Problem>),
}

/// What an ending comes to; the same kinds in every client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndingKind {
    /// Nobody answers at that address.
    Unreachable,
    /// The broker does not take the connection now.
    Busy,
    /// The line ended without a word.
    Cut,
    /// The broker ended the connection for a reason that passes.
    Closed,
    /// The broker was not heard for too long.
    Silent,
    /// A frame contradicted what both sides know: it is read anew.
    Disagreement,
    /// Final: the token is missing, wrong, or has ended.
    Unauthenticated,
    /// Final: the token does not allow this.
    Forbidden,
    /// Final: a newer run of the same producer took over.
    Replaced,
    /// Final: what this client said was refused.
    Protocol,
    /// Final: the broker speaks another version of the protocol.
    Version,
    /// Final: whatever answers there is no broker.
    NotTidewire,
}

impl EndingKind {
    /// Whether the same attempt may succeed later.
    pub fn may_come_back(self) -> bool {
        match self {
            Self::Unreachable
            | Self::Busy
            | Self::Cut
            | Self::Closed
            | Self::Silent
            | Self::Disagreement => true,
            Self::Unauthenticated
            | Self::Forbidden
            | Self::Replaced
            | Self::Protocol
            | Self::Version
            | Self::NotTidewire => false,
        }
    }

    /// As the other clients and the recorded conversations call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Cut => "cut",
            Self::Closed => "closed",
            Self::Silent => "silent",
            Self::Disagreement => "disagreement",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Replaced => "replaced",
            Self::Protocol => "protocol",
            Self::Version => "version",
            Self::NotTidewire => "not_tidewire",
        }
    }
}

impl Ending {
    /// What it comes to. Close codes: docs/protocol.md, section 14.
    pub fn kind(&self) -> EndingKind {
        match self {
            Self::Unreachable(_) => EndingKind::Unreachable,
            Self::Cut(_) => EndingKind::Cut,
            Self::Silent(_) => EndingKind::Silent,
            Self::Disagreement(_) => EndingKind::Disagreement,
            Self::NotTidewire(_) => EndingKind::NotTidewire,
            Self::Refused(status) => refused(*status),
            Self::Closed { code, .. } => closed(*code),
            Self::Problem(problem) if problem.passes() => EndingKind::Busy,
            Self::Problem(problem) if problem.fences() => EndingKind::Replaced,
            Self::Problem(problem) => match problem.code.as_str() {
                "unauthenticated" => EndingKind::Unauthenticated,
                "forbidden" => EndingKind::Forbidden,
                _ => EndingKind::Protocol,
            },
        }
    }

    /// Whether the same attempt may succeed later.
    pub fn may_come_back(&self) -> bool {
        self.kind().may_come_back()
    }

    /// A newer run of the same producer took over.
    pub fn is_replaced(&self) -> bool {
        self.kind() == EndingKind::Replaced
    }
}

/// A handshake that was answered with that status.
fn refused(status: StatusCode) -> EndingKind {
    match status {
        StatusCode::BAD_REQUEST => EndingKind::Version,
        StatusCode::UNAUTHORIZED => EndingKind::Unauthenticated,
        StatusCode::FORBIDDEN => EndingKind::Forbidden,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => EndingKind::Busy,
        status if status.is_server_error() => EndingKind::Busy,
        _ => EndingKind::NotTidewire,
    }
}

fn closed(code: u16) -> EndingKind {
    match code {
        // 1005: without a code (RFC 6455 §7.1.5); 1006: without a close frame
        1005 | 1006 => EndingKind::Cut,
        4400 | 4413 => EndingKind::Protocol,
        4401 => EndingKind::Unauthenticated,
        4403 => EndingKind::Forbidden,
        4409 => EndingKind::Replaced,
        _ => EndingKind::Closed,
    }
}

fn who_refused(status: StatusCode) -> &'static str {
    match refused(status) {
        EndingKind::NotTidewire => "that address does not answer as a Tidewire broker",
        _ => "the broker refused the connection",
    }
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => {
            ": it does not speak tidewire.v1.json; update this program to one that speaks its version"
        }
        StatusCode::UNAUTHORIZED => ": give a valid token with --token or TIDEWIRE_TOKEN",
        StatusCode::FORBIDDEN => ": this token may not connect here",
        StatusCode::UPGRADE_REQUIRED => {
            ": something on the way takes the upgrade out; let the proxy pass `Upgrade` and `Connection`"
        }
        status if refused(status) == EndingKind::NotTidewire => {
            ": is it the right one, and does the network want a log-in first?"
        }
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
