//! Who wants to know of topics that match a pattern, by the namespace of what may match: a topic that appears is
//! only shown to those of its own namespace, and to those of all.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::event::{TopicPath, TopicPattern};

/// Somebody who wants to know of topics that match.
pub trait PatternReader {
    fn pattern(&self) -> &TopicPattern;
    fn appeared(&self, topic: &TopicPath);
}

/// See the module. Bound: the patterns of the shard's connections.
#[derive(Default)]
pub struct Patterns {
    by_namespace: HashMap<Box<str>, Vec<Rc<dyn PatternReader>>>,
    of_all: Vec<Rc<dyn PatternReader>>,
}

impl Patterns {
    pub fn is_empty(&self) -> bool {
        self.by_namespace.is_empty() && self.of_all.is_empty()
    }

    pub fn add(&mut self, reader: Rc<dyn PatternReader>) {
        let namespace = reader.pattern().namespace().map(Box::from);
        match namespace {
            Some(namespace) => self.by_namespace.entry(namespace).or_default().push(reader),
            None => self.of_all.push(reader),
        }
    }

    /// Those of a connection that ends go in one pass.
    pub fn remove(&mut self, readers: &[Rc<dyn PatternReader>]) {
        let address = |reader: &Rc<dyn PatternReader>| Rc::as_ptr(reader).cast::<()>();
        let gone: HashSet<*const ()> = readers.iter().map(address).collect();
        let namespaces: HashSet<Option<&str>> = readers
            .iter()
            .map(|reader| reader.pattern().namespace())
            .collect();
        for namespace in namespaces {
            let Some(name) = namespace else {
                self.of_all
                    .retain(|reader| !gone.contains(&address(reader)));
                continue;
            };
            if let Some(known) = self.by_namespace.get_mut(name) {
                known.retain(|reader| !gone.contains(&address(reader)));
                if known.is_empty() {
                    self.by_namespace.remove(name);
                }
            }
        }
    }

    pub fn matching(&self, topic: &TopicPath) -> Vec<Rc<dyn PatternReader>> {
        let of_namespace = self.by_namespace.get(topic.namespace());
        let candidates = of_namespace.into_iter().flatten().chain(&self.of_all);
        candidates
            .filter(|reader| reader.pattern().matches(topic))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Reader(TopicPattern);

    impl PatternReader for Reader {
        fn pattern(&self) -> &TopicPattern {
            &self.0
        }

        fn appeared(&self, _: &TopicPath) {}
    }

    #[test]
    fn only_those_that_match_are_found_and_those_that_went_are_not() {
        let reader = |text: &str| -> Rc<dyn PatternReader> {
            Rc::new(Reader(TopicPattern::parse(text).expect("a pattern")))
        };
        let all = ["/**", "/chat/*", "/chat/a/**", "/news/*", "/*"].map(reader);
        let mut patterns = Patterns::default();
        all.iter().for_each(|reader| patterns.add(reader.clone()));
        let found = |patterns: &Patterns, topic: &str| {
            let topic = TopicPath::parse(topic).expect("a topic");
            let mut found: Vec<String> = patterns
                .matching(&topic)
                .iter()
                .map(|reader| reader.pattern().as_str().to_owned())
                .collect();
            found.sort();
            found
        };
        assert_eq!(found(&patterns, "/chat/a/b"), ["/**", "/chat/a/**"]);
        assert_eq!(found(&patterns, "/chat/a"), ["/**", "/chat/*"]);
        assert_eq!(found(&patterns, "/chat"), ["/*", "/**"]);
        patterns.remove(&all[..2]);
        assert!(found(&patterns, "/chat/a").is_empty());
        assert_eq!(found(&patterns, "/news/a"), ["/news/*"]);
        patterns.remove(&all[2..]);
        assert!(patterns.is_empty());
    }
}
