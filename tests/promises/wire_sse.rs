//! The event stream: its headers, its first block, its names and its options.

use serde_json::json;

use crate::support::*;

#[test]
fn wire_sse_headers_keep_proxies_from_buffering() {
    let broker = Broker::start();
    let headers = [("accept-encoding", "gzip, br, zstd")];
    let sse = Sse::open_with(broker.addr, "/v1/sse?topic=/wire/head", &headers);
    let head = &sse.head;
    assert_eq!(head.header("cache-control"), Some("no-store"), "{head:?}");
    assert_eq!(head.header("x-accel-buffering"), Some("no"), "{head:?}");
    assert!(head.header("content-encoding").is_none(), "{head:?}");
    assert!(head.header("content-length").is_none(), "{head:?}");
}

#[test]
fn wire_sse_ready_comes_at_once_and_tells_every_topic() {
    let broker = Broker::start();
    let answer = broker.publish("/wire/a", events::notes(0..3));
    let epoch = answer["epoch"].as_str().unwrap();
    let mut sse = Sse::open(broker.addr, "/v1/sse?topic=/wire/a&topic=/wire/b&from=live");
    let ready = sse.event();
    assert_eq!(ready.event.as_deref(), Some("tidewire.ready"));
    assert!(
        ready.id.as_ref().is_some_and(|id| id.len() <= 4096),
        "a cut point: {ready:?}"
    );
    let expected = json!({ "type": "tidewire.ready", "topics": [
        { "topic": "/wire/a", "epoch": epoch, "position": format!("{epoch}:3"), "head": 3, "resumed": false },
        { "topic": "/wire/b", "epoch": reader::NOWHERE, "position": format!("{}:0", reader::NOWHERE),
          "head": 0, "resumed": false },
    ]});
    assert_eq!(ready.json(), expected);
    assert!(sse.retry.is_some_and(|ms| ms > 0), "retry is told early");
}

#[test]
fn wire_sse_retry_is_jittered() {
    let broker = Broker::start();
    let mut told: Vec<u64> = (0..12)
        .map(|n| {
            let mut sse = Sse::open(broker.addr, &format!("/v1/sse?topic=/wire/retry-{n}"));
            sse.event();
            sse.retry.expect("retry is told early")
        })
        .collect();
    told.sort_unstable();
    told.dedup();
    assert!(
        told.len() > 1,
        "all would come back at the same moment: {told:?}"
    );
}

#[test]
fn wire_sse_events_are_named_and_carry_their_topic() {
    let broker = Broker::start();
    let topic = "/wire/named";
    let mut sse = Sse::open(broker.addr, &format!("/v1/sse?topic={topic}&from=live"));
    sse.event();
    let answer = broker.publish(topic, json!([delta("m", "a"), note(1)]));
    let epoch = answer["epoch"].as_str().unwrap();
    for (seq, name) in [(1, "token.delta"), (2, "note.taken")] {
        let block = sse.event();
        assert_eq!(block.event.as_deref(), Some(name));
        assert_eq!(
            block.id,
            Some(format!("{epoch}:{seq}")),
            "with one topic the id is the position"
        );
        let data = block.json();
        assert_eq!(data["topic"], topic, "{data}");
        assert_eq!(data["type"], name, "{data}");
        assert_eq!(data["seq"], seq, "{data}");
        assert!(data["time"].is_u64(), "{data}");
    }
}

#[test]
fn wire_sse_named_off_sends_every_event_as_message() {
    let broker = Broker::start();
    let topic = "/wire/unnamed";
    let mut sse = Sse::open(
        broker.addr,
        &format!("/v1/sse?topic={topic}&from=start&named=0"),
    );
    broker.publish(topic, json!([delta("m", "a"), note(1)]));
    for kind in ["tidewire.ready", "token.delta", "note.taken"] {
        let block = sse.event();
        let name = block.event.as_deref().unwrap_or("message");
        if kind != "tidewire.ready" {
            assert_eq!(name, "message", "{block:?}");
        }
        assert_eq!(block.kind(), kind);
    }
}

