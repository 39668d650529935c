//! The session actor: one connection's commands, in order.
//!
//! Its socket is a leaf beside it (`link`): a peer that does not read stops nothing here but its own
//! deliveries. Commands come in through the mailbox, at most as many as the link lets its socket read;
//! what takes time (a topic's load, room in the outbox) holds up this connection only.

mod gate;
mod rights;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture,
};

use super::agent::{AttachRequest, Attached, Holder, Replaced};
use super::caller::Caller;
use super::command::{Attach, Command, CommandId, PublishRequest, ReadOptions};
use super::directory::Broker;
use super::link::{Close, Link};
use super::opening::{MAX_PATTERN_TOPICS, Opening, count_subscriptions};
use super::problem::{Code, Problem};
use super::reply::{AnswerQueue, Answers, Ticket};
use super::shard::{PatternReader, Shard};

use crate::auth::{Action, AuthError, Principal};
use crate::dialect::native_json;
use crate::engine::Pending;
use crate::event::{Epoch, Position, Seq, TopicPath, TopicPattern};
use crate::log::ReadFrom;

pub use gate::Gatekeeper;

/// Patterns a connection may subscribe.
const MAX_PATTERNS: usize = 32;

pub struct SessionActor {
    link: Rc<Link>,
    shard: Rc<Shard>,
    gate: Rc<Gatekeeper>,
    answers: Option<Arc<AnswerQueue>>,
    patterns: Vec<Rc<PatternSubscription>>,
    agent: Option<Box<AgentRun>>,
    /// Its last `attach` was refused, with this: what names no run is refused too, until one is accepted.
    not_attached: Option<Problem>,
    /// Tokens that were not taken.
    bad_tokens: usize,
}

/// The run of an agent that this connection is attached as.
struct AgentRun {
    attached: Attached,
    holder: Holder,
    /// Topics whose number of readers it is told.
    demand: Vec<TopicPath>,
}

/// A pattern that brings in topics as they appear.
struct PatternSubscription {
    pattern: TopicPattern,
    options: Rc<ReadOptions>,
    /// Where to resume topics that were read before.
    positions: RefCell<HashMap<TopicPath, Position>>,
    addr: Addr<SessionActor>,
    link: Rc<Link>,
    broker: Arc<Broker>,
    /// Topics on their way to the actor.
    waiting: Cell<usize>,
}

impl PatternReader for PatternSubscription {
    fn pattern(&self) -> &TopicPattern {
        &self.pattern
    }

    fn appeared(&self, topic: &TopicPath) {
        // what it may not read does not count: others could end the connection with their topics
        let principal = self.link.principal();
        if !principal.is_some_and(|principal| self.broker.may_read(&principal, topic)) {
            return;
        }
        if self.waiting.get() >= MAX_PATTERN_TOPICS {
            self.link.close(Close::TOO_MUCH);
            return;
        }
        self.waiting.set(self.waiting.get() + 1);
        self.addr.do_send(Appeared {
            topic: topic.clone(),
            pattern: self.pattern.clone(),
        });
    }
}

/// One command of the client.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Inbound(pub Command);

#[derive(Message)]
#[rtype(result = "()")]
struct Appeared {
    topic: TopicPath,
    pattern: TopicPattern,
}

/// The socket is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Gone;

impl SessionActor {
    pub fn start_for(link: Rc<Link>, shard: Rc<Shard>) -> (Addr<Self>, Rc<Gatekeeper>) {
        let gate = Rc::new(Gatekeeper::new(&shard.broker.config.limits));
        let of_link = link.clone();
        let actor = Self {
            link,
            shard,
            gate: gate.clone(),
            answers: None,
            patterns: Vec::new(),
            agent: None,
            not_attached: None,
            bad_tokens: 0,
        };
        let addr = actor.start();
        if of_link.on_rights.set(addr.clone().recipient()).is_err() {
            unreachable!("a connection has one actor");
        }
        (addr, gate)
    }

    fn answer(&self, frame: bytes::Bytes) {
        self.link.session.borrow_mut().answer(frame);
        self.shard.touch_soon(&self.link);
    }

    fn refuse(&self, id: &CommandId, problem: &Problem) {
        self.answer(native_json::error(id, problem));
    }

