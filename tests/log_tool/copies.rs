//! Export and import.

use std::time::Duration;

use crate::support::*;
use crate::world::*;

#[test]
fn what_is_imported_is_what_was_exported() {
    let dir = Dir::new();
    dir.filled("data");
    let first = dir.log(&["export"], "data").ends_with(0);
    let file = dir.path("export.jsonl");
    std::fs::write(&file, &first.0.stdout).expect("a file");
    let file = file.to_str().expect("a path");
    dir.log(&["import", "--keep-epochs", file], "copy")
        .ends_with(0);
    let second = dir.log(&["export"], "copy").ends_with(0);
    assert!(first.0.stdout == second.0.stdout, "{}", second.stdout());
    dir.log(&["verify"], "copy").ends_with(0);
    assert_eq!(heads(&dir.path("data")), heads(&dir.path("copy")));

    // readers find the same topics under the same positions
    let (old, new) = (dir.broker("data", ""), dir.broker("copy", ""));
    for topic in ["/small/trimmed", "/chat/open", "/chat/lines", "/chat/ids"] {
        let of_both = [&old, &new].map(|broker| {
            let events = broker.get(&format!("/v1/events?topic={topic}"));
            (broker.topic(topic)["epoch"].clone(), events.text())
        });
        assert_eq!(of_both[0], of_both[1], "{topic}");
    }
    let before = new.head("/chat/open");
    new.publish("/chat/open", serde_json::json!([completed("m")]));
    assert_eq!(new.head("/chat/open"), before + 1);
    new.publish("/chat/new", serde_json::json!([note(1)]));
    assert_eq!(new.head("/chat/new"), 1);
}

#[test]
fn a_topic_that_exists_is_refused_before_anything_is_written() {
    let dir = Dir::new();
    dir.filled("data");
    let exported = dir.log(&["export"], "data").ends_with(0);
    let file = dir.path("export.jsonl");
    std::fs::write(&file, &exported.0.stdout).expect("a file");
    let file = file.to_str().expect("a path");
    let one = dir.log(&["export", "--prefix", "/chat/open"], "data");
    std::fs::write(dir.path("one.jsonl"), &one.ends_with(0).0.stdout).expect("a file");
    let one = dir.path("one.jsonl");
    dir.log(&["import", one.to_str().expect("a path")], "copy")
        .ends_with(0);
    let refused = dir.log(&["import", file], "copy").ends_with(1);
    assert!(refused.stderr().contains("/chat/open exists already"));
    assert_eq!(heads(&dir.path("copy")).len(), 1);
}

#[test]
fn an_export_that_is_not_whole_is_refused() {
    let dir = Dir::new();
    dir.filled("data");
    let exported = dir.log(&["export"], "data").ends_with(0).stdout();
    let lines: Vec<&str> = exported.lines().collect();
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    let cut = &exported[..exported.len() / 2];
    let bad = [
        (lines[..lines.len() - 1].join("\n"), "not whole"),
        (lines[..lines.len() / 2].join("\n"), "not whole"),
        (cut.to_owned(), "line"),
        (swapped.join("\n"), "line"),
        (lines[1..].join("\n"), "line 1"),
        ("{\"tidewire_log\":2}\n".to_owned(), "only knows 1"),
        (String::new(), "not whole"),
    ];
    for (text, says) in bad {
        let file = dir.path("bad.jsonl");
        std::fs::write(&file, text).expect("a file");
        let refused = dir.log(&["import", file.to_str().expect("a path")], "copy");
        let refused = refused.ends_with(1);
        assert!(refused.stderr().contains(says), "{}", refused.stderr());
        assert_eq!(heads(&dir.path("copy")), []);
    }
}

#[test]
fn an_import_that_is_killed_leaves_nothing_and_can_be_repeated() {
    let dir = Dir::new();
    let broker = dir.broker("data", "");
    let text = "x".repeat(2000);
    for topic in 0..20 {
        let events = (0..200).map(|_| delta("m", &text)).collect();
        broker.publish(&format!("/big/{topic}"), events);
    }
    drop(broker);
    let exported = dir.log(&["export"], "data").ends_with(0);
    let file = dir.path("export.jsonl");
    std::fs::write(&file, &exported.0.stdout).expect("a file");
    let file = file.to_str().expect("a path");
    let started = std::time::Instant::now();
    dir.log(&["import", "--keep-epochs", file], "timed")
        .ends_with(0);
    let whole = started.elapsed();
    let (mut killed, copy) = (0, dir.path("copy"));
    for step in 0..12 {
        let mut import = command(&["import", "--keep-epochs", file], &copy)
            .spawn()
            .expect("it runs");
        std::thread::sleep(whole * step / 12 + Duration::from_millis(3));
        let _ = import.kill();
        let status = import.wait().expect("a child of this process");
        let topics = if copy.join("FORMAT").exists() {
            let listed = dir.log(&["topics"], "copy");
            listed.stdout().lines().count()
        } else {
            0
        };
        assert!(topics == 0 || topics == 20, "{topics} topics");
        if status.success() || topics == 20 {
            break;
        }
        killed += 1;
    }
    assert!(killed > 0, "no import was killed while it worked");
    if dir.log(&["topics"], "copy").stdout().is_empty() {
        dir.log(&["import", "--keep-epochs", file], "copy")
            .ends_with(0);
    }
    let verified = dir.log(&["verify"], "copy").ends_with(0);
    assert!(!verified.stdout().contains("not finished"), "leftovers");
    let again = dir.log(&["export"], "copy").ends_with(0);
    assert!(again.0.stdout == exported.0.stdout, "another content");
    assert_tidy(&copy);
}

/// A reader that had read beyond the copy is told so, whatever is published there.
#[test]
fn a_restored_copy_begins_new_epochs() {
    let dir = Dir::new();
    dir.filled("data");
    let exported = dir.log(&["export"], "data").ends_with(0);
    let file = dir.path("export.jsonl");
    std::fs::write(&file, &exported.0.stdout).expect("a file");
    dir.log(&["import", file.to_str().expect("a path")], "imported")
        .ends_with(0);
    let copy = dir.path("copied");
    dir.log(&["backup", copy.to_str().expect("a path")], "data")
        .ends_with(0);
    let topic = "/chat/open";
    let epoch = |broker: &Broker| broker.topic(topic)["epoch"].clone();
    let before = epoch(&dir.broker("data", ""));
    for restored in ["imported", "copied"] {
        let first = epoch(&dir.broker(restored, ""));
        assert_ne!(before, first, "{restored}");
        assert_eq!(epoch(&dir.broker(restored, "")), first, "only once");
    }
    assert_eq!(epoch(&dir.broker("data", "")), before);
}
