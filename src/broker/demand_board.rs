//! A shard's agents that want to know how many readers their topics have.
//!
//! A number that cannot be told, because the agent does not read, is told when its outbox has room: nothing
//! queues up.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::demand::Demand;
use super::link::Link;
use super::readers::DemandWatch;
use super::shard::Shard;
use crate::dialect::native_json;
use crate::event::TopicPath;

struct Watched {
    link: Rc<Link>,
    demand: Demand,
}

/// By topic. Bound: what agents may name (`attach`).
#[derive(Default)]
pub struct DemandBoard {
    watched: RefCell<HashMap<TopicPath, Vec<Watched>>>,
}

impl Shard {
    /// Tells this agent the number of readers, now and whenever it changes. `false`: it is told already.
    pub fn watch_demand(&self, topic: &TopicPath, link: &Rc<Link>) -> bool {
        {
            let mut watched = self.demand.watched.borrow_mut();
            let here = watched.entry(topic.clone()).or_default();
            if here.iter().any(|known| Rc::ptr_eq(&known.link, link)) {
                return false;
            }
            if here.is_empty() {
                let watcher: Arc<dyn DemandWatch> = self.inbox.clone();
                self.broker.readers.watch(topic, watcher);
            }
            here.push(Watched {
                link: link.clone(),
                demand: Demand::default(),
            });
        }
        self.count_readers(topic);
        true
    }

    pub fn stop_watching_demand(&self, topic: &TopicPath, link: &Rc<Link>) {
        let mut watched = self.demand.watched.borrow_mut();
        let Some(here) = watched.get_mut(topic) else {
            return;
        };
        here.retain(|known| !Rc::ptr_eq(&known.link, link));
        if here.is_empty() {
            watched.remove(topic);
            let watcher: Arc<dyn DemandWatch> = self.inbox.clone();
            self.broker.readers.unwatch(topic, &watcher);
        }
    }

    /// The number of a topic's readers may have changed.
    pub(super) fn count_readers(&self, topic: &TopicPath) {
        let now = self.now();
        let count = self.broker.readers.count(topic);
        let mut next = None;
        if let Some(here) = self.demand.watched.borrow_mut().get_mut(topic) {
            for watched in here {
                let told = watched.demand.set(count, now);
                self.tell(topic, watched, told);
                next = next.into_iter().chain(watched.demand.next_look()).min();
            }
        }
        if let Some(next) = next {
            self.arm_timer(next);
        }
    }

    /// Numbers whose time has come, and those that had no room.
    pub(super) fn tell_demand(&self, now: u64) {
        let mut next = None;
        for (topic, here) in self.demand.watched.borrow_mut().iter_mut() {
            for watched in here {
                let told = watched.demand.look(now);
                self.tell(topic, watched, told);
                next = next.into_iter().chain(watched.demand.next_look()).min();
            }
        }
        if let Some(next) = next {
            self.arm_timer(next);
        }
    }

    fn tell(&self, topic: &TopicPath, watched: &mut Watched, readers: Option<usize>) {
        let Some(readers) = readers else { return };
        {
            let mut session = watched.link.session.borrow_mut();
            if !session.outbox.has_room() {
                watched.demand.untold();
                return;
            }
            session.notice(native_json::demand(topic, readers));
        }
        self.broker.metrics.agents.demand_changes.inc();
        self.touch_soon(&watched.link);
    }
}
