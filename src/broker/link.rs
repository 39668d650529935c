//! A session and its socket, on their thread: what moves bytes from the one to the other.
//!
//! The socket is a leaf: nothing here waits for it. A transport takes what it can now and says whether it
//! is stuck; whoever waits for the socket (a connection's task, a response body) calls back when it moves.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix::{Message, Recipient};

use super::caller::Caller;
use super::hub::Hub;
use super::outbox::Outbox;
use super::quota::ConnectionGuard;
use super::session::{Effect, Pumped, Session, SubKey};
use crate::auth::Principal;
use crate::dialect::Wire;
use crate::ops::metrics::TransportLabel;

/// Rounds of pumping and writing before other links get their turn.
const SETTLE_ROUNDS: usize = 8;

/// The one at the other end may do other things from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct NewRights(pub Principal);

/// A subscription as its hub names it.
pub type Member = (Rc<Link>, SubKey);
pub type TopicHub = Hub<Member>;

/// Why a connection ends, with its WebSocket close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: &'static str,
    /// What waits in the outbox is still written; otherwise the socket is cut off at once.
    pub flush: bool,
}

impl Close {
    /// Whether it is because somebody's rights have ended: nothing of theirs is done any more.
    pub fn ends_rights(self) -> bool {
        self.code == Self::REVOKED.code
    }
}

impl Close {
    pub const IDLE: Close = Close {
        code: 4408,
        reason: "idle",
        flush: true,
    };
    pub const STALLED: Close = Close {
        code: 4408,
        reason: "stalled",
        flush: false,
    };
    pub const EXPIRED: Close = Close {
        code: 4401,
        reason: "the token has expired",
        flush: true,
    };
    pub const REVOKED: Close = Close {
        code: 4401,
        reason: "revoked",
        flush: true,
    };
    pub const NO_TOKEN: Close = Close {
        code: 4401,
        reason: "no token came",
        flush: true,
    };
    pub const UNAUTHENTICATED: Close = Close {
        code: 4401,
        reason: "not authenticated",
        flush: true,
    };
    pub const TOO_MUCH: Close = Close {
        code: 4429,
        reason: "too much",
        flush: true,
    };
    pub const DRAINING: Close = Close {
        code: 4503,
        reason: "draining",
        flush: true,
    };
    pub const TOO_OLD: Close = Close {
        code: 4503,
        reason: "connection too old",
        flush: true,
    };
    pub const PROTOCOL: Close = Close {
        code: 4400,
        reason: "not our protocol",
        flush: true,
    };
    pub const REPLACED: Close = Close {
        code: 4409,
        reason: "replaced by a newer run of its agent",
        flush: true,
    };
    pub const TOO_LARGE: Close = Close {
        code: 4413,
        reason: "too large",
        flush: true,
    };
    pub const GONE: Close = Close {
        code: 1000,
        reason: "gone",
        flush: false,
    };
    /// A long poll or stream that has all it asked for.
    pub const DONE: Close = Close {
        code: 1000,
        reason: "done",
        flush: true,
    };
}

/// What a transport did with an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It took this many bytes and would take more.
    Some(usize),
    /// It took this many bytes and is full now.
    Stuck(usize),
    /// The connection is over.
    Failed,
}

/// Counts those who have not said who they are; dropped where they never do.
pub trait Waiting {
    fn admitted(&self);
}

/// Looks after what is special to the dialect of a connection.
pub trait Attendant {
    /// Called about twice a second.
    fn on_tick(&self, now: u64);
    /// Somebody's rights may be others now, or have ended with time: of the connection itself too.
    fn on_rights(&self);
    /// The connection is over; what it reads is still open.
    fn on_end(&self);
}

/// The way to a socket. Never blocks.
pub trait Transport {
    fn write(&self, outbox: &mut Outbox) -> Written;
    /// Cuts the socket off, so that whoever waits for it wakes up.
    fn abort(&self);
}

