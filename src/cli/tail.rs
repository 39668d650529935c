//! `tidewire tail TOPIC…`: what topics say, as JSON lines or as text that grows.
//!
//! It resumes by itself, from where it stood. A standard output that is closed ends it quietly.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::target::{
    FIRST_CONNECT, REFUSED, STOPPED, Target, output_closed, say, stop_signal, usage_error,
};
use crate::client::Position;
use crate::client::transcript::Transcript;
use crate::client::wire::Replay;
use crate::client::{Item, Subscriber, SubscriberOptions};

const COMMAND: &str = "tail";
/// For what was read and is not written yet, when it ends.
const LAST_LINES: Duration = Duration::from_millis(300);

/// Prints what topics say
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to read, for example /chat/demo
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// Where to begin: snapshot, live, start, last:N or a position (EPOCH:SEQ, EPOCH:SEQ~)
    #[arg(long, value_name = "FROM", default_value = "snapshot", value_parser = parse_from)]
    from: String,
    /// Prints the text of messages as it grows, instead of events
    #[arg(long)]
    text: bool,
    /// Only these types: a.b, a.* or *
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    types: Vec<String>,
    /// Joins deltas for so many milliseconds
    #[arg(long, value_name = "N")]
    coalesce_ms: Option<u32>,
    /// How the past is read: entry by entry, or one event for each message that ended
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "compact")]
    replay: Option<ReplayArg>,
    /// Prints a line with the position to resume from after each step, too
    #[arg(long, conflicts_with = "text")]
    positions: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum ReplayArg {
    Raw,
    Compact,
}

impl From<ReplayArg> for Replay {
    fn from(replay: ReplayArg) -> Self {
        match replay {
            ReplayArg::Raw => Self::Raw,
            ReplayArg::Compact => Self::Compact,
        }
    }
}

pub async fn run(args: Args) -> ExitCode {
    let endpoint = match args.target.endpoint() {
        Ok(endpoint) => endpoint,
        Err(error) => return usage_error(COMMAND, error),
    };
    if args.topics.len() > 1 && args.from.parse::<Position>().is_ok() {
        return usage_error(
            COMMAND,
            "--from: a position belongs to one topic; give one topic, or start, snapshot, last:N",
        );
    }
    let options = SubscriberOptions {
        topics: args
            .topics
            .iter()
            .map(|topic| (topic.clone(), args.from.clone()))
            .collect(),
        replay: args.replay.map(Into::into),
        coalesce_ms: args.coalesce_ms,
        types: args.types.clone(),
        first_connect: Some(FIRST_CONNECT),
    };
    let subscriber = Subscriber::new(endpoint, options);
    let view = if args.text {
        View::Text(Transcript::new(args.topics.len() > 1))
    } else {
        View::Lines(args.positions)
    };
    let (printer, printed) = Printer::start();
    let code = tokio::select! {
        code = read(subscriber, view, printer) => code,
        // that is how `tail … | head` ends
        () = output_closed() => return ExitCode::SUCCESS,
        () = stop_signal() => {
            say_good_bye(args.text);
            ExitCode::from(STOPPED)
        }
    };
    // the printer is gone with `read`; what it still holds is written, if anybody takes it
    let _ = timeout(LAST_LINES, printed).await;
    code
}

/// Leaves the terminal at the start of a line.
fn say_good_bye(text: bool) {
    if text && std::io::stdout().is_terminal() {
        let _ = writeln!(std::io::stderr());
    }
}

async fn read(mut subscriber: Subscriber, mut view: View, printer: Printer) -> ExitCode {
    let mut away = false;
    let mut refused = false;
    loop {
        let item = match subscriber.next().await {
            Ok(item) => item,
            Err(ending) => {
                say(COMMAND, ending);
                return ExitCode::from(REFUSED);
            }
        };
        match &item {
            Item::Disconnected { why, .. } if !std::mem::replace(&mut away, true) => {
                say(COMMAND, format_args!("{why}; trying again"));
            }
            Item::Subscribed { .. } if std::mem::take(&mut away) => say(COMMAND, "connected again"),
            Item::Refused { topic, problem } => {
                say(COMMAND, format_args!("{topic}: {problem}"));
                refused = true;
            }
            _ => {}
        }
        if !printer.print(view.show(&item)).await {
            return ExitCode::SUCCESS;
        }
        if refused && subscriber.topics() == 0 {
            return ExitCode::from(REFUSED);
        }
    }
}

/// Writes standard output in a thread of its own, so that a reader who does not read (a pager) holds up
/// the reading of the topic, but not the answer to a signal. Bound: two texts of one step each. Held up
/// for long, the broker closes the connection (4408), and reading goes on from the position later.
struct Printer(mpsc::Sender<String>);

