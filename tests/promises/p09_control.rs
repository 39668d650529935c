//! The way back: what clients say to the agents of a topic. Kept for an agent that is not there yet,
//! delivered in order, and never again once it is acknowledged.

use serde_json::{Value, json};

use crate::support::agent::{attach, attached, attached_with, metric, try_attach};
use crate::support::*;

fn control(kind: &str, n: u64) -> Value {
    json!({ "type": format!("run.{kind}"), "data": { "n": n } })
}

fn about(message: &str, n: u64) -> Value {
    json!({ "type": "run.cancel", "data": { "message_id": message, "n": n } })
}

fn following(id: &str, topics: &[&str]) -> Value {
    json!({ "producer": { "id": id }, "control": topics })
}

/// Reads `control` frames of the topic until `count` events have come: them, with their seqs.
fn controls(ws: &mut Ws, topic: &str, count: usize) -> Vec<Value> {
    let mut events = Vec::new();
    while events.len() < count {
        let frame = ws.until("control");
        assert_eq!(frame["topic"], topic, "{frame}");
        assert!(frame["epoch"].is_string(), "{frame}");
        events.extend(frame["events"].as_array().unwrap().clone());
    }
    events
}

fn numbers(events: &[Value]) -> Vec<u64> {
    let numbers = events.iter().map(|event| event["data"]["n"].as_u64());
    numbers.map(Option::unwrap).collect()
}

fn acknowledge(ws: &mut Ws, topic: &str, event: &Value) {
    ws.send(&json!({ "op": "control_ack", "topic": topic, "seq": event["seq"] }));
    settle(ws);
}

/// Everything sent before has been worked on.
fn settle(ws: &mut Ws) {
    ws.send(&json!({ "op": "ping" }));
    ws.until("pong");
}

/// What an agent that attaches now is given at once.
fn given(broker: &Broker, id: &str, topic: &str) -> Vec<u64> {
    let (mut ws, _) = attached_with(broker.addr, following(id, &[topic]));
    // whatever was kept came before the answer to what was asked next
    settle_controls(&mut ws)
}

/// The numbers of all control events that come before the answer to a ping.
fn settle_controls(ws: &mut Ws) -> Vec<u64> {
    ws.send(&json!({ "op": "ping" }));
    let mut found = Vec::new();
    loop {
        let frame = ws.recv();
        match frame["op"].as_str() {
            Some("control") => found.extend(numbers(frame["events"].as_array().unwrap())),
            Some("pong") => return found,
            _ => {}
        }
    }
}

#[test]
fn p09_control_events_reach_an_attached_agent_in_order() {
    let broker = Broker::start();
    let topic = "/control/live";
    let (mut agent, _) = attached_with(broker.addr, following("a", &[topic]));
    agent.publish(topic, json!([delta("m", "x")]));
    let kinds = ["cancel", "steer", "approve", "cancel"];
    for (n, kind) in kinds.iter().enumerate() {
        broker.publish(topic, json!([control(kind, n as u64), note(1)]));
        let event = controls(&mut agent, topic, 1).remove(0);
        assert_eq!(event["type"], format!("run.{kind}"), "{event}");
        assert_eq!(event["data"]["n"], n as u64, "{event}");
        assert_eq!(event["seq"], 2 + 2 * n as u64, "{event}");
        assert!(event["time"].is_u64(), "{event}");
    }
    let many: Value = (0..50).map(|n| control("steer", n)).collect();
    broker.publish(topic, many);
    assert_eq!(
        numbers(&controls(&mut agent, topic, 50)),
        (0..50).collect::<Vec<_>>()
    );
    assert!(metric(&broker, "tidewire_control_kept_total") >= 54);
    eventually("deliveries to be counted", || {
        (metric(&broker, "tidewire_control_delivered_total") == 54).then_some(())
    });
}

#[test]
fn p09_control_events_are_kept_for_an_agent_that_comes_later() {
    let broker = Broker::start();
    let topic = "/control/later";
    let many: Value = (0..70).map(|n| control("steer", n)).collect();
    broker.publish(topic, many);
    // the last 64
    let (mut agent, _) = attached_with(broker.addr, following("a", &[topic]));
    let kept = numbers(&controls(&mut agent, topic, 64));
    assert_eq!(kept, (6..70).collect::<Vec<_>>());
    broker.publish(topic, json!([control("steer", 70)]));
    assert_eq!(numbers(&controls(&mut agent, topic, 1)), [70]);
    eventually("what fell out to be counted", || {
        (metric(&broker, "tidewire_control_expired_total") >= 6).then_some(())
    });
}

