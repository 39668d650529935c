//! AWS AppSync Events: `GET /event/realtime` (WebSocket) and `POST /event`, for its unmodified clients.
//!
//! Such a client knows no seqs, no positions and no resuming: it subscribes again, with the ids it had before. Who
//! it is, it says with each subscription and publish anew. All of that stays here and in the dialect: to the rest
//! of the broker these are readings of topics, each with a label, and publishes.

mod authorize;
mod connection;
mod dialog;
mod handshake;
mod opening;
mod publish;
mod readings;

use std::time::Duration;

pub use dialog::begin;
pub use handshake::{Arrival, arrive, check_subprotocol};
pub use publish::publish;

pub use crate::dialect::appsync::SUBPROTOCOL;

/// Where WebSockets of this dialect are served,
pub const REALTIME_PATH: &str = "/event/realtime";
/// and where is published over HTTP.
pub const PUBLISH_PATH: &str = "/event";

/// A client that heard neither `ka` nor `data` for that long takes the connection for dead.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// Between two `ka`: clients look for one every 60 s, and the broker looks after its connections twice a second.
const KEEP_ALIVE: Duration = Duration::from_secs(55);

/// Bytes of a message or body with `events` events of `event_bytes`: quotes and backslashes in a payload are
/// escaped, and Amplify says everything twice in a frame.
fn max_message(settings: &crate::config::AppSync) -> usize {
    const AROUND: usize = 64 << 10;
    settings.max_events * settings.max_event_bytes * 4 + AROUND
}
