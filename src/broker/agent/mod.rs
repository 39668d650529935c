//! Agents: publishing processes, known by (principal, producer id), that outlive their connections.
//!
//! `runs` is the plain state machine: which run is the current one, who holds its lease, where it may have
//! messages open. `actor` gives it time and carries out what it decides; `registry` finds it.

pub mod actor;
mod epochs;
pub mod registry;
pub mod runs;

pub use actor::{Holder, Replaced};
pub use registry::{Agents, AttachRequest, Attached, Pass, StreamHold};
pub use runs::Lease;
