//! `publish`: publishers alone. Afterwards the broker is asked what its log has.

use std::rc::Rc;

use serde::Deserialize;

use super::flow::Time;
use super::{BEFORE_THE_FIRST_US, Pace, Publishing, us};
use crate::cli::bench::content::Shape;
use crate::cli::bench::failure::Failure;
use crate::cli::bench::options::Common;
use crate::cli::bench::publisher::By;
use crate::cli::bench::run::{Run, Size, add};
use crate::cli::bench::{line, service::ask};

/// Publishes, and nobody reads
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Topics
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub topics: usize,
    /// Events a second in all; 0: each as soon as the one before is answered
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    pub rate: f64,
    /// Events of one publish
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub burst: u64,
    /// With --publish ws: events that each connection has under way at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub in_flight: usize,
    #[command(flatten)]
    pub time: Time,
    #[command(flatten)]
    pub common: Common,
}

impl Args {
    pub fn size(&self) -> Size {
        Size {
            readers: 0,
            topics: self.topics,
            per_reader: 1,
            text_bytes: self.common.text_bytes,
            shape: Shape::Plain,
        }
    }

    pub fn pace(&self) -> Pace {
        Pace {
            by: self.common.by(By::Http),
            publishers: self.time.publishers,
            in_flight: self.in_flight.max(1),
            rate: self.rate / self.topics as f64,
            burst: self.burst,
        }
    }
}

pub async fn run(run: &Rc<Run>, args: &Args) -> Result<(), Failure> {
    let begin = run.now_us() + BEFORE_THE_FIRST_US;
    let measured = begin + us(args.time.warm_up);
    let end = measured + us(args.time.seconds);
    let publishing = Publishing::start(run, &args.pace(), run.size.topics, (begin, end));
    run.until(measured).await;
    run.open_window("measured");
    run.until(end).await;
    run.close_window();
    publishing.done().await;
    if run.peer.is_native() {
        look(run).await?;
    }
    run.is_settled.set(true);
    Ok(())
}

/// Compares the log of each topic with what was acknowledged.
pub async fn look(run: &Run) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Topic {
        head: u64,
    }
    let mut http = line::http(run).await?;
    for number in 0..run.size.topics {
        let (least, most) = {
            let ledger = &run.ledgers.borrow()[number];
            (ledger.accepted, ledger.accepted + ledger.unknown)
        };
        let path = format!("/v1/topic?topic={}", run.peer.topic(number as u32));
        let answer = ask(run, &mut http, "GET", &path).await?;
        let topic: Result<Topic, _> = serde_json::from_slice(&answer.body);
        let Ok(Topic { head }) = topic else {
            return Err(line::refused(
                &run.peer,
                "a look into a topic",
                answer.status,
                &answer.body,
            ));
        };
        add(&run.not_found, least.saturating_sub(head));
        add(&run.found_twice, head.saturating_sub(most));
    }
    Ok(())
}
