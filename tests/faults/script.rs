//! What one publisher says in one topic: batches of notes and of messages that are opened, appended and ended.

use fastrand::Rng;
use serde_json::{Value, json};

use crate::support::events::token;
use crate::support::{completed, delta, started};

const MAX_BATCH: usize = 20;

pub struct Script {
    pub topic: String,
    pub who: String,
    /// Its events carry ids.
    ids: bool,
    rng: Rng,
    message: Option<(String, u64)>,
    messages: u64,
    notes: u64,
    pub batches: Vec<Batch>,
}

/// One publish, and how it was answered.
pub struct Batch {
    pub events: Vec<Value>,
    /// First and last seq, once it was answered.
    pub answer: Option<(u64, u64)>,
}

impl Script {
    pub fn new(topic: &str, who: &str, ids: bool, rng: Rng) -> Script {
        Script {
            topic: topic.to_owned(),
            who: who.to_owned(),
            ids,
            rng,
            message: None,
            messages: 0,
            notes: 0,
            batches: Vec::new(),
        }
    }

    /// Thinks of the next batch: its number, from 1.
    pub fn go_on(&mut self) -> u64 {
        let count = self.rng.usize(1..=MAX_BATCH);
        let number = self.batches.len();
        let events = (0..count).map(|at| self.event(number, at)).collect();
        self.batches.push(Batch {
            events,
            answer: None,
        });
        number as u64 + 1
    }

    fn event(&mut self, batch: usize, at: usize) -> Value {
        let mut event = match self.message.take() {
            None if self.rng.u8(..3) > 0 => self.note(),
            None => {
                self.messages += 1;
                let id = format!("{}-{}", self.who, self.messages);
                let opening = match self.rng.bool() {
                    true => (started(&id), 0),
                    false => (delta(&id, &token(0)), 1),
                };
                self.message = Some((id, opening.1));
                opening.0
            }
            Some((id, _)) if self.rng.u8(..100) < 3 => completed(&id),
            Some((id, next)) if self.rng.u8(..100) < 85 => {
                let event = delta(&id, &token(next));
                self.message = Some((id, next + 1));
                event
            }
            open => {
                self.message = open;
                self.note()
            }
        };
        if self.ids {
            event["id"] = json!(format!("{}/{batch}/{at}", self.who));
        }
        event
    }

    fn note(&mut self) -> Value {
        self.notes += 1;
        json!({ "type": "note.taken", "data": { "n": self.notes, "who": self.who } })
    }

    /// The publish of the batch with this number.
    pub fn body(&self, number: u64, epoch: u64) -> Value {
        let events = &self.batches[number as usize - 1].events;
        json!({ "topic": self.topic, "events": events,
                "producer": { "id": self.who, "epoch": epoch, "seq": number } })
    }

    /// Takes the answer, which must agree with what was answered before.
    pub fn answered(&mut self, number: u64, answer: &Value) {
        let first = answer["first_seq"].as_u64().expect("a first seq");
        let last = answer["last_seq"].as_u64().expect("a last seq");
        let batch = &mut self.batches[number as usize - 1];
        assert_eq!(last - first + 1, batch.events.len() as u64, "{answer}");
        let known = batch.answer.replace((first, last));
        assert!(known.is_none(), "answered twice: {answer}");
    }
}
