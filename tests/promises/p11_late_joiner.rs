//! Promise 11: joining late costs what the text costs.

use serde_json::{Value, json};

use crate::support::*;

const DELTAS: u64 = 5_000;

/// 5,000 deltas of one message; its text.
fn say_much(broker: &Broker, topic: &str) -> String {
    let mut http = broker.http();
    for from in (0..DELTAS).step_by(500) {
        http.publish(topic, events::tokens("m", from..from + 500));
    }
    counted(DELTAS)
}

fn affordable(text: &str) -> usize {
    text.len() * 11 / 10 + 1024
}

#[test]
fn p11_joining_a_long_message_over_websocket_costs_its_text() {
    let broker = Broker::start();
    let topic = "/late/ws";
    let text = say_much(&broker, topic);
    let mut ws = Ws::open(broker.addr);
    let welcomed = ws.wire.received;
    ws.send(&json!({ "op": "subscribe", "id": 1, "topic": topic }));
    let mut reader = Reader::default();
    let mut frames = 0;
    while !reader.topics.contains_key(topic) || reader.view(topic).text("m").is_empty() {
        reader.frame(&ws.recv());
        frames += 1;
    }
    assert!(frames <= 3, "{frames} frames");
    let bytes = ws.wire.received - welcomed;
    assert!(
        bytes <= affordable(&text),
        "{bytes} bytes for {} of text",
        text.len()
    );
    assert_eq!(reader.view(topic).text("m"), text);
    broker.publish(topic, events::tokens("m", DELTAS..DELTAS + 1));
    while reader.view(topic).seq <= DELTAS {
        reader.frame(&ws.recv());
    }
    said_whole(&reader.view(topic).text("m"), DELTAS + 1);
}

#[test]
fn p11_joining_a_long_message_over_sse_costs_its_text() {
    let broker = Broker::start();
    let topic = "/late/sse";
    let text = say_much(&broker, topic);
    let mut sse = Sse::open(broker.addr, &format!("/v1/sse?topic={topic}"));
    let mut reader = Reader::default();
    let mut blocks = 0;
    while !reader.topics.contains_key(topic) || reader.view(topic).text("m").is_empty() {
        reader.block(&sse.event());
        blocks += 1;
    }
    assert!(blocks <= 3, "{blocks} blocks");
    assert!(
        sse.body_bytes <= affordable(&text),
        "{} bytes",
        sse.body_bytes
    );
    assert_eq!(reader.view(topic).text("m"), text);
}

#[test]
fn p11_a_compact_replay_has_an_ended_message_as_one_event() {
    let broker = Broker::start();
    let topic = "/late/ended";
    let started = json!({ "type": "message.started",
        "data": { "message_id": "m", "role": "assistant", "agent": "a1" } });
    broker.publish(topic, json!([note(1), started]));
    let text = say_much(&broker, topic);
    broker.publish(topic, json!([completed("m"), note(2)]));
    let head = DELTAS + 4;
    for transport in ALL {
        let ask = Ask::topic(topic).from("start").compact();
        let mut reader = Follower::open(transport, broker.addr, ask);
        let before = reader.wire().received;
        let view = reader.until_seq(topic, head);
        assert_eq!(view.deltas, 0, "{transport:?}");
        assert_eq!(view.seqs(), [1, head - 1, head], "{transport:?}");
        assert_eq!(view.text("m"), text);
        let end = &view.events[1];
        assert_eq!(
            end["data"],
            json!({ "message_id": "m", "finish_reason": "stop" })
        );
        assert_eq!(end["parts"][0]["kind"], "text", "{transport:?}");
        assert_eq!(end["parts"][0]["part"], 0);
        let begun = &end["started"];
        assert!(
            begun.to_string().contains("assistant"),
            "what message.started told: {begun}"
        );
        assert_eq!(view.notes(), [1, 2]);
        let cost = reader.wire().received - before;
        assert!(
            cost <= affordable(&text) + 1024,
            "{transport:?}: {cost} bytes"
        );
    }
}

