//! Where agents are found, and the way every publish with a producer takes past them.
//!
//! A publish is admitted and handed to its topic in one step, with a `Pass` that lasts until it is answered:
//! whoever attaches waits for everything that was admitted before, so that nothing of it lands later.
//!
//! Bound: 65,536 agents; one that has had no run for a minute is forgotten, but for its epoch.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use actix::{Actor as _, Addr};
use dashmap::DashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, oneshot};

use super::actor::{Agent, Arm, Attach, Holder, Stop, Tidy};
use super::epochs::PastEpochs;
use super::runs::{Admission, Fenced, Lease, Lost, Runs, Takeover, Turned};
use crate::broker::directory::Broker;
use crate::broker::problem::{Code, Problem};
use crate::event::TopicPath;
use crate::log::Refusal;
use crate::log::fold::{Fold, Owner};
use crate::log::idempotency::Producer;

/// Agents the broker knows at once.
const MAX_AGENTS: usize = 65_536;
/// Of them, those of one principal that said who it is: nobody takes the places of all.
const MAX_AGENTS_OF_ONE: usize = 8_192;
/// How long an agent without a run is remembered, in milliseconds.
const MEMORY_MS: u64 = 60_000;
/// No timer is set.
const NEVER: u64 = u64::MAX;

/// (principal, producer id).
pub(super) type Key = (Arc<str>, Arc<str>);

/// Somebody wants to be a run of a producer.
pub struct AttachRequest {
    /// `None`: the next one.
    pub epoch: Option<u64>,
    pub lease: Lease,
    /// The connection that holds the lease; `None`: its publishes will renew it.
    pub holder: Option<Holder>,
}

/// A run that is attached.
#[derive(Clone)]
pub struct Attached {
    pub agent: Arc<AgentShared>,
    pub epoch: u64,
}

/// One agent, as its actor and all who publish for it see it.
pub struct AgentShared {
    pub principal: Arc<str>,
    pub producer: Arc<str>,
    state: Mutex<State>,
    addr: OnceLock<Addr<Agent>>,
}

struct State {
    runs: Runs<Holder>,
    /// When the actor's timer fires.
    armed: u64,
    /// Publishes that were admitted since the last attach.
    passing: Passing,
    tidying: bool,
    /// It is no longer in the registry: another stands, or will stand, in its place.
    gone: bool,
}

/// A publish that was admitted has one until it is answered.
pub struct Pass {
    /// The lease of its run.
    pub lease: Option<Lease>,
    #[expect(dead_code, reason = "that it is dropped is what counts")]
    passes: Passes,
}

type Passes = mpsc::Sender<Infallible>;

/// Passes that were given, and who hears that the last one is gone.
struct Passing {
    passes: Passes,
    all_gone: mpsc::Receiver<Infallible>,
}

impl Passing {
    fn new() -> Self {
        let (passes, all_gone) = mpsc::channel(1);
        Self { passes, all_gone }
    }

    fn pass(&self, lease: Option<Lease>) -> Pass {
        Pass {
            lease,
            passes: self.passes.clone(),
        }
    }

    /// Until every publish that has one of these passes is answered.
    async fn settled(mut self) {
        drop(self.passes);
        if let Some(never) = self.all_gone.recv().await {
            match never {}
        }
    }
}

#[derive(Default)]
pub struct Agents {
    by_key: DashMap<Key, Arc<AgentShared>>,
    past: Mutex<PastEpochs>,
    /// How many each principal has.
    of_principal: DashMap<Arc<str>, usize>,
    /// It was said that there is no room.
    full: AtomicBool,
}

/// A publish on its way past its agent.
pub struct Publishing<'a> {
    pub producer: &'a Producer,
    pub lease: Option<Lease>,
    /// The attached connection it comes from, where it does not name its run itself.
    pub holder: Option<&'a Holder>,
    /// Where it may open a message.
    pub topic: Option<&'a TopicPath>,
}

impl Agents {
    /// Hands a publish over in the step that admits it.
    pub fn admit(
        &self,
        broker: &Arc<Broker>,
        principal: &Arc<str>,
        publishing: Publishing<'_>,
        hand_over: impl FnOnce(Result<Option<Pass>, Refusal>),
    ) {
        let key = (principal.clone(), publishing.producer.id.clone());
        loop {
            let known = self.by_key.get(&key).map(|agent| agent.clone());
            let agent = match known {
                Some(agent) => agent,
                // a publish that opens nothing needs nobody to look after it
                None if publishing.topic.is_none() && publishing.holder.is_none() => {
                    return hand_over(Ok(None));
                }
                None => match self.start(broker, &key) {
                    Ok(agent) => agent,
                    Err(full) => return hand_over(Err(full)),
                },
            };
            let state = agent.state.lock();
            if !state.gone {
                return agent.admit(state, broker, publishing, hand_over);
            }
        }
    }

