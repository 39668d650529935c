//! What is spoken on a native WebSocket: JSON or MessagePack, with a session actor that works on it.

use std::rc::Rc;

use actix::Addr;
use actix_http::ws::OpCode;
use bytes::Bytes;

use super::ws::{Dialog, Visitor};
use crate::broker::connection::{Gatekeeper, Gone, Inbound, SessionActor};
use crate::broker::link::{Close, Link};
use crate::broker::problem::Problem;
use crate::broker::shard::Shard;
use crate::dialect::native_json::decode::PublishLimits;
use crate::dialect::{Encoding, native_json};

/// Starts the actor of a connection whose visitor is at the door.
pub fn begin(
    link: &Rc<Link>,
    shard: &Rc<Shard>,
    encoding: Encoding,
    visitor: Visitor,
) -> (Box<dyn Dialog>, Rc<Gatekeeper>) {
    let refused = visitor.introduce(link, &shard.broker);
    let (actor, gate) = SessionActor::start_for(link.clone(), shard.clone());
    let limits = &shard.broker.config.limits;
    let dialog = NativeDialog {
        link: link.clone(),
        shard: shard.clone(),
        actor,
        encoding,
        limits: PublishLimits {
            max_event_bytes: limits.max_event_bytes,
            max_batch_events: limits.max_batch_events,
        },
        refused,
    };
    (Box::new(dialog), gate)
}

struct NativeDialog {
    link: Rc<Link>,
    shard: Rc<Shard>,
    actor: Addr<SessionActor>,
    encoding: Encoding,
    limits: PublishLimits,
    /// What it showed is no good.
    refused: Option<Problem>,
}

impl NativeDialog {
    fn welcome(&self) -> Bytes {
        let config = &self.shard.broker.config;
        let limits = &config.limits;
        native_json::welcome(&native_json::Welcome {
            session: format!("s{}", self.link.id),
            environment: &config.environment,
            limits: native_json::Limits {
                max_frame_bytes: limits.max_frame_bytes,
                max_event_bytes: limits.max_event_bytes,
                max_batch_events: limits.max_batch_events,
                max_subscriptions: limits.max_subscriptions,
                window_events: limits.window_events,
                window_bytes: limits.window_bytes,
            },
            ping_ms: limits.ping_interval.as_millis() as u64,
        })
    }
}

impl Dialog for NativeDialog {
    fn name(&self) -> &'static str {
        self.encoding.subprotocol()
    }

    fn opcode(&self) -> OpCode {
        match self.encoding {
            Encoding::Json => OpCode::Text,
            Encoding::Msgpack => OpCode::Binary,
        }
    }

    fn max_message(&self) -> usize {
        self.shard.broker.config.limits.max_frame_bytes
    }

    fn greet(&self) {
        self.link.session.borrow_mut().answer(self.welcome());
        if let Some(refused) = &self.refused {
            self.refuse(refused);
            self.shard.end_rights(&self.link, Close::UNAUTHENTICATED);
        }
    }

    fn take(&self, message: Bytes) {
        let command = self.encoding.command(&message, self.limits);
        self.actor.do_send(Inbound(command));
    }

    fn answered(&self, _: &[u8]) {}

    fn refuse(&self, problem: &Problem) {
        let refusal = native_json::error(&None, problem);
        self.link.session.borrow_mut().answer(refusal);
    }

    fn close_code(&self, close: Close) -> u16 {
        close.code
    }

    fn end(&self) {
        self.actor.do_send(Gone);
    }
}
