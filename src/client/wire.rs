//! The native JSON frames as this client sees them. Unknown members are ignored.
//!
//! Members are called as on the wire; `schema/frames/server.json` and docs/protocol.md say what each means.
#![allow(missing_docs)]

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::position::{Epoch, Position};

/// The subprotocol of these frames.
pub const SUBPROTOCOL: &str = "tidewire.v1.json";

/// What kind of text a delta carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextKind {
    #[default]
    Text,
    Reasoning,
    ToolInput,
}

/// One part of a message's text, as snapshots and compact end events carry it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PartText {
    #[serde(default)]
    pub part: u16,
    #[serde(default)]
    pub kind: TextKind,
    pub text: String,
    /// UTF-8 bytes that are missing at the start.
    #[serde(default)]
    pub omitted: u64,
}

/// An event as it was read.
#[derive(Clone, Debug)]
pub struct Event {
    /// The envelope's bytes, as they came.
    raw: Box<RawValue>,
    members: EventMembers,
}

#[derive(Clone, Debug, Deserialize)]
struct EventMembers {
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default)]
    first_seq: Option<u64>,
    #[serde(rename = "type")]
    name: String,
    #[serde(default)]
    time: Option<u64>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    parts: Option<Vec<PartText>>,
    #[serde(default)]
    started: Option<Box<RawValue>>,
}

impl Event {
    pub fn parse(raw: Box<RawValue>) -> Result<Self, WireError> {
        let members =
            serde_json::from_str(raw.get()).map_err(|e| WireError::Shape("an event", e))?;
        Ok(Self { raw, members })
    }

    /// None for `message.snapshot`, which has no place in the order of its own.
    pub fn seq(&self) -> Option<u64> {
        self.members.seq
    }

    /// Of a merge: the first of the consecutive seqs that it joins.
    pub fn first_seq(&self) -> Option<u64> {
        self.members.first_seq
    }

    /// The type's name.
    pub fn name(&self) -> &str {
        &self.members.name
    }

    /// Unix milliseconds by the broker's clock.
    pub fn time(&self) -> Option<u64> {
        self.members.time
    }

    pub fn source(&self) -> Option<&str> {
        self.members.source.as_deref()
    }

    /// `data` as JSON text; `null` where there is none.
    pub fn data(&self) -> &str {
        self.members.data.as_ref().map_or("null", |data| data.get())
    }

    /// Of an end event read compactly: the whole text of its message.
    pub fn parts(&self) -> Option<&[PartText]> {
        self.members.parts.as_deref()
    }

    /// Of an end event read compactly: the `data` of its `message.started`.
    pub fn started(&self) -> Option<&RawValue> {
        self.members.started.as_deref()
    }

    /// The envelope with its topic, on one line: what an SSE reader would get as `data:`.
    pub fn with_topic(&self, topic: &str) -> String {
        let topic = serde_json::Value::from(topic);
        let members = self
            .raw
            .get()
            .trim_start()
            .strip_prefix('{')
            .unwrap_or("}")
            .trim_start();
        let comma = if members.starts_with('}') { "" } else { "," };
        // CR and LF can only be white space between tokens here
        format!("{{\"topic\":{topic}{comma}{members}").replace(['\r', '\n'], " ")
    }
}

/// What the broker allows on this connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Limits {
    pub max_frame_bytes: usize,
    pub max_event_bytes: usize,
    pub max_batch_events: usize,
    pub window_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame_bytes: 1 << 20,
            max_event_bytes: 256 << 10,
            max_batch_events: 1000,
            window_bytes: 1 << 20,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Welcome {
    #[serde(default)]
    pub session: Option<String>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default = "default_ping_ms")]
    pub ping_ms: u64,
}

fn default_ping_ms() -> u64 {
    25_000
}

