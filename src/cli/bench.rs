//! `tidewire bench SCENARIO`: load, as users of a broker would bring it, and what becomes of it.
//!
//! The generator is one thread with raw sockets, so that it saturates later than what it measures. Every event carries
//! when it was due and its number: whoever reads counts exactly what came, came twice, came late, or never came.
//! See docs/bench.md.

mod clock;
mod content;
mod decode;
mod failure;
mod http;
mod line;
mod marker;
mod options;
mod peer;
mod process;
mod progress;
mod publisher;
mod reader;
mod report;
mod run;
mod scenario;
mod schedule;
mod service;
mod tally;
mod templates;
mod window;

use std::io::Write as _;
use std::process::ExitCode;
use std::rc::Rc;

use serde_json::{Value, json};

use super::target::{STOPPED, say, stop_signal};
use failure::Failure;
use options::Common;
use report::{Ended, rounded};
use run::{Run, Size};
use scenario::flow::{FanoutArgs, StreamsArgs};
use scenario::users::{SpikeArgs, SustainArgs};
use scenario::{flow, idle, join, publish, resume, stalled, stress, users};

const COMMAND: &str = "bench";
/// Something that was acknowledged was lost, repeated or out of order.
const BROKEN: u8 = 3;
/// Files that a process has open besides.
const FILES_BESIDE: u64 = 64;

/// Measures a running broker
#[derive(clap::Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit status: 0 everything that the broker acknowledged came once and in order; 1 it could not be \
                  run, or ended early; 2 the command was given wrongly; 3 events were lost, repeated or out of order; \
                  130 it was stopped. What was measured until then is printed in any case."
)]
pub struct Args {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(clap::Subcommand, Debug)]
enum Scenario {
    Fanout(FanoutArgs),
    Streams(StreamsArgs),
    Publish(publish::Args),
    Resume(resume::Args),
    Stalled(stalled::Args),
    Join(join::Args),
    Idle(idle::Args),
    Spike(SpikeArgs),
    Sustain(SustainArgs),
    Stress(stress::Args),
}

pub async fn run(args: Args) -> ExitCode {
    let scenario = &args.scenario;
    let common = scenario.common();
    let run = match scenario.prepare().await {
        Ok(run) => Rc::new(run),
        Err(failure) => {
            say(COMMAND, &failure);
            return ExitCode::from(failure.code());
        }
    };
    let measuring = async {
        service::probe(&run).await?;
        scenario.measure(&run).await
    };
    let (ended, code) = tokio::select! {
        done = measuring => match done {
            Ok(()) => (Ended::Done, 0),
            Err(failure) => (Ended::Failed(failure.to_string()), failure.code()),
        },
        failure = run.failed() => (Ended::Failed(failure.to_string()), failure.code()),
        () = stop_signal() => (Ended::Stopped, STOPPED),
        () = progress::show(&run, scenario.name(), common.quiet) => (Ended::Done, 0),
    };
    progress::clear(common.quiet);
    if let Ended::Failed(why) = &ended {
        say(COMMAND, why);
    }
    let outcome = report::outcome(&run, scenario.name(), &ended);
    let text = match common.json {
        true => format!("{}\n", outcome.json),
        false => outcome.table,
    };
    // whoever reads no more has what they wanted
    let _ = std::io::stdout().write_all(text.as_bytes());
    if matches!(ended, Ended::Done) {
        service::erase(&run).await;
    }
    match outcome.is_kept {
        Some(false) => ExitCode::from(BROKEN),
        _ => ExitCode::from(code),
    }
}

