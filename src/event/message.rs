//! The text of one message as readers get it: whole, in a snapshot or beside its end event.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::TextKind;
use super::json::{push_number, push_string};
use super::position::Seq;

/// The text of one (part, kind) of a message, in order of first appearance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextPart {
    pub part: u16,
    pub kind: TextKind,
    pub text: String,
    /// UTF-8 bytes that are missing at the start, because the message grew over its bound.
    pub omitted: u64,
}

/// The folded text of a message that ended; it lives in the log entry of the end event.
#[derive(Debug, PartialEq, Eq)]
pub struct EndedMessage {
    pub message: Arc<str>,
    pub parts: Vec<TextPart>,
    /// `data` of its `message.started`.
    pub started: Option<Box<[u8]>>,
    /// Where in the entry's `data` the whole answer stands (without quotes), and which of `parts` it is:
    /// that part's own text is empty, so that the answer is not kept twice.
    pub whole_text: Option<(Range<u32>, usize)>,
}

impl EndedMessage {
    /// Bytes of memory beside the entry's envelope.
    pub fn cost(&self) -> usize {
        let texts: usize = self
            .parts
            .iter()
            .map(|p| size_of::<TextPart>() + p.text.len())
            .sum();
        size_of::<Self>() + texts + self.started.as_ref().map_or(0, |s| s.len())
    }

    /// Appends `"parts":[…],"started"?:…`. `data` is the end event's.
    pub fn push_members(&self, out: &mut Vec<u8>, data: &[u8]) {
        push_parts(out, &self.parts, |at| match &self.whole_text {
            Some((range, whole_at)) if *whole_at == at => {
                Some(&data[range.start as usize..range.end as usize])
            }
            _ => None,
        });
        push_started(out, self.started.as_deref());
    }
}

/// The text of one open message as of `upto`, for one reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub message: Arc<str>,
    pub parts: Vec<TextPart>,
    pub started: Option<Box<[u8]>>,
    pub source: Option<Arc<str>>,
    pub upto: Seq,
    /// Time of the message's last event.
    pub time: u64,
}

impl Snapshot {
    /// The type's name.
    pub const NAME: &'static str = "message.snapshot";

    /// Appends the envelope without its topic; a snapshot has no seq of its own.
    pub fn push_envelope(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"message.snapshot\",\"time\":");
        push_number(out, self.time);
        out.extend_from_slice(b",\"data\":{\"message_id\":");
        push_string(out, &self.message);
        out.push(b',');
        push_parts(out, &self.parts, |_| None);
        push_started(out, self.started.as_deref());
        if let Some(source) = &self.source {
            out.extend_from_slice(b",\"source\":");
            push_string(out, source);
        }
        out.extend_from_slice(b",\"upto\":");
        push_number(out, self.upto.0);
        out.extend_from_slice(b"}}");
    }
}

/// `escaped` may give a part's text as it stands in JSON, without quotes.
fn push_parts<'a>(
    out: &mut Vec<u8>,
    parts: &[TextPart],
    escaped: impl Fn(usize) -> Option<&'a [u8]>,
) {
    out.extend_from_slice(b"\"parts\":[");
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"part\":");
        push_number(out, u64::from(part.part));
        out.extend_from_slice(b",\"kind\":\"");
        out.extend_from_slice(part.kind.as_str().as_bytes());
        out.extend_from_slice(b"\",\"text\":");
        match escaped(at) {
            Some(text) => {
                out.push(b'"');
                out.extend_from_slice(text);
                out.push(b'"');
            }
            None => push_string(out, &part.text),
        }
        if part.omitted > 0 {
            out.extend_from_slice(b",\"omitted\":");
            push_number(out, part.omitted);
        }
        out.push(b'}');
    }
    out.push(b']');
}

fn push_started(out: &mut Vec<u8>, started: Option<&[u8]>) {
    if let Some(started) = started {
        out.extend_from_slice(b",\"started\":");
        out.extend_from_slice(started);
    }
}
