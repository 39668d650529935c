//! The topic actor: the one writer of a topic.
//!
//! It takes publishes in the order in which they were sent, gives them to the engine, and answers in the
//! same order. The log wakes its followers by itself. The directory starts it with the first publish, and
//! it stops when it was idle for a while: the log stays with the engine.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use actix::{
    Actor, ActorContext, Addr, ArbiterHandle, AsyncContext, Context, Handler, Message, WrapFuture,
};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::agent::Pass;
use super::directory::Broker;
use super::problem::{Code, Problem};
use super::reply::{PublishAnswer, Reply};
use super::shard::end_process_if_panicking;
use crate::engine::{AppendAnswer, Engine, EngineError, Pending};
use crate::event::TopicPath;
use crate::log::{Ending, Publish, Refusal};
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
    pub reply: Reply,
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
    /// Messages on their way.
    queued: Arc<AtomicUsize>,
    last_used: AtomicU64,
}

impl TopicHandle {
    pub fn send<M>(&self, message: M, now: u64)
    where
        M: Message<Result = ()> + Send + 'static,
        Topic: Handler<M>,
    {
        self.last_used.store(now, Ordering::Relaxed);
        self.queued.fetch_add(1, Ordering::SeqCst);
        self.addr.do_send(message);
    }

    pub fn is_idle(&self) -> bool {
        self.queued.load(Ordering::SeqCst) == 0
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
    answer: Pin<Box<dyn Future<Output = AppendAnswer> + Send>>,
    message: Unanswered,
}

struct Unanswered {
    reply: Reply,
    events: usize,
    controls: usize,
    bytes: usize,
    _permit: OwnedSemaphorePermit,
    _pass: Option<Pass>,
}

/// The topic's share of the metrics, looked up once.
#[derive(Clone)]
struct Counts {
    metrics: Arc<Metrics>,
    namespace: Namespace,
    events: Counter,
    bytes: Counter,
    duplicates: Counter,
    /// Messages on their way to the actor.
    queued: Arc<AtomicUsize>,
}

pub struct Topic {
    path: TopicPath,
    engine: Arc<dyn Engine>,
    counts: Counts,
    /// Answers that come later, in order; bounded by the permits of the publishes in it.
    later: Option<mpsc::UnboundedSender<Awaited>>,
}

impl Topic {
    pub fn start(
        worker: &ArbiterHandle,
        path: TopicPath,
        engine: Arc<dyn Engine>,
        metrics: Arc<Metrics>,
    ) -> TopicHandle {
        let queued = Arc::new(AtomicUsize::new(0));
        let namespace = metrics.namespace(&path);
        let counts = Counts {
            events: metrics.events_in.get_or_create(&namespace).clone(),
            bytes: metrics.bytes_in.get_or_create(&namespace).clone(),
            duplicates: metrics.duplicates.get_or_create(&namespace).clone(),
            queued: queued.clone(),
            metrics: metrics.clone(),
            namespace,
        };
        let topic = Self {
            path,
            engine,
            counts,
            later: None,
        };
        let addr = Self::start_in_arbiter(worker, |_| topic);
        TopicHandle {
            addr,
            queued,
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
                    counts.answer(message, answer.await);
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
    fn answer(&self, unanswered: Unanswered, answer: AppendAnswer) {
        self.queued.fetch_sub(1, Ordering::SeqCst);
        let answer: PublishAnswer = match answer {
            Ok(Ok(appended)) => Ok(appended),
            Ok(Err(refusal)) => Err(Problem::from(refusal)),
            Err(error) => Err(Problem::from(error)),
        };
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

impl Drop for Topic {
    fn drop(&mut self) {
        end_process_if_panicking("topic");
    }
}

impl Actor for Topic {
    type Context = Context<Self>;
}

impl Handler<PublishMessage> for Topic {
    type Result = ();

    fn handle(&mut self, message: PublishMessage, ctx: &mut Self::Context) {
        let PublishMessage {
            publish,
            bytes,
            permit,
            pass,
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
            _permit: permit,
            _pass: pass,
        };
        let answer = match publish {
            Ok(publish) => self.engine.append(&self.path, publish),
            Err(refusal) => Pending::Ready(Ok(Err(refusal))),
        };
        match answer {
            Pending::Ready(answer) if self.later.is_none() => {
                self.counts.answer(unanswered, answer)
            }
            Pending::Ready(answer) => {
                let answer = Box::pin(std::future::ready(answer));
                self.queue(
                    Awaited {
                        answer,
                        message: unanswered,
                    },
                    ctx,
                );
            }
            Pending::Later(answer) => self.queue(
                Awaited {
                    answer,
                    message: unanswered,
                },
                ctx,
            ),
        }
    }
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

    fn handle(&mut self, message: Passivate, ctx: &mut Self::Context) {
        let busy = match self.engine.load(&self.path) {
            Pending::Ready(Ok(Some(log))) => {
                log.is_followed() || log.read().folds().open_count() > 0
            }
            Pending::Ready(Ok(None)) => false,
            Pending::Ready(Err(_)) | Pending::Later(_) => true,
        };
        if !busy && message.broker.release(&self.path) {
            ctx.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parking_lot::Mutex;
    use tokio::sync::{Semaphore, oneshot};

    use super::*;
    use crate::engine::{EngineError, EngineTotals, TopicCensus, Watch};
    use crate::event::{Epoch, Seq};
    use crate::log::{Appended, SharedLog};

    /// Answers the first publish late, the second at once.
    struct SlowEngine {
        first: Mutex<Option<oneshot::Receiver<()>>>,
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
            Pending::Ready(Ok(None))
        }

        fn append(&self, _: &TopicPath, _: Publish) -> Pending<AppendAnswer> {
            match self.first.lock().take() {
                Some(done) => Pending::Later(Box::pin(async move {
                    done.await.ok();
                    answer(1)
                })),
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
}
