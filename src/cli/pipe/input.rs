//! What is read, as it comes: one read(2) at a time, in a thread of its own.
//!
//! The thread may stay in its last read when the process ends: an async standard input would hold up the
//! runtime there. It ends at the end of input, at an error, or when nobody takes what it read; then it
//! closes what it read from, so that a program which goes on printing gets SIGPIPE.

use std::io::{ErrorKind, Read, Result};

use tokio::sync::mpsc;

/// Bytes of one read: what a Linux pipe holds.
pub const READ_BYTES: usize = 64 << 10;

/// Reads, one read ahead of whoever receives.
pub fn read(from: impl Read + Send + 'static) -> mpsc::Receiver<Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(1);
    let mut from = from;
    std::thread::spawn(move || {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => Ok(buffer[..length].to_vec()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    receiver
}
