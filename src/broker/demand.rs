//! Demand: how many readers a topic has, as its agent is told. Up at once, down only when it has been down
//! for five seconds, so that a page that is reloaded changes nothing.

use std::collections::VecDeque;

/// How long a number counts after it has fallen, in milliseconds.
pub const FALL_AFTER_MS: u64 = 5_000;
/// Falls closer together than this count as one, which bounds how many are remembered.
const GRAIN_MS: u64 = 100;

/// What is told is the highest number of the last five seconds.
#[derive(Debug, Default)]
pub struct Demand {
    told: Option<usize>,
    current: usize,
    /// Numbers that still count, until when; falling, and each higher than the current one.
    recent: VecDeque<(u64, usize)>,
}

impl Demand {
    /// The number is `count` now. Answers what is to be told, if that changed.
    pub fn set(&mut self, count: usize, now: u64) -> Option<usize> {
        if count < self.current {
            let until = now + FALL_AFTER_MS;
            match self.recent.back() {
                Some((last, _)) if until < last + GRAIN_MS => {}
                _ => self.recent.push_back((until, self.current)),
            }
        }
        self.current = count;
        while self.recent.back().is_some_and(|(_, old)| *old <= count) {
            self.recent.pop_back();
        }
        self.look(now)
    }

    /// What is to be told by now, if it changed.
    pub fn look(&mut self, now: u64) -> Option<usize> {
        while self.recent.front().is_some_and(|(until, _)| *until <= now) {
            self.recent.pop_front();
        }
        let effective = self.recent.front().map_or(self.current, |(_, old)| *old);
        (self.told != Some(effective)).then(|| {
            self.told = Some(effective);
            effective
        })
    }

    /// It could not be told: what `look` answered is still to be told.
    pub fn untold(&mut self) {
        self.told = None;
    }

    /// When to look again; `None`: not before it changes.
    pub fn next_look(&self) -> Option<u64> {
        self.recent.front().map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_at_once_and_down_after_five_seconds() {
        let mut demand = Demand::default();
        assert_eq!(
            demand.set(0, 0),
            Some(0),
            "the first number is told at once"
        );
        assert_eq!(demand.set(2, 10), Some(2));
        assert_eq!(demand.set(0, 1_000), None);
        assert_eq!(demand.next_look(), Some(6_000));
        assert_eq!(demand.look(5_999), None);
        assert_eq!(demand.look(6_000), Some(0));
        assert_eq!(demand.next_look(), None);
    }

    #[test]
    fn a_reloaded_page_changes_nothing() {
        let mut demand = Demand::default();
        demand.set(1, 0);
        assert_eq!((demand.set(0, 100), demand.set(1, 400)), (None, None));
        assert_eq!((demand.look(60_000), demand.next_look()), (None, None));
    }

    #[test]
    fn each_fall_has_five_seconds_of_its_own() {
        let mut demand = Demand::default();
        demand.set(3, 0);
        assert_eq!((demand.set(2, 1_000), demand.set(0, 5_000)), (None, None));
        assert_eq!(demand.look(6_000), Some(2));
        assert_eq!(demand.next_look(), Some(10_000));
        assert_eq!(demand.look(10_000), Some(0));
    }

    #[test]
    fn falls_in_quick_succession_are_remembered_as_few() {
        let mut demand = Demand::default();
        demand.set(10_000, 0);
        for gone in 1..=10_000 {
            demand.set(10_000 - gone, gone as u64 / 10);
        }
        assert!(demand.recent.len() <= 11, "{}", demand.recent.len());
        assert_eq!(demand.look(1_000 + FALL_AFTER_MS + GRAIN_MS), Some(0));
    }
}
