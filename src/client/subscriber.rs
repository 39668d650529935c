//! Reading topics: one connection for all of them, which comes back by itself with their positions.
//!
//! The caller pulls (`next`): while it does not, nothing is read from the socket, and the broker keeps
//! what it owes at the position, not in a queue. `next` may be dropped at any time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::time::sleep_until;

use super::backoff::Backoff;
use super::connection::Connection;
use super::ending::Ending;
use super::endpoint::Endpoint;
use super::position::{Epoch, Position};
use super::reading::Reading;
use super::wire::{Event, Gap, Problem, Replay, Reset, ServerFrame, Subscribe, TopicFrom};

/// The wait before a topic that was refused for a passing reason is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What to read and how.
#[derive(Clone, Debug, Default)]
pub struct SubscriberOptions {
    /// Each with its `from`: `snapshot`, `live`, `start`, `last:N` or a position.
    pub topics: Vec<(String, String)>,
    pub replay: Option<Replay>,
    pub coalesce_ms: Option<u32>,
    /// Empty: all.
    pub types: Vec<String>,
    /// How long to try for the very first connection; None: for ever.
    pub first_connect: Option<Duration>,
}

/// What a reader learns, in order.
#[derive(Debug)]
pub enum Item {
    /// Reading of a topic begins or goes on. No position: a `Reset` follows.
    Subscribed {
        topic: String,
        epoch: Epoch,
        head: u64,
        position: Option<Position>,
        resumed: bool,
    },
    /// The events of one step; with all of them applied the reader stands at `position`.
    Events {
        topic: String,
        events: Vec<Event>,
        position: Position,
    },
    /// Events are gone; the position is partial now.
    Gap { gap: Gap, position: Position },
    /// Forget all of the topic.
    Reset { reset: Reset, position: Position },
    /// The topic is not read (any more).
    Refused { topic: String, problem: Problem },
    /// The line is down; it comes back by itself.
    Disconnected { why: String, retry_in: Duration },
}

enum Link {
    Waiting(Instant),
    Opening(LocalBoxFuture<'static, Result<Connection, Ending>>),
    Open(Box<Connection>),
}

/// See the module.
pub struct Subscriber {
    endpoint: Endpoint,
    options: SubscriberOptions,
    readings: Vec<Reading>,
    link: Link,
    backoff: Backoff,
    items: VecDeque<Item>,
    /// When to ask again for topics that were refused for a while.
    ask_again: Option<Instant>,
    next_id: u64,
    begun: Instant,
    connected_once: bool,
}

impl Subscriber {
    pub fn new(endpoint: Endpoint, options: SubscriberOptions) -> Self {
        let readings = options
            .topics
            .iter()
            .map(|(topic, from)| Reading::new(topic, from))
            .collect();
        let begun = Instant::now();
        Self {
            endpoint,
            options,
            readings,
            link: Link::Waiting(begun),
            backoff: Backoff::default(),
            items: VecDeque::new(),
            ask_again: None,
            next_id: 1,
            begun,
            connected_once: false,
        }
    }

    /// Where the reading of a topic stands.
    pub fn position(&self, topic: &str) -> Option<&Position> {
        self.readings
            .iter()
            .find(|reading| reading.topic() == topic)?
            .position()
    }

    /// How many topics are still read.
    pub fn topics(&self) -> usize {
        self.readings.len()
    }

