//! Where a reader stands: seq, epoch, and the position string `EPOCH:SEQ` or `EPOCH:SEQ~`.

use std::fmt;
use std::sync::Arc;

/// An event's number in its topic: 1, 2, 3 … without holes. 0 is "before the first".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    pub const ZERO: Seq = Seq(0);

    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }

    /// The one before; 0 stays 0.
    pub fn prev(self) -> Seq {
        Seq(self.0.saturating_sub(1))
    }

    pub fn plus(self, n: u64) -> Seq {
        Seq(self.0 + n)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of one life of a topic's log: 8 to 32 of `A-Za-z0-9_-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// The epoch that a topic which does not exist answers with; never a log's.
    pub const NONE: &'static str = "00000000";

    pub fn none() -> Self {
        Self(Self::NONE.into())
    }

    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
        let valid = (8..=32).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The last event that a reader has. `partial`: it lacks the beginning of open messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub epoch: Epoch,
    pub seq: Seq,
    pub partial: bool,
}

impl Position {
    pub fn parse(text: &str) -> Option<Self> {
        let (text, partial) = match text.strip_suffix('~') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (epoch, seq) = text.split_once(':')?;
        let digits = !seq.is_empty() && seq.len() <= 19 && seq.bytes().all(|c| c.is_ascii_digit());
        if !digits || (seq.len() > 1 && seq.starts_with('0')) {
            return None;
        }
        Some(Self {
            epoch: Epoch::parse(epoch)?,
            seq: Seq(seq.parse().ok()?),
            partial,
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tilde = if self.partial { "~" } else { "" };
        write!(f, "{}:{}{tilde}", self.epoch, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_as_it_was_written() {
        for text in [
            "00000000:0",
            "k3v9x2ma-1f:17",
            "k3v9x2ma-1f:17~",
            "ABCDEFGH:9223372036854775807",
        ] {
            assert_eq!(
                Position::parse(text).map(|p| p.to_string()).as_deref(),
                Some(text)
            );
        }
    }

    #[test]
    fn anything_else_is_no_position() {
        for bad in [
            "",
            ":",
            "short:1",
            "k3v9x2ma:",
            "k3v9x2ma:-1",
            "k3v9x2ma:1~~",
            "k3v9x2ma:01",
            "k3v9x2ma 1",
        ] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
        assert_eq!(Position::parse("k3v9x2ma:99999999999999999999"), None);
        assert_eq!(Position::parse("k3v9x2ma\n:1"), None);
    }
}
