//! A WebSocket: its frames in, its link's outbox out. What is spoken on it is a `Dialog`.
//!
//! The task reads only while the connection's window is open, and holds no read buffer while it waits.
//! Writing is mostly done by whoever has news (the shard); the task only steps in when the socket was full.

use std::cell::RefCell;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use actix_http::ws::{OpCode, Parser};
use actix_rt::net::TcpStream;
use bytes::{Bytes, BytesMut};
use std::task::Poll;
use tokio::io::Interest;

use super::newcomer::Newcomer;
use super::socket::RawTransport;
use crate::broker::Broker;
use crate::broker::caller::Caller;
use crate::broker::connection::Gatekeeper;
use crate::broker::link::{Close, Link, Waiting};
use crate::broker::problem::{Code, Problem};
use crate::broker::quota::ConnectionGuard;
use crate::broker::session::Session;
use crate::broker::shard::Shard;
use crate::dialect::Wire;
use crate::dialect::ws_frame::{Declared, declared};
use crate::ops::metrics::TransportLabel;

/// Bytes read at once, into a buffer that all connections of a thread share.
const SCRATCH_BYTES: usize = 64 << 10;
/// Bytes of a message of those who have not said who they are: a token, and what stands around it.
const STRANGER_BYTES: usize = 16 << 10;
/// Frames that one fragmented message may have.
const MAX_FRAGMENTS: usize = 1024;
/// How long a closing connection may take to write what is left and to hear the peer's own close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Of that, how long answers to what it asked before may take.
const ANSWERS_TIMEOUT: Duration = Duration::from_millis(500);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// What is spoken on a WebSocket: how its messages are understood, and how what the socket itself has to say is
/// written.
pub trait Dialog {
    /// The name of the subprotocol.
    fn name(&self) -> &'static str;
    /// The frames that messages come in.
    fn opcode(&self) -> OpCode;
    /// Bytes that a message may have, once it is known who is there.
    fn max_message(&self) -> usize;
    /// What is said first, without being asked.
    fn greet(&self);
    /// Understands one message, and passes it on to whoever works on it.
    fn take(&self, message: Bytes);
    /// A pong came.
    fn answered(&self, payload: &[u8]);
    /// What the socket itself refuses.
    fn refuse(&self, problem: &Problem);
    /// The code with which it closes (RFC 6455 §7.4).
    fn close_code(&self, close: Close) -> u16;
    /// The connection is over.
    fn end(&self);
}

/// A connection that became a WebSocket.
pub struct Upgraded {
    pub stream: TcpStream,
    /// What came behind the handshake already.
    pub already_read: BytesMut,
    /// The answer to the handshake.
    pub response: Bytes,
    pub address: IpAddr,
    pub wire: Wire,
    pub label: TransportLabel,
}

/// Serves the connection to its end. `begin` says who works on what comes, and how far may be read ahead of them.
///
/// What it waits with is all that an idle connection holds of it: the beginning is done at once, and the end has a
/// place of its own.
pub fn serve(
    upgraded: Upgraded,
    shard: Rc<Shard>,
    begin: impl FnOnce(&Rc<Link>) -> (Box<dyn Dialog>, Rc<Gatekeeper>),
) -> Pin<Box<dyn Future<Output = ()>>> {
    let broker = shard.broker.clone();
    let limits = &broker.config.limits;
    let stream = Rc::new(upgraded.stream);
    let session = Session::new(
        upgraded.wire,
        limits.outbox_bytes,
        limits.max_subscriptions,
        broker.readers.clone(),
    );
    let transport = Box::new(RawTransport {
        stream: stream.clone(),
    });
    let link = Link::new(
        broker.next_session(),
        upgraded.label,
        session,
        transport,
        upgraded.address,
        broker.now(),
        false,
    );
    link.expires.set(broker.expiry());
    let open = broker.count_open();
    let (dialog, gate) = begin(&link);
    shard.add_link(&link);
    let leaving = Leaving {
        link: link.clone(),
        shard: shard.clone(),
        dialog,
    };
    link.session.borrow_mut().answer(upgraded.response);
    leaving.dialog.greet();
    shard.settle(&link);

    let buffer = upgraded.already_read;
    Box::pin(async move {
        // both until the very end
        let (_open, leaving) = (open, leaving);
        let mut socket = Socket {
            stream,
            link,
            shard,
            dialog: &*leaving.dialog,
            gate,
            buffer,
            partial: None,
            max_message: leaving.dialog.max_message(),
            awaits_admission: false,
        };
        let close = socket.run().await;
        socket.link.close(close);
        let close = socket.link.closing().unwrap_or(close);
        Box::pin(socket.say_goodbye(close)).await;
    })
}

