//! A directory that may not be read or written.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::mount::Mount;
use crate::setup::{on_disk, serve, stop};
use crate::support::broker::{BINARY, Refusal};
use crate::support::{Broker, Setup, note};

const NOBODY: u32 = 65534;

/// Refuses to serve, and says which directory it is about.
pub fn refuses(setup: Setup, dir: &Path) -> Refusal {
    let refusal = match Broker::attempt(setup) {
        Ok(_) => panic!("it serves {}", dir.display()),
        Err(refusal) => refusal,
    };
    let code = refusal.status.code();
    assert!(
        code.is_some_and(|code| code != 0 && code != 101),
        "{refusal}"
    );
    assert!(refusal.stderr.contains(dir.to_str().unwrap()), "{refusal}");
    assert!(!refusal.stderr.contains("panicked"), "{refusal}");
    println!("{}", refusal.stderr.trim());
    refusal
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can run a broker as somebody else");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    allow(home.path(), 0o755);
    let binary = home.path().join("tidewire");
    std::fs::copy(BINARY, &binary).unwrap();
    allow(&binary, 0o755);
    let dir = home.path().join("data");
    let as_nobody = |dir: &Path| Setup {
        binary: Some(binary.clone()),
        uid: Some(NOBODY),
        ..on_disk(dir, "", &[])
    };
    // it cannot be made
    refuses(as_nobody(&dir), &dir);
    assert!(!dir.exists());
    // it is there, empty
    std::fs::create_dir(&dir).unwrap();
    allow(&dir, 0o755);
    refuses(as_nobody(&dir), &dir);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    // it holds a store that may be read
    let mut broker = serve(&dir);
    broker.publish("/rights/kept", serde_json::json!([note(1)]));
    stop(&mut broker);
    refuses(as_nobody(&dir), &dir);
    // or not even that
    allow(&dir, 0o700);
    refuses(as_nobody(&dir), &dir);
    broker.start_again();
    assert_eq!(broker.head("/rights/kept"), 1);
}

#[test]
fn a_read_only_file_system_is_refused() {
    let Some(mount) = Mount::tmpfs("160m") else {
        return;
    };
    let dir = mount.data();
    mount.remount("ro").unwrap();
    refuses(on_disk(&dir, "", &[]), &dir);
    mount.remount("rw").unwrap();
    let mut broker = serve(&dir);
    broker.publish("/rights/kept", serde_json::json!([note(1)]));
    // the kernel forbids this while the journal is open for writing
    mount
        .remount("ro")
        .expect_err("a file system in use stays writable");
    stop(&mut broker);
    mount.remount("ro").unwrap();
    refuses(on_disk(&dir, "", &[]), &dir);
    mount.remount("rw").unwrap();
    broker.start_again();
    assert_eq!(broker.head("/rights/kept"), 1);
}
