//! The soak of issue 2: the real broker under 200 readers that drop, stall, resume and join at random over
//! 50 topics on both transports, while publishers publish as fast as the checks on the same machine allow.
//! Every reader is checked event by event against what was published: 0 lost, 0 repeated, 0 out of order.
//!
//! `SOAK_SECONDS` (60) and `SOAK_SEED` change a run; `-- --nocapture` shows its figures.

#![allow(clippy::unwrap_used)]

#[allow(
    dead_code,
    unused_imports,
    reason = "the kit of the whole-process tests, of which this needs a part"
)]
#[path = "../promises/support/mod.rs"]
mod support;

mod agents;
mod content;
mod control;
mod crowd;
mod filter;
mod framing;
mod heard;
mod held;
mod history;
mod line;
mod memory;
mod oracle;
mod publish_http;
mod publish_ws;
mod reader;
mod report;
mod script;
mod setup;
mod tally;
mod view;
mod wording;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use fastrand::Rng;

use control::{Control, StopsOnPanic};
use crowd::Crowd;
use memory::{Memory, Sample};
use oracle::Topic;
use report::Report;
use setup::{CROWD_THREADS, HTTP_TOPICS, PUBLISHING_SOCKETS, READERS, Run, TOPICS};
use support::Broker;
use tally::{Checked, Tally};

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_secs(1);
/// Seconds between two lines about how it goes.
const TOLD_EVERY: u64 = 5;

/// Each soak has the machine to itself.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn soak_readers_that_drop_stall_resume_and_join() {
    let _alone = alone();
    let run = Run::from_env();
    println!(
        "soak: seed {} (SOAK_SEED), {:?} (SOAK_SECONDS)",
        run.seed, run.length
    );
    let mut broker = Broker::set_up(setup::broker());
    let mut rng = Rng::with_seed(run.seed);
    let topics: Vec<Arc<Topic>> = (0..TOPICS)
        .map(|number| Arc::new(Topic::new(number, run.seed)))
        .collect();
    let (control, mut memory) = (Control::default(), Memory::default());

    let began = Instant::now();
    let (mut tally, mut crowds) = std::thread::scope(|scope| {
        let publishers = start_publishers(scope, &broker, &topics, &control, &mut rng);
        let readers: Vec<_> = (0..CROWD_THREADS)
            .map(|thread| {
                let mut crowd = Crowd::new(thread, broker.addr, &topics, &control, rng.fork());
                let control = &control;
                scope.spawn(move || {
                    let _guard = StopsOnPanic(control);
                    if let Err(fault) = crowd.run(READERS / CROWD_THREADS) {
                        control.report(fault);
                    }
                    crowd
                })
            })
            .collect();
        watch(&broker, &control, run.length, &mut memory);
        control.end();
        let mut tally = Tally::default();
        for publisher in publishers {
            tally += publisher.join().expect("a publisher that panicked");
        }
        let crowds: Vec<Crowd<'_>> = readers
            .into_iter()
            .map(|reader| reader.join().expect("readers that panicked"))
            .collect();
        (tally, crowds)
    });
    let lasted = began.elapsed();

    check_logs(&broker, &topics, &control, &mut tally);
    let metrics = broker.get("/metrics").text();
    let drained = drain(&mut broker, &mut crowds, &control);
    for crowd in &crowds {
        tally += crowd.tally;
    }
    let faults = control.faults();
    let report = Report {
        run,
        lasted,
        tally,
        memory: memory.thirds(),
        answers: memory.answers(),
        metrics: &metrics,
        faults: &faults,
    };
    println!("{report}");
    assert!(
        faults.is_empty(),
        "{} (SOAK_SEED={})\n{report}",
        faults[0],
        run.seed
    );
    assert!(
        drained.is_some_and(|status| status.success()),
        "SIGTERM: {drained:?}\n{}",
        broker.stderr()
    );
    assert!(!broker.stderr().contains("panicked"), "{}", broker.stderr());
    memory.must_be_flat(run.length);
    report.must_have_seen_everything();
}

type Publisher<'scope> = std::thread::ScopedJoinHandle<'scope, Tally>;

fn start_publishers<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    broker: &Broker,
    topics: &'env [Arc<Topic>],
    control: &'env Control,
    rng: &mut Rng,
) -> Vec<Publisher<'scope>> {
    let mut shuffled = topics.to_vec();
    rng.shuffle(&mut shuffled);
    let (over_http, over_ws) = shuffled.split_at(HTTP_TOPICS);
    let shares = over_ws
        .chunks(over_ws.len().div_ceil(PUBLISHING_SOCKETS))
        .map(<[_]>::to_vec)
        .collect();
    let (over_http, addr) = (over_http.to_vec(), broker.addr);
    let (of_http, of_ws) = (rng.fork(), rng.fork());
    let guarded = move |publish: Checked<Tally>| {
        publish.unwrap_or_else(|fault| {
            control.report(fault);
            Tally::default()
        })
    };
    vec![
        scope.spawn(move || {
            let _guard = StopsOnPanic(control);
            guarded(publish_http::run(addr, over_http, of_http, control))
        }),
        scope.spawn(move || {
            let _guard = StopsOnPanic(control);
            guarded(publish_ws::run(addr, shares, of_ws, control))
        }),
    ]
}

/// Looks at memory until the time is over or something is wrong.
fn watch(broker: &Broker, control: &Control, length: Duration, memory: &mut Memory) {
    let began = Instant::now();
    let (mut before, mut due) = ((0, 0), TOLD_EVERY);
    let mut sample = Sample::default();
    while began.elapsed() < length && !control.is_over() {
        std::thread::sleep(SAMPLE);
        let asked = Instant::now();
        let logs = log_bytes(broker);
        memory.answered(asked.elapsed());
        if let Some(bytes) = logs {
            sample = Sample {
                rss: broker.rss_kb(),
                logs: bytes >> 10,
            };
            memory.sample(sample);
        }
        let published =
            control.published.load(Ordering::Relaxed) + control.posted.load(Ordering::Relaxed);
        let delivered = control.delivered.load(Ordering::Relaxed);
        let second = began.elapsed().as_secs();
        if second >= due {
            due = second + TOLD_EVERY;
            println!(
                "soak: {second:4} s  {:8} published  {:9} delivered  {:4} MiB, logs {} MiB",
                published - before.0,
                delivered - before.1,
                sample.rss >> 10,
                sample.logs >> 10,
            );
            before = (published, delivered);
        }
    }
}

/// What the broker says that all logs take; None where it was too busy to say.
fn log_bytes(broker: &Broker) -> Option<u64> {
    let metrics = broker.get("/metrics").text();
    let line = metrics
        .lines()
        .find(|line| line.starts_with("tidewire_log_bytes"));
    line?.split(' ').nth(1)?.parse().ok()
}

/// The logs themselves, when nothing more comes.
fn check_logs(broker: &Broker, topics: &[Arc<Topic>], control: &Control, tally: &mut Tally) {
    for topic in topics {
        if control.is_over() {
            return;
        }
        if let Err(fault) = history::check(broker, topic, tally) {
            control.report(fault.of("the history"));
        }
    }
}

/// SIGTERM with all readers connected: they are told, and the broker exits.
fn drain(
    broker: &mut Broker,
    crowds: &mut [Crowd<'_>],
    control: &Control,
) -> Option<std::process::ExitStatus> {
    if control.is_over() {
        return None;
    }
    broker.term();
    for crowd in crowds {
        if let Err(fault) = crowd.be_drained() {
            control.report(fault);
        }
    }
    Some(broker.wait_exit())
}
