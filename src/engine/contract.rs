//! What every engine must hold, as tests that run on each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::memory::MemorySettings;
use super::{Engine, EngineError, MemoryEngine, Pending, Watch};
use crate::event::{NewEvent, Seq, TopicPath};
use crate::log::idempotency::Producer;
use crate::log::publish::Precondition;
use crate::log::{Appended, Publish, Refusal, Retention};

const COMPACT_AFTER: Duration = Duration::from_secs(60);

struct Bench {
    engine: Arc<dyn Engine>,
    clock: Arc<AtomicU64>,
}

fn memory(max_bytes: usize) -> Bench {
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let now = clock.clone();
    let engine = MemoryEngine::new(MemorySettings {
        store_epoch: "storetest".into(),
        clock: Arc::new(move || now.load(Ordering::Relaxed)),
        retention: Arc::new(|_| Retention {
            events: 100,
            bytes: 1 << 20,
            age: Duration::from_secs(600),
        }),
        max_bytes,
        compact_after: COMPACT_AFTER,
        on_trimmed: Arc::new(|_, _, _| ()),
    });
    Bench {
        engine: Arc::new(engine),
        clock,
    }
}

fn topic(text: &str) -> TopicPath {
    TopicPath::parse(text).expect("a topic")
}

fn event(name: &str, data: Value) -> NewEvent {
    let data = Bytes::from(data.to_string());
    NewEvent::build(name.to_owned().into(), None, data).expect("a valid event")
}

fn delta(message: &str, text: &str) -> NewEvent {
    event("token.delta", json!({"message_id": message, "text": text}))
}

fn publish(events: Vec<NewEvent>) -> Publish {
    Publish {
        events,
        principal: "".into(),
        source: None,
        producer: None,
        precondition: None,
    }
}

fn ready<T>(pending: Pending<T>) -> T {
    match pending {
        Pending::Ready(answer) => answer,
        Pending::Later(_) => panic!("this engine answers at once"),
    }
}

impl Bench {
    fn append(&self, name: &str, publish: Publish) -> Result<Appended, Refusal> {
        ready(self.engine.append(&topic(name), publish)).expect("the engine works")
    }

    fn head(&self, name: &str) -> Option<Seq> {
        let log = ready(self.engine.load(&topic(name))).expect("the engine works")?;
        let head = log.read().head();
        Some(head)
    }
}

#[test]
fn seqs_are_assigned_without_holes_and_batches_are_contiguous() {
    let bench = memory(1 << 30);
    let engine = &bench.engine;
    std::thread::scope(|scope| {
        for writer in 0..4 {
            scope.spawn(move || {
                for n in 0..50 {
                    let batch = vec![
                        event("a.b", json!([writer, n, 0])),
                        event("a.b", json!([writer, n, 1])),
                    ];
                    ready(engine.append(&topic("/a"), publish(batch)))
                        .expect("works")
                        .expect("valid");
                }
            });
        }
    });
    let log = ready(engine.load(&topic("/a")))
        .expect("works")
        .expect("exists");
    let log = log.read();
    assert_eq!(log.head(), Seq(400));
    let kept: Vec<Value> = log
        .entries
        .iter()
        .map(|entry| serde_json::from_slice(entry.data()).expect("JSON"))
        .collect();
    assert_eq!(kept.len(), 100, "retention by count");
    for pair in kept.chunks(2) {
        assert_eq!(
            (&pair[0][0], &pair[0][1]),
            (&pair[1][0], &pair[1][1]),
            "halves of one batch"
        );
    }
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let bench = memory(1 << 30);
    let ended = event(
        "message.interrupted",
        json!({"message_id": "m", "reason": "error"}),
    );
    let refused = bench.append("/a", publish(vec![delta("m", "x"), ended, delta("m", "y")]));
    assert_eq!(refused, Err(Refusal::MessageEnded { index: 2 }));
    assert_eq!(bench.head("/a"), None, "not even the topic");
    assert_eq!(ready(bench.engine.topics("/", None, 10)), Ok(vec![]));
}