    /// Answers to publishes come in order per topic: a refusal waits behind what is under way.
    fn refuse_publish(&self, id: &CommandId, problem: &Problem, topic: Option<&TopicPath>) {
        // a frame that names no topic may be anything, not just a publish
        if topic.is_some() {
            self.shard.broker.count_refused(problem);
        }
        let frame = native_json::error(id, problem);
        let now = match topic {
            Some(topic) => self.gate.refuse(topic, frame),
            None => Some(frame),
        };
        if let Some(frame) = now {
            self.answer(frame);
        }
    }

    /// The command is done: another may be read.
    fn done(&self) {
        self.gate.done(&self.link);
    }

    fn queue(&mut self, ctx: &mut Context<Self>) -> Arc<AnswerQueue> {
        self.answers
            .get_or_insert_with(|| AnswerQueue::new(ctx.address().recipient()))
            .clone()
    }

    fn publish(&mut self, id: CommandId, mut request: PublishRequest, ctx: &mut Context<Self>) {
        // what names no run is this connection's own, as long as it holds it
        let mut holder = None;
        if request.producer.is_none()
            && let Some(agent) = &self.agent
        {
            request.producer = Some(agent.attached.producer());
            holder = Some(agent.holder.clone());
        }
        let nobody = self.not_attached.as_ref();
        if let Some(problem) = nobody.filter(|_| request.producer.is_none()).cloned() {
            self.refuse_publish(&id, &problem, Some(&request.topic));
            return;
        }
        let caller = match self.admit_publish(&request) {
            Ok(caller) => caller,
            Err(problem) => return self.refuse_publish(&id, &problem, Some(&request.topic)),
        };
        let queue = self.queue(ctx);
        let reply = self.gate.begin(queue, id, &request);
        let broker = &self.shard.broker;
        let wait = Gatekeeper::send(broker, &self.link, request, caller, holder, reply);
        if let Some(wait) = wait {
            ctx.wait(wait.into_actor(self));
        }
    }

    fn admit_publish(&self, request: &PublishRequest) -> Result<Caller, Problem> {
        let caller = self.caller()?;
        self.gate.admit(&self.shard.broker, &caller, request)?;
        Ok(caller)
    }

    /// Who is at the other end, while their rights last.
    fn caller(&self) -> Result<Caller, Problem> {
        let caller = self.link.caller().ok_or(AuthError::Missing)?;
        if self.shard.now() >= self.link.rights_end.get() {
            return Err(Problem::from(AuthError::Expired));
        }
        Ok(caller)
    }

    fn principal(&self) -> Result<Principal, Problem> {
        self.caller().map(|caller| caller.principal)
    }

    fn subscribe(
        &mut self,
        id: CommandId,
        topics: Vec<Result<(TopicPath, ReadFrom), Problem>>,
        options: ReadOptions,
        ctx: &mut Context<Self>,
    ) {
        let opening = Opening {
            link: self.link.clone(),
            shard: self.shard.clone(),
            options: Rc::new(options),
        };
        let open = async move {
            for topic in topics {
                match topic {
                    Ok((topic, from)) => opening.open(&id, topic, from, false).await,
                    Err(problem) if opening.link.room().await => opening.refuse(&id, &problem),
                    Err(_) => return,
                }
            }
        };
        self.wait_for(open, ctx);
    }

