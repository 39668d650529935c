//! What a connection reads: each reading under the id that its client gave it, with the rights of whoever asked for
//! it, and with a bookmark for when the client comes back.
//!
//! These clients acknowledge nothing. So every half second a ping goes out behind what was delivered, and with its
//! pong (RFC 6455 §5.5.3) all of that has arrived: that is the position that is kept. What was delivered since is
//! sent again to a client that was cut off.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::KEEP_ALIVE;
use crate::auth::{AuthError, Principal, Standing};
use crate::broker::bookmarks::{Bookmark, BookmarkKey};
use crate::broker::caller::Caller;
use crate::broker::directory::unix_millis;
use crate::broker::link::{Attendant, Close, Link};
use crate::broker::opening::count_subscriptions;
use crate::broker::problem::Problem;
use crate::broker::quota::SubscriptionGuard;
use crate::broker::shard::{PatternReader, Shard};
use crate::dialect::appsync::channel::Channel;
use crate::dialect::appsync::encode;
use crate::event::{Position, TopicPath};

/// Of a wildcard: what brings in topics as they appear.
pub struct Watched {
    pub reader: Rc<dyn PatternReader>,
    /// Topics on their way to the actor.
    pub waiting: Rc<Cell<usize>>,
    /// Counts it for those who bound subscriptions.
    pub _counted: SubscriptionGuard,
}

/// One subscription of the client's.
pub struct Reading {
    pub channel: Channel,
    /// Who asked for it.
    pub caller: RefCell<Caller>,
    pub bookmark: BookmarkKey,
    pub watch: Option<Watched>,
    /// Since when, in the broker's milliseconds.
    pub since: u64,
    /// Of a wildcard: some topics may not be read any more, so that those that are not read need not be new.
    pub narrowed: Cell<bool>,
}

impl Reading {
    fn bookmark_of(&self, positions: Vec<(TopicPath, Position)>) -> Bookmark {
        Bookmark {
            positions,
            complete: !self.narrowed.get(),
        }
    }
}

/// See the module.
pub struct Readings {
    pub link: Rc<Link>,
    pub shard: Rc<Shard>,
    by_id: RefCell<HashMap<Rc<str>, Reading>>,
    /// What the client showed with its handshake is no good: it is told with the first thing that it says.
    pub refused: RefCell<Option<Problem>>,
    /// When it was last told that the connection lives; `None`: it has not asked for that yet.
    last_ka: Cell<Option<u64>>,
    /// Counts pings,
    marks: Cell<u64>,
    /// and whether the last of them is still to be answered.
    unanswered: Cell<bool>,
    /// When every bookmark was last saved, moved or not: those of living connections do not grow old.
    last_kept: Cell<u64>,
}

impl Readings {
    pub fn new(link: Rc<Link>, shard: Rc<Shard>, refused: Option<Problem>) -> Rc<Self> {
        let last_kept = Cell::new(shard.now());
        Rc::new(Self {
            last_kept,
            link,
            shard,
            by_id: RefCell::default(),
            refused: RefCell::new(refused),
            last_ka: Cell::new(None),
            marks: Cell::new(0),
            unanswered: Cell::new(false),
        })
    }

    pub fn len(&self) -> usize {
        self.by_id.borrow().len()
    }

    /// What is read under that id: the channel, and since when.
    pub fn known(&self, id: &str) -> Option<(Channel, u64)> {
        let readings = self.by_id.borrow();
        let reading = readings.get(id)?;
        Some((reading.channel.clone(), reading.since))
    }

    /// Adds one, to a connection that is there; its topics are opened already.
    pub fn add(&self, id: Rc<str>, reading: Reading) {
        let ends = self
            .shard
            .broker
            .rights_end(&reading.caller.borrow().principal);
        self.by_id.borrow_mut().insert(id.clone(), reading);
        self.link
            .rights_end
            .set(self.link.rights_end.get().min(ends));
        self.keep(&id, self.link.session.borrow().had_under(&id));
    }