impl Scenario {
    fn name(&self) -> &'static str {
        match self {
            Self::Fanout(_) => "fanout",
            Self::Streams(_) => "streams",
            Self::Publish(_) => "publish",
            Self::Resume(_) => "resume",
            Self::Stalled(_) => "stalled",
            Self::Join(_) => "join",
            Self::Idle(_) => "idle",
            Self::Spike(_) => "spike",
            Self::Sustain(_) => "sustain",
            Self::Stress(_) => "stress",
        }
    }

    fn common(&self) -> &Common {
        match self {
            Self::Fanout(args) => &args.common,
            Self::Streams(args) => &args.common,
            Self::Publish(args) => &args.common,
            Self::Resume(args) => &args.common,
            Self::Stalled(args) => &args.common,
            Self::Join(args) => &args.common,
            Self::Idle(args) => &args.common,
            Self::Spike(args) => &args.common,
            Self::Sustain(args) => &args.common,
            Self::Stress(args) => &args.common,
        }
    }

    fn size(&self) -> Size {
        match self {
            Self::Fanout(args) => args.size(),
            Self::Streams(args) => args.size(),
            Self::Publish(args) => args.size(),
            Self::Resume(args) => args.size(),
            Self::Stalled(args) => args.size(),
            Self::Join(args) => args.size(),
            Self::Idle(args) => args.size(),
            Self::Spike(args) => args.size(),
            Self::Sustain(args) => args.size(),
            Self::Stress(args) => args.size(),
        }
    }

    /// Numbers that say how much is asked for, by option.
    fn numbers(&self) -> Vec<(&'static str, f64)> {
        let time = |time: &flow::Time| {
            [
                ("seconds", time.seconds),
                ("warm_up", time.warm_up),
                ("publishers", time.publishers as f64),
            ]
        };
        let mut numbers = Vec::new();
        match self {
            Self::Fanout(args) => {
                numbers.extend([("rate", args.rate), ("burst", args.burst as f64)]);
                numbers.extend(time(&args.time));
            }
            Self::Streams(args) => {
                let tokens = args.answer_tokens as f64;
                numbers.extend([("rate", args.rate), ("answer_tokens", tokens)]);
                numbers.extend(time(&args.time));
            }
            Self::Publish(args) => {
                numbers.extend([("burst", args.burst as f64), ("total_rate", args.rate)]);
                numbers.extend(time(&args.time));
            }
            Self::Resume(args) => numbers.push(("missed", args.missed as f64)),
            Self::Stalled(args) => {
                numbers.extend([("rate", args.rate), ("share", args.share)]);
                numbers.extend(time(&args.time));
            }
            Self::Join(args) => {
                numbers.extend([("tokens", args.tokens as f64), ("rate", args.rate)])
            }
            Self::Idle(args) => numbers.push(("seconds", args.seconds)),
            Self::Spike(args) => numbers.extend([
                ("users", args.users as f64),
                ("rate", args.rate),
                ("calm", args.calm),
                ("ramp", args.ramp),
                ("hold", args.hold),
            ]),
            Self::Sustain(args) => numbers.extend([
                ("total_rate", args.rate),
                ("churn", args.churn),
                ("seconds", args.seconds),
            ]),
            Self::Stress(args) => numbers.extend([
                ("rate", args.rate),
                ("factor", args.factor),
                ("step", args.step),
                ("publishers", args.publishers as f64),
            ]),
        }
        numbers
    }

    /// Looks whether it can be done, and with whom.
    async fn prepare(&self) -> Result<Run, Failure> {
        let size = self.size();
        let numbers = self.numbers();
        check(&size, &numbers)?;
        let common = self.common();
        if let Some(pid) = common
            .pids
            .iter()
            .find(|&&pid| process::rss_kib(pid).is_none())
        {
            return Err(Failure::Asked(format!(
                "--pid {pid}: there is no such process on this machine"
            )));
        }
        let publishers = match self {
            Self::Spike(_) | Self::Sustain(_) => size.readers,
            _ => 128,
        };
        let wanted = (size.readers + publishers) as u64 + FILES_BESIDE;
        let files = crate::ops::process::raise_descriptor_limit();
        if files < wanted {
            return Err(Failure::Asked(format!(
                "{wanted} connections are wanted and this process may have {files} files open: ask for less, or \
                 raise the limit (ulimit -n)"
            )));
        }
        let run = Run::new(common.peer().await?, size, common.pids.clone());
        run.report.borrow_mut().settings = settings(&run, &numbers, common);
        Ok(run)
    }

    async fn measure(&self, run: &Rc<Run>) -> Result<(), Failure> {
        match self {
            Self::Fanout(args) => {
                flow::run(run, args.pace(), &args.time, args.common.connect_at_once).await
            }
            Self::Streams(args) => {
                flow::run(run, args.pace(), &args.time, args.common.connect_at_once).await
            }
            Self::Publish(args) => publish::run(run, args).await,
            Self::Resume(args) => resume::run(run, args).await,
            Self::Stalled(args) => stalled::run(run, args).await,
            Self::Join(args) => join::run(run, args).await,
            Self::Idle(args) => idle::run(run, args).await,
            Self::Spike(args) => users::spike(run, args).await,
            Self::Sustain(args) => users::sustain(run, args).await,
            Self::Stress(args) => stress::run(run, args).await,
        }
    }
}

fn check(size: &Size, numbers: &[(&'static str, f64)]) -> Result<(), Failure> {
    let asked = |problem: String| Err(Failure::Asked(problem));
    if size.topics == 0 || size.topics > marker::MAX_TOPICS {
        return asked(format!("--topics: from 1 to {}", marker::MAX_TOPICS));
    }
    if size.per_reader == 0 || size.per_reader > size.topics {
        return asked("--topics-per-reader: at least 1, and not more than there are topics".into());
    }
    for &(name, value) in numbers {
        let may_be_zero = matches!(
            name,
            "warm_up" | "total_rate" | "churn" | "calm" | "hold" | "share" | "users"
        );
        if !value.is_finite() || value < 0.0 || (value == 0.0 && !may_be_zero) {
            let name = name.replace("total_", "").replace('_', "-");
            return asked(format!("--{name}: {value} makes no sense here"));
        }
    }
    Ok(())
}

fn settings(
    run: &Run,
    numbers: &[(&'static str, f64)],
    common: &Common,
) -> Vec<(&'static str, Value)> {
    let size = &run.size;
    let mut settings = vec![
        ("readers", json!(size.readers)),
        ("topics", json!(size.topics)),
        ("topics_per_reader", json!(size.per_reader)),
        ("text_bytes", json!(size.text_bytes)),
    ];
    if let Some(coalesce_ms) = common.coalesce_ms {
        settings.push(("coalesce_ms", json!(coalesce_ms)));
    }
    settings.extend(numbers.iter().map(|&(name, value)| {
        let value = match value.fract() == 0.0 {
            true => json!(value as u64),
            false => rounded(value),
        };
        (name, value)
    }));
    settings
}
