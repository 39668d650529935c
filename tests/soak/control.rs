//! What the threads of a run share: when to end, and whether publishers may go on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::tally::Fault;

/// One for the WebSockets and one for HTTP.
const PUBLISHING_THREADS: usize = 2;
/// Faults that are kept in words.
const MAX_TOLD: usize = 12;

#[derive(Default)]
pub struct Control {
    ending: AtomicBool,
    over: AtomicBool,
    farewells: AtomicUsize,
    faults: Mutex<Vec<Fault>>,
    /// Events published so far, over WebSockets and over HTTP.
    pub published: AtomicU64,
    pub posted: AtomicU64,
    pub delivered: AtomicU64,
}

impl Control {
    /// Publishers say farewell, and readers come back to read what is left.
    pub fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// One of the publishing threads has its last answer.
    pub fn say_farewell(&self) {
        self.farewells.fetch_add(1, Ordering::SeqCst);
    }

    pub fn has_said_farewell(&self) -> bool {
        self.farewells.load(Ordering::SeqCst) == PUBLISHING_THREADS
    }

    /// Everybody stops where they are.
    pub fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// A fault ends the run: it can be looked at while it is fresh.
    pub fn report(&self, fault: Fault) {
        let mut faults = self.faults.lock().expect("no poisoned faults");
        if faults.len() < MAX_TOLD {
            faults.push(fault);
        }
        self.stop();
    }

    pub fn faults(&self) -> Vec<Fault> {
        self.faults.lock().expect("no poisoned faults").clone()
    }
}

/// Stops the run when its thread panics, so that nobody waits for it.
pub struct StopsOnPanic<'a>(pub &'a Control);

impl Drop for StopsOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}
