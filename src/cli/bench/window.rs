//! Spans of a run that are measured apart: latencies by when an event was due, costs by what was done meanwhile.
//!
//! An event that comes late counts where it was due, however late it comes, so overload cannot hide its latencies.

use hdrhistogram::Histogram;

/// Longer latencies count as this: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// Latencies in microseconds, to three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("constant bounds that hdrhistogram allows")
}

/// What had been done at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub at_us: u64,
    pub delivered: u64,
    pub accepted: u64,
    pub own_cpu_s: f64,
    /// Of the broker's processes, if they were named.
    pub broker_cpu_s: f64,
    pub broker_rss_kib: u64,
    pub bytes_in: u64,
}

pub struct Window {
    pub name: String,
    pub begin: Sample,
    pub end: Option<Sample>,
    /// From when an event was due until a reader had it.
    pub latency: Histogram<u64>,
    /// From when a publish was due until it was acknowledged.
    pub acknowledged: Histogram<u64>,
}

impl Window {
    fn covers(&self, due_us: u64) -> bool {
        due_us >= self.begin.at_us && self.end.is_none_or(|end| due_us < end.at_us)
    }
}

/// In the order of time.
#[derive(Default)]
pub struct Windows(
    pub Vec<Window>,
    /// Nothing more is recorded.
    bool,
);

impl Windows {
    pub fn open(&mut self, name: &str, begin: Sample) {
        self.0.push(Window {
            name: name.to_owned(),
            begin,
            end: None,
            latency: histogram(),
            acknowledged: histogram(),
        });
    }

    /// The last one ends.
    pub fn close(&mut self, end: Sample) {
        if let Some(window) = self.0.last_mut()
            && window.end.is_none()
        {
            window.end = Some(end);
        }
    }

    /// Nothing more is recorded: what comes late from now on is late by intention.
    pub fn freeze(&mut self) {
        self.1 = true;
    }

    pub fn last(&self) -> Option<&Window> {
        self.0.last()
    }

    fn of(&mut self, due_us: u64) -> Option<&mut Window> {
        if self.1 {
            return None;
        }
        self.0.iter_mut().rev().find(|window| window.covers(due_us))
    }

    pub fn delivered(&mut self, due_us: u64, now_us: u64) {
        if let Some(window) = self.of(due_us) {
            let latency = now_us.saturating_sub(due_us).max(1);
            window.latency.saturating_record(latency);
        }
    }

    pub fn acknowledged(&mut self, due_us: u64, now_us: u64) {
        if let Some(window) = self.of(due_us) {
            let latency = now_us.saturating_sub(due_us).max(1);
            window.acknowledged.saturating_record(latency);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Sample {
        Sample {
            at_us: us,
            ..Sample::default()
        }
    }

    #[test]
    fn a_late_event_counts_where_it_was_due() {
        let mut windows = Windows::default();
        windows.delivered(5, 10);
        windows.open("first", at(100));
        windows.delivered(99, 150);
        windows.delivered(100, 150);
        windows.close(at(200));
        windows.delivered(250, 260);
        windows.open("second", at(300));
        windows.delivered(199, 5_000_199);
        windows.delivered(300, 301);
        let counts: Vec<u64> = windows.0.iter().map(|w| w.latency.len()).collect();
        assert_eq!(counts, [2, 1]);
        assert!(windows.0[0].latency.max() >= 4_990_000);
    }
}