#[test]
fn p09_an_acknowledged_control_event_never_comes_again() {
    let broker = Broker::start();
    let topic = "/control/ack";
    broker.publish(topic, (0..4).map(|n| control("steer", n)).collect());
    let (mut agent, _) = attached_with(broker.addr, following("a", &[topic]));
    let events = controls(&mut agent, topic, 4);
    acknowledge(&mut agent, topic, &events[0]);
    acknowledge(&mut agent, topic, &events[2]);
    // twice does no harm
    acknowledge(&mut agent, topic, &events[2]);
    agent.cut();
    assert_eq!(given(&broker, "a", topic), [1, 3], "the same agent, back");
    assert_eq!(given(&broker, "b", topic), [1, 3], "another agent");
    // its readers see them in the log all the same
    assert_eq!(broker.head(topic), 4);
}

#[test]
fn p09_control_events_about_an_ended_message_are_dropped() {
    let broker = Broker::start();
    let topic = "/control/ended";
    broker.publish(topic, json!([delta("m", "x"), delta("n", "x")]));
    broker.publish(
        topic,
        json!([about("m", 0), about("n", 1), control("steer", 2)]),
    );
    broker.publish(topic, json!([completed("m")]));
    assert_eq!(given(&broker, "a", topic), [1, 2]);
    // one that comes too late is of no use either
    broker.publish(topic, json!([about("m", 3)]));
    assert_eq!(given(&broker, "b", topic), [1, 2]);
    // also where the broker ended it
    let (mut lost, _) = attached(broker.addr, "lost");
    lost.publish(topic, json!([delta("hers", "x")]));
    broker.publish(topic, json!([about("hers", 4)]));
    assert_eq!(given(&broker, "c", topic), [1, 2, 4]);
    let (_next, _) = attached(broker.addr, "lost");
    assert_eq!(given(&broker, "d", topic), [1, 2]);
}

/// The same connection may read the topic: its reader is checked as any other.
#[test]
fn p09_control_frames_move_no_position() {
    let broker = Broker::start();
    let topic = "/control/both";
    let (mut agent, _) = attached_with(broker.addr, following("a", &[topic]));
    let mut reader = Reader::default();
    reader.frame(&agent.subscribe(topic, "start"));
    let mut told = Vec::new();
    for n in 0..30u64 {
        broker.publish(
            topic,
            json!([note(n), control("steer", n), delta("m", "x")]),
        );
    }
    while told.len() < 30 || reader.topics[topic].seq < 90 {
        let frame = agent.recv();
        if frame["op"] == "control" {
            assert!(frame.get("after").is_none() && frame.get("upto").is_none());
            told.extend(numbers(frame["events"].as_array().unwrap()));
        } else {
            reader.frame(&frame);
        }
    }
    assert_eq!(told, (0..30).collect::<Vec<_>>());
    let steered = reader.view(topic).events.iter();
    assert_eq!(steered.filter(|e| e["type"] == "run.steer").count(), 30);
    // leaving as a reader does not leave as an agent
    agent.call(json!({ "op": "unsubscribe", "topic": topic }));
    broker.publish(topic, json!([control("cancel", 77)]));
    assert_eq!(numbers(&controls(&mut agent, topic, 1)), [77]);
}

#[test]
fn p09_control_of_a_topic_that_does_not_exist_yet() {
    let broker = Broker::start();
    let topic = "/control/unborn";
    let (mut agent, _) = attached_with(broker.addr, following("a", &[topic]));
    assert_eq!(broker.head(topic), 0, "following makes no topic");
    broker.publish(topic, json!([control("cancel", 1)]));
    assert_eq!(numbers(&controls(&mut agent, topic, 1)), [1]);
}

#[test]
fn p09_control_goes_on_when_a_topic_was_erased() {
    let broker = Broker::start();
    let topic = "/control/erased";
    broker.publish(
        topic,
        json!([note(0), control("steer", 1), control("steer", 2)]),
    );
    let (mut agent, _) = attached_with(broker.addr, following("a", &[topic]));
    let old = controls(&mut agent, topic, 2);
    for round in 10..15u64 {
        assert!(broker.erase(topic).status < 300);
        assert!(given(&broker, "fresh", topic).is_empty());
        broker.publish(topic, json!([control("cancel", round)]));
        let new = controls(&mut agent, topic, 1);
        assert_eq!(numbers(&new), [round]);
        assert_eq!(new[0]["seq"], 1);
        acknowledge(&mut agent, topic, &new[0]);
    }
    // what was delivered of the log before is no longer known here
    agent.send(&json!({ "op": "control_ack", "topic": topic, "seq": old[1]["seq"] }));
    assert_eq!(agent.expect("error")["code"], "invalid_request");
}

