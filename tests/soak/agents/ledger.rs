//! What agents know of their messages: how much was sent, how much was acknowledged, and when an agent
//! was killed over it. Texts are counted, so a number says all of a text.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A topic's number and a message id.
pub type Key = (usize, String);

#[derive(Clone, Debug, Default)]
pub struct Record {
    pub sent: u64,
    pub acked: u64,
    /// Its agent ended it, or tried to.
    pub completed: bool,
    /// The last sign of life of its agent before it was killed, by the clock, and the length of its lease.
    pub killed: Option<(u64, u64)>,
}

#[derive(Default)]
pub struct Ledger {
    records: Mutex<BTreeMap<Key, Record>>,
    ending: AtomicBool,
    failed: AtomicBool,
    /// Every note is printed, too: somebody else keeps the books of this process.
    tells: bool,
    pub counts: Counts,
}

macro_rules! counts {
    ($($field:ident),* $(,)?) => {
        #[derive(Default)]
        pub struct Counts { $(pub $field: AtomicU64),* }
    };
}

counts! {
    attached, killed, child_kills, within, after, anew, twice, displaced,
    fenced, told_ended, posts, duplicates, cut_posts, streams, cut_streams, overtaken,
    slowest_answer,
    drops, sse_drops, delivered,
}

pub fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Unix milliseconds, as the broker on the same machine has them.
pub fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_millis() as u64
}

impl Ledger {
    pub fn telling() -> Ledger {
        Ledger {
            tells: true,
            ..Ledger::default()
        }
    }

    fn with(&self, key: &Key, change: impl FnOnce(&mut Record)) {
        let mut records = self.records.lock().expect("no poisoned ledger");
        change(records.entry(key.clone()).or_default());
    }

    /// So many tokens may have reached the broker.
    pub fn sent(&self, key: &Key, tokens: u64) {
        self.tell('S', key, tokens);
        self.with(key, |record| record.sent = record.sent.max(tokens));
    }

    pub fn acked(&self, key: &Key, tokens: u64) {
        self.tell('A', key, tokens);
        self.with(key, |record| record.acked = record.acked.max(tokens));
    }

    pub fn completed(&self, key: &Key) {
        self.tell('E', key, 0);
        self.with(key, |record| record.completed = true);
    }

    fn tell(&self, what: char, (topic, id): &Key, tokens: u64) {
        if self.tells {
            println!("@{what} {topic} {id} {tokens}");
        }
    }

    /// A line of another process; answers with the message it is about.
    pub fn hear(&self, line: &str) -> Option<Key> {
        let mut words = line.strip_prefix('@')?.split(' ');
        let what = words.next()?;
        let key = (words.next()?.parse().ok()?, words.next()?.to_owned());
        let tokens = words.next()?.parse().ok()?;
        match what {
            "S" => self.sent(&key, tokens),
            "A" => self.acked(&key, tokens),
            "E" => self.completed(&key),
            _ => return None,
        }
        Some(key)
    }

    pub fn acked_of(&self, key: &Key) -> u64 {
        let records = self.records.lock().expect("no poisoned ledger");
        records.get(key).map_or(0, |record| record.acked)
    }

    pub fn killed(&self, key: &Key, alive: u64, lease: u64) {
        self.with(key, |record| record.killed = Some((alive, lease)));
    }

    pub fn came_back(&self, key: &Key) {
        self.with(key, |record| record.killed = None);
    }

    pub fn records(&self) -> BTreeMap<Key, Record> {
        self.records.lock().expect("no poisoned ledger").clone()
    }

    /// Agents stop.
    pub fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst) || self.has_failed()
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}

/// Ends the run when its thread panics.
pub struct FailsOnPanic<'a>(pub &'a Ledger);

impl Drop for FailsOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::SeqCst);
        }
    }
}
