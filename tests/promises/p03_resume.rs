//! Promise 3, its good side: a reader that comes back with a position gets exactly what it missed.

use serde_json::{Value, json};

use crate::support::*;

const ROOMY: &str = "[defaults]\nretention_events = 2000000\nretention_bytes = \"512MiB\"\n";

/// Reads, is cut, comes back, again and again, while an agent speaks.
fn cut_and_come_back(transport: Transport, ask: Ask, topics: &[&str]) {
    let broker = Broker::configured(ROOMY);
    let speakers: Vec<_> = topics
        .iter()
        .map(|topic| Speaker::start(broker.addr, topic, "m"))
        .collect();
    let mut reader = Follower::open(transport, broker.addr, ask);
    for cut in 0..15 {
        let goal = reader.reader.view(topics[0]).seq + 40 * (cut % 4);
        reader.until_seq(topics[0], goal);
        reader.cut();
        speakers[0].speak_on(50);
        reader.come_back();
        for topic in topics {
            assert!(reader.reader.view(topic).resumed, "cut {cut} of {topic}");
        }
    }
    for (topic, speaker) in topics.iter().zip(speakers) {
        let said = speaker.stop();
        let view = reader.until_whole(topic, said);
        assert_eq!(view.seq, said);
        said_whole(&view.text("m"), said);
        assert!(view.gaps.is_empty() && view.resets.is_empty());
    }
}

#[test]
fn p03_websocket_resumes_through_cuts() {
    let ask = Ask::topic("/chat/cut").from("start");
    cut_and_come_back(Transport::WebSocket, ask, &["/chat/cut"]);
}

#[test]
fn p03_websocket_resumes_many_topics_through_cuts() {
    let topics = ["/chat/a", "/chat/b", "/chat/c"];
    let ask = Ask::topics(&topics).from("start");
    cut_and_come_back(Transport::WebSocket, ask, &topics);
}

#[test]
fn p03_sse_resumes_by_last_event_id_through_cuts() {
    let ask = Ask::topic("/chat/cut").from("start");
    cut_and_come_back(Transport::Sse, ask, &["/chat/cut"]);
}

#[test]
fn p03_sse_resumes_many_topics_by_one_cursor_through_cuts() {
    let topics = ["/chat/a", "/chat/b", "/chat/c"];
    let ask = Ask::topics(&topics).from("start");
    cut_and_come_back(Transport::Sse, ask, &topics);
}

#[test]
fn p03_merged_streams_resume_through_cuts() {
    for transport in ALL {
        let ask = Ask::topic("/chat/cut").from("start").coalesce(20);
        cut_and_come_back(transport, ask, &["/chat/cut"]);
    }
}

#[test]
fn p03_compact_streams_resume_through_cuts() {
    for transport in ALL {
        let ask = Ask::topic("/chat/cut").from("start").compact();
        cut_and_come_back(transport, ask, &["/chat/cut"]);
    }
}

fn position(answer: &Value, seq: u64) -> String {
    format!("{}:{seq}", answer["epoch"].as_str().expect("an epoch"))
}

#[test]
fn p03_each_position_gets_exactly_what_came_after() {
    let broker = Broker::start();
    let topic = "/chat/each";
    let answer = broker.publish(topic, events::notes(0..20));
    for seq in 0..=20 {
        let mut ws = Ws::open(broker.addr);
        let subscribed = ws.subscribe(topic, &position(&answer, seq));
        assert_eq!(subscribed["resumed"], true, "{subscribed}");
        assert_eq!(subscribed["head"], 20, "{subscribed}");
        assert_eq!(subscribed["position"], position(&answer, seq).as_str());
        let mut reader = Reader::default();
        reader.frame(&subscribed);
        while reader.view(topic).seq < 20 {
            reader.frame(&ws.recv());
        }
        let expected: Vec<u64> = (seq..20).collect();
        assert_eq!(reader.view(topic).notes(), expected, "after {seq}");
    }
}

