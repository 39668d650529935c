//! Promise 12: errors are for people: a stable code, what was wrong with which input, what to do; no
//! internals.

use serde_json::{Value, json};

use crate::support::*;

/// What no message may show: our sources, libraries, or how Rust prints things.
const INTERNALS: [&str; 11] = [
    "src/", ".rs", "panick", "serde", "actix", "tokio", "Error(", "Some(", "unwrap", "0x",
    "struct ",
];

/// A problem's words: there are some, and they are for people.
fn assert_humane(problem: &Value) {
    let words: Vec<&str> = ["title", "detail", "message"]
        .iter()
        .filter_map(|member| problem[*member].as_str())
        .collect();
    assert!(
        words.iter().any(|text| text.len() >= 10),
        "too terse: {problem}"
    );
    for text in words {
        let internal = INTERNALS.iter().find(|word| text.contains(**word));
        assert!(internal.is_none(), "{internal:?} in {problem}");
    }
}

fn assert_problem(problem: &Value, status: u64, code: &str) {
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status, "{problem}");
    assert_humane(problem);
}

fn publish(topic: &str, events: Value) -> Value {
    json!({ "topic": topic, "events": events })
}

#[test]
fn p12_json_that_is_none_is_invalid_json() {
    let broker = Broker::start();
    for body in [
        "",
        "{",
        "[1,",
        "{\"topic\":\"/a/b\",}",
        "\u{1}",
        "{\"topic\":\"/a/b\"} trailing",
    ] {
        assert_problem(
            &broker.post("/v1/publish", body).problem(),
            400,
            "invalid_json",
        );
    }
}

#[test]
fn p12_a_body_of_the_wrong_shape_is_an_invalid_request() {
    let broker = Broker::start();
    for body in [
        json!({}),
        json!(7),
        json!({ "topic": "/a/b" }),
        json!({ "events": [note(1)] }),
        json!({ "topic": "/a/b", "events": 5 }),
        json!({ "topic": 5, "events": [note(1)] }),
        json!({ "topic": "/a/b", "events": [note(1)], "producer": "me" }),
        json!({ "topic": "/a/b", "events": [note(1)], "producer": { "id": "", "epoch": 1, "seq": 1 } }),
    ] {
        let problem = broker.refused(&body);
        let about_topic = body["topic"] == 5 && problem["code"] == "invalid_topic";
        let code = if about_topic {
            "invalid_topic"
        } else {
            "invalid_request"
        };
        assert_problem(&problem, 400, code);
    }
    assert_eq!(broker.head("/a/b"), 0);
}

#[test]
fn p12_an_invalid_topic_says_so_on_every_call() {
    let broker = Broker::start();
    assert_problem(
        &broker.refused(&publish("chat", json!([note(1)]))),
        400,
        "invalid_topic",
    );
    for target in [
        "/v1/events?topic=chat",
        "/v1/topic?topic=/a//b",
        "/v1/sse?topic=/a/b&topic=nope",
    ] {
        assert_problem(&broker.get(target).problem(), 400, "invalid_topic");
    }
    let answer = Ws::open(broker.addr).call(json!({ "op": "subscribe", "topic": "/a/../b" }));
    assert_eq!(answer["op"], "error", "{answer}");
    assert_eq!(answer["code"], "invalid_topic", "{answer}");
    assert_eq!(answer["topic"], "/a/../b", "{answer}");
    assert_humane(&answer);
}

#[test]
fn p12_an_invalid_event_names_its_index_and_field() {
    let broker = Broker::start();
    let bad = json!({ "type": "token.delta", "data": { "message_id": "m", "text": 5 } });
    let problem = broker.refused(&publish("/a/b", json!([note(1), bad.clone()])));
    assert_problem(&problem, 400, "invalid_event");
    assert_eq!(problem["index"], 1, "{problem}");
    let field = problem["field"].as_str().expect("a field");
    assert!(field.contains("text"), "{problem}");
    let answer = Ws::open(broker.addr).publish("/a/b", json!([bad]));
    assert_eq!(answer["code"], "invalid_event", "{answer}");
    assert_eq!(answer["index"], 0, "{answer}");
    assert_eq!(answer["field"], problem["field"], "{answer}");
    assert_humane(&answer);
}