#[test]
fn a_retried_publish_is_one_publish() {
    let bench = memory(1 << 30);
    let producer = |epoch, seq| {
        Some(Producer {
            id: "p".into(),
            epoch,
            seq: Some(seq),
        })
    };
    let with = |producer| Publish {
        producer,
        ..publish(vec![event("a.b", json!(1))])
    };
    let first = bench.append("/a", with(producer(1, 1))).expect("accepted");
    let again = bench.append("/a", with(producer(1, 1))).expect("known");
    assert_eq!((again.range, again.duplicate), (first.range, true));
    assert_eq!(
        bench.append("/a", with(producer(1, 3))),
        Err(Refusal::ProducerGap { expected: 2 })
    );
    assert!(bench.append("/a", with(producer(2, 1))).is_ok());
    assert_eq!(
        bench.append("/a", with(producer(1, 2))),
        Err(Refusal::ProducerFenced { current: 2 })
    );
    assert_eq!(bench.head("/a"), Some(Seq(2)));
}

#[test]
fn a_batch_that_only_shares_an_id_is_no_retry() {
    let bench = memory(1 << 30);
    let with_id = || {
        let data = Bytes::from_static(b"1");
        NewEvent::build("a.b".into(), Some("x".into()), data).expect("a valid event")
    };
    let without = || event("a.b", json!(2));
    let first = bench
        .append("/a", publish(vec![with_id(), without()]))
        .expect("accepted");
    let again = bench
        .append("/a", publish(vec![with_id(), without()]))
        .expect("known");
    assert_eq!((again.range, again.duplicate), (first.range, true));
    let other = bench.append("/a", publish(vec![with_id(), without(), without()]));
    assert_eq!(other, Err(Refusal::IdConflict { indexes: vec![0] }));
}

#[test]
fn exactly_one_ends_an_open_message() {
    let bench = memory(1 << 30);
    bench
        .append("/a", publish(vec![delta("m", "x")]))
        .expect("accepted");
    let lost = || Publish {
        precondition: Some(Precondition::MessageOpen("m".into())),
        ..publish(vec![event(
            "message.interrupted",
            json!({"message_id": "m", "reason": "agent_lost"}),
        )])
    };
    assert!(bench.append("/a", lost()).is_ok());
    assert_eq!(bench.append("/a", lost()), Err(Refusal::PreconditionFailed));
}

#[test]
fn each_life_of_a_topic_has_its_own_epoch() {
    let bench = memory(1 << 30);
    let first = bench
        .append("/a", publish(vec![event("a.b", json!(1))]))
        .expect("accepted");
    assert_eq!(ready(bench.engine.delete(&topic("/a"))), Ok(true));
    assert_eq!(ready(bench.engine.delete(&topic("/a"))), Ok(false));
    assert_eq!(bench.head("/a"), None);
    let second = bench
        .append("/a", publish(vec![event("a.b", json!(1))]))
        .expect("accepted");
    assert_ne!(first.epoch, second.epoch);
    assert_eq!(second.range, Some((Seq(1), Seq(1))));
}

struct Seen(Mutex<Vec<String>>);

impl Watch for Seen {
    fn appeared(&self, topic: &TopicPath) {
        self.0.lock().push(topic.to_string());
    }
}

#[test]
fn watchers_hear_of_every_topic_once_and_lists_are_in_order() {
    let bench = memory(1 << 30);
    let seen = Arc::new(Seen(Mutex::default()));
    bench.engine.watch(seen.clone());
    for name in ["/b/2", "/a/1", "/b/1", "/b/2"] {
        bench
            .append(name, publish(vec![event("a.b", json!(1))]))
            .expect("accepted");
    }
    assert_eq!(*seen.0.lock(), ["/b/2", "/a/1", "/b/1"]);
    let list = |after: Option<&str>| ready(bench.engine.topics("/b/", after, 1)).expect("works");
    assert_eq!(list(None), [topic("/b/1")]);
    assert_eq!(list(Some("/b/1")), [topic("/b/2")]);
    assert_eq!(list(Some("/b/2")), []);
}

