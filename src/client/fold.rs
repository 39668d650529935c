//! A reader's view of a topic: the text of its messages, folded from what it reads (docs/protocol.md 3, 4).
//!
//! Invariants:
//! - a snapshot, or an end event with `parts`, replaces what was held but for the beginning it omits;
//! - a message held open over a `gap` that got no snapshot by the time the position is whole again
//!   is `Lost`: it ended where nobody can read it;
//! - a `reset` forgets everything.
//!
//! Bounds: open messages are bounded by the broker (1,024 a topic); of ended ones the last
//! `ENDED_KEPT` are held.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::parts::Parts;
use super::position::Position;
use super::wire::{Event, PartText, TextKind};

/// Ended messages that are held.
pub const ENDED_KEPT: usize = 256;

/// How far a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// Its agent is writing.
    Open,
    /// It is whole.
    Completed,
    /// It ended early.
    Interrupted {
        /// `cancelled`, `error`, `agent_lost`, `replaced`, …
        reason: String,
    },
    /// It ended in a gap.
    Lost,
}

/// One message as far as it was read.
#[derive(Clone, Debug)]
pub struct Message {
    /// Unique in the topic while it is open.
    pub id: String,
    /// How far it is.
    pub state: MessageState,
    /// The agent that writes it, if the broker knows.
    pub source: Option<String>,
    /// The `data` of `message.started`, if it was seen.
    pub started: Option<Box<RawValue>>,
    /// The `data` of its end event: `finish_reason`, `usage`, …
    pub end: Option<Box<RawValue>>,
    /// Its text by part and kind, in order of first appearance.
    pub parts: Parts,
    /// Held open over a gap, and not yet settled by a snapshot.
    unsettled: bool,
}

impl Message {
    /// The answer: its parts of kind `text`.
    pub fn text(&self) -> String {
        self.parts.text_of(TextKind::Text)
    }
}

/// What an event did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A delta was appended to (part, kind).
    Grew {
        /// Which message.
        message_id: String,
        /// Which part of it.
        part: u16,
        /// Which kind of text.
        kind: TextKind,
    },
    /// Text may have changed anywhere, or the state did.
    /// More than an append: read the message anew.
    Replaced {
        /// Which message.
        message_id: String,
    },
}

impl Change {
    /// The message that changed.
    pub fn message_id(&self) -> &str {
        match self {
            Self::Grew { message_id, .. } | Self::Replaced { message_id } => message_id,
        }
    }
}

/// The messages of one topic, in order of first appearance.
#[derive(Debug, Default)]
pub struct Fold {
    messages: VecDeque<Message>,
}

#[derive(Deserialize)]
struct About {
    message_id: String,
}

#[derive(Deserialize)]
struct Delta {
    message_id: String,
    text: String,
    #[serde(default)]
    kind: TextKind,
    #[serde(default)]
    part: u16,
}

#[derive(Deserialize)]
struct Ended {
    message_id: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Snapshot {
    message_id: String,
    parts: Vec<PartText>,
    #[serde(default)]
    started: Option<Box<RawValue>>,
    #[serde(default)]
    source: Option<String>,
}

impl Fold {
    /// All that are held, in order of appearance.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.messages.iter()
    }

    /// The latest message of that id.
    pub fn get(&self, id: &str) -> Option<&Message> {
        self.messages.iter().rev().find(|message| message.id == id)
    }

    /// Applies one event. None: it is not about a message's text, or it cannot be understood.
    pub fn apply(&mut self, event: &Event) -> Option<Change> {
        match event.name() {
            "token.delta" => self.delta(event),
            "message.started" => self.started(event),
            "message.completed" | "message.interrupted" => self.ended(event),
            "message.snapshot" => self.snapshot(event),
            _ => None,
        }
    }

    /// Some of the log is gone: what is held open now must be settled by a snapshot.
    pub fn gap(&mut self) {
        for message in self
            .messages
            .iter_mut()
            .filter(|message| message.state == MessageState::Open)
        {
            message.unsettled = true;
        }
    }

    /// Forgets all of it.
    pub fn reset(&mut self) {
        self.messages.clear();
    }

