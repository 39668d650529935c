//! The topic actor: what is published to a topic, in order.
//!
//! It takes publishes in the order in which they were sent, gives them to the engine, and answers in the
//! same order. The log wakes its followers by itself. The directory starts it with the first publish, and
//! it stops when it was idle for a while: the log stays with the engine.
//!
//! Where nothing is on its way to the actor, there is nothing to be in order with. What comes then is appended by
//! whoever brings it, if the engine needs no time for that: a message to a cold actor costs more than the append.
//!
//! Where somebody may only create so many topics, it looks whether the topic exists before their publish is
//! appended. Being the one writer, it knows: nobody else creates the topic in between. A publish that is
//! refused for that leaves nothing behind, and this actor goes with it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context, Handler,
    Message, WrapFuture,
};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::agent::Pass;
use super::directory::Broker;
use super::problem::{Code, Problem};
use super::quota::{Meter, Meters, TakenTopic};
use super::reply::{PublishAnswer, Reply};
use super::shard::end_process_if_panicking;
use crate::engine::{AppendAnswer, Engine, EngineError, Pending};
use crate::event::TopicPath;
use crate::log::{Ending, Publish, Refusal, SharedLog};
use crate::ops::metrics::{EndedLabel, Metrics, Namespace, Refused};

#[derive(Message)]
#[rtype(result = "()")]
pub struct PublishMessage {
    /// Or why its agent's run may not publish.
    pub publish: Result<Publish, Refusal>,
    /// Bytes it came in.
    pub bytes: usize,
    /// Its place among the publishes under way; given back when it is answered.
    pub permit: OwnedSemaphorePermit,
    /// Of a producer: whoever attaches waits until it is answered.
    pub pass: Option<Pass>,
    /// Who is asked if the topic does not exist yet; `None`: whoever may publish may create it.
    pub creation: Option<Box<Creation>>,
    pub reply: Reply,
}

/// Somebody who may only create so many topics.
pub struct Creation {
    broker: Arc<Broker>,
    meters: Meters,
    /// The topic's namespace.
    namespace: Option<Arc<Meter>>,
}

impl Creation {
    /// `None`: nothing bounds the topics that they create there.
    pub fn new(
        broker: &Arc<Broker>,
        meters: &Meters,
        namespace: Option<&Arc<Meter>>,
    ) -> Option<Box<Self>> {
        meters.bounds_topics(namespace).then(|| {
            Box::new(Self {
                broker: broker.clone(),
                meters: meters.clone(),
                namespace: namespace.cloned(),
            })
        })
    }
}

/// A topic that was paid for and is on its way. Shared by the publishes that came meanwhile: any of them may be
/// the one that brings it into being.
struct Creating {
    taken: TakenTopic,
    broker: Arc<Broker>,
    is_created: AtomicBool,
}

impl Creating {
    /// One of its publishes was answered; if it was the last and none created the topic, it costs nothing.
    fn answered(self: Arc<Self>, answer: &PublishAnswer) {
        let may_exist = match answer {
            Ok(appended) => appended.range.is_some(),
            Err(problem) => problem.code == Code::OutcomeUnknown,
        };
        if may_exist {
            self.is_created.store(true, Ordering::Relaxed);
        }
        if let Some(last) = Arc::into_inner(self)
            && !last.is_created.into_inner()
        {
            last.taken.give_back(last.broker.now());
        }
    }
}

/// Ends messages of publishers that are gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct EndMessages {
    pub ending: Ending,
    pub reply: oneshot::Sender<Result<usize, EngineError>>,
}

/// Stop, if there is really nothing to do.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Passivate {
    pub broker: Arc<Broker>,
}

/// How the directory reaches a topic.
pub struct TopicHandle {
    addr: Addr<Topic>,
    path: TopicPath,
    engine: Arc<dyn Engine>,
    counts: Arc<Counts>,
    last_used: AtomicU64,
}

