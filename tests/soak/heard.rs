//! What a reader is sent, as far as it says something; an envelope has exactly the fields that it may have.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A WebSocket frame of any kind.
#[derive(Deserialize)]
pub struct Frame<'a> {
    #[serde(borrow, default)]
    pub op: Cow<'a, str>,
    #[serde(borrow, default)]
    pub topic: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub epoch: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub position: Option<Cow<'a, str>>,
    #[serde(default)]
    pub head: Option<u64>,
    #[serde(default)]
    pub resumed: Option<bool>,
    #[serde(default)]
    pub after: Option<u64>,
    #[serde(default)]
    pub upto: Option<u64>,
    #[serde(default)]
    pub partial: bool,
    #[serde(borrow, default)]
    pub events: Vec<Event<'a>>,
    #[serde(default)]
    pub from: Option<u64>,
    #[serde(default)]
    pub to: Option<u64>,
    /// Of an answer to a publish.
    #[serde(default)]
    pub id: Option<u64>,
    #[serde(default)]
    pub first_seq: Option<u64>,
    #[serde(default)]
    pub last_seq: Option<u64>,
    #[serde(default)]
    pub duplicate: Option<bool>,
}

/// The data of a `tidewire.*` block.
#[derive(Deserialize)]
pub struct Own<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub topic: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub position: Option<Cow<'a, str>>,
    #[serde(default)]
    pub from: Option<u64>,
    #[serde(default)]
    pub to: Option<u64>,
    #[serde(borrow, default)]
    pub topics: Vec<Begun<'a>>,
}

/// How the reading of a topic begins: an entry of `tidewire.ready`.
#[derive(Deserialize)]
pub struct Begun<'a> {
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    #[serde(borrow)]
    pub position: Option<Cow<'a, str>>,
    pub head: u64,
    pub resumed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event<'a> {
    #[serde(borrow, default)]
    pub topic: Option<Cow<'a, str>>,
    #[serde(default)]
    pub seq: Option<u64>,
    #[serde(default)]
    pub first_seq: Option<u64>,
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub id: Option<Cow<'a, str>>,
    pub time: u64,
    #[serde(borrow, default)]
    pub source: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub data: &'a RawValue,
    #[serde(borrow, default)]
    pub parts: Option<Vec<PartOf<'a>>>,
    #[serde(borrow, default)]
    pub started: Option<&'a RawValue>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct PartOf<'a> {
    pub part: u64,
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub text: Cow<'a, str>,
    #[serde(default)]
    pub omitted: u64,
}

/// `data` of a delta; publishers may add keys.
#[derive(Deserialize)]
pub struct Delta<'a> {
    #[serde(borrow)]
    pub message_id: Cow<'a, str>,
    #[serde(borrow)]
    pub text: Cow<'a, str>,
    #[serde(borrow, default)]
    pub kind: Option<Cow<'a, str>>,
    #[serde(default)]
    pub part: u64,
}

/// `data` of a snapshot.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot<'a> {
    #[serde(borrow)]
    pub message_id: Cow<'a, str>,
    #[serde(borrow)]
    pub parts: Vec<PartOf<'a>>,
    #[serde(borrow, default)]
    pub started: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub source: Option<Cow<'a, str>>,
    pub upto: u64,
}

pub fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| {
        let start: String = text.chars().take(300).collect();
        format!("not what it should be ({error}): {start}")
    })
}
