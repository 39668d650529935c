//! The demo's agent as a process: its arguments, its publisher, and when it ends. What it does is `desk`.
//!
//! It ends when its standard input does, which is how it learns that the demo is gone.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::target::{FIRST_CONNECT, REFUSED, Target, say, usage_error};
use super::desk::{self, Office, Show, Voice};
use super::model::{InvalidModel, KEY_VARIABLE, Model};
use crate::client::{Attachment, Publisher, PublisherOptions};

/// Tokens per second, about what a person can follow.
pub const DEFAULT_RATE: f64 = 30.0;

const COMMAND: &str = "demo-agent";
const README: &str = include_str!("../../../README.md");
/// How long a model's server may say nothing.
pub const DEFAULT_SILENCE_SECONDS: u64 = 60;

/// Which model answers what visitors write; without one, a script does.
#[derive(clap::Args, Clone, Debug)]
pub struct ModelArgs {
    /// Let a model answer what visitors write: the address of an OpenAI-compatible server, for example
    /// http://127.0.0.1:11434/v1. Its key, if it needs one, comes from the environment variable OPENAI_API_KEY
    #[arg(long, value_name = "URL", requires = "model")]
    openai_base_url: Option<String>,
    /// The model's name there
    #[arg(long, value_name = "NAME", requires = "openai_base_url")]
    model: Option<String>,
    /// How long the model's server may say nothing before its answer is given up, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_SILENCE_SECONDS, value_parser = clap::value_parser!(u64).range(1..=3600))]
    model_timeout: u64,
}

impl ModelArgs {
    /// Who answers.
    pub fn voice(&self) -> Result<Voice, InvalidModel> {
        let (Some(base), Some(name)) = (&self.openai_base_url, &self.model) else {
            return Ok(Voice::Script);
        };
        let key = std::env::var(KEY_VARIABLE).ok();
        let silence = Duration::from_secs(self.model_timeout);
        Model::new(base, name, key, silence).map(Voice::Model)
    }

    /// The same again, for the agent's own command line. The key is not in it.
    pub fn to_words(&self) -> Vec<String> {
        let (Some(base), Some(name)) = (&self.openai_base_url, &self.model) else {
            return Vec::new();
        };
        vec![
            format!("--openai-base-url={base}"),
            format!("--model={name}"),
            format!("--model-timeout={}", self.model_timeout),
        ]
    }
}

/// Answers what visitors write, or streams a text into a topic again and again (started by `demo`)
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
    model: ModelArgs,
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
    let voice = match args.model.voice() {
        Ok(voice) => voice,
        Err(error) => return usage_error(COMMAND, error),
    };
    // a model has its own things to say
    let show = match &voice {
        Voice::Model(_) => None,
        Voice::Script => match read_text(&args) {
            Ok(show) => Some(show),
            Err(error) => return usage_error(COMMAND, error),
        },
    };
    let options = PublisherOptions {
        attach: Some(Attachment {
            demand: vec![args.topic.clone()],
            ..Attachment::controlled_by(&args.topic)
        }),
        first_connect: Some(FIRST_CONNECT),
        ..PublisherOptions::anonymous("demo-agent")
    };
    let publisher = Publisher::start(endpoint, &args.topic, options);
    let office = Office {
        publisher: &publisher,
        topic: &args.topic,
        voice: &voice,
        show: show.as_ref(),
        rate: args.rate,
    };
    tokio::select! {
        error = desk::work(&office) => {
            say(COMMAND, error);
            ExitCode::from(REFUSED)
        }
        () = parent_gone() => ExitCode::SUCCESS,
    }
}

fn read_text(args: &Args) -> Result<Show, String> {
    let Some(file) = &args.text else {
        return Ok(Show {
            title: "README.md".into(),
            text: README.into(),
        });
    };
    let bytes =
        std::fs::read(file).map_err(|error| format!("--text {}: {error}", file.display()))?;
    let title = file
        .file_name()
        .map_or_else(|| "text".into(), |name| name.to_string_lossy().into_owned());
    Ok(Show {
        title,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
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
