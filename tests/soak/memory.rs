//! Whether the broker's memory is flat: resident memory, sampled every second. The logs are bounded by
//! retention and full after the first third; what grows after that, beyond the logs themselves, grows
//! without end.

use std::time::Duration;

use crate::setup;

/// What the last third may have more than the second.
const GROWTH: f64 = 0.15;
const SLACK_KB: u64 = 6 << 10;
/// More than an event takes of a log on average, and more than a topic's folds, producers and ids take.
const EVENT_BYTES: u64 = 640;
const TOPIC_BYTES: u64 = 768 << 10;
/// Runs shorter than this do not fill their logs in the first third.
const SHORTEST: Duration = Duration::from_secs(30);

/// All in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub rss: u64,
    /// What the broker says that logs and folds take: with age and compaction it follows the pace of
    /// publishing, which depends on the machine.
    pub logs: u64,
}

#[derive(Default)]
pub struct Memory {
    samples: Vec<Sample>,
    /// How long the broker took to answer somebody who has nothing to do with all this.
    answers: Vec<Duration>,
}

/// Medians.
#[derive(Clone, Copy, Debug)]
pub struct Thirds {
    pub warm_up: Sample,
    pub second: Sample,
    pub last: Sample,
    pub peak: Sample,
}

impl Memory {
    pub fn sample(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    pub fn answered(&mut self, after: Duration) {
        self.answers.push(after);
    }

    /// The median and the slowest.
    pub fn answers(&self) -> (Duration, Duration) {
        let mut sorted = self.answers.clone();
        sorted.sort_unstable();
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        (at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
    }

    pub fn thirds(&self) -> Thirds {
        let third = self.samples.len() / 3;
        let logs_peak = self.samples.iter().map(|sample| sample.logs).max();
        let rss_peak = self.samples.iter().map(|sample| sample.rss).max();
        Thirds {
            warm_up: medians(&self.samples[..third]),
            second: medians(&self.samples[third..2 * third]),
            last: medians(&self.samples[2 * third..]),
            peak: Sample {
                rss: rss_peak.unwrap_or(0),
                logs: logs_peak.unwrap_or(0),
            },
        }
    }

    pub fn must_be_flat(&self, length: Duration) {
        let Thirds {
            second, last, peak, ..
        } = self.thirds();
        let bound_of = |number| {
            let (_, retention) = setup::topic(number);
            retention.bytes.min(retention.events * EVENT_BYTES) + TOPIC_BYTES
        };
        let logs_bound = (0..setup::TOPICS).map(bound_of).sum::<u64>() >> 10;
        assert!(
            peak.logs <= logs_bound,
            "logs of {} KiB, over {logs_bound}",
            peak.logs
        );
        let logs_grew = last.logs.saturating_sub(second.logs);
        let bound = (second.rss as f64 * (1.0 + GROWTH)) as u64 + SLACK_KB + logs_grew;
        let flat = last.rss <= bound || length < SHORTEST;
        assert!(
            flat,
            "memory grows: {second:?} in the second third, {last:?} in the last; all: {:?}",
            self.samples
        );
    }
}

fn medians(samples: &[Sample]) -> Sample {
    let median = |of: fn(&Sample) -> u64| {
        let mut sorted: Vec<u64> = samples.iter().map(of).collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    };
    Sample {
        rss: median(|sample| sample.rss),
        logs: median(|sample| sample.logs),
    }
}
