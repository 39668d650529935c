//! Who was owed what, and who got what: exact counts of what was delivered, missing, repeated, out of order.
//!
//! Events of a topic are numbered from 0 in the order in which they are handed to the broker. A number that the broker
//! refused never comes, so a reader is owed as many events as were acknowledged, not as many as were sent.

use std::rc::Rc;

/// Skipped ranges that one reading remembers, to tell a late event from a repeated one. Beyond it both are counted
/// as repeated: neither may happen.
const SKIPPED: usize = 64;

/// What one reader got of one topic.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    next: u64,
    /// Each number once.
    distinct: u64,
    repeated: u64,
    reordered: u64,
    /// Events that the broker said are gone.
    told: u64,
    /// Ranges (from, to) that were passed over.
    skipped: Vec<(u64, u64)>,
}

impl Reading {
    /// The reader saw that number.
    pub fn saw(&mut self, number: u64) {
        if number >= self.next {
            if number > self.next && self.skipped.len() < SKIPPED {
                self.skipped.push((self.next, number));
            }
            self.next = number + 1;
            self.distinct += 1;
        } else if self.take_skipped(number) {
            self.distinct += 1;
            self.reordered += 1;
        } else {
            self.repeated += 1;
        }
    }

    fn take_skipped(&mut self, number: u64) -> bool {
        let holds = |&(from, to): &(u64, u64)| (from..to).contains(&number);
        let Some(at) = self.skipped.iter().position(holds) else {
            return false;
        };
        let (from, to) = self.skipped.swap_remove(at);
        let rest = [(from, number), (number + 1, to)];
        self.skipped
            .extend(rest.into_iter().filter(|(from, to)| from < to));
        true
    }

    /// The broker said that so many events are gone.
    pub fn was_told_gone(&mut self, events: u64) {
        self.told += events;
    }

    /// The highest number seen, and one.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How many events of the log lie behind this reader, if it saw them from the first on.
    pub fn behind(&self) -> u64 {
        self.distinct + self.told
    }

    /// So many more are to come.
    pub fn outstanding(&self, ledger: &Ledger) -> u64 {
        ledger.accepted.saturating_sub(self.behind())
    }
}

/// What a topic was given.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Events handed to the broker.
    pub sent: u64,
    /// Events that it acknowledged.
    pub accepted: u64,
    /// Events that it refused: they are in no log.
    pub refused: u64,
    /// Events whose answer never came: nobody knows.
    pub unknown: u64,
    /// Acknowledged seqs that did not follow the one before.
    pub seq_breaks: u64,
    last_seq: u64,
    epoch: Option<Rc<str>>,
}

impl Ledger {
    /// Takes the numbers of the next `events`.
    pub fn send(&mut self, events: u64) -> u64 {
        let first = self.sent;
        self.sent += events;
        first
    }

    /// The broker acknowledged `events` of ours; their `seqs` (first, last), if it says so.
    pub fn accept(&mut self, events: u64, epoch: Option<&str>, seqs: Option<(u64, u64)>) {
        self.accepted += events;
        if let Some(epoch) = epoch
            && self.epoch.as_deref() != Some(epoch)
        {
            self.epoch = Some(epoch.into());
        }
        if let Some((first, last)) = seqs {
            // what nobody knows of may have taken seqs
            if first != self.last_seq + 1 && self.unknown == 0 {
                self.seq_breaks += 1;
            }
            self.last_seq = last;
        }
    }

    pub fn epoch(&self) -> Option<&Rc<str>> {
        self.epoch.as_ref()
    }
}

/// The sum over all readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub delivered: u64,
    /// Acknowledged, and never came.
    pub missing: u64,
    pub repeated: u64,
    pub reordered: u64,
    /// Gone, and the broker said so.
    pub told_gone: u64,
    /// Came, although it was refused.
    pub unpromised: u64,
    pub seq_breaks: u64,
}

impl Verdict {
    pub fn add(&mut self, reading: &Reading, ledger: &Ledger) {
        self.delivered += reading.distinct + reading.repeated;
        self.repeated += reading.repeated;
        self.reordered += reading.reordered;
        self.told_gone += reading.told;
        self.missing += reading.outstanding(ledger);
        self.unpromised += reading
            .distinct
            .saturating_sub(ledger.accepted + ledger.unknown);
    }

    pub fn add_topic(&mut self, ledger: &Ledger) {
        self.seq_breaks += ledger.seq_breaks;
    }

    /// What a broker promises was kept.
    pub fn is_kept(&self) -> bool {
        let broken = [
            self.missing,
            self.repeated,
            self.reordered,
            self.unpromised,
            self.seq_breaks,
        ];
        broken.iter().all(|&count| count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(accepted: u64, seen: &[u64]) -> Verdict {
        let mut ledger = Ledger::default();
        ledger.send(accepted);
        ledger.accept(accepted, None, None);
        let mut reading = Reading::default();
        seen.iter().for_each(|&number| reading.saw(number));
        let mut verdict = Verdict::default();
        verdict.add(&reading, &ledger);
        verdict
    }

    #[test]
    fn each_fault_has_its_count() {
        assert!(verdict(4, &[0, 1, 2, 3]).is_kept());
        let counts = |v: Verdict| (v.delivered, v.missing, v.repeated, v.reordered);
        assert_eq!(counts(verdict(4, &[0, 1, 3])), (3, 1, 0, 0));
        assert_eq!(
            counts(verdict(4, &[0, 1, 2])),
            (3, 1, 0, 0),
            "a missing tail"
        );
        assert_eq!(counts(verdict(4, &[0, 1, 1, 2, 3])), (5, 0, 1, 0));
        assert_eq!(counts(verdict(4, &[0, 2, 1, 3])), (4, 0, 0, 1));
        assert_eq!(counts(verdict(6, &[0, 5, 2, 2, 1, 4, 3])), (7, 0, 1, 4));
        assert_eq!(counts(verdict(3, &[])), (0, 3, 0, 0));
        assert_eq!(verdict(2, &[0, 1, 2]).unpromised, 1);
    }

    #[test]
    fn a_refused_number_is_not_missed() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.send(2), 0);
        assert_eq!(ledger.send(3), 2);
        ledger.accept(2, Some("e"), Some((1, 2)));
        ledger.refused += 3;
        assert_eq!(ledger.send(1), 5);
        ledger.accept(1, Some("e"), Some((3, 3)));
        let mut reading = Reading::default();
        [0, 1, 5].iter().for_each(|&number| reading.saw(number));
        let mut verdict = Verdict::default();
        verdict.add(&reading, &ledger);
        verdict.add_topic(&ledger);
        assert!(verdict.is_kept(), "{verdict:?}");
        assert_eq!(
            (ledger.last_seq, ledger.epoch().map(|e| &**e)),
            (3, Some("e"))
        );
    }

    #[test]
    fn what_is_told_to_be_gone_is_not_missing() {
        let mut ledger = Ledger::default();
        ledger.accept(ledger.sent + 10, None, None);
        let mut reading = Reading::default();
        reading.was_told_gone(4);
        (4..10).for_each(|number| reading.saw(number));
        assert_eq!(reading.outstanding(&ledger), 0);
        assert_eq!(reading.behind(), 10);
    }

    #[test]
    fn acknowledged_seqs_follow_each_other() {
        let mut ledger = Ledger::default();
        ledger.accept(2, None, Some((1, 2)));
        ledger.accept(1, None, Some((4, 4)));
        assert_eq!(ledger.seq_breaks, 1);
    }
}
