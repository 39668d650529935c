//! What a client said in another encoding, as JSON, and what JSON had no word for.

use bytes::Bytes;

use crate::broker::problem::Problem;
use crate::event::InvalidEvent;

/// A frame, a body or an array of bodies.
#[derive(Debug)]
pub struct Said {
    /// Valid JSON; `null` stands in the place of each fault.
    pub json: Bytes,
    /// At most one for each body, in order.
    pub faults: Vec<Fault>,
}

impl Said {
    /// What is wrong with the body at `index` of an array; a frame or a single body is body 0.
    pub fn fault(&self, index: usize) -> Option<&FaultKind> {
        let at = self
            .faults
            .binary_search_by_key(&index, |fault| fault.body)
            .ok()?;
        Some(&self.faults[at].kind)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub body: usize,
    pub kind: FaultKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    Event {
        index: usize,
        field: &'static str,
        why: &'static str,
    },
    /// Beside the events.
    Outside(&'static str),
    /// There were so many that none was written.
    TooManyEvents(usize),
}

impl FaultKind {
    /// Why a frame or body (`what`) is refused as a whole.
    pub fn outside(&self, what: &'static str) -> Option<Problem> {
        match self {
            Self::Outside(why) => Some(Problem::invalid_request(what, format!("the {what} {why}"))),
            _ => None,
        }
    }

    /// Why the event at `index` is refused.
    pub fn event(&self, index: usize) -> Option<InvalidEvent> {
        match self {
            Self::Event {
                index: faulty,
                field,
                why,
            } if *faulty == index => Some(InvalidEvent::Field {
                field,
                problem: (*why).to_owned(),
            }),
            _ => None,
        }
    }

    /// Events that a body announced beyond those that were written.
    pub fn too_many_events(&self) -> Option<usize> {
        match self {
            Self::TooManyEvents(count) => Some(*count),
            _ => None,
        }
    }
}
