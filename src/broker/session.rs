//! One connected reader: its subscriptions, each at its position in a shared log, and its outbox.
//!
//! A plain state machine. Whoever drives it brings hubs, asks it to `pump` when there may be news or room,
//! and empties the outbox; the property test does the same with logs, stalls and cuts of its own making.
//!
//! Invariants:
//! - a delivery is made only when the outbox has room, and the position moves in the same step;
//! - for SSE, no block carries an `id:` while a `gap` or `reset` is owed to any topic.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::command::{CommandId, ReadOptions};
use super::hub::{Hub, Lane, Next, Place, Reader};
use super::outbox::Outbox;
use super::problem::{Code, Problem};
use super::quota::SubscriptionGuard;
use super::readers::Readers;
use crate::dialect::{Encoded, Wire, native_json, sse};
use crate::event::cursor::{self, topic_hash};
use crate::event::{Epoch, Position, Seq, TopicPath};
use crate::log::read::ResetReason;
use crate::log::{Attach, Gap, ReadFrom, ReadState};

/// Deliveries made in one go before others get their turn.
const PUMP_STEPS: usize = 64;

/// Names a subscription of this session.
pub type SubKey = usize;

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
    /// Counts it for those who bound subscriptions.
    counted: Option<SubscriptionGuard>,
}