impl Welcome {
    pub fn ping(&self) -> Duration {
        Duration::from_millis(self.ping_ms)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Subscribed {
    pub topic: String,
    pub epoch: Epoch,
    pub head: u64,
    /// Null before a `reset`.
    pub position: Option<Position>,
    #[serde(default)]
    pub resumed: bool,
}

/// Moves the position from `after` to `upto` as a whole.
#[derive(Debug, Deserialize)]
pub struct Events {
    pub topic: String,
    pub epoch: Epoch,
    pub after: u64,
    pub upto: u64,
    #[serde(default)]
    pub partial: bool,
    pub events: Vec<Box<RawValue>>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Gap {
    pub topic: String,
    pub from: u64,
    pub to: u64,
    #[serde(default)]
    pub reason: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Reset {
    pub topic: String,
    pub epoch: Epoch,
    #[serde(default)]
    pub reason: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Published {
    #[serde(default)]
    pub id: Option<u64>,
    pub epoch: Epoch,
    pub first_seq: Option<u64>,
    pub last_seq: Option<u64>,
    #[serde(default)]
    pub duplicate: bool,
}

/// The answer to `attach`: the connection speaks for the producer in this epoch now.
#[derive(Clone, Debug, Deserialize)]
pub struct Attached {
    #[serde(default)]
    pub id: Option<u64>,
    pub epoch: u64,
}

/// `run.*` events for the agents of a topic; they move no position.
#[derive(Debug, Deserialize)]
pub struct Control {
    pub topic: String,
    pub epoch: Epoch,
    pub events: Vec<Box<RawValue>>,
}

/// How many read a topic.
#[derive(Clone, Debug, Deserialize)]
pub struct Demand {
    pub topic: String,
    pub readers: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Unsubscribed {
    pub topic: String,
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub reason: Option<String>,
}

/// A refusal: the same members over WebSocket and HTTP (RFC 9457).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    pub id: Option<u64>,
    pub topic: Option<String>,
    pub code: String,
    pub message: String,
    /// What RFC 9457 calls the message.
    pub detail: String,
    pub retry_after_ms: Option<u64>,
    pub expected_seq: Option<u64>,
    pub index: Option<u64>,
    pub field: Option<String>,
}

impl Problem {
    /// Whether the same request may succeed later; what was refused left nothing behind, and with
    /// `outcome_unknown` the repetition settles it.
    pub fn passes(&self) -> bool {
        matches!(
            self.code.as_str(),
            "rate_limited" | "storage_unavailable" | "outcome_unknown" | "draining"
        )
    }

    /// A newer run of the same producer took over.
    pub fn fences(&self) -> bool {
        self.code == "producer_fenced"
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [self.message.as_str(), self.detail.as_str(), "refused"];
        let message = texts
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default();
        write!(f, "{message} ({})", self.code)
    }
}

/// One frame from the broker.
#[derive(Debug)]
pub enum ServerFrame {
    Welcome(Welcome),
    Subscribed(Subscribed),
    Events(Events),
    Gap(Gap),
    Reset(Reset),
    Published(Published),
    Attached(Attached),
    Control(Control),
    Demand(Demand),
    Unsubscribed(Unsubscribed),
    Draining {
        reconnect_after: Option<Duration>,
    },
    Error(Box<Problem>),
    /// `pong`, and whatever a newer broker may say.
    Other,
}

#[derive(Debug, Error)]
pub enum WireError {
    #[error("{0} that cannot be read: {1}")]
    Shape(&'static str, serde_json::Error),
}

impl ServerFrame {
    pub fn parse(text: &str) -> Result<Self, WireError> {
        #[derive(Deserialize)]
        struct Op<'a> {
            #[serde(borrow)]
            op: std::borrow::Cow<'a, str>,
        }
        #[derive(Deserialize)]
        struct Draining {
            #[serde(default)]
            reconnect_after_ms: Option<u64>,
        }
        fn read<'a, T: Deserialize<'a>>(text: &'a str, what: &'static str) -> Result<T, WireError> {
            serde_json::from_str(text).map_err(|e| WireError::Shape(what, e))
        }
        // two passes: a tagged enum would copy every value, and `RawValue` cannot be taken from a copy
        let frame: Op = read(text, "a frame")?;
        Ok(match frame.op.as_ref() {
            "events" => Self::Events(read(text, "an events frame")?),
            "published" => Self::Published(read(text, "a published frame")?),
            "attached" => Self::Attached(read(text, "an attached frame")?),
            "control" => Self::Control(read(text, "a control frame")?),
            "demand" => Self::Demand(read(text, "a demand frame")?),
            "welcome" => Self::Welcome(read(text, "a welcome frame")?),
            "subscribed" => Self::Subscribed(read(text, "a subscribed frame")?),
            "gap" => Self::Gap(read(text, "a gap frame")?),
            "reset" => Self::Reset(read(text, "a reset frame")?),
            "unsubscribed" => Self::Unsubscribed(read(text, "an unsubscribed frame")?),
            "error" => Self::Error(Box::new(read(text, "an error frame")?)),
            "draining" => {
                let draining: Draining = read(text, "a draining frame")?;
                Self::Draining {
                    reconnect_after: draining.reconnect_after_ms.map(Duration::from_millis),
                }
            }
            _ => Self::Other,
        })
    }
}

/// How a subscription reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    Raw,
    Compact,
}

#[derive(Serialize)]
pub struct TopicFrom<'a> {
    pub topic: &'a str,
    pub from: String,
}

#[derive(Serialize)]
pub struct Subscribe<'a> {
    pub op: &'static str,
    pub id: u64,
    pub topics: Vec<TopicFrom<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coalesce_ms: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub types: &'a [String],
}

#[derive(Serialize)]
pub struct ClaimedProducer<'a> {
    pub id: &'a str,
    /// None: the broker assigns the one after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

#[derive(Serialize)]
pub struct Attach<'a> {
    pub op: &'static str,
    pub id: u64,
    pub producer: ClaimedProducer<'a>,
    pub lease_ms: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub demand: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub control: &'a [String],
}

#[derive(Serialize)]
pub struct ControlAck<'a> {
    pub op: &'static str,
    pub topic: &'a str,
    pub seq: u64,
}

