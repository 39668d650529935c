//! The flags by which `token` and `key` grant something, and how grants are shown.

use std::fmt::Write as _;

use crate::auth::{Action, GrantTexts};

/// What is granted.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "What it may do")]
pub struct GrantFlags {
    /// It may read there, for example /chat/42, /chat/* or /user/{sub}/**; several times: several patterns
    #[arg(long, value_name = "PATTERN")]
    subscribe: Vec<String>,
    /// It may publish there
    #[arg(long, value_name = "PATTERN")]
    publish: Vec<String>,
    /// It may send control events there, such as run.cancel
    #[arg(long, value_name = "PATTERN")]
    control: Vec<String>,
    /// It may erase topics there
    #[arg(long, value_name = "PATTERN")]
    delete: Vec<String>,
}

impl GrantFlags {
    /// The patterns, good for `subject`.
    pub fn checked(&self, subject: &str) -> Result<GrantTexts, String> {
        let texts = GrantTexts {
            subscribe: self.subscribe.clone(),
            publish: self.publish.clone(),
            control: self.control.clone(),
            delete: self.delete.clone(),
        };
        match texts.compile(subject) {
            Ok(_) => Ok(texts),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A line for each action that is granted somewhere; empty where nothing is.
pub fn lines(grants: &GrantTexts, indent: &str) -> String {
    let mut text = String::new();
    for action in Action::ALL {
        let patterns = grants.of(action);
        if !patterns.is_empty() {
            let patterns: Vec<String> = patterns.iter().map(|text| plain(text)).collect();
            // a String takes everything
            let _ = writeln!(
                text,
                "{indent}{:<11}{}",
                action.as_str(),
                patterns.join(", ")
            );
        }
    }
    text
}

/// Without what a terminal might obey.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if is_harmless(c) { c } else { '\u{fffd}' })
        .collect()
}

/// No control character, and none of those that turn the direction of what follows.
pub fn is_harmless(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !turns
}