impl TopicHandle {
    pub fn publish(&self, message: PublishMessage, now: u64) {
        // what is to be refused, or may have to be paid for, takes the longer way
        let plain = message.publish.as_ref().ok();
        let plain = plain.filter(|_| message.creation.is_none());
        let claim = || {
            let queued = &self.counts.queued;
            queued.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst)
        };
        if let Some(publish) = plain
            && claim().is_ok()
        {
            let _ends_with_it = EndsProcess;
            if let Some(answer) = self.engine.append_at_once(&self.path, publish) {
                self.last_used.store(now, Ordering::Relaxed);
                let (_, unanswered) = taken_apart(message);
                return self.counts.answer(unanswered, told(answer));
            }
            self.counts.queued.fetch_sub(1, Ordering::SeqCst);
        }
        self.send(message, now);
    }

    pub fn send<M>(&self, message: M, now: u64)
    where
        M: Message<Result = ()> + Send + 'static,
        Topic: Handler<M>,
    {
        self.last_used.store(now, Ordering::Relaxed);
        self.counts.queued.fetch_add(1, Ordering::SeqCst);
        self.addr.do_send(message);
    }

    pub fn is_idle(&self) -> bool {
        self.counts.queued.load(Ordering::SeqCst) == 0
    }

    pub fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    pub fn addr(&self) -> Addr<Topic> {
        self.addr.clone()
    }
}

/// A publish whose answer is still to come.
struct Awaited {
    answer: Answer,
    message: Unanswered,
}

enum Answer {
    Ready(PublishAnswer),
    Later(Pin<Box<dyn Future<Output = AppendAnswer> + Send>>),
}

impl From<Pending<AppendAnswer>> for Answer {
    fn from(answer: Pending<AppendAnswer>) -> Self {
        match answer {
            Pending::Ready(answer) => Self::Ready(told(answer)),
            Pending::Later(answer) => Self::Later(answer),
        }
    }
}

/// The answer as a publisher is told it.
fn told(answer: AppendAnswer) -> PublishAnswer {
    match answer {
        Ok(Ok(appended)) => Ok(appended),
        Ok(Err(refusal)) => Err(Problem::from(refusal)),
        Err(error) => Err(Problem::from(error)),
    }
}

struct Unanswered {
    reply: Reply,
    events: usize,
    controls: usize,
    bytes: usize,
    creating: Option<Arc<Creating>>,
    _permit: OwnedSemaphorePermit,
    _pass: Option<Pass>,
}

/// The topic's share of the metrics, looked up once.
struct Counts {
    metrics: Arc<Metrics>,
    namespace: Namespace,
    events: Counter,
    bytes: Counter,
    duplicates: Counter,
    /// Messages on their way to the actor, and publishes that are appended beside it.
    queued: AtomicUsize,
}

/// A log that somebody left half written serves nobody.
struct EndsProcess;

impl Drop for EndsProcess {
    fn drop(&mut self) {
        end_process_if_panicking("topic");
    }
}

pub struct Topic {
    path: TopicPath,
    engine: Arc<dyn Engine>,
    counts: Arc<Counts>,
    _ends_with_it: EndsProcess,
    /// Answers that come later, in order; bounded by the permits of the publishes in it.
    later: Option<mpsc::UnboundedSender<Awaited>>,
    /// While publishes are under way to a topic that did not exist.
    creating: Weak<Creating>,
}

impl Topic {
    pub fn start(
        worker: &ArbiterHandle,
        path: TopicPath,
        engine: Arc<dyn Engine>,
        metrics: Arc<Metrics>,
    ) -> TopicHandle {
        let namespace = metrics.namespace(&path);
        let counts = Arc::new(Counts {
            events: metrics.events_in.get_or_create(&namespace).clone(),
            bytes: metrics.bytes_in.get_or_create(&namespace).clone(),
            duplicates: metrics.duplicates.get_or_create(&namespace).clone(),
            queued: AtomicUsize::new(0),
            metrics: metrics.clone(),
            namespace,
        });
        let topic = Self {
            path: path.clone(),
            engine: engine.clone(),
            counts: counts.clone(),
            _ends_with_it: EndsProcess,
            later: None,
            creating: Weak::new(),
        };
        let addr = Self::start_in_arbiter(worker, |_| topic);
        TopicHandle {
            addr,
            path,
            engine,
            counts,
            last_used: AtomicU64::new(0),
        }
    }

    /// Answers stay in order: once one comes later, all behind it queue up.
    fn queue(&mut self, awaited: Awaited, ctx: &mut Context<Self>) {
        let counts = self.counts.clone();
        let mut forwards = None;
        let later = self.later.get_or_insert_with(|| {
            let (sender, mut receiver) = mpsc::unbounded_channel::<Awaited>();
            let forward = async move {
                while let Some(Awaited { answer, message }) = receiver.recv().await {
                    let answer = match answer {
                        Answer::Ready(answer) => answer,
                        Answer::Later(answer) => told(answer.await),
                    };
                    counts.answer(message, answer);
                }
            };
            forwards = Some(forward);
            sender
        });
        // the forwarder lives as long as the actor, so this only fails when both are gone
        drop(later.send(awaited));
        if let Some(forward) = forwards {
            ctx.spawn(forward.into_actor(self));
        }
    }
}

