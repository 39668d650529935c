//! What is spoken on such a WebSocket.

use std::rc::Rc;

use actix::Addr;
use actix_http::ws::OpCode;
use bytes::Bytes;

use super::connection::{Conversation, Gone, Said};
use super::handshake::Arrival;
use super::max_message;
use super::readings::Readings;
use crate::broker::connection::Gatekeeper;
use crate::broker::link::{Close, Link, Waiting};
use crate::broker::problem::Problem;
use crate::broker::shard::Shard;
use crate::dialect::appsync::decode::{self, Limits, Operation};
use crate::dialect::appsync::{SUBPROTOCOL, encode};
use crate::edge::ws::Dialog;

/// Starts what works on the messages of a connection whose visitor is at the door.
pub fn begin(
    link: &Rc<Link>,
    shard: &Rc<Shard>,
    arrival: Arrival,
) -> (Box<dyn Dialog>, Rc<Gatekeeper>) {
    let Arrival {
        visitor,
        newcomer,
        headers,
    } = arrival;
    let broker = &shard.broker;
    let refused = visitor.introduce(link, broker);
    if refused.is_some() {
        // until it is told: with the first thing it says, or when that does not come
        link.await_principal(newcomer.map(|newcomer| Box::new(newcomer) as Box<dyn Waiting>));
        let patience = broker.config.limits.auth_timeout.as_millis() as u64;
        link.rights_end.set(broker.now() + patience);
    }
    let readings = Readings::new(link.clone(), shard.clone(), refused);
    link.set_attendant(Some(readings.clone()));
    let (actor, gate) = Conversation::start_for(readings.clone(), headers);
    let settings = &broker.config.appsync;
    let dialog = AppSyncDialog {
        link: link.clone(),
        actor,
        readings,
        limits: Limits {
            max_events: settings.max_events,
            max_event_bytes: settings.max_event_bytes,
        },
        max_message: max_message(settings),
    };
    (Box::new(dialog), gate)
}

struct AppSyncDialog {
    link: Rc<Link>,
    actor: Addr<Conversation>,
    readings: Rc<Readings>,
    limits: Limits,
    max_message: usize,
}

impl Dialog for AppSyncDialog {
    fn name(&self) -> &'static str {
        SUBPROTOCOL
    }

    fn opcode(&self) -> OpCode {
        OpCode::Text
    }

    fn max_message(&self) -> usize {
        self.max_message
    }

    /// Nothing: some clients lose what comes before they asked.
    fn greet(&self) {}

    fn take(&self, message: Bytes) {
        self.actor
            .do_send(Said(decode::frame(&message, self.limits)));
    }

    fn answered(&self, payload: &[u8]) {
        self.readings.answered(payload);
    }

    fn refuse(&self, problem: &Problem) {
        let refusal = encode::refused(Operation::Other, None, problem);
        self.link.session.borrow_mut().answer(refusal);
    }

    /// Codes that everybody knows, as these clients do not know ours. Whatever the code is, they come back.
    fn close_code(&self, close: Close) -> u16 {
        match close.code {
            // as AppSync does it, behind a `connection_error` that says why
            _ if close == Close::UNAUTHENTICATED => 1000,
            4400 => 1002,
            4401 => 1008,
            4413 => 1009,
            4429 => 1013,
            4408 | 4503 => 1001,
            code => code,
        }
    }

    fn end(&self) {
        self.actor.do_send(Gone);
    }
}
