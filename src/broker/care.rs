//! A shard's care for its links: heartbeats, stalls, ages, and what is no longer used. One look at all of
//! them now and then, so that no connection needs a timer.

use std::rc::Rc;
use std::time::Duration;

use super::directory::Broker;
use super::link::{Close, Link, NewRights};
use super::opening::count_subscriptions;
use super::shard::Shard;
use crate::auth::{Principal, Standing};
use crate::dialect::{Wire, native_json, sse};
use crate::ops::metrics::{Resume, ResumeLabel, Transport};

/// The longest time between two looks at all links.
const MAX_TICK: Duration = Duration::from_secs(1);
const MIN_TICK: Duration = Duration::from_millis(50);
/// How often it is asked of readers that never say so what they have: up to that much of it is sent again.
pub const MARK_INTERVAL: Duration = Duration::from_millis(500);
/// An empty ping frame (RFC 6455 §5.5.2).
const PING: &[u8] = &[0x89, 0x00];

/// Why a subscription ends that the rights of its reader do not cover any more.
pub const NOT_COVERED: Option<(&str, &str)> =
    Some(("forbidden", "your token or key does not cover it any more"));

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

impl Shard {
    /// One look at everything: heartbeats, stalls, ages, and what is no longer used.
    pub fn tick(&self) {
        let now = self.now();
        let links = self.links.borrow().clone();
        let mut waiting = 0;
        for link in &links {
            waiting += link.session.borrow().outbox.bytes() as i64;
            self.look_after(link, now);
        }
        self.broker
            .metrics
            .outbox_bytes
            .inc_by(waiting - self.outbox_bytes.replace(waiting));
        self.lingering.borrow_mut().retain(|(until, topic)| {
            let stays = *until > now;
            if !stays {
                self.broker.readers.remove(topic);
            }
            stays
        });
        self.hubs.borrow_mut().retain(|_, hub| {
            hub.forget_frames();
            let keep = !hub.is_empty();
            if !keep {
                hub.log().unfollow(hub.follower());
            }
            self.broker
                .metrics
                .merged_events
                .inc_by(hub.counts.merged_events.take());
            keep
        });
        self.tell_demand(now);
        let curious = !self.awaiting.borrow().is_empty() || !self.patterns.borrow().is_empty();
        self.inbox.set_curious(curious);
    }

    fn look_after(&self, link: &Rc<Link>, now: u64) {
        let limits = &self.broker.config.limits;
        self.count(link);
        link.session.borrow_mut().outbox.shrink();
        if link.closing().is_some() {
            // one that does not end by itself is cut off
            let since = link.closing_since.get().unwrap_or(now);
            link.closing_since.set(Some(since));
            if now.saturating_sub(since) > millis(limits.stall_timeout) {
                link.cut();
            }
            return;
        }
        if link.session.borrow().outbox.is_empty() {
            link.last_progress.set(now);
        } else if now.saturating_sub(link.last_progress.get()) > millis(limits.stall_timeout) {
            tracing::info!(session = link.id, "a reader took no bytes and is cut off");
            link.close(Close::STALLED);
            return;
        }
        if now >= link.rights_end.get() {
            if let Some(attendant) = link.attendant() {
                attendant.on_rights();
                return;
            }
            let close = match link.principal() {
                Some(_) => Close::EXPIRED,
                None => Close::NO_TOKEN,
            };
            self.end_rights(link, close);
            return;
        }
        if now >= link.expires.get() {
            self.send_away(link, Close::TOO_OLD);
            return;
        }
        match link.wire() {
            Wire::Native(_) | Wire::AppSync => self.ping(link, now),
            Wire::Sse { .. } => self.comment(link, now),
        }
    }

    fn ping(&self, link: &Rc<Link>, now: u64) {
        let ping = millis(self.broker.config.limits.ping_interval);
        let silent = now.saturating_sub(link.last_in.get());
        if silent > ping * 5 / 2 {
            link.close(Close::IDLE);
            return;
        }
        let mut touched = false;
        if silent >= ping && now.saturating_sub(link.last_ping.get()) >= ping {
            link.last_ping.set(now);
            link.session.borrow_mut().answer(PING.into());
            touched = true;
        }
        if now.saturating_sub(link.last_positions.get()) >= ping {
            link.last_positions.set(now);
            touched |= link.session.borrow_mut().tell_positions();
        }
        if touched {
            self.settle(link);
        }
        if let Some(attendant) = link.attendant() {
            attendant.on_tick(now);
        }
    }

    fn comment(&self, link: &Rc<Link>, now: u64) {
        let heartbeat = millis(self.broker.config.limits.sse_heartbeat);
        let tick = tick_of(&self.broker).as_millis() as u64;
        let mut touched = false;
        if now.saturating_sub(link.last_positions.get()) + tick >= heartbeat {
            link.last_positions.set(now);
            touched = link.session.borrow_mut().tell_positions();
        }
        if !touched && now.saturating_sub(link.last_out.get()) + tick >= heartbeat {
            link.session.borrow_mut().answer(sse::COMMENT.into());
            link.last_out.set(now);
            touched = true;
        }
        if touched {
            self.settle(link);
        }
    }

