//! Which topics there are, and what is in one.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;

use super::lines::ProducerLine;
use super::{OfflineError, OpenCopy, guarded};
use crate::engine::disk::record::Record;
use crate::engine::disk::store::StoreError;
use crate::event::{Seq, TopicPath};

/// A topic in a list.
#[derive(Debug, Serialize)]
pub struct TopicLine {
    pub topic: String,
    pub epoch: String,
    /// Of the oldest event that is kept; behind `last` where none is.
    pub first: u64,
    pub last: u64,
    pub events: usize,
    /// Of their records, before compression.
    pub bytes: usize,
    /// Of the last event, Unix milliseconds.
    pub last_time: u64,
    pub open_messages: usize,
}

/// Which events of a topic are shown.
#[derive(Debug, Clone, Copy)]
pub struct ShowRange {
    pub from: Seq,
    pub limit: usize,
}

/// An event as it is shown.
#[derive(Serialize)]
struct ShownEvent<'a> {
    seq: u64,
    #[serde(rename = "type")]
    name: &'a str,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    producer: Option<ProducerLine>,
    data: &'a RawValue,
}

/// Hands over each topic with the prefix. What is damaged is told; answers whether nothing was.
pub fn topics(
    dir: &Path,
    prefix: &str,
    mut take: impl FnMut(&TopicLine) -> std::io::Result<()>,
    mut damaged: impl FnMut(&str),
) -> Result<bool, OfflineError> {
    let copy = OpenCopy::of(dir)?;
    let mut is_whole = true;
    let mut tell = |problem: &str| {
        is_whole = false;
        damaged(problem);
    };
    for (topic, _) in copy.topics(prefix, |problem| tell(&problem)) {
        match line(&copy, &topic) {
            Ok(line) => take(&line).map_err(OfflineError::Output)?,
            Err(problem) => tell(&format!("{topic}: {problem}")),
        }
    }
    Ok(is_whole)
}

fn line(copy: &OpenCopy, topic: &TopicPath) -> Result<TopicLine, String> {
    let (entry, loaded) = copy.load(topic)?;
    let log = &loaded.log;
    let kept = copy.store.records(entry.number, log.first());
    let (events, bytes) = guarded(|| {
        kept.map(|record| record.map(|(_, _, bytes)| bytes))
            .try_fold((0, 0), |(events, sum), bytes| {
                bytes.map(|bytes| (events + 1, sum + bytes))
            })
    })?;
    Ok(TopicLine {
        topic: topic.to_string(),
        epoch: log.epoch().to_string(),
        first: log.first().0,
        last: log.head().0,
        events,
        bytes,
        last_time: log.last_append(),
        open_messages: log.folds().open_count(),
    })
}

/// Writes events of a topic, each as one line of JSON. What is damaged is told; answers whether nothing was.
pub fn show(
    dir: &Path,
    topic: &str,
    range: ShowRange,
    out: &mut impl Write,
    mut damaged: impl FnMut(&str),
) -> Result<bool, OfflineError> {
    let no_topic = || OfflineError::NoTopic(topic.to_owned());
    let path = TopicPath::parse(topic).map_err(|_| no_topic())?;
    let copy = OpenCopy::of(dir)?;
    let found = guarded(|| copy.store.find(&path)).map_err(OfflineError::Damaged)?;
    let number = found.ok_or_else(no_topic)?.number;
    let mut from = range.from;
    let mut is_whole = true;
    let mut tell = |problem: String| {
        is_whole = false;
        damaged(&format!("{topic}: {problem}"));
    };
    match copy.load(&path) {
        Ok((_, loaded)) => from = from.max(loaded.log.first()),
        // what can be read is shown all the same
        Err(problem) => tell(problem),
    }
    let mut records = copy.store.records(number, from);
    let mut left = range.limit;
    while left > 0 {
        match guarded(|| Ok::<_, String>(records.next())) {
            Ok(None) => break,
            Ok(Some(Ok((seq, record, _)))) => {
                write_event(out, seq, &record).map_err(OfflineError::Output)?;
                left -= 1;
            }
            Ok(Some(Err(error @ StoreError::Damaged { .. }))) => tell(error.to_string()),
            // then nobody knows where the next one is
            Ok(Some(Err(error))) => {
                tell(error.to_string());
                break;
            }
            Err(problem) => {
                tell(problem);
                break;
            }
        }
    }
    out.flush().map_err(OfflineError::Output)?;
    Ok(is_whole)
}

fn write_event(out: &mut impl Write, seq: Seq, record: &Record) -> std::io::Result<()> {
    let publish = &record.publish;
    let Some(event) = publish.events.first() else {
        return Ok(());
    };
    // CR and LF can only be white space between tokens here
    let data = String::from_utf8_lossy(&event.data).replace(['\r', '\n'], " ");
    let line = ShownEvent {
        seq: seq.0,
        name: &event.name,
        time: record.time,
        id: event.id.as_deref(),
        source: publish.source.as_deref(),
        producer: publish.producer.as_ref().map(ProducerLine::of),
        data: serde_json::from_str(&data)?,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}
