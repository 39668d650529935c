//! Writes topics as lines (see `lines`), with everything that brings them back.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::lines::{DoneLine, EndLine, EventLine, Header, Line, RunLine, TopicLine, VERSION};
use super::{OfflineError, OpenCopy, guarded};
use crate::engine::disk::store::TopicNumber;
use crate::event::{Seq, TopicPath};

/// What was written.
#[derive(Debug)]
pub struct Exported {
    pub topics: u64,
    pub events: u64,
    /// Topics that are left out, as they are damaged.
    pub left_out: usize,
}

/// Exports the topics with the prefix. What is damaged is told, and left out.
pub fn export(
    dir: &Path,
    prefix: &str,
    out: &mut impl Write,
    mut damaged: impl FnMut(&str),
) -> Result<Exported, OfflineError> {
    let copy = OpenCopy::of(dir)?;
    let mut left_out = 0;
    let mut tell = |problem: String| {
        left_out += 1;
        damaged(&problem);
    };
    write_line(
        out,
        &Header {
            tidewire_log: VERSION,
        },
    )?;
    for run in runs(&copy, &mut tell) {
        write_line(out, &Line::Run(run))?;
    }
    let mut done = DoneLine::default();
    for (topic, _) in copy.topics(prefix, &mut tell) {
        match head(&copy, &topic) {
            Ok((number, line)) => {
                done.topics += 1;
                done.events += write_topic(&copy, number, line, out)?;
            }
            Err(problem) => tell(format!("{topic}: {problem}; it is left out")),
        }
    }
    write_line(out, &Line::Done(done))?;
    out.flush().map_err(OfflineError::Output)?;
    Ok(Exported {
        topics: done.topics,
        events: done.events,
        left_out,
    })
}

fn runs(copy: &OpenCopy, tell: &mut impl FnMut(String)) -> Vec<RunLine> {
    let (mut runs, mut problems) = (Vec::new(), Vec::new());
    let walked = guarded(|| {
        let hole = copy.store.visit_runs(|run| match run {
            Ok((principal, producer, known)) => runs.push(RunLine {
                principal,
                producer,
                epoch: known.epoch,
                attached: known.attached,
                time: known.time,
            }),
            Err(error) => problems.push(error.to_string()),
        });
        Ok::<_, String>(hole.map(|hole| format!("runs: {}", hole.error)))
    });
    problems.extend(walked.unwrap_or_else(Some));
    problems.into_iter().for_each(tell);
    runs
}

/// Everything of a topic but its events, after a look at those, too: a topic is exported whole or not at all.
fn head(copy: &OpenCopy, topic: &TopicPath) -> Result<(TopicNumber, TopicLine), String> {
    let (entry, loaded) = copy.load(topic)?;
    let number = entry.number;
    let line = guarded(|| {
        let store = &copy.store;
        for seq in store.ended_seqs(number)? {
            store.ended_parts(number, seq)?;
        }
        Ok::<_, super::StoreError>(TopicLine {
            path: topic.to_string(),
            epoch: entry.epoch,
            open: loaded.log.folds().open_count() > 0,
            checkpoint: store.state_of(number)?,
            fences: store.fences_of(number)?,
            acks: store
                .acks_of(number)?
                .into_iter()
                .map(|seq| seq.0)
                .collect(),
        })
    });
    Ok((number, line?))
}

fn write_topic(
    copy: &OpenCopy,
    number: TopicNumber,
    head: TopicLine,
    out: &mut impl Write,
) -> Result<u64, OfflineError> {
    let path = head.path.clone();
    let failed = |problem: String| OfflineError::Damaged(format!("{path}: {problem}"));
    write_line(out, &Line::Topic(Box::new(head)))?;
    let mut records = copy.store.records(number, Seq::ZERO);
    let mut events = 0;
    while let Some((seq, record, _)) = guarded(|| records.next().transpose()).map_err(failed)? {
        let ended = guarded(|| copy.store.ended_parts(number, seq)).map_err(failed)?;
        let line = EventLine::of(seq, &record, ended)
            .ok_or_else(|| failed(format!("event {} is damaged", seq.0)))?;
        write_line(out, &Line::Event(Box::new(line)))?;
        events += 1;
    }
    write_line(
        out,
        &Line::End(EndLine {
            path: path.clone(),
            events,
        }),
    )?;
    Ok(events)
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> Result<(), OfflineError> {
    serde_json::to_writer(&mut *out, line)
        .map_err(std::io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .map_err(OfflineError::Output)
}
