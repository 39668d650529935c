//! Who may come in. HTTP handlers and the WebSocket upgrade both go this way.
//!
//! First whether the request may be looked at, then who it is from. Any web page a person visits can reach a
//! broker on their loopback address, so `Host` (DNS rebinding) and `Origin` (cross-site requests) are checked
//! there too.

use std::net::IpAddr;

use actix_http::RequestHead;
use actix_http::header::{self, HeaderMap};

use super::credential::{self, Place};
use crate::auth::{AuthError, Principal};
use crate::broker::Broker;
use crate::broker::problem::{Code, Problem};
use crate::config::Config;

/// What a request says of who it is from.
pub struct Admission {
    /// `Ok(None)`: nothing, and nobody may do anything without.
    pub principal: Result<Option<Principal>, AuthError>,
    /// Where it stood.
    pub place: Option<Place>,
}

/// Whether the request may be looked at: its sizes, and the page that it comes from.
pub fn check_request(config: &Config, head: &RequestHead) -> Result<(), Problem> {
    let headers = &head.headers;
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let max = config.limits.max_header_bytes;
    if bytes > max {
        let message = format!("the headers of a request have at most {max} bytes");
        return Err(Problem::new(Code::TooLarge, message));
    }
    let max = config.limits.max_query_bytes;
    if head.uri.query().is_some_and(|query| query.len() > max) {
        let message = format!("a query has at most {max} bytes; `POST /v1/sse` takes more topics");
        return Err(Problem::new(Code::TooLarge, message));
    }
    check_host(config, text(headers, header::HOST))?;
    check_origin(
        config,
        text(headers, header::HOST),
        text(headers, header::ORIGIN),
    )
}

/// Says who the request is from.
pub async fn admit(broker: &Broker, head: &RequestHead) -> Result<Admission, Problem> {
    let found = match credential::find(head, broker.config.auth.cookie.as_deref()) {
        Ok(Some(found)) => found,
        Ok(None) => {
            return Ok(Admission {
                principal: Ok(broker.without_credential()),
                place: None,
            });
        }
        Err(_) if broker.auth.is_open() => {
            return Ok(Admission {
                principal: Ok(broker.without_credential()),
                place: Some(Place::Authorization),
            });
        }
        Err(fault) => {
            return Ok(Admission {
                principal: broker.not_authenticated(fault).map(Some),
                place: Some(Place::Authorization),
            });
        }
    };
    if found.place == Place::Cookie
        && let Err(unknown) = check_cookie(&broker.config, &head.headers)
    {
        // whose page it is, nobody can say: it comes without a token, where that is enough
        let anybody = broker.without_credential().ok_or(unknown)?;
        return Ok(Admission {
            principal: Ok(Some(anybody)),
            place: None,
        });
    }
    Ok(Admission {
        principal: broker.authenticate(&found.text).await.map(Some),
        place: Some(found.place),
    })
}

/// What is no text, or stands there twice, is a text that nothing equals.
fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name);
    let value = values.next()?.to_str().ok();
    Some(
        value
            .filter(|_| values.next().is_none())
            .unwrap_or("\u{fffd}"),
    )
}

/// On loopback: its names and the configured ones. Elsewhere: the configured ones, if there are any.
fn check_host(config: &Config, host: Option<&str>) -> Result<(), Problem> {
    let is_local = config.listen.ip().is_loopback();
    if !is_local && config.allowed_hosts.is_empty() {
        return Ok(());
    }
    let Some(host) = host else {
        return Ok(());
    };
    let name = without_port(host).to_ascii_lowercase();
    if (is_local && is_loopback_name(&name)) || config.allowed_hosts.contains(&name) {
        return Ok(());
    }
    Err(Problem::new(
        Code::Forbidden,
        "the Host header names something that this broker is not; see `allowed_hosts`",
    ))
}

fn check_origin(config: &Config, host: Option<&str>, origin: Option<&str>) -> Result<(), Problem> {
    let Some(origin) = origin else { return Ok(()) };
    // pages of this machine (a development server on another port) are no strangers to a broker on loopback
    let neighbour = config.listen.ip().is_loopback()
        && authority(origin).is_some_and(|authority| {
            is_loopback_name(&without_port(authority).to_ascii_lowercase())
        });
    if neighbour || is_allowed_origin(config, host, origin) {
        return Ok(());
    }
    Err(Problem::new(
        Code::Forbidden,
        "pages of this origin may not use this broker; see `allowed_origins`",
    ))
}

