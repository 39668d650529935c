//! The committer: the one thread that writes.
//!
//! It takes all jobs that wait, accepts them in order, writes everything in one step, syncs once, and only
//! then shows it to readers and answers. What comes during a sync shares the next one.
//!
//! With `Sync::Interval` it answers without the sync, with early delivery it shows before it: a topic of which
//! somebody may then know more than the disk is noted as dirty, on the disk, before that can be.
//!
//! When the disk fails nobody can know what of the last step is on it: those publishes are answered
//! `OutcomeUnknown`, and everything after them `Unavailable`, until the store was opened again and every loaded
//! topic stands as it is found there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::cache::{Cached, Job, Ticket};
use super::record;
use super::shared::{Queued, RunKey, Shared};
use super::store::{Batch, KnownRun, Store, StoreError, TopicEntry, TopicNumber};
use super::{Deliver, Sync};
use crate::engine::{AppendAnswer, EngineError};
use crate::event::{Epoch, Seq};
use crate::log::checkpoint::EndedParts;
use crate::log::idempotency::ID_MEMORY_MS;
use crate::log::{Accepted, Appended, Ending, Publish, Refusal};

/// Jobs of one step.
const MAX_JOBS: usize = 4096;
/// Bytes of one step.
const MAX_BYTES: usize = 8 << 20;
/// Runs of producers kept at hand; beyond, all are asked for again.
const MAX_RUNS: usize = 65_536;
/// Before the store is opened again.
const REOPEN: Duration = Duration::from_secs(1);
/// A topic stays noted as dirty that long after its last write, in milliseconds: to note it costs a sync.
const DIRTY_MS: u64 = 10_000;

type AppendReply = oneshot::Sender<AppendAnswer>;

/// A publish of this step.
struct Staged {
    cached: Arc<Cached>,
    publish: Publish,
    now: u64,
    appended: Appended,
    /// `None`: the broker's own.
    reply: Option<AppendReply>,
}

/// What is answered once the step is written.
#[derive(Default)]
struct Step {
    staged: Vec<Staged>,
    known: Vec<(AppendReply, Appended)>,
    after: Vec<Box<dyn FnOnce() + Send>>,
    /// Topics with staged publishes.
    busy: HashSet<TopicNumber>,
    /// Topics for which something waits for the next step.
    held: HashSet<TopicNumber>,
    deferred: Vec<Queued>,
    /// A topic is noted as dirty, which must be on the disk before anything is shown or answered.
    notes_dirty: bool,
    bookmarks: Bookmarks,
    /// Held until all is done, so that no topic is let go.
    tickets: Vec<Ticket>,
}

/// Reading positions that are written behind the step, in a batch of their own: publishes do not wait for them,
/// and nothing is synced for them.
#[derive(Default)]
struct Bookmarks {
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    replies: Vec<oneshot::Sender<Result<(), EngineError>>>,
}

impl Bookmarks {
    /// Whoever asked is answered when it reached the kernel, so that it survives the process; without an answer
    /// nobody can know.
    fn write(self, store: &Store) -> Result<(), StoreError> {
        let mut batch = store.batch();
        for (key, value) in self.changes {
            batch.bookmark(key, value);
        }
        if !batch.is_empty() {
            batch.commit(false)?;
        }
        for reply in self.replies {
            drop(reply.send(Ok(())));
        }
        Ok(())
    }
}

struct Committer<'a> {
    shared: &'a Arc<Shared>,
    /// Topics that are noted as dirty, with the time of their last write.
    dirty: HashMap<TopicNumber, (Arc<Cached>, u64)>,
    /// The latest runs as the disk has them, or will after this step; at most `MAX_RUNS`. Epoch 0: none is known.
    runs: HashMap<RunKey, KnownRun>,
    /// Since when something is written and not synced.
    unsynced: Option<Instant>,
}

