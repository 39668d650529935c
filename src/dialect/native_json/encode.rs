//! What the server says. Everything is a whole WebSocket text frame.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::broker::command::CommandId;
use crate::broker::problem::{Code, Details, Problem};
use crate::dialect::ws_frame::text_frame;
use crate::event::json::{push_number, push_string};
use crate::event::{Content, Entry, Epoch, Seq, TopicPath};
use crate::log::read::ResetReason;
use crate::log::{Appended, Attach, Batch, Gap, Item};

/// Every op of the broker; `schema/frames/server.json` has a definition for each.
pub const OPS: [&str; 14] = [
    "welcome",
    "subscribed",
    "unsubscribed",
    "events",
    "gap",
    "reset",
    "published",
    "attached",
    "control",
    "demand",
    "refreshed",
    "draining",
    "error",
    "pong",
];

fn object(capacity: usize, op: &str, id: &CommandId, members: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    text_frame(capacity, |out| {
        out.extend_from_slice(b"{\"op\":\"");
        out.extend_from_slice(op.as_bytes());
        out.push(b'"');
        if let Some(id) = id {
            out.extend_from_slice(b",\"id\":");
            out.extend_from_slice(id.as_bytes());
        }
        members(out);
        out.push(b'}');
    })
}

/// A member's name, which needs no escapes, behind what stands there.
fn push_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn member_text(out: &mut Vec<u8>, name: &str, value: &str) {
    push_name(out, name);
    push_string(out, value);
}

fn member_number(out: &mut Vec<u8>, name: &str, value: u64) {
    push_name(out, name);
    push_number(out, value);
}

fn member_bool(out: &mut Vec<u8>, name: &str, value: bool) {
    push_name(out, name);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// The first frame of a connection.
#[derive(Debug, Clone, Serialize)]
pub struct Welcome<'a> {
    pub session: String,
    pub environment: &'a str,
    pub limits: Limits,
    pub ping_ms: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Limits {
    pub max_frame_bytes: usize,
    pub max_event_bytes: usize,
    pub max_batch_events: usize,
    pub max_subscriptions: usize,
    pub window_events: usize,
    pub window_bytes: usize,
}

/// An object of its own after `"op":…,"id":…`.
fn with_struct(op: &str, id: &CommandId, body: &impl Serialize) -> Bytes {
    object(256, op, id, |out| {
        let body = serde_json::to_vec(body).expect("a plain struct can always be written");
        if body.len() > 2 {
            out.push(b',');
            out.extend_from_slice(&body[1..body.len() - 1]);
        }
    })
}

pub fn welcome(welcome: &Welcome<'_>) -> Bytes {
    with_struct("welcome", &None, welcome)
}

pub fn pong() -> Bytes {
    object(16, "pong", &None, |_| {})
}

/// `expires_at`: Unix milliseconds.
pub fn refreshed(id: &CommandId, expires_at: Option<u64>) -> Bytes {
    object(64, "refreshed", id, |out| match expires_at {
        Some(expires_at) => member_number(out, "expires_at", expires_at),
        None => out.extend_from_slice(b",\"expires_at\":null"),
    })
}

pub fn attached(id: &CommandId, epoch: u64) -> Bytes {
    object(64, "attached", id, |out| member_number(out, "epoch", epoch))
}

/// How many readers a topic has.
pub fn demand(topic: &TopicPath, readers: usize) -> Bytes {
    object(96, "demand", &None, |out| {
        member_text(out, "topic", topic.as_str());
        member_number(out, "readers", readers as u64);
    })
}

/// What clients said to the topic's agents. It moves no position.
pub fn control(topic: &TopicPath, epoch: &Epoch, entries: &[Arc<Entry>]) -> Bytes {
    let size: usize = entries.iter().map(|entry| entry.envelope().len() + 1).sum();
    object(size + 128, "control", &None, |out| {
        member_text(out, "topic", topic.as_str());
        member_text(out, "epoch", epoch.as_str());
        out.extend_from_slice(b",\"events\":[");
        for (at, entry) in entries.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(entry.envelope());
        }
        out.push(b']');
    })
}

pub fn draining(reconnect_after_ms: u64) -> Bytes {
    object(64, "draining", &None, |out| {
        member_number(out, "reconnect_after_ms", reconnect_after_ms)
    })
}

pub fn error(id: &CommandId, problem: &Problem) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        code: Code,
        message: &'a str,
        #[serde(flatten)]
        details: &'a Details,
    }
    with_struct(
        "error",
        id,
        &Body {
            code: problem.code,
            message: &problem.message,
            details: &problem.details,
        },
    )
}

pub fn subscribed(id: &CommandId, topic: &TopicPath, attach: &Attach) -> Bytes {
    object(192, "subscribed", id, |out| {
        member_text(out, "topic", topic.as_str());
        member_text(out, "epoch", attach.epoch.as_str());
        member_number(out, "head", attach.head.0);
        match attach.position() {
            Some(position) => member_text(out, "position", &position.to_string()),
            None => out.extend_from_slice(b",\"position\":null"),
        }
        member_bool(out, "resumed", attach.resumed);
    })
}

pub fn subscribed_pattern(id: &CommandId, pattern: &str) -> Bytes {
    object(64, "subscribed", id, |out| {
        member_text(out, "pattern", pattern)
    })
}

