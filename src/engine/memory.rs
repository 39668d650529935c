//! Logs in memory: gone with the process, so each start has epochs of its own.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};

use super::{AppendAnswer, Engine, EngineError, EngineTotals, Pending, TopicCensus, Watch};
use crate::event::{Epoch, KeyedHash, Seq, TopicPath};
use crate::log::fold::{Fold, epoch_of};
use crate::log::retention::TrimCause;
use crate::log::{Appended, Change, Ending, Publish, Refusal, Retention, SharedLog, TopicLog};

/// Freed beyond need when the bound on all logs is reached, as a fraction: the search for idle topics
/// is then paid once for many appends.
const SLACK: usize = 16;

/// Unix milliseconds; the clock comes from outside.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;
/// The retention of a topic's namespace.
pub type RetentionOf = Arc<dyn Fn(&TopicPath) -> Retention + Send + Sync>;
/// Told what became of what was kept, for the metrics.
pub trait Observer: Send + Sync {
    /// Events of a topic were trimmed.
    fn trimmed(&self, topic: &TopicPath, cause: TrimCause, events: u64);
    /// Control events that no agent acknowledged in time.
    fn controls_expired(&self, events: u64);
    /// All publishes that waited were written in one step.
    fn step_written(&self, _publishes: u64) {}
    /// The disk was waited for.
    fn synced(&self) {}
    /// The store failed, and is to be opened again.
    fn store_failed(&self) {}
    /// A topic was found that cannot be loaded.
    fn topic_damaged(&self) {}
}

impl dyn Observer {
    /// Tells what left the log since the last time.
    pub(super) fn report_trimmed(&self, log: &SharedLog) {
        if !log.read().has_trimmed() {
            return;
        }
        let ((trimmed, expired), _) =
            log.change(|log| (log.take_trimmed(), log.take_expired_controls()));
        for (cause, count) in trimmed {
            self.trimmed(log.path(), cause, count);
        }
        if expired > 0 {
            self.controls_expired(expired);
        }
    }
}

/// Producers whose latest epoch is looked up at once; above that the index is built anew when it doubled.
const MIN_INDEX: usize = 1024;

/// The epoch of each producer's latest run, by (principal, producer id). Bound: at most twice as many
/// as the logs remember.
#[derive(Default)]
struct Runs {
    epochs: HashMap<(Arc<str>, Arc<str>), u64>,
    rebuild_at: usize,
}

impl Runs {
    fn raise(&mut self, principal: &Arc<str>, producer: &Arc<str>, epoch: u64) {
        let key = (principal.clone(), producer.clone());
        let known = self.epochs.entry(key).or_insert(epoch);
        *known = epoch.max(*known);
    }
}

pub struct MemorySettings {
    pub store_epoch: String,
    pub clock: Clock,
    pub retention: RetentionOf,
    /// Bytes that all logs and folds may take together.
    pub max_bytes: usize,
    /// Ended messages' deltas are left out after that long.
    pub compact_after: Duration,
    pub observer: Arc<dyn Observer>,
}

pub struct MemoryEngine {
    settings: MemorySettings,
    /// Counts lives of logs; part of each epoch.
    lives: AtomicU64,
    logs: DashMap<TopicPath, Arc<SharedLog>, KeyedHash>,
    /// The same topics in order of name.
    names: RwLock<BTreeSet<TopicPath>>,
    watchers: Mutex<Vec<Arc<dyn Watch>>>,
    bytes: AtomicUsize,
    runs: Mutex<Runs>,
    /// One at a time looks for idle topics.
    evicting: Mutex<()>,
}

impl MemoryEngine {
    pub fn new(settings: MemorySettings) -> Self {
        Self {
            settings,
            lives: AtomicU64::new(1),
            logs: DashMap::default(),
            names: RwLock::new(BTreeSet::new()),
            watchers: Mutex::new(Vec::new()),
            bytes: AtomicUsize::new(0),
            runs: Mutex::default(),
            evicting: Mutex::new(()),
        }
    }

    fn find(&self, topic: &TopicPath) -> Option<Arc<SharedLog>> {
        self.logs.get(topic).map(|log| log.clone())
    }