/// Runs until the engine is closed.
pub fn run(shared: &Arc<Shared>) {
    let mut committer = Committer {
        shared,
        dirty: HashMap::new(),
        runs: HashMap::new(),
        unsynced: None,
    };
    let mut jobs = Vec::new();
    loop {
        let Some(store) = shared.store() else {
            shared.fail_all(&mut jobs);
            if shared.is_stopping() {
                return;
            }
            shared.rest(REOPEN);
            committer.dirty.clear();
            committer.runs.clear();
            committer.unsynced = None;
            shared.reopen();
            continue;
        };
        let wake_at = committer.wake_at();
        if !shared.wait_for_jobs(&mut jobs, MAX_JOBS, MAX_BYTES, wake_at) {
            return committer.finish(&store);
        }
        let taken = std::mem::take(&mut jobs);
        // a store that panics on what it finds has failed like any other
        let work = catch_unwind(AssertUnwindSafe(|| {
            let deferred = committer.step(&store, taken)?;
            committer.sync_when_due(&store)?;
            Ok(deferred)
        }));
        match work.unwrap_or_else(|_| Err(StoreError::Panicked)) {
            Ok(deferred) => jobs = deferred,
            Err(error) => {
                drop(store);
                shared.failed(&error);
            }
        }
    }
}