/// `why`: the server's own decision.
pub fn unsubscribed(id: &CommandId, topic: &str, why: Option<(&str, &str)>) -> Bytes {
    object(96, "unsubscribed", id, |out| {
        member_text(out, "topic", topic);
        if let Some((code, reason)) = why {
            member_text(out, "code", code);
            member_text(out, "reason", reason);
        }
    })
}

pub fn unsubscribed_pattern(id: &CommandId, pattern: &str, why: Option<(&str, &str)>) -> Bytes {
    object(64, "unsubscribed", id, |out| {
        member_text(out, "pattern", pattern);
        if let Some((code, reason)) = why {
            member_text(out, "code", code);
            member_text(out, "reason", reason);
        }
    })
}

pub fn published(id: &CommandId, appended: &Appended) -> Bytes {
    object(96, "published", id, |out| push_appended(out, appended))
}

fn push_appended(out: &mut Vec<u8>, appended: &Appended) {
    member_text(out, "epoch", appended.epoch.as_str());
    match appended.range {
        Some((first, last)) => {
            member_number(out, "first_seq", first.0);
            member_number(out, "last_seq", last.0);
        }
        None => out.extend_from_slice(b",\"first_seq\":null,\"last_seq\":null"),
    }
    member_bool(out, "duplicate", appended.duplicate);
}

pub fn gap(topic: &TopicPath, gap: Gap) -> Bytes {
    object(96, "gap", &None, |out| {
        member_text(out, "topic", topic.as_str());
        member_number(out, "from", gap.from.0);
        member_number(out, "to", gap.to.0);
        member_text(out, "reason", gap.reason.as_str());
    })
}

pub fn reset(topic: &TopicPath, epoch: &Epoch, reason: ResetReason) -> Bytes {
    object(96, "reset", &None, |out| {
        member_text(out, "topic", topic.as_str());
        member_text(out, "epoch", epoch.as_str());
        member_text(out, "reason", reason.as_str());
    })
}

/// `after`: where the reader was told that it stands.
pub fn events(topic: &TopicPath, epoch: &Epoch, after: Seq, batch: &Batch) -> Bytes {
    let size: usize = batch.items.iter().map(size_hint).sum();
    object(size + 128 + topic.as_str().len(), "events", &None, |out| {
        member_text(out, "topic", topic.as_str());
        member_text(out, "epoch", epoch.as_str());
        member_number(out, "after", after.0);
        member_number(out, "upto", batch.to.seq.0);
        if batch.to.partial {
            out.extend_from_slice(b",\"partial\":true");
        }
        out.extend_from_slice(b",\"events\":[");
        for (at, item) in batch.items.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_item(out, item);
        }
        out.push(b']');
    })
}

fn size_hint(item: &Item) -> usize {
    match item {
        Item::Event(entry) => entry.envelope().len() + 1,
        Item::Compact(entry) => entry.cost() + 64,
        Item::Merged(entries) => {
            let texts: usize = entries.iter().map(|entry| delta_text(entry).len()).sum();
            entries[0].envelope().len() + texts + 64
        }
        Item::Snapshot(snapshot) => {
            snapshot
                .parts
                .iter()
                .map(|part| part.text.len() + 64)
                .sum::<usize>()
                + 256
        }
    }
}

/// Appends an item's envelope without its topic.
pub fn push_item(out: &mut Vec<u8>, item: &Item) {
    match item {
        Item::Event(entry) => out.extend_from_slice(entry.envelope()),
        Item::Compact(entry) => push_compact(out, entry),
        Item::Merged(entries) => push_merged(out, entries),
        Item::Snapshot(snapshot) => snapshot.push_envelope(out),
    }
}

/// An end event with `parts` and `started` in the envelope, beside `data`.
fn push_compact(out: &mut Vec<u8>, entry: &Entry) {
    let envelope = entry.envelope();
    match &entry.content {
        Content::Ended { ended } => {
            out.extend_from_slice(&envelope[..envelope.len() - 1]);
            out.push(b',');
            ended.push_members(out, entry.data());
            out.push(b'}');
        }
        _ => out.extend_from_slice(envelope),
    }
}

fn delta_text(entry: &Entry) -> &[u8] {
    match &entry.content {
        Content::Delta { text, .. } => entry.part(text),
        _ => &[],
    }
}

/// `first_seq` and `seq`, and the last one's `time`; the texts are joined as they stand, escapes and all.
fn push_merged(out: &mut Vec<u8>, entries: &[Arc<Entry>]) {
    let (first, last) = (&entries[0], &entries[entries.len() - 1]);
    let Content::Delta {
        message,
        kind,
        part,
        ..
    } = &first.content
    else {
        return;
    };
    out.extend_from_slice(b"{\"first_seq\":");
    push_number(out, first.seq.0);
    out.extend_from_slice(b",\"seq\":");
    push_number(out, last.seq.0);
    out.extend_from_slice(b",\"type\":\"token.delta\",\"time\":");
    push_number(out, last.time);
    if let Some(source) = &first.source {
        member_text(out, "source", source);
    }
    out.extend_from_slice(b",\"data\":{\"message_id\":");
    push_string(out, message);
    out.extend_from_slice(b",\"text\":\"");
    for entry in entries {
        out.extend_from_slice(delta_text(entry));
    }
    out.push(b'"');
    if kind.as_str() != "text" {
        member_text(out, "kind", kind.as_str());
    }
    if *part != 0 {
        member_number(out, "part", u64::from(*part));
    }
    out.extend_from_slice(b"}}");
}
