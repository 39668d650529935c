//! A publisher's outstanding window: what has been handed over and is not acknowledged yet.
//!
//! Invariants:
//! - events leave in the order in which they came, cut into publishes numbered by the producer's seq;
//! - a publish that was sent once never changes, so repeating it is safe (promise 7);
//! - a publish stays until its answer: after a cut, or after a refusal that passes, everything from
//!   the first unanswered one on is sent again in order, with the same seqs;
//! - an answer counts only for the latest attempt: earlier ones are settled by their repetition;
//! - deltas are joined only before they are sent.
//!
//! When the broker does not know the producer any more (`producer_unknown`: its log is gone), the
//! epoch rises, what it had acknowledged of open messages is told again (see `kept`), and everything
//! is numbered anew from 1: readers, who saw a `reset`, end with the whole text.
//!
//! An attached producer has its epoch from the broker (`assign`). Where only some of what was acknowledged
//! is gone (`producer_gap`), it keeps its epoch, because a raised one would end its own open messages
//! (`replaced`), and goes on from the seq that the broker expects. Either way the driver goes on over a new
//! connection, so that nothing numbered before can arrive after.
//!
//! Bounds: `Bounds` for what is outstanding (one event over, plus what is told again after a loss),
//! `IN_FLIGHT_*` for what is on the wire at once.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::kept::Kept;
use super::new_event::NewEvent;
use super::position::Epoch;
use super::wire::{Limits, Problem, Published};

/// How long deltas are gathered while a publish is on its way. The first delta behind another event, and any other
/// event, goes at once.
pub const GATHER: Duration = Duration::from_millis(20);
/// Publishes on the wire at once.
pub const IN_FLIGHT_PUBLISHES: usize = 32;
/// Bytes on the wire at once (one publish may exceed it).
pub const IN_FLIGHT_BYTES: usize = 512 << 10;
/// Bytes of events in one publish (one event may exceed it).
pub const PUBLISH_BYTES: usize = 128 << 10;
/// JSON bytes of text in one delta.
pub const DELTA_BYTES: usize = 32 << 10;
/// The wait after a refusal that passes and does not say for how long.
pub const PAUSE: Duration = Duration::from_millis(500);

/// Who publishes. Its epoch fences older runs of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Unique among those who publish to the topic.
    pub id: String,
    /// Rises with each run; a lower one is refused (`producer_fenced`).
    pub epoch: u64,
}

/// How much may be outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Not acknowledged yet.
    pub events: usize,
    /// As encoded on the wire.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            events: 100_000,
            bytes: 8 << 20,
        }
    }
}

/// What happened that a person may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The broker had forgotten: `bytes` of text are told again, `missing` were not kept any more.
    /// The broker had forgotten.
    Forgotten {
        /// Of text, told again.
        bytes: usize,
        /// Of text, not kept any more.
        missing: u64,
    },
    /// The topic's log was replaced while this was writing: the end event will carry the whole text.
    Replaced,
}

/// What an answer means to the driver.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Something was acknowledged: there may be room again.
    pub progress: bool,
    /// Something was lost on the broker's side.
    pub loss: Option<Loss>,
    /// Everything has other numbers now; an attached producer attaches again before it goes on.
    pub renumbered: bool,
}

