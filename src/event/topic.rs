//! Topic paths: `/namespace/segment…`.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Segments a topic path may have, the namespace included.
pub const MAX_SEGMENTS: usize = 8;
/// Bytes (all ASCII) a segment may have.
pub const MAX_SEGMENT_BYTES: usize = 128;

/// A valid topic path. Cheap to clone: the text is shared.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPath(Arc<str>);

/// Why a text is not a topic path.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum InvalidTopic {
    #[error("a topic starts with `/`, as in `/chat/42`")]
    NoSlash,
    #[error("a topic has 1 to 8 segments")]
    Segments,
    #[error("a segment of a topic has 1 to 128 characters: no empty one, no `/` at the end")]
    SegmentLength,
    #[error("a segment of a topic is made of `A-Z a-z 0-9 . _ : ~ -`")]
    Character,
    #[error("a segment of a topic is never `.` or `..`")]
    Dots,
}

impl TopicPath {
    /// Checks `text` and takes a copy of it.
    pub fn parse(text: &str) -> Result<Self, InvalidTopic> {
        let rest = text.strip_prefix('/').ok_or(InvalidTopic::NoSlash)?;
        for (n, segment) in rest.as_bytes().split(|c| *c == b'/').enumerate() {
            if n == MAX_SEGMENTS {
                return Err(InvalidTopic::Segments);
            }
            check_segment(segment)?;
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first segment, which carries the configuration.
    pub fn namespace(&self) -> &str {
        let rest = &self.0[1..];
        rest.split_once('/').map_or(rest, |(first, _)| first)
    }
}

/// Checks one segment of a path or pattern (or a namespace's name).
pub fn check_segment(segment: impl AsRef<[u8]>) -> Result<(), InvalidTopic> {
    let segment = segment.as_ref();
    if segment.is_empty() || segment.len() > MAX_SEGMENT_BYTES {
        return Err(InvalidTopic::SegmentLength);
    }
    let allowed = |c: &u8| matches!(c, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b':' | b'~' | b'-');
    if !segment.iter().all(allowed) {
        return Err(InvalidTopic::Character);
    }
    if matches!(segment, b"." | b"..") {
        return Err(InvalidTopic::Dots);
    }
    Ok(())
}

impl Borrow<str> for TopicPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_protocol_allows() {
        for ok in ["/a", "/chat/42", "/a/b/c/d/e/f/g/h", "/A.z_0:~-/..."] {
            assert_eq!(
                TopicPath::parse(ok).map(|t| t.to_string()),
                Ok(ok.to_string())
            );
        }
        assert_eq!(
            TopicPath::parse("/chat/42").map(|t| t.namespace().to_string()),
            Ok("chat".into())
        );
        assert_eq!(
            TopicPath::parse("/chat").map(|t| t.namespace().to_string()),
            Ok("chat".into())
        );
    }

    #[test]
    fn refuses_everything_else() {
        let long = format!("/{}", "a".repeat(129));
        for (bad, why) in [
            ("", InvalidTopic::NoSlash),
            ("chat/42", InvalidTopic::NoSlash),
            ("/", InvalidTopic::SegmentLength),
            ("/chat/", InvalidTopic::SegmentLength),
            ("//chat", InvalidTopic::SegmentLength),
            (long.as_str(), InvalidTopic::SegmentLength),
            ("/a/b/c/d/e/f/g/h/i", InvalidTopic::Segments),
            ("/chat/ü", InvalidTopic::Character),
            ("/chat/a b", InvalidTopic::Character),
            ("/chat/a%2fb", InvalidTopic::Character),
            ("/chat/a\r\nid: 1", InvalidTopic::Character),
            ("/chat/*", InvalidTopic::Character),
            ("/chat/..", InvalidTopic::Dots),
            ("/./chat", InvalidTopic::Dots),
        ] {
            assert_eq!(TopicPath::parse(bad), Err(why), "{bad}");
        }
    }
}
