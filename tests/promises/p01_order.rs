//! Promise 1: one order. Every reader of a topic sees the same events at the same seqs, without holes.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::support::*;

const PUBLISHERS: u64 = 4;
const EACH: u64 = 250;

/// Publishes notes `(publisher, n)` one by one over HTTP.
fn http_publisher(addr: SocketAddr, topic: &'static str, publisher: u64) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut http = Http::connect(addr);
        for n in 0..EACH {
            http.publish(topic, json!([marked(publisher, n)]));
        }
    })
}

/// The same over a WebSocket, with many publishes in flight; answers must come in order.
fn ws_publisher(addr: SocketAddr, topic: &'static str, publisher: u64) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut ws = Ws::open(addr);
        for n in 0..EACH {
            let events = json!([marked(publisher, n)]);
            ws.send(&json!({ "op": "publish", "id": n, "topic": topic, "events": events }));
        }
        let mut before = 0;
        for n in 0..EACH {
            let answer = ws.expect("published");
            assert_eq!(
                answer["id"], n,
                "answers come in the order of the publishes"
            );
            let seq = answer["first_seq"].as_u64().expect("a seq");
            assert!(seq > before, "{answer}");
            before = seq;
        }
    })
}

fn marked(publisher: u64, n: u64) -> Value {
    json!({ "type": "mark.set", "data": { "publisher": publisher, "n": n } })
}

/// What a reader saw: (seq, publisher, n) of every event.
fn seen(view: &View) -> Vec<(u64, u64, u64)> {
    let number = |value: &Value| value.as_u64().expect("a number");
    let row = |event: &Value| {
        let data = &event["data"];
        (
            number(&event["seq"]),
            number(&data["publisher"]),
            number(&data["n"]),
        )
    };
    view.events.iter().map(row).collect()
}

fn assert_same_order(broker: &Broker, topic: &'static str, publishers: Vec<JoinHandle<()>>) {
    let total = PUBLISHERS * EACH;
    let mut readers: Vec<Follower> = BOTH
        .iter()
        .chain(&BOTH)
        .map(|&transport| Follower::open(transport, broker.addr, Ask::topic(topic).from("start")))
        .collect();
    let orders: Vec<_> = readers
        .iter_mut()
        .map(|reader| seen(reader.until_seq(topic, total)))
        .collect();
    for publisher in publishers {
        publisher.join().expect("a publisher's part");
    }
    let order = &orders[0];
    assert_eq!(order.len() as u64, total);
    assert!(
        order.iter().zip(1..).all(|(row, seq)| row.0 == seq),
        "a hole in the seqs"
    );
    for other in &orders[1..] {
        assert_eq!(order, other, "two readers saw two orders");
    }
    for publisher in 0..PUBLISHERS {
        let own: Vec<u64> = order
            .iter()
            .filter(|r| r.1 == publisher)
            .map(|r| r.2)
            .collect();
        assert_eq!(
            own,
            (0..EACH).collect::<Vec<_>>(),
            "a publisher's own order"
        );
    }
}

#[test]
fn p01_http_publishers_are_seen_in_one_order() {
    let broker = Broker::start();
    let topic = "/order/http";
    let publishers = (0..PUBLISHERS).map(|p| http_publisher(broker.addr, topic, p));
    assert_same_order(&broker, topic, publishers.collect());
}

#[test]
fn p01_websocket_publishers_with_many_in_flight_are_seen_in_one_order() {
    let broker = Broker::start();
    let topic = "/order/ws";
    let publishers = (0..PUBLISHERS).map(|p| ws_publisher(broker.addr, topic, p));
    assert_same_order(&broker, topic, publishers.collect());
}

#[test]
fn p01_publishers_on_both_transports_are_seen_in_one_order() {
    let broker = Broker::start();
    let topic = "/order/both";
    let publishers = vec![
        http_publisher(broker.addr, topic, 0),
        ws_publisher(broker.addr, topic, 1),
        http_publisher(broker.addr, topic, 2),
        ws_publisher(broker.addr, topic, 3),
    ];
    assert_same_order(&broker, topic, publishers);
}

