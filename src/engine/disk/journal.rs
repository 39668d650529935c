//! Whether fjall's journals hold every step, looked at before fjall opens them.
//!
//! fjall ends a journal at the first entry that it cannot read, and leaves out a batch whose number says that it
//! is in a table already. At the end of the last journal that is right: a write was cut off there. Anywhere else
//! it loses what was acknowledged, without a word. But each step has a number (`meta`, `step`), so what is missing
//! between two of them shows.
//!
//! This knows how fjall 3 writes batches, and nothing else of it: what it cannot read it takes for the end of a
//! journal, as fjall does; whether a batch is whole is fjall's to check.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::store::StoreError;

/// Keys in `meta`. No other keyspace has such keys: they are paths, numbers of 8 bytes or more, and MessagePack.
pub const STEP: &str = "step";
pub const GENERATION: &str = "generation";

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: &[u8] = b"FJL\x03";
const BUFFER: usize = 1 << 20;
/// fjall panics where it would have to give the next batch a higher one.
const MAX_NUMBER: u64 = i64::MAX as u64 - (1 << 48);

/// What was found so far, journal by journal.
#[derive(Default)]
struct Chain {
    /// fjall's number of the last batch.
    batch: Option<u64>,
    step: Option<u64>,
    is_broken: bool,
}

/// What of a batch matters here.
#[derive(Default)]
struct Batch {
    number: u64,
    step: Option<u64>,
    begins_generation: bool,
}

/// `false`: steps are missing between others, and no new generation has begun since.
pub fn are_whole(store: &Path) -> Result<bool, StoreError> {
    let mut chain = Chain::default();
    let journals = journals(store)?;
    for (at, journal) in journals.iter().enumerate() {
        let mut steps = 0u64;
        let mut input = BufReader::with_capacity(BUFFER, File::open(journal)?);
        while let Some(batch) = read_batch(&mut input)? {
            if batch.number > MAX_NUMBER {
                let what = format!("the number of a batch in {}", journal.display());
                return Err(StoreError::Damaged { what });
            }
            chain.add(&batch);
            steps += u64::from(batch.step.is_some());
        }
        // the oldest one follows nothing, but none is sealed without steps
        let is_sealed = at + 1 < journals.len();
        chain.is_broken |= is_sealed && steps == 0;
    }
    Ok(!chain.is_broken)
}

/// The oldest first.
fn journals(store: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(store) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str());
        let number = number.and_then(|name| name.strip_suffix(".jnl")?.parse::<u64>().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

impl Chain {
    fn add(&mut self, batch: &Batch) {
        if batch.begins_generation {
            // what was missing before has been told
            *self = Self::default();
        }
        let follows = self.batch.is_none_or(|before| before < batch.number);
        self.batch = Some(batch.number);
        let continues = match (self.step, batch.step) {
            (Some(before), Some(step)) => before.checked_add(1) == Some(step),
            _ => true,
        };
        self.step = batch.step.or(self.step);
        self.is_broken |= !follows || !continues;
    }
}

/// The next batch; `None` at the journal's end, or at what is no batch.
fn read_batch(input: &mut impl Read) -> io::Result<Option<Batch>> {
    match try_batch(input) {
        Ok(batch) => Ok(Some(batch)),
        Err(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Ok(None),
            _ => Err(error),
        },
    }
}

fn try_batch(input: &mut impl Read) -> io::Result<Batch> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut batch = Batch::default();
    if byte(input)? != START {
        return Err(invalid());
    }
    let items = u32::from_le_bytes(bytes(input)?);
    batch.number = u64::from_le_bytes(bytes(input)?);
    for _ in 0..items {
        match byte(input)? {
            ITEM => read_item(input, &mut batch)?,
            CLEAR => skip(input, 8)?,
            _ => return Err(invalid()),
        }
    }
    let end = byte(input)?;
    skip(input, 8)?;
    match (end, bytes::<4>(input)?.as_slice()) {
        (END, MAGIC) => Ok(batch),
        _ => Err(invalid()),
    }
}

