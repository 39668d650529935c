//! What other threads leave for a shard: names of topics, never events.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use actix::{Message, Recipient};
use parking_lot::Mutex;

use super::readers::DemandWatch;
use crate::engine::Watch;
use crate::event::TopicPath;
use crate::log::shared::Wake;

/// There is something in the inbox.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LookAtNews;

/// Tell all sessions to come back later, spread over that long.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain {
    pub over: Duration,
}

/// Look whether everybody who is connected still may.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Recheck;

/// How the shard's actor is reached.
pub struct ShardMailbox {
    pub news: Recipient<LookAtNews>,
    pub drain: Recipient<Drain>,
    pub recheck: Recipient<Recheck>,
}

/// What other threads leave for a shard.
pub struct Inbox {
    news: Mutex<News>,
    /// A `LookAtNews` is under way.
    scheduled: AtomicBool,
    /// Somebody here waits for topics that do not exist yet.
    curious: AtomicBool,
    shard: OnceLock<ShardMailbox>,
}

#[derive(Default)]
pub struct News {
    /// Each at most once: its follower is not woken again before it was looked at.
    pub topics: Vec<(TopicPath, Instant)>,
    /// Each at most once.
    pub born: HashSet<TopicPath>,
    /// Topics whose number of readers changed.
    pub demand: HashSet<TopicPath>,
}

impl Inbox {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            news: Mutex::new(News::default()),
            scheduled: AtomicBool::new(false),
            curious: AtomicBool::new(false),
            shard: OnceLock::new(),
        })
    }

    /// The shard looks at its news soon.
    pub fn schedule(&self) {
        if !self.scheduled.swap(true, Ordering::SeqCst)
            && let Some(shard) = self.shard.get()
        {
            shard.news.do_send(LookAtNews);
        }
    }

    /// The shard's actor runs: it can be reached from now on.
    pub fn open(&self, mailbox: ShardMailbox) {
        drop(self.shard.set(mailbox));
    }

    /// Whether births of topics are worth telling.
    pub fn set_curious(&self, curious: bool) {
        self.curious.store(curious, Ordering::SeqCst);
    }

    /// Takes everything that waits; what comes from here on schedules another look.
    pub fn take(&self) -> News {
        self.scheduled.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.news.lock())
    }

    /// Tells all sessions of the shard to come back later, spread over `over`.
    pub fn drain(&self, over: Duration) {
        if let Some(shard) = self.shard.get() {
            shard.drain.do_send(Drain { over });
        }
    }
}

impl Inbox {
    /// Somebody's rights may be others now.
    pub fn recheck(&self) {
        if let Some(shard) = self.shard.get() {
            shard.recheck.do_send(Recheck);
        }
    }
}

impl Wake for Inbox {
    fn wake(&self, topic: &TopicPath) {
        self.news
            .lock()
            .topics
            .push((topic.clone(), Instant::now()));
        self.schedule();
    }
}

impl DemandWatch for Inbox {
    fn demand_changed(&self, topic: &TopicPath) {
        self.news.lock().demand.insert(topic.clone());
        self.schedule();
    }
}

impl Watch for Inbox {
    fn appeared(&self, topic: &TopicPath) {
        if self.curious.load(Ordering::SeqCst) {
            self.news.lock().born.insert(topic.clone());
            self.schedule();
        }
    }
}
