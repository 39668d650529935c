//! Every code that can be provoked, over a WebSocket and over HTTP.

use serde_json::{Value, json};

use crate::recorder::{Line, Recorder};
use crate::support::ws::KEY;
use crate::support::{Broker, Http, Response, Sse, completed, delta, events, note};

pub fn record(recorder: &Recorder) {
    what_is_wrong(recorder);
    what_contradicts(recorder);
    what_is_too_much(recorder);
    who_may_not(recorder);
    a_full_broker(recorder);
}

fn publish(topic: &str, events: Value) -> Value {
    json!({ "op": "publish", "topic": topic, "events": events })
}

/// Sends a publish body both ways; the code must be the same.
fn both(recorder: &Recorder, broker: &Broker, line: &mut Line, body: Value, code: &str) {
    assert_eq!(line.refused(body.clone()), code, "{body}");
    let response = recorder.call(broker.addr, "POST", "/v1/publish", Some(&body));
    assert_eq!(response.problem()["code"], code, "{body}");
}

fn what_is_wrong(recorder: &Recorder) {
    let broker = Broker::start();
    let mut line = Line::open(recorder, broker.addr);
    for (body, code) in [
        (publish("chat", json!([note(1)])), "invalid_topic"),
        (
            publish("/a/b", json!([{ "type": "token.delta", "data": {} }])),
            "invalid_event",
        ),
        (
            publish("/a/b", json!([{ "type": "tidewire.gap", "data": {} }])),
            "reserved_type",
        ),
        (publish("/a/b", json!([])), "invalid_request"),
    ] {
        both(recorder, &broker, &mut line, body, code);
    }
    line.ws.send_text("no json");
    assert_eq!(line.until("error")["code"], "invalid_json");
    let dance = json!({ "op": "dance" });
    assert_eq!(line.refused(dance), "invalid_request");
    let bad_from = json!({ "op": "subscribe", "topic": "/a/b", "from": "yesterday" });
    assert_eq!(line.refused(bad_from), "invalid_cursor");
    line.subscribe("/a/b", "live");
    let again = json!({ "op": "subscribe", "topic": "/a/b" });
    assert_eq!(line.refused(again), "already_subscribed");

    let get = |target: &str| recorder.call(broker.addr, "GET", target, None);
    for (target, code) in [
        ("/v1/events?topic=/a/b&from=yesterday", "invalid_cursor"),
        ("/v1/events?topic=/a/b&limit=0", "invalid_request"),
        ("/v1/topic?topic=chat", "invalid_topic"),
        ("/v1/topics?limit=1001", "invalid_request"),
        ("/v1/sse?topic=/a/b&wait_ms=30001", "invalid_request"),
        ("/v1/ws", "upgrade_required"),
        ("/v1/nothing", "not_found"),
        ("/v1/publish", "method_not_allowed"),
    ] {
        assert_eq!(get(target).problem()["code"], code, "{target}");
    }
    let topics: Vec<String> = (0..101).map(|n| format!("topic=/a/{n}")).collect();
    let many = get(&format!("/v1/sse?{}", topics.join("&")));
    assert_eq!(many.problem()["code"], "too_many_subscriptions");
    for (kind, body, code) in [
        ("text/plain", "{}", "unsupported_media_type"),
        ("application/json", "{", "invalid_json"),
    ] {
        for target in ["/v1/publish", "/v1/sse"] {
            let headers = [("content-type", kind)];
            let response = broker
                .http()
                .request("POST", target, &headers, body.as_bytes());
            recorder.response("POST", target, &response);
            assert_eq!(response.problem()["code"], code, "{target}");
        }
    }
}

fn what_contradicts(recorder: &Recorder) {
    let broker = Broker::start();
    let mut line = Line::open(recorder, broker.addr);
    let by = |epoch: u64, seq: u64, events: Value| {
        let mut body = publish("/a/b", events);
        body["producer"] = json!({ "id": "p", "epoch": epoch, "seq": seq });
        body
    };
    let with_id = |id: &str| json!({ "type": "note.taken", "data": 1, "id": id });
    both(
        recorder,
        &broker,
        &mut line,
        by(1, 2, json!([note(1)])),
        "producer_unknown",
    );
    line.call(
        "published",
        by(
            2,
            1,
            json!([delta("m", "x"), completed("m"), delta("open", "x")]),
        ),
    );
    line.publish("/a/b", json!([with_id("one")]));
    for (body, code) in [
        (by(2, 5, json!([note(1)])), "producer_gap"),
        (by(1, 1, json!([note(1)])), "producer_fenced"),
        (
            publish("/a/b", json!([delta("open", "y")])),
            "message_owned",
        ),
        (by(2, 2, json!([delta("m", "y")])), "message_ended"),
        (
            publish("/a/b", json!([with_id("one"), with_id("two")])),
            "id_conflict",
        ),
    ] {
        both(recorder, &broker, &mut line, body, code);
    }
}

