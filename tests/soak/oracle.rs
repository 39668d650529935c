//! What was published, and what may be gone.
//!
//! Each topic has one writer, which puts every event here before it sends it: the seq an event will get is
//! known beforehand, and whatever a reader is shown can be compared at once. Producer seqs and event ids
//! keep that order through cuts and retries; if the broker breaks it, the answers and every reader differ.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use crate::setup::{self, COMPACT_AFTER, CROWD_THREADS, Retention};
use crate::wording::{self, FIRST_NOTE, Form};

/// More than an event takes of a log beside its data, and the clocks' difference.
const ENTRY_OVERHEAD: u64 = 640;
const CLOCK_SLACK: Duration = Duration::from_millis(50);

/// Who published an event: one of two producers of its topic, or nobody in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Nobody,
    Agent(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Delta {
        kind: u8,
        part: u8,
        extra: bool,
    },
    Started,
    Completed {
        whole: bool,
    },
    Interrupted,
    /// An index into `TYPES`.
    Note(u8),
}

impl What {
    /// An index into `TYPES`.
    pub fn type_index(self) -> u8 {
        match self {
            What::Delta { .. } => 0,
            What::Started => 1,
            What::Completed { .. } => 2,
            What::Interrupted => 3,
            What::Note(index) => index,
        }
    }

    pub fn type_name(self) -> &'static str {
        wording::TYPES[usize::from(self.type_index())]
    }

    pub fn ends(self) -> bool {
        matches!(self, What::Completed { .. } | What::Interrupted)
    }

    /// Compact reading leaves it out.
    pub fn is_left_out(self) -> bool {
        matches!(self, What::Delta { .. } | What::Started)
    }
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    pub what: What,
    /// The message it belongs to; of no meaning for notes.
    pub message: u32,
    pub source: Source,
    pub has_id: bool,
    /// Messages that are open after it.
    pub open: u16,
    /// When it was put here: not later than its append.
    at_ms: u32,
    /// At least the bytes that the log up to it has taken.
    weight: u64,
}

/// One message.
#[derive(Debug, Default)]
pub struct Spoken {
    pub first: u64,
    pub started: Option<u64>,
    /// Seqs of its deltas.
    pub deltas: Vec<u32>,
    pub end: Option<u64>,
}

/// The text of one (part, kind).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub part: u8,
    pub kind: u8,
    pub text: String,
}

pub struct Topic {
    pub number: usize,
    pub path: String,
    pub retention: Retention,
    began: Instant,
    plan: RwLock<Plan>,
    /// Set by whoever is told first; everybody else has to be told the same.
    epoch: OnceLock<String>,
    /// The last seq whose publish was acknowledged.
    pub acknowledged: AtomicU64,
    /// Where the slowest of those stands who read as fast as they can, by thread.
    pub slowest: [AtomicU64; CROWD_THREADS],
}

pub struct Plan {
    salt: u64,
    events: Vec<Planned>,
    messages: Vec<Spoken>,
}

impl Topic {
    pub fn new(number: usize, seed: u64) -> Topic {
        let (path, retention) = setup::topic(number);
        Topic {
            number,
            path,
            retention,
            began: Instant::now(),
            plan: RwLock::new(Plan {
                salt: wording::mix(seed, number as u64),
                events: Vec::new(),
                messages: Vec::new(),
            }),
            epoch: OnceLock::new(),
            acknowledged: AtomicU64::new(0),
            slowest: [const { AtomicU64::new(u64::MAX) }; CROWD_THREADS],
        }
    }

    pub fn plan(&self) -> RwLockReadGuard<'_, Plan> {
        self.plan.read().expect("no poisoned plan")
    }

    /// Changes the plan, as its one writer.
    pub fn extend<T>(&self, change: impl FnOnce(&mut Plan, u32) -> T) -> T {
        let now = self.began.elapsed().as_millis() as u32;
        change(&mut self.plan.write().expect("no poisoned plan"), now)
    }

    /// Whether this is the topic's one epoch.
    pub fn is_epoch(&self, epoch: &str) -> bool {
        self.epoch.get_or_init(|| epoch.to_owned()) == epoch
    }

    pub fn acknowledge(&self, seq: u64) {
        self.acknowledged.fetch_max(seq, Ordering::Relaxed);
    }

    /// How far the slowest reader is behind what was published.
    pub fn lag(&self) -> u64 {
        let slowest = self.slowest.iter().map(|seq| seq.load(Ordering::Relaxed));
        let head = self.plan().head();
        head.saturating_sub(slowest.min().unwrap_or(u64::MAX))
    }

    /// Whether retention allows that everything up to `seq` is gone by now.
    pub fn may_be_trimmed(&self, plan: &Plan, seq: u64) -> bool {
        let Some(event) = plan.get(seq) else {
            return seq == 0;
        };
        let kept = plan.events.last().map_or(0, |last| last.weight) - event.weight;
        plan.head() - seq >= self.retention.events
            || kept >= self.retention.bytes
            || self.since(event.at_ms) >= self.retention.age
    }

    /// Whether this event may have been left out because its message ended long enough ago.
    pub fn may_be_compacted(&self, plan: &Plan, seq: u64) -> bool {
        let Some(event) = plan.get(seq).filter(|event| event.what.is_left_out()) else {
            return false;
        };
        let end = plan
            .message(event.message)
            .end
            .and_then(|end| plan.get(end));
        end.is_some_and(|end| self.since(end.at_ms) >= COMPACT_AFTER)
    }

    fn since(&self, at_ms: u32) -> Duration {
        let at = Duration::from_millis(u64::from(at_ms));
        (self.began.elapsed() + CLOCK_SLACK).saturating_sub(at)
    }
}

