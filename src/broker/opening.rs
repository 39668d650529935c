//! Beginning to read topics: one by one, each when there is room to say so.

use std::rc::Rc;

use super::caller::Caller;
use super::command::{CommandId, ReadOptions};
use super::directory::Broker;
use super::link::{Link, TopicHub};
use super::problem::Problem;
use super::quota::SubscriptionGuard;
use super::session::Terms;
use super::shard::Shard;
use crate::auth::{Action, AuthError};
use crate::dialect::native_json;
use crate::event::{TopicPath, TopicPattern};
use crate::log::{Attach, ReadFrom};
use crate::ops::metrics::Transport;

/// Topics one pattern may bring in.
pub const MAX_PATTERN_TOPICS: usize = 1000;

/// What the opening of topics needs, apart from the actor.
pub struct Opening {
    pub link: Rc<Link>,
    pub shard: Rc<Shard>,
    pub options: Rc<ReadOptions>,
}

impl Opening {
    pub fn refuse(&self, id: &CommandId, problem: &Problem) {
        self.link
            .session
            .borrow_mut()
            .answer(native_json::error(id, problem));
        self.shard.touch_soon(&self.link);
    }

    /// Topics that match now and may be read; more than a pattern may bring in are cut off (and refused one by one).
    pub async fn list(&self, pattern: &TopicPattern) -> Vec<TopicPath> {
        let Some(principal) = self.link.principal() else {
            return Vec::new();
        };
        let broker = &self.shard.broker;
        let limit = MAX_PATTERN_TOPICS + 1;
        let matches = |topic: &TopicPath| pattern.matches(topic);
        let listed = broker.topics_for(&principal, pattern.prefix(), None, limit, matches);
        listed.await.unwrap_or_default()
    }

    fn may_read(&self, topic: &TopicPath) -> bool {
        let principal = self.link.principal();
        principal.is_some_and(|principal| self.shard.broker.may_read(&principal, topic))
    }

    /// Whether it may do that with the topic.
    pub fn check_access(&self, action: Action, topic: &TopicPath) -> Result<(), Problem> {
        let principal = self.link.principal().ok_or(AuthError::Missing)?;
        self.shard.broker.check_access(&principal, action, topic)
    }

    /// Subscribes one topic, when there is room to say so.
    pub async fn open(&self, id: &CommandId, topic: TopicPath, from: ReadFrom, by_pattern: bool) {
        if !self.link.room().await {
            return;
        }
        if by_pattern
            && (self.link.session.borrow().is_subscribed(&topic, &None) || !self.may_read(&topic))
        {
            return;
        }
        if let Err(problem) = self.check(&topic) {
            return self.refuse(id, &problem);
        }
        let counted = match self.count(&topic) {
            Ok(counted) => counted,
            Err(problem) => return self.refuse(id, &problem),
        };
        match self.shard.hub(&topic).await {
            // who is gone meanwhile has left already
            Ok(_) if self.link.closing().is_some() => {}
            Ok(hub) => {
                let terms = Terms::unnamed(self.options.clone(), by_pattern);
                let attach = open_topic(&self.shard, &self.link, &topic, hub, &from, terms);
                self.link.session.borrow_mut().count(&topic, &None, counted);
                self.link
                    .session
                    .borrow_mut()
                    .tell_subscribed(id, &topic, &attach);
                self.shard.settle(&self.link);
            }
            Err(error) => self.refuse(id, &Problem::from(error).about(topic.as_str())),
        }
    }

    /// Delivers what clients say to the topic's agents, what is kept first.
    pub async fn follow_controls(&self, topic: TopicPath) {
        if !self.link.room().await || self.link.session.borrow().has_control(&topic) {
            return;
        }
        // what clients say is for those who may answer
        if let Err(problem) = self.check_access(Action::Publish, &topic) {
            return self.refuse(&None, &problem);
        }
        match self.shard.hub(&topic).await {
            // who is gone meanwhile has left already
            Ok(_) if self.link.closing().is_some() => {}
            Ok(hub) => {
                let exists = hub.is_some();
                self.link
                    .session
                    .borrow_mut()
                    .follow_controls(topic.clone(), hub, |key| (self.link.clone(), key));
                if !exists {
                    self.shard.await_and_recheck(&topic, &self.link);
                }
                self.shard.settle(&self.link);
            }
            Err(error) => self.refuse(&None, &Problem::from(error).about(topic.as_str())),
        }
    }

    /// Counts a subscription for those who bound them.
    fn count(&self, topic: &TopicPath) -> Result<SubscriptionGuard, Problem> {
        let caller = self.link.caller().ok_or(AuthError::Missing)?;
        count_subscription(&self.shard.broker, &caller, topic)
    }

    fn check(&self, topic: &TopicPath) -> Result<(), Problem> {
        self.check_access(Action::Subscribe, topic)?;
        self.link.session.borrow().check_subscribe(topic, &None)
    }
}

/// Counts a subscription for those who bound them.
pub fn count_subscription(
    broker: &Broker,
    caller: &Caller,
    topic: &TopicPath,
) -> Result<SubscriptionGuard, Problem> {
    let namespace = broker.quotas.namespace(topic.namespace());
    let counted = caller.meters.subscribe(namespace);
    counted.map_err(|limited| limited.refuse(&broker.metrics).about(topic.as_str()))
}

/// Begins to read a topic: joins its hub, or waits for the topic to appear.
pub fn open_topic(
    shard: &Rc<Shard>,
    link: &Rc<Link>,
    topic: &TopicPath,
    hub: Option<Rc<TopicHub>>,
    from: &ReadFrom,
    terms: Terms,
) -> Attach {
    let exists = hub.is_some();
    let member = |key| (link.clone(), key);
    let attach = link
        .session
        .borrow_mut()
        .subscribe(topic.clone(), hub, from, terms, member);
    if !exists {
        shard.await_and_recheck(topic, link);
    }
    count_subscriptions(shard, link, 1);
    attach
}

/// For the metrics.
pub fn count_subscriptions(shard: &Shard, link: &Link, change: i64) {
    let label = Transport {
        transport: link.label,
    };
    shard
        .broker
        .metrics
        .subscriptions
        .get_or_create(&label)
        .inc_by(change);
}
