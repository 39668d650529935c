//! The lines of an export.
//!
//! `{"tidewire_log":1}`, then a line for each run, then for each topic a `topic` line, an `event` line for each of
//! its events in order of seq, and an `end` line; at last one `done` line. Without `end` a topic is not whole, and
//! without `done` the file.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::engine::disk::record::Record;
use crate::event::{NewEvent, Seq};
use crate::log::Publish;
use crate::log::checkpoint::{Checkpoint, EndedParts};
use crate::log::idempotency::Producer;

/// The version of this form.
pub const VERSION: u64 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub tidewire_log: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line<'a> {
    Run(RunLine),
    Topic(Box<TopicLine>),
    #[serde(borrow)]
    Event(Box<EventLine<'a>>),
    End(EndLine),
    Done(DoneLine),
}

/// The latest run of a producer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunLine {
    pub principal: String,
    pub producer: String,
    pub epoch: u64,
    pub attached: u64,
    pub time: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicLine {
    pub path: String,
    pub epoch: String,
    /// It has open messages.
    pub open: bool,
    pub checkpoint: Option<Checkpoint>,
    /// Principal, producer and epoch, since the checkpoint.
    pub fences: Vec<(String, String, u64)>,
    /// Acknowledged control events, since the checkpoint.
    pub acks: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventLine<'a> {
    pub seq: u64,
    /// The seqs of its publish.
    pub range: (u64, u64),
    pub time: u64,
    pub principal: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<ProducerLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    #[serde(rename = "type")]
    pub name: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub data: Data<'a>,
    /// The message that it ended, where its text is kept beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedParts>,
}

/// An event's data, byte for byte.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Data<'a> {
    #[serde(borrow)]
    Json(&'a RawValue),
    /// JSON with line breaks between its tokens, as a text.
    Text(Cow<'a, str>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProducerLine {
    pub id: String,
    pub epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

impl ProducerLine {
    pub fn of(producer: &Producer) -> Self {
        Self {
            id: producer.id.as_ref().to_owned(),
            epoch: producer.epoch,
            seq: producer.seq,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndLine {
    pub path: String,
    pub events: u64,
}

#[derive(Serialize, Deserialize, Debug, Default, Clone, Copy, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct DoneLine {
    pub topics: u64,
    pub events: u64,
}

impl<'a> EventLine<'a> {
    /// `None`: the record's data is no JSON, or there is no event in it.
    pub fn of(seq: Seq, record: &'a Record, ended: Option<EndedParts>) -> Option<Self> {
        let publish = &record.publish;
        let event = publish.events.first()?;
        let data = std::str::from_utf8(&event.data).ok()?;
        let data = match event.multiline {
            true => Data::Text(data.into()),
            false => Data::Json(serde_json::from_str(data).ok()?),
        };
        Some(Self {
            seq: seq.0,
            range: (record.range.0.0, record.range.1.0),
            time: record.time,
            principal: publish.principal.as_ref().into(),
            source: publish.source.as_deref().map(Into::into),
            producer: publish.producer.as_ref().map(ProducerLine::of),
            lease_ms: publish.lease_ms,
            name: event.name.as_ref().into(),
            id: event.id.as_deref().map(Into::into),
            data,
            ended,
        })
    }

    /// The record that the line tells of.
    pub fn record(&self) -> Result<Record, String> {
        let (first, last) = self.range;
        if first == 0 || self.seq < first || self.seq > last {
            return Err("`seq` is not in `range`".to_owned());
        }
        let data = match &self.data {
            Data::Json(data) => data.get(),
            Data::Text(text) => {
                let json: &RawValue = serde_json::from_str(text).map_err(|e| e.to_string())?;
                if json.get().len() != text.len() {
                    return Err("`text` has more than JSON in it".to_owned());
                }
                text.as_ref()
            }
        };
        let data = Bytes::copy_from_slice(data.as_bytes());
        let id = self.id.as_deref().map(Into::into);
        let event = NewEvent::build(self.name.as_ref().into(), id, data);
        let producer = self.producer.as_ref().map(|producer| Producer {
            id: producer.id.as_str().into(),
            epoch: producer.epoch,
            seq: producer.seq,
        });
        Ok(Record {
            publish: Publish {
                events: vec![event.map_err(|error| error.to_string())?],
                principal: self.principal.as_ref().into(),
                source: self.source.as_deref().map(Into::into),
                producer,
                lease_ms: self.lease_ms,
            },
            range: (Seq(first), Seq(last)),
            time: self.time,
        })
    }
}
