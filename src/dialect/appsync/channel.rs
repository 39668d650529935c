//! Channels by AppSync's own rules, which are narrower than those of topics: every channel is a topic,
//! and not every topic is a channel.

use thiserror::Error;

use crate::broker::problem::{Code, Problem};
use crate::event::event_type::printable;
use crate::event::{TopicPath, TopicPattern};

/// Segments a channel may have, the namespace and a star included.
pub const MAX_SEGMENTS: usize = 5;
/// Characters (all ASCII) a segment may have.
pub const MAX_SEGMENT_BYTES: usize = 50;

/// What a client subscribes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Channel {
    Topic(TopicPath),
    Pattern(Wildcard),
}

/// A channel that ends in a star: everything below it, at any depth.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wildcard {
    /// `/ns/a/*`, with its leading slash and without one at the end.
    text: Box<str>,
    /// `/ns/a/**`: AppSync's single star is the core's double one.
    pattern: TopicPattern,
}

impl Wildcard {
    /// As AppSync writes it: `/ns/a/*`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As the core knows it: `/ns/a/**`.
    pub fn pattern(&self) -> &TopicPattern {
        &self.pattern
    }
}

/// Why a text is no channel.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
enum InvalidChannel {
    #[error("a channel has 1 to 5 segments, as in `/default/room`")]
    Segments,
    #[error("a segment of a channel has 1 to 50 characters, and no two slashes stand side by side")]
    SegmentLength,
    #[error("a segment of a channel is made of `A-Z a-z 0-9 -`")]
    Character,
    #[error("a segment of a channel neither begins nor ends with a dash")]
    Dash,
    #[error("a `*` stands alone as the last segment of a channel, as in `/default/*`")]
    Star,
    #[error("wildcards are for subscriptions only: a publish names one channel")]
    Publish,
}

impl InvalidChannel {
    fn of(self, text: &str) -> Problem {
        let shown = printable(text);
        let mut problem = Problem::new(Code::InvalidTopic, format!("`{shown}`: {self}"));
        problem.details.field = Some("channel");
        problem.details.topic = Some(shown);
        problem
    }
}

impl Channel {
    /// A channel, or one that ends in `*`. `**` at its end says the same, as some write it.
    pub fn for_subscribe(text: &str) -> Result<Self, Problem> {
        let inner = without_slashes(text);
        let (before, last) = inner.rsplit_once('/').unwrap_or(("", inner));
        if !matches!(last, "*" | "**") {
            return topic(text).map(Self::Topic).map_err(|why| why.of(text));
        }
        wildcard(before, inner)
            .map(Self::Pattern)
            .map_err(|why| why.of(text))
    }

    /// One channel, without a star.
    pub fn for_publish(text: &str) -> Result<TopicPath, Problem> {
        topic(text).map_err(|why| match why {
            InvalidChannel::Star => InvalidChannel::Publish.of(text),
            _ => why.of(text),
        })
    }

    /// `/ns/a` or `/ns/a/*`, however it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Topic(topic) => topic.as_str(),
            Self::Pattern(wildcard) => wildcard.as_str(),
        }
    }

    /// The first segment; `None` for `/*`, which is of all namespaces.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Topic(topic) => Some(topic.namespace()),
            Self::Pattern(wildcard) => wildcard.pattern.namespace(),
        }
    }
}

/// One slash at each end may stand there or not.
fn without_slashes(text: &str) -> &str {
    let text = text.strip_prefix('/').unwrap_or(text);
    text.strip_suffix('/').unwrap_or(text)
}

fn topic(text: &str) -> Result<TopicPath, InvalidChannel> {
    let inner = without_slashes(text);
    check(inner)?;
    Ok(TopicPath::parse(&format!("/{inner}")).expect("every channel is a topic"))
}

/// `before`: what stands before the last slash of `inner`; nothing where the star is alone.
fn wildcard(before: &str, inner: &str) -> Result<Wildcard, InvalidChannel> {
    let prefix = if inner.contains('/') {
        if before.split('/').count() >= MAX_SEGMENTS {
            return Err(InvalidChannel::Segments);
        }
        check(before)?;
        format!("/{before}/")
    } else {
        "/".to_owned()
    };
    let pattern = TopicPattern::parse(&format!("{prefix}**"));
    Ok(Wildcard {
        text: format!("{prefix}*").into(),
        pattern: pattern.expect("a channel and a star are a pattern"),
    })
}

/// Checks segments joined by slashes.
fn check(inner: &str) -> Result<(), InvalidChannel> {
    for (at, segment) in inner.split('/').enumerate() {
        if at == MAX_SEGMENTS {
            return Err(InvalidChannel::Segments);
        }
        check_segment(segment)?;
    }
    Ok(())
}

