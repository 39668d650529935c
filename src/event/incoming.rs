//! An event as a publisher sends it: checked completely, not yet numbered.

mod fields;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;
use thiserror::Error;

use super::entry::TextKind;
use super::event_type::{EventType, is_reserved_type, is_valid_type, printable};
use super::json::{Facts, Scan, Text};

pub use fields::Fields;

/// Characters a message, producer or event id may have.
pub const MAX_ID_CHARS: usize = 128;

/// One valid event of a publish. `data` is a slice of the request's bytes until it is kept.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub name: Cow<'static, str>,
    pub id: Option<Box<str>>,
    pub data: Bytes,
    /// `data` holds CR or LF between its tokens.
    pub multiline: bool,
    pub content: NewContent,
}

/// What the broker itself understands of an event.
#[derive(Debug, Clone)]
pub enum NewContent {
    Plain,
    /// `run.*`: from a client to the agents of a topic, about a message or about them all.
    Control {
        message_id: Option<Box<str>>,
    },
    Started {
        message_id: Box<str>,
    },
    Delta {
        message_id: Box<str>,
        kind: TextKind,
        part: u16,
        /// Where in `data` the text stands, escaped as it came, without its quotes.
        text: Range<u32>,
        /// Whether `data` has keys beyond the built-in ones (then it is never merged).
        other_keys: bool,
    },
    Ended {
        message_id: Box<str>,
        /// `message.completed` with `text`: the whole answer, which replaces the parts of kind `text`.
        whole_text: Option<Range<u32>>,
    },
}

impl NewContent {
    /// The message that the event is a part of.
    pub fn message_id(&self) -> Option<&str> {
        match self {
            Self::Plain | Self::Control { .. } => None,
            Self::Started { message_id }
            | Self::Delta { message_id, .. }
            | Self::Ended { message_id, .. } => Some(message_id),
        }
    }
}

/// Why an event is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidEvent {
    #[error("`{field}` {problem}")]
    Field {
        field: &'static str,
        problem: String,
    },
    #[error("`{0}` is reserved: only the broker publishes `message.snapshot` and `tidewire.*`")]
    Reserved(String),
    #[error("the event has {bytes} bytes; {limit} are allowed")]
    TooLarge { bytes: usize, limit: usize },
}

impl InvalidEvent {
    fn field(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Field {
            field,
            problem: problem.into(),
        }
    }
}

/// The members of an event before they are looked at; unknown ones are ignored.
#[derive(Deserialize, Default)]
struct Members<'a> {
    #[serde(borrow, default, rename = "type", deserialize_with = "present")]
    name: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

/// `null` counts as a value here: it is valid `data`.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(input: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(input).map(Some)
}

impl NewEvent {
    /// A message is open after it: somebody has to look after that.
    pub fn keeps_message_open(&self) -> bool {
        matches!(
            self.content,
            NewContent::Started { .. } | NewContent::Delta { .. }
        )
    }

    /// For the agents of the topic.
    pub fn is_control(&self) -> bool {
        matches!(self.content, NewContent::Control { .. })
    }

    /// Checks one event of a publish. `raw` must lie inside `owner`, which the event's `data` then shares.
    pub fn parse(raw: &RawValue, owner: &Bytes, max_bytes: usize) -> Result<Self, InvalidEvent> {
        let bytes = raw.get().len();
        if bytes > max_bytes {
            return Err(InvalidEvent::TooLarge {
                bytes,
                limit: max_bytes,
            });
        }
        let members: Members = serde_json::from_str(raw.get()).map_err(|e| {
            InvalidEvent::field(
                "event",
                format!("is not an object with `type` and `data`: {e}"),
            )
        })?;
        let name = members
            .name
            .ok_or_else(|| InvalidEvent::field("type", "is missing"))?;
        let name = text_of(name.get(), "type")?;
        let data = members
            .data
            .ok_or_else(|| InvalidEvent::field("data", "is missing"))?;
        let id = match members.id.filter(|id| id.get() != "null") {
            Some(id) => Some(checked_id(text_of(id.get(), "id")?, "id")?),
            None => None,
        };
        Self::build(name, id, owner.slice_ref(data.get().as_bytes()))
    }

