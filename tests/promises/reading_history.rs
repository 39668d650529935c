//! `/v1/events`, `/v1/topic`, `/v1/topics`: history in pages, and what exists.

use serde_json::{Value, json};

use crate::support::*;

/// Reads page after page until nothing more is there.
fn read_all(broker: &Broker, topic: &str, query: &str) -> (Reader, usize) {
    let mut reader = Reader::default();
    let mut from = "start".to_owned();
    let mut http = broker.http();
    for pages in 1.. {
        let target = format!("/v1/events?topic={topic}&from={from}&{query}");
        let page = http.get(&target).json();
        reader.page(&page);
        from = page["position"].as_str().expect("a position").to_owned();
        if page["more"] != true {
            return (reader, pages);
        }
        assert!(pages < 1_000, "pages without end, now at {from}");
    }
    unreachable!("the loop above is bounded")
}

#[test]
fn reading_pages_one_after_another_is_reading_everything() {
    let broker = Broker::start();
    let topic = "/pages/all";
    broker.publish(topic, events::notes(0..45));
    for (limit, expected) in [(1, 45), (7, 7), (45, 1), (100, 1), (1000, 1)] {
        let (reader, pages) = read_all(&broker, topic, &format!("limit={limit}"));
        assert_eq!(
            reader.view(topic).notes(),
            (0..45).collect::<Vec<_>>(),
            "limit {limit}"
        );
        assert_eq!(pages, expected, "limit {limit}");
    }
}

#[test]
fn reading_a_page_has_its_shape() {
    let broker = Broker::start();
    let topic = "/pages/shape";
    let answer = broker.publish(topic, events::notes(0..150));
    let epoch = answer["epoch"].as_str().unwrap();
    let page = broker.read(&format!("/v1/events?topic={topic}"));
    assert_eq!(page["topic"], topic);
    assert_eq!(page["epoch"], epoch);
    assert_eq!(page["head"], 150);
    assert_eq!(page["more"], true);
    assert_eq!(page["position"], format!("{epoch}:100"));
    let events = page["events"].as_array().expect("events");
    assert_eq!(events.len(), 100, "the default limit");
    let first = &events[0];
    assert_eq!(first["seq"], 1);
    assert_eq!(first["type"], "note.taken");
    assert_eq!(first["data"], json!({ "n": 0 }));
    assert!(
        first["time"].as_u64() > Some(1_600_000_000_000),
        "milliseconds: {first}"
    );
    assert!(page.get("gap").is_none_or(Value::is_null), "{page}");
    assert!(page.get("reset").is_none_or(Value::is_null), "{page}");
}

#[test]
fn reading_the_last_events_of_a_topic() {
    let broker = Broker::start();
    let topic = "/pages/last";
    broker.publish(topic, events::notes(0..20));
    let page = broker.read(&format!("/v1/events?topic={topic}&from=last:3"));
    let seqs: Vec<u64> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, [18, 19, 20]);
    for transport in ALL {
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic).from("last:3"));
        assert_eq!(reader.until_seq(topic, 20).notes(), [17, 18, 19]);
        let mut reader =
            Follower::open(transport, broker.addr, Ask::topic(topic).from("last:1000"));
        assert_eq!(
            reader.until_seq(topic, 20).notes(),
            (0..20).collect::<Vec<_>>()
        );
    }
}

#[test]
fn reading_pages_are_bounded_in_bytes_but_never_empty() {
    let broker = Broker::start();
    let topic = "/pages/bytes";
    let event = json!({ "type": "note.taken", "data": { "n": 1, "filler": "x".repeat(200_000) } });
    for _ in 0..12 {
        broker.publish(topic, json!([event]));
    }
    let response = broker.get(&format!("/v1/events?topic={topic}&limit=1000"));
    assert!(
        response.body.len() < 1_400_000,
        "{} bytes",
        response.body.len()
    );
    let (reader, pages) = read_all(&broker, topic, "limit=1000");
    assert_eq!(reader.view(topic).notes().len(), 12);
    assert!((3..=4).contains(&pages), "{pages} pages");
}

