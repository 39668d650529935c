//! The meters of one scope, by whom they are for. Made when they are needed, dropped when a new one would be
//! the same.
//!
//! Bounds: at most `max` meters. Beyond that all newcomers share one, with the bounds of one. Whoever gets a
//! meter of their own after that begins where the shared one stands, so that this is no way to a second
//! burst. What was begun with the shared one stays with it: in all no more than the bounds of one.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;

use super::limited::Scope;
use super::meter::Meter;
use crate::config::Quota;

pub struct Book<K> {
    scope: Scope,
    /// What holds for whom nothing else is said.
    quota: Quota,
    max: usize,
    /// Not made before anybody has a bound.
    meters: OnceLock<DashMap<K, Arc<Meter>>>,
    count: AtomicUsize,
    shared: OnceLock<Arc<Meter>>,
}

impl<K: Hash + Eq> Book<K> {
    pub fn new(scope: Scope, quota: Quota, max: usize) -> Self {
        Self {
            scope,
            quota,
            max,
            meters: OnceLock::new(),
            count: AtomicUsize::new(0),
            shared: OnceLock::new(),
        }
    }

    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// The meter of that one; `None`: nothing is bounded.
    pub fn meter<Q>(&self, whose: &Q, quota: Quota) -> Option<Arc<Meter>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if quota == Quota::default() {
            return None;
        }
        let meters = self.meters.get_or_init(DashMap::new);
        if let Some(meter) = meters.get(whose) {
            meter.set_quota(quota);
            return Some(meter.clone());
        }
        let counted = self
            .count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < self.max).then_some(count + 1)
            });
        if counted.is_err() {
            return Some(self.shared().clone());
        }
        let mut is_new = false;
        let meter = meters.entry(whose.to_owned()).or_insert_with(|| {
            is_new = true;
            Arc::new(match self.shared.get() {
                Some(shared) => Meter::after(shared, quota),
                None => Meter::new(self.scope, quota),
            })
        });
        if !is_new {
            // somebody else was faster
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        Some(meter.clone())
    }

    fn shared(&self) -> &Arc<Meter> {
        self.shared.get_or_init(|| {
            tracing::warn!(
                scope = self.scope.as_str(),
                meters = self.max,
                "too many to be counted each by itself: newcomers share one quota"
            );
            Arc::new(Meter::new(self.scope, self.quota))
        })
    }

    /// Drops the meters that nobody holds and that a new one would equal.
    pub fn sweep(&self, now: u64) {
        let Some(meters) = self.meters.get() else {
            return;
        };
        // under the lock of its part of the map nobody else can come by it
        meters.retain(|_, meter| {
            let keep = Arc::strong_count(meter) > 1 || !meter.is_unused(now);
            if !keep {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            keep
        });
    }

    #[cfg(test)]
    pub fn all(&self) -> Vec<Arc<Meter>> {
        let meters = self.meters.get().into_iter().flatten();
        let own = meters.map(|meter| meter.value().clone());
        own.chain(self.shared.get().cloned()).collect()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        let len = self.meters.get().map_or(0, DashMap::len);
        assert_eq!(len, self.count.load(Ordering::Relaxed));
        len
    }
}
