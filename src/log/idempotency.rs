//! What a topic remembers of publishers, so that a retried publish is one publish.
//!
//! Bounds: the last 1,024 answers a producer; 4,096 producers and 100,000 event ids a topic.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::event::Seq;

/// Answers kept for each producer.
pub const MAX_ANSWERS: usize = 1024;
/// Producers a topic remembers; beyond that a new one is refused until an old one may be forgotten.
pub const MAX_PRODUCERS: usize = 4096;
/// Event ids a topic remembers; beyond that the oldest are forgotten.
pub const MAX_IDS: usize = 100_000;
/// A silent producer is remembered at least this long (and while the log has events).
pub const PRODUCER_MEMORY_MS: u64 = 3_600_000;
/// An id is remembered at least this long (and while its event is kept).
pub const ID_MEMORY_MS: u64 = 120_000;

/// The first and the last seq that a publish got.
pub type Range = (Seq, Seq);

/// One publishing process, as it names itself with a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    pub id: Arc<str>,
    pub epoch: u64,
    /// Counts its publishes to this topic in this epoch, from 1; `None` (a run that is attached, or a stream):
    /// no deduplication.
    pub seq: Option<u64>,
}

#[derive(Debug)]
struct ProducerState {
    epoch: u64,
    last_seq: u64,
    answers: VecDeque<Range>,
    last_time: u64,
}

impl ProducerState {
    fn new(epoch: u64, now: u64) -> Self {
        Self {
            epoch,
            last_seq: 0,
            answers: VecDeque::new(),
            last_time: now,
        }
    }
}

/// What a publish with a producer is.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    Next,
    /// Already answered; `None`: too long ago to know the answer.
    Duplicate(Option<Range>),
    Gap {
        expected: u64,
    },
    Fenced {
        current: u64,
    },
    Unknown,
    /// No place for another producer.
    Full,
}

/// The producers of a topic, by (principal, producer id).
#[derive(Debug, Default)]
pub struct Producers {
    known: HashMap<(Arc<str>, Arc<str>), ProducerState>,
    answers: usize,
}

impl Producers {
    pub fn standing(&self, principal: &Arc<str>, producer: &Producer) -> Standing {
        let Some(known) = self.known.get(&(principal.clone(), producer.id.clone())) else {
            return match producer.seq {
                _ if self.known.len() >= MAX_PRODUCERS => Standing::Full,
                None | Some(1) => Standing::Next,
                Some(_) => Standing::Unknown,
            };
        };
        if producer.epoch < known.epoch {
            return Standing::Fenced {
                current: known.epoch,
            };
        }
        let Some(seq) = producer.seq else {
            return Standing::Next;
        };
        let expected = if producer.epoch > known.epoch {
            1
        } else {
            known.last_seq + 1
        };
        if seq > expected || (producer.epoch > known.epoch && seq != 1) {
            return Standing::Gap { expected };
        }
        if seq == expected {
            return Standing::Next;
        }
        let back = (known.last_seq - seq) as usize;
        let answer = known
            .answers
            .len()
            .checked_sub(back + 1)
            .map(|at| known.answers[at]);
        Standing::Duplicate(answer)
    }

    /// The epoch of the producer's latest run here.
    pub fn epoch(&self, principal: &Arc<str>, id: &Arc<str>) -> Option<u64> {
        let known = self.known.get(&(principal.clone(), id.clone()));
        known.map(|state| state.epoch)
    }

    /// All producers with the epochs of their latest runs.
    pub fn epochs(&self) -> impl Iterator<Item = (&(Arc<str>, Arc<str>), u64)> {
        self.known.iter().map(|(key, state)| (key, state.epoch))
    }

    /// Each producer with the epoch and last seq of its latest run, and when that was heard of.
    pub fn summaries(&self) -> impl Iterator<Item = (&(Arc<str>, Arc<str>), u64, u64, u64)> {
        self.known
            .iter()
            .map(|(key, state)| (key, state.epoch, state.last_seq, state.last_time))
    }

    /// Puts a producer back as it was, without its answers.
    pub fn restore(&mut self, key: (Arc<str>, Arc<str>), epoch: u64, last_seq: u64, time: u64) {
        let mut state = ProducerState::new(epoch, time);
        state.last_seq = last_seq;
        self.known.insert(key, state);
    }

    /// Puts an answer of its present run back; in order of seq, each event of a publish may bring it.
    pub fn remember_answer(&mut self, principal: &Arc<str>, producer: &Producer, range: Range) {
        let key = (principal.clone(), producer.id.clone());
        let Some(state) = self.known.get_mut(&key) else {
            return;
        };
        let is_known = state.answers.back() == Some(&range);
        if producer.seq.is_none() || producer.epoch != state.epoch || is_known {
            return;
        }
        state.answers.push_back(range);
        self.answers += 1;
        if state.answers.len() > MAX_ANSWERS {
            state.answers.pop_front();
            self.answers -= 1;
        }
    }

    /// Fences every run before `epoch`, where the producer is known; answers whether that is news.
    pub fn fence(&mut self, principal: &Arc<str>, id: &Arc<str>, epoch: u64, now: u64) -> bool {
        let Some(state) = self.known.get_mut(&(principal.clone(), id.clone())) else {
            return false;
        };
        if epoch <= state.epoch {
            return false;
        }
        self.answers -= state.answers.len();
        *state = ProducerState::new(epoch, now);
        true
    }

