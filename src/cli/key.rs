//! `tidewire key`: API keys, for agents and servers that nobody issues tokens to. A key is shown once; what is
//! kept is its hash, in the configuration or in a keys file of its own.

mod create;
mod keys_file;
mod list;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use super::failure::Failure;
use super::target::say;
use keys_file::KeysFile;

const COMMAND: &str = "key";

/// Makes API keys, lists and removes them
#[derive(clap::Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Create(Box<create::Args>),
    /// Lists the keys of a keys file: names, ids, what they may do, never hashes
    List {
        /// The keys file
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Takes a key out of a keys file; the rest of the file stays as it is
    Remove {
        /// The key's name
        #[arg(value_name = "NAME")]
        name: String,
        /// The keys file
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
}

pub fn run(args: Args) -> ExitCode {
    let outcome = match args.command {
        Command::Create(args) => create::run(&args),
        Command::List { file } => list::run(&file),
        Command::Remove { name, file } => KeysFile::change(&file, |keys| keys.remove(&name)).map(|()| {
            let file = file.display();
            say(
                COMMAND,
                format_args!("{name} is not in {file} any more; a broker refuses it once it has read the file again"),
            );
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(COMMAND),
    }
}

/// A name is a bare key of TOML, and a segment of a topic.
fn check_name(name: &str) -> Result<(), Failure> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match (1..=64).contains(&name.len()) && name.bytes().all(is_good) {
        true => Ok(()),
        false => Err(Failure::usage(
            "a key's name has 1 to 64 characters of A-Z a-z 0-9 _ -",
        )),
    }
}
