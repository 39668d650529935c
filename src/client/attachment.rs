//! Attaching as an agent: what is asked for, and the claim that every new connection repeats.
//!
//! Invariants:
//! - the first claim leaves the epoch to the broker, unless there is one already; every later claim names
//!   the epoch that the window publishes with, so the broker sees one agent through all its connections;
//! - nothing is published on a connection before its claim is answered;
//! - a raised epoch (see `window`) is claimed on a new connection: one connection has one producer for life.

use std::time::Duration;

use super::window::Producer;
use super::wire::{Attach, Attached, ClaimedProducer};

/// The `id` of the claim's frame; the window numbers its publishes from 1.
pub const CLAIM_ID: u64 = 0;
/// How long an agent may be gone unless something else is asked for.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(15);
/// What the broker takes as a lease.
pub const LEASES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(600);

/// What an agent asks for when it attaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// After a lost connection: how long until the broker ends the open messages. Within `LEASES`.
    pub lease: Duration,
    /// Topics whose `run.*` events are for it.
    pub control: Vec<String>,
    /// Topics whose number of readers it wants to know.
    pub demand: Vec<String>,
}

impl Attachment {
    /// Hears what is said to the agents of one topic.
    pub fn controlled_by(topic: &str) -> Self {
        Self {
            lease: DEFAULT_LEASE,
            control: vec![topic.into()],
            demand: Vec::new(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Claim {
    attachment: Attachment,
    /// The epoch that was assigned, or raised since.
    epoch: Option<u64>,
}

/// The broker answered with another epoch than the one that was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnotherEpoch(pub u64);

impl Claim {
    /// Before it attached for the first time.
    pub fn new(attachment: Attachment) -> Self {
        Self {
            attachment,
            epoch: None,
        }
    }

    /// How long the broker holds its open messages while it is away.
    pub fn lease(&self) -> Duration {
        self.attachment.lease
    }

    /// The frame for a new connection.
    pub fn frame(&self, producer: &Producer) -> String {
        let attach = Attach {
            op: "attach",
            id: CLAIM_ID,
            producer: ClaimedProducer {
                id: &producer.id,
                epoch: self.epoch.map(|_| producer.epoch),
            },
            lease_ms: self.attachment.lease.as_millis() as u64,
            demand: &self.attachment.demand,
            control: &self.attachment.control,
        };
        // a struct of texts and numbers is always JSON
        serde_json::to_string(&attach).unwrap_or_default()
    }

    /// The broker's answer: the epoch to publish with, the same for ever unless the window raises it.
    pub fn on_attached(
        &mut self,
        producer: &Producer,
        answer: &Attached,
    ) -> Result<u64, AnotherEpoch> {
        if self.epoch.is_some() && answer.epoch != producer.epoch {
            return Err(AnotherEpoch(answer.epoch));
        }
        self.epoch = Some(answer.epoch);
        Ok(answer.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn producer(epoch: u64) -> Producer {
        Producer {
            id: "p".into(),
            epoch,
        }
    }

    fn frame(claim: &Claim, producer: &Producer) -> Value {
        serde_json::from_str(&claim.frame(producer)).expect("JSON")
    }

    fn answered(epoch: u64) -> Attached {
        Attached {
            id: Some(CLAIM_ID),
            epoch,
        }
    }

    #[test]
    fn the_first_claim_leaves_the_epoch_to_the_broker_and_the_next_keeps_it() {
        let mut claim = Claim::new(Attachment {
            lease: Duration::from_millis(1500),
            control: vec!["/a".into()],
            demand: Vec::new(),
        });
        let first = json!({"op": "attach", "id": 0, "producer": {"id": "p"}, "lease_ms": 1500, "control": ["/a"]});
        assert_eq!(frame(&claim, &producer(1)), first);
        assert_eq!(claim.on_attached(&producer(1), &answered(4)), Ok(4));
        assert_eq!(
            frame(&claim, &producer(4))["producer"],
            json!({"id": "p", "epoch": 4})
        );
        assert_eq!(claim.on_attached(&producer(4), &answered(4)), Ok(4));
    }

    #[test]
    fn a_raised_epoch_is_claimed_anew() {
        let mut claim = Claim::new(Attachment::controlled_by("/a"));
        claim
            .on_attached(&producer(1), &answered(1))
            .expect("assigned");
        assert_eq!(frame(&claim, &producer(2))["producer"]["epoch"], 2);
        assert_eq!(claim.on_attached(&producer(2), &answered(2)), Ok(2));
    }

    #[test]
    fn an_epoch_that_nobody_claimed_is_no_answer() {
        let mut claim = Claim::new(Attachment::controlled_by("/a"));
        claim
            .on_attached(&producer(1), &answered(1))
            .expect("assigned");
        let other = claim.on_attached(&producer(1), &answered(7));
        assert_eq!(other, Err(AnotherEpoch(7)));
    }
}
