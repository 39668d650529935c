//! Beginning to read what a client subscribed: every topic first, then the client is told, then what it missed, then
//! what comes.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use actix::{Addr, Message};

use super::connection::Conversation;
use super::readings::{Reading, Readings, Watched};
use crate::auth::Action;
use crate::broker::Broker;
use crate::broker::bookmarks::{Bookmark, BookmarkKey};
use crate::broker::caller::Caller;
use crate::broker::command::ReadOptions;
use crate::broker::directory::unix_millis;
use crate::broker::link::Close;
use crate::broker::opening::{MAX_PATTERN_TOPICS, count_subscription, open_topic};
use crate::broker::problem::{Code, Problem};
use crate::broker::quota::SubscriptionGuard;
use crate::broker::session::Terms;
use crate::broker::shard::PatternReader;
use crate::dialect::appsync::channel::{Channel, Wildcard};
use crate::event::{Epoch, Position, Seq, TopicPath, TopicPattern};
use crate::log::ReadFrom;

/// A topic appeared that a wildcard covers.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Appeared {
    pub id: Box<str>,
    pub topic: TopicPath,
}

/// Brings in topics of a wildcard as they appear.
struct Watch {
    id: Rc<str>,
    pattern: TopicPattern,
    readings: Rc<Readings>,
    addr: Addr<Conversation>,
    /// Who asked for the wildcard, until that is among the readings.
    principal: crate::auth::Principal,
    /// Topics on their way to the actor.
    waiting: Rc<Cell<usize>>,
}

impl PatternReader for Watch {
    fn pattern(&self) -> &TopicPattern {
        &self.pattern
    }

    fn appeared(&self, topic: &TopicPath) {
        // what it may not read does not count: others could end the connection with their topics
        let principal = match self.readings.caller_of(&self.id) {
            Some(caller) => caller.principal,
            None => self.principal.clone(),
        };
        if !self.readings.shard.broker.may_read(&principal, topic) {
            return;
        }
        let under = self.readings.link.session.borrow();
        let known = under.is_subscribed(topic, &Some(self.id.clone()));
        drop(under);
        if known {
            return;
        }
        if self.waiting.get() >= MAX_PATTERN_TOPICS {
            self.readings.link.close(Close::TOO_MUCH);
            return;
        }
        self.waiting.set(self.waiting.get() + 1);
        self.addr.do_send(Appeared {
            id: (&*self.id).into(),
            topic: topic.clone(),
        });
    }
}

/// What a client wants to read, and as whom.
pub struct Wanted {
    pub id: Rc<str>,
    pub channel: Channel,
    pub caller: Caller,
}

/// Opens everything that is wanted, held back until the client was told. `Err` leaves nothing open.
pub async fn open(
    readings: &Rc<Readings>,
    wanted: Wanted,
    addr: Addr<Conversation>,
) -> Result<(), Problem> {
    let Wanted {
        id,
        channel,
        caller,
    } = wanted;
    // who is gone meanwhile takes nothing from who came back
    if readings.link.closing().is_some() {
        return Err(Problem::draining(0));
    }
    let broker = &readings.shard.broker;
    let bookmark = BookmarkKey {
        principal: caller.principal.id().clone(),
        label: (&*id).into(),
        channel: channel.as_str().into(),
    };
    match &channel {
        Channel::Topic(topic) => {
            broker.check_access(&caller.principal, Action::Subscribe, topic)?;
        }
        Channel::Pattern(wildcard) => check_wildcard(readings, wildcard, &caller)?,
    }
    let kept = take_over(readings, &bookmark);
    let opened = match &channel {
        Channel::Topic(topic) => {
            let from = from_bookmark(kept.as_ref(), topic).unwrap_or(ReadFrom::Live);
            open_one(readings, &id, topic.clone(), from, &caller, Opened::HELD)
                .await
                .map(|()| None)
        }
        Channel::Pattern(wildcard) => {
            open_wildcard(readings, &id, wildcard, &caller, kept.as_ref(), addr).await
        }
    };
    // it may have taken its time, and those among the readings are asked whenever rights change
    let watch = opened.and_then(|watch| match check_still(readings, &channel, &caller) {
        Ok(()) => Ok(watch),
        Err(problem) => {
            readings.leave(&id, &watch);
            Err(problem)
        }
    });
    match watch {
        Ok(watch) if readings.link.closing().is_none() => {
            let reading = Reading {
                channel,
                caller: caller.into(),
                bookmark,
                watch,
                since: readings.shard.now(),
                narrowed: Cell::new(false),
            };
            readings.add(id, reading);
            Ok(())
        }
        Ok(watch) => {
            readings.leave(&id, &watch);
            give_back(readings, &bookmark, kept);
            Ok(())
        }
        Err(problem) => {
            readings.leave(&id, &None);
            give_back(readings, &bookmark, kept);
            Err(problem)
        }
    }
}

