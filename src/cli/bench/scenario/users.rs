//! `spike` and `sustain`: users, each with a reader of a chat of their own and requests that publish to it.

use std::rc::Rc;

use tokio::task::JoinSet;

use super::{BEFORE_THE_FIRST_US, Crew, Publishing, us};
use crate::cli::bench::content::Shape;
use crate::cli::bench::failure::Failure;
use crate::cli::bench::options::Common;
use crate::cli::bench::peer::From;
use crate::cli::bench::publisher::{self, By, Job};
use crate::cli::bench::reader::Order;
use crate::cli::bench::report::rounded;
use crate::cli::bench::run::{Run, Size, add};
use crate::cli::bench::schedule::Cadence;

/// From few users to many within a minute, and down again
#[derive(clap::Args, Clone, Debug)]
pub struct SpikeArgs {
    /// Users before and after
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub users: usize,
    /// Users at the height
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub peak_users: usize,
    /// Requests a second of each user
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    pub rate: f64,
    /// How long there are few, before and after
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub calm: f64,
    /// How long it takes from few to many, and back
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    pub ramp: f64,
    /// How long there are many
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    pub hold: f64,
    #[command(flatten)]
    pub common: Common,
}

/// The same users for as long as you like
#[derive(clap::Args, Clone, Debug)]
pub struct SustainArgs {
    /// Users
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub users: usize,
    /// Requests a second of all users together
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub rate: f64,
    /// Users a second whose line is cut, and who come back a second later with their position
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    pub churn: f64,
    /// How long
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    pub seconds: f64,
    #[command(flatten)]
    pub common: Common,
}

/// How long a user whose line was cut is away, in seconds.
const AWAY_S: f64 = 1.0;

fn size(users: usize, common: &Common) -> Size {
    Size {
        readers: users,
        topics: users,
        per_reader: 1,
        text_bytes: common.text_bytes,
        shape: Shape::Plain,
    }
}

impl SpikeArgs {
    pub fn size(&self) -> Size {
        size(self.peak_users.max(self.users), &self.common)
    }
}

impl SustainArgs {
    pub fn size(&self) -> Size {
        size(self.users, &self.common)
    }
}

/// One user from when they come until they go: in between, their requests.
async fn visit(
    run: Rc<Run>,
    by: By,
    user: usize,
    rate: f64,
    (come_us, go_us): (u64, u64),
) -> Result<(), Failure> {
    run.until(come_us).await;
    let mut crew = Crew::default();
    let only = user..user + 1;
    crew.open(&run, only.clone(), 1, |_| From::Live, |_| false)
        .await?;
    let users = run.size.topics;
    let job = Job {
        cadence: Cadence::new(user, users, users, rate, (run.now_us(), go_us)),
        burst: 1,
        in_flight: 1024,
    };
    publisher::publish(Rc::clone(&run), by, job).await?;
    run.until(go_us).await;
    run.settle(only.clone()).await;
    crew.all_go(Order::Leave).await;
    Ok(())
}

pub async fn spike(run: &Rc<Run>, args: &SpikeArgs) -> Result<(), Failure> {
    let (few, many) = (args.users.min(args.peak_users), args.size().readers);
    let begin = run.now_us();
    let up = begin + us(args.calm);
    let held = up + us(args.ramp);
    let down = held + us(args.hold);
    let low = down + us(args.ramp);
    let end = low + us(args.calm);
    let mut visits = JoinSet::new();
    for user in 0..many {
        let part = match user.checked_sub(few) {
            Some(newcomer) => (newcomer + 1) as f64 / (many - few) as f64,
            None => 0.0,
        };
        let ramped = us(args.ramp * part);
        // who came last goes first
        let span = match user < few {
            true => (begin, end),
            false => (up + ramped, low - ramped),
        };
        let by = args.common.by(By::Http);
        visits.spawn_local(visit(Rc::clone(run), by, user, args.rate, span));
    }
    run.figure("users_at_peak", many);
    for (name, until) in [
        ("few", up),
        ("up", held),
        ("many", down),
        ("down", low),
        ("few again", end),
    ] {
        run.open_window(name);
        let mut over = std::pin::pin!(run.until(until));
        loop {
            tokio::select! {
                () = &mut over => break,
                Some(ended) = visits.join_next() => ended.map_err(std::io::Error::other)??,
            }
        }
        run.close_window();
    }
    while let Some(ended) = visits.join_next().await {
        ended.map_err(std::io::Error::other)??;
    }
    recovery(run);
    run.is_settled.set(true);
    Ok(())
}

/// How the few fare after the spike, compared with before.
fn recovery(run: &Run) {
    let windows = run.windows.borrow();
    if let (Some(before), Some(after)) = (windows.0.first(), windows.0.last()) {
        let p99 = |histogram: &hdrhistogram::Histogram<u64>| histogram.value_at_quantile(0.99);
        let ratio = p99(&after.latency) as f64 / p99(&before.latency).max(1) as f64;
        run.figure("latency_p99_after_to_before_ratio", rounded(ratio));
    }
}

pub async fn sustain(run: &Rc<Run>, args: &SustainArgs) -> Result<(), Failure> {
    let users = run.size.readers;
    let by = args.common.by(By::Http);
    let mut crew = Crew::default();
    let at_once = args.common.connect_at_once;
    crew.open(run, 0..users, at_once, |_| From::Live, |_| false)
        .await?;
    let begin = run.now_us() + BEFORE_THE_FIRST_US;
    let end = begin + us(args.seconds);
    let rate = args.rate / users as f64;
    let mut requests = Publishing::new(run);
    for user in 0..users {
        let job = Job {
            cadence: Cadence::new(user, users, users, rate, (begin, end)),
            burst: 1,
            in_flight: 1024,
        };
        requests.add(by, job);
    }
    run.until(begin).await;
    run.open_window("sustained");
    tokio::select! {
        failure = churn(run, &mut crew, args.churn) => return Err(failure),
        () = run.until(end) => {}
    }
    run.close_window();
    requests.done().await;
    let away: Vec<usize> = (0..users).filter(|&user| !crew.is_there(user)).collect();
    for user in away {
        come_back(run, &mut crew, user).await?;
    }
    run.settle(0..users).await;
    run.is_settled.set(true);
    crew.all_go(Order::Leave).await;
    Ok(())
}

/// Cuts one user's line after the other, and brings them back. Ends with a failure only.
async fn churn(run: &Rc<Run>, crew: &mut Crew, rate: f64) -> Failure {
    if rate <= 0.0 {
        return std::future::pending().await;
    }
    if !run.peer.is_native() {
        return Failure::Asked("--churn: a raw peer has no positions to come back with".into());
    }
    let users = run.size.readers;
    // so many are away at once, never more than half of them
    let away = ((AWAY_S * rate).ceil() as usize).clamp(1, users.div_ceil(2));
    let begin = run.now_us();
    for turn in 0usize.. {
        run.until(begin + us(turn as f64 / rate)).await;
        if let Some(back) = turn.checked_sub(away)
            && let Err(failure) = come_back(run, crew, back % users).await
        {
            return failure;
        }
        crew.cut(turn % users);
    }
    unreachable!("the turns do not end")
}

async fn come_back(run: &Rc<Run>, crew: &mut Crew, user: usize) -> Result<(), Failure> {
    if crew.is_there(user) {
        return Ok(());
    }
    run.back_since_us.borrow_mut()[user] = run.now_us();
    let from = From::Position(run.position(user));
    crew.open(run, user..user + 1, 1, |_| from.clone(), |_| false)
        .await?;
    add(&run.counts.came_back, 1);
    Ok(())
}