    /// Remembers the answer of a publish that stood as `Next`; answers whether it is the first of its run here.
    pub fn record(
        &mut self,
        principal: &Arc<str>,
        producer: &Producer,
        range: Range,
        now: u64,
    ) -> bool {
        let fenced = self.fence(principal, &producer.id, producer.epoch, now);
        let mut first = fenced;
        let state = self
            .known
            .entry((principal.clone(), producer.id.clone()))
            .or_insert_with(|| {
                first = true;
                ProducerState::new(producer.epoch, now)
            });
        state.last_time = now;
        let Some(seq) = producer.seq else {
            return first;
        };
        state.last_seq = seq;
        state.answers.push_back(range);
        self.answers += 1;
        if state.answers.len() > MAX_ANSWERS {
            state.answers.pop_front();
            self.answers -= 1;
        }
        first
    }

    /// Forgets who was silent for an hour; only called when the log itself has nothing of theirs any more.
    pub fn expire(&mut self, now: u64) {
        self.known
            .retain(|_, state| state.last_time + PRODUCER_MEMORY_MS > now);
        self.answers = self.known.values().map(|state| state.answers.len()).sum();
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub fn cost(&self) -> usize {
        self.known.len() * (size_of::<ProducerState>() + 128) + self.answers * size_of::<Range>()
    }
}

/// The event ids of a topic.
#[derive(Debug, Default)]
pub struct EventIds {
    known: HashMap<Arc<str>, Range>,
    /// In order of age: the id, its event's seq, when it came.
    by_age: VecDeque<(Arc<str>, Seq, u64)>,
    bytes: usize,
}

impl EventIds {
    pub fn get(&self, id: &str) -> Option<Range> {
        self.known.get(id).copied()
    }

    /// `batch`: what the publish that brought the id was answered.
    pub fn insert(&mut self, id: &str, seq: Seq, batch: Range, now: u64) {
        let id: Arc<str> = id.into();
        self.bytes += id.len();
        self.known.insert(id.clone(), batch);
        self.by_age.push_back((id, seq, now));
        if self.by_age.len() > MAX_IDS {
            self.forget_oldest();
        }
    }

    /// Forgets ids whose event is gone (before `first`) and which are old enough.
    pub fn expire(&mut self, first: Seq, now: u64) {
        while let Some((_, seq, time)) = self.by_age.front() {
            if *seq >= first || *time + ID_MEMORY_MS > now {
                return;
            }
            self.forget_oldest();
        }
        // a burst's capacity is given back when it is gone
        self.by_age.shrink_to(self.by_age.len() * 2);
        self.known.shrink_to(self.known.len() * 2);
    }

    fn forget_oldest(&mut self) {
        if let Some((id, _, _)) = self.by_age.pop_front() {
            self.bytes -= id.len();
            self.known.remove(&id);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    pub fn cost(&self) -> usize {
        self.bytes + self.by_age.len() * 96
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(epoch: u64, seq: u64) -> Producer {
        Producer {
            id: "p".into(),
            epoch,
            seq: Some(seq),
        }
    }

    #[test]
    fn a_producer_counts_from_one_and_its_retries_are_known() {
        let me: Arc<str> = "me".into();
        let mut producers = Producers::default();
        assert_eq!(producers.standing(&me, &producer(1, 2)), Standing::Unknown);
        for seq in 1..=1030 {
            assert_eq!(producers.standing(&me, &producer(1, seq)), Standing::Next);
            producers.record(
                &me,
                &producer(1, seq),
                (Seq(seq * 10), Seq(seq * 10 + 1)),
                0,
            );
        }
        assert_eq!(
            producers.standing(&me, &producer(1, 1030)),
            Standing::Duplicate(Some((Seq(10300), Seq(10301))))
        );
        assert_eq!(
            producers.standing(&me, &producer(1, 7)),
            Standing::Duplicate(Some((Seq(70), Seq(71))))
        );
        assert_eq!(
            producers.standing(&me, &producer(1, 6)),
            Standing::Duplicate(None)
        );
        assert_eq!(
            producers.standing(&me, &producer(1, 1032)),
            Standing::Gap { expected: 1031 }
        );
        assert_eq!(
            producers.standing(&"you".into(), &producer(1, 1)),
            Standing::Next
        );
    }

    #[test]
    fn a_higher_epoch_starts_at_one_and_fences_the_lower() {
        let me: Arc<str> = "me".into();
        let mut producers = Producers::default();
        producers.record(&me, &producer(3, 1), (Seq(1), Seq(1)), 0);
        assert_eq!(
            producers.standing(&me, &producer(4, 2)),
            Standing::Gap { expected: 1 }
        );
        producers.record(&me, &producer(4, 1), (Seq(2), Seq(2)), 0);
        assert_eq!(
            producers.standing(&me, &producer(3, 2)),
            Standing::Fenced { current: 4 }
        );
        assert_eq!(
            producers.standing(&me, &producer(4, 1)),
            Standing::Duplicate(Some((Seq(2), Seq(2))))
        );
        producers.expire(PRODUCER_MEMORY_MS + 1);
        assert!(producers.is_empty());
    }

    #[test]
    fn ids_live_as_long_as_their_event_and_two_minutes() {
        let mut ids = EventIds::default();
        ids.insert("a", Seq(1), (Seq(1), Seq(2)), 0);
        ids.insert("b", Seq(2), (Seq(1), Seq(2)), 0);
        ids.expire(Seq(3), ID_MEMORY_MS - 1);
        assert_eq!(ids.get("a"), Some((Seq(1), Seq(2))));
        ids.expire(Seq(2), ID_MEMORY_MS);
        assert_eq!((ids.get("a"), ids.get("b").is_some()), (None, true));
        for i in 0..MAX_IDS {
            ids.insert(&format!("x{i}"), Seq(3), (Seq(3), Seq(3)), 0);
        }
        assert_eq!(ids.get("b"), None);
    }
}
