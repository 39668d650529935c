//! Text to checked values, for what access control is configured with.
//!
//! No rejection of a secret, or of what a secret may stand in by mistake, repeats what was written
//! (`Kind::is_unrepeated`): that goes for its `what` too.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv6Addr};

use actix_web::http::Uri;
use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use toml::value::{Datetime, Offset};

use super::auth::{Access, ForwardedHeader, Secret};
use super::suggest::closest;
use super::value::{Rejection, Value};
use crate::auth::GrantTexts;
use crate::auth::api_key;
use crate::event::TypeFilter;
use crate::event::event_type::MAX_FILTER_PATTERNS;

/// RFC 7518 §3.2: a key is no shorter than the hash that HS256 makes of it.
pub const MIN_SECRET_BYTES: usize = 32;

/// The names of the algorithms of tokens. `none` is not among them, and cannot be.
const ALGORITHMS: [(&str, Algorithm); 10] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

pub fn algorithm(name: &str) -> Option<Algorithm> {
    let found = ALGORITHMS.iter().find(|(known, _)| *known == name);
    found.map(|&(_, algorithm)| algorithm)
}

/// The bytes that a shared secret has to have for it; `None` where it takes no shared secret.
pub fn secret_bytes(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::HS256 => Some(MIN_SECRET_BYTES),
        Algorithm::HS384 => Some(48),
        Algorithm::HS512 => Some(64),
        _ => None,
    }
}

pub fn check_algorithm(text: &str) -> Result<(), Rejection> {
    if algorithm(text).is_some() {
        return Ok(());
    }
    let names = ALGORITHMS.map(|(name, _)| name);
    let fix = match closest(text, names) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("write one of {}", names.join(", ")),
    };
    Err(Rejection::new("there is no such algorithm here", fix))
}

pub fn read_access(text: &str) -> Result<Value, Rejection> {
    match text {
        "anyone" => Ok(Value::Access(Access::Anyone)),
        "authenticated" => Ok(Value::Access(Access::Authenticated)),
        "grant" => Ok(Value::Access(Access::Grant)),
        _ => Err(Rejection::new(
            "it is neither anyone, authenticated nor grant",
            "write \"anyone\", \"authenticated\" or \"grant\"",
        )),
    }
}

pub fn read_forwarded_header(text: &str) -> Result<Value, Rejection> {
    // names of headers know no case
    match text.to_ascii_lowercase().as_str() {
        "x-forwarded-for" => Ok(Value::ForwardedHeader(ForwardedHeader::XForwardedFor)),
        "forwarded" => Ok(Value::ForwardedHeader(ForwardedHeader::Forwarded)),
        _ => Err(Rejection::new(
            "addresses are not read from that header",
            "write \"x-forwarded-for\" or \"forwarded\"",
        )),
    }
}

pub fn read_secret(text: &str) -> Result<Value, Rejection> {
    const FIX: &str =
        "take 32 bytes or more of random text, such as what `openssl rand -base64 32` prints";
    if text.is_empty() {
        // not "none": a variable that was meant to hold one would open what it should close
        let fix = format!("{FIX}, or do not set it");
        return Err(Rejection::new("it is empty", fix));
    }
    if text.trim() != text {
        let what = "it has white space around it, which would be part of the secret";
        return Err(Rejection::new(what, "remove what stands around the secret"));
    }
    if text.len() < MIN_SECRET_BYTES {
        let what = format!("it has less than {MIN_SECRET_BYTES} bytes, and could be guessed");
        return Err(Rejection::new(what, FIX));
    }
    Ok(Value::Secret(Secret(text.to_owned())))
}

/// The name of a variable that the shell can set and that is not one of the broker's settings.
pub fn read_variable(text: &str) -> Result<Value, Rejection> {
    const FIX: &str = "write the name of a variable such as \"JWT_KEY\", and put the key into it";
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if text.starts_with(|c: char| c.is_ascii_digit()) || !text.bytes().all(allowed) {
        return Err(Rejection::new("it is not the name of a variable", FIX));
    }
    if text.starts_with(super::settings::VARIABLE_PREFIX) {
        let what = "variables that begin with TIDEWIRE_ are the broker's own settings";
        return Err(Rejection::new(what, FIX));
    }
    Ok(Value::Text(text.to_owned()))
}

