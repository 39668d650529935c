//! A log shared by its writer and by the shards that read it.
//!
//! Wake-ups are level-triggered: a follower is woken once, and not again until it has looked
//! (`Follower::begin`), however much is appended meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::ending::Ending;
use super::publish::{Accepted, Appended, Publish, Refusal};
use super::topic_log::TopicLog;
use crate::event::TopicPath;

/// Where wake-ups of a follower go. Must not block.
pub trait Wake: Send + Sync {
    fn wake(&self, topic: &TopicPath);
}

/// One reader of a log that is told about news: a shard.
pub struct Follower {
    topic: TopicPath,
    woken: AtomicBool,
    wake: Arc<dyn Wake>,
}

impl Follower {
    /// Call before reading: what is appended from here on wakes again.
    pub fn begin(&self) {
        self.woken.store(false, Ordering::SeqCst);
    }

    fn notify(&self) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.wake.wake(&self.topic);
        }
    }
}

/// What an append changed beside the log itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// Memory it takes.
    pub bytes: isize,
    /// A producer began a new run here, or fenced the runs before one.
    pub new_run: bool,
}

pub struct SharedLog {
    path: TopicPath,
    log: RwLock<TopicLog>,
    /// The log was erased; its readers are told `reset`, and nothing is appended to it any more.
    deleted: AtomicBool,
    followers: Mutex<Vec<Arc<Follower>>>,
    /// Its engine let go of it: the log stands elsewhere, and another one will stand in its place.
    retired: AtomicBool,
}

impl SharedLog {
    pub fn new(path: TopicPath, log: TopicLog) -> Self {
        Self {
            path,
            log: RwLock::new(log),
            deleted: AtomicBool::new(false),
            followers: Mutex::new(Vec::new()),
            retired: AtomicBool::new(false),
        }
    }

    pub fn path(&self) -> &TopicPath {
        &self.path
    }

    pub fn read(&self) -> RwLockReadGuard<'_, TopicLog> {
        self.log.read()
    }

    /// Registers for wake-ups. Register first, then read: nothing falls between. `None`: the engine let go of
    /// this log; load it again.
    pub fn follow(&self, wake: Arc<dyn Wake>) -> Option<Arc<Follower>> {
        let follower = Arc::new(Follower {
            topic: self.path.clone(),
            woken: AtomicBool::new(false),
            wake,
        });
        let mut followers = self.followers.lock();
        if self.retired.load(Ordering::SeqCst) {
            return None;
        }
        followers.push(follower.clone());
        Some(follower)
    }

    pub fn unfollow(&self, follower: &Arc<Follower>) {
        self.followers
            .lock()
            .retain(|known| !Arc::ptr_eq(known, follower));
    }

    pub fn is_followed(&self) -> bool {
        !self.followers.lock().is_empty()
    }

    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::SeqCst)
    }

    /// Appends, and says what that changed. `None`: the log was erased meanwhile.
    pub fn publish(
        &self,
        publish: &Publish,
        now: u64,
    ) -> Option<(Result<Appended, Refusal>, Change)> {
        let (answer, change) = {
            let mut log = self.log.write();
            if self.is_deleted() {
                return None;
            }
            let before = log.cost();
            let answer = log.publish(publish, now);
            let change = Change {
                bytes: log.cost() as isize - before as isize,
                new_run: log.take_new_run(),
            };
            (answer, change)
        };
        if matches!(&answer, Ok(appended) if !appended.duplicate && appended.range.is_some()) {
            self.notify();
        }
        Some((answer, change))
    }

    /// The first half of a publish (`TopicLog::accept`). `None`: the log was erased meanwhile.
    pub fn accept(
        &self,
        publish: &Publish,
        now: u64,
    ) -> Option<(Result<Accepted, Refusal>, Change)> {
        let mut log = self.log.write();
        if self.is_deleted() {
            return None;
        }
        let before = log.cost();
        let answer = log.accept(publish, now);
        let change = Change {
            bytes: log.cost() as isize - before as isize,
            new_run: log.take_new_run(),
        };
        Some((answer, change))
    }

    /// The second half, of several publishes: readers see them from now on. Answers the change in bytes.
    pub fn commit<'a>(&self, publishes: impl Iterator<Item = (&'a Publish, u64)>) -> isize {
        let ((), change) = self.change(|log| {
            for (publish, now) in publishes {
                log.commit(publish, now);
            }
        });
        self.notify();
        change
    }

    /// Puts another state in its place, as it was found where the log is kept. Answers the change in bytes.
    pub fn replace(&self, with: TopicLog) -> isize {
        let ((), change) = self.change(|log| *log = with);
        self.notify();
        change
    }

    /// Takes the log out of use, if nobody follows it: whoever wants to from now on is told to look again.
    pub fn retire(&self) -> bool {
        let followers = self.followers.lock();
        if followers.is_empty() {
            self.retired.store(true, Ordering::SeqCst);
        }
        followers.is_empty()
    }

    /// Ends messages for publishers that are gone; answers how many, and what else that changed.
    pub fn end(&self, ending: &Ending, now: u64) -> (usize, Change) {
        if self.is_deleted() {
            return (0, Change::default());
        }
        let ((ended, new_run), bytes) =
            self.change(|log| (log.end(ending, now), log.take_new_run()));
        if ended > 0 {
            self.notify();
        }
        (ended, Change { bytes, new_run })
    }

    /// Changes the log; answers with the change in bytes. Readers are not woken.
    pub fn change<T>(&self, change: impl FnOnce(&mut TopicLog) -> T) -> (T, isize) {
        let mut log = self.log.write();
        let before = log.cost();
        let out = change(&mut log);
        (out, log.cost() as isize - before as isize)
    }

    /// Marks the log as erased and wakes its readers; answers with the bytes it took. `None`: it was already,
    /// or `only_if` does not hold.
    pub fn erase(&self, only_if: impl FnOnce(&TopicLog) -> bool) -> Option<usize> {
        let cost = {
            let log = self.log.write();
            if self.is_deleted() || !only_if(&log) {
                return None;
            }
            self.deleted.store(true, Ordering::SeqCst);
            log.cost()
        };
        self.notify();
        Some(cost)
    }

    fn notify(&self) {
        for follower in self.followers.lock().iter() {
            follower.notify();
        }
    }
}