pub struct Link {
    pub id: u64,
    pub label: TransportLabel,
    pub session: RefCell<Session<Member>>,
    transport: Box<dyn Transport>,
    /// Waits for the socket, or for a reason to close.
    task: RefCell<Option<Waker>>,
    /// Waits for room in the outbox.
    room: RefCell<Option<Waker>>,
    closing: Cell<Option<Close>>,
    /// When that was first seen, in the broker's milliseconds.
    pub closing_since: Cell<Option<u64>>,
    /// The transport was full: its task must ask the socket.
    pub stuck: Cell<bool>,
    /// Its task does not read for now: a window is full, or answers have no place.
    pub paused: Cell<bool>,
    /// Stands in the shard's list of links to settle.
    pub touched: Cell<bool>,
    /// All in the broker's milliseconds.
    pub last_in: Cell<u64>,
    pub last_out: Cell<u64>,
    pub last_ping: Cell<u64>,
    pub last_positions: Cell<u64>,
    pub last_progress: Cell<u64>,
    /// When the connection is too old; `u64::MAX`: never.
    pub expires: Cell<u64>,
    /// Who is at the other end. `None`: that is still to be said.
    caller: RefCell<Option<Caller>>,
    /// Told when that is known.
    waiting: RefCell<Option<Box<dyn Waiting>>>,
    /// Where it comes from.
    pub address: IpAddr,
    /// Counts it as a connection of whoever is there.
    pub counted: RefCell<Option<ConnectionGuard>>,
    /// When that ends: the rights, or the patience; `u64::MAX`: never.
    pub rights_end: Cell<u64>,
    /// Who takes in that the rights are others; a stream without one ends.
    pub on_rights: OnceCell<Recipient<NewRights>>,
    /// Of a connection whose dialect has more to look after than the others.
    attendant: RefCell<Option<Rc<dyn Attendant>>>,
    /// Ends after its first deliveries (a long poll).
    pub once: bool,
}

impl Link {
    pub fn new(
        id: u64,
        label: TransportLabel,
        session: Session<Member>,
        transport: Box<dyn Transport>,
        address: IpAddr,
        now: u64,
        once: bool,
    ) -> Rc<Self> {
        Rc::new(Self {
            id,
            label,
            session: RefCell::new(session),
            transport,
            task: RefCell::new(None),
            room: RefCell::new(None),
            closing: Cell::new(None),
            closing_since: Cell::new(None),
            stuck: Cell::new(false),
            paused: Cell::new(false),
            touched: Cell::new(false),
            last_in: Cell::new(now),
            last_out: Cell::new(now),
            last_ping: Cell::new(now),
            last_positions: Cell::new(now),
            last_progress: Cell::new(now),
            expires: Cell::new(u64::MAX),
            caller: RefCell::new(None),
            waiting: RefCell::new(None),
            address,
            counted: RefCell::new(None),
            rights_end: Cell::new(u64::MAX),
            on_rights: OnceCell::new(),
            attendant: RefCell::new(None),
            once,
        })
    }

    /// From now on this is who is at the other end.
    pub fn set_caller(&self, caller: Caller, rights_end: u64) {
        *self.caller.borrow_mut() = Some(caller);
        self.rights_end.set(rights_end);
        if let Some(waiting) = self.waiting.borrow_mut().take() {
            waiting.admitted();
        }
    }

    pub fn attendant(&self) -> Option<Rc<dyn Attendant>> {
        self.attendant.borrow().clone()
    }

    /// `None` at the end of the connection: it holds the link itself.
    pub fn set_attendant(&self, attendant: Option<Rc<dyn Attendant>>) {
        *self.attendant.borrow_mut() = attendant;
    }

    /// Somebody wants to know when it is said who is at the other end.
    pub fn await_principal(&self, waiting: Option<Box<dyn Waiting>>) {
        *self.waiting.borrow_mut() = waiting;
    }

