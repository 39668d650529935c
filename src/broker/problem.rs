//! Errors for people: a stable code, what was wrong with which input, and what to do.
//!
//! The one place where every refusal becomes a code and a status; dialects only write it down.

use serde::Serialize;

use crate::auth::AuthError;
use crate::engine::EngineError;
use crate::event::InvalidEvent;
use crate::event::event_type::printable;
use crate::event::topic::InvalidTopic;
use crate::log::Refusal;

/// The codes of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    InvalidJson,
    InvalidTopic,
    InvalidEvent,
    ReservedType,
    InvalidCursor,
    InvalidRequest,
    AlreadySubscribed,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    UpgradeRequired,
    ProducerGap,
    ProducerFenced,
    ProducerUnknown,
    MessageOwned,
    MessageEnded,
    IdConflict,
    TooLarge,
    TooManyEvents,
    UnsupportedMediaType,
    RateLimited,
    TooManySubscriptions,
    TooManyOpenMessages,
    StorageUnavailable,
    OutcomeUnknown,
    Draining,
    InternalError,
}

impl Code {
    /// Every code, for the documentation's test.
    pub const ALL: [Code; 28] = [
        Self::InvalidJson,
        Self::InvalidTopic,
        Self::InvalidEvent,
        Self::ReservedType,
        Self::InvalidCursor,
        Self::InvalidRequest,
        Self::AlreadySubscribed,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UpgradeRequired,
        Self::ProducerGap,
        Self::ProducerFenced,
        Self::ProducerUnknown,
        Self::MessageOwned,
        Self::MessageEnded,
        Self::IdConflict,
        Self::TooLarge,
        Self::TooManyEvents,
        Self::UnsupportedMediaType,
        Self::RateLimited,
        Self::TooManySubscriptions,
        Self::TooManyOpenMessages,
        Self::StorageUnavailable,
        Self::OutcomeUnknown,
        Self::Draining,
        Self::InternalError,
    ];

    pub fn status(self) -> u16 {
        match self {
            Self::InvalidJson
            | Self::InvalidTopic
            | Self::InvalidEvent
            | Self::ReservedType
            | Self::InvalidCursor
            | Self::InvalidRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::AlreadySubscribed
            | Self::ProducerGap
            | Self::ProducerFenced
            | Self::ProducerUnknown
            | Self::MessageOwned
            | Self::MessageEnded
            | Self::IdConflict => 409,
            Self::TooLarge | Self::TooManyEvents => 413,
            Self::UnsupportedMediaType => 415,
            Self::UpgradeRequired => 426,
            Self::RateLimited | Self::TooManySubscriptions | Self::TooManyOpenMessages => 429,
            Self::InternalError => 500,
            Self::StorageUnavailable | Self::OutcomeUnknown | Self::Draining => 503,
        }
    }

    /// The code as the protocol writes it.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        }
    }

    /// A short human name, the `title` of the problem.
    fn title(self) -> &'static str {
        match self {
            Self::InvalidJson => "Not valid JSON",
            Self::InvalidTopic => "Not a valid topic",
            Self::InvalidEvent => "Not a valid event",
            Self::ReservedType => "Reserved event type",
            Self::InvalidCursor => "Not a valid cursor",
            Self::InvalidRequest => "Not a valid request",
            Self::AlreadySubscribed => "Already subscribed",
            Self::Unauthenticated => "Not authenticated",
            Self::Forbidden => "Not allowed",
            Self::NotFound => "No such resource",
            Self::MethodNotAllowed => "Method not allowed",
            Self::UpgradeRequired => "WebSocket upgrade required",
            Self::ProducerGap => "Producer seq out of order",
            Self::ProducerFenced => "Producer fenced",
            Self::ProducerUnknown => "Producer unknown",
            Self::MessageOwned => "Message of another publisher",
            Self::MessageEnded => "Message has ended",
            Self::IdConflict => "Event ids in conflict",
            Self::TooLarge => "Too large",
            Self::TooManyEvents => "Too many events",
            Self::UnsupportedMediaType => "Unsupported media type",
            Self::RateLimited => "Rate limited",
            Self::TooManySubscriptions => "Too many subscriptions",
            Self::TooManyOpenMessages => "Too many open messages",
            Self::StorageUnavailable => "Storage unavailable",
            Self::OutcomeUnknown => "Outcome unknown",
            Self::Draining => "Draining",
            Self::InternalError => "Internal error",
        }
    }
}

/// A refusal as every dialect tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub code: Code,
    pub message: String,
    /// Boxed: a refusal is rare, the `Result`s that may carry one are not.
    pub details: Box<Details>,
}

