//! Promise 8 where two runs meet: started at the same time, or one while the other has publishes in flight.

use std::sync::{Arc, Barrier};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::agent::{attach, attached, attached_with, kept, try_attach};
use crate::support::*;

/// Attaches with the others at once, then publishes its mark until it is told to go: its epoch, and the
/// head of the topic as it was when it was answered.
fn compete(addr: std::net::SocketAddr, topic: &str, mark: u64, start: &Barrier) -> (Ws, u64) {
    let mut ws = Ws::open(addr);
    start.wait();
    let epoch = attach(&mut ws, json!({ "producer": { "id": "twin" } }));
    for _ in 0..20 {
        let publish = json!({ "op": "publish", "topic": topic, "events": [note(mark)] });
        ws.send_or_lose(&publish);
    }
    (ws, epoch)
}

#[test]
fn p08_of_two_agents_with_one_name_exactly_one_wins() {
    let broker = Broker::start();
    for round in 0..60 {
        let topic = format!("/twins/{round}");
        let start = Arc::new(Barrier::new(2));
        let other = {
            let (start, topic, addr) = (start.clone(), topic.clone(), broker.addr);
            std::thread::spawn(move || compete(addr, &topic, 1, &start))
        };
        let (mine, my_epoch) = compete(broker.addr, &topic, 0, &start);
        let (theirs, their_epoch) = other.join().unwrap();
        let ((mut winner, high), (mut loser, low), mark) = if my_epoch > their_epoch {
            ((mine, my_epoch), (theirs, their_epoch), 0)
        } else {
            ((theirs, their_epoch), (mine, my_epoch), 1)
        };
        assert_eq!(high, low + 1, "round {round}");
        assert_eq!(loser.closed(), 4409, "round {round}");
        // the winner is heard, and nothing of the other comes behind its first word
        let last = winner.publish(&topic, json!([note(mark)]))["last_seq"].clone();
        let said: Vec<u64> = kept(&broker, &topic)
            .iter()
            .map(|event| event["data"]["n"].as_u64().unwrap())
            .collect();
        assert_eq!(last, said.len(), "round {round}");
        let first = said.iter().position(|n| *n == mark).unwrap();
        assert!(
            said[first..].iter().all(|n| *n == mark),
            "round {round}: {said:?}"
        );
    }
}

/// Publishes large batches without waiting for answers, until it is sent away: the close code.
fn flood(mut ws: Ws, topic: String, events: Value) -> std::thread::JoinHandle<u16> {
    std::thread::spawn(move || {
        let publish = json!({ "op": "publish", "topic": topic, "events": events });
        loop {
            for _ in 0..10 {
                ws.send_or_lose(&publish);
            }
            // all that is there: who reads less than comes is cut off before it hears why
            while let Some(frame) = ws.frame_until(Instant::now()) {
                match frame {
                    Frame::Close(code, _) => return code,
                    Frame::End => return 1006,
                    _ => {}
                }
            }
        }
    })
}

/// Nothing of the old connection comes behind the new one's `attached`.
fn nothing_lands_late(next: impl Fn(u64) -> Value, events: Value, name: &str) {
    let broker = Broker::start();
    for round in 0..3 {
        let topic = format!("/late/{name}-{round}");
        let id = format!("agent-{round}");
        let (mut old, epoch) = attached(broker.addr, &id);
        old.publish(&topic, events.clone());
        let flood = flood(old, topic.clone(), events.clone());
        let head = broker.head(&topic);
        eventually("the flood", || (broker.head(&topic) > head).then_some(()));
        let mut producer = next(epoch);
        producer["producer"]["id"] = json!(id);
        let (mut new, _) = attached_with(broker.addr, producer);
        let head = broker.head(&topic);
        assert_eq!(flood.join().unwrap(), 4409, "round {round}");
        let answer = new.publish(&topic, json!([note(7)]));
        assert_eq!(answer["last_seq"], head + 1, "round {round}");
    }
}

#[test]
fn p08_publishes_in_flight_never_land_behind_a_takeover() {
    let same = |epoch| json!({ "producer": { "epoch": epoch } });
    nothing_lands_late(same, big_deltas(), "same-deltas");
}

#[test]
fn p08_plain_events_in_flight_never_land_behind_a_takeover() {
    let same = |epoch| json!({ "producer": { "epoch": epoch } });
    nothing_lands_late(same, events::notes(0..500), "same-notes");
}

#[test]
fn p08_publishes_in_flight_never_land_behind_a_newer_run() {
    let higher = |epoch| json!({ "producer": { "epoch": epoch + 3 } });
    nothing_lands_late(higher, big_deltas(), "higher-deltas");
}

#[test]
fn p08_plain_events_in_flight_never_land_behind_a_newer_run() {
    let higher = |epoch| json!({ "producer": { "epoch": epoch + 3 } });
    nothing_lands_late(higher, events::notes(0..500), "higher-notes");
}

fn big_deltas() -> Value {
    (0..500).map(|_| delta("m", "word ")).collect()
}

/// Runs that replace each other in a row: each message ends once, and the last one is left alone.
#[test]
fn p08_a_row_of_replacements_ends_each_message_once() {
    let broker = Broker::start();
    let topic = "/row/a";
    let mut last = None;
    for round in 1..=40u64 {
        let (mut ws, epoch) = attached(broker.addr, "row");
        assert_eq!(epoch, round);
        let message = format!("m{round}");
        let answer = ws.publish(topic, json!([delta(&message, "x")]));
        assert_eq!(answer["op"], "published", "{answer}");
        if round % 2 == 0 {
            ws.cut();
        } else {
            last = Some(ws);
        }
    }
    let (mut ws, _) = attached(broker.addr, "row");
    for round in 1..=40 {
        let message = format!("m{round}");
        let reasons = agent::interruptions(&broker, topic, &message);
        assert_eq!(reasons, ["replaced"], "{message}");
    }
    assert_eq!(last.unwrap().closed(), 4409);
    assert_eq!(ws.publish(topic, json!([note(1)]))["last_seq"], 81);
}

/// Several connections ask for the very same run: the last one has it.
#[test]
fn p08_one_run_asked_for_by_many_is_held_by_one() {
    let broker = Broker::start();
    let start = Arc::new(Barrier::new(6));
    let contenders: Vec<_> = (0..6)
        .map(|_| {
            let (start, addr) = (start.clone(), broker.addr);
            std::thread::spawn(move || {
                let mut ws = Ws::open(addr);
                start.wait();
                let answer = try_attach(&mut ws, json!({ "producer": { "id": "a", "epoch": 1 } }));
                assert_eq!(answer["op"], "attached", "{answer}");
                ws
            })
        })
        .collect();
    let contenders: Vec<Ws> = contenders.into_iter().map(|c| c.join().unwrap()).collect();
    eventually("one connection left", || {
        (agent::metric(&broker, "tidewire_agents_attached") == 1).then_some(())
    });
    let mut held = 0;
    for mut ws in contenders {
        let publish =
            json!({ "op": "publish", "id": "try", "topic": "/many/a", "events": [note(1)] });
        if ws.send_or_lose(&publish)
            && matches!(ws.answer_or_close("try"), Ok(answer) if answer["op"] == "published")
        {
            held += 1;
        }
    }
    assert_eq!(held, 1);
    assert_eq!(broker.head("/many/a"), 1);
}
