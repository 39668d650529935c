//! Tidewire: a self-hosted realtime broker for what AI agents say while they work.
//!
//! `client` reads and publishes; with `default-features = false` it is all there is, without what only the broker
//! needs. The rest is the broker, in the order in which data meets it.

#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "server")]
pub mod broker;
#[cfg(feature = "server")]
pub mod cli;
pub mod client;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod dialect;
#[cfg(feature = "server")]
pub mod edge;
#[cfg(feature = "server")]
pub mod engine;
#[cfg(feature = "server")]
pub mod event;
#[cfg(feature = "server")]
pub mod log;
#[cfg(feature = "server")]
pub mod ops;
