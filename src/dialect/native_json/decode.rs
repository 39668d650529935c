//! What clients say: frames and publish bodies. Every input is bounded and answered with a clear error.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::broker::command::{Command, CommandId, PublishRequest, ReadOptions};
use crate::broker::problem::{Code, Problem};
use crate::event::cursor::Cursor;
use crate::event::event_type::{TypeFilter, printable};
use crate::event::incoming::is_valid_id;
use crate::event::{NewEvent, Position, TopicPath, TopicPattern};
use crate::log::idempotency::Producer;
use crate::log::window::round_up;
use crate::log::{ReadFrom, Replay};

/// Characters the `id` of a command may have where it is a text.
const MAX_COMMAND_ID: usize = 64;

/// What a publish may have.
#[derive(Debug, Clone, Copy)]
pub struct PublishLimits {
    pub max_event_bytes: usize,
    pub max_batch_events: usize,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with an `op`")]
struct Frame<'a> {
    #[serde(borrow)]
    op: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

/// Understands one frame. The connection lives on whatever it says.
pub fn command(frame: &Bytes, limits: PublishLimits) -> Command {
    let Frame { op, id } = match serde_json::from_slice(frame) {
        Ok(head) => head,
        Err(error) => {
            return Command::Refused {
                id: None,
                problem: frame_problem(&error),
            };
        }
    };
    let id = match command_id(id) {
        Ok(id) => id,
        Err(problem) => return Command::Refused { id: None, problem },
    };
    let understood = match op.as_deref() {
        Some("publish") => publish(frame, limits).map(|request| Command::Publish {
            id: id.clone(),
            request,
        }),
        Some("subscribe") => subscribe(frame, id.clone()),
        Some("unsubscribe") => unsubscribe(frame, id.clone()),
        Some("ping") => Ok(Command::Ping),
        Some("refresh") => Ok(Command::Refresh { id: id.clone() }),
        Some(other) => Err(Problem::invalid_request(
            "op",
            format!("`{}` is no op of this protocol", printable(other)),
        )),
        None => Err(Problem::invalid_request("op", "every frame has an `op`")),
    };
    understood.unwrap_or_else(|problem| Command::Refused { id, problem })
}

fn frame_problem(error: &serde_json::Error) -> Problem {
    if error.is_data() {
        Problem::invalid_request("op", format!("a frame is one object with an `op`: {error}"))
    } else {
        Problem::new(
            Code::InvalidJson,
            format!("the frame is not valid JSON: {error}"),
        )
    }
}

/// An integer, or a text of at most 64 characters.
fn command_id(raw: Option<&RawValue>) -> Result<CommandId, Problem> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        return Ok(None);
    };
    let integer = raw.get().parse::<i64>().is_ok() || raw.get().parse::<u64>().is_ok();
    let text = || {
        let text: Result<Cow<'_, str>, _> = serde_json::from_str(raw.get());
        text.is_ok_and(|text| text.chars().count() <= MAX_COMMAND_ID)
    };
    if integer || text() {
        return Ok(Some(raw.get().into()));
    }
    Err(Problem::invalid_request(
        "id",
        "`id` is an integer or a text of at most 64 characters",
    ))
}

fn shape(error: &serde_json::Error, fallback: &'static str) -> Problem {
    if error.is_data() {
        Problem::invalid_request(fallback, format!("not as the protocol has it: {error}"))
    } else {
        Problem::invalid_json(error)
    }
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
struct ProducerBody<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default)]
    epoch: Option<u64>,
    #[serde(default)]
    seq: Option<u64>,
}

/// `{"topic","events":[{"type","data","id?"}],"producer?"}`; unknown members are ignored.
pub fn publish(body: &Bytes, limits: PublishLimits) -> Result<PublishRequest, Problem> {
    publish_in(body, body, limits)
}

