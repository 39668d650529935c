//! The store as a whole, for the tools that work on a directory: every entry, every record, and what an
//! import writes.
//!
//! Nothing here stops at the first damaged value: what cannot be read is handed on as an error, and the walk
//! goes on behind it.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::Ordering;

use fjall::Keyspace;

use super::{
    Checkpoint, EndedParts, FORMAT_FILE, KnownRun, STORE_FOLDER, Seq, Store, StoreError,
    TopicEntry, TopicNumber, TopicPath, check_format, event_key, key_of, number, path, seq_of,
    unpack,
};
use crate::engine::disk::record::{self, Record};

/// The folder of the store inside the data directory.
pub const STORE: &str = STORE_FOLDER;
/// Keys that one step of a clean-up removes.
const REMOVED_AT_ONCE: usize = 10_000;

/// A stretch of a keyspace that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// The last key before it.
    pub after: Option<Vec<u8>>,
    /// The first key behind it.
    pub before: Option<Vec<u8>>,
    pub error: String,
}

/// Says why `dir` is no data directory of this version; makes none.
pub fn check_existing(dir: &Path) -> Result<(), StoreError> {
    if fs::symlink_metadata(dir.join(FORMAT_FILE)).is_err() {
        fs::read_dir(dir)?;
        let missing = io::Error::new(io::ErrorKind::NotFound, "there is no store in it");
        return Err(missing.into());
    }
    check_format(dir)
}

/// Bytes that were written to journals; they are made longer.
pub(super) fn journal_bytes(store: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        if path.extension().is_some_and(|name| name == "jnl") {
            bytes += written_end(&mut fs::File::open(path)?)?;
        }
    }
    Ok(bytes)
}

/// Behind the last byte of a file that is not zero. A journal is made long, and its batches end with a byte that
/// is not zero.
pub fn written_end(file: &mut fs::File) -> io::Result<u64> {
    const CHUNK: u64 = 1 << 20;
    let mut end = file.metadata()?.len();
    let mut chunk = vec![0; CHUNK as usize];
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        let chunk = &mut chunk[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(chunk)?;
        if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Visits every key of the range in order. Where a part cannot be read, the rest is visited from the end,
/// backwards, and the hole is answered.
pub(super) fn walk(
    keyspace: &Keyspace,
    prefix: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]),
) -> Option<Unreadable> {
    let mut last: Option<Vec<u8>> = None;
    let mut failure = None;
    for guard in keyspace.prefix(prefix) {
        match guard.into_inner() {
            Ok((key, value)) => {
                visit(&key, &value);
                last = Some(key.to_vec());
            }
            Err(error) => {
                failure = Some(error.to_string());
                break;
            }
        }
    }
    let error = failure?;
    let mut before: Option<Vec<u8>> = None;
    for guard in keyspace.prefix(prefix).rev() {
        let Ok((key, value)) = guard.into_inner() else {
            break;
        };
        if last.as_deref().is_some_and(|last| &*key <= last) {
            break;
        }
        visit(&key, &value);
        before = Some(key.to_vec());
    }
    Some(Unreadable {
        after: last,
        before,
        error,
    })
}

impl Store {
    /// Every topic with the prefix, or what stands in its place.
    pub fn visit_topics(
        &self,
        prefix: &str,
        mut visit: impl FnMut(Result<(TopicPath, TopicEntry), StoreError>),
    ) -> Option<Unreadable> {
        walk(&self.topics, prefix.as_bytes(), |key, value| {
            visit(path(key).and_then(|topic| {
                let entry = unpack(value, || format!("the entry of {topic}"))?;
                Ok((topic, entry))
            }));
        })
    }

    /// Every record of a topic, with its bytes. A key that is none of an event is an error without a seq.
    pub fn visit_records(
        &self,
        topic: TopicNumber,
        mut visit: impl FnMut(Option<Seq>, &[u8]),
    ) -> Option<Unreadable> {
        walk(&self.events, &key_of(topic), |key, value| {
            visit(seq_of(key).ok(), value);
        })
    }

    /// The records of a topic in order, from a seq on, up to the first that cannot be read.
    pub fn records(
        &self,
        topic: TopicNumber,
        from: Seq,
    ) -> impl Iterator<Item = Result<(Seq, Record, usize), StoreError>> + use<> {
        let range = event_key(topic, from)..=event_key(topic, Seq(u64::MAX));
        self.events.range(range).map(|guard| {
            let (key, value) = guard.into_inner()?;
            let seq = seq_of(&key)?;
            let record = record::decode(&value, seq)
                .map_err(|_| StoreError::damaged(format!("event {}", seq.0)))?;
            Ok((seq, record, value.len()))
        })
    }

    /// The text of the message that an event ended, where it is kept beside the event.
    pub fn ended_parts(
        &self,
        topic: TopicNumber,
        seq: Seq,
    ) -> Result<Option<EndedParts>, StoreError> {
        let Some(bytes) = self.ended.get(event_key(topic, seq))? else {
            return Ok(None);
        };
        let what = || format!("the text of the message that event {} ended", seq.0);
        unpack(&bytes, what).map(Some)
    }

    /// The seqs of events with such a text.
    pub fn ended_seqs(&self, topic: TopicNumber) -> Result<Vec<Seq>, StoreError> {
        let each = self.ended.prefix(key_of(topic));
        each.map(|guard| seq_of(&guard.key()?)).collect()
    }

