//! Topic patterns: a path whose last segment is `*` (one segment) or `**` (any depth below).

use super::topic::{InvalidTopic, MAX_SEGMENTS, TopicPath, check_segment};

/// A valid pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicPattern {
    text: String,
    /// Everything up to and with the last slash.
    prefix_len: usize,
    deep: bool,
}

impl TopicPattern {
    pub fn parse(text: &str) -> Result<Self, InvalidTopic> {
        let Some((prefix, last)) = text.rsplit_once('/') else {
            return Err(InvalidTopic::NoSlash);
        };
        let deep = match last {
            "*" => false,
            "**" => true,
            _ => return Err(InvalidTopic::Character),
        };
        if let Some(segments) = prefix.strip_prefix('/') {
            if segments.split('/').count() >= MAX_SEGMENTS {
                return Err(InvalidTopic::Segments);
            }
            segments.split('/').try_for_each(check_segment)?;
        } else if !prefix.is_empty() {
            return Err(InvalidTopic::NoSlash);
        }
        Ok(Self {
            text: text.to_owned(),
            prefix_len: prefix.len() + 1,
            deep,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What every matching topic starts with; ends in `/`.
    pub fn prefix(&self) -> &str {
        &self.text[..self.prefix_len]
    }

    /// The namespace of all topics that match; `None`: they may be of any.
    pub fn namespace(&self) -> Option<&str> {
        let inner = self.prefix().strip_prefix('/')?;
        inner.split_once('/').map(|(namespace, _)| namespace)
    }

    /// Whether some topic could match both.
    pub fn meets(&self, other: &Self) -> bool {
        let (outer, inner) = match self.prefix_len <= other.prefix_len {
            true => (self, other),
            false => (other, self),
        };
        let Some(between) = inner.prefix().strip_prefix(outer.prefix()) else {
            return false;
        };
        between.is_empty() || outer.deep
    }

    pub fn matches(&self, topic: &TopicPath) -> bool {
        match topic.as_str().strip_prefix(self.prefix()) {
            Some(rest) => !rest.is_empty() && (self.deep || !rest.contains('/')),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        let pattern = TopicPattern::parse(pattern).expect("a pattern");
        pattern.matches(&TopicPath::parse(topic).expect("a topic"))
    }

    #[test]
    fn one_star_is_one_segment_and_two_are_any_depth() {
        assert!(matches("/chat/*", "/chat/1"));
        assert!(!matches("/chat/*", "/chat/1/2"));
        assert!(!matches("/chat/*", "/chat"));
        assert!(!matches("/chat/*", "/chatter/1"));
        assert!(matches("/chat/**", "/chat/1/2/3"));
        assert!(!matches("/chat/**", "/chat"));
        assert!(matches("/**", "/anything/at/all"));
        assert!(matches("/*", "/one"));
        assert!(!matches("/*", "/one/two"));
    }

    #[test]
    fn a_star_stands_alone_and_last() {
        for bad in [
            "*",
            "/chat",
            "/chat/a*",
            "/*/b",
            "/chat/***",
            "/a//*",
            "/../*",
            "chat/*",
            "",
        ] {
            assert!(TopicPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
