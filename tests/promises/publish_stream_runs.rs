//! Publish streams of a run: which one it is, and how its lease runs.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent::{
    attached, interrupted_within, interruptions, kept, open_messages, produced,
};
use crate::support::lines::{Lines, lines};
use crate::support::*;

#[test]
fn publish_stream_belongs_to_a_run() {
    let broker = Broker::start();
    let topic = "/stream/run";
    let (old, epoch) = attached(broker.addr, "a");
    let mut old = old;
    old.publish(topic, json!([delta("old", "x")]));
    // without an epoch it is the next run
    let mut stream = Lines::open(&broker, &format!("topic={topic}&producer_id=a"));
    stream.line(&delta("new", "x"));
    assert_eq!(old.closed(), 4409);
    eventually("the line", || (broker.head(topic) == 3).then_some(()));
    assert_eq!(interruptions(&broker, topic, "old"), ["replaced"]);
    let summary = stream.summary();
    assert_eq!(summary["producer_epoch"], epoch + 1, "{summary}");
    let source = kept(&broker, topic)[2]["source"].clone();
    assert_eq!(source, "a");
    // an older one is told at once
    let query = format!("topic={topic}&producer_id=a&producer_epoch={epoch}");
    let problem = Lines::open(&broker, &query).end().problem();
    assert_eq!(problem["code"], "producer_fenced", "{problem}");
    // and one that is overtaken while it is open, with its next line
    let mut overtaken = Lines::open(&broker, &format!("topic={topic}&producer_id=b"));
    overtaken.line(&delta("b", "x"));
    eventually("the line", || (broker.head(topic) == 4).then_some(()));
    let (_newer, _) = attached(broker.addr, "b");
    overtaken.line(&delta("b", "late"));
    let problem = overtaken.end().problem();
    assert_eq!(problem["code"], "producer_fenced", "{problem}");
    assert_eq!(
        (&problem["line"], &problem["kept"]),
        (&json!(2), &json!(1)),
        "{problem}"
    );
}

#[test]
fn publish_stream_holds_its_lease_until_it_is_cut() {
    let broker = Broker::start();
    let topic = "/stream/lease";
    let url = format!(
        "{}/v1/publish/stream?topic={topic}&producer_id=a&lease_ms=1000",
        broker.url()
    );
    let mut curl = Process::run("curl", &["-sfN", "-T", "-", &url]);
    curl.write(&lines([delta("m", "x")]));
    eventually("the line", || (broker.head(topic) == 1).then_some(()));
    // somebody else's lease of more than twice that is the clock
    let mut clock = produced(topic, "clock", (1, 1), json!([delta("clock", "x")]));
    clock["lease_ms"] = json!(2200);
    broker.http().publish_body(&clock);
    interrupted_within(&broker, topic, "clock", Duration::from_millis(3200));
    assert_eq!(open_messages(&broker, topic), ["m"]);
    curl.write(&lines([delta("m", "y")]));
    eventually("the line", || (broker.head(topic) == 4).then_some(()));
    curl.kill_dash_nine();
    let begin = Instant::now();
    let reason = interrupted_within(&broker, topic, "m", Duration::from_secs(2));
    assert_eq!(reason, "agent_lost");
    assert!(
        begin.elapsed() > Duration::from_millis(800),
        "{:?}",
        begin.elapsed()
    );
}

/// Ending the request in good order leaves the message open for its lease, and no longer.
#[test]
fn publish_stream_that_ended_leaves_its_message_to_the_lease() {
    let broker = Broker::start();
    let topic = "/stream/left";
    let query = format!("topic={topic}&producer_id=a&producer_epoch=7&lease_ms=1000");
    let mut stream = Lines::open(&broker, &query);
    stream.line(&delta("m", "x"));
    assert_eq!(stream.summary()["producer_epoch"], 7);
    assert_eq!(open_messages(&broker, topic), ["m"]);
    let mut again = Lines::open(&broker, &query);
    again.line(&delta("m", "y"));
    assert_eq!(again.summary()["last_seq"], 2);
    let reason = interrupted_within(&broker, topic, "m", Duration::from_secs(2));
    assert_eq!(reason, "agent_lost");
}
