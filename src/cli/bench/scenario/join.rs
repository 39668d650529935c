//! `join`: readers that come in the middle of a long answer. What they get until they have its text so far, and how
//! soon; the answer goes on meanwhile, and they have to get all of that, too.

use std::rc::Rc;

use super::{Crew, Pace, Publishing, publish_at_once};
use crate::cli::bench::content::Shape;
use crate::cli::bench::failure::Failure;
use crate::cli::bench::options::Common;
use crate::cli::bench::peer::From;
use crate::cli::bench::publisher::By;
use crate::cli::bench::reader::Order;
use crate::cli::bench::report::{ms, rounded};
use crate::cli::bench::run::{Run, Size};
use crate::cli::bench::window::histogram;

/// Joining in the middle of an answer
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Readers that join
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub readers: usize,
    /// Tokens that the answer has by then
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub tokens: u64,
    /// Tokens a second that it gets meanwhile
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    pub rate: f64,
    #[command(flatten)]
    pub common: Common,
}

/// Tokens of one publish while the answer's beginning is written.
const BATCH: u64 = 50;
/// Readers that join at once: what one of them waits for is not the others.
const AT_ONCE: usize = 4;

impl Args {
    pub fn size(&self) -> Size {
        Size {
            readers: self.readers,
            topics: 1,
            per_reader: 1,
            text_bytes: self.common.text_bytes,
            shape: Shape::Tokens(u64::MAX),
        }
    }
}

pub async fn run(run: &Rc<Run>, args: &Args) -> Result<(), Failure> {
    if !run.peer.is_native() {
        return Err(Failure::Asked(
            "join: a raw peer knows no answers that could be joined".into(),
        ));
    }
    let by = args.common.by(By::Ws);
    publish_at_once(run, by, args.tokens, BATCH).await;
    run.goal.set(args.tokens);
    let mut crew = Crew::default();
    let pace = Pace {
        by,
        publishers: 1,
        in_flight: usize::MAX,
        rate: args.rate.max(0.1),
        burst: 1,
    };
    // until the last one has joined
    let publishing = Publishing::start(run, &pace, 1, (run.now_us(), u64::MAX));
    let mut each = histogram();
    for first in (0..args.readers).step_by(AT_ONCE) {
        let some = first..args.readers.min(first + AT_ONCE);
        let begin = run.now_us();
        crew.open(run, some.clone(), AT_ONCE, |_| From::Snapshot, |_| false)
            .await?;
        run.settle(some.clone()).await;
        for reached in run.reached.borrow().iter() {
            if some.contains(&reached.reader) {
                each.saturating_record((reached.at_us.saturating_sub(begin)).max(1));
            }
        }
    }
    run.publish_until_us.set(run.now_us());
    publishing.done().await;
    run.settle(0..args.readers).await;
    figures(run, args, &each);
    run.is_settled.set(true);
    crew.all_go(Order::Leave).await;
    Ok(())
}

fn figures(run: &Run, args: &Args, each: &hdrhistogram::Histogram<u64>) {
    let reached = run.reached.borrow();
    let text = (args.tokens as usize * run.size.text_bytes + 2) as u64;
    let most = reached.iter().map(|r| r.messages).max().unwrap_or(0);
    let bytes = reached.iter().map(|r| r.bytes).max().unwrap_or(0);
    run.figure("readers_joined", reached.len());
    run.figure("joined_p50_ms", ms(each.value_at_quantile(0.5)));
    run.figure("joined_p99_ms", ms(each.value_at_quantile(0.99)));
    run.figure("frames_until_joined_max", most);
    run.figure("bytes_until_joined_max", bytes);
    run.figure("text_bytes_as_json", text);
    let ratio = bytes as f64 / text.max(1) as f64;
    run.figure("bytes_to_text_ratio", rounded(ratio));
}
