//! `coalesce_ms`: what may be merged, what may not, and what flushes.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::broker::SOON;
use crate::support::*;

/// A WebSocket reader with a merging subscription.
fn merging(broker: &Broker, topic: &str, from: &str, ms: u64) -> Ws {
    let mut ws = Ws::open(broker.addr);
    ws.subscribe_with(json!({ "topic": topic, "from": from, "coalesce_ms": ms }));
    ws
}

/// All events of the `events` frames up to this seq.
fn events_upto(ws: &mut Ws, upto: u64) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let frame = ws.until("events");
        events.extend(frame["events"].as_array().expect("events").clone());
        if frame["upto"].as_u64() >= Some(upto) {
            return events;
        }
    }
}

/// (first, last) seq of each event.
fn spans(events: &[Value]) -> Vec<(u64, u64)> {
    let span = |event: &Value| {
        let seq = event["seq"].as_u64().expect("a seq");
        (event["first_seq"].as_u64().unwrap_or(seq), seq)
    };
    events.iter().map(span).collect()
}

#[test]
fn reading_the_first_delta_goes_at_once_and_then_they_gather() {
    let broker = Broker::start();
    let topic = "/merge/first";
    let mut ws = merging(&broker, topic, "live", 1000);
    let begin = Instant::now();
    broker.publish(topic, events::tokens("m", 0..1));
    assert_eq!(spans(&events_upto(&mut ws, 1)), [(1, 1)]);
    assert!(begin.elapsed() < SOON, "it waited {:?}", begin.elapsed());
    broker.publish(topic, events::tokens("m", 1..6));
    broker.publish(topic, events::tokens("m", 6..10));
    let rest = events_upto(&mut ws, 10);
    assert!(
        begin.elapsed() >= SOON,
        "they did not gather: {:?}",
        begin.elapsed()
    );
    assert_eq!(spans(&rest), [(2, 10)]);
    let merge = &rest[0];
    assert_eq!(merge["type"], "token.delta");
    let text: String = (1..10).map(events::token).collect();
    assert_eq!(merge["data"]["text"], text);
    assert_eq!(merge["data"]["message_id"], "m");
    assert!(merge["time"].is_u64(), "{merge}");
}

#[test]
fn reading_anything_else_flushes_what_has_gathered() {
    let broker = Broker::start();
    let topic = "/merge/flush";
    let mut ws = merging(&broker, topic, "live", 1000);
    let begin = Instant::now();
    broker.publish(topic, events::tokens("m", 0..1));
    assert_eq!(spans(&events_upto(&mut ws, 1)), [(1, 1)]);
    broker.publish(topic, events::tokens("m", 1..10));
    broker.publish(topic, json!([note(1)]));
    let events = events_upto(&mut ws, 11);
    assert!(
        begin.elapsed() < SOON,
        "the note waited {:?}",
        begin.elapsed()
    );
    assert_eq!(spans(&events), [(2, 10), (11, 11)]);
    let begin = Instant::now();
    broker.publish(topic, json!([delta("m", "10—"), completed("m")]));
    let events = events_upto(&mut ws, 13);
    assert!(
        begin.elapsed() < SOON,
        "the end waited {:?}",
        begin.elapsed()
    );
    assert_eq!(spans(&events), [(12, 12), (13, 13)]);
}

#[test]
fn reading_merges_join_only_what_belongs_together() {
    let broker = Broker::start();
    let topic = "/merge/apart";
    let mut ws = merging(&broker, topic, "live", 250);
    let mut with_id = delta("a", "4");
    with_id["id"] = json!("kept");
    let mut with_key = delta("a", "6");
    with_key["data"]["logprob"] = json!(-0.5);
    let batch = json!([
        delta("a", "0"),                            // 1: the first of its message
        delta("a", "1"),                            // 2
        delta("a", "2"),                            // 3
        delta("b", "x"),                            // 4: the first of its message
        delta("b", "y"),                            // 5
        delta("a", "3"),                            // 6: another message than 5
        with_id,                                    // 7: an id
        delta("a", "5"),                            // 8
        with_key,                                   // 9: another key
        events::delta_of("a", "reasoning", 0, "r"), // 10: another kind
        events::delta_of("a", "reasoning", 1, "s"), // 11: another part
        events::delta_of("a", "reasoning", 1, "t"), // 12
        note(1),                                    // 13
    ]);
    broker.publish(topic, batch);
    let events = events_upto(&mut ws, 13);
    // The first delta of a message may go by itself or with what is already there.
    let mut begins: Vec<u64> = spans(&events).iter().map(|span| span.0).collect();
    begins.retain(|seq| *seq != 2 && *seq != 5);
    assert_eq!(begins, [1, 4, 6, 7, 8, 9, 10, 11, 13], "{events:?}");
    let at = |seq: u64| {
        let found = events.iter().find(|event| event["seq"] == seq);
        found.unwrap_or_else(|| panic!("nothing ends at {seq}: {events:?}"))
    };
    assert_eq!(at(7)["id"], "kept");
    assert_eq!(at(9)["data"]["logprob"], -0.5);
    assert_eq!(at(12)["data"]["kind"], "reasoning");
    assert_eq!(at(12)["data"]["part"], 1);
    assert_eq!(at(12)["data"]["text"], "st");
}

