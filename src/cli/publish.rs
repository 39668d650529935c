//! `tidewire publish TOPIC`: single events, or a file of them, over HTTP.
//!
//! A file is published batch by batch, in order; each batch goes in whole or not at all. Where it stops,
//! it says which lines are published.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::target::{REFUSED, STOPPED, Target, say, stop_signal, usage_error};
use crate::client::http::{HttpPublishError, publish};
use crate::client::{Endpoint, Problem};

const COMMAND: &str = "publish";
/// Events of one batch (the broker's default bound).
const BATCH_EVENTS: usize = 1000;
/// Bytes of one batch; one event may exceed it.
const BATCH_BYTES: usize = 1 << 20;
/// How long lines that come slowly are gathered.
const GATHER: Duration = Duration::from_millis(20);
/// How often a batch is tried that was refused for a passing reason, which leaves nothing behind.
const TRIES: u32 = 8;
/// The wait before the next try, where the broker does not say.
const PAUSE: Duration = Duration::from_secs(1);

/// Publishes events
#[derive(clap::Args, Debug)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["name", "file", "dash"])))]
pub struct Args {
    /// Where to publish, for example /chat/demo
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// The event's type, for example memory.created
    #[arg(long = "type", value_name = "T", requires = "data")]
    name: Option<String>,
    /// The event's data
    #[arg(long, value_name = "JSON", requires = "name")]
    data: Option<String>,
    /// The event's id: publishing it again has no effect
    #[arg(long, value_name = "ID", requires = "name")]
    id: Option<String>,
    /// A file with one {"type","data","id"?} on each line; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "data", "id"])]
    file: Option<PathBuf>,
    /// The same as --file -
    #[arg(value_name = "-", value_parser = ["-"], conflicts_with_all = ["name", "data", "id", "file"])]
    dash: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub async fn run(args: Args) -> ExitCode {
    let endpoint = match args.target.endpoint() {
        Ok(endpoint) => endpoint,
        Err(error) => return usage_error(COMMAND, error),
    };
    let publishing = async {
        let file = args.file.as_deref().or(args.dash.as_deref().map(Path::new));
        if let Some(file) = file {
            return publish_file(&endpoint, &args.topic, file).await;
        }
        // clap requires both where there is no file
        let (name, data) = (
            args.name.as_deref().unwrap_or_default(),
            args.data.as_deref().unwrap_or_default(),
        );
        publish_one(&endpoint, &args.topic, name, data, args.id.as_deref()).await
    };
    tokio::select! {
        code = publishing => code,
        () = stop_signal() => ExitCode::from(STOPPED),
    }
}

async fn publish_one(
    endpoint: &Endpoint,
    topic: &str,
    name: &str,
    data: &str,
    id: Option<&str>,
) -> ExitCode {
    let data = match serde_json::from_str::<&RawValue>(data) {
        Ok(data) => data.get(),
        Err(error) => {
            return usage_error(
                COMMAND,
                format_args!("--data is not JSON: {error}; a text needs quotes: --data '\"text\"'"),
            );
        }
    };
    let name = serde_json::Value::from(name);
    let id = id
        .map(|id| format!(",\"id\":{}", serde_json::Value::from(id)))
        .unwrap_or_default();
    let event = RawValue::from_string(format!("{{\"type\":{name}{id},\"data\":{data}}}"));
    match event {
        Ok(event) => match publish_batch(endpoint, topic, &[event]).await {
            Ok(answer) => {
                print(&answer);
                ExitCode::SUCCESS
            }
            Err(error) => refused(&error),
        },
        Err(error) => usage_error(COMMAND, error),
    }
}

async fn publish_file(endpoint: &Endpoint, topic: &str, file: &Path) -> ExitCode {
    let input: Box<dyn Read + Send> = match file.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => match std::fs::File::open(file) {
            Ok(file) => Box::new(file),
            Err(error) => return usage_error(COMMAND, format_args!("{}: {error}", file.display())),
        },
    };
    let mut lines = read_lines(input);
    let mut published = 0;
    let mut most = BATCH_EVENTS;
    loop {
        let batch = next_batch(&mut lines).await;
        if let Err(error) =
            publish_lines(endpoint, topic, &batch.events, &mut most, &mut published).await
        {
            say(COMMAND, error);
            say(COMMAND, so_far(published));
            return ExitCode::from(REFUSED);
        }
        match batch.end {
            End::More => {}
            End::OfInput => return ExitCode::SUCCESS,
            End::Bad(message) => {
                say(COMMAND, so_far(published));
                return usage_error(COMMAND, message);
            }
        }
    }
}

/// Publishes lines in order, in batches of at most `most` events; that goes down where the broker takes
/// fewer. `published` is the last line that is published.
async fn publish_lines(
    endpoint: &Endpoint,
    topic: &str,
    mut lines: &[Line],
    most: &mut usize,
    published: &mut usize,
) -> Result<(), String> {
    while let Some(first) = lines.first() {
        let (batch, rest) = lines.split_at(lines.len().min(*most));
        let last = batch.last().map_or(first.number, |line| line.number);
        let events: Vec<Box<RawValue>> = batch.iter().map(|line| line.event.clone()).collect();
        match publish_batch(endpoint, topic, &events).await {
            Ok(answer) => {
                print(&answer);
                *published = last;
                lines = rest;
            }
            Err(HttpPublishError::Refused(problem)) if batch.len() > 1 && is_too_much(&problem) => {
                *most = batch.len() / 2;
            }
            Err(error) => {
                return Err(format!(
                    "lines {} to {last}: {}",
                    first.number,
                    which(&error, batch)
                ));
            }
        }
    }
    Ok(())
}

