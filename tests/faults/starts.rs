//! Starts: two at once, one on a strange directory, one that was killed while it made the store.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::rights::refuses;
use crate::setup::{chance, on_disk, rounds, serve, stop};
use crate::support::broker::BINARY;
use crate::support::{Broker, note};

#[test]
fn of_two_starts_at_once_one_serves() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let starts = [0, 1].map(|_| on_disk(dir.path(), "", &[]));
        let attempts = std::thread::scope(|scope| {
            let each = starts.map(|setup| scope.spawn(|| Broker::attempt(setup)));
            each.map(|attempt| attempt.join().unwrap())
        });
        let (serving, refused): (Vec<_>, Vec<_>) = attempts.into_iter().partition(Result::is_ok);
        assert_eq!((serving.len(), refused.len()), (1, 1));
        let refusal = refused.into_iter().next().and_then(Result::err).unwrap();
        println!("{}", refusal.stderr.trim());
        assert!(refusal.stderr.contains("another process uses"), "{refusal}");
        assert!(
            refusal.stderr.contains(dir.path().to_str().unwrap()),
            "{refusal}"
        );
        assert!(
            refusal
                .status
                .code()
                .is_some_and(|code| code != 0 && code != 101),
            "{refusal}"
        );
        let broker = serving.into_iter().next().and_then(Result::ok).unwrap();
        broker.publish("/starts/kept", json!([note(round)]));
        assert_eq!(broker.head("/starts/kept"), round);
        // a third one, while it serves
        refuses(on_disk(dir.path(), "", &[]), dir.path());
        assert_eq!(broker.head("/starts/kept"), round);
    }
}

#[test]
fn a_directory_of_another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = serve(dir.path());
    broker.publish("/starts/kept", json!([note(1)]));
    stop(&mut broker);
    let format = dir.path().join("FORMAT");
    let known = std::fs::read_to_string(&format).unwrap();
    for strange in ["tidewire disk 2\n", "something else\n", "", "\u{0}\u{1}"] {
        std::fs::write(&format, strange).unwrap();
        let refusal = refuses(on_disk(dir.path(), "", &[]), dir.path());
        assert!(refusal.stderr.contains("format"), "{refusal}");
        assert_eq!(std::fs::read_to_string(&format).unwrap(), strange);
    }
    std::fs::write(&format, known).unwrap();
    broker.start_again();
    assert_eq!(broker.head("/starts/kept"), 1);
}

#[test]
fn a_directory_with_other_files_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("letter.txt"), "mine").unwrap();
    let refusal = refuses(on_disk(dir.path(), "", &[]), dir.path());
    assert!(refusal.stderr.contains("other files"), "{refusal}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    // a file is no directory
    let file = dir.path().join("letter.txt");
    refuses(on_disk(&file, "", &[]), &file);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}

/// A first start that was killed at any moment leaves nothing that keeps the next from serving.
#[test]
fn a_first_start_can_be_killed_at_any_moment() {
    let mut rng = chance("first start");
    for _ in 0..rounds() * 3 {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            kill_after(dir.path(), Duration::from_micros(rng.u64(..80_000)));
        }
        let broker = serve(dir.path());
        broker.publish("/starts/kept", json!([note(1)]));
        assert_eq!(broker.head("/starts/kept"), 1);
    }
}

fn kill_after(dir: &Path, moment: Duration) {
    let mut child = Command::new(BINARY)
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--engine",
            "disk",
            "--data-dir",
        ])
        .arg(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
}
