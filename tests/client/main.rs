//! The Rust client, as somebody uses it who builds it without the broker: recorded conversations, the examples of its
//! README as written, and TLS.

#![allow(clippy::unwrap_used)]

#[allow(
    dead_code,
    unused_imports,
    reason = "the kit of the whole-process tests, of which this needs a part"
)]
#[path = "../promises/support/mod.rs"]
mod support;

mod examples;
mod tls;
mod vectors;
