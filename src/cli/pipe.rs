//! `tidewire pipe TOPIC`: what a program prints, as it comes, becomes one message of a topic; and what the
//! topic's clients say to its agents (`run.cancel`) comes back to the program.
//!
//! Invariants: no character is lost or doubled, whatever happens to the line or the broker; input is
//! never waited for beyond one read(2); memory is bounded by twice `--buffer` (text that is not
//! acknowledged, and text that is, kept for a broker that forgets) plus two reads. A message that was begun
//! is ended: by this side, or, if it dies, by the broker when the lease is over.
//!
//! A broker that restarts on the memory engine has forgotten the topic. Its readers see a `reset`;
//! this side learns it from `producer_unknown`, raises its epoch and publishes the message again from
//! its beginning: everything acknowledged so far as first deltas, then what is outstanding. Text over
//! `--buffer` is not kept; what is missing at the beginning then is told on standard error.

mod input;
mod order;
mod program;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::target::{FIRST_CONNECT, REFUSED, STOPPED, StopSignals, Target, say, usage_error};
use crate::client::attachment::LEASES;
use crate::client::publisher::{Notice, PublishError, random_id};
use crate::client::utf8::Utf8Splitter;
use crate::client::window::{Bounds, Loss, Producer};
use crate::client::{Attachment, NewEvent, Publisher, PublisherOptions, TextKind};
use input::READ_BYTES;
use order::Order;
use program::Program;

/// When it has to leave: for delivering what is outstanding and the last word.
const LEAVE: Duration = Duration::from_secs(3);
/// How long a program that was asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// For how much of that what it still prints belongs to the message.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// As whom it speaks.
const COMMAND: &str = "pipe";

/// Publishes standard input, or what a program prints, as it comes, as one message
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Stopping: a client that publishes `run.cancel` on the topic (with this message's `message_id`, or without one) \
stops it like Ctrl-C: the message is interrupted, and the exit code is 130.

With `-- PROGRAM` that program and all it started get SIGTERM then, and SIGKILL after 3 s; if it fails by \
itself, the message is interrupted and the exit code is the program's. In a pipeline (`PROGRAM | tidewire \
pipe TOPIC`) it learns of a stop when it next prints; the same holds for a pipe that is killed with SIGKILL.\n\n\
The program cannot read from a terminal: its standard input ends at once there. Give it a file or a pipe.")]
pub struct Args {
    /// Where to publish, for example /chat/demo
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Start this program and publish what it prints, instead of standard input
    #[arg(last = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
    /// The message's id [default: a new one]
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Announces the message with `message.started` and this role, for example assistant
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// What kind of text it is
    #[arg(long, value_enum, default_value = "text")]
    kind: Kind,
    /// As which agent to publish; a later run with the same id takes over from this one [default: a new one]
    #[arg(long, value_name = "ID")]
    producer_id: Option<String>,
    /// How long the line may be down, or this process dead, before the broker interrupts the message: 1s to 10m
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = parse_lease)]
    lease: Duration,
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

/// Why nothing more is read.
enum Stop {
    EndOfInput,
    /// By a client or a signal.
    Cancelled,
    Input(std::io::Error),
    Broker(PublishError),
}

impl From<PublishError> for Stop {
    fn from(error: PublishError) -> Self {
        Self::Broker(error)
    }
}

type Input = mpsc::Receiver<std::io::Result<Vec<u8>>>;

pub async fn run(args: Args) -> ExitCode {
    let endpoint = match args.target.endpoint() {
        Ok(endpoint) => endpoint,
        Err(error) => return usage_error(COMMAND, error),
    };
    let signals = match StopSignals::hear() {
        Ok(signals) => signals,
        Err(error) => {
            say(COMMAND, format_args!("signals cannot be heard: {error}"));
            return ExitCode::from(REFUSED);
        }
    };
    let anonymous = PublisherOptions::anonymous("pipe");
    let options = PublisherOptions {
        producer: match args.producer_id {
            Some(id) => Producer { id, epoch: 1 },
            None => anonymous.producer,
        },
        attach: Some(Attachment {
            lease: args.lease,
            ..Attachment::controlled_by(&args.topic)
        }),
        bounds: Bounds {
            bytes: args.buffer,
            ..Bounds::default()
        },
        keep: args.buffer,
        first_connect: Some(FIRST_CONNECT),
        notify: Box::new(tell),
    };
    let publisher = Publisher::start(endpoint, &args.topic, options);
    let message_id = args
        .message_id
        .unwrap_or_else(|| format!("pipe-{}", random_id()));
    let orders = Orders {
        publisher: &publisher,
        message_id: message_id.clone(),
        started: SystemTime::now(),
        signals,
    };
    let begin = |role| NewEvent::started(&message_id, json!({ "role": role }));
    let speech = Speech {
        publisher: &publisher,
        pending: args.role.map(begin),
        message_id: message_id.clone(),
        kind: args.kind.into(),
        splitter: Utf8Splitter::default(),
    };
    if args.program.is_empty() {
        copy_input(speech, orders, input::read(std::io::stdin())).await
    } else {
        run_program(speech, orders, &args.program).await
    }
}

