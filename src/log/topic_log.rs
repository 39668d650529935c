//! The log of one topic.
//!
//! Invariants:
//! - seqs are assigned here, in the step that appends; `entries` is in order of seq;
//! - `first..=head` is what retention kept; a seq in it without an entry was a delta (or
//!   `message.started`) of an ended message, which its end event still tells in full;
//! - `cost` is the memory all of it takes, and what the bound on all logs counts.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::control::Controls;
use super::fold::Folds;
use super::idempotency::{EventIds, Producers};
use super::publish::Staged;
use super::retention::{Retention, TrimCause};
use crate::event::{Content, Entry, Epoch, Seq};

/// An empty topic's epoch and head are remembered that many times its retention by age (24 h for an hour),
/// so that a reader that missed nothing is not reset because it slept long.
const REMEMBERED_AGES: u64 = 24;
/// Entries looked at in one go for control events that are not kept any more.
const MAX_LOOK: usize = 4096;
/// What a topic costs beside what it keeps.
const LOG_OVERHEAD: usize = size_of::<TopicLog>() + 256;

/// What the entries of a log weigh.
#[derive(Debug, Default)]
struct Weight {
    /// As retention counts.
    bytes: usize,
    /// The memory that takes.
    room: usize,
}

impl Weight {
    fn add(&mut self, entry: &Entry) {
        self.bytes += entry.cost();
        self.room += entry.room();
    }

    fn remove(&mut self, entry: &Entry) {
        self.bytes -= entry.cost();
        self.room -= entry.room();
    }
}

pub struct TopicLog {
    epoch: Epoch,
    head: Seq,
    /// The last seq that was given away; the same as `head` unless an engine keeps publishes before it shows them.
    pub(super) accepted: Seq,
    pub(super) staged: Staged,
    /// Retention's edge: the oldest seq that is kept (or was only left out by compaction).
    first: Seq,
    pub(crate) entries: VecDeque<Arc<Entry>>,
    weight: Weight,
    pub(super) folds: Folds,
    pub(super) producers: Producers,
    pub(super) ids: EventIds,
    pub(super) controls: Controls,
    /// A producer began a new run here since the last look.
    pub(super) has_new_run: bool,
    /// Ended messages whose deltas are still here: when they ended, at which seq.
    pub(super) to_compact: VecDeque<(u64, Seq, Arc<str>)>,
    retention: Retention,
    /// The last trim was for the bound on all logs.
    trimmed_for_memory: bool,
    trimmed: Vec<(TrimCause, u64)>,
    /// Left out by compaction since the last look.
    compacted: Vec<Seq>,
    last_append: u64,
}

impl TopicLog {
    pub fn new(epoch: Epoch, retention: Retention, now: u64) -> Self {
        Self {
            epoch,
            head: Seq::ZERO,
            accepted: Seq::ZERO,
            staged: Staged::default(),
            first: Seq(1),
            entries: VecDeque::new(),
            weight: Weight::default(),
            folds: Folds::default(),
            producers: Producers::default(),
            ids: EventIds::default(),
            controls: Controls::default(),
            has_new_run: false,
            to_compact: VecDeque::new(),
            retention,
            trimmed_for_memory: false,
            trimmed: Vec::new(),
            compacted: Vec::new(),
            last_append: now,
        }
    }

    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    pub fn head(&self) -> Seq {
        self.head
    }

    pub fn first(&self) -> Seq {
        self.first
    }

    pub fn folds(&self) -> &Folds {
        &self.folds
    }

    pub fn trimmed_for_memory(&self) -> bool {
        self.trimmed_for_memory
    }

    pub fn event_count(&self) -> usize {
        self.entries.len()
    }

    /// Time of the last append, Unix milliseconds.
    pub fn last_append(&self) -> u64 {
        self.last_append
    }

    /// Events that compaction left out since the last call: an engine that keeps them elsewhere drops them there.
    pub fn take_compacted(&mut self) -> Vec<Seq> {
        std::mem::take(&mut self.compacted)
    }

    /// Bytes of memory of everything here.
    pub fn cost(&self) -> usize {
        LOG_OVERHEAD
            + self.weight.room
            + self.folds.cost()
            + self.producers.cost()
            + self.ids.cost()
            + self.controls.cost()
    }

    /// Nothing is here that anybody could still ask for, and nobody is likely to come back with a position
    /// that is still good: its epoch and head are all that is left.
    pub fn is_forgettable(&self, now: u64) -> bool {
        let kept_for = millis(self.retention.age).saturating_mul(REMEMBERED_AGES);
        self.is_empty() && self.last_append.saturating_add(kept_for) <= now
    }

