//! One connected reader: its subscriptions, each at its position in a shared log, and its outbox.
//!
//! A plain state machine. Whoever drives it brings hubs, asks it to `pump` when there may be news or room,
//! and empties the outbox; the property test does the same with logs, stalls and cuts of its own making.
//!
//! Invariants:
//! - a delivery is made only when the outbox has room, and the position moves in the same step;
//! - for SSE, no block carries an `id:` while a `gap` or `reset` is owed to any topic.

mod controls;
mod had;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use self::had::Had;
use super::command::{CommandId, ReadOptions};
use super::hub::{Hub, Lane, Next, Place, Reader};
use super::outbox::Outbox;
use super::problem::{Code, Problem};
use super::quota::SubscriptionGuard;
use super::readers::Readers;
use crate::dialect::{Encoded, Wire, appsync, native_json, sse};
use crate::event::cursor::{self, topic_hash};
use crate::event::{Epoch, Position, Seq, TopicPath};
use crate::log::read::ResetReason;
use crate::log::{Attach, Gap, ReadFrom, ReadState};

/// Deliveries made in one go before others get their turn.
const PUMP_STEPS: usize = 64;

/// Names a subscription of this session.
pub type SubKey = usize;

/// What a subscription is called on its connection, where its dialect has such names: a topic is read once under
/// each.
pub type Label = Option<Rc<str>>;

/// How a topic is read, apart from where that begins.
#[derive(Clone)]
pub struct Terms {
    pub options: Rc<ReadOptions>,
    pub by_pattern: bool,
    pub label: Label,
    /// Nothing is delivered before `release`.
    pub held: bool,
}

impl Terms {
    /// Of a subscription without a name.
    pub fn unnamed(options: Rc<ReadOptions>, by_pattern: bool) -> Self {
        Self {
            options,
            by_pattern,
            label: None,
            held: false,
        }
    }
}

struct Subscription<M> {
    topic: TopicPath,
    hash: [u8; 8],
    options: Rc<ReadOptions>,
    lane: Lane,
    /// `None`: the topic does not exist (yet).
    hub: Option<(Rc<Hub<M>>, Place)>,
    epoch: Epoch,
    state: ReadState,
    /// What the reader knows of its position.
    told: ReadState,
    /// Of control events: the newest one when it came. Of those up to it, it gets what nobody acknowledged.
    joined: Seq,
    /// A reset that the reader must be told first.
    reset: Option<ResetReason>,
    /// `reset` or a first `gap` is still to be told.
    owed: bool,
    queued: bool,
    by_pattern: bool,
    label: Label,
    held: bool,
    /// Of a labelled one: what the reader has for certain.
    had: Option<Box<Had>>,
    /// Counts it for those who bound subscriptions.
    counted: Option<SubscriptionGuard>,
}

/// What the session cannot do by itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// The topic of this subscription is gone: tell when it appears again.
    Await(TopicPath),
    /// The topic is gone, and with it the subscription that a pattern had brought in under a label; it may be there
    /// again.
    Left(TopicPath),
}

/// What one round of pumping left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pumped {
    /// Nothing more to deliver for now.
    CaughtUp,
    /// The outbox is full; go on when it has room.
    Full,
    /// There is more and there is room: go on after others had their turn.
    More,
}

/// What happened in the session since the last look, for the metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SessionCounts {
    pub frames: u64,
    pub bytes: u64,
    pub gaps: u64,
    pub resets: u64,
    pub resumed: u64,
    /// Control events delivered.
    pub controls: u64,
}

pub struct Session<M> {
    wire: Wire,
    pub outbox: Outbox,
    subs: Vec<Option<Subscription<M>>>,
    free: Vec<SubKey>,
    by_name: HashMap<(TopicPath, Label), SubKey>,
    /// Of an agent: topics whose control events it gets.
    controls: Vec<SubKey>,
    /// None of them go out yet: it has not been told that it is attached.
    controls_held: bool,
    /// Of an agent: it does not count among the readers.
    is_agent: bool,
    /// Subscriptions that may have something to read, in turn.
    behind: VecDeque<SubKey>,
    owed: usize,
    max_subscriptions: usize,
    readers: Arc<Readers>,
    pub counts: SessionCounts,
}

impl<M: Clone> Session<M> {
    pub fn new(
        wire: Wire,
        outbox_bytes: usize,
        max_subscriptions: usize,
        readers: Arc<Readers>,
    ) -> Self {
        Self {
            wire,
            outbox: Outbox::new(outbox_bytes),
            subs: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            controls: Vec::new(),
            controls_held: false,
            is_agent: false,
            behind: VecDeque::new(),
            owed: 0,
            max_subscriptions,
            readers,
            counts: SessionCounts::default(),
        }
    }

