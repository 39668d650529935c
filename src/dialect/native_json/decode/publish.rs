//! The body of a publish, over HTTP and in a frame.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{FaultKind, Said, quick, shape};
use crate::broker::agent::Lease;
use crate::broker::agent::runs::MAX_EPOCH;
use crate::broker::command::PublishRequest;
use crate::broker::problem::{Code, Problem};
use crate::event::incoming::is_valid_id;
use crate::event::{NewEvent, TopicPath};
use crate::log::idempotency::Producer;

/// What a publish may have.
#[derive(Debug, Clone, Copy)]
pub struct PublishLimits {
    pub max_event_bytes: usize,
    pub max_batch_events: usize,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `topic` and `events`")]
struct PublishBody<'a> {
    #[serde(borrow, default)]
    topic: Option<&'a RawValue>,
    #[serde(borrow, default)]
    events: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    producer: Option<ProducerBody<'a>>,
    #[serde(default)]
    lease_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `id`, `epoch` and `seq`")]
pub(super) struct ProducerBody<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(default)]
    pub epoch: Option<u64>,
    #[serde(default)]
    pub seq: Option<u64>,
}

/// `{"topic","events":[{"type","data","id?"}],"producer?"}`; unknown members are ignored. `body` must lie inside
/// `owner`, whose bytes the events then share. `fault`: what JSON could not say of it.
fn publish(
    body: &[u8],
    owner: &Bytes,
    fault: Option<&FaultKind>,
    limits: PublishLimits,
) -> Result<PublishRequest, Problem> {
    let quick = match fault {
        None => quick::body(body, owner, limits),
        Some(_) => None,
    };
    quick.map_or_else(|| publish_by_serde(body, owner, fault, limits), Ok)
}

pub(super) fn publish_by_serde(
    body: &[u8],
    owner: &Bytes,
    fault: Option<&FaultKind>,
    limits: PublishLimits,
) -> Result<PublishRequest, Problem> {
    if let Some(problem) = fault.and_then(|fault| fault.outside("body")) {
        return Err(problem);
    }
    let parsed: PublishBody = serde_json::from_slice(body).map_err(|e| shape(&e, "body"))?;
    let topic = topic_of(parsed.topic)?;
    let named = |problem: Problem| problem.about(topic.as_str());
    let lease = lease_of(parsed.lease_ms).map_err(named)?;
    let producer = parsed
        .producer
        .map(producer_of)
        .transpose()
        .map_err(named)?;
    let has_events = parsed
        .events
        .as_ref()
        .is_some_and(|events| !events.is_empty());
    if has_events
        && producer
            .as_ref()
            .is_some_and(|producer| producer.seq.is_none())
    {
        let message =
            "`producer.seq` is missing: it counts this producer's publishes to this topic from 1";
        return Err(named(Problem::invalid_request("producer.seq", message)));
    }
    let Some(raw_events) = parsed.events else {
        return Err(named(Problem::invalid_request(
            "events",
            "`events` is missing",
        )));
    };
    let count = fault
        .and_then(FaultKind::too_many_events)
        .unwrap_or(raw_events.len());
    if count == 0 && producer.is_none() {
        return Err(named(Problem::invalid_request(
            "events",
            "`events` is empty",
        )));
    }
    if count > limits.max_batch_events {
        let message = format!(
            "the batch has {count} events; {} are allowed",
            limits.max_batch_events
        );
        return Err(named(Problem::new(Code::TooManyEvents, message)));
    }
    let mut events = Vec::with_capacity(raw_events.len());
    for (index, raw) in raw_events.into_iter().enumerate() {
        let event = match fault.and_then(|fault| fault.event(index)) {
            Some(why) => Err(why),
            None => NewEvent::parse(raw, owner, limits.max_event_bytes),
        };
        events.push(event.map_err(|why| named(Problem::invalid_event(index, why)))?);
    }
    Ok(PublishRequest {
        topic,
        events,
        producer,
        lease,
        bytes: body.len(),
    })
}

