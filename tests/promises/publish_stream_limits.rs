//! What a publish stream is refused for, and what ends it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent::metric;
use crate::support::*;

fn begin(broker: &Broker, query: &str, headers: &[(&str, &str)]) -> Http {
    let mut http = broker.http();
    let mut all = headers.to_vec();
    all.push(("transfer-encoding", "chunked"));
    let head = http.head("POST", &format!("/v1/publish/stream?{query}"), &all);
    http.wire.send(head.as_bytes());
    http
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

fn refused(broker: &Broker, query: &str) -> serde_json::Value {
    let target = format!("/v1/publish/stream?{query}");
    broker.http().request("POST", &target, &[], b"").problem()
}

#[test]
fn publish_stream_faults_of_the_query() {
    let broker = Broker::start();
    let long = "x".repeat(129);
    let t = "topic=/query/a";
    for (query, code, field) in [
        (String::new(), "invalid_topic", ""),
        ("topic=nope".into(), "invalid_topic", ""),
        (
            format!("{t}&producer_id="),
            "invalid_request",
            "producer_id",
        ),
        (
            format!("{t}&producer_id={long}"),
            "invalid_request",
            "producer_id",
        ),
        (
            format!("{t}&producer_id=a%00b"),
            "invalid_request",
            "producer_id",
        ),
        (
            format!("{t}&producer_epoch=1"),
            "invalid_request",
            "producer_epoch",
        ),
        (format!("{t}&lease_ms=1000"), "invalid_request", "lease_ms"),
        (
            format!("{t}&producer_id=a&producer_epoch=-1"),
            "invalid_request",
            "producer_epoch",
        ),
        (
            format!("{t}&producer_id=a&producer_epoch=x"),
            "invalid_request",
            "producer_epoch",
        ),
        (
            format!("{t}&producer_id=a&lease_ms=999"),
            "invalid_request",
            "lease_ms",
        ),
        (
            format!("{t}&producer_id=a&lease_ms=0"),
            "invalid_request",
            "lease_ms",
        ),
        (
            format!("{t}&producer_id=a&lease_ms=86400000"),
            "invalid_request",
            "lease_ms",
        ),
    ] {
        let problem = refused(&broker, &query);
        assert_eq!(problem["status"], 400, "{query}: {problem}");
        if !field.is_empty() {
            assert_eq!(problem["field"], field, "{query}: {problem}");
            assert_eq!(problem["code"], code, "{query}: {problem}");
        }
    }
    assert_eq!(broker.head("/query/a"), 0);
}

#[test]
fn publish_stream_other_content_types_are_refused() {
    let broker = Broker::start();
    let target = "/v1/publish/stream?topic=/type/a";
    let body = format!("{}\n", note(1));
    let mut last = 0;
    for (kind, welcome) in [
        ("application/x-ndjson", true),
        ("application/x-ndjson; charset=utf-8", true),
        ("APPLICATION/JSONL", true),
        ("text/plain", true),
        ("application/octet-stream", true),
        ("application/x-www-form-urlencoded", false),
        ("multipart/form-data; boundary=x", false),
        ("application/xml", false),
        ("", false),
    ] {
        let headers = [("content-type", kind)];
        let response = broker
            .http()
            .request("POST", target, &headers, body.as_bytes());
        if welcome {
            last += 1;
            assert_eq!(response.status, 200, "{kind}: {}", response.text());
        } else {
            let problem = response.problem();
            assert_eq!(problem["status"], 415, "{kind}: {problem}");
            assert_eq!(problem["code"], "unsupported_media_type", "{problem}");
        }
        assert_eq!(broker.head("/type/a"), last, "{kind}");
    }
    let get = broker.get(target);
    assert_eq!(get.status, 405, "{}", get.text());
}

#[test]
fn publish_stream_that_says_nothing_is_ended() {
    let broker = Broker::set_up(Setup {
        args: vec!["--limits-stream-idle".into(), "1s".into()],
        ..Setup::default()
    });
    let topic = "/idle/stream";
    let mut http = begin(&broker, &format!("topic={topic}"), &[]);
    let started = Instant::now();
    // empty lines keep it open
    let mut empty = 0;
    while started.elapsed() < Duration::from_millis(2300) {
        http.wire.send(&chunk("\n"));
        empty += 1;
        let pause = Instant::now();
        eventually("a breath", || {
            (pause.elapsed() > Duration::from_millis(300)).then_some(())
        });
    }
    http.wire.send(&chunk(&format!("{}\n", note(1))));
    let silent = Instant::now();
    let problem = http.response().problem();
    assert!(
        silent.elapsed() < Duration::from_secs(4),
        "{:?}",
        silent.elapsed()
    );
    assert_eq!(problem["kept"], 1, "{problem} after {empty} empty lines");
    assert_eq!(problem["last_seq"], 1, "{problem}");
    assert!(problem["status"].as_u64().unwrap() < 500, "{problem}");
}

#[test]
fn publish_stream_is_ended_by_draining() {
    let mut broker = Broker::start();
    let topic = "/drain/stream";
    let mut http = begin(&broker, &format!("topic={topic}"), &[]);
    http.wire.send(&chunk(&format!("{}\n", note(1))));
    eventually("the line", || (broker.head(topic) == 1).then_some(()));
    broker.term();
    let problem = http.response().problem();
    assert_eq!(problem["status"], 503, "{problem}");
    assert_eq!(problem["code"], "draining", "{problem}");
    assert_eq!(
        (&problem["kept"], &problem["last_seq"]),
        (&json!(1), &json!(1)),
        "{problem}"
    );
    assert!(problem["retry_after_ms"].is_u64(), "{problem}");
    let status = broker.wait_exit();
    assert!(status.success(), "{status}");
}

/// 300 lines where 100 a second are allowed, and 50 at once: all of them, in two seconds and a half.
#[test]
fn publish_stream_over_the_rate_is_slowed_down_not_refused() {
    let broker = Broker::configured("[namespace.slow]\npublish_rate = 100\npublish_burst = 50\n");
    let topic = "/slow/stream";
    let mut http = begin(&broker, &format!("topic={topic}"), &[]);
    let begin = Instant::now();
    for n in 0..3 {
        let text: String = (n * 100..(n + 1) * 100)
            .map(|n| format!("{}\n", note(n)))
            .collect();
        http.wire.send(&chunk(&text));
    }
    http.wire.send(b"0\r\n\r\n");
    let response = http.response();
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json()["kept"], 300);
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(1800), "{took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    let page = broker.read(&format!("/v1/events?topic={topic}&limit=1000"));
    let numbers: Vec<u64> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["data"]["n"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
}

/// Many streams that come and go leave nothing behind.
#[test]
fn publish_stream_that_are_cut_leave_nothing_open() {
    let mut broker = Broker::start();
    let topic = "/many/streams";
    let mut streams = Vec::new();
    for n in 0..60 {
        let query = format!("topic={topic}&producer_id=p{n}&lease_ms=1000");
        let mut http = begin(&broker, &query, &[]);
        let event = delta(&format!("m{n}"), "x");
        http.wire
            .send(&chunk(&format!("{event}\n{{\"type\":\"tok")));
        streams.push(http);
    }
    eventually("all lines", || (broker.head(topic) == 60).then_some(()));
    streams.into_iter().for_each(|stream| stream.wire.cut());
    eventually("all messages to be ended", || {
        (broker.head(topic) == 120).then_some(())
    });
    for n in 0..60 {
        let reasons = agent::interruptions(&broker, topic, &format!("m{n}"));
        assert_eq!(reasons, ["agent_lost"], "m{n}");
    }
    assert_eq!(metric(&broker, "tidewire_agent_leases_lost_total"), 60);
    broker.assert_healthy();
}
