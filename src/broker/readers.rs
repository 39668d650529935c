//! How many readers each topic has, whether it exists yet or not: subscriptions that admit `token.delta`,
//! and pollers. Bound: one entry per topic that somebody reads.

use dashmap::DashMap;

use crate::event::TopicPath;

#[derive(Debug, Default)]
pub struct Readers {
    by_topic: DashMap<TopicPath, usize>,
}

impl Readers {
    pub fn add(&self, topic: &TopicPath) {
        *self.by_topic.entry(topic.clone()).or_insert(0) += 1;
    }

    pub fn remove(&self, topic: &TopicPath) {
        if let Some(mut count) = self.by_topic.get_mut(topic) {
            *count = count.saturating_sub(1);
        }
        self.by_topic.remove_if(topic, |_, count| *count == 0);
    }

    pub fn count(&self, topic: &TopicPath) -> usize {
        self.by_topic.get(topic).map_or(0, |count| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
