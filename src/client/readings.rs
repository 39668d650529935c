//! All topics that one line reads: what to ask for, and what each frame means to the reader.
//!
//! Invariants: items come in the order of the frames; a topic stays, with its position, until it is refused for good;
//! one that is refused for a while is asked for again on the same line.
//!
//! Without sockets and clocks; `subscriber` is the line around it. Whoever drives it takes the items after each
//! frame, so that they are never more than one frame's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::ending::Ending;
use super::position::{Epoch, Position};
use super::reading::{OutOfStep, Reading};
use super::subscriber::SubscriberOptions;
use super::wire::{Event, Gap, Problem, Reset, ServerFrame, Subscribe, Subscribed, TopicFrom};

/// The wait before a topic that was refused for a passing reason is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a reader learns, in order.
#[derive(Debug)]
pub enum Item {
    /// Reading of a topic begins or goes on.
    Subscribed {
        /// Whose reading it is.
        topic: String,
        /// The present life of the topic's log.
        epoch: Epoch,
        /// The last event's seq when the broker answered.
        head: u64,
        /// Where reading begins. None: a `Reset` follows.
        position: Option<Position>,
        /// It goes on where this reader stood.
        resumed: bool,
    },
    /// The events of one step.
    Events {
        /// Where they were published.
        topic: String,
        /// In order.
        events: Vec<Event>,
        /// Where the reader stands with all of them applied.
        position: Position,
    },
    /// Events are gone.
    Gap {
        /// Which.
        gap: Gap,
        /// Where the reader stands: it is partial now.
        position: Position,
    },
    /// Forget all of the topic.
    Reset {
        /// Why.
        reset: Reset,
        /// Where the new life begins.
        position: Position,
    },
    /// The topic is not read (any more).
    Refused {
        /// Which.
        topic: String,
        /// Why.
        problem: Problem,
    },
    /// The line is down; it comes back by itself.
    Disconnected {
        /// For people.
        why: String,
        /// How long it waits first.
        retry_in: Duration,
    },
}

/// What a frame means to the line that it came over.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing.
    Nothing,
    /// Events came: the line does what it is for.
    Events,
    /// The broker is about to end the line, and says when to come back.
    Draining(Duration),
}

/// See the module.
#[derive(Debug)]
pub struct Readings {
    options: SubscriberOptions,
    topics: Vec<Reading>,
    items: VecDeque<Item>,
    /// When to ask again for topics that were refused for a while.
    ask_again: Option<Instant>,
    next_id: u64,
}

impl Readings {
    /// Of the topics in `options`, each from where they say.
    pub fn new(options: SubscriberOptions) -> Self {
        let topics = options.topics.iter();
        let topics = topics.map(|(topic, from)| Reading::new(topic, from));
        Self {
            topics: topics.collect(),
            options,
            items: VecDeque::new(),
            ask_again: None,
            next_id: 1,
        }
    }

    /// Where the reading of a topic stands.
    pub fn position(&self, topic: &str) -> Option<&Position> {
        let reading = self.topics.iter().find(|one| one.topic() == topic)?;
        reading.position()
    }

    /// How many topics are still read.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// No topic is read any more.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The next item, if there is one.
    pub fn pop(&mut self) -> Option<Item> {
        self.items.pop_front()
    }

    /// A new line is open, over which nothing is read yet.
    pub fn on_connected(&mut self) {
        for reading in &mut self.topics {
            reading.subscribed = false;
        }
    }

    /// The line is down.
    pub fn on_disconnected(&mut self, why: String, retry_in: Duration) {
        self.items.push_back(Item::Disconnected { why, retry_in });
    }

    /// When to `subscribe` although nothing came.
    pub fn ask_again(&self) -> Option<Instant> {
        self.ask_again
    }

