//! Damaged directories, and those that are none.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::support::*;
use crate::world::*;

/// Changes one bit in the middle of a file.
fn flip(file: &Path) {
    let at = fs::metadata(file).expect("a file").len() / 2;
    let open = fs::File::options().read(true).write(true).open(file);
    let open = open.expect("a file");
    let mut byte = [0];
    open.read_exact_at(&mut byte, at).expect("a byte");
    open.write_all_at(&[byte[0] ^ 4], at).expect("written");
}

/// The tables, largest first.
fn tables(dir: &Path) -> Vec<PathBuf> {
    let keyspaces = fs::read_dir(dir.join("store/keyspaces")).expect("keyspaces");
    let mut tables: Vec<(u64, PathBuf)> = keyspaces
        .flat_map(|keyspace| {
            let tables = keyspace.expect("a keyspace").path().join("tables");
            fs::read_dir(tables).into_iter().flatten()
        })
        .map(|table| {
            let table = table.expect("a table");
            (table.metadata().expect("a file").len(), table.path())
        })
        .collect();
    tables.sort();
    tables.into_iter().rev().map(|(_, path)| path).collect()
}

#[test]
fn a_flipped_bit_in_a_table_is_found_and_what_is_beside_it_is_read() {
    let dir = Dir::new();
    let mut broker = dir.broker("data", "");
    broker.publish("/aaa/whole", serde_json::json!([note(1)]));
    let data = dir.path("data");
    // until the store has written a table of events
    let mut number = 0u64;
    eventually("a table", || {
        let events = (0..100).map(|n| {
            let noise = format!(
                "{:x}",
                (number * 100 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            );
            delta("m", &noise.repeat(200))
        });
        broker.publish("/big/damaged", events.collect());
        number += 1;
        let largest = tables(&data).into_iter().next()?;
        (fs::metadata(largest).ok()?.len() > 100_000).then_some(())
    });
    broker.term();
    broker.wait_exit();
    dir.log(&["verify"], "data").ends_with(0);
    let table = tables(&data).into_iter().next().expect("a table");
    flip(&table);
    let verified = dir.log(&["verify"], "data").ends_with(1).stdout();
    let name = table
        .strip_prefix(&data)
        .expect("inside")
        .display()
        .to_string();
    assert!(verified.contains(&name), "{name}:\n{verified}");
    assert!(verified.contains("/big/damaged: its events"), "{verified}");
    assert!(!verified.contains("/aaa/whole"), "{verified}");
    assert!(verified.contains("2 topics"), "{verified}");

    let exported = dir.log(&["export"], "data").ends_with(1);
    assert!(exported.stderr().contains("/big/damaged"));
    let file = dir.path("export.jsonl");
    fs::write(&file, &exported.0.stdout).expect("a file");
    dir.log(&["import", file.to_str().expect("a path")], "copy")
        .ends_with(0);
    assert_eq!(heads(&dir.path("copy")), [("/aaa/whole".to_owned(), 1)]);
}

#[test]
fn damage_in_the_middle_of_a_journal_is_found() {
    let dir = Dir::new();
    let mut broker = dir.broker("data", "");
    for n in 0..50 {
        broker.publish("/a/b", serde_json::json!([note(n)]));
    }
    broker.kill();
    let journals = fs::read_dir(dir.path("data").join("store")).expect("a store");
    let mut journals = journals.filter_map(|entry| {
        let path = entry.expect("a file").path();
        (path.extension()? == "jnl").then_some(path)
    });
    let journal = journals.next().expect("a journal");
    let bytes = fs::read(&journal).expect("a journal");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("batches");
    let file = fs::File::options().write(true).open(&journal);
    let at = end / 2;
    file.expect("a file")
        .write_all_at(&[bytes[at] ^ 1], at as u64)
        .expect("written");
    let verified = dir.log(&["verify"], "data");
    let code = verified.0.status.code();
    assert!(code == Some(1) || code == Some(2), "{code:?}");
    assert!(verified.stdout().contains(".jnl"), "{}", verified.stdout());
}

#[test]
fn what_is_no_data_directory_of_this_version_is_refused_by_every_command() {
    let dir = Dir::new();
    dir.filled("data");
    let file = dir.path("export.jsonl");
    let path = file.to_str().expect("a path");
    dir.log(&["export", "--output", path], "data").ends_with(0);
    let format = dir.path("data").join("FORMAT");
    fs::write(format, "tidewire disk 99\n").expect("written");
    let dest = dir.path("dest");
    let commands: [&[&str]; 6] = [
        &["topics"],
        &["show", "/chat/open"],
        &["verify"],
        &["export"],
        &["import", path],
        &["backup", dest.to_str().expect("a path")],
    ];
    for command in commands {
        let refused = dir.log(command, "data").ends_with(2).stderr();
        assert!(refused.contains("`tidewire disk 99`"), "{refused}");
    }
    for command in commands.iter().filter(|command| command[0] != "import") {
        dir.log(command, "nothing").ends_with(2);
        assert!(!dir.path("nothing").exists());
    }
    fs::create_dir(dir.path("foreign")).expect("a folder");
    fs::write(dir.path("foreign").join("thesis.txt"), "mine").expect("a file");
    for command in commands {
        dir.log(command, "foreign").ends_with(2);
    }
}
