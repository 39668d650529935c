//! The shard: hands new events to the sessions of its thread.
//!
//! Invariants worth naming:
//! - at most one wake-up is under way for a (topic, shard), and one message for the shard: news wait in
//!   the inbox as names of topics, never as events;
//! - a topic's hub follows the log before anybody reads it, so nothing falls between;
//! - a session touched by a batch of news is settled once: one that reads a single topic at once, while what it is
//!   made of is at hand, the others after all of it.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, SpawnHandle};

use super::care::tick_of;
use super::demand_board::DemandBoard;
use super::directory::Broker;
use super::hub::Hub;
use super::inbox::{Drain, Inbox, LookAtNews, News, Recheck, ShardMailbox};
use super::link::{Close, Link, Member, TopicHub};
use super::opening::count_subscriptions;
pub use super::patterns::PatternReader;
use super::patterns::Patterns;
use super::session::Effect;
use crate::engine::{EngineError, Watch as _};
use crate::event::{Map, TopicPath};
use crate::log::SharedLog;
use crate::ops::metrics::{ClosedBy, Transport};

/// A poller counts as a reader that much longer than it waits.
pub const POLLER_LINGERS: Duration = Duration::from_secs(30);
/// Pollers that may linger at once; beyond that they count only while they wait.
const MAX_LINGERING: usize = 100_000;
/// Members of a hub for which room is kept.
const KEPT_MEMBERS: usize = 4096;

/// A hub whose window is to be shown; the earliest is the greatest.
struct Due {
    at: u64,
    hub: Rc<TopicHub>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.at.cmp(&self.at)
    }
}

/// What a shard's thread holds.
pub struct Shard {
    pub broker: Arc<Broker>,
    pub(super) inbox: Arc<Inbox>,
    addr: OnceCell<Addr<ShardActor>>,
    pub(super) hubs: RefCell<Map<TopicPath, Rc<TopicHub>>>,
    /// Links that wait for a topic to exist.
    pub(super) awaiting: RefCell<Map<TopicPath, Vec<Rc<Link>>>>,
    pub(super) patterns: RefCell<Patterns>,
    pub(super) links: RefCell<Vec<Rc<Link>>>,
    touched: RefCell<Vec<Rc<Link>>>,
    /// Room for the members of a hub that has news.
    told: RefCell<Vec<Member>>,
    /// Pollers that just left still count as readers until then.
    pub(super) lingering: RefCell<Vec<(u64, TopicPath)>>,
    /// Hubs with a coalescing window that is to be shown, each at most once.
    due: RefCell<BinaryHeap<Due>>,
    /// Agents that want to know how many readers a topic has.
    pub(super) demand: DemandBoard,
    /// When the timer for them fires; `u64::MAX`: it is not set.
    timer_due: Cell<u64>,
    pub(super) outbox_bytes: Cell<i64>,
}

impl Shard {
    /// Starts the shard of this thread.
    pub fn start(broker: &Arc<Broker>) -> Rc<Self> {
        let inbox = Inbox::new();
        let shard = Rc::new(Self {
            broker: broker.clone(),
            inbox: inbox.clone(),
            addr: OnceCell::new(),
            hubs: RefCell::default(),
            awaiting: RefCell::default(),
            patterns: RefCell::default(),
            links: RefCell::default(),
            touched: RefCell::default(),
            told: RefCell::default(),
            lingering: RefCell::default(),
            due: RefCell::default(),
            demand: DemandBoard::default(),
            timer_due: Cell::new(u64::MAX),
            outbox_bytes: Cell::new(0),
        });
        let addr = ShardActor {
            shard: shard.clone(),
            timer: None,
        }
        .start();
        inbox.open(ShardMailbox {
            news: addr.clone().recipient(),
            drain: addr.clone().recipient(),
            recheck: addr.clone().recipient(),
        });
        if shard.addr.set(addr).is_err() {
            unreachable!("the shard was made a few lines above");
        }
        broker.add_worker(actix::Arbiter::current(), inbox);
        shard
    }

    pub fn now(&self) -> u64 {
        self.broker.now()
    }

