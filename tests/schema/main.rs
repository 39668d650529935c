//! `schema/` is the source of truth for shapes. These tests compare it with the lists in the code, and with
//! what a real broker says and understands; and they see to it that every shape was compared.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, unused_imports)]
#[path = "../promises/support/mod.rs"]
mod support;

mod appsync;
mod bundle;
mod coverage;
mod documents;
mod lists;
mod parameters;
mod recorder;
mod schemas;
mod traffic;
mod traffic_agents;
mod traffic_appsync;
mod traffic_auth;
mod traffic_codes;
mod traffic_http;
mod traffic_reading;
mod traffic_sse;