#[derive(Debug)]
struct Publish {
    seq: u64,
    /// The `id` of the frame that carried it last, if it is on the wire.
    attempt: Option<u64>,
    events: Vec<NewEvent>,
    bytes: usize,
    /// It is acknowledged, and one before it is not (answers come in order; this bears it if not).
    settled: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Window {
    topic: String,
    producer: Producer,
    /// Its epoch is one that the broker assigned, or was told of, by `attach`.
    attached: bool,
    bounds: Bounds,
    limits: Limits,
    kept: Kept,
    connected: bool,
    /// The life of the topic's log that the last answer was about.
    log: Option<Epoch>,
    /// Not yet cut into a publish.
    gathered: VecDeque<NewEvent>,
    gathered_bytes: usize,
    gathered_since: Option<Instant>,
    /// What is gathered holds something that does not wait: an event that is no delta, or the first delta behind one.
    urgent: bool,
    /// The event handed over last was a delta.
    streaming: bool,
    publishes: VecDeque<Publish>,
    /// How many of `publishes`, from the front, are on the wire.
    in_flight: usize,
    next_seq: u64,
    next_attempt: u64,
    paused_until: Option<Instant>,
}

impl Window {
    /// `keep` bounds the acknowledged text of open messages that is held for a broker that forgets.
    pub fn new(topic: &str, producer: Producer, bounds: Bounds, keep: usize) -> Self {
        Self {
            topic: topic.into(),
            producer,
            attached: false,
            bounds,
            limits: Limits::default(),
            kept: Kept::new(keep),
            connected: false,
            log: None,
            gathered: VecDeque::new(),
            gathered_bytes: 0,
            gathered_since: None,
            urgent: false,
            streaming: false,
            publishes: VecDeque::new(),
            in_flight: 0,
            next_seq: 1,
            next_attempt: 1,
            paused_until: None,
        }
    }

    /// Who publishes, in its present epoch.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// The epoch that the broker answered an `attach` with; before anything is sent.
    pub fn assign(&mut self, epoch: u64) {
        self.attached = true;
        self.producer.epoch = epoch;
    }

    /// Nothing is outstanding.
    pub fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.publishes.is_empty()
    }

    /// Events that are not acknowledged yet.
    pub fn outstanding(&self) -> usize {
        self.gathered.len() + self.publishes.iter().map(|p| p.events.len()).sum::<usize>()
    }

    /// Another event may be pushed.
    pub fn has_room(&self) -> bool {
        let events = self.outstanding();
        let bytes = self.gathered_bytes + self.publishes.iter().map(|p| p.bytes).sum::<usize>();
        events < self.bounds.events && bytes < self.bounds.bytes
    }

    /// Takes an event over. The caller waits for `has_room` first.
    pub fn push(&mut self, event: NewEvent, now: Instant) {
        self.gathered_since.get_or_insert(now);
        let delta = matches!(event, NewEvent::Delta(_));
        self.urgent |= !(delta && self.streaming);
        self.streaming = delta;
        for piece in event.divided(self.delta_bytes()) {
            self.gather(piece);
        }
    }

    /// A line is open (and the producer is attached, if it shall be).
    pub fn on_connected(&mut self, limits: Limits) {
        self.connected = true;
        self.limits = limits;
    }

    /// Whatever was on the wire is sent again on the next connection.
    pub fn on_disconnected(&mut self) {
        self.connected = false;
        self.recall();
    }

    /// The next frame to send now, if any.
    pub fn next_frame(&mut self, now: Instant) -> Option<String> {
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        if !self.connected || !self.may_fly() {
            return None;
        }
        while self
            .publishes
            .get(self.in_flight)
            .is_some_and(|publish| publish.settled)
        {
            self.in_flight += 1;
        }
        if self.in_flight == self.publishes.len() {
            self.cut(now)?;
        }
        let attempt = self.next_attempt;
        let publish = self.publishes.get_mut(self.in_flight)?;
        publish.attempt = Some(attempt);
        self.next_attempt += 1;
        self.in_flight += 1;
        let publish = &self.publishes[self.in_flight - 1];
        Some(self.frame(publish, attempt))
    }

    /// When `next_frame` may have something although nothing else happens.
    pub fn next_wake(&self) -> Option<Instant> {
        if !self.connected {
            None
        } else if self.paused_until.is_some() {
            self.paused_until
        } else if self.may_fly()
            && !self
                .gathered
                .front()
                .is_some_and(|next| self.must_be_alone(next))
        {
            self.gathered_since.map(|since| since + GATHER)
        } else {
            // an answer comes first
            None
        }
    }

