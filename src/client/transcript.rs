//! What a terminal shows of topics: the text of messages as it grows, nothing twice.
//!
//! Text goes to one stream in order of arrival. As long as one message is written, it is exactly its
//! text; when another one (or another part) goes on, a line break and a short header come first. What
//! is not text (gaps, interruptions) is a note, for the standard error.

use std::collections::HashMap;

use super::fold::{Change, Fold, MessageState};
use super::parts::Parts;
use super::position::Position;
use super::wire::{Event, TextKind};

/// One part of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Strand {
    topic: String,
    message_id: String,
    part: u16,
}

/// What to write now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// To append to what was printed.
    pub text: String,
    /// To tell beside it.
    pub notes: Vec<String>,
}

/// See the module.
#[derive(Debug)]
pub struct Transcript {
    folds: HashMap<String, Fold>,
    name_topics: bool,
    current: Option<Strand>,
    at_line_start: bool,
}

impl Transcript {
    /// `name_topics`: headers say the topic too.
    pub fn new(name_topics: bool) -> Self {
        Self {
            folds: HashMap::new(),
            name_topics,
            current: None,
            at_line_start: true,
        }
    }

    /// The events of one step.
    pub fn events(&mut self, topic: &str, events: &[Event], position: &Position) -> Output {
        let mut output = Output::default();
        for event in events {
            self.event(topic, event, &mut output);
        }
        for id in self.folds.entry(topic.into()).or_default().at(position) {
            output
                .notes
                .push(format!("{id} is lost: it ended in the gap"));
        }
        output
    }

    /// Events of the topic are gone.
    pub fn gap(&mut self, topic: &str) {
        self.folds.entry(topic.into()).or_default().gap();
    }

    /// The topic begins anew.
    pub fn reset(&mut self, topic: &str) {
        self.folds.remove(topic);
        self.current = self.current.take().filter(|strand| strand.topic != topic);
    }

    fn event(&mut self, topic: &str, event: &Event, output: &mut Output) {
        let fold = self.folds.entry(topic.into()).or_default();
        // a delta only appends; other events about a message may change text that was shown
        let about = event
            .name()
            .starts_with("message.")
            .then(|| message_id_of(event))
            .flatten();
        let shown = about
            .and_then(|id| fold.get(&id))
            .map(|message| message.parts.clone())
            .unwrap_or_default();
        match fold.apply(event) {
            Some(Change::Grew {
                message_id,
                part,
                kind: TextKind::Text,
            }) => {
                let text = grown_by(event);
                self.show(topic, &message_id, part, &text, output);
            }
            Some(Change::Replaced { message_id }) => {
                self.replaced(topic, &message_id, &shown, output);
            }
            _ => {}
        }
    }

    fn replaced(&mut self, topic: &str, message_id: &str, shown: &Parts, output: &mut Output) {
        let Some(message) = self.folds.get(topic).and_then(|fold| fold.get(message_id)) else {
            return;
        };
        let (parts, state) = (message.parts.clone(), message.state.clone());
        for new in parts.iter().filter(|part| part.kind == TextKind::Text) {
            let old = shown
                .iter()
                .find(|part| part.part == new.part && part.kind == new.kind);
            let (old_text, old_omitted) =
                old.map_or(("", new.omitted), |old| (&old.text, old.omitted));
            match new
                .text
                .strip_prefix(old_text)
                .filter(|_| new.omitted == old_omitted)
            {
                Some(more) => {
                    if old.is_none() && new.omitted > 0 {
                        output.notes.push(format!(
                            "{message_id}: its first {} bytes are gone",
                            new.omitted
                        ));
                    }
                    self.show(topic, message_id, new.part, more, output);
                }
                None => {
                    output.notes.push(format!(
                        "{message_id}: its text was replaced; here it is again"
                    ));
                    self.current = None;
                    self.break_line(output);
                    self.show(topic, message_id, new.part, &new.text, output);
                }
            }
        }
        if let MessageState::Interrupted { reason } = state {
            output
                .notes
                .push(format!("{message_id} was interrupted: {reason}"));
        }
    }

    fn show(&mut self, topic: &str, message_id: &str, part: u16, text: &str, output: &mut Output) {
        if text.is_empty() {
            return;
        }
        let goes_on = self.current.as_ref().is_some_and(|strand| {
            strand.topic == topic && strand.message_id == message_id && strand.part == part
        });
        if !goes_on {
            if self.current.is_some() {
                self.break_line(output);
                output.text.push_str(&self.header(topic, message_id, part));
            }
            self.current = Some(Strand {
                topic: topic.into(),
                message_id: message_id.into(),
                part,
            });
        }
        output.text.push_str(text);
        self.at_line_start = text.ends_with('\n');
    }

