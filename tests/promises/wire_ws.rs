//! The native WebSocket frames: their members and their order.

use serde_json::{Value, json};

use crate::support::*;

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn wire_welcome_is_always_first() {
    let broker = Broker::start();
    let ws = Ws::open(broker.addr);
    let welcome = &ws.welcome;
    assert!(
        welcome["session"]
            .as_str()
            .is_some_and(|session| !session.is_empty()),
        "{welcome}"
    );
    assert!(welcome.get("environment").is_some(), "{welcome}");
    assert_eq!(welcome["ping_ms"], 25_000, "{welcome}");
    let limits = &welcome["limits"];
    assert_eq!(limits["max_frame_bytes"], 1_048_576, "{welcome}");
    assert_eq!(limits["max_event_bytes"], 262_144, "{welcome}");
    assert_eq!(limits["max_batch_events"], 1_000, "{welcome}");
    assert_eq!(limits["max_subscriptions"], 1_000, "{welcome}");
    assert!(limits["window_events"].as_u64() > Some(0), "{welcome}");
    assert!(limits["window_bytes"].as_u64() > Some(0), "{welcome}");
}

#[test]
fn wire_two_sessions_have_two_names() {
    let broker = Broker::start();
    let names =
        [Ws::open(broker.addr), Ws::open(broker.addr)].map(|ws| ws.welcome["session"].clone());
    assert_ne!(names[0], names[1]);
}

#[test]
fn wire_the_subprotocol_is_told_and_a_token_is_not_echoed() {
    let broker = Broker::start();
    let offered = "tidewire.v1.json, bearer.secret-token";
    let wire = wire::Wire::connect(broker.addr);
    let mut http = Http {
        wire,
        host: broker.addr.to_string(),
    };
    let headers = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", ws::KEY),
        ("sec-websocket-protocol", offered),
    ];
    let head = http.head("GET", "/v1/ws", &headers);
    http.wire.send(head.as_bytes());
    let response = http::read_head(&mut http.wire).expect("an answer");
    assert_eq!(response.status, 101);
    assert_eq!(
        response.header("sec-websocket-protocol"),
        Some("tidewire.v1.json")
    );
    assert_eq!(response.header("sec-websocket-accept"), Some(ws::ACCEPT));
    assert!(
        response.header("sec-websocket-extensions").is_none(),
        "no permessage-deflate"
    );
    assert!(
        !broker.stderr().contains("secret-token"),
        "a secret in the log"
    );
}