#[test]
fn p12_reserved_types_are_named() {
    let broker = Broker::start();
    for name in ["tidewire.ready", "tidewire.x.y", "message.snapshot"] {
        let event = json!({ "type": name, "data": {} });
        let problem = broker.refused(&publish("/a/b", json!([note(1), event])));
        assert_problem(&problem, 400, "reserved_type");
    }
}

#[test]
fn p12_a_bad_position_is_an_invalid_cursor() {
    let broker = Broker::start();
    for from in [
        "abcdefgh:",
        ":5",
        "abcdefgh:x",
        "short:5",
        "abcdefgh:5~~",
        "abcdefgh:-1",
    ] {
        let problem = broker
            .get(&format!("/v1/events?topic=/a/b&from={from}"))
            .problem();
        assert_problem(&problem, 400, "invalid_cursor");
        let subscribe = json!({ "op": "subscribe", "topic": "/a/b", "from": from });
        let answer = Ws::open(broker.addr).call(subscribe);
        assert_eq!(answer["code"], "invalid_cursor", "{from}: {answer}");
    }
}

#[test]
fn p12_bad_parameters_are_an_invalid_request() {
    let broker = Broker::start();
    for query in [
        "topic=/a/b&replay=fast",
        "topic=/a/b&coalesce_ms=abc",
        "topic=/a/b&types=nodots",
        "topic=/a/b&types=*.b",
        "topic=/a/b&wait_ms=40000&once=1",
        "",
    ] {
        let problem = broker.get(&format!("/v1/sse?{query}")).problem();
        assert_problem(&problem, 400, "invalid_request");
    }
    for query in [
        "topic=/a/b&limit=0",
        "topic=/a/b&limit=x",
        "topic=/a/b&replay=x",
        "limit=5",
    ] {
        let problem = broker.get(&format!("/v1/events?{query}")).problem();
        assert_problem(&problem, 400, "invalid_request");
    }
}

#[test]
fn p12_too_large_and_too_many_say_the_limit() {
    let broker = Broker::start();
    let large = json!({ "type": "note.taken", "data": "x".repeat(257 * 1024) });
    let problem = broker.refused(&publish("/a/b", json!([large.clone()])));
    assert_problem(&problem, 413, "too_large");
    let problem = broker.refused(&publish("/a/b", events::notes(0..1_001)));
    assert_problem(&problem, 413, "too_many_events");
    assert!(
        problem.to_string().contains("1000"),
        "it names the limit: {problem}"
    );
    let mut ws = Ws::open(broker.addr);
    assert_eq!(ws.publish("/a/b", json!([large]))["code"], "too_large");
    assert_eq!(
        ws.publish("/a/b", events::notes(0..1_001))["code"],
        "too_many_events"
    );
    broker.publish("/a/b", events::notes(0..1_000));
}

