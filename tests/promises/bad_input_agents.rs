//! What agents may get wrong: each fault is told, names its field, and the connection lives on.

use serde_json::{Value, json};

use crate::support::agent::{attach, attached, attached_with, metric, try_attach};
use crate::support::*;

/// The error's code and field; the connection answers the next command as if nothing had been.
fn refused(ws: &mut Ws, command: Value) -> (String, String) {
    let answer = ws.call(command.clone());
    assert_eq!(answer["op"], "error", "{command}: {answer}");
    let message = answer["message"].as_str().expect("words");
    assert!(message.len() > 10, "{answer}");
    ws.send(&json!({ "op": "ping" }));
    ws.expect("pong");
    let of = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    (of("code"), of("field"))
}

fn attach_with(key: &str, value: Value) -> Value {
    let mut command = json!({ "op": "attach", "producer": { "id": "a" } });
    command[key] = value;
    command
}

#[test]
fn bad_input_agents_that_attach_twice() {
    let broker = Broker::start();
    let (mut ws, epoch) = attached(broker.addr, "a");
    assert_eq!(attach(&mut ws, json!({ "producer": { "id": "a" } })), epoch);
    let same = json!({ "producer": { "id": "a", "epoch": epoch }, "demand": ["/twice/a"] });
    assert_eq!(attach(&mut ws, same), epoch);
    assert_eq!(ws.until("demand")["readers"], 0);
    for other in [
        json!({ "op": "attach", "producer": { "id": "b" } }),
        json!({ "op": "attach", "producer": { "id": "a", "epoch": epoch + 1 } }),
        json!({ "op": "attach", "producer": { "id": "a", "epoch": epoch - 1 } }),
    ] {
        let (code, field) = refused(&mut ws, other);
        assert_eq!(
            (code.as_str(), field.as_str()),
            ("invalid_request", "producer")
        );
    }
    // it still is who it was, and nobody else came to be
    assert_eq!(ws.publish("/twice/a", json!([note(1)]))["op"], "published");
    assert_eq!(metric(&broker, "tidewire_agents_attached"), 1);
    assert_eq!(attached(broker.addr, "b").1, 1);
}

#[test]
fn bad_input_agents_wrong_types_in_every_field() {
    let mut broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    let odd = [
        json!(true),
        json!(-1),
        json!(1.5),
        json!("1"),
        json!([1]),
        json!({ "x": 1 }),
    ];
    for value in &odd {
        for key in ["producer", "lease_ms", "demand", "control"] {
            let (code, _) = refused(&mut ws, attach_with(key, value.clone()));
            let known = ["invalid_request", "invalid_topic"];
            assert!(known.contains(&code.as_str()), "{key} {value}: {code}");
        }
        let epoch = json!({ "id": "a", "epoch": value });
        assert_eq!(
            refused(&mut ws, attach_with("producer", epoch)).0,
            "invalid_request"
        );
        if !value.is_string() {
            let id = json!({ "id": value });
            assert_eq!(
                refused(&mut ws, attach_with("producer", id)).0,
                "invalid_request"
            );
        }
    }
    let none = json!({ "op": "attach" });
    assert_eq!(
        refused(&mut ws, none),
        ("invalid_request".into(), "producer".into())
    );
    for producer in [json!({}), json!({ "epoch": 1 }), json!(null)] {
        assert_eq!(
            refused(&mut ws, attach_with("producer", producer)).0,
            "invalid_request"
        );
    }
    let huge = json!({ "id": "a", "epoch": 18446744073709551616.0 });
    assert_eq!(
        refused(&mut ws, attach_with("producer", huge)).0,
        "invalid_request"
    );
    // twice the same key, and keys nobody knows
    ws.send_text(r#"{"op":"attach","id":"z","producer":{"id":"a","id":"b"}}"#);
    assert_eq!(ws.recv()["op"], "error");
    assert_eq!(
        attach(
            &mut ws,
            json!({ "producer": { "id": "a", "seq": 9 }, "what": 1 })
        ),
        1
    );
    broker.assert_healthy();
}

#[test]
fn bad_input_agents_leases() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    for lease in [0u64, 1, 999, 600_001, 86_400_000, u64::MAX] {
        let told = refused(&mut ws, attach_with("lease_ms", json!(lease)));
        assert_eq!(
            told,
            ("invalid_request".into(), "lease_ms".into()),
            "{lease}"
        );
        let mut body = agent::heartbeat("/lease/a", "a", 1);
        body["lease_ms"] = json!(lease);
        let problem = broker.refused(&body);
        assert_eq!(problem["code"], "invalid_request", "{lease}: {problem}");
        assert_eq!(problem["field"], "lease_ms", "{lease}: {problem}");
    }
    for (n, lease) in [1000, 600_000].into_iter().enumerate() {
        let (_ws, epoch) = attached_with(
            broker.addr,
            json!({ "producer": { "id": "ok" }, "lease_ms": lease }),
        );
        assert_eq!(epoch, 1 + n as u64);
    }
}

