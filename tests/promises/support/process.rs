//! A program of the system (a shell, `curl`) as a child process that can be killed with all it started.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::broker::collect;
use super::wait::eventually;

pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Mutex<String>>,
}

impl Process {
    pub fn shell(script: &str) -> Process {
        Process::run("sh", &["-c", script])
    }

    /// In a process group of its own.
    pub fn run(program: &str, args: &[&str]) -> Process {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} starts: {error}"));
        let stdout = Arc::default();
        collect(child.stdout.take().expect("piped"), Arc::clone(&stdout));
        Process {
            stdin: child.stdin.take(),
            child,
            stdout,
        }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is still open");
        stdin.write_all(bytes).expect("the program reads its input");
        stdin.flush().expect("the program reads its input");
    }

    pub fn stdout(&self) -> String {
        self.stdout.lock().expect("no poisoned output").clone()
    }

    pub fn until_printed(&mut self, what: &str) {
        eventually(&format!("the program to print {what}"), || {
            self.stdout().contains(what).then_some(())
        });
    }

    #[allow(dead_code, reason = "not every suite that has this kit asks it")]
    pub fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its exit: what it printed, and whether it went well.
    pub fn finish(&mut self) -> (String, bool) {
        self.stdin = None;
        let status = eventually("the program's exit", || {
            self.child.try_wait().expect("a child of this process")
        });
        let printed = eventually("the end of the output", || {
            (Arc::strong_count(&self.stdout) == 1).then(|| self.stdout())
        });
        (printed, status.success())
    }

    /// Nobody in its group gets to say a last word.
    pub fn kill_dash_nine(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill_dash_nine();
        }
    }
}
