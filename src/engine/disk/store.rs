//! What is on disk: fjall's keyspaces, and what stands in them.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `meta` | name | `epoch`: part of all topics' epochs; `next`: topic number; `count`: of topics; `step`: of the last write; `generation` |
//! | `topics` | path | number, epoch |
//! | `events` | number, seq | a record |
//! | `ended` | number, seq | the text of the message that the event ended, where it was ended before the checkpoint |
//! | `states` | number | a checkpoint |
//! | `open` | number | path: the topic has open messages |
//! | `fences` | number, principal, producer | epoch: raised since the checkpoint without an event |
//! | `acks` | number, seq | a control event that was acknowledged since the checkpoint |
//! | `runs` | principal, producer | the epochs of its latest run, and of the latest that attached |
//! | `bookmarks` | principal, subscription, channel | where a reader has read to that does not know it itself; never synced for its own sake |
//! | `dirty` | number | path: readers may have seen, or publishers may rely on, what is not on the disk (only with `sync = "interval"` or `deliver = "early"`) |
//!
//! Values are sealed, but for names and single numbers. Beside the keyspaces stands `DIR/synced`: the number of
//! the last step that was on the disk for certain. A store that does not know that step, or in whose journals
//! steps are missing, has lost some: all its topics begin a new epoch (`generation`).

mod bookmarks;
mod whole;

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use super::journal::{self, GENERATION, STEP};
use super::manifest;
use super::record::{self, Damaged};
use super::sealed::{pack, unpack as unseal_as};
use crate::event::{Epoch, Seq, TopicPath};
use crate::log::checkpoint::{Checkpoint, EndedParts, Reread};
use crate::log::fold::epoch_of;
use crate::log::{Publish, Retention, TopicLog};

pub use self::whole::{STORE, Unreadable, check_existing, written_end};

/// The first line of `DIR/FORMAT`.
const FORMAT: &str = "tidewire disk 1";
const FORMAT_FILE: &str = "FORMAT";
/// And who writes it.
const FORMAT_BEGUN: &str = ".FORMAT-";
const STORE_FOLDER: &str = "store";
/// fjall's: the first file and the last that make a store.
const LOCK_FILE: &str = "lock";
const VERSION_FILE: &str = "version";
const SYNCED_FILE: &str = "synced";
/// Stands in a copy until a broker is started on it.
pub(super) const RESTORED_FILE: &str = "RESTORED";
/// Bytes of journals before what is in them must be in tables: what a start has to read.
const JOURNAL_BYTES: u64 = 128 << 20;
/// Deleted bytes before space is given back.
const MIN_GARBAGE: u64 = 64 << 20;
/// What an event takes beside its data.
const EVENT_BYTES: u64 = 64;
/// What is in the journals of a store that was only made.
const MADE_BYTES: u64 = 4096;
const MEMTABLE_BYTES: u64 = 16 << 20;

/// Names a topic on disk. Never used again.
pub type TopicNumber = u64;

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Store(#[from] fjall::Error),
    #[error("another process uses this directory")]
    Locked,
    #[error("it has the format `{0}`, and this version only knows `{FORMAT}`")]
    Format(String),
    #[error("it holds other files, and no {FORMAT_FILE}")]
    Foreign,
    #[error("{what} is damaged")]
    Damaged { what: String },
    #[error("the store is being opened")]
    Closed,
    #[error("the store failed in a way that it should not (see the log)")]
    Panicked,
}

impl StoreError {
    fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}

/// A topic as it stands in `topics`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicEntry {
    pub number: TopicNumber,
    pub epoch: String,
    /// Of the store when the epoch was given.
    pub generation: u64,
}

/// A producer's latest run as it stands in `runs`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRun {
    pub epoch: u64,
    /// The latest one that attached: runs before it are over, on every topic.
    pub attached: u64,
    /// When it was noted, Unix milliseconds.
    pub time: u64,
}

