//! A file that is looked at now and then, to see whether it is still the one that was read.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes of a file with keys.
const MAX_BYTES: u64 = 1 << 20;

/// See the module. Begins with what the file looks like when this is made: read it after that.
#[derive(Debug)]
pub struct WatchedFile {
    path: PathBuf,
    seen: Option<Look>,
}

/// What changes when a file is written or replaced.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    modified: Option<SystemTime>,
    length: u64,
    #[cfg(unix)]
    inode: u64,
}

impl WatchedFile {
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            seen: look(path),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it looks different from the last time that this was asked.
    pub fn has_changed(&mut self) -> bool {
        let now = look(&self.path);
        let changed = now != self.seen;
        self.seen = now;
        changed
    }

    /// It could not be read: it is tried again as soon as it is there.
    pub fn look_again(&mut self) {
        self.seen = None;
    }

    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(&self.path)?
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::other(format!(
                "it has more than {MAX_BYTES} bytes"
            )));
        }
        Ok(bytes)
    }
}

fn look(path: &Path) -> Option<Look> {
    let metadata: Metadata = std::fs::metadata(path).ok()?;
    Some(Look {
        modified: metadata.modified().ok(),
        length: metadata.len(),
        #[cfg(unix)]
        inode: std::os::unix::fs::MetadataExt::ino(&metadata),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_or_longer_or_gone_has_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        let mut file = WatchedFile::new(&path);
        assert!(!file.has_changed(), "it was not there and is not");
        std::fs::write(&path, "a").expect("written");
        assert!(file.has_changed() && !file.has_changed());
        std::fs::write(&path, "ab").expect("written");
        assert!(file.has_changed() && !file.has_changed());
        let other = folder.path().join("other");
        std::fs::write(&other, "cd").expect("written");
        std::fs::rename(&other, &path).expect("renamed");
        assert!(file.has_changed() && !file.has_changed());
        std::fs::remove_file(&path).expect("removed");
        assert!(file.has_changed() && !file.has_changed());
    }
}
