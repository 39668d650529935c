//! `tidewire token`: JSON Web Tokens (RFC 7519) for those who have no service that issues them yet, and a look into
//! those that there are. No broker is asked.

mod create;
mod inspect;
mod key_source;
mod verify;

use std::process::ExitCode;

use super::failure::Failure;

const COMMAND: &str = "token";
/// The environment of a broker that was told none.
const DEFAULT_ENVIRONMENT: &str = "dev";

/// Makes tokens, and looks into them
#[derive(clap::Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Create(Box<create::Args>),
    Inspect(inspect::Args),
}

pub async fn run(args: Args) -> ExitCode {
    match args.command {
        Command::Create(args) => create::run(&args),
        Command::Inspect(args) => inspect::run(&args).await,
    }
}

/// For whom tokens of a deployment are: what `aud` has to have.
fn audience(environment: &str) -> String {
    format!("tidewire:{environment}")
}

/// As a broker's own name for its deployment is.
fn check_environment(name: &str) -> Result<(), Failure> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match (1..=32).contains(&name.len()) && name.bytes().all(is_good) {
        true => Ok(()),
        false => Err(Failure::usage(
            "--environment, TIDEWIRE_ENVIRONMENT: a name has 1 to 32 characters of A-Z a-z 0-9 _ -",
        )),
    }
}