    /// Checks an event given by its parts. `data` must be valid JSON text.
    pub fn build(
        name: Cow<'_, str>,
        id: Option<Box<str>>,
        data: Bytes,
    ) -> Result<Self, InvalidEvent> {
        check_type(&name)?;
        // JSON is UTF-8; nothing is no JSON
        let mut scan = Scan::new(std::str::from_utf8(&data).unwrap_or_default());
        let read = scan.afresh(Fields::read);
        let (fields, _, facts) = read
            .and_then(|read| scan.end().map(|()| read))
            .map_err(|fault| InvalidEvent::field("data", fault.to_string()))?;
        let content = content_of(&name, &data, fields)?;
        Ok(Self::new(name, id, data, facts, content))
    }

    /// Checks an event whose `data` was read already: `fields` and `facts` are what was found there.
    pub fn of_parts(
        name: Cow<'_, str>,
        id: Option<Cow<'_, str>>,
        data: Bytes,
        fields: Fields<'_>,
        facts: Facts,
    ) -> Result<Self, InvalidEvent> {
        check_type(&name)?;
        let id = id.map(|id| checked_id(id, "id")).transpose()?;
        let content = content_of(&name, &data, fields)?;
        Ok(Self::new(name, id, data, facts, content))
    }

    fn new(
        name: Cow<'_, str>,
        id: Option<Box<str>>,
        data: Bytes,
        facts: Facts,
        content: NewContent,
    ) -> Self {
        let name = static_name(&name).map_or_else(|| Cow::Owned(name.into_owned()), Cow::Borrowed);
        Self {
            name,
            id,
            data,
            multiline: facts.multiline,
            content,
        }
    }
}

fn check_type(name: &str) -> Result<(), InvalidEvent> {
    if is_reserved_type(name) {
        return Err(InvalidEvent::Reserved(printable(name)));
    }
    if !is_valid_type(name) {
        let problem = "is not 1 to 128 of `A-Z a-z 0-9 _ - .` in at least two dotted segments";
        return Err(InvalidEvent::field("type", problem));
    }
    Ok(())
}

/// The names nearly every event has need no allocation.
fn static_name(name: &str) -> Option<&'static str> {
    const KNOWN: [&str; 4] = [
        "token.delta",
        "message.started",
        "message.completed",
        "event",
    ];
    KNOWN.into_iter().find(|known| *known == name)
}

/// `raw`: valid JSON.
fn text_of<'a>(raw: &'a str, field: &'static str) -> Result<Cow<'a, str>, InvalidEvent> {
    let text = Scan::new(raw).string().ok();
    text.and_then(Text::decoded)
        .ok_or_else(|| InvalidEvent::field(field, "is not a text (or has a lone surrogate)"))
}

/// 1 to 128 characters, no controls.
pub fn is_valid_id(id: &str) -> bool {
    let is_plain = id.bytes().all(|c| matches!(c, b' '..=b'~'));
    match is_plain {
        true => (1..=MAX_ID_CHARS).contains(&id.len()),
        false => !id.chars().any(char::is_control) && id.chars().count() <= MAX_ID_CHARS,
    }
}

fn checked_id(id: Cow<'_, str>, field: &'static str) -> Result<Box<str>, InvalidEvent> {
    if is_valid_id(&id) {
        Ok(id.into())
    } else {
        Err(InvalidEvent::field(
            field,
            "is not 1 to 128 characters without controls",
        ))
    }
}