    /// The frame that asks for every topic that is not read over this line; None: all are.
    pub fn subscribe(&mut self) -> Option<String> {
        self.ask_again = None;
        let missing = self.topics.iter().filter(|reading| !reading.subscribed);
        let topics: Vec<_> = missing
            .map(|reading| TopicFrom {
                topic: reading.topic(),
                from: reading.from(),
            })
            .collect();
        if topics.is_empty() {
            return None;
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
        serde_json::to_string(&frame).ok()
    }

    /// Takes a frame in. An error ends the line: it is out of step, or of no use any more.
    pub fn on_frame(&mut self, frame: ServerFrame, now: Instant) -> Result<Heard, Ending> {
        let out_of_step = |error: OutOfStep| Ending::Disagreement(error.to_string());
        match frame {
            ServerFrame::Subscribed(frame) => {
                if let Some(reading) = self.reading(&frame.topic) {
                    reading.on_subscribed(&frame);
                    self.items.push_back(subscribed(frame));
                }
            }
            ServerFrame::Events(frame) => {
                let Some(reading) = self.reading(&frame.topic) else {
                    return Ok(Heard::Nothing);
                };
                let position = reading.on_events(&frame).map_err(out_of_step)?;
                let events: Result<Vec<Event>, _> =
                    frame.events.into_iter().map(Event::parse).collect();
                let events = events.map_err(|error| Ending::Disagreement(error.to_string()))?;
                self.items.push_back(Item::Events {
                    topic: frame.topic,
                    events,
                    position,
                });
                return Ok(Heard::Events);
            }
            ServerFrame::Gap(gap) => {
                if let Some(reading) = self.reading(&gap.topic) {
                    let position = reading.on_gap(&gap).map_err(out_of_step)?;
                    self.items.push_back(Item::Gap { gap, position });
                }
            }
            ServerFrame::Reset(reset) => {
                if let Some(reading) = self.reading(&reset.topic) {
                    let position = reading.on_reset(&reset);
                    self.items.push_back(Item::Reset { reset, position });
                }
            }
            ServerFrame::Unsubscribed(frame) => {
                let problem = Problem {
                    code: frame.code.unwrap_or_else(|| "unsubscribed".into()),
                    message: frame
                        .reason
                        .unwrap_or_else(|| "the broker ended the subscription".into()),
                    ..Problem::default()
                };
                self.refused(frame.topic, problem, now);
            }
            ServerFrame::Error(problem) => match problem.topic.clone() {
                Some(topic) => self.refused(topic, *problem, now),
                None => return Err(Ending::Problem(problem)),
            },
            ServerFrame::Draining {
                reconnect_after: Some(after),
            } => return Ok(Heard::Draining(after)),
            ServerFrame::Draining { .. }
            | ServerFrame::Attached(_)
            | ServerFrame::Control(_)
            | ServerFrame::Demand(_)
            | ServerFrame::Welcome(_)
            | ServerFrame::Published(_)
            | ServerFrame::Other => {}
        }
        Ok(Heard::Nothing)
    }

    fn reading(&mut self, topic: &str) -> Option<&mut Reading> {
        let mut topics = self.topics.iter_mut();
        topics.find(|reading| reading.topic() == topic)
    }

    fn refused(&mut self, topic: String, problem: Problem, now: Instant) {
        let Some(reading) = self.reading(&topic) else {
            return;
        };
        reading.subscribed = false;
        if problem.passes() {
            let at = now + problem.retry_after().unwrap_or(ASK_AGAIN);
            self.ask_again = Some(self.ask_again.map_or(at, |earlier| earlier.max(at)));
        } else {
            self.topics.retain(|reading| reading.topic() != topic);
            self.items.push_back(Item::Refused { topic, problem });
        }
    }
}

fn subscribed(frame: Subscribed) -> Item {
    let Subscribed {
        topic,
        epoch,
        head,
        position,
        resumed,
    } = frame;
    Item::Subscribed {
        topic,
        epoch,
        head,
        position,
        resumed,
    }
}
