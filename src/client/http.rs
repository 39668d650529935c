//! `POST /v1/publish`: one batch, one answer.

use std::time::Duration;

use awc::error::SendRequestError;
use serde_json::value::RawValue;
use thiserror::Error;

use super::endpoint::Endpoint;
use super::wire::Problem;

/// From the first packet to the answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const MAX_ANSWER: usize = 4 << 20;

/// Why nothing, or perhaps nothing, was published.
#[derive(Debug, Error)]
pub enum HttpPublishError {
    /// Nothing was published.
    #[error("cannot reach the broker at {0}")]
    Unreachable(String),
    /// Nobody can say whether it was published.
    #[error(
        "no answer came ({0}): it may or may not be published; with an --id it is safe to repeat"
    )]
    OutcomeUnknown(String),
    /// Nothing was published.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// Nothing was published, and whatever answers there is no broker.
    #[error("that address does not speak Tidewire: it answered {0}")]
    NotTidewire(String),
}

/// Publishes `events` (each an object with `type`, `data` and maybe `id`) as one batch, which goes in
/// whole or not at all. The answer is the broker's, as it came.
pub async fn publish(
    endpoint: &Endpoint,
    topic: &str,
    events: &[Box<RawValue>],
) -> Result<String, HttpPublishError> {
    let body = serde_json::json!({ "topic": topic }).to_string();
    let events: Vec<&str> = events.iter().map(|event| event.get()).collect();
    // the events' bytes go as they came
    let body = format!(
        "{},\"events\":[{}]}}",
        body.trim_end_matches('}'),
        events.join(",")
    );
    let mut request = endpoint
        .client(TIMEOUT)
        .post(endpoint.url("/v1/publish"))
        .timeout(TIMEOUT)
        .content_type("application/json");
    if let Some(token) = endpoint.token() {
        request = request.bearer_auth(token.reveal());
    }
    let mut response = request
        .send_body(body)
        .await
        .map_err(|error| why_no_answer(endpoint, error))?;
    let status = response.status();
    let body = response.body().limit(MAX_ANSWER).await;
    let body = body.map_err(|error| HttpPublishError::OutcomeUnknown(error.to_string()))?;
    let body = String::from_utf8_lossy(&body);
    if status.is_success() {
        return match serde_json::from_str::<&RawValue>(&body) {
            Ok(answer) => Ok(answer.get().to_owned()),
            Err(_) => Err(HttpPublishError::NotTidewire(status.to_string())),
        };
    }
    match serde_json::from_str::<Problem>(&body) {
        Ok(problem) if !problem.code.is_empty() => {
            Err(HttpPublishError::Refused(Box::new(problem)))
        }
        _ => Err(HttpPublishError::NotTidewire(status.to_string())),
    }
}

fn why_no_answer(endpoint: &Endpoint, error: SendRequestError) -> HttpPublishError {
    match error {
        SendRequestError::Connect(error) => {
            HttpPublishError::Unreachable(format!("{endpoint}: {error}"))
        }
        error @ (SendRequestError::Url(_) | SendRequestError::Http(_)) => {
            HttpPublishError::Unreachable(format!("{endpoint}: {error}"))
        }
        error => HttpPublishError::OutcomeUnknown(error.to_string()),
    }
}
