//! How many readers each topic has, whether it exists yet or not: subscriptions that admit `token.delta`,
//! and pollers. Whoever watches a topic is told that its number changed, and looks.
//!
//! Bound: one entry per topic that somebody reads, or watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use crate::event::TopicPath;

/// Told that the number of a topic's readers changed. Must not block.
pub trait DemandWatch: Send + Sync {
    fn demand_changed(&self, topic: &TopicPath);
}

#[derive(Default)]
pub struct Readers {
    by_topic: DashMap<TopicPath, usize>,
    watchers: DashMap<TopicPath, Vec<Arc<dyn DemandWatch>>>,
    /// Topics that are watched: mostly none, and then nobody has to look.
    watched: AtomicUsize,
}

impl Readers {
    pub fn add(&self, topic: &TopicPath) {
        *self.by_topic.entry(topic.clone()).or_insert(0) += 1;
        self.tell(topic);
    }

    pub fn remove(&self, topic: &TopicPath) {
        if let Some(mut count) = self.by_topic.get_mut(topic) {
            *count = count.saturating_sub(1);
        }
        self.by_topic.remove_if(topic, |_, count| *count == 0);
        self.tell(topic);
    }

    pub fn count(&self, topic: &TopicPath) -> usize {
        self.by_topic.get(topic).map_or(0, |count| *count)
    }

    fn tell(&self, topic: &TopicPath) {
        if self.watched.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(watchers) = self.watchers.get(topic) {
            for watcher in watchers.iter() {
                watcher.demand_changed(topic);
            }
        }
    }

    /// Watch first, then count: no change falls between. The same watcher may watch a topic several times.
    pub fn watch(&self, topic: &TopicPath, watcher: Arc<dyn DemandWatch>) {
        let mut watchers = self.watchers.entry(topic.clone()).or_insert_with(|| {
            self.watched.fetch_add(1, Ordering::SeqCst);
            Vec::new()
        });
        watchers.push(watcher);
    }

    pub fn unwatch(&self, topic: &TopicPath, watcher: &Arc<dyn DemandWatch>) {
        if let Some(mut watchers) = self.watchers.get_mut(topic)
            && let Some(at) = watchers
                .iter()
                .position(|known| Arc::ptr_eq(known, watcher))
        {
            watchers.swap_remove(at);
        }
        let nobody = self
            .watchers
            .remove_if(topic, |_, watchers| watchers.is_empty());
        if nobody.is_some() {
            self.watched.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl DemandWatch for Counting {
        fn demand_changed(&self, _: &TopicPath) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_topic_without_readers_takes_no_place() {
        let topic = TopicPath::parse("/a").expect("a topic");
        let readers = Readers::default();
        readers.add(&topic);
        readers.add(&topic);
        readers.remove(&topic);
        assert_eq!(readers.count(&topic), 1);
        readers.remove(&topic);
        assert_eq!((readers.count(&topic), readers.by_topic.len()), (0, 0));
    }

    #[test]
    fn who_watches_a_topic_is_told_of_each_change_until_it_stops() {
        let (topic, other) = (
            TopicPath::parse("/a").expect("a topic"),
            TopicPath::parse("/b").expect("a topic"),
        );
        let readers = Readers::default();
        let counting = Arc::new(Counting::default());
        let watcher: Arc<dyn DemandWatch> = counting.clone();
        readers.watch(&topic, watcher.clone());
        readers.add(&topic);
        readers.add(&other);
        readers.remove(&topic);
        readers.unwatch(&topic, &watcher);
        readers.add(&topic);
        assert_eq!(counting.0.load(Ordering::SeqCst), 2);
        assert_eq!(readers.watched.load(Ordering::SeqCst), 0);
        assert!(readers.watchers.is_empty());
    }
}
