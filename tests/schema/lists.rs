//! The lists in the code and the files of `schema/` name the same things, both ways round.

use std::collections::BTreeSet;

use serde_json::Value;
use tidewire::broker::problem::Code;
use tidewire::dialect::native_json::{SERVER_OPS, decode};
use tidewire::dialect::sse;
use tidewire::event::Snapshot;
use tidewire::event::event_type::EventType;

use crate::schemas::{Place, files};

type Names = BTreeSet<String>;

fn names<'a>(list: impl IntoIterator<Item = &'a str>) -> Names {
    list.into_iter().map(str::to_owned).collect()
}

fn source(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first texts in quotes behind each `before`, where no block or closure begins in between.
fn quoted_after(source: &str, before: &str) -> Names {
    let quoted = |rest: &str| {
        let (between, rest) = rest.split_once('"')?;
        let is_argument = !between.contains(['{', '|', ';']);
        is_argument.then(|| rest.split('"').next().unwrap_or_default().to_owned())
    };
    source.split(before).skip(1).filter_map(quoted).collect()
}

/// The names that a file's `oneOf` refers to.
pub fn choices(file: &str) -> Names {
    let choices = files()[file]["oneOf"].as_array().expect("oneOf");
    let name = |choice: &Value| {
        let reference = choice["$ref"].as_str().expect("a reference");
        reference.trim_start_matches("#/$defs/").to_owned()
    };
    choices.iter().map(name).collect()
}

#[test]
fn each_event_type_has_a_file() {
    let described: Names = files()
        .keys()
        .filter_map(|file| file.strip_prefix("events/")?.strip_suffix(".json"))
        .filter(|name| *name != "envelope")
        .map(str::to_owned)
        .collect();
    let known = names(EventType::NAMES.into_iter().chain([Snapshot::NAME]));
    assert_eq!(described, known);
    for name in EventType::NAMES {
        assert_ne!(EventType::of(name), EventType::Other, "{name}");
    }
    // what `EventType::of` knows is in `NAMES`
    let code = source("src/event/event_type.rs");
    let (_, body) = code.split_once("pub fn of(").expect("EventType::of");
    let (body, _) = body.split_once("\n    }\n").expect("its end");
    let understood: Names = body
        .split('"')
        .skip(1)
        .step_by(2)
        // a prefix names no type of its own
        .filter(|name| !name.ends_with('.'))
        .map(str::to_owned)
        .collect();
    assert_eq!(understood, names(EventType::NAMES));
}

/// Each built-in type's file is what the envelope says of its data, and is named after it.
#[test]
fn the_envelope_leads_to_each_type() {
    let place = Place::parse("events/envelope.json#/$defs/data_by_type/allOf");
    let mut led_to = Names::new();
    for rule in place.schema().as_array().expect("rules") {
        let name = rule["if"]["properties"]["type"]["const"]
            .as_str()
            .expect("a type");
        let file = &rule["then"]["properties"]["data"]["$ref"];
        assert_eq!(file, &format!("{name}.json"));
        assert_eq!(files()[&format!("events/{name}.json")]["title"], name);
        led_to.insert(name.to_owned());
    }
    assert_eq!(led_to, names(EventType::NAMES));
    let snapshot = Place::parse("events/envelope.json#/$defs/snapshot/properties");
    assert_eq!(snapshot.schema()["type"]["const"], Snapshot::NAME);
}

#[test]
fn each_op_of_a_client_is_described() {
    assert_eq!(choices("frames/client.json"), names(decode::OPS));
    let code = source("src/dialect/native_json/decode.rs");
    let (_, body) = code
        .split_once("match op.as_deref()")
        .expect("where ops are told apart");
    let (body, _) = body.split_once("Some(other)").expect("its end");
    assert_eq!(quoted_after(body, "Some("), names(decode::OPS));
}

#[test]
fn each_op_of_the_broker_is_described() {
    assert_eq!(choices("frames/server.json"), names(SERVER_OPS));
    let code = source("src/dialect/native_json/encode.rs");
    let mut written = quoted_after(&code, "object(");
    written.extend(quoted_after(&code, "with_struct("));
    assert_eq!(written, names(SERVER_OPS));
}

#[test]
fn each_block_of_the_brokers_own_is_described() {
    let whole = |name: &&str| format!("tidewire.{name}");
    let known: Names = sse::OWN_BLOCKS.iter().map(whole).collect();
    assert_eq!(choices("sse/blocks.json"), known);
    let written = quoted_after(&source("src/dialect/sse.rs"), "own_block(");
    assert_eq!(written, names(sse::OWN_BLOCKS));
}

fn words(value: &Value) -> Names {
    let words = value.as_array().expect("a list");
    names(words.iter().map(|word| word.as_str().expect("a text")))
}

fn codes_of(status: Option<u64>) -> Names {
    let of_status = |code: &&Code| status.is_none_or(|status| u64::from(code.status()) == status);
    let codes = Code::ALL.iter().filter(of_status);
    codes.map(|code| code.name()).collect()
}

#[test]
fn each_code_is_described_with_its_status() {
    let all = Place::parse("types.json#/$defs/code/enum");
    assert_eq!(words(all.schema()), codes_of(None));
    let by_status = Place::parse("http/problem.json#/$defs/members/oneOf");
    let responses = &files()["openapi.json"]["components"]["responses"];
    let mut described = Names::new();
    for branch in by_status.schema().as_array().expect("branches") {
        let status = branch["properties"]["status"]["const"]
            .as_u64()
            .expect("a status");
        let codes = words(&branch["properties"]["code"]["enum"]);
        assert_eq!(codes, codes_of(Some(status)), "{status}");
        for name in [format!("{status}"), format!("stream_{status}")] {
            let Some(response) = responses.get(&name) else {
                continue;
            };
            let schema = &response["content"]["application/problem+json"]["schema"];
            assert_eq!(schema["properties"]["status"]["const"], status, "{name}");
            assert_eq!(
                words(&schema["properties"]["code"]["enum"]),
                codes,
                "{name}"
            );
            let text = response["description"].as_str().expect("a description");
            assert!(
                codes.iter().all(|code| text.contains(code)),
                "{name}: {text}"
            );
        }
        assert!(responses.get(status.to_string()).is_some(), "{status}");
        described.extend(codes);
    }
    assert_eq!(described, codes_of(None));
    // `Code::ALL` has every variant
    let code = source("src/broker/problem.rs");
    let (_, body) = code.split_once("pub enum Code {").expect("the codes");
    let (body, _) = body.split_once("\n}").expect("their end");
    let variants = body.lines().filter(|line| line.trim_end().ends_with(','));
    assert_eq!(variants.count(), Code::ALL.len());
}

#[test]
fn each_route_is_described() {
    let code = source("src/edge/http.rs");
    let mut served = quoted_after(&code, "resource(");
    served.extend(names(["/v1/ws", "/event", "/event/realtime"]));
    // the demo's page and what it is made with
    served.remove("/");
    served.remove("/tidewire.js");
    let paths = files()["openapi.json"]["paths"].as_object().expect("paths");
    assert_eq!(paths.keys().cloned().collect::<Names>(), served);
}
