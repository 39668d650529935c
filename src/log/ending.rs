//! Messages that the broker ends for publishers that are gone.
//!
//! Which messages these are is decided here, in the step that ends them: whatever was appended before
//! counts, and each message ends once, whoever asks.

use std::sync::Arc;

use bytes::Bytes;

use super::fold::{Fold, Owner};
use super::publish::{Appended, Publish};
use super::topic_log::TopicLog;
use crate::event::json::push_string;
use crate::event::{NewEvent, Seq};

/// Why the broker ends a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The lease of the run that wrote it ended.
    AgentLost,
    /// Nobody holds a lease for it and nothing was added for long.
    Timeout,
    /// A newer run of its producer attached.
    Replaced,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AgentLost => "agent_lost",
            Self::Timeout => "timeout",
            Self::Replaced => "replaced",
        }
    }
}

/// Which messages of a topic are ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// Those that this run of a producer wrote last.
    Run {
        principal: Arc<str>,
        producer: Arc<str>,
        epoch: u64,
    },
    /// Those of all runs before this one, which are fenced here from now on.
    RunsBefore {
        principal: Arc<str>,
        producer: Arc<str>,
        epoch: u64,
    },
    /// These, unless something was added since (the seq is the last one known).
    Untouched(Vec<(Arc<str>, Seq)>),
}

impl Ending {
    pub fn reason(&self) -> Reason {
        match self {
            Self::Run { .. } => Reason::AgentLost,
            Self::RunsBefore { .. } => Reason::Replaced,
            Self::Untouched(_) => Reason::Timeout,
        }
    }

    fn concerns(&self, fold: &Fold) -> bool {
        let is_of = |principal: &Arc<str>, producer: &Arc<str>| match &fold.owner {
            Owner::Producer(p, id) => p == principal && id == producer,
            Owner::Principal(_) => false,
        };
        match self {
            Self::Run {
                principal,
                producer,
                epoch,
            } => fold.run == *epoch && is_of(principal, producer),
            Self::RunsBefore {
                principal,
                producer,
                epoch,
            } => fold.run < *epoch && is_of(principal, producer),
            Self::Untouched(messages) => messages
                .iter()
                .any(|(message, last_seq)| fold.message == *message && fold.last_seq == *last_seq),
        }
    }
}

impl TopicLog {
    /// Ends the messages and answers how many there were. Such an end has no `source`: nobody said it.
    pub fn end(&mut self, ending: &Ending, now: u64) -> usize {
        let publishes = self.accept_end(ending, now);
        for (publish, _) in &publishes {
            self.commit(publish, now);
        }
        publishes.len()
    }

    /// The first half of it, as `accept` is of a publish: each end is still to be committed. Everything that was
    /// accepted before must have been.
    pub fn accept_end(&mut self, ending: &Ending, now: u64) -> Vec<(Publish, Appended)> {
        debug_assert_eq!(self.accepted, self.head());
        if let Ending::RunsBefore {
            principal,
            producer,
            epoch,
        } = ending
        {
            self.has_new_run |= self.producers.fence(principal, producer, *epoch, now);
        }
        let concerned = self.folds.in_order().into_iter();
        let concerned: Vec<Arc<str>> = concerned
            .filter(|fold| ending.concerns(fold))
            .map(|fold| fold.message.clone())
            .collect();
        let accept = |message: Arc<str>| {
            let publish = Publish::by_the_broker(interrupted(&message, ending.reason()));
            let appended = self.assign(&publish, now);
            (publish, appended)
        };
        concerned.into_iter().map(accept).collect()
    }
}

fn interrupted(message: &str, reason: Reason) -> NewEvent {
    let mut data = b"{\"message_id\":".to_vec();
    push_string(&mut data, message);
    data.extend_from_slice(b",\"reason\":");
    push_string(&mut data, reason.as_str());
    data.push(b'}');
    let event = NewEvent::build("message.interrupted".into(), None, Bytes::from(data));
    event.expect("the id of an open message is valid")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::log::fold::epoch_of;
    use crate::log::idempotency::Producer;
    use crate::log::{Refusal, Retention};

    fn log() -> TopicLog {
        let retention = Retention {
            events: 100,
            bytes: 1 << 20,
            age: Duration::from_secs(60),
        };
        TopicLog::new(epoch_of("storetest", 1), retention, 0)
    }

    fn delta(message: &str, producer: Option<(&str, u64)>) -> Publish {
        let data = format!(r#"{{"message_id":"{message}","text":"x"}}"#);
        let event = NewEvent::build("token.delta".into(), None, data.into()).expect("valid");
        let producer = producer.map(|(id, epoch)| Producer {
            id: id.into(),
            epoch,
            seq: None,
        });
        Publish {
            events: vec![event],
            principal: "me".into(),
            source: None,
            producer,
            lease_ms: None,
        }
    }

    fn run(epoch: u64) -> Ending {
        Ending::Run {
            principal: "me".into(),
            producer: "p".into(),
            epoch,
        }
    }

    fn last_data(log: &TopicLog) -> Value {
        let last = log.entries.back().expect("there are entries");
        serde_json::from_slice(last.data()).expect("JSON")
    }

    #[test]
    fn a_lost_run_ends_what_it_wrote_last_and_nothing_else() {
        let mut log = log();
        let all = [
            ("a", Some(("p", 1))),
            ("b", Some(("p", 1))),
            ("c", Some(("q", 1))),
            ("d", None),
        ];
        for (message, producer) in all {
            log.publish(&delta(message, producer), 1).expect("valid");
        }
        // the next run goes on with one of them: it is that run's now
        log.publish(&delta("b", Some(("p", 2))), 1).expect("valid");
        assert_eq!((log.end(&run(1), 2), log.end(&run(1), 2)), (1, 0));
        assert_eq!(last_data(&log)["message_id"], "a");
        assert_eq!(last_data(&log)["reason"], "agent_lost");
        assert_eq!(log.folds().open_count(), 3);
        let late = log.publish(&delta("a", Some(("p", 2))), 3);
        assert_eq!(late, Err(Refusal::MessageEnded { index: 0 }));
    }

    #[test]
    fn a_replaced_run_is_fenced_even_where_it_has_nothing_open() {
        let mut log = log();
        log.publish(&delta("a", Some(("p", 1))), 1).expect("valid");
        let replaced = Ending::RunsBefore {
            principal: "me".into(),
            producer: "p".into(),
            epoch: 2,
        };
        assert_eq!((log.end(&replaced, 2), log.end(&replaced, 2)), (1, 0));
        assert_eq!(last_data(&log)["reason"], "replaced");
        let old = log.publish(&delta("b", Some(("p", 1))), 3);
        assert_eq!(old, Err(Refusal::ProducerFenced { current: 2 }));
        assert!(log.publish(&delta("b", Some(("p", 2))), 3).is_ok());
    }

    #[test]
    fn an_idle_message_that_moved_meanwhile_stays() {
        let mut log = log();
        log.publish(&delta("a", None), 1).expect("valid");
        log.publish(&delta("b", None), 1).expect("valid");
        let idle = Ending::Untouched(vec![("a".into(), Seq(1)), ("b".into(), Seq(2))]);
        log.publish(&delta("b", None), 1).expect("valid");
        assert_eq!(log.end(&idle, 2), 1);
        assert_eq!(last_data(&log)["reason"], "timeout");
        assert!(log.folds().get("b").is_some());
    }
}