#[test]
fn wire_sse_padding_comes_first() {
    let broker = Broker::start();
    let mut sse = Sse::open(broker.addr, "/v1/sse?topic=/wire/pad&pad=1");
    sse.event();
    let padded = sse.body_bytes;
    assert!(padded >= 2048, "{padded} bytes up to the first event");
    let mut sse = Sse::open(broker.addr, "/v1/sse?topic=/wire/pad");
    sse.event();
    assert!(sse.body_bytes < 1024, "no padding unless asked for");
}

#[test]
fn wire_sse_by_post_takes_a_start_for_each_topic() {
    let broker = Broker::start();
    for topic in ["/wire/a", "/wire/b"] {
        broker.publish(topic, events::notes(0..3));
    }
    let body = json!({ "topics": [{ "topic": "/wire/a", "from": "start" }, { "topic": "/wire/b" }],
                       "from": "live", "types": ["note.*"], "coalesce_ms": 20 });
    let mut sse = Sse::post(broker.addr, &body, &[]);
    let mut reader = Reader {
        filtered: true,
        ..Reader::default()
    };
    while reader.topics.is_empty() || reader.view("/wire/a").seq < 3 {
        reader.block(&sse.event());
    }
    broker.publish("/wire/b", json!([note(3)]));
    while reader.view("/wire/b").seq < 4 {
        reader.block(&sse.event());
    }
    assert_eq!(reader.view("/wire/a").notes(), [0, 1, 2]);
    assert_eq!(reader.view("/wire/b").notes(), [3]);
}

#[test]
fn wire_sse_by_post_resumes_by_last_event_id() {
    let broker = Broker::start();
    let topic = "/wire/post";
    let answer = broker.publish(topic, events::notes(0..5));
    let position = format!("{}:3", answer["epoch"].as_str().unwrap());
    let body = json!({ "topics": [{ "topic": topic }], "from": "start" });
    let mut sse = Sse::post(broker.addr, &body, &[("last-event-id", &position)]);
    assert_eq!(sse.event().json()["topics"][0]["resumed"], true);
    assert_eq!(sse.event().json()["seq"], 4);
}

#[test]
fn wire_sse_by_post_refuses_what_is_no_request() {
    let broker = Broker::start();
    for body in ["{}", "[]", r#"{"topics":[]}"#, r#"{"topics":"/a"}"#] {
        assert_eq!(
            broker.post("/v1/sse", body).problem()["code"],
            "invalid_request",
            "{body}"
        );
    }
    let problem = broker.post("/v1/sse", "{").problem();
    assert_eq!(problem["code"], "invalid_json", "{problem}");
    let problem = broker
        .post("/v1/sse", r#"{"topics":[{"topic":"bad"}]}"#)
        .problem();
    assert_eq!(problem["code"], "invalid_topic", "{problem}");
}

#[test]
fn wire_sse_a_cursor_of_a_hundred_topics_fits() {
    let broker = Broker::start();
    let topics: Vec<String> = (0..100)
        .map(|n| format!("/wire/cursor-of-many-topics/topic-{n}"))
        .collect();
    let mut http = broker.http();
    for topic in &topics {
        http.publish(topic, events::notes(0..3));
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut reader = Follower::open(
        Transport::Sse,
        broker.addr,
        Ask::topics(&names).from("start"),
    );
    for topic in &names {
        reader.until_seq(topic, 3);
    }
    let follower::Line::Sse(line) = &reader.line else {
        unreachable!("an SSE follower");
    };
    let cursor = line.last_id.clone().expect("a cursor");
    assert!(cursor.len() <= 4096, "{} bytes", cursor.len());
    for topic in &topics {
        http.publish(topic, json!([note(3)]));
    }
    reader.cut();
    reader.come_back();
    for topic in &names {
        let view = reader.until_seq(topic, 4);
        assert!(view.resumed, "{topic}");
        assert_eq!(view.notes(), [0, 1, 2, 3], "{topic}");
    }
}

#[test]
fn wire_percent_encoded_topics_are_understood() {
    let broker = Broker::start();
    let topic = "/wire/enc:1~x";
    broker.publish(topic, json!([note(1)]));
    let encoded = "%2Fwire%2Fenc%3A1~x";
    assert_eq!(broker.head(encoded), 1);
    let mut sse = Sse::open(broker.addr, &format!("/v1/sse?topic={encoded}&from=start"));
    assert_eq!(sse.event().json()["topics"][0]["topic"], topic);
    assert_eq!(sse.event().json()["data"]["n"], 1);
}
