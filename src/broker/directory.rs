//! The broker as its edges see it: the engine, the running topics, and what is shared by all threads.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix::{Addr, ArbiterHandle};
use dashmap::DashMap;
use parking_lot::RwLock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};

use super::agent::registry::Publishing;
use super::agent::{Agents, Holder, Lease, Pass};
use super::bookmarks::{BookmarkLimits, Bookmarks};
use super::caller::Caller;
use super::command::PublishRequest;
use super::inbox::Inbox;
use super::problem::{Code, Problem};
use super::quota::Quotas;
use super::readers::Readers;
use super::reply::{PublishAnswer, Reply};
use super::topic::{Creation, EndMessages, Passivate, PublishMessage, Topic, TopicHandle};
use crate::auth::{Auth, AuthError, Principal, Standing};
use crate::config::{Config, Namespace};
use crate::engine::{Engine, EngineError};
use crate::event::{KeyedHash, NewEvent, TopicPath};
use crate::log::{Ending, Publish, Refusal};
use crate::ops::metrics::{Metrics, Refused};

/// Each may be as large as a body may be.
const STRANGERS_BODIES: usize = 16;
/// What a permit counts in; publishes smaller than it cost one.
const PERMIT_BYTES: usize = 256;
/// How often one who waits for its rate looks whether the broker stops.
const PACE_MS: u64 = 1_000;

pub struct Broker {
    pub config: Arc<Config>,
    pub auth: Auth,
    pub engine: Arc<dyn Engine>,
    pub metrics: Arc<Metrics>,
    topics: DashMap<TopicPath, TopicHandle, KeyedHash>,
    pub agents: Agents,
    /// Of readers that do not know it themselves.
    pub bookmarks: Bookmarks,
    workers: RwLock<Vec<ArbiterHandle>>,
    shards: RwLock<Vec<Arc<Inbox>>>,
    permits: Arc<Semaphore>,
    /// Bodies that are read at once of those who can only be known by them.
    strangers_bodies: Semaphore,
    pub readers: Arc<Readers>,
    pub quotas: Quotas,
    started: Instant,
    draining: AtomicBool,
    /// Connections and streams that are open now.
    open: Arc<AtomicUsize>,
    pub max_open: usize,
    /// Connections that have not said who they are yet.
    pub max_unauthenticated: usize,
    next_session: AtomicUsize,
}

/// A publish that was handed to its topic.
pub struct PublishUnderWay {
    answer: oneshot::Receiver<PublishAnswer>,
}

impl PublishUnderWay {
    pub async fn wait(self) -> PublishAnswer {
        self.answer.await.unwrap_or_else(|_| {
            Err(Problem::new(
                Code::OutcomeUnknown,
                "the broker stopped while it published",
            ))
        })
    }
}

/// What `Broker::new` needs beside the configuration.
pub struct BrokerSettings {
    pub engine: Arc<dyn Engine>,
    pub metrics: Arc<Metrics>,
    pub auth: Auth,
    pub max_open: usize,
    pub bookmarks: BookmarkLimits,
}

