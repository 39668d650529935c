//! The Rust client: what `pipe`, `tail`, `publish` and the demo agent speak to a broker with. Reading:
//! [`Subscriber`] and [`Fold`]; publishing: [`Publisher`], and [`http::publish`] for one batch now and then.
//! `clients/rust` in the repository has examples.
//!
//! It knows the wire (native JSON over WebSocket, `POST /v1/publish`) and nothing of the broker's inside. The rules are
//! plain state machines without sockets or clocks (`reading`, `readings`, `window`, `fold`, `attachment`, `control`,
//! `heartbeat`, `backoff`); `connection`, `subscriber`, `publisher` and `http` are the thin I/O around them. Everything
//! runs on one thread of an actix runtime (`awc` is not `Send`).
//!
//! An agent attaches its publisher ([`Attachment`]): the broker then holds its messages for a lease, and says what
//! clients want of it ([`Publisher::control`]) and how many read ([`Publisher::readers`]).
//!
//! What ends a connection is an [`Ending`]; its [`EndingKind`] says whether coming back can help. Where it can, both
//! come back by themselves, with full jitter up to 20 s.

#![warn(missing_docs)]

pub mod attachment;
pub mod backoff;
pub mod connection;
pub mod control;
pub mod ending;
pub mod endpoint;
pub mod fold;
pub mod heartbeat;
pub mod http;
pub mod https;
pub mod kept;
pub mod new_event;
pub mod parts;
pub mod position;
pub mod publisher;
pub mod reading;
pub mod readings;
pub mod subscriber;
pub mod transcript;
pub mod utf8;
pub mod window;
pub mod wire;

pub use attachment::Attachment;
pub use control::ControlEvent;
pub use ending::{Ending, EndingKind};
pub use endpoint::{Endpoint, Token};
pub use fold::{Fold, Message, MessageState};
pub use new_event::NewEvent;
pub use position::{Epoch, Position};
pub use publisher::{Publisher, PublisherOptions};
pub use readings::Item;
pub use subscriber::{Subscriber, SubscriberOptions};
pub use wire::{Event, Problem, TextKind};
