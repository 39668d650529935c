//! `stalled`: what readers that take nothing cost the others. Two spans with the same connections and the same
//! load: all read; a share takes nothing. Then those that are behind catch up, and have to have everything.

use std::rc::Rc;

use super::flow::Time;
use super::{BEFORE_THE_FIRST_US, Crew, Pace, Publishing, us};
use crate::cli::bench::content::Shape;
use crate::cli::bench::failure::Failure;
use crate::cli::bench::options::Common;
use crate::cli::bench::peer::From;
use crate::cli::bench::publisher::By;
use crate::cli::bench::reader::Order;
use crate::cli::bench::report::{ms, rounded};
use crate::cli::bench::run::{Run, Size};
use crate::cli::bench::service::log_bytes;

/// What readers that take nothing cost the others
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Topics
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub topics: usize,
    /// Readers of each topic
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub readers_per_topic: usize,
    /// The share of the readers that stalls, from 0 to 1
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    pub share: f64,
    /// Events a second for each topic
    #[arg(long, value_name = "N", default_value_t = 25.0)]
    pub rate: f64,
    #[command(flatten)]
    pub time: Time,
    #[command(flatten)]
    pub common: Common,
}

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

pub async fn run(run: &Rc<Run>, args: &Args) -> Result<(), Failure> {
    let all = run.size.readers;
    let stalled = (all as f64 * args.share.clamp(0.0, 1.0)) as usize;
    let mut crew = Crew::default();
    let at_once = args.common.connect_at_once;
    let took = crew
        .open(run, 0..all, at_once, |_| From::Live, |id| id < stalled)
        .await?;
    run.figure("connect_ms", ms(took));
    run.figure("readers_stalled", stalled);
    let pace = Pace {
        by: args.common.by(By::Ws),
        publishers: args.time.publishers,
        in_flight: usize::MAX,
        rate: args.rate,
        burst: 1,
    };
    let begin = run.now_us() + BEFORE_THE_FIRST_US;
    let all_read = begin + us(args.time.warm_up);
    let some_stall = all_read + us(args.time.seconds);
    let end = some_stall + us(args.time.seconds);
    let publishing = Publishing::start(run, &pace, run.size.topics, (begin, end));
    run.until(all_read).await;
    run.open_window("all read");
    run.until(some_stall).await;
    run.close_window();
    let before = memory(run).await;
    crew.order(0..stalled, Order::Hold);
    run.open_window("some stall");
    run.until(end).await;
    run.close_window();
    let during = memory(run).await;
    publishing.done().await;
    // those that never stalled have theirs first
    run.settle(stalled..all).await;
    let left = run.now_us();
    // their catching up is late by intention: it counts as deliveries, not as latency of the span before
    run.windows.borrow_mut().freeze();
    crew.order(0..stalled, Order::Read);
    run.settle(0..all).await;
    run.figure("caught_up_ms", ms(run.now_us() - left));
    if !run.pids.is_empty() {
        let grown = during.0 - before.0;
        run.figure("broker_rss_grown_mb", rounded(grown));
        if let (Some(log_before), Some(log_during)) = (before.1, during.1) {
            let beyond = grown - (log_during - log_before);
            run.figure("broker_rss_grown_beyond_log_mb", rounded(beyond));
        }
    }
    ratio(run);
    run.is_settled.set(true);
    crew.all_go(Order::Leave).await;
    Ok(())
}

/// The broker's memory and what of it are logs, in MB.
async fn memory(run: &Run) -> (f64, Option<f64>) {
    let rss = run.broker_rss_kib() as f64 / 1024.0;
    let log = log_bytes(run).await;
    (rss, log.map(|bytes| bytes as f64 / (1024.0 * 1024.0)))
}

/// How the healthy ones' latency changed.
fn ratio(run: &Run) {
    let windows = run.windows.borrow();
    if let [before, during] = &windows.0[..] {
        let p99 = |histogram: &hdrhistogram::Histogram<u64>| histogram.value_at_quantile(0.99);
        let (before, during) = (p99(&before.latency), p99(&during.latency));
        let ratio = during as f64 / before.max(1) as f64;
        run.figure("latency_p99_ratio", rounded(ratio));
    }
}
