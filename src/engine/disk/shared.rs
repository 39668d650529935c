//! What the engine, its committer and its loaders share.

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::{Condvar, Mutex, RwLock};

use tokio::sync::oneshot;

use super::DiskSettings;
use super::cache::{Book, Cached, Job, LoadAnswer, Slot, Ticket, Waiting};
use super::store::{Loaded, Store, StoreError};
use crate::engine::{BookmarkChange, EngineError, Watch};
use crate::event::{KeyedHash, Seq, TopicPath};
use crate::log::fold::epoch_of;
use crate::log::{Retention, SharedLog, TopicLog};

/// Freed beyond need when the bound on memory is reached, as a fraction.
const SLACK: usize = 16;
/// Bytes of the file system that stay free, so that what is old can still be deleted.
const MIN_FREE: u64 = 64 << 20;
const LOOK_AT_SPACE: Duration = Duration::from_millis(200);
/// Between two rounds of the scrubber.
const SCRUB_PAUSE: Duration = Duration::from_secs(1);
/// Topics and runs it looks at in one round, and topics that it has loaded at most.
const SCRUB_TOPICS: usize = 512;
const SCRUB_RUNS: usize = 512;
const SCRUB_LOADS: usize = 64;
/// A producer's latest run is remembered that long after it began.
const RUN_MEMORY_MS: u64 = 30 * 24 * 3600 * 1000;
const MAX_REPORTED: usize = 10_000;

pub struct Shared {
    pub settings: DiskSettings,
    /// `None`: it failed, and is to be opened again.
    store: RwLock<Option<Arc<Store>>>,
    /// Why, for those who ask.
    failure: Mutex<Option<String>>,
    slots: DashMap<TopicPath, Slot, KeyedHash>,
    next_number: Arc<AtomicU64>,
    topics: AtomicU64,
    bytes: AtomicUsize,
    watchers: Mutex<Vec<Arc<dyn Watch>>>,
    jobs: Mutex<VecDeque<Queued>>,
    job_came: Condvar,
    to_load: Mutex<VecDeque<TopicPath>>,
    load_came: Condvar,
    space: Mutex<Space>,
    /// Topics of which was said that they cannot be loaded.
    reported: Mutex<HashSet<TopicPath>>,
    stopping: AtomicBool,
    resting: Mutex<()>,
    stop_came: Condvar,
}

/// What waits for the committer.
pub enum Queued {
    /// A job and the topic it is for.
    Job { ticket: Ticket, job: Job },
    /// A run that began without a publish.
    Run {
        run: RunKey,
        epoch: u64,
        reply: oneshot::Sender<Result<(), EngineError>>,
    },
    /// Reading positions to be kept.
    Bookmarks {
        changes: Vec<BookmarkChange>,
        reply: oneshot::Sender<Result<(), EngineError>>,
    },
}

/// Principal and producer id.
pub type RunKey = (Arc<str>, Arc<str>);

impl Queued {
    fn bytes(&self) -> usize {
        match self {
            Self::Job { job, .. } => job.bytes(),
            Self::Run { .. } => 64,
            Self::Bookmarks { changes, .. } => {
                let size =
                    |(key, value): &BookmarkChange| key.len() + value.as_ref().map_or(0, Vec::len);
                changes.iter().map(size).sum()
            }
        }
    }

    pub fn fail(self, error: &EngineError) {
        match self {
            Self::Job { job, .. } => job.fail(error),
            Self::Run { reply, .. } | Self::Bookmarks { reply, .. } => {
                drop(reply.send(Err(error.clone())));
            }
        }
    }
}

/// What is known of the room on the file system.
#[derive(Default)]
struct Space {
    looked: Option<Instant>,
    full: Option<String>,
}

impl Shared {
    pub fn new(
        settings: DiskSettings,
        store: Store,
        next_number: Arc<AtomicU64>,
    ) -> Result<Arc<Self>, StoreError> {
        Ok(Arc::new(Self {
            topics: AtomicU64::new(store.topic_count()?),
            settings,
            store: RwLock::new(Some(Arc::new(store))),
            failure: Mutex::default(),
            slots: DashMap::default(),
            next_number,
            bytes: AtomicUsize::new(0),
            watchers: Mutex::default(),
            jobs: Mutex::default(),
            job_came: Condvar::new(),
            to_load: Mutex::default(),
            load_came: Condvar::new(),
            space: Mutex::default(),
            reported: Mutex::default(),
            stopping: AtomicBool::new(false),
            resting: Mutex::default(),
            stop_came: Condvar::new(),
        }))
    }