/// What the session cannot do by itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// The topic of this subscription is gone: tell when it appears again.
    Await(TopicPath),
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
    by_topic: HashMap<TopicPath, SubKey>,
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
            by_topic: HashMap::new(),
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
        self.by_topic.len()
    }

    pub fn is_subscribed(&self, topic: &TopicPath) -> bool {
        self.by_topic.contains_key(topic)
    }

    /// Why a subscription to `topic` would be refused.
    pub fn check_subscribe(&self, topic: &TopicPath) -> Result<(), Problem> {
        if self.is_subscribed(topic) {
            let message = format!("`{topic}` is subscribed on this connection already");
            return Err(Problem::new(Code::AlreadySubscribed, message).about(topic.as_str()));
        }
        if self.by_topic.len() >= self.max_subscriptions {
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
        options: Rc<ReadOptions>,
        by_pattern: bool,
        member: impl FnOnce(SubKey) -> M,
    ) -> Attach {
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
        self.by_topic.insert(topic.clone(), key);
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
            counted: None,
        });
        self.mark_behind(key);
        attach
    }

    fn free_key(&mut self) -> SubKey {
        self.free.pop().unwrap_or_else(|| {
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

    /// Whether this agent gets the control events of the topic.
    pub fn has_control(&self, topic: &TopicPath) -> bool {
        self.control(topic).is_some()
    }

    /// The last control event of the topic that was delivered here.
    pub fn last_control(&self, topic: &TopicPath) -> Option<Seq> {
        self.control(topic).map(|sub| sub.state.seq)
    }

    fn control(&self, topic: &TopicPath) -> Option<&Subscription<M>> {
        let mut controls = self.controls.iter();
        controls.find_map(|key| self.subs[*key].as_ref().filter(|sub| sub.topic == *topic))
    }

    /// How many topics' control events it gets.
    pub fn control_count(&self) -> usize {
        self.controls.len()
    }

    /// Its control events wait, so that it hears first that it is attached; or they go out from now on.
    pub fn hold_controls(&mut self, held: bool) {
        self.controls_held = held;
        if !held {
            for key in self.controls.clone() {
                self.mark_behind(key);
            }
        }
    }

    /// Begins to deliver what clients say to the topic's agents, from what is kept on.
    pub fn follow_controls(
        &mut self,
        topic: TopicPath,
        hub: Option<Rc<Hub<M>>>,
        member: impl FnOnce(SubKey) -> M,
    ) {
        let key = self.free_key();
        let epoch = hub
            .as_ref()
            .map_or_else(Epoch::none, |hub| hub.epoch().clone());
        let (first, joined) = hub
            .as_ref()
            .map_or((Seq::ZERO, Seq::ZERO), |hub| hub.control_range());
        let hub = hub.map(|hub| {
            let place = hub.join(member(key), Lane::Control);
            (hub, place)
        });
        let state = ReadState {
            seq: first,
            partial: false,
        };
        self.controls.push(key);
        self.subs[key] = Some(Subscription {
            hash: topic_hash(topic.as_str()),
            topic,
            options: Rc::default(),
            lane: Lane::Control,
            hub,
            epoch,
            state,
            told: state,
            joined,
            reset: None,
            owed: false,
            queued: false,
            by_pattern: false,
            counted: None,
        });
        self.mark_behind(key);
    }

    /// Ends a subscription; `false` where there was none.
    pub fn unsubscribe(&mut self, topic: &TopicPath) -> bool {
        let Some(key) = self.by_topic.remove(topic) else {
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

    /// Ends the delivery of a topic's control events; `false` where there was none.
    pub fn unfollow_controls(&mut self, topic: &TopicPath) -> bool {
        let is_its = |key: &SubKey| {
            let sub = self.subs[*key].as_ref();
            sub.is_some_and(|sub| sub.topic == *topic)
        };
        let Some(at) = self.controls.iter().position(is_its) else {
            return false;
        };
        let key = self.controls.swap_remove(at);
        if let Some(sub) = self.subs[key].take() {
            leave_hub(&sub);
        }
        if !self.behind.contains(&key) {
            self.free.push(key);
        }
        true
    }

    /// The subscription is counted as long as it lasts.
    pub fn count(&mut self, topic: &TopicPath, guard: SubscriptionGuard) {
        let key = self.by_topic.get(topic);
        if let Some(Some(sub)) = key.and_then(|key| self.subs.get_mut(*key)) {
            sub.counted = Some(guard);
        }
    }

    /// Topics that are read.
    pub fn topics(&self) -> Vec<TopicPath> {
        self.by_topic.keys().cloned().collect()
    }

    /// Topics whose control events are delivered.
    pub fn control_topics(&self) -> Vec<TopicPath> {
        let subs = self
            .controls
            .iter()
            .filter_map(|key| self.subs[*key].as_ref());
        subs.map(|sub| sub.topic.clone()).collect()
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
        self.by_topic.clear();
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
        let is_control = |key: &SubKey| {
            let sub = self.subs[*key].as_ref();
            sub.is_some_and(|sub| sub.topic == *topic)
        };
        let control = self.controls.iter().copied().find(is_control);
        let reader = self.by_topic.get(topic).copied();
        for key in reader.into_iter().chain(control) {
            let Some(sub) = self.subs[key].as_mut() else {
                continue;
            };
            if sub.hub.is_none() {
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

    /// The same for control events: what is gone is gone, nobody is owed it.
    fn step_control(&mut self, key: SubKey, effects: &mut Vec<Effect>) -> bool {
        let Some(sub) = self.subs[key].as_mut() else {
            return false;
        };
        let Some((hub, _)) = &sub.hub else {
            return false;
        };
        if hub.log().is_deleted() {
            effects.push(Effect::Await(sub.topic.clone()));
            leave_hub(sub);
            sub.hub = None;
            (sub.state.seq, sub.joined) = (Seq::ZERO, Seq::ZERO);
            sub.told = sub.state;
            return false;
        }
        let Some((frame, count, upto)) = hub.next_controls(sub.state.seq, sub.joined) else {
            return false;
        };
        sub.state.seq = upto;
        sub.told = sub.state;
        if let Some(frame) = frame {
            self.counts.controls += count;
            self.counts.frames += 1;
            self.push(frame);
        }
        true
    }

    fn deliver(&mut self, key: SubKey, bytes: Encoded) {
        self.counts.frames += 1;
        match bytes {
            // the reader became whole without an event: in SSE that is a block of its own
            bytes if bytes.is_empty() => self.tell_position(key),
            Encoded::Shared(bytes) => self.push(bytes),
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
            Wire::Native(_) => None,
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
