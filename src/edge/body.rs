//! The body of an SSE response: what the server pulls from a link's outbox when the socket takes bytes.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use bytes::{Bytes, BytesMut};

use super::socket::BodyState;
use crate::broker::directory::OpenGuard;
use crate::broker::link::{Close, Link};
use crate::broker::outbox::Outbox;
use crate::broker::shard::Shard;
use crate::event::TopicPath;

/// Small pieces are given to the server together, up to this many bytes.
const CHUNK_BYTES: usize = 8 << 10;

pub struct SseBody {
    link: Rc<Link>,
    shard: Rc<Shard>,
    state: Rc<BodyState>,
    /// What stands before the first delivery.
    preamble: Option<Bytes>,
    /// A long poll ends after its first deliveries,
    delivered: Cell<bool>,
    /// or when this says that it waited long enough.
    over: Rc<Cell<bool>>,
    /// What a poller reads, to count as its reader for a while.
    polled: Vec<TopicPath>,
    _open: OpenGuard,
}

impl SseBody {
    pub fn new(
        link: Rc<Link>,
        shard: Rc<Shard>,
        state: Rc<BodyState>,
        preamble: Bytes,
        open: OpenGuard,
    ) -> Self {
        let preamble = Some(preamble);
        Self {
            link,
            shard,
            state,
            preamble,
            delivered: Cell::new(false),
            over: Rc::default(),
            polled: Vec::new(),
            _open: open,
        }
    }

    /// It is a poll that waits at most so long, and reads these topics.
    pub fn polling(mut self, wait: Duration, topics: Vec<TopicPath>) -> Self {
        self.polled = topics;
        if wait.is_zero() {
            self.over.set(true);
            return self;
        }
        let (over, link) = (self.over.clone(), Rc::downgrade(&self.link));
        actix_rt::spawn(async move {
            actix_rt::time::sleep(wait).await;
            over.set(true);
            if let Some(link) = link.upgrade() {
                link.wake_task();
            }
        });
        self
    }

    fn next_chunk(&self) -> Option<Bytes> {
        let mut session = self.link.session.borrow_mut();
        let first = session.outbox.pop()?;
        if first.len() >= CHUNK_BYTES || session.outbox.is_empty() {
            return Some(first);
        }
        Some(gather(first, &mut session.outbox))
    }

    /// Fills the outbox; `false`: there is nothing to fill it with.
    fn refill(&self) -> bool {
        let mut effects = Vec::new();
        self.link.session.borrow_mut().pump(&mut effects);
        self.shard.apply(&self.link, effects);
        !self.link.session.borrow().outbox.is_empty()
    }
}

fn gather(first: Bytes, outbox: &mut Outbox) -> Bytes {
    let mut chunk = BytesMut::from(first);
    while chunk.len() < CHUNK_BYTES {
        match outbox.pop() {
            Some(piece) => chunk.extend_from_slice(&piece),
            None => break,
        }
    }
    chunk.freeze()
}

impl MessageBody for SseBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        self.state.set_waker(ctx.waker());
        self.link.set_task(ctx.waker());
        if let Some(preamble) = self.preamble.take() {
            return Poll::Ready(Some(Ok(preamble)));
        }
        if self.link.closing().is_some_and(|close| !close.flush) {
            return Poll::Ready(Some(Err(io::Error::other("the stream was cut off"))));
        }
        let closing = self.link.closing().is_some();
        loop {
            if let Some(chunk) = self.next_chunk() {
                self.delivered.set(true);
                self.link.progressed(self.shard.now());
                return Poll::Ready(Some(Ok(chunk)));
            }
            self.link.stuck.set(false);
            let polled = self.link.once && self.delivered.get();
            if polled || closing {
                return Poll::Ready(None);
            }
            if self.refill() {
                continue;
            }
            if !(self.link.once && self.over.get()) {
                return Poll::Pending;
            }
            if !self.link.session.borrow_mut().tell_positions() {
                return Poll::Ready(None);
            }
        }
    }
}

impl Drop for SseBody {
    fn drop(&mut self) {
        self.state.dropped();
        for topic in self.polled.drain(..) {
            self.shard.linger(topic);
        }
        self.link.close(Close::DONE);
        self.shard.remove_link(&self.link);
    }
}
