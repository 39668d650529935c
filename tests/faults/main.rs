//! What goes wrong below a broker that keeps its logs on disk: it is killed, its disk fills up or may not be
//! written, its files are damaged, it is started twice. The real binary, each fault for real.
//!
//! Invariant behind all of them: what was acknowledged is served as it was, or refused, or under a new epoch;
//! never less under the old one.
//!
//! `FAULT_ROUNDS` (10) and `FAULT_SEED` change a run; `-- --nocapture` shows its figures.

#![allow(clippy::unwrap_used)]

#[allow(
    dead_code,
    unused_imports,
    reason = "the kit of the whole-process tests, of which this needs a part"
)]
#[path = "../promises/support/mod.rs"]
mod support;

mod agents;
mod damage;
mod full;
mod history;
mod kill;
mod life;
mod mount;
mod publisher;
mod retention;
mod rights;
mod script;
mod setup;
mod starts;
