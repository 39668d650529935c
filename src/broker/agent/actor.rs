//! The agent actor: gives the runs of one producer their time, and ends messages for those that are lost.
//!
//! It works on one thing at a time: an attach that comes while messages of a lost run are being ended is
//! answered when they have ended. What the engine cannot do now is tried again until it can.

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient,
    SpawnHandle, WrapFuture,
};
use tokio::sync::oneshot;

use super::registry::{AgentShared, AttachRequest, Attached};
use super::runs::MAX_EPOCH;
use crate::broker::directory::Broker;
use crate::broker::problem::{Code, Problem};
use crate::broker::shard::end_process_if_panicking;
use crate::event::TopicPath;
use crate::log::Ending;
use crate::log::fold::Owner;

/// Before the engine is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// A connection that holds the lease of a run.
#[derive(Clone)]
pub struct Holder {
    /// No other connection has it.
    pub id: u64,
    pub replaced: Recipient<Replaced>,
}

impl PartialEq for Holder {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// A newer run, or the same one on another connection, took over.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Replaced;

/// A run attaches.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Attach {
    pub request: AttachRequest,
    pub reply: oneshot::Sender<Result<Attached, Problem>>,
}

/// A lease may end then.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Arm {
    pub due: u64,
}

/// The topics of its runs have become many.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Tidy;

/// It was taken out of the registry.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

pub struct Agent {
    pub(super) shared: Arc<AgentShared>,
    pub(super) broker: Arc<Broker>,
    /// The one timer that is set: each that fires sets the next, so two would be two for ever.
    pub(super) timer: Option<SpawnHandle>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        end_process_if_panicking("agent");
    }
}

impl Actor for Agent {
    type Context = Context<Self>;
}

impl Handler<Attach> for Agent {
    type Result = ();

    fn handle(&mut self, Attach { request, reply }: Attach, ctx: &mut Self::Context) {
        let (shared, broker) = (self.shared.clone(), self.broker.clone());
        let attach = async move {
            let attached = attach(&shared, &broker, request).await;
            if let Ok(attached) = &attached {
                tracing::debug!(producer = %shared.producer, epoch = attached.epoch, "agent attached");
            }
            // whoever asked may be gone: then its connection releases the run
            drop(reply.send(attached));
        };
        ctx.wait(attach.into_actor(self));
    }
}

async fn attach(
    shared: &Arc<AgentShared>,
    broker: &Arc<Broker>,
    request: AttachRequest,
) -> Result<Attached, Problem> {
    let metrics = &broker.metrics.agents;
    // a publish that is refused gives no epoch: the logs say which ones there were
    shared.settle().await;
    let known = broker
        .engine
        .last_epoch(&shared.principal, &shared.producer);
    let known = known.wait().await?;
    let taken = shared
        .attach(&request, known, broker.now())
        .map_err(|fenced| {
            metrics.fenced.inc();
            let message = match fenced.current {
                MAX_EPOCH.. => format!("the epochs of this producer are used up (the last is {MAX_EPOCH}): take another producer id"),
                current => format!("a run of this producer with the higher epoch {current} was here already: attach with a higher one, or without an epoch"),
            };
            Problem::new(Code::ProducerFenced, message)
        })?;
    for holder in taken.displaced {
        holder.replaced.do_send(Replaced);
    }
    if taken.replaced {
        metrics.replaced.inc();
    }
    // nothing of whoever was displaced lands behind the answer
    shared.settle().await;
    begin_run(shared, broker, taken.epoch).await;
    let endings = taken.topics.into_iter().map(|topic| {
        let ending = Ending::RunsBefore {
            principal: shared.principal.clone(),
            producer: shared.producer.clone(),
            epoch: taken.epoch,
        };
        (topic, ending)
    });
    end_all(broker, endings).await;
    Ok(Attached {
        agent: shared.clone(),
        epoch: taken.epoch,
    })
}

/// The run is known from now on, whatever happens to this process.
async fn begin_run(shared: &AgentShared, broker: &Broker, epoch: u64) {
    loop {
        let begun = broker
            .engine
            .begin_run(&shared.principal, &shared.producer, epoch);
        match begun.wait().await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(producer = %shared.producer, %error, "a run cannot be noted now");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Ends messages in all these topics; answers how many.
async fn end_all(
    broker: &Arc<Broker>,
    endings: impl IntoIterator<Item = (TopicPath, Ending)>,
) -> usize {
    let mut ended = 0;
    for (topic, ending) in endings {
        loop {
            match broker.end_messages(&topic, ending.clone()).await {
                Ok(count) => {
                    ended += count;
                    break;
                }
                Err(error) => {
                    tracing::warn!(%topic, %error, "messages of a lost agent cannot be ended now");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
    ended
}

impl Handler<Arm> for Agent {
    type Result = ();

    fn handle(&mut self, Arm { due }: Arm, ctx: &mut Self::Context) {
        let wait = Duration::from_millis(due.saturating_sub(self.broker.now()));
        let sooner = ctx.run_later(wait, |agent, ctx| {
            agent.timer = None;
            agent.end_lost_runs(ctx);
        });
        if let Some(later) = self.timer.replace(sooner) {
            ctx.cancel_future(later);
        }
    }
}

impl Agent {
    fn end_lost_runs(&mut self, ctx: &mut Context<Self>) {
        let lost = self.shared.expire(self.broker.now());
        if lost.is_empty() {
            return;
        }
        let (shared, broker) = (self.shared.clone(), self.broker.clone());
        let end = async move {
            for run in lost {
                let endings = run.topics.into_iter().map(|topic| {
                    let ending = Ending::Run {
                        principal: shared.principal.clone(),
                        producer: shared.producer.clone(),
                        epoch: run.epoch,
                    };
                    (topic, ending)
                });
                let ended = end_all(&broker, endings).await;
                if ended > 0 {
                    broker.metrics.agents.leases_lost.inc();
                    tracing::debug!(producer = %shared.producer, epoch = run.epoch, messages = ended, "agent lost");
                }
            }
        };
        ctx.wait(end.into_actor(self));
    }
}

impl Handler<Tidy> for Agent {
    type Result = ();

    fn handle(&mut self, _: Tidy, ctx: &mut Self::Context) {
        let (shared, broker) = (self.shared.clone(), self.broker.clone());
        let now = broker.now();
        let tidy = async move {
            for (epoch, topic) in shared.quiet_topics(now) {
                let Ok(log) = broker.engine.load(&topic).wait().await else {
                    continue;
                };
                let owner = Owner::Producer(shared.principal.clone(), shared.producer.clone());
                let is_open = log.is_some_and(|log| {
                    let log = log.read();
                    let mut folds = log.folds().iter();
                    folds.any(|fold| fold.run == epoch && fold.owner == owner)
                });
                if !is_open {
                    shared.forget_topic(epoch, &topic, now);
                }
            }
        };
        ctx.spawn(
            tidy.into_actor(self)
                .map(|(), agent, _| agent.shared.tidied()),
        );
    }
}

impl Handler<Stop> for Agent {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