/// What helps a program to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indexes: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'static str>,
    /// Of a publish stream: the line that was refused, from 1,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// how many events were kept before,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<u64>,
    /// and the last one's seq (null where none was).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seq: Option<Option<u64>>,
}

impl Problem {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Box::default(),
        }
    }

    pub fn invalid_request(field: &'static str, message: impl Into<String>) -> Self {
        let mut problem = Self::new(Code::InvalidRequest, message);
        problem.details.field = Some(field);
        problem
    }

    pub fn invalid_json(error: &serde_json::Error) -> Self {
        Self::new(
            Code::InvalidJson,
            format!("the body is not valid JSON: {error}"),
        )
    }

    pub fn invalid_topic(text: &str, why: InvalidTopic) -> Self {
        let mut problem = Self::new(Code::InvalidTopic, format!("`{}`: {why}", printable(text)));
        problem.details.field = Some("topic");
        problem.details.topic = Some(printable(text));
        problem
    }

    pub fn invalid_event(index: usize, why: InvalidEvent) -> Self {
        let message = format!("event {index}: {why}");
        let mut problem = match why {
            InvalidEvent::Field { field, .. } => {
                let mut problem = Self::new(Code::InvalidEvent, message);
                problem.details.field = Some(field);
                problem
            }
            InvalidEvent::Reserved(_) => {
                let mut problem = Self::new(Code::ReservedType, message);
                problem.details.field = Some("type");
                problem
            }
            InvalidEvent::TooLarge { .. } => Self::new(Code::TooLarge, message),
        };
        problem.details.index = Some(index);
        problem
    }

    pub fn rate_limited(what: &str, retry_after_ms: u64) -> Self {
        let mut problem = Self::new(
            Code::RateLimited,
            format!("{what}; try again in {retry_after_ms} ms"),
        );
        problem.details.retry_after_ms = Some(retry_after_ms);
        problem
    }

    pub fn draining(retry_after_ms: u64) -> Self {
        let mut problem = Self::new(Code::Draining, "the broker is shutting down; connect again");
        problem.details.retry_after_ms = Some(retry_after_ms);
        problem
    }

    pub fn about(mut self, topic: &str) -> Self {
        self.details.topic = Some(printable(topic));
        self
    }

    /// RFC 9457 `application/problem+json`.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            title: &'static str,
            status: u16,
            code: Code,
            detail: &'a str,
            message: &'a str,
            #[serde(flatten)]
            details: &'a Details,
        }
        let body = Body {
            title: self.code.title(),
            status: self.code.status(),
            code: self.code,
            detail: &self.message,
            message: &self.message,
            details: &self.details,
        };
        serde_json::to_vec(&body).expect("a problem can always be written")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let (code, details) = match refusal {
            Refusal::ProducerGap { expected } => (
                Code::ProducerGap,
                Details {
                    expected_seq: Some(expected),
                    ..Details::default()
                },
            ),
            Refusal::ProducerFenced { .. } => (Code::ProducerFenced, Details::default()),
            Refusal::ProducerUnknown => (Code::ProducerUnknown, Details::default()),
            Refusal::TooManyProducers | Refusal::TooManyAgents | Refusal::TooManyRuns => (
                Code::RateLimited,
                Details {
                    retry_after_ms: Some(60_000),
                    ..Details::default()
                },
            ),
            Refusal::MessageOwned { index } => (Code::MessageOwned, at(index)),
            Refusal::MessageEnded { index } => (Code::MessageEnded, at(index)),
            Refusal::TooManyOpenMessages { index } => (Code::TooManyOpenMessages, at(index)),
            Refusal::TooManyParts { index } => (
                Code::InvalidEvent,
                Details {
                    field: Some("data.part"),
                    ..at(index)
                },
            ),
            Refusal::IdConflict { indexes } => (
                Code::IdConflict,
                Details {
                    indexes: Some(indexes),
                    ..Details::default()
                },
            ),
        };
        Self {
            code,
            message,
            details: Box::new(details),
        }
    }
}

fn at(index: usize) -> Details {
    Details {
        index: Some(index),
        ..Details::default()
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unavailable => {
                let mut problem = Self::new(Code::Draining, error.to_string());
                problem.details.retry_after_ms = Some(1000);
                problem
            }
            _ => Self::new(Code::Unauthenticated, error.to_string()),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Unavailable(why) => {
                let mut problem =
                    Self::new(Code::StorageUnavailable, format!("nothing was kept: {why}"));
                problem.details.retry_after_ms = Some(1000);
                problem
            }
            EngineError::OutcomeUnknown => Self::new(
                Code::OutcomeUnknown,
                "nobody can know whether it was kept: repeat it with the same producer seq or event ids",
            ),
        }
    }
}
