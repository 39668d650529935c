//! Draining: a broker that is told to stop says so, flushes, and goes.

use serde_json::json;

use crate::support::*;

#[test]
fn operations_draining_tells_every_session_and_exits_well() {
    let mut broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    ws.subscribe("/drain/a", "live");
    let mut sse = Sse::open(broker.addr, "/v1/sse?topic=/drain/a");
    sse.event();
    broker.term();
    let frame = ws.until("draining");
    assert!(frame["reconnect_after_ms"].is_u64(), "{frame}");
    assert_eq!(ws.closed(), 4503);
    let last = sse.rest().pop().expect("a last event");
    assert_eq!(last.event.as_deref(), Some("tidewire.draining"));
    assert_eq!(last.kind(), "tidewire.draining");
    let status = broker.wait_exit();
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn operations_an_interrupt_drains_too() {
    let mut broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    broker.interrupt();
    ws.until("draining");
    assert_eq!(ws.closed(), 4503);
    assert_eq!(broker.wait_exit().code(), Some(0));
}

#[test]
fn operations_draining_with_nobody_there_is_quick() {
    let mut broker = Broker::start();
    let _idle = broker.http();
    broker.term();
    assert_eq!(broker.wait_exit().code(), Some(0));
}

/// What was acknowledged before the end still reaches the readers.
#[test]
fn operations_draining_flushes_what_is_owed() {
    let mut broker = Broker::start();
    let topic = "/drain/owed";
    let mut readers =
        ALL.map(|transport| Follower::open(transport, broker.addr, Ask::topic(topic).from("live")));
    broker.publish(topic, events::notes(0..500));
    broker.term();
    for reader in &mut readers {
        while reader.step().is_some() {}
        assert_eq!(
            reader.view().notes(),
            (0..500).collect::<Vec<_>>(),
            "{:?}",
            reader.transport
        );
        assert!(reader.reader.draining);
    }
    assert_eq!(broker.wait_exit().code(), Some(0));
}

/// A stalled reader holds the draining up until its bound; meanwhile the broker says that it is not ready.
#[test]
fn operations_a_draining_broker_is_not_ready_and_takes_nothing() {
    let mut broker = Broker::configured("drain_timeout = \"4s\"\n");
    let topic = "/drain/busy";
    let _stalled = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("live").narrow(),
    );
    let filler = "x".repeat(50_000);
    for n in 0..100 {
        let event = json!({ "type": "note.taken", "data": { "n": n, "filler": filler } });
        broker.publish(topic, json!([event]));
    }
    let (mut health, mut publisher) = (broker.http(), broker.http());
    let mut ws = Ws::open(broker.addr);
    assert_eq!(health.get("/readyz").status, 200);
    publisher.publish(topic, json!([note(1)]));
    broker.term();
    ws.until("draining");
    // Kept-alive connections are answered once more, or closed; new ones may find nobody.
    health
        .wire
        .send(health.head("GET", "/readyz", &[]).as_bytes());
    if let Some(response) = health.try_response() {
        assert_eq!(response.status, 503, "{}", response.text());
    }
    let body = json!({ "topic": topic, "events": [note(2)] }).to_string();
    let length = body.len().to_string();
    let headers = [
        ("content-type", "application/json"),
        ("content-length", length.as_str()),
    ];
    let head = publisher.head("POST", "/v1/publish", &headers);
    let _ = publisher.wire.try_send((head + &body).as_bytes());
    if let Some(response) = publisher.try_response() {
        let problem = response.problem();
        assert_eq!(problem["code"], "draining", "{problem}");
        assert_eq!(problem["status"], 503, "{problem}");
    }
    assert_eq!(
        broker.wait_exit().code(),
        Some(0),
        "bounded, however long a reader stalls"
    );
}
