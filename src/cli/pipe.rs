//! `tidewire pipe TOPIC`: standard input, as it comes, becomes one message of a topic.
//!
//! Invariants: no character is lost or doubled, whatever happens to the line or the broker; input is
//! never waited for beyond one read(2); memory is bounded by twice `--buffer` (text that is not
//! acknowledged, and text that is, kept for a broker that forgets) plus two reads.
//!
//! A broker that restarts on the memory engine has forgotten the topic. Its readers see a `reset`;
//! this side learns it from `producer_unknown`, raises its epoch and publishes the message again from
//! its beginning: everything acknowledged so far as first deltas, then what is outstanding. Text over
//! `--buffer` is not kept; what is missing at the beginning then is told on standard error.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::target::{FIRST_CONNECT, REFUSED, STOPPED, Target, say, stop_signal, usage_error};
use crate::client::publisher::{Notice, PublishError, random_id};
use crate::client::utf8::Utf8Splitter;
use crate::client::window::{Bounds, Loss};
use crate::client::{NewEvent, Publisher, PublisherOptions, TextKind};

/// Bytes of one read: what a Linux pipe holds.
const READ_BYTES: usize = 64 << 10;
/// After a signal: for delivering what is outstanding and the last word.
const LEAVE: Duration = Duration::from_secs(3);
/// As whom it speaks.
const COMMAND: &str = "pipe";

/// Publishes standard input, as it comes, as one message
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where to publish, for example /chat/demo
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// The message's id [default: a new one]
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Announces the message with `message.started` and this role, for example assistant
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// What kind of text it is
    #[arg(long, value_enum, default_value = "text")]
    kind: Kind,
    /// How much text may wait for the broker before standard input is not read further, and how much
    /// published text is kept for a broker that forgets
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = parse_size)]
    buffer: usize,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[value(rename_all = "snake_case")]
enum Kind {
    Text,
    Reasoning,
    ToolInput,
}

impl From<Kind> for TextKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Reasoning => Self::Reasoning,
            Kind::ToolInput => Self::ToolInput,
        }
    }
}

/// Why the copying stopped before the end of input.
enum Failed {
    Input(std::io::Error),
    Broker(PublishError),
}

pub async fn run(args: Args) -> ExitCode {
    let endpoint = match args.target.endpoint() {
        Ok(endpoint) => endpoint,
        Err(error) => return usage_error(COMMAND, error),
    };
    let options = PublisherOptions {
        bounds: Bounds {
            bytes: args.buffer,
            ..Bounds::default()
        },
        keep: args.buffer,
        first_connect: Some(FIRST_CONNECT),
        notify: Box::new(tell),
        ..PublisherOptions::anonymous("pipe")
    };
    let publisher = Publisher::start(endpoint, &args.topic, options);
    let message_id = args
        .message_id
        .clone()
        .unwrap_or_else(|| format!("pipe-{}", random_id()));
    let copied = tokio::select! {
        copied = copy(&publisher, &args, &message_id, standard_input()) => copied,
        () = stop_signal() => return interrupted(publisher, &message_id).await,
    };
    match copied {
        Ok(()) => finished(publisher, &message_id).await,
        Err(Failed::Input(error)) => {
            say(COMMAND, format_args!("cannot read standard input: {error}"));
            publisher.publish_now(NewEvent::interrupted(&message_id, "error"));
            let _ = timeout(LEAVE, publisher.finish()).await;
            ExitCode::from(REFUSED)
        }
        Err(Failed::Broker(error)) => refused(&error),
    }
}

/// Publishes all of the input.
async fn copy(
    publisher: &Publisher,
    args: &Args,
    message_id: &str,
    mut input: mpsc::Receiver<std::io::Result<Vec<u8>>>,
) -> Result<(), Failed> {
    let publish = async |event| publisher.publish(event).await.map_err(Failed::Broker);
    let delta = |text: &str| NewEvent::delta(message_id, args.kind.into(), text);
    if let Some(role) = &args.role {
        publish(NewEvent::started(message_id, json!({ "role": role }))).await?;
    }
    let mut splitter = Utf8Splitter::default();
    loop {
        let read = tokio::select! {
            read = input.recv() => read,
            // a broker that says no is told at once, not with the next input
            error = publisher.failure() => return Err(Failed::Broker(error)),
        };
        let Some(bytes) = read else { break };
        let text = splitter.push(&bytes.map_err(Failed::Input)?);
        if !text.is_empty() {
            publish(delta(&text)).await?;
        }
    }
    let rest = splitter.finish();
    if !rest.is_empty() {
        publish(delta(rest)).await?;
    }
    publish(NewEvent::completed(message_id, Value::Null)).await
}

/// Everything is handed over: waits until the broker has it.
async fn finished(publisher: Publisher, message_id: &str) -> ExitCode {
    tokio::select! {
        flushed = publisher.flush() => if let Err(error) = flushed {
            return refused(&error);
        },
        () = stop_signal() => return interrupted(publisher, message_id).await,
    }
    match publisher.finish().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refused(&error),
    }
}

async fn interrupted(publisher: Publisher, message_id: &str) -> ExitCode {
    publisher.publish_now(NewEvent::interrupted(message_id, "cancelled"));
    let delivered = tokio::select! {
        delivered = timeout(LEAVE, publisher.finish()) => matches!(delivered, Ok(Ok(()))),
        () = stop_signal() => false,
    };
    if !delivered {
        say(COMMAND, "stopped before the broker had everything");
    }
    ExitCode::from(STOPPED)
}

fn refused(error: &PublishError) -> ExitCode {
    say(COMMAND, error);
    ExitCode::from(REFUSED)
}

fn tell(notice: Notice) {
    match notice {
        Notice::Disconnected { why, .. } => say(COMMAND, format_args!("{why}; trying again")),
        Notice::Back => say(COMMAND, "connected again"),
        Notice::Loss(Loss::Forgotten { bytes, missing: 0 }) => {
            say(
                COMMAND,
                format_args!(
                    "the broker had forgotten the message; its {bytes} bytes are published again"
                ),
            );
        }
        Notice::Loss(Loss::Forgotten { bytes, missing }) => say(
            COMMAND,
            format_args!(
                "the broker had forgotten the message; its last {bytes} bytes are published again, \
                 the {missing} before them were over --buffer and are gone"
            ),
        ),
        Notice::Loss(Loss::Replaced) => {
            say(
                COMMAND,
                "the topic was erased meanwhile; the end of the message will carry its whole text, if one event can hold it",
            );
        }
    }
}

/// Standard input, one read(2) at a time. The thread may stay in its last read when the process ends:
/// an async stdin would hold up the runtime there.
fn standard_input() -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => Ok(buffer[..length].to_vec()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// A number of bytes: `8MiB`, `512KiB`, `65536`.
fn parse_size(text: &str) -> Result<usize, String> {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor: usize = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("`{unit}` is no unit: write B, KiB, MiB or GiB")),
    };
    let bytes = number
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(factor));
    match bytes {
        Some(bytes) if bytes >= READ_BYTES => Ok(bytes),
        Some(_) => Err("at least 64KiB are needed".into()),
        None => Err("write a number of bytes, for example 8MiB".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("8MiB"), Ok(8 << 20));
        assert_eq!(parse_size("65536"), Ok(65536));
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        for bad in [
            "",
            "8",
            "8MB",
            "MiB",
            "-1MiB",
            "99999999999999999999",
            "1KiB",
        ] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