#[test]
fn reading_merges_join_one_source_only() {
    let broker = Broker::start();
    let topic = "/merge/source";
    let mut http = broker.http();
    let say = |seq: u64, text: &str| {
        json!({ "topic": topic, "events": [delta("m", text)],
                "producer": { "id": "agent-1", "epoch": 1, "seq": seq } })
    };
    http.publish_body(&say(1, "a"));
    http.publish_body(&say(2, "b"));
    http.publish_body(&say(3, "c"));
    let mut ws = merging(&broker, topic, "start", 100);
    let events = events_upto(&mut ws, 3);
    assert!(
        events.iter().all(|event| event["source"] == "agent-1"),
        "{events:?}"
    );
    let texts: String = events
        .iter()
        .map(|e| e["data"]["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, "abc");
}

#[test]
fn reading_windows_round_up() {
    let broker = Broker::start();
    for (asked, ok) in [(1, true), (20, true), (30, true), (999, true), (0, true)] {
        let mut ws = Ws::open(broker.addr);
        let topic = format!("/merge/round-{asked}");
        let subscribe = json!({ "op": "subscribe", "topic": topic, "coalesce_ms": asked });
        let answer = ws.call(subscribe);
        assert_eq!(answer["op"] == "subscribed", ok, "{answer}");
        broker.publish(&topic, events::tokens("m", 0..5));
        let mut reader = Reader::default();
        reader.frame(&answer);
        while reader.view(&topic).seq < 5 {
            reader.frame(&ws.recv());
        }
        said_whole(&reader.view(&topic).text("m"), 5);
    }
}

#[test]
fn reading_without_a_window_every_event_is_as_published() {
    let broker = Broker::start();
    let topic = "/merge/none";
    let mut live = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("live"),
    );
    Speaker::limited(broker.addr, topic, "m", 3_000).finish();
    let mut behind = Follower::open(Transport::Sse, broker.addr, Ask::topic(topic).from("start"));
    for reader in [&mut live, &mut behind] {
        assert_eq!(reader.until_seq(topic, 3_000).deltas, 3_000);
    }
}

#[test]
fn reading_a_reader_that_is_behind_gets_large_merges() {
    let broker = Broker::start();
    let topic = "/merge/behind";
    let mut http = broker.http();
    let long = "x".repeat(100);
    for _ in 0..10 {
        let batch: Vec<Value> = (0..300).map(|_| delta("m", &long)).collect();
        http.publish(topic, json!(batch));
    }
    http.publish(topic, json!([completed("m")]));
    for transport in ALL {
        let ask = Ask::topic(topic).from("start").coalesce(100);
        let mut reader = Follower::open(transport, broker.addr, ask);
        let view = reader.until_seq(topic, 3_001);
        assert_eq!(view.text("m").len(), 300_000);
        assert!(view.deltas <= 20, "{} merges of 300 KB", view.deltas);
        assert!(view.deltas >= 5, "merges over 64 KiB: only {}", view.deltas);
    }
}

#[test]
fn reading_a_position_inside_a_merge_gets_the_rest_of_it() {
    let broker = Broker::start();
    let topic = "/merge/inside";
    let answer = broker.publish(topic, events::tokens("m", 0..10));
    broker.publish(topic, json!([completed("m")]));
    let epoch = answer["epoch"].as_str().unwrap();
    for seq in 1..10 {
        let mut ws = merging(&broker, topic, &format!("{epoch}:{seq}"), 100);
        let events = events_upto(&mut ws, 11);
        assert_eq!(spans(&events)[0].0, seq + 1, "{events:?}");
        let text: String = events
            .iter()
            .filter_map(|e| e["data"]["text"].as_str())
            .collect();
        assert_eq!(text, (seq..10).map(events::token).collect::<String>());
    }
}

#[test]
fn reading_merges_over_sse_carry_their_last_position() {
    let broker = Broker::start();
    let topic = "/merge/sse";
    let target = format!("/v1/sse?topic={topic}&from=live&coalesce_ms=100");
    let mut sse = Sse::open(broker.addr, &target);
    sse.event();
    broker.publish(topic, events::tokens("m", 0..1));
    let first = sse.event();
    broker.publish(topic, events::tokens("m", 1..6));
    let answer = broker.publish(topic, json!([note(1)]));
    let epoch = answer["epoch"].as_str().unwrap();
    let seen: Vec<(Option<String>, Value)> = [first, sse.event(), sse.event()]
        .into_iter()
        .map(|block| (block.id.clone(), block.json()["first_seq"].clone()))
        .collect();
    let at = |seq: u64| Some(format!("{epoch}:{seq}"));
    assert_eq!(seen[0].0, at(1));
    assert_eq!(seen[1], (at(6), json!(2)));
    assert_eq!(seen[2].0, at(7));
}

/// Two windows on one topic, and none: each reader has the same text in the end.
#[test]
fn reading_windows_of_every_length_tell_the_same_text() {
    let broker = Broker::start();
    let topic = "/merge/all";
    let mut readers: Vec<Follower> = [0, 20, 40, 100, 250]
        .iter()
        .flat_map(|&ms| ALL.map(|transport| (transport, ms)))
        .map(|(transport, ms)| {
            let ask = Ask::topic(topic).from("live").coalesce(ms);
            Follower::open(transport, broker.addr, ask)
        })
        .collect();
    let said = Speaker::limited(broker.addr, topic, "m", 4_000).finish();
    let last = speaker::end(broker.addr, topic, "m");
    for reader in &mut readers {
        let view = reader.until_seq(topic, last);
        said_whole(&view.text("m"), said);
    }
}
