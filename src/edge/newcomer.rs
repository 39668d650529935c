//! Connections that have not said who they are yet: a bound on them, so that those who never will cannot take the
//! places of those who have.
//!
//! A connection counts from when it is accepted until its first request is let in, or it ends.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use actix_rt::net::TcpStream;
use socket2::SockRef;

use crate::broker::Broker;
use crate::broker::link::Waiting;

/// What one too many is answered at once, before it has asked anything.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Whoever sends faster than is read is not waited for.
const READS_AT_MOST: usize = 16;

/// See the module.
#[derive(Clone)]
pub struct Newcomer(Rc<Counted>);

struct Counted {
    broker: Arc<Broker>,
    counts: Cell<bool>,
}

impl Newcomer {
    /// Counts a connection that was just accepted; one too many is cut off.
    pub fn arrive(broker: &Arc<Broker>, stream: &TcpStream) -> Self {
        let unauthenticated = &broker.metrics.auth.unauthenticated;
        let before = unauthenticated.inc();
        if before >= broker.max_unauthenticated as i64 {
            broker.metrics.auth.turned_away.inc();
            turn_away(stream);
        }
        Self(Rc::new(Counted {
            broker: broker.clone(),
            counts: Cell::new(true),
        }))
    }
}

impl Waiting for Newcomer {
    fn admitted(&self) {
        self.0.leave();
    }
}

impl Counted {
    fn leave(&self) {
        if self.counts.replace(false) {
            self.broker.metrics.auth.unauthenticated.dec();
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.leave();
    }
}

/// By the socket itself: the runtime learns only later that a new one can be read and written.
fn turn_away(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    // what it asked is read, so that the answer is not lost with it (RFC 9112 §9.6); each may fail where the
    // peer was faster
    drop((&*socket).write(FULL));
    let mut asked = [0; 4096];
    for _ in 0..READS_AT_MOST {
        if !matches!((&*socket).read(&mut asked), Ok(1..)) {
            break;
        }
    }
    drop(socket.shutdown(std::net::Shutdown::Both));
}