/// `body` must lie inside `owner`, whose bytes the events then share.
fn publish_in(
    body: &[u8],
    owner: &Bytes,
    limits: PublishLimits,
) -> Result<PublishRequest, Problem> {
    let parsed: PublishBody = serde_json::from_slice(body).map_err(|e| shape(&e, "body"))?;
    let topic = topic_of(parsed.topic)?;
    let named = |problem: Problem| problem.about(topic.as_str());
    if parsed
        .lease_ms
        .is_some_and(|ms| !(1_000..=600_000).contains(&ms))
    {
        return Err(named(Problem::invalid_request(
            "lease_ms",
            "`lease_ms` is 1000 to 600000",
        )));
    }
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
    if raw_events.is_empty() && producer.is_none() {
        return Err(named(Problem::invalid_request(
            "events",
            "`events` is empty",
        )));
    }
    if raw_events.len() > limits.max_batch_events {
        let message = format!(
            "the batch has {} events; {} are allowed",
            raw_events.len(),
            limits.max_batch_events
        );
        return Err(named(Problem::new(Code::TooManyEvents, message)));
    }
    let mut events = Vec::with_capacity(raw_events.len());
    for (index, raw) in raw_events.into_iter().enumerate() {
        let event = NewEvent::parse(raw, owner, limits.max_event_bytes);
        events.push(event.map_err(|why| named(Problem::invalid_event(index, why)))?);
    }
    Ok(PublishRequest {
        topic,
        events,
        producer,
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
    let is_array = body.iter().find(|c| !c.is_ascii_whitespace()) == Some(&b'[');
    if !is_array {
        return publish(body, limits).map(PublishBodies::One);
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
    let each = bodies
        .into_iter()
        .map(|raw| publish_in(raw.get().as_bytes(), body, limits));
    Ok(PublishBodies::Many(each.collect()))
}

fn topic_of(raw: Option<&RawValue>) -> Result<TopicPath, Problem> {
    let raw = raw.ok_or_else(|| Problem::invalid_request("topic", "`topic` is missing"))?;
    let not_text = |_| Problem::new(Code::InvalidTopic, "`topic` is not a text");
    let text: Cow<'_, str> = serde_json::from_str(raw.get()).map_err(not_text)?;
    TopicPath::parse(&text).map_err(|why| Problem::invalid_topic(&text, why))
}

fn producer_of(body: ProducerBody<'_>) -> Result<Producer, Problem> {
    if !is_valid_id(&body.id) {
        return Err(Problem::invalid_request(
            "producer.id",
            "`producer.id` is 1 to 128 characters without controls",
        ));
    }
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
    Ok(Producer {
        id: body.id.into(),
        epoch,
        seq: body.seq,
    })
}

#[derive(Deserialize)]
#[serde(expecting = "an object with a `topic`, `topics` or a `pattern`")]
struct SubscribeBody<'a> {
    #[serde(borrow, default)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    topics: Option<Vec<TopicFrom<'a>>>,
    #[serde(borrow, default)]
    pattern: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    from: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    cursor: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    replay: Option<Cow<'a, str>>,
    #[serde(default)]
    coalesce_ms: Option<u64>,
    #[serde(default)]
    types: Option<Vec<String>>,
}

/// One topic of a list and where its reading begins.
#[derive(Deserialize)]
#[serde(expecting = "an object with a `topic` and perhaps a `from`")]
pub struct TopicFrom<'a> {
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    #[serde(borrow, default)]
    pub from: Option<Cow<'a, str>>,
}

fn subscribe(frame: &Bytes, id: CommandId) -> Result<Command, Problem> {
    let body: SubscribeBody = serde_json::from_slice(frame).map_err(|e| shape(&e, "subscribe"))?;
    let options = read_options(
        body.replay.as_deref(),
        body.coalesce_ms,
        body.types.as_deref(),
    )?;
    let default_from = body.from.as_deref().map(read_from).transpose()?;
    if let Some(pattern) = &body.pattern {
        if body.topic.is_some() {
            return Err(Problem::invalid_request(
                "pattern",
                "a subscribe has a `topic`, `topics` or a `pattern`",
            ));
        }
        return subscribe_pattern(
            id,
            pattern,
            default_from,
            body.topics.unwrap_or_default(),
            options,
        );
    }
    let listed = match (body.topic, body.topics) {
        (Some(topic), None) => vec![TopicFrom { topic, from: None }],
        (None, Some(topics)) if !topics.is_empty() => topics,
        _ => {
            return Err(Problem::invalid_request(
                "topic",
                "a subscribe has a `topic`, `topics` or a `pattern`",
            ));
        }
    };
    let cursor = body.cursor.as_deref();
    let one = |entry: TopicFrom<'_>| {
        start_of(
            &entry.topic,
            entry.from.as_deref(),
            cursor,
            default_from.as_ref(),
        )
    };
    Ok(Command::Subscribe {
        id,
        topics: listed.into_iter().map(one).collect(),
        options,
    })
}