/// Nothing came of it: what was kept is there for the next who asks.
fn give_back(readings: &Readings, bookmark: &BookmarkKey, kept: Option<Bookmark>) {
    let (bookmarks, owner) = (&readings.shard.broker.bookmarks, readings.link.id);
    match kept {
        Some(kept) => bookmarks.release(bookmark, owner, kept, unix_millis()),
        None => bookmarks.forget(bookmark, owner),
    }
}

fn check_still(readings: &Readings, channel: &Channel, caller: &Caller) -> Result<(), Problem> {
    let broker = &readings.shard.broker;
    let caller = broker.still(caller)?;
    match channel {
        Channel::Topic(topic) => broker.check_access(&caller.principal, Action::Subscribe, topic),
        Channel::Pattern(wildcard) => broker.check_pattern(&caller.principal, wildcard.pattern()),
    }
}

fn take_over(readings: &Readings, bookmark: &BookmarkKey) -> Option<Bookmark> {
    let broker = &readings.shard.broker;
    if !broker.config.appsync.replay {
        return None;
    }
    let (bookmarks, now) = (&broker.bookmarks, unix_millis());
    bookmarks.take_over(bookmark, readings.link.id, now)
}

fn check_wildcard(
    readings: &Readings,
    wildcard: &Wildcard,
    caller: &Caller,
) -> Result<(), Problem> {
    let broker = &readings.shard.broker;
    broker.check_pattern(&caller.principal, wildcard.pattern())?;
    match wildcard.pattern().namespace() {
        Some(namespace) => broker.check_namespace_of(namespace, wildcard.as_str()),
        None => Ok(()),
    }
}

/// Watches first, then lists, so that no topic falls between.
async fn open_wildcard(
    readings: &Rc<Readings>,
    id: &Rc<str>,
    wildcard: &Wildcard,
    caller: &Caller,
    kept: Option<&Bookmark>,
    addr: Addr<Conversation>,
) -> Result<Option<Watched>, Problem> {
    let pattern = wildcard.pattern();
    let counted = count_wildcard(&readings.shard.broker, caller, pattern)?;
    let waiting = Rc::new(Cell::new(0));
    let reader: Rc<dyn PatternReader> = Rc::new(Watch {
        id: id.clone(),
        pattern: pattern.clone(),
        readings: readings.clone(),
        addr,
        principal: caller.principal.clone(),
        waiting: waiting.clone(),
    });
    readings.shard.add_pattern(reader.clone());
    let opened = open_listed(readings, id, pattern, caller, kept).await;
    if opened.is_err() {
        readings
            .shard
            .remove_patterns(std::slice::from_ref(&reader));
    }
    opened.map(|()| {
        Some(Watched {
            reader,
            waiting,
            _counted: counted,
        })
    })
}

