//! `tidewire log`: a data directory without its broker.
//!
//! All but `import` may run while a broker uses the directory. The work is done in a thread of its own: a signal
//! ends the command at once, and what it kept for itself in the directory is removed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::sync::oneshot;

use super::target::{REFUSED, STOPPED, say, stop_signal};
use crate::engine::disk::StoreError;
use crate::engine::disk::offline::{self, OfflineError, ShowRange, TopicLine};
use crate::event::Seq;

const COMMAND: &str = "log";
/// It cannot be read at all.
const UNREADABLE: u8 = 2;

/// Looks into a data directory, checks it, copies it
#[derive(clap::Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Lists the topics
    Topics {
        #[command(flatten)]
        data: DataDir,
        /// Only topics that begin with it
        #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
        prefix: String,
        /// Prints JSON lines
        #[arg(long)]
        json: bool,
    },
    /// Prints the events of a topic, one JSON line for each
    Show {
        /// For example /chat/demo
        #[arg(value_name = "TOPIC")]
        topic: String,
        #[command(flatten)]
        data: DataDir,
        /// The first event
        #[arg(
            long,
            value_name = "SEQ",
            default_value_t = 1,
            hide_default_value = true
        )]
        from: u64,
        /// So many events at most
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Reads everything and reports what is damaged (exit status 1; 2: it cannot be read at all)
    Verify {
        #[command(flatten)]
        data: DataDir,
    },
    /// Writes topics as JSON lines, with all that `import` needs
    Export {
        #[command(flatten)]
        data: DataDir,
        /// Only topics that begin with it
        #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
        prefix: String,
        /// Where to; - is standard output
        #[arg(long, value_name = "FILE", default_value = "-")]
        output: PathBuf,
    },
    /// Brings exported topics back, all or none; the broker must be stopped
    Import {
        #[command(flatten)]
        data: DataDir,
        /// What `export` wrote; - is standard input
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
        /// Positions that readers hold stay good: only where nothing was published since the export
        #[arg(long)]
        keep_epochs: bool,
    },
    /// Copies the directory as it is now, also while a broker writes to it
    Backup {
        #[command(flatten)]
        data: DataDir,
        /// A directory that does not exist, or is empty
        #[arg(value_name = "DEST")]
        dest: PathBuf,
    },
}

#[derive(clap::Args, Debug)]
struct DataDir {
    /// The data directory
    #[arg(long = "data-dir", value_name = "DIR", env = "TIDEWIRE_DATA_DIR")]
    dir: PathBuf,
}

impl Command {
    fn dir(&self) -> &Path {
        let (Self::Topics { data, .. }
        | Self::Show { data, .. }
        | Self::Verify { data }
        | Self::Export { data, .. }
        | Self::Import { data, .. }
        | Self::Backup { data, .. }) = self;
        &data.dir
    }
}

pub async fn run(args: Args) -> ExitCode {
    // a panic of the store over damaged files is reported as damage
    std::panic::set_hook(Box::new(|_| {}));
    let dir = args.command.dir().to_owned();
    let (done, code) = oneshot::channel();
    std::thread::spawn(move || {
        // when nobody waits any more, the process ends
        let _ = done.send(execute(&args.command));
    });
    tokio::select! {
        code = code => code.unwrap_or_else(|_| {
            say(COMMAND, "it failed in an unforeseen way");
            offline::remove_own(&dir);
            ExitCode::from(UNREADABLE)
        }),
        () = stop_signal() => {
            offline::remove_own(&dir);
            ExitCode::from(STOPPED)
        }
    }
}