impl Committer<'_> {
    fn step(&mut self, store: &Store, jobs: Vec<Queued>) -> Result<Vec<Queued>, StoreError> {
        if jobs.is_empty() {
            return Ok(jobs);
        }
        let shared = self.shared;
        shared.make_room();
        let mut batch = store.batch();
        let mut step = Step::default();
        let taken = jobs
            .into_iter()
            .try_for_each(|queued| self.take(&mut batch, &mut step, store, queued));
        let syncs = step.notes_dirty || shared.settings.sync == Sync::Always;
        let shows_early = shared.settings.deliver == Deliver::Early && !step.notes_dirty;
        if shows_early && taken.is_ok() {
            show(shared, &mut step.staged);
        }
        let is_empty = batch.is_empty();
        let written = taken.and_then(|()| match is_empty {
            true => Ok(()),
            false => batch.commit(syncs),
        });
        if let Err(error) = written {
            fail(step, &error);
            return Err(error);
        }
        if !is_empty {
            shared
                .settings
                .observer
                .step_written(step.staged.len() as u64);
            if syncs {
                shared.settings.observer.synced();
            }
            self.unsynced = match syncs {
                true => None,
                false => self.unsynced.or_else(|| Some(Instant::now())),
            };
        }
        if !shows_early {
            show(shared, &mut step.staged);
        }
        for staged in step.staged {
            if let Some(reply) = staged.reply {
                drop(reply.send(Ok(Ok(staged.appended))));
            }
        }
        for (reply, appended) in step.known {
            drop(reply.send(Ok(Ok(appended))));
        }
        step.after.into_iter().for_each(|done| done());
        let cached: Vec<_> = step.tickets.iter().map(|t| t.cached().clone()).collect();
        drop(step.tickets);
        // what was refused made no topic
        let unborn = |cached: &&Arc<Cached>| cached.log.read().head() == Seq::ZERO;
        cached.iter().filter(unborn).for_each(|cached| {
            shared.let_go(cached);
        });
        if let Err(error) = step.bookmarks.write(store) {
            fail_deferred(step.deferred, &error);
            return Err(error);
        }
        Ok(step.deferred)
    }

    /// When what is written must be on the disk.
    fn sync_at(&self) -> Option<Instant> {
        match self.shared.settings.sync {
            Sync::Always => None,
            Sync::Interval(interval) => self.unsynced.map(|since| since + interval),
        }
    }

    /// When there is something to do although no job came.
    fn wake_at(&self) -> Option<Instant> {
        let clean_at = || (!self.dirty.is_empty()).then(|| Instant::now() + REOPEN);
        self.sync_at().or_else(clean_at)
    }

    fn sync_when_due(&mut self, store: &Store) -> Result<(), StoreError> {
        if self.sync_at().is_some_and(|at| at <= Instant::now()) {
            store.sync()?;
            self.shared.settings.observer.synced();
            self.unsynced = None;
        }
        if self.unsynced.is_none() && !self.dirty.is_empty() {
            let before = self.shared.now().saturating_sub(DIRTY_MS);
            self.clean(store, before)?;
        }
        Ok(())
    }

    /// Topics whose last write was before `before` are as the disk has them.
    fn clean(&mut self, store: &Store, before: u64) -> Result<(), StoreError> {
        let mut batch = store.batch();
        self.dirty.retain(|number, (cached, last)| {
            let stays = *last >= before;
            if !stays {
                batch.unmark_dirty(*number);
                cached.book.lock().dirty = false;
            }
            stays
        });
        match batch.is_empty() {
            true => Ok(()),
            false => batch.commit(false),
        }
    }

    /// The last sync.
    fn finish(mut self, store: &Store) {
        let synced = store.sync().and_then(|()| self.clean(store, u64::MAX));
        if let Err(error) = synced.and_then(|()| store.sync()) {
            tracing::error!(%error, "the store cannot be synced at the end");
        }
    }

    /// Takes one job into the step, or leaves it for the next one.
    fn take(
        &mut self,
        batch: &mut Batch<'_>,
        step: &mut Step,
        store: &Store,
        queued: Queued,
    ) -> Result<(), StoreError> {
        let shared = self.shared;
        let (ticket, job) = match queued {
            Queued::Job { ticket, job } => (ticket, job),
            Queued::Run { run, epoch, reply } => {
                self.note_run(batch, store, run, epoch, true)?;
                step.after.push(Box::new(move || drop(reply.send(Ok(())))));
                return Ok(());
            }
            Queued::Bookmarks { changes, reply } => {
                match shared.no_space() {
                    Some(full) => drop(reply.send(Err(EngineError::Unavailable(full)))),
                    None => {
                        step.bookmarks.changes.extend(changes);
                        step.bookmarks.replies.push(reply);
                    }
                }
                return Ok(());
            }
        };
        let cached = ticket.cached().clone();
        let number = cached.number;
        // what looks at the log as a whole waits until all that was accepted is shown, and so does what comes
        // after
        let waits = !matches!(job, Job::Append { .. }) && step.busy.contains(&number);
        if waits || step.held.contains(&number) {
            step.held.insert(number);
            step.deferred.push(Queued::Job { ticket, job });
            return Ok(());
        }
        if let (Some(full), true) = (shared.no_space(), job.adds()) {
            job.fail(&EngineError::Unavailable(full));
            return Ok(());
        }
        step.tickets.push(ticket);
        match job {
            Job::Append { publish, reply } => {
                self.append(batch, step, store, cached, publish, reply)
            }
            Job::End { ending, reply } => {
                step.held.insert(number);
                self.end(batch, step, store, &cached, &ending, reply)
            }
            Job::Acknowledge {
                seq,
                is_noted,
                reply,
            } => {
                let (known, change) = cached.log.change(|log| is_noted || log.acknowledge(seq));
                shared.count(change);
                if known {
                    batch.acknowledge(number, seq);
                }
                step.after
                    .push(Box::new(move || drop(reply.send(Ok(known)))));
                Ok(())
            }
            Job::Delete { reply } => {
                step.held.insert(number);
                let existed = cached.book.lock().exists;
                batch.delete(number, cached.path())?;
                if existed {
                    batch.topic_count(shared.count_topics(-1));
                }
                self.dirty.remove(&number);
                let erase = shared.eraser(&cached);
                step.after.push(Box::new(move || {
                    erase();
                    drop(reply.send(Ok(existed)));
                }));
                Ok(())
            }
            Job::Checkpoint => {
                step.held.insert(number);
                checkpoint(shared, batch, &cached)
            }
        }
    }

    fn append(
        &mut self,
        batch: &mut Batch<'_>,
        step: &mut Step,
        store: &Store,
        cached: Arc<Cached>,
        publish: Publish,
        reply: AppendReply,
    ) -> Result<(), StoreError> {
        let shared = self.shared;
        if let Some(full) = shared.no_memory() {
            drop(reply.send(Err(EngineError::Unavailable(full))));
            return Ok(());
        }
        let run = publish.producer.as_ref().map(|producer| {
            let run = (publish.principal.clone(), producer.id.clone());
            (run, producer.epoch)
        });
        if let Some((run, epoch)) = &run {
            // also where the topic never heard of it
            let current = self.latest_run(store, run)?.attached;
            if current > *epoch {
                let fenced = Refusal::ProducerFenced { current };
                drop(reply.send(Ok(Err(fenced))));
                return Ok(());
            }
        }
        let now = shared.now();
        let Some((answer, change)) = cached.log.accept(&publish, now) else {
            // erased: it goes to the life that comes after
            shared.submit(cached.path(), Job::Append { publish, reply });
            return Ok(());
        };
        shared.count(change.bytes);
        let appended = match answer {
            Err(refusal) => {
                drop(reply.send(Ok(Err(refusal))));
                return Ok(());
            }
            Ok(Accepted::Known(mut appended)) => {
                if !cached.book.lock().exists {
                    // nothing was appended: the topic still does not exist
                    appended.epoch = Epoch::none();
                }
                step.known.push((reply, appended));
                return Ok(());
            }
            Ok(Accepted::New(appended)) => appended,
        };
        if let (Some((run, epoch)), true) = (run, change.new_run) {
            self.note_run(batch, store, run, epoch, false)?;
        }
        self.write_events(batch, step, &cached, &publish, &appended, now);
        step.staged.push(Staged {
            cached,
            publish,
            now,
            appended,
            reply: Some(reply),
        });
        Ok(())
    }

    fn write_events(
        &mut self,
        batch: &mut Batch<'_>,
        step: &mut Step,
        cached: &Arc<Cached>,
        publish: &Publish,
        appended: &Appended,
        now: u64,
    ) {
        let Some(range) = appended.range else { return };
        step.busy.insert(cached.number);
        let mut book = cached.book.lock();
        if !book.exists {
            let entry = TopicEntry {
                number: cached.number,
                epoch: appended.epoch.as_str().to_owned(),
                generation: batch.generation(),
            };
            batch.topic(cached.path(), &entry);
            batch.topic_count(self.shared.count_topics(1));
            book.exists = true;
        }
        if self.shared.settings.is_lax() {
            if !std::mem::replace(&mut book.dirty, true) {
                batch.mark_dirty(cached.number, cached.path());
                step.notes_dirty = true;
            }
            self.dirty.insert(cached.number, (cached.clone(), now));
        }
        let mut seq = range.0;
        for event in &publish.events {
            let record = record::encode(publish, event, seq, range, now);
            batch.event(cached.number, seq, record);
            seq = seq.next();
        }
        let is_open = cached.log.read().open_when_committed() > 0;
        if is_open != book.noted_open {
            batch.note_open(cached.number, cached.path(), is_open);
            book.noted_open = is_open;
        }
    }

    fn latest_run(&mut self, store: &Store, run: &RunKey) -> Result<KnownRun, StoreError> {
        if let Some(known) = self.runs.get(run) {
            return Ok(*known);
        }
        let known = store.run(&run.0, &run.1)?.unwrap_or_default();
        self.remember_run(run.clone(), known);
        Ok(known)
    }

    fn remember_run(&mut self, run: RunKey, known: KnownRun) {
        if self.runs.len() >= MAX_RUNS {
            self.runs.clear();
        }
        self.runs.insert(run, known);
    }

    /// The latest runs of a producer, for when everybody else has forgotten them.
    fn note_run(
        &mut self,
        batch: &mut Batch<'_>,
        store: &Store,
        run: RunKey,
        epoch: u64,
        attaches: bool,
    ) -> Result<(), StoreError> {
        let known = self.latest_run(store, &run)?;
        let attached = match attaches {
            true => epoch.max(known.attached),
            false => known.attached,
        };
        if known.epoch < epoch || known.attached < attached {
            let known = KnownRun {
                epoch: epoch.max(known.epoch),
                attached,
                time: self.shared.now(),
            };
            batch.run(&run.0, &run.1, known);
            self.remember_run(run, known);
        }
        Ok(())
    }

    /// The broker's own end events are publishes like any other, but for who they are from.
    fn end(
        &mut self,
        batch: &mut Batch<'_>,
        step: &mut Step,
        store: &Store,
        cached: &Arc<Cached>,
        ending: &Ending,
        reply: oneshot::Sender<Result<usize, EngineError>>,
    ) -> Result<(), StoreError> {
        let now = self.shared.now();
        let (publishes, change) = cached.log.change(|log| log.accept_end(ending, now));
        self.shared.count(change);
        if let Ending::RunsBefore {
            principal,
            producer,
            epoch,
        } = ending
        {
            // where the producer is not known there is nothing to fence
            let known = cached.log.read().producers().epoch(principal, producer);
            if known == Some(*epoch) {
                batch.fence(cached.number, principal, producer, *epoch);
            }
            let run = (principal.clone(), producer.clone());
            self.note_run(batch, store, run, *epoch, false)?;
        }
        let ended = publishes.len();
        for (publish, appended) in publishes {
            self.write_events(batch, step, cached, &publish, &appended, now);
            step.staged.push(Staged {
                cached: cached.clone(),
                publish,
                now,
                appended,
                reply: None,
            });
        }
        step.after
            .push(Box::new(move || drop(reply.send(Ok(ended)))));
        Ok(())
    }
}