impl Broker {
    pub fn new(config: Arc<Config>, settings: BrokerSettings) -> Arc<Self> {
        let permits = config.limits.inflight_bytes / PERMIT_BYTES;
        Arc::new(Self {
            strangers_bodies: Semaphore::new(STRANGERS_BODIES),
            permits: Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS))),
            auth: settings.auth,
            engine: settings.engine,
            metrics: settings.metrics,
            topics: DashMap::default(),
            agents: Agents::default(),
            bookmarks: Bookmarks::new(settings.bookmarks),
            workers: RwLock::new(Vec::new()),
            shards: RwLock::new(Vec::new()),
            readers: Arc::default(),
            quotas: Quotas::new(&config),
            started: Instant::now(),
            draining: AtomicBool::new(false),
            open: Arc::new(AtomicUsize::new(0)),
            max_unauthenticated: match config.limits.max_unauthenticated {
                0 => (settings.max_open / 2).max(1),
                set => set,
            },
            max_open: settings.max_open,
            config,
            next_session: AtomicUsize::new(1),
        })
    }

    /// Milliseconds since the start, monotonic.
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    pub fn open_count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether another connection or stream would be one too many.
    pub fn is_full(&self) -> bool {
        self.open.load(Ordering::Relaxed) >= self.max_open
    }

    /// Counts a connection or stream as open until the guard is dropped.
    pub fn count_open(&self) -> OpenGuard {
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenGuard {
            open: self.open.clone(),
        }
    }

    /// When a connection that begins now is too old: the maximum age, give or take 20 %.
    pub fn expiry(&self) -> u64 {
        let age = self.config.max_connection_age.as_millis() as u64;
        if age == 0 {
            u64::MAX
        } else {
            self.now() + age * fastrand::u64(80..=120) / 100
        }
    }

    pub fn next_session(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed) as u64
    }

    /// A worker thread joined: topics may live there, and its shard can be reached.
    pub fn add_worker(&self, arbiter: ArbiterHandle, shard: Arc<Inbox>) {
        self.engine.watch(shard.clone());
        self.workers.write().push(arbiter);
        self.shards.write().push(shard);
    }

    pub fn shards(&self) -> Vec<Arc<Inbox>> {
        self.shards.read().clone()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// The configuration of a topic's namespace.
    pub fn namespace(&self, topic: &TopicPath) -> &Namespace {
        self.config.namespace(topic.namespace())
    }

    /// With `strict_namespaces`, only configured ones exist.
    pub fn check_namespace(&self, topic: &TopicPath) -> Result<(), Problem> {
        self.check_namespace_of(topic.namespace(), topic.as_str())
    }

    /// The same, by the name of the namespace of `what`.
    pub fn check_namespace_of(&self, namespace: &str, what: &str) -> Result<(), Problem> {
        let strict = self.config.strict_namespaces;
        if strict && !self.config.namespaces.contains_key(namespace) {
            let message = format!("the namespace of `{what}` is not configured");
            let mut problem = Problem::new(Code::Forbidden, message).about(what);
            problem.details.field = Some("namespace");
            return Err(problem);
        }
        Ok(())
    }

    /// Says who shows this token or key, and counts.
    pub async fn authenticate(&self, credential: &str) -> Result<Principal, AuthError> {
        let answer = self.auth.authenticate(credential).await;
        self.metrics.count_admission(&answer);
        answer
    }

    /// Who comes without a token or key. `None`: they have to bring one.
    pub fn without_credential(&self) -> Option<Principal> {
        let principal = self.auth.without_credential()?;
        self.metrics.count_admission(&Ok(principal.clone()));
        Some(principal)
    }

    /// What was shown is neither token nor key.
    pub fn not_authenticated(&self, why: AuthError) -> Result<Principal, AuthError> {
        let answer = Err(why);
        self.metrics.count_admission(&answer);
        answer
    }

    /// Somebody who is at work for longer, with the rights that they have now.
    pub fn still(&self, caller: &Caller) -> Result<Caller, Problem> {
        let current = match self.auth.standing(&caller.principal) {
            Standing::Holds => caller.clone(),
            Standing::Changed(principal) => caller.with_principal(self, principal),
            Standing::Ended(why) => return Err(Problem::from(why)),
        };
        let now = unix_millis() / 1000;
        match current.principal.expires() {
            Some(expires) if expires <= now => Err(Problem::from(AuthError::Expired)),
            _ => Ok(current),
        }
    }

    /// When the rights of `principal` end, in the broker's milliseconds.
    pub fn rights_end(&self, principal: &Principal) -> u64 {
        principal.expires().map_or(u64::MAX, |expires| {
            let left = expires.saturating_mul(1000).saturating_sub(unix_millis());
            self.now().saturating_add(left)
        })
    }

    /// Somebody's rights may be others now: every connection is looked at.
    pub fn recheck_rights(&self) {
        for shard in self.shards() {
            shard.recheck();
        }
    }

    /// Waits for a place among the bodies of those who can only be known by them.
    pub async fn strangers_body(&self) -> SemaphorePermit<'_> {
        let permit = self.strangers_bodies.acquire().await;
        permit.expect("the semaphore is never closed")
    }

    /// Waits for a place among the publishes that are on their way.
    pub async fn permit(&self, bytes: usize) -> OwnedSemaphorePermit {
        let wanted = permits_for(bytes).min(self.permits_in_all());
        let permit = self.permits.clone().acquire_many_owned(wanted as u32).await;
        permit.expect("the semaphore is never closed")
    }

    /// A place among the publishes that are on their way, if there is one now.
    pub fn try_permit(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = permits_for(bytes).min(self.permits_in_all());
        self.permits
            .clone()
            .try_acquire_many_owned(wanted as u32)
            .ok()
    }

    fn permits_in_all(&self) -> usize {
        (self.config.limits.inflight_bytes / PERMIT_BYTES).max(1)
    }

    /// Bytes of the publishes that are on their way.
    pub fn inflight_bytes(&self) -> usize {
        (self.permits_in_all() - self.permits.available_permits()) * PERMIT_BYTES
    }

    /// Counts a publish that was refused before its topic saw it.
    pub fn count_refused(&self, problem: &Problem) {
        let topic = problem
            .details
            .topic
            .as_deref()
            .and_then(|topic| TopicPath::parse(topic).ok());
        let namespace = topic.map_or_else(
            || "other".to_owned(),
            |topic| self.metrics.namespace(&topic).namespace,
        );
        let refused = Refused {
            namespace,
            code: problem.code.name(),
        };
        self.metrics.refused.get_or_create(&refused).inc();
    }

    fn admit_publish(&self, request: &PublishRequest, caller: &Caller) -> Result<(), Problem> {
        let PublishRequest {
            topic,
            events,
            bytes,
            ..
        } = request;
        self.check_publish(&caller.principal, topic, events)?;
        self.take_rate(caller, topic.namespace(), events.len(), *bytes)
            .map_err(|limited| limited.refuse(&self.metrics).about(topic.as_str()))
    }

    /// Publishes and waits for the answer.
    pub async fn publish(
        self: &Arc<Self>,
        request: PublishRequest,
        caller: &Caller,
    ) -> PublishAnswer {
        let answer = self.begin_publish(request, caller).await?.wait().await;
        // readers were woken and are waited for by somebody who looks on; whoever publishes can wait a little
        let_others_go_first().await;
        answer
    }

    /// Waits for a place and hands the publish over. Whoever publishes several of one topic in order begins one
    /// after the other, and then waits for the answers.
    pub async fn begin_publish(
        self: &Arc<Self>,
        request: PublishRequest,
        caller: &Caller,
    ) -> Result<PublishUnderWay, Problem> {
        self.admit_publish(&request, caller)
            .inspect_err(|problem| self.count_refused(problem))?;
        Ok(self.hand_over(request, caller).await)
    }

    /// The same, but over its rate it waits instead of being refused.
    pub async fn publish_paced(
        self: &Arc<Self>,
        request: PublishRequest,
        caller: &Caller,
    ) -> PublishAnswer {
        let (events, bytes) = (request.events.len(), request.bytes);
        loop {
            // it may wait for long
            let caller = self.still(caller)?;
            self.check_publish(&caller.principal, &request.topic, &request.events)?;
            let namespace = request.topic.namespace();
            let Err(limited) = self.take_rate(&caller, namespace, events, bytes) else {
                break;
            };
            if self.is_draining() {
                return Err(Problem::draining(1000));
            }
            let wait = limited.retry_after_ms.unwrap_or(PACE_MS);
            tokio::time::sleep(Duration::from_millis(wait.min(PACE_MS))).await;
        }
        self.hand_over(request, caller).await.wait().await
    }

    async fn hand_over(
        self: &Arc<Self>,
        request: PublishRequest,
        caller: &Caller,
    ) -> PublishUnderWay {
        let permit = self.permit(request.bytes).await;
        let (reply, answer) = oneshot::channel();
        self.send(request, caller, None, permit, Reply::Once(reply));
        PublishUnderWay { answer }
    }

    /// Hands a publish to its topic, past the agent it belongs to; answers come in order per topic.
    /// `holder`: the attached connection that it comes from, where it did not name its run itself.
    pub fn send(
        self: &Arc<Self>,
        request: PublishRequest,
        caller: &Caller,
        holder: Option<&Holder>,
        permit: OwnedSemaphorePermit,
        reply: Reply,
    ) {
        let Caller {
            principal, meters, ..
        } = caller;
        let topic = request.topic;
        let creation = Creation::new(self, meters, self.quotas.namespace(topic.namespace()));
        let source = source_of(
            principal,
            request.producer.as_ref().map(|producer| &producer.id),
        );
        let opens_message = request.events.iter().any(NewEvent::keeps_message_open);
        let producer = request.producer.clone();
        let message = |admitted: Result<Option<Pass>, Refusal>| {
            let (admitted, pass) = match admitted {
                Ok(pass) => (Ok(()), pass),
                Err(refusal) => (Err(refusal), None),
            };
            let lease = pass.as_ref().and_then(|pass| pass.lease);
            PublishMessage {
                publish: admitted.map(|()| Publish {
                    events: request.events,
                    principal: principal.id().clone(),
                    source,
                    producer: request.producer,
                    lease_ms: lease.map(Lease::ms),
                }),
                bytes: request.bytes,
                permit,
                pass,
                creation,
                reply,
            }
        };
        let Some(producer) = producer else {
            let publish = |handle: &TopicHandle| handle.publish(message(Ok(None)), self.now());
            return self.with_topic(&topic, publish);
        };
        let publishing = Publishing {
            producer: &producer,
            lease: request.lease,
            holder,
            topic: opens_message.then_some(&topic),
        };
        self.agents
            .admit(self, principal.id(), publishing, |admitted| {
                let publish = |handle: &TopicHandle| handle.publish(message(admitted), self.now());
                self.with_topic(&topic, publish);
            });
    }

    /// Ends messages of publishers that are gone, in its turn among the publishes; answers how many.
    pub async fn end_messages(
        self: &Arc<Self>,
        topic: &TopicPath,
        ending: Ending,
    ) -> Result<usize, EngineError> {
        let (reply, answer) = oneshot::channel();
        let message = EndMessages { ending, reply };
        self.with_topic(topic, |handle| handle.send(message, self.now()));
        // an actor that is gone leaves it open
        answer.await.unwrap_or(Err(EngineError::OutcomeUnknown))
    }

    /// Whether there is a thread on which actors can live.
    pub fn has_workers(&self) -> bool {
        !self.workers.read().is_empty()
    }

    /// After a restart: messages that are open have a publisher that may come back within its lease.
    pub fn adopt_open_messages(self: &Arc<Self>) {
        self.engine.idle_messages(u64::MAX, &mut |topic, fold| {
            self.agents.adopt(self, topic, fold);
        });
    }

    /// Ends messages to which nothing was added for `message_idle` and which nobody holds a lease for.
    pub fn end_idle_messages(self: &Arc<Self>) {
        let idle = self.config.limits.message_idle.as_millis() as u64;
        if self.now() < idle {
            // of what was open at the start, its publishers may not have come back yet
            return;
        }
        let mut found: HashMap<TopicPath, Vec<_>> = HashMap::new();
        let before = unix_millis().saturating_sub(idle);
        self.engine.idle_messages(before, &mut |topic, fold| {
            if !self.agents.hold(fold) {
                let known = (fold.message.clone(), fold.last_seq);
                found.entry(topic.clone()).or_default().push(known);
            }
        });
        for (topic, messages) in found {
            let broker = self.clone();
            actix::spawn(async move {
                // what cannot be ended now is found again
                let ended = broker.end_messages(&topic, Ending::Untouched(messages));
                if let Err(error) = ended.await {
                    tracing::warn!(%topic, %error, "idle messages cannot be ended now");
                }
            });
        }
    }

    /// The guard is held while a message is sent, or the work is done at once: an actor only stops when nothing is on
    /// its way to it.
    fn with_topic(&self, topic: &TopicPath, send: impl FnOnce(&TopicHandle)) {
        if let Some(handle) = self.topics.get(topic) {
            return send(&handle);
        }
        let entry = self.topics.entry(topic.clone());
        send(&entry.or_insert_with(|| self.start_topic(topic.clone())));
    }

    /// The thread on which an actor of that name lives.
    pub(super) fn worker_for(&self, name: &impl Hash) -> ArbiterHandle {
        let workers = self.workers.read();
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let at = hasher.finish() as usize % workers.len().max(1);
        let worker = workers.get(at);
        worker
            .expect("requests come from workers, so there is one")
            .clone()
    }

    fn start_topic(&self, topic: TopicPath) -> TopicHandle {
        let worker = self.worker_for(&topic);
        Topic::start(&worker, topic, self.engine.clone(), self.metrics.clone())
    }

    /// Lets go of topic actors that had nothing to do for a while.
    pub fn passivate_idle(self: &Arc<Self>, idle: Duration) {
        let before = self.now().saturating_sub(idle.as_millis() as u64);
        let idle: Vec<Addr<Topic>> = self
            .topics
            .iter()
            .filter(|handle| handle.last_used() < before)
            .map(|handle| handle.addr())
            .collect();
        for addr in idle {
            addr.do_send(Passivate {
                broker: self.clone(),
            });
        }
        self.metrics.topic_actors.set(self.topics.len() as i64);
    }

    /// Takes the topic's actor out of the directory, unless something is on its way to it.
    pub(super) fn release(&self, topic: &TopicPath) -> bool {
        self.topics
            .remove_if(topic, |_, handle| handle.is_idle())
            .is_some()
    }
}

/// One open connection or stream.
pub struct OpenGuard {
    open: Arc<AtomicUsize>,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whatever is to be done on this thread already is done first; tokio's `yield_now` would look at the sockets before, too.
async fn let_others_go_first() {
    let mut waited = false;
    std::future::poll_fn(|ctx| match std::mem::replace(&mut waited, true) {
        true => Poll::Ready(()),
        false => {
            ctx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

fn permits_for(bytes: usize) -> usize {
    bytes.div_ceil(PERMIT_BYTES).max(1)
}

/// `source` is the authenticated principal's name; anonymous: the producer id, else absent.
fn source_of(principal: &Principal, producer: Option<&Arc<str>>) -> Option<Arc<str>> {
    if principal.is_known() {
        Some(principal.name().clone())
    } else {
        producer.cloned()
    }
}

/// Unix milliseconds.
pub fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
