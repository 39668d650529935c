//! One world: an AppSync payload as an event of the log, and an event of the log as an AppSync `data` frame.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::decode::OperationId;
use crate::dialect::native_json::push_item;
use crate::dialect::ws_frame::push_text_header;
use crate::event::event_type::{is_reserved_type, is_valid_type};
use crate::event::incoming::is_valid_id;
use crate::event::{InvalidEvent, NewEvent, TopicPath};
use crate::log::{Batch, Item};

/// The type of a bare payload.
const BARE: &str = "event";

/// One payload, which must be valid JSON text, as an event of the log. An object with no members but `type`,
/// `data` and perhaps `id`, whose type is a valid, unreserved name that `may_use` admits and whose data fits
/// it, is that event; anything else is type `event` with the whole payload as `data`, byte for byte.
///
/// `{"type":"event","data":…}` is a bare payload too: unwrapped, its readers would get something else than
/// was published.
pub fn new_event(payload: Bytes, may_use: impl Fn(&str) -> bool) -> Result<NewEvent, InvalidEvent> {
    match typed(&payload, may_use) {
        Some(event) => Ok(event),
        None => NewEvent::build(Cow::Borrowed(BARE), None, payload),
    }
}

fn typed(payload: &Bytes, may_use: impl Fn(&str) -> bool) -> Option<NewEvent> {
    let Envelope { name, id, data } = serde_json::from_slice(payload).ok()?;
    let name = name?;
    let is_name = name != BARE && is_valid_type(&name) && !is_reserved_type(&name);
    if !is_name || !may_use(&name) {
        return None;
    }
    let id = match id {
        Some(id) if !is_valid_id(&id) => return None,
        id => id.map(|id| id.into_owned().into_boxed_str()),
    };
    let data = payload.slice_ref(data?.get().as_bytes());
    NewEvent::build(name, id, data).ok()
}

/// The part of a `data` frame behind the subscription's id: `,"event":"…"}`. An `event` is its payload;
/// any other type is its envelope with its topic, as in a server-sent event.
pub fn data_tail(topic: &TopicPath, item: &Item) -> Bytes {
    match item {
        Item::Event(entry) if entry.name() == BARE => tail(&[entry.data()]),
        Item::Event(entry) => enveloped(topic, entry.envelope()),
        _ => {
            let mut envelope = Vec::with_capacity(512);
            push_item(&mut envelope, item);
            enveloped(topic, &envelope)
        }
    }
}

/// Those of a whole batch, in its order.
pub fn tails(topic: &TopicPath, batch: &Batch) -> Rc<[Bytes]> {
    let tail = |item: &Item| data_tail(topic, item);
    batch.items.iter().map(tail).collect()
}

/// Appends a reader's whole `{"type":"data","id":ID,"event":…}` as a text frame; many are written behind each
/// other. `id` is an [`OperationId`], which needs no escape.
pub fn push_data_frame(out: &mut Vec<u8>, id: &str, tail: &[u8]) {
    const HEAD: &[u8] = b"{\"type\":\"data\",\"id\":\"";
    debug_assert!(OperationId::parse(id).is_some(), "an id needs no escape");
    let len = HEAD.len() + id.len() + 1 + tail.len();
    out.reserve(len + 10);
    push_text_header(out, len);
    out.extend_from_slice(HEAD);
    out.extend_from_slice(id.as_bytes());
    out.push(b'"');
    out.extend_from_slice(tail);
}

fn enveloped(topic: &TopicPath, envelope: &[u8]) -> Bytes {
    tail(&[
        b"{\"topic\":\"",
        topic.as_str().as_bytes(),
        b"\",",
        // the envelope goes on where the topic ended
        &envelope[1..],
    ])
}

/// JSON in parts, as the string that a `data` frame has.
fn tail(parts: &[&[u8]]) -> Bytes {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    // room for a backslash before every eighth character
    let mut out = Vec::with_capacity(len + len / 8 + 16);
    out.extend_from_slice(b",\"event\":\"");
    for part in parts {
        push_escaped(&mut out, part);
    }
    out.extend_from_slice(b"\"}");
    out.into()
}

/// Appends JSON text as the inside of a JSON string. Of all characters that must be escaped there, valid
/// JSON has quotes, backslashes and the white space between its tokens.
fn push_escaped(out: &mut Vec<u8>, json: &[u8]) {
    let mut from = 0;
    for (at, byte) in json.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            _ => continue,
        };
        out.extend_from_slice(&json[from..at]);
        out.extend_from_slice(escape);
        from = at + 1;
    }
    out.extend_from_slice(&json[from..]);
}

/// An object that has these members and no others, each once.
#[derive(Default)]
struct Envelope<'a> {
    name: Option<Cow<'a, str>>,
    /// `null` is none, as in the native protocol.
    id: Option<Cow<'a, str>>,
    data: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        let mut envelope = Envelope::default();
        let (mut names, mut ids) = (0, 0);
        while let Some(name) = map.next_key::<Member>()? {
            let twice = match name {
                Member::Type => {
                    envelope.name = Some(map.next_value::<Text<'_>>()?.0);
                    names += 1;
                    names > 1
                }
                Member::Id => {
                    envelope.id = map.next_value::<Option<Text<'_>>>()?.map(|text| text.0);
                    ids += 1;
                    ids > 1
                }
                Member::Data => envelope.data.replace(map.next_value()?).is_some(),
            };
            if twice {
                return Err(serde::de::Error::custom("a member stands there twice"));
            }
        }
        Ok(envelope)
    }
}

/// Any other member is an error.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    Type,
    Id,
    Data,
}
