//! Where the broker is and with what to ask: `http://ADDR:PORT` or `https://HOST`, and a token that no log ever shows.

use std::fmt;
use std::time::Duration;

use awc::http::Uri;
use thiserror::Error;

use super::https::{self, NoCertificates, Tls};

/// A bearer token. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// For the `Authorization` header only.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why a broker cannot be asked.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidEndpoint {
    /// It has another form.
    #[error("`{0}` is not an address: write http://ADDR:PORT or https://HOST")]
    Shape(String),
    /// Nobody could be trusted over https.
    #[error("{0}")]
    Certificates(#[from] NoCertificates),
    /// A query or a user stands in it.
    #[error("the address must not carry a query or a user: give the token with --token")]
    Extra,
    /// No header could carry it.
    #[error("the token has characters that no token has (spaces, line breaks or other controls)")]
    Token,
}

/// A broker, and the token to use with it.
#[derive(Clone)]
pub struct Endpoint {
    base: String,
    token: Option<Token>,
    tls: Option<Tls>,
}

impl Endpoint {
    /// `url` is `http://ADDR:PORT` or `https://HOST`, optionally with a path under which a proxy serves the broker.
    /// With https the system's root certificates are trusted, or those that SSL_CERT_FILE names.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, InvalidEndpoint> {
        let uri: Uri = url
            .trim()
            .parse()
            .map_err(|_| InvalidEndpoint::Shape(url.into()))?;
        let scheme = match uri.scheme_str() {
            Some(scheme @ ("http" | "https")) => scheme,
            _ => return Err(InvalidEndpoint::Shape(url.into())),
        };
        let authority = uri
            .authority()
            .ok_or_else(|| InvalidEndpoint::Shape(url.into()))?;
        if authority.host().is_empty() {
            return Err(InvalidEndpoint::Shape(url.into()));
        }
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(InvalidEndpoint::Extra);
        }
        let base = format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/'));
        let token = token.map(str::trim).filter(|token| !token.is_empty());
        if token.is_some_and(|token| !token.bytes().all(|c| c.is_ascii_graphic())) {
            return Err(InvalidEndpoint::Token);
        }
        Ok(Self {
            base,
            token: token.map(|token| Token(token.into())),
            tls: match scheme {
                "https" => Some(https::tls()?),
                _ => None,
            },
        })
    }

    /// The address of a path that begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The token to show, if there is one.
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// A client for one connection to it.
    pub(super) fn client(&self, connect: Duration) -> awc::Client {
        https::client(self.tls.as_ref(), connect)
    }
}

/// The address, and whether there is a token.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, token, .. } = self;
        f.debug_struct("Endpoint")
            .field("base", base)
            .field("token", token)
            .finish()
    }
}

/// The address alone.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_or_without_a_path() {
        let plain = Endpoint::new("http://127.0.0.1:7070/", None).expect("an address");
        assert_eq!(plain.url("/v1/ws"), "http://127.0.0.1:7070/v1/ws");
        let proxied = Endpoint::new("http://[::1]:8080/live", None).expect("an address");
        assert_eq!(proxied.url("/v1/ws"), "http://[::1]:8080/live/v1/ws");
    }

    #[test]
    fn what_is_no_address_is_told() {
        for bad in ["", "127.0.0.1:7070", "ftp://x", "/v1", "http://"] {
            assert!(
                matches!(Endpoint::new(bad, None), Err(InvalidEndpoint::Shape(_))),
                "{bad}"
            );
        }
        assert_eq!(
            Endpoint::new("http://a:b@x", None).err(),
            Some(InvalidEndpoint::Extra)
        );
        assert_eq!(
            Endpoint::new("http://x", Some("a\nb")).err(),
            Some(InvalidEndpoint::Token)
        );
    }

    #[test]
    fn the_token_is_never_shown() {
        let endpoint = Endpoint::new("http://x:1", Some("s3cret")).expect("an address");
        let shown = format!("{endpoint:?} {endpoint}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert_eq!(endpoint.token().map(Token::reveal), Some("s3cret"));
    }
}
