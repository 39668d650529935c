//! Killed at any moment, under publishers who repeat what was not acknowledged and readers who resume.

use std::thread::Scope;
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;

use crate::history::{self, History};
use crate::life::{EndsOnPanic, Life};
use crate::publisher;
use crate::script::Script;
use crate::setup::{chance, on_disk, rounds, stop};
use crate::support::reader::View;
use crate::support::{Ask, BOTH, Broker, Follower, Transport};

const TOPICS: [&str; 3] = ["/kill/a", "/kill/b", "/kill/c"];
/// The last thing said in each topic.
const LAST: &str = "test.over";
/// Nothing leaves the logs during a run.
const KEEPS_ALL: &str = "
limits.compact_after = '1h'
limits.log_bytes = '4GiB'
[defaults]
retention_events = 100000000
retention_bytes = '4GiB'
";

/// What a run came to.
struct Outcome {
    /// By topic.
    histories: Vec<History>,
    readers: Vec<(usize, Transport, View)>,
    /// Those who joined in the middle of things, after each start.
    joined: Vec<(usize, View)>,
    broker: Broker,
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kills() {
    let mut rng = chance("kill");
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::set_up(on_disk(dir.path(), KEEPS_ALL, &[]));
    let outcome = run(broker, &mut rng, rounds());
    for (topic, transport, view) in &outcome.readers {
        println!("{transport:?} of {}: {} events", TOPICS[*topic], view.seq);
        outcome.histories[*topic].was_read_raw(view);
    }
    for (topic, view) in &outcome.joined {
        outcome.histories[*topic].was_joined(view);
    }
}

#[test]
fn lax_topics_begin_a_new_epoch_after_a_kill_and_none_after_a_clean_stop() {
    let mut rng = chance("kill, lax");
    let dir = tempfile::tempdir().unwrap();
    let lax = ["--disk-sync", "interval", "--disk-deliver", "early"];
    let broker = Broker::set_up(on_disk(dir.path(), KEEPS_ALL, &lax));
    let kills = rounds() / 3 + 1;
    let outcome = run(broker, &mut rng, kills);
    for (topic, _, view) in &outcome.readers {
        assert_eq!(view.resets.len() as u64, kills, "{:?}", view.resets);
        assert!(view.resets.iter().all(|reason| reason == "epoch"));
        outcome.histories[*topic].was_read(view);
    }

    let mut broker = outcome.broker;
    let (topic, before) = (TOPICS[0], &outcome.histories[0]);
    let mut reader = Follower::open(Transport::Sse, broker.addr, Ask::topic(topic).from("start"));
    reader.until_seq(topic, before.head);
    reader.cut();
    stop(&mut broker);
    broker.start_again();
    broker.publish(topic, json!([{ "type": "test.after", "data": 1 }]));
    reader.come_back();
    let view = reader.until_seq(topic, before.head + 1);
    assert_eq!((&view.resets, &view.gaps), (&vec![], &vec![]));
    for (topic, history) in TOPICS.iter().zip(&outcome.histories) {
        assert_eq!(history::epoch(&broker, topic), history.epoch, "{topic}");
    }
}

/// Publishes and reads while the broker is killed so many times; what was said is compared with what is kept.
fn run(broker: Broker, rng: &mut Rng, kills: u64) -> Outcome {
    let life = Life::of(broker);
    for topic in TOPICS {
        life.broker()
            .publish(topic, json!([{ "type": "test.begun", "data": 1 }]));
    }
    let (joined, scripts, readers) = std::thread::scope(|scope| {
        let _ends = EndsOnPanic(&life);
        let publishers = start_publishers(scope, &life, rng);
        let readers: Vec<_> = (0..TOPICS.len())
            .flat_map(|topic| BOTH.map(|transport| (topic, transport)))
            .map(|(topic, transport)| {
                let life = &life;
                let reading = scope.spawn(move || follow(life, topic, transport));
                (topic, transport, reading)
            })
            .collect();
        let joined = kill_again_and_again(&life, rng, kills);
        life.end();
        let said = publishers
            .into_iter()
            .flat_map(|p| p.join().expect("it was understood"));
        let scripts: Vec<Script> = said.collect();
        for topic in TOPICS {
            life.broker()
                .publish(topic, json!([{ "type": LAST, "data": 1 }]));
        }
        let readers = readers.into_iter().map(|(topic, transport, reading)| {
            (
                topic,
                transport,
                reading.join().expect("it was told the truth"),
            )
        });
        (joined, scripts, readers.collect())
    });
    let age = life.age();
    let broker = life.into_broker();
    assert!(!broker.stderr().contains("panicked"), "{}", broker.stderr());
    let histories: Vec<History> = TOPICS.iter().map(|t| history::read(&broker, t)).collect();
    let batches: usize = scripts.iter().map(|script| script.batches.len()).sum();
    let events: u64 = histories.iter().map(|history| history.head).sum();
    println!("{kills} kills in {age:.1?}: {batches} publishes, {events} events");
    for (topic, history) in TOPICS.iter().zip(&histories) {
        check(topic, history, &scripts);
    }
    Outcome {
        histories,
        readers,
        joined,
        broker,
    }
}

fn check(topic: &str, history: &History, scripts: &[Script]) {
    let here: Vec<&Script> = scripts.iter().filter(|s| s.topic == topic).collect();
    history.holds(&here);
}

fn start_publishers<'scope>(
    scope: &'scope Scope<'scope, '_>,
    life: &'scope Life,
    rng: &mut Rng,
) -> Vec<std::thread::ScopedJoinHandle<'scope, Vec<Script>>> {
    let mut publishers = Vec::new();
    for who in ["http-1", "http-2", "ws-1", "ws-2"] {
        let scripts: Vec<Script> = TOPICS
            .iter()
            .map(|topic| Script::new(topic, who, who == "http-2", rng.fork()))
            .collect();
        publishers.push(scope.spawn(move || {
            let _ends = EndsOnPanic(life);
            match who.starts_with("http") {
                true => publisher::over_http(life, scripts),
                false => publisher::over_ws(life, scripts),
            }
        }));
    }
    publishers
}

/// Reads from the beginning to the end, through all starts.
fn follow(life: &Life, topic: usize, transport: Transport) -> View {
    let _ends = EndsOnPanic(life);
    let topic = TOPICS[topic];
    let ask = Ask::topic(topic).from("start");
    let mut reader = {
        let broker = life.broker();
        Follower::open(transport, broker.addr, ask)
    };
    // whole, so that the texts of open messages are there too
    let is_over = |view: &View| {
        let last = view.events.last();
        last.is_some_and(|event| event["type"] == LAST) && !view.partial
    };
    while !is_over(reader.reader.view(topic)) {
        if reader.step().is_none() {
            let _broker = life.broker();
            reader.come_back();
        }
    }
    reader.reader.view(topic).clone()
}

fn kill_again_and_again(life: &Life, rng: &mut Rng, kills: u64) -> Vec<(usize, View)> {
    let mut joined = Vec::new();
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        life.go_on(rng.u64(20..1200));
        // any moment between two answers
        std::thread::sleep(Duration::from_micros(rng.u64(..3000)));
        if life.is_over() {
            break;
        }
        slowest = slowest.max(life.kill_and_start());
        let broker = life.broker();
        for (number, topic) in TOPICS.iter().enumerate() {
            let transport = BOTH[rng.usize(..BOTH.len())];
            let mut late = Follower::open(transport, broker.addr, Ask::topic(topic));
            joined.push((number, late.until_whole(topic, 0).clone()));
        }
    }
    println!("the slowest start took {slowest:.1?}");
    joined
}
