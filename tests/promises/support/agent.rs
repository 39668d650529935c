//! Agents as the tests play them: attached over WebSocket, or publishing as a producer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::broker::Broker;
use super::wait::eventually;
use super::ws::Ws;

/// Sends an `attach`, whatever it says: the answer.
pub fn try_attach(ws: &mut Ws, mut command: Value) -> Value {
    command["op"] = json!("attach");
    ws.call(command)
}

/// Attaches, which must succeed: the epoch.
pub fn attach(ws: &mut Ws, command: Value) -> u64 {
    let answer = try_attach(ws, command);
    assert_eq!(answer["op"], "attached", "{answer}");
    answer["epoch"].as_u64().expect("an epoch")
}

/// A connection attached as the next run of this producer, and the run's epoch.
pub fn attached(addr: SocketAddr, id: &str) -> (Ws, u64) {
    attached_with(addr, json!({ "producer": { "id": id } }))
}

pub fn attached_with(addr: SocketAddr, command: Value) -> (Ws, u64) {
    let mut ws = Ws::open(addr);
    let epoch = attach(&mut ws, command);
    (ws, epoch)
}

/// A publish as a run of a producer: its epoch, and the publish's number.
pub fn produced(topic: &str, id: &str, (epoch, seq): (u64, u64), events: Value) -> Value {
    json!({ "topic": topic, "events": events,
            "producer": { "id": id, "epoch": epoch, "seq": seq } })
}

/// A heartbeat: it takes no seq.
pub fn heartbeat(topic: &str, id: &str, epoch: u64) -> Value {
    json!({ "topic": topic, "events": [], "producer": { "id": id, "epoch": epoch } })
}

/// Everything that is kept of a topic, as it is in the log.
pub fn kept(broker: &Broker, topic: &str) -> Vec<Value> {
    let page = broker.read(&format!("/v1/events?topic={topic}&limit=1000"));
    page["events"].as_array().expect("events").clone()
}

/// The reasons with which the broker, or anybody, interrupted this message: in the log.
pub fn interruptions(broker: &Broker, topic: &str, message: &str) -> Vec<String> {
    let kept = kept(broker, topic);
    reasons(&kept, message)
}

/// The same among events a reader was shown.
pub fn reasons(events: &[Value], message: &str) -> Vec<String> {
    let interrupted = events
        .iter()
        .filter(|e| e["type"] == "message.interrupted" && e["data"]["message_id"] == message);
    let reasons = interrupted.map(|e| e["data"]["reason"].as_str().expect("a reason").to_owned());
    reasons.collect()
}

/// The ids of a topic's open messages.
pub fn open_messages(broker: &Broker, topic: &str) -> Vec<String> {
    let state = broker.topic(topic);
    let open = state["open_messages"].as_array().expect("open messages");
    let ids = open
        .iter()
        .map(|m| m["message_id"].as_str().expect("an id"));
    let mut ids: Vec<String> = ids.map(str::to_owned).collect();
    ids.sort();
    ids
}

/// Waits until the message is interrupted; fails if that takes longer than `bound`.
pub fn interrupted_within(broker: &Broker, topic: &str, message: &str, bound: Duration) -> String {
    let begin = Instant::now();
    let reason = eventually("the end of a message", || {
        interruptions(broker, topic, message).pop()
    });
    let took = begin.elapsed();
    assert!(
        took < bound,
        "{message} ended after {took:?}, not {bound:?}"
    );
    reason
}

/// A number of `/metrics` without labels, or the sum over its labels.
pub fn metric(broker: &Broker, name: &str) -> i64 {
    let text = broker.get("/metrics").text();
    let samples = text.lines().filter_map(|line| {
        let (key, value) = line.rsplit_once(' ')?;
        let is_it = key == name || key.strip_prefix(name).is_some_and(|r| r.starts_with('{'));
        is_it.then(|| value.parse::<i64>().expect("a whole number"))
    });
    let samples: Vec<i64> = samples.collect();
    assert!(!samples.is_empty(), "no metric {name}");
    samples.iter().sum()
}
