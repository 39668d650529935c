//! The Rust client: what `pipe`, `tail`, `publish` and the demo agent speak to a broker with.
//!
//! It knows the wire (native JSON over WebSocket, `POST /v1/publish`) and nothing of the broker's
//! inside. The rules are plain state machines without sockets or clocks (`reading`, `window`, `fold`,
//! `heartbeat`, `backoff`); `connection`, `subscriber`, `publisher` and `http` are the thin I/O around
//! them. Everything runs on one thread of an actix runtime (`awc` is not `Send`).
//!
//! Not here yet: `attach`, leases, demand and control. They belong beside `publisher`: the frames in
//! `wire`, the claim in `connection::open`, the broker's epoch into `window::Producer`.

pub mod backoff;
pub mod connection;
pub mod ending;
pub mod endpoint;
pub mod fold;
pub mod heartbeat;
pub mod http;
pub mod kept;
pub mod new_event;
pub mod parts;
pub mod position;
pub mod publisher;
pub mod reading;
pub mod subscriber;
pub mod transcript;
pub mod utf8;
pub mod window;
pub mod wire;

pub use endpoint::{Endpoint, Token};
pub use fold::{Fold, Message, MessageState};
pub use new_event::NewEvent;
pub use position::{Epoch, Position};
pub use publisher::{Publisher, PublisherOptions};
pub use subscriber::{Item, Subscriber, SubscriberOptions};
pub use wire::{Event, Problem, TextKind};
