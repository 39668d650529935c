//! Promise 3, its honest side: what retention took is told by a `gap`, before anything else.

use serde_json::{Value, json};

use crate::support::*;

/// Twenty events are kept; the other limits are lowered so that the configuration allows it.
const TINY: &str = "
[limits]
max_batch_events = 10
[namespace.tiny]
retention_events = 20
";

fn position(answer: &Value, seq: u64) -> String {
    format!("{}:{seq}", answer["epoch"].as_str().expect("an epoch"))
}

/// Publishes notes one batch of ten after another; the last answer.
fn publish_tens(broker: &Broker, topic: &str, tens: std::ops::Range<u64>) -> Value {
    let mut http = broker.http();
    let publish = |ten| http.publish(topic, events::notes(ten * 10..ten * 10 + 10));
    tens.map(publish).last().expect("at least one batch")
}

/// Retention works on the log's own time; waits until it has trimmed up to what it may keep.
fn await_trim(broker: &Broker, topic: &str) -> u64 {
    eventually("retention", || {
        let info = broker.topic(topic);
        let (head, first) = (info["head"].as_u64()?, info["first_seq"].as_u64()?);
        (head + 1 - first <= 20).then_some(first)
    })
}

#[test]
fn p03_a_position_behind_retention_gets_a_gap_first() {
    let broker = Broker::configured(TINY);
    let topic = "/tiny/gap";
    let answer = publish_tens(&broker, topic, 0..10);
    let first = await_trim(&broker, topic);
    for transport in ALL {
        let ask = Ask::topic(topic).from(&position(&answer, 15));
        let mut reader = Follower::open(transport, broker.addr, ask);
        assert!(!reader.view().resumed, "a gap follows");
        let view = reader.until_seq(topic, 100);
        assert_eq!(view.gaps, [(16, first - 1)], "{transport:?}");
        let expected: Vec<u64> = (first - 1..100).collect();
        assert_eq!(view.notes(), expected, "all that is kept: {transport:?}");
        assert!(view.resets.is_empty());
    }
}

#[test]
fn p03_a_position_just_before_retention_has_no_gap() {
    let broker = Broker::configured(TINY);
    let topic = "/tiny/edge";
    let answer = publish_tens(&broker, topic, 0..5);
    let first = await_trim(&broker, topic);
    for transport in ALL {
        let ask = Ask::topic(topic).from(&position(&answer, first - 1));
        let mut reader = Follower::open(transport, broker.addr, ask);
        assert!(reader.view().resumed);
        let view = reader.until_seq(topic, 50);
        assert!(view.gaps.is_empty(), "{:?}", view.gaps);
        assert_eq!(view.notes().len() as u64, 51 - first);
    }
}

#[test]
fn p03_no_sse_id_stands_before_an_owed_gap() {
    let broker = Broker::configured(TINY);
    let topic = "/tiny/sse-gap";
    let answer = publish_tens(&broker, topic, 0..10);
    await_trim(&broker, topic);
    let target = format!("/v1/sse?topic={topic}&from={}", position(&answer, 15));
    let mut sse = Sse::open(broker.addr, &target);
    let ready = sse.event();
    assert_eq!(ready.kind(), "tidewire.ready");
    assert_eq!(ready.id, None, "cut here, the gap would be forgotten");
    let gap = sse.event();
    assert_eq!(gap.event.as_deref(), Some("tidewire.gap"));
    let data = gap.json();
    assert_eq!(data["topic"], topic, "{data}");
    assert_eq!(data["from"], 16, "{data}");
    assert_eq!(data["reason"], "retention", "{data}");
    let to = data["to"].as_u64().expect("to");
    assert_eq!(
        gap.id,
        Some(position(&answer, to) + "~"),
        "after a gap: to, partial"
    );
}

#[test]
fn p03_websocket_gap_frame_has_its_shape() {
    let broker = Broker::configured(TINY);
    let topic = "/tiny/ws-gap";
    let answer = publish_tens(&broker, topic, 0..10);
    let first = await_trim(&broker, topic);
    let mut ws = Ws::open(broker.addr);
    let subscribed = ws.subscribe(topic, &position(&answer, 15));
    assert_eq!(subscribed["resumed"], false, "{subscribed}");
    let gap = ws.recv();
    let expected =
        json!({ "op": "gap", "topic": topic, "from": 16, "to": first - 1, "reason": "retention" });
    assert_eq!(gap, expected);
}

/// Messages that were open at the gap: one still is (a snapshot tells), one ended inside it (lost), one
/// ended after it (its end event tells).
#[test]
fn p03_after_a_gap_open_messages_come_whole_and_others_are_lost() {
    let broker = Broker::configured(TINY);
    for transport in ALL {
        let topic = format!("/tiny/messages-{transport:?}");
        let begin = json!([
            delta("open", "0—"),
            delta("gone", "0—"),
            delta("ended", "0—")
        ]);
        broker.publish(&topic, begin);
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(&topic).from("start"));
        reader.until_seq(&topic, 3);
        reader.cut();
        broker.publish(&topic, json!([delta("open", "1—"), completed("gone")]));
        publish_tens(&broker, &topic, 0..4);
        broker.publish(
            &topic,
            json!([
                delta("ended", "1—"),
                completed("ended"),
                delta("open", "2—")
            ]),
        );
        await_trim(&broker, &topic);
        reader.come_back();
        reader.until("the head, whole", |r| {
            r.view(&topic).seq >= 48 && r.view(&topic).snapshots == 1
        });
        broker.publish(&topic, json!([note(99)]));
        let view = reader.until_seq(&topic, 49);
        assert_eq!(view.gaps.len(), 1);
        said_whole(&view.text("open"), 3);
        said_whole(&view.text("ended"), 2);
        assert!(view.message("ended").ended.is_some());
        assert!(
            view.message("gone").lost,
            "{transport:?} {:?}",
            view.message("gone")
        );
    }
}

