//! `types`: what a filter lets through, and positions that move over what it does not.

use serde_json::{Value, json};

use crate::support::*;

/// Short heartbeats, as positions over filtered events are told with them.
const BRISK: &str = "[limits]\nping_interval = \"1s\"\nsse_heartbeat = \"1s\"\n";

fn event(kind: &str) -> Value {
    json!({ "type": kind, "data": { "call_id": "c", "memory_id": "m" } })
}

fn kinds(view: &View) -> Vec<&str> {
    view.events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect()
}

#[test]
fn reading_a_filter_admits_exact_names_and_prefixes() {
    let broker = Broker::start();
    let topic = "/filter/names";
    let published = [
        "tool.started",
        "tool.call.deep",
        "toolbox.opened",
        "memory.created",
        "memory.updated",
        "event",
        "memory.created.deep",
        "last.one",
    ];
    let batch: Vec<Value> = published.iter().map(|kind| event(kind)).collect();
    broker.publish(topic, json!(batch));
    let cases: [(&[&'static str], &[&str]); 5] = [
        (
            &["memory.created", "last.one"],
            &["memory.created", "last.one"],
        ),
        (
            &["tool.*", "last.one"],
            &["tool.started", "tool.call.deep", "last.one"],
        ),
        (
            &["memory.created.*", "last.*"],
            &["memory.created.deep", "last.one"],
        ),
        (&["event", "last.one"], &["event", "last.one"]),
        (&["*"], &published),
    ];
    for (types, expected) in cases {
        for transport in ALL {
            let ask = Ask::topic(topic).from("start").types(types);
            let mut reader = Follower::open(transport, broker.addr, ask);
            let view = reader.until_seq(topic, 8);
            assert_eq!(kinds(view), expected, "{transport:?} {types:?}");
        }
    }
}

#[test]
fn reading_a_filter_holds_live() {
    let broker = Broker::start();
    let topic = "/filter/live";
    let mut readers = ALL.map(|transport| {
        let ask = Ask::topic(topic).from("live").types(&["note.*"]);
        Follower::open(transport, broker.addr, ask)
    });
    for n in 0..20 {
        broker.publish(
            topic,
            json!([event("noise.made"), note(n), delta("m", "x")]),
        );
    }
    for reader in &mut readers {
        let view = reader.until_seq(topic, 59);
        assert_eq!(view.notes(), (0..20).collect::<Vec<_>>());
        assert_eq!(view.deltas, 0);
    }
}

#[test]
fn reading_positions_over_filtered_events_are_told_at_the_heartbeat() {
    let broker = Broker::configured(BRISK);
    let topic = "/filter/told";
    let mut readers = ALL.map(|transport| {
        let ask = Ask::topic(topic).from("live").types(&["note.*"]);
        Follower::open(transport, broker.addr, ask)
    });
    broker.publish(topic, json!([note(1)]));
    for _ in 0..50 {
        broker.publish(topic, json!([event("noise.made")]));
    }
    for reader in &mut readers {
        let view = reader.until_seq(topic, 51);
        assert_eq!(view.notes(), [1], "nothing else was sent");
        assert!(!view.partial);
        // Coming back from there is owed only what came after.
        reader.cut();
        reader.come_back();
        assert!(reader.view().resumed);
    }
}

#[test]
fn reading_the_told_position_has_its_shape() {
    let broker = Broker::configured(BRISK);
    let topic = "/filter/shape";
    let mut ws = Ws::open(broker.addr);
    ws.subscribe_with(json!({ "topic": topic, "from": "live", "types": ["note.*"] }));
    let mut sse = Sse::open(
        broker.addr,
        &format!("/v1/sse?topic={topic}&from=live&types=note.*"),
    );
    sse.event();
    let answer = broker.publish(topic, json!([event("noise.made"), event("noise.made")]));
    let epoch = answer["epoch"].as_str().unwrap();
    let frame = ws.expect("events");
    assert_eq!(frame["events"], json!([]), "{frame}");
    assert_eq!(frame["epoch"], epoch, "{frame}");
    assert_eq!(
        (&frame["after"], &frame["upto"]),
        (&json!(0), &json!(2)),
        "{frame}"
    );
    let block = sse.event();
    assert_eq!(
        block.event.as_deref(),
        Some("tidewire.position"),
        "{block:?}"
    );
    assert_eq!(block.kind(), "tidewire.position");
    assert_eq!(block.id, Some(format!("{epoch}:2")));
}

#[test]
fn reading_snapshots_are_sent_only_to_readers_of_deltas() {
    let broker = Broker::start();
    let topic = "/filter/snapshots";
    broker.publish(topic, events::tokens("m", 0..5));
    for (types, wanted) in [
        (&["note.*"][..], 0),
        (&["token.delta", "note.*"], 1),
        (&["token.*", "note.*"], 1),
    ] {
        for transport in ALL {
            let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic).types(types));
            let last = broker.publish(topic, json!([note(1)]));
            let view = reader.until_seq(topic, last["last_seq"].as_u64().unwrap());
            assert_eq!(view.snapshots, wanted, "{transport:?} {types:?}");
        }
    }
}

