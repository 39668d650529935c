//! What a client may have signed for a frame: AppSync's clients sign a body that is never sent, which holds
//! some members of the frame.
//!
//! They write body and frame with the same function, so their texts are the same; where a frame was written
//! otherwise, the body is most likely what `JSON.stringify` gives.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::appsync::authorization::{Authorization, Kind};

/// One member of the signed body.
pub struct Signable<'a> {
    name: &'static str,
    raw: &'a str,
    compact: String,
}

impl<'a> Signable<'a> {
    pub fn channel(raw: &'a RawValue, text: &str) -> Self {
        Self::new("channel", raw, text)
    }

    pub fn events(raw: &'a RawValue, texts: &[Cow<'_, str>]) -> Self {
        Self::new("events", raw, texts)
    }

    fn new(name: &'static str, raw: &'a RawValue, value: &(impl Serialize + ?Sized)) -> Self {
        Self {
            name,
            raw: raw.get(),
            compact: serde_json::to_string(value).expect("texts can always be written"),
        }
    }
}

/// The bodies that may have been signed, the likeliest first: at most two, each no larger than the frame
/// would be with every character escaped. None where nothing was signed.
pub fn of<'a>(
    authorization: &Authorization,
    members: impl FnOnce() -> Vec<Signable<'a>>,
) -> Vec<Bytes> {
    if !matches!(authorization.kind(), Some(Kind::Signature(_))) {
        return Vec::new();
    }
    let members = members();
    let mut bodies = vec![
        body(&members, |member| member.raw),
        body(&members, |member| &member.compact),
    ];
    bodies.dedup();
    bodies
}

fn body<'a>(members: &'a [Signable<'_>], value: impl Fn(&'a Signable<'_>) -> &'a str) -> Bytes {
    let written = |member: &'a Signable<'_>| format!("\"{}\":{}", member.name, value(member));
    let written: Vec<String> = members.iter().map(written).collect();
    Bytes::from(format!("{{{}}}", written.join(",")))
}
