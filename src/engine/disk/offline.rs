//! A data directory without a broker: listed, shown, checked, exported, imported, copied.
//!
//! Invariants:
//! - what only reads never touches the directory's own files: it works on a snapshot (`snapshot`), so it may run
//!   beside a broker;
//! - what writes takes the store's lock, which a running broker holds;
//! - damage is reported, and what is beside it is still read. fjall asserts here and there that its files are
//!   whole: calls into it are guarded (`guarded`), and what it would trip over while it opens a store, where a
//!   panic cannot be caught, is looked at before (`files::check_archives`).

mod backup;
mod export;
mod files;
mod import;
mod input;
mod journal;
mod lines;
mod list;
mod scratch;
mod snapshot;
mod verify;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

pub use self::backup::backup;
pub use self::export::{Exported, export};
pub use self::import::{Imported, import};
pub use self::list::{ShowRange, TopicLine, show, topics};
use self::scratch::Scratch;
pub use self::scratch::remove_own;
pub use self::verify::{Verified, verify};
use super::store::{self, Loaded, Store, StoreError, TopicEntry};
use crate::event::TopicPath;
use crate::log::Retention;

/// Bytes of fjall's cache while a command runs.
const CACHE: u64 = 32 << 20;

/// Everything that is on the disk, as long as the memory suffices for it.
const EVERYTHING: Retention = Retention {
    events: usize::MAX,
    bytes: 1 << 30,
    age: Duration::from_secs(u32::MAX as u64),
};

#[derive(Debug, Error)]
pub enum OfflineError {
    #[error("{}: {error}", dir.display())]
    Directory { dir: PathBuf, error: StoreError },
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error(
        "{}: it changed under every one of {tries} attempts to copy it; try again when less is written",
        dir.display()
    )]
    Restless { dir: PathBuf, tries: usize },
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    #[error("there is no topic {0}")]
    NoTopic(String),
    #[error("line {line}: {problem}")]
    Line { line: u64, problem: String },
    #[error("the topic {0} exists already")]
    Exists(TopicPath),
    /// Nobody reads it any more, or it cannot be written.
    #[error("the output: {0}")]
    Output(io::Error),
    #[error("{0}")]
    Damaged(String),
}

impl OfflineError {
    fn directory(dir: &Path) -> impl Fn(StoreError) -> Self {
        move |error| Self::Directory {
            dir: dir.to_owned(),
            error,
        }
    }

    fn file(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::File {
            path: path.to_owned(),
            error,
        }
    }

    /// Whoever read the output has seen enough.
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Calls what may trip over damaged files; a panic there is an error like any other.
fn guarded<T, E: ToString>(call: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let text = text.unwrap_or_default();
            Err(format!("it is damaged in an unforeseen way: {text}"))
        }
    }
}

/// The store of a directory as it was a moment ago.
struct OpenCopy {
    /// Before the scratch: files are closed before they are removed.
    store: Store,
    _scratch: Scratch,
    /// The journals hold less than was acknowledged.
    has_lost: bool,
}

impl OpenCopy {
    fn of(dir: &Path) -> Result<Self, OfflineError> {
        let scratch = take_copy(dir)?;
        files::check_archives(scratch.path()).map_err(OfflineError::Damaged)?;
        Self::open(dir, scratch)
    }

    fn open(dir: &Path, scratch: Scratch) -> Result<Self, OfflineError> {
        let marker = format!("c{:07x}", fastrand::u32(..1 << 28));
        let existed = scratch.path().join(store::STORE).is_dir();
        let store = guarded(|| Store::open(scratch.path(), CACHE, &marker, Arc::default()));
        let store = store.map_err(|problem| {
            let dir = dir.display();
            OfflineError::Damaged(format!("{dir}: the store cannot be opened: {problem}"))
        })?;
        Ok(Self {
            // a store gets a new epoch when it is made, or when it lost something
            has_lost: existed && store.epoch == marker,
            store,
            _scratch: scratch,
        })
    }

    /// The topic as a broker would bring it back.
    fn load(&self, topic: &TopicPath) -> Result<(TopicEntry, Loaded), String> {
        let loaded = guarded(|| self.store.load(topic, EVERYTHING, 0))?;
        // its epoch may be another one after that
        let entry = guarded(|| self.store.find(topic))?;
        entry.zip(loaded).ok_or_else(|| "it is gone".to_owned())
    }

    /// The topics with the prefix, in order of name. What cannot be read is told.
    fn topics(
        &self,
        prefix: &str,
        mut damaged: impl FnMut(String),
    ) -> Vec<(TopicPath, TopicEntry)> {
        let mut found = Vec::new();
        let hole = self.store.visit_topics(prefix, |topic| match topic {
            Ok(topic) => found.push(topic),
            Err(error) => damaged(error.to_string()),
        });
        if let Some(hole) = hole {
            damaged(format!("the list of topics{}", hole_text(&hole, as_text)));
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }
}

/// A private copy of the directory, inside it where that can be.
fn take_copy(dir: &Path) -> Result<Scratch, OfflineError> {
    store::check_existing(dir).map_err(OfflineError::directory(dir))?;
    let scratch = Scratch::near(dir)?;
    snapshot::take(dir, scratch.path())?;
    Ok(scratch)
}

fn as_text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// ` between … and … cannot be read: …`
fn hole_text(hole: &store::Unreadable, name: impl Fn(&[u8]) -> String) -> String {
    let after = hole
        .after
        .as_deref()
        .map(|key| format!(" after {}", name(key)));
    let before = hole
        .before
        .as_deref()
        .map(|key| format!(" before {}", name(key)));
    format!(
        "{}{} cannot be read: {}",
        after.unwrap_or_default(),
        before.unwrap_or_default(),
        hole.error
    )
}
