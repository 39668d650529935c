//! Agent processes: what they know of themselves, and what they say.

use std::collections::BTreeMap;

use super::Say;
use super::leases::Line;
use super::model::{Said, Speaker, What};
use super::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Over a WebSocket, with its lease held by the connection.
    Attached,
    /// Over HTTP, each publish with its lease.
    Posting,
    /// Over a publish stream.
    Streaming,
}

/// How a process is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Nowhere,
    /// Attached, or waiting for the answer.
    Line(Line),
    Stream,
}

#[derive(Debug)]
pub struct Process {
    pub producer: usize,
    /// `None`: the answer to its attach is still to come.
    pub epoch: Option<u64>,
    pub how: How,
    pub lease: u64,
    pub way: Way,
    /// The number of its next publish, by topic.
    next: BTreeMap<usize, u64>,
    last: BTreeMap<usize, Said>,
}

impl Process {
    pub fn new(producer: usize, epoch: Option<u64>, how: How, lease: u64) -> Self {
        Self {
            producer,
            epoch,
            how,
            lease,
            way: Way::Nowhere,
            next: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    /// What it numbers itself comes by the number's own right, whoever is attached.
    pub fn speaker(&mut self, topic: usize, numbered: bool) -> Option<Speaker> {
        let epoch = self.epoch?;
        let numbered = numbered || self.way == Way::Nowhere;
        let next = self.next.entry(topic).or_insert(1);
        let seq = (numbered && self.way != Way::Stream).then_some(*next);
        *next += u64::from(seq.is_some());
        Some(Speaker {
            producer: self.producer,
            epoch,
            seq,
        })
    }

    pub fn remember(&mut self, topic: usize, said: &Said) {
        if said.by.is_some_and(|by| by.seq.is_some()) {
            self.last.insert(topic, said.clone());
        }
    }

    pub fn last(&self, topic: usize) -> Option<Said> {
        self.last.get(&topic).cloned()
    }

    pub fn skip(&mut self, topic: usize) {
        *self.next.entry(topic).or_insert(1) += 1;
    }

    /// A refused publish used up no number.
    pub fn go_back(&mut self, topic: usize, seq: u64) {
        let next = self.next.entry(topic).or_insert(1);
        *next = seq.min(*next);
    }
}

impl World {
    /// The words for a publish. A message that ended is taken up again now and then: that must be refused.
    pub(super) fn words(&mut self, owner: &str, topic: usize, slot: u8, say: Say) -> Vec<What> {
        let message = format!("{owner}.{slot}.{}", self.generation(owner, topic, slot));
        let delta = |world: &mut World, message: &str| What::Delta {
            message: message.to_owned(),
            text: world.fresh_text(),
        };
        match say {
            Say::Delta | Say::Others => vec![delta(self, &message)],
            Say::End { whole } => {
                let whole = whole.then(|| self.fresh_text());
                vec![What::End { message, whole }]
            }
            Say::Note => vec![What::Note],
            Say::All => {
                let first = delta(self, &message);
                let whole = None;
                vec![first, What::End { message, whole }, What::Note]
            }
        }
    }

    fn generation(&mut self, owner: &str, topic: usize, slot: u8) -> usize {
        let prefix = format!("{owner}.{slot}.");
        let messages = &self.topics[topic].model.messages;
        let ended = messages
            .iter()
            .filter(|(id, message)| id.starts_with(&prefix) && message.ended)
            .count();
        // every seventh publish takes up one that is over
        let again = self.fresh_number().is_multiple_of(7);
        ended.saturating_sub(usize::from(again))
    }
}