async fn copy_input(mut speech: Speech<'_>, mut orders: Orders<'_>, mut input: Input) -> ExitCode {
    match orders.or(speech.copy(&mut input)).await {
        Stop::EndOfInput => speech.complete(&mut orders).await,
        Stop::Cancelled => {
            speech.interrupt("cancelled");
            leave(
                speech.publisher,
                &mut orders.signals,
                ExitCode::from(STOPPED),
            )
            .await
        }
        Stop::Input(error) => {
            say(COMMAND, format_args!("cannot read standard input: {error}"));
            speech.interrupt("error");
            leave(
                speech.publisher,
                &mut orders.signals,
                ExitCode::from(REFUSED),
            )
            .await
        }
        Stop::Broker(error) => refused(&error),
    }
}

async fn run_program(
    mut speech: Speech<'_>,
    mut orders: Orders<'_>,
    words: &[OsString],
) -> ExitCode {
    // nothing is begun that nobody could hear
    let ready = async {
        speech
            .publisher
            .ready()
            .await
            .map_or_else(Stop::Broker, |()| Stop::EndOfInput)
    };
    match orders.or(ready).await {
        Stop::Broker(error) => return refused(&error),
        Stop::Cancelled => return ExitCode::from(STOPPED),
        Stop::EndOfInput | Stop::Input(_) => {}
    }
    let (mut program, output) = match Program::start(words) {
        Ok(started) => started,
        Err(error) => {
            let name = words
                .first()
                .map(|name| name.to_string_lossy())
                .unwrap_or_default();
            say(COMMAND, format_args!("cannot start {name}: {error}"));
            return ExitCode::from(program::exit_code_of_no_start(&error));
        }
    };
    let mut input = input::read(output);
    let mut stop = orders.or(speech.copy(&mut input)).await;
    if matches!(stop, Stop::EndOfInput) {
        let ended = tokio::select! {
            biased;
            stopped = orders.stop() => Err(stopped),
            status = program.ended() => status.map_err(Stop::Input),
        };
        stop = match ended {
            Ok(status) if status.success() => return speech.complete(&mut orders).await,
            Ok(status) => {
                say(COMMAND, format_args!("the program failed ({status})"));
                speech.interrupt("error");
                let code = ExitCode::from(program::exit_code(status));
                return leave(speech.publisher, &mut orders.signals, code).await;
            }
            Err(stop) => stop,
        };
    }
    program.terminate();
    let code = match stop {
        Stop::EndOfInput | Stop::Cancelled => {
            // what it had printed is in the pipe still
            let _ = timeout(LAST_WORDS, speech.copy(&mut input)).await;
            speech.interrupt("cancelled");
            STOPPED
        }
        Stop::Input(error) => {
            say(
                COMMAND,
                format_args!("cannot read the program's output: {error}"),
            );
            speech.interrupt("error");
            REFUSED
        }
        Stop::Broker(error) => {
            say_refused(&error);
            REFUSED
        }
    };
    drop(input);
    let left = async {
        let leaving = timeout(LEAVE, speech.publisher.finish());
        let (delivered, ()) = tokio::join!(leaving, program.end(GRACE));
        matches!(delivered, Ok(Ok(())))
    };
    let delivered = tokio::select! {
        delivered = left => delivered,
        () = orders.signals.next() => false,
    };
    program.kill();
    if !delivered && code == STOPPED {
        say(COMMAND, NOT_DELIVERED);
    }
    ExitCode::from(code)
}

/// The one message, as far as it is handed over.
struct Speech<'a> {
    publisher: &'a Publisher,
    message_id: String,
    kind: TextKind,
    splitter: Utf8Splitter,
    /// Was read, and waits for room.
    pending: Option<NewEvent>,
}