    fn start(&self, broker: &Arc<Broker>, key: &Key) -> Result<Arc<AgentShared>, Refusal> {
        if let Some(known) = self.by_key.get(key) {
            return Ok(known.clone());
        }
        if self.by_key.len() >= MAX_AGENTS {
            if !self.full.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    agents = MAX_AGENTS,
                    "no room for another agent: new ones are refused until leases end"
                );
            }
            return Err(Refusal::TooManyAgents);
        }
        let has = self.of_principal.get(&key.0).map_or(0, |count| *count);
        if !key.0.is_empty() && has >= MAX_AGENTS_OF_ONE {
            return Err(Refusal::TooManyAgents);
        }
        let latest = self.past.lock().latest(key);
        let entry = self.by_key.entry(key.clone());
        let agent = entry.or_insert_with(|| {
            *self.of_principal.entry(key.0.clone()).or_default() += 1;
            let mut runs = Runs::new(broker.now());
            runs.raise_latest(latest);
            let agent = Arc::new(AgentShared {
                principal: key.0.clone(),
                producer: key.1.clone(),
                state: Mutex::new(State {
                    runs,
                    armed: NEVER,
                    passing: Passing::new(),
                    tidying: false,
                    gone: false,
                }),
                addr: OnceLock::new(),
            });
            let actor = Agent {
                shared: agent.clone(),
                broker: broker.clone(),
                timer: None,
            };
            let addr = Agent::start_in_arbiter(&broker.worker_for(key), |_| actor);
            if agent.addr.set(addr).is_err() {
                unreachable!("the agent was made a few lines above");
            }
            agent
        });
        Ok(agent.clone())
    }

    /// After a restart: the lease of the run that this message belongs to begins anew.
    pub fn adopt(&self, broker: &Arc<Broker>, topic: &TopicPath, fold: &Fold) {
        let Owner::Producer(principal, producer) = &fold.owner else {
            return;
        };
        let producer = Producer {
            id: producer.clone(),
            epoch: fold.run,
            seq: None,
        };
        let publishing = Publishing {
            producer: &producer,
            lease: fold.lease_ms.and_then(Lease::from_ms),
            holder: None,
            topic: Some(topic),
        };
        // one for which there is no room is found as an idle message later
        self.admit(broker, principal, publishing, drop);
    }

    /// Attaches a run: earlier ones are fenced and their open messages ended when this answers.
    pub async fn attach(
        &self,
        broker: &Arc<Broker>,
        principal: &Arc<str>,
        producer: &Arc<str>,
        request: AttachRequest,
    ) -> Result<Attached, Problem> {
        let key = (principal.clone(), producer.clone());
        let agent = loop {
            let agent = self.start(broker, &key).map_err(Problem::from)?;
            if !agent.state.lock().gone {
                break agent;
            }
        };
        let (reply, answer) = oneshot::channel();
        agent.tell(Attach { request, reply });
        answer.await.unwrap_or_else(|_| {
            let message = "the agent was forgotten at this very moment: attach again";
            Err(Problem::new(Code::OutcomeUnknown, message))
        })
    }

    /// A publish stream of a run is open, until what this answers is dropped.
    pub fn open_stream(
        &self,
        broker: &Arc<Broker>,
        principal: &Arc<str>,
        producer: &Arc<str>,
        epoch: u64,
        lease: Option<Lease>,
    ) -> Result<StreamHold, Problem> {
        let key = (principal.clone(), producer.clone());
        loop {
            let agent = self.start(broker, &key).map_err(Problem::from)?;
            let mut state = agent.state.lock();
            if state.gone {
                continue;
            }
            let opened = state.runs.open_stream(epoch, lease, broker.now());
            opened
                .map_err(|Fenced { current }| Problem::from(Refusal::ProducerFenced { current }))?;
            drop(state);
            return Ok(StreamHold {
                attached: Attached { agent, epoch },
                broker: broker.clone(),
            });
        }
    }

    /// Whether somebody's lease is on the message.
    pub fn hold(&self, fold: &Fold) -> bool {
        let Owner::Producer(principal, producer) = &fold.owner else {
            return false;
        };
        let agent = self.by_key.get(&(principal.clone(), producer.clone()));
        agent.is_some_and(|agent| agent.state.lock().runs.is_live(fold.run))
    }

    /// Agents that are looked after.
    pub fn count(&self) -> usize {
        self.by_key.len()
    }

    /// Forgets agents without a run, but for their epochs. When there is no more room, at once.
    pub fn forget_idle(&self, now: u64) {
        let memory = match self.by_key.len() {
            MAX_AGENTS.. => 0,
            _ => MEMORY_MS,
        };
        let is_idle = |state: &State| {
            let since = state.runs.idle_since();
            since.is_some_and(|since| since + memory <= now)
        };
        let idle: Vec<Arc<AgentShared>> = self
            .by_key
            .iter()
            .filter(|agent| is_idle(&agent.state.lock()))
            .map(|agent| agent.clone())
            .collect();
        for agent in idle {
            let key = (agent.principal.clone(), agent.producer.clone());
            let removed = self.by_key.remove_if(&key, |_, agent| {
                let mut state = agent.state.lock();
                state.gone = is_idle(&state);
                if state.gone {
                    // in the step that takes it out: whoever starts it anew finds it
                    let latest = state.runs.latest();
                    self.past.lock().remember(&key, latest);
                }
                state.gone
            });
            if removed.is_some() {
                if let Some(mut count) = self.of_principal.get_mut(&key.0) {
                    *count = count.saturating_sub(1);
                }
                self.of_principal.remove_if(&key.0, |_, count| *count == 0);
                agent.tell(Stop);
            }
        }
        if self.by_key.len() < MAX_AGENTS {
            self.full.store(false, Ordering::Relaxed);
        }
    }
}