/// A topic as it was brought back.
pub struct Loaded {
    pub number: TopicNumber,
    pub log: TopicLog,
    /// Up to which seq its state stands in a checkpoint.
    pub checkpoint: Seq,
    /// The oldest event on the disk.
    pub disk_first: Seq,
    /// It is noted as one with open messages.
    pub noted_open: bool,
}

pub struct Store {
    db: Database,
    meta: Keyspace,
    topics: Keyspace,
    events: Keyspace,
    ended: Keyspace,
    states: Keyspace,
    open: Keyspace,
    fences: Keyspace,
    acks: Keyspace,
    runs: Keyspace,
    dirty: Keyspace,
    bookmarks: Keyspace,
    /// Part of the epochs of all topics.
    pub epoch: String,
    /// Another number each time the store lost something.
    pub generation: u64,
    synced: fs::File,
    /// The number that the next topic gets; it outlives this store where it is opened again.
    next: Arc<AtomicU64>,
    /// One commit at a time: steps and numbers on the disk only grow.
    last: Mutex<Last>,
    /// Bytes of events that were deleted and still take space.
    garbage: AtomicU64,
}

/// What the last commit wrote of the store itself.
struct Last {
    step: u64,
    next: TopicNumber,
}

impl Store {
    /// Opens the directory, or makes it one. `new_epoch` names a store that is made now; `next` is raised to the
    /// number that the next topic gets.
    pub fn open(
        dir: &Path,
        cache_bytes: u64,
        new_epoch: &str,
        next: Arc<AtomicU64>,
    ) -> Result<Self, StoreError> {
        check_format(dir)?;
        let folder = dir.join(STORE_FOLDER);
        let has_holes = has_holes(dir, &folder)?;
        let builder = Database::builder(folder)
            .cache_size(cache_bytes)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1);
        let db = builder.open().map_err(|error| match error {
            fjall::Error::Locked => StoreError::Locked,
            other => other.into(),
        })?;
        // it is ours now
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(FORMAT_BEGUN.as_bytes())
            {
                fs::remove_file(entry.path())?;
            }
        }
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let keyspace = |name: &str| db.keyspace(name, options);
        let meta = keyspace("meta")?;
        let meta_number = |name: &str| match meta.get(name)? {
            Some(bytes) => number(&bytes, name),
            None => Ok(0),
        };
        let synced = fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(SYNCED_FILE))?;
        let mut promised = [0; 8];
        // one that was never written promises nothing
        let promised = match synced.read_exact_at(&mut promised, 0) {
            Ok(()) => u64::from_be_bytes(promised),
            Err(_) => 0,
        };
        let (step, mut generation) = (meta_number(STEP)?, meta_number(GENERATION)?);
        let known = match meta.get("epoch")? {
            Some(known) => Some(text(&known, "the epoch of the store")?.to_owned()),
            None => None,
        };
        let has_lost = step < promised || has_holes;
        // whoever read beyond a copy must not take what comes next for what it has
        let restored = dir.join(RESTORED_FILE);
        let is_restored = restored.exists();
        let epoch = match known {
            Some(known) if !has_lost && !is_restored => known,
            _ => {
                if has_lost || is_restored {
                    // the number before may be lost as well: one more than it would not be another for sure
                    generation = xxh3_64(new_epoch.as_bytes());
                }
                meta.insert("epoch", new_epoch)?;
                meta.insert(GENERATION, generation.to_be_bytes())?;
                db.persist(PersistMode::SyncAll)?;
                new_epoch.to_owned()
            }
        };
        if has_lost {
            tracing::error!(
                missing_at_the_end = promised.saturating_sub(step),
                "writes that were acknowledged are not on the disk: its journal is damaged. Every topic begins a new epoch, so that no reader takes what is left for all there was"
            );
        }
        let store = Self {
            generation,
            synced,
            garbage: AtomicU64::new(0),
            last: Mutex::new(Last {
                step: step.max(promised),
                next: meta_number("next")?,
            }),
            next: {
                next.fetch_max(meta_number("next")?.max(1), Ordering::SeqCst);
                next
            },
            topics: keyspace("topics")?,
            events: keyspace("events")?,
            ended: keyspace("ended")?,
            states: keyspace("states")?,
            open: keyspace("open")?,
            fences: keyspace("fences")?,
            acks: keyspace("acks")?,
            runs: keyspace("runs")?,
            dirty: keyspace("dirty")?,
            bookmarks: keyspace("bookmarks")?,
            meta,
            db,
            epoch,
        };
        if is_restored {
            // they are of the epochs before
            store.forget_bookmarks()?;
            fs::remove_file(&restored)?;
            fs::File::open(dir)?.sync_all()?;
            tracing::info!("this directory is a restored copy: every topic begins a new epoch");
        }
        Ok(store)
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> Result<u64, StoreError> {
        match self.meta.get("count")? {
            Some(bytes) => number(&bytes, "the count of topics"),
            None => Ok(0),
        }
    }

    pub fn find(&self, topic: &TopicPath) -> Result<Option<TopicEntry>, StoreError> {
        let Some(bytes) = self.topics.get(topic.as_str())? else {
            return Ok(None);
        };
        unpack(&bytes, || format!("the entry of {topic}")).map(Some)
    }

    /// Topics with the prefix, in order of name, after `after`.
    pub fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TopicPath>, StoreError> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = match after {
            Some(after) if after >= prefix => Excluded(after),
            _ => Included(prefix),
        };
        let mut found = Vec::new();
        for guard in self.topics.range::<&str, _>((from, Unbounded)) {
            let key = guard.key()?;
            if !key.starts_with(prefix.as_bytes()) || found.len() >= limit {
                break;
            }
            found.push(path(&key)?);
        }
        Ok(found)
    }

    /// Topics that had open messages when they were last written.
    pub fn open_topics(&self) -> Result<Vec<TopicPath>, StoreError> {
        let each = self.open.iter();
        each.map(|guard| path(&guard.value()?)).collect()
    }

    /// Brings a topic back.
    pub fn load(
        &self,
        topic: &TopicPath,
        retention: Retention,
        now: u64,
    ) -> Result<Option<Loaded>, StoreError> {
        let Some(mut entry) = self.find(topic)? else {
            return Ok(None);
        };
        if entry.generation != self.generation {
            let mut batch = self.batch();
            entry = batch.renew(topic, entry);
            batch.commit(true)?;
        }
        let TopicEntry { number, epoch, .. } = entry;
        let epoch = Epoch::parse(&epoch)
            .ok_or_else(|| StoreError::damaged(format!("the epoch of {topic}")))?;
        let mut log = match self.states.get(key_of(number))? {
            Some(bytes) => {
                let state: Checkpoint = unpack(&bytes, || format!("the state of {topic}"))?;
                TopicLog::restore(state, epoch, retention)
            }
            None => TopicLog::new(epoch, retention, now),
        };
        let checkpoint = log.head();
        let mut replaying: Option<Replaying> = None;
        let mut disk_first = None;
        for guard in self.events.prefix(key_of(number)) {
            let (key, value) = guard.into_inner()?;
            let seq = seq_of(&key)?;
            let damaged = |_: Damaged| StoreError::damaged(format!("event {} of {topic}", seq.0));
            let record = record::decode(&value, seq).map_err(damaged)?;
            disk_first.get_or_insert(seq);
            if seq <= checkpoint {
                let ended = match self.ended.get(&key)? {
                    Some(bytes) => Some(unpack::<EndedParts>(&bytes, || {
                        format!(
                            "the text of the message that event {} of {topic} ended",
                            seq.0
                        )
                    })?),
                    None => None,
                };
                log.reread(Reread {
                    publish: &record.publish,
                    seq,
                    range: record.range,
                    time: record.time,
                    ended,
                });
                continue;
            }
            match &mut replaying {
                Some(known) if known.range == record.range => {
                    known.publish.events.extend(record.publish.events);
                }
                other => {
                    if let Some(whole) = other.replace(Replaying::from(record)) {
                        whole.replay(&mut log, topic)?;
                    }
                }
            }
        }
        if let Some(last) = replaying {
            last.replay(&mut log, topic)?;
        }
        self.restore_the_rest(number, &mut log)?;
        let noted_open = self.open.get(key_of(number))?.is_some();
        Ok(Some(Loaded {
            number,
            disk_first: disk_first.unwrap_or(log.head().next()),
            log,
            checkpoint,
            noted_open,
        }))
    }

    /// What was said since the checkpoint that stands in no event.
    fn restore_the_rest(&self, topic: TopicNumber, log: &mut TopicLog) -> Result<(), StoreError> {
        for guard in self.fences.prefix(key_of(topic)) {
            let (key, value) = guard.into_inner()?;
            let (principal, producer): (Arc<str>, Arc<str>) =
                rmp_serde::from_slice(&key[8..]).map_err(|_| StoreError::damaged("a fence"))?;
            log.restore_fence(&principal, &producer, number(&value, "a fence")?);
        }
        for guard in self.acks.prefix(key_of(topic)) {
            log.acknowledge(seq_of(&guard.key()?)?);
        }
        Ok(())
    }

    /// What an unclean stop left in doubt begins a new epoch; answers how many topics those are.
    pub fn renew_dirty(&self) -> Result<usize, StoreError> {
        let mut batch = self.batch();
        let mut renewed = 0;
        for guard in self.dirty.iter() {
            let (key, value) = guard.into_inner()?;
            batch.batch.remove(&self.dirty, key);
            let topic = path(&value)?;
            if let Some(entry) = self.find(&topic)? {
                batch.renew(&topic, entry);
                renewed += 1;
            }
        }
        if !batch.is_empty() {
            batch.commit(true)?;
        }
        Ok(renewed)
    }

    /// When the topic is due for a look although nobody uses it: its oldest event is too old, or it is empty.
    pub fn is_due(
        &self,
        entry: &TopicEntry,
        retention: Retention,
        now: u64,
    ) -> Result<bool, StoreError> {
        let Some(oldest) = self.events.prefix(key_of(entry.number)).next() else {
            return Ok(true);
        };
        let (_, value) = oldest.into_inner()?;
        let age = retention.age.as_millis() as u64;
        Ok(record::time_of(&value).is_ok_and(|time| time.saturating_add(age) <= now))
    }

    /// Some topics after `after`, in order of name, with their entries.
    pub fn entries(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(TopicPath, TopicEntry)>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let mut found = Vec::new();
        for guard in self.topics.range::<&str, _>((from, Unbounded)).take(limit) {
            let (key, value) = guard.into_inner()?;
            let topic = path(&key)?;
            // a damaged one is told when it is used
            if let Ok(entry) = unseal_as(&value) {
                found.push((topic, entry));
            }
        }
        Ok(found)
    }

    /// Forgets runs that were noted before `before`, among `limit` after `after`; answers the last one looked at.
    pub fn forget_runs(
        &self,
        after: Option<&[u8]>,
        limit: usize,
        before: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let (mut last, mut seen) = (None, 0);
        for guard in self.runs.range::<&[u8], _>((from, Unbounded)).take(limit) {
            let (key, value) = guard.into_inner()?;
            if unseal_as::<KnownRun>(&value).is_ok_and(|run| run.time < before) {
                self.runs.remove(key.clone())?;
            }
            (last, seen) = (Some(key.to_vec()), seen + 1);
        }
        Ok(last.filter(|_| seen == limit))
    }

    pub fn run(&self, principal: &str, producer: &str) -> Result<Option<KnownRun>, StoreError> {
        let key = run_key(principal, producer);
        let Some(bytes) = self.runs.get(key)? else {
            return Ok(None);
        };
        unpack(&bytes, || "a run".to_owned()).map(Some)
    }

    /// Gathers what is to be written in one step.
    pub fn batch(&self) -> Batch<'_> {
        Batch {
            store: self,
            batch: self.db.batch(),
            garbage: 0,
        }
    }

    /// Everything written before is on the disk when this returns.
    pub fn sync(&self) -> Result<(), StoreError> {
        let last = self.last.lock();
        self.db.persist(PersistMode::SyncData)?;
        self.promise(last.step)
    }

    /// Everything up to this step is on the disk. The note itself needs no sync: an older one promises less.
    fn promise(&self, step: u64) -> Result<(), StoreError> {
        Ok(self.synced.write_all_at(&step.to_be_bytes(), 0)?)
    }

    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.db.disk_space()?)
    }

    /// Gives space back once half of the tables is garbage: each byte that is left is then written about twice.
    /// fjall itself does so only where new data comes to lie upon it.
    pub fn reclaim(&self) -> Result<(), StoreError> {
        let garbage = self.garbage.load(Ordering::Relaxed);
        if garbage < MIN_GARBAGE.max(self.events.disk_space() / 2) {
            return Ok(());
        }
        self.garbage.fetch_sub(garbage, Ordering::Relaxed);
        for keyspace in [&self.events, &self.ended] {
            // what is deleted may only be noted in memory
            keyspace.rotate_memtable_and_wait()?;
            keyspace.major_compact()?;
        }
        Ok(())
    }
}

