//! Bad input, by its content: topics, types, deltas, data. Each gets its code and leaves nothing behind.

use serde_json::{Value, json};

use crate::support::*;

fn code(broker: &Broker, body: &Value) -> String {
    let problem = broker.refused(body);
    assert_eq!(problem["status"], 400, "{problem}");
    problem["code"].as_str().expect("a code").to_owned()
}

/// The code that an event gets whose JSON is this text (which need not be JSON).
fn code_of_raw(broker: &Broker, event: &str) -> String {
    let body = format!(r#"{{"topic":"/bad/raw","events":[{event}]}}"#);
    let response = broker.post("/v1/publish", &body);
    let problem = response.problem();
    problem["code"].as_str().expect("a code").to_owned()
}

#[test]
fn bad_input_invalid_topics() {
    let mut broker = Broker::start();
    let long = format!("/a/{}", "x".repeat(129));
    let deep = "/a".repeat(9);
    for topic in [
        "", "/", "a", "a/b", "//", "/a/", "/a//b", "/./b", "/a/..", "/a/.", "/a b", "/a/b\n",
        "/a/\u{0}", "/a/é", "/a/*", "/a/**", "/a?b", "/a/b#c", "/a/%41", "/a/b\\c", &long, &deep,
    ] {
        let body = json!({ "topic": topic, "events": [note(1)] });
        assert_eq!(code(&broker, &body), "invalid_topic", "{topic:?}");
    }
    broker.assert_healthy();
}

#[test]
fn bad_input_valid_topics_at_the_border() {
    let broker = Broker::start();
    let long = format!("/a/{}", "x".repeat(128));
    let deep = "/a".repeat(8);
    for topic in ["/a", "/A-Z.0_9:~-", "/a/...", "/a/.b", &long, &deep] {
        broker.publish(topic, json!([note(1)]));
        assert_eq!(broker.head(topic), 1, "{topic}");
    }
}

#[test]
fn bad_input_invalid_types() {
    let mut broker = Broker::start();
    let long = format!("a.{}", "x".repeat(127));
    for name in [
        "", "nodots", ".", "a.", ".a", "a..b", "a b.c", "a.b\n", "a.é", "a.b/c", "a.*", "Event",
        &long,
    ] {
        let body = json!({ "topic": "/bad/type", "events": [{ "type": name, "data": 1 }] });
        let problem = broker.refused(&body);
        assert_eq!(problem["code"], "invalid_event", "{name:?} {problem}");
        assert_eq!(problem["index"], 0, "{problem}");
        assert_eq!(problem["field"], "type", "{problem}");
    }
    for body in [
        json!({ "data": 1 }),
        json!({ "type": 5, "data": 1 }),
        json!({ "type": null, "data": 1 }),
    ] {
        let body = json!({ "topic": "/bad/type", "events": [body] });
        assert_eq!(code(&broker, &body), "invalid_event");
    }
    assert_eq!(broker.head("/bad/type"), 0);
    broker.assert_healthy();
}

#[test]
fn bad_input_valid_types_at_the_border() {
    let broker = Broker::start();
    let long = format!("a.{}", "x".repeat(126));
    for name in ["event", "a.b", "A-Z_0.9-_", "a.b.c.d", &long] {
        broker.publish("/good/type", json!([{ "type": name, "data": null }]));
    }
}

#[test]
fn bad_input_deltas_without_their_fields() {
    let mut broker = Broker::start();
    let long = "x".repeat(129);
    for data in [
        json!(null),
        json!("text"),
        json!([]),
        json!({}),
        json!({ "message_id": "m" }),
        json!({ "text": "x" }),
        json!({ "message_id": 5, "text": "x" }),
        json!({ "message_id": "", "text": "x" }),
        json!({ "message_id": long, "text": "x" }),
        json!({ "message_id": "a\nb", "text": "x" }),
        json!({ "message_id": "m", "text": null }),
        json!({ "message_id": "m", "text": "x", "kind": "image" }),
        json!({ "message_id": "m", "text": "x", "kind": 1 }),
        json!({ "message_id": "m", "text": "x", "part": -1 }),
        json!({ "message_id": "m", "text": "x", "part": 65536 }),
        json!({ "message_id": "m", "text": "x", "part": 1.5 }),
        json!({ "message_id": "m", "text": "x", "part": "0" }),
    ] {
        let event = json!({ "type": "token.delta", "data": data });
        let body = json!({ "topic": "/bad/delta", "events": [event] });
        assert_eq!(code(&broker, &body), "invalid_event", "{data}");
    }
    assert_eq!(broker.head("/bad/delta"), 0);
    assert_eq!(broker.topic("/bad/delta")["open_messages"], json!([]));
    broker.assert_healthy();
}

#[test]
fn bad_input_message_events_without_an_id() {
    let broker = Broker::start();
    for name in [
        "message.started",
        "message.completed",
        "message.interrupted",
    ] {
        for data in [
            json!(null),
            json!({}),
            json!({ "message_id": 1 }),
            json!({ "message_id": "\u{7}" }),
        ] {
            let event = json!({ "type": name, "data": data });
            let body = json!({ "topic": "/bad/message", "events": [event] });
            assert_eq!(code(&broker, &body), "invalid_event", "{name} {data}");
        }
    }
    let event = json!({ "type": "message.completed", "data": { "message_id": "m", "text": 5 } });
    let body = json!({ "topic": "/bad/message", "events": [event] });
    assert_eq!(code(&broker, &body), "invalid_event");
}

#[test]
fn bad_input_deltas_at_the_border() {
    let broker = Broker::start();
    let long = "é".repeat(128);
    broker.publish(
        "/good/delta",
        json!([
            delta("m", ""),
            delta(&long, "x"),
            events::delta_of("m", "text", 65535, "x")
        ]),
    );
    assert_eq!(broker.head("/good/delta"), 3);
}

#[test]
fn bad_input_lone_surrogates_and_impossible_numbers() {
    let mut broker = Broker::start();
    for event in [
        r#"{"type":"token.delta","data":{"message_id":"m","text":"\ud800"}}"#,
        r#"{"type":"token.delta","data":{"message_id":"m","text":"\udc00\ud800"}}"#,
        r#"{"type":"token.delta","data":{"message_id":"\ud83d","text":"x"}}"#,
        r#"{"type":"note.taken","data":{"deep":[{"er":"\udfff"}]}}"#,
        r#"{"type":"note.taken","data":{"\ud800":1}}"#,
        r#"{"type":"note.taken","id":"\ud800","data":1}"#,
        r#"{"type":"note.taken","data":1e999}"#,
        r#"{"type":"note.taken","data":[18446744073709551616e300]}"#,
    ] {
        assert_eq!(code_of_raw(&broker, event), "invalid_event", "{event}");
    }
    assert_eq!(broker.head("/bad/raw"), 0);
    let pair = r#"{"topic":"/good/pair","events":[{"type":"note.taken","data":"\ud83d\ude00"}]}"#;
    assert_eq!(broker.post("/v1/publish", pair).status, 200);
    broker.assert_healthy();
}

#[test]
fn bad_input_data_that_is_not_json() {
    let mut broker = Broker::start();
    for event in [
        r#"{"type":"note.taken","data":undefined}"#,
        r#"{"type":"note.taken","data":NaN}"#,
        r#"{"type":"note.taken","data":'x'}"#,
        r#"{"type":"note.taken","data":{a:1}}"#,
        r#"{"type":"note.taken","data":01}"#,
        r#"{"type":"note.taken","data":[1,]}"#,
        "{\"type\":\"note.taken\",\"data\":\"line\nbreak\"}",
    ] {
        let code = code_of_raw(&broker, event);
        assert!(
            code == "invalid_json" || code == "invalid_event",
            "{event}: {code}"
        );
    }
    assert_eq!(broker.head("/bad/raw"), 0);
    broker.assert_healthy();
}

#[test]
fn bad_input_a_nested_json_bomb() {
    let mut broker = Broker::start();
    let bomb = "[".repeat(60_000) + &"]".repeat(60_000);
    let objects = "{\"a\":".repeat(30_000) + "1" + &"}".repeat(30_000);
    for data in [&bomb, &objects] {
        let code = code_of_raw(
            &broker,
            &format!(r#"{{"type":"note.taken","data":{data}}}"#),
        );
        assert!(code == "invalid_json" || code == "invalid_event", "{code}");
        let mut ws = Ws::open(broker.addr);
        ws.send_text(&format!(
            r#"{{"op":"publish","id":1,"topic":"/bad/raw","events":[{{"type":"note.taken","data":{data}}}]}}"#
        ));
        assert_eq!(ws.recv()["op"], "error");
    }
    let problem = broker.post("/v1/publish", &"[".repeat(1_000_000)).problem();
    assert_eq!(problem["code"], "invalid_json", "{problem}");
    assert_eq!(broker.head("/bad/raw"), 0);
    broker.assert_healthy();
}

#[test]
fn bad_input_bytes_that_are_not_utf8() {
    let mut broker = Broker::start();
    let mut body = br#"{"topic":"/bad/raw","events":[{"type":"note.taken","data":"#.to_vec();
    body.extend(b"\"\xff\xfe\"}]}");
    let headers = [("content-type", "application/json")];
    let response = broker
        .http()
        .request("POST", "/v1/publish", &headers, &body);
    let problem = response.problem();
    assert_eq!(problem["status"], 400, "{problem}");
    assert_eq!(broker.head("/bad/raw"), 0);
    broker.assert_healthy();
}

#[test]
fn bad_input_event_and_producer_ids() {
    let broker = Broker::start();
    let long = "x".repeat(129);
    for id in [json!(""), json!(5), json!("a\u{1}b"), json!(long)] {
        let event = json!({ "type": "note.taken", "id": id, "data": 1 });
        let body = json!({ "topic": "/bad/id", "events": [event] });
        assert_eq!(code(&broker, &body), "invalid_event", "{id}");
    }
    for producer in [
        json!({ "id": "", "epoch": 1, "seq": 1 }),
        json!({ "id": "a\nb", "epoch": 1, "seq": 1 }),
        json!({ "id": long, "epoch": 1, "seq": 1 }),
        json!({ "id": "a", "epoch": -1, "seq": 1 }),
        json!({ "id": "a", "epoch": 1, "seq": 0 }),
        json!({ "id": "a", "epoch": 1, "seq": "1" }),
    ] {
        let body = json!({ "topic": "/bad/id", "events": [note(1)], "producer": producer });
        assert_eq!(code(&broker, &body), "invalid_request", "{producer}");
    }
    assert_eq!(broker.head("/bad/id"), 0);
}

/// Nothing a publisher says may end a line of the event stream, whatever field it stands in.
#[test]
fn bad_input_cannot_inject_into_an_event_stream() {
    let mut broker = Broker::start();
    let topic = "/bad/inject";
    let evil = "x\n\nevent: evil\r\ndata: {\"type\":\"evil.done\"}\r\rid: 0\n\n\u{2028}";
    let target = format!("/v1/sse?topic={topic}&from=live");
    let mut sse = Sse::open(broker.addr, &target);
    sse.event();
    let published = json!([
        delta("m", evil),
        { "type": "note.taken", "data": { evil: evil } },
        { "type": "note.taken", "data": evil },
    ]);
    broker.publish(topic, published.clone());
    for at in 0..3 {
        let block = sse.event();
        assert_eq!(block.json()["data"], published[at]["data"]);
        assert_eq!(block.json()["seq"], at + 1);
    }
    for attempt in ["%0Aevent:%20evil%0A%0A", "x%0D%0Adata:%20evil"] {
        for parameter in ["last_event_id", "from", "types"] {
            let target = format!("/v1/sse?topic={topic}&{parameter}={attempt}&once=1&wait_ms=0");
            let response = broker.get(&target);
            assert!(
                !response.text().contains("\nevent: evil"),
                "{}",
                response.text()
            );
            assert!(
                !response.text().contains("\ndata: evil"),
                "{}",
                response.text()
            );
        }
    }
    broker.assert_healthy();
}
