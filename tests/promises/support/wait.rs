//! Bounded waiting for conditions.

use std::time::{Duration, Instant};

/// How long any single wait may last before its test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The pace at which a condition is asked again.
const POLL: Duration = Duration::from_millis(10);

/// Asks `probe` until it answers with a value; fails the test after `PATIENCE`.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain for {what}"
        );
        std::thread::sleep(POLL);
    }
}