impl Plan {
    pub fn head(&self) -> u64 {
        self.events.len() as u64
    }

    pub fn get(&self, seq: u64) -> Option<&Planned> {
        self.events.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    pub fn message(&self, number: u32) -> &Spoken {
        &self.messages[number as usize]
    }

    pub fn has_message(&self, number: u32) -> bool {
        (number as usize) < self.messages.len()
    }

    /// The next event of this type is part of a new message: its number.
    pub fn new_message(&mut self) -> u32 {
        self.messages.push(Spoken::default());
        self.messages.len() as u32 - 1
    }

    pub fn push(
        &mut self,
        what: What,
        message: u32,
        source: Source,
        has_id: bool,
        now: u32,
    ) -> u64 {
        let seq = self.head() + 1;
        let (mut open, weight) = self
            .events
            .last()
            .map_or((0, 0), |last| (last.open, last.weight));
        if !matches!(what, What::Note(_)) {
            let spoken = &mut self.messages[message as usize];
            if spoken.first == 0 {
                spoken.first = seq;
                open += 1;
            }
            match what {
                What::Delta { .. } => spoken.deltas.push(seq as u32),
                What::Started => spoken.started = Some(seq),
                _ => {
                    spoken.end = Some(seq);
                    open -= 1;
                }
            }
        }
        self.events.push(Planned {
            what,
            message,
            source,
            has_id,
            open,
            at_ms: now,
            weight,
        });
        let mut data = String::new();
        self.push_data(&mut data, seq);
        // an end event takes its message's text along
        let text = if what.ends() {
            self.messages[message as usize].deltas.len() as u64 * 64
        } else {
            0
        };
        let event = self.events.last_mut().expect("just pushed");
        event.weight += 2 * data.len() as u64 + text + ENTRY_OVERHEAD;
        seq
    }

    /// `data` of an event, exactly as it is published.
    pub fn push_data(&self, out: &mut String, seq: u64) {
        let Some(event) = self.get(seq) else { return };
        let at = (self.salt, seq);
        match event.what {
            What::Delta { kind, part, extra } => {
                wording::push_delta(out, at, event.message, (kind, part), extra);
            }
            What::Started => wording::push_started(out, seq, event.message),
            What::Completed { whole } => wording::push_completed(out, at, event.message, whole),
            What::Interrupted => wording::push_interrupted(out, seq, event.message),
            What::Note(note) => wording::push_note(out, at, note),
        }
    }

    pub fn push_text(&self, out: &mut String, seq: u64) {
        wording::push_token(out, self.salt, seq, Form::Text);
    }

    pub fn open_count(&self, seq: u64) -> usize {
        self.get(seq).map_or(0, |event| usize::from(event.open))
    }

    /// The messages that are open after `seq`, youngest first.
    pub fn open_at(&self, seq: u64) -> Vec<u32> {
        let count = self.open_count(seq);
        let begun = self
            .messages
            .partition_point(|m| m.first != 0 && m.first <= seq);
        let is_open = |number: &u32| self.message(*number).end.is_none_or(|end| end > seq);
        (0..begun as u32)
            .rev()
            .filter(is_open)
            .take(count)
            .collect()
    }

    /// The text of a message as of `seq`, in order of first appearance.
    pub fn fold(&self, message: u32, seq: u64) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for delta in self
            .message(message)
            .deltas
            .iter()
            .map(|delta| u64::from(*delta))
        {
            if delta > seq {
                break;
            }
            let Some(What::Delta { kind, part, .. }) = self.get(delta).map(|event| event.what)
            else {
                unreachable!("it stands among the deltas");
            };
            let known = parts.iter().position(|p| (p.part, p.kind) == (part, kind));
            let at = known.unwrap_or_else(|| {
                parts.push(Part {
                    part,
                    kind,
                    text: String::new(),
                });
                parts.len() - 1
            });
            self.push_text(&mut parts[at].text, delta);
        }
        parts
    }

    /// The text of a message that ended, as its end event left it.
    pub fn ended(&self, message: u32) -> Vec<Part> {
        let end = self.message(message).end.expect("an ended message");
        let mut parts = self.fold(message, end);
        let whole = What::Completed { whole: true };
        if self.get(end).is_some_and(|event| event.what == whole) {
            let at = parts
                .iter()
                .position(|part| part.kind == 0)
                .unwrap_or(parts.len());
            parts.retain(|part| part.kind != 0);
            let mut text = String::new();
            wording::push_whole(&mut text, self.salt, end, Form::Text);
            parts.insert(
                at.min(parts.len()),
                Part {
                    part: 0,
                    kind: 0,
                    text,
                },
            );
        }
        parts
    }

    /// The next event after `seq` whose type is in `types` (bits by index into `TYPES`).
    /// The event with this seq.
    pub fn what(&self, seq: u64) -> Option<What> {
        let event = self.events.get(seq.checked_sub(1)? as usize)?;
        Some(event.what)
    }

    pub fn next_of(&self, types: u16, seq: u64) -> Option<u64> {
        let rest = self.events.get(seq as usize..)?;
        let at = rest
            .iter()
            .position(|event| types & (1 << event.what.type_index()) != 0)?;
        Some(seq + 1 + at as u64)
    }
}

/// `note` is one of the types that are not part of a message.
pub fn is_note(note: u8) -> bool {
    note >= FIRST_NOTE
}
