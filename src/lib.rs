//! Tidewire: a self-hosted realtime broker for what AI agents say while they work.

pub mod auth;
pub mod broker;
pub mod cli;
pub mod client;
pub mod config;
pub mod dialect;
pub mod edge;
pub mod engine;
pub mod event;
pub mod log;
pub mod ops;