/// Nobody can know what of it is on the disk.
fn fail(step: Step, error: &StoreError) {
    let unknown = EngineError::OutcomeUnknown;
    let staged = step.staged.into_iter().filter_map(|staged| staged.reply);
    let known = step.known.into_iter().map(|(reply, _)| reply);
    for reply in staged.chain(known) {
        drop(reply.send(Err(unknown.clone())));
    }
    // who waits for `after` finds that its answer will not come
    fail_deferred(step.deferred, error);
}

fn fail_deferred(deferred: Vec<Queued>, error: &StoreError) {
    for queued in deferred {
        queued.fail(&EngineError::Unavailable(error.to_string()));
    }
}

/// From now on readers see it.
fn show(shared: &Arc<Shared>, staged: &mut [Staged]) {
    // those of one topic together, in order
    staged.sort_by_key(|staged| staged.cached.number);
    for of_topic in staged.chunk_by(|a, b| a.cached.number == b.cached.number) {
        let publishes = of_topic.iter().map(|staged| (&staged.publish, staged.now));
        let cached = &of_topic[0].cached;
        shared.count(cached.log.commit(publishes));
        shared.report_trimmed(&cached.log);
        let range = of_topic[0].appended.range;
        if range.is_some_and(|(first, _)| first == Seq(1)) {
            shared.appeared(cached.path());
        }
    }
}

