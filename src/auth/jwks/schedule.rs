//! When keys are fetched, who waits for that, and when it is worth a line in the log. Plain: the caller brings
//! the time and the randomness.
//!
//! Invariants: two fetches never run at once, and their starts are at least `min_interval` apart, whatever is
//! asked for.

use std::time::{Duration, Instant};

/// How often keys are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JwksTiming {
    /// From one fetch that worked to the next.
    pub refresh: Duration,
    /// Between the starts of two fetches, whatever tokens ask for.
    pub min_interval: Duration,
    /// A whole fetch.
    pub timeout: Duration,
}

/// The share of `refresh` by which a fetch comes earlier or later, so that brokers spread.
const JITTER: f64 = 0.1;
/// Between two warnings about the same outage.
const REMIND: Duration = Duration::from_secs(60);
/// No interval is longer, so that times can be added.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// Nor shorter: a server that refuses at once is not asked in a loop.
const SHORTEST: Duration = Duration::from_millis(10);

/// What somebody who looks again does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A fetch is under way, or will be at once.
    Wait,
    /// None may be made now.
    Go,
}

/// What the end of a fetch is worth in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Nothing,
    Warn,
    /// It works again, or for the first time.
    Works,
}

/// See the module.
#[derive(Debug)]
pub struct Schedule {
    refresh: Duration,
    min_interval: Duration,
    fetching: bool,
    /// Somebody looks again.
    wanted: bool,
    /// The next fetch, if nobody looks again.
    due: Instant,
    /// No fetch starts before.
    allowed: Instant,
    /// In a row.
    failures: u32,
    warned: Option<Instant>,
    works: bool,
}

impl Schedule {
    pub fn new(timing: &JwksTiming, now: Instant) -> Self {
        Self {
            refresh: timing.refresh.clamp(SHORTEST, LONGEST),
            min_interval: timing.min_interval.clamp(SHORTEST, LONGEST),
            fetching: false,
            wanted: false,
            due: now,
            allowed: now,
            failures: 0,
            warned: None,
            works: false,
        }
    }

    /// Somebody looks again.
    pub fn ask(&mut self, now: Instant) -> Asked {
        if self.fetching {
            return Asked::Wait;
        }
        if now < self.allowed {
            return Asked::Go;
        }
        self.wanted = true;
        Asked::Wait
    }

    /// When to fetch next, unless a fetch is under way.
    pub fn due(&self) -> Instant {
        match self.wanted {
            true => self.allowed,
            false => self.due.max(self.allowed),
        }
    }

    /// Whether a fetch starts now.
    pub fn start(&mut self, now: Instant) -> bool {
        if self.fetching || now < self.due() {
            return false;
        }
        self.fetching = true;
        self.wanted = false;
        self.allowed = now + self.min_interval;
        true
    }

    /// `random` is uniform in 0..1, as for `failed`.
    pub fn succeeded(&mut self, now: Instant, random: f64) -> Said {
        self.fetching = false;
        self.failures = 0;
        self.warned = None;
        self.due = now + jittered(self.refresh, random);
        match std::mem::replace(&mut self.works, true) {
            true => Said::Nothing,
            false => Said::Works,
        }
    }

    pub fn failed(&mut self, now: Instant, random: f64) -> Said {
        self.fetching = false;
        let doubled = self
            .min_interval
            .saturating_mul(1 << self.failures.min(16))
            .min(self.refresh);
        self.failures = self.failures.saturating_add(1);
        self.due = now + jittered(doubled, random);
        let broke = std::mem::replace(&mut self.works, false);
        let quiet = |warned: Instant| now.saturating_duration_since(warned) < REMIND;
        if !broke && self.warned.is_some_and(quiet) {
            return Said::Nothing;
        }
        self.warned = Some(now);
        Said::Warn
    }

    /// Nobody fetches any more.
    pub fn abandoned(&mut self) {
        self.fetching = false;
        self.wanted = false;
    }
}

