//! The broker itself: state machines (session, hub), the actors that drive them, and the directory.
//!
//! What is plain: `outbox`, `hub`, `session`, `intake`, `quota`, `bookmarks`: `(state, input, now) → effects`, no socket, no clock,
//! no actix. What is thin: `topic` (the one writer of a topic), `shard` (hands news to the sessions of its
//! thread), `connection` (one session actor and its link to a socket).

mod access;
pub mod agent;
pub mod bookmarks;
pub mod caller;
mod care;
pub mod command;
pub mod connection;
pub mod demand;
mod demand_board;
pub mod directory;
pub mod hub;
pub mod inbox;
pub mod intake;
pub mod link;
pub mod opening;
pub mod outbox;
mod patterns;
pub mod problem;
pub mod quota;
pub mod readers;
pub mod reply;
pub mod session;
pub mod shard;
pub mod topic;

pub use directory::{Broker, BrokerSettings};
