//! A copy of a data directory that is as good as the directory after a crash at one moment, made while a broker
//! writes to it.
//!
//! What fjall and its trees keep (fjall 3.1, lsm-tree 3.1), and why this order of copying is enough:
//!
//! - `synced` (ours) promises that the journals hold at least so much: copied first, it promises no more than the
//!   copy holds.
//! - `store/N.jnl`: batches are appended to the one with the highest number; a full one is synced before the next
//!   is made, and is removed once everything in it stands in tables that a manifest names. A batch is in the
//!   journal before it is in any table. So manifests and tables are copied before the journals, and when a
//!   journal that was there before them is gone afterwards, everything begins again.
//! - `store/keyspaces/K/tables/T`: written once under a name that no manifest knows yet, then only read, then
//!   removed. So tables are linked where that can be, and those that no manifest names are left out.
//! - `store/keyspaces/K/vN`: the manifest, the list of tables. Written whole before `current` names it (by
//!   rename), then only read, then removed. `current` is read first; when the manifest or a table it names is
//!   gone then, everything begins again.
//! - keyspaces may differ in how much of the journals their tables hold: fjall replays what each lacks.
//! - `lock` is made new, `version` never changes.
//!
//! The active journal is longer than what was written to it (zeros follow), and grows while it is copied. Reading
//! it from the front could give a copy with a hole: zeros that were read before they were overwritten, and behind
//! them what was written since. fjall takes such a hole for damage. So its end is looked for first, and what
//! stands before the end is written already: it is copied, and nothing else.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::OfflineError;
use super::files::{self, Manifest};
use crate::engine::disk::store::{STORE, written_end};

/// How often it begins again.
const TRIES: usize = 50;
/// Before it begins again; a flush or a compaction takes about as long.
const PAUSE: Duration = Duration::from_millis(20);
/// Files beside the store, in the order of copying; `FORMAT`, which makes it a data directory, comes last.
const FIRST: &str = "synced";
const LAST: &str = "FORMAT";

/// Why one attempt failed.
enum Failed {
    /// The directory changed under it.
    Moved,
    File(PathBuf, io::Error),
}

/// Copies `dir` into the empty folder `into`.
pub fn take(dir: &Path, into: &Path) -> Result<(), OfflineError> {
    for _ in 0..TRIES {
        match attempt(dir, into) {
            Ok(()) => return Ok(()),
            Err(Failed::File(path, error)) => return Err(OfflineError::File { path, error }),
            Err(Failed::Moved) => {
                clear(into).map_err(OfflineError::file(into))?;
                std::thread::sleep(PAUSE);
            }
        }
    }
    Err(OfflineError::Restless {
        dir: dir.to_owned(),
        tries: TRIES,
    })
}

fn attempt(dir: &Path, into: &Path) -> Result<(), Failed> {
    let (from, to) = (dir.join(STORE), into.join(STORE));
    make_folder(&to)?;
    copy_if_there(&dir.join(FIRST), &into.join(FIRST))?;
    if !copy_if_there(&from.join("version"), &to.join("version"))? {
        // the store is not made yet, or not any more: an empty one stands for it
        fs::remove_dir(&to).map_err(|error| Failed::File(to, error))?;
        copy_if_there(&dir.join(LAST), &into.join(LAST))?;
        return Ok(());
    }
    let lock = to.join("lock");
    File::create(&lock).map_err(|error| Failed::File(lock, error))?;
    let journals = files::journals(&from).map_err(|error| Failed::File(from.clone(), error))?;
    let keyspaces = keyspaces(&from)?;
    for (keyspace, has_manifest) in &keyspaces {
        let inside = Path::new("keyspaces").join(keyspace.to_string());
        make_folder(&to.join(&inside).join("tables"))?;
        if *has_manifest {
            copy_keyspace(&from.join(&inside), &to.join(&inside))?;
        } else {
            fs::remove_dir_all(to.join(&inside))
                .map_err(|error| Failed::File(to.join(&inside), error))?;
        }
    }
    let journals_now = files::journals(&from).map_err(|error| Failed::File(from.clone(), error))?;
    if journals.iter().any(|name| !journals_now.contains(name)) {
        return Err(Failed::Moved);
    }
    for name in &journals_now {
        let name = format!("{name}.jnl");
        copy_journal(&from.join(&name), &to.join(&name))?;
    }
    if self::keyspaces(&from)? != keyspaces {
        return Err(Failed::Moved);
    }
    copy_if_there(&dir.join(LAST), &into.join(LAST))?;
    Ok(())
}

