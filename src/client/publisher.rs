//! Publishing to one topic in order, without loss and without doubling: the I/O around `window`.
//!
//! A `Publisher` belongs to one topic and has a connection of its own; its driver is a task on the
//! present actix arbiter and ends with it. What is shared between the two:
//! - `window`: the handle pushes, the driver sends and settles; borrowed only between awaits;
//! - `control`, `acks`, `readers`: what the broker says to an attached producer, and what goes back;
//! - `work` (to the driver): something was pushed or acknowledged, or it shall finish;
//! - `progress` (to those who wait in the handle): something was acknowledged, said or attached, or it failed.
//!
//! With an `Attachment` the producer attaches on every connection before it publishes on it (`attachment`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until, timeout};

use super::attachment::{Attachment, CLAIM_ID, Claim};
use super::backoff::Backoff;
use super::connection::{Connection, OPEN_TIMEOUT};
use super::control::{ControlEvent, ControlInbox};
use super::ending::Ending;
use super::endpoint::Endpoint;
use super::new_event::NewEvent;
use super::window::{Bounds, Loss, Producer, Settled, Window};
use super::wire::{Problem, ServerFrame};

/// Why nothing can be published any more.
#[derive(Debug, Error, Clone)]
pub enum PublishError {
    /// The broker refused an event for good.
    #[error("{0}")]
    Refused(Rc<Problem>),
    /// The connection ended, and coming back cannot help.
    #[error("{0}")]
    Ended(Rc<Ending>),
    /// Coming back would only take it away again.
    #[error("a newer run of the same producer took over ({0})")]
    Replaced(String),
}

impl From<Ending> for PublishError {
    fn from(ending: Ending) -> Self {
        if ending.is_replaced() {
            Self::Replaced(ending.to_string())
        } else {
            Self::Ended(Rc::new(ending))
        }
    }
}

impl From<Box<Problem>> for PublishError {
    fn from(problem: Box<Problem>) -> Self {
        if problem.fences() {
            Self::Replaced(problem.to_string())
        } else {
            Self::Refused(Rc::from(problem))
        }
    }
}

/// What a person may want to know on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Connected, after at least one failure.
    Back,
    /// The line is down; it comes back by itself.
    Disconnected {
        /// For people.
        why: String,
        /// How long it waits first.
        retry_in: Duration,
    },
    /// The broker lost something of what it had acknowledged.
    Loss(Loss),
}

/// How a `Publisher` behaves.
pub struct PublisherOptions {
    /// With `attach` its epoch is the broker's to assign.
    pub producer: Producer,
    /// Be known to the broker as an agent: it holds open messages for a lease, and says what clients want.
    pub attach: Option<Attachment>,
    /// How much may wait for the broker.
    pub bounds: Bounds,
    /// Acknowledged text of open messages, in bytes, that is kept for a broker that forgets its log.
    pub keep: usize,
    /// How long to try for the very first connection; None: for ever.
    pub first_connect: Option<Duration>,
    /// Told on the way what a person may want to know; it must not block.
    pub notify: Box<dyn FnMut(Notice)>,
}

impl PublisherOptions {
    /// A producer with an id of its own, in its first epoch.
    pub fn anonymous(prefix: &str) -> Self {
        let id = format!("{prefix}-{}", random_id());
        let bounds = Bounds::default();
        Self {
            producer: Producer { id, epoch: 1 },
            attach: None,
            bounds,
            keep: bounds.bytes,
            first_connect: None,
            notify: Box::new(|_| {}),
        }
    }
}

/// So that a short cut does not cost the lease.
const RETRIES_IN_A_LEASE: u32 = 4;

/// 13 characters of `0-9a-v`, 65 random bits.
pub fn random_id() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    (0..13)
        .map(|_| char::from(ALPHABET[fastrand::usize(..32)]))
        .collect()
}

