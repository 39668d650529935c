//! What a connection may have under way: the window over which it is not read further, the order of its
//! answers, and gates of topics whose publishes were refused for their rate.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::event::{Map, TopicPath};

/// Gates a connection may have at once; beyond that all of its topics share one.
const MAX_GATES: usize = 1024;

/// Publishes of one topic that are under way, and refusals that wait behind them.
#[derive(Debug, Default)]
struct Line {
    sent: u64,
    answered: u64,
    /// Each waits for the answers of everything that was sent before it.
    held: VecDeque<(u64, Bytes)>,
}

#[derive(Debug)]
pub struct Intake {
    max_events: usize,
    max_bytes: usize,
    events: usize,
    bytes: usize,
    /// Topics with something under way.
    lines: Map<TopicPath, Line>,
    /// Until when nothing is accepted for a topic, in the caller's milliseconds.
    gates: Map<TopicPath, u64>,
    /// The gate of all topics, while there are too many gates.
    common_gate: u64,
}

impl Intake {
    pub fn new(max_events: usize, max_bytes: usize) -> Self {
        Self {
            max_events,
            max_bytes,
            events: 0,
            bytes: 0,
            lines: Map::default(),
            gates: Map::default(),
            common_gate: 0,
        }
    }

    /// Whether the connection may be read further.
    pub fn is_open(&self) -> bool {
        self.events < self.max_events && self.bytes < self.max_bytes
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.lines.is_empty()
    }

    /// A publish is under way.
    pub fn begin(&mut self, topic: &TopicPath, events: usize, bytes: usize) {
        self.events += events;
        self.bytes += bytes;
        match self.lines.get_mut(topic) {
            Some(line) => line.sent += 1,
            None => {
                self.lines.insert(
                    topic.clone(),
                    Line {
                        sent: 1,
                        ..Line::default()
                    },
                );
            }
        }
    }

    /// It was answered; gives the refusals that waited for it to `release`.
    pub fn end(
        &mut self,
        topic: &TopicPath,
        events: usize,
        bytes: usize,
        mut release: impl FnMut(Bytes),
    ) {
        self.events -= events;
        self.bytes -= bytes;
        let Some(line) = self.lines.get_mut(topic) else {
            return;
        };
        line.answered += 1;
        while let Some((_, refusal)) = line
            .held
            .pop_front_if(|(behind, _)| *behind <= line.answered)
        {
            self.bytes -= refusal.len();
            self.events -= 1;
            release(refusal);
        }
        if line.answered == line.sent {
            self.lines.remove(topic);
        }
    }

    /// A refusal of a publish to `topic`: given back at once, or held behind what is under way, since answers
    /// come in order per topic. What is held counts in the window.
    pub fn refuse(&mut self, topic: &TopicPath, refusal: Bytes) -> Option<Bytes> {
        let Some(line) = self.lines.get_mut(topic) else {
            return Some(refusal);
        };
        self.bytes += refusal.len();
        self.events += 1;
        line.held.push_back((line.sent, refusal));
        None
    }

    /// Nothing behind a refused publish may make a hole: its topic stays closed on this connection.
    pub fn close_gate(&mut self, topic: &TopicPath, until: u64, now: u64) {
        if self.gates.len() >= MAX_GATES {
            self.gates.retain(|_, until| *until > now);
        }
        if self.gates.len() < MAX_GATES || self.gates.contains_key(topic) {
            self.gates.insert(topic.clone(), until);
        } else {
            self.common_gate = self.common_gate.max(until);
        }
    }

    /// How long the topic's gate stays closed.
    pub fn closed_for(&mut self, topic: &TopicPath, now: u64) -> Option<u64> {
        let own = self.gates.get(topic).copied().unwrap_or(0);
        let until = own.max(self.common_gate);
        if until > now {
            return Some(until - now);
        }
        if own > 0 {
            self.gates.remove(topic);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_closes_at_either_bound() {
        let topic = TopicPath::parse("/a").expect("a topic");
        let mut intake = Intake::new(2, 100);
        intake.begin(&topic, 1, 50);
        assert!(intake.is_open());
        intake.begin(&topic, 1, 10);
        assert!(!intake.is_open());
        intake.end(&topic, 1, 10, |_| ());
        intake.begin(&topic, 0, 60);
        assert!(!intake.is_open());
    }

    #[test]
    fn a_refusal_waits_for_the_answers_before_it() {
        let topic = TopicPath::parse("/a").expect("a topic");
        let other = TopicPath::parse("/b").expect("a topic");
        let mut intake = Intake::new(10, 100);
        let mut released = Vec::new();
        intake.begin(&topic, 1, 1);
        intake.begin(&topic, 1, 1);
        assert_eq!(intake.refuse(&topic, Bytes::from_static(b"first")), None);
        assert!(
            intake
                .refuse(&other, Bytes::from_static(b"other"))
                .is_some()
        );
        intake.begin(&topic, 1, 1);
        assert_eq!(intake.refuse(&topic, Bytes::from_static(b"second")), None);
        intake.end(&topic, 1, 1, |refusal| released.push(refusal));
        assert!(released.is_empty());
        intake.end(&topic, 1, 1, |refusal| released.push(refusal));
        assert_eq!(released, [&b"first"[..]]);
        intake.end(&topic, 1, 1, |refusal| released.push(refusal));
        assert_eq!(released, [&b"first"[..], b"second"]);
        assert!(intake.lines.is_empty() && intake.events == 0 && intake.bytes == 0);
    }

    #[test]
    fn a_gate_opens_when_its_time_has_come() {
        let topic = TopicPath::parse("/a").expect("a topic");
        let mut intake = Intake::new(1, 1);
        intake.close_gate(&topic, 50, 0);
        assert_eq!(intake.closed_for(&topic, 20), Some(30));
        assert_eq!(intake.closed_for(&topic, 50), None);
    }
}
