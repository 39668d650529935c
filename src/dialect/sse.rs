//! Server-sent events. Only validated names, JSON on one line and our own positions reach a field, so
//! nothing a publisher sends can begin a line of its own.
//!
//! `id:` is a cut point wherever it stands: a reader that saw the block may resume there.

use std::rc::Rc;

use bytes::Bytes;

use super::Encoded;
use super::native_json::push_item;
use crate::event::json::{push_number, push_string};
use crate::event::{Entry, Epoch, Position, Snapshot, TopicPath};
use crate::log::read::ResetReason;
use crate::log::{Attach, Batch, Gap, Item, ReadState};

/// One block without its `id:` line and without the empty line that ends it.
#[derive(Debug, Clone)]
pub struct Block {
    pub text: Bytes,
    /// Where the reader stands after it; `None`: no cut point.
    pub cut: Option<ReadState>,
}

/// The blocks of a batch; of a single topic with its position as `id:`.
pub fn batch(
    topic: &TopicPath,
    epoch: &Epoch,
    batch: &Batch,
    named: bool,
    single: bool,
) -> Encoded {
    let cuts = cuts(batch);
    if single {
        let mut out = Vec::with_capacity(256 * batch.items.len());
        for (item, cut) in batch.items.iter().zip(cuts) {
            push_block(&mut out, topic, item, named);
            if let Some(cut) = cut {
                push_position_id(&mut out, epoch, cut);
            }
            out.push(b'\n');
        }
        return Encoded::Shared(out.into());
    }
    let block = |(item, cut): (&Item, Option<ReadState>)| {
        let mut out = Vec::with_capacity(256);
        push_block(&mut out, topic, item, named);
        Block {
            text: out.into(),
            cut,
        }
    };
    Encoded::Blocks(
        batch
            .items
            .iter()
            .zip(cuts)
            .map(block)
            .collect::<Rc<[Block]>>(),
    )
}

/// Every block is a cut point but a topic's snapshots before the last of them. What the reader reaches
/// with the last block is where the batch ends; before it the position of each event, partial in a
/// compact reading.
fn cuts(batch: &Batch) -> Vec<Option<ReadState>> {
    let last = batch.items.len().saturating_sub(1);
    let cut = |(at, item): (usize, &Item)| {
        let seq = match item {
            _ if at == last => return Some(batch.to),
            Item::Event(entry) | Item::Compact(entry) => entry.seq,
            Item::Merged(entries) => entries[entries.len() - 1].seq,
            Item::Snapshot(_) => return None,
        };
        Some(ReadState {
            seq,
            partial: batch.compact,
        })
    };
    batch.items.iter().enumerate().map(cut).collect()
}

fn push_block(out: &mut Vec<u8>, topic: &TopicPath, item: &Item, named: bool) {
    let (name, multiline) = match item {
        Item::Event(entry) | Item::Compact(entry) => (entry.name(), multiline(item, entry)),
        Item::Merged(_) => ("token.delta", false),
        Item::Snapshot(snapshot) => (Snapshot::NAME, snapshot.started.is_some()),
    };
    if named {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: {\"topic\":\"");
    out.extend_from_slice(topic.as_str().as_bytes());
    out.push(b'"');
    let envelope = out.len();
    push_item(out, item);
    // the envelope goes on where the topic ended
    out[envelope] = b',';
    if multiline {
        spaces_for_line_breaks(&mut out[envelope..]);
    }
    out.push(b'\n');
}

fn multiline(item: &Item, entry: &Entry) -> bool {
    // `started` beside an end event came from elsewhere
    entry.multiline() || matches!(item, Item::Compact(_))
}

/// CR and LF stand in JSON only as white space between tokens.
fn spaces_for_line_breaks(json: &mut [u8]) {
    for byte in json {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
}

fn push_position_id(out: &mut Vec<u8>, epoch: &Epoch, state: ReadState) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(epoch.as_str().as_bytes());
    out.push(b':');
    push_number(out, state.seq.0);
    if state.partial {
        out.push(b'~');
    }
    out.push(b'\n');
}

/// The broker's own blocks, without `tidewire.`; `schema/sse/blocks.json` has a definition for each.
pub const OWN_BLOCKS: [&str; 6] = ["ready", "gap", "reset", "position", "draining", "expired"];

/// A block of the broker's own, `tidewire.NAME`, without `id:` and the empty line.
fn own_block(name: &str, named: bool, members: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(160);
    if named {
        out.extend_from_slice(b"event: tidewire.");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: {\"type\":\"tidewire.");
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
    members(&mut out);
    out.extend_from_slice(b"}\n");
    out.into()
}

pub fn gap(topic: &TopicPath, gap: Gap, named: bool) -> Bytes {
    own_block("gap", named, |out| {
        push_topic(out, topic);
        out.extend_from_slice(format!(",\"from\":{},\"to\":{}", gap.from, gap.to).as_bytes());
        out.extend_from_slice(format!(",\"reason\":\"{}\"", gap.reason.as_str()).as_bytes());
    })
}

pub fn reset(topic: &TopicPath, epoch: &Epoch, reason: ResetReason, named: bool) -> Bytes {
    own_block("reset", named, |out| {
        push_topic(out, topic);
        out.extend_from_slice(
            format!(",\"epoch\":\"{epoch}\",\"reason\":\"{}\"", reason.as_str()).as_bytes(),
        );
    })
}

/// Tells a position that moved without an event.
pub fn position(topic: &TopicPath, position: &Position, named: bool) -> Bytes {
    own_block("position", named, |out| {
        push_topic(out, topic);
        out.extend_from_slice(format!(",\"position\":\"{position}\"").as_bytes());
    })
}

pub fn draining(reconnect_after_ms: u64, named: bool) -> Bytes {
    own_block("draining", named, |out| {
        out.extend_from_slice(format!(",\"reconnect_after_ms\":{reconnect_after_ms}").as_bytes());
    })
}

/// The reader's rights have ended; the stream does too.
pub fn expired(reason: &str, named: bool) -> Bytes {
    own_block("expired", named, |out| {
        out.extend_from_slice(b",\"reason\":");
        push_string(out, reason);
    })
}

/// The first block: where the reading of each topic begins.
pub fn ready<'a>(topics: impl Iterator<Item = (&'a TopicPath, &'a Attach)>, named: bool) -> Bytes {
    own_block("ready", named, |out| {
        out.extend_from_slice(b",\"topics\":[");
        for (at, (topic, attach)) in topics.enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"topic\":");
            push_string(out, topic.as_str());
            out.extend_from_slice(
                format!(",\"epoch\":\"{}\",\"position\":", attach.epoch).as_bytes(),
            );
            match attach.position() {
                Some(position) => out.extend_from_slice(format!("\"{position}\"").as_bytes()),
                None => out.extend_from_slice(b"null"),
            }
            out.extend_from_slice(
                format!(",\"head\":{},\"resumed\":{}}}", attach.head, attach.resumed).as_bytes(),
            );
        }
        out.push(b']');
    })
}

fn push_topic(out: &mut Vec<u8>, topic: &TopicPath) {
    out.extend_from_slice(b",\"topic\":");
    push_string(out, topic.as_str());
}

/// Ends a block, with its `id:` line where it has one.
pub fn push_end(out: &mut Vec<u8>, id: Option<&str>) {
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// Keeps proxies and dead-peer detection awake.
pub const COMMENT: &[u8] = b":\n\n";

/// A block of the broker's own without an `id:`.
pub fn whole_block(text: &Bytes) -> Bytes {
    let mut out = text.to_vec();
    push_end(&mut out, None);
    out.into()
}
