//! AWS Signature Version 4, verified: the canonical request, the text that is signed, the key that is derived for it
//! (AWS General Reference, "Create a signed AWS API request").
//!
//! Invariants:
//! - what is signed includes the host, the time and the body: an unsigned payload is not taken;
//! - a signature is good for `MAX_SKEW` around its time, for the service `appsync` and nothing else. The region is the
//!   client's to choose, as it is in AWS's names of endpoints: nothing here depends on it;
//! - signatures are compared in a time that tells nothing about where they differ.
//!
//! Bounds: `MAX_AUTHORIZATION` bytes, `MAX_HEADERS` signed headers, `MAX_PARAMETERS` of a query, `MAX_BODIES` that are
//! tried. The sizes of a request's path, query and headers are bounded by whoever read it.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use super::error::AuthError;
use crate::config::read_unix_seconds;

/// How `Authorization` begins.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "appsync";
const TERMINATOR: &str = "aws4_request";
/// Seconds that a client's clock may be off, as AWS has it.
const MAX_SKEW: u64 = 300;
const MAX_AUTHORIZATION: usize = 4 << 10;
const MAX_HEADERS: usize = 32;
const MAX_PARAMETERS: usize = 64;
const MAX_BODIES: usize = 4;
/// Bytes of the id of a key, and of a region.
const MAX_ID: usize = 128;

/// What a signature is about.
pub struct SignedRequest<'a> {
    pub method: &'a str,
    /// As it was sent.
    pub path: &'a str,
    /// As it was sent, without the question mark.
    pub query: &'a str,
    /// The value of a header, by its name in lower case.
    pub headers: &'a dyn Fn(&str) -> Option<&'a str>,
    /// Any of these may be what was signed.
    pub bodies: &'a [Bytes],
}

/// What `Authorization` says.
#[derive(Debug)]
pub struct Signature<'a> {
    pub key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    /// In lower case, each once, in order.
    signed_headers: Vec<&'a str>,
    /// The same as it was written.
    header_list: &'a str,
    signature: [u8; 32],
}

fn malformed(why: &'static str) -> AuthError {
    AuthError::Signed(why)
}

impl<'a> Signature<'a> {
    /// `AWS4-HMAC-SHA256 Credential=ID/DATE/REGION/appsync/aws4_request, SignedHeaders=a;b, Signature=HEX`
    pub fn read(authorization: &'a str) -> Result<Self, AuthError> {
        if authorization.len() > MAX_AUTHORIZATION {
            return Err(AuthError::TooLarge(MAX_AUTHORIZATION));
        }
        let parts = authorization.trim().strip_prefix(ALGORITHM);
        let parts = parts.filter(|parts| parts.starts_with(' '));
        let parts = parts.ok_or(malformed("it is not AWS4-HMAC-SHA256"))?;
        let [mut credential, mut headers, mut signature] = [None; 3];
        for part in parts.split(',') {
            let (name, value) = part.trim().split_once('=').unwrap_or_default();
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut headers,
                "Signature" => &mut signature,
                _ => return Err(malformed("it has a part that is not known")),
            };
            if place.replace(value).is_some() {
                return Err(malformed("it has a part twice"));
            }
        }
        let (Some(credential), Some(header_list), Some(signature)) =
            (credential, headers, signature)
        else {
            return Err(malformed(
                "it has not all of Credential, SignedHeaders and Signature",
            ));
        };
        let scope: Vec<&str> = credential.splitn(6, '/').collect();
        let [key_id, date, region, service, TERMINATOR] = scope[..] else {
            return Err(malformed(
                "its credential is not ID/DATE/REGION/appsync/aws4_request",
            ));
        };
        let is_good = |text: &str| (1..=MAX_ID).contains(&text.len());
        if !is_good(key_id) || !is_good(region) || date.len() != 8 {
            return Err(malformed("its credential is not good"));
        }
        Ok(Self {
            key_id,
            date,
            region,
            service,
            signed_headers: read_header_list(header_list)?,
            header_list,
            signature: read_hex(signature).ok_or(malformed("it is not 64 hex digits"))?,
        })
    }

    /// Whether it is that of this request, made with this secret at about `now` (Unix seconds).
    pub fn verify(
        &self,
        secret: &str,
        request: &SignedRequest<'_>,
        now: u64,
    ) -> Result<(), AuthError> {
        if self.service != SERVICE {
            return Err(malformed("it is not for the service appsync"));
        }
        for needed in ["host", "x-amz-date"] {
            if !self.signed_headers.contains(&needed) {
                return Err(malformed("host and x-amz-date are not both signed"));
            }
        }
        let time = (request.headers)("x-amz-date").map(str::trim);
        let time = time.ok_or(malformed("x-amz-date is missing"))?;
        let signed_at = read_time(time).ok_or(malformed("x-amz-date is not a time"))?;
        if !time.starts_with(self.date) {
            return Err(malformed("its date is not that of x-amz-date"));
        }
        if signed_at.abs_diff(now) > MAX_SKEW {
            return Err(AuthError::SignedTime);
        }
        match self.matches(secret, time, request)? {
            true => Ok(()),
            false => Err(AuthError::RequestSignature),
        }
    }

    fn matches(
        &self,
        secret: &str,
        time: &str,
        request: &SignedRequest<'_>,
    ) -> Result<bool, AuthError> {
        let head = self.canonical_head(request)?;
        let key = self.signing_key(secret);
        let scope = [self.date, self.region, self.service, TERMINATOR].join("/");
        let is_signed = |body: &Bytes| {
            let canonical = format!("{head}{}", hex(&Sha256::digest(body)));
            let canonical = hex(&Sha256::digest(canonical));
            let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{canonical}");
            let mac = keyed(&key).chain_update(to_sign);
            // in constant time
            mac.verify_slice(&self.signature).is_ok()
        };
        Ok(request.bodies.iter().take(MAX_BODIES).any(is_signed))
    }

    /// The canonical request without the hash of the body, which is its end.
    fn canonical_head(&self, request: &SignedRequest<'_>) -> Result<String, AuthError> {
        let mut head = String::with_capacity(512);
        head.push_str(request.method);
        head.push('\n');
        push_path(&mut head, request.path);
        head.push('\n');
        push_query(&mut head, request.query)?;
        head.push('\n');
        for name in &self.signed_headers {
            let value = (request.headers)(name);
            let value = value.ok_or(malformed("a header that it signs is missing"))?;
            head.push_str(name);
            head.push(':');
            for (index, word) in value.split_ascii_whitespace().enumerate() {
                head.push_str(if index > 0 { " " } else { "" });
                head.push_str(word);
            }
            head.push('\n');
        }
        head.push('\n');
        head.push_str(self.header_list);
        head.push('\n');
        Ok(head)
    }

    fn signing_key(&self, secret: &str) -> [u8; 32] {
        let first = hmac(format!("AWS4{secret}").as_bytes(), self.date);
        let rest = [self.region, self.service, TERMINATOR];
        rest.into_iter().fold(first, |key, part| hmac(&key, part))
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    keyed(key).chain_update(text).finalize().into_bytes().into()
}

