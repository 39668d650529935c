//! `schema/appsync/` and the dialect say the same: what is written fits, what is described is written, and
//! what is described as a client's is understood.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Value, json};
use tidewire::broker::problem::{Code, Problem};
use tidewire::dialect::appsync::channel::Channel;
use tidewire::dialect::appsync::decode::{self, Frame, Limits, Operation, OperationId};
use tidewire::dialect::appsync::{encode, event};
use tidewire::dialect::ws_frame::text_of;

use crate::coverage::Seen;
use crate::lists::choices;
use crate::schemas::{Place, definitions, faults};

const LIMITS: Limits = Limits {
    max_events: 5,
    max_event_bytes: 240 << 10,
};
const OPERATIONS: [Operation; 5] = [
    Operation::Init,
    Operation::Subscribe,
    Operation::Unsubscribe,
    Operation::Publish,
    Operation::Other,
];

fn names<const N: usize>(list: [&str; N]) -> BTreeSet<String> {
    list.map(str::to_owned).into()
}

fn problems() -> impl Iterator<Item = Problem> {
    let mut undefined = Problem::new(Code::Forbidden, "x");
    undefined.details.field = Some("namespace");
    let each = Code::ALL.iter().map(|code| Problem::new(*code, "x"));
    each.chain([undefined])
}

#[test]
fn each_frame_is_described() {
    assert_eq!(choices("appsync/client.json"), names(decode::TYPES));
    assert_eq!(choices("appsync/server.json"), names(encode::TYPES));
}

#[test]
fn what_is_written_is_what_is_described() {
    let id = OperationId::parse("s-1").expect("an id");
    let mut data = Vec::new();
    event::push_data_frame(&mut data, id.as_str(), br#","event":"1"}"#);
    let mut frames = vec![
        encode::connection_ack(300_000),
        encode::ka(),
        encode::subscribe_success(&id),
        encode::unsubscribe_success(&id),
        encode::publish_success("\"p-1\"", 2),
        encode::missed("s-1", "gone"),
        data.into(),
    ];
    for problem in problems() {
        frames.push(encode::ended("s-1", &problem));
        for of in OPERATIONS {
            frames.push(encode::refused(of, Some("x"), &problem));
            frames.push(encode::refused(of, None, &problem));
        }
    }
    let mut seen = Seen::default();
    let server = Place::parse("appsync/server.json");
    for frame in frames {
        let text = text_of(&frame).expect("a text frame");
        let frame: Value = serde_json::from_slice(text).expect("JSON");
        let own = server
            .then("$defs")
            .then(frame["type"].as_str().expect("a type"));
        for place in [&own, &server] {
            assert_eq!(faults(place, &frame), Vec::<String>::new(), "{frame}");
        }
        seen.take_in(&own, &frame);
    }
    let http = Place::parse("appsync/http.json").then("$defs");
    let mut body = |name: &str, body: Vec<u8>| {
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let place = http.then(name);
        assert_eq!(faults(&place, &body), Vec::<String>::new(), "{body}");
        seen.take_in(&place, &body);
    };
    body("posted", encode::posted(&[1], &[0, 2], 245_760));
    for problem in problems() {
        body("error", encode::http_error(&problem).1);
    }
    let each = definitions("appsync/server.json").into_iter();
    let each = each.map(|name| server.then("$defs").then(name));
    let missing = seen.missing(each.chain(["posted", "error"].map(|name| http.then(name))));
    assert!(
        missing.is_empty(),
        "described and never written: {missing:?}"
    );
}

#[test]
fn what_is_described_is_understood() {
    for kind in decode::TYPES {
        let place = Place::parse("appsync/client.json").then("$defs").then(kind);
        let examples = place.schema()["examples"].as_array().expect("examples");
        for example in examples {
            let frame = Bytes::from(example.to_string());
            let understood = decode::frame(&frame, LIMITS);
            assert!(
                !matches!(understood, Frame::Refused { .. }),
                "{understood:?}"
            );
        }
    }
    let post = Place::parse("appsync/http.json#/$defs/post");
    for example in post.schema()["examples"].as_array().expect("examples") {
        let body = Bytes::from(example.to_string());
        assert!(decode::post(&body, LIMITS).is_ok(), "{example}");
    }
}

/// The patterns and the code agree on what a channel and an id are.
#[test]
fn names_are_what_they_are_described_as() {
    let segment = "a".repeat(50);
    let long = format!("/{segment}a");
    let longest = [segment.as_str(); 5].join("/");
    let fits = |name: &str, text: &str| {
        let place = Place::parse("appsync/types.json").then("$defs").then(name);
        faults(&place, &json!(text)).is_empty()
    };
    for text in [
        "",
        "/",
        "//",
        "a",
        "/a",
        "a/",
        "/a/",
        "//a",
        "a//",
        "a//b",
        "-a",
        "a-",
        "a-b",
        "a_b",
        "ü",
        "a b",
        "/1/2/3/4/5",
        "/1/2/3/4/5/6",
        "*",
        "/*",
        "/*/",
        "/**",
        "/***",
        "/a/*",
        "a/**/",
        "/a*",
        "/*/a",
        "/a/*/b",
        "/1/2/3/4/*",
        "/1/2/3/4/5/*",
        "//*",
        &long,
        &longest,
    ] {
        let subscribed = Channel::for_subscribe(text).is_ok();
        assert_eq!(fits("subscribed_channel", text), subscribed, "{text}");
        assert_eq!(
            fits("channel", text),
            Channel::for_publish(text).is_ok(),
            "{text}"
        );
    }
    let (longest, long) = ("x".repeat(128), "x".repeat(129));
    for text in ["", "a", "A-_+9", "a b", "a.b", "é", &longest, &long] {
        assert_eq!(
            fits("id", text),
            OperationId::parse(text).is_some(),
            "{text}"
        );
    }
}
