//! What must be true of topics and agents, as the protocol says it, without logs, leases or sessions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tidewire::log::Refusal;
use tidewire::log::control::{CONTROL_MEMORY_MS, MAX_CONTROLS};

use crate::oracle::Texts;

/// One event that somebody publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Delta {
        message: String,
        text: String,
    },
    End {
        message: String,
        whole: Option<String>,
    },
    Note,
    Control {
        message: Option<String>,
    },
}

/// Which run says it, and the number it gives the publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speaker {
    pub producer: usize,
    pub epoch: u64,
    pub seq: Option<u64>,
}

/// A publish; nobody's is a client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub by: Option<Speaker>,
    pub what: Vec<What>,
}

/// What a publish must be answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Expected {
    Appended,
    Duplicate(u64, u64),
    Nothing,
    Refused(Refusal),
}

#[derive(Debug)]
pub struct Message {
    pub owner: Option<usize>,
    /// The run that added to it last.
    pub run: u64,
    pub texts: Texts,
    pub ended: bool,
    pub last_seq: u64,
    pub last_time: u64,
}

#[derive(Debug, Default)]
struct Producer {
    epoch: u64,
    last_seq: u64,
    answers: Vec<(u64, u64)>,
}

#[derive(Debug)]
struct Control {
    seq: u64,
    time: u64,
    message: Option<String>,
}

#[derive(Debug, Default)]
pub struct Topic {
    pub head: u64,
    pub messages: BTreeMap<String, Message>,
    producers: BTreeMap<usize, Producer>,
    kept: Vec<Control>,
    /// Control events that nobody may get any more.
    pub gone: BTreeSet<u64>,
    /// Control events that nobody may get who comes now.
    pub acknowledged: BTreeSet<u64>,
}

impl What {
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Delta { message, .. } | Self::End { message, .. } => Some(message),
            Self::Note | Self::Control { .. } => None,
        }
    }

    /// Type and data, as they are published and as everybody must see them.
    pub fn event(&self) -> (&'static str, Value) {
        match self {
            Self::Delta { message, text } => {
                ("token.delta", json!({"message_id": message, "text": text}))
            }
            Self::End {
                message,
                whole: Some(text),
            } => (
                "message.completed",
                json!({"message_id": message, "text": text}),
            ),
            Self::End { message, .. } => ("message.completed", json!({"message_id": message})),
            Self::Note => ("memory.created", json!({"memory_id": "x"})),
            Self::Control { message: Some(id) } => ("run.cancel", json!({"message_id": id})),
            Self::Control { message: None } => ("run.steer", json!({"text": "on"})),
        }
    }
}

impl Topic {
    pub fn kept_controls(&self) -> impl Iterator<Item = u64> {
        self.kept.iter().map(|control| control.seq)
    }

    pub fn open(&self) -> impl Iterator<Item = (&String, &Message)> {
        self.messages.iter().filter(|(_, message)| !message.ended)
    }

    /// The highest epoch whose events are here, or which fenced the others.
    pub fn epoch_of(&self, producer: usize) -> u64 {
        self.producers.get(&producer).map_or(0, |known| known.epoch)
    }

    pub fn expect(&self, said: &Said) -> Expected {
        if let Some(by) = said.by
            && let Some(answer) = self.standing(by, said.what.is_empty())
        {
            return answer;
        }
        let owner = said.by.map(|by| by.producer);
        let mut ended_here = BTreeSet::new();
        for (index, what) in said.what.iter().enumerate() {
            let Some(id) = what.message() else { continue };
            let known = self.messages.get(id);
            if ended_here.contains(id) || known.is_some_and(|message| message.ended) {
                return Expected::Refused(Refusal::MessageEnded { index });
            }
            if known.is_some_and(|message| message.owner != owner) {
                return Expected::Refused(Refusal::MessageOwned { index });
            }
            if matches!(what, What::End { .. }) {
                ended_here.insert(id);
            }
        }
        if said.what.is_empty() {
            return Expected::Nothing;
        }
        Expected::Appended
    }

