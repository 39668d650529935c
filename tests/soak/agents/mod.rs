//! Agents that are killed and restarted at random, over 50 topics and under 200 readers: every message ends
//! exactly once, for everybody, and its text is what was acknowledged.

mod attached;
mod ledger;
mod posting;
mod process;
mod readers;
mod verdict;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;

use crate::memory::{Memory, Sample};
use crate::setup::Run;
use crate::support::{Broker, Reader, note};
use attached::Agent;
use ledger::{FailsOnPanic, Ledger};
use posting::Poster;
use readers::{Heads, Wants};
use verdict::Verdict;

pub const TOPICS: usize = 50;
const READERS: usize = 200;
/// Of the 50 agents: threads that reset their connections, processes that are killed, and over HTTP.
const ATTACHED: usize = 32;
const PROCESSES: usize = 4;
const POSTERS: usize = 8;
const STREAMERS: usize = 6;
/// Longer than any lease here: then the last agents are lost.
const LAST_LEASES: Duration = Duration::from_millis(5000);
/// A topic never falls silent for longer.
const NOTE_EVERY: u64 = 5;

pub fn topic_name(number: usize) -> String {
    format!("/agents/talk-{number}")
}

#[test]
fn soak_agents_killed_and_restarted() {
    let _alone = crate::alone();
    let run = Run::from_env();
    println!("agents: seed {}, {:?}", run.seed, run.length);
    let mut broker = Broker::start();
    let (ledger, heads) = (Ledger::default(), Heads::default());
    let mut rng = Rng::with_seed(run.seed);
    let mut memory = Memory::default();
    tell_all(&broker);
    let began = Instant::now();
    let read = std::thread::scope(|scope| {
        let readers = start_readers(scope, broker.addr, &ledger, &heads, &mut rng);
        let agents = start_agents(scope, broker.addr, &ledger, &mut rng);
        watch(&broker, &ledger, run.length, &mut memory);
        ledger.end();
        for agent in agents {
            agent.join().expect("an agent that panicked");
        }
        std::thread::sleep(LAST_LEASES);
        let told = tell_all(&broker);
        *heads.lock().expect("no poisoned heads") = Some(told);
        // each topic once more, so that nobody waits for news to see that it is over
        tell_all(&broker);
        let read = readers
            .into_iter()
            .map(|reader| reader.join().expect("a reader that panicked"));
        read.collect::<Vec<(Wants, Reader)>>()
    });
    let lasted = began.elapsed();
    for topic in 0..TOPICS {
        let open = &broker.topic(&topic_name(topic))["open_messages"];
        assert_eq!(*open, json!([]), "open in topic {topic}");
    }
    let records = ledger.records();
    let mut verdict = Verdict::of_logs(&read, &records);
    for reader in &read {
        verdict.compare(reader);
    }
    report(&ledger, &verdict, &memory, lasted);
    memory_must_be_flat(&memory, run.length);
    assert!(!broker.stderr().contains("panicked"), "{}", broker.stderr());
    broker.assert_healthy();
}

type Handle<'scope, T> = ScopedJoinHandle<'scope, T>;

fn start_readers<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    addr: SocketAddr,
    ledger: &'env Ledger,
    heads: &'env Heads,
    rng: &mut Rng,
) -> Vec<Handle<'scope, (Wants, Reader)>> {
    let start = |number| {
        let mut rng = rng.fork();
        scope.spawn(move || {
            let wants = Wants::of(number, &mut rng);
            let again = Wants {
                topics: wants.topics.clone(),
                ..wants
            };
            (again, readers::read(addr, wants, ledger, heads, rng))
        })
    };
    (0..READERS).map(start).collect()
}

fn start_agents<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    addr: SocketAddr,
    ledger: &'env Ledger,
    rng: &mut Rng,
) -> Vec<Handle<'scope, ()>> {
    let start = |number: usize| {
        let rng = rng.fork();
        scope.spawn(move || {
            let _guard = FailsOnPanic(ledger);
            let others = number.saturating_sub(ATTACHED);
            if number < ATTACHED {
                Agent::new(addr, number, ledger, rng).run();
            } else if others < PROCESSES {
                process::run(addr, number, ledger, rng);
            } else {
                let mut poster = Poster {
                    addr,
                    number,
                    ledger,
                    rng,
                };
                if others < PROCESSES + POSTERS {
                    poster.post()
                } else {
                    poster.stream()
                }
            }
        })
    };
    let agents = ATTACHED + PROCESSES + POSTERS + STREAMERS;
    (0..agents).map(start).collect()
}

