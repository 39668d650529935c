//! What an event is: topics, patterns, types, positions, cursors, and the event itself.
//!
//! Nothing here does I/O, reads a clock or knows an actor; everything validated here cannot be built
//! unvalidated, so the rest of the broker never checks a name twice.

pub mod cursor;
pub mod entry;
pub mod event_type;
pub mod incoming;
pub mod json;
pub mod map;
pub mod message;
pub mod pattern;
pub mod position;
pub mod room;
pub mod topic;

pub use entry::{Content, Entry, TextKind};
pub use event_type::{EventType, TypeFilter};
pub use incoming::{InvalidEvent, NewContent, NewEvent};
pub use map::{KeyedHash, Map, Set};
pub use message::{EndedMessage, Snapshot, TextPart};
pub use pattern::TopicPattern;
pub use position::{Epoch, Position, Seq};
pub use topic::TopicPath;
