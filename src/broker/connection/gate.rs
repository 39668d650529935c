//! What the task of a connection and whoever works on its commands share: how far may be read ahead, and what of
//! its publishes is under way.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::auth::AuthError;
use crate::broker::Broker;
use crate::broker::agent::Holder;
use crate::broker::caller::Caller;
use crate::broker::command::{CommandId, PublishRequest};
use crate::broker::intake::Intake;
use crate::broker::link::{Close, Link};
use crate::broker::problem::Problem;
use crate::broker::reply::{AnswerQueue, PublishAnswer, Reply, Ticket};
use crate::broker::shard::Shard;
use crate::config::Limits;
use crate::event::TopicPath;
use crate::ops::metrics::Transport;

/// Commands read ahead of the one being worked on.
const MAX_COMMANDS_AHEAD: usize = 64;

/// See the module.
pub struct Gatekeeper {
    intake: RefCell<Intake>,
    /// Commands that were read and are not done, each with its bytes, in order.
    ahead: RefCell<VecDeque<usize>>,
    ahead_bytes: Cell<usize>,
    max_ahead_bytes: usize,
}

impl Gatekeeper {
    pub fn new(limits: &Limits) -> Self {
        Self {
            intake: RefCell::new(Intake::new(limits.window_events, limits.window_bytes)),
            ahead: RefCell::default(),
            ahead_bytes: Cell::new(0),
            max_ahead_bytes: limits.window_bytes,
        }
    }

    /// Whether the socket may be read further.
    pub fn is_open(&self, link: &Link) -> bool {
        self.ahead.borrow().len() < MAX_COMMANDS_AHEAD
            && self.ahead_bytes.get() < self.max_ahead_bytes
            && self.intake.borrow().is_open()
            && link.session.borrow().outbox.has_room_for_answers()
    }

    /// A command of so many bytes was read.
    pub fn read(&self, bytes: usize) {
        self.ahead.borrow_mut().push_back(bytes);
        self.ahead_bytes.set(self.ahead_bytes.get() + bytes);
    }

    /// Everything that was read is done.
    pub fn is_idle(&self) -> bool {
        self.ahead.borrow().is_empty()
    }

    /// Everything that was read is done, and answered.
    pub fn is_settled(&self) -> bool {
        self.is_idle() && self.intake.borrow().is_idle()
    }

    /// The oldest command is done: another may be read.
    pub fn done(&self, link: &Link) {
        let bytes = self.ahead.borrow_mut().pop_front().unwrap_or(0);
        self.ahead_bytes.set(self.ahead_bytes.get() - bytes);
        if link.paused.get() || link.closing().is_some() {
            link.wake_task();
        }
    }

    /// Whether `caller` may publish that, now: takes from every rate that has to be asked.
    pub fn admit(
        &self,
        broker: &Broker,
        caller: &Caller,
        request: &PublishRequest,
    ) -> Result<(), Problem> {
        broker.check_publish(&caller.principal, &request.topic, &request.events)?;
        let now = broker.now();
        let mut intake = self.intake.borrow_mut();
        if let Some(wait) = intake.closed_for(&request.topic, now) {
            let what = "an earlier publish to this topic was refused for its rate";
            return Err(Problem::rate_limited(what, wait).about(request.topic.as_str()));
        }
        let namespace = request.topic.namespace();
        let taken = broker.take_rate(caller, namespace, request.events.len(), request.bytes);
        taken.map_err(|limited| {
            let wait = limited.retry_after_ms.unwrap_or(0);
            intake.close_gate(&request.topic, now + wait, now);
            let problem = limited.refuse(&broker.metrics);
            problem.about(request.topic.as_str())
        })
    }

    /// It is under way from now on; its answer goes to `queue`.
    pub fn begin(&self, queue: Arc<AnswerQueue>, id: CommandId, request: &PublishRequest) -> Reply {
        let ticket = Ticket {
            id,
            topic: request.topic.clone(),
            events: request.events.len(),
            bytes: request.bytes,
            started: Instant::now(),
        };
        self.intake
            .borrow_mut()
            .begin(&ticket.topic, ticket.events, ticket.bytes);
        Reply::Queue(queue, ticket)
    }

    /// Hands a publish that is under way to its topic: at once, or (`Some`) when there is a place among those of all
    /// connections; nothing of this connection may overtake it until then.
    pub fn send(
        broker: &Arc<Broker>,
        link: &Rc<Link>,
        request: PublishRequest,
        caller: Caller,
        holder: Option<Holder>,
        reply: Reply,
    ) -> Option<impl Future<Output = ()> + 'static> {
        if let Some(permit) = broker.try_permit(request.bytes) {
            broker.send(request, &caller, holder.as_ref(), permit, reply);
            return None;
        }
        let (broker, link) = (broker.clone(), link.clone());
        Some(async move {
            let permit = broker.permit(request.bytes).await;
            if link.closing().is_some_and(Close::ends_rights) {
                return reply.give(Err(Problem::from(AuthError::Revoked)));
            }
            broker.send(request, &caller, holder.as_ref(), permit, reply);
        })
    }

    /// A refusal of a publish to `topic`: given back if it may go out at once, else it goes out behind the answers
    /// to what is under way.
    pub fn refuse(&self, topic: &TopicPath, refusal: Bytes) -> Option<Bytes> {
        self.intake.borrow_mut().refuse(topic, refusal)
    }

    /// Writes the answers that wait in `queue`, each as `write` says.
    pub fn give_answers(
        &self,
        queue: &AnswerQueue,
        link: &Rc<Link>,
        shard: &Shard,
        write: impl Fn(&Ticket, PublishAnswer) -> Bytes,
    ) {
        let label = Transport {
            transport: link.label,
        };
        let metrics = &shard.broker.metrics;
        let latency = metrics.publish_latency.get_or_create(&label).clone();
        {
            let mut session = link.session.borrow_mut();
            let mut intake = self.intake.borrow_mut();
            for (ticket, answer) in queue.take() {
                latency.observe(ticket.started.elapsed().as_secs_f64());
                session.answer(write(&ticket, answer));
                let Ticket {
                    topic,
                    events,
                    bytes,
                    ..
                } = ticket;
                intake.end(&topic, events, bytes, |refusal| session.answer(refusal));
            }
        }
        shard.settle(link);
        if link.paused.get() || link.closing().is_some() {
            link.wake_task();
        }
    }
}
