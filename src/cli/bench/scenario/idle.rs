//! `idle`: connections that read topics on which nothing happens. At the end one event to all of them shows who lives.

use std::rc::Rc;

use super::{Crew, publish_at_once, us};
use crate::cli::bench::content::Shape;
use crate::cli::bench::failure::Failure;
use crate::cli::bench::options::Common;
use crate::cli::bench::peer::From;
use crate::cli::bench::publisher::By;
use crate::cli::bench::reader::Order;
use crate::cli::bench::report::{ms, rounded};
use crate::cli::bench::run::{Run, Size};

/// Connections on which nothing happens
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub readers: usize,
    /// Topics, over which they are spread
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub topics: usize,
    /// How long nothing happens
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub seconds: f64,
    #[command(flatten)]
    pub common: Common,
}

impl Args {
    pub fn size(&self) -> Size {
        Size {
            readers: self.readers,
            topics: self.topics,
            per_reader: 1,
            text_bytes: self.common.text_bytes,
            shape: Shape::Plain,
        }
    }
}

pub async fn run(run: &Rc<Run>, args: &Args) -> Result<(), Failure> {
    let readers = 0..run.size.readers;
    let before = run.broker_rss_kib();
    let mut crew = Crew::default();
    let took = crew
        .open(
            run,
            readers.clone(),
            args.common.connect_at_once,
            |_| From::Live,
            |_| false,
        )
        .await?;
    run.figure("connect_ms", ms(took));
    run.open_window("idle");
    run.until(run.now_us() + us(args.seconds)).await;
    run.close_window();
    if !run.pids.is_empty() {
        let grown = run.broker_rss_kib().saturating_sub(before);
        let each = grown as f64 / run.size.readers.max(1) as f64;
        run.figure("broker_rss_kb_per_connection", rounded(each));
    }
    publish_at_once(run, args.common.by(By::Http), 1, 1).await;
    run.settle(readers).await;
    run.is_settled.set(true);
    crew.all_go(Order::Leave).await;
    Ok(())
}
