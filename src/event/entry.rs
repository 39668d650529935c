//! One kept event: its envelope, encoded once, and what the broker must know of it without decoding.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::incoming::NewEvent;
use super::json::{push_number, push_string};
use super::message::EndedMessage;
use super::position::Seq;
use super::room::{room, room_of_shared};

/// What kind of text a delta carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TextKind {
    Text,
    Reasoning,
    ToolInput,
}

impl TextKind {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "reasoning" => Some(Self::Reasoning),
            "tool_input" => Some(Self::ToolInput),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Reasoning => "reasoning",
            Self::ToolInput => "tool_input",
        }
    }
}

/// What an entry means to folds, merges and compact reading.
#[derive(Debug)]
pub enum Content {
    Plain,
    /// `run.*`; the message it is about, if it names one.
    Control {
        message: Option<Arc<str>>,
    },
    Started {
        message: Arc<str>,
    },
    Delta {
        message: Arc<str>,
        kind: TextKind,
        part: u16,
        /// Where in the envelope the escaped text stands.
        text: Range<u32>,
        /// Has neither an `id` nor keys beyond the built-in ones.
        mergeable: bool,
    },
    Ended {
        ended: Arc<EndedMessage>,
    },
}

/// An immutable entry of a topic's log. Owns exactly its bytes.
pub struct Entry {
    pub seq: Seq,
    /// Unix milliseconds by the broker's clock.
    pub time: u64,
    pub source: Option<Arc<str>>,
    pub content: Content,
    /// `{"seq":…,"type":…,"id"?,"time":…,"source"?,"data":…}`: everything but the topic.
    envelope: Box<[u8]>,
    name: Range<u32>,
    data: Range<u32>,
    multiline: bool,
}

/// What an entry holds beside its envelope: the struct, its counters, its place in the log.
const ENTRY_OVERHEAD: usize = size_of::<Entry>() + 3 * size_of::<usize>();
/// The memory that takes.
const ENTRY_ROOM: usize = room_of_shared::<Entry>() + size_of::<usize>();

impl Entry {
    /// Encodes the envelope. `content` is built from where `data` begins in it.
    pub fn new(
        event: &NewEvent,
        seq: Seq,
        time: u64,
        source: Option<Arc<str>>,
        content: impl FnOnce(u32) -> Content,
    ) -> Self {
        let mut out = Vec::with_capacity(envelope_length(event, seq, time, source.as_deref()));
        out.extend_from_slice(b"{\"seq\":");
        push_number(&mut out, seq.0);
        out.extend_from_slice(b",\"type\":\"");
        let name_at = out.len() as u32;
        out.extend_from_slice(event.name.as_bytes());
        out.push(b'"');
        if let Some(id) = &event.id {
            out.extend_from_slice(b",\"id\":");
            push_string(&mut out, id);
        }
        out.extend_from_slice(b",\"time\":");
        push_number(&mut out, time);
        if let Some(source) = &source {
            out.extend_from_slice(b",\"source\":");
            push_string(&mut out, source);
        }
        out.extend_from_slice(b",\"data\":");
        let data_at = out.len() as u32;
        out.extend_from_slice(&event.data);
        let data_end = out.len() as u32;
        out.push(b'}');
        Self {
            seq,
            time,
            source,
            content: content(data_at),
            envelope: out.into_boxed_slice(),
            name: name_at..name_at + event.name.len() as u32,
            data: data_at..data_end,
            multiline: event.multiline,
        }
    }

    /// The type's name.
    pub fn name(&self) -> &str {
        std::str::from_utf8(self.part(&self.name)).expect("a type is ASCII")
    }

    /// The envelope as JSON, without the topic.
    pub fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    /// `data` as it came.
    pub fn data(&self) -> &[u8] {
        self.part(&self.data)
    }

    /// The envelope up to and with `"data":`.
    pub fn head(&self) -> &[u8] {
        &self.envelope[..self.data.start as usize]
    }

    /// CR or LF may stand in the envelope (SSE must not see them).
    pub fn multiline(&self) -> bool {
        self.multiline
    }

    /// A range of the envelope, such as a delta's escaped text.
    pub fn part(&self, range: &Range<u32>) -> &[u8] {
        &self.envelope[range.start as usize..range.end as usize]
    }

    /// Bytes that this entry holds, the text of an ended message included.
    pub fn cost(&self) -> usize {
        ENTRY_OVERHEAD + self.envelope.len() + self.ended_cost()
    }

    /// Bytes of memory that this takes.
    pub fn room(&self) -> usize {
        ENTRY_ROOM + room(self.envelope.len()) + self.ended_cost()
    }

    fn ended_cost(&self) -> usize {
        match &self.content {
            Content::Ended { ended } => ended.cost(),
            _ => 0,
        }
    }
}

/// Exact, unless the id or the source has to be escaped.
fn envelope_length(event: &NewEvent, seq: Seq, time: u64, source: Option<&str>) -> usize {
    let digits = |number: u64| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let member = |key: &str, text: Option<&str>| text.map_or(0, |text| key.len() + text.len());
    r#"{"seq":,"type":"","time":,"data":}"#.len()
        + digits(seq.0)
        + digits(time)
        + event.name.len()
        + event.data.len()
        + member(r#","id":"""#, event.id.as_deref())
        + member(r#","source":"""#, source)
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.envelope))
    }
}
