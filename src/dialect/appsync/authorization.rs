//! What a client shows of itself: in a frame, in the `header-…` subprotocol, or in the headers of a request.
//!
//! Values are secrets: neither `Debug` nor an error message shows one.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::broker::problem::Problem;

/// Members an `authorization` object may have.
pub const MAX_MEMBERS: usize = 32;
/// Bytes of a member's value.
pub const MAX_VALUE_BYTES: usize = 16 << 10;
/// Bytes of a member's name.
pub const MAX_NAME_BYTES: usize = 256;

/// What the value of `authorization` begins with where the request is signed.
const SIGNATURE: &str = "AWS4-HMAC-SHA256";
const BEARER: &str = "bearer";

/// Base64 as clients write it: padded or not, with whatever stands in the last character's spare bits.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The members of an `authorization` object, of the object in `header-…`, or the headers of a request.
/// Names are in lower case, each stands there once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Authorization {
    members: Vec<(Box<str>, Box<str>)>,
}

/// How a client shows who it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// `x-api-key`.
    ApiKey(&'a str),
    /// `authorization`, without its `Bearer`. What stood there as a whole is `get("authorization")`.
    Token(&'a str),
    /// `authorization` of AWS Signature Version 4.
    Signature(&'a str),
}

impl Authorization {
    /// The `authorization` object of a frame.
    pub fn from_json(raw: &RawValue) -> Result<Self, Problem> {
        // serde's own words may quote a value
        let Members(members) = serde_json::from_str(raw.get()).map_err(|_| {
            invalid(format!(
                "`authorization` is an object of at most {MAX_MEMBERS} texts, each of at most {MAX_VALUE_BYTES} bytes"
            ))
        })?;
        Ok(Self { members })
    }

    /// What stands behind `header-`: an object in base64url. Padding and the other alphabet are taken too.
    /// The largest head of a request bounds it.
    pub fn from_subprotocol(encoded: &str) -> Result<Self, Problem> {
        let url_safe = |byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => other,
        };
        let encoded: Vec<u8> = encoded.bytes().map(url_safe).collect();
        let json = LENIENT
            .decode(encoded)
            .map_err(|_| invalid("what stands behind `header-` is not base64url"))?;
        let raw: &RawValue = serde_json::from_slice(&json)
            .map_err(|_| invalid("what stands behind `header-` is not JSON in base64url"))?;
        Self::from_json(raw)
    }

    /// The headers of a request, which the HTTP server has bounded. The first of a name counts, as with
    /// every other header that the broker reads.
    pub fn from_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut authorization = Self::default();
        for (name, value) in pairs {
            let name = name.to_ascii_lowercase();
            if authorization.get(&name).is_none() {
                authorization.members.push((name.into(), value.into()));
            }
        }
        authorization
    }

    /// `name` in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Names in lower case, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().map(|(name, value)| (&**name, &**value))
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// `authorization` wins over `x-api-key`: somebody who shows both is one user behind a key that all share.
    /// An empty one counts as absent.
    pub fn kind(&self) -> Option<Kind<'_>> {
        let shown = |name| {
            self.get(name)
                .map(str::trim)
                .filter(|value| !value.is_empty())
        };
        let token = shown("authorization").map(|value| match value.starts_with(SIGNATURE) {
            true => Kind::Signature(value),
            false => Kind::Token(without_bearer(value)),
        });
        token
            .filter(|kind| *kind != Kind::Token(""))
            .or_else(|| shown("x-api-key").map(Kind::ApiKey))
    }
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::invalid_request("authorization", message)
}

/// `value` is trimmed.
fn without_bearer(value: &str) -> &str {
    match value.split_at_checked(BEARER.len()) {
        Some((scheme, "")) if scheme.eq_ignore_ascii_case(BEARER) => "",
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case(BEARER) && rest.starts_with([' ', '\t']) =>
        {
            rest.trim_start()
        }
        _ => value,
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

impl fmt::Debug for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey(_) => "ApiKey",
            Self::Token(_) => "Token",
            Self::Signature(_) => "Signature",
        })
    }
}

