//! What the commands that talk to a broker share: which broker, how they speak to a person, and how
//! they are stopped.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::client::Endpoint;

/// The broker, or this computer, refused.
pub const REFUSED: u8 = 1;
/// The command was given wrongly.
pub const USAGE: u8 = 2;
/// Stopped by a signal (128 + SIGINT).
pub const STOPPED: u8 = 130;

/// How long a command tries to reach a broker that it has not reached yet.
pub const FIRST_CONNECT: Duration = Duration::from_secs(10);

/// Where the broker is.
#[derive(clap::Args, Clone)]
pub struct Target {
    /// The broker's address: http://ADDR:PORT or https://HOST
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:7070",
        env = "TIDEWIRE_URL"
    )]
    pub url: String,
    /// The token to show the broker
    #[arg(
        long,
        value_name = "TOKEN",
        env = "TIDEWIRE_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
}

impl Target {
    pub fn endpoint(&self) -> Result<Endpoint, String> {
        Endpoint::new(&self.url, self.token.as_deref())
            .map_err(|error| format!("--url, --token: {error}"))
    }
}

/// Without the token.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Says something to the person, on standard error. That nobody can hear it is no reason to fail.
pub fn say(command: &str, message: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "tidewire {command}: {message}");
}

/// The command was given wrongly.
pub fn usage_error(command: &str, message: impl fmt::Display) -> ExitCode {
    say(command, message);
    ExitCode::from(USAGE)
}

/// Returns when nobody reads standard output any more, even while nothing is written to it.
pub async fn output_closed() {
    #[cfg(unix)]
    {
        use tokio::io::Interest;
        use tokio::io::unix::AsyncFd;
        // a file or /dev/null cannot be watched, and is never closed by a reader
        #[expect(
            deprecated,
            reason = "its successor is unsafe; standard output stays open as long as the process"
        )]
        let output = AsyncFd::with_interest(std::io::stdout(), Interest::WRITABLE);
        if let Ok(output) = output {
            while let Ok(mut writable) = output.ready(Interest::WRITABLE).await {
                if writable.ready().is_write_closed() {
                    return;
                }
                writable.clear_ready();
            }
        }
    }
    std::future::pending().await
}

/// SIGINT and SIGTERM, from when it is made: none is lost between two waits.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal was closed.
    hang_up: Signal,
}

impl StopSignals {
    pub fn hear() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Returns at the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// Returns at the first SIGINT or SIGTERM from now on.
pub async fn stop_signal() {
    match StopSignals::hear() {
        Ok(mut signals) => signals.next().await,
        // then a signal ends the process without a word
        Err(_) => std::future::pending().await,
    }
}
