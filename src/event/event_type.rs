//! Event types (`token.delta`) and the filters that choose among them (`token.*`).

use std::sync::Arc;

/// Characters a type may have.
pub const MAX_TYPE_BYTES: usize = 128;
/// Patterns a filter may have.
pub const MAX_FILTER_PATTERNS: usize = 32;

/// The built-in types that the broker itself understands; every other valid name is `Other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    TokenDelta,
    MessageStarted,
    MessageCompleted,
    MessageInterrupted,
    Memory,
    Navigation,
    Tool,
    AgentStatus,
    Run,
    /// `run.*` of the application's own: goes to the agents too, and its `data` may be anything.
    OtherRun,
    Other,
}

impl EventType {
    /// The names of the built-in types that a publisher may use; `schema/events/` has a file for each.
    pub const NAMES: [&str; 15] = [
        "token.delta",
        "message.started",
        "message.completed",
        "message.interrupted",
        "memory.created",
        "memory.updated",
        "memory.deleted",
        "navigation.requested",
        "tool.started",
        "tool.completed",
        "tool.failed",
        "agent.status",
        "run.cancel",
        "run.steer",
        "run.approve",
    ];

    /// Names the type. Reserved and malformed names are the caller's to refuse first.
    pub fn of(name: &str) -> Self {
        match name {
            "token.delta" => Self::TokenDelta,
            "message.started" => Self::MessageStarted,
            "message.completed" => Self::MessageCompleted,
            "message.interrupted" => Self::MessageInterrupted,
            "memory.created" | "memory.updated" | "memory.deleted" => Self::Memory,
            "navigation.requested" => Self::Navigation,
            "tool.started" | "tool.completed" | "tool.failed" => Self::Tool,
            "agent.status" => Self::AgentStatus,
            "run.cancel" | "run.steer" | "run.approve" => Self::Run,
            name if name.starts_with("run.") => Self::OtherRun,
            _ => Self::Other,
        }
    }

    /// The key that `data` of this type must have, with a text as its value.
    pub fn required_key(self) -> Option<&'static str> {
        match self {
            Self::TokenDelta
            | Self::MessageStarted
            | Self::MessageCompleted
            | Self::MessageInterrupted => Some("message_id"),
            Self::Memory => Some("memory_id"),
            Self::Navigation => Some("to"),
            Self::Tool => Some("call_id"),
            Self::AgentStatus => Some("status"),
            Self::Run | Self::OtherRun | Self::Other => None,
        }
    }
}

/// 1 to 128 of `A-Z a-z 0-9 _ - .` in at least two dotted segments, none empty; or `event`.
pub fn is_valid_type(name: &str) -> bool {
    if name == "event" {
        return true;
    }
    let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    let segment_ok = |s: &str| !s.is_empty() && s.bytes().all(allowed);
    name.len() <= MAX_TYPE_BYTES && name.contains('.') && name.split('.').all(segment_ok)
}

/// Names that only the broker may use.
pub fn is_reserved_type(name: &str) -> bool {
    name == "message.snapshot" || name.starts_with("tidewire.")
}

/// Which types a reader wants. Equal filters are shared, so compare with `Arc::ptr_eq` or `==`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TypeFilter {
    /// `None`: everything.
    patterns: Option<Arc<[String]>>,
    admits_deltas: bool,
}

impl TypeFilter {
    pub fn everything() -> Self {
        Self {
            patterns: None,
            admits_deltas: true,
        }
    }

    /// `patterns`: up to 32 of `a.b` (exact), `a.*` (any depth below), `*`.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Self, String> {
        if patterns.is_empty() || patterns.len() > MAX_FILTER_PATTERNS {
            return Err(format!("`types` takes 1 to {MAX_FILTER_PATTERNS} patterns"));
        }
        let mut kept: Vec<String> = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let stem = pattern.strip_suffix(".*").unwrap_or(pattern);
            // a stem stands alone (`token` of `token.*`): checked as if it had a second segment
            let valid = pattern == "*"
                || if stem.len() == pattern.len() {
                    is_valid_type(pattern)
                } else {
                    pattern.len() <= MAX_TYPE_BYTES && is_valid_type(&format!("{stem}.x"))
                };
            if !valid {
                return Err(format!(
                    "`{}` is no type pattern: use `a.b`, `a.*` or `*`",
                    printable(pattern)
                ));
            }
            kept.push(pattern.to_owned());
        }
        kept.sort_unstable();
        kept.dedup();
        if kept.iter().any(|p| p == "*") {
            return Ok(Self::everything());
        }
        let mut filter = Self {
            patterns: Some(kept.into()),
            admits_deltas: false,
        };
        filter.admits_deltas = filter.admits("token.delta");
        Ok(filter)
    }

    pub fn admits(&self, name: &str) -> bool {
        let Some(patterns) = &self.patterns else {
            return true;
        };
        patterns
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(stem) => name.starts_with(stem),
                None => pattern == name,
            })
    }

    /// Whether snapshots are for this reader.
    pub fn admits_deltas(&self) -> bool {
        self.admits_deltas
    }
}

/// What of a foreign text may stand in an error message: bounded, no controls.
pub fn printable(text: &str) -> String {
    let mut out: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_two_dotted_segments() {
        for ok in ["token.delta", "event", "a.b.c", "A-1_.x"] {
            assert!(is_valid_type(ok), "{ok}");
        }
        let long = format!("a.{}", "b".repeat(127));
        for bad in [
            "",
            "token",
            "token.",
            ".delta",
            "a..b",
            "a.b\n",
            "a.ü",
            "a.*",
            "a b.c",
            long.as_str(),
        ] {
            assert!(!is_valid_type(bad), "{bad}");
        }
    }

    #[test]
    fn filters_admit_exact_names_and_whole_branches() {
        let filter = TypeFilter::parse(&["token.*", "message.completed"]).expect("valid");
        assert!(
            filter.admits("token.delta") && filter.admits("token.a.b") && filter.admits_deltas()
        );
        assert!(filter.admits("message.completed") && !filter.admits("message.started"));
        assert!(!filter.admits("tokens.delta") && !filter.admits("token"));
        assert!(
            TypeFilter::parse(&["*"])
                .expect("valid")
                .admits("anything.at.all")
        );
        assert!(
            !TypeFilter::parse(&["memory.*"])
                .expect("valid")
                .admits_deltas()
        );
        for bad in ["", "token", "a.*.b", "**", "a*", "*.b"] {
            assert!(TypeFilter::parse(&[bad]).is_err(), "{bad}");
        }
        assert!(TypeFilter::parse(&vec!["a.b"; 33]).is_err());
    }
}
