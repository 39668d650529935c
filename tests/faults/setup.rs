//! What the tests have in common: a directory, a broker on it, and what a run is set to.

use std::path::Path;

use fastrand::Rng;

use crate::support::broker::quiet_port;
use crate::support::{Broker, Setup};

/// Rounds of the tests that go round.
pub fn rounds() -> u64 {
    number("FAULT_ROUNDS").unwrap_or(10)
}

/// Chance, told so that a run can be repeated.
pub fn chance(test: &str) -> Rng {
    let seed = number("FAULT_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("{test}: FAULT_SEED={seed} FAULT_ROUNDS={}", rounds());
    Rng::with_seed(seed)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: not a number")),
    )
}

/// A broker on this directory, always on the same port.
pub fn on_disk(dir: &Path, config: &str, args: &[&str]) -> Setup {
    let dir = dir.to_str().expect("a path in UTF-8");
    let mut all = vec!["--engine", "disk", "--data-dir", dir];
    all.extend(args);
    Setup {
        config: config.to_owned(),
        args: all.into_iter().map(str::to_owned).collect(),
        port: quiet_port(),
        ..Setup::default()
    }
}

pub fn serve(dir: &Path) -> Broker {
    Broker::set_up(on_disk(dir, "", &[]))
}

/// SIGTERM, and its good end.
pub fn stop(broker: &mut Broker) {
    broker.term();
    let status = broker.wait_exit();
    assert!(status.success(), "{status}: {}", broker.stderr());
}
