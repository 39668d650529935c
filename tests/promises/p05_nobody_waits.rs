//! Promise 5: no publish and no other session ever waits on a socket.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

/// Far above any honest answer time on a loaded machine, far below any timeout of the broker's.
const AT_MOST: Duration = Duration::from_secs(3);

fn heavy_note(n: u64) -> serde_json::Value {
    json!({ "type": "note.taken", "data": { "n": n, "filler": "x".repeat(8_000) } })
}

#[test]
fn p05_publishers_and_neighbours_progress_while_fifty_readers_stall() {
    let broker = Broker::start();
    let topic = "/busy/stalled";
    let stalled: Vec<_> = (0..50)
        .map(|n| {
            let ask = Ask::topic(topic).from("live").narrow();
            Follower::open(BOTH[n % 2], broker.addr, ask)
        })
        .collect();
    let neighbours: Vec<_> = BOTH
        .iter()
        .map(|&transport| {
            let ask = Ask::topics(&[topic, "/busy/other"]).from("live");
            let mut reader = Follower::open(transport, broker.addr, ask);
            std::thread::spawn(move || {
                reader.until_seq(topic, 600);
                reader.until_seq("/busy/other", 60);
                reader
            })
        })
        .collect();
    let mut http = broker.http();
    let mut ws = Ws::open(broker.addr);
    for n in 0..600 {
        let begin = Instant::now();
        if n % 2 == 0 {
            http.publish(topic, json!([heavy_note(n)]));
        } else {
            assert_eq!(ws.publish(topic, json!([heavy_note(n)]))["op"], "published");
        }
        if n % 10 == 0 {
            http.publish("/busy/other", json!([note(n)]));
        }
        assert!(
            begin.elapsed() < AT_MOST,
            "publish {n} took {:?}",
            begin.elapsed()
        );
    }
    for neighbour in neighbours {
        let reader = neighbour.join().expect("a neighbour's part");
        assert_eq!(
            reader.reader.view(topic).notes(),
            (0..600).collect::<Vec<_>>()
        );
        assert_eq!(reader.reader.view("/busy/other").notes().len(), 60);
    }
    assert!(
        broker.readers(topic) >= stalled.len() as u64,
        "the stalled are still there"
    );
}

#[test]
fn p05_a_publisher_that_reads_no_answers_delays_nobody() {
    let broker = Broker::start();
    let topic = "/busy/deaf";
    let mut deaf = Ws::open_narrow(broker.addr);
    let publish =
        json!({ "op": "publish", "id": "x".repeat(64), "topic": topic, "events": [note(1)] });
    // It sends until the broker no longer takes its bytes: its window is closed.
    deaf.wire.set_write_patience(Duration::from_millis(300));
    let frame = ws::masked(ws::FIN_TEXT, publish.to_string().as_bytes());
    let mut sent = 0;
    while sent < 400_000 && deaf.wire.try_send(&frame).is_ok() {
        sent += 1;
    }
    assert!(sent < 400_000, "its answers pile up in the broker");
    let mut reader = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("live"),
    );
    let begin = Instant::now();
    let answer = broker.publish(topic, json!([note(777)]));
    let last = answer["last_seq"].as_u64().unwrap();
    assert_eq!(reader.until_seq(topic, last).notes().last(), Some(&777));
    assert!(begin.elapsed() < AT_MOST, "{:?}", begin.elapsed());
}

#[test]
fn p05_half_a_request_delays_nobody() {
    let broker = Broker::start();
    let mut halves: Vec<Http> = (0..20).map(|_| broker.http()).collect();
    for http in &mut halves {
        let headers = [
            ("content-type", "application/json"),
            ("content-length", "1000000"),
        ];
        let head = http.head("POST", "/v1/publish", &headers);
        http.wire.send(head.as_bytes());
        http.wire.send(br#"{"topic":"/busy/half","events":["#);
    }
    let begin = Instant::now();
    broker.publish("/busy/half", json!([note(1)]));
    assert!(begin.elapsed() < AT_MOST, "{:?}", begin.elapsed());
    assert_eq!(broker.head("/busy/half"), 1);
}

/// A reader in the middle of an enormous catch-up leaves the same connection answering commands.
#[test]
fn p05_catching_up_does_not_delay_other_readers() {
    let broker = Broker::start();
    let topic = "/busy/history";
    let mut http = broker.http();
    for n in 0..900 {
        http.publish(topic, json!([heavy_note(n)]));
    }
    let mut joining: Vec<_> = (0..10)
        .map(|n| {
            Follower::open(
                BOTH[n % 2],
                broker.addr,
                Ask::topic(topic).from("start").narrow(),
            )
        })
        .collect();
    let mut live = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("live"),
    );
    let begin = Instant::now();
    http.publish(topic, json!([note(900)]));
    assert_eq!(live.until_seq(topic, 901).notes(), [900]);
    assert!(begin.elapsed() < AT_MOST, "{:?}", begin.elapsed());
    for reader in &mut joining {
        assert_eq!(reader.until_seq(topic, 901).notes().len(), 901);
    }
}
