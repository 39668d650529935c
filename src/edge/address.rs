//! The address of a client: of the peer, or what proxies that are trusted say of it.
//!
//! Anybody can write a forwarding header, so it is only believed from its end, as far as trusted proxies wrote
//! it: each added the address that it saw. The first that is no trusted proxy is the client; what stands before
//! it is the client's own word and not looked at. What cannot be read ends the walk too: then the nearest
//! trusted proxy before it is all that is known.
//!
//! Bound: `MAX_HOPS` entries are looked at.

use std::net::{IpAddr, Ipv6Addr};

use actix_http::header::{HeaderMap, HeaderName};

use crate::config::{Config, ForwardedHeader};

/// Proxies that may stand in a row.
const MAX_HOPS: usize = 32;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
/// Whoever passes a request on adds one of them.
const TRACES: [HeaderName; 4] = [
    X_FORWARDED_FOR,
    FORWARDED,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("via"),
];

/// Whose request that is.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, config: &Config) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| {
        let mut proxies = config.trusted_proxies.iter();
        proxies.any(|proxies| proxies.contains(&address))
    };
    if !is_trusted(peer) {
        return peer;
    }
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = match config.forwarded_header {
        ForwardedHeader::XForwardedFor => (X_FORWARDED_FOR, node),
        ForwardedHeader::Forwarded => (FORWARDED, forwarded_for),
    };
    let lines: Vec<_> = headers.get_all(name).collect();
    let mut nearest = peer;
    let mut left = MAX_HOPS;
    // several lines are one list
    for line in lines.into_iter().rev() {
        let Ok(line) = line.to_str() else {
            return nearest;
        };
        for entry in from_the_end(line, b',') {
            if left == 0 {
                return nearest;
            }
            left -= 1;
            // an empty entry says nothing (RFC 9110 §5.6.1)
            if entry.is_empty() {
                continue;
            }
            let Some(address) = read(entry) else {
                return nearest;
            };
            nearest = address;
            if !is_trusted(address) {
                return address;
            }
        }
    }
    nearest
}

/// Whether somebody on this machine asks for themselves: nobody passed the request on.
pub fn is_local(peer: IpAddr, headers: &HeaderMap) -> bool {
    peer.to_canonical().is_loopback() && !TRACES.iter().any(|name| headers.contains_key(name))
}

/// The trimmed parts of a list, from its end; a separator between quotes is none.
fn from_the_end(list: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let text = rest?;
        let (before, part) = match last_outside_quotes(text, separator) {
            Some(at) => (Some(&text[..at]), &text[at + 1..]),
            None => (None, text),
        };
        rest = before;
        Some(part.trim_matches([' ', '\t']))
    })
}

/// Quotes are found from the end as well: what a client wrote in front cannot turn what proxies wrote into a part
/// of a quoted text. Nor can what a proxy quoted (a `Host`, with quotes of its own) be taken for an element.
fn last_outside_quotes(text: &str, separator: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_escaped = |at: usize| {
        let before = bytes[..at].iter().rev();
        before.take_while(|byte| **byte == b'\\').count() % 2 == 1
    };
    let mut is_quoted = false;
    for (at, byte) in bytes.iter().enumerate().rev() {
        match *byte {
            b'"' if !is_escaped(at) => is_quoted = !is_quoted,
            byte if byte == separator && !is_quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// The `for` of one element of `Forwarded` (RFC 7239 §4). Twice in one element is nobody's.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in from_the_end(element, b';').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") && found.replace(value.trim()).is_some() {
            return None;
        }
    }
    node(found?)
}

/// An address, perhaps quoted, in brackets, with a port. Nothing else: names, `unknown` and `_hidden` say nothing.
fn node(text: &str) -> Option<IpAddr> {
    let text = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?.trim(),
        None => text,
    };
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        let has_port = after.strip_prefix(':').is_some_and(is_port);
        if !after.is_empty() && !has_port {
            return None;
        }
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        // with a port, IPv4 only: without brackets nobody knows where an IPv6 address ends
        let (address, port) = text.split_once(':')?;
        if !is_port(port) {
            return None;
        }
        IpAddr::V4(address.parse().ok()?)
    };
    Some(address.to_canonical())
}