/// Events of one publish, gathered.
struct Replaying {
    publish: Publish,
    range: crate::log::idempotency::Range,
    time: u64,
}

impl From<record::Record> for Replaying {
    fn from(record: record::Record) -> Self {
        Self {
            publish: record.publish,
            range: record.range,
            time: record.time,
        }
    }
}

impl Replaying {
    /// A batch is there whole or not at all; and nothing is missing between the checkpoint and the head.
    fn replay(self, log: &mut TopicLog, topic: &TopicPath) -> Result<(), StoreError> {
        let (first, last) = self.range;
        let is_whole = self.publish.events.len() as u64 == last.0 - first.0 + 1;
        if !is_whole || first != log.head().next() {
            return Err(StoreError::damaged(format!(
                "what stands at events {} to {} of {topic}",
                first.0, last.0
            )));
        }
        log.replay(&self.publish, self.range, self.time);
        Ok(())
    }
}

/// What is written in one step.
pub struct Batch<'a> {
    store: &'a Store,
    batch: OwnedWriteBatch,
    /// Bytes that nobody needs once it is written.
    garbage: u64,
}

impl Batch<'_> {
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    pub fn generation(&self) -> u64 {
        self.store.generation
    }

    pub fn topic(&mut self, path: &TopicPath, entry: &TopicEntry) {
        self.batch
            .insert(&self.store.topics, path.as_str(), pack(entry));
    }

    pub fn topic_count(&mut self, count: u64) {
        self.batch
            .insert(&self.store.meta, "count", count.to_be_bytes());
    }

    /// Gives the topic a new epoch.
    pub fn renew(&mut self, path: &TopicPath, entry: TopicEntry) -> TopicEntry {
        let number = self.store.next.fetch_add(1, Ordering::SeqCst);
        let renewed = TopicEntry {
            epoch: epoch_of(&self.store.epoch, number).as_str().to_owned(),
            generation: self.store.generation,
            ..entry
        };
        self.topic(path, &renewed);
        renewed
    }

    pub fn mark_dirty(&mut self, topic: TopicNumber, path: &TopicPath) {
        self.batch
            .insert(&self.store.dirty, key_of(topic), path.as_str());
    }

    pub fn unmark_dirty(&mut self, topic: TopicNumber) {
        self.batch.remove(&self.store.dirty, key_of(topic));
    }

    pub fn event(&mut self, topic: TopicNumber, seq: Seq, record: Vec<u8>) {
        self.batch
            .insert(&self.store.events, event_key(topic, seq), record);
    }

    /// The event leaves the log for good.
    pub fn forget_event(&mut self, topic: TopicNumber, seq: Seq) {
        self.garbage += EVENT_BYTES;
        self.batch.remove(&self.store.events, event_key(topic, seq));
        self.batch.remove(&self.store.ended, event_key(topic, seq));
    }

    /// Forgets events from `from` to before `first`, but for those with an id that came after `after` (Unix
    /// milliseconds), and for `controls`, which agents are still to get. Answers the first one that is left.
    pub fn forget_events(
        &mut self,
        topic: TopicNumber,
        from: Seq,
        first: Seq,
        after: u64,
        controls: &[Seq],
    ) -> Result<Seq, StoreError> {
        let range = event_key(topic, from)..event_key(topic, first);
        let mut left = first.max(from);
        for guard in self.store.events.range(range) {
            let (key, value) = guard.into_inner()?;
            let seq = seq_of(&key)?;
            let is_young = record::time_of(&value).is_ok_and(|time| time > after);
            let is_known_by_id = is_young && record::has_id(&value, seq);
            if is_known_by_id || controls.contains(&seq) {
                left = left.min(seq);
            } else {
                self.garbage += value.len() as u64;
                self.forget_event(topic, seq);
            }
        }
        Ok(left)
    }

    pub fn ended(&mut self, topic: TopicNumber, seq: Seq, parts: &EndedParts) {
        self.batch
            .insert(&self.store.ended, event_key(topic, seq), pack(parts));
    }

    /// The state takes the place of all that was noted since the last one.
    pub fn state(&mut self, topic: TopicNumber, state: &Checkpoint) -> Result<(), StoreError> {
        let store = self.store;
        self.batch.insert(&store.states, key_of(topic), pack(state));
        for noted in [&store.fences, &store.acks] {
            for guard in noted.prefix(key_of(topic)) {
                self.batch.remove(noted, guard.key()?);
            }
        }
        Ok(())
    }

    pub fn note_open(&mut self, topic: TopicNumber, path: &TopicPath, is_open: bool) {
        let store = self.store;
        if is_open {
            self.batch.insert(&store.open, key_of(topic), path.as_str());
        } else {
            self.batch.remove(&store.open, key_of(topic));
        }
    }

    pub fn fence(&mut self, topic: TopicNumber, principal: &str, producer: &str, epoch: u64) {
        let mut key = key_of(topic).to_vec();
        key.extend_from_slice(&run_key(principal, producer));
        self.batch
            .insert(&self.store.fences, key, epoch.to_be_bytes());
    }

    pub fn acknowledge(&mut self, topic: TopicNumber, seq: Seq) {
        self.batch
            .insert(&self.store.acks, event_key(topic, seq), []);
    }

    pub fn run(&mut self, principal: &str, producer: &str, run: KnownRun) {
        let key = run_key(principal, producer);
        self.batch.insert(&self.store.runs, key, pack(&run));
    }

    /// The topic and all that belongs to it.
    pub fn delete(&mut self, topic: TopicNumber, path: &TopicPath) -> Result<(), StoreError> {
        let store = self.store;
        for keyspace in [&store.events, &store.ended, &store.fences, &store.acks] {
            for guard in keyspace.prefix(key_of(topic)) {
                self.batch.remove(keyspace, guard.key()?);
            }
        }
        for keyspace in [&store.states, &store.open, &store.dirty] {
            self.batch.remove(keyspace, key_of(topic));
        }
        self.batch.remove(&store.topics, path.as_str());
        Ok(())
    }

    /// `sync`: it is on the disk when this returns, with everything before.
    pub fn commit(mut self, sync: bool) -> Result<(), StoreError> {
        let durability = if sync {
            PersistMode::SyncData
        } else {
            PersistMode::Buffer
        };
        let store = self.store;
        let mut last = store.last.lock();
        let (step, next) = (last.step + 1, store.next.load(Ordering::SeqCst));
        self.batch.insert(&store.meta, STEP, step.to_be_bytes());
        if next != last.next {
            self.batch.insert(&store.meta, "next", next.to_be_bytes());
        }
        self.batch.durability(Some(durability)).commit()?;
        *last = Last { step, next };
        store.garbage.fetch_add(self.garbage, Ordering::Relaxed);
        if sync {
            store.promise(step)?;
        }
        Ok(())
    }
}

