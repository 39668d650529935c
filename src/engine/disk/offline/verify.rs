//! Reads everything there is, and tells what of it is damaged.

use std::collections::HashMap;
use std::path::Path;

use super::journal::{self, Journal};
use super::{OfflineError, OpenCopy, files, guarded, hole_text, take_copy};
use crate::engine::disk::record;
use crate::engine::disk::store::{STORE, TopicNumber};
use crate::event::{Epoch, Seq, TopicPath};

/// What was read.
#[derive(Debug, Default)]
pub struct Verified {
    pub files: usize,
    pub topics: usize,
    pub events: u64,
    /// Things that are damaged.
    pub damaged: usize,
    /// Numbers under which an unfinished import left something.
    pub leftovers: usize,
}

/// Tells each damaged thing, and goes on with the others. An error: the store cannot be read at all.
pub fn verify(dir: &Path, mut damaged: impl FnMut(&str)) -> Result<Verified, OfflineError> {
    let scratch = take_copy(dir)?;
    let mut count = 0;
    let mut tell = |what: String| {
        count += 1;
        damaged(&what);
    };
    // before fjall opens the copy: it cuts journals off where it cannot read them
    let files = check_files(scratch.path(), &mut tell)?;
    files::check_archives(scratch.path()).map_err(OfflineError::Damaged)?;
    let copy = OpenCopy::open(dir, scratch)?;
    if copy.has_lost {
        tell("the journals: the last of what was acknowledged is missing".to_owned());
    }
    let topics = copy.topics("", &mut tell);
    let mut verified = Verified {
        files,
        topics: topics.len(),
        ..Verified::default()
    };
    let mut numbers = HashMap::new();
    for (topic, entry) in topics {
        if let Some(other) = numbers.insert(entry.number, topic.clone()) {
            tell(format!("{topic}: it stands in the place of {other}"));
        }
        if Epoch::parse(&entry.epoch).is_none() {
            tell(format!("{topic}: its epoch is damaged"));
        }
        verified.events += check_topic(&copy, &topic, entry.number, &mut tell);
    }
    check_notes(&copy, &numbers, &mut tell);
    let known = numbers.into_keys().collect();
    match guarded(|| copy.store.leftovers(&known)) {
        Ok(leftovers) => verified.leftovers = leftovers.len(),
        Err(problem) => tell(format!("topic numbers cannot be read: {problem}")),
    }
    verified.damaged = count;
    Ok(verified)
}

fn check_files(copy: &Path, tell: &mut impl FnMut(String)) -> Result<usize, OfflineError> {
    let store = copy.join(STORE);
    if !store.is_dir() {
        return Ok(0);
    }
    let mut files = files::check_all(copy, &mut *tell).map_err(OfflineError::Damaged)?;
    for number in files::journals(&store).map_err(OfflineError::file(&store))? {
        files += 1;
        let name = format!("{number}.jnl");
        let path = store.join(&name);
        match journal::check(&path).map_err(OfflineError::file(&path))? {
            Journal::Whole => {}
            Journal::Broken { at, batches } => tell(format!(
                "{STORE}/{name}: it is damaged at byte {at}; at least {batches} batches behind that are lost"
            )),
            Journal::OutOfOrder { at } => tell(format!(
                "{STORE}/{name}: it is damaged before byte {at}: batches are out of order"
            )),
        }
    }
    Ok(files)
}

/// Every record and what belongs to it, and then all together, as a broker would bring it back. Answers how many
/// events there are.
fn check_topic(
    copy: &OpenCopy,
    topic: &TopicPath,
    number: TopicNumber,
    tell: &mut impl FnMut(String),
) -> u64 {
    let (mut events, mut problems) = (0, Vec::new());
    let walked = guarded(|| {
        let hole = copy.store.visit_records(number, |seq, bytes| {
            events += 1;
            let Some(seq) = seq else {
                return problems.push("the key of an event is damaged".to_owned());
            };
            if guarded(|| record::decode(bytes, seq)).is_err() {
                problems.push(format!("event {} is damaged", seq.0));
            }
        });
        problems.extend(hole.map(|hole| format!("its events{}", hole_text(&hole, seq_text))));
        Ok::<_, String>(())
    });
    problems.extend(walked.err());
    problems.extend(guarded(|| check_ended(copy, number)).unwrap_or_else(|problem| vec![problem]));
    // one damaged thing would only be told again
    if problems.is_empty()
        && let Err(problem) = copy.load(topic)
    {
        problems.push(problem);
    }
    for problem in problems {
        tell(format!("{topic}: {problem}"));
    }
    events
}

fn check_ended(copy: &OpenCopy, number: TopicNumber) -> Result<Vec<String>, String> {
    let seqs = copy
        .store
        .ended_seqs(number)
        .map_err(|error| error.to_string())?;
    let each = seqs.into_iter();
    let problems = each.filter_map(|seq| guarded(|| copy.store.ended_parts(number, seq)).err());
    Ok(problems.collect())
}

/// What belongs to no topic, or to many.
fn check_notes(
    copy: &OpenCopy,
    numbers: &HashMap<TopicNumber, TopicPath>,
    tell: &mut impl FnMut(String),
) {
    let mut problems = Vec::new();
    let runs = guarded(|| {
        let hole = copy
            .store
            .visit_runs(|run| problems.extend(run.err().map(|e| e.to_string())));
        Ok::<_, String>(hole.map(|hole| format!("runs{}", hole_text(&hole, |_| "…".into()))))
    });
    let open = guarded(|| {
        let hole = copy.store.visit_open(|noted| match noted {
            Ok((number, topic)) if numbers.get(&number).is_some_and(|known| *known != topic) => {
                problems.push(format!(
                    "{topic}: it is noted as open in the place of another"
                ));
            }
            Ok(_) => {}
            Err(error) => problems.push(error.to_string()),
        });
        Ok::<_, String>(hole.map(|hole| format!("open topics{}", hole_text(&hole, |_| "…".into()))))
    });
    let bookmarks = guarded(|| {
        let hole = copy.store.visit_bookmarks(|_, value| {
            problems.extend(value.err().map(|error| error.to_string()));
        });
        Ok::<_, String>(hole.map(|hole| {
            let hole = hole_text(&hole, |_| "…".into());
            format!("kept reading positions{hole}")
        }))
    });
    for outcome in [runs, open, bookmarks] {
        problems.extend(outcome.unwrap_or_else(Some));
    }
    problems.into_iter().for_each(tell);
}

fn seq_text(key: &[u8]) -> String {
    let seq = key.get(8..16).and_then(|seq| seq.try_into().ok());
    seq.map_or_else(
        || "…".into(),
        |seq| Seq(u64::from_be_bytes(seq)).to_string(),
    )
}