fn read_item(input: &mut impl Read, batch: &mut Batch) -> io::Result<()> {
    // the kind of value, its compression, the keyspace
    skip(input, 1 + 1 + 8)?;
    let key_len = usize::from(u16::from_le_bytes(bytes(input)?));
    // what it would be without compression
    skip(input, 4)?;
    let value_len = u64::from(u32::from_le_bytes(bytes(input)?));
    let mut key = [0; GENERATION.len()];
    let Some(key) = key.get_mut(..key_len) else {
        return skip(input, key_len as u64 + value_len);
    };
    input.read_exact(key)?;
    if value_len == 8 && key == STEP.as_bytes() {
        batch.step = Some(u64::from_be_bytes(bytes(input)?));
        return Ok(());
    }
    batch.begins_generation |= key == GENERATION.as_bytes();
    skip(input, value_len)
}

fn byte(input: &mut impl Read) -> io::Result<u8> {
    Ok(bytes::<1>(input)?[0])
}

fn bytes<const COUNT: usize>(input: &mut impl Read) -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(input: &mut impl Read, count: u64) -> io::Result<()> {
    match io::copy(&mut input.take(count), &mut io::sink())? == count {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(number: u64, items: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = vec![START];
        out.extend((items.len() as u32).to_le_bytes());
        out.extend(number.to_le_bytes());
        for (key, value) in items {
            out.extend([ITEM, 0, 0]);
            out.extend(1u64.to_le_bytes());
            out.extend((key.len() as u16).to_le_bytes());
            out.extend((value.len() as u32).to_le_bytes());
            out.extend((value.len() as u32).to_le_bytes());
            out.extend(key.as_bytes());
            out.extend(*value);
        }
        out.push(END);
        out.extend([0; 8]);
        out.extend(MAGIC);
        out
    }

    fn step(number: u64, step: u64) -> Vec<u8> {
        let long = "a key that is longer than those that matter";
        batch(number, &[(long, b"value"), (STEP, &step.to_be_bytes())])
    }

    fn is_whole(journals: &[Vec<u8>]) -> bool {
        let dir = tempfile::tempdir().expect("a folder");
        for (number, bytes) in journals.iter().enumerate() {
            // 10 comes after 9
            let path = dir.path().join(format!("{}.jnl", number + 9));
            fs::write(path, bytes).expect("a file");
        }
        are_whole(dir.path()).expect("readable")
    }

    #[test]
    fn steps_that_follow_each_other_are_whole() {
        assert!(is_whole(&[]));
        assert!(is_whole(&[Vec::new()]));
        let with_zeros = [step(1, 1), step(2, 2), vec![0; 100]].concat();
        let other = batch(4, &[("count", &[0; 8])]);
        assert!(is_whole(&[
            with_zeros,
            [other, step(5, 3)].concat(),
            Vec::new()
        ]));
    }

    #[test]
    fn the_last_journal_may_end_anywhere() {
        let last = step(3, 3);
        for end in 0..last.len() {
            assert!(is_whole(&[
                step(1, 1),
                [step(2, 2), last[..end].to_vec()].concat()
            ]));
        }
    }

    #[test]
    fn what_is_missing_before_others_shows() {
        let first = [step(1, 1), step(2, 2)].concat();
        let end = step(1, 1).len();
        for cut in end..first.len() {
            assert!(
                !is_whole(&[first[..cut].to_vec(), step(3, 3)]),
                "cut at {cut}"
            );
        }
        assert!(is_whole(&[first, step(3, 3)]));
    }

    #[test]
    fn a_batch_that_would_be_left_out_shows() {
        assert!(!is_whole(&[[step(5, 1), step(4, 2), step(7, 3)].concat()]));
        assert!(!is_whole(&[[step(5, 1), step(70, 2), step(7, 3)].concat()]));
    }

    #[test]
    fn a_number_that_leaves_none_for_others_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("0.jnl"), step(1 << 63, 1)).expect("a file");
        let refused = are_whole(dir.path()).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|why| why.contains("0.jnl is damaged")));
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        let told = batch(9, &[(GENERATION, &[0; 8])]);
        let lost = [step(1, 1), step(5, 5)].concat();
        assert!(!is_whole(std::slice::from_ref(&lost)));
        assert!(is_whole(&[
            lost.clone(),
            [told.clone(), step(10, 90)].concat()
        ]));
        assert!(!is_whole(&[
            lost,
            [told, step(10, 90), step(11, 92)].concat()
        ]));
    }
}
