//! Patterns: many topics by one subscription, also those that are born later.

use serde_json::{Value, json};

use crate::support::*;

/// Subscribes a pattern; the answer with the `pattern` comes at once.
fn subscribe(ws: &mut Ws, pattern: &str, more: Value) -> Value {
    let mut command = json!({ "op": "subscribe", "pattern": pattern });
    for (key, value) in more.as_object().expect("an object") {
        command[key] = value.clone();
    }
    let answer = ws.call(command);
    assert_eq!(answer["op"], "subscribed", "{answer}");
    assert_eq!(answer["pattern"], pattern, "{answer}");
    answer
}

/// Reads until the condition holds.
fn read_until(ws: &mut Ws, reader: &mut Reader, mut holds: impl FnMut(&Reader) -> bool) {
    while !holds(reader) {
        reader.frame(&ws.recv());
    }
}

fn has_notes(reader: &Reader, topic: &str, count: usize) -> bool {
    reader
        .topics
        .get(topic)
        .is_some_and(|view| view.notes().len() >= count)
}

#[test]
fn reading_a_star_is_one_segment() {
    let broker = Broker::start();
    for topic in ["/stars/a", "/stars/b", "/stars/a/deep", "/other/a"] {
        broker.publish(topic, json!([note(1)]));
    }
    let mut ws = Ws::open(broker.addr);
    subscribe(&mut ws, "/stars/*", json!({ "from": "start" }));
    let mut reader = Reader::default();
    read_until(&mut ws, &mut reader, |r| {
        has_notes(r, "/stars/a", 1) && has_notes(r, "/stars/b", 1)
    });
    for topic in ["/stars/a/deep", "/other/a", "/stars/b"] {
        broker.publish(topic, json!([note(2)]));
    }
    read_until(&mut ws, &mut reader, |r| has_notes(r, "/stars/b", 2));
    let known: Vec<&String> = reader.topics.keys().collect();
    assert_eq!(known, ["/stars/a", "/stars/b"]);
}

#[test]
fn reading_two_stars_are_any_depth() {
    let broker = Broker::start();
    let topics = ["/deep/a", "/deep/a/b", "/deep/a/b/c/d/e/f/g"];
    for topic in topics {
        broker.publish(topic, json!([note(1)]));
    }
    broker.publish("/deeper/x", json!([note(1)]));
    let mut ws = Ws::open(broker.addr);
    subscribe(&mut ws, "/deep/**", json!({ "from": "start" }));
    let mut reader = Reader::default();
    read_until(&mut ws, &mut reader, |r| {
        topics.iter().all(|topic| has_notes(r, topic, 1))
    });
    assert_eq!(reader.topics.len(), 3);
}

#[test]
fn reading_a_topic_born_later_starts_at_zero() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    subscribe(&mut ws, "/born/*", json!({}));
    let answer = broker.publish("/born/later", events::notes(0..5));
    let subscribed = ws.until("subscribed");
    assert_eq!(subscribed["topic"], "/born/later", "{subscribed}");
    let epoch = answer["epoch"].as_str().unwrap();
    let mut reader = Reader::default();
    reader.frame(&subscribed);
    assert_eq!(reader.view("/born/later").seq, 0, "{subscribed}");
    read_until(&mut ws, &mut reader, |r| has_notes(r, "/born/later", 5));
    assert_eq!(reader.view("/born/later").epoch, epoch);
    assert!(reader.view("/born/later").resets.is_empty());
}

#[test]
fn reading_many_topics_born_at_full_speed_misses_none() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    let publishers: Vec<_> = (0..3)
        .map(|publisher| {
            let mut http = broker.http();
            std::thread::spawn(move || {
                for n in 0..60 {
                    let topic = format!("/births/p{publisher}-{n}");
                    http.publish(&topic, json!([note(0), note(1)]));
                    http.publish(&topic, json!([note(2)]));
                }
            })
        })
        .collect();
    subscribe(&mut ws, "/births/*", json!({ "from": "start" }));
    let mut reader = Reader::default();
    read_until(&mut ws, &mut reader, |r| {
        r.topics.len() == 180 && r.topics.values().all(|view| view.seq == 3)
    });
    for (topic, view) in &reader.topics {
        assert_eq!(view.notes(), [0, 1, 2], "{topic}");
    }
    for publisher in publishers {
        publisher.join().expect("a publisher's part");
    }
}