/// The first command may come in the same packet as the handshake.
#[test]
fn wire_bytes_behind_the_handshake_are_not_lost() {
    let broker = Broker::start();
    let mut http = broker.http();
    let headers = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", ws::KEY),
    ];
    let mut bytes = http.head("GET", "/v1/ws", &headers).into_bytes();
    bytes.extend(ws::masked(ws::FIN_TEXT, br#"{"op":"ping"}"#));
    http.wire.send(&bytes);
    let response = http::read_head(&mut http.wire).expect("an answer");
    assert_eq!(response.status, 101);
    eventually("the pong", || {
        http.wire.fill(std::time::Instant::now() + PATIENCE);
        String::from_utf8_lossy(http.wire.waiting())
            .contains("pong")
            .then_some(())
    });
}

#[test]
fn wire_an_events_frame_has_its_shape() {
    let broker = Broker::start();
    let topic = "/wire/events";
    let mut ws = Ws::open(broker.addr);
    ws.subscribe(topic, "live");
    let body = json!({ "topic": topic, "producer": { "id": "agent-7", "epoch": 1, "seq": 1 },
        "events": [{ "type": "note.taken", "id": "x1", "data": { "n": 1 } }] });
    let answer = broker.http().publish_body(&body);
    let frame = ws.expect("events");
    assert_eq!(frame["topic"], topic);
    assert_eq!(frame["epoch"], answer["epoch"]);
    assert_eq!(frame["after"], 0);
    assert_eq!(frame["upto"], 1);
    let event = &frame["events"][0];
    let mut names = keys(event);
    names.sort_unstable();
    assert_eq!(
        names,
        ["data", "id", "seq", "source", "time", "type"],
        "{event}"
    );
    assert_eq!(event["source"], "agent-7", "anonymous: the producer id");
    assert_eq!(event["id"], "x1");
    broker.publish(topic, json!([note(2)]));
    let frame = ws.expect("events");
    assert_eq!(frame["after"], 1);
    let mut names = keys(&frame["events"][0]);
    names.sort_unstable();
    assert_eq!(
        names,
        ["data", "seq", "time", "type"],
        "absent, not null: {frame}"
    );
}

#[test]
fn wire_subscribed_has_its_shape() {
    let broker = Broker::start();
    let topic = "/wire/subscribed";
    let answer = broker.publish(topic, events::notes(0..3));
    let epoch = answer["epoch"].as_str().unwrap();
    let mut ws = Ws::open(broker.addr);
    ws.send(&json!({ "op": "subscribe", "id": "my-id", "topic": topic, "from": "live" }));
    let expected = json!({ "op": "subscribed", "id": "my-id", "topic": topic, "epoch": epoch, "head": 3,
                           "position": format!("{epoch}:3"), "resumed": false });
    assert_eq!(ws.recv(), expected);
    let other = ws.subscribe("/wire/nothing", "live");
    assert_eq!(other["epoch"], reader::NOWHERE, "{other}");
    assert_eq!(other["head"], 0, "{other}");
    assert_eq!(
        other["position"],
        format!("{}:0", reader::NOWHERE),
        "{other}"
    );
}

#[test]
fn wire_ids_are_echoed_as_they_are() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    for id in [
        json!(0),
        json!(-5),
        json!(9_007_199_254_740_991i64),
        json!("a"),
        json!("é\"\\"),
        json!("x".repeat(64)),
    ] {
        ws.send(&json!({ "op": "publish", "id": id, "topic": "/wire/ids", "events": [note(1)] }));
        let answer = ws.expect("published");
        assert_eq!(answer["id"], id, "{answer}");
        ws.send(&json!({ "op": "unknown", "id": id }));
        let answer = ws.expect("error");
        assert_eq!(answer["id"], id, "{answer}");
    }
    ws.send(&json!({ "op": "publish", "topic": "/wire/ids", "events": [note(1)] }));
    assert!(
        ws.expect("published").get("id").is_none(),
        "no id was given"
    );
}

#[test]
fn wire_an_unknown_op_is_an_error_and_the_connection_lives_on() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    let answer = ws.call(json!({ "op": "teleport" }));
    assert_eq!(answer["op"], "error", "{answer}");
    assert!(
        answer["code"].is_string() && answer["message"].is_string(),
        "{answer}"
    );
    ws.send(&json!({ "op": "ping" }));
    assert_eq!(ws.recv(), json!({ "op": "pong" }));
}

#[test]
fn wire_unknown_fields_are_ignored() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    let answer =
        ws.subscribe_with(json!({ "topic": "/wire/extra", "from": "live", "future": { "x": 1 } }));
    assert_eq!(answer["topic"], "/wire/extra");
    let events = json!([{ "type": "note.taken", "data": { "n": 1 }, "later": true }]);
    let answer =
        ws.call(json!({ "op": "publish", "topic": "/wire/extra", "events": events, "x": 1 }));
    assert_eq!(answer["op"], "published", "{answer}");
    let frame = ws.until("events");
    assert!(
        frame["events"][0].get("later").is_none(),
        "an envelope holds what is defined: {frame}"
    );
    let body = json!({ "topic": "/wire/extra", "events": events, "future": 1 });
    broker.http().publish_body(&body);
}

#[test]
fn wire_a_publisher_cannot_set_what_the_broker_adds() {
    let broker = Broker::start();
    let topic = "/wire/forged";
    let forged = json!([{ "type": "note.taken", "data": 1, "seq": 99, "time": 1, "source": "admin",
                          "topic": "/other/topic", "first_seq": 1, "parts": [], "started": {} }]);
    let body = json!({ "topic": topic, "events": forged });
    broker.http().publish_body(&body);
    let page = broker.read(&format!("/v1/events?topic={topic}"));
    let event = &page["events"][0];
    assert_eq!(event["seq"], 1, "{event}");
    assert!(event["time"].as_u64() > Some(1_600_000_000_000), "{event}");
    for member in ["source", "parts", "started", "first_seq"] {
        assert!(event.get(member).is_none(), "{member} in {event}");
    }
    assert_eq!(broker.head("/other/topic"), 0);
}

