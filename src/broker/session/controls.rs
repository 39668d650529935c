//! Of an agent's session: what clients say to it. Such a subscription is none of a reader: what is gone is gone,
//! nobody is owed it, and it moves no position.

use std::rc::Rc;

use super::super::hub::{Hub, Lane};
use super::{Effect, Session, SubKey, Subscription, leave_hub};
use crate::event::cursor::topic_hash;
use crate::event::{Epoch, Seq, TopicPath};
use crate::log::ReadState;

impl<M: Clone> Session<M> {
    /// Whether this agent gets the control events of the topic.
    pub fn has_control(&self, topic: &TopicPath) -> bool {
        self.control(topic).is_some()
    }

    /// The last control event of the topic that was delivered here.
    pub fn last_control(&self, topic: &TopicPath) -> Option<Seq> {
        self.control(topic).map(|sub| sub.state.seq)
    }

    fn control(&self, topic: &TopicPath) -> Option<&Subscription<M>> {
        let mut controls = self.controls.iter();
        controls.find_map(|key| self.subs[*key].as_ref().filter(|sub| sub.topic == *topic))
    }

    /// How many topics' control events it gets.
    pub fn control_count(&self) -> usize {
        self.controls.len()
    }

    /// Its control events wait, so that it hears first that it is attached; or they go out from now on.
    pub fn hold_controls(&mut self, held: bool) {
        self.controls_held = held;
        if !held {
            for key in self.controls.clone() {
                self.mark_behind(key);
            }
        }
    }

    /// Begins to deliver what clients say to the topic's agents, from what is kept on.
    pub fn follow_controls(
        &mut self,
        topic: TopicPath,
        hub: Option<Rc<Hub<M>>>,
        member: impl FnOnce(SubKey) -> M,
    ) {
        let key = self.free_key();
        let epoch = hub
            .as_ref()
            .map_or_else(Epoch::none, |hub| hub.epoch().clone());
        let (first, joined) = hub
            .as_ref()
            .map_or((Seq::ZERO, Seq::ZERO), |hub| hub.control_range());
        let hub = hub.map(|hub| {
            let place = hub.join(member(key), Lane::Control);
            (hub, place)
        });
        let state = ReadState {
            seq: first,
            partial: false,
        };
        self.controls.push(key);
        self.subs[key] = Some(Subscription {
            hash: topic_hash(topic.as_str()),
            topic,
            options: Rc::default(),
            lane: Lane::Control,
            hub,
            epoch,
            state,
            told: state,
            joined,
            reset: None,
            owed: false,
            queued: false,
            by_pattern: false,
            label: None,
            held: false,
            had: None,
            counted: None,
        });
        self.mark_behind(key);
    }

    /// Ends the delivery of a topic's control events; `false` where there was none.
    pub fn unfollow_controls(&mut self, topic: &TopicPath) -> bool {
        let is_its = |key: &SubKey| {
            let sub = self.subs[*key].as_ref();
            sub.is_some_and(|sub| sub.topic == *topic)
        };
        let Some(at) = self.controls.iter().position(is_its) else {
            return false;
        };
        let key = self.controls.swap_remove(at);
        if let Some(sub) = self.subs[key].take() {
            leave_hub(&sub);
        }
        if !self.behind.contains(&key) {
            self.free.push(key);
        }
        true
    }

    /// Topics whose control events are delivered.
    pub fn control_topics(&self) -> Vec<TopicPath> {
        let subs = self
            .controls
            .iter()
            .filter_map(|key| self.subs[*key].as_ref());
        subs.map(|sub| sub.topic.clone()).collect()
    }

    /// One step of one topic's control events; answers whether there may be more: what is gone is gone, nobody is owed it.
    pub(super) fn step_control(&mut self, key: SubKey, effects: &mut Vec<Effect>) -> bool {
        let Some(sub) = self.subs[key].as_mut() else {
            return false;
        };
        let Some((hub, _)) = &sub.hub else {
            return false;
        };
        if hub.log().is_deleted() {
            effects.push(Effect::Await(sub.topic.clone()));
            leave_hub(sub);
            sub.hub = None;
            (sub.state.seq, sub.joined) = (Seq::ZERO, Seq::ZERO);
            sub.told = sub.state;
            return false;
        }
        let Some((frame, count, upto)) = hub.next_controls(sub.state.seq, sub.joined) else {
            return false;
        };
        sub.state.seq = upto;
        sub.told = sub.state;
        if let Some(frame) = frame {
            self.counts.controls += count;
            self.counts.frames += 1;
            self.push(frame);
        }
        true
    }
}
