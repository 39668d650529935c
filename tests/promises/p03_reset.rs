//! Promise 3, its honest side: where a position fits nothing that is kept, a `reset` comes first.

use serde_json::{Value, json};

use crate::support::*;

fn position(answer: &Value, seq: u64) -> String {
    format!("{}:{seq}", answer["epoch"].as_str().expect("an epoch"))
}

/// A reset comes first, then all that is kept.
fn assert_reset(broker: &Broker, topic: &str, from: &str, reason: &str, notes: &[u64]) {
    for transport in ALL {
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic).from(from));
        assert!(!reader.view().resumed, "a reset follows");
        let head = broker.head(topic);
        reader.until("a reset and the head", |reader| {
            let view = reader.view(topic);
            !view.resets.is_empty() && view.seq >= head
        });
        assert_eq!(reader.view().resets, [reason], "{transport:?}");
        assert_eq!(reader.view().notes(), notes, "{transport:?}");
        assert!(reader.view().gaps.is_empty(), "a reset is owed no gap");
    }
}

#[test]
fn p03_a_position_of_another_epoch_gets_a_reset() {
    let broker = Broker::start();
    let topic = "/chat/epoch";
    broker.publish(topic, events::notes(0..3));
    assert_reset(&broker, topic, "anotherlife:2", "epoch", &[0, 1, 2]);
}

#[test]
fn p03_a_position_ahead_of_the_head_gets_a_reset() {
    let broker = Broker::start();
    let topic = "/chat/ahead";
    let answer = broker.publish(topic, events::notes(0..3));
    let ahead = position(&answer, 1000);
    assert_reset(&broker, topic, &ahead, "ahead_of_head", &[0, 1, 2]);
}

#[test]
fn p03_a_restarted_broker_gives_another_epoch() {
    let mut broker = Broker::restartable();
    let topic = "/chat/restart";
    let before = broker.publish(topic, json!([delta("m", "0—"), note(0)]));
    let mut readers = ALL.map(|transport| {
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic).from("start"));
        reader.until_seq(topic, 2);
        reader
    });
    broker.restart();
    let after = broker.publish(topic, events::notes(10..13));
    assert_ne!(before["epoch"], after["epoch"]);
    for reader in &mut readers {
        reader.cut();
        reader.come_back();
        reader.until("the new log", |r| r.view(topic).notes() == [10, 11, 12]);
        assert_eq!(reader.view().resets, ["epoch"]);
        assert!(
            reader.view().messages.is_empty(),
            "all of the old life is forgotten"
        );
    }
}

#[test]
fn p03_a_restarted_broker_resets_a_topic_nobody_has_written_since() {
    let mut broker = Broker::restartable();
    let topic = "/chat/gone";
    broker.publish(topic, events::notes(0..3));
    let mut readers = ALL.map(|transport| {
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic).from("start"));
        reader.until_seq(topic, 3);
        reader
    });
    broker.restart();
    for reader in &mut readers {
        reader.cut();
        reader.come_back();
        reader.until("a reset", |reader| !reader.view(topic).resets.is_empty());
    }
    broker.publish(topic, json!([note(7)]));
    for reader in &mut readers {
        assert_eq!(reader.until_seq(topic, 1).notes(), [7]);
    }
}

#[test]
fn p03_deleting_a_topic_resets_its_readers() {
    let broker = Broker::start();
    let topic = "/chat/deleted";
    broker.publish(topic, json!([note(0), delta("m", "0—")]));
    let mut readers = ALL.map(|transport| {
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic).from("start"));
        reader.until_seq(topic, 2);
        reader
    });
    let answer = broker.erase(topic);
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    assert_eq!(broker.head(topic), 0, "nothing is left");
    for reader in &mut readers {
        reader.until("the reset", |r| !r.view(topic).resets.is_empty());
        assert_eq!(reader.view().resets, ["deleted"]);
    }
    broker.publish(topic, json!([note(1), note(2)]));
    for reader in &mut readers {
        let view = reader.until_seq(topic, 2);
        assert_eq!(view.notes(), [1, 2], "{:?}", reader.transport);
    }
}

