//! Who may speak for a producer, and whose lease runs, as the protocol says it.

use std::collections::BTreeMap;

/// Names a connection.
pub type Line = u64;

#[derive(Debug, Clone)]
struct Run {
    lease: u64,
    held_by: Option<Line>,
    streams: usize,
    until: u64,
}

/// One producer.
#[derive(Debug, Default)]
pub struct Leases {
    /// The highest epoch that attached or that is in the logs.
    pub latest: u64,
    /// The highest epoch of a publish that may still be refused.
    pub claimed: u64,
    /// Runs before this one are over.
    floor: u64,
    live: BTreeMap<u64, Run>,
}

/// Of a run that only publishes.
const PUBLISHING: u64 = 120_000;

impl Leases {
    pub fn highest(&self) -> u64 {
        self.latest.max(self.claimed)
    }

    /// The epoch that an attach must be given; `None`: it comes too late.
    pub fn may_attach(&self, epoch: Option<u64>) -> Option<u64> {
        match epoch {
            Some(epoch) => (epoch >= self.highest()).then_some(epoch),
            None => Some(self.highest() + 1),
        }
    }

    /// Answers with the connections that must be closed.
    pub fn attach(&mut self, epoch: u64, line: Option<Line>, lease: u64, now: u64) -> Vec<Line> {
        let mut displaced = Vec::new();
        for (known, run) in &mut self.live {
            if (*known != epoch || line.is_some())
                && let Some(holder) = run.held_by.take_if(|holder| Some(*holder) != line)
            {
                displaced.push(holder);
            }
        }
        self.live.retain(|known, _| *known == epoch);
        (self.latest, self.floor) = (epoch, epoch);
        let run = self.run(epoch, lease);
        run.held_by = line.or(run.held_by);
        (run.lease, run.until) = (lease, now + lease);
        displaced
    }

    fn run(&mut self, epoch: u64, lease: u64) -> &mut Run {
        self.live.entry(epoch).or_insert(Run {
            lease,
            held_by: None,
            streams: 0,
            until: 0,
        })
    }

    /// `line`: the attached connection that a publish comes from.
    pub fn may_publish(&self, epoch: u64, line: Option<Line>) -> bool {
        let held_by = self.live.get(&epoch).and_then(|run| run.held_by);
        epoch >= self.floor && (line.is_none() || held_by == line)
    }

    pub fn publish(&mut self, epoch: u64, lease: Option<u64>, opens: bool, now: u64) {
        self.claimed = self.claimed.max(epoch);
        if !opens && !self.live.contains_key(&epoch) {
            return;
        }
        let run = self.run(epoch, PUBLISHING);
        run.lease = lease.unwrap_or(run.lease);
        run.until = now + run.lease;
    }

    /// `lease`: `None`: as before.
    pub fn open_stream(&mut self, epoch: u64, lease: Option<u64>) {
        self.latest = self.latest.max(epoch);
        let run = self.run(epoch, PUBLISHING);
        run.streams += 1;
        run.lease = lease.unwrap_or(run.lease);
    }

    pub fn close_stream(&mut self, epoch: u64, now: u64) {
        if let Some(run) = self.live.get_mut(&epoch) {
            run.streams = run.streams.saturating_sub(1);
            run.until = now + run.lease;
        }
    }

    pub fn release(&mut self, line: Line, now: u64) {
        for run in self.live.values_mut() {
            if run.held_by == Some(line) {
                run.held_by = None;
                run.until = now + run.lease;
            }
        }
    }

    /// Whether the run's messages may stay open.
    pub fn is_alive(&self, epoch: u64, now: u64) -> bool {
        let run = self.live.get(&epoch);
        run.is_some_and(|run| run.held_by.is_some() || run.streams > 0 || run.until > now)
    }

    /// The runs whose leases ended.
    pub fn expire(&mut self, now: u64) -> Vec<u64> {
        let epochs: Vec<u64> = self.live.keys().copied().collect();
        let lost: Vec<u64> = epochs
            .into_iter()
            .filter(|epoch| !self.is_alive(*epoch, now))
            .collect();
        self.live.retain(|epoch, _| !lost.contains(epoch));
        lost
    }

    pub fn has_expired(&self, now: u64) -> bool {
        self.live.keys().any(|epoch| !self.is_alive(*epoch, now))
    }

    pub fn is_live(&self, epoch: u64) -> bool {
        self.live.contains_key(&epoch)
    }

    /// The broker forgot it: only the logs know how far it was.
    pub fn forget(&mut self) {
        assert!(self.live.is_empty());
        *self = Self::default();
    }
}
