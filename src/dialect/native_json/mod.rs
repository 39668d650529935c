//! The native JSON protocol: one object a frame.

pub mod decode;
mod encode;

pub use encode::{
    Limits, OPS as SERVER_OPS, Welcome, attached, control, demand, draining, error, events, gap,
    pong, published, push_item, refreshed, reset, subscribed, subscribed_pattern, unsubscribed,
    unsubscribed_pattern, welcome,
};