#[test]
fn p03_a_recreated_topic_does_not_match_an_old_position() {
    let broker = Broker::start();
    let topic = "/chat/again";
    let before = broker.publish(topic, events::notes(0..3));
    broker.erase(topic);
    let after = broker.publish(topic, events::notes(10..15));
    assert_ne!(
        before["epoch"], after["epoch"],
        "each life has its own epoch"
    );
    let notes = [10, 11, 12, 13, 14];
    assert_reset(&broker, topic, &position(&before, 2), "epoch", &notes);
}

#[test]
fn p03_a_bad_sse_cursor_resets_every_topic_asked_for() {
    let broker = Broker::start();
    for topic in ["/chat/a", "/chat/b"] {
        broker.publish(topic, events::notes(0..3));
    }
    for bad in [
        "garbage",
        "AAAA",
        "0",
        "a:b:c",
        "9999999999999999999999:1",
        "%00",
    ] {
        let target = "/v1/sse?topic=/chat/a&topic=/chat/b&from=live";
        let mut sse = Sse::open_with(broker.addr, target, &[("last-event-id", bad)]);
        let mut reader = Reader::default();
        while reader.topics.len() < 2 || reader.topics.values().any(|view| view.seq < 3) {
            reader.block(&sse.event());
        }
        for topic in ["/chat/a", "/chat/b"] {
            assert_eq!(reader.view(topic).resets, ["bad_cursor"], "{bad}");
            assert_eq!(reader.view(topic).notes(), [0, 1, 2], "{bad}");
        }
    }
}

#[test]
fn p03_a_bad_cursor_for_one_sse_topic_resets_it() {
    let broker = Broker::start();
    let topic = "/chat/one";
    broker.publish(topic, events::notes(0..3));
    let target = format!("/v1/sse?topic={topic}&last_event_id=nonsense");
    let mut sse = Sse::open(broker.addr, &target);
    let ready = sse.event();
    assert_eq!(ready.id, None, "nothing before the reset is a cut point");
    assert!(ready.json()["topics"][0]["position"].is_null(), "{ready:?}");
    let reset = sse.event();
    assert_eq!(reset.event.as_deref(), Some("tidewire.reset"));
    assert_eq!(reset.json()["reason"], "bad_cursor");
    let epoch = broker.topic(topic)["epoch"].as_str().unwrap().to_owned();
    assert_eq!(
        reset.id,
        Some(format!("{epoch}:0~")),
        "after a reset: nothing, partial"
    );
}

#[test]
fn p03_a_bad_websocket_cursor_resets() {
    let broker = Broker::start();
    let topic = "/chat/ws-cursor";
    broker.publish(topic, events::notes(0..3));
    let mut ws = Ws::open(broker.addr);
    let subscribed = ws.subscribe_with(json!({ "topic": topic, "cursor": "nonsense" }));
    assert!(subscribed["position"].is_null(), "{subscribed}");
    assert_eq!(subscribed["resumed"], false, "{subscribed}");
    let reset = ws.expect("reset");
    assert_eq!(reset["reason"], "bad_cursor", "{reset}");
    assert_eq!(reset["topic"], topic);
    assert_eq!(reset["epoch"], broker.topic(topic)["epoch"]);
}

#[test]
fn p03_a_cursor_from_before_a_restart_resets_only_what_it_knew() {
    let mut broker = Broker::restartable();
    let topics = ["/chat/a", "/chat/b"];
    for topic in topics {
        broker.publish(topic, events::notes(0..3));
    }
    let mut reader = Follower::open(
        Transport::Sse,
        broker.addr,
        Ask::topics(&topics).from("start"),
    );
    for topic in topics {
        reader.until_seq(topic, 3);
    }
    broker.restart();
    for topic in topics {
        broker.publish(topic, events::notes(10..12));
    }
    reader.cut();
    reader.come_back();
    reader.until("both new logs", |r| {
        topics.iter().all(|t| r.view(t).notes() == [10, 11])
    });
    for topic in topics {
        assert_eq!(reader.reader.view(topic).resets, ["epoch"]);
    }
}