    /// A publish was acknowledged.
    pub fn on_published(&mut self, answer: &Published) -> Settled {
        let Some(at) = self.in_flight_as(answer.id) else {
            return Settled::default();
        };
        let loss = match &self.log {
            Some(log) if *log != answer.epoch && self.kept.strand() => Some(Loss::Replaced),
            _ => None,
        };
        self.log = Some(answer.epoch.clone());
        self.publishes[at].settled = true;
        while self.publishes.front().is_some_and(|first| first.settled) {
            let Some(publish) = self.publishes.pop_front() else {
                break;
            };
            self.in_flight = self.in_flight.saturating_sub(1);
            for event in publish.events {
                self.kept.acknowledged(event);
            }
        }
        Settled {
            progress: at == 0,
            loss,
            renumbered: false,
        }
    }

    /// A publish was refused. An error is one that no repetition mends; the window stays as it is.
    pub fn on_refused(&mut self, problem: &Problem, now: Instant) -> Result<Settled, Box<Problem>> {
        let Some(at) = self.in_flight_as(problem.id) else {
            return Ok(Settled::default());
        };
        let first_seq = self.publishes.front().map_or(1, |publish| publish.seq);
        match problem.code.as_str() {
            _ if problem.passes() => {
                self.recall_from(at);
                let until = now + problem.retry_after().unwrap_or(PAUSE);
                self.paused_until = Some(self.paused_until.map_or(until, |held| held.max(until)));
                Ok(Settled::default())
            }
            // its fate hangs on those before it, which are not answered yet
            "producer_unknown" | "producer_gap" if at > 0 => {
                self.recall_from(at);
                Ok(Settled::default())
            }
            "producer_unknown" if first_seq > 1 => {
                let restored = self.kept.restore();
                let loss = Loss::Forgotten {
                    bytes: restored.bytes,
                    missing: restored.missing,
                };
                self.producer.epoch += 1;
                self.number_anew(1, restored.events, now);
                self.log = None;
                Ok(Settled {
                    progress: false,
                    loss: Some(loss),
                    renumbered: true,
                })
            }
            // one before it was refused when this arrived, and is acknowledged by now
            "producer_gap" if problem.expected_seq == Some(first_seq) => {
                self.recall();
                self.paused_until = Some(now + GATHER);
                Ok(Settled::default())
            }
            // acknowledged publishes are missing from the log, though not all: what is there stays
            "producer_gap"
                if problem
                    .expected_seq
                    .is_some_and(|expected| expected < first_seq) =>
            {
                let stranded = self.kept.strand();
                let first = match problem.expected_seq {
                    Some(expected) if self.attached => expected,
                    _ => {
                        self.producer.epoch += 1;
                        1
                    }
                };
                self.number_anew(first, Vec::new(), now);
                Ok(Settled {
                    progress: false,
                    loss: stranded.then_some(Loss::Replaced),
                    renumbered: true,
                })
            }
            _ => Err(Box::new(problem.clone())),
        }
    }

    fn delta_bytes(&self) -> usize {
        // leave room for the message id (up to 128 characters) and the envelope
        DELTA_BYTES
            .min(self.limits.max_event_bytes.saturating_sub(2048))
            .max(64)
    }

    fn gather(&mut self, event: NewEvent) {
        let limit = self.delta_bytes();
        if let (Some(NewEvent::Delta(last)), NewEvent::Delta(next)) =
            (self.gathered.back_mut(), &event)
            && last.join(next, limit)
        {
            self.gathered_bytes += next.text_bytes();
            return;
        }
        self.gathered_bytes += event.encoded_len();
        self.gathered.push_back(event);
    }

    /// Another publish may be sent without waiting for an answer.
    fn may_fly(&self) -> bool {
        let bytes: usize = self
            .publishes
            .iter()
            .take(self.in_flight)
            .map(|p| p.bytes)
            .sum();
        self.in_flight < IN_FLIGHT_PUBLISHES && bytes < IN_FLIGHT_BYTES
    }