fn check_segment(segment: &str) -> Result<(), InvalidChannel> {
    if segment.is_empty() || segment.len() > MAX_SEGMENT_BYTES {
        return Err(InvalidChannel::SegmentLength);
    }
    if segment.contains('*') {
        return Err(InvalidChannel::Star);
    }
    if !segment
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || c == b'-')
    {
        return Err(InvalidChannel::Character);
    }
    if segment.starts_with('-') || segment.ends_with('-') {
        return Err(InvalidChannel::Dash);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_at_the_ends_are_optional() {
        let longest = vec!["A0-z".repeat(12) + "ab"; MAX_SEGMENTS].join("/");
        for (text, normal) in [
            ("default/room", "/default/room".to_owned()),
            ("/default/room", "/default/room".to_owned()),
            ("/default/room/", "/default/room".to_owned()),
            ("default/", "/default".to_owned()),
            ("a", "/a".to_owned()),
            ("/a/B/c-d/1/2", "/a/B/c-d/1/2".to_owned()),
            (longest.as_str(), format!("/{longest}")),
        ] {
            let topic = Channel::for_publish(text).expect(text);
            assert_eq!(topic.as_str(), normal);
            let channel = Channel::for_subscribe(text).expect(text);
            assert_eq!(channel, Channel::Topic(topic));
            assert_eq!(channel.as_str(), normal);
        }
        let channel = Channel::for_subscribe("ns/a").expect("a channel");
        assert_eq!(channel.namespace(), Some("ns"));
        assert_ne!(channel, Channel::for_subscribe("Ns/a").expect("a channel"));
    }

    #[test]
    fn a_star_at_the_end_is_all_below() {
        for (text, normal, pattern, namespace) in [
            ("/ns/*", "/ns/*", "/ns/**", Some("ns")),
            ("ns/a/*/", "/ns/a/*", "/ns/a/**", Some("ns")),
            ("/ns/**", "/ns/*", "/ns/**", Some("ns")),
            ("/*", "/*", "/**", None),
            ("*", "/*", "/**", None),
            ("/a/b/c/d/*", "/a/b/c/d/*", "/a/b/c/d/**", Some("a")),
        ] {
            let channel = Channel::for_subscribe(text).expect(text);
            assert_eq!((channel.as_str(), channel.namespace()), (normal, namespace));
            let Channel::Pattern(wildcard) = channel else {
                panic!("{text} is no pattern")
            };
            assert_eq!(wildcard.pattern().as_str(), pattern);
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_rule() {
        let long = format!("/{}", "a".repeat(MAX_SEGMENT_BYTES + 1));
        for (bad, why) in [
            ("", InvalidChannel::SegmentLength),
            ("/", InvalidChannel::SegmentLength),
            ("//", InvalidChannel::SegmentLength),
            ("//a", InvalidChannel::SegmentLength),
            ("/a//", InvalidChannel::SegmentLength),
            ("/a//b", InvalidChannel::SegmentLength),
            (long.as_str(), InvalidChannel::SegmentLength),
            ("/a/b/c/d/e/f", InvalidChannel::Segments),
            ("/a/b_c", InvalidChannel::Character),
            ("/a/b.c", InvalidChannel::Character),
            ("/a/ü", InvalidChannel::Character),
            ("/a b", InvalidChannel::Character),
            ("/a/b\n", InvalidChannel::Character),
            ("/-a", InvalidChannel::Dash),
            ("/a/b-", InvalidChannel::Dash),
            ("/a/-", InvalidChannel::Dash),
            ("/a/*/b", InvalidChannel::Star),
            ("/*/b", InvalidChannel::Star),
            ("/a/b*", InvalidChannel::Star),
            ("/a/***", InvalidChannel::Star),
        ] {
            let problem = Channel::for_subscribe(bad).expect_err(bad);
            assert_eq!(problem, why.of(bad), "{bad}");
            assert_eq!(problem.code, Code::InvalidTopic);
            assert!(Channel::for_publish(bad).is_err(), "{bad}");
        }
        for (bad, why) in [
            ("/a/b/c/d/e/*", InvalidChannel::Segments),
            ("//*", InvalidChannel::SegmentLength),
            ("/a//*", InvalidChannel::SegmentLength),
            ("/-/*", InvalidChannel::Dash),
            ("/*/*", InvalidChannel::Star),
        ] {
            let problem = Channel::for_subscribe(bad).expect_err(bad);
            assert_eq!(problem, why.of(bad), "{bad}");
        }
    }

    #[test]
    fn a_publish_has_no_star() {
        for bad in ["/a/*", "/a/**", "*", "/*/b", "/a/b*"] {
            let problem = Channel::for_publish(bad).expect_err(bad);
            assert!(
                problem
                    .message
                    .contains("wildcards are for subscriptions only"),
                "{}",
                problem.message
            );
        }
    }
}
