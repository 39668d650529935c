//! Where one subscription stands, and from where it goes on after a cut.
//!
//! Invariants: the position moves only by what the broker said about it, frame by frame as a whole; a
//! frame that does not begin where this reading stands is refused (the connection is dropped and the
//! topic read again from here), so nothing is skipped or taken twice unnoticed.

use thiserror::Error;

use super::position::Position;
use super::wire::{Events, Gap, Reset, Subscribed};

/// A frame that does not follow on what was read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{topic}: {what}, but this reader stands at {stands}")]
pub struct OutOfStep {
    topic: String,
    what: String,
    stands: String,
}

/// The reading of one topic.
#[derive(Debug)]
pub struct Reading {
    topic: String,
    /// Where to begin as long as no position is known.
    from: String,
    position: Option<Position>,
    /// Asked for on the present connection, and neither refused nor ended.
    pub subscribed: bool,
}

impl Reading {
    /// `from`: `snapshot`, `live`, `start`, `last:N` or a position.
    pub fn new(topic: &str, from: &str) -> Self {
        Self {
            topic: topic.into(),
            from: from.into(),
            position: from.parse().ok(),
            subscribed: false,
        }
    }

    /// Which topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The last position that the broker told, or that was given.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// The `from` of the next subscription.
    pub fn from(&self) -> String {
        self.position
            .as_ref()
            .map_or_else(|| self.from.clone(), Position::to_string)
    }

    /// The broker says where reading begins.
    pub fn on_subscribed(&mut self, frame: &Subscribed) {
        self.subscribed = true;
        // null: a reset follows, and until then the own position stands
        if let Some(position) = &frame.position {
            self.position = Some(position.clone());
        }
    }

    /// Events came. An error: they do not begin where this reading stands.
    pub fn on_events(&mut self, frame: &Events) -> Result<Position, OutOfStep> {
        let stands = self.position.as_ref();
        // seq 0 matches any epoch: a topic's first life begins without a reset
        let follows = |held: &Position| {
            held.seq == frame.after && (held.seq == 0 || held.epoch == frame.epoch)
        };
        if !stands.is_some_and(follows) || frame.upto < frame.after {
            return Err(self.out_of_step(format!(
                "events {}..{} of {} came",
                frame.after, frame.upto, frame.epoch
            )));
        }
        let position = Position {
            epoch: frame.epoch.clone(),
            seq: frame.upto,
            partial: frame.partial,
        };
        self.position = Some(position.clone());
        Ok(position)
    }

    /// Events are gone. An error: they do not begin where this reading stands.
    pub fn on_gap(&mut self, frame: &Gap) -> Result<Position, OutOfStep> {
        let held = self
            .position
            .as_ref()
            .filter(|held| frame.from == held.seq + 1 && frame.to >= frame.from);
        let Some(held) = held else {
            return Err(self.out_of_step(format!("a gap {}..{} came", frame.from, frame.to)));
        };
        let position = Position {
            epoch: held.epoch.clone(),
            seq: frame.to,
            partial: true,
        };
        self.position = Some(position.clone());
        Ok(position)
    }

    /// The topic begins anew.
    pub fn on_reset(&mut self, frame: &Reset) -> Position {
        let position = Position {
            epoch: frame.epoch.clone(),
            seq: 0,
            partial: true,
        };
        self.position = Some(position.clone());
        position
    }

    fn out_of_step(&self, what: String) -> OutOfStep {
        let stands = self
            .position
            .as_ref()
            .map_or_else(|| "no position".into(), Position::to_string);
        OutOfStep {
            topic: self.topic.clone(),
            what,
            stands,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::wire::ServerFrame;
    use serde_json::json;

    fn events(epoch: &str, after: u64, upto: u64, partial: bool) -> Events {
        let frame = json!({"op": "events", "topic": "/a/b", "epoch": epoch, "after": after, "upto": upto,
            "partial": partial, "events": []});
        let Ok(ServerFrame::Events(frame)) = ServerFrame::parse(&frame.to_string()) else {
            panic!("no events")
        };
        frame
    }

    fn subscribed(epoch: &str, head: u64, position: Option<&str>) -> Subscribed {
        let position = position.map(|p| p.parse().expect("a position"));
        Subscribed {
            topic: "/a/b".into(),
            epoch: epoch.parse().expect("an epoch"),
            head,
            position,
            resumed: false,
        }
    }

    fn gap(from: u64, to: u64) -> Gap {
        Gap {
            topic: "/a/b".into(),
            from,
            to,
            reason: "retention".into(),
        }
    }

    #[test]
    fn a_reading_goes_on_where_it_stood_partial_or_not() {
        let mut reading = Reading::new("/a/b", "snapshot");
        assert_eq!(reading.from(), "snapshot");
        reading.on_subscribed(&subscribed("aaaaaaaa", 7, Some("aaaaaaaa:7~")));
        assert_eq!(reading.from(), "aaaaaaaa:7~");
        reading
            .on_events(&events("aaaaaaaa", 7, 7, false))
            .expect("in step");
        assert_eq!(reading.from(), "aaaaaaaa:7");
        reading
            .on_events(&events("aaaaaaaa", 7, 12, true))
            .expect("in step");
        assert_eq!(reading.from(), "aaaaaaaa:12~");
    }

    #[test]
    fn a_given_position_is_held_before_the_broker_answers() {
        let reading = Reading::new("/a/b", "aaaaaaaa:7~");
        assert_eq!(reading.position().map(|p| p.seq), Some(7));
        assert_eq!(Reading::new("/a/b", "last:7").position(), None);
    }

    #[test]
    fn a_frame_that_skips_or_repeats_is_refused() {
        let mut reading = Reading::new("/a/b", "aaaaaaaa:7");
        assert!(reading.on_events(&events("aaaaaaaa", 8, 9, false)).is_err());
        assert!(reading.on_events(&events("aaaaaaaa", 6, 9, false)).is_err());
        assert!(reading.on_events(&events("bbbbbbbb", 7, 9, false)).is_err());
        assert!(reading.on_gap(&gap(9, 12)).is_err());
        assert_eq!(reading.from(), "aaaaaaaa:7");
    }

    #[test]
    fn a_gap_makes_it_partial_and_a_reset_starts_it_over() {
        let mut reading = Reading::new("/a/b", "aaaaaaaa:7");
        reading.on_gap(&gap(8, 20)).expect("in step");
        assert_eq!(reading.from(), "aaaaaaaa:20~");
        reading.on_subscribed(&subscribed("bbbbbbbb", 3, None));
        assert_eq!(reading.from(), "aaaaaaaa:20~");
        reading.on_reset(&Reset {
            topic: "/a/b".into(),
            epoch: "bbbbbbbb".parse().expect("an epoch"),
            reason: String::new(),
        });
        assert_eq!(reading.from(), "bbbbbbbb:0~");
        reading
            .on_events(&events("bbbbbbbb", 0, 3, false))
            .expect("in step");
        assert_eq!(reading.from(), "bbbbbbbb:3");
    }

    #[test]
    fn the_first_life_of_a_topic_needs_no_reset() {
        let mut reading = Reading::new("/a/b", "live");
        reading.on_subscribed(&subscribed("00000000", 0, Some("00000000:0")));
        reading
            .on_events(&events("aaaaaaaa", 0, 2, false))
            .expect("seq 0 matches any epoch");
        assert_eq!(reading.from(), "aaaaaaaa:2");
    }
}
