//! What agents are promised holds through a kill: fencing, control events, leases.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::setup::{on_disk, serve};
use crate::support::agent::{attach, attached, attached_with, interruptions, produced};
use crate::support::{Broker, Ws, delta, eventually, note, started};

const KILLS: u64 = 3;

#[test]
fn an_older_run_stays_fenced_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = serve(dir.path());
    let topic = "/agents/fenced";
    for round in 1..=KILLS {
        let (older, newer) = (round * 10, round * 10 + 1);
        let message = format!("m{round}");
        publish_as(
            &broker,
            topic,
            (older, 1),
            json!([delta(&message, "half a ")]),
        );
        let (mut ws, _) = attached_with(
            broker.addr,
            json!({ "producer": { "id": "agent", "epoch": newer } }),
        );
        broker.restart();
        for seq in [1, 2] {
            let late = produced(topic, "agent", (older, seq), json!([note(1)]));
            assert_eq!(broker.refused(&late)["code"], "producer_fenced");
        }
        let elsewhere = format!("/agents/elsewhere-{round}");
        let late = produced(&elsewhere, "agent", (older, 1), json!([note(1)]));
        assert_eq!(broker.refused(&late)["code"], "producer_fenced");
        assert_eq!(interruptions(&broker, topic, &message), ["replaced"]);
        assert_eq!(ws.closed(), 1006);
        publish_as(&broker, topic, (newer, 1), json!([note(round)]));
        let (_, assigned) = attached(broker.addr, "agent");
        assert!(assigned > newer, "a run that was already: {assigned}");
    }
}

#[test]
fn a_run_that_only_published_still_fences_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = serve(dir.path());
    let topic = "/agents/published";
    publish_as(&broker, topic, (4, 1), json!([note(1)]));
    publish_as(&broker, topic, (5, 1), json!([note(2)]));
    broker.restart();
    let late = produced(topic, "agent", (4, 2), json!([note(3)]));
    assert_eq!(broker.refused(&late)["code"], "producer_fenced");
    let again = publish_as(&broker, topic, (5, 1), json!([note(2)]));
    assert_eq!(again["duplicate"], true, "{again}");
    publish_as(&broker, topic, (5, 2), json!([note(3)]));
    assert_eq!(broker.head(topic), 3);
    // it never attached: elsewhere nobody was fenced
    publish_as(&broker, "/agents/other", (4, 1), json!([note(1)]));
}

/// A run that was given to nobody else, although it never published.
#[test]
fn an_epoch_that_was_assigned_is_never_assigned_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = serve(dir.path());
    let mut before = 0;
    for _ in 0..KILLS {
        let (_, epoch) = attached(broker.addr, "assigned");
        assert!(epoch > before, "{epoch} again");
        before = epoch;
        broker.restart();
    }
}

fn publish_as(broker: &Broker, topic: &str, run: (u64, u64), events: Value) -> Value {
    broker
        .http()
        .publish_body(&produced(topic, "agent", run, events))
}

#[test]
fn control_events_come_again_until_they_are_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = serve(dir.path());
    let topic = "/agents/control";
    let steers = |range: std::ops::Range<u64>| -> Value {
        let each = range.map(|n| json!({ "type": "run.steer", "data": { "n": n } }));
        each.collect()
    };
    broker.publish(topic, steers(0..6));
    let mut ws = listening(&broker, topic);
    assert_eq!(steered(&mut ws, 6), [1, 2, 3, 4, 5, 6]);
    for seq in [2, 3, 5] {
        ws.send(&json!({ "op": "control_ack", "topic": topic, "seq": seq }));
    }
    // what is answered after it was acknowledged after it
    ws.publish(topic, json!([note(1)]));
    broker.restart();

    let mut ws = listening(&broker, topic);
    assert_eq!(steered(&mut ws, 3), [1, 4, 6]);
    ws.send(&json!({ "op": "control_ack", "topic": topic, "seq": 1 }));
    ws.publish(topic, json!([note(2)]));
    broker.publish(topic, steers(6..7));
    assert_eq!(steered(&mut ws, 1), [9]);
    broker.restart();

    let mut ws = listening(&broker, topic);
    assert_eq!(steered(&mut ws, 3), [4, 6, 9]);
}

fn listening(broker: &Broker, topic: &str) -> Ws {
    let mut ws = Ws::open(broker.addr);
    let producer = json!({ "id": "listener" });
    attach(&mut ws, json!({ "producer": producer, "control": [topic] }));
    ws
}

/// The seqs of so many control events.
fn steered(ws: &mut Ws, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let frame = ws.until("control");
        let events = frame["events"].as_array().expect("events");
        seqs.extend(events.iter().map(|e| e["seq"].as_u64().expect("a seq")));
    }
    seqs
}

#[test]
fn a_lost_agent_has_a_full_lease_after_the_restart() {
    const LEASE: Duration = Duration::from_secs(3);
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::set_up(on_disk(dir.path(), "", &[]));
    let topic = "/agents/lost";
    let mut ws = Ws::open(broker.addr);
    let command = json!({ "producer": { "id": "agent" }, "lease_ms": LEASE.as_millis() as u64 });
    let epoch = attach(&mut ws, command.clone());
    ws.publish(topic, json!([started("lost"), delta("lost", "half")]));
    let silent = produced(topic, "silent", (1, 1), json!([delta("silent", "half")]));
    let mut with_lease = silent.clone();
    with_lease["lease_ms"] = json!(LEASE.as_millis() as u64);
    broker.http().publish_body(&with_lease);

    broker.kill();
    let down = Instant::now();
    broker.start_again();
    let up = Instant::now();
    println!("it was down for {:.1?}", up - down);
    for message in ["lost", "silent"] {
        let reason = eventually("the end of a message", || {
            interruptions(&broker, topic, message).pop()
        });
        let took = up.elapsed();
        assert_eq!(reason, "agent_lost");
        assert!(
            took + Duration::from_millis(100) >= LEASE,
            "{message} ended after {took:?}"
        );
        assert!(
            took < LEASE + Duration::from_secs(3),
            "{message} ended after {took:?}"
        );
    }

    // one that comes back within it goes on
    let mut ws = Ws::open(broker.addr);
    attach(&mut ws, command.clone());
    ws.publish(topic, json!([delta("kept", "half ")]));
    let epoch = epoch + 1;
    broker.restart();
    let mut ws = Ws::open(broker.addr);
    let mut again = command;
    again["producer"]["epoch"] = json!(epoch);
    assert_eq!(attach(&mut ws, again), epoch);
    let back = Instant::now();
    while back.elapsed() < LEASE + Duration::from_secs(1) {
        let answer = ws.publish(topic, json!([delta("kept", "and more ")]));
        assert_eq!(answer["op"], "published", "{answer}");
    }
}