    fn append_now(&self, topic: &TopicPath, publish: &Publish) -> AppendAnswer {
        if self.bytes.load(Ordering::Relaxed) > self.settings.max_bytes {
            self.make_room();
            if self.bytes.load(Ordering::Relaxed) > self.settings.max_bytes {
                return Err(EngineError::Unavailable(
                    "the bound on all logs is reached by open messages".into(),
                ));
            }
        }
        loop {
            let now = (self.settings.clock)();
            match self.find(topic) {
                // `None`: it is being erased; `forget` takes it out of the directory at once
                Some(log) => match log.publish(publish, now) {
                    Some((answer, Change { bytes, new_run })) => {
                        self.count(bytes);
                        if new_run {
                            self.note_run(publish);
                        }
                        self.settings.observer.report_trimmed(&log);
                        return Ok(answer);
                    }
                    None => std::thread::yield_now(),
                },
                None => {
                    if let Some(answer) = self.first_append(topic, publish, now) {
                        return Ok(answer);
                    }
                }
            }
        }
    }

    /// A topic comes into being with its first event, and not at all where that is refused.
    /// `None`: somebody else was faster.
    fn first_append(
        &self,
        topic: &TopicPath,
        publish: &Publish,
        now: u64,
    ) -> Option<Result<Appended, Refusal>> {
        let epoch = epoch_of(
            &self.settings.store_epoch,
            self.lives.fetch_add(1, Ordering::Relaxed),
        );
        let mut log = TopicLog::new(epoch, (self.settings.retention)(topic), now);
        let answer = log.publish(publish, now);
        if !matches!(&answer, Ok(appended) if appended.range.is_some()) {
            // nothing was appended: the topic still does not exist
            return Some(answer.map(|nothing| Appended {
                epoch: Epoch::none(),
                ..nothing
            }));
        }
        let cost = log.cost();
        let new_run = log.take_new_run();
        let mut inserted = false;
        self.logs.entry(topic.clone()).or_insert_with(|| {
            inserted = true;
            Arc::new(SharedLog::new(topic.clone(), log))
        });
        if !inserted {
            return None;
        }
        self.count(cost as isize);
        if new_run {
            self.note_run(publish);
        }
        self.names.write().insert(topic.clone());
        for watcher in self.watchers.lock().iter() {
            watcher.appeared(topic);
        }
        Some(answer)
    }

    fn count(&self, change: isize) {
        if change >= 0 {
            self.bytes
                .fetch_add(change.unsigned_abs(), Ordering::Relaxed);
        } else {
            self.bytes
                .fetch_sub(change.unsigned_abs(), Ordering::Relaxed);
        }
    }

    fn note_run(&self, publish: &Publish) {
        if let Some(producer) = &publish.producer {
            let mut runs = self.runs.lock();
            runs.raise(&publish.principal, &producer.id, producer.epoch);
        }
    }

    /// Leaves producers out of the index that no log remembers.
    fn tidy_runs(&self) {
        {
            let runs = self.runs.lock();
            if runs.epochs.len() < runs.rebuild_at.max(MIN_INDEX) {
                return;
            }
        }
        // logs are not looked at under the lock: what is noted meanwhile is put in on top
        let before = self.runs.lock().epochs.clone();
        let mut rebuilt = Runs::default();
        for log in self.logs.iter() {
            for ((principal, producer), epoch) in log.read().producers().epochs() {
                let known = before.get(&(principal.clone(), producer.clone()));
                rebuilt.raise(principal, producer, epoch.max(known.copied().unwrap_or(0)));
            }
        }
        let mut runs = self.runs.lock();
        for (key, epoch) in runs.epochs.drain() {
            if before.get(&key) != Some(&epoch) {
                rebuilt.raise(&key.0, &key.1, epoch);
            }
        }
        rebuilt.rebuild_at = rebuilt.epochs.len() * 2;
        *runs = rebuilt;
    }

    /// The oldest events of the idlest topics go first.
    fn make_room(&self) {
        let Some(_one) = self.evicting.try_lock() else {
            return;
        };
        let target = self.settings.max_bytes - self.settings.max_bytes / SLACK;
        let mut idle: Vec<(u64, Arc<SharedLog>)> = self
            .logs
            .iter()
            .map(|log| (log.read().last_append(), log.clone()))
            .collect();
        idle.sort_unstable_by_key(|(last_append, _)| *last_append);
        let over = || self.bytes.load(Ordering::Relaxed).saturating_sub(target);
        for (_, log) in &idle {
            if over() == 0 {
                return;
            }
            let ((), change) = log.change(|log| log.free_memory(over()));
            self.count(change);
            self.settings.observer.report_trimmed(log);
        }
        // what is left is what topics cost by themselves
        for (_, log) in idle.iter().filter(|(_, log)| !log.is_followed()) {
            if over() == 0 {
                return;
            }
            self.forget(log, TopicLog::is_empty);
        }
    }

