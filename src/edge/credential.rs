//! Where a token or key may stand in a request. What is found here goes to `Broker::authenticate` and nowhere else.

use std::borrow::Cow;

use actix_http::RequestHead;
use actix_http::header::{self, HeaderMap};

use crate::auth::AuthError;

/// Before the token in `Sec-WebSocket-Protocol`.
const SUBPROTOCOL: &str = "bearer.";
/// The name in a query.
const QUERY: &str = "access_token";

/// Where it stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Pages cannot set it on a WebSocket or `EventSource`: whoever does can read a status.
    Authorization,
    Subprotocol,
    Query,
    /// Browsers send it along, whatever page asks.
    Cookie,
}

pub struct Credential<'a> {
    pub text: Cow<'a, str>,
    pub place: Place,
}

/// The first that is there, in the order of `Place`.
pub fn find<'a>(
    head: &'a RequestHead,
    cookie: Option<&str>,
) -> Result<Option<Credential<'a>>, AuthError> {
    let found = |text: Cow<'a, str>, place| Ok(Some(Credential { text, place }));
    if let Some(value) = head.headers.get(header::AUTHORIZATION) {
        let several = head.headers.get_all(header::AUTHORIZATION).nth(1).is_some();
        let text = value.to_str().ok().filter(|_| !several).and_then(bearer);
        let text = text.ok_or(AuthError::Malformed)?;
        return found(text.into(), Place::Authorization);
    }
    if let Some(text) = subprotocol(&head.headers) {
        return found(text.into(), Place::Subprotocol);
    }
    if let Some(text) = in_query(head.uri.query().unwrap_or_default()) {
        return found(text, Place::Query);
    }
    match cookie.and_then(|name| in_cookies(&head.headers, name)) {
        Some(text) => found(text.into(), Place::Cookie),
        None => Ok(None),
    }
}

/// RFC 6750 §2.1; the scheme in any case (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn subprotocol(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|name| name.trim().strip_prefix(SUBPROTOCOL))
        .filter(|token| !token.is_empty())
}

fn in_query(query: &str) -> Option<Cow<'_, str>> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == QUERY)
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty())
}

fn in_cookies<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.trim_matches('"'))
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_http::Request;
    use actix_http::header::{HeaderName, HeaderValue};

    fn request(uri: &str, headers: &[(&'static str, &str)]) -> Request {
        let mut request = Request::new();
        let head = request.head_mut();
        head.uri = uri.parse().expect("a target");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a value");
            head.headers.append(HeaderName::from_static(name), value);
        }
        request
    }

    fn found(uri: &str, headers: &[(&'static str, &str)]) -> Option<(String, Place)> {
        let request = request(uri, headers);
        let found = find(request.head(), Some("tw")).expect("no fault");
        found.map(|found| (found.text.into_owned(), found.place))
    }

    #[test]
    fn each_place_is_looked_at_in_its_turn() {
        let all = [
            ("cookie", "a=b; tw=c; tw=d"),
            ("authorization", "bearer  a"),
            ("sec-websocket-protocol", "tidewire.v1.json, bearer.s"),
        ];
        let uri = "/v1/ws?x=1&access_token=q%2Dq";
        let is = |text: &str, place| Some((text.to_owned(), place));
        assert_eq!(found(uri, &all), is("a", Place::Authorization));
        assert_eq!(found(uri, &all[2..]), is("s", Place::Subprotocol));
        assert_eq!(found(uri, &all[..1]), is("q-q", Place::Query));
        assert_eq!(found("/v1/ws", &all[..1]), is("c", Place::Cookie));
        assert_eq!(found("/v1/ws?access_token=", &[("cookie", "tw=")]), None);
        assert_eq!(found("/v1/ws", &[("cookie", "xtw=1; tw2=2")]), None);
    }

    #[test]
    fn an_authorization_that_is_no_bearer_is_a_fault_and_not_passed_over() {
        for headers in [
            &[("authorization", "Basic YTpi")][..],
            &[("authorization", "Bearer")],
            &[("authorization", "")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
        ] {
            let request = request("/v1/ws?access_token=x", headers);
            assert!(matches!(
                find(request.head(), None),
                Err(AuthError::Malformed)
            ));
        }
    }
}
