//! What all parts of one run share: the peer, the counts, and the first failure, which ends it.
//!
//! Everything runs in one thread; the cells are never borrowed across a wait.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::clock::Clock;
use super::content::Shape;
use super::failure::Failure;
use super::peer::Peer;
use super::process;
use super::report::Report;
use super::tally::{Ledger, Reading, Verdict};
use super::window::{Sample, Windows};

/// Nothing more came for so long: what is missing then is missing.
const QUIET: Duration = Duration::from_secs(10);
/// The longest wait for the last deliveries.
const LAST_DELIVERIES: Duration = Duration::from_secs(120);
/// Of a topic that does not exist (docs/protocol.md, section 5).
const NO_EPOCH: &str = "00000000";
const POLL: Duration = Duration::from_millis(5);

/// How large the run is.
#[derive(Clone, Debug)]
pub struct Size {
    pub readers: usize,
    pub topics: usize,
    /// Topics of each reader.
    pub per_reader: usize,
    pub text_bytes: usize,
    pub shape: Shape,
}

#[derive(Default)]
pub struct Counts {
    pub delivered: Cell<u64>,
    pub accepted: Cell<u64>,
    pub bytes_in: Cell<u64>,
    pub pings: Cell<u64>,
    /// Readers that came back after the broker had sent them away.
    pub came_back: Cell<u64>,
    pub open: Cell<usize>,
    /// Marks of topics that the reader had not asked for.
    pub stray: Cell<u64>,
}

pub fn add(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get() + count);
}

/// A reader reached the goal.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    pub reader: usize,
    pub at_us: u64,
    /// Of its connection until then.
    pub messages: u64,
    pub bytes: u64,
}

pub struct Run {
    pub clock: Clock,
    pub peer: Peer,
    pub size: Size,
    pub pids: Vec<u32>,
    pub ledgers: RefCell<Vec<Ledger>>,
    /// `per_reader` for each reader.
    pub readings: RefCell<Vec<Reading>>,
    pub windows: RefCell<Windows>,
    pub counts: Counts,
    /// Refused events by the code of the refusal.
    pub refusals: RefCell<BTreeMap<String, u64>>,
    /// Refusals that pass are counted; otherwise the first one ends the run.
    pub bears_refusals: Cell<bool>,
    /// Nothing is published that is due from then on.
    pub publish_until_us: Cell<u64>,
    /// By reader: the latency of what was due before is not the broker's, since the reader was away of its own accord.
    pub back_since_us: RefCell<Vec<u64>>,
    /// The number of events of its topic that a reader is waited for, if any.
    pub goal: Cell<u64>,
    pub reached: RefCell<Vec<Reached>>,
    pub peak_rss_kib: Cell<u64>,
    /// Acknowledged events that a look into the broker did not find, and events beyond those that were sent.
    pub not_found: Cell<u64>,
    pub found_twice: Cell<u64>,
    /// Whether all that was owed had the time to come.
    pub is_settled: Cell<bool>,
    pub report: RefCell<Report>,
    sources: Cell<usize>,
    failure: RefCell<Option<Failure>>,
    failed: Notify,
}

impl Run {
    pub fn new(peer: Peer, size: Size, pids: Vec<u32>) -> Self {
        Self {
            clock: Clock::start(),
            ledgers: RefCell::new(vec![Ledger::default(); size.topics]),
            readings: RefCell::new(vec![Reading::default(); size.readers * size.per_reader]),
            peer,
            pids,
            windows: RefCell::default(),
            counts: Counts::default(),
            refusals: RefCell::default(),
            bears_refusals: Cell::new(false),
            publish_until_us: Cell::new(u64::MAX),
            back_since_us: RefCell::new(vec![0; size.readers]),
            goal: Cell::new(0),
            reached: RefCell::default(),
            peak_rss_kib: Cell::new(0),
            not_found: Cell::new(0),
            found_twice: Cell::new(0),
            size,
            is_settled: Cell::new(false),
            report: RefCell::default(),
            sources: Cell::new(0),
            failure: RefCell::new(None),
            failed: Notify::new(),
        }
    }

    pub fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// The first failure ends the run.
    pub fn fail(&self, failure: Failure) {
        self.failure.borrow_mut().get_or_insert(failure);
        self.failed.notify_one();
    }

    pub async fn failed(&self) -> Failure {
        loop {
            self.failed.notified().await;
            if let Some(failure) = self.failure.borrow_mut().take() {
                return failure;
            }
        }
    }

