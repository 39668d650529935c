//! What a principal may do here: asked before anything is looked up, so that what does not exist and what somebody
//! may not see are answered alike.

use super::directory::Broker;
use super::problem::{Code, Problem};
use crate::auth::grants::Pattern;
use crate::auth::{Action, Principal, Proof};
use crate::config::{Access, Namespace};
use crate::engine::EngineError;
use crate::event::{NewEvent, TopicPath, TopicPattern};

/// Names asked of the engine at once.
const PAGE: usize = 1000;

impl Broker {
    /// Whether it may do that with this topic.
    pub fn check_access(
        &self,
        principal: &Principal,
        action: Action,
        topic: &TopicPath,
    ) -> Result<(), Problem> {
        if principal.may(action, topic, self.namespace(topic)) {
            return self.check_namespace(topic);
        }
        self.metrics.count_forbidden(action);
        Err(forbidden(action, topic.as_str()).about(topic.as_str()))
    }

    /// The same, where nobody is told.
    pub fn may_read(&self, principal: &Principal, topic: &TopicPath) -> bool {
        principal.may(Action::Subscribe, topic, self.namespace(topic))
            && self.check_namespace(topic).is_ok()
    }

    /// Whether anything that it may read could match.
    pub fn check_pattern(
        &self,
        principal: &Principal,
        pattern: &TopicPattern,
    ) -> Result<(), Problem> {
        let reads = |namespace: &Namespace| principal.has_access(namespace.read);
        let by_namespace = match pattern.namespace() {
            Some(name) => reads(self.config.namespace(name)),
            None => self.all_namespaces().any(reads),
        };
        if by_namespace || principal.might(Action::Subscribe, pattern, Access::Grant) {
            return Ok(());
        }
        self.metrics.count_forbidden(Action::Subscribe);
        Err(forbidden(Action::Subscribe, pattern.as_str()).about(pattern.as_str()))
    }

    fn all_namespaces(&self) -> impl Iterator<Item = &Namespace> {
        let config = &self.config;
        config.namespaces.values().chain([&config.other_namespaces])
    }

    /// Whether it may publish these events: the right to publish is good for some types, the right to control for
    /// others.
    pub fn check_publish(
        &self,
        principal: &Principal,
        topic: &TopicPath,
        events: &[NewEvent],
    ) -> Result<(), Problem> {
        let usable = self.usable_types(principal, topic)?;
        let Some(index) = events.iter().position(|event| !usable.admit(&event.name)) else {
            return Ok(());
        };
        self.metrics.count_forbidden(Action::Publish);
        let right = if usable.publish { "publish" } else { "control" };
        let message = format!(
            "event {index}: your right to {right} in this topic is not good for events of this type"
        );
        let mut problem = Problem::new(Code::Forbidden, message).about(topic.as_str());
        problem.details.index = Some(index);
        problem.details.field = Some("type");
        Err(problem)
    }

