//! The promises of docs/protocol.md, section 2, section 4's reading and section 6's wire, shown against the real
//! binary over real sockets. A test's number is its promise's; `reading_`, `wire_`, `bad_input_`,
//! `operations_`, `cli_` and `demo_` stand for what the sections say beside the promises, `appsync_` for docs/appsync.md.

#![allow(clippy::unwrap_used)]

mod support;

mod p01_order;
mod p02_attach;
mod p03_gap;
mod p03_reset;
mod p03_resume;
mod p04_slow_reader;
mod p05_nobody_waits;
mod p06_acknowledged;
mod p07_retried;
mod p08_fencing;
mod p08_races;
mod p09_control;
mod p09_demand;
mod p09_leases;
mod p09_lost;
mod p10_same_bytes;
mod p11_late_joiner;
mod p12_errors;

mod appsync_access;
mod appsync_errors;
mod appsync_frames;
mod appsync_http;
mod appsync_replay;
mod appsync_world;
mod bad_input_agents;
mod bad_input_events;
mod bad_input_frames;
mod bad_input_http;
mod cli;
mod cli_access;
mod cli_pipe;
mod cli_pipe_agent;
mod demo_model;
mod demo_script;
mod kit;
mod operations;
mod operations_drain;
mod publish_stream;
mod publish_stream_limits;
mod publish_stream_runs;
mod reading_coalesce;
mod reading_filters;
mod reading_history;
mod reading_once;
mod reading_patterns;
mod wire_msgpack;
mod wire_sse;
mod wire_ws;
