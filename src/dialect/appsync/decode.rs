//! What clients say: frames, and the body of `POST /event`. Every input is bounded and answered with a clear error.

mod events;
mod members;
mod signed;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::authorization::Authorization;
use super::channel::Channel;
use super::refusal;
use crate::broker::problem::{Code, Problem};
use crate::event::TopicPath;
use crate::event::event_type::printable;

use events::{Strings, payloads, too_large};
use members::{Members, text};
use signed::Signable;

/// Characters an operation's id may have.
pub const MAX_ID: usize = 128;

/// The `type` of every frame of a client; `schema/appsync/client.json` has a definition for each.
pub const TYPES: [&str; 4] = ["connection_init", "subscribe", "unsubscribe", "publish"];

/// The id of an operation: 1 to 128 of `A-Z a-z 0-9 - _ +`, so that it needs no escape anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OperationId(Box<str>);

impl OperationId {
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"-_+".contains(&c);
        let valid = (1..=MAX_ID).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a refusal answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Init,
    Subscribe,
    Unsubscribe,
    Publish,
    /// No operation of the protocol.
    Other,
}

/// One frame of a client.
#[derive(Debug)]
pub enum Frame {
    Init,
    Subscribe {
        id: OperationId,
        channel: Channel,
        authorization: Authorization,
        /// What may have been signed where `authorization` is a signature; else nothing.
        signed: Vec<Bytes>,
    },
    Unsubscribe {
        id: OperationId,
    },
    Publish {
        id: OperationId,
        topic: TopicPath,
        /// Each is valid JSON; where nothing was escaped they share the frame's bytes.
        payloads: Vec<Bytes>,
        authorization: Authorization,
        /// As with `Subscribe`.
        signed: Vec<Bytes>,
        /// Bytes of the frame.
        bytes: usize,
    },
    Refused {
        operation: Operation,
        /// As it was said, without controls and cut to 128 characters; `None`: it was no text.
        id: Option<Box<str>>,
        problem: Problem,
    },
}

/// What a publish may have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_events: usize,
    pub max_event_bytes: usize,
}

/// The body of `POST /event`.
#[derive(Debug)]
pub struct Post {
    pub topic: TopicPath,
    /// Every event's, by its index, those that are too large too. Each is valid JSON.
    pub payloads: Vec<Bytes>,
    /// Indexes of those over `max_event_bytes`: they are told as failed, the others are published.
    pub too_large: Vec<usize>,
}

/// Understands one frame. The connection lives on whatever it says; members that nobody knows are ignored
/// (Amplify repeats everything in a `payload`).
pub fn frame(bytes: &Bytes, limits: Limits) -> Frame {
    let members = match Members::parse(bytes, "frame") {
        Ok(members) => members,
        Err(problem) => {
            return Frame::Refused {
                operation: Operation::Other,
                id: None,
                problem,
            };
        }
    };
    let kind = members.kind.and_then(text);
    let (operation, understood) = match kind.as_deref() {
        Some("connection_init") => (Operation::Init, Ok(Frame::Init)),
        Some("subscribe") => (Operation::Subscribe, subscribe(&members)),
        Some("unsubscribe") => (Operation::Unsubscribe, unsubscribe(&members)),
        Some("publish") => (Operation::Publish, publish(bytes, &members, limits)),
        Some(other) => {
            let message = format!("`{}` is no operation of this protocol", printable(other));
            (
                Operation::Other,
                Err(Problem::invalid_request("type", message)),
            )
        }
        None => {
            let message = "every frame has a `type`, which is a text";
            (
                Operation::Other,
                Err(Problem::invalid_request("type", message)),
            )
        }
    };
    understood.unwrap_or_else(|problem| Frame::Refused {
        operation,
        id: members.id.and_then(text).map(|id| shown(&id)),
        problem,
    })
}

/// Understands the body of `POST /event`: `{"channel","events":[…]}`.
pub fn post(body: &Bytes, limits: Limits) -> Result<Post, Problem> {
    let members = Members::parse(body, "body")?;
    let (_, channel) = channel_of(&members)?;
    let topic = Channel::for_publish(&channel)?;
    let strings = Strings::parse(members.events, limits.max_events)?;
    let payloads = payloads(strings, body)?;
    let too_large = too_large(&payloads, limits).collect();
    Ok(Post {
        topic,
        payloads,
        too_large,
    })
}

fn subscribe(members: &Members<'_>) -> Result<Frame, Problem> {
    let id = id_of(members)?;
    let (raw, text) = channel_of(members)?;
    let channel = Channel::for_subscribe(&text)?;
    let authorization = authorization_of(members)?;
    let signed = signed::of(&authorization, || vec![Signable::channel(raw, &text)]);
    Ok(Frame::Subscribe {
        id,
        channel,
        authorization,
        signed,
    })
}

fn unsubscribe(members: &Members<'_>) -> Result<Frame, Problem> {
    id_of(members).map(|id| Frame::Unsubscribe { id })
}

fn publish(bytes: &Bytes, members: &Members<'_>, limits: Limits) -> Result<Frame, Problem> {
    let id = id_of(members)?;
    let (raw, text) = channel_of(members)?;
    let topic = Channel::for_publish(&text)?;
    let authorization = authorization_of(members)?;
    let strings = Strings::parse(members.events, limits.max_events)?;
    let signed = signed::of(&authorization, || {
        vec![
            Signable::channel(raw, &text),
            Signable::events(strings.raw, &strings.texts),
        ]
    });
    let payloads = payloads(strings, bytes)?;
    if let Some(index) = too_large(&payloads, limits).next() {
        let message = refusal::larger_than(limits.max_event_bytes);
        let mut problem = Problem::new(Code::TooLarge, message);
        problem.details.index = Some(index);
        return Err(problem);
    }
    Ok(Frame::Publish {
        id,
        topic,
        payloads,
        authorization,
        signed,
        bytes: bytes.len(),
    })
}

fn id_of(members: &Members<'_>) -> Result<OperationId, Problem> {
    let text = members.id.and_then(text);
    text.and_then(|text| OperationId::parse(&text))
        .ok_or_else(|| {
            let message = "`id` is a text of 1 to 128 of `A-Z a-z 0-9 - _ +`";
            Problem::invalid_request("id", message)
        })
}

/// The channel as it stands in the frame, and its text.
fn channel_of<'a>(members: &Members<'a>) -> Result<(&'a RawValue, Cow<'a, str>), Problem> {
    let raw = members.channel;
    raw.and_then(|raw| Some((raw, text(raw)?)))
        .ok_or_else(|| Problem::invalid_request("channel", "`channel` is missing or no text"))
}

/// Whether a frame may come without one is for those to say who know what the channel asks for.
fn authorization_of(members: &Members<'_>) -> Result<Authorization, Problem> {
    match members.authorization.filter(|raw| raw.get() != "null") {
        Some(raw) => Authorization::from_json(raw),
        None => Ok(Authorization::default()),
    }
}

/// What of a foreign id goes back to who sent it.
fn shown(id: &str) -> Box<str> {
    let printable = id.chars().filter(|c| !c.is_control());
    printable.take(MAX_ID).collect::<String>().into()
}