#[test]
fn bad_input_agents_names() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    let long = "é".repeat(129);
    for id in ["", "a\u{0}b", "a\nb", "\u{7f}", "\u{85}", &long] {
        let told = refused(&mut ws, attach_with("producer", json!({ "id": id })));
        assert_eq!(
            told,
            ("invalid_request".into(), "producer.id".into()),
            "{id:?}"
        );
        let problem = broker.refused(&agent::produced("/name/a", id, (1, 1), json!([note(1)])));
        assert_eq!(problem["field"], "producer.id", "{id:?}: {problem}");
    }
    for id in ["é".repeat(128), " ".into(), "a/b ☂ \"quoted\"".into()] {
        let (mut ws, epoch) = attached(broker.addr, &id);
        assert_eq!(epoch, 1, "{id:?}");
        ws.publish("/name/ok", json!([note(1)]));
        let kept = agent::kept(&broker, "/name/ok");
        assert_eq!(kept.last().unwrap()["source"], id);
    }
}

#[test]
fn bad_input_agents_topics() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    let deep = "/a".repeat(9);
    for list in ["demand", "control"] {
        for bad in [
            json!(""),
            json!("nope"),
            json!("/"),
            json!("/a/.."),
            json!("/a/*"),
            json!(deep),
            json!(7),
        ] {
            let (code, _) = refused(&mut ws, attach_with(list, json!(["/fine/a", bad])));
            assert_eq!(code, "invalid_topic", "{list} {bad}");
        }
        let many: Vec<String> = (0..1001).map(|n| format!("/many/{n}")).collect();
        let told = refused(&mut ws, attach_with(list, json!(many)));
        assert_eq!(told, ("invalid_request".into(), list.into()));
    }
    // all of it was refused whole
    assert_eq!(metric(&broker, "tidewire_agents_attached"), 0);
    assert_eq!(attach(&mut ws, json!({ "producer": { "id": "a" } })), 1);
}

#[test]
fn bad_input_agents_more_topics_than_a_connection_has() {
    let broker = Broker::start();
    let limit = Ws::open(broker.addr).welcome["limits"]["max_subscriptions"].clone();
    let limit = limit.as_u64().expect("a limit");
    let topics = |from: u64, to: u64| -> Value {
        (from..to).map(|n| json!(format!("/limit/{n}"))).collect()
    };
    let (mut ws, epoch) = attached_with(
        broker.addr,
        json!({ "producer": { "id": "a" }, "control": topics(0, limit.min(1000)) }),
    );
    for list in ["control", "demand"] {
        if limit > 1000 {
            let more = json!({ "producer": { "id": "a" }, list: topics(1000, limit) });
            assert_eq!(attach(&mut ws, more), epoch);
        }
        let over = json!({ "producer": { "id": "a" }, list: topics(0, 1000) });
        attach(&mut ws, over);
    }
    let over = json!({ "producer": { "id": "a" }, "control": ["/limit/one-too-many"] });
    attach(&mut ws, over);
    let error = ws.until("error");
    assert_eq!(error["code"], "too_many_subscriptions", "{error}");
    assert_eq!(error["topic"], "/limit/one-too-many", "{error}");
    assert_eq!(ws.publish("/limit/0", json!([note(1)]))["op"], "published");
}

