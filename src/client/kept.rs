//! What the broker has acknowledged of the messages that are still open, kept so that a broker that
//! forgot its log (a restart on the memory engine) can be told again.
//!
//! Invariants: an event is either still outstanding in the window or folded in here, never both; a
//! message leaves with its end event. Bound: `bound` bytes of text over all; over it the longest
//! message loses its beginning, and says so when it is restored.

use serde_json::value::RawValue;

use super::new_event::{Delta, NewEvent};
use super::parts::Parts;
use super::wire::TextKind;

/// Share of the bound that is cut beyond need, so that not every delta moves the whole text.
const SLACK: usize = 8;

#[derive(Debug)]
struct Message {
    id: String,
    started: Option<Box<RawValue>>,
    parts: Parts,
    /// Its earlier text is in a log that no reader sees any more, and it is open in the new one.
    stranded: bool,
}

impl Message {
    fn missing(&self) -> u64 {
        self.parts.iter().map(|part| part.omitted).sum()
    }
}

/// What is told again after the broker forgot.
#[derive(Debug, Default)]
pub struct Restored {
    /// To publish again, in order.
    pub events: Vec<NewEvent>,
    /// UTF-8 bytes of text in them.
    pub bytes: usize,
    /// UTF-8 bytes that were not kept any more.
    pub missing: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Kept {
    messages: Vec<Message>,
    bytes: usize,
    bound: usize,
}

impl Kept {
    /// At most `bound` bytes of text.
    pub fn new(bound: usize) -> Self {
        Self {
            messages: Vec::new(),
            bytes: 0,
            bound,
        }
    }

    /// The broker has this event.
    pub fn acknowledged(&mut self, event: NewEvent) {
        match event {
            NewEvent::Delta(delta) => {
                self.message(&delta.message_id)
                    .parts
                    .append(delta.part, delta.kind, &delta.text);
                self.bytes += delta.text.len();
                self.stay_within_the_bound();
            }
            NewEvent::Started { message_id, data } => {
                self.message(&message_id).started = Some(data)
            }
            NewEvent::Ended(ended) => self.forget(&ended.message_id),
            NewEvent::Other { .. } => {}
        }
    }

    /// The broker's log is gone, and all it knew: everything to tell again, in order. It counts as
    /// outstanding from now on.
    pub fn restore(&mut self) -> Restored {
        let mut restored = Restored {
            bytes: self.bytes,
            ..Restored::default()
        };
        for message in std::mem::take(&mut self.messages) {
            restored.missing += message.missing();
            if let Some(data) = message.started {
                restored.events.push(NewEvent::Started {
                    message_id: message.id.clone(),
                    data,
                });
            }
            let deltas = message
                .parts
                .iter()
                .map(|p| Delta::new(message.id.clone(), p.part, p.kind, p.text.clone()));
            restored.events.extend(deltas.map(NewEvent::Delta));
        }
        self.bytes = 0;
        restored
    }

    /// The log was replaced, but what came after it is already in the new one: nothing can be put
    /// before that any more. Only the whole text in the end event can still mend it. Says whether any
    /// message is concerned.
    pub fn strand(&mut self) -> bool {
        for message in &mut self.messages {
            message.stranded = true;
        }
        !self.messages.is_empty()
    }

    /// The message's earlier text is in a log that no reader sees any more.
    pub fn is_stranded(&self, message_id: &str) -> bool {
        self.messages
            .iter()
            .any(|message| message.stranded && message.id == message_id)
    }

    /// The whole answer of a message (kind `text`), if all of it is kept.
    pub fn whole_text(&self, message_id: &str) -> Option<String> {
        let message = self
            .messages
            .iter()
            .find(|message| message.id == message_id)?;
        (message.missing() == 0).then(|| message.parts.text_of(TextKind::Text))
    }

    fn message(&mut self, id: &str) -> &mut Message {
        let at = self
            .messages
            .iter()
            .position(|message| message.id == id)
            .unwrap_or_else(|| {
                let parts = Parts::default();
                self.messages.push(Message {
                    id: id.into(),
                    started: None,
                    parts,
                    stranded: false,
                });
                self.messages.len() - 1
            });
        &mut self.messages[at]
    }

    fn forget(&mut self, id: &str) {
        let bytes = &mut self.bytes;
        self.messages.retain(|message| {
            let stays = message.id != id;
            if !stays {
                *bytes -= message.parts.bytes();
            }
            stays
        });
    }

    fn stay_within_the_bound(&mut self) {
        if self.bytes <= self.bound {
            return;
        }
        let excess = self.bytes - self.bound + self.bound / SLACK;
        if let Some(longest) = self
            .messages
            .iter_mut()
            .max_by_key(|message| message.parts.bytes())
        {
            self.bytes -= longest.parts.drop_beginning(excess);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn delta(id: &str, text: &str) -> NewEvent {
        NewEvent::delta(id, TextKind::Text, text)
    }

    fn texts(events: &[NewEvent]) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        for event in events {
            match event {
                NewEvent::Delta(delta) => {
                    texts.push((delta.message_id.clone(), delta.text.clone()))
                }
                NewEvent::Started { message_id, .. } => {
                    texts.push((message_id.clone(), "started".into()))
                }
                _ => {}
            }
        }
        texts
    }

    #[test]
    fn open_messages_are_told_again_and_ended_ones_are_not() {
        let mut kept = Kept::new(1000);
        kept.acknowledged(NewEvent::started("a", json!({"role": "assistant"})));
        kept.acknowledged(delta("a", "one "));
        kept.acknowledged(delta("b", "gone"));
        kept.acknowledged(delta("a", "two"));
        kept.acknowledged(NewEvent::completed("b", Value::Null));
        let restored = kept.restore();
        assert_eq!(
            texts(&restored.events),
            [
                ("a".into(), "started".into()),
                ("a".into(), "one two".into())
            ]
        );
        assert_eq!((restored.bytes, restored.missing), (7, 0));
        assert!(kept.restore().events.is_empty(), "it is outstanding now");
    }

    #[test]
    fn over_the_bound_the_longest_loses_its_beginning_and_says_so() {
        let mut kept = Kept::new(80);
        kept.acknowledged(delta("short", "keep"));
        for _ in 0..20 {
            kept.acknowledged(delta("long", "0123456789"));
        }
        let restored = kept.restore();
        assert!(restored.bytes <= 80);
        assert_eq!(restored.bytes as u64 + restored.missing, 204);
        assert_eq!(texts(&restored.events)[0], ("short".into(), "keep".into()));
    }

    #[test]
    fn a_stranded_message_knows_its_whole_text() {
        let mut kept = Kept::new(100);
        assert!(!kept.strand());
        kept.acknowledged(delta("m", "abc"));
        assert!(kept.strand());
        kept.acknowledged(delta("m", "def"));
        assert!(kept.is_stranded("m") && !kept.is_stranded("n"));
        assert_eq!(kept.whole_text("m").as_deref(), Some("abcdef"));
        kept.acknowledged(delta("m", &"x".repeat(200)));
        assert_eq!(kept.whole_text("m"), None);
    }
}
