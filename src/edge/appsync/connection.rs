//! What works on the messages of one connection, in order.
//!
//! Its socket is a leaf beside it, as that of every session: what takes time (who somebody is, a topic's load, room
//! in the outbox) holds up this connection only.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture,
};
use bytes::Bytes;

use super::CONNECTION_TIMEOUT;
use super::authorize::{Asked, Headers, Known};
use super::opening::{self, Appeared, Opened, Wanted, beginning};
use super::readings::Readings;
use crate::auth::AuthError;
use crate::auth::authorizer::Operation as Doing;
use crate::broker::caller::Caller;
use crate::broker::command::PublishRequest;
use crate::broker::connection::Gatekeeper;
use crate::broker::link::Close;
use crate::broker::problem::{Code, Problem};
use crate::broker::reply::{AnswerQueue, Answers};
use crate::dialect::appsync::authorization::Authorization;
use crate::dialect::appsync::channel::Channel;
use crate::dialect::appsync::decode::{Frame, Operation, OperationId};
use crate::dialect::appsync::{encode, event};
use crate::event::TopicPath;

/// An id that comes again with its channel is a mistake, and is told so; but 5 s after a subscribe that it could not
/// send, Amplify subscribes all others again too, on the same connection, and takes an error for their end.
const LOST_TRACK_AFTER: Duration = Duration::from_secs(4);

/// One message of the client.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Said(pub Frame);

/// The socket is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Gone;

pub struct Conversation {
    readings: Rc<Readings>,
    gate: Rc<Gatekeeper>,
    headers: Headers,
    known: Rc<Known>,
    answers: Option<Arc<AnswerQueue>>,
}

/// What somebody shows with a message.
struct Shown {
    authorization: Authorization,
    /// Any of these may be what was signed.
    bodies: Vec<Bytes>,
}

/// A publish as it came: whose it is, is still to be asked.
struct Publish {
    id: OperationId,
    topic: TopicPath,
    payloads: Vec<Bytes>,
    bytes: usize,
}

impl Conversation {
    pub fn start_for(readings: Rc<Readings>, headers: Headers) -> (Addr<Self>, Rc<Gatekeeper>) {
        let gate = Rc::new(Gatekeeper::new(&readings.shard.broker.config.limits));
        let actor = Self {
            readings,
            gate: gate.clone(),
            headers,
            known: Rc::default(),
            answers: None,
        };
        (actor.start(), gate)
    }

    fn answer(&self, frame: Bytes) {
        self.readings.link.session.borrow_mut().answer(frame);
        self.readings.shard.touch_soon(&self.readings.link);
    }

    fn refuse(&self, operation: Operation, id: Option<&str>, problem: &Problem) {
        self.answer(encode::refused(operation, id, problem));
    }

    fn done(&self) {
        self.gate.done(&self.readings.link);
    }

    fn greet(&self) {
        let ack = encode::connection_ack(CONNECTION_TIMEOUT.as_millis() as u64);
        self.answer(ack);
        self.readings.keep_alive();
    }

    /// Works on one message to its end before the next.
    fn wait_for(&mut self, work: impl Future<Output = ()> + 'static, ctx: &mut Context<Self>) {
        ctx.wait(work.into_actor(self).map(|(), actor, _| actor.done()));
    }

    fn subscribe(
        &mut self,
        id: OperationId,
        channel: Channel,
        shown: Shown,
        ctx: &mut Context<Self>,
    ) {
        let readings = self.readings.clone();
        let (known, headers, addr) = (self.known.clone(), self.headers.clone(), ctx.address());
        let subscribe = async move {
            let opened = open(&readings, &id, channel, &shown, &known, &headers, addr).await;
            if !readings.link.room().await {
                return;
            }
            let label: Rc<str> = id.as_str().into();
            let mut session = readings.link.session.borrow_mut();
            match opened {
                Ok(()) => {
                    session.notice(encode::subscribe_success(&id));
                    session.release(&Some(label));
                }
                Err(problem) => {
                    let refusal =
                        encode::refused(Operation::Subscribe, Some(id.as_str()), &problem);
                    session.notice(refusal);
                }
            }
            drop(session);
            readings.shard.settle(&readings.link);
        };
        self.wait_for(subscribe, ctx);
    }

