//! Everything a broker says is recorded and compared with the schemas; and everything that the schemas
//! describe has to come, so that neither can change without the other.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::recorder::{Recorder, described_answers};
use crate::schemas::{Place, files};
use crate::{
    traffic_agents, traffic_appsync, traffic_auth, traffic_codes, traffic_http, traffic_reading,
    traffic_sse,
};

/// What no test can provoke, with the reason. What is seen after all has to leave the list.
const UNSEEN: [(&str, &str); 10] = [
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
        "openapi.json#/components/responses/stream_500/",
        "a fault of the broker",
    ),
    (
        "http/problem.json#/$defs/members/oneOf/10/",
        "status 500, a fault of the broker",
    ),
    (
        "appsync/types.json#/$defs/error_type/enum/InternalFailureException",
        "a fault of the broker",
    ),
    (
        "appsync/types.json#/$defs/error_type/enum/ResourceNotFound",
        "no operation of AppSync looks for anything",
    ),
    (
        "appsync/types.json#/$defs/error_type/enum/MethodNotAllowedException",
        "answered before the dialect, as a problem",
    ),
    (
        "appsync/types.json#/$defs/error_type/enum/UpgradeRequiredException",
        "answered before the dialect, as a problem",
    ),
];

/// The schemas that a file's `oneOf` refers to.
fn choices(file: &str) -> Vec<Place> {
    let choices = files()[file]["oneOf"].as_array().expect("oneOf");
    let place = |choice: &Value| {
        let reference = choice["$ref"].as_str().expect("a reference");
        Place::parse(file).follow(reference)
    };
    choices.iter().map(place).collect()
}

#[test]
fn traffic_is_as_described_and_all_that_is_described_comes() {
    let recorder = Recorder::default();
    traffic_reading::record(&recorder);
    traffic_codes::record(&recorder);
    traffic_sse::record(&recorder);
    traffic_http::record(&recorder);
    traffic_agents::record(&recorder);
    traffic_auth::record(&recorder);
    traffic_appsync::record(&recorder);

    let answers = described_answers();
    let mut missing = Missing::default();
    let answered = recorder.answers.borrow();
    let unanswered = answers
        .iter()
        .filter(|(name, _)| name.ends_with(" 200") || name.ends_with(" 101"))
        .filter(|(name, _)| !answered.contains(name));
    missing.add("answered", unanswered.map(|(name, _)| name.clone()));

    let mut told = choices("frames/server.json");
    told.extend(choices("sse/blocks.json"));
    told.extend(choices("appsync/server.json"));
    told.push(Place::parse("events/envelope.json#/$defs/with_topic"));
    for (_, answer) in &answers {
        let contents = answer.then("content");
        let kinds = contents.value().and_then(|kinds| kinds.as_object());
        for kind in kinds.into_iter().flat_map(|kinds| kinds.keys()) {
            told.push(contents.then(kind).then("schema"));
        }
    }
    // they belong to no call of their own
    for status in ["404", "405"] {
        let response = Place::parse("openapi.json#/components/responses").then(status);
        let kind = "application/problem+json";
        told.push(response.then("content").then(kind).then("schema"));
    }
    missing.add("told", recorder.told.borrow().missing(told));

    let mut said = choices("frames/client.json");
    said.extend(choices("appsync/client.json"));
    for path in ["/v1/publish", "/v1/sse", "/v1/revocations", "/event"] {
        let call = Place::parse("openapi.json#/paths").then(path).then("post");
        let content = call.then("requestBody").then("content");
        said.push(content.then("application/json").then("schema"));
    }
    said.push(Place::parse("http/publish.json#/$defs/stream_line"));
    missing.add("said", recorder.said.borrow().missing(said));
    missing.assert_none();
}

/// What is described and did not come.
#[derive(Default)]
struct Missing {
    expected: BTreeSet<&'static str>,
    found: Vec<String>,
}

impl Missing {
    fn add(&mut self, what: &str, places: impl IntoIterator<Item = String>) {
        for place in places {
            match UNSEEN.iter().find(|(unseen, _)| place.starts_with(unseen)) {
                Some((unseen, _)) => drop(self.expected.insert(unseen)),
                None => self.found.push(format!("never {what}: {place}")),
            }
        }
    }

    fn assert_none(self) {
        assert!(
            self.found.is_empty(),
            "described, but\n{}",
            self.found.join("\n")
        );
        for (unseen, _) in UNSEEN {
            let is_missing = self.expected.contains(unseen);
            assert!(is_missing, "{unseen} was seen: take it from the list");
        }
    }
}
