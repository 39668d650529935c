//! The members that a frame or a body may have, each as it came.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::broker::problem::{Code, Problem};

/// The last of a name counts, as in JavaScript.
#[derive(Default)]
pub struct Members<'a> {
    /// `type`.
    pub kind: Option<&'a RawValue>,
    pub id: Option<&'a RawValue>,
    pub channel: Option<&'a RawValue>,
    pub events: Option<&'a RawValue>,
    pub authorization: Option<&'a RawValue>,
}

impl<'a> Members<'a> {
    /// `what`: how to name it in an error, which never quotes it.
    pub fn parse(bytes: &'a [u8], what: &str) -> Result<Self, Problem> {
        serde_json::from_slice(bytes).map_err(|error| {
            if error.is_data() {
                let message = format!("the {what} is not an object");
                Problem::new(Code::InvalidRequest, message)
            } else {
                let message = format!("the {what} is not valid JSON: {error}");
                Problem::new(Code::InvalidJson, message)
            }
        })
    }
}

/// The text that a value is; `None`: it is something else, or has a lone surrogate.
pub fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text>(raw.get())
        .ok()
        .map(|text| text.0)
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(name) = map.next_key::<Name>()? {
            let slot = match name {
                Name::Type => &mut members.kind,
                Name::Id => &mut members.id,
                Name::Channel => &mut members.channel,
                Name::Events => &mut members.events,
                Name::Authorization => &mut members.authorization,
                Name::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *slot = Some(map.next_value()?);
        }
        Ok(members)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    Type,
    Id,
    Channel,
    Events,
    Authorization,
    #[serde(other)]
    Unknown,
}
