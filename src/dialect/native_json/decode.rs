//! What clients say: frames and publish bodies. Every input is bounded and answered with a clear error.

mod attach;
mod publish;
mod quick;
mod said;
mod subscribe;

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::broker::command::{Command, CommandId};
use crate::broker::problem::{Code, Problem};
use crate::config::Secret;
use crate::event::event_type::printable;

pub use publish::{MAX_BODIES, PublishBodies, PublishLimits, publish_bodies, publish_bodies_of};
pub use said::{Fault, FaultKind, Said};
pub use subscribe::{TopicFrom, from_cursor, read_from, read_options};

use attach::{attach, control_ack};
use publish::publish_by_serde;
use subscribe::{subscribe, unsubscribe};

/// Characters the `id` of a command may have where it is a text.
const MAX_COMMAND_ID: usize = 64;

/// Every op of a client; `schema/frames/client.json` has a definition for each.
pub const OPS: [&str; 7] = [
    "subscribe",
    "unsubscribe",
    "publish",
    "attach",
    "control_ack",
    "refresh",
    "ping",
];

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
    understand(frame, None, limits)
}

/// The same for a frame that was said in another encoding.
pub fn command_of(said: &Said, limits: PublishLimits) -> Command {
    understand(&said.json, said.fault(0), limits)
}

fn understand(frame: &Bytes, fault: Option<&FaultKind>, limits: PublishLimits) -> Command {
    if fault.is_none()
        && let Some((id, request)) = quick::frame(frame, limits)
    {
        return Command::Publish { id, request };
    }
    understand_by_serde(frame, fault, limits)
}

fn understand_by_serde(frame: &Bytes, fault: Option<&FaultKind>, limits: PublishLimits) -> Command {
    let Frame { op, id } = match serde_json::from_slice(frame) {
        Ok(head) => head,
        Err(error) => {
            return Command::Refused {
                id: None,
                problem: frame_problem(&error),
            };
        }
    };
    let id = match command_id(id.map(RawValue::get)) {
        Ok(id) => id,
        Err(problem) => return Command::Refused { id: None, problem },
    };
    if let Some(problem) = fault.and_then(|fault| fault.outside("frame")) {
        return Command::Refused { id, problem };
    }
    let understood = match op.as_deref() {
        Some("publish") => {
            publish_by_serde(frame, frame, fault, limits).map(|request| Command::Publish {
                id: id.clone(),
                request,
            })
        }
        Some("subscribe") => subscribe(frame, id.clone()),
        Some("unsubscribe") => unsubscribe(frame, id.clone()),
        Some("attach") => attach(frame, id.clone()),
        Some("control_ack") => control_ack(frame),
        Some("ping") => Ok(Command::Ping),
        Some("refresh") => refresh(frame, id.clone()),
        Some(other) => Err(Problem::invalid_request(
            "op",
            format!("`{}` is no op of this protocol", printable(other)),
        )),
        None => Err(Problem::invalid_request("op", "every frame has an `op`")),
    };
    understood.unwrap_or_else(|problem| Command::Refused { id, problem })
}

fn refresh(frame: &[u8], id: CommandId) -> Result<Command, Problem> {
    #[derive(Deserialize)]
    #[serde(expecting = "an object with a `token`")]
    struct Refresh {
        token: String,
    }
    let Refresh { token } = serde_json::from_slice(frame).map_err(|_| {
        Problem::invalid_request("token", "a `refresh` has a `token`, which is a string")
    })?;
    let token = Secret(token);
    Ok(Command::Refresh { id, token })
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
fn command_id(raw: Option<&str>) -> Result<CommandId, Problem> {
    let Some(raw) = raw.filter(|raw| *raw != "null") else {
        return Ok(None);
    };
    let integer = raw.parse::<i64>().is_ok() || raw.parse::<u64>().is_ok();
    let text = || {
        let text: Result<Cow<'_, str>, _> = serde_json::from_str(raw);
        text.is_ok_and(|text| text.chars().count() <= MAX_COMMAND_ID)
    };
    if integer || text() {
        return Ok(Some(raw.into()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Position, TopicPath};
    use crate::log::ReadFrom;

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