    fn break_line(&mut self, output: &mut Output) {
        if !self.at_line_start {
            output.text.push('\n');
            self.at_line_start = true;
        }
    }

    fn header(&self, topic: &str, message_id: &str, part: u16) -> String {
        let topic = if self.name_topics {
            format!("{topic} ")
        } else {
            String::new()
        };
        let part = if part == 0 {
            String::new()
        } else {
            format!(" part {part}")
        };
        format!("── {topic}{message_id}{part} ──\n")
    }
}

fn message_id_of(event: &Event) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct About {
        message_id: String,
    }
    serde_json::from_str::<About>(event.data())
        .ok()
        .map(|about| about.message_id)
}

/// The text of a delta that the fold understood.
fn grown_by(event: &Event) -> String {
    #[derive(serde::Deserialize)]
    struct Text {
        text: String,
    }
    serde_json::from_str::<Text>(event.data())
        .map(|delta| delta.text)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(value: Value) -> Event {
        Event::parse(serde_json::value::to_raw_value(&value).expect("json")).expect("an event")
    }

    fn delta(id: &str, text: &str) -> Event {
        event(json!({"type": "token.delta", "data": {"message_id": id, "text": text}}))
    }

    fn snapshot(id: &str, text: &str, omitted: u64) -> Event {
        let parts = json!([{"part": 0, "kind": "text", "text": text, "omitted": omitted}]);
        event(
            json!({"type": "message.snapshot", "data": {"message_id": id, "parts": parts, "upto": 1}}),
        )
    }

    fn show(transcript: &mut Transcript, events: &[Event]) -> Output {
        transcript.events("/a/b", events, &"aaaaaaaa:1".parse().expect("a position"))
    }

    #[test]
    fn one_message_is_exactly_its_text() {
        let mut transcript = Transcript::new(false);
        let completed = event(
            json!({"type": "message.completed", "data": {"message_id": "m", "text": "a\nbc"}}),
        );
        let reasoning = event(
            json!({"type": "token.delta", "data": {"message_id": "m", "kind": "reasoning", "text": "hm"}}),
        );
        let output = show(
            &mut transcript,
            &[
                reasoning,
                snapshot("m", "a\n", 0),
                delta("m", "b"),
                completed,
            ],
        );
        assert_eq!(
            output,
            Output {
                text: "a\nbc".into(),
                notes: vec![]
            }
        );
    }

    #[test]
    fn another_message_gets_a_line_break_and_a_header() {
        let mut transcript = Transcript::new(true);
        let output = show(
            &mut transcript,
            &[delta("m", "one"), delta("n", "two\n"), delta("m", "more")],
        );
        assert_eq!(output.text, "one\n── /a/b n ──\ntwo\n── /a/b m ──\nmore");
    }

    #[test]
    fn a_snapshot_shows_only_what_is_new() {
        let mut transcript = Transcript::new(false);
        show(&mut transcript, &[delta("m", "abc")]);
        transcript.gap("/a/b");
        let output = show(&mut transcript, &[snapshot("m", "cdef", 2)]);
        assert_eq!(
            output,
            Output {
                text: "def".into(),
                notes: vec![]
            }
        );
    }

    #[test]
    fn text_that_was_replaced_is_shown_again() {
        let mut transcript = Transcript::new(false);
        show(&mut transcript, &[delta("m", "draft")]);
        let completed = event(
            json!({"type": "message.completed", "data": {"message_id": "m", "text": "final"}}),
        );
        let output = show(&mut transcript, &[completed]);
        assert_eq!(output.text, "\nfinal");
        assert_eq!(output.notes.len(), 1);
    }

    #[test]
    fn what_is_lost_or_interrupted_is_a_note() {
        let mut transcript = Transcript::new(false);
        show(&mut transcript, &[delta("m", "x"), delta("n", "y")]);
        transcript.gap("/a/b");
        let interrupted = json!({"type": "message.interrupted", "data": {"message_id": "n", "reason": "cancelled"}});
        let output = show(&mut transcript, &[event(interrupted)]);
        assert_eq!(
            output.notes,
            [
                "n was interrupted: cancelled",
                "m is lost: it ended in the gap"
            ]
        );
    }
}
