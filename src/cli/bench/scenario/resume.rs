//! `resume`: all readers are cut at once, miss some events, and come back at once with their positions. Compared with
//! merely connecting as many.

use std::rc::Rc;

use super::{Crew, publish_at_once};
use crate::cli::bench::content::Shape;
use crate::cli::bench::failure::Failure;
use crate::cli::bench::options::Common;
use crate::cli::bench::peer::From;
use crate::cli::bench::publisher::By;
use crate::cli::bench::reader::Order;
use crate::cli::bench::report::{ms, rounded};
use crate::cli::bench::run::{Run, Size};
use crate::cli::bench::window::histogram;

/// Everybody is cut, and comes back at once
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Readers
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub readers: usize,
    /// Topics, over which they are spread
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub topics: usize,
    /// Events of its topic that each reader misses
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub missed: u64,
    #[command(flatten)]
    pub common: Common,
}

/// Events of one publish while they are away.
const BATCH: u64 = 20;

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
    let all = 0..run.size.readers;
    let at_once = run.size.readers;
    let by = args.common.by(By::Ws);
    let mut crew = Crew::default();
    let connecting = crew
        .open(run, all.clone(), at_once, |_| From::Live, |_| false)
        .await?;
    run.figure("connect_ms", ms(connecting));
    publish_at_once(run, by, 1, 1).await;
    run.settle(all.clone()).await;
    crew.all_go(Order::Cut).await;
    publish_at_once(run, by, args.missed, BATCH).await;
    run.goal.set(1 + args.missed);
    let begin = run.now_us();
    let positions: Vec<String> = all.clone().map(|reader| run.position(reader)).collect();
    let from = |reader: usize| From::Position(positions[reader].clone());
    let reopening = crew
        .open(run, all.clone(), at_once, from, |_| false)
        .await?;
    run.settle(all).await;
    let caught_up = run
        .reached
        .borrow()
        .iter()
        .map(|reached| reached.at_us)
        .max();
    let caught_up = caught_up.unwrap_or_else(|| run.now_us()) - begin;
    run.figure("reconnect_ms", ms(reopening));
    run.figure("caught_up_ms", ms(caught_up));
    let ratio = caught_up as f64 / connecting.max(1) as f64;
    run.figure("caught_up_to_connect_ratio", rounded(ratio));
    let mut each = histogram();
    for reached in run.reached.borrow().iter() {
        each.saturating_record((reached.at_us - begin).max(1));
    }
    run.figure("caught_up_p50_ms", ms(each.value_at_quantile(0.5)));
    run.figure("readers_caught_up", run.reached.borrow().len());
    run.is_settled.set(true);
    crew.all_go(Order::Leave).await;
    Ok(())
}
