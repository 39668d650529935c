//! When each publish is due. Pure: the same schedule for every peer, whatever the peer makes of it.
//!
//! An event's moment is fixed before the run begins. A peer that is slow does not move the moments after it, so what
//! waits because of it is counted as waiting (no coordinated omission).

use std::time::Duration;

/// The publishes of one connection: its topics in turn, evenly spread over time.
#[derive(Clone, Debug)]
pub struct Cadence {
    topics: Vec<u32>,
    /// Microseconds between two publishes of this connection; 0: each as soon as it can.
    step_us: f64,
    begin_us: f64,
    end_us: f64,
    /// Not more publishes than this.
    most: u64,
    made: u64,
}

/// One publish of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub at_us: u64,
    pub topic: u32,
}

impl Cadence {
    /// Connection `part` of `parts`, which share `topics` topics with `per_topic` publishes a second each, from
    /// `begin_us` until `end_us`. With a rate of 0 a publish is due whenever it is asked for.
    pub fn new(
        part: usize,
        parts: usize,
        topics: usize,
        per_topic: f64,
        (begin_us, end_us): (u64, u64),
    ) -> Self {
        let mine: Vec<u32> = (part..topics)
            .step_by(parts.max(1))
            .map(|topic| topic as u32)
            .collect();
        let step_us = match per_topic > 0.0 && !mine.is_empty() {
            true => 1e6 / (per_topic * mine.len() as f64),
            false => 0.0,
        };
        // the connections do not all publish in the same instant
        let shift_us = step_us * part as f64 / parts.max(1) as f64;
        Self {
            topics: mine,
            step_us,
            begin_us: begin_us as f64 + shift_us,
            end_us: end_us as f64,
            most: u64::MAX,
            made: 0,
        }
    }

    /// Each topic so many times, as fast as it is taken.
    pub fn rounds(part: usize, parts: usize, topics: usize, rounds: u64) -> Self {
        let mut all = Self::new(part, parts, topics, 0.0, (0, u64::MAX));
        all.most = rounds.saturating_mul(all.topics.len() as u64);
        all
    }

    /// The next publish, if it is due before the end.
    pub fn peek(&self, now_us: u64) -> Option<Due> {
        let topics = self.topics.len() as u64;
        let topic = *self
            .topics
            .get(usize::try_from(self.made % topics.max(1)).ok()?)?;
        let at_us = match self.is_paced() {
            true => self.begin_us + self.made as f64 * self.step_us,
            false => self.begin_us.max(now_us as f64),
        };
        (at_us < self.end_us && self.made < self.most).then_some(Due {
            at_us: at_us as u64,
            topic,
        })
    }

    /// The publish that `peek` showed was made.
    pub fn advance(&mut self) {
        self.made += 1;
    }

    /// Whether several publishes are due within `span`.
    pub fn is_dense(&self, span: Duration) -> bool {
        self.is_paced() && 2.0 * self.step_us <= span.as_micros() as f64
    }

    /// Whether publishes have moments of their own.
    pub fn is_paced(&self) -> bool {
        self.step_us > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut cadence: Cadence) -> Vec<Due> {
        let mut all = Vec::new();
        while let Some(due) = cadence.peek(0) {
            all.push(due);
            cadence.advance();
        }
        all
    }

    #[test]
    fn each_topic_gets_its_rate_evenly_spread() {
        let span = (1_000_000, 3_000_000);
        let dues: Vec<Due> = (0..3)
            .flat_map(|part| all(Cadence::new(part, 3, 10, 5.0, span)))
            .collect();
        for topic in 0..10 {
            let at: Vec<u64> = dues
                .iter()
                .filter(|due| due.topic == topic)
                .map(|due| due.at_us)
                .collect();
            assert_eq!(at.len(), 10, "topic {topic}: {at:?}");
            assert!(
                at.windows(2)
                    .all(|pair| pair[1] - pair[0] >= 199_999 && pair[1] - pair[0] <= 200_001)
            );
        }
        assert!(
            dues.iter()
                .all(|due| (1_000_000..3_000_000).contains(&due.at_us))
        );
    }

    #[test]
    fn more_connections_than_topics_leaves_some_without_work() {
        assert!(all(Cadence::new(3, 4, 2, 1.0, (0, 10_000_000))).is_empty());
    }

    #[test]
    fn without_a_rate_it_is_due_when_asked_for() {
        let mut cadence = Cadence::new(0, 1, 2, 0.0, (100, 1000));
        let topics: Vec<u32> = (0..4)
            .map(|_| {
                let due = cadence.peek(500).expect("before the end");
                assert_eq!(due.at_us, 500);
                cadence.advance();
                due.topic
            })
            .collect();
        assert_eq!(topics, [0, 1, 0, 1]);
        assert_eq!(cadence.peek(1000), None);
    }

    #[test]
    fn dense_is_what_has_several_in_a_span() {
        let millisecond = Duration::from_millis(1);
        let of_rate = |per_topic| Cadence::new(0, 1, 100, per_topic, (0, 1));
        assert!(!of_rate(10.0).is_dense(millisecond));
        assert!(of_rate(20.0).is_dense(millisecond));
        assert!(!of_rate(0.0).is_dense(millisecond));
    }

    #[test]
    fn rounds_are_made_at_once() {
        let dues = all(Cadence::rounds(1, 2, 5, 3));
        let topics: Vec<u32> = dues.iter().map(|due| due.topic).collect();
        assert_eq!(topics, [1, 3, 1, 3, 1, 3]);
        assert!(dues.iter().all(|due| due.at_us == 0));
    }
}
