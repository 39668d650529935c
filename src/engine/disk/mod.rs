//! Logs on disk: fjall, group-committed. A topic is in memory while it is used.
//!
//! Invariants:
//! - an answered publish is on the disk; readers see nothing that is not;
//! - seqs are given in the order of the calls; what is shown is shown in that order;
//! - a topic in memory is what `Store::load` would bring back, plus what is under way.

mod cache;
mod committer;
mod journal;
mod manifest;
pub mod offline;
mod record;
mod sealed;
mod shared;
mod store;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::cache::{Job, Waiting};
use self::shared::{Queued, Shared, open_store};
pub use self::store::StoreError;
use super::memory::{Clock, Observer, RetentionOf};
use super::{
    AppendAnswer, BookmarkChange, Engine, EngineError, EngineTotals, Pending, TopicCensus, Watch,
};
use crate::event::{Seq, TopicPath};
use crate::log::fold::Fold;
use crate::log::{Ending, Publish, SharedLog};

/// Threads that bring topics into memory.
const LOADERS: usize = 2;

/// When what was written is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Before it is answered.
    Always,
    /// So long after it was written, at most.
    Interval(Duration),
}

/// When readers see what was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliver {
    /// Once it is written (and synced, with `Sync::Always`).
    Durable,
    /// At once.
    Early,
}

pub struct DiskSettings {
    pub dir: PathBuf,
    /// Names a store that is made now.
    pub new_epoch: String,
    pub clock: Clock,
    pub retention: RetentionOf,
    /// Bytes that all logs in memory may take together.
    pub max_bytes: usize,
    /// Bytes of fjall's own cache.
    pub cache_bytes: u64,
    /// Ended messages' deltas are left out after that long.
    pub compact_after: Duration,
    /// A topic that nobody uses leaves the memory after that long.
    pub let_go_after: Duration,
    pub sync: Sync,
    pub deliver: Deliver,
    pub observer: Arc<dyn Observer>,
}

impl DiskSettings {
    /// Somebody may know more than the disk.
    fn is_lax(&self) -> bool {
        self.sync != Sync::Always || self.deliver == Deliver::Early
    }
}

pub struct DiskEngine {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl DiskEngine {
    /// Opens the directory, or makes it one, and loads the topics with open messages.
    pub fn open(settings: DiskSettings) -> Result<Self, StoreError> {
        let next_number = Arc::new(AtomicU64::new(1));
        let open = || {
            let store = open_store(&settings, next_number.clone())?;
            Ok((store.open_topics()?, store))
        };
        // a store that panics on what it finds has failed like any other
        let opened = catch_unwind(AssertUnwindSafe(open));
        let (open, store) = opened.unwrap_or(Err(StoreError::Panicked))?;
        let shared = Shared::new(settings, store, next_number)?;
        let mut threads = Vec::new();
        let committing = shared.clone();
        threads.push(thread("tidewire-commit", move || {
            committer::run(&committing)
        })?);
        for _ in 0..LOADERS {
            let loading = shared.clone();
            threads.push(thread("tidewire-load", move || loading.load_topics())?);
        }
        let scrubbing = shared.clone();
        threads.push(thread("tidewire-scrub", move || scrubbing.scrub())?);
        for topic in open {
            shared.load_at_start(&topic);
        }
        Ok(Self {
            shared,
            threads: Mutex::new(threads),
        })
    }

    fn ask<T: Send + 'static>(
        &self,
        topic: &TopicPath,
        job: impl FnOnce(oneshot::Sender<Result<T, EngineError>>) -> Job,
    ) -> Pending<Result<T, EngineError>> {
        let (reply, answer) = oneshot::channel();
        self.shared.submit(topic, job(reply));
        later(answer)
    }
}

/// The committer's answer; without one nobody can know.
fn later<T: Send + 'static>(
    answer: oneshot::Receiver<Result<T, EngineError>>,
) -> Pending<Result<T, EngineError>> {
    Pending::Later(Box::pin(async move {
        answer.await.unwrap_or(Err(EngineError::OutcomeUnknown))
    }))
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let builder = std::thread::Builder::new().name(name.into());
    Ok(builder.spawn(run)?)
}

impl Drop for DiskEngine {
    fn drop(&mut self) {
        self.close();
    }
}

impl Engine for DiskEngine {
    fn load(&self, topic: &TopicPath) -> Pending<Result<Option<Arc<SharedLog>>, EngineError>> {
        if let Some(log) = self.shared.find(topic) {
            return Pending::Ready(Ok(Some(log)));
        }
        let (reply, answer) = oneshot::channel();
        self.shared.when_loaded(topic, Waiting::Load(reply));
        let unavailable = self.shared.unavailable();
        Pending::Later(Box::pin(
            async move { answer.await.unwrap_or(Err(unavailable)) },
        ))
    }

    fn append(&self, topic: &TopicPath, publish: Publish) -> Pending<AppendAnswer> {
        self.ask(topic, |reply| Job::Append { publish, reply })
    }

    fn end(&self, topic: &TopicPath, ending: Ending) -> Pending<Result<usize, EngineError>> {
        self.ask(topic, |reply| Job::End { ending, reply })
    }

    fn acknowledge(&self, topic: &TopicPath, seq: Seq) -> Pending<Result<bool, EngineError>> {
        // at once, so that whoever attaches next does not get it; if it cannot be written, it comes again
        let mut is_noted = false;
        if let Some(log) = self.shared.find(topic) {
            let (known, change) = log.change(|log| log.acknowledge(seq));
            self.shared.count(change);
            if !known {
                return Pending::Ready(Ok(false));
            }
            is_noted = true;
        }
        self.ask(topic, |reply| Job::Acknowledge {
            seq,
            is_noted,
            reply,
        })
    }