    pub fn state_of(&self, topic: TopicNumber) -> Result<Option<Checkpoint>, StoreError> {
        let Some(bytes) = self.states.get(key_of(topic))? else {
            return Ok(None);
        };
        unpack(&bytes, || "the state".to_owned()).map(Some)
    }

    /// Principal, producer and epoch of each run that is fenced since the checkpoint.
    pub fn fences_of(&self, topic: TopicNumber) -> Result<Vec<(String, String, u64)>, StoreError> {
        let each = self.fences.prefix(key_of(topic)).map(|guard| {
            let (key, value) = guard.into_inner()?;
            let (principal, producer) = key
                .get(8..)
                .and_then(|names| rmp_serde::from_slice(names).ok())
                .ok_or_else(|| StoreError::damaged("a fence"))?;
            Ok((principal, producer, number(&value, "a fence")?))
        });
        each.collect()
    }

    /// Control events that were acknowledged since the checkpoint.
    pub fn acks_of(&self, topic: TopicNumber) -> Result<Vec<Seq>, StoreError> {
        let each = self.acks.prefix(key_of(topic));
        each.map(|guard| seq_of(&guard.key()?)).collect()
    }

    /// Principal and producer of every run that is known, with its epoch.
    pub fn visit_runs(
        &self,
        mut visit: impl FnMut(Result<(String, String, KnownRun), StoreError>),
    ) -> Option<Unreadable> {
        walk(&self.runs, &[], |key, value| {
            visit((|| {
                let (principal, producer) = rmp_serde::from_slice(key)
                    .map_err(|_| StoreError::damaged("the name of a run"))?;
                let what = || format!("the run of producer {producer:?} of {principal:?}");
                let run = unpack(value, what)?;
                Ok((principal, producer, run))
            })());
        })
    }

    /// Every note that a topic has open messages.
    pub fn visit_open(
        &self,
        mut visit: impl FnMut(Result<(TopicNumber, TopicPath), StoreError>),
    ) -> Option<Unreadable> {
        walk(&self.open, &[], |key, value| {
            let noted = number(key, "the note of an open topic");
            visit(noted.and_then(|number| Ok((number, path(value)?))));
        })
    }

    /// Numbers under which something stands, but which no topic has.
    pub fn leftovers(&self, known: &HashSet<TopicNumber>) -> Result<Vec<TopicNumber>, StoreError> {
        let mut found = Vec::new();
        for keyspace in self.numbered() {
            let mut from = Some(0);
            while let Some(at) = from {
                let Some(first) = keyspace.range(key_of(at)..).next() else {
                    break;
                };
                let key = first.key()?;
                let number = number(key.get(..8).unwrap_or_default(), "a topic number")?;
                if !known.contains(&number) {
                    found.push(number);
                }
                from = number.checked_add(1);
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Removes everything that stands under a number.
    pub fn remove_leftover(&self, topic: TopicNumber) -> Result<(), StoreError> {
        for keyspace in self.numbered() {
            loop {
                let mut batch = self.batch();
                for guard in keyspace.prefix(key_of(topic)).take(REMOVED_AT_ONCE) {
                    batch.batch.remove(keyspace, guard.key()?);
                }
                if batch.is_empty() {
                    break;
                }
                batch.commit(false)?;
            }
        }
        Ok(())
    }

    /// Takes so many topic numbers, for good, and answers the first.
    pub fn reserve_numbers(&self, count: u64) -> Result<TopicNumber, StoreError> {
        let first = self.next.fetch_add(count, Ordering::SeqCst);
        self.batch().commit(true)?;
        Ok(first)
    }

    fn numbered(&self) -> [&Keyspace; 7] {
        [
            &self.events,
            &self.ended,
            &self.states,
            &self.open,
            &self.fences,
            &self.acks,
            &self.dirty,
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_end_of_a_journal_is_behind_its_last_byte() {
        let mut file = tempfile::tempfile().expect("a file");
        assert_eq!(written_end(&mut file).expect("read"), 0);
        file.set_len((3 << 20) + 7).expect("zeros");
        assert_eq!(written_end(&mut file).expect("read"), 0);
        for at in [0, 5, (1 << 20) - 1, 1 << 20, (3 << 20) + 6] {
            file.seek(SeekFrom::Start(at)).expect("a place");
            file.write_all(b"x").expect("written");
            assert_eq!(written_end(&mut file).expect("read"), at + 1);
        }
    }

    #[test]
    fn a_store_that_was_killed_while_it_was_made_can_be_opened() {
        for marker in [None, Some("")] {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join(FORMAT_FILE), "tidewire disk 1\n").expect("a file");
            let store = folder.path().join(STORE_FOLDER);
            fs::create_dir_all(store.join("keyspaces")).expect("a folder");
            fs::write(store.join("lock"), "").expect("a file");
            let journal = fs::File::create(store.join("0.jnl")).expect("a file");
            journal.set_len(64 << 20).expect("zeros");
            if let Some(marker) = marker {
                fs::write(store.join("version"), marker).expect("a file");
            }
            Store::open(folder.path(), 1 << 20, "storetest", Arc::default()).expect("it opens");
        }
    }
}