/// What fjall does not look at itself. `true`: steps are missing in its journals; opening cuts off what it cannot
/// read there.
fn has_holes(dir: &Path, folder: &Path) -> Result<bool, StoreError> {
    // nobody writes meanwhile; fjall takes the same lock for itself then
    let lock = match fs::File::open(folder.join(LOCK_FILE)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(StoreError::Locked),
        Err(fs::TryLockError::Error(error)) => return Err(error.into()),
    }
    let is_made = fs::metadata(folder.join(VERSION_FILE)).is_ok_and(|file| file.len() > 0);
    let was_used = fs::metadata(dir.join(SYNCED_FILE)).is_ok_and(|file| file.len() > 0);
    if !is_made && !was_used && whole::journal_bytes(folder)? < MADE_BYTES {
        clear(folder)?;
    }
    manifest::check(folder)?;
    Ok(!journal::are_whole(folder)?)
}

/// Its making was cut short before anything was kept there; fjall does not go on with what it finds then.
fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false if entry.file_name() == LOCK_FILE => {}
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

fn check_format(dir: &Path) -> Result<(), StoreError> {
    let file = dir.join(FORMAT_FILE);
    match fs::read_to_string(&file) {
        Ok(text) if text.trim_end() == FORMAT => Ok(()),
        Ok(text) => {
            let line: String = text
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(80)
                .collect();
            Err(StoreError::Format(line))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir)?;
            for entry in fs::read_dir(dir)? {
                let name = entry?.file_name();
                if !name.as_encoded_bytes().starts_with(FORMAT_BEGUN.as_bytes()) {
                    // another process may just have been faster
                    return match file.exists() {
                        true => check_format(dir),
                        false => Err(StoreError::Foreign),
                    };
                }
            }
            // under its name it is whole or not at all
            let begun = dir.join(format!("{FORMAT_BEGUN}{}", std::process::id()));
            fs::write(&begun, format!("{FORMAT}\n"))?;
            fs::File::open(&begun)?.sync_all()?;
            match fs::rename(&begun, &file) {
                // another process was faster, and tidied up
                Err(error) if error.kind() == io::ErrorKind::NotFound && file.exists() => {}
                renamed => renamed?,
            }
            Ok(fs::File::open(dir)?.sync_all()?)
        }
        Err(error) => Err(error.into()),
    }
}