fn jittered(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(1.0 + JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: JwksTiming = JwksTiming {
        refresh: Duration::from_secs(600),
        min_interval: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
    };
    /// No jitter.
    const MIDDLE: f64 = 0.5;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn started() -> (Schedule, Instant) {
        let now = Instant::now();
        (Schedule::new(&TIMING, now), now)
    }

    #[test]
    fn it_fetches_at_the_start_and_then_with_jitter() {
        let (mut schedule, now) = started();
        assert!(schedule.start(now));
        assert!(!schedule.start(now + seconds(1000)), "one at a time");
        assert_eq!(schedule.succeeded(now, 0.0), Said::Works);
        assert_eq!(schedule.due(), now + seconds(540));
        assert!(!schedule.start(now + seconds(539)));
        assert!(schedule.start(now + seconds(540)));
        assert_eq!(schedule.succeeded(now + seconds(541), 1.0), Said::Nothing);
        assert_eq!(schedule.due(), now + seconds(541 + 660));
    }

    #[test]
    fn whoever_asks_the_interval_holds() {
        let (mut schedule, start) = started();
        let mut starts = Vec::new();
        // 10,000 tokens in 100 s; each fetch takes 200 ms, and works or not
        for step in 0..10_000_u64 {
            let now = start + Duration::from_millis(step * 10);
            schedule.ask(now);
            if schedule.fetching && starts.last().is_some_and(|at| now - *at >= seconds(1) / 5) {
                match starts.len() % 2 {
                    0 => schedule.succeeded(now, 0.0),
                    _ => schedule.failed(now, 0.0),
                };
            }
            if schedule.start(now) {
                starts.push(now);
            }
        }
        assert_eq!(starts.len(), 4);
        assert!(starts.windows(2).all(|two| two[1] - two[0] >= seconds(30)));
    }

    #[test]
    fn who_asks_waits_for_the_fetch_that_is_under_way_or_for_none() {
        let (mut schedule, now) = started();
        assert_eq!(
            schedule.ask(now),
            Asked::Wait,
            "the first is about to start"
        );
        assert!(schedule.start(now));
        assert_eq!(schedule.ask(now + seconds(1)), Asked::Wait);
        schedule.succeeded(now + seconds(2), MIDDLE);
        assert_eq!(schedule.ask(now + seconds(29)), Asked::Go);
        assert_eq!(schedule.due(), now + seconds(602), "it changed nothing");
        assert_eq!(schedule.ask(now + seconds(30)), Asked::Wait);
        assert_eq!(schedule.ask(now + seconds(30)), Asked::Wait);
        assert!(schedule.start(now + seconds(30)));
    }

    #[test]
    fn it_backs_off_up_to_the_refresh_and_not_from_who_asks() {
        let (mut schedule, mut now) = started();
        let mut waits = Vec::new();
        for _ in 0..7 {
            assert!(schedule.start(now));
            schedule.failed(now, MIDDLE);
            waits.push((schedule.due() - now).as_secs());
            now = schedule.due();
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 600, 600]);
        let before = now - seconds(500);
        assert_eq!(schedule.ask(before), Asked::Wait);
        assert!(schedule.start(before));
        schedule.succeeded(before, MIDDLE);
        assert!(schedule.start(before + seconds(600)));
        schedule.failed(before + seconds(600), MIDDLE);
        assert_eq!(schedule.due(), before + seconds(630));
    }

    #[test]
    fn jitter_never_undercuts_the_interval() {
        let (mut schedule, now) = started();
        assert!(schedule.start(now));
        schedule.failed(now, 0.0);
        assert_eq!(schedule.due(), now + seconds(30));
    }

    #[test]
    fn an_outage_is_told_when_it_begins_and_once_a_minute() {
        let (mut schedule, now) = started();
        let mut fail = |at: u64| schedule.failed(now + seconds(at), MIDDLE);
        let said: Vec<Said> = [0, 30, 59, 60, 90, 119, 121].map(&mut fail).into();
        let [warn, nothing] = [Said::Warn, Said::Nothing];
        assert_eq!(said, [warn, nothing, nothing, warn, nothing, nothing, warn]);
        assert_eq!(schedule.succeeded(now + seconds(122), MIDDLE), Said::Works);
        assert_eq!(
            schedule.succeeded(now + seconds(123), MIDDLE),
            Said::Nothing
        );
        assert_eq!(schedule.failed(now + seconds(124), MIDDLE), Said::Warn);
    }

    #[test]
    fn what_was_abandoned_can_be_taken_up() {
        let (mut schedule, now) = started();
        assert!(schedule.start(now));
        schedule.abandoned();
        assert_eq!(schedule.ask(now), Asked::Go);
        assert!(schedule.start(now + seconds(30)));
    }

    #[test]
    fn no_timing_is_too_odd() {
        let odd = JwksTiming {
            refresh: Duration::MAX,
            min_interval: Duration::ZERO,
            timeout: Duration::MAX,
        };
        let now = Instant::now();
        let mut schedule = Schedule::new(&odd, now);
        for _ in 0..100 {
            let now = schedule.due();
            assert!(schedule.start(now));
            schedule.failed(now, 1.0);
            assert!(schedule.due() >= now + SHORTEST);
        }
        schedule.succeeded(now, 1.0);
    }
}