#[test]
fn reading_a_page_at_the_head_is_empty() {
    let broker = Broker::start();
    let topic = "/pages/head";
    let answer = broker.publish(topic, events::notes(0..5));
    let position = format!("{}:5", answer["epoch"].as_str().unwrap());
    let page = broker.read(&format!("/v1/events?topic={topic}&from={position}"));
    assert_eq!(page["events"], json!([]));
    assert_eq!(page["more"], false);
    assert_eq!(page["position"], position);
}

#[test]
fn reading_the_compact_page_at_the_head_ends_with_the_snapshots() {
    let broker = Broker::start();
    let topic = "/pages/compact";
    broker.publish(topic, events::tokens("done", 0..50));
    broker.publish(topic, json!([note(0), completed("done")]));
    broker.publish(topic, events::tokens("a", 0..20));
    broker.publish(topic, events::tokens("b", 0..20));
    broker.publish(topic, events::notes(1..6));
    for limit in [1, 2, 100] {
        let (reader, _) = read_all(&broker, topic, &format!("replay=compact&limit={limit}"));
        let view = reader.view(topic);
        assert_eq!(view.seq, 97, "limit {limit}");
        assert_eq!(view.snapshots, 2, "limit {limit}");
        assert_eq!(view.deltas, 0);
        assert!(!view.partial, "whole at the head");
        said_whole(&view.text("done"), 50);
        said_whole(&view.text("a"), 20);
        said_whole(&view.text("b"), 20);
        assert_eq!(view.notes(), [0, 1, 2, 3, 4, 5]);
    }
}

/// A page's position is a cut point: live reading goes on from it.
#[test]
fn reading_goes_on_live_from_a_page() {
    let broker = Broker::start();
    let topic = "/pages/live";
    broker.publish(topic, events::tokens("m", 0..30));
    let page = broker.read(&format!("/v1/events?topic={topic}&limit=10"));
    let position = page["position"].as_str().unwrap();
    for transport in ALL {
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic).from(position));
        let view = reader.until_seq(topic, 30);
        assert_eq!(
            view.text("m"),
            (10..30).map(events::token).collect::<String>()
        );
    }
}

fn names(answer: &Value) -> Vec<String> {
    let name = |entry: &Value| {
        let name = entry.as_str().or(entry["topic"].as_str());
        name.unwrap_or_else(|| panic!("no topic in {entry}"))
            .to_owned()
    };
    let topics = answer["topics"].as_array().expect("topics");
    topics.iter().map(name).collect()
}

#[test]
fn reading_what_topics_there_are() {
    let broker = Broker::start();
    let topics = [
        "/list/a",
        "/list/b",
        "/list/b/c",
        "/list/d",
        "/listing/x",
        "/other/y",
    ];
    for topic in topics {
        broker.publish(topic, json!([note(1)]));
    }
    let read = |query: &str| names(&broker.read(&format!("/v1/topics?{query}")));
    assert_eq!(read("prefix=/list/"), &topics[..4]);
    assert_eq!(read("prefix=/other/"), ["/other/y"]);
    assert_eq!(read("prefix=/none/"), [""; 0]);
    assert_eq!(read(""), topics);
    assert_eq!(read("prefix=/list/&limit=2"), &topics[..2]);
    assert_eq!(read("prefix=/list/&limit=2&after=/list/b"), &topics[2..4]);
}

#[test]
fn reading_creates_no_topic() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    for n in 0..50 {
        ws.subscribe(&format!("/none/{n}"), "start");
        broker.read(&format!("/v1/events?topic=/none/x{n}"));
        broker.topic(&format!("/none/y{n}"));
    }
    assert_eq!(names(&broker.read("/v1/topics?prefix=/none/")), [""; 0]);
}
