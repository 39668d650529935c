//! A copy of a data directory that a broker can be started on.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::scratch::Scratch;
use super::{OfflineError, snapshot};
use crate::engine::disk::store;

/// Copies `dir` as it is now to `dest`, which must not exist, or be empty. Synced when it returns. `FORMAT` comes
/// last: before, no broker takes the copy for a data directory.
pub fn backup(dir: &Path, dest: &Path) -> Result<u64, OfflineError> {
    store::check_existing(dir).map_err(OfflineError::directory(dir))?;
    make_empty(dest)?;
    // first linked inside the directory, which takes no time, then copied
    let Ok(scratch) = Scratch::inside(dir) else {
        snapshot::take(dir, dest)?;
        mark_restored(dest)?;
        return synced(dest).map_err(OfflineError::file(dest));
    };
    snapshot::take(dir, scratch.path())?;
    mark_restored(dest)?;
    let mut bytes = 0;
    for part in [store::STORE, "synced", "FORMAT"] {
        let from = scratch.path().join(part);
        if from.exists() {
            bytes += copy(&from, &dest.join(part)).map_err(OfflineError::file(dest))?;
            sync(dest).map_err(OfflineError::file(dest))?;
        }
    }
    if let Some(parent) = dest
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        sync(parent).map_err(OfflineError::file(parent))?;
    }
    Ok(bytes)
}

/// Whoever is served from the copy is told that it is another life of its topics.
fn mark_restored(dest: &Path) -> Result<(), OfflineError> {
    let file = dest.join(store::RESTORED_FILE);
    let written = fs::write(&file, "a copy: its topics begin new epochs\n");
    written
        .and_then(|()| sync(&file))
        .map_err(OfflineError::file(&file))
}

fn make_empty(dest: &Path) -> Result<(), OfflineError> {
    let failed = OfflineError::file(dest);
    fs::create_dir_all(dest).map_err(&failed)?;
    let is_empty = fs::read_dir(dest).map_err(&failed)?.next().is_none();
    is_empty
        .then_some(())
        .ok_or_else(|| OfflineError::NotEmpty(dest.to_owned()))
}

/// Copies a file, or a folder with all that is in it. Answers the bytes.
fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    if !from.is_dir() {
        let bytes = fs::copy(from, to)?;
        sync(to)?;
        return Ok(bytes);
    }
    fs::create_dir_all(to)?;
    let mut bytes = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        bytes += copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    sync(to)?;
    Ok(bytes)
}

fn synced(path: &Path) -> io::Result<u64> {
    let mut bytes = path.metadata()?.len();
    if path.is_dir() {
        bytes = 0;
        for entry in fs::read_dir(path)? {
            bytes += synced(&entry?.path())?;
        }
    }
    sync(path)?;
    Ok(bytes)
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
