//! One world: what clients of AWS AppSync Events publish, everybody else reads, and the reverse.

use serde_json::{Value, json};

use crate::support::appsync::token;
use crate::support::{AppSync, Broker, Sse, Token, Ws};

fn history(broker: &Broker, topic: &str) -> Vec<Value> {
    let page = broker.read(&format!("/v1/events?topic={topic}"));
    page["events"].as_array().expect("events").clone()
}

#[test]
fn appsync_payloads_are_events_of_type_event_byte_for_byte() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/room");
    let payloads = [
        "{\"a\":1}",
        "\"text\"",
        "null",
        "-1.50e3",
        " [1, 2 ,\n\t3 ] ",
        "{\"b\":\"\\u00fc\\\"\\\\ ü 🙂 \\n\",\"a\":{}}",
        "\"\"",
        "{}",
        "{\"data\":1}",
        "{\"type\":\"event\",\"data\":1}",
        "{\"type\":\"token\",\"data\":1}",
        "{\"type\":\"a.b\"}",
        "{\"type\":\"a.b\",\"data\":1,\"more\":2}",
        "{\"type\":\"tidewire.reset\",\"data\":{}}",
        "{\"type\":\"token.delta\",\"data\":{\"text\":1}}",
    ];
    for payload in payloads {
        let answer = client.publish("/default/room", &[payload]);
        assert_eq!(answer["type"], "publish_success", "{payload}: {answer}");
    }
    let mut reader = AppSync::open(broker.addr);
    for kept in history(&broker, "/default/room") {
        assert_eq!(kept["type"], "event", "{kept}");
    }
    let values: Vec<Value> = history(&broker, "/default/room")
        .iter()
        .map(|event| event["data"].clone())
        .collect();
    let published: Vec<Value> = payloads
        .iter()
        .map(|payload| serde_json::from_str(payload).expect("JSON"))
        .collect();
    assert_eq!(values, published);
    reader.subscribe("b", "/default/room");
    let answer = reader.publish("/default/room", &payloads[..5]);
    assert_eq!(answer["type"], "publish_success");
    for payload in &payloads[..5] {
        assert_eq!(reader.data("b"), *payload);
    }
}

#[test]
fn appsync_a_publisher_hears_its_own_payloads_as_they_were() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    let mut reader = AppSync::open(broker.addr);
    reader.subscribe("a", "/default/room");
    for payload in ["{ \"a\" : 1 }", "\"\\u00fc\"", "1e2"] {
        client.publish("/default/room", &[payload]);
        assert_eq!(reader.data("a"), payload);
    }
}

#[test]
fn appsync_an_object_of_type_and_data_is_that_event() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    let mut native = Ws::open(broker.addr);
    native.subscribe("/chat/1", "live");
    client.subscribe("a", "/chat/*");
    let delta = r#"{"type":"token.delta","data":{"message_id":"m","text":"Hel"}}"#;
    let done = r#"{"id":"once","data":{"message_id":"m"},"type":"message.completed"}"#;
    for _ in 0..2 {
        client.publish("/chat/1", &[done]);
    }
    let answer = client.publish("/chat/1", &[delta]);
    assert_eq!(
        answer["errors"][0]["errorType"], "ConflictException",
        "the message has ended"
    );
    let kept = history(&broker, "/chat/1");
    assert_eq!(kept.len(), 1, "the same id is the same event: {kept:?}");
    assert_eq!(kept[0]["type"], "message.completed");
    assert_eq!(kept[0]["id"], "once");
    let events = native.expect("events");
    assert_eq!(events["events"][0]["type"], "message.completed");

    let other = r#"{"type":"token.delta","data":{"message_id":"n","text":"Hel"}}"#;
    client.publish("/chat/1", &[other]);
    let events = native.expect("events");
    assert_eq!(
        events["events"][0]["data"],
        json!({ "message_id": "n", "text": "Hel" })
    );
}

#[test]
fn appsync_other_types_come_as_envelopes_with_topic_and_seq() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/chat/*");
    let events = json!([
        { "type": "token.delta", "data": { "message_id": "m", "text": "H\"i\n" } },
        { "type": "event", "data": { "plain": true } },
        { "type": "memory.created", "id": "x", "data": { "memory_id": "1" } },
    ]);
    broker.publish("/chat/deep/er", events);
    let delta: Value = serde_json::from_str(&client.data("a")).expect("JSON");
    assert_eq!(delta["topic"], "/chat/deep/er");
    assert_eq!(
        (&delta["seq"], &delta["type"]),
        (&json!(1), &json!("token.delta"))
    );
    assert_eq!(delta["data"]["text"], "H\"i\n");
    assert_eq!(client.data("a"), r#"{"plain":true}"#);
    let memory: Value = serde_json::from_str(&client.data("a")).expect("JSON");
    assert_eq!((&memory["seq"], &memory["id"]), (&json!(3), &json!("x")));
}

#[test]
fn appsync_payloads_reach_sse_readers() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.publish("/default/room", &["{\"n\":1}"]);
    let mut sse = Sse::open(broker.addr, "/v1/sse?topic=/default/room&from=start");
    client.publish("/default/room", &["{\"n\":2}"]);
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let block = sse.event();
        if block.kind() == "event" {
            heard.push(block.json()["data"].clone());
        }
    }
    assert_eq!(heard, [json!({ "n": 1 }), json!({ "n": 2 })]);
}

/// Whose right to publish is not good for a type, says it as a payload.
#[test]
fn appsync_a_type_that_its_publisher_may_not_use_is_a_payload() {
    let config = "[namespace.chat]\npublish_types = [\"event\", \"memory.*\"]\n";
    let broker = Broker::guarded(config);
    let ada = Token::of("ada")
        .grant("publish", &["/chat/**"])
        .grant("subscribe", &["/chat/**"])
        .sign();
    let mut client = AppSync::open_as(broker.addr, token(&ada));
    client.subscribe("a", "/chat/1");
    let delta = r#"{"type":"token.delta","data":{"message_id":"m","text":"Hel"}}"#;
    let memory = r#"{"type":"memory.created","data":{"memory_id":"m"}}"#;
    client.send(json!({
        "type": "publish", "id": "p", "channel": "/chat/1", "events": [delta, memory],
        "authorization": token(&ada),
    }));
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let frame = client.recv();
        if frame["type"] == "data" {
            heard.push(frame["event"].as_str().expect("a text").to_owned());
        }
    }
    assert_eq!(heard[0], delta);
    let envelope: Value = serde_json::from_str(&heard[1]).expect("JSON");
    assert_eq!(envelope["type"], "memory.created");
    assert_eq!(
        envelope["source"], "ada",
        "nobody says who they are themselves"
    );

    let none = Broker::guarded("[namespace.chat]\npublish_types = [\"memory.*\"]\n");
    let mut client = AppSync::open_as(none.addr, token(&ada));
    let answer = client.publish("/chat/1", &["1"]);
    assert_eq!(answer["errors"][0]["errorType"], "UnauthorizedException");
}
