//! How long to wait before connecting again: full jitter up to a bound that doubles from 0.5 s to 20 s.
//!
//! The first retry after a connection that worked comes almost at once (a restarted broker, a cut
//! line), yet spread over `FIRST`, so that many clients do not return in the same instant.

use std::time::Duration;

/// The bound of the first, quick retry.
pub const FIRST: Duration = Duration::from_millis(150);
/// The bound of the second retry; it doubles with each further one.
pub const BASE: Duration = Duration::from_millis(500);
/// What the bound never exceeds.
pub const CAP: Duration = Duration::from_secs(20);

/// Counts failures in a row.
#[derive(Debug)]
pub struct Backoff {
    failures: u32,
    told: Option<Duration>,
    cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::capped(CAP)
    }
}

impl Backoff {
    /// No wait is longer than `cap`, unless the broker asks for it.
    pub fn capped(cap: Duration) -> Self {
        Self {
            failures: 0,
            told: None,
            cap: cap.min(CAP),
        }
    }

    /// The connection did what it is for: the next retry is a first one again.
    pub fn worked(&mut self) {
        self.failures = 0;
    }

    /// The two sides disagree; coming back quickly would only repeat it.
    pub fn disagreed(&mut self) {
        self.failures = self.failures.max(3);
    }

    /// The broker said when to come back (`draining.reconnect_after_ms`); it counts once.
    pub fn told(&mut self, after: Duration) {
        self.told = Some(after.min(CAP));
    }

    /// The next wait. `random` is uniform in 0..1.
    pub fn next_wait(&mut self, random: f64) -> Duration {
        if let Some(told) = self.told.take() {
            return told + FIRST.mul_f64(random);
        }
        let bound = match self.failures.checked_sub(1) {
            None => FIRST,
            Some(doublings) => BASE.saturating_mul(1 << doublings.min(16)),
        };
        let bound = bound.min(self.cap);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_is_quick_and_the_bound_doubles_up_to_its_cap() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..9).map(|_| backoff.next_wait(1.0).as_millis()).collect();
        assert_eq!(
            waits,
            [150, 500, 1000, 2000, 4000, 8000, 16000, 20000, 20000]
        );
        backoff.worked();
        assert_eq!(backoff.next_wait(1.0), FIRST);
    }

    #[test]
    fn jitter_is_full() {
        let mut backoff = Backoff {
            failures: 8,
            ..Backoff::default()
        };
        assert_eq!(backoff.next_wait(0.0), Duration::ZERO);
        assert_eq!(backoff.next_wait(0.5), Duration::from_secs(10));
    }

    #[test]
    fn who_has_a_lease_to_keep_does_not_wait_beyond_its_cap() {
        let mut backoff = Backoff::capped(Duration::from_millis(250));
        let longest = (0..9).map(|_| backoff.next_wait(1.0)).max();
        assert_eq!(longest, Some(Duration::from_millis(250)));
    }

    #[test]
    fn what_a_draining_broker_says_counts_once() {
        let mut backoff = Backoff::default();
        backoff.told(Duration::from_secs(3));
        assert_eq!(backoff.next_wait(0.0), Duration::from_secs(3));
        assert_eq!(backoff.next_wait(1.0), FIRST);
    }

    #[test]
    fn a_disagreement_is_not_repeated_at_full_speed() {
        let mut backoff = Backoff::default();
        backoff.worked();
        backoff.disagreed();
        assert!(backoff.next_wait(1.0) >= Duration::from_secs(2));
    }
}