fn what_is_too_much(recorder: &Recorder) {
    let broker = Broker::start();
    let mut line = Line::open(recorder, broker.addr);
    let large = json!({ "type": "note.taken", "data": "x".repeat(257 * 1024) });
    both(
        recorder,
        &broker,
        &mut line,
        publish("/a/b", json!([large])),
        "too_large",
    );
    both(
        recorder,
        &broker,
        &mut line,
        publish("/a/b", events::notes(0..1_001)),
        "too_many_events",
    );
    let long = "x".repeat(33 * 1024);
    let target = format!("/v1/topics?prefix=/{long}");
    for (target, header) in [("/v1/topics", long.as_str()), (target.as_str(), "short")] {
        let headers = &[("x-much", header)];
        let response = recorder.call_with(broker.addr, "GET", target, headers, None);
        assert_eq!(response.problem()["code"], "too_large");
    }
    let open = |numbers: std::ops::Range<u64>| -> Value {
        numbers.map(|n| delta(&format!("m{n}"), "x")).collect()
    };
    broker.publish("/a/b", open(0..1_000));
    broker.publish("/a/b", open(1_000..1_024));
    both(
        recorder,
        &broker,
        &mut line,
        publish("/a/b", open(1_024..1_025)),
        "too_many_open_messages",
    );

    let config = "[limits]\npublish_rate = 1\npublish_burst = 1\nmax_batch_events = 1\nmax_subscriptions = 1\n";
    let broker = Broker::configured(config);
    let mut line = Line::open(recorder, broker.addr);
    line.publish("/a/b", json!([note(1)]));
    both(
        recorder,
        &broker,
        &mut line,
        publish("/a/b", json!([note(1)])),
        "rate_limited",
    );
    line.subscribe("/a/b", "live");
    let second = json!({ "op": "subscribe", "topic": "/a/c" });
    assert_eq!(line.refused(second), "too_many_subscriptions");
}

/// Every call checks where the page comes from.
fn who_may_not(recorder: &Recorder) {
    let broker = Broker::configured("strict_namespaces = true\n");
    let foreign = [("origin", "https://evil.example")];
    for (method, target) in [
        ("GET", "/v1/events?topic=/a/b"),
        ("GET", "/v1/openapi.json"),
        ("GET", "/metrics"),
        ("GET", "/healthz"),
        ("DELETE", "/v1/topic?topic=/a/b"),
        ("POST", "/v1/publish"),
        ("POST", "/v1/sse"),
    ] {
        let response = broker.http().request(method, target, &foreign, b"");
        recorder.response(method, target, &response);
        assert_eq!(response.problem()["code"], "forbidden", "{method} {target}");
    }
    let mut line = Line::open(recorder, broker.addr);
    let unknown = publish("/nobody/knows", json!([note(1)]));
    both(recorder, &broker, &mut line, unknown, "forbidden");
}

/// A broker that is full, the connections that fill it, and what the next WebSocket is answered.
pub fn full_broker() -> (Broker, Vec<Http>, Response) {
    let broker = Broker::configured("[limits]\nmax_connections = 4\n");
    let handshake = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];
    let mut open = Vec::new();
    loop {
        assert!(open.len() < 10, "the broker takes more than it may");
        let mut http = broker.http();
        let response = http.request("GET", "/v1/ws", &handshake, b"");
        if response.status != 101 {
            return (broker, open, response);
        }
        open.push(http);
    }
}

/// Of a broker that is full a WebSocket hears `draining`, and a stream the same in a block.
fn a_full_broker(recorder: &Recorder) {
    let (broker, _open, refused) = full_broker();
    recorder.response("GET", "/v1/ws", &refused);
    assert_eq!(refused.problem()["code"], "draining");
    let mut sse = Sse::open(broker.addr, "/v1/sse?topic=/full/a");
    recorder.block(&sse.event());
}