#[test]
fn reading_a_pattern_resumes_each_topic_where_it_stood() {
    let broker = Broker::start();
    for topic in ["/again/a", "/again/b"] {
        broker.publish(topic, events::notes(0..5));
    }
    let mut ws = Ws::open(broker.addr);
    subscribe(&mut ws, "/again/*", json!({ "from": "start" }));
    let mut reader = Reader::default();
    read_until(&mut ws, &mut reader, |r| {
        has_notes(r, "/again/a", 5) && has_notes(r, "/again/b", 5)
    });
    ws.cut();
    for topic in ["/again/a", "/again/b", "/again/c"] {
        broker.publish(topic, events::notes(5..8));
    }
    let mut ws = Ws::open(broker.addr);
    let held: Vec<Value> = reader
        .topics
        .iter()
        .map(|(topic, view)| json!({ "topic": topic, "from": view.position() }))
        .collect();
    subscribe(
        &mut ws,
        "/again/*",
        json!({ "from": "start", "topics": held }),
    );
    read_until(&mut ws, &mut reader, |r| {
        has_notes(r, "/again/a", 8) && has_notes(r, "/again/b", 8) && has_notes(r, "/again/c", 3)
    });
    for topic in ["/again/a", "/again/b"] {
        assert!(reader.view(topic).resumed);
        assert_eq!(reader.view(topic).notes(), (0..8).collect::<Vec<_>>());
    }
    assert_eq!(
        reader.view("/again/c").notes(),
        [5, 6, 7],
        "born while it was away"
    );
}

#[test]
fn reading_a_topic_subscribed_by_itself_is_not_subscribed_again() {
    let broker = Broker::start();
    broker.publish("/twice/a", json!([note(0)]));
    broker.publish("/twice/b", json!([note(0)]));
    let mut ws = Ws::open(broker.addr);
    let mut reader = Reader::default();
    reader.frame(&ws.subscribe("/twice/a", "start"));
    subscribe(&mut ws, "/twice/*", json!({ "from": "start" }));
    read_until(&mut ws, &mut reader, |r| {
        has_notes(r, "/twice/a", 1) && has_notes(r, "/twice/b", 1)
    });
    broker.publish("/twice/a", json!([note(1)]));
    broker.publish("/twice/b", json!([note(1)]));
    let mut subscribed = Vec::new();
    while !(has_notes(&reader, "/twice/a", 2) && has_notes(&reader, "/twice/b", 2)) {
        let frame = ws.recv();
        if frame["op"] == "subscribed" {
            subscribed.push(frame["topic"].clone());
        }
        reader.frame(&frame);
    }
    assert!(!subscribed.contains(&json!("/twice/a")), "{subscribed:?}");
    assert_eq!(reader.view("/twice/a").notes(), [0, 1]);
}

#[test]
fn reading_a_pattern_ends_when_it_is_unsubscribed() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    subscribe(&mut ws, "/ends/*", json!({}));
    broker.publish("/ends/a", json!([note(0)]));
    ws.until("events");
    let answer = ws.call(json!({ "op": "unsubscribe", "pattern": "/ends/*" }));
    assert_eq!(answer["op"], "unsubscribed", "{answer}");
    broker.publish("/ends/a", json!([note(1)]));
    broker.publish("/ends/b", json!([note(1)]));
    ws.subscribe("/ends/marker", "live");
    broker.publish("/ends/marker", json!([note(2)]));
    let frame = ws.until("events");
    assert_eq!(frame["topic"], "/ends/marker", "{frame}");
}

#[test]
fn reading_invalid_patterns_are_refused() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    for pattern in [
        "", "*", "/*/b", "/a/*/b", "/a/**/b", "/a/b*", "/a/***", "a/*", "/a//*", "/a/b",
    ] {
        let answer = ws.call(json!({ "op": "subscribe", "pattern": pattern }));
        assert_eq!(answer["op"], "error", "{pattern}: {answer}");
        let codes = ["invalid_topic", "invalid_request"];
        assert!(
            codes.contains(&answer["code"].as_str().unwrap()),
            "{pattern}: {answer}"
        );
    }
    ws.send(&json!({ "op": "ping" }));
    ws.expect("pong");
}

#[test]
fn reading_an_erased_topic_of_a_pattern_is_reset() {
    let broker = Broker::start();
    broker.publish("/erased/a", json!([note(0)]));
    let mut ws = Ws::open(broker.addr);
    subscribe(&mut ws, "/erased/*", json!({ "from": "start" }));
    let mut reader = Reader::default();
    read_until(&mut ws, &mut reader, |r| has_notes(r, "/erased/a", 1));
    broker.erase("/erased/a");
    read_until(&mut ws, &mut reader, |r| {
        r.view("/erased/a").resets == ["deleted"]
    });
    broker.publish("/erased/a", json!([note(5)]));
    read_until(&mut ws, &mut reader, |r| r.view("/erased/a").notes() == [5]);
}
