//! What to read: topics, patterns, where to begin and how.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use super::shape;
use crate::broker::command::{Command, CommandId, ReadOptions};
use crate::broker::problem::{Code, Problem};
use crate::event::cursor::Cursor;
use crate::event::event_type::{TypeFilter, printable};
use crate::event::{Position, TopicPath, TopicPattern};
use crate::log::window::round_up;
use crate::log::{ReadFrom, Replay};

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

pub fn subscribe(frame: &Bytes, id: CommandId) -> Result<Command, Problem> {
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

pub fn unsubscribe(frame: &Bytes, id: CommandId) -> Result<Command, Problem> {
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