    pub fn now(&self) -> u64 {
        (self.settings.clock)()
    }

    pub fn store(&self) -> Option<Arc<Store>> {
        self.store.read().clone()
    }

    pub fn unavailable(&self) -> EngineError {
        let why = self.failure.lock().clone();
        EngineError::Unavailable(why.unwrap_or_else(|| "the store is being opened".into()))
    }

    pub fn health(&self) -> Result<(), String> {
        let failure = self.failure.lock().clone();
        match failure.or_else(|| self.no_space()) {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn count(&self, change: isize) {
        if change >= 0 {
            self.bytes
                .fetch_add(change.unsigned_abs(), Ordering::Relaxed);
        } else {
            self.bytes
                .fetch_sub(change.unsigned_abs(), Ordering::Relaxed);
        }
    }

    pub fn report_trimmed(&self, log: &SharedLog) {
        self.settings.observer.report_trimmed(log);
    }

    pub fn watch(&self, watcher: Arc<dyn Watch>) {
        self.watchers.lock().push(watcher);
    }

    pub fn appeared(&self, topic: &TopicPath) {
        for watcher in self.watchers.lock().iter() {
            watcher.appeared(topic);
        }
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        // whoever is about to wait has seen it, or waits by the time it is notified
        drop(self.jobs.lock());
        self.job_came.notify_all();
        drop(self.to_load.lock());
        self.load_came.notify_all();
        drop(self.resting.lock());
        self.stop_came.notify_all();
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Every topic in memory.
    pub fn loaded(&self) -> Vec<Arc<Cached>> {
        let loaded = self.slots.iter().filter_map(|slot| match slot.value() {
            Slot::Loaded(cached) => Some(cached.clone()),
            Slot::Loading(_) => None,
        });
        loaded.collect()
    }

    /// Hands a job to the committer, once its topic is loaded.
    pub fn submit(&self, topic: &TopicPath, job: Job) {
        self.when_loaded(topic, Waiting::Job(job));
    }

    /// The topic's log, if it is in memory and exists.
    pub fn find(&self, topic: &TopicPath) -> Option<Arc<SharedLog>> {
        match self.slots.get(topic)?.value() {
            Slot::Loaded(cached) => {
                cached.touch(self.now());
                is_born(&cached.log).then(|| cached.log.clone())
            }
            Slot::Loading(_) => None,
        }
    }

    pub fn when_loaded(&self, topic: &TopicPath, waiting: Waiting) {
        if let Some(slot) = self.slots.get(topic)
            && let Slot::Loaded(cached) = slot.value()
        {
            return self.hand_over(cached, waiting);
        }
        match self.slots.entry(topic.clone()) {
            Entry::Occupied(mut slot) => match slot.get_mut() {
                Slot::Loading(waiters) => waiters.push(waiting),
                Slot::Loaded(cached) => self.hand_over(&cached.clone(), waiting),
            },
            Entry::Vacant(slot) => {
                slot.insert(Slot::Loading(vec![waiting]));
                self.to_load.lock().push_back(topic.clone());
                self.load_came.notify_one();
            }
        }
    }

    /// Under the slot's lock, so that the topic is not let go in between.
    fn hand_over(&self, cached: &Arc<Cached>, waiting: Waiting) {
        cached.touch(self.now());
        match waiting {
            Waiting::Load(reply) => {
                let log = is_born(&cached.log).then(|| cached.log.clone());
                drop(reply.send(Ok(log)));
            }
            Waiting::Job(job) => {
                let ticket = Ticket::new(cached.clone());
                self.enqueue(Queued::Job { ticket, job });
            }
        }
    }

    pub fn enqueue(&self, queued: Queued) {
        self.jobs.lock().push_back(queued);
        self.job_came.notify_one();
    }

    /// Takes an erased topic out of memory, once that is on the disk.
    pub fn eraser(self: &Arc<Self>, cached: &Arc<Cached>) -> impl FnOnce() + Send + 'static {
        let (shared, cached) = (self.clone(), cached.clone());
        move || {
            if let Some(cost) = cached.log.erase(|_| true) {
                shared.count(-(cost as isize));
            }
            shared.slots.remove_if(
                cached.path(),
                |_, slot| matches!(slot, Slot::Loaded(known) if Arc::ptr_eq(known, &cached)),
            );
        }
    }

    /// Lets go of a topic that nobody uses; it stays on the disk.
    pub fn let_go(&self, cached: &Arc<Cached>) -> bool {
        let removed = self.slots.remove_if(cached.path(), |_, slot| {
            let is_this = matches!(slot, Slot::Loaded(known) if Arc::ptr_eq(known, cached));
            is_this && !cached.is_pending() && cached.log.retire()
        });
        if removed.is_some() {
            self.count(-(cached.log.read().cost() as isize));
        }
        removed.is_some()
    }

    /// Waits for jobs and takes them, or until `until`; those that are in `jobs` already go first. `false`: it is
    /// over, and nothing waits.
    pub fn wait_for_jobs(
        &self,
        jobs: &mut Vec<Queued>,
        max_jobs: usize,
        max_bytes: usize,
        until: Option<Instant>,
    ) -> bool {
        let mut waiting = self.jobs.lock();
        while waiting.is_empty() && jobs.is_empty() {
            if self.is_stopping() {
                return false;
            }
            match until {
                None => self.job_came.wait(&mut waiting),
                Some(until) => {
                    if self.job_came.wait_until(&mut waiting, until).timed_out() {
                        return true;
                    }
                }
            }
        }
        let mut bytes: usize = jobs.iter().map(Queued::bytes).sum();
        while jobs.len() < max_jobs && bytes < max_bytes {
            let Some(next) = waiting.pop_front() else {
                break;
            };
            bytes += next.bytes();
            jobs.push(next);
        }
        true
    }

    pub fn fail_all(&self, jobs: &mut Vec<Queued>) {
        let error = self.unavailable();
        jobs.extend(self.jobs.lock().drain(..));
        for queued in jobs.drain(..) {
            queued.fail(&error);
        }
    }

    /// Waits, but not longer than until the engine is closed.
    pub fn rest(&self, time: Duration) {
        let mut resting = self.resting.lock();
        if !self.is_stopping() {
            self.stop_came.wait_for(&mut resting, time);
        }
    }

    /// Why nothing can be added because the file system is full.
    pub fn no_space(&self) -> Option<String> {
        let mut space = self.space.lock();
        if space.looked.is_none_or(|at| at.elapsed() >= LOOK_AT_SPACE) {
            space.looked = Some(Instant::now());
            let full = rustix::fs::statvfs(&self.settings.dir).ok().and_then(|stat| {
                let free = stat.f_bavail.saturating_mul(stat.f_frsize);
                (free < MIN_FREE).then(|| {
                    let dir = self.settings.dir.display();
                    format!(
                        "the file system of {dir} is full: {} MiB are left and {} MiB have to stay free",
                        free >> 20,
                        MIN_FREE >> 20
                    )
                })
            });
            match (&space.full, &full) {
                (None, Some(why)) => tracing::error!("{why}; publishes are refused"),
                (Some(_), None) => tracing::info!("there is room on the file system again"),
                _ => {}
            }
            space.full = full;
        }
        space.full.clone()
    }

    /// Why nothing can be added because the memory is full.
    pub fn no_memory(&self) -> Option<String> {
        (self.bytes() > self.settings.max_bytes)
            .then(|| "the bound on all logs is reached by open messages".to_owned())
    }

    /// Over the bound on memory, topics that nobody uses are let go, the idlest first; then the oldest events of
    /// those in use are dropped, as retention would.
    pub fn make_room(&self) {
        let max = self.settings.max_bytes;
        if self.bytes() <= max {
            return;
        }
        let target = max - max / SLACK;
        let mut loaded = self.loaded();
        loaded.sort_unstable_by_key(|cached| cached.last_used.load(Ordering::Relaxed));
        for cached in &loaded {
            if self.bytes() <= target {
                return;
            }
            if !cached.has_open_messages() {
                self.let_go(cached);
            }
        }
        for cached in self.loaded() {
            let excess = self.bytes().saturating_sub(target);
            if excess == 0 {
                return;
            }
            let ((), change) = cached.log.change(|log| log.free_memory(excess));
            self.count(change);
            self.report_trimmed(&cached.log);
        }
    }

    /// Changes the number of topics; answers how many there are then.
    pub fn count_topics(&self, change: i64) -> u64 {
        let before = self.topics.fetch_add(change as u64, Ordering::SeqCst);
        before.wrapping_add(change as u64)
    }

    pub fn in_memory(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of files; 0 while the store is being opened.
    pub fn stored_bytes(&self) -> u64 {
        let store = self.store();
        store.map_or(0, |store| store.disk_bytes().unwrap_or(0))
    }

    pub fn topic_count(&self) -> u64 {
        self.topics.load(Ordering::SeqCst)
    }

    /// The store cannot be used any more.
    pub fn failed(&self, error: &StoreError) {
        tracing::error!(%error, "the store failed; publishes are refused until it can be opened again");
        self.settings.observer.store_failed();
        *self.failure.lock() = Some(error.to_string());
        *self.store.write() = None;
    }

    /// Opens the store again and puts every topic in memory as it is found there.
    pub fn reopen(&self) {
        let opened = catch_unwind(AssertUnwindSafe(|| self.open_again()));
        match opened.unwrap_or(Err(StoreError::Panicked)) {
            Ok(store) => {
                *self.store.write() = Some(Arc::new(store));
                *self.failure.lock() = None;
                tracing::info!("the store works again");
            }
            Err(error) => *self.failure.lock() = Some(error.to_string()),
        }
    }

    fn open_again(&self) -> Result<Store, StoreError> {
        let store = open_store(&self.settings, self.next_number.clone())?;
        for cached in self.loaded() {
            let topic = cached.path();
            let retention = (self.settings.retention)(topic);
            let shown = cached.log.read().head();
            match store.load(topic, retention, self.now()) {
                Ok(Some(mut loaded))
                    if loaded.log.head() >= shown
                        && loaded.log.epoch() == cached.log.read().epoch() =>
                {
                    *cached.book.lock() = self.book_of(&mut loaded);
                    self.count(cached.log.replace(loaded.log));
                }
                // its readers are told, and find what there is
                Ok(_) | Err(StoreError::Damaged { .. }) => {
                    self.forget(&cached);
                    if shown > Seq::ZERO {
                        self.appeared(topic);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.topics.store(store.topic_count()?, Ordering::SeqCst);
        Ok(store)
    }

    fn forget(&self, cached: &Arc<Cached>) {
        if let Some(cost) = cached.log.erase(|_| true) {
            self.count(-(cost as isize));
        }
        self.slots.remove(cached.path());
    }

    /// A loader's thread: brings topics into memory until the engine is dropped.
    pub fn load_topics(self: &Arc<Self>) {
        loop {
            let topic = {
                let mut waiting = self.to_load.lock();
                loop {
                    if self.is_stopping() {
                        return;
                    }
                    match waiting.pop_front() {
                        Some(topic) => break topic,
                        None => self.load_came.wait(&mut waiting),
                    }
                }
            };
            self.load_now(&topic);
        }
    }

    /// Brings a topic into memory that nobody asks for yet. One that is damaged is told when it is used.
    pub fn load_at_start(&self, topic: &TopicPath) {
        self.slots.insert(topic.clone(), Slot::Loading(Vec::new()));
        self.load_now(topic);
    }

    /// Brings a topic into memory, and gives what waited for it its turn.
    fn load_now(&self, topic: &TopicPath) {
        let retention = (self.settings.retention)(topic);
        let load = || match self.store() {
            Some(store) => store.load(topic, retention, self.now()),
            None => Err(StoreError::Closed),
        };
        let loaded = catch_unwind(AssertUnwindSafe(load)).unwrap_or(Err(StoreError::Panicked));
        let loaded = match loaded {
            Ok(loaded) => Ok(loaded),
            Err(StoreError::Closed) => Err(self.unavailable()),
            Err(error) => {
                self.report(topic, &error);
                Err(EngineError::Unavailable(error.to_string()))
            }
        };
        let Entry::Occupied(mut slot) = self.slots.entry(topic.clone()) else {
            return;
        };
        let Slot::Loading(waiting) = slot.get_mut() else {
            return;
        };
        let waiting = std::mem::take(waiting);
        let cached = match loaded {
            Ok(Some(mut loaded)) => {
                let book = self.book_of(&mut loaded);
                let log = SharedLog::new(topic.clone(), loaded.log);
                Ok(Some(Cached::new(loaded.number, log, self.now(), book)))
            }
            Ok(None) if waiting.iter().any(creates) => {
                let newborn = self.newborn(topic, retention);
                newborn.map(Some).ok_or_else(|| self.unavailable())
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        let cached = match cached {
            Ok(Some(cached)) => cached,
            Ok(None) => {
                slot.remove();
                return waiting.into_iter().for_each(answer_absent);
            }
            Err(error) => {
                slot.remove();
                return waiting
                    .into_iter()
                    .for_each(|waiting| fail(waiting, &error));
            }
        };
        self.count(cached.log.read().cost() as isize);
        slot.insert(Slot::Loaded(cached.clone()));
        // still under the slot's lock: nothing overtakes what waited
        for waiting in waiting {
            self.hand_over(&cached, waiting);
        }
    }

    /// Brings a loaded log up to date, so that nothing comes back that time took from it, and notes how it stands on
    /// the disk.
    fn book_of(&self, loaded: &mut Loaded) -> Book {
        let first = loaded.log.first();
        loaded.log.sweep(self.now(), self.settings.compact_after);
        Book {
            exists: true,
            noted_open: loaded.noted_open,
            dirty: false,
            checkpoint: loaded.checkpoint,
            compacted: loaded.log.take_compacted(),
            disk_first: loaded.disk_first,
            first,
            held_until: 0,
        }
    }

    /// A topic that cannot be loaded is reported once.
    fn report(&self, topic: &TopicPath, error: &StoreError) {
        let mut reported = self.reported.lock();
        if reported.len() < MAX_REPORTED && reported.insert(topic.clone()) {
            tracing::error!(%topic, %error, "a topic cannot be loaded");
            self.settings.observer.topic_damaged();
        }
    }

    /// A topic that comes into being with its first event, and is on no disk before.
    fn newborn(&self, topic: &TopicPath, retention: Retention) -> Option<Arc<Cached>> {
        let store = self.store()?;
        let number = self.next_number.fetch_add(1, Ordering::SeqCst);
        let epoch = epoch_of(&store.epoch, number);
        let log = SharedLog::new(topic.clone(), TopicLog::new(epoch, retention, self.now()));
        Some(Cached::new(number, log, self.now(), Book::default()))
    }

    /// The scrubber's thread: topics that nobody uses grow old as well. Each second some are looked at, and
    /// loaded if retention wants something of them; so are runs of producers that nobody remembers.
    pub fn scrub(&self) {
        let mut after: Option<TopicPath> = None;
        let mut run: Option<Vec<u8>> = None;
        while !self.is_stopping() {
            self.rest(SCRUB_PAUSE);
            let Some(store) = self.store() else {
                continue;
            };
            let work = || {
                after = self.scrub_topics(&store, after.as_ref())?;
                let before = self.now().saturating_sub(RUN_MEMORY_MS);
                run = store.forget_runs(run.as_deref(), SCRUB_RUNS, before)?;
                store.reclaim()?;
                Ok::<(), StoreError>(())
            };
            match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "old topics cannot be looked at now"),
                Err(_) => (after, run) = (None, None),
            }
        }
    }

    /// Answers where to go on; `None`: from the beginning.
    fn scrub_topics(
        &self,
        store: &Store,
        after: Option<&TopicPath>,
    ) -> Result<Option<TopicPath>, StoreError> {
        let entries = store.entries(after.map(TopicPath::as_str), SCRUB_TOPICS)?;
        let is_end = entries.len() < SCRUB_TOPICS;
        let (mut loads, mut last) = (0, None);
        for (topic, entry) in entries {
            if self.slots.contains_key(&topic) {
                last = Some(topic);
                continue;
            }
            let retention = (self.settings.retention)(&topic);
            if store.is_due(&entry, retention, self.now())? {
                let (reply, _) = oneshot::channel();
                self.when_loaded(&topic, Waiting::Load(reply));
                loads += 1;
            }
            last = Some(topic);
            if loads == SCRUB_LOADS {
                return Ok(last);
            }
        }
        Ok(last.filter(|_| !is_end))
    }
}

/// Opens a store; what an unclean stop left in doubt begins a new epoch.
pub fn open_store(
    settings: &DiskSettings,
    next_number: Arc<AtomicU64>,
) -> Result<Store, StoreError> {
    let DiskSettings {
        dir,
        cache_bytes,
        new_epoch,
        ..
    } = settings;
    let store = Store::open(dir, *cache_bytes, new_epoch, next_number)?;
    let renewed = store.renew_dirty()?;
    if renewed > 0 {
        tracing::warn!(
            topics = renewed,
            "the last stop was not clean: topics written shortly before begin a new epoch, as readers may have seen what is not kept"
        );
    }
    Ok(store)
}

/// A log without a first event is nobody's business.
fn is_born(log: &SharedLog) -> bool {
    !log.is_deleted() && log.read().head() > Seq::ZERO
}

fn creates(waiting: &Waiting) -> bool {
    matches!(waiting, Waiting::Job(job) if job.creates())
}

fn answer_absent(waiting: Waiting) {
    match waiting {
        Waiting::Load(reply) => drop(reply.send(LoadAnswer::Ok(None))),
        Waiting::Job(job) => job.answer_absent(),
    }
}

fn fail(waiting: Waiting, error: &EngineError) {
    match waiting {
        Waiting::Load(reply) => drop(reply.send(Err(error.clone()))),
        Waiting::Job(job) => job.fail(error),
    }
}
