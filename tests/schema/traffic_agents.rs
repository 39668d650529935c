//! Agents: what they attach to and hear, the ends that the broker gives their messages, publish streams.

use serde_json::{Value, json};

use crate::recorder::{Line, Recorder};
use crate::support::{Broker, completed, delta, note, started};
use crate::traffic_codes::full_broker;

pub fn record(recorder: &Recorder) {
    attached(recorder);
    ended_by_the_broker(recorder);
    streams(recorder);
    refused_streams(recorder);
    a_stream_to_a_full_broker(recorder);
}

fn attached(recorder: &Recorder) {
    let broker = Broker::start();
    let topic = "/agents/a";
    let mut agent = Line::open(recorder, broker.addr);
    let attach = json!({ "op": "attach", "producer": { "id": "finance-agent", "epoch": 7 }, "lease_ms": 5_000,
                         "demand": [topic], "control": [topic] });
    assert_eq!(agent.call("attached", attach)["epoch"], 7);
    assert_eq!(agent.until("demand")["readers"], 0);
    let mut reader = Line::open(recorder, broker.addr);
    reader.subscribe(topic, "live");
    assert_eq!(agent.until("demand")["readers"], 1);
    agent.publish(topic, json!([started("m"), delta("m", "x")]));
    for kind in ["run.steer", "run.approve", "run.cancel"] {
        reader.publish(
            topic,
            json!([{ "type": kind, "data": { "message_id": "m" } }]),
        );
        let control = agent.until("control");
        let event = &control["events"][0];
        assert_eq!(event["type"], kind, "{control}");
        agent.send(&json!({ "op": "control_ack", "topic": topic, "seq": event["seq"] }));
    }
    let unknown = json!({ "op": "control_ack", "topic": "/agents/other", "seq": 1 });
    agent.send(&unknown);
    agent.until("error");
}

/// `agent_lost`, `replaced` and `timeout` come from the broker.
fn ended_by_the_broker(recorder: &Recorder) {
    let broker = Broker::configured("[limits]\nmessage_idle = \"1s\"\n");
    let topic = "/ended/a";
    let mut reader = Line::open(recorder, broker.addr);
    reader.subscribe(topic, "start");
    let attach = json!({ "op": "attach", "producer": { "id": "agent" }, "lease_ms": 1_000 });
    let mut first = Line::open(recorder, broker.addr);
    first.call("attached", attach.clone());
    first.publish(topic, json!([delta("first", "x")]));
    let mut second = Line::open(recorder, broker.addr);
    second.call("attached", attach);
    until_reason(&mut reader, "replaced");
    second.publish(topic, json!([delta("second", "x")]));
    second.ws.cut();
    until_reason(&mut reader, "agent_lost");
    broker.publish(topic, json!([delta("nobody", "x")]));
    until_reason(&mut reader, "timeout");
}

fn until_reason(reader: &mut Line, reason: &str) {
    loop {
        let frame = reader.until("events");
        let events = frame["events"].as_array().unwrap();
        if events.iter().any(|event| event["data"]["reason"] == reason) {
            return;
        }
    }
}

const NDJSON: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];

fn lines(events: &[Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

fn streams(recorder: &Recorder) {
    let broker = Broker::start();
    let target = "/v1/publish/stream?topic=/stream/a";
    let spoken = [
        started("m"),
        delta("m", "x"),
        completed("m"),
        json!({ "type": "event", "data": null, "id": "one" }),
    ];
    let whole = recorder.stream(
        &broker,
        "POST",
        &format!("{target}&producer_id=p&lease_ms=1000"),
        &NDJSON,
        &spoken,
    );
    assert_eq!(
        (&whole["kept"], &whole["producer_epoch"]),
        (&json!(4), &json!(1)),
        "{whole}"
    );
    let nothing = recorder.stream(&broker, "PUT", target, &[], &[]);
    assert_eq!(nothing["last_seq"], Value::Null, "{nothing}");
    let cut = lines(&[note(1)]) + "{\"type\":\"a.b\",";
    let response = broker
        .http()
        .request("POST", target, &NDJSON, cut.as_bytes());
    recorder.response("POST", target, &response);
    assert_eq!(response.json()["dropped_bytes"], 14, "{}", response.text());
}

fn refused_streams(recorder: &Recorder) {
    let broker = Broker::start();
    let topic = "topic=/stream/b";
    let open: Value = (0..1_024).map(|n| delta(&format!("m{n}"), "x")).collect();
    let (first, rest) = open.as_array().unwrap().split_at(512);
    broker.publish("/stream/b", json!(first));
    broker.publish("/stream/b", json!(rest));
    let by = |epoch: u64| format!("{topic}&producer_id=p&producer_epoch={epoch}");
    recorder.stream(
        &broker,
        "POST",
        &format!("/v1/publish/stream?{}", by(2)),
        &NDJSON,
        &[note(1)],
    );
    let large = json!({ "type": "note.taken", "data": "x".repeat(300 * 1024) });
    let foreign = [("origin", "https://evil.example")];
    let other = [("content-type", "text/html")];
    for (query, headers, event, code, line) in [
        (
            topic,
            &NDJSON,
            json!({ "type": "a.b" }),
            "invalid_event",
            Some(2),
        ),
        (
            topic,
            &NDJSON,
            json!({ "type": "tidewire.x", "data": 1 }),
            "reserved_type",
            Some(2),
        ),
        (topic, &NDJSON, large, "too_large", Some(2)),
        (
            topic,
            &NDJSON,
            delta("new", "x"),
            "too_many_open_messages",
            Some(2),
        ),
        (&by(2), &NDJSON, delta("m1", "x"), "message_owned", Some(2)),
        (&by(1), &NDJSON, note(1), "producer_fenced", None),
        ("topic=chat", &NDJSON, note(1), "invalid_topic", None),
        (topic, &foreign, note(1), "forbidden", None),
        (topic, &other, note(1), "unsupported_media_type", None),
    ] {
        for method in ["POST", "PUT"] {
            let target = format!("/v1/publish/stream?{query}");
            let body = lines(&[note(1), event.clone()]);
            let response = broker
                .http()
                .request(method, &target, headers, body.as_bytes());
            recorder.response(method, &target, &response);
            let problem = response.problem();
            assert_eq!(problem["code"], code, "{problem}");
            if let Some(line) = line {
                assert_eq!(
                    (&problem["line"], &problem["kept"]),
                    (&json!(line), &json!(1)),
                    "{problem}"
                );
            }
        }
    }
}

fn a_stream_to_a_full_broker(recorder: &Recorder) {
    let (broker, _open, _) = full_broker();
    let target = "/v1/publish/stream?topic=/full/a";
    let response = broker
        .http()
        .request("POST", target, &NDJSON, lines(&[note(1)]).as_bytes());
    recorder.response("POST", target, &response);
    assert_eq!(response.problem()["code"], "draining");
}
