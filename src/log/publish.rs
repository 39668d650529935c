//! A publish as the log takes it: whole or not at all.

use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use super::fold::{MAX_OPEN, Owner};
use super::idempotency::{Producer, Range, Standing};
use super::topic_log::TopicLog;
use crate::event::{Content, Entry, Epoch, NewContent, NewEvent, Seq};

/// One batch for one topic.
#[derive(Debug, Clone)]
pub struct Publish {
    pub events: Vec<NewEvent>,
    /// Who publishes; anonymous: the empty name.
    pub principal: Arc<str>,
    /// What the events' `source` says.
    pub source: Option<Arc<str>>,
    pub producer: Option<Producer>,
}

impl Publish {
    /// What the broker itself says: nobody is its source.
    pub(super) fn by_the_broker(event: NewEvent) -> Self {
        Self {
            events: vec![event],
            principal: "".into(),
            source: None,
            producer: None,
        }
    }
}

/// What a publish is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    pub epoch: Epoch,
    /// `None`: nothing was appended, or a duplicate so old that the answer is forgotten.
    pub range: Option<Range>,
    pub duplicate: bool,
}

/// Why a publish is refused. Nothing of it was kept. An index counts from 0.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("the producer's next seq for this topic is {expected}")]
    ProducerGap { expected: u64 },
    #[error("a newer run of this producer is there (epoch {current}): this one is over")]
    ProducerFenced { current: u64 },
    #[error("this producer is not known here: raise its epoch and start at seq 1")]
    ProducerUnknown,
    #[error("the topic remembers {limit} producers already; reuse producer ids", limit = super::idempotency::MAX_PRODUCERS)]
    TooManyProducers,
    #[error("the broker looks after as many producers as it can: try again when some are done")]
    TooManyAgents,
    #[error("this producer begins runs faster than old ones can be ended")]
    TooManyRuns,
    #[error("event {index}: the message belongs to another publisher")]
    MessageOwned { index: usize },
    #[error("event {index}: the message has ended")]
    MessageEnded { index: usize },
    #[error("event {index}: the topic has {MAX_OPEN} open messages already; end one first")]
    TooManyOpenMessages { index: usize },
    #[error("event {index}: a message has at most {limit} pairs of part and kind", limit = super::fold::MAX_PARTS)]
    TooManyParts { index: usize },
    #[error("some event ids of the batch are known and some are not, or one stands there twice")]
    IdConflict { indexes: Vec<usize> },
}

/// What becomes of a message within the batch, before anything is applied.
enum Planned {
    Open,
    Ended,
}

impl TopicLog {
    /// Appends the batch, or says why not. `now`: Unix milliseconds.
    pub fn publish(&mut self, publish: &Publish, now: u64) -> Result<Appended, Refusal> {
        if let Some(known) = self.known_answer(publish)? {
            return Ok(Appended {
                epoch: self.epoch().clone(),
                range: known,
                duplicate: true,
            });
        }
        let owner = owner_of(publish);
        self.check_messages(publish, &owner)?;
        if publish.events.is_empty() {
            return Ok(Appended {
                epoch: self.epoch().clone(),
                range: None,
                duplicate: false,
            });
        }
        let range = self.append_all(publish, &owner, now);
        if let Some(producer) = &publish.producer {
            let first_of_run = self
                .producers
                .record(&publish.principal, producer, range, now);
            self.has_new_run |= first_of_run;
        }
        Ok(Appended {
            epoch: self.epoch().clone(),
            range: Some(range),
            duplicate: false,
        })
    }

    /// Appends what was found valid.
    pub(super) fn append_all(&mut self, publish: &Publish, owner: &Owner, now: u64) -> Range {
        let range = (
            self.head().next(),
            self.head().plus(publish.events.len() as u64),
        );
        for event in &publish.events {
            let entry = self.fold_in(event, publish, owner, now);
            if let Some(id) = &event.id {
                self.ids.insert(id, entry.seq, range, now);
            }
            let entry = self.push(entry);
            if let Content::Control { message } = &entry.content {
                let is_over = |message: &Arc<str>| self.folds.has_ended(message);
                if !message.as_ref().is_some_and(is_over) {
                    self.controls.push(entry);
                }
            }
        }
        self.retain(now);
        range
    }

    /// `Some`: this publish was answered before, with that range.
    fn known_answer(&self, publish: &Publish) -> Result<Option<Option<Range>>, Refusal> {
        if let Some(producer) = &publish.producer {
            if publish.events.is_empty() {
                // a heartbeat: it takes no seq, but a run that is over is told so
                return match self.producers.epoch(&publish.principal, &producer.id) {
                    Some(current) if current > producer.epoch => {
                        Err(Refusal::ProducerFenced { current })
                    }
                    _ => Ok(None),
                };
            }
            match self.producers.standing(&publish.principal, producer) {
                Standing::Next => {}
                Standing::Duplicate(range) => return Ok(Some(range)),
                Standing::Gap { expected } => return Err(Refusal::ProducerGap { expected }),
                Standing::Fenced { current } => return Err(Refusal::ProducerFenced { current }),
                Standing::Unknown => return Err(Refusal::ProducerUnknown),
                Standing::Full => return Err(Refusal::TooManyProducers),
            }
        }
        self.known_ids(&publish.events)
    }