impl AgentShared {
    fn tell<M>(&self, message: M)
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        Agent: actix::Handler<M>,
    {
        if let Some(addr) = self.addr.get() {
            addr.do_send(message);
        }
    }

    fn admit(
        &self,
        mut state: MutexGuard<'_, State>,
        broker: &Broker,
        publishing: Publishing<'_>,
        hand_over: impl FnOnce(Result<Option<Pass>, Refusal>),
    ) {
        let admission = Admission {
            epoch: publishing.producer.epoch,
            lease: publishing.lease,
            holder: publishing.holder,
            topic: publishing.topic,
        };
        match state.runs.admit(admission, broker.now()) {
            Ok(tidy) => {
                self.arm(&mut state);
                if tidy && !std::mem::replace(&mut state.tidying, true) {
                    self.tell(Tidy);
                }
                let lease = state.runs.lease(publishing.producer.epoch);
                hand_over(Ok(Some(state.passing.pass(lease))));
            }
            Err(Turned::Fenced(Fenced { current })) => {
                hand_over(Err(Refusal::ProducerFenced { current }));
            }
            Err(Turned::TooManyRuns) => hand_over(Err(Refusal::TooManyRuns)),
        }
    }

    /// The actor looks when the next lease may end. A renewal moves no timer: it is looked at in vain and set again.
    fn arm(&self, state: &mut State) {
        if let Some(due) = state.runs.next_expiry()
            && due < state.armed
        {
            state.armed = due;
            self.tell(Arm { due });
        }
    }

    /// Waits until all that was admitted so far is in the logs, or was refused.
    pub(super) async fn settle(&self) {
        let passing = {
            let mut state = self.state.lock();
            state.runs.settled();
            std::mem::replace(&mut state.passing, Passing::new())
        };
        passing.settled().await;
    }

    /// `known`: the latest epoch in the logs, asked for after `settle`.
    pub(super) fn attach(
        &self,
        request: &AttachRequest,
        known: Option<u64>,
        now: u64,
    ) -> Result<Takeover<Holder>, Fenced> {
        let mut state = self.state.lock();
        state.runs.raise_latest(known.unwrap_or(0));
        let holder = request.holder.clone();
        let taken = state
            .runs
            .attach(request.epoch, holder, request.lease, now)?;
        self.arm(&mut state);
        Ok(taken)
    }

    pub(super) fn expire(&self, now: u64) -> Vec<Lost> {
        let mut state = self.state.lock();
        state.armed = NEVER;
        let lost = state.runs.expire(now);
        self.arm(&mut state);
        lost
    }

    pub(super) fn quiet_topics(&self, now: u64) -> Vec<(u64, TopicPath)> {
        self.state.lock().runs.quiet_topics(now)
    }

    pub(super) fn forget_topic(&self, epoch: u64, topic: &TopicPath, now: u64) {
        self.state.lock().runs.forget_topic(epoch, topic, now);
    }

    pub(super) fn tidied(&self) {
        self.state.lock().tidying = false;
    }
}

impl Attached {
    /// What a publish of this run says of itself.
    pub fn producer(&self) -> Producer {
        Producer {
            id: self.agent.producer.clone(),
            epoch: self.epoch,
            seq: None,
        }
    }

    /// The connection is gone: from now on the lease runs.
    pub fn release(&self, holder: &Holder, now: u64) {
        let mut state = self.agent.state.lock();
        state.runs.release(holder, now);
        self.agent.arm(&mut state);
    }
}

/// Keeps the lease of a run while a publish stream is open.
pub struct StreamHold {
    attached: Attached,
    broker: Arc<Broker>,
}

impl Drop for StreamHold {
    fn drop(&mut self) {
        let agent = &self.attached.agent;
        let mut state = agent.state.lock();
        state
            .runs
            .close_stream(self.attached.epoch, self.broker.now());
        agent.arm(&mut state);
    }
}
