//! The protocol of AWS AppSync Events: what its clients say, and what they are told. One more dialect beside
//! the native one; nothing behind it knows that AppSync exists.
//!
//! Invariants:
//! - A reader gets an event of type `event` byte for byte as it was published, inside a JSON string.
//! - A refusal for want of rights never says why: every reason of ours becomes the same sentence
//!   ([`refusal`]), so that nobody learns what exists by asking.
//! - No input makes the decoder panic; every input has an answer that names its operation.

pub mod authorization;
pub mod channel;
pub mod decode;
pub mod encode;
pub mod event;
pub mod refusal;

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "aws-appsync-event-ws";
/// What the other offered subprotocol begins with; the authorization stands behind it.
pub const HEADER_PREFIX: &str = "header-";