    fn last_epoch(
        &self,
        principal: &Arc<str>,
        producer: &Arc<str>,
    ) -> Pending<Result<Option<u64>, EngineError>> {
        let Some(store) = self.shared.store() else {
            return Pending::Ready(Err(self.shared.unavailable()));
        };
        let known = store.run(principal, producer);
        Pending::Ready(match known {
            Ok(run) => Ok(run.map(|run| run.epoch)),
            Err(error) => Err(EngineError::Unavailable(error.to_string())),
        })
    }

    fn begin_run(
        &self,
        principal: &Arc<str>,
        producer: &Arc<str>,
        epoch: u64,
    ) -> Pending<Result<(), EngineError>> {
        let (reply, answer) = oneshot::channel();
        self.shared.enqueue(Queued::Run {
            run: (principal.clone(), producer.clone()),
            epoch,
            reply,
        });
        later(answer)
    }

    fn keeps_bookmarks(&self) -> bool {
        true
    }

    fn keep_bookmarks(&self, changes: Vec<BookmarkChange>) -> Pending<Result<(), EngineError>> {
        let (reply, answer) = oneshot::channel();
        self.shared.enqueue(Queued::Bookmarks { changes, reply });
        later(answer)
    }

    fn bookmarks(&self, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), EngineError> {
        let Some(store) = self.shared.store() else {
            return Err(self.shared.unavailable());
        };
        let mut damaged = Vec::new();
        let visiting = || {
            store.visit_bookmarks(|key, value| match value {
                Ok(value) => visit(key, value),
                Err(_) => damaged.push((key.to_vec(), None)),
            })
        };
        let visited = catch_unwind(AssertUnwindSafe(visiting));
        if !damaged.is_empty() {
            tracing::warn!(
                damaged = damaged.len(),
                "kept reading positions are damaged, and forgotten"
            );
            drop(self.keep_bookmarks(damaged));
        }
        match visited {
            Ok(None) => Ok(()),
            Ok(Some(hole)) => Err(EngineError::Unavailable(hole.error)),
            Err(_) => Err(EngineError::Unavailable(StoreError::Panicked.to_string())),
        }
    }

    fn delete(&self, topic: &TopicPath) -> Pending<Result<bool, EngineError>> {
        self.ask(topic, |reply| Job::Delete { reply })
    }

    fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Pending<Result<Vec<TopicPath>, EngineError>> {
        let Some(store) = self.shared.store() else {
            return Pending::Ready(Err(self.shared.unavailable()));
        };
        let found = store.topics(prefix, after, limit);
        Pending::Ready(found.map_err(|error| EngineError::Unavailable(error.to_string())))
    }

    fn watch(&self, watcher: Arc<dyn Watch>) {
        self.shared.watch(watcher);
    }

    fn health(&self) -> Result<(), String> {
        self.shared.health()
    }

    fn close(&self) {
        self.shared.stop();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }

    fn sweep(&self) {
        let now = self.shared.now();
        let idle_since = now.saturating_sub(self.shared.settings.let_go_after.as_millis() as u64);
        for cached in self.shared.loaded() {
            let compact_after = self.shared.settings.compact_after;
            let (compacted, change) = cached.log.change(|log| {
                log.sweep(now, compact_after);
                log.take_compacted()
            });
            self.shared.count(change);
            self.shared.report_trimmed(&cached.log);
            let (first, event_bytes, forgettable) = {
                let log = cached.log.read();
                let event_bytes = log.cost() / log.event_count().max(1);
                (log.first(), event_bytes, log.is_forgettable(now))
            };
            let is_idle = cached.last_used.load(Ordering::Relaxed) < idle_since;
            let (owes_checkpoint, is_tidy) = {
                let mut book = cached.book.lock();
                book.compacted.extend(compacted);
                let owes = book.owes_checkpoint(first, event_bytes, is_idle, now);
                (owes, book.is_tidy(first))
            };
            if forgettable && !cached.log.is_followed() {
                let (reply, _) = oneshot::channel();
                self.shared.submit(cached.path(), Job::Delete { reply });
            } else if owes_checkpoint {
                self.shared.submit(cached.path(), Job::Checkpoint);
            } else if is_idle && is_tidy && !cached.has_open_messages() {
                self.shared.let_go(&cached);
            }
        }
    }

    fn totals(&self) -> EngineTotals {
        EngineTotals {
            topics: self.shared.topic_count() as usize,
            in_memory: self.shared.in_memory(),
            stored_bytes: self.shared.stored_bytes(),
            bytes: self.shared.bytes(),
        }
    }

    fn idle_messages(&self, before: u64, visit: &mut dyn FnMut(&TopicPath, &Fold)) {
        for cached in self.shared.loaded() {
            let log = cached.log.read();
            for fold in log.folds().iter().filter(|fold| fold.last_time <= before) {
                visit(cached.path(), fold);
            }
        }
    }

    fn census(&self, visit: &mut dyn FnMut(&TopicPath, TopicCensus)) {
        for cached in self.shared.loaded() {
            let census = {
                let log = cached.log.read();
                TopicCensus {
                    events: log.event_count(),
                    open_messages: log.folds().open_count(),
                }
            };
            visit(cached.path(), census);
        }
    }
}
