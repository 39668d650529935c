//! What clients say to this agent (`run.*`): each event once, whatever happens to the connection.
//!
//! Invariants:
//! - the broker delivers a topic's control events in order, and after a reconnect all that nobody has
//!   acknowledged; what was taken over before is recognised by (epoch, seq) and not given out again;
//! - an acknowledgement names only a seq, so it goes only over a connection on which the broker has
//!   delivered that very event; one that may have been lost in a cut is repeated when the event comes again.
//!
//! Bounds: `WAITING` events that the caller has not taken. What comes beyond is left to the broker, which
//! delivers it again on the next connection for as long as it keeps it. `REMEMBERED` seqs a topic.

use std::collections::{BTreeMap, VecDeque};

use super::position::Epoch;
use super::wire::{self, ControlAck, Event, WireError};

/// Events that wait for the caller.
pub const WAITING: usize = 64;
/// Taken events of one topic that can still be acknowledged.
pub const REMEMBERED: usize = 256;

/// A `run.*` event for the agents of a topic.
#[derive(Clone, Debug)]
pub struct ControlEvent {
    /// The topic that it was published to.
    pub topic: String,
    /// The life of the topic's log that `seq` counts in.
    pub epoch: Epoch,
    /// Its place in the log: what is acknowledged.
    pub seq: u64,
    /// `run.cancel`, `run.steer`, `run.approve`, …
    pub event: Event,
}

#[derive(Debug)]
struct Taken {
    seq: u64,
    acknowledged: bool,
    /// Delivered on the present connection.
    here: bool,
}

#[derive(Debug)]
struct Topic {
    epoch: Epoch,
    /// The highest seq that was taken over.
    last: u64,
    taken: VecDeque<Taken>,
    /// One was left to the broker: on this connection all after it are, too.
    overflowed: bool,
}