    /// A number for the next connection, which decides on its own address.
    pub fn next_source(&self) -> usize {
        let next = self.sources.get();
        self.sources.set(next + 1);
        next
    }

    /// The first topic of a reader; the others follow it, and the first one follows the last.
    pub fn first_topic(&self, reader: usize) -> usize {
        reader * self.size.per_reader % self.size.topics
    }

    pub fn topics_of(&self, reader: usize) -> Vec<u32> {
        let first = self.first_topic(reader);
        (first..first + self.size.per_reader)
            .map(|topic| (topic % self.size.topics) as u32)
            .collect()
    }

    pub fn readings_of(&self, reader: usize) -> Range<usize> {
        let first = reader * self.size.per_reader;
        first..first + self.size.per_reader
    }

    /// Where a reader of one topic stands. Its log has nothing but the events of this run. A topic that has not begun
    /// has no epoch; seq 0 matches any.
    pub fn position(&self, reader: usize) -> String {
        let ledgers = self.ledgers.borrow();
        let epoch = ledgers[self.first_topic(reader)].epoch();
        let behind = self.readings.borrow()[self.readings_of(reader).start].behind();
        format!("{}:{behind}", epoch.map_or(NO_EPOCH, |epoch| epoch))
    }

    /// Deliveries that are owed to these readers and have not come.
    pub fn outstanding(&self, readers: Range<usize>) -> u64 {
        let (readings, ledgers) = (self.readings.borrow(), self.ledgers.borrow());
        readers
            .flat_map(|reader| self.readings_of(reader).zip(self.topics_of(reader)))
            .map(|(at, topic)| readings[at].outstanding(&ledgers[topic as usize]))
            .sum()
    }

    pub fn verdict(&self) -> Verdict {
        let (readings, ledgers) = (self.readings.borrow(), self.ledgers.borrow());
        let mut verdict = Verdict::default();
        for reader in 0..self.size.readers {
            for (at, topic) in self.readings_of(reader).zip(self.topics_of(reader)) {
                verdict.add(&readings[at], &ledgers[topic as usize]);
            }
        }
        ledgers.iter().for_each(|ledger| verdict.add_topic(ledger));
        verdict.unpromised += self.counts.stray.get();
        verdict.missing += self.not_found.get();
        verdict.repeated += self.found_twice.get();
        verdict
    }

    /// Waits until these readers have all that they are owed, or nothing more comes.
    pub async fn settle(&self, readers: Range<usize>) {
        let begin = Instant::now();
        let (mut last, mut moved) = (u64::MAX, begin);
        loop {
            let outstanding = self.outstanding(readers.clone());
            if outstanding == 0 {
                return;
            }
            if outstanding != std::mem::replace(&mut last, outstanding) {
                moved = Instant::now();
            }
            if moved.elapsed() > QUIET || begin.elapsed() > LAST_DELIVERIES {
                return;
            }
            sleep(POLL).await;
        }
    }

    /// Waits until the moment.
    pub async fn until(&self, us: u64) {
        tokio::time::sleep_until(self.clock.at(us).into()).await;
    }

    pub fn broker_rss_kib(&self) -> u64 {
        let rss = self.pids.iter().filter_map(|&pid| process::rss_kib(pid));
        let rss = rss.sum();
        self.peak_rss_kib.set(self.peak_rss_kib.get().max(rss));
        rss
    }

    pub fn sample(&self) -> Sample {
        let cpu = |pid: &u32| process::cpu_seconds(*pid);
        Sample {
            at_us: self.now_us(),
            delivered: self.counts.delivered.get(),
            accepted: self.counts.accepted.get(),
            own_cpu_s: cpu(&std::process::id()).unwrap_or_default(),
            broker_cpu_s: self.pids.iter().filter_map(cpu).sum(),
            broker_rss_kib: self.broker_rss_kib(),
            bytes_in: self.counts.bytes_in.get(),
        }
    }

    /// From now on a span of its own is measured.
    pub fn open_window(&self, name: &str) {
        self.windows.borrow_mut().open(name, self.sample());
    }

    pub fn close_window(&self) {
        let end = self.sample();
        self.windows.borrow_mut().close(end);
    }

    /// Counts refused events.
    pub fn refuse(&self, code: &str, events: u64) {
        *self
            .refusals
            .borrow_mut()
            .entry(code.to_owned())
            .or_default() += events;
    }

    pub fn figure(&self, name: &str, value: impl Into<serde_json::Value>) {
        self.report.borrow_mut().figure(name, value);
    }
}
