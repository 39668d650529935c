//! Who is at the other end of a connection may change: by a token that comes late, by a new one, by new terms of
//! a key. What they may not do any more is over, and they are told.

use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};

use super::SessionActor;
use crate::auth::{Action, Principal};
use crate::broker::caller::Caller;
use crate::broker::care::NOT_COVERED;
use crate::broker::command::CommandId;
use crate::broker::link::{Close, NewRights};
use crate::broker::problem::{Code, Problem};
use crate::config::Secret;
use crate::dialect::native_json;
use crate::event::{TopicPath, TopicPattern};

/// Tokens that a connection may bring in vain: each costs the check of a signature.
const MAX_BAD_TOKENS: usize = 8;
impl SessionActor {
    /// A new token: of whoever is there already, or of somebody who was still to say who they are.
    pub(super) fn refresh(&mut self, id: CommandId, token: Secret, ctx: &mut Context<Self>) {
        let broker = self.shard.broker.clone();
        let check = async move { broker.authenticate(&token.0).await };
        let checked = check.into_actor(self).map(move |answer, actor, _| {
            let answer = answer.map_err(Problem::from);
            let answer = answer
                .and_then(|principal| actor.same_subject(principal))
                .and_then(|principal| actor.introduce(&principal).map(|()| principal));
            match answer {
                Ok(principal) => {
                    let expires = principal
                        .expires()
                        .map(|expires| expires.saturating_mul(1000));
                    actor.bad_tokens = 0;
                    actor.notice(native_json::refreshed(&id, expires));
                    actor.take_rights(principal);
                }
                Err(problem) => {
                    actor.refuse(&id, &problem);
                    actor.bad_tokens += usize::from(problem.code == Code::Unauthenticated);
                    if actor.bad_tokens >= MAX_BAD_TOKENS {
                        actor.shard.end_rights(&actor.link, Close::UNAUTHENTICATED);
                    }
                }
            }
            actor.done();
        });
        ctx.wait(checked);
    }

    fn same_subject(&self, new: Principal) -> Result<Principal, Problem> {
        match self.link.principal() {
            Some(known) if known.is_known() && known.id() != new.id() => {
                let message = "the new token is of another subject; that needs another connection";
                Err(Problem::new(Code::Forbidden, message))
            }
            _ => Ok(new),
        }
    }

    /// One that says only now who it is counts as a connection of theirs.
    fn introduce(&self, principal: &Principal) -> Result<(), Problem> {
        if self
            .link
            .principal()
            .is_some_and(|known| known.id() == principal.id())
        {
            return Ok(());
        }
        let broker = &self.shard.broker;
        let request = Caller::of_request(broker, principal.clone(), self.link.address);
        let mut counted = self.link.counted.borrow_mut();
        // it counts once, not twice
        let before = counted.take();
        match request.connect(broker) {
            Ok((caller, guard)) => {
                *counted = Some(guard);
                self.link.set_caller(caller, broker.rights_end(principal));
                Ok(())
            }
            Err(problem) => {
                *counted = before;
                Err(problem)
            }
        }
    }

    /// From now on it may do what `principal` may; what that does not cover is over.
    fn take_rights(&mut self, principal: Principal) {
        let broker = self.shard.broker.clone();
        let lost = |pattern: &TopicPattern| broker.check_pattern(&principal, pattern).is_err();
        let patterns = self.patterns.iter().map(|known| known.pattern.clone());
        for pattern in patterns.filter(|pattern| lost(pattern)).collect::<Vec<_>>() {
            self.unsubscribe_pattern(&None, &pattern, NOT_COVERED);
        }
        self.shard.narrow(&self.link, &principal);
        let unheard = |topic: &TopicPath| {
            broker
                .check_access(&principal, Action::Publish, topic)
                .err()
        };
        let controls = self.link.session.borrow().control_topics();
        for topic in controls {
            if let Some(problem) = unheard(&topic) {
                self.link.session.borrow_mut().unfollow_controls(&topic);
                self.shard.stop_awaiting(&topic, &self.link);
                self.refuse(&None, &problem);
            }
        }
        let Some(agent) = &mut self.agent else { return };
        let (link, shard) = (&self.link, &self.shard);
        let mut refused = Vec::new();
        agent.demand.retain(|topic| match unheard(topic) {
            None => true,
            Some(problem) => {
                shard.stop_watching_demand(topic, link);
                refused.push(problem);
                false
            }
        });
        for problem in refused {
            self.refuse(&None, &problem);
        }
    }
}

impl Handler<NewRights> for SessionActor {
    type Result = ();

    fn handle(&mut self, NewRights(principal): NewRights, _: &mut Self::Context) {
        // it may have brought another one meanwhile
        if self.same_subject(principal.clone()).is_ok() {
            self.take_rights(principal);
        }
    }
}