fn content_of(name: &str, data: &Bytes, fields: Fields<'_>) -> Result<NewContent, InvalidEvent> {
    let event_type = EventType::of(name);
    if event_type == EventType::Other {
        return Ok(NewContent::Plain);
    }
    if event_type == EventType::OtherRun {
        let named = fields
            .fault
            .is_none()
            .then_some(fields.message_id)
            .flatten();
        let message_id = named.and_then(|id| {
            checked_id(text_of(id, "data.message_id").ok()?, "data.message_id").ok()
        });
        return Ok(NewContent::Control { message_id });
    }
    if let Some(fault) = fields.fault {
        let problem = format!("does not fit `{name}`: {fault}");
        return Err(InvalidEvent::field("data", problem));
    }
    let message_id = || {
        checked_id(
            text_of(
                need(fields.message_id, "data.message_id")?,
                "data.message_id",
            )?,
            "data.message_id",
        )
    };
    match event_type {
        EventType::TokenDelta => {
            let text = a_text(need(fields.text, "data.text")?, "data.text")?;
            Ok(NewContent::Delta {
                message_id: message_id()?,
                kind: kind_of(fields.kind)?,
                part: part_of(fields.part)?,
                text: inside_quotes(text, data),
                other_keys: fields.others,
            })
        }
        EventType::MessageStarted => Ok(NewContent::Started {
            message_id: message_id()?,
        }),
        EventType::MessageCompleted => {
            let whole_text = match fields.text.filter(|text| *text != "null") {
                Some(text) => Some(inside_quotes(a_text(text, "data.text")?, data)),
                None => None,
            };
            Ok(NewContent::Ended {
                message_id: message_id()?,
                whole_text,
            })
        }
        EventType::MessageInterrupted => {
            a_text(need(fields.reason, "data.reason")?, "data.reason")?;
            Ok(NewContent::Ended {
                message_id: message_id()?,
                whole_text: None,
            })
        }
        EventType::Memory => plain_with(fields.memory_id, "data.memory_id"),
        EventType::Navigation => plain_with(fields.to, "data.to"),
        EventType::Tool => plain_with(fields.call_id, "data.call_id"),
        EventType::AgentStatus => plain_with(fields.status, "data.status"),
        EventType::Run => {
            let about = match fields.message_id.filter(|id| *id != "null") {
                Some(_) => Some(message_id()?),
                None => None,
            };
            Ok(NewContent::Control { message_id: about })
        }
        EventType::OtherRun | EventType::Other => Ok(NewContent::Plain),
    }
}

fn need<'a>(value: Option<&'a str>, field: &'static str) -> Result<&'a str, InvalidEvent> {
    value.ok_or_else(|| InvalidEvent::field(field, "is missing"))
}

/// A value of `data` that is a text: that it can be decoded was seen when `data` was read.
fn a_text<'a>(raw: &'a str, field: &'static str) -> Result<&'a str, InvalidEvent> {
    match raw.starts_with('"') {
        true => Ok(raw),
        false => Err(InvalidEvent::field(field, "is not a text")),
    }
}

fn plain_with(value: Option<&str>, field: &'static str) -> Result<NewContent, InvalidEvent> {
    a_text(need(value, field)?, field).map(|_| NewContent::Plain)
}

fn kind_of(kind: Option<&str>) -> Result<TextKind, InvalidEvent> {
    let Some(kind) = kind else {
        return Ok(TextKind::Text);
    };
    let name = text_of(kind, "data.kind")?;
    TextKind::parse(&name).ok_or_else(|| {
        InvalidEvent::field("data.kind", "is none of `text`, `reasoning`, `tool_input`")
    })
}

fn part_of(part: Option<&str>) -> Result<u16, InvalidEvent> {
    let Some(part) = part else { return Ok(0) };
    part.parse()
        .map_err(|_| InvalidEvent::field("data.part", "is not an integer from 0 to 65535"))
}