    fn subscribe_pattern(
        &mut self,
        id: CommandId,
        pattern: TopicPattern,
        from: ReadFrom,
        positions: Vec<(TopicPath, Position)>,
        options: ReadOptions,
        ctx: &mut Context<Self>,
    ) {
        let allowed = self
            .principal()
            .and_then(|principal| self.shard.broker.check_pattern(&principal, &pattern));
        if let Err(problem) = allowed {
            self.refuse(&id, &problem);
            return self.done();
        }
        let known = self.patterns.iter().any(|known| known.pattern == pattern);
        if known || self.patterns.len() >= MAX_PATTERNS {
            let problem = if known {
                let message = format!(
                    "`{}` is subscribed on this connection already",
                    pattern.as_str()
                );
                Problem::new(Code::AlreadySubscribed, message)
            } else {
                Problem::new(
                    Code::TooManySubscriptions,
                    format!("a connection has at most {MAX_PATTERNS} patterns"),
                )
            };
            self.refuse(&id, &problem.about(pattern.as_str()));
            return self.done();
        }
        let options = Rc::new(options);
        let subscription = Rc::new(PatternSubscription {
            pattern: pattern.clone(),
            options: options.clone(),
            positions: RefCell::new(positions.into_iter().collect()),
            addr: ctx.address(),
            link: self.link.clone(),
            broker: self.shard.broker.clone(),
            waiting: Cell::new(0),
        });
        self.patterns.push(subscription.clone());
        // watch first, then list
        self.shard.add_pattern(subscription.clone());
        self.notice(native_json::subscribed_pattern(&id, pattern.as_str()));
        let opening = Opening {
            link: self.link.clone(),
            shard: self.shard.clone(),
            options,
        };
        let open = async move {
            let listed = opening.list(&pattern).await;
            let mut positions = subscription.positions.take();
            for topic in listed {
                let from = positions
                    .remove(&topic)
                    .map_or_else(|| from.clone(), ReadFrom::After);
                opening.open(&None, topic, from, true).await;
            }
            // those that do not exist now are told so, as any position of a topic that is gone
            for (topic, position) in positions {
                if let Err(problem) = opening.check_access(Action::Subscribe, &topic) {
                    if opening.link.room().await {
                        opening.refuse(&None, &problem);
                    }
                    continue;
                }
                opening
                    .open(&None, topic, ReadFrom::After(position), true)
                    .await;
            }
        };
        self.wait_for(open, ctx);
    }

    /// Works on one command to its end before the next.
    fn wait_for(&mut self, work: impl Future<Output = ()> + 'static, ctx: &mut Context<Self>) {
        ctx.wait(work.into_actor(self).map(|(), actor, _| actor.done()));
    }

    fn unsubscribe(&mut self, id: &CommandId, topic: &TopicPath) {
        if !self.end_subscription(id, topic, None) {
            let problem = Problem::invalid_request(
                "topic",
                format!("`{topic}` is not subscribed on this connection"),
            );
            self.refuse(id, &problem.about(topic.as_str()));
        }
    }

    fn unsubscribe_pattern(
        &mut self,
        id: &CommandId,
        pattern: &TopicPattern,
        why: Option<(&str, &str)>,
    ) {
        let Some(at) = self
            .patterns
            .iter()
            .position(|known| known.pattern == *pattern)
        else {
            let message = format!(
                "`{}` is not subscribed on this connection",
                pattern.as_str()
            );
            return self.refuse(id, &Problem::invalid_request("pattern", message));
        };
        let subscription: Rc<dyn PatternReader> = self.patterns.remove(at);
        self.shard.remove_patterns(&[subscription]);
        let others = |topic: &TopicPath| {
            self.patterns
                .iter()
                .any(|other| other.pattern.matches(topic))
        };
        let topics = self
            .link
            .session
            .borrow()
            .pattern_topics(|topic| pattern.matches(topic) && !others(topic));
        for topic in topics {
            self.link.session.borrow_mut().unsubscribe(&topic, &None);
            self.shard.stop_awaiting(&topic, &self.link);
            self.count_subscriptions(-1);
        }
        self.notice(native_json::unsubscribed_pattern(id, pattern.as_str(), why));
    }

    fn end_subscription(
        &mut self,
        id: &CommandId,
        topic: &TopicPath,
        why: Option<(&str, &str)>,
    ) -> bool {
        let was = self.link.session.borrow_mut().unsubscribe(topic, &None);
        if was {
            self.shard.stop_awaiting(topic, &self.link);
            self.count_subscriptions(-1);
            self.notice(native_json::unsubscribed(id, topic.as_str(), why));
        }
        was
    }