impl Speech<'_> {
    /// Publishes all of the input. Dropped while it waits, it has lost nothing of what was read.
    async fn copy(&mut self, input: &mut Input) -> Stop {
        self.copy_all(input)
            .await
            .map_or_else(|stop| stop, |()| Stop::EndOfInput)
    }

    async fn copy_all(&mut self, input: &mut Input) -> Result<(), Stop> {
        self.hand_over().await?;
        while let Some(read) = input.recv().await {
            let text = self.splitter.push(&read.map_err(Stop::Input)?);
            self.say(text).await?;
        }
        let rest = self.splitter.finish();
        Ok(self.say(rest.into()).await?)
    }

    async fn say(&mut self, text: String) -> Result<(), PublishError> {
        if text.is_empty() {
            return Ok(());
        }
        self.pending = Some(NewEvent::delta(&self.message_id, self.kind, text));
        self.hand_over().await
    }

    async fn hand_over(&mut self) -> Result<(), PublishError> {
        if self.pending.is_some() {
            self.publisher.room().await?;
        }
        if let Some(event) = self.pending.take() {
            self.publisher.publish_now(event);
        }
        Ok(())
    }

    /// The last word of a message that is not complete.
    fn interrupt(&mut self, reason: &str) {
        if let Some(event) = self.pending.take() {
            self.publisher.publish_now(event);
        }
        self.publisher
            .publish_now(NewEvent::interrupted(&self.message_id, reason));
    }

    /// Ends the message well and waits until the broker has it all.
    async fn complete(self, orders: &mut Orders<'_>) -> ExitCode {
        let end = NewEvent::completed(&self.message_id, Value::Null);
        self.publisher.publish_now(end);
        tokio::select! {
            finished = self.publisher.finish() => match finished {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => refused(&error),
            },
            () = orders.signals.next() => {
                leave(self.publisher, &mut orders.signals, ExitCode::from(STOPPED)).await
            }
        }
    }
}

/// What can stop it from outside: signals, clients, the broker.
struct Orders<'a> {
    publisher: &'a Publisher,
    message_id: String,
    started: SystemTime,
    signals: StopSignals,
}

impl Orders<'_> {
    /// Whatever comes first: the end of `work`, or a stop.
    async fn or(&mut self, work: impl Future<Output = Stop>) -> Stop {
        tokio::select! {
            biased;
            stop = self.stop() => stop,
            stop = work => stop,
        }
    }

    async fn stop(&mut self) -> Stop {
        let Self {
            publisher,
            message_id,
            started,
            signals,
        } = self;
        tokio::select! {
            biased;
            () = signals.next() => Stop::Cancelled,
            told = cancelled(publisher, message_id, *started) => {
                told.map_or_else(Stop::Broker, |()| Stop::Cancelled)
            }
        }
    }
}

/// Returns when a client cancels the message.
async fn cancelled(
    publisher: &Publisher,
    message_id: &str,
    started: SystemTime,
) -> Result<(), PublishError> {
    loop {
        let event = publisher.control().await?;
        match order::order(&event, message_id, started) {
            Order::Cancel => {
                publisher.acknowledge(&event);
                return Ok(());
            }
            Order::NotForPrograms { mine } => {
                let name = event.event.name();
                say(
                    COMMAND,
                    format_args!("a client sent {name}, which a program's output cannot follow"),
                );
                if mine {
                    publisher.acknowledge(&event);
                }
            }
            Order::Leave => {}
        }
    }
}

const NOT_DELIVERED: &str = "stopped before the broker had everything";

/// Gives what is outstanding, the last word with it, a little time.
async fn leave(publisher: &Publisher, signals: &mut StopSignals, code: ExitCode) -> ExitCode {
    let delivered = tokio::select! {
        delivered = timeout(LEAVE, publisher.finish()) => matches!(delivered, Ok(Ok(()))),
        () = signals.next() => false,
    };
    if !delivered {
        say(COMMAND, NOT_DELIVERED);
    }
    code
}

fn refused(error: &PublishError) -> ExitCode {
    say_refused(error);
    ExitCode::from(REFUSED)
}

fn say_refused(error: &PublishError) {
    say(COMMAND, error);
    if let PublishError::Refused(problem) = error
        && problem.code == "message_ended"
    {
        say(
            COMMAND,
            "the broker ends a message when the line is down for longer than --lease",
        );
    }
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

/// A lease: `15s`, `1500ms`, `2m`, or a number of seconds.
fn parse_lease(text: &str) -> Result<Duration, String> {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit_ms = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        _ => return Err(format!("`{unit}` is no unit: write ms, s or m")),
    };
    let lease = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms))
        .map(Duration::from_millis);
    match lease {
        Some(lease) if LEASES.contains(&lease) => Ok(lease),
        Some(_) => Err("a lease is from 1s to 10m".into()),
        None => Err("write a duration, for example 15s".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_in_seconds_unless_it_says_something_else() {
        assert_eq!(parse_lease("15"), Ok(Duration::from_secs(15)));
        assert_eq!(parse_lease("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_lease("10m"), Ok(Duration::from_secs(600)));
        for bad in ["", "s", "999ms", "11m", "601", "1h", "1.5s", "-1s"] {
            assert!(parse_lease(bad).is_err(), "{bad}");
        }
    }

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