    /// The hub of a topic; `None` where the topic does not exist.
    pub async fn hub(&self, topic: &TopicPath) -> Result<Option<Rc<TopicHub>>, EngineError> {
        let known = self
            .hubs
            .borrow()
            .get(topic)
            .filter(|hub| !hub.log().is_deleted())
            .cloned();
        if known.is_some() {
            return Ok(known);
        }
        loop {
            let Some(log) = self.broker.engine.load(topic).wait().await? else {
                return Ok(None);
            };
            if let Some(hub) = self.adopt(log) {
                return Ok(Some(hub));
            }
        }
    }

    /// Follows the log first, so that the hub is woken by whatever comes after. `None`: its engine let go of it.
    fn adopt(&self, log: Arc<SharedLog>) -> Option<Rc<TopicHub>> {
        let topic = log.path().clone();
        let mut hubs = self.hubs.borrow_mut();
        if let Some(known) = hubs.get(&topic) {
            if Arc::ptr_eq(known.log(), &log) {
                return Some(known.clone());
            }
            let old = known.clone();
            self.tell_members(&old);
            old.log().unfollow(old.follower());
        }
        let follower = log.follow(self.inbox.clone())?;
        let hub = Hub::new(log, follower);
        hubs.insert(topic, hub.clone());
        Some(hub)
    }

    fn tell_members(&self, hub: &TopicHub) {
        hub.on_append(self.now(), |(link, key)| {
            link.session.borrow_mut().mark_behind(*key);
            self.touch(link);
        });
    }

    /// Gives members their news; `true`: some of them were settled.
    fn hand_out(&self, hub: &TopicHub, now: u64) -> bool {
        let mut told = self.told.take();
        hub.on_append(now, |member| told.push(member.clone()));
        let mut settled = false;
        for (link, key) in told.drain(..) {
            let reads_only_this = {
                let mut session = link.session.borrow_mut();
                session.mark_behind(key);
                session.subscription_count() == 1
            };
            // what is touched has an answer, which goes out with the delivery
            if reads_only_this && !link.touched.get() {
                self.settle_at(&link, now);
                settled = true;
            } else {
                self.touch(&link);
            }
        }
        told.shrink_to(KEPT_MEMBERS);
        self.told.replace(told);
        settled
    }

    pub fn add_link(&self, link: &Rc<Link>) {
        self.links.borrow_mut().push(link.clone());
        let label = Transport {
            transport: link.label,
        };
        self.broker.metrics.connections.get_or_create(&label).inc();
        self.broker
            .metrics
            .connections_opened
            .get_or_create(&label)
            .inc();
    }

    /// The connection is over: its subscriptions leave their hubs.
    pub fn remove_link(&self, link: &Rc<Link>) {
        let mut links = self.links.borrow_mut();
        let Some(at) = links.iter().position(|known| Rc::ptr_eq(known, link)) else {
            return;
        };
        links.swap_remove(at);
        drop(links);
        if let Some(attendant) = link.attendant() {
            attendant.on_end();
            link.set_attendant(None);
        }
        self.count(link);
        let mut session = link.session.borrow_mut();
        let subscriptions = session.subscription_count();
        let awaited = session.end();
        drop(session);
        for topic in awaited {
            self.stop_awaiting(&topic, link);
        }
        let metrics = &self.broker.metrics;
        let label = Transport {
            transport: link.label,
        };
        metrics.connections.get_or_create(&label).dec();
        metrics
            .subscriptions
            .get_or_create(&label)
            .dec_by(subscriptions as i64);
        if let Some(close) = link.closing().filter(|close| close.code != 1000) {
            let closed = ClosedBy {
                transport: link.label,
                code: close.code,
                reason: close.reason,
            };
            metrics.closed.get_or_create(&closed).inc();
        }
    }

    /// Tell this link when the topic exists.
    fn await_topic(&self, topic: &TopicPath, link: &Rc<Link>) {
        self.inbox.set_curious(true);
        let mut awaiting = self.awaiting.borrow_mut();
        let links = awaiting.entry(topic.clone()).or_default();
        if !links.iter().any(|known| Rc::ptr_eq(known, link)) {
            links.push(link.clone());
        }
    }

