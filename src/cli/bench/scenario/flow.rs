//! `fanout` and `streams`: events at a steady rate to readers that all read.

use std::rc::Rc;

use super::{BEFORE_THE_FIRST_US, Crew, Pace, Publishing, us};
use crate::cli::bench::content::Shape;
use crate::cli::bench::failure::Failure;
use crate::cli::bench::options::Common;
use crate::cli::bench::peer::From;
use crate::cli::bench::publisher::By;
use crate::cli::bench::reader::Order;
use crate::cli::bench::report::ms;
use crate::cli::bench::run::{Run, Size};

/// One topic to many readers
#[derive(clap::Args, Clone, Debug)]
pub struct FanoutArgs {
    /// Readers
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub readers: usize,
    /// Topics, over which the readers are spread
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub topics: usize,
    /// Topics that each reader reads
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub topics_per_reader: usize,
    /// Events a second for each topic
    #[arg(long, value_name = "N", default_value_t = 50.0)]
    pub rate: f64,
    /// Events of one publish
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub burst: u64,
    #[command(flatten)]
    pub time: Time,
    #[command(flatten)]
    pub common: Common,
}

/// Many answers at once, token by token, each to its own readers
#[derive(clap::Args, Clone, Debug)]
pub struct StreamsArgs {
    /// Answers that are written at once, each in a topic of its own
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub topics: usize,
    /// Readers of each topic
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub readers_per_topic: usize,
    /// Tokens a second for each topic
    #[arg(long, value_name = "N", default_value_t = 50.0)]
    pub rate: f64,
    /// Tokens of an answer; then the next one begins in the same topic
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub answer_tokens: u64,
    #[command(flatten)]
    pub time: Time,
    #[command(flatten)]
    pub common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Time {
    /// How long is measured
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub seconds: f64,
    /// How long is published before that
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub warm_up: f64,
    /// Connections that publish
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub publishers: usize,
}

impl FanoutArgs {
    pub fn size(&self) -> Size {
        Size {
            readers: self.readers,
            topics: self.topics,
            per_reader: self.topics_per_reader,
            text_bytes: self.common.text_bytes,
            shape: Shape::Plain,
        }
    }

    pub fn pace(&self) -> Pace {
        Pace {
            by: self.common.by(By::Ws),
            publishers: self.time.publishers,
            in_flight: usize::MAX,
            rate: self.rate,
            burst: self.burst,
        }
    }
}

impl StreamsArgs {
    pub fn size(&self) -> Size {
        Size {
            readers: self.topics * self.readers_per_topic,
            topics: self.topics,
            per_reader: 1,
            text_bytes: self.common.text_bytes,
            shape: Shape::Tokens(self.answer_tokens.max(1)),
        }
    }

    pub fn pace(&self) -> Pace {
        Pace {
            by: self.common.by(By::Ws),
            publishers: self.time.publishers,
            in_flight: usize::MAX,
            rate: self.rate,
            burst: 1,
        }
    }
}

pub async fn run(run: &Rc<Run>, pace: Pace, time: &Time, at_once: usize) -> Result<(), Failure> {
    let readers = 0..run.size.readers;
    let mut crew = Crew::default();
    let took = crew
        .open(run, readers.clone(), at_once, |_| From::Live, |_| false)
        .await?;
    run.figure("connect_ms", ms(took));
    let begin = run.now_us() + BEFORE_THE_FIRST_US;
    let measured = begin + us(time.warm_up);
    let end = measured + us(time.seconds);
    let publishing = Publishing::start(run, &pace, run.size.topics, (begin, end));
    run.until(measured).await;
    run.open_window("measured");
    run.until(end).await;
    run.close_window();
    publishing.done().await;
    run.settle(readers).await;
    run.is_settled.set(true);
    crew.all_go(Order::Leave).await;
    Ok(())
}