struct Shared {
    window: RefCell<Window>,
    control: RefCell<ControlInbox>,
    /// Acknowledgements that go with the next frames, over the connection that their events came over.
    acks: RefCell<Vec<String>>,
    readers: RefCell<BTreeMap<String, u64>>,
    work: Notify,
    progress: Notify,
    /// It has been connected, and attached if it shall be, at least once.
    ready: Cell<bool>,
    failed: RefCell<Option<PublishError>>,
    finishing: Cell<bool>,
    finished: Cell<bool>,
}

/// See the module. Dropping it abandons what is outstanding; `finish` does not.
pub struct Publisher {
    shared: Rc<Shared>,
    driver: JoinHandle<()>,
}

impl Publisher {
    /// Connects at once, on the present arbiter.
    pub fn start(endpoint: Endpoint, topic: &str, options: PublisherOptions) -> Self {
        let window = Window::new(topic, options.producer, options.bounds, options.keep);
        let shared = Rc::new(Shared {
            window: RefCell::new(window),
            control: RefCell::default(),
            acks: RefCell::default(),
            readers: RefCell::default(),
            work: Notify::new(),
            progress: Notify::new(),
            ready: Cell::new(false),
            failed: RefCell::new(None),
            finishing: Cell::new(false),
            finished: Cell::new(false),
        });
        let backoff = match &options.attach {
            Some(attachment) => Backoff::capped(attachment.lease / RETRIES_IN_A_LEASE),
            None => Backoff::default(),
        };
        let driver = Driver {
            endpoint,
            shared: shared.clone(),
            claim: options.attach.map(Claim::new),
            first_connect: options.first_connect,
            notify: options.notify,
            backoff,
        };
        Self {
            shared,
            driver: actix_rt::spawn(driver.run()),
        }
    }

    /// Waits until the broker has let this producer in for the first time.
    pub async fn ready(&self) -> Result<(), PublishError> {
        self.wait_until(|shared| shared.ready.get()).await
    }

    /// Waits until the window has room.
    pub async fn room(&self) -> Result<(), PublishError> {
        self.wait_until(|shared| shared.window.borrow().has_room())
            .await
    }

    /// Hands an event over; waits while the window is full. Dropped while it waits, it has no effect.
    pub async fn publish(&self, event: NewEvent) -> Result<(), PublishError> {
        self.room().await?;
        self.publish_now(event);
        Ok(())
    }

    /// Hands an event over beyond the bound: for the last word of somebody who has to leave.
    pub fn publish_now(&self, event: NewEvent) {
        self.shared.window.borrow_mut().push(event, Instant::now());
        self.shared.work.notify_one();
    }

    /// Waits until everything is acknowledged.
    pub async fn flush(&self) -> Result<(), PublishError> {
        self.wait_until(|shared| shared.window.borrow().is_empty())
            .await
    }

    /// Waits until everything is acknowledged and says good-bye; nothing can be published after that.
    pub async fn finish(&self) -> Result<(), PublishError> {
        self.shared.finishing.set(true);
        self.shared.work.notify_one();
        self.wait_until(|shared| shared.finished.get()).await
    }

    /// The next `run.*` event for the agents of the topics in `Attachment::control`. Each comes once, until
    /// nothing can be published any more. Dropped while it waits, it takes nothing.
    pub async fn control(&self) -> Result<ControlEvent, PublishError> {
        loop {
            self.wait_until(|shared| !shared.control.borrow().is_empty())
                .await?;
            if let Some(event) = self.shared.control.borrow_mut().take() {
                return Ok(event);
            }
        }
    }

    /// This agent deals with that event: the broker need not keep it for others. There is no answer.
    pub fn acknowledge(&self, event: &ControlEvent) {
        let ack = self.shared.control.borrow_mut().acknowledge(event);
        if let Some(ack) = ack {
            self.shared.acks.borrow_mut().push(ack);
            self.shared.work.notify_one();
        }
    }