/// Asks for a sign of life.
pub const PING: &str = r#"{"op":"ping"}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_of_a_reading() {
        let frame = r#"{"op":"events","topic":"/chat/1","epoch":"k3v9x2ma","after":4,"upto":6,"partial":true,
            "events":[{"seq":6,"first_seq":5,"type":"token.delta","time":1,"data":{"message_id":"m","text":"\u00e4 "}}]}"#;
        let Ok(ServerFrame::Events(frame)) = ServerFrame::parse(frame) else {
            panic!("no events")
        };
        assert_eq!((frame.after, frame.upto, frame.partial), (4, 6, true));
        let event = Event::parse(frame.events[0].clone()).expect("an event");
        assert_eq!(
            (event.seq(), event.first_seq(), event.name()),
            (Some(6), Some(5), "token.delta")
        );
        assert_eq!(event.data(), r#"{"message_id":"m","text":"\u00e4 "}"#);

        let subscribed = r#"{"op":"subscribed","id":1,"topic":"/a/b","epoch":"k3v9x2ma","head":9,"position":null,"resumed":false}"#;
        let Ok(ServerFrame::Subscribed(subscribed)) = ServerFrame::parse(subscribed) else {
            panic!("no subscribed")
        };
        assert_eq!(subscribed.position, None);
    }

    #[test]
    fn the_frames_of_an_agent() {
        let attached = ServerFrame::parse(r#"{"op":"attached","id":0,"epoch":3}"#);
        assert!(
            matches!(attached, Ok(ServerFrame::Attached(a)) if (a.id, a.epoch) == (Some(0), 3))
        );
        let control = r#"{"op":"control","topic":"/a","epoch":"k3v9x2ma",
            "events":[{"seq":9,"type":"run.cancel","time":7,"data":{"message_id":"m"}}]}"#;
        let Ok(ServerFrame::Control(control)) = ServerFrame::parse(control) else {
            panic!("no control")
        };
        let event = Event::parse(control.events[0].clone()).expect("an event");
        assert_eq!((event.seq(), event.time()), (Some(9), Some(7)));
        let demand = ServerFrame::parse(r#"{"op":"demand","topic":"/a","readers":2}"#);
        assert!(matches!(demand, Ok(ServerFrame::Demand(d)) if d.readers == 2));
    }

    #[test]
    fn an_event_keeps_its_bytes_and_gains_its_topic() {
        let raw =
            RawValue::from_string("{\"seq\":1,\"type\":\"a.b\",\n \"data\":{\"n\":1.50}}".into())
                .expect("json");
        let event = Event::parse(raw).expect("an event");
        let line = event.with_topic("/a/\u{e4}");
        assert_eq!(
            line,
            "{\"topic\":\"/a/\u{e4}\",\"seq\":1,\"type\":\"a.b\",  \"data\":{\"n\":1.50}}"
        );
    }

    #[test]
    fn what_a_newer_broker_says_is_no_error() {
        assert!(matches!(
            ServerFrame::parse(r#"{"op":"sparkle","x":1}"#),
            Ok(ServerFrame::Other)
        ));
        assert!(ServerFrame::parse("[]").is_err());
        assert!(ServerFrame::parse("{").is_err());
    }

    #[test]
    fn problems_read_the_same_from_a_frame_and_from_http() {
        let frame = r#"{"op":"error","id":3,"topic":"/a","code":"rate_limited","message":"slow down","retry_after_ms":250}"#;
        let Ok(ServerFrame::Error(problem)) = ServerFrame::parse(frame) else {
            panic!("no error")
        };
        assert!(problem.passes());
        assert_eq!(problem.retry_after(), Some(Duration::from_millis(250)));
        let http = r#"{"type":"about:blank","title":"Bad","status":400,"detail":"no such thing","code":"invalid_topic"}"#;
        let problem: Problem = serde_json::from_str(http).expect("a problem");
        assert_eq!(problem.to_string(), "no such thing (invalid_topic)");
        let both = r#"{"title":"Bad","status":400,"detail":"no such thing","message":"no such thing","code":"invalid_topic"}"#;
        let problem: Problem = serde_json::from_str(both).expect("a problem");
        assert_eq!(problem.to_string(), "no such thing (invalid_topic)");
    }
}
