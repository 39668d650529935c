//! A folder that one command uses and removes: `DIR/.snapshot-PID-N`, or in the system's temporary folder where
//! DIR cannot be written to.
//!
//! Whoever uses one holds a lock on it, so that the next command can tell what a killed one left behind, and
//! removes that.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::OfflineError;

const PREFIX: &str = ".snapshot-";
/// Names that are tried before it gives up.
const TRIES: usize = 100;

pub struct Scratch {
    path: PathBuf,
    /// Held as long as it is used.
    _lock: File,
}

impl Scratch {
    /// Inside `dir`, where tables can be linked and need no copy, or else in the system's temporary folder.
    pub fn near(dir: &Path) -> Result<Self, OfflineError> {
        match Self::inside(dir) {
            Ok(scratch) => Ok(scratch),
            Err(_) => Self::inside(&std::env::temp_dir()),
        }
    }

    pub fn inside(folder: &Path) -> Result<Self, OfflineError> {
        remove_leftovers(folder);
        let failed = OfflineError::file(folder);
        let mut problem = std::io::ErrorKind::AlreadyExists.into();
        for _ in 0..TRIES {
            let name = format!("{}{:08x}", own_prefix(), fastrand::u32(..));
            let path = folder.join(name);
            match make(&path) {
                Ok(lock) => return Ok(Self { path, _lock: lock }),
                Err(error) => problem = error,
            }
            // somebody took it for a leftover before it was locked, or the name is taken
            let again = [
                std::io::ErrorKind::AlreadyExists,
                std::io::ErrorKind::NotFound,
                std::io::ErrorKind::WouldBlock,
            ];
            if !folder.is_dir() || !again.contains(&problem.kind()) {
                break;
            }
        }
        Err(failed(problem))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes what this process left in `dir` (and in the system's temporary folder), for one that is told to stop.
pub fn remove_own(dir: &Path) {
    for folder in [dir, &std::env::temp_dir()] {
        each(folder, &own_prefix(), remove);
    }
}

fn own_prefix() -> String {
    format!("{PREFIX}{}-", std::process::id())
}

fn make(path: &Path) -> std::io::Result<File> {
    // events are nobody else's business
    DirBuilder::new().mode(0o700).create(path)?;
    let lock = File::open(path)?;
    lock.try_lock()?;
    let is_still_there = fs::metadata(path)?.ino() == lock.metadata()?.ino();
    is_still_there
        .then_some(lock)
        .ok_or_else(|| std::io::ErrorKind::NotFound.into())
}

fn remove_leftovers(folder: &Path) {
    each(folder, PREFIX, |path| {
        let Ok(lock) = File::open(path) else { return };
        if lock.try_lock().is_ok() {
            remove(path);
        }
    });
}

fn each(folder: &Path, prefix: &str, act: impl Fn(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            act(&entry.path());
        }
    }
}

/// The store's threads may still write there while they end.
fn remove(path: &Path) {
    for _ in 0..10 {
        if fs::remove_dir_all(path).is_ok() || !path.exists() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_removed_and_what_is_used_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let used = Scratch::inside(folder.path()).expect("a scratch");
        let left = folder.path().join(".snapshot-1-dead");
        fs::create_dir(&left).expect("a folder");
        fs::write(left.join("file"), "x").expect("a file");
        let second = Scratch::inside(folder.path()).expect("a scratch");
        assert!(!left.exists());
        assert!(used.path().exists() && second.path().exists());
        let path = used.path().to_owned();
        drop(used);
        assert!(!path.exists());
    }
}
