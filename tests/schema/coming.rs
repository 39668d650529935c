//! What `schema/` describes and the broker does not do yet. The lists are compared with the code like all
//! others: what comes into the code has to leave here.

/// Ops of a client.
pub const CLIENT_OPS: &[&str] = &["attach", "control_ack"];
/// Ops of the broker.
pub const SERVER_OPS: &[&str] = &["attached", "control", "demand"];
/// HTTP calls.
pub const PATHS: &[&str] = &["/v1/publish/stream"];
