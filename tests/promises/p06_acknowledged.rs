//! Promise 6: an acknowledged publish is kept; what is refused leaves nothing behind.

use serde_json::{Value, json};

use crate::support::*;

#[test]
fn p06_what_is_acknowledged_can_be_read_at_once() {
    let broker = Broker::start();
    let topic = "/kept/now";
    let mut http = broker.http();
    for n in 0..200 {
        let answer = http.publish(topic, json!([note(n)]));
        let epoch = answer["epoch"].as_str().expect("an epoch");
        let target = format!("/v1/events?topic={topic}&from={epoch}:{n}");
        let page = http.get(&target).json();
        assert_eq!(page["head"], answer["last_seq"], "{page}");
        assert_eq!(page["events"][0]["data"]["n"], n, "{page}");
    }
}

#[test]
fn p06_what_is_acknowledged_over_websocket_can_be_read_at_once() {
    let broker = Broker::start();
    let topic = "/kept/ws";
    let mut ws = Ws::open(broker.addr);
    for n in 0..100 {
        let answer = ws.publish(topic, json!([note(n)]));
        assert_eq!(answer["op"], "published", "{answer}");
        assert_eq!(answer["first_seq"], n + 1, "{answer}");
        assert_eq!(answer["last_seq"], n + 1, "{answer}");
        assert_eq!(answer["duplicate"], false, "{answer}");
        assert_eq!(broker.head(topic), n + 1);
    }
}

/// Ways to spoil one event of a batch.
fn bad_events() -> Vec<Value> {
    vec![
        json!({ "type": "nodots", "data": 1 }),
        json!({ "type": "tidewire.ready", "data": 1 }),
        json!({ "type": "token.delta", "data": { "message_id": "m" } }),
        json!({ "type": "note.taken", "data": "x".repeat(300_000) }),
        json!("not an object"),
    ]
}

#[test]
fn p06_a_batch_with_one_bad_event_leaves_nothing() {
    let broker = Broker::start();
    let topic = "/kept/batch";
    broker.publish(topic, json!([note(0)]));
    for bad in bad_events() {
        for at in [0, 1, 2] {
            let mut events = vec![delta("m", "a"), note(1)];
            events.insert(at, bad.clone());
            let problem = broker.refused(&json!({ "topic": topic, "events": events }));
            assert_eq!(broker.head(topic), 1, "{problem}");
        }
    }
    assert_eq!(
        broker.topic(topic)["open_messages"],
        json!([]),
        "no fold was begun"
    );
}

#[test]
fn p06_a_refused_websocket_publish_leaves_nothing() {
    let broker = Broker::start();
    let topic = "/kept/ws-batch";
    let mut ws = Ws::open(broker.addr);
    ws.subscribe(topic, "live");
    for bad in bad_events() {
        let answer = ws.publish(topic, json!([note(1), bad, note(2)]));
        assert_eq!(answer["op"], "error", "{answer}");
    }
    assert_eq!(broker.head(topic), 0);
    let answer = ws.publish(topic, json!([note(3)]));
    assert_eq!(answer["first_seq"], 1, "{answer}");
    assert_eq!(ws.until("events")["events"][0]["data"]["n"], 3);
}

#[test]
fn p06_a_refused_first_publish_creates_no_topic() {
    let broker = Broker::start();
    broker.refused(&json!({ "topic": "/kept/none", "events": [{ "type": "bad", "data": 1 }] }));
    let page = broker.read("/v1/events?topic=/kept/none");
    assert_eq!(page["epoch"], reader::NOWHERE, "{page}");
    let topics = broker.get("/v1/topics?prefix=/kept").text();
    assert!(!topics.contains("/kept/none"), "{topics}");
}

#[test]
fn p06_an_array_of_bodies_is_atomic_per_body() {
    let broker = Broker::start();
    let bodies = json!([
        { "topic": "/kept/a", "events": [note(1), note(2)] },
        { "topic": "/kept/b", "events": [note(1), { "type": "bad", "data": 1 }] },
        { "topic": "no topic", "events": [note(1)] },
        { "topic": "/kept/a", "events": [note(3)] },
    ]);
    let response = broker.post("/v1/publish", &bodies.to_string());
    assert_eq!(response.status, 200, "{}", response.text());
    let results = response.json();
    assert_eq!(results.as_array().map(Vec::len), Some(4), "{results}");
    assert_eq!(results[0]["status"], 200, "{results}");
    assert_eq!(results[0]["last_seq"], 2, "{results}");
    assert_eq!(results[1]["status"], 400, "{results}");
    assert_eq!(results[1]["code"], "invalid_event", "{results}");
    assert_eq!(results[1]["index"], 1, "{results}");
    assert_eq!(results[2]["status"], 400, "{results}");
    assert_eq!(results[2]["code"], "invalid_topic", "{results}");
    assert_eq!(results[3]["status"], 200, "{results}");
    assert_eq!(
        results[3]["first_seq"], 3,
        "the bodies of one topic keep their order"
    );
    assert_eq!(broker.head("/kept/a"), 3);
    assert_eq!(broker.head("/kept/b"), 0);
}

#[test]
fn p06_a_batch_goes_in_whole_even_if_nobody_waits_for_the_answer() {
    let broker = Broker::start();
    let topic = "/kept/left";
    for round in 0..30 {
        let mut http = broker.http();
        let body = json!({ "topic": topic, "events": events::notes(0..10) }).to_string();
        let length = body.len().to_string();
        let headers = [
            ("content-type", "application/json"),
            ("content-length", length.as_str()),
        ];
        let head = http.head("POST", "/v1/publish", &headers);
        http.wire.send((head + &body).as_bytes());
        if round % 2 == 0 {
            http.wire.cut();
        }
    }
    broker.publish(topic, json!([note(99)]));
    let page = broker.read(&format!("/v1/events?topic={topic}&limit=1000"));
    let numbers: Vec<u64> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["data"]["n"].as_u64().unwrap())
        .filter(|n| *n < 99)
        .collect();
    let ten: Vec<u64> = (0..10).collect();
    assert!(
        numbers.chunks(10).all(|batch| batch == ten),
        "a torn batch: {numbers:?}"
    );
}

#[test]
fn p06_what_readers_saw_stays_in_the_log() {
    let broker = Broker::start();
    let topic = "/kept/seen";
    let mut reader = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("live"),
    );
    let speaker = Speaker::limited(broker.addr, topic, "m", 2_000);
    let seen = reader.until_seq(topic, 1_000).text("m");
    speaker.finish();
    let mut again = Follower::open(Transport::Sse, broker.addr, Ask::topic(topic).from("start"));
    let text = again.until_seq(topic, 2_000).text("m");
    assert!(text.starts_with(&seen));
    said_whole(&text, 2_000);
}
