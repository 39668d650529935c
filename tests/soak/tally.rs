//! What happened, counted; and what must not happen.

use std::fmt;
use std::ops::AddAssign;

/// What is wrong with something that a reader or publisher was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wrong {
    /// It was owed and did not come.
    Lost,
    /// It came again.
    Repeated,
    /// It came before something that stands before it.
    OutOfOrder,
    /// It is not what was published.
    Altered,
    /// Nothing in the protocol explains it.
    Unexplained,
    /// Nothing comes any more.
    Stuck,
}

#[derive(Clone, Debug)]
pub struct Fault {
    pub wrong: Wrong,
    pub what: String,
}

impl Fault {
    pub fn new(wrong: Wrong, what: impl Into<String>) -> Fault {
        Fault {
            wrong,
            what: what.into(),
        }
    }

    pub fn of(self, who: impl fmt::Display) -> Fault {
        Fault {
            what: format!("{who}: {}", self.what),
            ..self
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.wrong, self.what)
    }
}

pub type Checked<T = ()> = Result<T, Fault>;

/// `Err` unless it holds.
pub fn must(holds: bool, wrong: Wrong, what: impl FnOnce() -> String) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(Fault::new(wrong, what()))
    }
}

macro_rules! tally {
    ($($(#[$doc:meta])* $field:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Tally { $($(#[$doc])* pub $field: u64),* }

        impl AddAssign for Tally {
            fn add_assign(&mut self, other: Tally) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

tally! {
    /// Events that were published, retries not counted.
    published,
    publishes,
    /// Publishes sent again on purpose, and those of them that had been kept already.
    retried,
    duplicates,
    /// Connections of publishers cut with publishes under way.
    publisher_cuts,

    /// Events (merged ones by their number) and snapshots that were checked.
    delivered,
    /// Envelopes that came: a merge is one.
    envelopes,
    merges,
    snapshots,
    /// End events with their whole message.
    compacts,
    bytes,

    connections,
    /// Lines cut by the reader, with a reset or a close.
    cuts,
    /// Cut before the reading began.
    early_cuts,
    /// Came back with positions held: told that nothing is missing, or not.
    resumed,
    resumed_with_gap,
    /// Came back with partial positions.
    partial,
    /// Came back with an SSE cursor.
    by_cursor,
    /// Came back on the other transport.
    switched,
    stalls,
    /// Read in small sips for a while.
    sips,
    /// Cut off by the broker in a stall.
    cut_off,
    /// The broker was too busy to hear a request in time (408).
    turned_away,
    left,
    joined,
    /// Unsubscribed a topic and subscribed it again.
    stepped_out,
    gaps,
    /// Events in them.
    gone,
    resets,
    /// Raw readers that went on as compact inside an ended message.
    compacted,
    /// Held messages that ended in a gap.
    ended_in_gap,
}