    /// The link does not wait for the topic any more, unless another subscription of it does.
    pub fn stop_awaiting(&self, topic: &TopicPath, link: &Rc<Link>) {
        if link.session.borrow().awaits(topic) {
            return;
        }
        let mut awaiting = self.awaiting.borrow_mut();
        if let Some(links) = awaiting.get_mut(topic) {
            links.retain(|known| !Rc::ptr_eq(known, link));
            if links.is_empty() {
                awaiting.remove(topic);
            }
        }
    }

    pub fn add_pattern(&self, reader: Rc<dyn PatternReader>) {
        self.inbox.set_curious(true);
        self.patterns.borrow_mut().add(reader);
    }

    pub fn remove_patterns(&self, readers: &[Rc<dyn PatternReader>]) {
        self.patterns.borrow_mut().remove(readers);
    }

    /// This poller counts as a reader of its topics for a while longer.
    pub fn linger(&self, topic: TopicPath) {
        if self.lingering.borrow().len() >= MAX_LINGERING {
            return;
        }
        self.broker.readers.add(&topic);
        let until = self.now() + POLLER_LINGERS.as_millis() as u64;
        self.lingering.borrow_mut().push((until, topic));
    }

    /// The link has something to settle; it is done with the rest of this batch.
    pub fn touch(&self, link: &Rc<Link>) {
        if !link.touched.replace(true) {
            self.touched.borrow_mut().push(link.clone());
        }
    }

    /// The link is settled with the next look at the inbox, together with whatever else came.
    pub fn touch_soon(&self, link: &Rc<Link>) {
        self.touch(link);
        self.inbox.schedule();
    }

    /// Moves what can be moved on one link now.
    pub fn settle(&self, link: &Rc<Link>) {
        self.settle_at(link, self.now());
    }

    fn settle_at(&self, link: &Rc<Link>, now: u64) {
        let mut effects = Vec::new();
        let more = link.settle(now, &mut effects);
        self.apply(link, effects);
        if more && link.closing().is_none() {
            self.touch_soon(link);
        }
    }

    /// Does what a session cannot do by itself.
    pub fn apply(&self, link: &Rc<Link>, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Await(topic) => self.await_and_recheck(&topic, link),
                Effect::Left(topic) => {
                    count_subscriptions(self, link, -1);
                    self.recheck(&topic);
                }
            }
        }
    }

    /// Waits for a topic that was not there: it may have appeared before anybody waited.
    pub fn await_and_recheck(&self, topic: &TopicPath, link: &Rc<Link>) {
        self.await_topic(topic, link);
        self.recheck(topic);
    }

    /// Whoever waits for the topic is told, if it is there.
    fn recheck(&self, topic: &TopicPath) {
        let (broker, inbox, topic) = (self.broker.clone(), self.inbox.clone(), topic.clone());
        let recheck = async move {
            if let Ok(Some(_)) = broker.engine.load(&topic).wait().await {
                inbox.appeared(&topic);
            }
        };
        actix::spawn(recheck);
    }

    /// Everything the inbox holds, then every link it touched.
    fn look_at_news(self: &Rc<Self>) {
        let News {
            topics,
            born,
            demand,
        } = self.inbox.take();
        for topic in born {
            self.on_born(&topic);
        }
        for topic in demand {
            self.count_readers(&topic);
        }
        let oldest = topics.iter().map(|(_, at)| *at).min();
        let now = self.now();
        let mut settled = false;
        for (topic, _) in topics {
            let hub = self.hubs.borrow().get(&topic).cloned();
            if let Some(hub) = hub {
                settled |= self.hand_out(&hub, now);
                self.schedule_window(&hub);
            }
        }
        settled |= self.settle_touched();
        if let Some(oldest) = oldest.filter(|_| settled) {
            self.broker
                .metrics
                .delivery_latency
                .observe(oldest.elapsed().as_secs_f64());
        }
    }

    fn settle_touched(&self) -> bool {
        let touched = std::mem::take(&mut *self.touched.borrow_mut());
        let any = !touched.is_empty();
        let now = self.now();
        for link in &touched {
            link.touched.set(false);
            self.settle_at(link, now);
        }
        any
    }

    fn stop_waiting_for(&self, topic: &TopicPath, hub: &Rc<TopicHub>) {
        let links = self.awaiting.borrow_mut().remove(topic).unwrap_or_default();
        for link in links {
            link.session
                .borrow_mut()
                .appeared(topic, hub, |key| (link.clone(), key));
            self.touch(&link);
        }
        self.settle_touched();
    }

    fn on_born(self: &Rc<Self>, topic: &TopicPath) {
        if self.awaiting.borrow().contains_key(topic) {
            let (shard, topic) = (self.clone(), topic.clone());
            actix::spawn(async move {
                // a topic that is gone again leaves everybody waiting
                if let Ok(Some(hub)) = shard.hub(&topic).await {
                    shard.stop_waiting_for(&topic, &hub);
                }
            });
        }
        let readers = self.patterns.borrow().matching(topic);
        for reader in readers {
            reader.appeared(topic);
        }
    }

    /// The window of a hub is to be looked at when it is due.
    pub fn schedule_window(&self, hub: &Rc<TopicHub>) {
        let Some(at) = hub.next_due() else { return };
        if !hub.scheduled.replace(true) {
            self.due.borrow_mut().push(Due {
                at,
                hub: hub.clone(),
            });
        }
        self.arm_timer(at);
    }

    pub(super) fn arm_timer(&self, due: u64) {
        if due < self.timer_due.get()
            && let Some(addr) = self.addr.get()
        {
            self.timer_due.set(due);
            addr.do_send(ArmTimer { due });
        }
    }

    fn on_timer(&self) {
        self.timer_due.set(u64::MAX);
        let now = self.now();
        self.tell_demand(now);
        loop {
            let mut due = self.due.borrow_mut();
            if due.peek().is_none_or(|first| first.at > now) {
                break;
            }
            let Some(Due { hub, .. }) = due.pop() else {
                break;
            };
            drop(due);
            hub.scheduled.set(false);
            hub.on_due(now, |(link, key)| {
                link.session.borrow_mut().mark_behind(*key);
                self.touch(link);
            });
            self.schedule_window(&hub);
        }
        if let Some(next) = self.due.borrow().peek() {
            self.arm_timer(next.at);
        }
        self.settle_touched();
    }
}