fn key_of(topic: TopicNumber) -> [u8; 8] {
    topic.to_be_bytes()
}

fn event_key(topic: TopicNumber, seq: Seq) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&key_of(topic));
    key[8..].copy_from_slice(&seq.0.to_be_bytes());
    key
}

fn seq_of(key: &[u8]) -> Result<Seq, StoreError> {
    let seq = key.get(8..16).and_then(|seq| seq.try_into().ok());
    seq.map(|seq| Seq(u64::from_be_bytes(seq)))
        .ok_or_else(|| StoreError::damaged("the key of an event"))
}

fn number(bytes: &[u8], what: &str) -> Result<u64, StoreError> {
    let bytes = bytes.try_into().map_err(|_| StoreError::damaged(what))?;
    Ok(u64::from_be_bytes(bytes))
}

fn text<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, StoreError> {
    std::str::from_utf8(bytes).map_err(|_| StoreError::damaged(what))
}

fn path(bytes: &[u8]) -> Result<TopicPath, StoreError> {
    let text = text(bytes, "the name of a topic")?;
    TopicPath::parse(text).map_err(|_| StoreError::damaged("the name of a topic"))
}

fn run_key(principal: &str, producer: &str) -> Vec<u8> {
    rmp_serde::to_vec(&(principal, producer)).expect("texts can always be written")
}

fn unpack<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    what: impl FnOnce() -> String,
) -> Result<T, StoreError> {
    unseal_as(bytes).map_err(|_| StoreError::damaged(what()))
}
