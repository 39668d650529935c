//! `tidewire key create`: prints a new key alone, so that `KEY=$(tidewire key create …)` works, and keeps its hash.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::keys_file::KeysFile;
use super::table::{KeyTable, QuotaFlags};
use super::{COMMAND, check_name};
use crate::auth::Action;
use crate::auth::api_key::ApiKeyText;
use crate::cli::failure::{Failure, parse_duration};
use crate::cli::grant_flags::GrantFlags;
use crate::cli::moment;
use crate::cli::target::say;

/// Makes a key and prints it, once
#[derive(clap::Args, Debug)]
#[command(after_help = "\
The key alone goes to standard output, and nowhere else: KEY=$(tidewire key create --name agent --publish '/chat/*'). \
What a broker needs of it, its hash, goes to the keys file, or as a table for the configuration to standard error.")]
pub struct Args {
    /// What readers see as the source of its events; stands for {sub} in patterns
    #[arg(long, value_name = "NAME")]
    name: String,
    #[command(flatten)]
    grants: GrantFlags,
    /// It may revoke, and read metrics
    #[arg(long)]
    admin: bool,
    /// How long it is good, from now, for example 90d [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "expires")]
    expires_in: Option<Duration>,
    /// Until when it is good, for example 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    expires: Option<u64>,
    #[command(flatten)]
    quota: QuotaFlags,
    /// Append it to this keys file; a new file is readable for you only
    #[arg(long, value_name = "FILE", help_heading = "Where it is kept")]
    file: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    check_name(&args.name)?;
    let grants = args.grants.checked(&args.name).map_err(Failure::Usage)?;
    let now = moment::now();
    let expires = args
        .expires
        .or(args.expires_in.map(|good| now + good.as_secs()));
    if expires.is_some_and(|expires| expires <= now) {
        return Err(Failure::usage("it would have expired already"));
    }
    let key = ApiKeyText::generate()
        .map_err(|error| Failure::refused(format_args!("randomness: {error}")))?;
    let table = KeyTable {
        name: &args.name,
        id: key.id(),
        hash: key.hash(),
        grants: &grants,
        admin: args.admin,
        expires,
        quota: args.quota,
    };
    // first: a key that is printed is one that is kept
    if let Some(file) = &args.file {
        KeysFile::change(file, |keys| keys.add(&table))?;
    }
    print(&key, args)?;
    let grants_nothing = Action::ALL
        .iter()
        .all(|action| grants.of(*action).is_empty());
    if grants_nothing && !args.admin {
        say(
            COMMAND,
            "it grants nothing: it may do what every known client may",
        );
    }
    match &args.file {
        Some(file) => {
            let (name, file) = (&args.name, file.display());
            say(
                COMMAND,
                format_args!("{name} is in {file}; the key itself is kept nowhere"),
            );
        }
        None => {
            say(
                COMMAND,
                "the key itself is kept nowhere; the configuration needs this:",
            );
            let _ = write!(std::io::stderr(), "\n{}", table.text());
        }
    }
    Ok(())
}

fn print(key: &ApiKeyText, args: &Args) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", key.as_str())
        .and_then(|()| out.flush())
        .map_err(|error| {
            let Args { name, file, .. } = args;
            let kept = match file {
                Some(file) => format!(
                    ", and nobody has the key: `tidewire key remove {name} --file {}`",
                    file.display()
                ),
                None => String::new(),
            };
            Failure::refused(format_args!("standard output: {error}{kept}"))
        })
}
