//! A line a second on standard error while a bench runs: over itself on a terminal, one below the other elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::report::grouped;
use super::run::Run;
use super::window::Sample;

/// Shows how the run goes, and watches the broker's memory, until it is dropped.
pub async fn show(run: &Run, scenario: &str, is_quiet: bool) {
    let is_terminal = std::io::stderr().is_terminal();
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    seconds.tick().await;
    let mut before = run.sample();
    loop {
        seconds.tick().await;
        let now = run.sample();
        let line = line(run, scenario, &before, &now);
        before = now;
        if !is_quiet {
            let mut out = std::io::stderr().lock();
            // that nobody sees it is no reason to stop
            let _ = match is_terminal {
                true => write!(out, "\r\x1b[2K{line}").and_then(|()| out.flush()),
                false => writeln!(out, "{line}"),
            };
        }
    }
}

/// The line is over.
pub fn clear(is_quiet: bool) {
    if !is_quiet && std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[2K");
    }
}

fn line(run: &Run, scenario: &str, before: &Sample, now: &Sample) -> String {
    let seconds = (now.at_us - before.at_us).max(1) as f64 / 1e6;
    let rate = |now: u64, before: u64| grouped(((now - before) as f64 / seconds) as u64);
    let mut line = format!(
        "{scenario} {} s: {} connections, {} events/s in, {} deliveries/s",
        now.at_us / 1_000_000,
        run.counts.open.get(),
        rate(now.accepted, before.accepted),
        rate(now.delivered, before.delivered),
    );
    let windows = run.windows.borrow();
    if let Some(window) = windows.last() {
        line = format!("{line} ({})", window.name);
        let latency = match window.latency.is_empty() {
            true => &window.acknowledged,
            false => &window.latency,
        };
        if !latency.is_empty() {
            let p99_ms = latency.value_at_quantile(0.99) as f64 / 1000.0;
            line = format!("{line}, p99 {p99_ms:.1} ms");
        }
    }
    let refused: u64 = run.refusals.borrow().values().sum();
    if refused > 0 {
        line = format!("{line}, {} refused", grouped(refused));
    }
    if !run.pids.is_empty() {
        let cpu = 100.0 * (now.broker_cpu_s - before.broker_cpu_s) / seconds;
        let rss = now.broker_rss_kib / 1024;
        line = format!("{line}, broker {cpu:.0} % CPU, {rss} MB");
    }
    line
}
