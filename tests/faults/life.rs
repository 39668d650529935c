//! A broker that is killed again and again under those who use it.
//!
//! Connecting holds the read half, so nobody is in the middle of a handshake when it is killed; everything
//! else is cut wherever it is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{RwLock, RwLockReadGuard};

use crate::support::{Broker, PATIENCE, eventually};

pub struct Life {
    broker: RwLock<Broker>,
    over: AtomicBool,
    /// Publishes that were answered.
    pub answered: AtomicU64,
    started: Instant,
}

/// Ends the life when its test fails, so that all threads end.
pub struct EndsOnPanic<'a>(pub &'a Life);

impl Drop for EndsOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end();
        }
    }
}

impl Life {
    pub fn of(broker: Broker) -> Life {
        Life {
            broker: RwLock::new(broker),
            over: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    /// The broker, which lives as long as this is held.
    pub fn broker(&self) -> RwLockReadGuard<'_, Broker> {
        self.broker.read()
    }

    pub fn kill_and_start(&self) -> Duration {
        let mut broker = self.broker.write();
        broker.kill();
        let begin = Instant::now();
        broker.start_again();
        begin.elapsed()
    }

    pub fn into_broker(self) -> Broker {
        self.broker.into_inner()
    }

    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub fn count_answer(&self) {
        self.answered.fetch_add(1, Ordering::SeqCst);
    }

    /// Until so many more publishes were answered.
    pub fn go_on(&self, publishes: u64) {
        let goal = self.answered.load(Ordering::SeqCst) + publishes;
        eventually("more publishes", || {
            let is_there = self.answered.load(Ordering::SeqCst) >= goal;
            (is_there || self.is_over()).then_some(())
        });
    }

    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The bound on one answer.
pub fn patience() -> Instant {
    Instant::now() + PATIENCE
}