#[test]
fn wire_a_second_subscription_is_already_subscribed() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    ws.subscribe("/wire/twice", "live");
    let answer = ws.call(json!({ "op": "subscribe", "topic": "/wire/twice" }));
    assert_eq!(answer["op"], "error", "{answer}");
    assert_eq!(answer["code"], "already_subscribed", "{answer}");
    assert_eq!(answer["topic"], "/wire/twice", "{answer}");
    broker.publish("/wire/twice", json!([note(1)]));
    assert_eq!(ws.expect("events")["upto"], 1, "the first one stands");
}

#[test]
fn wire_one_refused_topic_leaves_the_others() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    let topics = json!([{ "topic": "/wire/a" }, { "topic": "bad" }, { "topic": "/wire/b", "from": "start" }]);
    ws.send(&json!({ "op": "subscribe", "id": 1, "topics": topics }));
    let answers: Vec<Value> = (0..3).map(|_| ws.recv()).collect();
    assert!(
        answers.iter().all(|answer| answer["id"] == 1),
        "{answers:?}"
    );
    let mut told: Vec<(&str, &str)> = answers
        .iter()
        .map(|answer| {
            (
                answer["topic"].as_str().unwrap(),
                answer["op"].as_str().unwrap(),
            )
        })
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("/wire/a", "subscribed"),
            ("/wire/b", "subscribed"),
            ("bad", "error")
        ]
    );
    broker.publish("/wire/b", json!([note(1)]));
    assert_eq!(ws.until("events")["topic"], "/wire/b");
}

#[test]
fn wire_too_many_subscriptions_are_refused() {
    let broker = Broker::configured("[limits]\nmax_subscriptions = 3\n");
    let mut ws = Ws::open(broker.addr);
    assert_eq!(ws.welcome["limits"]["max_subscriptions"], 3);
    for n in 0..3 {
        ws.subscribe(&format!("/wire/{n}"), "live");
    }
    let answer = ws.call(json!({ "op": "subscribe", "topic": "/wire/3" }));
    assert_eq!(answer["code"], "too_many_subscriptions", "{answer}");
    ws.call(json!({ "op": "unsubscribe", "topic": "/wire/0" }));
    ws.subscribe("/wire/3", "live");
}

#[test]
fn wire_unsubscribing_ends_it() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    ws.subscribe("/wire/left", "live");
    ws.subscribe("/wire/marker", "live");
    let answer = ws.call(json!({ "op": "unsubscribe", "topic": "/wire/left" }));
    assert_eq!(answer["op"], "unsubscribed", "{answer}");
    assert_eq!(answer["topic"], "/wire/left", "{answer}");
    broker.publish("/wire/left", json!([note(1)]));
    broker.publish("/wire/marker", json!([note(1)]));
    assert_eq!(ws.until("events")["topic"], "/wire/marker");
    let answer = ws.subscribe("/wire/left", "start");
    assert_eq!(answer["head"], 1, "it can be subscribed again: {answer}");
    assert_eq!(ws.until("events")["events"][0]["data"]["n"], 1);
}

#[test]
fn wire_unsubscribing_what_is_not_subscribed_is_answered() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    let answer = ws.call(json!({ "op": "unsubscribe", "topic": "/wire/never" }));
    let ops = ["error", "unsubscribed"];
    assert!(ops.contains(&answer["op"].as_str().unwrap()), "{answer}");
}

#[test]
fn wire_erasing_is_told_with_reason_deleted() {
    let broker = Broker::start();
    let topic = "/wire/erased";
    broker.publish(topic, json!([note(1)]));
    let mut ws = Ws::open(broker.addr);
    ws.subscribe(topic, "live");
    broker.erase(topic);
    let reset = ws.expect("reset");
    assert_eq!(reset["topic"], topic, "{reset}");
    assert_eq!(reset["reason"], "deleted", "{reset}");
    assert!(reset["epoch"].is_string(), "{reset}");
}