impl Topic {
    fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            last: 0,
            taken: VecDeque::new(),
            overflowed: false,
        }
    }

    fn taken(&mut self, seq: u64) -> Option<&mut Taken> {
        self.taken.iter_mut().find(|taken| taken.seq == seq)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct ControlInbox {
    topics: BTreeMap<String, Topic>,
    waiting: VecDeque<ControlEvent>,
}

impl ControlInbox {
    /// Takes a frame over; the answer is frames to send.
    pub fn on_frame(&mut self, frame: wire::Control) -> Result<Vec<String>, WireError> {
        let wire::Control {
            topic: name,
            epoch,
            events,
        } = frame;
        let topic = self
            .topics
            .entry(name.clone())
            .or_insert_with(|| Topic::new(epoch.clone()));
        if topic.epoch != epoch {
            *topic = Topic::new(epoch.clone());
        }
        let mut repeated = Vec::new();
        for raw in events {
            let event = Event::parse(raw)?;
            let Some(seq) = event.seq() else {
                continue;
            };
            if seq <= topic.last {
                if let Some(taken) = topic.taken(seq) {
                    taken.here = true;
                    if taken.acknowledged {
                        repeated.push(acknowledgement(&name, seq));
                    }
                }
                continue;
            }
            if topic.overflowed || self.waiting.len() >= WAITING {
                topic.overflowed = true;
                continue;
            }
            topic.last = seq;
            if topic.taken.len() == REMEMBERED {
                topic.taken.pop_front();
            }
            topic.taken.push_back(Taken {
                seq,
                acknowledged: false,
                here: true,
            });
            self.waiting.push_back(ControlEvent {
                topic: name.clone(),
                epoch: epoch.clone(),
                seq,
                event,
            });
        }
        Ok(repeated)
    }

    /// The next event for the caller.
    pub fn take(&mut self) -> Option<ControlEvent> {
        self.waiting.pop_front()
    }

    /// Nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The caller has dealt with it. The answer is the frame to send, if it can go now.
    pub fn acknowledge(&mut self, event: &ControlEvent) -> Option<String> {
        let topic = self.topics.get_mut(&event.topic)?;
        if topic.epoch != event.epoch {
            return None;
        }
        let taken = topic.taken(event.seq)?;
        let first_time = !std::mem::replace(&mut taken.acknowledged, true);
        (first_time && taken.here).then(|| acknowledgement(&event.topic, event.seq))
    }

    /// What was shown and not acknowledged is said again over the next line.
    pub fn on_disconnected(&mut self) {
        for topic in self.topics.values_mut() {
            topic.overflowed = false;
            for taken in &mut topic.taken {
                taken.here = false;
            }
        }
    }
}

fn acknowledgement(topic: &str, seq: u64) -> String {
    let ack = ControlAck {
        op: "control_ack",
        topic,
        seq,
    };
    // a struct of texts and numbers is always JSON
    serde_json::to_string(&ack).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::wire::ServerFrame;
    use serde_json::json;

    fn frame(epoch: &str, seqs: impl IntoIterator<Item = u64>) -> wire::Control {
        let events: Vec<_> = seqs
            .into_iter()
            .map(|seq| json!({"seq": seq, "type": "run.cancel", "data": {}}))
            .collect();
        let frame = json!({"op": "control", "topic": "/a", "epoch": epoch, "events": events});
        match ServerFrame::parse(&frame.to_string()) {
            Ok(ServerFrame::Control(control)) => control,
            other => panic!("{other:?}"),
        }
    }

    fn take_all(inbox: &mut ControlInbox) -> Vec<ControlEvent> {
        std::iter::from_fn(|| inbox.take()).collect()
    }

    fn seqs(events: &[ControlEvent]) -> Vec<u64> {
        events.iter().map(|event| event.seq).collect()
    }

    #[test]
    fn what_comes_again_after_a_cut_is_given_out_once() {
        let mut inbox = ControlInbox::default();
        inbox.on_frame(frame("aaaaaaaa", [3, 7])).expect("a frame");
        assert_eq!(seqs(&take_all(&mut inbox)), [3, 7]);
        inbox.on_disconnected();
        let repeated = inbox
            .on_frame(frame("aaaaaaaa", [3, 7, 8]))
            .expect("a frame");
        assert!(repeated.is_empty(), "nothing was acknowledged");
        assert_eq!(seqs(&take_all(&mut inbox)), [8]);
    }

    #[test]
    fn an_acknowledgement_lost_in_a_cut_is_repeated() {
        let mut inbox = ControlInbox::default();
        inbox.on_frame(frame("aaaaaaaa", [3, 4])).expect("a frame");
        let events = take_all(&mut inbox);
        let sent = inbox.acknowledge(&events[0]);
        let expected = r#"{"op":"control_ack","topic":"/a","seq":3}"#;
        assert_eq!(sent.as_deref(), Some(expected));
        assert_eq!(inbox.acknowledge(&events[0]), None, "once is enough");
        inbox.on_disconnected();
        assert_eq!(inbox.acknowledge(&events[1]), None, "there is no line");
        let repeated = inbox.on_frame(frame("aaaaaaaa", [3, 4])).expect("a frame");
        assert_eq!(repeated.len(), 2);
        assert_eq!(repeated[0], expected);
    }

    #[test]
    fn another_life_of_the_topic_has_other_events_with_the_same_numbers() {
        let mut inbox = ControlInbox::default();
        inbox.on_frame(frame("aaaaaaaa", [3])).expect("a frame");
        let old = take_all(&mut inbox);
        inbox.on_disconnected();
        inbox.on_frame(frame("bbbbbbbb", [2, 3])).expect("a frame");
        assert_eq!(inbox.acknowledge(&old[0]), None, "it is not that 3");
        assert_eq!(seqs(&take_all(&mut inbox)), [2, 3]);
    }

    #[test]
    fn beyond_the_bound_they_are_left_to_the_broker() {
        let mut inbox = ControlInbox::default();
        let many = 1..=(WAITING as u64 + 3);
        inbox
            .on_frame(frame("aaaaaaaa", many.clone()))
            .expect("a frame");
        assert_eq!(take_all(&mut inbox).len(), WAITING);
        inbox
            .on_frame(frame("aaaaaaaa", [100]))
            .expect("not before those that were left");
        assert!(inbox.is_empty());
        inbox.on_disconnected();
        inbox
            .on_frame(frame("aaaaaaaa", many.chain([100])))
            .expect("a frame");
        let after = WAITING as u64;
        assert_eq!(
            seqs(&take_all(&mut inbox)),
            [after + 1, after + 2, after + 3, 100]
        );
    }
}