/// A number, or hidden (RFC 7239 §6).
fn is_port(text: &str) -> bool {
    let hidden = text.strip_prefix('_');
    let is_number = text.len() <= 5 && text.bytes().all(|c| c.is_ascii_digit());
    let is_name = |name: &str| {
        name.bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
    };
    !text.is_empty() && (is_number || hidden.is_some_and(is_name))
}

#[cfg(test)]
mod tests {
    use actix_http::header::HeaderValue;

    use super::*;

    fn config(header: ForwardedHeader) -> Config {
        let proxies = ["10.0.0.0/8", "fd00::/8", "127.0.0.1/32"];
        Config {
            trusted_proxies: proxies.map(|net| net.parse().expect("a net")).to_vec(),
            forwarded_header: header,
            ..Config::default()
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn client(header: ForwardedHeader, peer: &str, lines: &[(&'static str, &str)]) -> String {
        client_address(ip(peer), &headers(lines), &config(header)).to_string()
    }

    const XFF: &str = "x-forwarded-for";

    #[test]
    fn address_of_a_peer_that_is_no_proxy_is_its_own() {
        let lines = [(XFF, "203.0.113.7"), ("forwarded", "for=203.0.113.7")];
        for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
            assert_eq!(client(header, "198.51.100.1", &lines), "198.51.100.1");
            assert_eq!(
                client(header, "::ffff:198.51.100.1", &lines),
                "198.51.100.1"
            );
            assert_eq!(client(header, "::1", &lines), "::1");
            // nobody is trusted
            let address = client_address(ip("10.0.0.1"), &headers(&lines), &Config::default());
            assert_eq!(address, ip("10.0.0.1"));
        }
    }

    #[test]
    fn address_is_the_first_from_the_end_that_is_no_proxy() {
        for (list, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7, 10.1.1.1", "203.0.113.7"),
            // whatever a client wrote itself stands before
            ("1.1.1.1, 203.0.113.7,10.1.1.1 ,10.2.2.2", "203.0.113.7"),
            ("10.9.9.9, 203.0.113.7", "203.0.113.7"),
            ("127.0.0.1, 203.0.113.7", "203.0.113.7"),
            ("garbage\", \"x, 203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:4711, 10.1.1.1:80", "203.0.113.7"),
            ("2001:db8::7, 10.1.1.1", "2001:db8::7"),
            ("[2001:db8::7], fd00::1", "2001:db8::7"),
            ("[2001:db8::7]:443, [fd00::1]:80", "2001:db8::7"),
            ("\"[2001:db8::7]:443\"", "2001:db8::7"),
            ("\"203.0.113.7\"", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("203.0.113.7, ::ffff:10.1.1.1", "203.0.113.7"),
            ("203.0.113.7,, 10.1.1.1,", "203.0.113.7"),
        ] {
            let found = client(ForwardedHeader::XForwardedFor, "10.0.0.1", &[(XFF, list)]);
            assert_eq!(found, expected, "{list}");
            let mapped = client(
                ForwardedHeader::XForwardedFor,
                "::ffff:10.0.0.1",
                &[(XFF, list)],
            );
            assert_eq!(mapped, expected, "{list}");
        }
    }

    #[test]
    fn address_of_what_cannot_be_read_is_that_of_the_nearest_proxy() {
        for (list, expected) in [
            ("", "10.0.0.1"),
            ("unknown", "10.0.0.1"),
            ("203.0.113.7, unknown", "10.0.0.1"),
            ("203.0.113.7, nonsense, 10.1.1.1", "10.1.1.1"),
            ("203.0.113.7, 10.1.1.1:", "10.0.0.1"),
            ("203.0.113.7:123456", "10.0.0.1"),
            ("203.0.113.7:80:80", "10.0.0.1"),
            ("203.0.113.7.", "10.0.0.1"),
            ("0x7f.1", "10.0.0.1"),
            ("203.0.113.007", "10.0.0.1"),
            ("[2001:db8::7", "10.0.0.1"),
            ("[2001:db8::7]x", "10.0.0.1"),
            ("[203.0.113.7]", "10.0.0.1"),
            ("2001:db8::7%eth0", "10.0.0.1"),
            ("\"203.0.113.7", "10.0.0.1"),
            ("203.0.113.7 198.51.100.1", "10.0.0.1"),
            ("caf\u{e9}", "10.0.0.1"),
            // all of them are proxies: the farthest asks for itself
            ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
        ] {
            let found = client(ForwardedHeader::XForwardedFor, "10.0.0.1", &[(XFF, list)]);
            assert_eq!(found, expected, "{list}");
        }
    }

    #[test]
    fn address_in_several_lines_is_one_list() {
        let lines = [
            (XFF, "1.1.1.1"),
            (XFF, "203.0.113.7, 10.2.2.2"),
            (XFF, "10.1.1.1"),
        ];
        let found = client(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines);
        assert_eq!(found, "203.0.113.7");
        let lines = [(XFF, "203.0.113.7"), (XFF, "caf\u{e9}"), (XFF, "10.1.1.1")];
        let found = client(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines);
        assert_eq!(found, "10.1.1.1");
        // the other header is not the one that is trusted
        let lines = [("forwarded", "for=1.1.1.1"), ("x-real-ip", "1.1.1.1")];
        let found = client(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines);
        assert_eq!(found, "10.0.0.1");
        let found = client(ForwardedHeader::Forwarded, "10.0.0.1", &[(XFF, "1.1.1.1")]);
        assert_eq!(found, "10.0.0.1");
    }

    #[test]
    fn address_is_looked_for_in_a_bounded_number_of_entries() {
        let proxies = |count: usize| {
            let hops: Vec<_> = (1..=count).map(|hop| format!("10.0.1.{hop}")).collect();
            format!("203.0.113.7, {}", hops.join(", "))
        };
        let of = |list: &str| client(ForwardedHeader::XForwardedFor, "10.0.0.1", &[(XFF, list)]);
        assert_eq!(of(&proxies(MAX_HOPS - 1)), "203.0.113.7");
        assert_eq!(of(&proxies(MAX_HOPS)), "10.0.1.1");
        assert_eq!(of(&",".repeat(10_000)), "10.0.0.1");
    }

    #[test]
    fn address_in_forwarded_is_its_for() {
        for (list, expected) in [
            ("for=203.0.113.7", "203.0.113.7"),
            ("For=\"203.0.113.7:4711\"", "203.0.113.7"),
            ("for=\"[2001:db8::7]:_port\"", "2001:db8::7"),
            (
                "for=\"[2001:db8::7]\";proto=https;by=10.0.0.1",
                "2001:db8::7",
            ),
            (
                "proto=https ; for=203.0.113.7;host=\"a;b,c\"",
                "203.0.113.7",
            ),
            (
                "for=1.1.1.1, for=203.0.113.7, for=10.1.1.1;by=_gateway",
                "203.0.113.7",
            ),
            // a client that opens a quote swallows nothing of what proxies add
            ("for=\"1.1.1.1, for=203.0.113.7", "203.0.113.7"),
            ("x=\"\\, for=203.0.113.7", "203.0.113.7"),
            // what a proxy quotes is no element
            (
                r#"for=203.0.113.7;host="a\",for=1.1.1.1;b=\"c""#,
                "203.0.113.7",
            ),
            // nobody says who it is: the nearest proxy
            ("for=203.0.113.7, for=unknown", "10.0.0.1"),
            ("for=203.0.113.7, for=_hidden, for=10.1.1.1", "10.1.1.1"),
            ("for=203.0.113.7, proto=https", "10.0.0.1"),
            ("for=1.1.1.1;for=203.0.113.7", "10.0.0.1"),
            ("for=203.0.113.7;nonsense", "10.0.0.1"),
            ("203.0.113.7", "10.0.0.1"),
            ("for=", "10.0.0.1"),
            ("for=\"\"", "10.0.0.1"),
        ] {
            let lines = [("forwarded", list)];
            let found = client(ForwardedHeader::Forwarded, "10.0.0.1", &lines);
            assert_eq!(found, expected, "{list}");
        }
    }

    #[test]
    fn address_is_local_only_where_nobody_passed_the_request_on() {
        let none = headers(&[("host", "localhost")]);
        for peer in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert!(is_local(ip(peer), &none), "{peer}");
        }
        for peer in ["10.0.0.1", "::2", "::ffff:10.0.0.1", "0.0.0.0"] {
            assert!(!is_local(ip(peer), &none), "{peer}");
        }
        for name in [XFF, "forwarded", "x-real-ip", "via"] {
            assert!(
                !is_local(ip("127.0.0.1"), &headers(&[(name, "")])),
                "{name}"
            );
        }
    }
}
