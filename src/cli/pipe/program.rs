//! The program whose output is the message: `tidewire pipe TOPIC -- PROGRAM ARG…`.
//!
//! Invariants: it runs in a process group of its own, so that all it started (it may be a wrapper only) ends
//! with it; what is left of that group `grace` after a SIGTERM gets SIGKILL. A terminal is not its standard
//! input: whoever reads one outside of its foreground group is stopped (POSIX, job control), so it finds
//! the end of input at once instead. Ctrl-C reaches it through pipe.
//!
//! If pipe itself is killed by SIGKILL, nobody tells the program: it gets SIGPIPE when it next writes.

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout_at};

/// How often is looked whether anything of the group is left.
const LOOK: Duration = Duration::from_millis(20);

/// See the module.
pub struct Program {
    child: Child,
    /// Its number is the program's.
    group: Option<Pid>,
}

impl Program {
    /// Starts it, the first word with the others as arguments; gives its standard output. Its standard
    /// error is this process's, and its standard input, too, unless that is a terminal.
    pub fn start(words: &[OsString]) -> std::io::Result<(Self, File)> {
        let (name, arguments) = words.split_first().ok_or(ErrorKind::InvalidInput)?;
        let input = if std::io::stdin().is_terminal() {
            Stdio::null()
        } else {
            Stdio::inherit()
        };
        let mut child = Command::new(name)
            .args(arguments)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
        let program = Self {
            group: child
                .id()
                .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)),
            child,
        };
        Ok((program, File::from(output.into_owned_fd()?)))
    }

    /// Waits until it has ended. Dropped while it waits, it has no effect.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits for what was asked to end; what is left after `grace` is killed.
    pub async fn end(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        if timeout_at(deadline, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            let _ = self.child.wait().await;
        }
        while self.group_lives() && Instant::now() < deadline {
            sleep(LOOK).await;
        }
        self.kill();
    }

    /// Ends what is left at once.
    pub fn kill(&self) {
        if self.group_lives() {
            self.signal(Signal::KILL);
        }
    }

    fn group_lives(&self) -> bool {
        self.group
            .is_some_and(|group| test_kill_process_group(group).is_ok())
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // that nobody is left to hear it is what it is for
            let _ = kill_process_group(group, signal);
        }
    }
}

/// What a shell says of a program that could not be started (POSIX, Shell Command Language, 2.8.2).
pub fn exit_code_of_no_start(error: &std::io::Error) -> u8 {
    match error.kind() {
        ErrorKind::NotFound => 127,
        _ => 126,
    }
}

/// What a shell says of a program that ended: its code, or 128 and the signal's number.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn words(script: &str) -> Vec<OsString> {
        ["sh", "-c", script].map(OsString::from).to_vec()
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
    }

    #[tokio::test]
    async fn what_does_not_listen_is_killed_with_all_it_started() {
        let script = "trap '' TERM; echo ready; sleep 60 & wait; sleep 60";
        let (mut program, mut output) = Program::start(&words(script)).expect("a shell");
        output
            .read_exact(&mut [0; 6])
            .expect("its word that it does not listen");
        program.terminate();
        program.end(Duration::from_millis(100)).await;
        // both `sh` and `sleep` held it open
        let mut rest = Vec::new();
        output.read_to_end(&mut rest).expect("its end");
    }

    #[tokio::test]
    async fn nothing_is_waited_for_that_ends_by_itself() {
        let (mut program, mut output) = Program::start(&words("echo hi; exit 3")).expect("a shell");
        let mut said = String::new();
        output.read_to_string(&mut said).expect("its output");
        assert_eq!(said, "hi\n");
        let status = program.ended().await.expect("its end");
        assert_eq!(exit_code(status), 3);
        let begun = Instant::now();
        program.end(Duration::from_secs(60)).await;
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_program_that_is_not_there() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let started = runtime.block_on(async { Program::start(&["/no/such/program".into()]) });
        let error = started.err().expect("no program");
        assert_eq!(exit_code_of_no_start(&error), 127);
    }
}
