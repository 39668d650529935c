//! Native MessagePack: the same protocol in another encoding. Most promises of reading are shown in it by
//! their own tests (`ALL`); here is what publishers and readers of different encodings see of each other,
//! and what MessagePack can say and JSON cannot.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::msgpack::{answer, array, map, packed, post, unpacked};
use crate::support::ws::{FIN_BINARY, FIN_TEXT, MSGPACK, masked};
use crate::support::*;

const NOT_OUR_PROTOCOL: u16 = 4400;

/// Values of every kind and size that both encodings have.
fn values() -> Value {
    json!([
        null, true, false, 0, 127, 128, 255, 256, 65_535, 65_536, 4_294_967_296u64, u64::MAX, -1, -32,
        -33, -128, -129, -32_769, i64::MIN, 0.5, -1.5, 1e300, 5e-324, "", "ü—😀", "\u{0}\u{1f}\"\\\n",
        "x".repeat(31), "x".repeat(32), "x".repeat(256), "x".repeat(70_000), [], {}, { "": { "é": [] } },
        vec![7; 15], vec![7; 16], vec![7; 70_000],
    ])
}

/// One event for each value.
fn events_of(values: &Value) -> Value {
    let event = |value: &Value| json!({ "type": "note.taken", "data": value });
    values.as_array().unwrap().iter().map(event).collect()
}

/// The `data` of the next events.
fn read_data(ws: &mut Ws, count: usize) -> Vec<Value> {
    let mut read = Vec::new();
    while read.len() < count {
        let frame = ws.until("events");
        let events = frame["events"].as_array().unwrap();
        read.extend(events.iter().map(|event| event["data"].clone()));
    }
    read
}

/// A body with one event whose `data` are these bytes.
fn body_of(topic: &str, data: &[u8]) -> Vec<u8> {
    let event = map(&[("type", &packed(&json!("note.taken"))), ("data", data)]);
    map(&[
        ("topic", &packed(&json!(topic))),
        ("events", &array(&[packed(&note(1)), event])),
    ])
}

/// The same as a frame.
fn frame_of(topic: &str, data: &[u8], id: Value) -> Vec<u8> {
    let mut frame = body_of(topic, data);
    frame[0] += 2;
    for value in [json!("op"), json!("publish"), json!("id"), id] {
        frame.extend(packed(&value));
    }
    frame
}

/// What `data` can be in MessagePack and not in JSON.
fn unsayable() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
    vec![
        ("bin", vec![0xc4, 2, 1, 2]),
        ("bin in a map", vec![0x81, 0xa1, b'k', 0xc4, 0]),
        ("ext", vec![0xc7, 1, 9, 1]),
        ("a timestamp", vec![0xd6, 0xff, 0x65, 0, 0, 0]),
        ("NaN", [&[0xcb][..], &f64::NAN.to_be_bytes()].concat()),
        (
            "infinity",
            [&[0xca][..], &f32::INFINITY.to_be_bytes()].concat(),
        ),
        ("a number as a key", vec![0x81, 5, 1]),
        ("a map as a key", vec![0x81, 0x80, 1]),
        ("a text that is not UTF-8", vec![0xa2, 0xc3, 0x28]),
        ("97 levels", nested(97)),
        ("10,000 levels", nested(10_000)),
    ]
}

/// What no MessagePack reader could go on after.
fn malformed(topic: &str) -> Vec<(&'static str, Vec<u8>)> {
    let good = body_of(topic, &[1]);
    vec![
        ("truncated", good[..good.len() - 1].to_vec()),
        ("trailing bytes", [&good[..], &[0]].concat()),
        ("the reserved marker", body_of(topic, &[0xc1])),
        (
            "4 billion items",
            body_of(topic, &[0xdd, 0xff, 0xff, 0xff, 0xff]),
        ),
        (
            "4 billion members",
            body_of(topic, &[0xdf, 0xff, 0xff, 0xff, 0xff]),
        ),
        (
            "a text of 4 GiB",
            body_of(topic, &[0xdb, 0xff, 0xff, 0xff, 0xff]),
        ),
        ("an array of 4 billion", vec![0xdd, 0xff, 0xff, 0xff, 0xff]),
        ("nesting without an end", vec![0x91; 100_000]),
    ]
}