    /// After everything up to `position` was applied: which messages turned out to be lost.
    pub fn at(&mut self, position: &Position) -> Vec<String> {
        if position.partial {
            return Vec::new();
        }
        let mut lost = Vec::new();
        for message in self.messages.iter_mut().filter(|message| message.unsettled) {
            message.unsettled = false;
            message.state = MessageState::Lost;
            lost.push(message.id.clone());
        }
        lost
    }

    fn delta(&mut self, event: &Event) -> Option<Change> {
        let delta: Delta = serde_json::from_str(event.data()).ok()?;
        let message = self.open(&delta.message_id, event.source());
        message.parts.append(delta.part, delta.kind, &delta.text);
        Some(Change::Grew {
            message_id: delta.message_id,
            part: delta.part,
            kind: delta.kind,
        })
    }

    fn started(&mut self, event: &Event) -> Option<Change> {
        let about: About = serde_json::from_str(event.data()).ok()?;
        let message = self.open(&about.message_id, event.source());
        message.started = serde_json::from_str(event.data()).ok();
        Some(Change::Replaced {
            message_id: about.message_id,
        })
    }

    fn ended(&mut self, event: &Event) -> Option<Change> {
        let ended: Ended = serde_json::from_str(event.data()).ok()?;
        let message = self.open(&ended.message_id, event.source());
        if let Some(parts) = event.parts() {
            message.parts = message.parts.replaced_by(parts);
        }
        if let Some(started) = event.started() {
            message.started = Some(started.to_owned());
        }
        message.unsettled = false;
        message.end = serde_json::from_str(event.data()).ok();
        if event.name() == "message.completed" {
            if let Some(text) = &ended.text {
                message.parts.complete_with(text);
            }
            message.state = MessageState::Completed;
        } else {
            message.state = MessageState::Interrupted {
                reason: ended.reason.unwrap_or_default(),
            };
        }
        self.drop_the_oldest_ended();
        Some(Change::Replaced {
            message_id: ended.message_id,
        })
    }

    fn snapshot(&mut self, event: &Event) -> Option<Change> {
        let snapshot: Snapshot = serde_json::from_str(event.data()).ok()?;
        let message = self.open(&snapshot.message_id, snapshot.source.as_deref());
        message.parts = message.parts.replaced_by(&snapshot.parts);
        message.unsettled = false;
        if snapshot.started.is_some() {
            message.started = snapshot.started;
        }
        Some(Change::Replaced {
            message_id: snapshot.message_id,
        })
    }

    /// The open message of that id. One that ended under it before is another message.
    fn open(&mut self, id: &str, source: Option<&str>) -> &mut Message {
        let held = self.messages.iter().rposition(|message| message.id == id);
        let open = held.filter(|at| self.messages[*at].state == MessageState::Open);
        let at = open.unwrap_or_else(|| {
            if let Some(ended) = held {
                self.messages.remove(ended);
            }
            self.messages.push_back(Message {
                id: id.into(),
                state: MessageState::Open,
                source: source.map(Into::into),
                started: None,
                end: None,
                parts: Parts::default(),
                unsettled: false,
            });
            self.messages.len() - 1
        });
        &mut self.messages[at]
    }

