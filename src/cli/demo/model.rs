//! A language model behind an OpenAI-compatible server: a conversation in, its answer out, as it comes.
//!
//! Invariants: the key is in the `Authorization` header and nowhere else, neither in an error nor in a log,
//! and no redirect carries it to somebody else; what readers are told of an error is ours, what the server
//! said of it is for standard error alone. Dropping an `Answer` closes its connection, which tells the server
//! to stop.
//!
//! Bounds: `ANSWER_BYTES` of text in an answer, `ERROR_BYTES` of a refusal's body, `event_stream`'s for the
//! rest; and `silence` between two reads.

mod chunk;
mod event_stream;

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use awc::ClientResponse;
use awc::error::{PayloadError, SendRequestError};
use awc::http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use awc::http::{StatusCode, Uri};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::timeout;

pub use chunk::Piece;
use chunk::{DONE, NoChunk, ServerError};
use event_stream::EventStream;

use crate::client::https::{self, NoCertificates, Tls};

/// Where the key comes from.
pub const KEY_VARIABLE: &str = "OPENAI_API_KEY";

const ANSWER_BYTES: usize = 1 << 20;
const ERROR_BYTES: usize = 16 << 10;
/// Of what a server says of its error.
const DETAIL_CHARS: usize = 300;
const CONNECT: Duration = Duration::from_secs(10);

/// Why no model can be asked: said once, at the start.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidModel {
    #[error("--openai-base-url `{0}` is no address: write https://HOST/v1 or http://ADDR:PORT/v1")]
    Address(String),
    #[error("--openai-base-url must not carry a user or a query: give the key in {KEY_VARIABLE}")]
    Extra,
    #[error(
        "{KEY_VARIABLE} has characters that no key has (spaces, line breaks or other controls)"
    )]
    Key,
    #[error(transparent)]
    Certificates(#[from] NoCertificates),
}

/// Why an answer broke off. Its text is for readers: no secrets, nothing that the server said.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ModelError {
    #[error("the model's server cannot be reached")]
    Unreachable { detail: String },
    #[error("{} ({})", refusal(*.status), .status.as_u16())]
    Refused { status: StatusCode, detail: String },
    #[error("the model's server broke off with an error")]
    BrokeOff { detail: String },
    #[error("the model's server ended the answer before it was complete")]
    Early { detail: String },
    #[error("the model's server was silent for {} s", .0.as_secs_f32())]
    Silent(Duration),
    #[error("the model's server sent something that is no streamed chat completion")]
    Garbled { detail: String },
    #[error("the answer is longer than {} KiB", ANSWER_BYTES >> 10)]
    TooLong,
}

impl ModelError {
    /// With what the server, or the system, said of it; for whoever runs the demo.
    pub fn in_detail(&self) -> String {
        match self {
            Self::Unreachable { detail }
            | Self::Refused { detail, .. }
            | Self::BrokeOff { detail }
            | Self::Early { detail }
            | Self::Garbled { detail }
                if !detail.is_empty() =>
            {
                format!("{self}: {detail}")
            }
            _ => self.to_string(),
        }
    }
}

fn refusal(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "the model's server refused the API key",
        404 => "the model's server does not know that model or address",
        429 => "the model's server is at its limit; try again later",
        500.. => "the model's server failed",
        _ => "the model's server refused the request",
    }
}

