//! Reading a log from a position: the one path for live, resume, replay and catching up.
//!
//! A reader is a `ReadState`. Each `read` answers with what comes next for it and moves it; a whole
//! position reads `raw` (the entries as they are), a partial one `compact` (ended messages as their end
//! event, and at the head one snapshot per open message, taken in the same step that reaches the head).

use std::sync::Arc;

use super::merge::{MAX_MERGED_TEXT, can_join, join, text_len};
use super::topic_log::TopicLog;
use crate::event::{Content, Entry, Epoch, Position, Seq, Snapshot, TypeFilter};

/// Where a reader stands in one life of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadState {
    /// The last seq it has.
    pub seq: Seq,
    /// It lacks the beginning of open messages, and reads compact until the head.
    pub partial: bool,
}

/// `from`: where a reader wants to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFrom {
    /// Snapshots of the open messages, then live.
    Snapshot,
    Live,
    /// All that is kept.
    Start,
    Last(u64),
    After(Position),
    /// A cursor that says nothing: everything is reset.
    BadCursor,
}

impl ReadFrom {
    /// `None`: neither a word of the protocol nor a position.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "snapshot" => Some(Self::Snapshot),
            "live" => Some(Self::Live),
            "start" => Some(Self::Start),
            _ => match text.strip_prefix("last:") {
                Some(n) if !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()) => {
                    Some(Self::Last(n.parse().unwrap_or(u64::MAX)))
                }
                Some(_) => None,
                None => Position::parse(text).map(Self::After),
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replay {
    #[default]
    Raw,
    Compact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetReason {
    Epoch,
    AheadOfHead,
    BadCursor,
    Deleted,
}

impl ResetReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::AheadOfHead => "ahead_of_head",
            Self::BadCursor => "bad_cursor",
            Self::Deleted => "deleted",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    Retention,
    Memory,
}

impl GapReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Memory => "memory",
        }
    }
}

/// Events that a reader was owed and which are gone: `from..=to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub from: Seq,
    pub to: Seq,
    pub reason: GapReason,
}

/// How a reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    pub epoch: Epoch,
    pub head: Seq,
    pub state: ReadState,
    /// The reader must forget what it has of the topic.
    pub reset: Option<ResetReason>,
    /// A position was given and neither `gap` nor `reset` follows.
    pub resumed: bool,
}

impl Attach {
    /// How the reading of a topic that does not exist begins.
    pub fn to_nothing(from: &ReadFrom) -> Self {
        let reset = match from {
            ReadFrom::After(position) if position.seq > Seq::ZERO => Some(ResetReason::Epoch),
            ReadFrom::BadCursor => Some(ResetReason::BadCursor),
            _ => None,
        };
        let given = matches!(from, ReadFrom::After(_));
        Self {
            epoch: Epoch::none(),
            head: Seq::ZERO,
            state: ReadState {
                seq: Seq::ZERO,
                partial: reset.is_some(),
            },
            reset,
            resumed: given && reset.is_none(),
        }
    }

    /// Where this reading begins; `None` before a `reset`.
    pub fn position(&self) -> Option<Position> {
        let ReadState { seq, partial } = self.state;
        self.reset.is_none().then(|| Position {
            epoch: self.epoch.clone(),
            seq,
            partial,
        })
    }
}

/// What one `read` may take at most.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Stop when this many bytes of envelopes are gathered (at least one event is).
    pub bytes: usize,
    /// Entries to look at.
    pub scanned: usize,
    /// Events to give.
    pub events: usize,
}

impl ReadLimits {
    /// What goes into one frame of a reader that is behind.
    pub const FRAME: ReadLimits = ReadLimits {
        bytes: 32 << 10,
        scanned: 4096,
        events: 1024,
    };
}

/// How a reader wants to see events.
#[derive(Debug, Clone, Copy)]
pub struct ReadView<'a> {
    pub filter: &'a TypeFilter,
    /// Deltas may be merged.
    pub merge: bool,
}

/// One thing to show a reader.
#[derive(Debug, Clone)]
pub enum Item {
    Event(Arc<Entry>),
    /// An end event with `parts` and `started` in its envelope.
    Compact(Arc<Entry>),
    /// Consecutive deltas of one message, kind, part and source.
    Merged(Vec<Arc<Entry>>),
    Snapshot(Arc<Snapshot>),
}

