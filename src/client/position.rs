//! Where a reader stands: `EPOCH:SEQ`, or `EPOCH:SEQ~` when it lacks the beginning of open messages.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

/// Why a text is no epoch or position.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum InvalidPosition {
    /// No epoch and seq with a colon between.
    #[error("a position is EPOCH:SEQ or EPOCH:SEQ~")]
    Shape,
    /// The epoch has another form.
    #[error("an epoch is 8 to 32 of A-Z a-z 0-9 _ -")]
    Epoch,
    /// The seq is no number.
    #[error("a seq is a number from 0 without leading zeros")]
    Seq,
}

/// The identity of one life of a topic's log: 8 to 32 of `A-Za-z0-9_-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(Box<str>);

impl Epoch {
    /// As it goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Epoch {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
        if (8..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidPosition::Epoch)
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The last event a reader has; everything after it is owed. Seq 0 matches any epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The life of the topic's log.
    pub epoch: Epoch,
    /// The last event that the reader has; 0: none.
    pub seq: u64,
    /// The reader lacks the beginning of open messages: reading on is `compact`.
    pub partial: bool,
}

impl Position {
    /// As it is kept by somebody who does not keep the texts of open messages: they then come whole.
    pub fn without_text(self) -> Self {
        Self {
            partial: true,
            ..self
        }
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (whole, partial) = match text.strip_suffix('~') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (epoch, seq) = whole.split_once(':').ok_or(InvalidPosition::Shape)?;
        let digits = !seq.is_empty() && seq.bytes().all(|c| c.is_ascii_digit());
        if !digits || (seq.len() > 1 && seq.starts_with('0')) {
            return Err(InvalidPosition::Seq);
        }
        let seq = seq.parse().map_err(|_| InvalidPosition::Seq)?;
        Ok(Self {
            epoch: epoch.parse()?,
            seq,
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

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        text.parse().map_err(D::Error::custom)
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
            "ABCD_FGH:18446744073709551615~",
        ] {
            assert_eq!(
                text.parse::<Position>().map(|p| p.to_string()).as_deref(),
                Ok(text)
            );
        }
    }

    #[test]
    fn anything_else_says_what_is_wrong() {
        use InvalidPosition::{Epoch, Seq, Shape};
        let cases = [
            ("", Shape),
            ("k3v9x2ma", Shape),
            ("short:1", Epoch),
            (":1", Epoch),
            ("k3v9 2ma:1", Epoch),
            ("k3v9x2ma:", Seq),
            ("k3v9x2ma:-1", Seq),
            ("k3v9x2ma:01", Seq),
            ("k3v9x2ma:1~~", Seq),
            ("k3v9x2ma:99999999999999999999", Seq),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Position>(), Err(error), "{text}");
        }
    }
}