#[test]
fn bad_input_agents_acknowledgements() {
    let broker = Broker::start();
    let topic = "/ack/a";
    let cancel = json!([{ "type": "run.cancel", "data": {} }]);
    broker.publish(topic, json!([note(1)]));
    broker.publish(topic, cancel.clone());
    let ack = |topic: &str, seq: Value| json!({ "op": "control_ack", "topic": topic, "seq": seq });
    let error_of = |ws: &mut Ws, command: Value| {
        ws.send(&command);
        let error = ws.until("error");
        (error["code"].as_str().unwrap().to_owned(), error)
    };
    // by one that is no agent
    let mut nobody = Ws::open(broker.addr);
    assert_eq!(
        error_of(&mut nobody, ack(topic, json!(2))).0,
        "invalid_request"
    );
    let (mut ws, _) = attached_with(
        broker.addr,
        json!({ "producer": { "id": "a" }, "control": [topic, "/ack/unborn"] }),
    );
    assert_eq!(ws.until("control")["events"][0]["seq"], 2);
    for (bad, code) in [
        (ack(topic, json!(3)), "invalid_request"),
        (ack(topic, json!(u64::MAX)), "invalid_request"),
        (ack("/ack/unborn", json!(1)), "invalid_request"),
        (ack("/ack/not-followed", json!(1)), "invalid_request"),
        (ack("nope", json!(1)), "invalid_topic"),
        (ack(topic, json!(-1)), "invalid_request"),
        (ack(topic, json!("2")), "invalid_request"),
        (ack(topic, json!(null)), "invalid_request"),
        (json!({ "op": "control_ack", "seq": 2 }), "invalid_topic"),
        (json!({ "op": "control_ack" }), "invalid_topic"),
    ] {
        let (told, error) = error_of(&mut ws, bad.clone());
        if !bad["topic"].is_null() {
            assert_eq!(told, code, "{bad}: {error}");
        }
    }
    // seq 1 was no control event, 0 no event at all: nothing happens
    for seq in [0, 1] {
        ws.send(&ack(topic, json!(seq)));
    }
    ws.send(&json!({ "op": "ping" }));
    ws.expect("pong");
    // nothing of all that took the event away
    let (mut other, _) = attached_with(
        broker.addr,
        json!({ "producer": { "id": "b" }, "control": [topic] }),
    );
    assert_eq!(other.until("control")["events"][0]["seq"], 2);
}

#[test]
fn bad_input_agents_publishes_of_a_producer() {
    let broker = Broker::start();
    let mut http = broker.http();
    for (producer, field) in [
        (json!({ "id": "a" }), "producer.epoch"),
        (json!({ "id": "a", "epoch": 1 }), "producer.seq"),
        (json!({ "id": "a", "epoch": 1, "seq": 0 }), "producer.seq"),
    ] {
        let body = json!({ "topic": "/bad/a", "events": [note(1)], "producer": producer });
        let problem = broker.refused(&body);
        assert_eq!(problem["code"], "invalid_request", "{problem}");
        assert_eq!(problem["field"], field, "{problem}");
    }
    // a heartbeat of nobody is a mistake; one of somebody unknown leaves nothing behind
    let nobody = json!({ "topic": "/bad/a", "events": [] });
    assert_eq!(broker.refused(&nobody)["field"], "events");
    let answer = http.publish_body(&agent::heartbeat("/bad/a", "unknown", 77));
    assert!(answer["last_seq"].is_null(), "{answer}");
    assert_eq!(broker.head("/bad/a"), 0);
    let listed = broker.read("/v1/topics?prefix=/bad");
    assert_eq!(listed["topics"], json!([]), "{listed}");
    assert_eq!(
        try_attach(
            &mut Ws::open(broker.addr),
            json!({ "producer": { "id": "unknown" } })
        )["epoch"],
        1
    );
}