/// Who comes to a WebSocket.
pub enum Visitor {
    Known(Caller, ConnectionGuard),
    /// It still has to say who it is, and counts among those who do until then.
    Unknown(Option<Newcomer>),
    /// What it showed is no good. A page cannot read the status of a handshake: it is told here.
    Refused(Problem),
}

impl Visitor {
    /// Makes it known to its link; gives why it is refused.
    pub fn introduce(self, link: &Link, broker: &Broker) -> Option<Problem> {
        match self {
            Self::Known(caller, connected) => {
                let rights_end = broker.rights_end(&caller.principal);
                link.set_caller(caller, rights_end);
                *link.counted.borrow_mut() = Some(connected);
                None
            }
            Self::Unknown(newcomer) => {
                link.await_principal(
                    newcomer.map(|newcomer| Box::new(newcomer) as Box<dyn Waiting>),
                );
                let patience = broker.config.limits.auth_timeout.as_millis() as u64;
                link.rights_end.set(broker.now() + patience);
                None
            }
            Self::Refused(problem) => Some(problem),
        }
    }
}

/// Takes the link out of its shard at the end, also when the task panics.
struct Leaving {
    link: Rc<Link>,
    shard: Rc<Shard>,
    dialog: Box<dyn Dialog>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.link.close(Close::GONE);
        self.shard.remove_link(&self.link);
        self.dialog.end();
    }
}

/// What woke the task.
enum Wakeup {
    Closing,
    Writable,
    Readable,
    /// The window is open again and frames wait in the buffer.
    Buffered,
}

/// Why reading ends.
enum End {
    /// The peer is gone, with or without a close frame.
    Gone,
    Close(Close, Option<Problem>),
}

/// A message that came in fragments so far.
struct Fragments {
    bytes: BytesMut,
    count: usize,
}

struct Socket<'a> {
    stream: Rc<TcpStream>,
    link: Rc<Link>,
    shard: Rc<Shard>,
    dialog: &'a dyn Dialog,
    gate: Rc<Gatekeeper>,
    /// What was read and is not a whole frame yet; empty (and without memory) most of the time.
    buffer: BytesMut,
    partial: Option<Fragments>,
    max_message: usize,
    /// The next message is too large for a stranger, and a token of theirs may still be under way.
    awaits_admission: bool,
}

