//! Brings the topics of an export back. They begin new epochs, as readers may have read beyond the export, unless
//! it is known that nobody did.
//!
//! Invariants:
//! - the input is read twice: nothing is written before all of it was found good, and new to the store;
//! - the topics appear together, in the last step, which is synced; an import that is killed before leaves nothing
//!   but records under numbers that no topic has or will have, and the next import removes those.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::input::{Good, read};
use super::lines::{DoneLine, RunLine, TopicLine};
use super::scratch::Scratch;
use super::{CACHE, OfflineError, guarded};
use crate::engine::disk::record::{self, Record};
use crate::engine::disk::store::{Batch, KnownRun, Store, TopicEntry, TopicNumber};
use crate::event::{Seq, TopicPath};
use crate::log::checkpoint::EndedParts;

/// Bytes of records that are written in one step.
const STEP_BYTES: usize = 4 << 20;

/// What was brought back.
#[derive(Debug)]
pub struct Imported {
    pub topics: u64,
    pub events: u64,
}

/// The generation of a topic that begins a new epoch when it is loaded.
const NO_GENERATION: u64 = u64::MAX;

/// Imports `file`; `None`: what comes on standard input. A directory that is not there is made.
/// `keep_epochs`: positions that readers hold stay good.
pub fn import(
    dir: &Path,
    file: Option<&Path>,
    keep_epochs: bool,
) -> Result<Imported, OfflineError> {
    let new_epoch = format!("i{:07x}", fastrand::u32(..1 << 28));
    let failed = OfflineError::directory(dir);
    let store = Store::open(dir, CACHE, &new_epoch, Arc::default()).map_err(&failed)?;
    let spooled = match file {
        Some(file) if file.is_file() => None,
        _ => Some(spool(dir, file)?),
    };
    let input = match &spooled {
        Some(scratch) => scratch.path().join(SPOOL),
        None => file.unwrap_or(dir).to_owned(),
    };
    let done = check(&store, &input)?;
    remove_leftovers(&store).map_err(OfflineError::Damaged)?;
    let first = store.reserve_numbers(done.topics).map_err(&failed)?;
    let generation = match keep_epochs {
        true => store.generation,
        false => NO_GENERATION,
    };
    Writer::new(dir, &store, first, generation).write(&input, done.topics)?;
    Ok(Imported {
        topics: done.topics,
        events: done.events,
    })
}

const SPOOL: &str = "lines";

/// Keeps what can be read only once.
fn spool(dir: &Path, file: Option<&Path>) -> Result<Scratch, OfflineError> {
    let scratch = Scratch::near(dir)?;
    let path = scratch.path().join(SPOOL);
    let mut kept = File::create(&path).map_err(OfflineError::file(&path))?;
    let copied = match file {
        Some(from) => File::open(from).and_then(|mut from| std::io::copy(&mut from, &mut kept)),
        None => std::io::copy(&mut std::io::stdin().lock(), &mut kept),
    };
    copied.map_err(OfflineError::file(file.unwrap_or(&path)))?;
    Ok(scratch)
}

/// Everything that can be wrong with the input, or with bringing it here.
fn check(store: &Store, input: &Path) -> Result<DoneLine, OfflineError> {
    read(input, |good| {
        let Good::Topic(path, _) = good else {
            return Ok(());
        };
        match guarded(|| store.find(&path)).map_err(OfflineError::Damaged)? {
            Some(_) => Err(OfflineError::Exists(path)),
            None => Ok(()),
        }
    })
}

/// What an import that was killed has left.
fn remove_leftovers(store: &Store) -> Result<(), String> {
    guarded(|| {
        let mut known = HashSet::new();
        let mut problem = None;
        let hole = store.visit_topics("", |topic| match topic {
            Ok((_, entry)) => drop(known.insert(entry.number)),
            Err(error) => problem = Some(error.to_string()),
        });
        // of a damaged list nobody knows what is left over
        if let Some(problem) = problem.or(hole.map(|hole| hole.error)) {
            return Err(problem);
        }
        let leftovers = store.leftovers(&known).map_err(|error| error.to_string())?;
        leftovers
            .into_iter()
            .try_for_each(|number| store.remove_leftover(number))
            .map_err(|error| error.to_string())
    })
}