    /// No events, no open messages, no publishers to recognise.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.folds.open_count() == 0
            && self.producers.is_empty()
            && self.ids.is_empty()
            && self.controls.is_empty()
    }

    /// The way back to the topic's agents.
    pub fn controls(&self) -> &Controls {
        &self.controls
    }

    /// What an agent that is there since `joined` and has everything up to `after` gets next, in order: what is
    /// kept, and before it what newer ones pushed out meanwhile. At most `MAX_LOOK` entries of the log are looked at; the seq is how far.
    pub fn controls_after(&self, after: Seq, joined: Seq) -> (Vec<Arc<Entry>>, Seq) {
        let pushed_out = self.controls.pushed_out();
        if pushed_out <= after {
            return (
                self.controls.after(after, joined).cloned().collect(),
                self.controls.newest(),
            );
        }
        let is_owed = |entry: &&Arc<Entry>| match &entry.content {
            Content::Control { message } => !message
                .as_ref()
                .is_some_and(|message| self.folds.has_ended(message)),
            _ => false,
        };
        let behind = self.entries.range(self.index_of(after.next())..);
        let looked_at = behind
            .take(MAX_LOOK)
            .take_while(|entry| entry.seq <= pushed_out);
        let upto = looked_at
            .clone()
            .last()
            .map_or(pushed_out, |entry| entry.seq);
        (looked_at.filter(is_owed).cloned().collect(), upto)
    }

    /// An agent has this control event: nobody gets it who is not there yet.
    pub fn acknowledge(&mut self, seq: Seq) -> bool {
        self.controls.acknowledge(seq)
    }

    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Whether a producer began a new run here since the last call.
    pub fn take_new_run(&mut self) -> bool {
        std::mem::take(&mut self.has_new_run)
    }

    /// Control events that nobody acknowledged in time since the last call, for the metrics.
    pub fn take_expired_controls(&mut self) -> u64 {
        self.controls.take_expired()
    }

    /// Whether there is something to report.
    pub fn has_trimmed(&self) -> bool {
        !self.trimmed.is_empty() || self.controls.has_expired()
    }

    /// What was trimmed since the last call, for the metrics.
    pub fn take_trimmed(&mut self) -> Vec<(TrimCause, u64)> {
        std::mem::take(&mut self.trimmed)
    }

    /// Entries behind `seq`, in order.
    pub fn entries_after(&self, seq: Seq) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.range(self.index_of(seq.next())..)
    }

    /// Index of the first entry with a seq of at least `seq`.
    pub(super) fn index_of(&self, seq: Seq) -> usize {
        // without holes between it and the end, an entry stands as far from the end as its seq from the head
        if let Some(back) = (self.head.0 + 1).checked_sub(seq.0)
            && let Some(at) = self.entries.len().checked_sub(back as usize)
            && self.entries.get(at).is_some_and(|entry| entry.seq == seq)
        {
            return at;
        }
        self.entries.partition_point(|entry| entry.seq < seq)
    }

    pub(super) fn push(&mut self, entry: Entry) -> Arc<Entry> {
        debug_assert_eq!(entry.seq, self.head.next());
        self.head = entry.seq;
        self.last_append = entry.time;
        self.weight.add(&entry);
        let entry = Arc::new(entry);
        self.entries.push_back(entry.clone());
        entry
    }

    /// Puts an entry back that is not above the head.
    pub(super) fn push_back(&mut self, entry: Arc<Entry>) {
        self.weight.add(&entry);
        self.entries.push_back(entry);
    }

    pub(super) fn set_edges(&mut self, head: Seq, first: Seq) {
        (self.head, self.first) = (head, first);
    }

    pub(super) fn set_trimmed_for_memory(&mut self, trimmed_for_memory: bool) {
        self.trimmed_for_memory = trimmed_for_memory;
    }

    /// Applies retention. Called with every append and by the sweep.
    pub(super) fn retain(&mut self, now: u64) {
        while self.entries.len() > self.retention.events {
            self.drop_oldest(TrimCause::Count);
        }
        while self.weight.bytes > self.retention.bytes && !self.entries.is_empty() {
            self.drop_oldest(TrimCause::Bytes);
        }
        let age = millis(self.retention.age);
        while self
            .entries
            .front()
            .is_some_and(|oldest| oldest.time + age <= now)
        {
            self.drop_oldest(TrimCause::Age);
        }
    }

    fn drop_oldest(&mut self, cause: TrimCause) {
        let Some(oldest) = self.entries.pop_front() else {
            return;
        };
        self.weight.remove(&oldest);
        self.first = oldest.seq.next();
        self.trimmed_for_memory = cause == TrimCause::Memory;
        self.count_trimmed(cause, 1);
    }

    fn count_trimmed(&mut self, cause: TrimCause, n: u64) {
        match self.trimmed.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, count)) => *count += n,
            None => self.trimmed.push((cause, n)),
        }
    }

    /// Drops the oldest events until `bytes` are free or none is left; for the bound on all logs.
    pub fn free_memory(&mut self, bytes: usize) {
        let target = self.weight.room.saturating_sub(bytes);
        while self.weight.room > target && !self.entries.is_empty() {
            self.drop_oldest(TrimCause::Memory);
        }
        self.entries.shrink_to(self.entries.len() * 2);
    }

    /// What time brings: retention by age, ended messages' deltas after `compact_after`, forgotten publishers.
    pub fn sweep(&mut self, now: u64, compact_after: Duration) {
        self.retain(now);
        self.compact(now, millis(compact_after));
        self.ids.expire(self.first, now);
        self.controls.expire(now);
        if self.entries.is_empty() {
            self.producers.expire(now);
            self.entries.shrink_to_fit();
        }
    }

    /// Leaves out the deltas of messages that ended before `after` ago; their end events keep the text.
    fn compact(&mut self, now: u64, after: u64) {
        let mut due: HashMap<Arc<str>, Seq> = HashMap::new();
        while self
            .to_compact
            .front()
            .is_some_and(|(ended, _, _)| ended + after <= now)
        {
            if let Some((_, seq, message)) = self.to_compact.pop_front() {
                due.insert(message, seq);
            }
        }
        if due.is_empty() {
            return;
        }
        let before = self.entries.len();
        let (weight, compacted) = (&mut self.weight, &mut self.compacted);
        self.entries.retain(|entry| {
            let (Content::Delta { message, .. } | Content::Started { message }) = &entry.content
            else {
                return true;
            };
            let keep = due.get(message).is_none_or(|end| entry.seq > *end);
            if !keep {
                weight.remove(entry);
                compacted.push(entry.seq);
            }
            keep
        });
        self.count_trimmed(TrimCause::Compaction, (before - self.entries.len()) as u64);
        self.entries.shrink_to(self.entries.len() * 2);
    }
}

pub fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX / 4)
}
