//! What was said before, for a model that remembers nothing by itself.
//!
//! Bounds: `EXCHANGES` prompts with their answers, `BYTES` of text over all; the oldest go first. The
//! present prompt always stays.

use std::collections::VecDeque;

use serde_json::{Value, json};

const EXCHANGES: usize = 20;
const BYTES: usize = 64 << 10;

#[derive(Debug)]
struct Exchange {
    prompt: String,
    answer: String,
}

/// See the module.
#[derive(Debug, Default)]
pub struct History {
    exchanges: VecDeque<Exchange>,
}

impl History {
    /// What was said to a prompt, even if it was cut off. Without a word it was not said.
    pub fn add(&mut self, prompt: &str, answer: &str) {
        if answer.is_empty() {
            return;
        }
        self.exchanges.push_back(Exchange {
            prompt: prompt.into(),
            answer: answer.into(),
        });
        if self.exchanges.len() > EXCHANGES {
            self.exchanges.pop_front();
        }
    }

    /// The `messages` of a chat completion that ends with this prompt.
    pub fn messages(&self, prompt: &str) -> Vec<Value> {
        let mut bytes = prompt.len();
        let fits = |exchange: &&Exchange| {
            bytes += exchange.prompt.len() + exchange.answer.len();
            bytes <= BYTES
        };
        let fitting = self.exchanges.iter().rev().take_while(fits).count();
        let kept = self.exchanges.range(self.exchanges.len() - fitting..);
        let said = kept.flat_map(|exchange| {
            [
                message("user", &exchange.prompt),
                message("assistant", &exchange.answer),
            ]
        });
        said.chain([message("user", prompt)]).collect()
    }
}

fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_comes_last_and_what_was_said_before_it() {
        let mut history = History::default();
        history.add("one?", "1");
        history.add("nothing?", "");
        let expected = [
            message("user", "one?"),
            message("assistant", "1"),
            message("user", "two?"),
        ];
        assert_eq!(history.messages("two?"), expected);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut history = History::default();
        for n in 0..50 {
            history.add(&n.to_string(), "ten bytes!");
        }
        assert_eq!(history.exchanges.len(), EXCHANGES);
        history.add("long", &"y".repeat(BYTES - 100));
        let messages = history.messages("now");
        assert!(messages.len() > 3 && messages.len() < 2 * EXCHANGES);
        history.add("longer", &"y".repeat(BYTES + 1));
        assert_eq!(history.messages("now"), [message("user", "now")]);
    }
}
