//! The commands: each reads its arguments and calls what does the work.

pub mod check_config;
pub mod serve;

use std::process::ExitCode;

use clap::Command;

fn command() -> Command {
    Command::new("tidewire")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A realtime broker for what AI agents say while they work")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve::command())
        .subcommand(check_config::command())
}

/// Runs the command that the process was started with.
pub async fn run() -> ExitCode {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("serve", matches)) => serve::run(matches).await,
        Some(("check-config", matches)) => check_config::run(matches),
        _ => unreachable!("clap asks for one of the commands above"),
    }
}
