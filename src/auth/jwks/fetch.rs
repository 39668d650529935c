//! One answer from a JWKS address.
//!
//! Bounds: `MAX_TEXT` bytes are taken, the rest is never read; `timeout` for all of it together, from the name's
//! look-up to the last byte. Neither redirects are followed nor cookies kept: who answers is who was configured.

use std::time::Duration;

use awc::error::SendRequestError;
use awc::http::header::{ACCEPT, CONTENT_LENGTH, TRANSFER_ENCODING};
use awc::http::{StatusCode, Version};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use thiserror::Error;

use crate::auth::keys::{KeyError, MAX_TEXT};
use crate::client::https::{self, NoCertificates, Tls};

const ACCEPTED: &str = "application/jwk-set+json, application/json";
/// Characters of what the system or the library says of an error.
const DETAIL_CHARS: usize = 200;

/// Why there are no newer keys. No text carries anything of the answer's body.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FetchError {
    #[error(transparent)]
    Certificates(#[from] NoCertificates),
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    #[error("the server did not answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    #[error("the server answered {0}, and not 200")]
    Status(u16),
    #[error("the server redirects ({0}), and that is not followed: give the address itself")]
    Redirect(u16),
    #[error("the answer is longer than {} KiB", MAX_TEXT >> 10)]
    TooLong,
    /// `awc` takes such an answer for an empty one.
    #[error("the answer says neither its length nor that it is chunked")]
    NoLength,
    #[error("the answer broke off: {0}")]
    BrokeOff(String),
    #[error("the answer is of no use: {0}")]
    Keys(#[from] KeyError),
}

/// Fetches one address.
pub struct Fetcher<'a> {
    url: &'a str,
    timeout: Duration,
    /// Made when it is first needed, so that a missing store of certificates is an outage and not the end.
    tls: Option<Tls>,
}

impl<'a> Fetcher<'a> {
    pub fn new(url: &'a str, timeout: Duration) -> Self {
        Self {
            url,
            timeout,
            tls: None,
        }
    }

    pub async fn fetch(&mut self) -> Result<Bytes, FetchError> {
        if self.tls.is_none() && starts_with_https(self.url) {
            self.tls = Some(https::tls()?);
        }
        let fetched = tokio::time::timeout(self.timeout, self.get()).await;
        fetched.unwrap_or(Err(FetchError::TimedOut(self.timeout)))
    }

    async fn get(&self) -> Result<Bytes, FetchError> {
        let request = https::client(self.tls.as_ref(), self.timeout)
            .get(self.url)
            .insert_header((ACCEPT, ACCEPTED))
            .force_close();
        let mut response = request.send().await.map_err(|error| match error {
            SendRequestError::Response(error) => FetchError::BrokeOff(detail(&error.to_string())),
            error => FetchError::Unreachable(detail(&error.to_string())),
        })?;
        let status = response.status();
        if status.is_redirection() {
            return Err(FetchError::Redirect(status.as_u16()));
        }
        if status != StatusCode::OK {
            return Err(FetchError::Status(status.as_u16()));
        }
        let headers = response.headers();
        match headers.get(CONTENT_LENGTH) {
            Some(length) => {
                let length = length.to_str().ok().and_then(|length| length.parse().ok());
                if length.is_none_or(|length: usize| length > MAX_TEXT) {
                    return Err(FetchError::TooLong);
                }
            }
            None if response.version() == Version::HTTP_11
                && !headers.contains_key(TRANSFER_ENCODING) =>
            {
                return Err(FetchError::NoLength);
            }
            None => {}
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.next().await {
            let chunk = chunk.map_err(|error| FetchError::BrokeOff(detail(&error.to_string())))?;
            if body.len() + chunk.len() > MAX_TEXT {
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

fn starts_with_https(url: &str) -> bool {
    url.get(..6)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

/// One short line.
fn detail(text: &str) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(DETAIL_CHARS).collect()
}

/// An address without what may be secret in it: user, query and fragment.
pub fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let shown = match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    };
    detail(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (url, without) in [
            (
                "https://a.example/keys?token=s3cret",
                "https://a.example/keys",
            ),
            (
                "https://me:s3cret@a.example:8443/k",
                "https://a.example:8443/k",
            ),
            ("http://127.0.0.1:1#s3cret", "http://127.0.0.1:1"),
            ("http://x?@s3cret", "http://x"),
        ] {
            assert_eq!(shown(url), without);
        }
    }
}