    /// The next item. An error is final: coming back cannot mend it.
    pub async fn next(&mut self) -> Result<Item, Ending> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Ok(item);
            }
            match &mut self.link {
                Link::Waiting(until) => {
                    sleep_until((*until).into()).await;
                    let endpoint = self.endpoint.clone();
                    self.link = Link::Opening(
                        async move { Connection::open(&endpoint).await }.boxed_local(),
                    );
                }
                Link::Opening(opening) => match opening.await {
                    Ok(connection) => self.opened(connection),
                    Err(ending) => self.ended(ending)?,
                },
                Link::Open(connection) => {
                    let ask_again = self.ask_again;
                    let wait = async {
                        match ask_again {
                            Some(at) => sleep_until(at.into()).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        frame = connection.next() => self.on_frame(frame)?,
                        () = wait => self.subscribe(),
                    }
                }
            }
        }
    }

    fn opened(&mut self, connection: Connection) {
        self.connected_once = true;
        self.link = Link::Open(Box::new(connection));
        for reading in &mut self.readings {
            reading.subscribed = false;
        }
        self.subscribe();
    }

    /// Asks for every topic that is not read on this connection.
    fn subscribe(&mut self) {
        self.ask_again = None;
        let Link::Open(connection) = &mut self.link else {
            return;
        };
        let missing = self.readings.iter().filter(|reading| !reading.subscribed);
        let topics: Vec<_> = missing
            .map(|r| TopicFrom {
                topic: r.topic(),
                from: r.from(),
            })
            .collect();
        if topics.is_empty() {
            return;
        }
        let frame = Subscribe {
            op: "subscribe",
            id: self.next_id,
            topics,
            replay: self.options.replay,
            coalesce_ms: self.options.coalesce_ms,
            types: &self.options.types,
        };
        self.next_id += 1;
        if let Ok(frame) = serde_json::to_string(&frame) {
            connection.send(frame);
        }
    }

    fn ended(&mut self, ending: Ending) -> Result<(), Ending> {
        let out_of_patience = !self.connected_once
            && self
                .options
                .first_connect
                .is_some_and(|patience| self.begun.elapsed() >= patience);
        if !ending.may_come_back() || out_of_patience {
            return Err(ending);
        }
        if matches!(ending, Ending::Disagreement(_)) {
            self.backoff.disagreed();
        }
        let mut retry_in = self.backoff.next_wait(fastrand::f64());
        if let Some(patience) = self.options.first_connect.filter(|_| !self.connected_once) {
            retry_in = retry_in.min(patience.saturating_sub(self.begun.elapsed()));
        }
        tracing::debug!(why = %ending, retry_ms = retry_in.as_millis() as u64, "reading is interrupted");
        self.link = Link::Waiting(Instant::now() + retry_in);
        self.items.push_back(Item::Disconnected {
            why: ending.to_string(),
            retry_in,
        });
        Ok(())
    }

    fn on_frame(&mut self, frame: Result<ServerFrame, Ending>) -> Result<(), Ending> {
        match frame.and_then(|frame| self.take(frame)) {
            Ok(()) => Ok(()),
            Err(ending) => self.ended(ending),
        }
    }

    fn take(&mut self, frame: ServerFrame) -> Result<(), Ending> {
        let out_of_step =
            |error: super::reading::OutOfStep| Ending::Disagreement(error.to_string());
        match frame {
            ServerFrame::Subscribed(frame) => {
                if let Some(reading) = self.reading(&frame.topic) {
                    reading.on_subscribed(&frame);
                    let super::wire::Subscribed {
                        topic,
                        epoch,
                        head,
                        position,
                        resumed,
                    } = frame;
                    self.items.push_back(Item::Subscribed {
                        topic,
                        epoch,
                        head,
                        position,
                        resumed,
                    });
                }
            }
            ServerFrame::Events(frame) => {
                let Some(reading) = self.reading(&frame.topic) else {
                    return Ok(());
                };
                let position = reading.on_events(&frame).map_err(out_of_step)?;
                let events: Result<Vec<Event>, _> =
                    frame.events.into_iter().map(Event::parse).collect();
                let events = events.map_err(|error| Ending::Disagreement(error.to_string()))?;
                self.backoff.worked();
                self.items.push_back(Item::Events {
                    topic: frame.topic,
                    events,
                    position,
                });
            }
            ServerFrame::Gap(gap) => {
                let Some(reading) = self.reading(&gap.topic) else {
                    return Ok(());
                };
                let position = reading.on_gap(&gap).map_err(out_of_step)?;
                self.items.push_back(Item::Gap { gap, position });
            }
            ServerFrame::Reset(reset) => {
                let Some(reading) = self.reading(&reset.topic) else {
                    return Ok(());
                };
                let position = reading.on_reset(&reset);
                self.items.push_back(Item::Reset { reset, position });
            }
            ServerFrame::Unsubscribed(frame) => {
                let message = frame
                    .reason
                    .unwrap_or_else(|| "the broker ended the subscription".into());
                let code = frame.code.unwrap_or_else(|| "unsubscribed".into());
                self.refused(
                    frame.topic,
                    Problem {
                        code,
                        message,
                        ..Problem::default()
                    },
                );
            }
            ServerFrame::Error(problem) => match problem.topic.clone() {
                Some(topic) => self.refused(topic, *problem),
                None => return Err(Ending::Problem(problem)),
            },
            ServerFrame::Draining {
                reconnect_after: Some(after),
            } => self.backoff.told(after),
            ServerFrame::Draining { .. }
            | ServerFrame::Attached(_)
            | ServerFrame::Control(_)
            | ServerFrame::Demand(_)
            | ServerFrame::Welcome(_)
            | ServerFrame::Published(_)
            | ServerFrame::Other => {}
        }
        Ok(())
    }

    fn reading(&mut self, topic: &str) -> Option<&mut Reading> {
        self.readings
            .iter_mut()
            .find(|reading| reading.topic() == topic)
    }

    fn refused(&mut self, topic: String, problem: Problem) {
        let Some(reading) = self.reading(&topic) else {
            return;
        };
        reading.subscribed = false;
        if problem.passes() {
            let at = Instant::now() + problem.retry_after().unwrap_or(ASK_AGAIN);
            self.ask_again = Some(self.ask_again.map_or(at, |earlier| earlier.max(at)));
        } else {
            self.readings.retain(|reading| reading.topic() != topic);
            self.items.push_back(Item::Refused { topic, problem });
        }
    }
}
