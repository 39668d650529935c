//! Publishing to one topic in order, without loss and without doubling: the I/O around `window`.
//!
//! A `Publisher` belongs to one topic and has a connection of its own; its driver is a task on the
//! present actix arbiter and ends with it. What is shared between the two:
//! - `window`: the handle pushes, the driver sends and settles; borrowed only between awaits;
//! - `work` (to the driver): something was pushed, or it shall finish;
//! - `progress` (to those who wait in the handle): something was acknowledged, or it failed.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};

use super::backoff::Backoff;
use super::connection::Connection;
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
}

/// What a person may want to know on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Connected, after at least one failure.
    Back,
    Disconnected {
        why: String,
        retry_in: Duration,
    },
    Loss(Loss),
}

pub struct PublisherOptions {
    pub producer: Producer,
    pub bounds: Bounds,
    /// Acknowledged text of open messages, in bytes, that is kept for a broker that forgets its log.
    pub keep: usize,
    /// How long to try for the very first connection; None: for ever.
    pub first_connect: Option<Duration>,
    pub notify: Box<dyn FnMut(Notice)>,
}

impl PublisherOptions {
    /// A producer with an id of its own, in its first epoch.
    pub fn anonymous(prefix: &str) -> Self {
        let id = format!("{prefix}-{}", random_id());
        let bounds = Bounds::default();
        Self {
            producer: Producer { id, epoch: 1 },
            bounds,
            keep: bounds.bytes,
            first_connect: None,
            notify: Box::new(|_| {}),
        }
    }
}

/// 13 characters of `0-9a-v`, 65 random bits.
pub fn random_id() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    (0..13)
        .map(|_| char::from(ALPHABET[fastrand::usize(..32)]))
        .collect()
}

struct Shared {
    window: RefCell<Window>,
    work: Notify,
    progress: Notify,
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
            work: Notify::new(),
            progress: Notify::new(),
            failed: RefCell::new(None),
            finishing: Cell::new(false),
            finished: Cell::new(false),
        });
        let driver = Driver {
            endpoint,
            shared: shared.clone(),
            first_connect: options.first_connect,
            notify: options.notify,
            backoff: Backoff::default(),
        };
        Self {
            shared,
            driver: actix_rt::spawn(driver.run()),
        }
    }

    /// Hands an event over; waits while the window is full. Dropped while it waits, it has no effect.
    pub async fn publish(&self, event: NewEvent) -> Result<(), PublishError> {
        self.wait_until(|shared| shared.window.borrow().has_room())
            .await?;
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

    /// Waits until everything is acknowledged and says good-bye.
    pub async fn finish(self) -> Result<(), PublishError> {
        self.shared.finishing.set(true);
        self.shared.work.notify_one();
        self.wait_until(|shared| shared.finished.get()).await
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
    first_connect: Option<Duration>,
    notify: Box<dyn FnMut(Notice)>,
    backoff: Backoff,
}

/// How a conversation ended.
enum Done {
    Finished,
    Ended(Ending),
    Refused(Box<Problem>),
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
        let mut connected_once = false;
        let mut told = false;
        loop {
            let ending = match Connection::open(&self.endpoint).await {
                Ok(connection) => {
                    connected_once = true;
                    if std::mem::take(&mut told) {
                        (self.notify)(Notice::Back);
                    }
                    match self.converse(connection).await {
                        Done::Finished => return Ok(()),
                        Done::Refused(problem) => {
                            return Err(PublishError::Refused(Rc::from(problem)));
                        }
                        Done::Ended(ending) => ending,
                    }
                }
                Err(ending) => ending,
            };
            self.shared.window.borrow_mut().on_disconnected();
            if self.shared.finishing.get() && self.shared.window.borrow().is_empty() {
                return Ok(());
            }
            let patient = connected_once
                || self
                    .first_connect
                    .is_none_or(|patience| begun.elapsed() < patience);
            if !ending.may_come_back() || !patient {
                return Err(PublishError::Ended(Rc::new(ending)));
            }
            if matches!(ending, Ending::Disagreement(_)) {
                self.backoff.disagreed();
            }
            let mut retry_in = self.backoff.next_wait(fastrand::f64());
            if let Some(patience) = self.first_connect.filter(|_| !connected_once) {
                retry_in = retry_in.min(patience.saturating_sub(begun.elapsed()));
            }
            tracing::debug!(why = %ending, retry_ms = retry_in.as_millis() as u64, "publishing is interrupted");
            if !std::mem::replace(&mut told, true) {
                (self.notify)(Notice::Disconnected {
                    why: ending.to_string(),
                    retry_in,
                });
            }
            sleep(retry_in).await;
        }
    }

    async fn converse(&mut self, mut connection: Connection) -> Done {
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
            _ => Settled::default(),
        };
        if settled.progress {
            self.backoff.worked();
            self.shared.progress.notify_waiters();
        }
        if let Some(loss) = settled.loss {
            (self.notify)(Notice::Loss(loss));
        }
        Ok(())
    }
}
