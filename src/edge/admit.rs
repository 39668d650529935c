//! Who may come in. HTTP handlers and the WebSocket upgrade both call this.
//!
//! Any web page a person visits can reach a broker on their loopback address, so `Host` (DNS rebinding) and
//! `Origin` (cross-site requests) are checked there too.

use std::net::IpAddr;

use actix_http::header::{self, HeaderMap};

use crate::broker::Broker;
use crate::broker::directory::Principal;
use crate::broker::problem::{Code, Problem};
use crate::config::Config;

/// Says who the request is from, or why it may not come in.
pub fn admit(broker: &Broker, headers: &HeaderMap) -> Result<Principal, Problem> {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("\u{fffd}"))
    };
    check_host(&broker.config, text(header::HOST))?;
    check_origin(&broker.config, text(header::HOST), text(header::ORIGIN))?;
    Ok(Principal::anonymous())
}

fn check_host(config: &Config, host: Option<&str>) -> Result<(), Problem> {
    let Some(host) = host.filter(|_| config.listen.ip().is_loopback()) else {
        return Ok(());
    };
    let name = without_port(host).to_ascii_lowercase();
    if is_loopback_name(&name) || config.allowed_hosts.contains(&name) {
        return Ok(());
    }
    Err(Problem::new(
        Code::Forbidden,
        "this broker listens on loopback and the Host header names something else; see `allowed_hosts`",
    ))
}

fn check_origin(config: &Config, host: Option<&str>, origin: Option<&str>) -> Result<(), Problem> {
    let Some(origin) = origin else { return Ok(()) };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let same = authority
        .is_some_and(|authority| host.is_some_and(|host| host.eq_ignore_ascii_case(authority)));
    // pages of this machine (a development server on another port) are no strangers to a broker on loopback
    let neighbour = config.listen.ip().is_loopback()
        && authority.is_some_and(|authority| {
            is_loopback_name(&without_port(authority).to_ascii_lowercase())
        });
    if same
        || neighbour
        || config
            .allowed_origins
            .iter()
            .any(|allowed| allowed == origin)
    {
        return Ok(());
    }
    Err(Problem::new(
        Code::Forbidden,
        "pages of this origin may not use this broker; see `allowed_origins`",
    ))
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
        assert!(check_host(&public, Some("chat.example")).is_ok());
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
}