    /// How many read a topic of `Attachment::demand`, as the broker said last.
    pub fn readers(&self, topic: &str) -> Option<u64> {
        self.shared.readers.borrow().get(topic).copied()
    }

    /// Returns when nothing can be published any more.
    pub async fn failure(&self) -> PublishError {
        loop {
            if let Err(error) = self.wait_until(|_| false).await {
                return error;
            }
        }
    }

    async fn wait_until(&self, reached: impl Fn(&Shared) -> bool) -> Result<(), PublishError> {
        loop {
            let mut progress = pin!(self.shared.progress.notified());
            // registered before looking, so that nothing slips through between the two
            progress.as_mut().enable();
            if let Some(error) = &*self.shared.failed.borrow() {
                return Err(error.clone());
            }
            if reached(&self.shared) {
                return Ok(());
            }
            progress.await;
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

struct Driver {
    endpoint: Endpoint,
    shared: Rc<Shared>,
    claim: Option<Claim>,
    first_connect: Option<Duration>,
    notify: Box<dyn FnMut(Notice)>,
    backoff: Backoff,
}

/// How a conversation ended.
enum Done {
    Finished,
    Ended(Ending),
    Refused(Box<Problem>),
    /// What is outstanding has other numbers now, and goes on over a connection with a claim of its own.
    Renumbered,
}

impl Driver {
    async fn run(mut self) {
        match self.publish_all().await {
            Ok(()) => self.shared.finished.set(true),
            Err(error) => *self.shared.failed.borrow_mut() = Some(error),
        }
        self.shared.progress.notify_waiters();
    }

    async fn publish_all(&mut self) -> Result<(), PublishError> {
        let begun = Instant::now();
        let mut told = false;
        loop {
            let done = match Connection::open(&self.endpoint).await {
                Ok(connection) => self.converse(connection, &mut told).await,
                Err(ending) => Done::Ended(ending),
            };
            let ending = match done {
                Done::Finished => return Ok(()),
                Done::Refused(problem) => return Err(problem.into()),
                Done::Ended(ending) => Some(ending),
                Done::Renumbered => None,
            };
            self.disconnected();
            if self.shared.finishing.get() && self.shared.window.borrow().is_empty() {
                return Ok(());
            }
            let patience = self.first_connect.filter(|_| !self.shared.ready.get());
            let patient = patience.is_none_or(|patience| begun.elapsed() < patience);
            if let Some(ending) = &ending
                && matches!(ending, Ending::Disagreement(_))
            {
                self.backoff.disagreed();
            }
            let mut retry_in = self.backoff.next_wait(fastrand::f64());
            if let Some(patience) = patience {
                retry_in = retry_in.min(patience.saturating_sub(begun.elapsed()));
            }
            if let Some(ending) = ending {
                if !ending.may_come_back() || !patient {
                    return Err(ending.into());
                }
                self.tell_disconnected(&ending, retry_in, &mut told);
            }
            sleep(retry_in).await;
        }
    }

    fn disconnected(&mut self) {
        self.shared.window.borrow_mut().on_disconnected();
        self.shared.control.borrow_mut().on_disconnected();
        // their events come again, and are acknowledged then
        self.shared.acks.borrow_mut().clear();
    }

    fn tell_disconnected(&mut self, ending: &Ending, retry_in: Duration, told: &mut bool) {
        tracing::debug!(why = %ending, retry_ms = retry_in.as_millis() as u64, "publishing is interrupted");
        if !std::mem::replace(told, true) {
            (self.notify)(Notice::Disconnected {
                why: ending.to_string(),
                retry_in,
            });
        }
    }

    /// Claims the producer, if it shall be attached, and waits for the answer.
    async fn attach(&mut self, connection: &mut Connection) -> Result<(), Done> {
        let Some(claim) = &self.claim else {
            return Ok(());
        };
        connection.send(claim.frame(self.shared.window.borrow().producer()));
        let answered = async {
            loop {
                match connection.next().await.map_err(Done::Ended)? {
                    ServerFrame::Attached(answer) => return Ok(answer),
                    ServerFrame::Error(problem) if problem.id == Some(CLAIM_ID) => {
                        return Err(if problem.passes() {
                            Done::Ended(Ending::Problem(problem))
                        } else {
                            Done::Refused(problem)
                        });
                    }
                    frame => self.take(frame)?,
                }
            }
        };
        let answer = timeout(OPEN_TIMEOUT, answered).await.map_err(|_| {
            let why = "it does not answer that an agent attaches".into();
            Done::Ended(Ending::Disagreement(why))
        })??;
        let mut window = self.shared.window.borrow_mut();
        let Some(claim) = &mut self.claim else {
            return Ok(());
        };
        match claim.on_attached(window.producer(), &answer) {
            Ok(epoch) => {
                window.assign(epoch);
                Ok(())
            }
            Err(other) => Err(Done::Ended(Ending::Disagreement(format!(
                "it attached the agent in epoch {}, which nobody asked for",
                other.0
            )))),
        }
    }

    async fn converse(&mut self, mut connection: Connection, told: &mut bool) -> Done {
        if let Err(done) = self.attach(&mut connection).await {
            return done;
        }
        self.shared.ready.set(true);
        self.shared.progress.notify_waiters();
        if std::mem::take(told) {
            (self.notify)(Notice::Back);
        }
        self.shared
            .window
            .borrow_mut()
            .on_connected(connection.welcome().limits.clone());
        loop {
            let wake = self.send(&mut connection);
            if self.shared.finishing.get() && self.shared.window.borrow().is_empty() {
                connection.close().await;
                return Done::Finished;
            }
            let timer = async {
                match wake {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                frame = connection.next() => match frame {
                    Ok(frame) => if let Err(done) = self.take(frame) {
                        return done;
                    },
                    Err(ending) => return Done::Ended(ending),
                },
                () = self.shared.work.notified() => {}
                () = timer => {}
            }
        }
    }

    /// Sends what is due; says when something else will be.
    fn send(&self, connection: &mut Connection) -> Option<Instant> {
        for ack in self.shared.acks.borrow_mut().drain(..) {
            connection.send(ack);
        }
        let mut window = self.shared.window.borrow_mut();
        while let Some(frame) = window.next_frame(Instant::now()) {
            connection.send(frame);
        }
        window.next_wake()
    }

    fn take(&mut self, frame: ServerFrame) -> Result<(), Done> {
        let settled = match frame {
            ServerFrame::Published(answer) => self.shared.window.borrow_mut().on_published(&answer),
            ServerFrame::Error(problem) if problem.id.is_some() => {
                let refused = self
                    .shared
                    .window
                    .borrow_mut()
                    .on_refused(&problem, Instant::now());
                refused.map_err(Done::Refused)?
            }
            ServerFrame::Error(problem) => return Err(Done::Ended(Ending::Problem(problem))),
            ServerFrame::Draining {
                reconnect_after: Some(after),
            } => {
                self.backoff.told(after);
                Settled::default()
            }
            ServerFrame::Control(frame) => {
                let repeated = self.shared.control.borrow_mut().on_frame(frame);
                let repeated = repeated
                    .map_err(|error| Done::Ended(Ending::Disagreement(error.to_string())))?;
                self.shared.acks.borrow_mut().extend(repeated);
                self.shared.progress.notify_waiters();
                Settled::default()
            }
            ServerFrame::Demand(demand) => {
                let mut readers = self.shared.readers.borrow_mut();
                readers.insert(demand.topic, demand.readers);
                Settled::default()
            }
            _ => Settled::default(),
        };
        if settled.progress {
            self.backoff.worked();
            self.shared.progress.notify_waiters();
        }
        if let Some(loss) = settled.loss {
            (self.notify)(Notice::Loss(loss));
        }
        if settled.renumbered && self.claim.is_some() {
            return Err(Done::Renumbered);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