struct Writer<'a> {
    dir: &'a Path,
    store: &'a Store,
    batch: Batch<'a>,
    /// Bytes in the batch.
    bytes: usize,
    next: TopicNumber,
    generation: u64,
    /// What makes the topics appear.
    topics: Vec<(TopicPath, TopicEntry, bool)>,
    runs: HashMap<(String, String), KnownRun>,
}

impl<'a> Writer<'a> {
    fn new(dir: &'a Path, store: &'a Store, first: TopicNumber, generation: u64) -> Self {
        Self {
            dir,
            store,
            batch: store.batch(),
            bytes: 0,
            next: first,
            generation,
            topics: Vec::new(),
            runs: HashMap::new(),
        }
    }

    fn write(mut self, input: &Path, topics: u64) -> Result<(), OfflineError> {
        let failed = OfflineError::directory(self.dir);
        read(input, |good| self.take(good))?;
        if self.topics.len() as u64 != topics {
            let changed = std::io::Error::other("it changed while it was read");
            return Err(OfflineError::file(input)(changed));
        }
        self.step()?;
        let mut batch = self.store.batch();
        for (path, entry, is_open) in &self.topics {
            batch.topic(path, entry);
            if *is_open {
                batch.note_open(entry.number, path, true);
            }
        }
        for ((principal, producer), run) in &self.runs {
            let known = self.store.run(principal, producer).map_err(&failed)?;
            if known.is_none_or(|known| known.epoch < run.epoch) {
                batch.run(principal, producer, *run);
            }
        }
        let count = self.store.topic_count().map_err(&failed)?;
        batch.topic_count(count + topics);
        batch.commit(true).map_err(&failed)
    }

    fn take(&mut self, good: Good<'_>) -> Result<(), OfflineError> {
        match good {
            Good::Run(run) => {
                let RunLine {
                    principal,
                    producer,
                    epoch,
                    attached,
                    time,
                } = run;
                let run = KnownRun {
                    epoch,
                    attached,
                    time,
                };
                self.runs.insert((principal, producer), run);
                Ok(())
            }
            Good::Topic(path, topic) => self.topic(path, *topic),
            Good::Event(seq, record, ended) => self.event(seq, &record, ended),
        }
    }

    fn topic(&mut self, path: TopicPath, topic: TopicLine) -> Result<(), OfflineError> {
        let number = self.next;
        self.next += 1;
        let failed = OfflineError::directory(self.dir);
        if let Some(state) = &topic.checkpoint {
            self.batch.state(number, state).map_err(failed)?;
        }
        for (principal, producer, epoch) in &topic.fences {
            self.batch.fence(number, principal, producer, *epoch);
        }
        for seq in &topic.acks {
            self.batch.acknowledge(number, Seq(*seq));
        }
        let entry = TopicEntry {
            number,
            epoch: topic.epoch,
            generation: self.generation,
        };
        self.topics.push((path, entry, topic.open));
        self.step()
    }

    fn event(
        &mut self,
        seq: Seq,
        record: &Record,
        ended: Option<&EndedParts>,
    ) -> Result<(), OfflineError> {
        // of the topic that came last
        let number = self.next - 1;
        for event in &record.publish.events {
            let bytes = record::encode(&record.publish, event, seq, record.range, record.time);
            self.bytes += bytes.len();
            self.batch.event(number, seq, bytes);
        }
        if let Some(parts) = ended {
            self.bytes += parts
                .parts
                .iter()
                .map(|part| part.text.len())
                .sum::<usize>();
            self.batch.ended(number, seq, parts);
        }
        if self.bytes < STEP_BYTES {
            return Ok(());
        }
        self.step()
    }

    fn step(&mut self) -> Result<(), OfflineError> {
        self.bytes = 0;
        let batch = std::mem::replace(&mut self.batch, self.store.batch());
        if batch.is_empty() {
            return Ok(());
        }
        batch
            .commit(false)
            .map_err(OfflineError::directory(self.dir))
    }
}