    fn attach(&mut self, attach: Attach, ctx: &mut Context<Self>) {
        let Attach {
            id,
            producer,
            epoch,
            lease,
            demand,
            control,
        } = attach;
        if let Some(agent) = &self.agent {
            let Attached { agent, epoch: run } = &agent.attached;
            if agent.producer != producer || epoch.is_some_and(|epoch| epoch != *run) {
                let message = format!(
                    "this connection is attached as `{}` with epoch {run}; another run needs another connection",
                    agent.producer
                );
                self.refuse(&id, &Problem::invalid_request("producer", message));
                return self.done();
            }
            let attached = native_json::attached(&id, *run);
            return self.follow(attached, demand, control, ctx);
        }
        let holder = Holder {
            id: self.link.id,
            replaced: ctx.address().recipient(),
        };
        let request = AttachRequest {
            epoch,
            lease,
            holder: Some(holder.clone()),
        };
        let broker = self.shard.broker.clone();
        let principal = self.principal().and_then(|principal| {
            broker.check_agent(&principal)?;
            Ok(principal.id().clone())
        });
        let principal = match principal {
            Ok(principal) => principal,
            Err(problem) => {
                self.refuse(&id, &problem);
                self.not_attached = Some(problem);
                return self.done();
            }
        };
        let attach = async move {
            let agents = &broker.agents;
            agents.attach(&broker, &principal, &producer, request).await
        };
        let attached = attach
            .into_actor(self)
            .map(move |answer, actor, ctx| match answer {
                Ok(attached) => {
                    let answer = native_json::attached(&id, attached.epoch);
                    actor.link.session.borrow_mut().become_agent();
                    actor.shard.broker.metrics.agents.attached.inc();
                    actor.not_attached = None;
                    actor.agent = Some(Box::new(AgentRun {
                        attached,
                        holder,
                        demand: Vec::new(),
                    }));
                    actor.follow(answer, demand, control, ctx);
                }
                Err(problem) => {
                    actor.refuse(&id, &problem);
                    actor.not_attached = Some(problem);
                    actor.done();
                }
            });
        ctx.wait(attached);
    }

    /// Tells this agent of the readers of some topics and of what they say to it, from now on. `attached` goes out
    /// first, and only when whatever is said from then on reaches it.
    fn follow(
        &mut self,
        attached: bytes::Bytes,
        demand: Vec<TopicPath>,
        control: Vec<TopicPath>,
        ctx: &mut Context<Self>,
    ) {
        let limit = self.shard.broker.config.limits.max_subscriptions;
        self.link.session.borrow_mut().hold_controls(true);
        let opening = Opening {
            link: self.link.clone(),
            shard: self.shard.clone(),
            options: Rc::default(),
        };
        let follow = async move {
            for topic in control {
                let is_followed = opening.link.session.borrow().has_control(&topic);
                if is_followed {
                    continue;
                }
                if opening.link.session.borrow().control_count() >= limit {
                    opening.refuse(&None, &too_many_topics("control", limit, &topic));
                } else {
                    opening.follow_controls(topic).await;
                }
            }
        };
        let followed = follow.into_actor(self).map(move |(), actor, _| {
            actor.notice(attached);
            actor.watch_demand(demand);
            actor.link.session.borrow_mut().hold_controls(false);
            actor.done();
        });
        ctx.wait(followed);
    }

    fn watch_demand(&mut self, topics: Vec<TopicPath>) {
        let limit = self.shard.broker.config.limits.max_subscriptions;
        let principal = self.principal();
        for topic in topics {
            let allowed = principal
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|principal| {
                    let broker = &self.shard.broker;
                    broker.check_access(principal, Action::Publish, &topic)
                });
            if let Err(problem) = allowed {
                self.refuse(&None, &problem);
                continue;
            }
            let Some(agent) = &mut self.agent else { break };
            let is_full = agent.demand.len() >= limit;
            if is_full && !agent.demand.contains(&topic) {
                self.refuse(&None, &too_many_topics("demand", limit, &topic));
            } else if self.shard.watch_demand(&topic, &self.link) {
                agent.demand.push(topic);
            }
        }
    }

    /// Only of what was delivered here; what is gone by then is no fault.
    fn acknowledge(&mut self, topic: &TopicPath, seq: Seq, ctx: &mut Context<Self>) {
        let delivered = self.link.session.borrow().last_control(topic);
        let refused = match delivered {
            None => {
                let message = format!("this connection gets no control events of `{topic}`");
                Some(Problem::invalid_request("topic", message))
            }
            Some(last) if seq > last => {
                let message = format!("control event {} was not delivered here", seq.0);
                Some(Problem::invalid_request("seq", message))
            }
            Some(_) => None,
        };
        if let Some(problem) = refused {
            return self.refuse(&None, &problem.about(topic.as_str()));
        }
        if let Pending::Later(later) = self.shard.broker.engine.acknowledge(topic, seq) {
            // one that is lost is delivered again, as any that was not acknowledged
            ctx.spawn(later.into_actor(self).map(|_, _, _| ()));
        }
    }

    fn notice(&self, frame: bytes::Bytes) {
        self.link.session.borrow_mut().notice(frame);
        self.shard.touch_soon(&self.link);
    }

    fn count_subscriptions(&self, change: i64) {
        count_subscriptions(&self.shard, &self.link, change);
    }
}

