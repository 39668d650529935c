//! What the demo agent does while it writes one answer: its events, each with the pause before it.
//!
//! Without clock and network: the same text, run number and dice give the same script.

use std::time::Duration;

use serde_json::json;

use super::tokens::tokens;
use crate::client::{NewEvent, TextKind};

/// Shown before the answer, as `reasoning`.
const THOUGHT: &str = "Someone opened the demo. The best answer is the text itself: \
    look it up, note who is reading, then write it out token by token.";

/// One event, and how long to wait before it.
#[derive(Debug)]
pub struct Step {
    pub pause: Duration,
    pub event: NewEvent,
}

/// What one answer is made from.
pub struct Script<'a> {
    pub message_id: &'a str,
    /// Counts the answers of this agent, from 1.
    pub run: u64,
    /// What the text is called, for example README.md.
    pub title: &'a str,
    pub text: &'a str,
    /// Tokens per second.
    pub rate: f64,
}

impl Script<'_> {
    /// All steps in order. `dice` gives numbers in 0..1.
    pub fn steps(&self, mut dice: impl FnMut() -> f64) -> Vec<Step> {
        let mut steps = Vec::new();
        self.opening(&mut steps);
        self.delta_steps(THOUGHT, TextKind::Reasoning, &mut dice, &mut steps);
        self.look_up(&mut steps);
        let written = tokens(self.text);
        let asides = self.asides(written.len());
        for (at, token) in written.iter().enumerate() {
            let due = asides.iter().filter(|aside| aside.0 == at);
            steps.extend(due.map(|(_, event)| Step {
                pause: Duration::ZERO,
                event: event.clone(),
            }));
            steps.push(self.delta_step(token, TextKind::Text, dice()));
        }
        self.closing(written.len(), &mut steps);
        steps
    }

    fn opening(&self, steps: &mut Vec<Step>) {
        let started = json!({"role": "assistant", "agent": "demo", "metadata": {"run": self.run, "text": self.title}});
        steps.push(at_once(NewEvent::other(
            "agent.status",
            &json!({"status": "thinking", "run": self.run}),
        )));
        steps.push(at_once(NewEvent::started(self.message_id, started)));
    }

    fn look_up(&self, steps: &mut Vec<Step>) {
        let call = format!("{}-read", self.message_id);
        let started = json!({"call_id": call, "name": "read_file", "input": {"path": self.title}});
        let completed = json!({"call_id": call, "name": "read_file", "output": {
            "bytes": self.text.len(), "lines": self.text.lines().count()}});
        let memory = json!({"memory_id": self.memory_id(), "text": format!("The reader is watching {}", self.title)});
        steps.push(after(300, NewEvent::other("tool.started", &started)));
        steps.push(after(800, NewEvent::other("tool.completed", &completed)));
        steps.push(after(200, NewEvent::other("memory.created", &memory)));
        steps.push(at_once(NewEvent::other(
            "agent.status",
            &json!({"status": "writing", "run": self.run}),
        )));
    }

    /// What happens beside the writing, by the token before which it does.
    fn asides(&self, tokens: usize) -> Vec<(usize, NewEvent)> {
        let heading = self.heading();
        let navigation =
            json!({"to": format!("#{}", slug(&heading)), "params": {"title": heading}});
        let memory = json!({"memory_id": self.memory_id(), "text": format!("The reader stayed for half of {}", self.title)});
        vec![
            (
                tokens / 3,
                NewEvent::other("navigation.requested", &navigation),
            ),
            (tokens / 2, NewEvent::other("memory.updated", &memory)),
        ]
    }

    fn closing(&self, tokens: usize, steps: &mut Vec<Step>) {
        let end = json!({"finish_reason": "stop", "usage": {"output_tokens": tokens}});
        steps.push(at_once(NewEvent::completed(self.message_id, end)));
        steps.push(after(
            200,
            NewEvent::other("agent.status", &json!({"status": "idle", "run": self.run})),
        ));
    }

    fn delta_steps(
        &self,
        text: &str,
        kind: TextKind,
        dice: &mut impl FnMut() -> f64,
        steps: &mut Vec<Step>,
    ) {
        let pieces = tokens(text);
        steps.extend(
            pieces
                .iter()
                .map(|piece| self.delta_step(piece, kind, dice())),
        );
    }

    fn delta_step(&self, token: &str, kind: TextKind, dice: f64) -> Step {
        Step {
            pause: pause_after(token, dice, self.rate),
            event: NewEvent::delta(self.message_id, kind, token),
        }
    }

    fn memory_id(&self) -> String {
        format!("reader-{}", self.run)
    }

    /// The heading nearest to the first third, of a text that has any.
    fn heading(&self) -> String {
        let mut headings = self.text.lines().filter(|line| line.starts_with('#'));
        let third = self.text.lines().count() / 3;
        let later = self
            .text
            .lines()
            .skip(third)
            .find(|line| line.starts_with('#'));
        let heading = later.or(headings.next_back()).unwrap_or(self.title);
        heading.trim_start_matches('#').trim().into()
    }
}

/// A token takes its share of a second, more or less; the end of a sentence a little longer.
pub fn pause_after(token: &str, dice: f64, rate: f64) -> Duration {
    let breath = if token.ends_with(['.', '\n']) {
        2.5
    } else {
        1.0
    };
    Duration::from_secs_f64((0.3 + 1.2 * dice) * breath / rate)
}

fn at_once(event: NewEvent) -> Step {
    after(0, event)
}

fn after(ms: u64, event: NewEvent) -> Step {
    Step {
        pause: Duration::from_millis(ms),
        event,
    }
}

fn slug(heading: &str) -> String {
    let words: Vec<String> = heading
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Vec<Step> {
        Script {
            message_id: "m",
            run: 1,
            title: "README.md",
            text,
            rate: 30.0,
        }
        .steps(|| 0.5)
    }

    fn names(steps: &[Step]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for step in steps {
            let mut json = String::new();
            step.event.write_json(&mut json);
            let event: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            let name = event["type"].as_str().expect("a type").to_owned();
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        names
    }

    #[test]
    fn the_deltas_are_exactly_the_text() {
        let text = "# Title\n\nSome words \u{1f30a} here.\n\n## More\nend";
        let mut written = String::new();
        for step in script(text) {
            if let NewEvent::Delta(delta) = step.event
                && delta.kind == TextKind::Text
            {
                written.push_str(&delta.text);
            }
        }
        assert_eq!(written, text);
    }

    #[test]
    fn everything_an_agent_does_is_in_it_in_order() {
        let expected = [
            "agent.status",
            "message.started",
            "token.delta",
            "tool.started",
            "tool.completed",
            "memory.created",
            "agent.status",
            "token.delta",
            "navigation.requested",
            "token.delta",
            "memory.updated",
            "token.delta",
            "message.completed",
            "agent.status",
        ];
        assert_eq!(
            names(&script("one two three four five six seven eight nine")),
            expected
        );
    }

    #[test]
    fn even_an_empty_text_is_an_answer() {
        assert!(names(&script("")).contains(&"message.completed".to_owned()));
    }

    #[test]
    fn the_rate_is_kept_on_average() {
        let words = "word ".repeat(600);
        let total: Duration = script(&words).iter().map(|step| step.pause).sum();
        let seconds = total.as_secs_f64();
        assert!(
            (15.0..25.0).contains(&seconds),
            "600 tokens at 30 a second took {seconds}"
        );
    }
}