fn subscribe_pattern(
    id: CommandId,
    pattern: &str,
    from: Option<ReadFrom>,
    listed: Vec<TopicFrom<'_>>,
    options: ReadOptions,
) -> Result<Command, Problem> {
    let pattern = pattern_of(pattern)?;
    let mut positions = Vec::with_capacity(listed.len());
    for entry in listed {
        let topic = TopicPath::parse(&entry.topic)
            .map_err(|why| Problem::invalid_topic(&entry.topic, why))?;
        if !pattern.matches(&topic) {
            let message = format!("`{topic}` does not match `{}`", pattern.as_str());
            return Err(Problem::new(Code::InvalidTopic, message).about(topic.as_str()));
        }
        let position = entry
            .from
            .as_deref()
            .and_then(Position::parse)
            .ok_or_else(|| {
                Problem::new(
                    Code::InvalidCursor,
                    "beside a pattern, `topics` gives a position for each topic",
                )
                .about(topic.as_str())
            })?;
        positions.push((topic, position));
    }
    Ok(Command::SubscribePattern {
        id,
        pattern,
        from: from.unwrap_or(ReadFrom::Snapshot),
        positions,
        options,
    })
}

fn pattern_of(text: &str) -> Result<TopicPattern, Problem> {
    TopicPattern::parse(text).map_err(|_| {
        let mut problem = Problem::new(
            Code::InvalidTopic,
            format!(
                "`{}` is no pattern: its last segment is `*` or `**`, and no other has a star",
                printable(text)
            ),
        );
        problem.details.field = Some("pattern");
        problem
    })
}

/// Where the reading of one listed topic begins: its own `from`, else the cursor, else the common `from`.
pub fn start_of(
    topic: &str,
    own: Option<&str>,
    cursor: Option<&str>,
    common: Option<&ReadFrom>,
) -> Result<(TopicPath, ReadFrom), Problem> {
    let path = TopicPath::parse(topic).map_err(|why| Problem::invalid_topic(topic, why))?;
    let from = match own.map(read_from) {
        Some(from) => Some(from.map_err(|problem| problem.about(topic))?),
        None => cursor.and_then(|cursor| from_cursor(cursor, &path)),
    };
    let from = from
        .or_else(|| common.cloned())
        .unwrap_or(ReadFrom::Snapshot);
    Ok((path, from))
}

/// What an SSE `id` says of a topic: a position (of the only topic), or a cursor of several. `None`: nothing.
pub fn from_cursor(text: &str, topic: &TopicPath) -> Option<ReadFrom> {
    if let Some(position) = Position::parse(text) {
        return Some(ReadFrom::After(position));
    }
    match Cursor::parse(text) {
        Some(cursor) => cursor
            .position_of(topic.as_str())
            .cloned()
            .map(ReadFrom::After),
        None => Some(ReadFrom::BadCursor),
    }
}

/// `from` as a word or a position.
pub fn read_from(text: &str) -> Result<ReadFrom, Problem> {
    ReadFrom::parse(text).ok_or_else(|| {
        let mut problem = Problem::new(
            Code::InvalidCursor,
            format!(
                "`{}` is none of `snapshot`, `live`, `start`, `last:N` or a position `EPOCH:SEQ`",
                printable(text)
            ),
        );
        problem.details.field = Some("from");
        problem
    })
}

/// The options every kind of reading has.
pub fn read_options<S: AsRef<str>>(
    replay: Option<&str>,
    coalesce_ms: Option<u64>,
    types: Option<&[S]>,
) -> Result<ReadOptions, Problem> {
    let replay = match replay {
        None | Some("raw") => Replay::Raw,
        Some("compact") => Replay::Compact,
        Some(_) => {
            return Err(Problem::invalid_request(
                "replay",
                "`replay` is `raw` or `compact`",
            ));
        }
    };
    let filter = match types {
        None => TypeFilter::everything(),
        Some(types) => {
            TypeFilter::parse(types).map_err(|why| Problem::invalid_request("types", why))?
        }
    };
    Ok(ReadOptions {
        replay,
        coalesce_ms: round_up(coalesce_ms.unwrap_or(0)),
        filter,
    })
}

#[derive(Deserialize)]
#[serde(expecting = "an object with a `topic` or a `pattern`")]
struct UnsubscribeBody<'a> {
    #[serde(borrow, default)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pattern: Option<Cow<'a, str>>,
}

