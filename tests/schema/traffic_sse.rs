//! Server-sent events: the broker's own blocks, events among them, and what a POST can say.

use serde_json::{Value, json};

use crate::recorder::Recorder;
use crate::schemas::Place;
use crate::support::{Broker, Sse, completed, delta, note, started};

/// Positions over what a filter left out are told with the heartbeats.
const BRISK: &str = "[limits]\nsse_heartbeat = \"1s\"\n";

pub fn record(recorder: &Recorder) {
    streams(recorder);
    posts(recorder);
    positions(recorder);
}

/// Records blocks until one of this type.
fn until(recorder: &Recorder, sse: &mut Sse, kind: &str) -> Value {
    loop {
        let block = sse.event();
        recorder.block(&block);
        if block.kind() == kind {
            return block.json();
        }
    }
}

fn streams(recorder: &Recorder) {
    let broker = Broker::start();
    let topic = "/sse/a";
    let batch = json!([
        started("ended"), delta("ended", "a"), completed("ended"), note(1), started("open"),
        delta("open", "b"), delta("open", "c"),
        { "type": "event", "data": null, "id": "order-9" },
    ]);
    let producer = json!({ "id": "finance-agent", "epoch": 1, "seq": 1 });
    let body = json!({ "topic": topic, "events": batch, "producer": producer });
    broker.http().publish_body(&body);
    for (query, last) in [
        ("from=start", "event"),
        ("from=start&coalesce_ms=20", "event"),
        ("from=start&replay=compact", "message.snapshot"),
        ("from=snapshot&named=0&pad=1", "message.snapshot"),
        ("last_event_id=garbage", "message.snapshot"),
    ] {
        let mut sse = Sse::open(broker.addr, &format!("/v1/sse?topic={topic}&{query}"));
        recorder.streams("GET", &sse);
        until(recorder, &mut sse, last);
    }
    let mut several = Sse::open(
        broker.addr,
        &format!("/v1/sse?topic={topic}&topic=/sse/b&once=1"),
    );
    several
        .rest()
        .iter()
        .for_each(|block| recorder.block(block));
    let mut sse = Sse::open(broker.addr, &format!("/v1/sse?topic={topic}&from=live"));
    until(recorder, &mut sse, "tidewire.ready");
    broker.erase(topic);
    let reset = until(recorder, &mut sse, "tidewire.reset");
    assert_eq!(reset["reason"], "deleted", "{reset}");
}

fn posts(recorder: &Recorder) {
    let broker = Broker::start();
    let answer = broker.publish("/sse/a", json!([note(1)]));
    let position = format!("{}:0", answer["epoch"].as_str().unwrap());
    let whole = json!({
        "topics": [{ "topic": "/sse/a", "from": "start" }, { "topic": "/sse/b" }], "from": "last:3",
        "replay": "raw", "coalesce_ms": 40, "types": ["note.*", "*"], "once": true, "wait_ms": 0, "named": false,
    });
    let resumed =
        json!({ "topics": [{ "topic": "/sse/a" }], "last_event_id": position, "once": true });
    for body in [whole, resumed] {
        let content =
            "openapi.json#/paths/~1v1~1sse/post/requestBody/content/application~1json/schema";
        recorder.said(&Place::parse(content), &body);
        let mut sse = Sse::post(broker.addr, &body, &[]);
        recorder.streams("POST", &sse);
        let blocks = sse.rest();
        assert_eq!(blocks.len(), 2, "ready and the event: {blocks:?}");
        blocks.iter().for_each(|block| recorder.block(block));
    }
}

fn positions(recorder: &Recorder) {
    let broker = Broker::configured(BRISK);
    let mut sse = Sse::open(
        broker.addr,
        "/v1/sse?topic=/moved/a&from=live&types=other.*",
    );
    recorder.block(&sse.event());
    broker.publish("/moved/a", json!([note(1)]));
    until(recorder, &mut sse, "tidewire.position");
}