    /// The types of events that it may publish to the topic, where there are any.
    pub fn usable_types(
        &self,
        principal: &Principal,
        topic: &TopicPath,
    ) -> Result<UsableTypes<'_>, Problem> {
        let namespace = self.namespace(topic);
        let usable = UsableTypes {
            namespace,
            all: matches!(principal.proof(), Proof::Open),
            publish: principal.may(Action::Publish, topic, namespace),
            control: principal.may(Action::Control, topic, namespace),
        };
        if !usable.publish && !usable.control {
            self.metrics.count_forbidden(Action::Publish);
            return Err(forbidden(Action::Publish, topic.as_str()).about(topic.as_str()));
        }
        self.check_namespace(topic)?;
        Ok(usable)
    }

    /// Whether it may be an agent: somebody who may publish nowhere has no run to look after.
    pub fn check_agent(&self, principal: &Principal) -> Result<(), Problem> {
        let anywhere = matches!(principal.proof(), Proof::Open)
            || !principal.grants().of(Action::Publish).is_empty()
            || self
                .all_namespaces()
                .any(|namespace| principal.has_access(namespace.write));
        if anywhere {
            return Ok(());
        }
        self.metrics.count_forbidden(Action::Publish);
        let message = "you may not publish anywhere, so there is no run to attach";
        Err(Problem::new(Code::Forbidden, message))
    }

    /// Topics that exist, begin with `prefix`, and that it may read, in order; looks only where it may.
    pub async fn topics_for(
        &self,
        principal: &Principal,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        wanted: impl Fn(&TopicPath) -> bool,
    ) -> Result<Vec<TopicPath>, EngineError> {
        let mut found = Vec::new();
        for Range { start, is_topic } in self.ranges(principal, prefix) {
            let mut after = after.map(str::to_owned);
            loop {
                let asked = if is_topic { 1 } else { PAGE.min(limit.max(16)) };
                let page = self.engine.topics(&start, after.as_deref(), asked);
                let page = page.wait().await?;
                let is_last = is_topic || page.len() < asked;
                after = page.last().map(|topic| topic.as_str().to_owned());
                found.extend(page.into_iter().filter(|topic| {
                    (!is_topic || topic.as_str() == start)
                        && self.may_read(principal, topic)
                        && wanted(topic)
                }));
                if found.len() >= limit {
                    found.truncate(limit);
                    return Ok(found);
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Where it may read anything, in order and without overlaps.
    fn ranges(&self, principal: &Principal, prefix: &str) -> Vec<Range> {
        let all = vec![Range::below(prefix.to_owned())];
        let others = &self.config.other_namespaces;
        if matches!(principal.proof(), Proof::Open) || principal.has_access(others.read) {
            return all;
        }
        let mut ranges = Vec::new();
        for (name, namespace) in &self.config.namespaces {
            if principal.has_access(namespace.read) {
                ranges.push(Range::topic(format!("/{name}")));
                ranges.push(Range::below(format!("/{name}/")));
            }
        }
        for pattern in principal.grants().of(Action::Subscribe) {
            ranges.push(match pattern {
                Pattern::Topic(topic) => Range::topic(topic.as_str().to_owned()),
                Pattern::Topics(pattern) => Range::below(pattern.prefix().to_owned()),
            });
        }
        narrow(ranges, prefix)
    }
}

/// What somebody may publish to one topic.
#[derive(Debug, Clone, Copy)]
pub struct UsableTypes<'a> {
    namespace: &'a Namespace,
    all: bool,
    publish: bool,
    control: bool,
}

impl UsableTypes<'_> {
    pub fn admit(&self, name: &str) -> bool {
        self.all
            || (self.publish && self.namespace.publish_types.admits(name))
            || (self.control && self.namespace.control_types.admits(name))
    }
}

/// Part of the names of topics.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    start: String,
    /// Just this one; otherwise all that begin so.
    is_topic: bool,
}

impl Range {
    fn topic(start: String) -> Self {
        Self {
            start,
            is_topic: true,
        }
    }

    fn below(start: String) -> Self {
        Self {
            start,
            is_topic: false,
        }
    }
}

fn narrow(ranges: Vec<Range>, prefix: &str) -> Vec<Range> {
    let mut ranges: Vec<Range> = ranges
        .into_iter()
        .filter_map(|range| {
            if range.start.starts_with(prefix) {
                return Some(range);
            }
            let is_inside = !range.is_topic && prefix.starts_with(&range.start);
            is_inside.then(|| Range::below(prefix.to_owned()))
        })
        .collect();
    ranges.sort();
    let mut disjoint: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        // a wider one that covers it sorts before it, unless both begin alike
        let covered = disjoint
            .iter()
            .any(|wider| !wider.is_topic && range.start.starts_with(&wider.start));
        if !covered && disjoint.last() != Some(&range) {
            disjoint.push(range);
        }
    }
    disjoint
}

fn forbidden(action: Action, what: &str) -> Problem {
    let (doing, setting) = match action {
        Action::Subscribe => ("read", "subscribe"),
        Action::Publish => ("publish to", "publish"),
        Action::Control => ("send control events to", "control"),
        Action::Delete => ("delete", "delete"),
    };
    let message = format!(
        "you may not {doing} `{what}`; a grant `{setting}` in your token or key that covers it would let you"
    );
    Problem::new(Code::Forbidden, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_narrowed_to_what_is_asked_and_do_not_overlap() {
        let ranges = || {
            vec![
                Range::below("/chat/ada/".into()),
                Range::topic("/chat".into()),
                Range::below("/chat/".into()),
                Range::topic("/chat/x".into()),
                Range::topic("/news".into()),
                Range::topic("/news".into()),
            ]
        };
        let all = [
            Range::topic("/chat".into()),
            Range::below("/chat/".into()),
            Range::topic("/news".into()),
        ];
        assert_eq!(narrow(ranges(), "/"), all);
        assert_eq!(
            narrow(ranges(), "/chat/a"),
            [Range::below("/chat/a".into())]
        );
        assert_eq!(narrow(ranges(), "/n"), [Range::topic("/news".into())]);
        assert_eq!(narrow(ranges(), "/other"), []);
    }
}
