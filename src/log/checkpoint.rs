//! A log's state without its events, for engines that keep both somewhere else.
//!
//! A log is brought back from its last checkpoint, the events before it that are still kept (`reread`: they
//! are only read) and those after it (`replay`: they are folded in again, as when they were published).
//! Answers to retries come back with the events; of a producer whose events are gone only its epoch and last
//! seq are known.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fold::{Fold, Owner};
use super::idempotency::Range;
use super::publish::{Publish, owner_of};
use super::retention::Retention;
use super::topic_log::TopicLog;
use crate::event::{Content, EndedMessage, Entry, Epoch, NewContent, Seq, TextPart};

/// The state of a log as of its head.
#[derive(Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    pub head: u64,
    first: u64,
    last_append: u64,
    trimmed_for_memory: bool,
    newest_control: u64,
    /// Control events that somebody acknowledged, or which are about ended messages, are not among them.
    controls: Vec<u64>,
    open: Vec<OpenMessage>,
    ended: Vec<Arc<str>>,
    to_compact: Vec<(u64, u64, Arc<str>)>,
    producers: Vec<KnownProducer>,
}

#[derive(Debug, Serialize, Deserialize)]
struct OpenMessage {
    message: Arc<str>,
    owner: Owner,
    run: u64,
    lease_ms: Option<u64>,
    source: Option<Arc<str>>,
    started: Option<Box<[u8]>>,
    parts: Vec<TextPart>,
    first_seq: u64,
    last_seq: u64,
    first_text_seq: Option<u64>,
    last_time: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct KnownProducer {
    principal: Arc<str>,
    id: Arc<str>,
    epoch: u64,
    last_seq: u64,
    last_time: u64,
}

/// What an end event keeps of its message, beside what the event says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedParts {
    pub parts: Vec<TextPart>,
    pub started: Option<Box<[u8]>>,
    /// Where in `data` the whole answer stands, and which part it is.
    pub whole_text: Option<(u32, u32, usize)>,
}

impl EndedParts {
    /// Of an entry of the log; `None`: it ends no message.
    pub fn of(entry: &Entry) -> Option<Self> {
        let Content::Ended { ended } = &entry.content else {
            return None;
        };
        Some(Self {
            parts: ended.parts.clone(),
            started: ended.started.clone(),
            whole_text: ended
                .whole_text
                .as_ref()
                .map(|(range, at)| (range.start, range.end, *at)),
        })
    }

    fn into_message(self, message: Arc<str>) -> EndedMessage {
        EndedMessage {
            message,
            parts: self.parts,
            started: self.started,
            whole_text: self.whole_text.map(|(start, end, at)| (start..end, at)),
        }
    }
}

/// An event that stood in the log before its checkpoint.
pub struct Reread<'a> {
    /// With this one event.
    pub publish: &'a Publish,
    pub seq: Seq,
    /// The seqs of the publish it was a part of.
    pub range: Range,
    pub time: u64,
    /// Of an end event.
    pub ended: Option<EndedParts>,
}

impl TopicLog {
    /// The state as of the head. Nothing accepted may wait to be committed.
    pub fn checkpoint(&self) -> Checkpoint {
        debug_assert_eq!(self.accepted, self.head());
        let open = |fold: &Fold| OpenMessage {
            message: fold.message.clone(),
            owner: fold.owner.clone(),
            run: fold.run,
            lease_ms: fold.lease_ms,
            source: fold.source.clone(),
            started: fold.started.clone(),
            parts: fold.parts.clone(),
            first_seq: fold.first_seq.0,
            last_seq: fold.last_seq.0,
            first_text_seq: fold.first_text_seq.map(|seq| seq.0),
            last_time: fold.last_time,
        };
        let producer =
            |(key, epoch, last_seq, last_time): (&(Arc<str>, Arc<str>), u64, u64, u64)| {
                KnownProducer {
                    principal: key.0.clone(),
                    id: key.1.clone(),
                    epoch,
                    last_seq,
                    last_time,
                }
            };
        Checkpoint {
            head: self.head().0,
            first: self.first().0,
            last_append: self.last_append(),
            trimmed_for_memory: self.trimmed_for_memory(),
            newest_control: self.controls.newest().0,
            controls: self.controls.pending().map(|entry| entry.seq.0).collect(),
            open: self.folds.in_order().into_iter().map(open).collect(),
            ended: self.folds.ended_in_order().cloned().collect(),
            to_compact: self
                .to_compact
                .iter()
                .map(|(time, seq, message)| (*time, seq.0, message.clone()))
                .collect(),
            producers: self.producers.summaries().map(producer).collect(),
        }
    }