    /// Takes the topic out of the directory; its readers are told.
    fn forget(&self, log: &Arc<SharedLog>, only_if: impl FnOnce(&TopicLog) -> bool) -> bool {
        let Some(cost) = log.erase(only_if) else {
            return false;
        };
        self.count(-(cost as isize));
        // under the lock on the names, so that the next life's name is not taken out with this one's
        let mut names = self.names.write();
        let removed = self
            .logs
            .remove_if(log.path(), |_, known| Arc::ptr_eq(known, log))
            .is_some();
        if removed {
            names.remove(log.path());
        }
        true
    }
}

impl Engine for MemoryEngine {
    fn load(&self, topic: &TopicPath) -> Pending<Result<Option<Arc<SharedLog>>, EngineError>> {
        Pending::Ready(Ok(self.find(topic).filter(|log| !log.is_deleted())))
    }

    fn append(&self, topic: &TopicPath, publish: Publish) -> Pending<AppendAnswer> {
        Pending::Ready(self.append_now(topic, &publish))
    }

    fn append_at_once(&self, topic: &TopicPath, publish: &Publish) -> Option<AppendAnswer> {
        Some(self.append_now(topic, publish))
    }

    fn end(&self, topic: &TopicPath, ending: Ending) -> Pending<Result<usize, EngineError>> {
        let Some(log) = self.find(topic) else {
            return Pending::Ready(Ok(0));
        };
        let (ended, Change { bytes, new_run }) = log.end(&ending, (self.settings.clock)());
        self.count(bytes);
        if let (
            true,
            Ending::RunsBefore {
                principal,
                producer,
                epoch,
            },
        ) = (new_run, &ending)
        {
            // its first publish here is no news any more
            self.runs.lock().raise(principal, producer, *epoch);
        }
        self.settings.observer.report_trimmed(&log);
        Pending::Ready(Ok(ended))
    }

    fn acknowledge(&self, topic: &TopicPath, seq: Seq) -> Pending<Result<bool, EngineError>> {
        let Some(log) = self.find(topic) else {
            return Pending::Ready(Ok(false));
        };
        let (known, change) = log.change(|log| log.acknowledge(seq));
        self.count(change);
        Pending::Ready(Ok(known))
    }

    fn last_epoch(
        &self,
        principal: &Arc<str>,
        producer: &Arc<str>,
    ) -> Pending<Result<Option<u64>, EngineError>> {
        let key = (principal.clone(), producer.clone());
        Pending::Ready(Ok(self.runs.lock().epochs.get(&key).copied()))
    }

    fn delete(&self, topic: &TopicPath) -> Pending<Result<bool, EngineError>> {
        let deleted = self
            .find(topic)
            .is_some_and(|log| self.forget(&log, |_| true));
        Pending::Ready(Ok(deleted))
    }

    fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Pending<Result<Vec<TopicPath>, EngineError>> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let names = self.names.read();
        let range = names.range::<str, _>((from, Bound::Unbounded));
        let found = range
            .take_while(|name| name.as_str().starts_with(prefix))
            .take(limit)
            .cloned()
            .collect();
        Pending::Ready(Ok(found))
    }

    fn watch(&self, watcher: Arc<dyn Watch>) {
        self.watchers.lock().push(watcher);
    }

    fn sweep(&self) {
        let now = (self.settings.clock)();
        // the directory is not held while logs are swept
        let logs: Vec<_> = self.logs.iter().map(|log| log.clone()).collect();
        for log in logs {
            let ((), change) = log.change(|log| {
                log.sweep(now, self.settings.compact_after);
                drop(log.take_compacted());
            });
            self.count(change);
            self.settings.observer.report_trimmed(&log);
            if !log.is_followed() {
                self.forget(&log, |log| log.is_forgettable(now));
            }
        }
        self.tidy_runs();
    }

    fn totals(&self) -> EngineTotals {
        EngineTotals {
            topics: self.logs.len(),
            in_memory: self.logs.len(),
            stored_bytes: 0,
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    fn idle_messages(&self, before: u64, visit: &mut dyn FnMut(&TopicPath, &Fold)) {
        for log in self.logs.iter() {
            let idle = log.read();
            for fold in idle.folds().iter().filter(|fold| fold.last_time <= before) {
                visit(log.path(), fold);
            }
        }
    }

    fn census(&self, visit: &mut dyn FnMut(&TopicPath, TopicCensus)) {
        for log in self.logs.iter() {
            let log = log.value();
            let census = {
                let log = log.read();
                TopicCensus {
                    events: log.event_count(),
                    open_messages: log.folds().open_count(),
                }
            };
            visit(log.path(), census);
        }
    }
}