pub fn read_text(text: &str) -> Result<Value, Rejection> {
    if text.contains(char::is_control) || text.trim() != text {
        let what = "it has a control character, or white space around it";
        let fix = "write it exactly as it stands in the tokens";
        return Err(Rejection::new(what, fix));
    }
    Ok(Value::Text(text.to_owned()))
}

/// A `token` as in RFC 6265 §4.1.1, which takes it from RFC 2616 §2.2.
pub fn read_cookie(text: &str) -> Result<Value, Rejection> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.bytes().all(allowed) {
        return Ok(Value::Text(text.to_owned()));
    }
    Err(Rejection::new(
        "it is not the name of a cookie",
        "write letters, digits, - and _, such as \"tidewire_token\"",
    ))
}

/// Fetched keys decide who comes in, so nobody on the way may change them.
pub fn read_jwks_url(text: &str) -> Result<Value, Rejection> {
    const FIX: &str = "write https://HOST/PATH, such as \
                       \"https://login.example.com/.well-known/jwks.json\"";
    const HTTP: &str = "http lets anybody on the way put other keys in; it is for loopback only";
    read_url(text, FIX, HTTP)
}

/// It is sent tokens, and its answers decide who comes in.
pub fn read_authorizer_url(text: &str) -> Result<Value, Rejection> {
    const FIX: &str = "write https://HOST/PATH, such as \"https://auth.example.com/events\"";
    const HTTP: &str =
        "http lets anybody on the way read tokens and let people in; it is for loopback only";
    read_url(text, FIX, HTTP)
}

/// `http`: what is wrong with http to another machine.
fn read_url(text: &str, fix: &str, http: &str) -> Result<Value, Rejection> {
    let reject = |what: &str| Err(Rejection::new(what, fix));
    if text.contains('#') {
        return reject("it has a fragment, which is never sent");
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return reject("it is not an address");
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return reject("it is not a whole address");
    };
    if authority.as_str().contains('@') {
        return reject("it has a user or password in it, which would be shown and logged");
    }
    let host = authority.host();
    let rest = authority.as_str().strip_prefix(host).unwrap_or_default();
    let has_good_port = rest.is_empty() || authority.port_u16().is_some_and(|port| port > 0);
    if host.is_empty() || !has_good_port {
        return reject("it has no good host and port");
    }
    match scheme {
        "https" => Ok(Value::Text(text.to_owned())),
        "http" if is_loopback(host) => Ok(Value::Text(text.to_owned())),
        "http" => reject(http),
        _ => reject("it is neither https nor http"),
    }
}

fn is_loopback(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let address = literal.parse::<IpAddr>().ok();
    let is_loopback = address.is_some_and(|address| address.to_canonical().is_loopback());
    is_loopback || host.eq_ignore_ascii_case("localhost")
}

/// The network; a bare address is one of its own.
pub fn network(text: &str) -> Option<IpNet> {
    let bare = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(bare)
}

pub fn check_network(text: &str) -> Result<(), Rejection> {
    const FORM: &str = "write an IP address or a network, such as \"10.0.0.7\" or \"10.0.0.0/8\"";
    let Some(network) = network(text) else {
        let what = "it is neither an IP address nor a network";
        return Err(Rejection::new(what, format!("{FORM} (no names)")));
    };
    if network.prefix_len() == 0 {
        let what = "everybody would be a proxy, and could say to have any address";
        let fix = "name the addresses of the proxies only, such as \"10.0.0.0/8\"";
        return Err(Rejection::new(what, fix));
    }
    let mapped = |address: Ipv6Addr| address.to_ipv4_mapped().is_some();
    match network {
        // Addresses are compared in their IPv4 form, so it would never match.
        IpNet::V6(network) if mapped(network.addr()) => Err(Rejection::new(
            "it is an IPv4 address in IPv6 form",
            "write it as IPv4, such as \"10.0.0.0/8\"",
        )),
        _ => Ok(()),
    }
}

pub fn check_type(text: &str) -> Result<(), Rejection> {
    const FIX: &str = "write a.b, a.* or *, such as \"token.*\"";
    TypeFilter::parse(&[text])
        .map(drop)
        .map_err(|what| Rejection::new(what, FIX))
}

