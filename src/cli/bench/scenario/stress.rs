//! `stress`: the load is raised step by step until the broker is saturated, and once more beyond that. Refusals are
//! counted, not fatal; what was acknowledged has to be there; then it is seen how soon the broker is itself again.

use std::rc::Rc;

use super::{BEFORE_THE_FIRST_US, Crew, Pace, Publishing, us};
use crate::cli::bench::content::Shape;
use crate::cli::bench::failure::Failure;
use crate::cli::bench::options::Common;
use crate::cli::bench::peer::From;
use crate::cli::bench::publisher::By;
use crate::cli::bench::reader::Order;
use crate::cli::bench::report::{ms, rounded};
use crate::cli::bench::run::{Run, Size};

/// More and more, until it is too much, and then less
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Topics
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub topics: usize,
    /// Readers of each topic
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub readers_per_topic: usize,
    /// Events a second in all, to begin with
    #[arg(long, value_name = "N", default_value_t = 2000.0)]
    pub rate: f64,
    /// Each step is so many times the one before
    #[arg(long, value_name = "X", default_value_t = 2.0)]
    pub factor: f64,
    /// How long a step takes
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub step: f64,
    /// Not more steps than this
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub max_steps: usize,
    /// A step whose slowest hundredth waits longer than this is beyond saturation
    #[arg(long, value_name = "MS", default_value_t = 500.0)]
    pub slow_ms: f64,
    /// Connections that publish
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub publishers: usize,
    #[command(flatten)]
    pub common: Common,
}

/// A step that got less than this share of what was due through is beyond saturation.
const ENOUGH: f64 = 0.95;
/// Who uses more than this of a core, is busy.
const BUSY: f64 = 0.9;
/// A broker that uses less than this of a core while it is too slow waits for something else.
const WAITING: f64 = 0.5;

impl Args {
    pub fn size(&self) -> Size {
        Size {
            readers: self.topics * self.readers_per_topic,
            topics: self.topics,
            per_reader: 1,
            text_bytes: self.common.text_bytes,
            shape: Shape::Plain,
        }
    }
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Carried,
    Saturated,
    /// This program cannot do more.
    GeneratorBusy,
    /// Both had time to spare.
    BothWaited,
}

pub async fn run(run: &Rc<Run>, args: &Args) -> Result<(), Failure> {
    let readers = 0..run.size.readers;
    let mut crew = Crew::default();
    let at_once = args.common.connect_at_once;
    crew.open(run, readers.clone(), at_once, |_| From::Live, |_| false)
        .await?;
    run.bears_refusals.set(true);
    let (mut rate, mut carried, mut limit) = (args.rate, 0.0, "not_reached");
    for _ in 0..args.max_steps {
        match step(run, args, rate, None).await? {
            Step::Carried => carried = rate,
            Step::Saturated if limit == "broker" => break,
            // once more, beyond it
            Step::Saturated => limit = "broker",
            Step::GeneratorBusy => limit = "generator",
            Step::BothWaited => limit = "neither",
        }
        if matches!(limit, "generator" | "neither") {
            break;
        }
        rate *= args.factor;
    }
    let end = run.now_us().min(run.publish_until_us.get());
    run.settle(readers.clone()).await;
    run.figure("carried_events_per_s", rounded(carried));
    run.figure("limited_by", limit);
    if limit == "neither" {
        run.report.borrow_mut().warnings.push(
            "neither the broker nor this generator was busy when it became slow: the machine has other work, or the \
             network or a disk was waited for"
                .into(),
        );
    }
    run.figure("caught_up_after_ms", ms(run.now_us() - end));
    step(run, args, args.rate, Some("afterwards")).await?;
    run.settle(readers).await;
    run.is_settled.set(true);
    crew.all_go(Order::Leave).await;
    Ok(())
}

async fn step(run: &Rc<Run>, args: &Args, rate: f64, name: Option<&str>) -> Result<Step, Failure> {
    let pace = Pace {
        by: args.common.by(By::Ws),
        publishers: args.publishers,
        in_flight: usize::MAX,
        rate: rate / args.topics as f64,
        burst: 1,
    };
    let begin = run.now_us() + BEFORE_THE_FIRST_US;
    let end = begin + us(args.step);
    let refused_before: u64 = run.refusals.borrow().values().sum();
    // what was due and not sent by then is not sent at all
    run.publish_until_us.set(end);
    let publishing = Publishing::start(run, &pace, args.topics, (begin, end));
    run.until(begin).await;
    let name = name.map_or_else(|| format!("{rate:.0}/s"), str::to_owned);
    run.open_window(&name);
    run.until(end).await;
    run.close_window();
    publishing.done().await;
    let refused: u64 = run.refusals.borrow().values().sum();
    let windows = run.windows.borrow();
    let Some(window) = windows.last() else {
        return Ok(Step::Carried);
    };
    let (first, last) = (window.begin, window.end.unwrap_or(window.begin));
    let carried = (last.accepted - first.accepted) as f64 / (rate * args.step);
    let broker_cpu = (last.broker_cpu_s - first.broker_cpu_s) / args.step;
    let own_cpu = (last.own_cpu_s - first.own_cpu_s) / args.step;
    let latencies = [&window.latency, &window.acknowledged];
    let slowest = latencies.map(|histogram| histogram.value_at_quantile(0.99));
    let is_slow = slowest
        .iter()
        .any(|&p99| p99 as f64 > args.slow_ms * 1000.0);
    Ok(
        match carried < ENOUGH || is_slow || refused > refused_before {
            false => Step::Carried,
            true if own_cpu > BUSY => Step::GeneratorBusy,
            true if !run.pids.is_empty() && broker_cpu < WAITING => Step::BothWaited,
            true => Step::Saturated,
        },
    )
}
