//! The cursor of a reader of several topics: one position per topic as one opaque string.
//!
//! Text form: `1.` and then groups `PREFIX!` followed by entries `HASH` `SEQ` `_REST`? `~`?`.`; an epoch is cut at
//! its last `-`, and topics whose epochs share the part before it stand in one group, so that 100 topics of
//! one store stay far under 4 KiB. A topic is named by 48 bits of its FNV-1a hash: a reader only ever
//! compares it with the topics it asks for itself.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::position::{Epoch, Position, Seq};

/// Bytes a cursor may have, ours and a client's.
pub const MAX_CURSOR_BYTES: usize = 4096;
/// Characters of the name of a topic inside a cursor.
pub const HASH_CHARS: usize = 8;

/// A parsed cursor: positions by the hash of their topic.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    entries: Vec<([u8; HASH_CHARS], Position)>,
}

/// The name of a topic inside a cursor.
pub fn topic_hash(topic: &str) -> [u8; HASH_CHARS] {
    let hash = topic.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut out = [0; HASH_CHARS];
    URL_SAFE_NO_PAD
        .encode_slice(&hash.to_be_bytes()[2..], &mut out)
        .expect("six bytes are eight characters");
    out
}

impl Cursor {
    /// `None`: not a cursor of ours.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_CURSOR_BYTES || !text.is_ascii() {
            return None;
        }
        let mut cursor = Self::default();
        let mut prefix = None;
        let mut rest = text.strip_prefix("1.")?;
        while !rest.is_empty() {
            let (token, after) = rest.split_once(['.', '!'])?;
            let is_prefix = rest.as_bytes()[token.len()] == b'!';
            rest = after;
            if is_prefix {
                prefix = Some(token);
            } else {
                cursor.entries.push(parse_entry(token, prefix?)?);
            }
        }
        Some(cursor)
    }

    /// What the cursor says of `topic`.
    pub fn position_of(&self, topic: &str) -> Option<&Position> {
        let hash = topic_hash(topic);
        self.entries
            .iter()
            .find(|(name, _)| *name == hash)
            .map(|(_, position)| position)
    }
}

fn parse_entry(token: &str, prefix: &str) -> Option<([u8; HASH_CHARS], Position)> {
    let hash = token.get(..HASH_CHARS)?;
    let rest = token.get(HASH_CHARS..)?;
    let (rest, partial) = match rest.strip_suffix('~') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let (seq, epoch) = match rest.split_once('_') {
        Some((seq, counter)) => (seq, format!("{prefix}-{counter}")),
        None => (rest, prefix.to_owned()),
    };
    let digits = !seq.is_empty() && seq.len() <= 19 && seq.bytes().all(|c| c.is_ascii_digit());
    let seq = Seq(digits.then(|| seq.parse().ok())??);
    let epoch = Epoch::parse(&epoch)?;
    Some((
        hash.as_bytes().try_into().ok()?,
        Position {
            epoch,
            seq,
            partial,
        },
    ))
}

/// Writes the cursor of a reader; topics are given by their hashes.
pub fn write<'a>(
    out: &mut String,
    entries: impl Iterator<Item = ([u8; HASH_CHARS], &'a Epoch, Seq, bool)>,
) {
    out.push_str("1.");
    let mut group = None;
    for (hash, epoch, seq, partial) in entries {
        let (prefix, counter) = match epoch.as_str().rsplit_once('-') {
            Some((prefix, counter)) => (prefix, Some(counter)),
            None => (epoch.as_str(), None),
        };
        if group != Some(prefix) {
            group = Some(prefix);
            out.push_str(prefix);
            out.push('!');
        }
        out.push_str(std::str::from_utf8(&hash).expect("base64 is ASCII"));
        write!(out, "{seq}").expect("writing to a String cannot fail");
        if let Some(counter) = counter {
            out.push('_');
            out.push_str(counter);
        }
        if partial {
            out.push('~');
        }
        out.push('.');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> Position {
        Position::parse(text).expect("a position")
    }

    fn written(entries: &[(String, Position)]) -> String {
        let mut out = String::new();
        write(
            &mut out,
            entries
                .iter()
                .map(|(t, p)| (topic_hash(t), &p.epoch, p.seq, p.partial)),
        );
        out
    }

    #[test]
    fn a_cursor_reads_back_as_it_was_written() {
        let entries: Vec<_> = [
            ("/chat/1", "k3v9x2ma-1f:17"),
            ("/chat/2", "k3v9x2ma-1g:0~"),
            ("/new", "00000000:0"),
            ("/odd", "a-_b-c_d-e_f:99~"),
        ]
        .map(|(t, p)| (t.to_owned(), position(p)))
        .to_vec();
        let cursor = Cursor::parse(&written(&entries)).expect("a cursor");
        for (topic, position) in &entries {
            assert_eq!(cursor.position_of(topic), Some(position));
        }
        assert_eq!(cursor.position_of("/chat/3"), None);
    }

    #[test]
    fn a_hundred_topics_fit() {
        let entries: Vec<_> = (0..100)
            .map(|i| {
                (
                    format!("/chat/{i}"),
                    position(&format!("k3v9x2maqq-zzzzz{i}:{}~", u64::MAX / 1_000_000)),
                )
            })
            .collect();
        let text = written(&entries);
        assert!(text.len() <= MAX_CURSOR_BYTES, "{}", text.len());
        assert!(Cursor::parse(&text).is_some());
    }

    #[test]
    fn garbage_is_no_cursor() {
        for bad in [
            "",
            "1",
            "2.",
            "1.x",
            "1.abcdefgh1.",
            "1.pre!short.",
            "1.k3v9x2ma!abcdefgh.",
            "k3v9x2ma-1f:17",
            "1.ü.",
        ] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
        assert_eq!(Cursor::parse(&"1".repeat(5000)), None);
        assert_eq!(Cursor::parse("1."), Some(Cursor::default()));
    }
}