/// Moves a reader from `after` to `after + …` as a whole.
#[derive(Debug, Clone)]
pub struct Batch {
    pub after: Seq,
    /// Where the reader stands when it has all of it.
    pub to: ReadState,
    /// It was read as compact: before its end the reader stands partial.
    pub compact: bool,
    pub items: Vec<Item>,
}

#[derive(Debug, Clone)]
pub enum Reading {
    /// Nothing more for now.
    CaughtUp,
    Gap(Gap),
    Batch(Batch),
}

impl TopicLog {
    /// Finds where a reading begins.
    pub fn attach(&self, from: &ReadFrom, replay: Replay, filter: &TypeFilter) -> Attach {
        let (state, reset) = self.begin(from, replay, filter);
        let gap = self.gap_before(state).is_some();
        let given = matches!(from, ReadFrom::After(_));
        Attach {
            epoch: self.epoch().clone(),
            head: self.head(),
            state,
            reset,
            resumed: given && reset.is_none() && !gap,
        }
    }

    fn begin(
        &self,
        from: &ReadFrom,
        replay: Replay,
        filter: &TypeFilter,
    ) -> (ReadState, Option<ResetReason>) {
        let head = self.head();
        let reset = |reason| {
            (
                ReadState {
                    seq: Seq::ZERO,
                    partial: true,
                },
                Some(reason),
            )
        };
        match from {
            ReadFrom::Live => (
                ReadState {
                    seq: head,
                    partial: false,
                },
                None,
            ),
            ReadFrom::Snapshot => (
                self.settled(
                    ReadState {
                        seq: head,
                        partial: true,
                    },
                    filter,
                ),
                None,
            ),
            ReadFrom::Start => (self.oldest_kept(replay), None),
            ReadFrom::Last(n) => {
                let seq = Seq(head.0.saturating_sub(*n)).max(self.first().prev());
                let state = if seq == Seq::ZERO {
                    self.oldest_kept(replay)
                } else {
                    ReadState { seq, partial: true }
                };
                (self.settled(state, filter), None)
            }
            ReadFrom::After(position) => {
                if position.seq > Seq::ZERO && position.epoch != *self.epoch() {
                    return reset(ResetReason::Epoch);
                }
                if position.seq > head {
                    return reset(ResetReason::AheadOfHead);
                }
                let behind = position.seq < head;
                let partial = position.partial || (replay == Replay::Compact && behind);
                let state = ReadState {
                    seq: position.seq,
                    partial,
                };
                (self.settled(self.past_trimmed(state), filter), None)
            }
            ReadFrom::BadCursor => reset(ResetReason::BadCursor),
        }
    }

    /// A kept seq 1 can be read raw; anything later lacks a beginning.
    fn oldest_kept(&self, replay: Replay) -> ReadState {
        let seq = self.first().prev();
        let whole = seq == Seq::ZERO
            && self
                .entries
                .front()
                .is_none_or(|oldest| oldest.seq == Seq(1));
        ReadState {
            seq,
            partial: !whole || replay == Replay::Compact,
        }
    }

    /// Seq 0 of a partial position asks for all that is kept, without a gap for what is not.
    fn past_trimmed(&self, state: ReadState) -> ReadState {
        if state.partial && state.seq == Seq::ZERO {
            ReadState {
                seq: self.first().prev(),
                ..state
            }
        } else {
            state
        }
    }

    /// At the head with no open message to tell, nothing is lacking.
    fn settled(&self, state: ReadState, filter: &TypeFilter) -> ReadState {
        let nothing_open = self.folds().open_count() == 0 || !filter.admits_deltas();
        ReadState {
            partial: state.partial && !(state.seq == self.head() && nothing_open),
            ..state
        }
    }

    /// What a reader at `state` was owed and is gone.
    pub fn gap_before(&self, state: ReadState) -> Option<Gap> {
        let owed = state.seq.next();
        let missing = owed < self.first() && !(state.partial && state.seq == Seq::ZERO);
        let reason = if self.trimmed_for_memory() {
            GapReason::Memory
        } else {
            GapReason::Retention
        };
        missing.then(|| Gap {
            from: owed,
            to: self.first().prev(),
            reason,
        })
    }