#[test]
fn wire_msgpack_what_is_published_in_one_encoding_is_read_in_the_other() {
    let broker = Broker::start();
    let values = values();
    let all = values.as_array().unwrap();
    let publish = |way: &str, topic: &str| match way {
        "http-json" => broker.publish(topic, events_of(&values)),
        "http-msgpack" => {
            let body = json!({ "topic": topic, "events": events_of(&values) });
            answer(&post(&mut broker.http(), &packed(&body)))
        }
        "ws-json" => Ws::open(broker.addr).publish(topic, events_of(&values)),
        _ => Ws::open_packed(broker.addr).publish(topic, events_of(&values)),
    };
    for way in ["http-json", "http-msgpack", "ws-json", "ws-msgpack"] {
        let topic = format!("/pack/{way}");
        let mut live = [Ws::open(broker.addr), Ws::open_packed(broker.addr)];
        for ws in &mut live {
            ws.subscribe(&topic, "live");
        }
        let published = publish(way, &topic);
        assert_eq!(published["last_seq"], all.len(), "{way}: {published}");
        let mut late = [Ws::open(broker.addr), Ws::open_packed(broker.addr)];
        for ws in &mut late {
            ws.subscribe(&topic, "start");
        }
        for ws in live.iter_mut().chain(&mut late) {
            let read = read_data(ws, all.len());
            assert_eq!(read, *all, "{way}, packed: {}", ws.packed);
        }
        let mut sse = Sse::open(broker.addr, &format!("/v1/sse?topic={topic}&from=start"));
        sse.event();
        for value in all {
            assert_eq!(sse.event().json()["data"], *value, "{way}");
        }
        let page = broker.read(&format!("/v1/events?topic={topic}&from=start"));
        for (event, value) in page["events"].as_array().unwrap().iter().zip(all) {
            assert_eq!(event["data"], *value, "{way}");
        }
    }
}

/// An `f32` is its value as an `f64`, as JSON and every language have it.
#[test]
fn wire_msgpack_a_short_float_is_its_value() {
    let broker = Broker::start();
    let topic = "/pack/float";
    let data = [&[0xca][..], &0.1f32.to_be_bytes()].concat();
    answer(&post(&mut broker.http(), &body_of(topic, &data)));
    let page = broker.read(&format!("/v1/events?topic={topic}&from=start"));
    assert_eq!(page["events"][1]["data"], f64::from(0.1f32), "{page}");
}

/// One conversation in each encoding: what the frames say is the same, member by member.
#[test]
fn wire_msgpack_every_frame_says_what_it_says_in_json() {
    let broker = Broker::configured(
        "[namespace.small]\nretention_events = 20\n[limits]\nmax_batch_events = 10\n",
    );
    let topic = "/small/frames";
    let epoch = broker.publish(
        topic,
        json!([started("a"), delta("a", "x"), completed("a")]),
    )["epoch"]
        .clone();
    for ten in 0..4 {
        broker.publish(topic, events::notes(ten * 10..ten * 10 + 10));
    }
    broker.publish(topic, json!([started("b"), delta("b", "é\u{1}—"), note(9)]));
    let head = broker.head(topic);
    eventually("retention", || {
        (broker.topic(topic)["first_seq"].as_u64()? > 10).then_some(())
    });
    let commands = [
        json!({ "op": "ping" }),
        json!({ "op": "refresh", "id": 4, "token": "t" }),
        json!({ "op": "dance", "id": "seven" }),
        json!({ "op": "subscribe", "id": u64::MAX, "topic": topic, "from": format!("{}:2", epoch.as_str().unwrap()) }),
        json!({ "op": "subscribe", "id": -5, "topic": topic }),
        json!({ "op": "unsubscribe", "id": "x", "topic": topic }),
        json!({ "op": "subscribe", "id": 5, "topics": [{ "topic": topic, "from": "zzzzzzzz:9" }, { "topic": "bad" }] }),
        json!({ "op": "subscribe", "id": 6, "pattern": "/nobody/**" }),
        json!({ "op": "unsubscribe", "id": 7, "pattern": "/nobody/**" }),
        json!({ "op": "publish", "id": 8, "topic": topic, "events": [{ "type": "a.b" }] }),
        json!({ "op": "publish", "id": 9, "topic": topic, "events": [], "producer": { "id": "p", "epoch": 1 } }),
    ];
    let said = |mut ws: Ws| -> Vec<Value> {
        let mut frames = vec![ws.welcome.clone()];
        frames[0]["session"] = json!("…");
        for command in &commands {
            ws.send(command);
        }
        let mut caught_up = 0;
        while caught_up < 2
            || frames
                .iter()
                .filter(|frame| frame.get("id").is_some())
                .count()
                < 11
        {
            let mut frame = ws.recv();
            caught_up += usize::from(frame["op"] == "events" && frame["upto"] == head);
            let events = frame.get_mut("events").and_then(Value::as_array_mut);
            // a snapshot's time is when it was taken
            for event in events
                .into_iter()
                .flatten()
                .filter(|e| e["type"] == "message.snapshot")
            {
                event["time"] = json!(0);
            }
            frames.push(frame);
        }
        frames.sort_by_key(Value::to_string);
        frames
    };
    let in_json = said(Ws::open(broker.addr));
    let in_msgpack = said(Ws::open_packed(broker.addr));
    for (a, b) in in_json.iter().zip(&in_msgpack) {
        assert_eq!(a, b);
    }
    assert_eq!(in_json.len(), in_msgpack.len());
    for op in [
        "welcome",
        "pong",
        "refreshed",
        "error",
        "subscribed",
        "gap",
        "reset",
        "events",
        "unsubscribed",
        "published",
    ] {
        assert!(
            in_msgpack.iter().any(|frame| frame["op"] == op),
            "no {op} among {in_msgpack:#?}"
        );
    }
}

