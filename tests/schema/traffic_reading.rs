//! WebSocket traffic: every kind of frame and of event, gaps and resets.

use serde_json::{Value, json};
use tidewire::event::event_type::EventType;

use crate::recorder::{Line, Recorder};
use crate::schemas::files;
use crate::support::{Broker, completed, delta, events, eventually, note, started};

/// Twenty events are kept.
const TINY: &str = "
[limits]
max_batch_events = 10
[namespace.tiny]
retention_events = 20
";
/// All logs together have one MiB.
const CRAMPED: &str = "
[limits]
log_bytes = \"1MiB\"
max_event_bytes = \"16KiB\"
max_frame_bytes = \"64KiB\"
max_body_bytes = \"64KiB\"
[defaults]
retention_bytes = \"512KiB\"
";
/// Positions over what a filter left out are told with the heartbeats.
const BRISK: &str = "[limits]\nping_interval = \"1s\"\n";

pub fn record(recorder: &Recorder) {
    every_type(recorder);
    compact_merged_and_partial(recorder);
    omitted(recorder);
    subscriptions(recorder);
    publishes(recorder);
    gap_by_retention(recorder);
    gap_by_memory(recorder);
    resets(recorder);
    position_without_events(recorder);
    draining(recorder);
}

/// The examples of each type's file are published, and read as they are and compact.
fn every_type(recorder: &Recorder) {
    let broker = Broker::start();
    let mut line = Line::open(recorder, broker.addr);
    let topic = "/types/a";
    let mut batch = Vec::new();
    for name in EventType::NAMES {
        let examples = &files()[&format!("events/{name}.json")]["examples"];
        for (at, example) in examples.as_array().unwrap().iter().enumerate() {
            let mut data = example.clone();
            if data.get("message_id").is_some() {
                data["message_id"] = json!(format!("{name}-{at}"));
            }
            batch.push(json!({ "type": name, "data": data }));
        }
    }
    batch.push(json!({ "type": "event", "data": null, "id": "order-9" }));
    batch.push(json!({ "type": "my.own.type", "data": [1, "two", 3.5] }));
    let last = batch.len() as u64;
    let producer = json!({ "id": "finance-agent", "epoch": 1, "seq": 1 });
    line.call(
        "published",
        json!({ "op": "publish", "topic": topic, "events": batch, "producer": producer, "lease_ms": 120_000 }),
    );
    line.subscribe(topic, "start");
    line.until_seq(topic, last);
    let mut compact = Line::open(recorder, broker.addr);
    compact.call(
        "subscribed",
        json!({ "op": "subscribe", "topic": topic, "from": "start", "replay": "compact" }),
    );
    compact.until_seq(topic, last);
}

fn compact_merged_and_partial(recorder: &Recorder) {
    let broker = Broker::start();
    let topic = "/compact/a";
    let of = |message: &str, text: &str| events::delta_of(message, "reasoning", 3, text);
    let batch = json!([
        started("ended"),
        of("ended", "a"),
        of("ended", "b"),
        events::delta_of("ended", "text", 0, "c"),
        completed("ended"),
        started("open"),
        of("open", "d"),
        of("open", "e"),
    ]);
    let producer = json!({ "id": "finance-agent", "epoch": 1, "seq": 1 });
    let mut merged = Line::open(recorder, broker.addr);
    merged.call(
        "published",
        json!({ "op": "publish", "topic": topic, "events": batch, "producer": producer }),
    );
    merged.call(
        "subscribed",
        json!({ "op": "subscribe", "topic": topic, "from": "start", "replay": "raw", "coalesce_ms": 100 }),
    );
    merged.until_seq(topic, 8);
    // more than an outbox holds comes in several frames, partial until the last
    let (filler, mut http) = ("x".repeat(2_000), broker.http());
    for n in 0..100 {
        http.publish(
            topic,
            json!([{ "type": "note.taken", "data": { "n": n, "filler": filler } }]),
        );
    }
    let mut compact = Line::open(recorder, broker.addr);
    compact.call(
        "subscribed",
        json!({ "op": "subscribe", "topic": topic, "from": "start", "replay": "compact" }),
    );
    compact.until_seq(topic, 108);
}

/// A message over its bound loses its beginning.
fn omitted(recorder: &Recorder) {
    let broker = Broker::start();
    let piece = "x".repeat(250_000);
    for _ in 0..5 {
        broker.publish("/long/a", json!([delta("m", &piece)]));
    }
    let mut line = Line::open(recorder, broker.addr);
    line.subscribe("/long/a", "snapshot");
    let frame = line.until("events");
    let part = &frame["events"][0]["data"]["parts"][0];
    assert!(part["omitted"].as_u64() > Some(0), "no text was omitted");
}

fn subscriptions(recorder: &Recorder) {
    let broker = Broker::start();
    let answer = broker.publish("/many/a", json!([note(1)]));
    let epoch = answer["epoch"].as_str().unwrap();
    broker.publish("/many/b", json!([note(1)]));
    let mut line = Line::open(recorder, broker.addr);
    line.send(
        &json!({ "op": "subscribe", "id": 7, "cursor": format!("{epoch}:1"), "from": "start",
        "topics": [{ "topic": "/many/a", "from": "last:1" }, { "topic": "/many/b" }] }),
    );
    line.until("subscribed");
    line.call(
        "unsubscribed",
        json!({ "op": "unsubscribe", "topic": "/many/a" }),
    );
    line.call(
        "unsubscribed",
        json!({ "op": "unsubscribe", "topic": "/many/b" }),
    );
    let pattern = json!({ "op": "subscribe", "pattern": "/many/*", "from": "start", "types": ["note.*"],
        "topics": [{ "topic": "/many/a", "from": format!("{epoch}:1") }] });
    line.call("subscribed", pattern);
    broker.publish("/many/c", json!([note(1)]));
    while line.recv()["topic"] != "/many/c" {}
    line.call(
        "unsubscribed",
        json!({ "op": "unsubscribe", "pattern": "/many/*" }),
    );
    line.subscribe("/many/d", "live");
    line.call("refreshed", json!({ "op": "refresh", "token": "anything" }));
    line.send(&json!({ "op": "ping" }));
    line.until("pong");
}