    fn known_ids(&self, events: &[NewEvent]) -> Result<Option<Option<Range>>, Refusal> {
        let mut known: Option<Range> = None;
        let mut known_at = Vec::new();
        let mut seen = HashMap::new();
        let mut with_id = 0;
        for (index, event) in events.iter().enumerate() {
            let Some(id) = event.id.as_deref() else {
                continue;
            };
            with_id += 1;
            if let Some((first, last)) = self.ids.get(id) {
                known_at.push(index);
                known = Some(known.map_or((first, last), |k| (k.0.min(first), k.1.max(last))));
            }
            if events.len() > 1
                && let Some(earlier) = seen.insert(id, index)
            {
                return Err(Refusal::IdConflict {
                    indexes: vec![earlier, index],
                });
            }
        }
        match known {
            // beside events without an id, only the very same batch is the retry of one
            Some((first, last))
                if known_at.len() == with_id
                    && (with_id == events.len() || last.0 - first.0 + 1 == events.len() as u64) =>
            {
                Ok(Some(Some((first, last))))
            }
            Some(_) => Err(Refusal::IdConflict { indexes: known_at }),
            None => Ok(None),
        }
    }

    /// Looks at every event of the batch as if those before it were applied.
    fn check_messages(&self, publish: &Publish, owner: &Owner) -> Result<(), Refusal> {
        let mut planned: HashMap<&str, Planned> = HashMap::new();
        let mut open = self.folds.open_count();
        for (index, event) in publish.events.iter().enumerate() {
            let Some(message) = event.content.message_id() else {
                continue;
            };
            let fold = self.folds.get(message);
            let (is_open, has_ended) = match planned.get(message) {
                Some(Planned::Open) => (true, false),
                Some(Planned::Ended) => (false, true),
                None => (
                    fold.is_some(),
                    fold.is_none() && self.folds.has_ended(message),
                ),
            };
            if has_ended {
                return Err(Refusal::MessageEnded { index });
            }
            if let Some(fold) = fold {
                if fold.owner != *owner {
                    return Err(Refusal::MessageOwned { index });
                }
                if let NewContent::Delta { part, kind, .. } = event.content
                    && !fold.has_room_for(part, kind)
                {
                    return Err(Refusal::TooManyParts { index });
                }
            }
            let ends = matches!(event.content, NewContent::Ended { .. });
            match (is_open, ends) {
                (false, false) if open >= MAX_OPEN => {
                    return Err(Refusal::TooManyOpenMessages { index });
                }
                (false, false) => open += 1,
                (true, true) => open -= 1,
                _ => {}
            }
            if publish.events.len() > 1 {
                planned.insert(message, if ends { Planned::Ended } else { Planned::Open });
            }
        }
        Ok(())
    }

    /// Moves the event into the folds and makes it an entry with the next seq.
    fn fold_in(&mut self, event: &NewEvent, publish: &Publish, owner: &Owner, now: u64) -> Entry {
        let seq = self.head().next();
        let source = publish.source.clone();
        let folds = &mut self.folds;
        let run = publish.producer.as_ref().map_or(0, |p| p.epoch);
        let mut open = |id: &str| folds.open(id, || owner.clone(), run, source.as_ref(), seq);
        match &event.content {
            NewContent::Plain => Entry::new(event, seq, now, source, |_| Content::Plain),
            NewContent::Control { message_id } => {
                let message = message_id.as_deref().map(Into::into);
                Entry::new(event, seq, now, source, |_| Content::Control { message })
            }
            NewContent::Started { message_id } => {
                let message = open(message_id);
                folds.start(&message, &event.data, seq, now);
                Entry::new(event, seq, now, source, |_| Content::Started { message })
            }
            NewContent::Delta {
                message_id,
                kind,
                part,
                text,
                other_keys,
            } => {
                let message = open(message_id);
                let escaped = &event.data[text.start as usize..text.end as usize];
                folds.append(&message, *part, *kind, escaped, seq, now);
                let mergeable = event.id.is_none() && !other_keys;
                Entry::new(event, seq, now, source, |data_at| Content::Delta {
                    message,
                    kind: *kind,
                    part: *part,
                    text: text.start + data_at..text.end + data_at,
                    mergeable,
                })
            }
            NewContent::Ended {
                message_id,
                whole_text,
            } => {
                let message = open(message_id);
                let ended = Arc::new(folds.end(&message, whole_text.clone()));
                self.controls.message_ended(&message);
                self.to_compact.push_back((now, seq, message));
                Entry::new(event, seq, now, source, |_| Content::Ended { ended })
            }
        }
    }
}

/// A message belongs to the producer that opened it, or, without a producer, to the principal.
fn owner_of(publish: &Publish) -> Owner {
    match &publish.producer {
        Some(producer) => Owner::Producer(publish.principal.clone(), producer.id.clone()),
        None => Owner::Principal(publish.principal.clone()),
    }
}

/// The seqs of an answer, for those who only want to know how far the log reaches.
pub fn last_of(appended: &Appended) -> Option<Seq> {
    appended.range.map(|(_, last)| last)
}
