//! Merges: consecutive deltas of one message, kind, part and source as one event.

use std::sync::Arc;

use super::read::Item;
use crate::event::{Content, Entry, TextKind};

/// Text bytes that a merge may gather.
pub const MAX_MERGED_TEXT: usize = 64 << 10;

pub fn text_len(entry: &Entry) -> usize {
    match &entry.content {
        Content::Delta { text, .. } => (text.end - text.start) as usize,
        _ => 0,
    }
}

type MergeKey<'a> = (&'a Arc<str>, TextKind, u16, Option<&'a Arc<str>>);

/// Who a delta can be merged with, `None` where it cannot.
fn merge_key(entry: &Entry) -> Option<MergeKey<'_>> {
    match &entry.content {
        Content::Delta {
            message,
            kind,
            part,
            mergeable: true,
            ..
        } => Some((message, *kind, *part, entry.source.as_ref())),
        _ => None,
    }
}

/// Whether `entry` goes on where `last` ends.
pub fn can_join(last: &Item, entry: &Entry) -> bool {
    let last = match last {
        Item::Event(last) => last,
        Item::Merged(entries) => entries.last().expect("a merge has entries"),
        Item::Compact(_) | Item::Snapshot(_) => return false,
    };
    let key = merge_key(entry);
    last.seq.next() == entry.seq && key.is_some() && merge_key(last) == key
}

/// Joins what `can_join`.
pub fn join(last: &mut Item, entry: &Arc<Entry>) {
    match last {
        Item::Event(first) => *last = Item::Merged(vec![first.clone(), entry.clone()]),
        Item::Merged(entries) => entries.push(entry.clone()),
        Item::Compact(_) | Item::Snapshot(_) => {}
    }
}
