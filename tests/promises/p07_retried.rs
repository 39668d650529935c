//! Promise 7: a retried publish is one publish, by producer seq or by event id.

use serde_json::{Value, json};

use crate::support::*;

fn body(topic: &str, epoch: u64, seq: u64, events: Value) -> Value {
    json!({ "topic": topic, "events": events,
            "producer": { "id": "agent-1", "epoch": epoch, "seq": seq } })
}

/// The retry's answer is the first answer, but for `duplicate`.
fn assert_same_answer(first: &Value, retry: &Value) {
    assert_eq!(first["duplicate"], false, "{first}");
    assert_eq!(retry["duplicate"], true, "{retry}");
    for member in ["epoch", "first_seq", "last_seq"] {
        assert_eq!(first[member], retry[member], "{member} of {retry}");
    }
}

#[test]
fn p07_a_retried_producer_seq_gets_the_first_answer() {
    let broker = Broker::start();
    let topic = "/retry/seq";
    let mut http = broker.http();
    let first = http.publish_body(&body(topic, 1, 1, json!([note(1), note(2)])));
    let second = http.publish_body(&body(topic, 1, 2, json!([note(3)])));
    assert_same_answer(
        &first,
        &http.publish_body(&body(topic, 1, 1, json!([note(1), note(2)]))),
    );
    assert_same_answer(
        &second,
        &http.publish_body(&body(topic, 1, 2, json!([note(3)]))),
    );
    assert_eq!(broker.head(topic), 3);
}

#[test]
fn p07_a_retried_producer_seq_over_websocket_gets_the_first_answer() {
    let broker = Broker::start();
    let topic = "/retry/ws";
    let publish = json!({ "op": "publish", "topic": topic, "events": [note(1)],
                          "producer": { "id": "agent-1", "epoch": 1, "seq": 1 } });
    let first = Ws::open(broker.addr).call(publish.clone());
    let retry = Ws::open(broker.addr).call(publish);
    assert_same_answer(&first, &retry);
    assert_eq!(broker.head(topic), 1);
}

#[test]
fn p07_a_skipped_producer_seq_is_a_gap() {
    let broker = Broker::start();
    let topic = "/retry/gap";
    broker
        .http()
        .publish_body(&body(topic, 1, 1, json!([note(1)])));
    let problem = broker.refused(&body(topic, 1, 3, json!([note(3)])));
    assert_eq!(problem["code"], "producer_gap", "{problem}");
    assert_eq!(problem["status"], 409);
    assert_eq!(problem["expected_seq"], 2, "{problem}");
    let answer = Ws::open(broker.addr).call(json!({
        "op": "publish", "topic": topic, "events": [note(3)],
        "producer": { "id": "agent-1", "epoch": 1, "seq": 9 } }));
    assert_eq!(answer["code"], "producer_gap", "{answer}");
    assert_eq!(answer["expected_seq"], 2, "{answer}");
    assert_eq!(broker.head(topic), 1);
}

#[test]
fn p07_an_unknown_producer_has_to_begin_at_one() {
    let broker = Broker::start();
    let topic = "/retry/unknown";
    let problem = broker.refused(&body(topic, 1, 5, json!([note(1)])));
    assert_eq!(problem["code"], "producer_unknown", "{problem}");
    assert_eq!(problem["status"], 409);
    assert_eq!(broker.head(topic), 0);
    broker
        .http()
        .publish_body(&body(topic, 2, 1, json!([note(1)])));
}

#[test]
fn p07_after_a_restart_the_producer_is_unknown_and_raises_its_epoch() {
    let mut broker = Broker::restartable();
    let topic = "/retry/restart";
    broker
        .http()
        .publish_body(&body(topic, 1, 1, json!([note(1)])));
    broker.restart();
    let problem = broker.refused(&body(topic, 1, 2, json!([note(2)])));
    assert_eq!(problem["code"], "producer_unknown", "{problem}");
    let answer = broker
        .http()
        .publish_body(&body(topic, 2, 1, json!([note(2)])));
    assert_eq!(answer["first_seq"], 1, "{answer}");
}

#[test]
fn p07_a_lower_producer_epoch_is_fenced() {
    let broker = Broker::start();
    let topic = "/retry/fenced";
    let mut http = broker.http();
    http.publish_body(&body(topic, 1, 1, json!([note(1)])));
    http.publish_body(&body(topic, 2, 1, json!([note(2)])));
    let problem = broker.refused(&body(topic, 1, 2, json!([note(3)])));
    assert_eq!(problem["code"], "producer_fenced", "{problem}");
    assert_eq!(problem["status"], 409);
    assert_eq!(broker.head(topic), 2);
    // Fencing is per topic: elsewhere the old epoch has not been overtaken.
    http.publish_body(&body("/retry/elsewhere", 1, 1, json!([note(1)])));
}

#[test]
fn p07_producer_seqs_are_counted_per_topic() {
    let broker = Broker::start();
    let mut http = broker.http();
    for topic in ["/retry/one", "/retry/two"] {
        for seq in 1..4 {
            let answer = http.publish_body(&body(topic, 1, seq, json!([note(seq)])));
            assert_eq!(answer["first_seq"], seq, "{answer}");
        }
    }
}

