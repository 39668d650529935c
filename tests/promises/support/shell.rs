//! A command of the binary (not `serve`) as a child process, with its input and output in hand.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use super::broker::{BINARY, collect, signal};
use super::wait::eventually;

pub struct Shell {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Shell {
    pub fn run(args: &[&str]) -> Shell {
        Shell::run_with(args, &[])
    }

    pub fn run_with(args: &[&str], env: &[(&str, &str)]) -> Shell {
        let mut child = Command::new(BINARY)
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (stdout, stderr) = (Arc::default(), Arc::default());
        collect(child.stdout.take().expect("piped"), Arc::clone(&stdout));
        collect(child.stderr.take().expect("piped"), Arc::clone(&stderr));
        Shell {
            stdin: child.stdin.take(),
            child,
            stdout,
            stderr,
        }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is still open");
        stdin.write_all(bytes).expect("the command reads its input");
        stdin.flush().expect("the command reads its input");
    }

    /// Writes to a command that need not read it.
    pub fn offer(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is still open");
        let _ = stdin.write_all(bytes);
    }

    /// End of input.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    pub fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    pub fn exit(&mut self) -> ExitStatus {
        eventually("the command's exit", || {
            self.child.try_wait().expect("a child of this process")
        })
    }

    /// Ends the input, waits for the exit, which must be good: what it printed.
    pub fn succeed(&mut self) -> String {
        self.end_input();
        let status = self.exit();
        assert!(status.success(), "{status}: {}", self.stderr());
        // The exit is seen before the last of the output is collected.
        self.settled_stdout()
    }

    /// Waits for an exit that must be bad: what it said on standard error.
    pub fn fail(&mut self) -> String {
        self.end_input();
        let status = self.exit();
        assert!(!status.success(), "it succeeded: {}", self.stdout());
        eventually("words on standard error", || {
            Some(self.stderr()).filter(|said| !said.trim().is_empty())
        })
    }

    fn settled_stdout(&self) -> String {
        eventually("the end of the output", || {
            (Arc::strong_count(&self.stdout) == 1).then(|| self.stdout())
        })
    }

    /// All that it printed, after its exit: on standard output, and on standard error.
    pub fn settled(&self) -> (String, String) {
        let stderr = || (Arc::strong_count(&self.stderr) == 1).then(|| self.stderr());
        let stdout = self.settled_stdout();
        (stdout, eventually("the end of what it said", stderr))
    }

    pub fn stdout(&self) -> String {
        self.stdout.lock().expect("no poisoned output").clone()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("no poisoned output").clone()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- command's stderr ---\n{}", self.stderr());
        }
    }
}