impl Printer {
    /// The receiver learns when all is written, after the printer is dropped.
    fn start() -> (Self, oneshot::Receiver<()>) {
        let (texts, mut to_print) = mpsc::channel::<String>(1);
        let (done, printed) = oneshot::channel();
        std::thread::spawn(move || {
            while let Some(text) = to_print.blocking_recv() {
                let mut out = std::io::stdout().lock();
                if out
                    .write_all(text.as_bytes())
                    .and_then(|()| out.flush())
                    .is_err()
                {
                    break;
                }
            }
            let _ = done.send(());
        });
        (Self(texts), printed)
    }

    /// False: nobody reads any more.
    async fn print(&self, text: String) -> bool {
        text.is_empty() || self.0.send(text).await.is_ok()
    }
}

/// How it is shown.
enum View {
    Text(Transcript),
    /// JSON lines; with positions or not.
    Lines(bool),
}

impl View {
    fn show(&mut self, item: &Item) -> String {
        match self {
            Self::Text(transcript) => show_text(transcript, item),
            Self::Lines(positions) => show_lines(item, *positions),
        }
    }
}

fn show_text(transcript: &mut Transcript, item: &Item) -> String {
    match item {
        Item::Events {
            topic,
            events,
            position,
        } => {
            let output = transcript.events(topic, events, position);
            for note in output.notes {
                say(COMMAND, note);
            }
            output.text
        }
        Item::Gap { gap, .. } => {
            say(
                COMMAND,
                format_args!(
                    "{}: events {} to {} are gone ({})",
                    gap.topic, gap.from, gap.to, gap.reason
                ),
            );
            transcript.gap(&gap.topic);
            String::new()
        }
        Item::Reset { reset, .. } => {
            say(
                COMMAND,
                format_args!("{}: the topic begins anew ({})", reset.topic, reset.reason),
            );
            transcript.reset(&reset.topic);
            String::new()
        }
        Item::Subscribed { .. } | Item::Refused { .. } | Item::Disconnected { .. } => String::new(),
    }
}

fn show_lines(item: &Item, positions: bool) -> String {
    let mut lines = String::new();
    let mut line = |line: &str| {
        lines.push_str(line);
        lines.push('\n');
    };
    let (topic, position) = match item {
        Item::Events {
            topic,
            events,
            position,
        } => {
            events
                .iter()
                .for_each(|event| line(&event.with_topic(topic)));
            (topic, Some(position))
        }
        Item::Gap { gap, position } => {
            let gap_line = json!({"type": "tidewire.gap", "topic": gap.topic, "from": gap.from, "to": gap.to, "reason": gap.reason});
            line(&gap_line.to_string());
            (&gap.topic, Some(position))
        }
        Item::Reset { reset, position } => {
            let epoch = reset.epoch.as_str();
            line(&json!({"type": "tidewire.reset", "topic": reset.topic, "epoch": epoch, "reason": reset.reason}).to_string());
            (&reset.topic, Some(position))
        }
        Item::Subscribed {
            topic, position, ..
        } => (topic, position.as_ref()),
        Item::Refused { .. } | Item::Disconnected { .. } => return lines,
    };
    if let Some(position) = position.filter(|_| positions) {
        line(
            &json!({"type": "tidewire.position", "topic": topic, "position": position.to_string()})
                .to_string(),
        );
    }
    lines
}

fn parse_from(text: &str) -> Result<String, String> {
    let named = matches!(text, "snapshot" | "live" | "start");
    let last = text
        .strip_prefix("last:")
        .is_some_and(|n| n.parse::<u64>().is_ok());
    if named || last {
        return Ok(text.into());
    }
    match text.parse::<Position>() {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(format!(
            "write snapshot, live, start, last:N or a position ({error})"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Event;

    #[test]
    fn where_to_begin() {
        for good in [
            "snapshot",
            "live",
            "start",
            "last:5",
            "aaaaaaaa:0",
            "aaaaaaaa:17~",
        ] {
            assert_eq!(parse_from(good).as_deref(), Ok(good));
        }
        for bad in ["", "now", "last:", "last:x", "aaaa:1", "17"] {
            assert!(parse_from(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_line_for_each_event() {
        let raw = |text: &str| serde_json::value::RawValue::from_string(text.into()).expect("json");
        let events = vec![
            Event::parse(raw(r#"{"seq":1,"type":"a.b","data":1}"#)).expect("an event"),
            Event::parse(raw("{\"seq\":2,\"type\":\"a.b\",\"data\":[\n2]}")).expect("an event"),
        ];
        let position: Position = "aaaaaaaa:2".parse().expect("a position");
        let item = Item::Events {
            topic: "/a/b".into(),
            events,
            position,
        };
        let plain = "{\"topic\":\"/a/b\",\"seq\":1,\"type\":\"a.b\",\"data\":1}\n{\"topic\":\"/a/b\",\"seq\":2,\"type\":\"a.b\",\"data\":[ 2]}\n";
        assert_eq!(show_lines(&item, false), plain);
        assert!(
            show_lines(&item, true)
                .ends_with("\"aaaaaaaa:2\",\"topic\":\"/a/b\",\"type\":\"tidewire.position\"}\n")
        );
    }
}
