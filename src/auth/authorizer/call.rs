//! One call of an authorizer: AppSync's request to a Lambda authorizer as the body of a POST, its answer as JSON.
//!
//! Bounds: `MAX_ANSWER` bytes are taken. How long it may take is the caller's to bound. No redirects are followed.

use std::collections::BTreeMap;

use awc::error::PayloadError;
use awc::http::StatusCode;
use awc::http::header::{ACCEPT, CONTENT_TYPE};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{Answer, Question};
use crate::client::https::{self, NoCertificates, Tls};
use crate::config::AuthorizerSettings;

const MAX_ANSWER: usize = 64 << 10;
const JSON: &str = "application/json";
/// Bytes of a subject: it stands in every event as `source`.
const MAX_SUBJECT: usize = 256;
/// Seconds that an answer can ask to be kept, as AppSync has it.
const MAX_TTL: f64 = 3600.0;
/// What AWS would put the number of an account in.
const ACCOUNT: &str = "tidewire";

/// Why an authorizer said nothing. No text carries anything of a token or an answer.
#[derive(Debug, Error)]
pub enum CallError {
    #[error(transparent)]
    Certificates(#[from] NoCertificates),
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it did not answer in time")]
    TimedOut,
    #[error("it answered {0}, and not 200")]
    Status(u16),
    #[error("its answer is longer than {} KiB", MAX_ANSWER >> 10)]
    TooLong,
    #[error("its answer broke off")]
    BrokeOff,
    #[error("its answer is not {{\"isAuthorized\": true or false, …}}")]
    Answer,
}

impl CallError {
    /// The label of the metric.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Certificates(_) | Self::Unreachable(_) => "unreachable",
            Self::TimedOut => "timeout",
            Self::Status(_) => "status",
            Self::TooLong | Self::BrokeOff | Self::Answer => "bad_answer",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    authorization_token: &'a str,
    request_context: Context<'a>,
    request_headers: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    api_id: &'a str,
    account_id: &'a str,
    request_id: String,
    operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_namespace_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    is_authorized: bool,
    #[serde(default)]
    handler_context: Option<Value>,
    /// Seconds.
    #[serde(default)]
    ttl_override: Option<f64>,
}

/// What was said, and for how many seconds it is good, if that was said too.
pub type Spoken = (Answer, Option<u64>);

/// Calls one address.
pub struct Caller {
    url: String,
    connect: std::time::Duration,
    environment: String,
    /// Made when it is first needed, so that a missing store of certificates is an outage and not the end.
    tls: Mutex<Option<Tls>>,
}

impl Caller {
    pub fn new(settings: &AuthorizerSettings, environment: String) -> Self {
        Self {
            url: settings.url.clone(),
            connect: settings.timeout,
            environment,
            tls: Mutex::default(),
        }
    }

    pub async fn call(&self, question: &Question) -> Result<Spoken, CallError> {
        let body = serde_json::to_vec(&self.body(question)).map_err(|_| CallError::Answer)?;
        let tls = self.tls()?;
        let request = https::client(tls.as_ref(), self.connect)
            .post(&self.url)
            .insert_header((ACCEPT, JSON))
            .insert_header((CONTENT_TYPE, JSON))
            .force_close();
        let mut response = request.send_body(body).await.map_err(|error| {
            let text = error.to_string();
            CallError::Unreachable(crate::event::event_type::printable(&text))
        })?;
        let status = response.status();
        if is_refusal(status) {
            return Ok((Answer::no(), None));
        }
        if status != StatusCode::OK {
            return Err(CallError::Status(status.as_u16()));
        }
        let answer = response.body().limit(MAX_ANSWER).await;
        let answer = answer.map_err(|error| match error {
            PayloadError::Overflow => CallError::TooLong,
            _ => CallError::BrokeOff,
        })?;
        read(&answer)
    }

    fn body<'a>(&'a self, question: &'a Question) -> Body<'a> {
        let headers = question.headers.iter();
        Body {
            authorization_token: &question.token,
            request_context: Context {
                api_id: &self.environment,
                account_id: ACCOUNT,
                request_id: request_id(),
                operation: question.operation.as_str(),
                channel_namespace_name: question.namespace.as_deref(),
                channel: question.channel.as_deref(),
            },
            request_headers: headers
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
        }
    }

    fn tls(&self) -> Result<Option<Tls>, CallError> {
        let scheme = self.url.get(..6).unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("https:") {
            return Ok(None);
        }
        let mut tls = self.tls.lock();
        if tls.is_none() {
            *tls = Some(https::tls()?);
        }
        Ok(tls.clone())
    }
}

/// A no to this token. Were it a failure, whoever sends bad tokens would open the breaker for everybody.
fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

fn read(answer: &[u8]) -> Result<Spoken, CallError> {
    let said: Said = serde_json::from_slice(answer).map_err(|_| CallError::Answer)?;
    let subject = said.handler_context.as_ref();
    let subject = subject.and_then(|context| context.get("sub")?.as_str());
    let is_good = |subject: &&str| {
        (1..=MAX_SUBJECT).contains(&subject.len()) && !subject.contains(char::is_control)
    };
    let answer = Answer {
        authorized: said.is_authorized,
        subject: subject.filter(is_good).map(Into::into),
    };
    let ttl = said.ttl_override;
    Ok((answer, ttl.map(|ttl| ttl.clamp(0.0, MAX_TTL) as u64)))
}

/// A random UUID (RFC 9562 §5.4), to find a call by in somebody's log; nothing rests on it.
fn request_id() -> String {
    let random = fastrand::u128(..);
    let bits = random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let text = format!("{bits:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &text[part]);
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_yes_or_a_no_and_perhaps_a_subject_and_a_time() {
        let spoken = |text: &str| {
            let (answer, ttl) = read(text.as_bytes()).expect(text);
            (answer.authorized, answer.subject.map(String::from), ttl)
        };
        assert_eq!(spoken(r#"{"isAuthorized":true}"#), (true, None, None));
        assert_eq!(
            spoken(r#"{"isAuthorized":true,"handlerContext":{"sub":"ada"},"ttlOverride":7}"#),
            (true, Some("ada".into()), Some(7))
        );
        for (ttl, seconds) in [("-3", 0), ("0", 0), ("2.9", 2), ("1e300", 3600)] {
            let text = format!(r#"{{"isAuthorized":false,"ttlOverride":{ttl}}}"#);
            assert_eq!(spoken(&text), (false, None, Some(seconds)));
        }
        for context in [
            "null",
            "[]",
            r#"{"sub":7}"#,
            r#"{"sub":""}"#,
            r#"{"sub":"a\u0000"}"#,
        ] {
            let text = format!(r#"{{"isAuthorized":true,"handlerContext":{context}}}"#);
            assert_eq!(spoken(&text), (true, None, None), "{context}");
        }
        let long = "a".repeat(257);
        let text = format!(r#"{{"isAuthorized":true,"handlerContext":{{"sub":"{long}"}}}}"#);
        assert_eq!(spoken(&text), (true, None, None));
    }

    #[test]
    fn what_is_no_answer_is_no_yes() {
        for bad in [
            "",
            "true",
            "{}",
            "[]",
            r#"{"isAuthorized":"true"}"#,
            r#"{"isAuthorized":1}"#,
            r#"{"isauthorized":true}"#,
            r#"{"isAuthorized":true,"ttlOverride":"7"}"#,
            r#"{"isAuthorized":true} {"#,
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_id_is_a_random_uuid() {
        let (one, other) = (request_id(), request_id());
        assert_ne!(one, other);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
    }
}