/// A list of types says something, and no more than a filter takes.
pub fn check_types(count: usize) -> Result<(), Rejection> {
    match count {
        0 => Err(Rejection::new(
            "it names no type, so nothing could be sent",
            "name types such as \"token.*\", or all with \"*\"",
        )),
        count if count > MAX_FILTER_PATTERNS => Err(Rejection::new(
            format!("the most is {MAX_FILTER_PATTERNS} patterns"),
            "write patterns that stand for several types, such as \"token.*\"",
        )),
        _ => Ok(()),
    }
}

/// One pattern of the list `list` of the key called `name`.
pub fn check_grant(list: &str, text: &str, name: &str) -> Result<(), Rejection> {
    const FIX: &str = "write a path such as /news, or a pattern such as /chat/*, /chat/** or \
                       /chat/{sub}/*";
    let grants = grants_of(list, vec![text.to_owned()]);
    grants
        .compile(name)
        .map(drop)
        .map_err(|error| Rejection::new(error.to_string(), FIX))
}

/// As many patterns as a key may have in one list.
pub fn check_grants(count: usize) -> Result<(), Rejection> {
    use crate::auth::grants::MAX_PATTERNS;
    if count <= MAX_PATTERNS {
        return Ok(());
    }
    let what = format!("the most is {MAX_PATTERNS} patterns");
    let fix = "write patterns that stand for several topics, such as /chat/**";
    Err(Rejection::new(what, fix))
}

fn grants_of(list: &str, patterns: Vec<String>) -> GrantTexts {
    let mut grants = GrantTexts::default();
    let field = match list {
        "publish" => &mut grants.publish,
        "control" => &mut grants.control,
        "delete" => &mut grants.delete,
        _ => &mut grants.subscribe,
    };
    *field = patterns;
    grants
}

pub fn read_key_id(text: &str) -> Result<Value, Rejection> {
    if api_key::is_id(text) {
        return Ok(Value::Text(text.to_owned()));
    }
    Err(Rejection::new(
        "it is not 8 to 32 of a-z 0-9",
        "write only the second part of the key tw_ID_SECRET",
    ))
}

/// As AWS has them: `AKIA…`, of 16 characters or more.
pub fn read_access_key_id(text: &str) -> Result<Value, Rejection> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if (16..=128).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(Value::Text(text.to_owned()));
    }
    Err(Rejection::new(
        "it is not 16 to 128 of A-Z a-z 0-9 _",
        "write only the id of the access key, which begins with AKIA where AWS made it",
    ))
}

pub fn read_key_hash(text: &str) -> Result<Value, Rejection> {
    if api_key::parse_hash(text).is_some() {
        return Ok(Value::Text(text.to_owned()));
    }
    Err(Rejection::new(
        "it is not sha256: and 64 hex digits",
        "write what `printf %s KEY | sha256sum` prints of the whole key, behind sha256:",
    ))
}

/// A whole second, in UTC: an offset that is left out would be another one on another machine.
pub fn read_time(text: &str) -> Result<Value, Rejection> {
    const FIX: &str = "write it in UTC and whole seconds, such as \"2027-01-31T00:00:00Z\"";
    match unix_seconds(text) {
        Ok(_) => Ok(Value::Text(text.to_owned())),
        Err(what) => Err(Rejection::new(what, FIX)),
    }
}

/// Unix seconds of an RFC 3339 time in UTC.
pub fn unix_seconds(text: &str) -> Result<u64, &'static str> {
    let Ok(parsed) = text.parse::<Datetime>() else {
        return Err("it is not a date and time");
    };
    let (Some(date), Some(time)) = (parsed.date, parsed.time) else {
        return Err("it is not a date and a time");
    };
    if parsed.offset != Some(Offset::Z) {
        return Err("it does not end in Z, for UTC");
    }
    let Some(second) = time.second.filter(|second| *second < 60) else {
        return Err("it has no whole second");
    };
    if time.nanosecond.is_some() {
        return Err("it has parts of a second");
    }
    if date.year < 1970 {
        return Err("it is before 1970");
    }
    let [hour, minute, second] = [time.hour, time.minute, second].map(u64::from);
    let days = days_since_1970(date.year.into(), date.month.into(), date.day.into());
    Ok(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Of a date in the Gregorian calendar that exists, not before 1970.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    const TO_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap_days_before = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let is_leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let in_year = TO_MONTH[(month as usize - 1) % 12] + day - 1 + u64::from(is_leap && month > 2);
    (year - 1970) * 365 + leap_days_before(year) - leap_days_before(1970) + in_year
}
