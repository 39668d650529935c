//! An event to be published, and how many bytes it takes on the wire.
//!
//! Deltas stay text until they are sent, so that those that wait can be joined and long ones divided;
//! everything else is JSON from the start.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::wire::TextKind;

/// Bytes a delta takes beside its text and message id, generously.
const DELTA_OVERHEAD: usize = 112;
/// Bytes any other event takes beside its `data`, type and id, generously.
const EVENT_OVERHEAD: usize = 32;

/// An event to publish.
#[derive(Clone, Debug)]
pub enum NewEvent {
    /// `token.delta`: more text of a message.
    Delta(Delta),
    /// `message.started`.
    Started {
        /// Which message begins.
        message_id: String,
        /// `message_id` and what else is said of it.
        data: Box<RawValue>,
    },
    /// `message.completed` or `message.interrupted`.
    Ended(Ended),
    /// Of any other type.
    Other {
        /// The type, such as `navigation.requested`.
        name: String,
        /// The publisher's own; at most the broker's `max_event_bytes`.
        data: Box<RawValue>,
        /// With an id the broker recognises a repetition.
        id: Option<String>,
    },
}

/// More text of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Which message.
    pub message_id: String,
    /// Which part of it; 0 unless it has several.
    pub part: u16,
    /// Which kind of text.
    pub kind: TextKind,
    /// What is appended.
    pub text: String,
    /// Bytes of `text` as JSON, without quotes.
    encoded: usize,
}

/// A message's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which message.
    pub message_id: String,
    /// `message.completed`; otherwise `message.interrupted`.
    pub completed: bool,
    /// `message_id`, `finish_reason`, `usage`, `reason`, …
    pub data: Map<String, Value>,
}

impl NewEvent {
    /// More text of a message, in its part 0.
    pub fn delta(message_id: impl Into<String>, kind: TextKind, text: impl Into<String>) -> Self {
        Self::Delta(Delta::new(message_id.into(), 0, kind, text.into()))
    }

    /// `message.started`; `members` beside the id: `role`, `agent`, `parent_id`, `metadata`.
    pub fn started(message_id: impl Into<String>, members: Value) -> Self {
        let message_id = message_id.into();
        let data = Value::Object(with_message_id(&message_id, members));
        Self::Started {
            message_id,
            data: raw(&data),
        }
    }

    /// `message.completed`; `members` beside the id: `text`, `finish_reason`, `usage`.
    pub fn completed(message_id: impl Into<String>, members: Value) -> Self {
        let message_id = message_id.into();
        let data = with_message_id(&message_id, members);
        Self::Ended(Ended {
            message_id,
            completed: true,
            data,
        })
    }

    /// `message.interrupted`.
    pub fn interrupted(message_id: impl Into<String>, reason: &str) -> Self {
        let message_id = message_id.into();
        let data = with_message_id(&message_id, serde_json::json!({ "reason": reason }));
        Self::Ended(Ended {
            message_id,
            completed: false,
            data,
        })
    }

    /// `message.interrupted` with a text for people.
    pub fn interrupted_because(message_id: impl Into<String>, reason: &str, message: &str) -> Self {
        let message_id = message_id.into();
        let members = serde_json::json!({ "reason": reason, "message": message });
        let data = with_message_id(&message_id, members);
        Self::Ended(Ended {
            message_id,
            completed: false,
            data,
        })
    }

    /// An event of any type that is not about a message's text.
    pub fn other(name: impl Into<String>, data: &impl Serialize) -> Self {
        Self::Other {
            name: name.into(),
            data: raw(data),
            id: None,
        }
    }

