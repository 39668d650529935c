//! The figures of a run.

use std::fmt;
use std::time::Duration;

use crate::memory::Thirds;
use crate::setup::Run;
use crate::tally::{Fault, Tally, Wrong};

/// Runs shorter than this need not have seen everything.
const LONG_ENOUGH: Duration = Duration::from_secs(30);

/// What is shown of the broker's own figures.
const METRICS: [&str; 8] = [
    "tidewire_closed_total",
    "tidewire_resumes_total",
    "tidewire_trimmed_events_total",
    "tidewire_merged_events_total",
    "tidewire_duplicate_publishes_total",
    "tidewire_log_bytes",
    "tidewire_outbox_bytes",
    "tidewire_topics",
];

pub struct Report<'a> {
    pub run: Run,
    pub lasted: Duration,
    pub tally: Tally,
    pub memory: Thirds,
    /// Of a bystander: the median and the slowest.
    pub answers: (Duration, Duration),
    pub metrics: &'a str,
    pub faults: &'a [Fault],
}

impl Report<'_> {
    /// A run that exercised nothing shows nothing.
    pub fn must_have_seen_everything(&self) {
        if self.run.length < LONG_ENOUGH {
            return;
        }
        let t = &self.tally;
        let seen = [
            ("published", t.published),
            ("retried", t.retried),
            ("duplicates", t.duplicates),
            ("publisher_cuts", t.publisher_cuts),
            ("merges", t.merges),
            ("snapshots", t.snapshots),
            ("compacts", t.compacts),
            ("cuts", t.cuts),
            ("resumed", t.resumed),
            ("partial", t.partial),
            ("by_cursor", t.by_cursor),
            ("switched", t.switched),
            ("stalls", t.stalls),
            ("cut_off", t.cut_off),
            ("left", t.left),
            ("stepped_out", t.stepped_out),
            ("gaps", t.gaps),
            ("compacted", t.compacted),
        ];
        for (name, count) in seen {
            assert!(count > 0, "{name} never happened");
        }
        assert_eq!(t.resets, 0, "nothing here explains a reset");
    }

    fn count(&self, wrong: Wrong) -> usize {
        self.faults
            .iter()
            .filter(|fault| fault.wrong == wrong)
            .count()
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = &self.tally;
        let seconds = self.lasted.as_secs_f64();
        let each = |count: u64| count as f64 / seconds;
        writeln!(f, "soak: seed {}, {seconds:.1} s", self.run.seed)?;
        writeln!(
            f,
            "  published   {:9} events in {} publishes, {:.0} events/s; {} sent again on purpose, {} known already; {} publishers cut",
            t.published,
            t.publishes,
            each(t.published),
            t.retried,
            t.duplicates,
            t.publisher_cuts
        )?;
        writeln!(
            f,
            "  delivered   {:9} events, {:.0}/s, in {} envelopes ({} merges, {} snapshots, {} compact ends), {:.1} MB/s",
            t.delivered,
            each(t.delivered),
            t.envelopes,
            t.merges,
            t.snapshots,
            t.compacts,
            each(t.bytes) / 1e6
        )?;
        writeln!(
            f,
            "  readers     {} connections, {} cut ({} before ready), {} stalls and {} sips, {} cut off by the broker; {} turned away for overload",
            t.connections, t.cuts, t.early_cuts, t.stalls, t.sips, t.cut_off, t.turned_away,
        )?;
        writeln!(
            f,
            "  came back   {} topics without loss, {} to a gap; {} at partial positions; {} readers by cursor, {} on the other transport; {} left and {} joined; {} stepped out of a topic",
            t.resumed,
            t.resumed_with_gap,
            t.partial,
            t.by_cursor,
            t.switched,
            t.left,
            t.joined,
            t.stepped_out
        )?;
        writeln!(
            f,
            "  told        {} gaps over {} events, {} resets; {} went on as compact inside an ended message; {} messages ended in a gap",
            t.gaps, t.gone, t.resets, t.compacted, t.ended_in_gap
        )?;
        let m = &self.memory;
        writeln!(
            f,
            "  memory      {} KiB in the first third, {} in the second, {} in the last, {} at most (RSS, medians); logs {}, {}, {}, {}",
            m.warm_up.rss,
            m.second.rss,
            m.last.rss,
            m.peak.rss,
            m.warm_up.logs,
            m.second.logs,
            m.last.logs,
            m.peak.logs
        )?;
        writeln!(
            f,
            "  bystander   answered within {:.1?} (median), {:.1?} at most",
            self.answers.0, self.answers.1
        )?;
        for line in self
            .metrics
            .lines()
            .filter(|line| METRICS.iter().any(|name| line.starts_with(name)))
        {
            writeln!(f, "  {line}")?;
        }
        write!(
            f,
            "  lost {}, repeated {}, out of order {}, altered {}, unexplained {}, stuck {}",
            self.count(Wrong::Lost),
            self.count(Wrong::Repeated),
            self.count(Wrong::OutOfOrder),
            self.count(Wrong::Altered),
            self.count(Wrong::Unexplained),
            self.count(Wrong::Stuck),
        )?;
        for fault in self.faults {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}