/// A note in every topic: the heads.
fn tell_all(broker: &Broker) -> Vec<u64> {
    let mut http = broker.http();
    let mut tell = |topic| {
        let answer = http.publish(&topic_name(topic), json!([note(1)]));
        answer["last_seq"].as_u64().expect("a seq")
    };
    (0..TOPICS).map(&mut tell).collect()
}

fn watch(broker: &Broker, ledger: &Ledger, length: Duration, memory: &mut Memory) {
    let began = Instant::now();
    let mut due = NOTE_EVERY;
    while began.elapsed() < length && !ledger.has_failed() {
        std::thread::sleep(Duration::from_secs(1));
        let asked = Instant::now();
        let logs = crate::log_bytes(broker);
        memory.answered(asked.elapsed());
        if let Some(logs) = logs {
            memory.sample(Sample {
                rss: broker.rss_kb(),
                logs: logs >> 10,
            });
        }
        let second = began.elapsed().as_secs();
        if second >= due {
            due = second + NOTE_EVERY;
            tell_all(broker);
            let delivered = ledger.counts.delivered.load(Ordering::Relaxed);
            println!(
                "agents: {second:4} s  {delivered:9} delivered, {} messages",
                ledger.records().len()
            );
        }
    }
}

/// What grows beyond the logs themselves grows without end.
fn memory_must_be_flat(memory: &Memory, length: Duration) {
    let thirds = memory.thirds();
    let logs = thirds.last.logs.saturating_sub(thirds.second.logs);
    let bound = thirds.second.rss + thirds.second.rss / 6 + (6 << 10) + logs;
    let flat = thirds.last.rss <= bound || length < Duration::from_secs(30);
    assert!(flat, "memory grows: {thirds:?}");
}

fn report(ledger: &Ledger, verdict: &Verdict, memory: &Memory, lasted: Duration) {
    let c = &ledger.counts;
    let n = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    println!("agents: {:.1} s", lasted.as_secs_f64());
    println!(
        "  agents      {} attached, {} killed by a reset, {} by kill -9",
        n(&c.attached),
        n(&c.killed),
        n(&c.child_kills)
    );
    println!(
        "  came back   {} within the lease, {} after it, {} as a new run; {} times two at once ({} displaced, {} fenced first)",
        n(&c.within),
        n(&c.after),
        n(&c.anew),
        n(&c.twice),
        n(&c.displaced),
        n(&c.fenced)
    );
    println!(
        "  over HTTP   {} publishes, {} cut before the answer, {} known already; {} streams, {} cut, {} overtaken by the one before; answered within {} ms",
        n(&c.posts),
        n(&c.cut_posts),
        n(&c.duplicates),
        n(&c.streams),
        n(&c.cut_streams),
        n(&c.overtaken),
        n(&c.slowest_answer)
    );
    println!(
        "  messages    {} ended, each once: {:?}; {} publishers told that theirs had",
        verdict.ends.len(),
        verdict.by_reason,
        n(&c.told_ended)
    );
    println!(
        "  texts       {} compared; {} tokens kept that nobody was told of",
        verdict.compared, verdict.unacknowledged
    );
    println!(
        "  delivered   {} frames and blocks; readers cut {} over WebSocket, {} over SSE",
        n(&c.delivered),
        n(&c.drops),
        n(&c.sse_drops)
    );
    let late = |share: usize| {
        verdict
            .late
            .get((verdict.late.len() * share / 100).min(verdict.late.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    };
    println!(
        "  lost agents {} messages ended after the lease: {} ms later (median), {} at 99 %, {} at most; {} beyond a second",
        verdict.late.len(),
        late(50),
        late(99),
        late(100),
        verdict.broken_promises
    );
    let m = memory.thirds();
    println!(
        "  memory      {} KiB in the first third, {} in the second, {} in the last (RSS); logs {}, {}, {}",
        m.warm_up.rss, m.second.rss, m.last.rss, m.warm_up.logs, m.second.logs, m.last.logs
    );
    println!(
        "  bystander   answered within {:.1?} (median), {:.1?} at most",
        memory.answers().0,
        memory.answers().1
    );
}
