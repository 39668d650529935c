//! One topic's log: what is kept, what is folded, what is remembered of publishers, and how it is read.
//!
//! A plain state machine: the caller brings the time, nothing here waits or locks (but `shared`, the
//! one lock around it all). Engines own logs; readers read them.

pub mod checkpoint;
pub mod control;
pub mod ending;
pub mod fold;
pub mod idempotency;
pub mod merge;
pub mod publish;
pub mod read;
pub mod retention;
pub mod shared;
pub mod topic_log;
pub mod window;

pub use ending::{Ending, Reason};
pub use publish::{Accepted, Appended, Publish, Refusal};
pub use read::{
    Attach, Batch, Gap, GapReason, Item, ReadFrom, ReadLimits, ReadState, Reading, Replay,
};
pub use retention::Retention;
pub use shared::{Change, SharedLog};
pub use topic_log::TopicLog;
