//! A publish as the log takes it: whole or not at all.

use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use super::fold::{MAX_OPEN, Owner};
use super::idempotency::{Producer, Range, Standing};
use super::topic_log::TopicLog;
use crate::event::{Content, Entry, Epoch, Map, NewContent, NewEvent, Seq};

/// One batch for one topic.
#[derive(Debug, Clone)]
pub struct Publish {
    pub events: Vec<NewEvent>,
    /// Who publishes; anonymous: the empty name.
    pub principal: Arc<str>,
    /// What the events' `source` says.
    pub source: Option<Arc<str>>,
    pub producer: Option<Producer>,
    /// The lease of the producer's run, in milliseconds: how long it may be gone before its messages are ended.
    pub lease_ms: Option<u64>,
}

impl Publish {
    /// What the broker itself says: nobody is its source.
    pub(super) fn by_the_broker(event: NewEvent) -> Self {
        Self {
            events: vec![event],
            principal: "".into(),
            source: None,
            producer: None,
            lease_ms: None,
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

/// What becomes of a message, before anything is applied.
#[derive(Debug, Clone, Copy)]
pub(super) enum Planned {
    Open,
    Ended,
}

/// A publish that was found valid and has its seqs; readers do not see it before `commit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// There is nothing to commit: a duplicate, or a batch without events.
    Known(Appended),
    New(Appended),
}

/// Messages as the accepted publishes that are not committed will leave them.
#[derive(Debug, Default)]
pub(super) struct Staged {
    messages: Map<Box<str>, (Planned, Owner)>,
    /// By how many they change the number of open messages.
    opened: isize,
}

impl TopicLog {
    /// Appends the batch, or says why not. `now`: Unix milliseconds.
    pub fn publish(&mut self, publish: &Publish, now: u64) -> Result<Appended, Refusal> {
        let appended = match self.admit(publish, now)? {
            Accepted::Known(appended) => return Ok(appended),
            Accepted::New(appended) => appended,
        };
        self.append_all(publish, &owner_of(publish), now);
        Ok(appended)
    }

    /// The first half of a publish, for an engine that must keep it before readers may see it: checks it
    /// against all that was accepted before, and gives it its seqs. `commit` in the same order is the other half;
    /// where that cannot be, the log is of no use any more.
    pub fn accept(&mut self, publish: &Publish, now: u64) -> Result<Accepted, Refusal> {
        let accepted = self.admit(publish, now)?;
        if let Accepted::New(_) = &accepted {
            self.stage(publish);
        }
        Ok(accepted)
    }

    /// Gives seqs to what the broker itself says; it is still to be committed.
    pub(super) fn assign(&mut self, publish: &Publish, now: u64) -> Appended {
        let appended = self.take_seqs(publish, now);
        self.stage(publish);
        appended
    }

    /// Shows readers what was accepted. `now` is what `accept` was told.
    pub fn commit(&mut self, publish: &Publish, now: u64) {
        self.append_all(publish, &owner_of(publish), now);
        if self.head() == self.accepted {
            self.staged = Staged::default();
        }
    }

    /// Open messages once everything accepted is committed.
    pub fn open_when_committed(&self) -> usize {
        self.folds
            .open_count()
            .saturating_add_signed(self.staged.opened)
    }

    fn admit(&mut self, publish: &Publish, now: u64) -> Result<Accepted, Refusal> {
        let known = |log: &Self, range, duplicate| {
            Accepted::Known(Appended {
                epoch: log.epoch().clone(),
                range,
                duplicate,
            })
        };
        if let Some(range) = self.known_answer(publish)? {
            return Ok(known(self, range, true));
        }
        self.check_messages(publish, &owner_of(publish))?;
        if publish.events.is_empty() {
            return Ok(known(self, None, false));
        }
        Ok(Accepted::New(self.take_seqs(publish, now)))
    }

    fn take_seqs(&mut self, publish: &Publish, now: u64) -> Appended {
        let range = (
            self.accepted.next(),
            self.accepted.plus(publish.events.len() as u64),
        );
        self.accepted = range.1;
        self.remember(publish, range, now);
        Appended {
            epoch: self.epoch().clone(),
            range: Some(range),
            duplicate: false,
        }
    }

    /// What makes a retry known.
    pub(super) fn remember(&mut self, publish: &Publish, range: Range, now: u64) {
        let mut seq = range.0;
        for event in &publish.events {
            if let Some(id) = &event.id {
                self.ids.insert(id, seq, range, now);
            }
            seq = seq.next();
        }
        if let Some(producer) = &publish.producer {
            let first_of_run = self
                .producers
                .record(&publish.principal, producer, range, now);
            self.has_new_run |= first_of_run;
        }
    }

    fn stage(&mut self, publish: &Publish) {
        let owner = owner_of(publish);
        for event in &publish.events {
            let Some(message) = event.content.message_id() else {
                continue;
            };
            let was_open = self.is_open(message);
            let ends = matches!(event.content, NewContent::Ended { .. });
            self.staged.opened += isize::from(!ends) - isize::from(was_open);
            let planned = if ends { Planned::Ended } else { Planned::Open };
            match self.staged.messages.get_mut(message) {
                Some((known, _)) => *known = planned,
                None => {
                    let owner = owner.clone();
                    self.staged
                        .messages
                        .insert(message.into(), (planned, owner));
                }
            }
        }
    }

    fn is_open(&self, message: &str) -> bool {
        match self.staged.messages.get(message) {
            Some((Planned::Open, _)) => true,
            Some((Planned::Ended, _)) => false,
            None => self.folds.get(message).is_some(),
        }
    }

    /// Appends what was found valid.
    pub(super) fn append_all(&mut self, publish: &Publish, owner: &Owner, now: u64) {
        for event in &publish.events {
            let entry = self.fold_in(event, publish, owner, now);
            let entry = self.push(entry);
            if let Content::Control { message } = &entry.content {
                let is_over = |message: &Arc<str>| self.folds.has_ended(message);
                if !message.as_ref().is_some_and(is_over) {
                    self.controls.push(entry);
                }
            }
        }
        self.retain(now);
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
        let mut open = self.open_when_committed();
        for (index, event) in publish.events.iter().enumerate() {
            let Some(message) = event.content.message_id() else {
                continue;
            };
            let fold = self.folds.get(message);
            let staged = self.staged.messages.get(message);
            let before = planned.get(message).or(staged.map(|(planned, _)| planned));
            let (is_open, has_ended) = match before {
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
            if staged.is_some_and(|(_, known)| known != owner) {
                return Err(Refusal::MessageOwned { index });
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
        let epoch = publish.producer.as_ref().map_or(0, |p| p.epoch);
        let run = (epoch, publish.lease_ms);
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
pub(super) fn owner_of(publish: &Publish) -> Owner {
    match &publish.producer {
        Some(producer) => Owner::Producer(publish.principal.clone(), producer.id.clone()),
        None => Owner::Principal(publish.principal.clone()),
    }
}

/// The seqs of an answer, for those who only want to know how far the log reaches.
pub fn last_of(appended: &Appended) -> Option<Seq> {
    appended.range.map(|(_, last)| last)
}
