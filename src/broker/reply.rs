//! The way of an answer: from the topic that has it to the request or connection that waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use actix::{Message, Recipient};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::command::CommandId;
use super::problem::Problem;
use crate::event::TopicPath;
use crate::log::Appended;

/// What a publish is answered.
pub type PublishAnswer = Result<Appended, Problem>;

/// Where the answer of a publish goes.
pub enum Reply {
    Once(oneshot::Sender<PublishAnswer>),
    Queue(Arc<AnswerQueue>, Ticket),
}

impl Reply {
    pub fn give(self, answer: PublishAnswer) {
        match self {
            // nobody waits any more: the publish stands all the same
            Self::Once(reply) => drop(reply.send(answer)),
            Self::Queue(queue, ticket) => queue.push(ticket, answer),
        }
    }
}

/// Names a publish of a connection that is under way.
pub struct Ticket {
    pub id: CommandId,
    pub topic: TopicPath,
    pub events: usize,
    pub bytes: usize,
    pub started: Instant,
}

/// Answers of topics to one connection, whatever thread they come from; bounded by its window.
pub struct AnswerQueue {
    answers: Mutex<Vec<(Ticket, PublishAnswer)>>,
    woken: AtomicBool,
    waker: Recipient<Answers>,
}

impl AnswerQueue {
    /// `waker` is told once for all answers that wait.
    pub fn new(waker: Recipient<Answers>) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::default(),
            woken: AtomicBool::new(false),
            waker,
        })
    }

    /// Everything that waits; what comes from here on wakes again.
    pub fn take(&self) -> Vec<(Ticket, PublishAnswer)> {
        self.woken.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.answers.lock())
    }

    pub fn push(&self, ticket: Ticket, answer: PublishAnswer) {
        self.answers.lock().push((ticket, answer));
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.waker.do_send(Answers);
        }
    }
}

/// Answers wait in the queue.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Answers;