/// Its `Debug` shows nothing of it.
struct Key(String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// See the module.
#[derive(Debug)]
pub struct Model {
    url: String,
    name: String,
    key: Option<Key>,
    silence: Duration,
    tls: Option<Tls>,
}

impl Model {
    /// `base` is what stands before `/chat/completions`.
    pub fn new(
        base: &str,
        name: &str,
        key: Option<String>,
        silence: Duration,
    ) -> Result<Self, InvalidModel> {
        let (url, https) = chat_url(base)?;
        let key = key
            .map(|key| key.trim().to_owned())
            .filter(|key| !key.is_empty());
        if key
            .as_ref()
            .is_some_and(|key| !key.bytes().all(|c| c.is_ascii_graphic()))
        {
            return Err(InvalidModel::Key);
        }
        Ok(Self {
            url,
            name: name.into(),
            key: key.map(Key),
            silence,
            tls: if https { Some(https::tls()?) } else { None },
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a conversation; the answer is read with `Answer::next`.
    pub async fn ask(&self, messages: &[Value]) -> Result<Answer<'_>, ModelError> {
        let mut response = self.post(messages, true).await?;
        if matches!(response.status().as_u16(), 400 | 422) {
            // a server that knows no `stream_options` may refuse them
            response = self.post(messages, false).await?;
        }
        let status = response.status();
        if status != StatusCode::OK {
            return Err(ModelError::Refused {
                status,
                detail: self.why_refused(status, response).await,
            });
        }
        let content_type = response.headers().get("content-type");
        let content_type = content_type.and_then(|value| value.to_str().ok());
        if let Some(other) = content_type.filter(|found| {
            ["application/json", "text/html"]
                .iter()
                .any(|not| found.starts_with(not))
        }) {
            let detail = format!("it answered with {other}");
            return Err(ModelError::Garbled { detail });
        }
        Ok(Answer {
            model: self,
            body: Box::pin(response),
            events: EventStream::default(),
            waiting: VecDeque::new(),
            bytes: 0,
        })
    }

    async fn post(&self, messages: &[Value], options: bool) -> Result<ClientResponse, ModelError> {
        let mut body = json!({"model": self.name, "messages": messages, "stream": true});
        if options {
            body["stream_options"] = json!({"include_usage": true});
        }
        let mut request = https::client(self.tls.as_ref(), CONNECT)
            .post(&self.url)
            .content_type("application/json")
            .insert_header((ACCEPT, "text/event-stream"));
        if let Some(Key(key)) = &self.key
            && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {key}"))
        {
            value.set_sensitive(true);
            request = request.insert_header((AUTHORIZATION, value));
        }
        match timeout(self.silence, request.send_body(body.to_string())).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.why_no_answer(error)),
            Err(_) => Err(ModelError::Silent(self.silence)),
        }
    }

    fn why_no_answer(&self, error: SendRequestError) -> ModelError {
        let detail = self.redacted(&error.to_string());
        match error {
            SendRequestError::Response(_) => ModelError::Garbled { detail },
            _ => ModelError::Unreachable { detail },
        }
    }

    async fn why_refused(&self, status: StatusCode, mut response: ClientResponse) -> String {
        let Ok(Ok(body)) = timeout(self.silence, response.body().limit(ERROR_BYTES)).await else {
            return String::new();
        };
        let Ok(body) = serde_json::from_slice::<Value>(&body) else {
            return String::new();
        };
        let mut error = chunk::server_error(&body).unwrap_or_default();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            // it may quote a part of the key
            error.message = None;
        }
        self.detail(&error)
    }

    fn detail(&self, error: &ServerError) -> String {
        let texts = [error.message.as_deref(), error.code.as_deref()];
        let texts: Vec<String> = texts
            .into_iter()
            .flatten()
            .map(|t| self.redacted(t))
            .collect();
        texts.join(", ")
    }

    /// One short line without the key.
    fn redacted(&self, text: &str) -> String {
        let text = match &self.key {
            Some(Key(key)) => text.replace(key, "…"),
            None => text.to_owned(),
        };
        let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        line.take(DETAIL_CHARS).collect()
    }
}

/// An answer that is being written.
pub struct Answer<'a> {
    model: &'a Model,
    body: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>,
    events: EventStream,
    waiting: VecDeque<String>,
    bytes: usize,
}