#[test]
fn p01_a_batch_is_contiguous_whoever_else_publishes() {
    let broker = Broker::start();
    let topic = "/order/batches";
    let publishers: Vec<_> = (0..4u64)
        .map(|publisher| {
            let mut http = broker.http();
            std::thread::spawn(move || {
                for batch in 0..40u64 {
                    let events: Value = (0..7).map(|n| marked(publisher, batch * 7 + n)).collect();
                    let answer = http.publish(topic, events);
                    let first = answer["first_seq"].as_u64().expect("a seq");
                    assert_eq!(answer["last_seq"], first + 6, "{answer}");
                }
            })
        })
        .collect();
    let mut reader = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("start"),
    );
    let order = seen(reader.until_seq(topic, 4 * 40 * 7));
    for publisher in publishers {
        publisher.join().expect("a publisher's part");
    }
    for batch in order.chunks(7) {
        let (seq, publisher, n) = batch[0];
        let expected: Vec<_> = (0..7).map(|at| (seq + at, publisher, n + at)).collect();
        assert_eq!(batch, expected, "another publisher's event inside a batch");
    }
}

#[test]
fn p01_each_topic_counts_from_one() {
    let broker = Broker::start();
    for topic in ["/order/one", "/order/two", "/other/one"] {
        let answer = broker.publish(topic, json!([note(1), note(2)]));
        assert_eq!(answer["topic"], topic);
        assert_eq!(answer["first_seq"], 1, "{answer}");
        assert_eq!(answer["last_seq"], 2, "{answer}");
        assert_eq!(answer["duplicate"], false, "{answer}");
        let epoch = answer["epoch"].as_str().expect("an epoch");
        assert!((8..=32).contains(&epoch.len()), "{epoch}");
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(epoch.chars().all(allowed), "{epoch}");
        assert_ne!(epoch, reader::NOWHERE);
    }
}

#[test]
fn p01_a_reader_of_many_topics_sees_each_in_its_order() {
    let broker = Broker::start();
    let topics: Vec<String> = (0..20).map(|n| format!("/order/many-{n}")).collect();
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    for transport in BOTH {
        let mut reader = Follower::open(transport, broker.addr, Ask::topics(&names).from("live"));
        let heads: Vec<u64> = names.iter().map(|topic| broker.head(topic)).collect();
        let mut http = broker.http();
        for n in 0..600u64 {
            http.publish(names[(n * 7 % 20) as usize], json!([note(n)]));
        }
        for (topic, head) in names.iter().zip(heads) {
            let view = reader.until_seq(topic, head + 30);
            assert_eq!(view.events.len(), 30, "{transport:?} {topic}");
        }
    }
}

/// More bodies than a task polls in one go, and less room on the way to topics than they need.
#[test]
fn p01_bodies_of_one_request_keep_their_order() {
    let narrow = "[limits]\ninflight_bytes = \"192KiB\"\nmax_body_bytes = \"192KiB\"\n\
                  max_frame_bytes = \"64KiB\"\nmax_event_bytes = \"32KiB\"\n";
    for config in ["", narrow] {
        let broker = Broker::configured(config);
        let bodies: Vec<Value> = (0..1000)
            .map(|n| {
                let producer = json!({ "id": "p", "epoch": 1, "seq": n + 1 });
                json!({ "topic": "/order/bodies", "events": [note(n)], "producer": producer })
            })
            .collect();
        let answers = broker.post("/v1/publish", &Value::from(bodies).to_string());
        let answers: Vec<Value> = serde_json::from_str(&answers.text()).expect("an array");
        let seqs: Vec<u64> = answers
            .iter()
            .map(|answer| answer["first_seq"].as_u64().unwrap_or_default())
            .collect();
        assert_eq!(seqs, (1..=1000).collect::<Vec<_>>(), "{config}");
    }
}
