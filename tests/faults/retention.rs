//! Killed while events are trimmed and checkpoints are written.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::damage::files;
use crate::history;
use crate::setup::{chance, on_disk, rounds};
use crate::support::{Ask, Broker, Follower, Http, Transport, eventually};

/// Rounds of a long run.
const LONG: u64 = 50;
/// Events per topic.
const KEPT: u64 = 200;
const CONFIG: &str = "
limits.max_batch_events = 100
limits.compact_after = '1s'
[namespace.short]
retention_events = 200
[namespace.young]
retention_age = '1s'
[namespace.large]
retention_bytes = '8MiB'
";

#[test]
fn trimmed_topics_stay_right_through_kills() {
    let mut rng = chance("retention");
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::set_up(on_disk(dir.path(), CONFIG, &[]));
    let topic = "/short/topic";
    let mut said = publish_numbers(&mut broker.http(), topic, 0, 50);
    let epoch = history::epoch(&broker, topic);
    let mut first = 1;
    let mut slow = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("start"),
    );
    slow.until_seq(topic, said);
    let mut gaps = 0;
    for _ in 0..rounds() {
        slow.cut();
        let batches = rng.u64(1..30);
        for _ in 0..batches {
            said = publish_numbers(&mut broker.http(), topic, said, rng.u64(1..100));
        }
        let state = broker.topic(topic);
        first = is_kept(&state, said, first);
        broker.restart();
        let state = broker.topic(topic);
        assert_eq!(state["epoch"], epoch.as_str());
        first = is_kept(&state, said, first);
        reads_on(&broker, topic, &epoch, first, said);

        let stood = slow.view().seq;
        let told = slow.view().gaps.len();
        slow.come_back();
        let view = slow.until_whole(topic, said);
        assert!(view.resets.is_empty(), "{:?}", view.resets);
        let new: &[(u64, u64)] = &view.gaps[told..];
        let owed = (stood + 1 < first).then_some((stood + 1, first - 1));
        assert_eq!(new, owed.as_slice(), "at {stood}, and {first} is the first");
        gaps += new.len();
        let numbers = view.notes();
        let after = numbers.iter().filter(|n| **n > stood).copied();
        let from = owed.map_or(stood, |(_, to)| to) + 1;
        assert_eq!(after.collect::<Vec<_>>(), Vec::from_iter(from..=said));
    }
    println!(
        "{said} events, {KEPT} kept, {gaps} gaps in {} kills",
        rounds()
    );
    assert!(!broker.stderr().contains("panicked"), "{}", broker.stderr());
}

/// What a topic says of itself: the head is what was said, and `first` never goes back.
fn is_kept(state: &Value, said: u64, before: u64) -> u64 {
    assert_eq!(state["head"], said, "{state}");
    let first = state["first_seq"].as_u64().expect("a first seq");
    assert!(first >= before, "first went back from {before}: {state}");
    assert!(said + 1 - first <= KEPT, "{state}");
    first
}

/// From the last position that is good nothing is missing; from the one before, the gap is told.
fn reads_on(broker: &Broker, topic: &str, epoch: &str, first: u64, head: u64) {
    let page = |from: u64| {
        broker.read(&format!(
            "/v1/events?topic={topic}&from={epoch}:{from}&limit=1000"
        ))
    };
    let whole = page(first - 1);
    assert!(
        whole["gap"].is_null() && whole["reset"].is_null(),
        "{whole}"
    );
    let events = whole["events"].as_array().expect("events");
    let seqs: Vec<_> = events.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, Vec::from_iter(first..=head));
    let right = events.iter().all(|e| e["data"]["n"] == e["seq"]);
    assert!(right, "the numbers are not those of the seqs");
    if first > 2 {
        let late = page(first - 2);
        let gap = json!({ "from": first - 1, "to": first - 1, "reason": "retention" });
        assert_eq!(late["gap"], gap, "{late}");
    }
}

/// Notes that carry their own seq as number. Answers the last.
fn publish_numbers(http: &mut Http, topic: &str, last: u64, count: u64) -> u64 {
    let notes = (last + 1..=last + count)
        .map(|n| json!({ "type": "note.taken", "data": { "n": n, "pad": "x".repeat(500) } }));
    http.publish(topic, notes.collect());
    last + count
}

#[test]
fn topics_that_grow_old_are_trimmed_after_a_kill_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::set_up(on_disk(dir.path(), CONFIG, &[]));
    let topic = "/young/topic";
    publish_numbers(&mut broker.http(), topic, 0, 20);
    let epoch = history::epoch(&broker, topic);
    broker.restart();
    eventually("the end of what is too old", || {
        (broker.topic(topic)["first_seq"] == 21).then_some(())
    });
    for _ in 0..2 {
        broker.restart();
        let state = broker.topic(topic);
        assert_eq!(
            (&state["first_seq"], &state["head"]),
            (&json!(21), &json!(20)),
            "{state}"
        );
        assert_eq!(state["epoch"], epoch.as_str());
    }
    publish_numbers(&mut broker.http(), topic, 20, 1);
    assert_eq!(broker.head(topic), 21);
}

/// Many times the retention went through it; once event ids need not be known any more, two minutes later, the
/// directory shrinks to its journals and a few times what is kept. Only in long runs.
#[test]
fn what_left_the_logs_leaves_the_disk() {
    const EVENT: usize = 200 << 10;
    const BOUND: u64 = 256 << 20;
    const WITHIN: Duration = Duration::from_secs(200);
    if rounds() < LONG {
        println!("skipped: FAULT_ROUNDS is less than {LONG}");
        return;
    }
    let mut rng = chance("reclaim");
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::set_up(on_disk(dir.path(), CONFIG, &[]));
    let topics = ["/large/a", "/large/b"];
    let mut publish = |broker: &Broker, count: usize| {
        let mut http = broker.http();
        for n in 0..count {
            let payload: String = std::iter::repeat_with(|| rng.alphanumeric())
                .take(EVENT)
                .collect();
            let data = json!({ "n": n, "payload": payload });
            let events = json!([{ "type": "note.taken", "data": data }]);
            http.publish(topics[n % 2], events);
        }
    };
    for _ in 0..4 {
        publish(&broker, 500);
        broker.restart();
    }
    let begin = Instant::now();
    let largest = size(dir.path());
    assert!(largest > BOUND, "{largest} bytes are no test");
    // it goes on, slowly
    while size(dir.path()) > BOUND {
        assert!(
            begin.elapsed() < WITHIN,
            "{} bytes of {largest}",
            size(dir.path())
        );
        publish(&broker, 2);
        std::thread::sleep(Duration::from_millis(500));
    }
    println!(
        "{} MiB, and {} MiB after {:.1?}",
        largest >> 20,
        size(dir.path()) >> 20,
        begin.elapsed()
    );
}

fn size(dir: &Path) -> u64 {
    files(dir).iter().map(|(_, bytes)| bytes).sum()
}
