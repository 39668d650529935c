//! Beside a broker that is at work.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::support::*;
use crate::world::*;

const TOPIC: &str = "/load/one";

/// Publishes until it is told to stop; `acked` is the last seq that was acknowledged.
fn publish(addr: std::net::SocketAddr, acked: &AtomicU64, stop: &AtomicBool) {
    let mut http = Http::connect(addr);
    let text = "y".repeat(300);
    while !stop.load(Ordering::SeqCst) {
        let events = (0..10).map(|_| delta("m", &text)).collect();
        let published = http.publish(TOPIC, events);
        let last = published["last_seq"].as_u64().expect("a seq");
        acked.store(last, Ordering::SeqCst);
    }
}

/// Runs `check` while a broker is published to. It gets the last acknowledged seq as of when it asks.
fn under_load(dir: &Dir, check: impl FnOnce(&dyn Fn() -> u64)) {
    // nothing that was acknowledged leaves the log meanwhile
    let kept = "[namespace.load]\nretention_events = 10000000\nretention_bytes = \"900MiB\"\n";
    let broker = dir.broker("data", kept);
    let (acked, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| publish(broker.addr, &acked, &stop));
        // also when the check fails
        let _stop = StopOnDrop(&stop);
        eventually("some events", || {
            (acked.load(Ordering::SeqCst) > 300).then_some(())
        });
        check(&|| acked.load(Ordering::SeqCst));
    });
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn reading_commands_see_everything_that_was_acknowledged_before() {
    let dir = Dir::new();
    under_load(&dir, |acked| {
        for _ in 0..4 {
            let before = acked();
            assert!(heads(&dir.path("data"))[0].1 >= before);
            let from = before.to_string();
            let args = ["show", TOPIC, "--from", &from, "--limit", "1"];
            let shown = dir.log(&args, "data").ends_with(0);
            let shown = shown.lines();
            assert!(shown[0]["seq"].as_u64() >= Some(before), "{shown:?}");
            let exported = dir.log(&["export"], "data").ends_with(0).stdout();
            let event = format!(
                "
{{\"event\":{{\"seq\":{before},"
            );
            assert!(exported.contains(&event), "event {before} is missing");
            dir.log(&["verify"], "data").ends_with(0);
        }
    });
    assert_tidy(&dir.path("data"));
}

#[test]
fn a_backup_holds_everything_that_was_acknowledged_before() {
    let dir = Dir::new();
    under_load(&dir, |acked| {
        for copy in ["copy1", "copy2", "copy3"] {
            let before = acked();
            let dest = dir.path(copy);
            dir.log(&["backup", dest.to_str().expect("a path")], "data")
                .ends_with(0);
            assert!(heads(&dest)[0].1 >= before);
            dir.log(&["verify"], copy).ends_with(0);
            let again = dir.log(&["backup", dest.to_str().expect("a path")], "data");
            assert!(again.ends_with(1).stderr().contains("not empty"));
        }
        let copy = dir.broker("copy3", "");
        let head = copy.head(TOPIC);
        let went_on = copy.publish(TOPIC, serde_json::json!([note(1)]));
        assert_eq!(went_on["first_seq"].as_u64(), Some(head + 1));
    });
}

#[test]
fn an_import_is_refused_while_a_broker_runs() {
    let dir = Dir::new();
    dir.filled("other");
    let file = dir.path("export.jsonl");
    let path = file.to_str().expect("a path");
    dir.log(&["export", "--output", path], "other").ends_with(0);
    let broker = dir.broker("data", "");
    let refused = dir.log(&["import", path], "data").ends_with(1);
    let said = refused.stderr();
    assert!(
        said.contains("another process uses this directory"),
        "{said}"
    );
    drop(broker);
    dir.log(&["import", path], "data").ends_with(0);
}
