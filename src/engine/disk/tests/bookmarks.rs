//! What becomes of kept reading positions: over restarts, kills, copies, versions and damage.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use fjall::{Database, KeyspaceCreateOptions, PersistMode};

use super::{Blind, COMPACT_AFTER, LET_GO_AFTER, RETENTION, event, path};
use crate::engine::disk::store::STORE;
use crate::engine::disk::{Deliver, DiskEngine, DiskSettings, Sync, offline};
use crate::engine::{BookmarkChange, Engine, Pending};
use crate::log::Publish;

type Kept = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(dir: &Path) -> DiskEngine {
    let engine = DiskEngine::open(DiskSettings {
        dir: dir.to_owned(),
        new_epoch: format!("disktest{}", fastrand::u32(10..99)),
        clock: Arc::new(|| 1_000_000),
        retention: Arc::new(|_| RETENTION),
        max_bytes: 1 << 30,
        cache_bytes: 1 << 20,
        compact_after: COMPACT_AFTER,
        let_go_after: LET_GO_AFTER,
        sync: Sync::Always,
        deliver: Deliver::Durable,
        observer: Arc::new(Blind),
    });
    engine.expect("it opens")
}

fn wait<T>(pending: Pending<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(pending.wait())
}

fn changes(changes: &[(&str, Option<&str>)]) -> Vec<BookmarkChange> {
    let change = |(key, value): &(&str, Option<&str>)| -> BookmarkChange {
        ((*key).into(), value.map(Into::into))
    };
    changes.iter().map(change).collect()
}

fn keep(engine: &DiskEngine, list: &[(&str, Option<&str>)]) {
    wait(engine.keep_bookmarks(changes(list))).expect("kept");
}

fn kept(engine: &DiskEngine) -> Kept {
    let mut kept = Kept::new();
    let shown = engine.bookmarks(&mut |key, value| {
        kept.insert(key.into(), value.into());
    });
    shown.expect("readable");
    kept
}

fn list(list: &[(&str, &str)]) -> Kept {
    let each = list.iter();
    each.map(|(key, value)| ((*key).into(), (*value).into()))
        .collect()
}

fn publish(engine: &DiskEngine) {
    let publish = Publish {
        events: vec![event(5, 0)],
        principal: "me".into(),
        source: None,
        producer: None,
        lease_ms: None,
    };
    let answer = wait(engine.append(&path(0), publish));
    answer.expect("it works").expect("accepted");
}

fn epoch(engine: &DiskEngine) -> String {
    let log = wait(engine.load(&path(0))).expect("it works");
    log.expect("it exists").read().epoch().to_string()
}

/// As files are when the process is killed.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("copied")),
        }
    }
}

fn raw(dir: &Path) -> Database {
    let builder = Database::builder(dir.join(STORE));
    builder.open().expect("it opens")
}

#[test]
fn the_last_write_survives_every_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path());
    keep(
        &engine,
        &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))],
    );
    // without waiting: they may be written together
    let later = [
        engine.keep_bookmarks(changes(&[("a", Some("2")), ("b", None)])),
        engine.keep_bookmarks(changes(&[("a", Some("3")), ("d", None), ("c", None)])),
        engine.keep_bookmarks(changes(&[("c", Some("4")), ("c", Some("5"))])),
    ];
    for pending in later {
        wait(pending).expect("kept");
    }
    let expected = list(&[("a", "3"), ("c", "5")]);
    assert_eq!(kept(&engine), expected);
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(kept(&engine), expected);
}

#[test]
fn a_kill_takes_none_that_was_answered_and_nothing_is_synced_for_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dir, killed) = (folder.path().join("data"), folder.path().join("killed"));
    let engine = open(&dir);
    let synced = || fs::read(dir.join("synced")).expect("a file");
    let mut expected = Kept::new();
    for n in 0..20 {
        publish(&engine);
        // every sync promises its step
        let promised = synced();
        for part in 0..3 {
            let (key, value) = (format!("key {}", n % 7), format!("{n} {part}"));
            keep(&engine, &[(&key, Some(&value))]);
            expected.insert(key.into(), value.into());
        }
        assert_eq!(synced(), promised, "nothing is synced");
    }
    let before = epoch(&engine);
    copy(&dir, &killed);
    drop(engine);
    let mut damaged = Vec::new();
    let verified = offline::verify(&killed, |what| damaged.push(what.to_owned()));
    assert_eq!(verified.expect("readable").events, 20);
    assert_eq!(damaged, Vec::<String>::new());
    for dir in [&dir, &killed] {
        let engine = open(dir);
        assert_eq!(kept(&engine), expected);
        assert_eq!(epoch(&engine), before, "no write is missing");
    }
}

#[test]
fn a_restored_copy_knows_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dir, copied) = (folder.path().join("data"), folder.path().join("copy"));
    let engine = open(&dir);
    publish(&engine);
    keep(&engine, &[("a", Some("1")), ("b", Some("1"))]);
    offline::backup(&dir, &copied).expect("copied");
    let restored = open(&copied);
    assert_eq!(kept(&restored), Kept::new());
    assert_ne!(epoch(&restored), epoch(&engine));
    keep(&restored, &[("a", Some("2"))]);
    drop(restored);
    let restored = open(&copied);
    assert_eq!(kept(&restored), list(&[("a", "2")]), "only once");
}

#[test]
fn versions_that_do_not_know_them_do_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path());
    publish(&engine);
    keep(&engine, &[("a", Some("1"))]);
    let before = epoch(&engine);
    drop(engine);
    // one opens the directory, writes to its own keyspaces, and fills journals
    let older = raw(folder.path());
    let events = older.keyspace("events", KeyspaceCreateOptions::default);
    let events = events.expect("a keyspace");
    events
        .insert([0xff; 16], vec![7; 1 << 20])
        .expect("written");
    events.remove([0xff; 16]).expect("written");
    events.rotate_memtable_and_wait().expect("flushed");
    older.persist(PersistMode::SyncAll).expect("synced");
    drop((events, older));
    let engine = open(folder.path());
    assert_eq!(
        (kept(&engine), epoch(&engine)),
        (list(&[("a", "1")]), before.clone())
    );
    drop(engine);
    // one has made the directory
    let older = raw(folder.path());
    let unknown = older.keyspace("bookmarks", KeyspaceCreateOptions::default);
    older
        .delete_keyspace(unknown.expect("a keyspace"))
        .expect("deleted");
    drop(older);
    let engine = open(folder.path());
    assert_eq!((kept(&engine), epoch(&engine)), (Kept::new(), before));
    keep(&engine, &[("a", Some("2"))]);
    assert_eq!(kept(&engine), list(&[("a", "2")]));
}

#[test]
fn a_damaged_one_is_told_and_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path());
    keep(&engine, &[("a", Some("1")), ("c", Some("1"))]);
    drop(engine);
    let store = raw(folder.path());
    let bookmarks = store.keyspace("bookmarks", KeyspaceCreateOptions::default);
    bookmarks
        .expect("a keyspace")
        .insert("b", "not sealed")
        .expect("written");
    store.persist(PersistMode::SyncAll).expect("synced");
    drop(store);
    let verify = || {
        let mut damaged = Vec::new();
        let verified = offline::verify(folder.path(), |what| damaged.push(what.to_owned()));
        assert_eq!(verified.expect("readable").damaged, damaged.len());
        damaged
    };
    assert_eq!(verify(), ["a kept reading position is damaged"]);
    let engine = open(folder.path());
    assert_eq!(kept(&engine), list(&[("a", "1"), ("c", "1")]));
    drop(engine);
    assert_eq!(verify(), Vec::<String>::new());
}
