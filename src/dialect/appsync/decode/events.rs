//! The `events` of a publish: JSON texts inside JSON strings.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Limits;
use super::members::text;
use crate::broker::problem::{Code, Problem};
use crate::event::json;

/// The strings of `events`, decoded, and the array as it came.
pub struct Strings<'a> {
    pub raw: &'a RawValue,
    pub texts: Vec<Cow<'a, str>>,
}

impl<'a> Strings<'a> {
    /// An array of one to `max_events` strings.
    pub fn parse(raw: Option<&'a RawValue>, max_events: usize) -> Result<Self, Problem> {
        let no_array = || Problem::invalid_request("events", "`events` is missing or no array");
        let raw = raw.ok_or_else(no_array)?;
        let mut input = serde_json::Deserializer::from_str(raw.get());
        let items = Items { max: max_events }
            .deserialize(&mut input)
            .map_err(|_| no_array())?;
        let Some(items) = items else {
            let message = format!("input exceeded {max_events} event limit");
            return Err(Problem::new(Code::TooManyEvents, message));
        };
        if items.is_empty() {
            return Err(Problem::invalid_request("events", "`events` is empty"));
        }
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            texts.push(text(item).ok_or_else(|| {
                invalid(
                    index,
                    "is not a text that holds JSON (or has a lone surrogate)",
                )
            })?);
        }
        Ok(Self { raw, texts })
    }
}

/// What stands in the strings: JSON that can be kept. `owner` is what they were decoded from; a string
/// without escapes shares its bytes.
pub fn payloads(strings: Strings<'_>, owner: &Bytes) -> Result<Vec<Bytes>, Problem> {
    let payload = |(index, text): (usize, Cow<'_, str>)| {
        check(&text).map_err(|why| invalid(index, &why))?;
        Ok(match text {
            Cow::Borrowed(text) => owner.slice_ref(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        })
    };
    strings.texts.into_iter().enumerate().map(payload).collect()
}

/// The indexes of those that are over the limit.
pub fn too_large(payloads: &[Bytes], limits: Limits) -> impl Iterator<Item = usize> {
    let over = move |payload: &Bytes| payload.len() > limits.max_event_bytes;
    payloads
        .iter()
        .enumerate()
        .filter(move |(_, payload)| over(payload))
        .map(|(index, _)| index)
}

/// What `NewEvent::build` asks of its data; of the syntax serde says more.
fn check(payload: &str) -> Result<(), String> {
    let syntax = serde_json::from_str::<IgnoredAny>(payload);
    syntax.map_err(|error| format!("does not hold JSON: {error}"))?;
    let facts = json::check(payload);
    facts.map(drop).map_err(|fault| fault.to_string())
}

fn invalid(index: usize, why: &str) -> Problem {
    let mut problem = Problem::new(Code::InvalidEvent, format!("event {index} {why}"));
    problem.details.index = Some(index);
    problem.details.field = Some("events");
    problem
}

/// Keeps at most `max` items, so that a frame full of commas costs what a short one costs; `None`: there
/// are more.
struct Items {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for Items {
    type Value = Option<Vec<&'de RawValue>>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.max {
            match seq.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(Some(items)),
            }
        }
        let mut more = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            more = true;
        }
        Ok((!more).then_some(items))
    }
}