#[test]
fn over_the_bound_on_all_logs_the_idlest_topic_loses_its_oldest() {
    let bench = memory(200_000);
    let large = || event("a.b", json!("x".repeat(10_000)));
    for _ in 0..5 {
        bench
            .append("/idle", publish(vec![large()]))
            .expect("accepted");
    }
    bench.clock.fetch_add(1000, Ordering::Relaxed);
    for _ in 0..30 {
        bench
            .append("/busy", publish(vec![large()]))
            .expect("accepted");
    }
    let first = |name: &str| {
        ready(bench.engine.load(&topic(name)))
            .expect("works")
            .expect("exists")
            .read()
            .first()
    };
    assert!(first("/idle") > Seq(5), "the idle topic went first");
    assert!(first("/busy") > Seq(1), "then the busy one");
    assert!(
        bench.engine.totals().bytes <= 220_000,
        "{:?}",
        bench.engine.totals()
    );
}

#[test]
fn an_empty_topic_is_forgotten_with_everything_it_counted() {
    let bench = memory(1 << 30);
    bench
        .append("/a", publish(vec![event("a.b", json!(1))]))
        .expect("accepted");
    bench.clock.fetch_add(601_000, Ordering::Relaxed);
    bench.engine.sweep();
    assert_eq!(
        bench.head("/a"),
        Some(Seq(1)),
        "whoever missed nothing is not reset yet"
    );
    bench.clock.fetch_add(24 * 600_000, Ordering::Relaxed);
    bench.engine.sweep();
    assert_eq!(bench.head("/a"), None);
    assert_eq!(
        (bench.engine.totals().topics, bench.engine.totals().bytes),
        (0, 0)
    );
}

#[test]
fn an_open_message_keeps_its_topic() {
    let bench = memory(1 << 30);
    bench
        .append("/a", publish(vec![delta("m", "x")]))
        .expect("accepted");
    bench.clock.fetch_add(601_000, Ordering::Relaxed);
    bench.engine.sweep();
    let log = ready(bench.engine.load(&topic("/a")))
        .expect("works")
        .expect("still there");
    assert_eq!(log.read().folds().snapshots(Seq(1))[0].parts[0].text, "x");
}

#[test]
fn ended_messages_lose_their_deltas_and_keep_their_text() {
    let bench = memory(1 << 30);
    let end = event("message.completed", json!({"message_id": "m"}));
    bench
        .append(
            "/a",
            publish(vec![delta("m", "a"), delta("n", "b"), delta("m", "c"), end]),
        )
        .expect("accepted");
    let before = bench.engine.totals().bytes;
    bench.clock.fetch_add(61_000, Ordering::Relaxed);
    bench.engine.sweep();
    let log = ready(bench.engine.load(&topic("/a")))
        .expect("works")
        .expect("exists");
    let log = log.read();
    let kept: Vec<u64> = log.entries.iter().map(|entry| entry.seq.0).collect();
    assert_eq!((kept, log.first()), (vec![2, 4], Seq(1)));
    assert!(bench.engine.totals().bytes < before);
}

#[test]
fn a_failing_engine_says_so() {
    // folds alone over the bound: nothing can be freed, nothing is taken
    let bench = memory(40_000);
    bench
        .append("/a", publish(vec![delta("m", &"x".repeat(60_000))]))
        .expect("accepted");
    let answer = ready(
        bench
            .engine
            .append(&topic("/b"), publish(vec![event("a.b", json!(1))])),
    );
    assert!(
        matches!(answer, Err(EngineError::Unavailable(_))),
        "{answer:?}"
    );
}