#[test]
fn p09_a_further_attach_adds_topics() {
    let broker = Broker::start();
    let (one, two) = ("/control/one", "/control/two");
    broker.publish(two, json!([control("steer", 5)]));
    let (mut agent, epoch) = attached_with(broker.addr, following("a", &[one]));
    assert_eq!(attach(&mut agent, following("a", &[one, two])), epoch);
    assert_eq!(numbers(&controls(&mut agent, two, 1)), [5]);
    // the first is followed once, not twice
    broker.publish(one, json!([control("steer", 6)]));
    assert_eq!(numbers(&controls(&mut agent, one, 1)), [6]);
    assert!(settle_controls(&mut agent).is_empty());
    let named = json!({ "producer": { "id": "a", "epoch": epoch }, "control": ["/control/three"] });
    assert_eq!(attach(&mut agent, named), epoch);
    broker.publish("/control/three", json!([control("steer", 7)]));
    assert_eq!(numbers(&controls(&mut agent, "/control/three", 1)), [7]);
    let other = try_attach(&mut agent, following("b", &[two]));
    assert_eq!(other["code"], "invalid_request", "{other}");
    broker.publish(one, json!([control("steer", 8)]));
    assert_eq!(numbers(&controls(&mut agent, one, 1)), [8]);
}

/// Several agents of one topic: each gets everything that nobody acknowledged before.
#[test]
fn p09_control_events_reach_all_agents_of_a_topic() {
    let broker = Broker::start();
    let topic = "/control/shared";
    let agents = ["a", "b", "c"];
    let mut agents = agents.map(|id| attached_with(broker.addr, following(id, &[topic])).0);
    broker.publish(topic, json!([control("cancel", 1)]));
    for agent in &mut agents {
        let event = controls(agent, topic, 1).remove(0);
        assert_eq!(event["data"]["n"], 1);
        acknowledge(agent, topic, &event);
    }
    assert!(given(&broker, "late", topic).is_empty());
}

/// An agent that does not read costs no more than the last 64 events and its outbox.
#[test]
fn p09_a_flood_of_control_events_keeps_memory_bounded() {
    let broker = Broker::start();
    let topic = "/control/flood";
    let mut agent = Ws::open_narrow(broker.addr);
    attach(&mut agent, following("a", &[topic]));
    let long = "y".repeat(3000);
    let event = json!({ "type": "run.steer", "data": { "long": long } });
    let batch: Value = std::iter::repeat_n(event, 100).collect();
    let body = json!({ "topic": topic, "events": batch });
    let mut http = broker.http();
    // retention bounds the log; from then on nothing may grow
    for _ in 0..60 {
        http.publish_body(&body);
    }
    let before = broker.rss_kb();
    for _ in 0..100 {
        http.publish_body(&body);
    }
    let after = broker.rss_kb();
    assert!(
        after < before + 8 * 1024 + engine_memory_kb(),
        "{before} KiB before, {after} KiB after"
    );
    http.publish_body(&json!({ "topic": topic, "events": [control("cancel", 1)] }));
    // it is behind, but in order, and it hears the last word
    let mut last = 0;
    loop {
        let frame = agent.until("control");
        let events = frame["events"].as_array().unwrap().clone();
        for event in events {
            let seq = event["seq"].as_u64().unwrap();
            assert!(seq > last, "{seq} behind {last}");
            last = seq;
        }
        if last == 16_001 {
            break;
        }
    }
}

#[test]
fn p09_an_agent_that_is_there_gets_all_of_a_burst() {
    let broker = Broker::start();
    let topic = "/control/burst";
    let (mut agent, _) = attached_with(broker.addr, following("a", &[topic]));
    agent.publish(topic, json!([delta("m", "x")]));
    let mut burst = vec![about("m", 0)];
    burst.extend((1..300).map(|n| control("steer", n)));
    broker.publish(topic, Value::from(burst));
    let events = controls(&mut agent, topic, 300);
    assert_eq!(numbers(&events), (0..300).collect::<Vec<_>>());
    // who comes later gets the last ones only
    assert_eq!(given(&broker, "b", topic), (236..300).collect::<Vec<_>>());
}