/// Half of it may be taken.
fn is_too_much(problem: &Problem) -> bool {
    matches!(problem.code.as_str(), "too_many_events" | "too_large") && problem.index.is_none()
}

/// Tries again what was refused for a passing reason.
async fn publish_batch(
    endpoint: &Endpoint,
    topic: &str,
    events: &[Box<RawValue>],
) -> Result<String, HttpPublishError> {
    let mut tries = 1;
    loop {
        match publish(endpoint, topic, events).await {
            Err(HttpPublishError::Refused(problem))
                if problem.passes() && problem.code != "outcome_unknown" && tries < TRIES =>
            {
                tries += 1;
                sleep(problem.retry_after().unwrap_or(PAUSE)).await;
            }
            outcome => return outcome,
        }
    }
}

/// The refusal with the number of the line it is about, where it says so.
fn which(error: &HttpPublishError, events: &[Line]) -> String {
    let index = match error {
        HttpPublishError::Refused(problem) => problem.index,
        _ => None,
    };
    match index.and_then(|index| events.get(usize::try_from(index).ok()?)) {
        Some(line) => format!("line {}: {error}", line.number),
        None => error.to_string(),
    }
}

fn so_far(published: usize) -> String {
    match published {
        0 => "nothing was published".into(),
        1 => "line 1 is published, nothing after it".into(),
        lines => format!("lines 1 to {lines} are published, nothing after them"),
    }
}

fn refused(error: &HttpPublishError) -> ExitCode {
    say(COMMAND, error);
    ExitCode::from(REFUSED)
}

/// A closed standard output is not the events' fault; they are published.
fn print(answer: &str) {
    let _ = writeln!(std::io::stdout(), "{answer}");
}

#[derive(Debug)]
struct Line {
    number: usize,
    event: Box<RawValue>,
}

struct Batch {
    events: Vec<Line>,
    end: End,
}

enum End {
    More,
    OfInput,
    Bad(String),
}

/// Gathers lines: as many as fit, or what came within `GATHER` of the first.
async fn next_batch(lines: &mut mpsc::Receiver<Result<Line, String>>) -> Batch {
    let mut batch = Batch {
        events: Vec::new(),
        end: End::More,
    };
    let mut bytes = 0;
    let mut until = None;
    while batch.events.len() < BATCH_EVENTS && bytes < BATCH_BYTES {
        let next = match until {
            None => lines.recv().await,
            Some(until) => match timeout_at(until, lines.recv()).await {
                Ok(next) => next,
                Err(_) => return batch,
            },
        };
        match next {
            Some(Ok(line)) => {
                until.get_or_insert_with(|| Instant::now() + GATHER);
                bytes += line.event.get().len();
                batch.events.push(line);
            }
            Some(Err(message)) => {
                batch.end = End::Bad(message);
                return batch;
            }
            None => {
                batch.end = End::OfInput;
                return batch;
            }
        }
    }
    batch
}

/// The events of the lines; empty lines are left out. In a thread of its own: see `pipe`.
fn read_lines(input: impl Read + Send + 'static) -> mpsc::Receiver<Result<Line, String>> {
    let (sender, receiver) = mpsc::channel(BATCH_EVENTS);
    std::thread::spawn(move || {
        for (at, line) in BufReader::new(input).lines().enumerate() {
            let number = at + 1;
            let line = match line {
                Ok(line) if line.trim().is_empty() => continue,
                Ok(line) => parse_line(number, line.trim()),
                Err(error) => Err(format!("line {number}: {error}")),
            };
            let bad = line.is_err();
            if sender.blocking_send(line).is_err() || bad {
                return;
            }
        }
    });
    receiver
}

fn parse_line(number: usize, line: &str) -> Result<Line, String> {
    #[derive(Deserialize)]
    struct Shape<'a> {
        #[serde(rename = "type", borrow)]
        _name: std::borrow::Cow<'a, str>,
        #[serde(borrow, rename = "data")]
        _data: &'a RawValue,
    }
    serde_json::from_str::<Shape>(line)
        .and_then(|_| RawValue::from_string(line.into()))
        .map(|event| Line { number, event })
        .map_err(|error| format!("line {number} is not {{\"type\",\"data\",\"id\"?}}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_event_or_says_why_not() {
        let line = parse_line(3, r#"{"type":"a.b","data":{"n":1.0},"id":"x"}"#).expect("an event");
        assert_eq!(
            (line.number, line.event.get()),
            (3, r#"{"type":"a.b","data":{"n":1.0},"id":"x"}"#)
        );
        for bad in [
            "x",
            "[]",
            r#"{"type":"a.b"}"#,
            r#"{"data":1}"#,
            r#"{"type":1,"data":1}"#,
        ] {
            let error = parse_line(7, bad).expect_err(bad);
            assert!(error.starts_with("line 7 is not"), "{error}");
        }
    }

    #[tokio::test]
    async fn lines_come_in_batches_up_to_the_first_bad_one() {
        let good = "{\"type\":\"a.b\",\"data\":1}\n\n".repeat(BATCH_EVENTS + 2);
        let mut lines = read_lines(std::io::Cursor::new(good + "nonsense\n"));
        let mut total = 0;
        let message = loop {
            let batch = next_batch(&mut lines).await;
            assert!(batch.events.len() <= BATCH_EVENTS);
            total += batch.events.len();
            if let End::Bad(message) = batch.end {
                break message;
            }
        };
        assert_eq!(total, BATCH_EVENTS + 2);
        assert!(message.starts_with("line 2005 is not"), "{message}");
    }
}