/// One body, or an array of them of which each stands or falls by itself.
pub enum PublishBodies {
    One(PublishRequest),
    Many(Vec<Result<PublishRequest, Problem>>),
}

/// Bodies that an array may have.
pub const MAX_BODIES: usize = 1000;

/// The body of `POST /v1/publish`.
pub fn publish_bodies(body: &Bytes, limits: PublishLimits) -> Result<PublishBodies, Problem> {
    bodies(body, |_| None, limits)
}

/// The same for a body that was said in another encoding.
pub fn publish_bodies_of(said: &Said, limits: PublishLimits) -> Result<PublishBodies, Problem> {
    bodies(&said.json, |index| said.fault(index), limits)
}

fn bodies<'s>(
    body: &Bytes,
    fault: impl Fn(usize) -> Option<&'s FaultKind>,
    limits: PublishLimits,
) -> Result<PublishBodies, Problem> {
    let is_array = body.iter().find(|c| !c.is_ascii_whitespace()) == Some(&b'[');
    if !is_array {
        return publish(body, body, fault(0), limits).map(PublishBodies::One);
    }
    let bodies: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|e| Problem::invalid_json(&e))?;
    if bodies.len() > MAX_BODIES {
        let message = format!(
            "the array has {} bodies; {MAX_BODIES} are allowed",
            bodies.len()
        );
        return Err(Problem::new(Code::TooManyEvents, message));
    }
    let one = |(index, raw): (usize, &RawValue)| {
        publish(raw.get().as_bytes(), body, fault(index), limits)
    };
    Ok(PublishBodies::Many(
        bodies.into_iter().enumerate().map(one).collect(),
    ))
}

/// Milliseconds, from a second to ten minutes.
pub(super) fn lease_of(ms: Option<u64>) -> Result<Option<Lease>, Problem> {
    let out_of_range = || {
        let (min, max) = (Lease::MIN_MS, Lease::MAX_MS);
        Problem::invalid_request("lease_ms", format!("`lease_ms` is {min} to {max}"))
    };
    ms.map(|ms| Lease::from_ms(ms).ok_or_else(out_of_range))
        .transpose()
}

pub(super) fn topic_of(raw: Option<&RawValue>) -> Result<TopicPath, Problem> {
    let raw = raw.ok_or_else(|| Problem::invalid_request("topic", "`topic` is missing"))?;
    let not_text = |_| Problem::new(Code::InvalidTopic, "`topic` is not a text");
    let text: Cow<'_, str> = serde_json::from_str(raw.get()).map_err(not_text)?;
    TopicPath::parse(&text).map_err(|why| Problem::invalid_topic(&text, why))
}

pub(super) fn check_producer_id(id: &str) -> Result<(), Problem> {
    let message = "`producer.id` is 1 to 128 characters without controls";
    is_valid_id(id)
        .then_some(())
        .ok_or_else(|| Problem::invalid_request("producer.id", message))
}

pub(super) fn check_epoch(epoch: u64) -> Result<(), Problem> {
    let too_large = || {
        let message = format!("`producer.epoch` is at most {MAX_EPOCH}");
        Problem::invalid_request("producer.epoch", message)
    };
    (epoch <= MAX_EPOCH).then_some(()).ok_or_else(too_large)
}

pub(super) fn producer_of(body: ProducerBody<'_>) -> Result<Producer, Problem> {
    check_producer_id(&body.id)?;
    if body.seq == Some(0) {
        return Err(Problem::invalid_request(
            "producer.seq",
            "`producer.seq` counts from 1",
        ));
    }
    let Some(epoch) = body.epoch else {
        return Err(Problem::invalid_request(
            "producer.epoch",
            "`producer.epoch` is missing: a run of a producer has a number of its own, higher than the last one's",
        ));
    };
    check_epoch(epoch)?;
    Ok(Producer {
        id: body.id.into(),
        epoch,
        seq: body.seq,
    })
}