#[test]
fn p07_a_very_old_retry_is_a_duplicate_without_seqs() {
    let broker = Broker::start();
    let topic = "/retry/old";
    let mut http = broker.http();
    for seq in 1..=1_100 {
        http.publish_body(&body(topic, 1, seq, json!([note(seq)])));
    }
    let recent = http.publish_body(&body(topic, 1, 100, json!([note(100)])));
    assert_eq!(recent["first_seq"], 100, "{recent}");
    let old = http.publish_body(&body(topic, 1, 1, json!([note(1)])));
    assert_eq!(old["duplicate"], true, "{old}");
    assert!(
        old["first_seq"].is_null() && old["last_seq"].is_null(),
        "{old}"
    );
    assert_eq!(broker.head(topic), 1_100);
}

#[test]
fn p07_retries_at_the_same_time_are_one_publish() {
    let broker = Broker::start();
    let topic = "/retry/race";
    for seq in 1..=20u64 {
        let racers: Vec<_> = (0..4)
            .map(|_| {
                let mut http = broker.http();
                let publish = body(topic, 1, seq, json!([note(seq), note(seq)]));
                std::thread::spawn(move || http.publish_body(&publish))
            })
            .collect();
        let answers: Vec<Value> = racers.into_iter().map(|r| r.join().unwrap()).collect();
        let first = answers.iter().filter(|answer| answer["duplicate"] == false);
        assert_eq!(first.count(), 1, "{answers:?}");
        assert!(
            answers.iter().all(|a| a["last_seq"] == seq * 2),
            "{answers:?}"
        );
    }
    assert_eq!(broker.head(topic), 40);
}

/// The agent's line is cut before it has its answers; it repeats everything it is not sure of.
#[test]
fn p07_an_agent_that_repeats_after_cuts_says_each_thing_once() {
    let broker = Broker::start();
    let topic = "/retry/cuts";
    let publish = |n: u64| {
        json!({ "op": "publish", "id": n, "topic": topic, "events": [delta("m", &events::token(n))],
                "producer": { "id": "agent-1", "epoch": 1, "seq": n + 1 } })
    };
    let mut sure = 0;
    while sure < 300 {
        let mut ws = Ws::open(broker.addr);
        for n in sure..(sure + 40).min(300) {
            ws.send(&publish(n));
        }
        for _ in 0..(sure % 7 + 5).min(300 - sure) {
            let answer = ws.expect("published");
            assert_eq!(answer["id"], sure, "{answer}");
            sure += 1;
        }
        ws.cut();
    }
    let mut reader = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("start"),
    );
    let view = reader.until_seq(topic, 300);
    said_whole(&view.text("m"), 300);
    assert_eq!(broker.head(topic), 300);
}

fn with_id(id: &str, n: u64) -> Value {
    json!({ "type": "note.taken", "id": id, "data": { "n": n } })
}

#[test]
fn p07_a_known_event_id_gets_the_first_answer() {
    let broker = Broker::start();
    let topic = "/retry/id";
    let first = broker.publish(topic, json!([with_id("a", 1), with_id("b", 2)]));
    broker.publish(topic, json!([note(3)]));
    let retry = broker.publish(topic, json!([with_id("a", 1), with_id("b", 2)]));
    assert_same_answer(&first, &retry);
    assert_eq!(broker.head(topic), 3);
    let page = broker.read(&format!("/v1/events?topic={topic}"));
    assert_eq!(page["events"][0]["id"], "a", "{page}");
    assert!(page["events"][2].get("id").is_none(), "{page}");
}

#[test]
fn p07_partly_known_event_ids_are_a_conflict() {
    let broker = Broker::start();
    let topic = "/retry/conflict";
    broker.publish(topic, json!([with_id("a", 1), with_id("b", 2)]));
    let events = json!([
        with_id("c", 3),
        with_id("b", 2),
        with_id("d", 4),
        with_id("a", 1)
    ]);
    let problem = broker.refused(&json!({ "topic": topic, "events": events }));
    assert_eq!(problem["code"], "id_conflict", "{problem}");
    assert_eq!(problem["status"], 409);
    assert_eq!(problem["indexes"], json!([1, 3]), "{problem}");
    let answer = Ws::open(broker.addr).publish(topic, events);
    assert_eq!(answer["code"], "id_conflict", "{answer}");
    assert_eq!(answer["indexes"], json!([1, 3]), "{answer}");
    assert_eq!(broker.head(topic), 2);
}

#[test]
fn p07_event_ids_are_known_per_topic() {
    let broker = Broker::start();
    for topic in ["/retry/here", "/retry/there"] {
        let answer = broker.publish(topic, json!([with_id("same", 1)]));
        assert_eq!(answer["duplicate"], false, "{answer}");
    }
}

#[test]
fn p07_an_erased_topic_remembers_no_retry() {
    let broker = Broker::start();
    let topic = "/retry/erased";
    broker.publish(topic, json!([with_id("a", 1)]));
    broker.erase(topic);
    let answer = broker.publish(topic, json!([with_id("a", 1)]));
    assert_eq!(answer["duplicate"], false, "{answer}");
    assert_eq!(answer["first_seq"], 1, "{answer}");
}
