//! Whether an authorizer that fails is asked again. Plain: the caller brings the time.
//!
//! Invariants: after `FAILURES` in a row nobody is asked for a while, which doubles up to `LONGEST` as long as it goes
//! on failing; then one call, the probe, finds out, and nobody else is asked before it ended. Calls that began before
//! say nothing any more.

use std::time::{Duration, Instant};

const FAILURES: u32 = 5;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// Everybody is asked. Failures in a row.
    Closed(u32),
    /// Nobody is asked before `until`.
    Open { until: Instant, pause: Duration },
    /// One call finds out.
    Probing { pause: Duration },
}

/// What a call is, which it says when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Usual,
    Probe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Somebody wants to call.
    Ask,
    Succeeded(Call),
    Failed(Call),
    /// It ended without having found anything out.
    Abandoned(Call),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    Begin(Call),
    Refuse,
    /// Nobody is asked for that long.
    Opened(Duration),
    /// It works again.
    Closed,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed(0)
    }
}

impl Breaker {
    /// The next state, and what is to be done.
    pub fn step(self, input: Input, now: Instant) -> (Self, Effect) {
        match (self, input) {
            (Self::Closed(_), Input::Ask) => (self, Effect::Begin(Call::Usual)),
            (Self::Closed(_), Input::Succeeded(_)) => (Self::Closed(0), Effect::Nothing),
            (Self::Closed(failures), Input::Failed(_)) if failures + 1 < FAILURES => {
                (Self::Closed(failures + 1), Effect::Nothing)
            }
            (Self::Closed(_), Input::Failed(_)) => Self::open(SHORTEST, now),
            (Self::Open { until, pause }, Input::Ask) if until <= now => {
                (Self::Probing { pause }, Effect::Begin(Call::Probe))
            }
            (Self::Open { .. } | Self::Probing { .. }, Input::Ask) => (self, Effect::Refuse),
            (Self::Probing { .. }, Input::Succeeded(Call::Probe)) => {
                (Self::Closed(0), Effect::Closed)
            }
            (Self::Probing { pause }, Input::Failed(Call::Probe)) => {
                Self::open((pause * 2).min(LONGEST), now)
            }
            // somebody else may find out at once
            (Self::Probing { pause }, Input::Abandoned(Call::Probe)) => {
                (Self::Open { until: now, pause }, Effect::Nothing)
            }
            (_, Input::Succeeded(_) | Input::Failed(_) | Input::Abandoned(_)) => {
                (self, Effect::Nothing)
            }
        }
    }

    fn open(pause: Duration, now: Instant) -> (Self, Effect) {
        let until = now + pause;
        (Self::Open { until, pause }, Effect::Opened(pause))
    }

    /// Whether somebody who asked now would be refused.
    pub fn refuses(self, now: Instant) -> bool {
        self.step(Input::Ask, now).1 == Effect::Refuse
    }

    /// For the metric: 0 closed, 1 probing, 2 open.
    pub fn level(self) -> i64 {
        match self {
            Self::Closed(_) => 0,
            Self::Probing { .. } => 1,
            Self::Open { .. } => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Run {
        breaker: Breaker,
        now: Instant,
    }

    impl Run {
        fn new() -> Self {
            Self {
                breaker: Breaker::default(),
                now: Instant::now(),
            }
        }

        fn step(&mut self, input: Input) -> Effect {
            let (next, effect) = self.breaker.step(input, self.now);
            self.breaker = next;
            effect
        }

        /// Until it is open.
        fn fail(&mut self) -> Effect {
            for _ in 1..FAILURES {
                assert_eq!(self.step(Input::Failed(Call::Usual)), Effect::Nothing);
            }
            self.step(Input::Failed(Call::Usual))
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let mut run = Run::new();
        for _ in 0..10 {
            for _ in 1..FAILURES {
                run.step(Input::Failed(Call::Usual));
            }
            assert_eq!(run.step(Input::Ask), Effect::Begin(Call::Usual));
            run.step(Input::Succeeded(Call::Usual));
        }
        assert_eq!(run.fail(), Effect::Opened(SHORTEST));
        assert_eq!(run.step(Input::Ask), Effect::Refuse);
        assert!(run.breaker.refuses(run.now));
    }

    #[test]
    fn one_probe_at_a_time_finds_out_and_each_failure_doubles_the_pause() {
        let mut run = Run::new();
        run.fail();
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            run.now += Duration::from_secs(seconds) - Duration::from_millis(1);
            assert_eq!(run.step(Input::Ask), Effect::Refuse, "{seconds}");
            run.now += Duration::from_millis(1);
            assert_eq!(run.step(Input::Ask), Effect::Begin(Call::Probe));
            assert_eq!(run.step(Input::Ask), Effect::Refuse);
            let Effect::Opened(_) = run.step(Input::Failed(Call::Probe)) else {
                panic!("still open");
            };
        }
        run.now += LONGEST;
        assert_eq!(run.step(Input::Ask), Effect::Begin(Call::Probe));
        assert_eq!(run.step(Input::Succeeded(Call::Probe)), Effect::Closed);
        assert_eq!(run.fail(), Effect::Opened(SHORTEST), "from the beginning");
    }

    #[test]
    fn calls_that_began_before_change_nothing() {
        let mut run = Run::new();
        run.fail();
        let open = run.breaker;
        for late in [Input::Succeeded, Input::Failed, Input::Abandoned] {
            assert_eq!(run.step(late(Call::Usual)), Effect::Nothing);
            assert_eq!(run.breaker, open);
        }
        run.now += SHORTEST;
        run.step(Input::Ask);
        let probing = run.breaker;
        for late in [Input::Succeeded, Input::Failed, Input::Abandoned] {
            assert_eq!(run.step(late(Call::Usual)), Effect::Nothing);
            assert_eq!(run.breaker, probing);
        }
    }

    #[test]
    fn a_probe_that_nobody_ended_lets_another_one_begin() {
        let mut run = Run::new();
        run.fail();
        run.now += SHORTEST;
        run.step(Input::Ask);
        assert_eq!(run.step(Input::Abandoned(Call::Probe)), Effect::Nothing);
        assert_eq!(run.step(Input::Ask), Effect::Begin(Call::Probe));
    }
}