impl Answer<'_> {
    /// What comes next, maybe nothing yet. None: it is complete.
    pub async fn next(&mut self) -> Result<Option<Vec<Piece>>, ModelError> {
        loop {
            if let Some(data) = self.waiting.pop_front() {
                if data == DONE {
                    return Ok(None);
                }
                return self.take(&data).map(Some);
            }
            self.read().await?;
        }
    }

    fn take(&mut self, data: &str) -> Result<Vec<Piece>, ModelError> {
        let pieces = chunk::parse(data).map_err(|no| match no {
            NoChunk::Error(error) => ModelError::BrokeOff {
                detail: self.model.detail(&error),
            },
            NoChunk::Garbled => ModelError::Garbled {
                detail: "an event that is no chunk".into(),
            },
        })?;
        for piece in &pieces {
            if let Piece::Text(text) | Piece::Reasoning(text) = piece {
                self.bytes += text.len();
            }
        }
        if self.bytes > ANSWER_BYTES {
            return Err(ModelError::TooLong);
        }
        Ok(pieces)
    }

    async fn read(&mut self) -> Result<(), ModelError> {
        let silence = self.model.silence;
        let read = timeout(silence, self.body.next()).await;
        match read.map_err(|_| ModelError::Silent(silence))? {
            Some(Ok(bytes)) => {
                let events = self
                    .events
                    .push(&bytes)
                    .map_err(|error| ModelError::Garbled {
                        detail: error.to_string(),
                    })?;
                self.waiting.extend(events);
                Ok(())
            }
            Some(Err(error)) => Err(ModelError::Early {
                detail: error.to_string(),
            }),
            None => Err(ModelError::Early {
                detail: format!("without {DONE}"),
            }),
        }
    }
}

/// The address to ask, and whether it is https.
fn chat_url(base: &str) -> Result<(String, bool), InvalidModel> {
    let invalid = || InvalidModel::Address(base.into());
    let uri: Uri = base.trim().parse().map_err(|_| invalid())?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority())
    else {
        return Err(invalid());
    };
    if authority.host().is_empty() {
        return Err(invalid());
    }
    if authority.as_str().contains('@') || uri.query().is_some() {
        return Err(InvalidModel::Extra);
    }
    let path = uri.path().trim_end_matches('/');
    let url = format!("{scheme}://{authority}{path}/chat/completions");
    Ok((url, scheme == "https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(key: &str) -> Model {
        let second = Duration::from_secs(1);
        Model::new("http://127.0.0.1:1/v1/", "m", Some(key.into()), second).expect("a model")
    }

    #[test]
    fn an_address_with_its_path() {
        let url = |base: &str| chat_url(base).map(|(url, _)| url);
        assert_eq!(
            url("http://127.0.0.1:8080/v1").as_deref(),
            Ok("http://127.0.0.1:8080/v1/chat/completions")
        );
        assert_eq!(
            chat_url("https://x.example/api/v1/"),
            Ok(("https://x.example/api/v1/chat/completions".into(), true))
        );
        for bad in ["", "x.example/v1", "ftp://x/v1", "http://"] {
            assert!(matches!(url(bad), Err(InvalidModel::Address(_))), "{bad}");
        }
        assert_eq!(url("https://a:b@x/v1"), Err(InvalidModel::Extra));
        assert_eq!(url("https://x/v1?key=1"), Err(InvalidModel::Extra));
    }

    #[test]
    fn the_key_is_never_shown() {
        let model = model(" s3cret\n");
        assert!(!format!("{model:?}").contains("s3cret"));
        let said = ServerError {
            code: Some("bad s3cret".into()),
            message: Some("wrong\nkey: s3cret!".into()),
        };
        assert_eq!(model.detail(&said), "wrong key: …!, bad …");
        let second = Duration::from_secs(1);
        let with_space = Model::new("http://x", "m", Some("a b".into()), second);
        assert_eq!(with_space.err(), Some(InvalidModel::Key));
    }

    #[test]
    fn what_readers_are_told_is_not_what_the_server_said() {
        let error = ModelError::Refused {
            status: StatusCode::TOO_MANY_REQUESTS,
            detail: "organisation org-17 is over its quota".into(),
        };
        let told = "the model's server is at its limit; try again later (429)";
        assert_eq!(error.to_string(), told);
        assert!(error.in_detail().ends_with("over its quota"));
    }
}
