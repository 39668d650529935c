//! What one of a scope has taken, and the taking from several at once.
//!
//! Invariants:
//! - all or nothing: every meter is asked under its lock before any of them is changed, so a refusal changes
//!   nothing and nobody sees half of it;
//! - meters are locked in the order of their scopes, at most one of each, so nobody waits in a circle;
//! - connections and subscriptions are counted where they are not bounded too: a bound may come later.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::bucket::{Bound, Bucket};
use super::limited::{Limited, Scope, What};
use crate::config::Quota;

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask {
    pub connections: u64,
    pub subscriptions: u64,
    pub events: u64,
    pub bytes: u64,
    pub topics: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    quota: Quota,
    pub connections: u64,
    pub subscriptions: u64,
    pub events: Bucket,
    pub bytes: Bucket,
    pub topics: Bucket,
}

/// How much one connection, subject, key, address or namespace has taken.
#[derive(Debug)]
pub struct Meter {
    scope: Scope,
    /// Kept beside the quota, for those who only want to know that.
    bounds_topics: AtomicBool,
    pub(super) state: Mutex<State>,
}

impl Meter {
    pub fn new(scope: Scope, quota: Quota) -> Self {
        Self {
            scope,
            bounds_topics: AtomicBool::new(quota.topics_per_minute > 0),
            state: Mutex::new(State {
                quota,
                connections: 0,
                subscriptions: 0,
                events: Bucket::default(),
                bytes: Bucket::default(),
                topics: Bucket::default(),
            }),
        }
    }

    /// One whose buckets are as those of `before`, in which it took part until now.
    pub fn after(before: &Self, quota: Quota) -> Self {
        let meter = Self::new(before.scope, quota);
        {
            let (mut state, before) = (meter.state.lock(), before.state.lock());
            state.events = before.events;
            state.bytes = before.bytes;
            state.topics = before.topics;
        }
        meter
    }

    /// The configuration may say something else now; what was taken stays taken.
    pub fn set_quota(&self, quota: Quota) {
        let mut state = self.state.lock();
        if state.quota != quota {
            state.quota = quota;
            let bounds = quota.topics_per_minute > 0;
            self.bounds_topics.store(bounds, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    pub fn bounds_topics(&self) -> bool {
        self.bounds_topics.load(Ordering::Relaxed)
    }

    /// Gives back connections and subscriptions.
    pub fn give_back(&self, ask: Ask) {
        let mut state = self.state.lock();
        state.connections = state.connections.saturating_sub(ask.connections);
        state.subscriptions = state.subscriptions.saturating_sub(ask.subscriptions);
    }

    pub fn give_topic_back(&self, taken_at: u64, now: u64) {
        let mut state = self.state.lock();
        let bound = state.topics_bound();
        state.topics.give_back(bound, 1, taken_at, now);
    }

    /// Whether a new one would be the same.
    pub fn is_unused(&self, now: u64) -> bool {
        let state = self.state.lock();
        state.connections == 0
            && state.subscriptions == 0
            && state.events.is_empty(state.events_bound(), now)
            && state.bytes.is_empty(state.bytes_bound(), now)
            && state.topics.is_empty(state.topics_bound(), now)
    }
}

impl State {
    fn events_bound(&self) -> Bound {
        Bound::per_second(self.quota.publish_rate, self.quota.publish_burst)
    }

    fn bytes_bound(&self) -> Bound {
        Bound::per_second(self.quota.byte_rate, self.quota.byte_burst)
    }

    fn topics_bound(&self) -> Bound {
        Bound::per_minute(self.quota.topics_per_minute)
    }

    /// Why that is too much: what is no matter of time first, then what takes longest.
    fn refuses(&self, ask: Ask, now: u64) -> Option<(What, Option<u64>)> {
        let over = |bound: u64, taken: u64, asked: u64| {
            bound > 0 && asked > 0 && taken.saturating_add(asked) > bound
        };
        if over(self.quota.connections, self.connections, ask.connections) {
            return Some((What::Connections, None));
        }
        if over(
            self.quota.subscriptions,
            self.subscriptions,
            ask.subscriptions,
        ) {
            return Some((What::Subscriptions, None));
        }
        let waits = [
            (
                What::Publishes,
                self.events.wait(self.events_bound(), ask.events, now),
            ),
            (
                What::Bytes,
                self.bytes.wait(self.bytes_bound(), ask.bytes, now),
            ),
            (
                What::Topics,
                self.topics.wait(self.topics_bound(), ask.topics, now),
            ),
        ];
        let refused = waits.into_iter().filter(|(_, wait)| wait.is_some());
        refused.max_by_key(|(_, wait)| *wait)
    }

    fn take(&mut self, ask: Ask, now: u64) {
        self.connections += ask.connections;
        self.subscriptions += ask.subscriptions;
        self.events.take(self.events_bound(), ask.events, now);
        self.bytes.take(self.bytes_bound(), ask.bytes, now);
        self.topics.take(self.topics_bound(), ask.topics, now);
    }
}

/// Takes from all of them or from none. They come in the order of their scopes.
pub fn take_all<const N: usize>(
    meters: [Option<&Meter>; N],
    ask: Ask,
    now: u64,
) -> Result<(), Limited> {
    debug_assert!(
        meters
            .iter()
            .flatten()
            .is_sorted_by(|a, b| a.scope < b.scope)
    );
    let mut states: [Option<MutexGuard<'_, State>>; N] =
        meters.map(|meter| meter.map(|meter| meter.state.lock()));
    let mut limited: Option<Limited> = None;
    for (meter, state) in meters.iter().zip(&states) {
        let (Some(meter), Some(state)) = (meter, state) else {
            continue;
        };
        let Some((what, retry_after_ms)) = state.refuses(ask, now) else {
            continue;
        };
        // of several waits the longest is told: after a shorter one it would only be refused again
        if limited.is_none_or(|known| known.retry_after_ms < retry_after_ms) {
            limited = Some(Limited {
                scope: meter.scope,
                what,
                retry_after_ms,
            });
        }
    }
    if let Some(limited) = limited {
        return Err(limited);
    }
    for state in states.iter_mut().flatten() {
        state.take(ask, now);
    }
    Ok(())
}
