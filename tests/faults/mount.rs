//! A small file system of its own, for tests that fill one up or forbid it to be written.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tempfile::TempDir;

pub struct Mount {
    dir: TempDir,
}

impl Mount {
    /// None, with a word about it: this user may not mount.
    pub fn tmpfs(size: &str) -> Option<Mount> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], dir.path());
        if let Err(why) = mounted {
            println!("skipped: a file system cannot be mounted here: {why}");
            return None;
        }
        Some(Mount { dir })
    }

    pub fn remount(&self, options: &str) -> Result<(), String> {
        mount(&["-o", &format!("remount,{options}")], self.dir.path())
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn free(&self) -> u64 {
        let stat = statvfs(self.dir.path()).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Takes all but so many bytes.
    pub fn leave(&self, bytes: u64) {
        let file = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())
            .unwrap();
        let held = file.metadata().unwrap().len();
        let more = self.free().saturating_sub(bytes);
        if more > 0 {
            // what the broker takes meanwhile may make it too much
            let _ = fallocate(&file, FallocateFlags::empty(), held, more);
        }
    }

    pub fn free_it(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.dir.path().join("ballast")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .args(["-l"])
            .arg(self.dir.path())
            .output();
    }
}

fn mount(args: &[&str], dir: &Path) -> Result<(), String> {
    let output = Command::new("mount")
        .args(args)
        .arg(dir)
        .output()
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