    fn unsubscribe(&self, id: &OperationId) {
        if !self.readings.end(id.as_str()) {
            let message = format!("Unknown operation id {}", id.as_str());
            let problem = Problem::new(Code::NotFound, message);
            return self.refuse(Operation::Unsubscribe, Some(id.as_str()), &problem);
        }
        // in order with what was still delivered
        let told = encode::unsubscribe_success(id);
        self.readings.link.session.borrow_mut().notice(told);
        self.readings.shard.touch_soon(&self.readings.link);
    }

    fn publish(&mut self, publish: Publish, shown: Shown, ctx: &mut Context<Self>) {
        let readings = self.readings.clone();
        let (known, headers) = (self.known.clone(), self.headers.clone());
        let asked = async move {
            let topic = &publish.topic;
            let asked = Asked {
                operation: Doing::Publish,
                channel: Some(topic.as_str()),
                namespace: Some(topic.namespace()),
                authorization: &shown.authorization,
                bodies: &shown.bodies,
                headers: &headers,
                query: "",
            };
            let broker = &readings.shard.broker;
            let on = readings.link.caller().ok_or(AuthError::Missing);
            let caller = match on {
                Ok(on) => known.caller(broker, &asked, &on).await,
                Err(missing) => Err(missing.into()),
            };
            (publish, caller)
        };
        let published = asked
            .into_actor(self)
            .map(|(publish, caller), actor, ctx| actor.hand_over(publish, caller, ctx));
        ctx.wait(published);
    }

    fn hand_over(
        &mut self,
        publish: Publish,
        caller: Result<Caller, Problem>,
        ctx: &mut Context<Self>,
    ) {
        let id = publish.id.clone();
        let topic = publish.topic.clone();
        let admitted = caller.and_then(|caller| {
            let request = self.admit(publish, &caller)?;
            Ok((caller, request))
        });
        let (caller, request) = match admitted {
            Ok(admitted) => admitted,
            Err(problem) => {
                self.readings.shard.broker.count_refused(&problem);
                let refusal = encode::refused(Operation::Publish, Some(id.as_str()), &problem);
                if let Some(now) = self.gate.refuse(&topic, refusal) {
                    self.answer(now);
                }
                return self.done();
            }
        };
        let raw_id = format!("\"{}\"", id.as_str());
        let queue = self.queue(ctx);
        let reply = self.gate.begin(queue, Some(raw_id.into()), &request);
        let (link, broker) = (&self.readings.link, &self.readings.shard.broker);
        match Gatekeeper::send(broker, link, request, caller, None, reply) {
            Some(wait) => self.wait_for(wait, ctx),
            None => self.done(),
        }
    }

    fn admit(&self, publish: Publish, caller: &Caller) -> Result<PublishRequest, Problem> {
        let broker = &self.readings.shard.broker;
        let request = request(
            broker,
            caller,
            publish.topic,
            publish.payloads,
            publish.bytes,
        )?;
        self.gate.admit(broker, caller, &request)?;
        Ok(request)
    }

    fn queue(&mut self, ctx: &mut Context<Self>) -> Arc<AnswerQueue> {
        self.answers
            .get_or_insert_with(|| AnswerQueue::new(ctx.address().recipient()))
            .clone()
    }
}

/// A publish of payloads, each as the event that it is to `caller`.
pub fn request(
    broker: &crate::broker::Broker,
    caller: &Caller,
    topic: TopicPath,
    payloads: Vec<Bytes>,
    bytes: usize,
) -> Result<PublishRequest, Problem> {
    let usable = broker.usable_types(&caller.principal, &topic)?;
    let mut events = Vec::with_capacity(payloads.len());
    for (index, payload) in payloads.into_iter().enumerate() {
        let event = event::new_event(payload, |name| usable.admit(name));
        events.push(event.map_err(|why| Problem::invalid_event(index, why))?);
    }
    Ok(PublishRequest {
        topic,
        events,
        producer: None,
        lease: None,
        bytes,
    })
}