/// Where in `data` the inside of a JSON string stands.
fn inside_quotes(text: &str, data: &Bytes) -> Range<u32> {
    let start = text.as_ptr() as usize - data.as_ptr() as usize + 1;
    let end = start + text.len() - 2;
    start as u32..end as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_event_is_for_the_agents() {
        let about = |text: &str| match parse(text).expect("valid").content {
            NewContent::Control { message_id } => message_id.map(String::from),
            other => panic!("{other:?}"),
        };
        let cancel = r#"{"type":"run.cancel","data":{"message_id":"m"}}"#;
        assert_eq!(about(cancel), Some("m".into()));
        assert_eq!(about(r#"{"type":"run.pause","data":"now"}"#), None);
        let resume = r#"{"type":"run.resume.later","data":{"message_id":"m","x":1}}"#;
        assert_eq!(about(resume), Some("m".into()));
        assert_eq!(field_of(r#"{"type":"run.cancel","data":"now"}"#), "data");
    }

    fn parse(text: &str) -> Result<NewEvent, InvalidEvent> {
        let owner = Bytes::copy_from_slice(text.as_bytes());
        let raw: &RawValue = serde_json::from_slice(&owner).expect("the syntax is valid");
        NewEvent::parse(raw, &owner, 1024)
    }

    fn field_of(text: &str) -> &'static str {
        match parse(text) {
            Err(InvalidEvent::Field { field, .. }) => field,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_delta_knows_where_its_text_stands() {
        let event = parse(r#"{"type":"token.delta","data":{"text":"a\"b","message_id":"m1"}}"#)
            .expect("valid");
        let NewContent::Delta {
            message_id,
            kind,
            part,
            text,
            other_keys,
        } = &event.content
        else {
            panic!("no delta");
        };
        assert_eq!(
            (&**message_id, *kind, *part, *other_keys),
            ("m1", TextKind::Text, 0, false)
        );
        assert_eq!(
            &event.data[text.start as usize..text.end as usize],
            br#"a\"b"#
        );
        assert_eq!(&event.data[..], br#"{"text":"a\"b","message_id":"m1"}"#);
    }

    #[test]
    fn data_is_kept_as_it_came() {
        let event =
            parse("{\"type\":\"my.type\",\"data\": { \"b\" : 1,\n\"a\":[ ] } }").expect("valid");
        assert_eq!(&event.data[..], b"{ \"b\" : 1,\n\"a\":[ ] }");
        assert!(event.multiline);
        assert_eq!(
            &parse(r#"{"type":"event","data":null}"#)
                .expect("valid")
                .data[..],
            b"null"
        );
    }

    #[test]
    fn a_fault_names_its_field() {
        assert_eq!(field_of(r#"{"data":1}"#), "type");
        assert_eq!(field_of(r#"{"type":"a.b"}"#), "data");
        assert_eq!(field_of(r#"{"type":7,"data":1}"#), "type");
        assert_eq!(field_of(r#"{"type":"nodots","data":1}"#), "type");
        assert_eq!(field_of(r#"{"type":"a.b","data":1,"id":""}"#), "id");
        assert_eq!(field_of(r#"{"type":"a.b","data":1,"id":"\ud800"}"#), "id");
        assert_eq!(field_of(r#"{"type":"a.b","data":"\ud800"}"#), "data");
        assert_eq!(
            field_of(r#"{"type":"token.delta","data":{"text":"x"}}"#),
            "data.message_id"
        );
        assert_eq!(
            field_of(r#"{"type":"token.delta","data":{"message_id":"m"}}"#),
            "data.text"
        );
        assert_eq!(
            field_of(r#"{"type":"token.delta","data":{"message_id":"m","text":1}}"#),
            "data.text"
        );
        assert_eq!(
            field_of(r#"{"type":"token.delta","data":{"message_id":"m\n","text":""}}"#),
            "data.message_id"
        );
        assert_eq!(
            field_of(r#"{"type":"token.delta","data":{"message_id":"m","text":"","part":65536}}"#),
            "data.part"
        );
        assert_eq!(
            field_of(r#"{"type":"token.delta","data":{"message_id":"m","text":"","kind":"x"}}"#),
            "data.kind"
        );
        assert_eq!(field_of(r#"{"type":"token.delta","data":[]}"#), "data");
        assert_eq!(
            field_of(r#"{"type":"token.delta","data":{"text":"a","text":"b","message_id":"m"}}"#),
            "data"
        );
        assert_eq!(
            field_of(r#"{"type":"message.interrupted","data":{"message_id":"m"}}"#),
            "data.reason"
        );
        assert_eq!(
            field_of(r#"{"type":"memory.created","data":{}}"#),
            "data.memory_id"
        );
        assert_eq!(
            field_of(r#"{"type":"navigation.requested","data":{}}"#),
            "data.to"
        );
        assert_eq!(field_of(r#"7"#), "event");
    }

    #[test]
    fn reserved_types_and_large_events_are_refused() {
        assert!(matches!(
            parse(r#"{"type":"message.snapshot","data":1}"#),
            Err(InvalidEvent::Reserved(_))
        ));
        assert!(matches!(
            parse(r#"{"type":"tidewire.gap","data":1}"#),
            Err(InvalidEvent::Reserved(_))
        ));
        let large = format!(r#"{{"type":"a.b","data":"{}"}}"#, "x".repeat(1024));
        assert!(matches!(
            parse(&large),
            Err(InvalidEvent::TooLarge { limit: 1024, .. })
        ));
    }
}