#[test]
fn reading_readers_are_those_that_admit_deltas() {
    let broker = Broker::start();
    let topic = "/filter/readers";
    broker.publish(topic, json!([note(0)]));
    let _notes = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).types(&["note.*"]),
    );
    assert_eq!(
        broker.readers(topic),
        0,
        "it does not read what an agent says"
    );
    let mut all = Follower::open(Transport::WebSocket, broker.addr, Ask::topic(topic));
    let _deltas = Follower::open(
        Transport::Sse,
        broker.addr,
        Ask::topic(topic).types(&["token.delta"]),
    );
    eventually("two readers", || (broker.readers(topic) == 2).then_some(()));
    all.cut();
    eventually("one reader", || (broker.readers(topic) == 1).then_some(()));
}

/// An agent asks who listens before it has said anything.
#[test]
fn reading_readers_of_a_topic_that_is_not_there_yet_are_counted() {
    let broker = Broker::start();
    let topic = "/filter/unborn";
    let _reader = Follower::open(Transport::WebSocket, broker.addr, Ask::topic(topic));
    eventually("one reader", || (broker.readers(topic) == 1).then_some(()));
    assert_eq!(
        broker.topic(topic)["epoch"],
        reader::NOWHERE,
        "but no topic"
    );
}

#[test]
fn reading_a_filter_has_at_most_thirty_two_names() {
    let broker = Broker::start();
    let names = |count: usize| (0..count).map(|n| format!("a.n{n}")).collect::<Vec<_>>();
    let mut ws = Ws::open(broker.addr);
    let subscribe =
        |types: Vec<String>| json!({ "op": "subscribe", "topic": "/filter/many", "types": types });
    let answer = ws.call(subscribe(names(33)));
    assert_eq!(answer["code"], "invalid_request", "{answer}");
    let answer = ws.call(subscribe(names(32)));
    assert_eq!(answer["op"], "subscribed", "{answer}");
    let target = format!("/v1/sse?topic=/filter/many&types={}", names(33).join(","));
    assert_eq!(broker.get(&target).problem()["code"], "invalid_request");
}

/// A filtered reader that comes back has the position of the last thing it was told, and no event twice.
#[test]
fn reading_a_filtered_reader_resumes_through_cuts() {
    let broker = Broker::start();
    for transport in ALL {
        let topic = format!("/filter/cuts-{transport:?}");
        let ask = Ask::topic(&topic).from("start").types(&["note.*"]);
        let mut reader = Follower::open(transport, broker.addr, ask);
        for n in 0..50 {
            broker.publish(
                &topic,
                json!([event("noise.made"), event("noise.made"), note(n)]),
            );
            if n % 10 == 5 {
                reader.until_seq(&topic, n * 3);
                reader.cut();
                reader.come_back();
            }
        }
        let view = reader.until_seq(&topic, 150);
        assert_eq!(view.notes(), (0..50).collect::<Vec<_>>());
    }
}