    /// Cuts the next publish off what was gathered: at once when nothing is on its way or something in it does not
    /// wait, otherwise when it is full or has waited for `GATHER`.
    fn cut(&mut self, now: Instant) -> Option<()> {
        let waited = self
            .gathered_since
            .is_some_and(|since| now >= since + GATHER);
        let limit = PUBLISH_BYTES
            .min(self.limits.max_frame_bytes / 2)
            .min(self.limits.window_bytes.max(2) / 2);
        let may_wait = self.in_flight > 0 && !self.urgent;
        if may_wait && !waited && self.gathered_bytes < limit {
            return None;
        }
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.gathered.front() {
            let takes = next.encoded_len();
            let full = bytes + takes > limit || events.len() >= self.limits.max_batch_events;
            if (full && !events.is_empty())
                || (self.must_be_alone(next) && (self.in_flight > 0 || !events.is_empty()))
            {
                break;
            }
            let Some(mut event) = self.gathered.pop_front() else {
                break;
            };
            self.gathered_bytes -= takes;
            self.complete_a_stranded(&mut event);
            bytes += event.encoded_len();
            events.push(event);
        }
        if events.is_empty() {
            return None;
        }
        if self.gathered.is_empty() {
            self.gathered_since = None;
            self.urgent = false;
        }
        self.publishes.push_back(Publish {
            seq: self.next_seq,
            attempt: None,
            events,
            bytes,
            settled: false,
        });
        self.next_seq += 1;
        Some(())
    }

    /// The end of a stranded message goes when everything before it is acknowledged: only then its
    /// whole text is known to be complete.
    fn must_be_alone(&self, event: &NewEvent) -> bool {
        matches!(event, NewEvent::Ended(ended) if ended.completed && self.kept.is_stranded(&ended.message_id))
    }

    fn complete_a_stranded(&self, event: &mut NewEvent) {
        let NewEvent::Ended(ended) = event else {
            return;
        };
        if !ended.completed
            || ended.data.contains_key("text")
            || !self.kept.is_stranded(&ended.message_id)
        {
            return;
        }
        if let Some(text) = self.kept.whole_text(&ended.message_id) {
            ended.data.insert("text".into(), Value::from(text));
            if event.encoded_len() > self.limits.max_event_bytes
                && let NewEvent::Ended(ended) = event
            {
                // too long to be mended; readers keep what is in the new log
                ended.data.remove("text");
            }
        }
    }

    fn frame(&self, publish: &Publish, attempt: u64) -> String {
        let mut frame = String::with_capacity(publish.bytes + 256);
        let topic = Value::from(self.topic.as_str());
        let _ = write!(
            frame,
            r#"{{"op":"publish","id":{attempt},"topic":{topic},"events":["#
        );
        for (at, event) in publish.events.iter().enumerate() {
            if at > 0 {
                frame.push(',');
            }
            event.write_json(&mut frame);
        }
        let Producer { id, epoch } = &self.producer;
        let (id, seq) = (Value::from(id.as_str()), publish.seq);
        let _ = write!(
            frame,
            r#"],"producer":{{"id":{id},"epoch":{epoch},"seq":{seq}}}}}"#
        );
        frame
    }

    /// Which of the publishes on the wire an answer is about; None: an attempt that no longer counts.
    fn in_flight_as(&self, id: Option<u64>) -> Option<usize> {
        let id = id?;
        let mut in_flight = self.publishes.iter().take(self.in_flight);
        in_flight.position(|publish| publish.attempt == Some(id))
    }

    /// Nothing counts as being on the wire any more.
    fn recall(&mut self) {
        self.recall_from(0);
    }

    /// From that publish on, all is sent again.
    fn recall_from(&mut self, at: usize) {
        self.in_flight = at;
        for publish in self.publishes.iter_mut().skip(at) {
            publish.attempt = None;
        }
    }

    /// Starts at seq `first` with `before`, then all that is outstanding.
    fn number_anew(&mut self, first: u64, before: Vec<NewEvent>, now: Instant) {
        self.next_seq = first;
        self.in_flight = 0;
        let sent = std::mem::take(&mut self.publishes);
        let unsent = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let events = before
            .into_iter()
            .chain(sent.into_iter().flat_map(|publish| publish.events))
            .chain(unsent);
        for event in events {
            for piece in event.divided(self.delta_bytes()) {
                self.gather(piece);
            }
        }
        self.gathered_since = (!self.gathered.is_empty()).then_some(now);
    }
}

#[cfg(test)]
mod tests;