#[test]
fn p11_raw_and_live_never_carry_parts() {
    let broker = Broker::start();
    let topic = "/late/raw";
    let mut live = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("live"),
    );
    broker.publish(topic, events::tokens("m", 0..3));
    broker.publish(topic, json!([completed("m")]));
    let mut raw = Follower::open(Transport::Sse, broker.addr, Ask::topic(topic).from("start"));
    for reader in [&mut live, &mut raw] {
        let view = reader.until_seq(topic, 4);
        let end = view.events.last().expect("the end event");
        assert!(
            end.get("parts").is_none() && end.get("started").is_none(),
            "{end}"
        );
        said_whole(&view.text("m"), 3);
    }
}

/// A snapshot has one entry per (part, kind), in the order in which they first appeared.
#[test]
fn p11_a_snapshot_has_its_shape() {
    let broker = Broker::start();
    let topic = "/late/shape";
    broker.publish(
        topic,
        json!([
            started("m"),
            events::delta_of("m", "reasoning", 0, "think"),
            events::delta_of("m", "text", 1, "one "),
            events::delta_of("m", "tool_input", 2, "{\"a\":"),
            events::delta_of("m", "text", 0, "zero"),
            events::delta_of("m", "text", 1, "two"),
            events::delta_of("m", "tool_input", 2, "1}"),
        ]),
    );
    let mut ws = Ws::open(broker.addr);
    let subscribed = ws.subscribe(topic, "snapshot");
    let frame = ws.expect("events");
    assert_eq!(frame["upto"], 7, "{frame}");
    assert!(
        frame.get("partial").is_none_or(|partial| partial == false),
        "{frame}"
    );
    let events = frame["events"].as_array().expect("events");
    assert_eq!(events.len(), 1, "{frame}");
    let snapshot = &events[0];
    assert_eq!(snapshot["type"], "message.snapshot");
    assert!(snapshot.get("seq").is_none(), "{snapshot}");
    let data = &snapshot["data"];
    assert_eq!(data["message_id"], "m", "{data}");
    assert_eq!(data["upto"], 7, "{data}");
    assert!(data["started"].to_string().contains("assistant"), "{data}");
    let expected = json!([
        { "part": 0, "kind": "reasoning", "text": "think" },
        { "part": 1, "kind": "text", "text": "one two" },
        { "part": 2, "kind": "tool_input", "text": "{\"a\":1}" },
        { "part": 0, "kind": "text", "text": "zero" },
    ]);
    assert_eq!(data["parts"], expected, "{data}");
    assert_eq!(subscribed["head"], 7, "{subscribed}");
}

#[test]
fn p11_a_joiner_gets_one_snapshot_per_open_message() {
    let broker = Broker::start();
    let topic = "/late/several";
    let batch: Vec<Value> = (0..10)
        .flat_map(|n| ["a", "b", "c"].map(|message| delta(message, &events::token(n))))
        .chain([completed("b")])
        .collect();
    broker.publish(topic, json!(batch));
    for transport in ALL {
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic));
        reader.until("both snapshots", |reader| reader.view(topic).snapshots == 2);
        let view = reader.view();
        said_whole(&view.text("a"), 10);
        said_whole(&view.text("c"), 10);
        assert!(
            !view.messages.contains_key("b"),
            "it ended before the reader came"
        );
    }
}

/// All snapshots of a topic are one cut point: only the last of them carries an id.
#[test]
fn p11_only_the_last_snapshot_has_an_sse_id() {
    let broker = Broker::start();
    let topic = "/late/ids";
    let answer = broker.publish(
        topic,
        json!([delta("a", "x"), delta("b", "y"), delta("c", "z")]),
    );
    let mut sse = Sse::open(broker.addr, &format!("/v1/sse?topic={topic}"));
    sse.event();
    let ids: Vec<Option<String>> = (0..3).map(|_| sse.event().id).collect();
    let whole = format!("{}:3", answer["epoch"].as_str().unwrap());
    assert_eq!(ids, [None, None, Some(whole)]);
}