/// A browser sends a cookie along whatever page asks, so the page has to be known: by `Origin`, or where a browser
/// sends none, because page and broker are of one origin, by `Sec-Fetch-Site`.
fn check_cookie(config: &Config, headers: &HeaderMap) -> Result<(), Problem> {
    let host = text(headers, header::HOST);
    let allowed = match text(headers, header::ORIGIN) {
        Some(origin) => is_allowed_origin(config, host, origin),
        None => headers
            .get("sec-fetch-site")
            .is_some_and(|site| site == "same-origin"),
    };
    if allowed {
        return Ok(());
    }
    Err(Problem::new(
        Code::Forbidden,
        "a cookie counts only from a page of this broker's origin or of `allowed_origins`, and this request does \
         not say that it comes from one",
    ))
}

fn is_allowed_origin(config: &Config, host: Option<&str>, origin: &str) -> bool {
    let same = authority(origin)
        .is_some_and(|authority| host.is_some_and(|host| host.eq_ignore_ascii_case(authority)));
    same || config
        .allowed_origins
        .iter()
        .any(|allowed| allowed == origin)
}

fn authority(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, authority)| authority)
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) && !name.ends_with(':') => {
            name
        }
        _ => authority,
    }
}

fn is_loopback_name(name: &str) -> bool {
    let address = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name);
    name == "localhost"
        || name.ends_with(".localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            allowed_hosts: vec!["dev.test".into()],
            allowed_origins: vec!["https://app.example".into()],
            ..Config::default()
        }
    }

    #[test]
    fn on_loopback_only_loopback_names_and_configured_ones_are_hosts() {
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:7070",
            "[::1]:7070",
            "a.localhost",
            "dev.test:1",
        ] {
            assert!(check_host(&config(), Some(host)).is_ok(), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "",
            "[::2]:1",
        ] {
            assert!(check_host(&config(), Some(host)).is_err(), "{host}");
        }
        let public = Config {
            listen: ([0, 0, 0, 0], 80).into(),
            ..config()
        };
        assert!(check_host(&public, Some("chat.example")).is_err());
        assert!(check_host(&public, Some("localhost")).is_err());
        assert!(check_host(&public, Some("dev.test:80")).is_ok());
        let anywhere = Config {
            allowed_hosts: Vec::new(),
            ..public
        };
        assert!(check_host(&anywhere, Some("chat.example")).is_ok());
    }

    #[test]
    fn foreign_origins_stay_out() {
        let host = Some("127.0.0.1:7070");
        for origin in [
            "http://127.0.0.1:7070",
            "http://localhost:5173",
            "http://[::1]:3000",
            "https://app.example",
        ] {
            assert!(
                check_origin(&config(), host, Some(origin)).is_ok(),
                "{origin}"
            );
        }
        for origin in [
            "null",
            "https://evil.example",
            "http://localhost.evil.example",
            "http://app.example",
            "",
        ] {
            assert!(
                check_origin(&config(), host, Some(origin)).is_err(),
                "{origin}"
            );
        }
        assert!(check_origin(&config(), host, None).is_ok());
        let public = Config {
            listen: ([0, 0, 0, 0], 80).into(),
            ..config()
        };
        assert!(check_origin(&public, Some("chat.example"), Some("https://chat.example")).is_ok());
        assert!(check_origin(&public, Some("chat.example"), Some("http://localhost")).is_err());
    }

    #[test]
    fn a_cookie_counts_only_from_a_known_page() {
        let check = |headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                let value = header::HeaderValue::from_str(value).expect("a value");
                map.append(header::HeaderName::from_static(name), value);
            }
            check_cookie(&config(), &map)
        };
        let host = ("host", "127.0.0.1:7070");
        for known in [
            &[host, ("origin", "http://127.0.0.1:7070")][..],
            &[host, ("origin", "https://app.example")],
            &[host, ("sec-fetch-site", "same-origin")],
        ] {
            assert!(check(known).is_ok(), "{known:?}");
        }
        for unknown in [
            &[host][..],
            &[host, ("origin", "http://localhost:5173")],
            &[host, ("origin", "null"), ("sec-fetch-site", "same-origin")],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("sec-fetch-site", "none")],
        ] {
            assert!(check(unknown).is_err(), "{unknown:?}");
        }
    }
}
