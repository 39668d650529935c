//! What can be measured; each scenario in a file of its own. Here is what they share.

pub mod flow;
pub mod idle;
pub mod join;
pub mod publish;
pub mod resume;
pub mod stalled;
pub mod stress;
pub mod users;

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::failure::Failure;
use super::peer::From;
use super::publisher::{self, By, Job};
use super::reader::{self, Order, Reins};
use super::run::Run;
use super::schedule::Cadence;

/// A peer that does not say when it reads is given so long for it.
const TO_SUBSCRIBE: Duration = Duration::from_millis(500);
/// Between the last connection and the first event.
pub const BEFORE_THE_FIRST_US: u64 = 50_000;

/// The readers of a run, in tasks that end with it.
#[derive(Default)]
pub struct Crew {
    tasks: JoinSet<()>,
    /// By reader.
    reins: Vec<Rc<Reins>>,
}

impl Crew {
    /// Opens readers, `at_once` at a time; returns when all of them read. How long it took, in µs.
    pub async fn open(
        &mut self,
        run: &Rc<Run>,
        readers: Range<usize>,
        at_once: usize,
        from: impl Fn(usize) -> From,
        stalls: impl Fn(usize) -> bool,
    ) -> Result<u64, Failure> {
        // those that went are let go of
        while self.tasks.try_join_next().is_some() {}
        let begin = run.now_us();
        let opening = stream::iter(readers).map(|id| {
            let (from, stalls) = (from(id), stalls(id));
            async move { (id, reader::open(run, id, &from, stalls).await) }
        });
        let mut opening = opening.buffer_unordered(at_once);
        while let Some((id, line)) = opening.next().await {
            let line = line?;
            if self.reins.len() <= id {
                self.reins.resize_with(id + 1, Rc::default);
            }
            // a reader that came before has its own reins
            self.reins[id] = Rc::default();
            let reins = Rc::clone(&self.reins[id]);
            self.tasks
                .spawn_local(reader::follow(Rc::clone(run), id, line, reins));
        }
        let took = run.now_us() - begin;
        if !run.peer.is_native() {
            sleep(TO_SUBSCRIBE).await;
        }
        Ok(took)
    }

    /// Cuts a reader's line, if it has one.
    pub fn cut(&self, reader: usize) {
        self.order(reader..reader + 1, Order::Cut);
    }

    /// It was not told to go.
    pub fn is_there(&self, reader: usize) -> bool {
        let reins = self.reins.get(reader);
        reins.is_some_and(|reins| reins.is_in())
    }

    pub fn order(&self, readers: Range<usize>, order: Order) {
        let theirs = self.reins.get(readers).unwrap_or_default();
        theirs.iter().for_each(|reins| reins.give(order));
    }

    /// All go; returns when they are gone.
    pub async fn all_go(&mut self, order: Order) {
        self.order(0..self.reins.len(), order);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// How a run publishes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub by: By,
    pub publishers: usize,
    pub in_flight: usize,
    /// Events a second and topic; 0: as fast as they are answered.
    pub rate: f64,
    pub burst: u64,
}

/// Publishers at work. The first that fails ends the run at once.
pub struct Publishing {
    run: Rc<Run>,
    tasks: JoinSet<()>,
}

impl Publishing {
    pub fn new(run: &Rc<Run>) -> Self {
        Self {
            run: Rc::clone(run),
            tasks: JoinSet::new(),
        }
    }

    /// The topics from 0 on get their rate in a span of the run's time.
    pub fn start(run: &Rc<Run>, pace: &Pace, topics: usize, span: (u64, u64)) -> Self {
        let publishes = pace.rate / pace.burst as f64;
        let parts = pace.publishers;
        Self::with(run, pace, topics, |part| {
            Cadence::new(part, parts, topics, publishes, span)
        })
    }

    fn with(run: &Rc<Run>, pace: &Pace, topics: usize, cadence: impl Fn(usize) -> Cadence) -> Self {
        let mut publishing = Self::new(run);
        for part in 0..pace.publishers.min(topics) {
            let job = Job {
                cadence: cadence(part),
                burst: pace.burst,
                in_flight: pace.in_flight,
            };
            publishing.add(pace.by, job);
        }
        publishing
    }

    /// One more publisher.
    pub fn add(&mut self, by: By, job: Job) {
        let run = Rc::clone(&self.run);
        self.tasks.spawn_local(async move {
            if let Err(failure) = publisher::publish(Rc::clone(&run), by, job).await {
                run.fail(failure);
                // the run ends, and nobody is to take this for a publisher that is done
                std::future::pending().await
            }
        });
    }

    /// Returns when all that was published is answered.
    pub async fn done(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// So many events to each topic, at once, with `burst` of them in a publish; returns when all are answered.
pub async fn publish_at_once(run: &Rc<Run>, by: By, events: u64, burst: u64) {
    let burst = burst.clamp(1, events.max(1));
    for (rounds, burst) in [(events / burst, burst), (1, events % burst)] {
        let pace = Pace {
            by,
            publishers: 10,
            in_flight: usize::MAX,
            rate: 0.0,
            burst,
        };
        if burst > 0 {
            let (parts, topics) = (pace.publishers, run.size.topics);
            Publishing::with(run, &pace, topics, |part| {
                Cadence::rounds(part, parts, topics, rounds)
            })
            .done()
            .await;
        }
    }
}

/// Microseconds of seconds.
pub fn us(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}