fn read_header_list(list: &str) -> Result<Vec<&str>, AuthError> {
    let names: Vec<&str> = list.split(';').take(MAX_HEADERS + 1).collect();
    if names.len() > MAX_HEADERS {
        return Err(malformed("it signs more than 32 headers"));
    }
    let allowed = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && byte != b':';
    let is_name = |name: &&str| !name.is_empty() && name.bytes().all(allowed);
    if !names.iter().all(is_name) || !names.is_sorted_by(|a, b| a < b) {
        return Err(malformed(
            "SignedHeaders are not names in lower case, each once and in order",
        ));
    }
    Ok(names)
}

fn read_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Unix seconds of `20150830T123600Z`.
fn read_time(text: &str) -> Option<u64> {
    let is_digit = |at: usize, byte: u8| match at {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    let good = |(at, byte): (usize, u8)| is_digit(at, byte);
    if text.len() != 16 || !text.bytes().enumerate().all(good) {
        return None;
    }
    let part = |from: usize, to: usize| &text[from..to];
    let (date, time) = (
        [part(0, 4), part(4, 6), part(6, 8)].join("-"),
        [part(9, 11), part(11, 13), part(13, 15)].join(":"),
    );
    read_unix_seconds(&format!("{date}T{time}Z")).ok()
}

/// Each segment is encoded as it was sent, so twice in all: every service but S3 has it so.
fn push_path(out: &mut String, path: &str) {
    if path.is_empty() {
        out.push('/');
    }
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        push_encoded(out, segment.as_bytes());
    }
}

/// The parameters in order of their encoded names, then values.
fn push_query(out: &mut String, query: &str) -> Result<(), AuthError> {
    let mut parameters = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        if parameters.len() >= MAX_PARAMETERS {
            return Err(malformed("the query has more than 64 parameters"));
        }
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        parameters.push([name, value].map(|text| {
            let mut encoded = String::with_capacity(text.len());
            push_encoded(&mut encoded, &decoded(text));
            encoded
        }));
    }
    parameters.sort_unstable();
    for (index, [name, value]) in parameters.iter().enumerate() {
        let before = if index > 0 { "&" } else { "" };
        // a String takes everything
        let _ = write!(out, "{before}{name}={value}");
    }
    Ok(())
}

/// Everything but what RFC 3986 §2.3 calls unreserved, in capital digits.
fn push_encoded(out: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, _, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
