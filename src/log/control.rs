//! The way back: what clients said to the agents of a topic, kept for an agent that is not there yet.
//!
//! It stands beside the log, which has the same events: an agent reads here from a seq on. What one agent
//! acknowledged goes to those who were there already, and to nobody who comes later.
//!
//! Bounds: the last 64 events, for 60 s.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::{Content, Entry, Seq};

/// Control events a topic keeps.
pub const MAX_CONTROLS: usize = 64;
/// For how long, in milliseconds.
pub const CONTROL_MEMORY_MS: u64 = 60_000;

#[derive(Debug)]
struct Kept {
    entry: Arc<Entry>,
    acknowledged: bool,
}

#[derive(Debug, Default)]
pub struct Controls {
    kept: VecDeque<Kept>,
    /// The last one that came, whether it is kept or not.
    newest: Seq,
    bytes: usize,
    expired: u64,
    /// The last one that newer ones pushed out.
    pushed_out: Seq,
    /// Kept ones whose events are still to come back.
    expected: Vec<Seq>,
}

impl Controls {
    pub fn push(&mut self, entry: Arc<Entry>) {
        self.newest = entry.seq;
        self.bytes += entry.cost();
        self.kept.push_back(Kept {
            entry,
            acknowledged: false,
        });
        while self.kept.len() > MAX_CONTROLS {
            self.pushed_out = self
                .kept
                .front()
                .map_or(self.pushed_out, |oldest| oldest.entry.seq);
            self.expire_oldest();
        }
    }

    /// What is kept behind `after` for an agent that is there since `joined`, in order.
    pub fn after(&self, after: Seq, joined: Seq) -> impl Iterator<Item = &Arc<Entry>> {
        let is_owed = move |kept: &&Kept| {
            let seq = kept.entry.seq;
            seq > after && (seq > joined || !kept.acknowledged)
        };
        self.kept.iter().filter(is_owed).map(|kept| &kept.entry)
    }

    /// What is kept for an agent that comes now, in order.
    pub fn pending(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.after(Seq::ZERO, self.newest)
    }

    /// Up to here newer ones pushed out what was kept. An agent that was there all the time is owed it all the
    /// same, and finds it in the log.
    pub fn pushed_out(&self) -> Seq {
        self.pushed_out
    }

    /// After a restart: these were kept, and come back one by one.
    pub fn expect(&mut self, kept: impl Iterator<Item = Seq>, newest: Seq) {
        self.expected = kept.collect();
        self.newest = newest;
    }

    /// An event is back; it is kept if it was.
    pub fn came_back(&mut self, entry: &Arc<Entry>) {
        if let Some(at) = self.expected.iter().position(|seq| *seq == entry.seq) {
            self.expected.swap_remove(at);
            self.bytes += entry.cost();
            self.kept.push_back(Kept {
                entry: entry.clone(),
                acknowledged: false,
            });
        }
    }

    pub fn newest(&self) -> Seq {
        self.newest
    }

    /// An agent has it: nobody gets it who is not there yet. `false`: it was not kept, or acknowledged before.
    pub fn acknowledge(&mut self, seq: Seq) -> bool {
        let kept = self.kept.iter_mut().find(|kept| kept.entry.seq == seq);
        kept.is_some_and(|kept| !std::mem::replace(&mut kept.acknowledged, true))
    }

    /// What is about a message that ended is of no use to anybody.
    pub fn message_ended(&mut self, message: &str) {
        if self.kept.is_empty() {
            return;
        }
        self.kept
            .retain(|kept| message_of(&kept.entry) != Some(message));
        self.bytes = self.kept.iter().map(|kept| kept.entry.cost()).sum();
    }

    /// Drops what is too old.
    pub fn expire(&mut self, now: u64) {
        while self
            .kept
            .front()
            .is_some_and(|oldest| oldest.entry.time + CONTROL_MEMORY_MS <= now)
        {
            self.expire_oldest();
        }
    }

    fn expire_oldest(&mut self) {
        if let Some(oldest) = self.kept.pop_front() {
            self.bytes -= oldest.entry.cost();
            self.expired += u64::from(!oldest.acknowledged);
        }
    }

    /// How many nobody acknowledged in time since the last call, for the metrics.
    pub fn take_expired(&mut self) -> u64 {
        std::mem::take(&mut self.expired)
    }

    pub fn has_expired(&self) -> bool {
        self.expired > 0
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Bytes of memory, of which the log may hold the same.
    pub fn cost(&self) -> usize {
        self.bytes
    }
}

/// The message that a control event is about.
fn message_of(entry: &Entry) -> Option<&str> {
    match &entry.content {
        Content::Control { message } => message.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::NewEvent;

    fn control(seq: u64, time: u64, message: Option<&str>) -> Arc<Entry> {
        let data = Bytes::from_static(b"{}");
        let event = NewEvent::build("run.cancel".into(), None, data).expect("valid");
        let message = message.map(Into::into);
        Arc::new(Entry::new(&event, Seq(seq), time, None, |_| {
            Content::Control { message }
        }))
    }

    fn seqs(controls: &Controls, after: u64) -> Vec<u64> {
        let kept = controls.after(Seq(after), controls.newest());
        kept.map(|entry| entry.seq.0).collect()
    }

    #[test]
    fn the_last_ones_are_kept_for_a_while() {
        let mut controls = Controls::default();
        for seq in 1..=70 {
            controls.push(control(seq, seq, None));
        }
        assert_eq!(seqs(&controls, 0), (7..=70).collect::<Vec<_>>());
        assert_eq!(controls.pushed_out(), Seq(6));
        controls.expire(69 + CONTROL_MEMORY_MS);
        assert_eq!(
            (seqs(&controls, 0), controls.take_expired()),
            (vec![70], 69)
        );
        controls.expire(70 + CONTROL_MEMORY_MS);
        assert!(controls.is_empty() && controls.cost() == 0);
        assert_eq!(controls.newest(), Seq(70));
    }

    #[test]
    fn what_was_acknowledged_or_is_about_an_ended_message_is_gone() {
        let mut controls = Controls::default();
        for (seq, message) in [(1, None), (2, Some("m")), (3, Some("n")), (4, None)] {
            controls.push(control(seq, 0, message));
        }
        assert!(controls.acknowledge(Seq(1)) && !controls.acknowledge(Seq(1)));
        controls.message_ended("m");
        assert_eq!(seqs(&controls, 0), [3, 4]);
        assert_eq!(seqs(&controls, 3), [4]);
        assert_eq!(
            (controls.take_expired(), controls.has_expired()),
            (0, false)
        );
    }

    #[test]
    fn who_was_there_gets_what_another_acknowledged() {
        let mut controls = Controls::default();
        for seq in 1..=3 {
            controls.push(control(seq, 0, None));
            controls.acknowledge(Seq(seq));
        }
        let owed = |joined| {
            let owed = controls.after(Seq::ZERO, Seq(joined));
            owed.map(|entry| entry.seq.0).collect::<Vec<_>>()
        };
        assert_eq!(
            (owed(0), owed(2), owed(3)),
            (vec![1, 2, 3], vec![3], vec![])
        );
        assert_eq!(controls.pending().count(), 0);
        controls.expire(CONTROL_MEMORY_MS);
        assert!(controls.is_empty() && !controls.has_expired());
    }
}
