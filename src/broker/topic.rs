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
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::directory::Broker;
use super::problem::Problem;
use super::reply::{PublishAnswer, Reply};
use super::shard::end_process_if_panicking;
use crate::engine::{AppendAnswer, Engine, Pending};
use crate::event::TopicPath;
use crate::log::Publish;
use crate::ops::metrics::{Metrics, Namespace, Refused};

#[derive(Message)]
#[rtype(result = "()")]
pub struct PublishMessage {
    pub publish: Publish,
    /// Bytes it came in.
    pub bytes: usize,
    /// Its place among the publishes under way; given back when it is answered.
    pub permit: OwnedSemaphorePermit,
    pub reply: Reply,
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
    pub fn send(&self, message: PublishMessage, now: u64) {
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
    bytes: usize,
    _permit: OwnedSemaphorePermit,
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
            }
            Err(problem) => {
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
            reply,
        } = message;
        let unanswered = Unanswered {
            reply,
            events: publish.events.len(),
            bytes,
            _permit: permit,
        };
        match self.engine.append(&self.path, publish) {
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
                precondition: None,
            };
            handle.send(
                PublishMessage {
                    publish,
                    bytes: 0,
                    permit,
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