fn unsubscribe(frame: &Bytes, id: CommandId) -> Result<Command, Problem> {
    let body: UnsubscribeBody =
        serde_json::from_slice(frame).map_err(|e| shape(&e, "unsubscribe"))?;
    match (body.topic, body.pattern) {
        (Some(topic), None) => {
            let topic =
                TopicPath::parse(&topic).map_err(|why| Problem::invalid_topic(&topic, why))?;
            Ok(Command::Unsubscribe { id, topic })
        }
        (None, Some(pattern)) => Ok(Command::UnsubscribePattern {
            id,
            pattern: pattern_of(&pattern)?,
        }),
        _ => Err(Problem::invalid_request(
            "topic",
            "an unsubscribe has a `topic` or a `pattern`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PublishLimits = PublishLimits {
        max_event_bytes: 1024,
        max_batch_events: 3,
    };

    fn understood(text: &str) -> Command {
        command(&Bytes::copy_from_slice(text.as_bytes()), LIMITS)
    }

    fn refused(text: &str) -> (Option<String>, Code) {
        match understood(text) {
            Command::Refused { id, problem } => (id.map(Into::into), problem.code),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn refusals_echo_the_id_and_name_the_code() {
        assert_eq!(refused("not json"), (None, Code::InvalidJson));
        assert_eq!(refused("[1]").1, Code::InvalidRequest);
        assert_eq!(
            refused(r#"{"op":"dance","id":7}"#),
            (Some("7".into()), Code::InvalidRequest)
        );
        assert_eq!(
            refused(r#"{"id":"x"}"#),
            (Some("\"x\"".into()), Code::InvalidRequest)
        );
        assert_eq!(
            refused(r#"{"op":"ping","id":1.5}"#),
            (None, Code::InvalidRequest)
        );
        assert_eq!(
            refused(&format!(r#"{{"op":"ping","id":"{}"}}"#, "x".repeat(65))),
            (None, Code::InvalidRequest)
        );
        assert_eq!(
            refused(r#"{"op":"subscribe","id":1,"topic":"/a","from":"yesterday"}"#).1,
            Code::InvalidCursor
        );
        assert_eq!(
            refused(r#"{"op":"subscribe","id":1,"pattern":"/a"}"#).1,
            Code::InvalidTopic
        );
        assert_eq!(
            refused(r#"{"op":"publish","topic":"a","events":[]}"#).1,
            Code::InvalidTopic
        );
        assert_eq!(
            refused(r#"{"op":"publish","topic":"/a","events":[]}"#).1,
            Code::InvalidRequest
        );
        let many = r#"{"op":"publish","topic":"/a","events":[{},{},{},{}]}"#;
        assert_eq!(refused(many).1, Code::TooManyEvents);
    }

    #[test]
    fn each_topic_of_a_list_stands_or_falls_by_itself() {
        let list = r#"{"op":"subscribe","topics":[{"topic":"/a","from":"k3v9x2ma-1:3~"},{"topic":"bad"},{"topic":"/b"}],"from":"live"}"#;
        let Command::Subscribe { topics, .. } = understood(list) else {
            panic!("no subscribe")
        };
        let position = Position::parse("k3v9x2ma-1:3~").expect("a position");
        assert_eq!(
            topics[0].as_ref().map(|(_, from)| from),
            Ok(&ReadFrom::After(position))
        );
        assert_eq!(
            topics[1].as_ref().map_err(|problem| problem.code),
            Err(Code::InvalidTopic)
        );
        assert_eq!(
            topics[2].as_ref().map(|(_, from)| from),
            Ok(&ReadFrom::Live)
        );
    }

    #[test]
    fn a_bad_cursor_resets_and_one_that_is_silent_about_a_topic_does_not() {
        let topic = TopicPath::parse("/a").expect("a topic");
        assert_eq!(from_cursor("garbage", &topic), Some(ReadFrom::BadCursor));
        assert_eq!(from_cursor("1.", &topic), None);
    }

    #[test]
    fn an_array_of_bodies_has_an_answer_each() {
        let body = Bytes::from_static(br#" [{"topic":"/a","events":[{"type":"a.b","data":1}]},{"topic":"/a","events":[{"type":"a.b"}]}]"#);
        let Ok(PublishBodies::Many(bodies)) = publish_bodies(&body, LIMITS) else {
            panic!("no array")
        };
        assert!(bodies[0].is_ok());
        let problem = bodies[1].as_ref().expect_err("no data");
        assert_eq!(
            (problem.code, problem.details.index, problem.details.field),
            (Code::InvalidEvent, Some(0), Some("data"))
        );
    }
}
