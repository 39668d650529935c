//! What a connection may have under way: the window over which it is not read further, and gates of
//! topics whose publishes were refused for their rate.

use std::collections::HashMap;

use crate::event::TopicPath;

/// Gates a connection may have at once; beyond that all of its topics share one.
const MAX_GATES: usize = 1024;

#[derive(Debug)]
pub struct Intake {
    max_events: usize,
    max_bytes: usize,
    events: usize,
    bytes: usize,
    /// Until when nothing is accepted for a topic, in the caller's milliseconds.
    gates: HashMap<TopicPath, u64>,
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
            gates: HashMap::new(),
            common_gate: 0,
        }
    }

    /// Whether the connection may be read further.
    pub fn is_open(&self) -> bool {
        self.events < self.max_events && self.bytes < self.max_bytes
    }

    /// A publish is under way.
    pub fn begin(&mut self, events: usize, bytes: usize) {
        self.events += events;
        self.bytes += bytes;
    }

    /// It was answered.
    pub fn end(&mut self, events: usize, bytes: usize) {
        self.events -= events;
        self.bytes -= bytes;
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

/// A token bucket (GCRA: one number, no timer).
#[derive(Debug)]
pub struct Rate {
    /// Events a second.
    per_second: u64,
    burst: u64,
    /// The time at which the bucket would be full again, in nanoseconds.
    full_at: u128,
}

impl Rate {
    pub fn new(per_second: u64, burst: u64) -> Self {
        Self {
            per_second,
            burst,
            full_at: 0,
        }
    }

    /// Takes `n`, or says how many milliseconds to wait. A batch larger than the burst passes when the bucket is full.
    pub fn take(&mut self, n: u64, now_ms: u64) -> Result<(), u64> {
        if self.per_second == 0 {
            return Ok(());
        }
        let now = u128::from(now_ms) * 1_000_000;
        let cost = |n: u64| u128::from(n) * 1_000_000_000 / u128::from(self.per_second);
        let full_at = self.full_at.max(now);
        let allowed = now + cost(self.burst.max(n));
        let after = full_at + cost(n);
        if after > allowed {
            let wait = after - allowed;
            return Err((wait / 1_000_000) as u64 + 1);
        }
        self.full_at = after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_closes_at_either_bound() {
        let mut intake = Intake::new(2, 100);
        intake.begin(1, 50);
        assert!(intake.is_open());
        intake.begin(1, 10);
        assert!(!intake.is_open());
        intake.end(1, 10);
        intake.begin(0, 60);
        assert!(!intake.is_open());
    }

    #[test]
    fn a_gate_opens_when_its_time_has_come() {
        let topic = TopicPath::parse("/a").expect("a topic");
        let mut intake = Intake::new(1, 1);
        intake.close_gate(&topic, 50, 0);
        assert_eq!(intake.closed_for(&topic, 20), Some(30));
        assert_eq!(intake.closed_for(&topic, 50), None);
    }

    #[test]
    fn a_rate_refuses_beyond_its_burst_and_says_when() {
        let mut rate = Rate::new(10, 5);
        assert_eq!(rate.take(5, 1000), Ok(()));
        assert_eq!(rate.take(1, 1000), Err(101));
        assert_eq!(rate.take(1, 1101), Ok(()));
        assert!(Rate::new(0, 0).take(u64::MAX, 0).is_ok());
        // a batch larger than the burst is not refused for ever
        assert_eq!(Rate::new(10, 5).take(20, 1000), Ok(()));
    }
}
