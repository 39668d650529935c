//! Reading topics: one connection for all of them, which comes back by itself with their positions.
//!
//! The caller pulls (`next`): while it does not, nothing is read from the socket, and the broker keeps
//! what it owes at the position, not in a queue. `next` may be dropped at any time.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::time::sleep_until;

use super::backoff::Backoff;
use super::connection::Connection;
use super::ending::Ending;
use super::endpoint::Endpoint;
use super::position::Position;
use super::readings::{Heard, Item, Readings};
use super::wire::{Replay, ServerFrame};

/// What to read and how.
#[derive(Clone, Debug, Default)]
pub struct SubscriberOptions {
    /// Each with its `from`: `snapshot`, `live`, `start`, `last:N` or a position.
    pub topics: Vec<(String, String)>,
    /// How what was missed is sent: `full` or `compact`. None: what fits the position.
    pub replay: Option<Replay>,
    /// For how many milliseconds the broker may join deltas. None: as it is set there.
    pub coalesce_ms: Option<u32>,
    /// Empty: all.
    pub types: Vec<String>,
    /// How long to try for the very first connection; None: for ever.
    pub first_connect: Option<Duration>,
}

enum Link {
    Waiting(Instant),
    Opening(LocalBoxFuture<'static, Result<Connection, Ending>>),
    Open(Box<Connection>),
}

/// See the module.
pub struct Subscriber {
    endpoint: Endpoint,
    /// How long to try for the very first connection; None: for ever.
    first_connect: Option<Duration>,
    readings: Readings,
    link: Link,
    backoff: Backoff,
    begun: Instant,
    connected_once: bool,
}

impl Subscriber {
    /// It connects when `next` is called for the first time.
    pub fn new(endpoint: Endpoint, options: SubscriberOptions) -> Self {
        let begun = Instant::now();
        Self {
            endpoint,
            first_connect: options.first_connect,
            readings: Readings::new(options),
            link: Link::Waiting(begun),
            backoff: Backoff::default(),
            begun,
            connected_once: false,
        }
    }

    /// Where the reading of a topic stands.
    pub fn position(&self, topic: &str) -> Option<&Position> {
        self.readings.position(topic)
    }

    /// How many topics are still read.
    pub fn topics(&self) -> usize {
        self.readings.len()
    }

    /// The next item. An error is final: coming back cannot mend it.
    pub async fn next(&mut self) -> Result<Item, Ending> {
        loop {
            if let Some(item) = self.readings.pop() {
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
                    let ask_again = self.readings.ask_again();
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
        self.readings.on_connected();
        self.subscribe();
    }

    /// Asks for every topic that is not read on this connection.
    fn subscribe(&mut self) {
        if let Link::Open(connection) = &mut self.link
            && let Some(frame) = self.readings.subscribe()
        {
            connection.send(frame);
        }
    }

    fn ended(&mut self, ending: Ending) -> Result<(), Ending> {
        let out_of_patience = !self.connected_once
            && self
                .first_connect
                .is_some_and(|patience| self.begun.elapsed() >= patience);
        if !ending.may_come_back() || out_of_patience {
            return Err(ending);
        }
        if matches!(ending, Ending::Disagreement(_)) {
            self.backoff.disagreed();
        }
        let mut retry_in = self.backoff.next_wait(fastrand::f64());
        if let Some(patience) = self.first_connect.filter(|_| !self.connected_once) {
            retry_in = retry_in.min(patience.saturating_sub(self.begun.elapsed()));
        }
        tracing::debug!(why = %ending, retry_ms = retry_in.as_millis() as u64, "reading is interrupted");
        self.link = Link::Waiting(Instant::now() + retry_in);
        self.readings.on_disconnected(ending.to_string(), retry_in);
        Ok(())
    }

    fn on_frame(&mut self, frame: Result<ServerFrame, Ending>) -> Result<(), Ending> {
        let heard = frame.and_then(|frame| self.readings.on_frame(frame, Instant::now()));
        match heard {
            Ok(Heard::Nothing) => {}
            Ok(Heard::Events) => self.backoff.worked(),
            Ok(Heard::Draining(after)) => self.backoff.told(after),
            Err(ending) => self.ended(ending)?,
        }
        Ok(())
    }
}
