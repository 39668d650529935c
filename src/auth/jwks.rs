//! A key set that lives at an address, kept fresh by one task and asked by all worker threads.
//!
//! `schedule` decides when, `fetch` does it. A fetch that fails, or brings no key that can be used, leaves the
//! last good set as it is, however old. Every fetch that ends wakes everybody who waited for it.
//!
//! Bounds: those of `schedule` and `fetch`; nobody waits longer than `timeout` and `WAIT_MORE`. How many wait is
//! bounded by the callers.

mod fetch;
mod schedule;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep_until, timeout};

use super::keys::KeySet;
pub use fetch::FetchError;
use fetch::Fetcher;
pub use schedule::JwksTiming;
use schedule::{Asked, Said, Schedule};

/// What a fetch may take beside its `timeout`: to be started, and to be read.
const WAIT_MORE: Duration = Duration::from_secs(1);

/// Told of every fetch, for the metrics.
pub trait JwksObserver: Send + Sync {
    fn fetched(&self, outcome: Result<&KeySet, &FetchError>);
}

/// Who counts nothing.
impl JwksObserver for () {
    fn fetched(&self, _outcome: Result<&KeySet, &FetchError>) {}
}

/// See the module.
pub struct Jwks {
    url: String,
    /// For the log.
    shown: String,
    algorithms: Vec<Algorithm>,
    timing: JwksTiming,
    observer: Arc<dyn JwksObserver>,
    set: RwLock<Option<Arc<KeySet>>>,
    schedule: Mutex<Schedule>,
    wanted: Notify,
    /// Fetches that ended; changed with `schedule` locked.
    ended: watch::Sender<u64>,
    running: AtomicBool,
}

impl Jwks {
    pub fn new(
        url: String,
        algorithms: Vec<Algorithm>,
        timing: JwksTiming,
        observer: Arc<dyn JwksObserver>,
    ) -> Arc<Self> {
        Arc::new(Self {
            shown: fetch::shown(&url),
            url,
            algorithms,
            timing,
            observer,
            set: RwLock::new(None),
            schedule: Mutex::new(Schedule::new(&timing, Instant::now())),
            wanted: Notify::new(),
            ended: watch::Sender::new(0),
            running: AtomicBool::new(false),
        })
    }

    /// The last good set; it survives an outage.
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.set.read().clone()
    }

    /// A token names a key that the set does not know, or there is no set yet: waits for the fetch that is under
    /// way or allowed now, which all who ask share, and otherwise answers at once with what there is.
    pub async fn look_again(&self) -> Option<Arc<KeySet>> {
        let ended = {
            let mut schedule = self.schedule.lock();
            match schedule.ask(Instant::now()) {
                Asked::Wait => Some(self.ended.subscribe()),
                Asked::Go => None,
            }
        };
        if let Some(mut ended) = ended {
            self.wanted.notify_one();
            let longest = self.timing.timeout.saturating_add(WAIT_MORE);
            // it ends before that, unless nobody fetches
            let _ = timeout(longest, ended.changed()).await;
        }
        self.current()
    }

    /// Fetches at the start, whenever it is due and whenever somebody looks again, until it is dropped. Runs on a
    /// thread of an actix system (`awc` is not `Send`); while one runs, a second ends at once.
    pub async fn keep_fresh(self: Arc<Self>) {
        let Some(_running) = Running::begin(&self) else {
            return;
        };
        let mut fetcher = Fetcher::new(&self.url, self.timing.timeout);
        loop {
            let due = self.schedule.lock().due();
            tokio::select! {
                () = sleep_until(due.into()) => {}
                () = self.wanted.notified() => {}
            }
            if !self.schedule.lock().start(Instant::now()) {
                continue;
            }
            let fetched = fetcher.fetch().await.and_then(|body| {
                let set = KeySet::read_published(&body, &self.algorithms)?;
                Ok(Arc::new(set))
            });
            self.take(fetched);
        }
    }

    fn take(&self, fetched: Result<Arc<KeySet>, FetchError>) {
        let (now, random) = (Instant::now(), fastrand::f64());
        let said = {
            let mut schedule = self.schedule.lock();
            let said = match &fetched {
                Ok(set) => {
                    *self.set.write() = Some(set.clone());
                    schedule.succeeded(now, random)
                }
                Err(_) => schedule.failed(now, random),
            };
            self.ended.send_modify(|ended| *ended += 1);
            said
        };
        self.observer.fetched(fetched.as_deref());
        let url = self.shown.as_str();
        match (said, &fetched) {
            (Said::Warn, Err(error)) => {
                let has_keys = self.set.read().is_some();
                tracing::warn!(url, %error, has_keys, "the keys of an issuer cannot be fetched");
            }
            (Said::Works, Ok(set)) => {
                tracing::info!(
                    url,
                    keys = set.keys().len(),
                    "the keys of an issuer are fetched"
                );
            }
            _ => {}
        }
    }
}

/// Nobody is left waiting when `keep_fresh` is dropped.
struct Running<'a>(&'a Jwks);

impl<'a> Running<'a> {
    fn begin(jwks: &'a Jwks) -> Option<Self> {
        let other = jwks.running.swap(true, Ordering::AcqRel);
        (!other).then_some(Self(jwks))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut schedule = self.0.schedule.lock();
        schedule.abandoned();
        self.0.ended.send_modify(|ended| *ended += 1);
        self.0.running.store(false, Ordering::Release);
    }
}