#[test]
fn p11_a_completed_text_replaces_the_text_of_its_message() {
    let broker = Broker::start();
    let topic = "/late/replaced";
    let end =
        json!({ "type": "message.completed", "data": { "message_id": "m", "text": "final" } });
    let think = events::delta_of("m", "reasoning", 0, "why");
    broker.publish(
        topic,
        json!([think, delta("m", "dra"), delta("m", "ft"), end]),
    );
    for ask in [
        Ask::topic(topic).from("start"),
        Ask::topic(topic).from("start").compact(),
    ] {
        for transport in ALL {
            let mut reader = Follower::open(transport, broker.addr, ask.clone());
            let view = reader.until_seq(topic, 4);
            assert_eq!(view.text("m"), "final");
            assert_eq!(view.message("m").of("reasoning"), "why");
        }
    }
}

/// Over 1 MiB a message loses its beginning; what is left says how much is missing.
#[test]
fn p11_a_very_long_message_says_what_it_omits() {
    let broker = Broker::start();
    let topic = "/late/long";
    let mut http = broker.http();
    let chunk = "é".repeat(30_000);
    let total = 60_000 * 25;
    for _ in 0..25 {
        http.publish(topic, json!([delta("m", &chunk)]));
    }
    for transport in ALL {
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic));
        reader.until("the snapshot", |reader| reader.view(topic).snapshots == 1);
        let part = &reader.view().message("m").parts[0];
        assert!(part.omitted > 0, "1.5 MB are over the bound");
        assert_eq!(part.omitted + part.text.len() as u64, total);
        assert!(
            part.text.len() <= 1 << 20 && part.text.len() > 1 << 18,
            "{}",
            part.text.len()
        );
        assert!(
            part.text.chars().all(|c| c == 'é'),
            "cut on a character's border"
        );
    }
    // A reader that held everything keeps what the snapshot leaves out.
    let mut reader = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("start"),
    );
    reader.until_seq(topic, 25);
    reader.cut();
    let mut held = reader.reader.topics.remove(topic).expect("a view");
    held.partial = true;
    reader.reader.topics.insert(topic.to_owned(), held);
    reader.come_back();
    reader.until("the snapshot", |reader| reader.view(topic).snapshots == 1);
    let part = &reader.view().message("m").parts[0];
    assert_eq!((part.omitted, part.text.len() as u64), (0, total));
}

#[test]
fn p11_open_messages_are_told_by_the_topic() {
    let broker = Broker::start();
    let topic = "/late/open";
    let producer = json!({ "id": "agent-1", "epoch": 1, "seq": 1 });
    let events = json!([note(0), delta("m", "ab"), delta("m", "é")]);
    let body = json!({ "topic": topic, "events": events, "producer": producer });
    let answer = broker.http().publish_body(&body);
    let info = broker.topic(topic);
    assert_eq!(info["topic"], topic);
    assert_eq!(info["epoch"], answer["epoch"]);
    assert_eq!(info["head"], 3);
    assert_eq!(info["first_seq"], 1);
    assert_eq!(info["readers"], 0);
    let open = json!([{ "message_id": "m", "source": "agent-1", "first_seq": 2, "last_seq": 3, "bytes": 4 }]);
    assert_eq!(info["open_messages"], open, "{info}");
    broker.publish(topic, json!([note(1)]));
    let ended = json!({ "topic": topic, "events": [completed("m")],
                        "producer": { "id": "agent-1", "epoch": 1, "seq": 2 } });
    broker.http().publish_body(&ended);
    assert_eq!(broker.topic(topic)["open_messages"], json!([]));
}