    pub fn caller(&self) -> Option<Caller> {
        self.caller.borrow().clone()
    }

    /// Whether whoever is there was let in.
    pub fn is_admitted(&self) -> bool {
        self.caller.borrow().is_some()
    }

    pub fn principal(&self) -> Option<Principal> {
        let caller = self.caller.borrow();
        caller.as_ref().map(|caller| caller.principal.clone())
    }

    pub fn wire(&self) -> Wire {
        self.session.borrow().wire()
    }

    /// Moves what can be moved. `true`: there is more, and others should have their turn first.
    pub fn settle(&self, now: u64, effects: &mut Vec<Effect>) -> bool {
        for _ in 0..SETTLE_ROUNDS {
            let mut session = self.session.borrow_mut();
            // what is closing gives what it has, and takes nothing new
            let pumped = match self.closing.get() {
                None => session.pump(effects),
                Some(_) => Pumped::CaughtUp,
            };
            if session.outbox.is_empty() {
                self.stuck.set(false);
                self.last_progress.set(now);
                break;
            }
            match self.transport.write(&mut session.outbox) {
                Written::Some(bytes) => {
                    self.wrote(bytes, now);
                    if pumped == Pumped::CaughtUp && session.outbox.is_empty() {
                        self.stuck.set(false);
                        break;
                    }
                }
                Written::Stuck(bytes) => {
                    self.wrote(bytes, now);
                    self.stuck.set(true);
                    drop(session);
                    self.wake_task();
                    self.wake_room();
                    return false;
                }
                Written::Failed => {
                    drop(session);
                    self.close(Close::GONE);
                    return false;
                }
            }
        }
        self.wake_room();
        let session = self.session.borrow();
        let has_news = session.has_news() && self.closing.get().is_none();
        let more = !session.outbox.is_empty() || has_news;
        // a task that stopped reading, because answers had no place, may go on
        if session.outbox.has_room_for_answers() && !more {
            drop(session);
            self.wake_task_if_paused();
        }
        more
    }

    fn wrote(&self, bytes: usize, now: u64) {
        if bytes > 0 {
            self.last_progress.set(now);
            self.last_out.set(now);
        }
    }

    /// The socket took bytes on its own account (a response body was polled).
    pub fn progressed(&self, now: u64) {
        self.last_progress.set(now);
        self.last_out.set(now);
        self.wake_room();
    }

    /// Ends the connection; the first reason counts.
    pub fn close(&self, close: Close) {
        if self.closing.get().is_none() {
            self.closing.set(Some(close));
            if !close.flush {
                self.transport.abort();
            }
        }
        self.wake_task();
        self.wake_room();
    }

    /// Cuts the socket off, whatever was promised to be written.
    pub fn cut(&self) {
        self.transport.abort();
        self.wake_task();
    }

    pub fn closing(&self) -> Option<Close> {
        self.closing.get()
    }

    pub fn set_task(&self, waker: &Waker) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    pub fn wake_task(&self) {
        if let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }

    fn wake_task_if_paused(&self) {
        if self.paused.get() {
            self.wake_task();
        }
    }

    fn wake_room(&self) {
        let has_room = self
            .session
            .try_borrow()
            .is_ok_and(|session| has_room(&session.outbox));
        if (has_room || self.closing.get().is_some())
            && let Some(room) = self.room.borrow_mut().take()
        {
            room.wake();
        }
    }

    /// Waits until a delivery and an answer may be made; `false`: the connection ends.
    pub async fn room(&self) -> bool {
        std::future::poll_fn(|ctx: &mut Context<'_>| {
            if self.closing.get().is_some() {
                return Poll::Ready(false);
            }
            if has_room(&self.session.borrow().outbox) {
                return Poll::Ready(true);
            }
            *self.room.borrow_mut() = Some(ctx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

fn has_room(outbox: &Outbox) -> bool {
    outbox.has_room() && outbox.has_room_for_answers()
}