impl Actor for SessionActor {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        let patterns = self.patterns.drain(..);
        let patterns: Vec<Rc<dyn PatternReader>> = patterns
            .map(|pattern| pattern as Rc<dyn PatternReader>)
            .collect();
        self.shard.remove_patterns(&patterns);
        if let Some(agent) = self.agent.take() {
            let AgentRun {
                attached,
                holder,
                demand,
            } = *agent;
            attached.release(&holder, self.shard.now());
            for topic in demand {
                self.shard.stop_watching_demand(&topic, &self.link);
            }
            self.shard.broker.metrics.agents.attached.dec();
        }
    }
}

fn too_many_topics(list: &'static str, limit: usize, topic: &TopicPath) -> Problem {
    let message = format!("a connection has at most {limit} topics in `{list}`");
    Problem::new(Code::TooManySubscriptions, message).about(topic.as_str())
}

impl Handler<Replaced> for SessionActor {
    type Result = ();

    fn handle(&mut self, _: Replaced, _: &mut Self::Context) {
        self.link.close(Close::REPLACED);
    }
}

impl Handler<Inbound> for SessionActor {
    type Result = ();

    fn handle(&mut self, Inbound(command): Inbound, ctx: &mut Self::Context) {
        if self.link.closing().is_some_and(Close::ends_rights) {
            return self.done();
        }
        let is_known = self.link.principal().is_some();
        match command {
            Command::Ping => self.answer(native_json::pong()),
            Command::Refresh { id, token } => return self.refresh(id, token, ctx),
            command if !is_known => {
                self.refuse(&command.id(), &Problem::from(AuthError::Missing));
            }
            Command::Publish { id, request } => self.publish(id, request, ctx),
            Command::Subscribe {
                id,
                topics,
                options,
            } => return self.subscribe(id, topics, options, ctx),
            Command::SubscribePattern {
                id,
                pattern,
                from,
                positions,
                options,
            } => {
                return self.subscribe_pattern(id, pattern, from, positions, options, ctx);
            }
            Command::Unsubscribe { id, topic } => self.unsubscribe(&id, &topic),
            Command::UnsubscribePattern { id, pattern } => {
                self.unsubscribe_pattern(&id, &pattern, None);
            }
            Command::Attach(attach) => return self.attach(*attach, ctx),
            Command::ControlAck { topic, seq } => self.acknowledge(&topic, seq, ctx),
            Command::Refused { id, problem } => {
                let topic = problem
                    .details
                    .topic
                    .as_deref()
                    .and_then(|topic| TopicPath::parse(topic).ok());
                self.refuse_publish(&id, &problem, topic.as_ref());
            }
        }
        self.done();
    }
}

impl Handler<Answers> for SessionActor {
    type Result = ();

    fn handle(&mut self, _: Answers, _: &mut Self::Context) {
        let Some(queue) = &self.answers else { return };
        self.gate.give_answers(
            queue,
            &self.link,
            &self.shard,
            |Ticket { id, topic, .. }, answer| match answer {
                Ok(appended) => native_json::published(id, &appended),
                Err(problem) => native_json::error(id, &problem.about(topic.as_str())),
            },
        );
    }
}

impl Handler<Appeared> for SessionActor {
    type Result = ();

    fn handle(&mut self, Appeared { topic, pattern }: Appeared, ctx: &mut Self::Context) {
        let Some(subscription) = self
            .patterns
            .iter()
            .find(|known| known.pattern == pattern)
            .cloned()
        else {
            return;
        };
        // one may be of an earlier subscription of the same pattern
        let waiting = subscription.waiting.get();
        subscription.waiting.set(waiting.saturating_sub(1));
        let opening = Opening {
            link: self.link.clone(),
            shard: self.shard.clone(),
            options: subscription.options.clone(),
        };
        // a topic born later starts at seq 0
        let from = ReadFrom::After(Position {
            epoch: Epoch::none(),
            seq: Seq::ZERO,
            partial: false,
        });
        let open = async move { opening.open(&None, topic, from, true).await };
        ctx.wait(open.into_actor(self));
    }
}

impl Handler<Gone> for SessionActor {
    type Result = ();

    fn handle(&mut self, _: Gone, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