    /// Tells the client to come back, and closes.
    pub fn send_away(&self, link: &Rc<Link>, close: Close) {
        let reconnect_after_ms = fastrand::u64(0..1000);
        {
            let mut session = link.session.borrow_mut();
            match session.wire() {
                Wire::Native(_) => session.answer(native_json::draining(reconnect_after_ms)),
                Wire::Sse { named, .. } => {
                    session.answer(sse::whole_block(&sse::draining(reconnect_after_ms, named)))
                }
                // whatever closes it, such a client comes back
                Wire::AppSync => {}
            }
        }
        self.settle(link);
        link.close(close);
    }

    /// Tells the client that its rights have ended, and closes: it comes back with others, or not at all.
    pub fn end_rights(&self, link: &Rc<Link>, close: Close) {
        if link.closing().is_some() {
            return;
        }
        let wire = link.wire();
        if let Wire::Sse { named, .. } = wire {
            let expired = sse::whole_block(&sse::expired(close.reason, named));
            link.session.borrow_mut().answer(expired);
        }
        self.settle(link);
        link.close(close);
    }

    /// Looks whether everybody here still may what they do.
    pub fn recheck_rights(&self) {
        let links = self.links.borrow().clone();
        for link in &links {
            if let Some(attendant) = link.attendant() {
                attendant.on_rights();
                continue;
            }
            let Some(principal) = link.principal() else {
                continue;
            };
            match self.broker.auth.standing(&principal) {
                Standing::Holds => {}
                Standing::Ended(_) => self.end_rights(link, Close::REVOKED),
                Standing::Changed(principal) => self.change_rights(link, principal),
            }
        }
    }

    /// A connection takes it in by itself; a stream that may not read all of its topics any more ends.
    fn change_rights(&self, link: &Rc<Link>, principal: Principal) {
        if let Some(actor) = link.on_rights.get() {
            // the actor may be held up by a peer that does not read: what it may not read ends here and now
            self.narrow(link, &principal);
            actor.do_send(NewRights(principal));
            return;
        }
        let topics = link.session.borrow().topics();
        let mut topics = topics.iter();
        let stays = topics.all(|topic| self.broker.may_read(&principal, topic));
        match link.caller().filter(|_| stays) {
            Some(caller) => {
                let rights_end = self.broker.rights_end(&principal);
                link.set_caller(caller.with_principal(&self.broker, principal), rights_end);
            }
            None => self.end_rights(link, Close::REVOKED),
        }
    }

    /// From now on it is `principal` at the other end: topics that it may not read are not read any more.
    pub fn narrow(&self, link: &Rc<Link>, principal: &Principal) {
        let Some(caller) = link.caller() else { return };
        let rights_end = self.broker.rights_end(principal);
        let caller = caller.with_principal(&self.broker, principal.clone());
        link.set_caller(caller, rights_end);
        let topics = link.session.borrow().topics();
        for topic in topics {
            if self.broker.may_read(principal, &topic) {
                continue;
            }
            link.session.borrow_mut().unsubscribe(&topic, &None);
            self.stop_awaiting(&topic, link);
            count_subscriptions(self, link, -1);
            let told = native_json::unsubscribed(&None, topic.as_str(), NOT_COVERED);
            link.session.borrow_mut().notice(told);
        }
        self.touch_soon(link);
    }

    pub fn count(&self, link: &Link) {
        let counts = std::mem::take(&mut link.session.borrow_mut().counts);
        let metrics = &self.broker.metrics;
        let label = Transport {
            transport: link.label,
        };
        if counts.frames > 0 {
            metrics
                .frames_out
                .get_or_create(&label)
                .inc_by(counts.frames);
        }
        if counts.bytes > 0 {
            metrics.bytes_out.get_or_create(&label).inc_by(counts.bytes);
        }
        metrics.agents.control_delivered.inc_by(counts.controls);
        let outcomes = [
            (ResumeLabel::exact, counts.resumed),
            (ResumeLabel::gap, counts.gaps),
            (ResumeLabel::reset, counts.resets),
        ];
        for (outcome, count) in outcomes.into_iter().filter(|(_, count)| *count > 0) {
            metrics
                .resumes
                .get_or_create(&Resume { outcome })
                .inc_by(count);
        }
    }
}

/// How often links are looked at: often enough for the shortest interval that is configured.
pub fn tick_of(broker: &Broker) -> Duration {
    let limits = &broker.config.limits;
    let mut shortest = limits
        .ping_interval
        .min(limits.sse_heartbeat)
        .min(limits.stall_timeout)
        .min(MARK_INTERVAL * 8);
    if !broker.config.max_connection_age.is_zero() {
        shortest = shortest.min(broker.config.max_connection_age);
    }
    (shortest / 8).clamp(MIN_TICK, MAX_TICK)
}