    /// What comes next for a reader at `state`. `visible`: the last seq that its coalescing window shows
    /// (the head, without one); it holds back raw reading only.
    pub fn read(
        &self,
        state: ReadState,
        visible: Seq,
        view: ReadView<'_>,
        limits: ReadLimits,
    ) -> Reading {
        if let Some(gap) = self.gap_before(state) {
            return Reading::Gap(gap);
        }
        let state = self.past_trimmed(state);
        if !state.partial {
            let upper = visible.min(self.head());
            if state.seq >= upper {
                return Reading::CaughtUp;
            }
            let at = self.index_of(state.seq.next());
            if self
                .entries
                .get(at)
                .is_some_and(|entry| entry.seq == state.seq.next())
            {
                return Reading::Batch(self.read_raw(state.seq, at, upper, view, limits));
            }
            // deltas of an ended message were left out here: its end event tells them
        }
        Reading::Batch(self.read_compact(state.seq, view, limits))
    }

    fn read_raw(
        &self,
        after: Seq,
        at: usize,
        upper: Seq,
        view: ReadView<'_>,
        limits: ReadLimits,
    ) -> Batch {
        let mut items: Vec<Item> = Vec::new();
        let mut upto = after;
        let mut budget = Budget::new(limits);
        let mut merged_text = 0;
        for entry in self.entries.range(at..).take(limits.scanned) {
            if entry.seq != upto.next() || entry.seq > upper {
                break;
            }
            if view.filter.admits(entry.name()) {
                let text = text_len(entry);
                let merges = view.merge
                    && merged_text + text <= MAX_MERGED_TEXT
                    && items.last().is_some_and(|last| can_join(last, entry));
                match items.last_mut() {
                    Some(last) if merges => {
                        merged_text += text;
                        join(last, entry);
                    }
                    _ => {
                        if !budget.take(entry.envelope().len()) {
                            break;
                        }
                        merged_text = text;
                        items.push(Item::Event(entry.clone()));
                    }
                }
            }
            upto = entry.seq;
        }
        Batch {
            after,
            to: ReadState {
                seq: upto,
                partial: false,
            },
            compact: false,
            items,
        }
    }

    fn read_compact(&self, after: Seq, view: ReadView<'_>, limits: ReadLimits) -> Batch {
        let mut items = Vec::new();
        let mut upto = after;
        let mut budget = Budget::new(limits);
        let mut at = self.index_of(after.next());
        let end = at.saturating_add(limits.scanned).min(self.entries.len());
        while at < end {
            let entry = &self.entries[at];
            if view.filter.admits(entry.name()) {
                let item = match &entry.content {
                    Content::Delta { .. } | Content::Started { .. } => None,
                    Content::Ended { .. } => Some(Item::Compact(entry.clone())),
                    Content::Plain | Content::Control { .. } => Some(Item::Event(entry.clone())),
                };
                if let Some(item) = item {
                    if !budget.take(entry.cost()) {
                        break;
                    }
                    items.push(item);
                }
            }
            upto = entry.seq;
            at += 1;
        }
        let partial = at < self.entries.len();
        if !partial {
            upto = self.head();
            if view.filter.admits_deltas() {
                items.extend(
                    self.folds()
                        .snapshots(upto)
                        .into_iter()
                        .map(|s| Item::Snapshot(Arc::new(s))),
                );
            }
        }
        Batch {
            after,
            to: ReadState { seq: upto, partial },
            compact: true,
            items,
        }
    }
}

/// Counts down what one read may take; the first event always fits.
struct Budget {
    bytes: usize,
    events: usize,
    empty: bool,
}

impl Budget {
    fn new(limits: ReadLimits) -> Self {
        Self {
            bytes: limits.bytes,
            events: limits.events.max(1),
            empty: true,
        }
    }

    fn take(&mut self, bytes: usize) -> bool {
        if self.events == 0 || (bytes > self.bytes && !self.empty) {
            return false;
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.events -= 1;
        self.empty = false;
        true
    }
}