/// A wildcard counts as a subscription even where it brings in nothing.
fn count_wildcard(
    broker: &Broker,
    caller: &Caller,
    pattern: &TopicPattern,
) -> Result<SubscriptionGuard, Problem> {
    let namespace = pattern
        .namespace()
        .and_then(|name| broker.quotas.namespace(name));
    let counted = caller.meters.subscribe(namespace);
    counted.map_err(|limited| limited.refuse(&broker.metrics).about(pattern.as_str()))
}

async fn open_listed(
    readings: &Rc<Readings>,
    id: &Rc<str>,
    pattern: &TopicPattern,
    caller: &Caller,
    kept: Option<&Bookmark>,
) -> Result<(), Problem> {
    let broker = &readings.shard.broker;
    let matches = |topic: &TopicPath| pattern.matches(topic);
    let limit = MAX_PATTERN_TOPICS + 1;
    let listed = broker.topics_for(&caller.principal, pattern.prefix(), None, limit, matches);
    let listed = listed.await.map_err(Problem::from)?;
    if listed.len() > MAX_PATTERN_TOPICS {
        let message = format!("a wildcard brings in at most {MAX_PATTERN_TOPICS} channels");
        return Err(Problem::new(Code::TooManySubscriptions, message));
    }
    let is_complete = kept.is_some_and(|kept| kept.complete);
    let positions = kept.into_iter().flat_map(|kept| &kept.positions);
    let mut positions: HashMap<&TopicPath, &Position> = positions
        .map(|(topic, position)| (topic, position))
        .collect();
    for topic in listed {
        let from = match positions.remove(&topic) {
            Some(position) => ReadFrom::After(position.clone()),
            // it appeared while the client was away
            None if is_complete => beginning(),
            None => ReadFrom::Live,
        };
        open_one(readings, id, topic, from, caller, Opened::HELD_OF_PATTERN).await?;
    }
    Ok(())
}

/// How a topic is opened.
#[derive(Clone, Copy)]
pub struct Opened {
    held: bool,
    by_pattern: bool,
}

impl Opened {
    const HELD: Self = Self {
        held: true,
        by_pattern: false,
    };
    const HELD_OF_PATTERN: Self = Self {
        held: true,
        by_pattern: true,
    };
    /// A topic that appeared: its wildcard is being read already.
    pub const APPEARED: Self = Self {
        held: false,
        by_pattern: true,
    };
}

/// Opens one topic, unless it is open.
pub async fn open_one(
    readings: &Readings,
    id: &Rc<str>,
    topic: TopicPath,
    from: ReadFrom,
    caller: &Caller,
    how: Opened,
) -> Result<(), Problem> {
    let (link, shard) = (&readings.link, &readings.shard);
    let label = Some(id.clone());
    if link.session.borrow().is_subscribed(&topic, &label) {
        return Ok(());
    }
    link.session.borrow().check_subscribe(&topic, &label)?;
    let counted = count_subscription(&shard.broker, caller, &topic)?;
    let hub = shard.hub(&topic).await;
    let hub = hub.map_err(|error| Problem::from(error).about(topic.as_str()))?;
    // who is gone meanwhile has left already
    if link.closing().is_some() {
        return Ok(());
    }
    let terms = Terms {
        options: Rc::new(ReadOptions::default()),
        by_pattern: how.by_pattern,
        label: label.clone(),
        held: how.held,
    };
    open_topic(shard, link, &topic, hub, &from, terms);
    link.session.borrow_mut().count(&topic, &label, counted);
    Ok(())
}

fn from_bookmark(kept: Option<&Bookmark>, topic: &TopicPath) -> Option<ReadFrom> {
    let mut positions = kept?.positions.iter();
    let (_, position) = positions.find(|(known, _)| known == topic)?;
    Some(ReadFrom::After(position.clone()))
}

/// All that there is: of a topic that appeared later.
pub fn beginning() -> ReadFrom {
    ReadFrom::After(Position {
        epoch: Epoch::none(),
        seq: Seq::ZERO,
        partial: false,
    })
}