#[test]
fn p03_a_resume_at_the_head_brings_nothing_old() {
    let broker = Broker::start();
    let topic = "/chat/head";
    let answer = broker.publish(topic, events::notes(0..5));
    for transport in ALL {
        let ask = Ask::topic(topic).from(&position(&answer, broker.head(topic)));
        let mut reader = Follower::open(transport, broker.addr, ask);
        assert!(reader.view().resumed);
        let last = broker.publish(topic, json!([note(99)]));
        let view = reader.until_seq(topic, last["last_seq"].as_u64().unwrap());
        assert_eq!(view.notes(), [99]);
    }
}

#[test]
fn p03_seq_zero_matches_any_epoch_and_is_owed_everything() {
    let broker = Broker::start();
    let topic = "/chat/zero";
    broker.publish(topic, events::notes(0..5));
    for transport in ALL {
        for from in ["00000000:0", "someotherepoch:0"] {
            let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic).from(from));
            let view = reader.until_seq(topic, 5);
            assert_eq!(view.notes(), [0, 1, 2, 3, 4], "{transport:?} {from}");
            assert!(view.resets.is_empty(), "{transport:?} {from}");
        }
    }
}

#[test]
fn p03_a_topic_that_is_not_there_begins_without_a_reset() {
    let broker = Broker::start();
    for transport in ALL {
        let topic = format!("/chat/unborn-{transport:?}");
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(&topic).from("start"));
        assert_eq!(reader.view().epoch, reader::NOWHERE);
        assert_eq!(reader.view().seq, 0);
        let answer = broker.publish(&topic, json!([note(1)]));
        let view = reader.until_seq(&topic, 1);
        assert_eq!(view.notes(), [1]);
        assert_eq!(view.epoch, answer["epoch"].as_str().unwrap());
        assert!(view.resets.is_empty());
    }
}

#[test]
fn p03_a_held_nowhere_position_resumes_once_the_topic_is_born() {
    let broker = Broker::start();
    for transport in ALL {
        let topic = format!("/chat/born-later-{transport:?}");
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(&topic).from("start"));
        reader.cut();
        broker.publish(&topic, events::notes(0..3));
        reader.come_back();
        let view = reader.until_seq(&topic, 3);
        assert_eq!(view.notes(), [0, 1, 2]);
        assert!(view.resets.is_empty());
    }
}

/// A reloaded page kept its position but not the text: it adds the `~`.
#[test]
fn p03_a_partial_position_gets_open_messages_whole() {
    let broker = Broker::start();
    for transport in ALL {
        let topic = format!("/chat/reload-{transport:?}");
        broker.publish(&topic, events::tokens("m", 0..50));
        let answer = broker.publish(&topic, json!([note(1)]));
        broker.publish(&topic, events::tokens("m", 50..60));
        let partial = position(&answer, 30) + "~";
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(&topic).from(&partial));
        reader.until("a snapshot", |reader| reader.view(&topic).snapshots == 1);
        let view = reader.until_seq(&topic, 61);
        said_whole(&view.text("m"), 60);
        assert_eq!(view.notes(), [1], "what lies after the position is owed");
        assert_eq!(view.deltas, 0, "compact reading leaves deltas out");
        broker.publish(&topic, json!([note(2)]));
        assert!(
            !reader.until_seq(&topic, 62).partial,
            "whole after the head"
        );
    }
}

#[test]
fn p03_a_partial_position_gets_a_message_that_ended_as_one_event() {
    let broker = Broker::start();
    let topic = "/chat/ended";
    let answer = broker.publish(topic, events::tokens("m", 0..50));
    broker.publish(topic, json!([completed("m"), note(1)]));
    for transport in ALL {
        let from = position(&answer, 30) + "~";
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic).from(&from));
        let view = reader.until_seq(topic, 52);
        assert_eq!(view.deltas, 0);
        said_whole(&view.text("m"), 50);
        assert_eq!(
            view.message("m").ended.as_deref(),
            Some("message.completed")
        );
    }
}

#[test]
fn p03_sse_header_beats_query_beats_from() {
    let broker = Broker::start();
    let topic = "/chat/beats";
    let answer = broker.publish(topic, events::notes(0..10));
    let (header, query) = (position(&answer, 8), position(&answer, 5));
    let first_after = |target: &str, headers: &[(&str, &str)]| {
        let mut sse = Sse::open_with(broker.addr, target, headers);
        let ready = sse.event();
        assert_eq!(ready.kind(), "tidewire.ready");
        assert_eq!(ready.json()["topics"][0]["resumed"], true, "{ready:?}");
        sse.event().json()["seq"].as_u64().expect("a seq")
    };
    let target = format!("/v1/sse?topic={topic}&from=start&last_event_id={query}");
    assert_eq!(first_after(&target, &[]), 6);
    assert_eq!(first_after(&target, &[("last-event-id", &header)]), 9);
}

