//! What every engine must hold, as tests that run on each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::disk::{Deliver, DiskEngine, DiskSettings, Sync};
use super::memory::{MemorySettings, Observer};
use super::{Engine, EngineError, MemoryEngine, Pending, Watch};
use crate::event::{NewEvent, Seq, TopicPath};
use crate::log::idempotency::Producer;
use crate::log::retention::TrimCause;
use crate::log::shared::Wake;
use crate::log::{Appended, Ending, Publish, Refusal, Retention, SharedLog};

const COMPACT_AFTER: Duration = Duration::from_secs(60);

struct Bench {
    engine: Arc<dyn Engine>,
    clock: Arc<AtomicU64>,
    _folder: Option<tempfile::TempDir>,
}

/// Has no use for what it is told.
struct Blind;

impl Observer for Blind {
    fn trimmed(&self, _: &TopicPath, _: TrimCause, _: u64) {}

    fn controls_expired(&self, _: u64) {}
}

/// Makes an engine of one kind, with a bound on all logs in memory.
type Make = fn(usize) -> Bench;

macro_rules! every_engine {
    ($($test:ident,)*) => {
        mod on_memory {
            $(#[test] fn $test() { super::$test(super::memory); })*
        }
        mod on_disk {
            $(#[test] fn $test() { super::$test(super::disk); })*
        }
    };
}

every_engine! {
    seqs_are_assigned_without_holes_and_batches_are_contiguous,
    what_is_refused_leaves_nothing_behind,
    a_retried_publish_is_one_publish,
    a_batch_that_only_shares_an_id_is_no_retry,
    whoever_ends_a_lost_agents_messages_each_ends_once,
    the_latest_run_of_a_producer_is_known_over_all_topics,
    a_control_event_is_kept_until_an_agent_has_it,
    each_life_of_a_topic_has_its_own_epoch,
    watchers_hear_of_every_topic_once_and_lists_are_in_order,
    an_empty_topic_is_forgotten_with_everything_it_counted,
    an_open_message_keeps_its_topic,
    ended_messages_lose_their_deltas_and_keep_their_text,
    who_follows_is_woken_once_until_it_looks,
    a_newer_run_fences_the_older,
    retention_is_by_count_bytes_and_age,
    an_open_message_knows_the_lease_of_its_run,
    a_page_begins_behind_the_last_one,
    what_is_deleted_tells_its_readers,
    kept_bookmarks_disturb_no_log,
}

/// On disk a topic that nobody uses leaves the memory, and is whole.
#[test]
fn over_the_bound_on_memory_an_unused_topic_leaves_it_whole() {
    let bench = disk(200_000);
    let large = || event("a.b", json!("x".repeat(10_000)));
    for name in ["/idle", "/busy"] {
        for _ in 0..12 {
            let accepted = bench.append(name, publish(vec![large()]));
            accepted.expect("accepted");
        }
        bench.clock.fetch_add(1000, Ordering::Relaxed);
    }
    assert_eq!(bench.engine.totals().in_memory, 1, "one was let go");
    for name in ["/idle", "/busy"] {
        let log = bench.load(name);
        let log = log.read();
        assert_eq!((log.first(), log.entries.len()), (Seq(1), 12), "{name}");
    }
}

mod bounds_of_memory {
    #[test]
    fn over_the_bound_on_all_logs_the_idlest_topic_loses_its_oldest() {
        super::over_the_bound_on_all_logs_the_idlest_topic_loses_its_oldest(super::memory);
    }
    #[test]
    fn a_failing_engine_says_so() {
        super::a_failing_engine_says_so(super::memory);
    }
}

fn disk(max_bytes: usize) -> Bench {
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let now = clock.clone();
    let folder = tempfile::tempdir().expect("a folder");
    let engine = DiskEngine::open(DiskSettings {
        dir: folder.path().join("data"),
        new_epoch: "storetest".into(),
        clock: Arc::new(move || now.load(Ordering::Relaxed)),
        retention: Arc::new(|_| retention()),
        max_bytes,
        cache_bytes: 8 << 20,
        compact_after: COMPACT_AFTER,
        let_go_after: Duration::from_secs(60),
        sync: Sync::Always,
        deliver: Deliver::Durable,
        observer: Arc::new(Blind),
    });
    Bench {
        engine: Arc::new(engine.expect("it opens")),
        clock,
        _folder: Some(folder),
    }
}

fn retention() -> Retention {
    Retention {
        events: 100,
        bytes: 1 << 20,
        age: Duration::from_secs(600),
    }
}

fn memory(max_bytes: usize) -> Bench {
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let now = clock.clone();
    let engine = MemoryEngine::new(MemorySettings {
        store_epoch: "storetest".into(),
        clock: Arc::new(move || now.load(Ordering::Relaxed)),
        retention: Arc::new(|_| retention()),
        max_bytes,
        compact_after: COMPACT_AFTER,
        observer: Arc::new(Blind),
    });
    Bench {
        engine: Arc::new(engine),
        clock,
        _folder: None,
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
        lease_ms: None,
    }
}

fn ready<T>(pending: Pending<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(pending.wait())
}

impl Bench {
    fn append(&self, name: &str, publish: Publish) -> Result<Appended, Refusal> {
        ready(self.engine.append(&topic(name), publish)).expect("the engine works")
    }

    fn load(&self, name: &str) -> Arc<SharedLog> {
        let log = ready(self.engine.load(&topic(name))).expect("the engine works");
        log.expect("it exists")
    }

    fn head(&self, name: &str) -> Option<Seq> {
        let log = ready(self.engine.load(&topic(name))).expect("the engine works")?;
        let head = log.read().head();
        Some(head)
    }
}

fn seqs_are_assigned_without_holes_and_batches_are_contiguous(make: Make) {
    let bench = make(1 << 30);
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

fn what_is_refused_leaves_nothing_behind(make: Make) {
    let bench = make(1 << 30);
    let ended = event(
        "message.interrupted",
        json!({"message_id": "m", "reason": "error"}),
    );
    let refused = bench.append("/a", publish(vec![delta("m", "x"), ended, delta("m", "y")]));
    assert_eq!(refused, Err(Refusal::MessageEnded { index: 2 }));
    assert_eq!(bench.head("/a"), None, "not even the topic");
    assert_eq!(ready(bench.engine.topics("/", None, 10)), Ok(vec![]));
}

fn a_retried_publish_is_one_publish(make: Make) {
    let bench = make(1 << 30);
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

fn a_batch_that_only_shares_an_id_is_no_retry(make: Make) {
    let bench = make(1 << 30);
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

fn whoever_ends_a_lost_agents_messages_each_ends_once(make: Make) {
    let bench = make(1 << 30);
    let of_agent = |message: &str, producer: &str, epoch| Publish {
        producer: Some(Producer {
            id: producer.into(),
            epoch,
            seq: None,
        }),
        ..publish(vec![delta(message, "x")])
    };
    for (message, producer, epoch) in [("m", "p", 1), ("n", "p", 1), ("o", "p", 2), ("q", "q", 1)] {
        bench
            .append("/a", of_agent(message, producer, epoch))
            .expect("accepted");
    }
    let lost = || Ending::Run {
        principal: "".into(),
        producer: "p".into(),
        epoch: 1,
    };
    let ended: usize = std::thread::scope(|scope| {
        let end = || ready(bench.engine.end(&topic("/a"), lost())).expect("works");
        let all: Vec<_> = (0..4).map(|_| scope.spawn(end)).collect();
        all.into_iter()
            .map(|one| one.join().expect("no panic"))
            .sum()
    });
    assert_eq!((ended, bench.head("/a")), (2, Some(Seq(6))));
    assert_eq!(ready(bench.engine.end(&topic("/nowhere"), lost())), Ok(0));
    let mut open = Vec::new();
    bench
        .engine
        .idle_messages(u64::MAX, &mut |_, fold| open.push(fold.message.to_string()));
    open.sort();
    assert_eq!(open, ["o", "q"]);
}

fn the_latest_run_of_a_producer_is_known_over_all_topics(make: Make) {
    let bench = make(1 << 30);
    let (me, p): (Arc<str>, Arc<str>) = ("".into(), "p".into());
    let run = |epoch| Publish {
        producer: Some(Producer {
            id: p.clone(),
            epoch,
            seq: Some(1),
        }),
        ..publish(vec![event("a.b", json!(1))])
    };
    assert_eq!(ready(bench.engine.last_epoch(&me, &p)), Ok(None));
    for (name, epoch) in [("/a", 3), ("/b", 7), ("/c", 5)] {
        bench.append(name, run(epoch)).expect("accepted");
        bench.engine.sweep();
    }
    assert_eq!(ready(bench.engine.last_epoch(&me, &p)), Ok(Some(7)));
}

fn a_control_event_is_kept_until_an_agent_has_it(make: Make) {
    let bench = make(1 << 30);
    let cancel = event("run.cancel", json!({"message_id": "m"}));
    let batch = publish(vec![delta("m", "x"), cancel.clone(), cancel]);
    bench.append("/a", batch).expect("accepted");
    let log = ready(bench.engine.load(&topic("/a")))
        .expect("works")
        .expect("exists");
    let kept = || {
        let log = log.read();
        let kept = log.controls().pending();
        kept.map(|entry| entry.seq.0).collect::<Vec<_>>()
    };
    assert_eq!(kept(), [2, 3]);
    let acknowledge = |seq| ready(bench.engine.acknowledge(&topic("/a"), Seq(seq)));
    assert_eq!((acknowledge(2), acknowledge(2)), (Ok(true), Ok(false)));
    assert_eq!(kept(), [3]);
    let end = event("message.completed", json!({"message_id": "m"}));
    bench.append("/a", publish(vec![end])).expect("accepted");
    assert_eq!(kept(), [0u64; 0]);
    let late = event("run.cancel", json!({"message_id": "m"}));
    bench.append("/a", publish(vec![late])).expect("accepted");
    assert_eq!(kept(), [0u64; 0], "its message has ended");
}

fn each_life_of_a_topic_has_its_own_epoch(make: Make) {
    let bench = make(1 << 30);
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

fn watchers_hear_of_every_topic_once_and_lists_are_in_order(make: Make) {
    let bench = make(1 << 30);
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

#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(&self, _: &TopicPath) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn who_follows_is_woken_once_until_it_looks(make: Make) {
    let bench = make(1 << 30);
    let say = || {
        let accepted = bench.append("/a", publish(vec![event("a.b", json!(1))]));
        accepted.expect("accepted");
    };
    say();
    let log = bench.load("/a");
    let woken = Arc::new(Woken::default());
    let follower = log.follow(woken.clone()).expect("it is in use");
    let count = || woken.0.load(Ordering::SeqCst);
    say();
    say();
    assert_eq!(count(), 1);
    follower.begin();
    say();
    assert_eq!((count(), log.read().head()), (2, Seq(4)));
    // it is not let go while somebody follows
    bench.clock.fetch_add(500_000, Ordering::Relaxed);
    bench.engine.sweep();
    bench.engine.sweep();
    assert!(Arc::ptr_eq(&log, &bench.load("/a")));
    log.unfollow(&follower);
    follower.begin();
    say();
    assert_eq!(count(), 2);
}

fn a_newer_run_fences_the_older(make: Make) {
    let bench = make(1 << 30);
    let say = |epoch, seq| {
        let by = Publish {
            producer: Some(producer_of(epoch, seq)),
            ..publish(vec![event("a.b", json!(1))])
        };
        bench.append("/a", by)
    };
    say(1, 1).expect("accepted");
    say(2, 1).expect("a newer run begins at 1");
    let fenced = Err(Refusal::ProducerFenced { current: 2 });
    assert_eq!(say(1, 2), fenced);
    assert_eq!(say(1, 1), fenced, "its retries too");
    assert_eq!(say(2, 3), Err(Refusal::ProducerGap { expected: 2 }));
    assert_eq!(say(2, 2).expect("the next").range, Some((Seq(3), Seq(3))));
}

fn retention_is_by_count_bytes_and_age(make: Make) {
    let bench = make(1 << 30);
    let edges = |name: &str| {
        let log = bench.load(name);
        let log = log.read();
        (log.first().0, log.head().0)
    };
    for n in 0..120 {
        let accepted = bench.append("/count", publish(vec![event("a.b", json!(n))]));
        accepted.expect("accepted");
    }
    assert_eq!(edges("/count"), (21, 120));
    for _ in 0..6 {
        let large = event("a.b", json!("x".repeat(200_000)));
        let accepted = bench.append("/bytes", publish(vec![large]));
        accepted.expect("accepted");
    }
    assert_eq!(edges("/bytes"), (2, 6));
    bench.clock.fetch_add(600_000, Ordering::Relaxed);
    bench.engine.sweep();
    assert_eq!(edges("/count"), (121, 120), "all are too old");
}

fn an_open_message_knows_the_lease_of_its_run(make: Make) {
    let bench = make(1 << 30);
    let by = Publish {
        producer: Some(producer_of(3, 1)),
        lease_ms: Some(42_000),
        ..publish(vec![delta("m", "x")])
    };
    bench.append("/a", by).expect("accepted");
    let mut open = Vec::new();
    bench.engine.idle_messages(u64::MAX, &mut |topic, fold| {
        open.push((topic.to_string(), fold.run, fold.lease_ms));
    });
    assert_eq!(open, [("/a".to_owned(), 3, Some(42_000))]);
}

fn a_page_begins_behind_the_last_one(make: Make) {
    let bench = make(1 << 30);
    for n in [5, 3, 1, 4, 2] {
        let name = format!("/p/{n}");
        let accepted = bench.append(&name, publish(vec![event("a.b", json!(1))]));
        accepted.expect("accepted");
    }
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = ready(bench.engine.topics("/p/", after.as_deref(), 2)).expect("works");
        after = page.last().map(ToString::to_string);
        found.extend(page);
        if after.is_none() {
            break;
        }
    }
    let all: Vec<_> = (1..=5).map(|n| topic(&format!("/p/{n}"))).collect();
    assert_eq!(found, all);
}

fn what_is_deleted_tells_its_readers(make: Make) {
    let bench = make(1 << 30);
    let say = || bench.append("/a", publish(vec![event("a.b", json!(1))]));
    say().expect("accepted");
    let log = bench.load("/a");
    let woken = Arc::new(Woken::default());
    let follower = log.follow(woken.clone());
    assert_eq!(ready(bench.engine.delete(&topic("/a"))), Ok(true));
    assert!(follower.is_some() && log.is_deleted());
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    say().expect("a new life");
    assert!(!Arc::ptr_eq(&log, &bench.load("/a")));
}

fn producer_of(epoch: u64, seq: u64) -> Producer {
    Producer {
        id: "p".into(),
        epoch,
        seq: Some(seq),
    }
}

fn over_the_bound_on_all_logs_the_idlest_topic_loses_its_oldest(make: Make) {
    let bench = make(200_000);
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

fn an_empty_topic_is_forgotten_with_everything_it_counted(make: Make) {
    let bench = make(1 << 30);
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
    // an engine may do so in its own time
    wait_until("it is forgotten", || bench.head("/a").is_none());
    assert_eq!(
        (bench.engine.totals().topics, bench.engine.totals().bytes),
        (0, 0)
    );
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never: {what}");
}

fn an_open_message_keeps_its_topic(make: Make) {
    let bench = make(1 << 30);
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

fn ended_messages_lose_their_deltas_and_keep_their_text(make: Make) {
    let bench = make(1 << 30);
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

fn a_failing_engine_says_so(make: Make) {
    // folds alone over the bound: nothing can be freed, nothing is taken
    let bench = make(40_000);
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

/// An engine that ends with its process has none to show.
fn kept_bookmarks_disturb_no_log(make: Make) {
    let bench = make(1 << 30);
    let keep = |key: &str, value: Option<&str>| {
        let change = (key.into(), value.map(|value| value.into()));
        bench.engine.keep_bookmarks(vec![change])
    };
    for n in 1..=5 {
        let value = n.to_string();
        let pending = keep("a", Some(&value));
        let appended = bench.append("/a", publish(vec![event("a.b", json!(n))]));
        assert_eq!(appended.expect("accepted").range, Some((Seq(n), Seq(n))));
        assert_eq!(ready(pending), Ok(()));
        assert_eq!(ready(keep("b", Some(&value))), Ok(()));
    }
    assert_eq!(ready(keep("b", None)), Ok(()));
    let mut kept = Vec::new();
    let shown = bench
        .engine
        .bookmarks(&mut |key, value| kept.push((key.to_vec(), value.to_vec())));
    assert_eq!(shown, Ok(()));
    assert!(kept.is_empty() || kept == [(b"a".to_vec(), b"5".to_vec())]);
    assert_eq!(
        ready(bench.engine.topics("/", None, 10)),
        Ok(vec![topic("/a")])
    );
    assert_eq!(bench.head("/a"), Some(Seq(5)));
}