impl Socket<'_> {
    async fn run(&mut self) -> Close {
        let mut buffered = !self.buffer.is_empty();
        loop {
            let ended = match self.wakeup(buffered).await {
                Wakeup::Closing => return self.link.closing().unwrap_or(Close::GONE),
                Wakeup::Writable => {
                    self.shard.settle(&self.link);
                    continue;
                }
                Wakeup::Readable => self.read(),
                Wakeup::Buffered => self.take_frames(),
            };
            match ended {
                Ok(more) => buffered = more,
                Err(End::Gone) => return Close::GONE,
                Err(End::Close(close, problem)) => {
                    if let Some(problem) = problem {
                        self.dialog.refuse(&problem);
                    }
                    return close;
                }
            }
        }
    }

    async fn wakeup(&self, buffered: bool) -> Wakeup {
        std::future::poll_fn(|ctx| {
            self.link.set_task(ctx.waker());
            if self.link.closing().is_some() {
                return Poll::Ready(Wakeup::Closing);
            }
            if self.link.stuck.get() && self.stream.poll_write_ready(ctx).is_ready() {
                return Poll::Ready(Wakeup::Writable);
            }
            let held_up = self.awaits_admission && !self.gate.is_idle();
            let open = self.gate.is_open(&self.link) && !held_up;
            self.link.paused.set(!open);
            if !open {
                return Poll::Pending;
            }
            if buffered {
                return Poll::Ready(Wakeup::Buffered);
            }
            self.stream.poll_read_ready(ctx).map(|_| Wakeup::Readable)
        })
        .await
    }

    /// Reads once; answers whether frames are left in the buffer.
    fn read(&mut self) -> Result<bool, End> {
        let read = SCRATCH.with_borrow_mut(|scratch| {
            let read = self.stream.try_read(scratch);
            if let Ok(n) = read {
                self.buffer.extend_from_slice(&scratch[..n]);
                if (1..scratch.len()).contains(&n) {
                    self.nothing_more_to_read();
                }
            }
            read
        });
        match read {
            Ok(0) => Err(End::Gone),
            Ok(_) => {
                self.link.last_in.set(self.shard.now());
                self.take_frames()
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(_) => Err(End::Gone),
        }
    }

    /// A read that did not fill its buffer has emptied the socket (epoll and kqueue tell when more comes): it is not
    /// read once more just to hear that.
    fn nothing_more_to_read(&self) {
        let emptied: std::io::Result<()> = self.stream.try_io(Interest::READABLE, || {
            Err(std::io::ErrorKind::WouldBlock.into())
        });
        debug_assert!(emptied.is_err());
    }

    /// Takes whole frames out of the buffer while the window is open; answers whether any may be left.
    fn take_frames(&mut self) -> Result<bool, End> {
        loop {
            if !self.gate.is_open(&self.link) {
                return Ok(true);
            }
            // before the payload is buffered: the parser would wait for all of it
            self.awaits_admission = false;
            if let Declared::Payload(length) = declared(&self.buffer) {
                let begun = self.partial.as_ref().map_or(0, |part| part.bytes.len()) as u64;
                let length = length.saturating_add(begun);
                let max = self.max_now();
                if length > max as u64 {
                    let may_be_soon = length <= self.max_message as u64;
                    if may_be_soon && !self.gate.is_idle() {
                        self.awaits_admission = true;
                        return Ok(true);
                    }
                    return Err(too_large(max));
                }
            }
            match Parser::parse(&mut self.buffer, true, self.max_message) {
                Ok(Some((finished, opcode, payload))) => {
                    self.on_frame(finished, opcode, payload.unwrap_or_default())?
                }
                Ok(None) => {
                    if self.buffer.is_empty() {
                        self.buffer = BytesMut::new();
                    }
                    return Ok(false);
                }
                Err(error) => {
                    return Err(protocol_error(format!("not a WebSocket frame: {error}")));
                }
            }
        }
    }

    fn max_now(&self) -> usize {
        match self.link.is_admitted() {
            true => self.max_message,
            false => self.max_message.min(STRANGER_BYTES),
        }
    }

    fn on_frame(&mut self, finished: bool, opcode: OpCode, payload: BytesMut) -> Result<(), End> {
        match opcode {
            OpCode::Text | OpCode::Binary if opcode != self.dialog.opcode() => {
                Err(protocol_error(format!(
                    "{} frames are not part of {}",
                    if opcode == OpCode::Text {
                        "text"
                    } else {
                        "binary"
                    },
                    self.dialog.name()
                )))
            }
            OpCode::Text | OpCode::Binary if self.partial.is_some() => {
                Err(protocol_error("a message began inside another one"))
            }
            OpCode::Text | OpCode::Binary if finished => self.on_message(payload.freeze()),
            OpCode::Text | OpCode::Binary => {
                // copied, so that the fragment does not keep the whole read buffer alive
                self.partial = Some(Fragments {
                    bytes: BytesMut::from(&payload[..]),
                    count: 1,
                });
                Ok(())
            }
            OpCode::Continue => self.on_fragment(finished, &payload),
            OpCode::Ping if finished => {
                let mut pong = BytesMut::new();
                Parser::write_message(&mut pong, payload, OpCode::Pong, true, false);
                self.link.session.borrow_mut().answer(pong.freeze());
                self.shard.touch_soon(&self.link);
                Ok(())
            }
            OpCode::Pong if finished => {
                self.dialog.answered(&payload);
                Ok(())
            }
            OpCode::Close if Parser::try_parse_close_payload(&payload).is_err() => Err(
                protocol_error("not a close frame: a code of two bytes and a text, or nothing"),
            ),
            OpCode::Close => Err(End::Close(
                Close {
                    code: 1000,
                    reason: "",
                    flush: true,
                },
                None,
            )),
            _ => Err(protocol_error("a control frame cannot be fragmented")),
        }
    }

    fn on_fragment(&mut self, finished: bool, payload: &[u8]) -> Result<(), End> {
        let Some(mut partial) = self.partial.take() else {
            return Err(protocol_error("a continuation of no message"));
        };
        partial.count += 1;
        if partial.count > MAX_FRAGMENTS {
            return Err(protocol_error("a message in too many fragments"));
        }
        partial.bytes.extend_from_slice(payload);
        if finished {
            return self.on_message(partial.bytes.freeze());
        }
        self.partial = Some(partial);
        Ok(())
    }

    fn on_message(&mut self, message: Bytes) -> Result<(), End> {
        if self.dialog.opcode() == OpCode::Text && std::str::from_utf8(&message).is_err() {
            return Err(protocol_error("a text frame is not valid UTF-8"));
        }
        self.gate.read(message.len());
        self.dialog.take(message);
        Ok(())
    }

    /// Everything that was read is answered.
    async fn settled(&self) {
        std::future::poll_fn(|ctx| {
            self.link.set_task(ctx.waker());
            match self.gate.is_settled() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Writes what is left and a close frame, and hears the peer out, for a bounded time.
    async fn say_goodbye(&mut self, close: Close) {
        if close == Close::GONE || !close.flush {
            return;
        }
        let goodbye = async {
            // what is under way is answered first, if that is soon
            drop(tokio::time::timeout(ANSWERS_TIMEOUT, self.settled()).await);
            let mut frame = BytesMut::new();
            let reason = actix_http::ws::CloseReason {
                code: self.dialog.close_code(close).into(),
                description: Some(close.reason.to_owned()),
            };
            Parser::write_close(&mut frame, Some(reason), false);
            self.link.session.borrow_mut().notice(frame.freeze());
            while !self.link.session.borrow().outbox.is_empty() {
                if self.stream.writable().await.is_err() {
                    return;
                }
                let mut session = self.link.session.borrow_mut();
                let transport = RawTransport {
                    stream: self.stream.clone(),
                };
                if crate::broker::link::Transport::write(&transport, &mut session.outbox)
                    == crate::broker::link::Written::Failed
                {
                    return;
                }
            }
            drop(socket2::SockRef::from(&*self.stream).shutdown(std::net::Shutdown::Write));
            discard_until_closed(&self.stream).await;
        };
        // whoever does not take it in time is cut off
        drop(tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await);
    }
}

fn too_large(max: usize) -> End {
    let message = format!("a message has at most {max} bytes");
    End::Close(
        Close::TOO_LARGE,
        Some(Problem::new(Code::TooLarge, message)),
    )
}

fn protocol_error(message: impl Into<String>) -> End {
    End::Close(
        Close::PROTOCOL,
        Some(Problem::new(Code::InvalidRequest, message)),
    )
}

/// Reads and forgets, so that what was written reaches the peer before the connection is closed.
pub async fn discard_until_closed(stream: &TcpStream) {
    let mut scratch = [0; 1024];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut scratch) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