/// A shard or topic that panicked must not go missing silently: its readers would wait for ever.
pub fn end_process_if_panicking(what: &str) {
    if std::thread::panicking() {
        eprintln!(
            "tidewire: a {what} panicked; the process ends, so that it is started again whole"
        );
        std::process::abort();
    }
}

/// The actor around a shard: mailbox and timers.
pub struct ShardActor {
    shard: Rc<Shard>,
    /// The one timer that is set: each that fires sets the next, so two would be two for ever.
    timer: Option<SpawnHandle>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct ArmTimer {
    due: u64,
}

impl Drop for ShardActor {
    fn drop(&mut self) {
        end_process_if_panicking("shard");
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(tick_of(&self.shard.broker), |actor, _| actor.shard.tick());
    }
}

impl Handler<LookAtNews> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: LookAtNews, _: &mut Self::Context) {
        self.shard.look_at_news();
    }
}

impl Handler<ArmTimer> for ShardActor {
    type Result = ();

    fn handle(&mut self, ArmTimer { due }: ArmTimer, ctx: &mut Self::Context) {
        let wait = Duration::from_millis(due.saturating_sub(self.shard.now()));
        let sooner = ctx.run_later(wait, |actor, _| {
            actor.timer = None;
            actor.shard.on_timer();
        });
        if let Some(later) = self.timer.replace(sooner) {
            ctx.cancel_future(later);
        }
    }
}

impl Handler<Recheck> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: Recheck, _: &mut Self::Context) {
        self.shard.recheck_rights();
    }
}

impl Handler<Drain> for ShardActor {
    type Result = ();

    /// In slices, so that not all come back at once.
    fn handle(&mut self, Drain { over }: Drain, ctx: &mut Self::Context) {
        let links = self.shard.links.borrow().clone();
        let count = links.len().max(1) as u32;
        for (at, link) in links.into_iter().enumerate() {
            let jitter = Duration::from_millis(fastrand::u64(0..20));
            let wait = over / count * at as u32 + jitter.min(over);
            ctx.run_later(wait, move |actor, _| {
                actor.shard.send_away(&link, Close::DRAINING)
            });
        }
    }
}