struct Members(Vec<(Box<str>, Box<str>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    /// The last of a name counts, as in JavaScript.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members: Vec<(Box<str>, Box<str>)> = Vec::new();
        while let Some((mut name, value)) = map.next_entry::<String, String>()? {
            name.make_ascii_lowercase();
            if name.len() > MAX_NAME_BYTES || value.len() > MAX_VALUE_BYTES {
                return Err(serde::de::Error::custom("too large"));
            }
            match members.iter().position(|(known, _)| **known == *name) {
                Some(at) => members[at].1 = value.into(),
                None if members.len() == MAX_MEMBERS => {
                    return Err(serde::de::Error::custom("too many"));
                }
                None => members.push((name.into(), value.into())),
            }
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use serde_json::json;

    use super::*;
    use crate::broker::problem::Code;

    fn of(json: &str) -> Result<Authorization, Problem> {
        Authorization::from_json(serde_json::from_str(json).expect("JSON"))
    }

    #[test]
    fn names_are_found_whatever_their_case() {
        let found = of(r#"{"Authorization":"t","HOST":"h","host":"i","é":"x"}"#).expect("texts");
        assert_eq!(found.get("authorization"), Some("t"));
        assert_eq!(found.get("host"), Some("i"));
        assert_eq!(found.iter().count(), 3);
        let headers = [("X-Api-Key", "k"), ("x-api-key", "other")];
        let found = Authorization::from_pairs(headers.into_iter());
        assert_eq!(found.kind(), Some(Kind::ApiKey("k")));
        assert!(of("{}").expect("an object").is_empty());
    }

    #[test]
    fn the_subprotocol_may_be_written_in_any_base64() {
        // `?>` and its length make use of `+`, `/` and padding
        let json = r#"{"host":"h?>?>~~","x-api-key":"k???>>>"}"#;
        let expected = of(json);
        assert!(expected.is_ok());
        assert!(STANDARD.encode(json).contains(['+', '/']));
        for padding in 0..3 {
            let json = json.to_owned() + &" ".repeat(padding);
            for encoded in [
                URL_SAFE_NO_PAD.encode(&json),
                base64::engine::general_purpose::URL_SAFE.encode(&json),
                STANDARD.encode(&json),
            ] {
                assert_eq!(Authorization::from_subprotocol(&encoded), expected);
            }
        }
        for bad in [
            "",
            "!!!",
            "e30.",
            &STANDARD.encode("[1]"),
            &STANDARD.encode("{"),
            &STANDARD.encode([0xff, 0xfe]),
        ] {
            let problem = Authorization::from_subprotocol(bad).expect_err(bad);
            assert_eq!(problem.code, Code::InvalidRequest);
        }
    }

    #[test]
    fn what_is_no_bounded_object_of_texts_is_refused_without_a_word_of_it() {
        let many: serde_json::Map<_, _> = (0..=MAX_MEMBERS)
            .map(|at| (format!("k{at}"), json!("")))
            .collect();
        let large = json!({ "a": "secret".repeat(MAX_VALUE_BYTES) });
        for bad in [
            r#""secret""#,
            r#"["secret"]"#,
            "null",
            r#"{"a":1}"#,
            r#"{"a":null}"#,
            r#"{"a":{"b":"secret"}}"#,
            r#"{"a":"\ud800"}"#,
            &json!(many).to_string(),
            &large.to_string(),
        ] {
            let problem = of(bad).expect_err(bad);
            assert_eq!(problem.code, Code::InvalidRequest);
            assert!(!problem.message.contains("secret"), "{}", problem.message);
        }
        let most: serde_json::Map<_, _> = many.into_iter().take(MAX_MEMBERS).collect();
        assert!(of(&json!(most).to_string()).is_ok());
    }

    #[test]
    fn kinds() {
        for (json, kind) in [
            (r#"{"host":"h"}"#, None),
            (r#"{"x-api-key":""}"#, None),
            (r#"{"x-api-key":"k"}"#, Some(Kind::ApiKey("k"))),
            (r#"{"Authorization":"a.b.c"}"#, Some(Kind::Token("a.b.c"))),
            (r#"{"Authorization":"Bearer a"}"#, Some(Kind::Token("a"))),
            (r#"{"Authorization":"bEARER  a "}"#, Some(Kind::Token("a"))),
            (
                r#"{"authorization":"bearera"}"#,
                Some(Kind::Token("bearera")),
            ),
            (r#"{"authorization":"Bearer "}"#, None),
            (r#"{"authorization":"ééé"}"#, Some(Kind::Token("ééé"))),
            (
                r#"{"authorization":"AWS4-HMAC-SHA256 Credential=x"}"#,
                Some(Kind::Signature("AWS4-HMAC-SHA256 Credential=x")),
            ),
            (
                r#"{"authorization":"t","x-api-key":"k"}"#,
                Some(Kind::Token("t")),
            ),
            (
                r#"{"authorization":" ","x-api-key":"k"}"#,
                Some(Kind::ApiKey("k")),
            ),
        ] {
            assert!(of(json).expect(json).kind() == kind, "{json}");
        }
    }

    #[test]
    fn nothing_shows_a_value() {
        let shown = of(r#"{"x-api-key":"secret"}"#).expect("texts");
        assert_eq!(format!("{shown:?}"), r#"{"x-api-key"}"#);
        assert_eq!(format!("{:?}", shown.kind()), "Some(ApiKey)");
    }
}
