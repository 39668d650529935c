//! A bookmark as bytes, for the engine: MessagePack. The engine adds a checksum where it needs one.

use serde::{Deserialize, Serialize};

use super::{Bookmark, BookmarkKey, MAX_LABEL_BYTES};
use crate::event::{Epoch, Position, Seq, TopicPath};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Value<'a> {
    version: u8,
    /// When it was saved, Unix milliseconds.
    saved: u64,
    complete: bool,
    #[serde(borrow)]
    positions: Vec<KnownPosition<'a>>,
}

/// Topic, epoch, seq, and whether it lacks the beginning of open messages.
type KnownPosition<'a> = (&'a str, &'a str, u64, bool);

pub fn key_bytes(key: &BookmarkKey) -> Vec<u8> {
    let parts = (&*key.principal, &*key.label, &*key.channel);
    rmp_serde::to_vec(&parts).expect("texts can always be written")
}

/// `None`: they are not what `key_bytes` gives.
pub fn key_of(bytes: &[u8]) -> Option<BookmarkKey> {
    let (principal, label, channel): (&str, &str, &str) = rmp_serde::from_slice(bytes).ok()?;
    let key = BookmarkKey {
        principal: principal.into(),
        label: label.into(),
        channel: channel.into(),
    };
    let is_ours = label.len() <= MAX_LABEL_BYTES && key_bytes(&key) == bytes;
    is_ours.then_some(key)
}

pub fn value_bytes(bookmark: &Bookmark, saved: u64) -> Vec<u8> {
    let value = Value {
        version: VERSION,
        saved,
        complete: bookmark.complete,
        positions: bookmark.positions.iter().map(known).collect(),
    };
    rmp_serde::to_vec(&value).expect("plain structs can always be written")
}

fn known((topic, position): &(TopicPath, Position)) -> KnownPosition<'_> {
    let Position {
        epoch,
        seq,
        partial,
    } = position;
    (topic.as_str(), epoch.as_str(), seq.0, *partial)
}

/// The bookmark, and when it was saved.
pub fn value_of(bytes: &[u8]) -> Option<(Bookmark, u64)> {
    let value: Value<'_> = rmp_serde::from_slice(bytes).ok()?;
    if value.version != VERSION {
        return None;
    }
    let known = |(topic, epoch, seq, partial): KnownPosition<'_>| {
        let position = Position {
            epoch: Epoch::parse(epoch)?,
            seq: Seq(seq),
            partial,
        };
        Some((TopicPath::parse(topic).ok()?, position))
    };
    let positions: Option<Vec<_>> = value.positions.into_iter().map(known).collect();
    let bookmark = Bookmark {
        positions: positions?,
        complete: value.complete,
    };
    Some((bookmark, value.saved))
}