#[test]
fn p03_websocket_takes_an_sse_cursor() {
    let broker = Broker::start();
    let topics = ["/chat/a", "/chat/b"];
    for topic in topics {
        broker.publish(topic, events::notes(0..5));
    }
    let mut sse = Follower::open(
        Transport::Sse,
        broker.addr,
        Ask::topics(&topics).from("start"),
    );
    for topic in topics {
        sse.until_seq(topic, 5);
    }
    let follower::Line::Sse(line) = &sse.line else {
        unreachable!("an SSE follower");
    };
    let cursor = line.last_id.clone().expect("a cursor");
    for topic in topics {
        broker.publish(topic, json!([note(5)]));
    }
    let mut ws = Ws::open(broker.addr);
    let asked = json!([{ "topic": "/chat/a" }, { "topic": "/chat/b", "from": "start" }]);
    ws.send(&json!({ "op": "subscribe", "id": 1, "topics": asked, "cursor": cursor }));
    let mut reader = Reader::default();
    while reader.topics.len() < 2 || topics.iter().any(|topic| reader.view(topic).seq < 6) {
        reader.frame(&ws.recv());
    }
    assert!(reader.view("/chat/a").resumed);
    assert_eq!(reader.view("/chat/a").notes(), [5], "from the cursor");
    let own = reader.view("/chat/b").notes();
    assert_eq!(
        own,
        [0, 1, 2, 3, 4, 5],
        "its own from goes before the cursor"
    );
}

#[test]
fn p03_a_topic_missing_from_the_cursor_starts_by_from() {
    let broker = Broker::start();
    let topics = ["/chat/a", "/chat/b", "/chat/c"];
    for topic in topics {
        broker.publish(topic, events::notes(0..3));
    }
    let mut sse = Sse::open(broker.addr, "/v1/sse?topic=/chat/a&topic=/chat/b&from=live");
    let cursor = sse.event().id.expect("a cursor on ready");
    sse.cut();
    let target = "/v1/sse?topic=/chat/a&topic=/chat/c&from=start";
    let mut sse = Sse::open_with(broker.addr, target, &[("last-event-id", &cursor)]);
    let mut reader = Reader::default();
    while reader.topics.is_empty() || reader.view("/chat/c").seq < 3 {
        reader.block(&sse.event());
    }
    assert!(reader.view("/chat/a").resumed);
    assert!(reader.view("/chat/a").notes().is_empty());
    assert_eq!(reader.view("/chat/c").notes(), [0, 1, 2]);
    assert!(
        !reader.topics.contains_key("/chat/b"),
        "it was not asked for"
    );
}

#[test]
fn p03_every_sse_id_is_a_cut_point() {
    let broker = Broker::start();
    let topic = "/chat/points";
    let mut http = broker.http();
    http.publish(topic, json!([started("m")]));
    http.publish(topic, events::tokens("m", 0..10));
    http.publish(topic, json!([note(1), completed("m"), started("o")]));
    http.publish(topic, events::tokens("o", 0..10));
    let head = broker.head(topic);
    for ask in [
        Ask::topic(topic).from("start"),
        Ask::topic(topic).from("start").compact(),
        Ask::topic(topic).from("start").coalesce(100),
        Ask::topic(topic),
    ] {
        let mut steps = 0;
        loop {
            let mut reader = Follower::open(Transport::Sse, broker.addr, ask.clone());
            for _ in 0..steps {
                if reader.view().seq < head || reader.view().partial {
                    reader.step();
                }
            }
            let done = reader.view().seq >= head && !reader.view().partial;
            reader.cut();
            reader.come_back();
            reader.until("the head, whole", |r| {
                r.view(topic).seq >= head && !r.view(topic).partial
            });
            said_whole(&reader.view().text("o"), 10);
            if done {
                break;
            }
            steps += 1;
        }
    }
}
