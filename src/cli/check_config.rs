//! `check-config`: says what `serve` would run with, or everything that would stop it.

use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::config::{self, Environment};

/// The exit status for a configuration with problems, as for bad flags.
const BAD_CONFIGURATION: u8 = 2;

/// The command with the flags of `serve`.
pub fn command() -> Command {
    config::args(
        Command::new("check-config")
            .about("Check the configuration and print it with the origin of every value"),
    )
}

/// Prints the effective configuration as TOML on standard output, or each problem on standard
/// error (exit status 2).
pub fn run(matches: &ArgMatches) -> ExitCode {
    match config::effective(matches, &Environment::process()) {
        Ok(effective) => {
            let printed = std::io::stdout().write_all(effective.to_toml().as_bytes());
            // A reader that has seen enough (`| head`) is no failure of the configuration, but a
            // full disk behind `>` has to be noticed.
            match printed {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
                _ => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            // With standard error gone, the exit status still tells.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}