    pub fn wire(&self) -> Wire {
        self.wire
    }

    pub fn subscription_count(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_subscribed(&self, topic: &TopicPath, label: &Label) -> bool {
        self.by_name.contains_key(&(topic.clone(), label.clone()))
    }

    /// Why a subscription to `topic` would be refused.
    pub fn check_subscribe(&self, topic: &TopicPath, label: &Label) -> Result<(), Problem> {
        if self.is_subscribed(topic, label) {
            let message = format!("`{topic}` is subscribed on this connection already");
            return Err(Problem::new(Code::AlreadySubscribed, message).about(topic.as_str()));
        }
        if self.by_name.len() >= self.max_subscriptions {
            let message = format!(
                "a connection has at most {} subscriptions",
                self.max_subscriptions
            );
            return Err(Problem::new(Code::TooManySubscriptions, message).about(topic.as_str()));
        }
        Ok(())
    }

    /// Begins to read a topic; `member` is how the hub names this subscription. Check with `check_subscribe`
    /// first. In the same step the hub takes it in, so nothing falls between what is read and what comes.
    pub fn subscribe(
        &mut self,
        topic: TopicPath,
        hub: Option<Rc<Hub<M>>>,
        from: &ReadFrom,
        terms: Terms,
        member: impl FnOnce(SubKey) -> M,
    ) -> Attach {
        let Terms {
            options,
            by_pattern,
            label,
            held,
        } = terms;
        let attach = match &hub {
            Some(hub) => hub.attach(from, options.replay, &options.filter),
            None => Attach::to_nothing(from),
        };
        let key = self.free_key();
        let given = matches!(from, ReadFrom::After(_) | ReadFrom::BadCursor);
        let owed = given && !attach.resumed;
        self.owed += usize::from(owed);
        self.counts.resumed += u64::from(attach.resumed);
        let lane = Lane::Events {
            coalesce_ms: options.coalesce_ms,
        };
        let hub = hub.map(|hub| {
            let place = hub.join(member(key), lane);
            (hub, place)
        });
        if options.filter.admits_deltas() && !self.is_agent {
            self.readers.add(&topic);
        }
        self.by_name.insert((topic.clone(), label.clone()), key);
        let had = label
            .is_some()
            .then(|| Box::new(Had::new(attach.position())));
        self.subs[key] = Some(Subscription {
            hash: topic_hash(topic.as_str()),
            topic,
            options,
            lane,
            hub,
            epoch: attach.epoch.clone(),
            state: attach.state,
            told: attach.state,
            joined: Seq::ZERO,
            reset: attach.reset,
            owed,
            queued: false,
            by_pattern,
            label,
            held,
            had,
            counted: None,
        });
        self.mark_behind(key);
        attach
    }

    fn free_key(&mut self) -> SubKey {
        self.free.pop().unwrap_or_else(|| {
            if self.subs.is_empty() {
                // most connections read one topic: there is room for that, and not for the four of a growing vector
                self.subs.reserve_exact(1);
            }
            self.subs.push(None);
            self.subs.len() - 1
        })
    }

    /// From now on this is an agent's connection: its subscriptions are no readers.
    pub fn become_agent(&mut self) {
        if std::mem::replace(&mut self.is_agent, true) {
            return;
        }
        for sub in self.subs.iter().flatten() {
            if sub.counts_as_reader() {
                self.readers.remove(&sub.topic);
            }
        }
    }

    /// Ends a subscription; `false` where there was none.
    pub fn unsubscribe(&mut self, topic: &TopicPath, label: &Label) -> bool {
        let Some(key) = self.by_name.remove(&(topic.clone(), label.clone())) else {
            return false;
        };
        if let Some(sub) = self.subs[key].take() {
            self.leave(&sub);
            self.owed -= usize::from(sub.owed);
        }
        // the key may still stand in `behind`: it is only given to another when it came out of there
        if !self.behind.contains(&key) {
            self.free.push(key);
        }
        true
    }

    /// The subscription is counted as long as it lasts.
    pub fn count(&mut self, topic: &TopicPath, label: &Label, guard: SubscriptionGuard) {
        let key = self.by_name.get(&(topic.clone(), label.clone()));
        if let Some(Some(sub)) = key.and_then(|key| self.subs.get_mut(*key)) {
            sub.counted = Some(guard);
        }
    }

    /// Topics that are read.
    pub fn topics(&self) -> Vec<TopicPath> {
        let names = self.by_name.keys();
        names.map(|(topic, _)| topic.clone()).collect()
    }

    /// Topics that are read under this name.
    pub fn topics_under(&self, label: &Label) -> Vec<TopicPath> {
        let names = self.by_name.keys().filter(|(_, known)| known == label);
        names.map(|(topic, _)| topic.clone()).collect()
    }

    /// What is read under this name is delivered from now on.
    pub fn release(&mut self, label: &Label) {
        for key in 0..self.subs.len() {
            if let Some(sub) = self.subs[key].as_mut()
                && sub.label == *label
                && std::mem::take(&mut sub.held)
            {
                self.mark_behind(key);
            }
        }
    }

    /// Topics that a pattern brought in and which match `matches`.
    pub fn pattern_topics(&self, matches: impl Fn(&TopicPath) -> bool) -> Vec<TopicPath> {
        let subs = self.subs.iter().flatten();
        subs.filter(|sub| sub.by_pattern && matches(&sub.topic))
            .map(|sub| sub.topic.clone())
            .collect()
    }

    /// Leaves all hubs; the session is over. Answers with the topics it waited for.
    pub fn end(&mut self) -> Vec<TopicPath> {
        let mut awaited = Vec::new();
        for sub in std::mem::take(&mut self.subs).into_iter().flatten() {
            self.leave(&sub);
            if sub.hub.is_none() {
                awaited.push(sub.topic);
            }
        }
        self.by_name.clear();
        self.free.clear();
        self.controls.clear();
        self.behind.clear();
        self.owed = 0;
        awaited
    }

    fn leave(&self, sub: &Subscription<M>) {
        leave_hub(sub);
        if sub.counts_as_reader() && !self.is_agent {
            self.readers.remove(&sub.topic);
        }
    }

    /// A topic that a subscription waited for exists now. Its first epoch needs no `reset`.
    pub fn appeared(&mut self, topic: &TopicPath, hub: &Rc<Hub<M>>, member: impl Fn(SubKey) -> M) {
        for key in 0..self.subs.len() {
            let Some(sub) = self.subs[key].as_mut() else {
                continue;
            };
            if sub.hub.is_none() && sub.topic == *topic {
                let place = hub.join(member(key), sub.lane);
                sub.epoch = hub.epoch().clone();
                sub.hub = Some((hub.clone(), place));
                self.mark_behind(key);
            }
        }
    }

    /// Whether a subscription waits for the topic to exist.
    pub fn awaits(&self, topic: &TopicPath) -> bool {
        let mut subs = self.subs.iter().flatten();
        subs.any(|sub| sub.hub.is_none() && sub.topic == *topic)
    }

    /// There may be news for this subscription.
    pub fn mark_behind(&mut self, key: SubKey) {
        if let Some(Some(sub)) = self.subs.get_mut(key)
            && !sub.queued
        {
            sub.queued = true;
            self.behind.push_back(key);
        }
    }

    /// Whether a subscription may have something to read.
    pub fn has_news(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Makes deliveries as long as there is something to read and room for it.
    pub fn pump(&mut self, effects: &mut Vec<Effect>) -> Pumped {
        for _ in 0..PUMP_STEPS {
            let Some(&key) = self.behind.front() else {
                return Pumped::CaughtUp;
            };
            if !self.outbox.has_room() {
                return Pumped::Full;
            }
            self.behind.pop_front();
            if self.subs[key].is_none() {
                self.free.push(key);
                continue;
            }
            if self.step(key, effects) {
                self.behind.push_back(key);
            } else if let Some(sub) = self.subs[key].as_mut() {
                sub.queued = false;
            }
        }
        if self.behind.is_empty() {
            Pumped::CaughtUp
        } else {
            Pumped::More
        }
    }

    /// One step of one subscription; answers whether there may be more.
    fn step(&mut self, key: SubKey, effects: &mut Vec<Effect>) -> bool {
        let Some(sub) = self.subs[key].as_mut() else {
            return false;
        };
        if sub.held {
            return false;
        }
        if let Some(reason) = sub.reset.take() {
            self.tell_reset(key, reason);
            return true;
        }
        let Some((hub, _)) = &sub.hub else {
            return false;
        };
        if sub.lane == Lane::Control {
            return !self.controls_held && self.step_control(key, effects);
        }
        let reader = Reader {
            wire: self.wire,
            filter: &sub.options.filter,
            coalesce_ms: sub.options.coalesce_ms,
            state: sub.state,
            told: sub.told,
        };
        match hub.next(reader) {
            Next::CaughtUp => return false,
            Next::Silent(to) => sub.state = to,
            Next::Frame(bytes, to) => {
                (sub.state, sub.told) = (to, to);
                self.deliver(key, bytes);
            }
            // the gap begins behind the position that the reader knows
            Next::Gap(_) if sub.told.seq != sub.state.seq => self.tell_position(key),
            Next::Gap(gap) => self.tell_gap(key, gap),
            // the pattern brings it in again, and until then it takes no place
            Next::Deleted if sub.by_pattern && sub.label.is_some() => {
                let (topic, label) = (sub.topic.clone(), sub.label.clone());
                self.tell_reset(key, ResetReason::Deleted);
                self.unsubscribe(&topic, &label);
                effects.push(Effect::Left(topic));
                return false;
            }
            Next::Deleted => {
                effects.push(Effect::Await(sub.topic.clone()));
                leave_hub(sub);
                sub.hub = None;
                sub.epoch = Epoch::none();
                self.tell_reset(key, ResetReason::Deleted);
            }
        }
        true
    }

    fn deliver(&mut self, key: SubKey, bytes: Encoded) {
        self.counts.frames += 1;
        match bytes {
            // the reader became whole without an event: in SSE that is a block of its own
            bytes if bytes.is_empty() => self.tell_position(key),
            Encoded::Shared(bytes) => self.push(bytes),
            Encoded::Tails(tails) => {
                let label = self.label(key);
                let size = tails.iter().map(|tail| tail.len() + label.len() + 48).sum();
                let mut out = Vec::with_capacity(size);
                for tail in tails.iter() {
                    appsync::event::push_data_frame(&mut out, &label, tail);
                }
                self.counts.frames += tails.len() as u64 - 1;
                self.push(out.into());
            }
            Encoded::Blocks(blocks) => {
                let mut out = Vec::with_capacity(blocks.iter().map(|b| b.text.len() + 64).sum());
                for block in blocks.iter() {
                    out.extend_from_slice(&block.text);
                    let id = block
                        .cut
                        .filter(|_| self.owed == 0)
                        .map(|cut| self.cursor_with(key, cut));
                    sse::push_end(&mut out, id.as_deref());
                }
                self.push(out.into());
            }
        }
    }

    fn label(&self, key: SubKey) -> Rc<str> {
        let sub = self.subs.get(key).and_then(Option::as_ref);
        let label = sub.and_then(|sub| sub.label.clone());
        label.unwrap_or_default()
    }

    /// Here, and in `answer` and `notice`, native JSON frames get the reader's encoding. Other bytes go out as
    /// they are: frames that a hub shares (they have it already), pings, the answer to the handshake.
    fn push(&mut self, bytes: Bytes) {
        let bytes = self.wire.frame(bytes);
        self.counts.bytes += bytes.len() as u64;
        self.outbox.push_delivery(bytes);
    }

    /// After a `gap` the position is its end, partial.
    fn tell_gap(&mut self, key: SubKey, gap: Gap) {
        self.counts.gaps += 1;
        let Some(sub) = self.subs[key].as_mut() else {
            return;
        };
        sub.state = ReadState {
            seq: gap.to,
            partial: true,
        };
        sub.told = sub.state;
        let topic = sub.topic.clone();
        match self.wire {
            Wire::Native(_) => self.push(native_json::gap(&topic, gap)),
            Wire::Sse { named, .. } => self.push_own_block(key, sse::gap(&topic, gap, named)),
            Wire::AppSync => self.push(appsync::encode::gap(&self.label(key), &topic, gap)),
        }
    }

    /// After a `reset` the position is `EPOCH:0~`: all that is kept is read.
    fn tell_reset(&mut self, key: SubKey, reason: ResetReason) {
        self.counts.resets += 1;
        let Some(sub) = self.subs[key].as_mut() else {
            return;
        };
        sub.state = ReadState {
            seq: Seq::ZERO,
            partial: true,
        };
        sub.told = sub.state;
        let (topic, epoch) = (sub.topic.clone(), sub.epoch.clone());
        match self.wire {
            Wire::Native(_) => self.push(native_json::reset(&topic, &epoch, reason)),
            Wire::Sse { named, .. } => {
                self.push_own_block(key, sse::reset(&topic, &epoch, reason, named))
            }
            Wire::AppSync => self.push(appsync::encode::reset(&self.label(key), &topic, reason)),
        }
    }

    /// A block of the broker's own with the position behind it, unless something is still owed.
    fn push_own_block(&mut self, key: SubKey, text: Bytes) {
        if let Some(sub) = self.subs[key].as_mut()
            && std::mem::take(&mut sub.owed)
        {
            self.owed -= 1;
        }
        let mut out = text.to_vec();
        let id = self.current_id();
        sse::push_end(&mut out, id.as_deref());
        self.push(out.into());
    }

    /// Tells a position that moved without an event.
    fn tell_position(&mut self, key: SubKey) {
        let Some(sub) = self.subs[key].as_mut() else {
            return;
        };
        let after = sub.told;
        sub.told = sub.state;
        let position = Position {
            epoch: sub.epoch.clone(),
            seq: sub.state.seq,
            partial: sub.state.partial,
        };
        let topic = sub.topic.clone();
        match self.wire {
            Wire::Native(_) => {
                let batch = crate::log::Batch {
                    after: after.seq,
                    to: sub.state,
                    compact: false,
                    items: Vec::new(),
                };
                let frame = native_json::events(&topic, &position.epoch, after.seq, &batch);
                self.push(frame);
            }
            Wire::Sse { named, .. } => {
                self.push_own_block(key, sse::position(&topic, &position, named))
            }
            // such a reader knows of no positions
            Wire::AppSync => {}
        }
    }

    /// Tells every position that moved over what a filter left out. Called at each heartbeat; answers
    /// whether there was any.
    pub fn tell_positions(&mut self) -> bool {
        let moved =
            |sub: &Option<Subscription<M>>| sub.as_ref().is_some_and(|sub| sub.told != sub.state);
        let keys: Vec<SubKey> = (0..self.subs.len())
            .filter(|key| moved(&self.subs[*key]))
            .collect();
        let mut any = false;
        for key in keys {
            if !self.outbox.has_room() {
                break;
            }
            self.tell_position(key);
            any = true;
        }
        any
    }

    /// The `id:` of an SSE block that tells where the reader stands now; `None` while something is owed.
    pub fn current_id(&self) -> Option<String> {
        if self.owed > 0 {
            return None;
        }
        match self.wire {
            Wire::Sse { single: true, .. } => {
                let sub = self.subs.iter().flatten().next()?;
                let ReadState { seq, partial } = sub.state;
                Some(
                    Position {
                        epoch: sub.epoch.clone(),
                        seq,
                        partial,
                    }
                    .to_string(),
                )
            }
            Wire::Sse { .. } => Some(self.cursor_with(
                usize::MAX,
                ReadState {
                    seq: Seq::ZERO,
                    partial: false,
                },
            )),
            Wire::Native(_) | Wire::AppSync => None,
        }
    }

    /// The cursor of all topics, with `cut` for one of them.
    fn cursor_with(&self, key: SubKey, cut: ReadState) -> String {
        let entry = |(at, sub): (usize, &Option<Subscription<M>>)| {
            let sub = sub.as_ref()?;
            Some((
                sub.hash,
                sub.topic.clone(),
                sub.epoch.clone(),
                if at == key { cut } else { sub.state },
            ))
        };
        let entries: Vec<_> = self.subs.iter().enumerate().filter_map(entry).collect();
        let mut out = String::with_capacity(32 * entries.len());
        cursor::write(
            &mut out,
            entries
                .iter()
                .map(|(hash, _, epoch, state)| (*hash, epoch, state.seq, state.partial)),
        );
        out
    }

    /// An answer (`published`, `error`, `pong`), which does not wait behind deliveries.
    pub fn answer(&mut self, bytes: Bytes) {
        self.outbox.push_answer(self.wire.frame(bytes));
    }

    /// Something that stands in order with deliveries (`subscribed`, `unsubscribed`).
    pub fn notice(&mut self, bytes: Bytes) {
        self.outbox.push_delivery(self.wire.frame(bytes));
    }

    pub fn tell_subscribed(&mut self, id: &CommandId, topic: &TopicPath, attach: &Attach) {
        self.notice(native_json::subscribed(id, topic, attach));
    }
}

impl<M> Subscription<M> {
    /// Unless it is an agent's.
    fn counts_as_reader(&self) -> bool {
        matches!(self.lane, Lane::Events { .. }) && self.options.filter.admits_deltas()
    }
}

fn leave_hub<M: Clone>(sub: &Subscription<M>) {
    if let Some((hub, place)) = &sub.hub {
        hub.leave(*place);
    }
}
