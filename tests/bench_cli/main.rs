//! `tidewire bench` against running brokers, and against peers that lie: each scenario for about a second, its counts
//! exact. Nothing here looks at how fast anything was.

#![allow(clippy::unwrap_used)]

#[allow(
    dead_code,
    unused_imports,
    reason = "the kit of the whole-process tests, of which this needs a part"
)]
#[path = "../promises/support/mod.rs"]
mod support;

mod docs;
mod endings;
mod figures;
mod liar;
mod raw;
mod scenarios;
