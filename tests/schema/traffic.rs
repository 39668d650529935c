//! Everything a broker says is recorded and compared with the schemas; and everything that the schemas
//! describe has to come, so that neither can change without the other.

use std::collections::BTreeSet;

use crate::coming;
use crate::recorder::{Recorder, described_answers};
use crate::schemas::{Place, files};
use crate::{traffic_codes, traffic_http, traffic_reading, traffic_sse};

/// What no test can provoke, with the reason. What is seen after all has to leave the list.
const UNSEEN: [(&str, &str); 6] = [
    (
        "types.json#/$defs/code/enum/internal_error",
        "a fault of the broker",
    ),
    (
        "types.json#/$defs/code/enum/storage_unavailable",
        "the memory engine never fails",
    ),
    (
        "types.json#/$defs/code/enum/outcome_unknown",
        "the memory engine never fails",
    ),
    (
        "openapi.json#/components/responses/500/",
        "a fault of the broker",
    ),
    (
        "frames/server.json#/$defs/unsubscribed_topic/properties/code",
        "the broker ends no subscription by itself yet",
    ),
    (
        "frames/server.json#/$defs/unsubscribed_topic/properties/reason",
        "the broker ends no subscription by itself yet",
    ),
];

fn assert_all_seen(what: &str, mut missing: BTreeSet<String>) {
    missing.retain(|place| !UNSEEN.iter().any(|(unseen, _)| place.starts_with(unseen)));
    let missing: Vec<String> = missing.into_iter().collect();
    assert!(
        missing.is_empty(),
        "described, and never {what}:\n{}",
        missing.join("\n")
    );
}

fn frames(file: &str, coming: &[&str]) -> Vec<Place> {
    let choices = files()[file]["oneOf"].as_array().expect("oneOf");
    let names = choices.iter().map(|choice| {
        let reference = choice["$ref"].as_str().expect("a reference");
        reference.trim_start_matches("#/$defs/")
    });
    names
        .filter(|name| !coming.contains(name))
        .map(|name| Place::parse(file).then("$defs").then(name))
        .collect()
}

#[test]
fn traffic_is_as_described_and_all_that_is_described_comes() {
    let recorder = Recorder::default();
    traffic_reading::record(&recorder);
    traffic_codes::record(&recorder);
    traffic_sse::record(&recorder);
    traffic_http::record(&recorder);

    let is_coming = |name: &str| {
        let path = name.split(' ').nth(1).expect("a path");
        coming::PATHS.contains(&path)
    };
    let answers: Vec<(String, Place)> = described_answers()
        .into_iter()
        .filter(|(name, _)| !is_coming(name))
        .collect();
    let seen = recorder.answers.borrow();
    let good = answers
        .iter()
        .filter(|(name, _)| name.ends_with(" 200") || name.ends_with(" 101"))
        .map(|(name, _)| name.clone())
        .filter(|name| !seen.contains(name));
    assert_all_seen("answered", good.collect());

    let mut roots = frames("frames/server.json", coming::SERVER_OPS);
    roots.extend(frames("sse/blocks.json", &[]));
    roots.push(Place::parse("events/envelope.json#/$defs/with_topic"));
    for (_, answer) in &answers {
        let contents = answer.then("content");
        let kinds = contents.value().and_then(|kinds| kinds.as_object());
        for kind in kinds.into_iter().flat_map(|kinds| kinds.keys()) {
            roots.push(contents.then(kind).then("schema"));
        }
    }
    for status in [404, 405] {
        let content = format!(
            "openapi.json#/components/responses/{status}/content/application~1problem+json/schema"
        );
        roots.push(Place::parse(&content));
    }
    assert_all_seen("told", recorder.told.borrow().missing(roots));

    let mut roots = frames("frames/client.json", coming::CLIENT_OPS);
    for call in ["~1v1~1publish/post", "~1v1~1sse/post"] {
        let body =
            format!("openapi.json#/paths/{call}/requestBody/content/application~1json/schema");
        roots.push(Place::parse(&body));
    }
    assert_all_seen("said", recorder.said.borrow().missing(roots));
}
