//! Publishers: each keeps a schedule on a connection of its own.

mod http;
mod ws;

use std::rc::Rc;
use std::time::Duration;

use super::content::Content;
use super::failure::Failure;
use super::run::{Run, add};
use super::schedule::Cadence;

/// How long an answer may take: beyond it the broker is taken to be stopped.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const PUBLISH: &str = "a publish";

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Over a WebSocket, many under way at once
    Ws,
    /// One HTTP request after the other
    Http,
}

/// What one publisher does.
pub struct Job {
    pub cadence: Cadence,
    /// Events of one publish.
    pub burst: u64,
    /// Events under way at once over a WebSocket, at most the broker's window.
    pub in_flight: usize,
}

/// Publishes until the schedule ends and everything is answered.
pub async fn publish(run: Rc<Run>, by: By, job: Job) -> Result<(), Failure> {
    match by {
        By::Ws => ws::publish(&run, job).await,
        By::Http => http::publish(&run, job).await,
    }
}

/// Events whose answer is awaited.
struct Sent {
    topic: u32,
    events: u64,
    due_us: u64,
    bytes: usize,
}

impl Sent {
    /// Takes the next numbers of the topic.
    fn next(run: &Run, topic: u32, events: u64, due_us: u64) -> (Self, Content) {
        let first = run.ledgers.borrow_mut()[topic as usize].send(events);
        let content = Content::new(run.size.shape, run.size.text_bytes, events, due_us, first);
        let sent = Self {
            topic,
            events,
            due_us,
            bytes: 0,
        };
        (sent, content)
    }

    fn accepted(&self, run: &Run, epoch: Option<&str>, seqs: Option<(u64, u64)>) {
        run.ledgers.borrow_mut()[self.topic as usize].accept(self.events, epoch, seqs);
        add(&run.counts.accepted, self.events);
        run.windows
            .borrow_mut()
            .acknowledged(self.due_us, run.now_us());
    }

    fn refused(&self, run: &Run, code: &str) {
        run.ledgers.borrow_mut()[self.topic as usize].refused += self.events;
        run.refuse(code, self.events);
    }

    fn unknown(&self, run: &Run) {
        run.ledgers.borrow_mut()[self.topic as usize].unknown += self.events;
    }
}

/// When nothing more is to be published.
fn is_over(run: &Run, at_us: u64) -> bool {
    at_us >= run.publish_until_us.get()
}