async fn open(
    readings: &Rc<Readings>,
    id: &OperationId,
    channel: Channel,
    shown: &Shown,
    known: &Known,
    headers: &Headers,
    addr: Addr<Conversation>,
) -> Result<(), Problem> {
    let max = readings.shard.broker.config.appsync.max_subscriptions;
    let same_id = readings.known(id.as_str());
    let lost_track = same_id.as_ref().is_some_and(|(read, since)| {
        *read == channel && readings.shard.now() >= since + LOST_TRACK_AFTER.as_millis() as u64
    });
    if same_id.is_some() && !lost_track {
        let message = format!("`{}` is the id of another subscription", id.as_str());
        return Err(Problem::new(Code::AlreadySubscribed, message));
    }
    if same_id.is_none() && readings.len() >= max {
        let message = format!("a connection has at most {max} subscriptions");
        return Err(Problem::new(Code::TooManySubscriptions, message));
    }
    let on = readings.link.caller().ok_or(AuthError::Missing)?;
    let asked = Asked {
        operation: Doing::Subscribe,
        channel: Some(channel.as_str()),
        namespace: channel.namespace(),
        authorization: &shown.authorization,
        bodies: &shown.bodies,
        headers,
        query: "",
    };
    let caller = known.caller(&readings.shard.broker, &asked, &on).await?;
    if lost_track {
        // it is being read: whoever may do that still may
        let reader = readings.caller_of(id.as_str());
        let is_theirs = reader.is_some_and(|reader| reader.principal.id() == caller.principal.id());
        return is_theirs
            .then_some(())
            .ok_or_else(|| AuthError::Missing.into());
    }
    let wanted = Wanted {
        id: id.as_str().into(),
        channel,
        caller,
    };
    opening::open(readings, wanted, addr).await
}

impl Actor for Conversation {
    type Context = Context<Self>;
}

impl Handler<Said> for Conversation {
    type Result = ();

    fn handle(&mut self, Said(frame): Said, ctx: &mut Self::Context) {
        if let Some(close) = self.readings.link.closing()
            && (close.ends_rights() || !matches!(frame, Frame::Publish { .. }))
        {
            return self.done();
        }
        if let Some(problem) = self.readings.refused.take() {
            self.readings.turn_away(&problem);
            return self.done();
        }
        self.readings.begin();
        match frame {
            Frame::Init => self.greet(),
            Frame::Subscribe {
                id,
                channel,
                authorization,
                signed: bodies,
            } => {
                let shown = Shown {
                    authorization,
                    bodies,
                };
                return self.subscribe(id, channel, shown, ctx);
            }
            Frame::Unsubscribe { id } => self.unsubscribe(&id),
            Frame::Publish {
                id,
                topic,
                payloads,
                authorization,
                signed: bodies,
                bytes,
            } => {
                let publish = Publish {
                    id,
                    topic,
                    payloads,
                    bytes,
                };
                let shown = Shown {
                    authorization,
                    bodies,
                };
                return self.publish(publish, shown, ctx);
            }
            Frame::Refused {
                operation,
                id,
                problem,
            } => self.refuse(operation, id.as_deref(), &problem),
        }
        self.done();
    }
}

impl Handler<Answers> for Conversation {
    type Result = ();

    fn handle(&mut self, _: Answers, _: &mut Self::Context) {
        let Some(queue) = &self.answers else { return };
        let (link, shard) = (&self.readings.link, &self.readings.shard);
        self.gate
            .give_answers(queue, link, shard, |ticket, answer| {
                let id = ticket.id.as_deref().unwrap_or("\"\"");
                match answer {
                    Ok(_) => encode::publish_success(id, ticket.events),
                    Err(problem) => {
                        let id = id.trim_matches('"');
                        encode::refused(Operation::Publish, Some(id), &problem)
                    }
                }
            });
    }
}

impl Handler<Appeared> for Conversation {
    type Result = ();

    fn handle(&mut self, Appeared { id, topic }: Appeared, ctx: &mut Self::Context) {
        let id: Rc<str> = id.into();
        let readings = self.readings.clone();
        let Some(caller) = readings.arrived(&id, &topic) else {
            return;
        };
        let open = async move {
            if !readings.link.room().await
                || !readings.shard.broker.may_read(&caller.principal, &topic)
            {
                return;
            }
            let opened = opening::open_one(
                &readings,
                &id,
                topic,
                beginning(),
                &caller,
                Opened::APPEARED,
            );
            if let Err(problem) = opened.await {
                if problem.code == Code::TooManySubscriptions {
                    readings.link.close(Close::TOO_MUCH);
                    return;
                }
                let missed = encode::missed(&id, &problem.message);
                readings.link.session.borrow_mut().notice(missed);
            }
            readings.shard.settle(&readings.link);
        };
        ctx.wait(open.into_actor(self));
    }
}

impl Handler<Gone> for Conversation {
    type Result = ();

    fn handle(&mut self, _: Gone, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