    /// A topic arrived that appeared under a wildcard: with what rights it is read. `None`: not any more; it may have
    /// been sent for an earlier subscription of that id.
    pub fn arrived(&self, id: &str, topic: &TopicPath) -> Option<Caller> {
        let readings = self.by_id.borrow();
        let reading = readings.get(id)?;
        let (Channel::Pattern(wildcard), Some(watch)) = (&reading.channel, &reading.watch) else {
            return None;
        };
        watch.waiting.set(watch.waiting.get().saturating_sub(1));
        let covered = wildcard.pattern().matches(topic);
        covered.then(|| reading.caller.borrow().clone())
    }

    /// With what rights that is read.
    pub fn caller_of(&self, id: &str) -> Option<Caller> {
        let readings = self.by_id.borrow();
        readings
            .get(id)
            .map(|reading| reading.caller.borrow().clone())
    }

    /// Ends one because its client said so: nothing is owed any more. `false`: there is none.
    pub fn end(&self, id: &str) -> bool {
        let Some(reading) = self.by_id.borrow_mut().remove(id) else {
            return false;
        };
        self.shard
            .broker
            .bookmarks
            .forget(&reading.bookmark, self.link.id);
        self.leave(id, &reading.watch);
        true
    }

    /// Leaves all topics that are read under an id.
    pub fn leave(&self, id: &str, watch: &Option<Watched>) {
        if let Some(watch) = watch {
            self.shard
                .remove_patterns(std::slice::from_ref(&watch.reader));
        }
        let label = Some(id.into());
        let topics = self.link.session.borrow().topics_under(&label);
        for topic in topics {
            self.link.session.borrow_mut().unsubscribe(&topic, &label);
            self.shard.stop_awaiting(&topic, &self.link);
            count_subscriptions(&self.shard, &self.link, -1);
        }
    }

    /// The client said something: from now on its connection is kept alive, also if it never asks to be greeted.
    pub fn begin(&self) {
        if self.last_ka.get().is_none() {
            self.last_ka.set(Some(self.shard.now()));
        }
    }

    /// From now on the client is told that the connection lives.
    pub fn keep_alive(&self) {
        self.last_ka.set(Some(self.shard.now()));
        self.link.session.borrow_mut().answer(encode::ka());
    }

    /// Tells a client that it may not come in, and closes at once: some would take a later close for that of the
    /// connection they made meanwhile.
    pub fn turn_away(&self, problem: &Problem) {
        let refusal = encode::connection_error(problem);
        self.link.session.borrow_mut().answer(refusal);
        self.shard.end_rights(&self.link, Close::UNAUTHENTICATED);
    }

    /// A pong came.
    pub fn answered(&self, payload: &[u8]) {
        if !self.unanswered.get() || payload != self.marks.get().to_be_bytes() {
            return;
        }
        self.unanswered.set(false);
        let moved = self.link.session.borrow_mut().confirm();
        for (id, positions) in moved {
            self.keep(&id, positions);
        }
    }

    fn keep(&self, id: &str, positions: Vec<(TopicPath, Position)>) {
        let broker = &self.shard.broker;
        if !broker.config.appsync.replay {
            return;
        }
        let readings = self.by_id.borrow();
        let Some(reading) = readings.get(id) else {
            return;
        };
        let bookmark = reading.bookmark_of(positions);
        broker
            .bookmarks
            .save(&reading.bookmark, self.link.id, bookmark, unix_millis());
    }

    /// A last word on where it has read to.
    fn release(&self, id: &Rc<str>, reading: &Reading) {
        let had = self.link.session.borrow().had_under(id);
        let (bookmarks, bookmark) = (&self.shard.broker.bookmarks, reading.bookmark_of(had));
        bookmarks.release(&reading.bookmark, self.link.id, bookmark, unix_millis());
    }

    fn keep_all(&self) {
        let ids: Vec<Rc<str>> = self.by_id.borrow().keys().cloned().collect();
        for id in ids {
            let had = self.link.session.borrow().had_under(&id);
            self.keep(&id, had);
        }
    }

    fn mark(&self) {
        let replay = self.shard.broker.config.appsync.replay;
        if !replay || self.unanswered.get() || !self.link.session.borrow_mut().mark() {
            return;
        }
        self.unanswered.set(true);
        self.marks.set(self.marks.get() + 1);
        let ping = ping(self.marks.get());
        self.link.session.borrow_mut().notice(ping);
        self.shard.settle(&self.link);
    }