    fn drop_the_oldest_ended(&mut self) {
        let ended = |message: &Message| message.state != MessageState::Open;
        let count = self
            .messages
            .iter()
            .filter(|message| ended(message))
            .count();
        if count > ENDED_KEPT
            && let Some(oldest) = self.messages.iter().position(ended)
        {
            self.messages.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(value: Value) -> Event {
        Event::parse(serde_json::value::to_raw_value(&value).expect("json")).expect("an event")
    }

    fn delta(id: &str, text: &str) -> Event {
        event(json!({"seq": 1, "type": "token.delta", "data": {"message_id": id, "text": text}}))
    }

    fn at(fold: &mut Fold, position: &str) -> Vec<String> {
        fold.at(&position.parse().expect("a position"))
    }

    fn text(fold: &Fold, id: &str) -> (String, MessageState) {
        let message = fold.get(id).expect("a message");
        (message.text(), message.state.clone())
    }

    #[test]
    fn deltas_fold_and_an_end_event_ends() {
        let mut fold = Fold::default();
        fold.apply(&event(
            json!({"type": "message.started", "data": {"message_id": "m", "role": "assistant"}}),
        ));
        fold.apply(&delta("m", "a"));
        let grew = fold.apply(&delta("m", "b"));
        assert_eq!(
            grew,
            Some(Change::Grew {
                message_id: "m".into(),
                part: 0,
                kind: TextKind::Text
            })
        );
        fold.apply(&event(
            json!({"type": "message.completed", "data": {"message_id": "m"}}),
        ));
        assert_eq!(text(&fold, "m"), ("ab".into(), MessageState::Completed));
        assert!(fold.get("m").is_some_and(|m| m.started.is_some()));
    }

    #[test]
    fn a_completed_text_is_the_whole_answer() {
        let mut fold = Fold::default();
        fold.apply(&delta("m", "draft"));
        fold.apply(&event(
            json!({"type": "message.completed", "data": {"message_id": "m", "text": "final"}}),
        ));
        assert_eq!(text(&fold, "m").0, "final");
    }

    #[test]
    fn a_compact_end_event_brings_the_text_and_the_beginning_held_stays() {
        let mut fold = Fold::default();
        fold.apply(&delta("m", "abc"));
        let parts = json!([{"part": 0, "kind": "text", "text": "cdef", "omitted": 2}]);
        fold.apply(&event(
            json!({"type": "message.interrupted", "parts": parts, "started": {"message_id": "m"},
            "data": {"message_id": "m", "reason": "cancelled"}}),
        ));
        let interrupted = MessageState::Interrupted {
            reason: "cancelled".into(),
        };
        assert_eq!(text(&fold, "m"), ("abcdef".into(), interrupted));
    }

    #[test]
    fn a_message_without_a_snapshot_after_a_gap_is_lost() {
        let mut fold = Fold::default();
        fold.apply(&delta("gone", "x"));
        fold.apply(&delta("stays", "y"));
        fold.apply(&delta("ends", "z"));
        fold.gap();
        assert_eq!(at(&mut fold, "aaaaaaaa:5~"), Vec::<String>::new());
        fold.apply(&event(
            json!({"type": "message.completed", "data": {"message_id": "ends"},
            "parts": [{"part": 0, "kind": "text", "text": "zz"}]}),
        ));
        let parts = json!([{"part": 0, "kind": "text", "text": "y and more"}]);
        fold.apply(&event(json!({"type": "message.snapshot", "data": {"message_id": "stays", "parts": parts, "upto": 9}})));
        assert_eq!(at(&mut fold, "aaaaaaaa:9"), ["gone"]);
        assert_eq!(text(&fold, "gone"), ("x".into(), MessageState::Lost));
        assert_eq!(
            text(&fold, "stays"),
            ("y and more".into(), MessageState::Open)
        );
        assert_eq!(text(&fold, "ends"), ("zz".into(), MessageState::Completed));
    }

    #[test]
    fn without_a_gap_nothing_is_lost_however_partial_it_was() {
        let mut fold = Fold::default();
        fold.apply(&delta("m", "x"));
        at(&mut fold, "aaaaaaaa:1~");
        assert!(at(&mut fold, "aaaaaaaa:2").is_empty());
    }

    #[test]
    fn a_reset_forgets() {
        let mut fold = Fold::default();
        fold.apply(&delta("m", "x"));
        fold.reset();
        assert_eq!(fold.messages().count(), 0);
        fold.apply(&delta("m", "y"));
        assert_eq!(text(&fold, "m").0, "y");
    }

    #[test]
    fn an_id_that_comes_again_after_its_end_is_another_message() {
        let mut fold = Fold::default();
        fold.apply(&event(
            json!({"type": "message.completed", "data": {"message_id": "m", "text": "one"}}),
        ));
        fold.apply(&delta("m", "two"));
        assert_eq!(text(&fold, "m"), ("two".into(), MessageState::Open));
        assert_eq!(fold.messages().count(), 1);
    }

    #[test]
    fn ended_messages_are_held_up_to_a_bound() {
        let mut fold = Fold::default();
        fold.apply(&delta("open", "x"));
        for n in 0..ENDED_KEPT + 10 {
            fold.apply(&event(
                json!({"type": "message.completed", "data": {"message_id": format!("m{n}")}}),
            ));
        }
        assert_eq!(fold.messages().count(), ENDED_KEPT + 1);
        assert!(
            fold.get("open").is_some() && fold.get("m9").is_none() && fold.get("m10").is_some()
        );
    }
}
