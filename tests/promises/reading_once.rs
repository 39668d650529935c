//! Long polling: `once=1` ends after the first batch, with the same framing and cursor as a stream.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

fn poll(broker: &Broker, topic: &str, cursor: Option<&str>, wait_ms: u64) -> Sse {
    let from = if cursor.is_some() { "" } else { "&from=start" };
    let target = format!("/v1/sse?topic={topic}&once=1&wait_ms={wait_ms}{from}");
    let headers: Vec<(&str, &str)> = cursor.iter().map(|id| ("last-event-id", *id)).collect();
    Sse::open_with(broker.addr, &target, &headers)
}

#[test]
fn reading_once_gets_what_there_is_and_ends() {
    let broker = Broker::start();
    let topic = "/poll/now";
    broker.publish(topic, events::notes(0..5));
    let begin = Instant::now();
    let mut sse = poll(&broker, topic, None, 20_000);
    let mut reader = Reader::default();
    for block in sse.rest() {
        reader.block(&block);
    }
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "it waited though there was something"
    );
    assert_eq!(reader.view(topic).notes(), [0, 1, 2, 3, 4]);
}

#[test]
fn reading_once_without_a_wait_answers_at_once() {
    let broker = Broker::start();
    let mut sse = poll(&broker, "/poll/empty", None, 0);
    let blocks = sse.rest();
    assert_eq!(blocks.len(), 1, "{blocks:?}");
    assert_eq!(blocks[0].kind(), "tidewire.ready");
    assert!(blocks[0].id.is_some(), "the cursor for the next poll");
}

#[test]
fn reading_once_waits_for_what_comes() {
    let broker = Broker::start();
    let topic = "/poll/wait";
    let epoch = broker.publish(topic, json!([note(0)]))["epoch"]
        .as_str()
        .unwrap()
        .to_owned();
    let begin = Instant::now();
    let mut sse = poll(&broker, topic, Some(&format!("{epoch}:1")), 25_000);
    assert_eq!(
        sse.event().kind(),
        "tidewire.ready",
        "the first block comes at once"
    );
    eventually("the poller to count as a reader", || {
        (broker.readers(topic) == 1).then_some(())
    });
    broker.publish(topic, json!([note(7)]));
    let blocks = sse.rest();
    assert_eq!(blocks.len(), 1, "{blocks:?}");
    assert_eq!(blocks[0].json()["data"]["n"], 7);
    assert!(
        begin.elapsed() < Duration::from_secs(12),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn reading_once_ends_when_its_time_is_over() {
    let broker = Broker::start();
    let begin = Instant::now();
    let mut sse = poll(&broker, "/poll/over", None, 500);
    let blocks = sse.rest();
    assert_eq!(blocks.len(), 1, "{blocks:?}");
    assert!(
        begin.elapsed() >= Duration::from_millis(450),
        "{:?}",
        begin.elapsed()
    );
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn reading_poll_after_poll_loses_nothing() {
    let broker = Broker::start();
    let topic = "/poll/loop";
    let speaker = Speaker::limited(broker.addr, topic, "m", 4_000);
    let mut reader = Reader::default();
    let mut cursor: Option<String> = None;
    let mut polls = 0;
    while !reader.topics.contains_key(topic) || reader.view(topic).seq < 4_000 {
        let mut sse = poll(&broker, topic, cursor.as_deref(), 10_000);
        while let Some(block) = sse.try_event() {
            reader.block(&block);
        }
        cursor = sse.last_id.clone().or(cursor);
        polls += 1;
        assert!(polls <= 5_000, "polls without progress");
    }
    speaker.finish();
    said_whole(&reader.view(topic).text("m"), 4_000);
    assert!(reader.view(topic).gaps.is_empty() && reader.view(topic).resets.is_empty());
}

#[test]
fn reading_once_over_many_topics_uses_one_cursor() {
    let broker = Broker::start();
    broker.publish("/poll/a", json!([note(1)]));
    let target = "/v1/sse?topic=/poll/a&topic=/poll/b&once=1&wait_ms=0";
    let mut sse = Sse::open(broker.addr, &format!("{target}&from=start"));
    let mut reader = Reader::default();
    for block in sse.rest() {
        reader.block(&block);
    }
    assert_eq!(reader.view("/poll/a").notes(), [1]);
    broker.publish("/poll/b", json!([note(2)]));
    let cursor = sse.last_id.expect("a cursor");
    let mut sse = Sse::open_with(broker.addr, target, &[("last-event-id", &cursor)]);
    for block in sse.rest() {
        reader.block(&block);
    }
    assert_eq!(reader.view("/poll/a").notes(), [1], "not again");
    assert_eq!(reader.view("/poll/b").notes(), [2]);
}
