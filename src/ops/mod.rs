//! What operators see: metrics, and the process's own limits.

pub mod logging;
pub mod metrics;
pub mod process;