/// The keyspaces by number, and whether each has a manifest. 0, which knows the names of the others, comes last.
fn keyspaces(store: &Path) -> Result<Vec<(u64, bool)>, Failed> {
    let folder = store.join("keyspaces");
    let mut found =
        files::keyspaces(&folder).map_err(|error| Failed::File(folder.clone(), error))?;
    let names_first = found.first() == Some(&0);
    found.rotate_left(usize::from(names_first));
    let with_manifest = found.into_iter().map(|number| {
        let current = folder.join(number.to_string()).join(files::CURRENT);
        let has_manifest = current
            .try_exists()
            .map_err(|error| Failed::File(current, error))?;
        Ok((number, has_manifest))
    });
    with_manifest.collect()
}

fn copy_keyspace(from: &Path, to: &Path) -> Result<(), Failed> {
    let current = from.join(files::CURRENT);
    let bytes = fs::read(&current).map_err(|error| gone_or(current, error))?;
    let to_current = to.join(files::CURRENT);
    fs::write(&to_current, &bytes).map_err(|error| Failed::File(to_current, error))?;
    let Some(name) = files::manifest_name(&bytes) else {
        // damaged: whoever opens the copy is told
        return Ok(());
    };
    let manifest = from.join(&name);
    let bytes = match fs::read(&manifest) {
        Ok(bytes) => bytes,
        // it was replaced, or it is missing: then it is also missing in the next attempt
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_named(from, &name) => {
            return Ok(());
        }
        Err(error) => return Err(gone_or(manifest, error)),
    };
    let to_manifest = to.join(&name);
    fs::write(&to_manifest, &bytes).map_err(|error| Failed::File(to_manifest, error))?;
    // of a damaged manifest nothing is known; without tables the copy cannot be opened, and says so
    let Ok(manifest) = Manifest::parse(&bytes) else {
        return Ok(());
    };
    for (table, _) in manifest.tables {
        let inside = Path::new("tables").join(table.to_string());
        match link_or_copy(&from.join(&inside), &to.join(&inside)) {
            Err(Failed::Moved) if is_named(from, &name) => {} // missing for good
            outcome => outcome?,
        }
    }
    Ok(())
}

/// `current` still names this manifest.
fn is_named(keyspace: &Path, name: &str) -> bool {
    let current = fs::read(keyspace.join(files::CURRENT)).ok();
    current
        .and_then(|bytes| files::manifest_name(&bytes))
        .as_deref()
        == Some(name)
}

fn link_or_copy(from: &Path, to: &Path) -> Result<(), Failed> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    copy_if_there(from, to)?.then_some(()).ok_or(Failed::Moved)
}

/// Answers whether it is there.
fn copy_if_there(from: &Path, to: &Path) -> Result<bool, Failed> {
    match fs::copy(from, to) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failed::File(from.to_owned(), error)),
    }
}

fn copy_journal(from: &Path, to: &Path) -> Result<(), Failed> {
    let mut journal = File::open(from).map_err(|error| gone_or(from.to_owned(), error))?;
    let copied = written_end(&mut journal).and_then(|end| {
        journal.seek(SeekFrom::Start(0))?;
        io::copy(&mut journal.take(end), &mut File::create(to)?)
    });
    copied
        .map(drop)
        .map_err(|error| Failed::File(from.to_owned(), error))
}

fn gone_or(path: PathBuf, error: io::Error) -> Failed {
    match error.kind() {
        io::ErrorKind::NotFound => Failed::Moved,
        _ => Failed::File(path, error),
    }
}

fn make_folder(path: &Path) -> Result<(), Failed> {
    fs::create_dir_all(path).map_err(|error| Failed::File(path.to_owned(), error))
}

fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        } else {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