    /// With what is left of their rights; `Err`: nothing is.
    fn still(&self, caller: &Caller) -> Result<Caller, Problem> {
        self.shard.broker.still(caller)
    }

    fn check_reading(&self, id: &Rc<str>, reading: &Reading) -> Result<Caller, Problem> {
        let broker = &self.shard.broker;
        let caller = self.still(&reading.caller.borrow())?;
        match &reading.channel {
            Channel::Topic(topic) if !broker.may_read(&caller.principal, topic) => {
                Err(Problem::from(AuthError::Revoked))
            }
            Channel::Pattern(wildcard) => {
                broker.check_pattern(&caller.principal, wildcard.pattern())?;
                if self.narrow(id, &caller.principal) {
                    reading.narrowed.set(true);
                }
                Ok(caller)
            }
            Channel::Topic(_) => Ok(caller),
        }
    }

    /// Of a wildcard: what may not be read any more is not; `true`: there was such.
    fn narrow(&self, id: &Rc<str>, principal: &Principal) -> bool {
        let label = Some(id.clone());
        let topics = self.link.session.borrow().topics_under(&label);
        let mut any = false;
        for topic in topics {
            if !self.shard.broker.may_read(principal, &topic) {
                self.link.session.borrow_mut().unsubscribe(&topic, &label);
                self.shard.stop_awaiting(&topic, &self.link);
                count_subscriptions(&self.shard, &self.link, -1);
                any = true;
            }
        }
        any
    }

    fn check_readings(&self) {
        let mut ended = Vec::new();
        for (id, reading) in self.by_id.borrow().iter() {
            match self.check_reading(id, reading) {
                Ok(caller) => *reading.caller.borrow_mut() = caller,
                Err(problem) => ended.push((id.clone(), problem)),
            }
        }
        for (id, problem) in ended {
            if let Some(reading) = self.by_id.borrow_mut().remove(&id) {
                self.release(&id, &reading);
                self.leave(&id, &reading.watch);
            }
            self.link
                .session
                .borrow_mut()
                .notice(encode::ended(&id, &problem));
        }
    }
}

impl Attendant for Readings {
    fn on_end(&self) {
        let readings = self.by_id.take();
        for (id, reading) in &readings {
            self.release(id, reading);
        }
        let watched = readings
            .values()
            .filter_map(|reading| reading.watch.as_ref());
        let watched: Vec<_> = watched.map(|watch| watch.reader.clone()).collect();
        self.shard.remove_patterns(&watched);
    }

    fn on_tick(&self, now: u64) {
        if let Some(last) = self.last_ka.get()
            && now.saturating_sub(last) >= KEEP_ALIVE.as_millis() as u64
        {
            self.keep_alive();
            self.shard.settle(&self.link);
        }
        let keep_for = self.shard.broker.config.appsync.replay_for.as_millis() as u64;
        if now.saturating_sub(self.last_kept.get()) >= keep_for / 4 {
            self.last_kept.set(now);
            self.keep_all();
        }
        self.mark();
    }

    fn on_rights(&self) {
        if self.link.closing().is_some() {
            return;
        }
        if let Some(problem) = self.refused.take() {
            return self.turn_away(&problem);
        }
        let broker = &self.shard.broker;
        let Some(caller) = self.link.caller() else {
            return self.shard.end_rights(&self.link, Close::NO_TOKEN);
        };
        match self.still(&caller) {
            Ok(caller) => {
                let mut ends = broker.rights_end(&caller.principal);
                self.check_readings();
                for reading in self.by_id.borrow().values() {
                    ends = ends.min(broker.rights_end(&reading.caller.borrow().principal));
                }
                self.link.set_caller(caller, ends);
                self.shard.touch_soon(&self.link);
            }
            Err(_) => {
                let close = match broker.auth.standing(&caller.principal) {
                    Standing::Ended(_) => Close::REVOKED,
                    Standing::Holds | Standing::Changed(_) => Close::EXPIRED,
                };
                self.shard.end_rights(&self.link, close);
            }
        }
    }
}

/// A ping that says which one it is.
fn ping(number: u64) -> Bytes {
    let mut frame = BytesMut::with_capacity(10);
    frame.extend_from_slice(&[0x89, 8]);
    frame.extend_from_slice(&number.to_be_bytes());
    frame.freeze()
}