const BRIEF: &str = "[namespace.brief]\nretention_age = \"1s\"\n";

#[test]
fn p03_retention_by_age_tells_a_gap() {
    let broker = Broker::configured(BRIEF);
    let topic = "/brief/age";
    let answer = broker.publish(topic, events::notes(0..10));
    let head = eventually("the end of the retention age", || {
        let last = broker.publish(topic, json!([note(10)]))["last_seq"].as_u64()?;
        (broker.topic(topic)["first_seq"].as_u64()? > 10).then_some(last)
    });
    for transport in ALL {
        let ask = Ask::topic(topic).from(&position(&answer, 5));
        let mut reader = Follower::open(transport, broker.addr, ask);
        let view = reader.until_seq(topic, head);
        assert_eq!(view.gaps.len(), 1, "{:?}", view.gaps);
        let (from, to) = view.gaps[0];
        assert!(from == 6 && to >= 10, "{:?}", view.gaps);
        assert!(view.notes().iter().all(|n| *n == 10), "{:?}", view.notes());
    }
}

#[test]
fn p03_retention_by_age_does_not_wait_for_a_publish() {
    let broker = Broker::configured(BRIEF);
    let topic = "/brief/idle";
    let before = broker.publish(topic, events::notes(0..10));
    eventually("an idle topic to forget what is too old", || {
        let page = broker.read(&format!("/v1/events?topic={topic}"));
        (page["events"].as_array()?.is_empty()).then_some(())
    });
    // Its numbers go on, or the whole topic is forgotten; never the same epoch from 1 again.
    let answer = broker.publish(topic, json!([note(10)]));
    if answer["epoch"] == before["epoch"] {
        assert_eq!(answer["first_seq"], 11, "{answer}");
    }
}

#[test]
fn p03_retention_by_bytes_keeps_the_newest() {
    let config = "
[limits]
max_body_bytes = \"32KiB\"
max_event_bytes = \"4KiB\"
max_frame_bytes = \"32KiB\"
[namespace.small]
retention_bytes = \"64KiB\"
";
    let broker = Broker::configured(config);
    let topic = "/small/bytes";
    let mut http = broker.http();
    let filler = "x".repeat(1000);
    for n in 0..200 {
        let event = json!({ "type": "note.taken", "data": { "n": n, "filler": filler } });
        http.publish(topic, json!([event]));
    }
    let first = eventually("retention", || {
        let first = broker.topic(topic)["first_seq"].as_u64()?;
        (first > 100).then_some(first)
    });
    assert!(
        first <= 175,
        "less than a third of its bytes is kept: from {first}"
    );
    let mut reader = Follower::open(Transport::Sse, broker.addr, Ask::topic(topic).from("start"));
    let view = reader.until_seq(topic, 200);
    assert_eq!(view.notes().last(), Some(&199));
    assert!(view.gaps.is_empty(), "start is owed only what is kept");
}

#[test]
fn p03_start_behind_retention_reads_what_is_kept_as_compact() {
    let broker = Broker::configured(TINY);
    let topic = "/tiny/start";
    publish_tens(&broker, topic, 0..3);
    broker.publish(topic, events::tokens("m", 0..5));
    let first = await_trim(&broker, topic);
    for transport in ALL {
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic).from("start"));
        reader.until("the snapshot", |reader| reader.view(topic).snapshots == 1);
        let view = reader.view();
        assert!(
            view.gaps.is_empty() && view.resets.is_empty(),
            "start has no gap"
        );
        assert_eq!(view.deltas, 0, "from a trimmed log reading is compact");
        said_whole(&view.text("m"), 5);
        assert_eq!(view.notes().first(), Some(&(first - 1)));
    }
}

#[test]
fn p03_history_pages_tell_gap_and_reset() {
    let broker = Broker::configured(TINY);
    let topic = "/tiny/pages";
    let answer = publish_tens(&broker, topic, 0..10);
    let first = await_trim(&broker, topic);
    let from = position(&answer, 15);
    let page = broker.read(&format!("/v1/events?topic={topic}&from={from}"));
    assert_eq!(page["gap"]["from"], 16, "{page}");
    assert_eq!(page["gap"]["to"], first - 1, "{page}");
    assert_eq!(page["events"][0]["seq"], first, "{page}");
    let page = broker.read(&format!("/v1/events?topic={topic}&from=anotherlife:5"));
    assert_eq!(page["reset"]["reason"], "epoch", "{page}");
    assert_eq!(page["events"][0]["seq"], first, "{page}");
    assert!(page.get("gap").is_none_or(Value::is_null), "{page}");
}