/// Writes the state, and deletes what left the log: its events, and deltas of messages that ended.
fn checkpoint(
    shared: &Arc<Shared>,
    batch: &mut Batch<'_>,
    cached: &Cached,
) -> Result<(), StoreError> {
    let mut book = cached.book.lock();
    if !book.exists {
        return Ok(());
    }
    let (state, first, head, ended, controls) = {
        let log = cached.log.read();
        let new_ends = log.entries_after(book.checkpoint);
        let ended: Vec<(Seq, EndedParts)> = new_ends
            .filter_map(|entry| Some((entry.seq, EndedParts::of(entry)?)))
            .collect();
        let controls = log.controls().pending().map(|entry| entry.seq);
        let controls: Vec<Seq> = controls.collect();
        (log.checkpoint(), log.first(), log.head(), ended, controls)
    };
    batch.state(cached.number, &state)?;
    for (seq, parts) in &ended {
        batch.ended(cached.number, *seq, parts);
    }
    for seq in book.compacted.drain(..) {
        batch.forget_event(cached.number, seq);
    }
    // a retry by event id is known for two minutes, and what was said to agents is kept for one, also when the
    // event itself left the log
    let now = shared.now();
    let after = now.saturating_sub(ID_MEMORY_MS);
    book.disk_first =
        batch.forget_events(cached.number, book.disk_first, first, after, &controls)?;
    book.held_until = now + ID_MEMORY_MS;
    (book.checkpoint, book.first) = (head, first);
    Ok(())
}