#[test]
fn p12_other_media_types_are_named() {
    let broker = Broker::start();
    let body = publish("/a/b", json!([note(1)])).to_string();
    for kind in [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
    ] {
        let headers = [("content-type", kind)];
        let mut http = broker.http();
        let response = http.request("POST", "/v1/publish", &headers, body.as_bytes());
        assert_problem(&response.problem(), 415, "unsupported_media_type");
    }
    let headers = [("content-type", "application/json; charset=utf-8")];
    let response = broker
        .http()
        .request("POST", "/v1/publish", &headers, body.as_bytes());
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn p12_messages_have_one_owner_and_one_end() {
    let broker = Broker::start();
    let produced = |id: &str, seq: u64, events: Value| json!({ "topic": "/a/b", "events": events, "producer": { "id": id, "epoch": 1, "seq": seq } });
    broker
        .http()
        .publish_body(&produced("one", 1, json!([delta("m", "x")])));
    let problem = broker.refused(&produced("two", 1, json!([delta("m", "y")])));
    assert_problem(&problem, 409, "message_owned");
    let problem = broker.refused(&publish("/a/b", json!([completed("m")])));
    assert_problem(&problem, 409, "message_owned");
    broker
        .http()
        .publish_body(&produced("one", 2, json!([completed("m")])));
    for late in [delta("m", "z"), started("m"), completed("m")] {
        let problem = broker.refused(&produced("one", 3, json!([late])));
        assert_problem(&problem, 409, "message_ended");
    }
    assert_eq!(broker.head("/a/b"), 2);
}

#[test]
fn p12_a_batch_cannot_write_after_its_own_end_event() {
    let broker = Broker::start();
    let events = json!([delta("m", "x"), completed("m"), delta("m", "y")]);
    assert_problem(
        &broker.refused(&publish("/a/b", events)),
        409,
        "message_ended",
    );
    assert_eq!(broker.head("/a/b"), 0);
}

#[test]
fn p12_too_many_open_messages_are_refused() {
    let broker = Broker::start();
    let open = |numbers: std::ops::Range<u64>| -> Value {
        numbers.map(|n| delta(&format!("m{n}"), "x")).collect()
    };
    broker.publish("/a/b", open(0..1_000));
    broker.publish("/a/b", open(1_000..1_024));
    let problem = broker.refused(&publish("/a/b", open(1_024..1_025)));
    assert_problem(&problem, 429, "too_many_open_messages");
    broker.publish("/a/b", json!([completed("m7"), delta("m2000", "x")]));
}

#[test]
fn p12_over_the_rate_a_publish_is_refused_with_a_time_to_come_back() {
    let config = "[limits]\npublish_rate = 1\npublish_burst = 10\n";
    let broker = Broker::configured(config);
    let mut http = broker.http();
    let body = publish("/a/b", json!([note(1)])).to_string();
    let responses: Vec<Response> = (0..20).map(|_| http.post("/v1/publish", &body)).collect();
    let kept = responses
        .iter()
        .filter(|response| response.status == 200)
        .count();
    assert!((10..20).contains(&kept), "{kept} of 20 were accepted");
    let problem = responses.last().expect("twenty").problem();
    assert_problem(&problem, 429, "rate_limited");
    assert!(problem["retry_after_ms"].as_u64() > Some(0), "{problem}");
    assert_eq!(broker.head("/a/b"), kept as u64);
}

/// The gate stays closed behind a refused publish, so that what is in flight cannot make a hole.
#[test]
fn p12_a_rate_limited_topic_keeps_its_gate_closed() {
    let config = "[limits]\npublish_rate = 1\npublish_burst = 10\n";
    let broker = Broker::configured(config);
    let mut ws = Ws::open(broker.addr);
    for n in 0..30 {
        ws.send(&json!({ "op": "publish", "id": n, "topic": "/a/b", "events": [note(n)] }));
    }
    let answers: Vec<Value> = (0..30).map(|_| ws.recv()).collect();
    let kept = answers
        .iter()
        .take_while(|answer| answer["op"] == "published")
        .count();
    assert!((10..20).contains(&kept), "{kept} of 30 were accepted");
    for refused in &answers[kept..] {
        assert_eq!(refused["code"], "rate_limited", "a hole: {answers:?}");
        assert!(refused["retry_after_ms"].as_u64() > Some(0), "{refused}");
    }
}

#[test]
fn p12_unknown_paths_and_methods_are_plain_problems() {
    let broker = Broker::start();
    for (method, target, status) in [
        ("GET", "/nothing/here", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/publish", 405),
        ("PUT", "/v1/events?topic=/a/b", 405),
    ] {
        let response = broker.http().request(method, target, &[], b"");
        assert_eq!(
            response.status,
            status,
            "{method} {target}: {}",
            response.text()
        );
        assert_humane(&response.problem());
    }
}

#[test]
fn p12_a_plain_request_to_the_websocket_path_is_told_to_upgrade() {
    let broker = Broker::start();
    let response = broker.get("/v1/ws");
    assert_eq!(response.status, 426, "{}", response.text());
    let upgrade = response.header("upgrade").unwrap_or_default();
    assert!(upgrade.eq_ignore_ascii_case("websocket"), "{response:?}");
}

#[test]
fn p12_an_unknown_topic_is_no_error() {
    let broker = Broker::start();
    let page = broker.read("/v1/events?topic=/not/there");
    assert_eq!(page["head"], 0, "{page}");
    assert_eq!(page["epoch"], reader::NOWHERE, "{page}");
    assert_eq!(page["events"], json!([]), "{page}");
    assert_eq!(page["more"], false, "{page}");
    assert_eq!(broker.head("/not/there"), 0);
}
