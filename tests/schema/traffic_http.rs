//! Every HTTP call, its answers and its methods.

use serde_json::{Value, json};

use crate::recorder::Recorder;
use crate::schemas::files;
use crate::support::{Broker, delta, note};

pub fn record(recorder: &Recorder) {
    publishes(recorder);
    reads(recorder);
    operations(recorder);
}

fn publishes(recorder: &Recorder) {
    let broker = Broker::start();
    let publish = |body: Value| {
        recorder
            .call(broker.addr, "POST", "/v1/publish", Some(&body))
            .json()
    };
    let by = |seq: u64| json!({ "id": "p", "epoch": 1, "seq": seq });
    let one = json!({ "topic": "/http/a", "events": [{ "type": "a.b", "data": 1, "id": "one" }],
                      "producer": by(1), "lease_ms": 60_000 });
    publish(one.clone());
    assert_eq!(publish(one)["duplicate"], true);
    let renewal =
        json!({ "topic": "/http/a", "events": [], "producer": { "id": "p", "epoch": 1 } });
    assert_eq!(publish(renewal)["first_seq"], Value::Null);
    let many = publish(json!([
        { "topic": "/http/a", "events": [note(1)] },
        { "topic": "/http/a", "events": [note(1)], "producer": by(9) },
    ]));
    assert_eq!(
        (&many[0]["status"], &many[1]["status"]),
        (&json!(200), &json!(409)),
        "{many}"
    );
}

fn reads(recorder: &Recorder) {
    let broker = Broker::start();
    let batch = json!([delta("m", "a"), note(1), note(2)]);
    let body = json!({ "topic": "/http/a", "events": batch, "producer": { "id": "p", "epoch": 1, "seq": 1 } });
    broker.http().publish_body(&body);
    broker.publish("/http/b", json!([delta("n", "a")]));
    let get = |target: &str| recorder.call(broker.addr, "GET", target, None).json();
    assert_eq!(get("/v1/events?topic=/http/a&limit=1")["more"], true);
    get("/v1/events?topic=/http/a&from=last:2&replay=compact");
    get("/v1/events?topic=/not/there");
    let topic = get("/v1/topic?topic=/http/a");
    assert_eq!(topic["open_messages"][0]["source"], "p", "{topic}");
    get("/v1/topic?topic=/http/b");
    get("/v1/topic?topic=/not/there");
    assert_eq!(get("/v1/topics?prefix=/http/&limit=1")["more"], true);
    for deleted in [true, false] {
        let answer = recorder.call(broker.addr, "DELETE", "/v1/topic?topic=/http/a", None);
        assert_eq!(answer.json()["deleted"], deleted);
    }
}

fn operations(recorder: &Recorder) {
    let broker = Broker::start();
    for target in ["/healthz", "/readyz", "/metrics", "/v1/openapi.json"] {
        recorder.call(broker.addr, "GET", target, None);
    }
}

/// The file as it is, for pages of other origins too.
#[test]
fn the_broker_serves_openapi() {
    let broker = Broker::start();
    let origin = "http://localhost:5173";
    let mut http = broker.http();
    let served = http.request("GET", "/v1/openapi.json", &[("origin", origin)], b"");
    assert!(
        served.json() == files()["openapi.json"],
        "the binary holds another openapi.json than the folder: build it again"
    );
    assert_eq!(served.header("content-type"), Some("application/json"));
    let allowed = served.header("access-control-allow-origin");
    assert_eq!(allowed, Some(origin));
}

/// A call that openapi.json has is served, one that it does not have is 405.
#[test]
fn openapi_has_the_methods_that_are_served() {
    let broker = Broker::start();
    let paths = files()["openapi.json"]["paths"].as_object().unwrap();
    for (path, described) in paths {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let status = broker.http().request(method, path, &[], b"").status;
            let is_described = described.get(method.to_ascii_lowercase()).is_some();
            assert_eq!(status != 405, is_described, "{method} {path}: {status}");
            assert_ne!(status, 404, "{method} {path}");
        }
    }
}