fn publishes(recorder: &Recorder) {
    let broker = Broker::start();
    let mut line = Line::open(recorder, broker.addr);
    let produced = |seq: u64, events: Value| {
        json!({ "op": "publish", "topic": "/publish/a", "events": events,
                "producer": { "id": "p", "epoch": 1, "seq": seq } })
    };
    line.call("published", produced(1, json!([note(1)])));
    let again = line.call("published", produced(1, json!([note(1)])));
    assert_eq!(again["duplicate"], true, "{again}");
    let renewal = json!({ "op": "publish", "topic": "/publish/a", "events": [], "producer": { "id": "p", "epoch": 1 } });
    let nothing = line.call("published", renewal);
    assert_eq!(nothing["first_seq"], Value::Null, "{nothing}");
}

fn gap_by_retention(recorder: &Recorder) {
    let broker = Broker::configured(TINY);
    let topic = "/tiny/gap";
    let mut answer = Value::Null;
    for ten in 0..10 {
        answer = broker.publish(topic, events::notes(ten * 10..ten * 10 + 10));
    }
    eventually("retention", || {
        (broker.topic(topic)["first_seq"].as_u64()? > 50).then_some(())
    });
    let position = format!("{}:15", answer["epoch"].as_str().unwrap());
    let mut line = Line::open(recorder, broker.addr);
    line.subscribe(topic, &position);
    assert_eq!(line.recv()["op"], "gap");
    line.until_seq(topic, 100);
    let page = recorder.call(
        broker.addr,
        "GET",
        &format!("/v1/events?topic={topic}&from={position}&limit=5"),
        None,
    );
    assert_eq!(page.json()["gap"]["reason"], "retention");
    let stream = format!("/v1/sse?topic={topic}&from={position}");
    let mut sse = crate::support::Sse::open(broker.addr, &stream);
    loop {
        let block = sse.event();
        recorder.block(&block);
        if block.kind() == "tidewire.gap" {
            break;
        }
    }
}

fn gap_by_memory(recorder: &Recorder) {
    let broker = Broker::configured(CRAMPED);
    let filler = "x".repeat(10_000);
    let fill = |topic: &str| {
        let event = json!({ "type": "note.taken", "data": filler });
        broker.publish(topic, json!([event]))
    };
    let answer = fill("/cramped/idle");
    (0..9).for_each(|_| drop(fill("/cramped/idle")));
    let position = format!("{}:1", answer["epoch"].as_str().unwrap());
    eventually("the idlest topic to go first", || {
        (0..20).for_each(|n| drop(fill(&format!("/cramped/busy-{n}"))));
        (broker.topic("/cramped/idle")["first_seq"].as_u64()? > 2).then_some(())
    });
    let mut line = Line::open(recorder, broker.addr);
    line.subscribe("/cramped/idle", &position);
    let gap = line.until("gap");
    assert_eq!(gap["reason"], "memory", "{gap}");
}

fn resets(recorder: &Recorder) {
    let broker = Broker::start();
    let topic = "/reset/a";
    let answer = broker.publish(topic, json!([note(1)]));
    let epoch = answer["epoch"].as_str().unwrap();
    let ahead = format!("{epoch}:9");
    for (from, reason) in [("anotherlife:1", "epoch"), (&ahead, "ahead_of_head")] {
        let mut line = Line::open(recorder, broker.addr);
        let answer = line.subscribe(topic, from);
        assert_eq!(answer["position"], Value::Null, "{answer}");
        assert_eq!(line.until("reset")["reason"], reason);
    }
    let mut line = Line::open(recorder, broker.addr);
    line.call(
        "subscribed",
        json!({ "op": "subscribe", "topics": [{ "topic": topic }], "cursor": "garbage" }),
    );
    assert_eq!(line.until("reset")["reason"], "bad_cursor");
    broker.erase(topic);
    while line.until("reset")["reason"] != "deleted" {}
    let page = recorder.call(
        broker.addr,
        "GET",
        &format!("/v1/events?topic={topic}&from=anotherlife:5"),
        None,
    );
    assert_eq!(page.json()["reset"]["reason"], "epoch");
}

fn position_without_events(recorder: &Recorder) {
    let broker = Broker::configured(BRISK);
    let mut line = Line::open(recorder, broker.addr);
    line.call(
        "subscribed",
        json!({ "op": "subscribe", "topic": "/moved/a", "from": "live", "types": ["other.*"] }),
    );
    broker.publish("/moved/a", json!([note(1)]));
    assert_eq!(line.until("events")["events"], json!([]));
}

fn draining(recorder: &Recorder) {
    let mut broker = Broker::start();
    let mut line = Line::open(recorder, broker.addr);
    let mut sse = crate::support::Sse::open(broker.addr, "/v1/sse?topic=/drain/a");
    recorder.block(&sse.event());
    broker.term();
    line.until("draining");
    let last = sse.rest().pop().expect("a last block");
    recorder.block(&last);
    assert_eq!(last.kind(), "tidewire.draining");
    broker.wait_exit();
}
