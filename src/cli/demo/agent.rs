//! The demo's agent: streams a text into a topic, again and again, each time as a new message.
//!
//! It ends when its standard input does, which is how it learns that the demo is gone.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::super::target::{FIRST_CONNECT, REFUSED, Target, say, usage_error};
use super::script::Script;
use crate::client::publisher::{PublishError, random_id};
use crate::client::{Publisher, PublisherOptions};

/// Tokens per second, about what a person can follow.
pub const DEFAULT_RATE: f64 = 30.0;

const COMMAND: &str = "demo-agent";
const README: &str = include_str!("../../../README.md");
/// Between two answers.
const REST: Duration = Duration::from_secs(5);

/// Streams a text into a topic again and again (started by `demo`)
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where to publish
    #[arg(long, value_name = "TOPIC", default_value = "/chat/demo")]
    topic: String,
    /// The text to stream [default: Tidewire's README]
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Tokens per second
    #[arg(long, value_name = "TOKENS_PER_SECOND", default_value_t = DEFAULT_RATE, value_parser = parse_rate)]
    rate: f64,
    #[command(flatten)]
    target: Target,
}

pub fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.1..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("write tokens per second, from 0.1 to 10000".into()),
    }
}

pub async fn run(args: Args) -> ExitCode {
    let endpoint = match args.target.endpoint() {
        Ok(endpoint) => endpoint,
        Err(error) => return usage_error(COMMAND, error),
    };
    let (title, text) = match read_text(&args) {
        Ok(read) => read,
        Err(error) => return usage_error(COMMAND, error),
    };
    let options = PublisherOptions {
        first_connect: Some(FIRST_CONNECT),
        ..PublisherOptions::anonymous("demo-agent")
    };
    let publisher = Publisher::start(endpoint, &args.topic, options);
    tokio::select! {
        error = answer_for_ever(&publisher, &title, &text, args.rate) => {
            say(COMMAND, error);
            ExitCode::from(REFUSED)
        }
        () = parent_gone() => ExitCode::SUCCESS,
    }
}

fn read_text(args: &Args) -> Result<(String, String), String> {
    let Some(file) = &args.text else {
        return Ok(("README.md".into(), README.into()));
    };
    let bytes =
        std::fs::read(file).map_err(|error| format!("--text {}: {error}", file.display()))?;
    let title = file
        .file_name()
        .map_or_else(|| "text".into(), |name| name.to_string_lossy().into_owned());
    Ok((title, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Returns only when nothing can be published any more.
async fn answer_for_ever(
    publisher: &Publisher,
    title: &str,
    text: &str,
    rate: f64,
) -> PublishError {
    let life = random_id();
    for run in 1.. {
        let message_id = format!("demo-{life}-{run}");
        let script = Script {
            message_id: &message_id,
            run,
            title,
            text,
            rate,
        };
        for step in script.steps(fastrand::f64) {
            sleep(step.pause).await;
            if let Err(error) = publisher.publish(step.event).await {
                return error;
            }
        }
        sleep(REST).await;
    }
    publisher.failure().await
}

/// Returns when standard input ends. Read in a thread: an async stdin would hold up the runtime's end.
async fn parent_gone() {
    let (gone, told) = oneshot::channel();
    std::thread::spawn(move || {
        let mut sink = [0; 256];
        while matches!(std::io::stdin().read(&mut sink), Ok(1..)) {}
        let _ = gone.send(());
    });
    let _ = told.await;
}