    /// Bytes on the wire: exact for the text of deltas, an upper bound for the rest.
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Delta(delta) => DELTA_OVERHEAD + json_len(&delta.message_id) + delta.encoded,
            Self::Started { data, .. } => EVENT_OVERHEAD + 16 + data.get().len(),
            Self::Ended(ended) => {
                EVENT_OVERHEAD + 24 + Value::from(ended.data.clone()).to_string().len()
            }
            Self::Other { name, data, id } => {
                EVENT_OVERHEAD
                    + name.len()
                    + data.get().len()
                    + id.as_ref().map_or(0, |id| 8 + json_len(id))
            }
        }
    }

    /// Appends the event as it goes over the wire.
    pub fn write_json(&self, out: &mut String) {
        // writing to a String cannot fail
        let _ = match self {
            Self::Delta(Delta {
                message_id,
                part,
                kind,
                text,
                ..
            }) => {
                let (id, text) = (Value::from(message_id.as_str()), Value::from(text.as_str()));
                let _ = write!(
                    out,
                    r#"{{"type":"token.delta","data":{{"message_id":{id},"text":{text}"#
                );
                match kind {
                    TextKind::Text => {}
                    TextKind::Reasoning => out.push_str(r#","kind":"reasoning""#),
                    TextKind::ToolInput => out.push_str(r#","kind":"tool_input""#),
                }
                if *part != 0 {
                    let _ = write!(out, r#","part":{part}"#);
                }
                out.write_str("}}")
            }
            Self::Started { data, .. } => {
                write!(out, r#"{{"type":"message.started","data":{data}}}"#)
            }
            Self::Ended(Ended {
                completed, data, ..
            }) => {
                let name = if *completed {
                    "message.completed"
                } else {
                    "message.interrupted"
                };
                write!(
                    out,
                    r#"{{"type":"{name}","data":{}}}"#,
                    Value::from(data.clone())
                )
            }
            Self::Other {
                name,
                data,
                id: None,
            } => {
                write!(
                    out,
                    r#"{{"type":{},"data":{data}}}"#,
                    Value::from(name.as_str())
                )
            }
            Self::Other {
                name,
                data,
                id: Some(id),
            } => {
                let (name, id) = (Value::from(name.as_str()), Value::from(id.as_str()));
                write!(out, r#"{{"type":{name},"id":{id},"data":{data}}}"#)
            }
        };
    }

    /// Divides a delta whose text takes more than `max` bytes of JSON; anything else stays whole.
    pub fn divided(self, max: usize) -> Vec<Self> {
        match self {
            Self::Delta(delta) if delta.encoded > max => {
                delta.divided(max).into_iter().map(Self::Delta).collect()
            }
            whole => vec![whole],
        }
    }
}

impl Delta {
    /// More text of a part.
    pub fn new(message_id: String, part: u16, kind: TextKind, text: String) -> Self {
        let encoded = json_len(&text);
        Self {
            message_id,
            part,
            kind,
            text,
            encoded,
        }
    }

    /// Takes `next` in, if it continues this one and both take at most `max` bytes of JSON.
    pub fn join(&mut self, next: &Self, max: usize) -> bool {
        let same =
            self.kind == next.kind && self.part == next.part && self.message_id == next.message_id;
        if !same || self.encoded + next.encoded > max {
            return false;
        }
        self.text.push_str(&next.text);
        self.encoded += next.encoded;
        true
    }

    /// Bytes its text takes as JSON.
    pub fn text_bytes(&self) -> usize {
        self.encoded
    }

    fn divided(self, max: usize) -> Vec<Self> {
        let piece = |text: String| Self::new(self.message_id.clone(), self.part, self.kind, text);
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut encoded = 0;
        for c in self.text.chars() {
            let takes = char_json_len(c);
            if encoded + takes > max && !text.is_empty() {
                pieces.push(piece(std::mem::take(&mut text)));
                encoded = 0;
            }
            text.push(c);
            encoded += takes;
        }
        pieces.push(piece(text));
        pieces
    }
}

fn with_message_id(message_id: &str, members: Value) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("message_id".into(), message_id.into());
    if let Value::Object(members) = members {
        data.extend(members);
    }
    data
}

/// What cannot be JSON (a map with keys that are no texts) is a programming error of the caller.
fn raw(data: &impl Serialize) -> Box<RawValue> {
    to_raw_value(data).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Bytes of a text as serde_json writes it, without quotes.
fn json_len(text: &str) -> usize {
    text.chars().map(char_json_len).sum()
}

fn char_json_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn json_of(event: &NewEvent) -> Value {
        let mut out = String::new();
        event.write_json(&mut out);
        assert!(
            out.len() <= event.encoded_len(),
            "{} > {}",
            out.len(),
            event.encoded_len()
        );
        serde_json::from_str(&out).expect("valid JSON")
    }

    #[test]
    fn events_as_the_wire_wants_them() {
        let delta = NewEvent::Delta(Delta::new(
            "m\"1".into(),
            3,
            TextKind::ToolInput,
            "{\"a\":\u{1}".into(),
        ));
        let expected =
            json!({"message_id": "m\"1", "text": "{\"a\":\u{1}", "kind": "tool_input", "part": 3});
        assert_eq!(
            json_of(&delta),
            json!({"type": "token.delta", "data": expected})
        );
        let started = NewEvent::started("m", json!({"role": "assistant"}));
        assert_eq!(
            json_of(&started),
            json!({"type": "message.started", "data": {"message_id": "m", "role": "assistant"}})
        );
        let ended = NewEvent::interrupted("m", "cancelled");
        assert_eq!(
            json_of(&ended),
            json!({"type": "message.interrupted", "data": {"message_id": "m", "reason": "cancelled"}})
        );
        let completed = NewEvent::completed("m", Value::Null);
        assert_eq!(
            json_of(&completed),
            json!({"type": "message.completed", "data": {"message_id": "m"}})
        );
        let other = NewEvent::other("tool.started", &json!({"call_id": "c"}));
        assert_eq!(
            json_of(&other),
            json!({"type": "tool.started", "data": {"call_id": "c"}})
        );
    }

    #[test]
    fn only_what_continues_is_joined() {
        let delta =
            |id: &str, part, kind, text: &str| Delta::new(id.into(), part, kind, text.into());
        let mut first = delta("m", 0, TextKind::Text, "ab");
        assert!(first.join(&delta("m", 0, TextKind::Text, "cd"), 5));
        assert!(!first.join(&delta("m", 0, TextKind::Text, "ef"), 5));
        assert!(!first.join(&delta("n", 0, TextKind::Text, "e"), 99));
        assert!(!first.join(&delta("m", 1, TextKind::Text, "e"), 99));
        assert!(!first.join(&delta("m", 0, TextKind::Reasoning, "e"), 99));
        assert_eq!(first.text, "abcd");
    }

    proptest! {
        #[test]
        fn a_divided_delta_is_the_same_text_in_pieces_that_fit(text in "[\\x00-\\x7f\u{e9}\u{1f30a}]{0,60}", max in 6usize..20) {
            let pieces = NewEvent::delta("m", TextKind::Text, text.clone()).divided(max);
            let mut joined = String::new();
            for piece in &pieces {
                let NewEvent::Delta(delta) = piece else { panic!("not a delta") };
                prop_assert!(json_len(&delta.text) <= max);
                prop_assert_eq!(Value::from(delta.text.as_str()).to_string().len(), json_len(&delta.text) + 2);
                joined.push_str(&delta.text);
            }
            prop_assert_eq!(joined, text);
        }
    }
}
