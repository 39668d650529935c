//! `tidewire log` against the real binary and real directories: what docs/log-tool.md promises.

#![allow(clippy::unwrap_used)]

#[path = "../promises/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

mod beside;
mod copies;
mod damage;
mod world;