#[test]
fn wire_msgpack_merges_snapshots_and_compact_messages_are_whole() {
    let broker = Broker::start();
    let topic = "/pack/merged";
    let mut live = Ws::open_packed(broker.addr);
    live.subscribe_with(json!({ "topic": topic, "from": "live", "coalesce_ms": 100 }));
    let mut reader = Reader::default();
    reader.frame(
        &json!({ "op": "subscribed", "topic": topic, "epoch": "00000000", "head": 0,
                          "position": "00000000:0", "resumed": false }),
    );
    broker.publish(topic, events::tokens("m", 0..50));
    broker.publish(topic, json!([completed("m"), started("open")]));
    let head = broker.publish(topic, events::tokens("open", 0..3))["last_seq"]
        .as_u64()
        .unwrap();
    while reader.view(topic).seq < head {
        reader.frame(&live.recv());
    }
    said_whole(&reader.view(topic).text("m"), 50);
    said_whole(&reader.view(topic).text("open"), 3);
    assert!(reader.view(topic).deltas < 53, "nothing was merged");

    let ask = Ask::topic(topic).from("start").compact();
    let mut late = Follower::open(Transport::Packed, broker.addr, ask);
    let view = late.until_whole(topic, head);
    said_whole(&view.text("m"), 50);
    said_whole(&view.text("open"), 3);
    assert_eq!((view.snapshots, view.deltas), (1, 0));
}

/// What agents are told: `attached`, `demand`, `control`.
#[test]
fn wire_msgpack_agents_are_told_in_it() {
    let broker = Broker::start();
    let topic = "/pack/agent";
    broker.publish(
        topic,
        json!([{ "type": "run.steer", "data": { "text": "é" } }]),
    );
    let mut agent = Ws::open_packed(broker.addr);
    agent.send(
        &json!({ "op": "attach", "id": "a", "producer": { "id": "p", "epoch": 3 },
                        "demand": [topic], "control": [topic] }),
    );
    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(agent.recv());
    }
    let of = |op: &str| told.iter().find(|frame| frame["op"] == op);
    let attached = of("attached").expect("attached");
    assert_eq!(
        (&attached["id"], &attached["epoch"]),
        (&json!("a"), &json!(3))
    );
    assert_eq!(of("demand").expect("demand")["readers"], 0);
    let control = of("control").expect("control");
    assert_eq!(control["events"][0]["data"]["text"], "é", "{control}");
    broker.publish(topic, json!([{ "type": "run.cancel", "data": {} }]));
    let control = agent.until("control");
    assert_eq!(control["events"][0]["type"], "run.cancel", "{control}");
}

/// Promise 10 in this encoding: what readers of a place get is the same, byte for byte.
#[test]
fn wire_msgpack_readers_get_the_same_bytes() {
    let broker = Broker::start();
    let topic = "/pack/bytes";
    let mut readers: Vec<Ws> = (0..3).map(|_| Ws::open_packed(broker.addr)).collect();
    for reader in &mut readers {
        reader.subscribe(topic, "live");
    }
    broker.publish(topic, json!([delta("m", "a"), note(1), completed("m")]));
    let deadline = Instant::now() + PATIENCE;
    let frames: Vec<Frame> = readers
        .iter_mut()
        .map(|reader| reader.frame_until(deadline).expect("a frame"))
        .collect();
    let Frame::Binary(bytes) = &frames[0] else {
        panic!("{frames:?}")
    };
    assert_eq!(unpacked(bytes)["upto"], 3);
    assert!(frames.iter().all(|frame| frame == &frames[0]), "{frames:?}");
}