impl Counts {
    fn answer(&self, unanswered: Unanswered, answer: PublishAnswer) {
        self.queued.fetch_sub(1, Ordering::SeqCst);
        if let Some(creating) = unanswered.creating {
            creating.answered(&answer);
        }
        match &answer {
            Ok(appended) if appended.duplicate => {
                self.duplicates.inc();
            }
            Ok(_) => {
                self.events.inc_by(unanswered.events as u64);
                self.bytes.inc_by(unanswered.bytes as u64);
                if unanswered.controls > 0 {
                    let kept = unanswered.controls as u64;
                    self.metrics.agents.control_kept.inc_by(kept);
                }
            }
            Err(problem) => {
                if problem.code == Code::ProducerFenced {
                    self.metrics.agents.fenced.inc();
                }
                let refused = Refused {
                    namespace: self.namespace.namespace.clone(),
                    code: problem.code.name(),
                };
                self.metrics.refused.get_or_create(&refused).inc();
            }
        }
        unanswered.reply.give(answer);
    }
}

impl Actor for Topic {
    type Context = Context<Self>;
}

impl Handler<PublishMessage> for Topic {
    type Result = ();

    fn handle(&mut self, mut message: PublishMessage, ctx: &mut Self::Context) {
        let creation = message.creation.take();
        // what is refused already creates nothing
        let Some(creation) = creation.filter(|_| message.publish.is_ok()) else {
            return self.append(message, None, ctx);
        };
        if let Some(creating) = self.creating.upgrade() {
            return self.append(message, Some(creating), ctx);
        }
        match self.engine.load(&self.path) {
            Pending::Ready(found) => self.create_or_append(message, *creation, found, ctx),
            Pending::Later(found) => {
                // nothing overtakes it; the append would wait for the same
                let found = found.into_actor(self).map(|found, topic, ctx| {
                    topic.create_or_append(message, *creation, found, ctx);
                });
                ctx.wait(found);
            }
        }
    }
}

impl Topic {
    /// `found`: whether the topic exists.
    fn create_or_append(
        &mut self,
        message: PublishMessage,
        creation: Creation,
        found: Result<Option<Arc<SharedLog>>, EngineError>,
        ctx: &mut Context<Self>,
    ) {
        match found {
            Ok(Some(_)) => return self.append(message, None, ctx),
            Ok(None) => {}
            Err(error) => return self.refuse(message, Problem::from(error), ctx),
        }
        let Creation {
            broker,
            meters,
            namespace,
        } = creation;
        match meters.take_topic(namespace.as_ref(), broker.now()) {
            Ok(taken) => {
                let creating = Arc::new(Creating {
                    taken,
                    broker,
                    is_created: AtomicBool::new(false),
                });
                self.creating = Arc::downgrade(&creating);
                self.append(message, Some(creating), ctx);
            }
            Err(limited) => {
                let problem = limited.refuse(&self.counts.metrics);
                self.refuse(message, problem.about(self.path.as_str()), ctx);
                // of a topic that does not exist nothing stays
                ctx.notify(Passivate { broker });
            }
        }
    }

    fn append(
        &mut self,
        message: PublishMessage,
        creating: Option<Arc<Creating>>,
        ctx: &mut Context<Self>,
    ) {
        let (publish, mut unanswered) = taken_apart(message);
        unanswered.creating = creating;
        let answer = match publish {
            Ok(publish) => self.engine.append(&self.path, publish),
            Err(refusal) => Pending::Ready(Ok(Err(refusal))),
        };
        self.give(unanswered, answer.into(), ctx);
    }

    fn refuse(&mut self, message: PublishMessage, problem: Problem, ctx: &mut Context<Self>) {
        let (_, unanswered) = taken_apart(message);
        self.give(unanswered, Answer::Ready(Err(problem)), ctx);
    }

    fn give(&mut self, message: Unanswered, answer: Answer, ctx: &mut Context<Self>) {
        match answer {
            Answer::Ready(answer) if self.later.is_none() => self.counts.answer(message, answer),
            answer => self.queue(Awaited { answer, message }, ctx),
        }
    }

