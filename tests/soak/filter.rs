//! `types`: what a reader asks to see.

use crate::oracle::What;
use crate::wording::TYPES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// As the protocol has it; empty: everything.
    pub patterns: &'static [&'static str],
    /// Bits by index into `TYPES`.
    pub types: u16,
}

const CHOICE: [&[&str]; 5] = [
    &["token.*"],
    &["message.*"],
    &["token.delta", "message.*"],
    &["memory.*", "tool.completed", "event"],
    &["*"],
];

impl Filter {
    pub const COUNT: usize = CHOICE.len();

    pub fn everything() -> Filter {
        Filter {
            patterns: &[],
            types: u16::MAX,
        }
    }

    pub fn number(at: usize) -> Filter {
        let patterns = CHOICE[at];
        let admits = |name: &str| patterns.iter().any(|pattern| matches(pattern, name));
        let bit = |(at, name): (usize, &&str)| if admits(name) { 1 << at } else { 0 };
        Filter {
            patterns,
            types: TYPES.iter().enumerate().map(bit).sum(),
        }
    }

    pub fn admits(&self, what: What) -> bool {
        self.types & (1 << what.type_index()) != 0
    }

    pub fn admits_deltas(&self) -> bool {
        self.types & 1 != 0
    }

    pub fn admits_all(&self) -> bool {
        self.types.count_ones() as usize >= TYPES.len()
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix(".*") {
        Some(stem) => name
            .strip_prefix(stem)
            .is_some_and(|rest| rest.starts_with('.')),
        None => pattern == "*" || pattern == name,
    }
}