    /// `None`: it is that publish's turn.
    fn standing(&self, by: Speaker, is_heartbeat: bool) -> Option<Expected> {
        let known = self.producers.get(&by.producer);
        let current = known.map_or(0, |known| known.epoch);
        if by.epoch < current {
            return Some(Expected::Refused(Refusal::ProducerFenced { current }));
        }
        if is_heartbeat {
            return Some(Expected::Nothing);
        }
        let seq = by.seq?;
        let Some(known) = known else {
            return (seq != 1).then_some(Expected::Refused(Refusal::ProducerUnknown));
        };
        let last = if by.epoch == current {
            known.last_seq
        } else {
            0
        };
        if seq <= last {
            let (first, last) = known.answers[seq as usize - 1];
            return Some(Expected::Duplicate(first, last));
        }
        let expected = last + 1;
        (seq > expected).then_some(Expected::Refused(Refusal::ProducerGap { expected }))
    }

    /// It was acknowledged: from now on all of it is what everybody reads.
    pub fn append(&mut self, said: &Said, now: u64) {
        let first = self.head + 1;
        for what in &said.what {
            self.head += 1;
            let run = said.by.map_or(0, |by| by.epoch);
            match what {
                What::Delta { message, text } => {
                    let seq = self.head;
                    let owner = said.by.map(|by| by.producer);
                    let message = self.touch(message, owner, run, seq, now);
                    let key = (0, "text".to_owned());
                    message.texts.entry(key).or_default().push_str(text);
                }
                What::End { message, whole } => {
                    let seq = self.head;
                    let owner = said.by.map(|by| by.producer);
                    let told = self.touch(message, owner, run, seq, now);
                    if let Some(whole) = whole {
                        told.texts = Texts::from([((0, "text".into()), whole.clone())]);
                    }
                    self.end(&message.clone());
                }
                What::Note => {}
                What::Control { message } => self.keep_control(message.clone(), now),
            }
        }
        let Some(by) = said.by else { return };
        self.fence(by.producer, by.epoch);
        let known = self.producers.entry(by.producer).or_default();
        known.epoch = by.epoch;
        if let Some(seq) = by.seq {
            known.last_seq = seq;
            known.answers.push((first, self.head));
        }
    }

    fn touch(
        &mut self,
        id: &str,
        owner: Option<usize>,
        run: u64,
        seq: u64,
        now: u64,
    ) -> &mut Message {
        let message = self.messages.entry(id.to_owned()).or_insert(Message {
            owner,
            run,
            texts: Texts::new(),
            ended: false,
            last_seq: 0,
            last_time: 0,
        });
        (message.run, message.last_seq, message.last_time) = (run, seq, now);
        message
    }

    fn end(&mut self, id: &str) {
        let message = self.messages.get_mut(id).expect("it is open");
        assert!(!message.ended, "{id} ended twice");
        message.ended = true;
        self.drop_controls(|control| control.message.as_deref() == Some(id));
    }

    /// The broker ended it.
    pub fn interrupt(&mut self, id: &str) {
        self.head += 1;
        self.end(id);
    }

    /// A higher epoch is here: the numbers begin anew.
    pub fn fence(&mut self, producer: usize, epoch: u64) {
        if let Some(known) = self.producers.get_mut(&producer)
            && known.epoch < epoch
        {
            *known = Producer {
                epoch,
                ..Producer::default()
            };
        }
    }

    fn keep_control(&mut self, message: Option<String>, time: u64) {
        let is_over = |id: &String| self.messages.get(id).is_some_and(|message| message.ended);
        if message.as_ref().is_some_and(is_over) {
            self.gone.insert(self.head);
            return;
        }
        self.kept.push(Control {
            seq: self.head,
            time,
            message,
        });
        if self.kept.len() > MAX_CONTROLS {
            let oldest = self.kept.remove(0);
            self.gone.insert(oldest.seq);
        }
    }

    fn drop_controls(&mut self, is_gone: impl Fn(&Control) -> bool) {
        let (gone, kept) = std::mem::take(&mut self.kept)
            .into_iter()
            .partition(is_gone);
        self.kept = kept;
        self.gone
            .extend(Vec::into_iter(gone).map(|control: Control| control.seq));
    }

    pub fn acknowledge(&mut self, seq: u64) {
        self.acknowledged.insert(seq);
    }

    pub fn sweep(&mut self, now: u64) {
        self.drop_controls(|control| control.time + CONTROL_MEMORY_MS <= now);
    }
}