fn execute(command: &Command) -> ExitCode {
    let outcome = match command {
        Command::Topics { data, prefix, json } => topics(&data.dir, prefix, *json),
        Command::Show {
            topic,
            data,
            from,
            limit,
        } => {
            let range = ShowRange {
                from: Seq(*from),
                limit: limit.unwrap_or(usize::MAX),
            };
            let mut out = BufWriter::new(io::stdout().lock());
            offline::show(&data.dir, topic, range, &mut out, tell)
        }
        Command::Verify { data } => verify(&data.dir),
        Command::Export {
            data,
            prefix,
            output,
        } => export(&data.dir, prefix, output),
        Command::Import {
            data,
            file,
            keep_epochs,
        } => import(&data.dir, file, *keep_epochs),
        Command::Backup { data, dest } => offline::backup(&data.dir, dest).map(|bytes| {
            say(
                COMMAND,
                format_args!("{bytes} bytes are in {}", dest.display()),
            );
            true
        }),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(REFUSED),
        // that is how `log show … | head` ends
        Err(error) if error.is_closed_output() => ExitCode::SUCCESS,
        Err(error) => {
            say(COMMAND, &error);
            ExitCode::from(status(&error))
        }
    }
}

fn status(error: &OfflineError) -> u8 {
    match error {
        OfflineError::Line { .. }
        | OfflineError::Exists(_)
        | OfflineError::NotEmpty(_)
        | OfflineError::NoTopic(_)
        | OfflineError::Output(_)
        | OfflineError::Directory {
            error: StoreError::Locked,
            ..
        } => REFUSED,
        OfflineError::Directory { .. }
        | OfflineError::File { .. }
        | OfflineError::Restless { .. }
        | OfflineError::Damaged(_) => UNREADABLE,
    }
}

fn tell(problem: &str) {
    say(COMMAND, problem);
}

fn topics(dir: &Path, prefix: &str, json: bool) -> Result<bool, OfflineError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let print = |topic: &TopicLine| match json {
        true => writeln!(out, "{}", serde_json::to_string(topic)?),
        false => writeln!(out, "{}", topic_text(topic)),
    };
    let is_whole = offline::topics(dir, prefix, print, tell)?;
    out.flush().map_err(OfflineError::Output)?;
    Ok(is_whole)
}

fn topic_text(topic: &TopicLine) -> String {
    let TopicLine {
        topic,
        epoch,
        first,
        last,
        events,
        bytes,
        last_time,
        open_messages,
    } = topic;
    format!(
        "{topic}  epoch {epoch}  seqs {first} to {last}  {events} events  {bytes} bytes  last {last_time}  {open_messages} open"
    )
}

fn verify(dir: &Path) -> Result<bool, OfflineError> {
    let verified = offline::verify(dir, print_line)?;
    let (topics, events, files) = (verified.topics, verified.events, verified.files);
    print_line(&format!("{topics} topics, {events} events, {files} files"));
    if verified.leftovers > 0 {
        print_line("an import was not finished; the next one removes what it left");
    }
    match verified.damaged {
        0 => print_line("no damage"),
        1 => print_line("1 thing is damaged"),
        damaged => print_line(&format!("{damaged} things are damaged")),
    }
    Ok(verified.damaged == 0)
}

/// What is read counts, also when nobody reads the report.
fn print_line(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn export(dir: &Path, prefix: &str, output: &Path) -> Result<bool, OfflineError> {
    let exported = if output.as_os_str() == "-" {
        let mut out = BufWriter::new(io::stdout().lock());
        offline::export(dir, prefix, &mut out, tell)?
    } else {
        let file = File::create(output).map_err(|error| OfflineError::File {
            path: output.to_owned(),
            error,
        })?;
        let mut out = BufWriter::new(&file);
        let exported = offline::export(dir, prefix, &mut out, tell)?;
        drop(out);
        file.sync_all().map_err(OfflineError::Output)?;
        exported
    };
    let (topics, events) = (exported.topics, exported.events);
    say(
        COMMAND,
        format_args!("{topics} topics with {events} events are exported"),
    );
    Ok(exported.left_out == 0)
}

fn import(dir: &Path, file: &Path, keep_epochs: bool) -> Result<bool, OfflineError> {
    let file = (file.as_os_str() != "-").then_some(file);
    match offline::import(dir, file, keep_epochs) {
        Ok(imported) => {
            let (topics, events) = (imported.topics, imported.events);
            say(
                COMMAND,
                format_args!("{topics} topics with {events} events are imported"),
            );
            Ok(true)
        }
        Err(error) => {
            say(COMMAND, "nothing was imported");
            Err(error)
        }
    }
}
