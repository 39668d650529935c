//! What somebody may do where: patterns, compiled once per token or key. A check compares prefixes and
//! allocates nothing.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::event::topic::{InvalidTopic, check_segment};
use crate::event::{TopicPath, TopicPattern};

/// Patterns that one list of a token or key may have.
pub const MAX_PATTERNS: usize = 128;
/// Stands for the subject in a pattern.
const SUBJECT: &str = "{sub}";

/// What can be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Subscribe,
    Publish,
    Control,
    Delete,
}

impl Action {
    pub const ALL: [Action; 4] = [Self::Subscribe, Self::Publish, Self::Control, Self::Delete];

    /// Its name in a claim.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Control => "control",
            Self::Delete => "delete",
        }
    }
}

/// Grants as they are written: in the claim `tidewire` of a token, and in `[auth.key.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantTexts {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<String>,
}

/// Why grants are not taken.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidGrant {
    #[error("`{list}` has more than {MAX_PATTERNS} patterns")]
    TooMany { list: &'static str },
    #[error("`{list}` grants `{pattern}`: {why}")]
    Pattern {
        list: &'static str,
        pattern: String,
        why: InvalidTopic,
    },
    /// It would stand for several segments, or for a pattern.
    #[error("`{list}` grants `{pattern}`, and the subject cannot stand in a topic")]
    Subject { list: &'static str, pattern: String },
}

impl GrantTexts {
    pub fn of(&self, action: Action) -> &[String] {
        match action {
            Action::Subscribe => &self.subscribe,
            Action::Publish => &self.publish,
            Action::Control => &self.control,
            Action::Delete => &self.delete,
        }
    }

    /// Puts `subject` in and checks every pattern.
    pub fn compile(&self, subject: &str) -> Result<Grants, InvalidGrant> {
        let compile = |action: Action| {
            let (list, texts) = (action.as_str(), self.of(action));
            if texts.len() > MAX_PATTERNS {
                return Err(InvalidGrant::TooMany { list });
            }
            texts
                .iter()
                .map(|text| Pattern::compile(list, text, subject))
                .collect::<Result<Box<[Pattern]>, _>>()
        };
        Ok(Grants {
            subscribe: compile(Action::Subscribe)?,
            publish: compile(Action::Publish)?,
            control: compile(Action::Control)?,
            delete: compile(Action::Delete)?,
        })
    }
}

/// Grants that can be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    subscribe: Box<[Pattern]>,
    publish: Box<[Pattern]>,
    control: Box<[Pattern]>,
    delete: Box<[Pattern]>,
}

/// One granted path or pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    Topic(TopicPath),
    Topics(TopicPattern),
}

impl Grants {
    pub fn of(&self, action: Action) -> &[Pattern] {
        match action {
            Action::Subscribe => &self.subscribe,
            Action::Publish => &self.publish,
            Action::Control => &self.control,
            Action::Delete => &self.delete,
        }
    }

    pub fn allow(&self, action: Action, topic: &TopicPath) -> bool {
        self.of(action).iter().any(|pattern| pattern.covers(topic))
    }

    /// Whether `asked` could bring in any topic that is granted.
    pub fn touch(&self, action: Action, asked: &TopicPattern) -> bool {
        self.of(action).iter().any(|pattern| pattern.meets(asked))
    }
}

impl Pattern {
    fn compile(list: &'static str, text: &str, subject: &str) -> Result<Self, InvalidGrant> {
        let pattern = || printable(text);
        // a subject that is no segment could bring slashes and stars with it
        if text.contains(SUBJECT) && check_segment(subject).is_err() {
            let pattern = pattern();
            return Err(InvalidGrant::Subject { list, pattern });
        }
        let whole = text.replace(SUBJECT, subject);
        let parsed = match whole.ends_with('*') {
            true => TopicPattern::parse(&whole).map(Self::Topics),
            false => TopicPath::parse(&whole).map(Self::Topic),
        };
        parsed.map_err(|why| InvalidGrant::Pattern {
            list,
            pattern: pattern(),
            why,
        })
    }

    pub fn covers(&self, topic: &TopicPath) -> bool {
        match self {
            Self::Topic(granted) => granted == topic,
            Self::Topics(granted) => granted.matches(topic),
        }
    }

    fn meets(&self, asked: &TopicPattern) -> bool {
        match self {
            Self::Topic(granted) => asked.matches(granted),
            Self::Topics(granted) => granted.meets(asked),
        }
    }
}

fn printable(text: &str) -> String {
    crate::event::event_type::printable(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> TopicPath {
        TopicPath::parse(text).expect("a topic")
    }

    fn subscribe(patterns: &[&str], subject: &str) -> Result<Grants, InvalidGrant> {
        let subscribe = patterns.iter().map(|text| (*text).to_owned()).collect();
        let texts = GrantTexts {
            subscribe,
            ..GrantTexts::default()
        };
        texts.compile(subject)
    }

    #[test]
    fn a_grant_is_a_path_or_a_pattern_and_knows_its_subject() {
        let grants = subscribe(&["/news", "/chat/{sub}/*", "/team/{sub}-notes/**"], "ada");
        let grants = grants.expect("good grants");
        for allowed in ["/news", "/chat/ada/1", "/team/ada-notes/a/b"] {
            assert!(
                grants.allow(Action::Subscribe, &topic(allowed)),
                "{allowed}"
            );
            assert!(!grants.allow(Action::Publish, &topic(allowed)), "{allowed}");
        }
        for refused in [
            "/news/1",
            "/chat/ada",
            "/chat/ada/1/2",
            "/chat/bob/1",
            "/chat/adam/1",
        ] {
            assert!(
                !grants.allow(Action::Subscribe, &topic(refused)),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_subject_brings_no_pattern_with_it() {
        for subject in ["**", "*", "a/b", "a/**", "..", "", "ü", "a b"] {
            let refused = subscribe(&["/user/{sub}"], subject);
            assert!(
                matches!(refused, Err(InvalidGrant::Subject { .. })),
                "{subject}"
            );
            assert!(
                subscribe(&["/user/x"], subject).is_ok(),
                "it is not asked for"
            );
        }
        assert!(subscribe(&["/user/{sub}"], "{sub}").is_err());
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "",
            "chat",
            "/chat/a*",
            "/*/x",
            "/chat/***",
            "/a//b",
            "/chat/{who}",
        ] {
            assert!(subscribe(&[bad], "ada").is_err(), "{bad}");
        }
        let many: Vec<String> = (0..=MAX_PATTERNS).map(|n| format!("/a/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(subscribe(&many, "ada").is_err());
    }

    #[test]
    fn a_pattern_that_can_bring_nothing_in_is_known() {
        let grants = subscribe(&["/chat/ada/*", "/news"], "ada").expect("good grants");
        let touches = |asked: &str| {
            let asked = TopicPattern::parse(asked).expect("a pattern");
            grants.touch(Action::Subscribe, &asked)
        };
        for some in ["/**", "/*", "/chat/**", "/chat/ada/*", "/chat/ada/**"] {
            assert!(touches(some), "{some}");
        }
        for none in [
            "/secret/**",
            "/chat/*",
            "/chat/bob/*",
            "/news/*",
            "/chat/ada/1/**",
        ] {
            assert!(!touches(none), "{none}");
        }
    }
}