    /// A log as of its checkpoint, still without events.
    pub fn restore(checkpoint: Checkpoint, epoch: Epoch, retention: Retention) -> Self {
        let mut log = Self::new(epoch, retention, checkpoint.last_append);
        log.set_edges(Seq(checkpoint.head), Seq(checkpoint.first));
        log.accepted = Seq(checkpoint.head);
        log.set_trimmed_for_memory(checkpoint.trimmed_for_memory);
        for open in checkpoint.open {
            log.folds.restore(Fold::restored(
                open.message,
                open.owner,
                (open.run, open.lease_ms),
                open.source,
                open.started,
                open.parts,
                (Seq(open.first_seq), Seq(open.last_seq)),
                open.first_text_seq.map(Seq),
                open.last_time,
            ));
        }
        for message in &checkpoint.ended {
            log.folds.remember_ended(message);
        }
        let to_compact = checkpoint.to_compact.into_iter();
        log.to_compact
            .extend(to_compact.map(|(time, seq, message)| (time, Seq(seq), message)));
        for producer in checkpoint.producers {
            log.producers.restore(
                (producer.principal, producer.id),
                producer.epoch,
                producer.last_seq,
                producer.last_time,
            );
        }
        log.controls.expect(
            checkpoint.controls.into_iter().map(Seq),
            Seq(checkpoint.newest_control),
        );
        log
    }

    /// Puts an event back that stood before the checkpoint. In order of seq; before any `replay`.
    pub fn reread(&mut self, event: Reread<'_>) {
        let Reread {
            publish,
            seq,
            range,
            time,
            ended,
        } = event;
        let [new] = publish.events.as_slice() else {
            return;
        };
        if let Some(id) = &new.id {
            self.ids.insert(id, seq, range, time);
        }
        if let Some(producer) = &publish.producer {
            self.producers
                .remember_answer(&publish.principal, producer, range);
        }
        let source = publish.source.clone();
        let entry = Entry::new(new, seq, time, source, |data_at| match &new.content {
            NewContent::Plain => Content::Plain,
            NewContent::Control { message_id } => Content::Control {
                message: message_id.as_deref().map(Into::into),
            },
            NewContent::Started { message_id } => Content::Started {
                message: (**message_id).into(),
            },
            NewContent::Delta {
                message_id,
                kind,
                part,
                text,
                other_keys,
            } => Content::Delta {
                message: (**message_id).into(),
                kind: *kind,
                part: *part,
                text: text.start + data_at..text.end + data_at,
                mergeable: new.id.is_none() && !other_keys,
            },
            NewContent::Ended { message_id, .. } => {
                let parts = ended.unwrap_or(EndedParts {
                    parts: Vec::new(),
                    started: None,
                    whole_text: None,
                });
                Content::Ended {
                    ended: Arc::new(parts.into_message((**message_id).into())),
                }
            }
        });
        let entry = Arc::new(entry);
        self.controls.came_back(&entry);
        if seq >= self.first() {
            self.push_back(entry);
        }
    }

    /// Puts a publish back that came after the checkpoint, as it was accepted then.
    pub fn replay(&mut self, publish: &Publish, range: Range, time: u64) {
        self.accepted = range.1;
        self.remember(publish, range, time);
        self.append_all(publish, &owner_of(publish), time);
    }

    /// What an agent said of itself that stands in no event: every run before `epoch` is fenced.
    pub fn restore_fence(&mut self, principal: &Arc<str>, producer: &Arc<str>, epoch: u64) {
        let now = self.last_append();
        self.producers.fence(principal, producer, epoch, now);
    }
}