#[test]
fn wire_msgpack_the_first_offer_that_is_spoken_is_chosen() {
    let broker = Broker::start();
    for (offered, chosen) in [
        ("tidewire.v1.msgpack", MSGPACK),
        ("bearer.x, tidewire.v1.msgpack, tidewire.v1.json", MSGPACK),
        ("soap, tidewire.v1.json, tidewire.v1.msgpack", ws::JSON),
    ] {
        let headers = [("sec-websocket-protocol", offered)];
        let wire = wire::Wire::connect(broker.addr);
        let mut ws = Ws::handshake(wire, broker.addr, &headers).expect("an upgrade");
        assert_eq!(ws.packed, chosen == MSGPACK, "{offered}");
        ws.expect("welcome");
    }
}

#[test]
fn wire_msgpack_text_frames_are_not_part_of_it() {
    let mut broker = Broker::start();
    let ping = packed(&json!({ "op": "ping" }));
    for bytes in [
        masked(FIN_TEXT, br#"{"op":"ping"}"#),
        masked(FIN_TEXT, b""),
        masked(FIN_TEXT & 0x7f, b"{"),
        [
            masked(FIN_BINARY & 0x7f, &ping[..1]),
            masked(FIN_BINARY, &ping),
        ]
        .concat(),
    ] {
        let mut ws = Ws::open_packed(broker.addr);
        ws.wire.send(&bytes);
        let error = ws.expect("error");
        assert_eq!(error["code"], "invalid_request", "{error}");
        assert_eq!(ws.closed(), NOT_OUR_PROTOCOL);
    }
    broker.assert_healthy();
}

#[test]
fn wire_msgpack_a_message_in_fragments_is_understood() {
    let broker = Broker::start();
    let mut ws = Ws::open_packed(broker.addr);
    let ping = packed(&json!({ "op": "ping" }));
    ws.send_frame(FIN_BINARY & 0x7f, &ping[..3]);
    ws.send_frame(0x80, &ping[3..]);
    ws.expect("pong");
}

#[test]
fn wire_msgpack_what_json_cannot_say_is_an_invalid_event() {
    let mut broker = Broker::start();
    let topic = "/pack/bad";
    let mut ws = Ws::open_packed(broker.addr);
    for (name, data) in unsayable() {
        let problem = post(&mut broker.http(), &body_of(topic, &data)).problem();
        ws.send_frame(FIN_BINARY, &frame_of(topic, &data, json!(name)));
        let error = ws.expect("error");
        assert_eq!(error["id"], name, "{error}");
        for refused in [&problem, &error] {
            assert_eq!(refused["code"], "invalid_event", "{name}: {refused}");
            assert_eq!(refused["index"], 1, "{name}: {refused}");
            assert_eq!(refused["field"], "data", "{name}: {refused}");
            assert_eq!(refused["topic"], topic, "{name}: {refused}");
        }
    }
    let mut deepest = vec![0x91; 96];
    deepest.push(0xc0);
    assert_eq!(broker.head(topic), 0);
    answer(&post(&mut broker.http(), &body_of(topic, &deepest)));
    broker.assert_healthy();
}

#[test]
fn wire_msgpack_one_bad_body_of_an_array_is_refused_alone() {
    let broker = Broker::start();
    for (at, (name, data)) in unsayable().into_iter().enumerate() {
        let topic = format!("/pack/array-{at}");
        let bodies = array(&[
            body_of(&topic, &[1]),
            body_of(&topic, &data),
            body_of(&topic, &[3]),
        ]);
        let answers = answer(&post(&mut broker.http(), &bodies));
        let statuses: Vec<&Value> = (0..3).map(|at| &answers[at]["status"]).collect();
        assert_eq!(statuses, [200, 400, 200], "{name}: {answers}");
        assert_eq!(answers[1]["code"], "invalid_event", "{name}: {answers}");
        assert_eq!(answers[1]["index"], 1, "{name}: {answers}");
        assert_eq!(answers[2]["last_seq"], 4, "{name}: {answers}");
    }
}

#[test]
fn wire_msgpack_what_is_malformed_is_refused_and_the_connection_lives_on() {
    let mut broker = Broker::start();
    let topic = "/pack/malformed";
    let before = broker.rss_kb();
    let mut ws = Ws::open_packed(broker.addr);
    let outside = map(&[
        ("topic", &packed(&json!(topic))),
        ("events", &[0x90]),
        ("x", &[0xc4, 0]),
    ]);
    let mut all = malformed(topic);
    all.push(("bytes beside the events", outside));
    all.push(("nothing", Vec::new()));
    for (name, body) in all {
        let problem = post(&mut broker.http(), &body).problem();
        assert_eq!(problem["code"], "invalid_request", "{name}: {problem}");
        assert_eq!(problem["field"], "body", "{name}: {problem}");
        ws.send_frame(FIN_BINARY, &body);
        let error = ws.expect("error");
        assert_eq!(error["code"], "invalid_request", "{name}: {error}");
        assert_eq!(error["field"], "frame", "{name}: {error}");
    }
    ws.send(&json!({ "op": "ping" }));
    ws.expect("pong");
    assert_eq!(broker.head(topic), 0);
    let grown = broker.rss_kb().saturating_sub(before);
    assert!(grown < 16 * 1024, "grew by {grown} KiB");
    broker.assert_healthy();
}

/// A control character is one byte here and six in JSON; an event's size is that of its JSON.
#[test]
fn wire_msgpack_sizes_are_those_of_json() {
    let broker = Broker::start();
    let topic = "/pack/sizes";
    let controls = "\u{1}".repeat(50_000);
    let body = json!({ "topic": topic, "events": [{ "type": "note.taken", "data": controls }] });
    let problem = post(&mut broker.http(), &packed(&body)).problem();
    assert_eq!(problem["code"], "too_large", "{problem}");
    let many = json!({ "topic": topic, "events": vec![note(1); 1001] });
    let problem = post(&mut broker.http(), &packed(&many)).problem();
    assert_eq!(problem["code"], "too_many_events", "{problem}");
    let answer = Ws::open_packed(broker.addr).publish(topic, many["events"].clone());
    assert_eq!(answer["code"], "too_many_events", "{answer}");
}

#[test]
fn wire_msgpack_ids_are_echoed_as_they_are() {
    let broker = Broker::start();
    let mut ws = Ws::open_packed(broker.addr);
    for id in [
        json!(0),
        json!(u64::MAX),
        json!(i64::MIN),
        json!("ü\u{1}"),
        json!("x".repeat(64)),
    ] {
        ws.send(&json!({ "op": "publish", "id": id, "topic": "/pack/ids", "events": [note(1)] }));
        assert_eq!(ws.expect("published")["id"], id);
    }
    for id in [json!(1.5), json!(true), json!([1]), json!("x".repeat(65))] {
        ws.send(&json!({ "op": "publish", "id": id, "topic": "/pack/ids", "events": [note(1)] }));
        let error = ws.expect("error");
        assert_eq!(error["code"], "invalid_request", "{error}");
        assert_eq!(error["field"], "id", "{error}");
    }
}

#[test]
fn wire_msgpack_answers_come_in_the_encoding_of_the_body_or_the_one_accepted() {
    let broker = Broker::start();
    let body = json!({ "topic": "/pack/answers", "events": [note(1)] });
    let mut http = broker.http();
    let mut ask = |kind: &str, accept: &str, body: &[u8]| {
        let headers = [("content-type", kind), ("accept", accept)];
        let response = http.request("POST", "/v1/publish", &headers, body);
        assert_eq!(response.status, 200, "{}", response.text());
        let kind = response.header("content-type").unwrap().to_owned();
        let answer = match kind.as_str() {
            "application/json" => response.json(),
            _ => unpacked(&response.body),
        };
        assert_eq!(answer["topic"], "/pack/answers", "{answer}");
        kind
    };
    for kind in [
        "application/msgpack",
        "application/x-msgpack",
        "application/vnd.msgpack",
    ] {
        assert_eq!(ask(kind, "*/*", &packed(&body)), "application/msgpack");
        assert_eq!(
            ask(kind, "application/json", &packed(&body)),
            "application/json"
        );
    }
    let text = body.to_string();
    assert_eq!(
        ask("application/json", "*/*", text.as_bytes()),
        "application/json"
    );
    let accepted = ask("application/json", "application/msgpack", text.as_bytes());
    assert_eq!(accepted, "application/msgpack");
    let problem = post(
        &mut broker.http(),
        &packed(&json!({ "topic": "bad", "events": [] })),
    )
    .problem();
    assert_eq!(problem["code"], "invalid_topic", "{problem}");
}

/// Publishing once (promise 7) is the same publish in either encoding.
#[test]
fn wire_msgpack_a_retry_in_the_other_encoding_is_a_retry() {
    let broker = Broker::start();
    let body = json!({ "topic": "/pack/retry", "events": [note(1)],
                       "producer": { "id": "p", "epoch": 1, "seq": 1 } });
    let first = answer(&post(&mut broker.http(), &packed(&body)));
    assert_eq!(first["duplicate"], false, "{first}");
    let again = broker.http().publish_body(&body);
    assert_eq!(again["duplicate"], true, "{again}");
    assert_eq!(again["first_seq"], first["first_seq"], "{again}");
}
