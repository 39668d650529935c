//! The commands: each reads its arguments and calls what does the work.

pub mod bench;
pub mod check_config;
pub mod demo;
mod failure;
mod grant_flags;
pub mod key;
pub mod log;
mod moment;
pub mod pipe;
pub mod publish;
pub mod serve;
pub mod tail;
mod target;
pub mod token;

use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches};

fn command() -> Command {
    Command::new("tidewire")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A realtime broker for what AI agents say while they work")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve::command())
        .subcommand(demo::Args::augment_args(Command::new("demo")))
        .subcommand(pipe::Args::augment_args(Command::new("pipe")))
        .subcommand(publish::Args::augment_args(Command::new("publish")))
        .subcommand(tail::Args::augment_args(Command::new("tail")))
        .subcommand(bench::Args::augment_args(Command::new("bench")))
        .subcommand(log::Args::augment_args(Command::new("log")))
        .subcommand(token::Args::augment_args(Command::new("token")))
        .subcommand(key::Args::augment_args(Command::new("key")))
        .subcommand(check_config::command())
        .subcommand(demo::agent::Args::augment_args(Command::new(demo::AGENT_COMMAND)).hide(true))
}

fn args<A: FromArgMatches>(matches: &ArgMatches) -> A {
    A::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
}

/// Runs the command that the process was started with.
pub async fn run() -> ExitCode {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("serve", matches)) => serve::run(matches).await,
        Some(("demo", matches)) => demo::run(args(matches), serve::start_demo).await,
        Some(("pipe", matches)) => pipe::run(args(matches)).await,
        Some(("publish", matches)) => publish::run(args(matches)).await,
        Some(("tail", matches)) => tail::run(args(matches)).await,
        Some(("bench", matches)) => bench::run(args(matches)).await,
        Some(("log", matches)) => log::run(args(matches)).await,
        Some(("token", matches)) => token::run(args(matches)).await,
        Some(("key", matches)) => key::run(args(matches)),
        Some(("check-config", matches)) => check_config::run(matches),
        Some((demo::AGENT_COMMAND, matches)) => demo::agent::run(args(matches)).await,
        _ => unreachable!("clap asks for one of the commands above"),
    }
}