    /// Goes, unless something is on its way to it. `log`: the topic's, if it exists.
    fn let_go(
        &mut self,
        log: Result<Option<Arc<SharedLog>>, EngineError>,
        broker: &Broker,
        ctx: &mut Context<Self>,
    ) {
        let is_busy = match log {
            Ok(Some(log)) => log.is_followed() || log.read().folds().open_count() > 0,
            Ok(None) => false,
            Err(_) => true,
        };
        if !is_busy && broker.release(&self.path) {
            ctx.stop();
        }
    }
}

/// What the engine gets of it, and what waits for the answer.
fn taken_apart(message: PublishMessage) -> (Result<Publish, Refusal>, Unanswered) {
    let PublishMessage {
        publish,
        bytes,
        permit,
        pass,
        creation: _,
        reply,
    } = message;
    let events = match &publish {
        Ok(publish) => publish.events.as_slice(),
        Err(_) => &[],
    };
    let unanswered = Unanswered {
        reply,
        events: events.len(),
        controls: events.iter().filter(|event| event.is_control()).count(),
        bytes,
        creating: None,
        _permit: permit,
        _pass: pass,
    };
    (publish, unanswered)
}

impl Handler<EndMessages> for Topic {
    type Result = ();

    fn handle(&mut self, message: EndMessages, ctx: &mut Self::Context) {
        let EndMessages { ending, reply } = message;
        let counts = self.counts.clone();
        let reason = ending.reason();
        // the effect comes in the order of the calls; nobody but the asker waits for the answer
        let answered = move |answer: Result<usize, EngineError>| {
            counts.queued.fetch_sub(1, Ordering::SeqCst);
            if let Ok(ended) = answer {
                let label = EndedLabel {
                    reason: reason.as_str(),
                };
                let metric = counts.metrics.agents.ended.get_or_create(&label);
                metric.inc_by(ended as u64);
                counts.events.inc_by(ended as u64);
            }
            drop(reply.send(answer));
        };
        match self.engine.end(&self.path, ending) {
            Pending::Ready(answer) => answered(answer),
            Pending::Later(answer) => {
                let later = async move { answered(answer.await) };
                ctx.spawn(later.into_actor(self));
            }
        }
    }
}

impl Handler<Passivate> for Topic {
    type Result = ();

