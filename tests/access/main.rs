//! Attacks on access control, each against a running broker over real sockets: after each one a normal client is
//! served at once, and a second round of the same attack costs no more memory. docs/security.md lists them.

#![allow(clippy::unwrap_used)]

#[allow(
    dead_code,
    unused_imports,
    reason = "the kit of the whole-process tests, of which this needs a part"
)]
#[path = "../promises/support/mod.rs"]
mod support;

mod fields;
mod floods;
mod grants;
mod jwks;
mod kit_grants;
mod kit_tokens;
mod life;
mod limits;
mod places;
mod tokens;