    fn handle(&mut self, Passivate { broker }: Passivate, ctx: &mut Self::Context) {
        match self.engine.load(&self.path) {
            Pending::Ready(log) => self.let_go(log, &broker, ctx),
            Pending::Later(log) => {
                // also of a topic that does not exist, an engine with a disk only knows later
                let log = log.into_actor(self);
                ctx.wait(log.map(move |log, topic, ctx| topic.let_go(log, &broker, ctx)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use parking_lot::Mutex;
    use tokio::sync::{Semaphore, oneshot};

    use super::*;
    use crate::auth::Auth;
    use crate::auth::principal::Principal;
    use crate::broker::BrokerSettings;
    use crate::broker::bookmarks::BookmarkLimits;
    use crate::broker::quota::Quotas;
    use crate::config::{Config, Quota};
    use crate::engine::memory::{MemoryEngine, MemorySettings};
    use crate::engine::{EngineError, EngineTotals, TopicCensus, Watch};
    use crate::event::{Epoch, NewEvent, Seq};
    use crate::log::{Appended, Retention};

    /// Answers the first publish late, the second at once.
    #[derive(Default)]
    struct SlowEngine {
        first: Mutex<Option<oneshot::Receiver<()>>>,
        /// Refuses what is published, from the second publish on.
        refuses: bool,
    }

    fn answer(seq: u64) -> AppendAnswer {
        Ok(Ok(Appended {
            epoch: Epoch::none(),
            range: Some((Seq(seq), Seq(seq))),
            duplicate: false,
        }))
    }

    impl Engine for SlowEngine {
        fn load(&self, _: &TopicPath) -> Pending<Result<Option<Arc<SharedLog>>, EngineError>> {
            Pending::Later(Box::pin(async { Ok(None) }))
        }

        fn append(&self, _: &TopicPath, _: Publish) -> Pending<AppendAnswer> {
            match self.first.lock().take() {
                Some(done) => Pending::Later(Box::pin(async move {
                    done.await.ok();
                    answer(1)
                })),
                None if self.refuses => Pending::Ready(Ok(Err(Refusal::MessageEnded { index: 0 }))),
                None => Pending::Ready(answer(2)),
            }
        }

        fn end(&self, _: &TopicPath, _: Ending) -> Pending<Result<usize, EngineError>> {
            Pending::Ready(Ok(0))
        }

        fn acknowledge(&self, _: &TopicPath, _: Seq) -> Pending<Result<bool, EngineError>> {
            Pending::Ready(Ok(false))
        }

        fn last_epoch(
            &self,
            _: &Arc<str>,
            _: &Arc<str>,
        ) -> Pending<Result<Option<u64>, EngineError>> {
            Pending::Ready(Ok(None))
        }

        fn idle_messages(&self, _: u64, _: &mut dyn FnMut(&TopicPath, &crate::log::fold::Fold)) {}

        fn delete(&self, _: &TopicPath) -> Pending<Result<bool, EngineError>> {
            Pending::Ready(Ok(false))
        }

        fn topics(
            &self,
            _: &str,
            _: Option<&str>,
            _: usize,
        ) -> Pending<Result<Vec<TopicPath>, EngineError>> {
            Pending::Ready(Ok(Vec::new()))
        }

        fn watch(&self, _: Arc<dyn Watch>) {}

        fn sweep(&self) {}

        fn totals(&self) -> EngineTotals {
            EngineTotals::default()
        }

        fn census(&self, _: &mut dyn FnMut(&TopicPath, TopicCensus)) {}
    }

    #[actix::test]
    async fn answers_come_in_order_also_from_an_engine_that_takes_its_time() {
        let (done, first) = oneshot::channel();
        let engine = Arc::new(SlowEngine {
            first: Mutex::new(Some(first)),
            ..SlowEngine::default()
        });
        let metrics = Arc::new(Metrics::new([], "test"));
        let path = TopicPath::parse("/a").expect("a topic");
        let handle = Topic::start(&actix::Arbiter::current(), path, engine, metrics);
        let permits = Arc::new(Semaphore::new(2));
        let mut answers = Vec::new();
        for _ in 0..2 {
            let (reply, answer) = oneshot::channel();
            let permit = permits.clone().try_acquire_owned().expect("there are two");
            let publish = Publish {
                events: Vec::new(),
                principal: "".into(),
                source: None,
                producer: None,
                lease_ms: None,
            };
            handle.send(
                PublishMessage {
                    publish: Ok(publish),
                    bytes: 0,
                    permit,
                    pass: None,
                    creation: None,
                    reply: Reply::Once(reply),
                },
                0,
            );
            answers.push(answer);
        }
        let (mut second, first) = (answers.pop().expect("two"), answers.pop().expect("two"));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
        assert!(early.is_err(), "the second answer overtook the first");
        done.send(()).expect("the engine waits");
        let range = |answer: Result<PublishAnswer, _>| {
            answer.ok().and_then(Result::ok).and_then(|a| a.range)
        };
        assert_eq!(range(first.await), Some((Seq(1), Seq(1))));
        assert_eq!(range(second.await), Some((Seq(2), Seq(2))));
        assert!(handle.is_idle() && permits.available_permits() == 2);
    }

    /// Somebody who may create so many topics a minute.
    struct Bench {
        broker: Arc<Broker>,
        meters: Meters,
        permits: Arc<Semaphore>,
    }

    impl Bench {
        fn new(engine: Arc<dyn Engine>, topics_per_minute: u64) -> Self {
            let mut config = Config::default();
            config.quotas.address = Quota {
                topics_per_minute,
                ..Quota::default()
            };
            let quotas = Quotas::new(&config);
            let address = std::net::Ipv4Addr::LOCALHOST.into();
            let auth = Auth::new(&config, Arc::new(())).expect("nothing to read");
            let settings = BrokerSettings {
                metrics: Arc::new(Metrics::new([], "test")),
                auth,
                engine,
                max_open: 1,
                bookmarks: BookmarkLimits::default(),
            };
            Self {
                broker: Broker::new(Arc::new(config), settings),
                meters: quotas.meters(&Principal::anonymous(), address),
                permits: Arc::new(Semaphore::new(100)),
            }
        }

        fn topic(&self, path: &str) -> TopicHandle {
            let path = TopicPath::parse(path).expect("a topic");
            let (engine, metrics) = (self.broker.engine.clone(), self.broker.metrics.clone());
            Topic::start(&actix::Arbiter::current(), path, engine, metrics)
        }

        fn publish(&self, handle: &TopicHandle) -> oneshot::Receiver<PublishAnswer> {
            let (reply, answer) = oneshot::channel();
            let event = NewEvent::build("a.b".into(), None, Bytes::from_static(b"1"));
            let publish = Publish {
                events: vec![event.expect("a valid event")],
                principal: "".into(),
                source: None,
                producer: None,
                lease_ms: None,
            };
            let permits = self.permits.clone();
            handle.publish(
                PublishMessage {
                    publish: Ok(publish),
                    bytes: 0,
                    permit: permits.try_acquire_owned().expect("there is one"),
                    pass: None,
                    creation: Creation::new(&self.broker, &self.meters, None),
                    reply: Reply::Once(reply),
                },
                0,
            );
            answer
        }
    }

    fn code(answer: Result<PublishAnswer, oneshot::error::RecvError>) -> Option<Code> {
        answer.expect("answered").err().map(|problem| problem.code)
    }

    fn memory_engine() -> Arc<MemoryEngine> {
        Arc::new(MemoryEngine::new(MemorySettings {
            store_epoch: "storetest".into(),
            clock: Arc::new(|| 1),
            retention: Arc::new(|_| Retention {
                events: 100,
                bytes: 1 << 20,
                age: Duration::from_secs(600),
            }),
            max_bytes: 1 << 20,
            compact_after: Duration::from_secs(60),
            observer: Arc::new(Metrics::new([], "test")),
        }))
    }

    #[actix::test]
    async fn what_has_nothing_before_it_is_appended_at_once() {
        let bench = Bench::new(memory_engine(), 0);
        let handle = bench.topic("/a");
        let mut first = bench.publish(&handle);
        let appended = first.try_recv().expect("nobody had to run for it");
        assert_eq!(appended.expect("valid").range, Some((Seq(1), Seq(1))));
        assert!(handle.is_idle() && bench.permits.available_permits() == 100);

        let (reply, ended) = oneshot::channel();
        let ending = Ending::Untouched(Vec::new());
        handle.send(EndMessages { ending, reply }, 0);
        let mut second = bench.publish(&handle);
        assert!(second.try_recv().is_err(), "it waits behind that");
        assert_eq!(code(second.await), None);
        assert_eq!(ended.await.expect("answered").expect("memory"), 0);
        assert!(handle.is_idle());
    }

    #[actix::test]
    async fn quota_of_topics_is_asked_before_one_is_created() {
        let engine = memory_engine();
        let bench = Bench::new(engine.clone(), 1);
        let (one, two) = (bench.topic("/one"), bench.topic("/two"));
        assert_eq!(code(bench.publish(&one).await), None);
        let refused = bench.publish(&two).await.expect("answered");
        let problem = refused.expect_err("one too many");
        assert_eq!(problem.code, Code::RateLimited);
        assert!(
            problem
                .details
                .retry_after_ms
                .is_some_and(|wait| wait > 50_000)
        );
        assert_eq!(engine.totals().topics, 1, "nothing is left behind");
        // the one that exists goes on
        for _ in 0..3 {
            assert_eq!(code(bench.publish(&one).await), None);
        }
        assert!(one.is_idle() && two.is_idle());
    }

    #[actix::test]
    async fn quota_of_topics_is_asked_once_for_what_is_under_way() {
        let (done, first) = oneshot::channel();
        let engine = Arc::new(SlowEngine {
            first: Mutex::new(Some(first)),
            ..SlowEngine::default()
        });
        let bench = Bench::new(engine, 1);
        let handle = bench.topic("/a");
        let (first, second) = (bench.publish(&handle), bench.publish(&handle));
        tokio::time::sleep(Duration::from_millis(20)).await;
        done.send(()).expect("the engine waits");
        assert_eq!((code(first.await), code(second.await)), (None, None));
        // this engine keeps nothing: it is another topic now
        assert_eq!(code(bench.publish(&handle).await), Some(Code::RateLimited));
        assert!(handle.is_idle());
    }

    #[actix::test]
    async fn quota_of_topics_is_given_back_when_the_publish_is_refused() {
        let engine = SlowEngine {
            refuses: true,
            ..SlowEngine::default()
        };
        let bench = Bench::new(Arc::new(engine), 1);
        let handle = bench.topic("/a");
        for _ in 0..3 {
            let refused = bench.publish(&handle).await;
            assert_eq!(code(refused), Some(Code::MessageEnded));
        }
    }
}
