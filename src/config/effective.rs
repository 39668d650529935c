//! The configuration in force and where each value came from, as a file one could start with.

#[cfg(test)]
mod tests;

use std::fmt::Write;

use super::Config;
use super::kind::Kind;
use super::layers::{Entries, Entry, NamedTables, entry_in_force};
use super::settings::{SETTINGS, tables};
use super::tables::FAMILIES;
use super::value::Value;

/// A good configuration with the origin of every value.
#[derive(Clone, Debug)]
pub struct Effective {
    /// What holds.
    pub config: Config,
    pub(super) entries: Entries,
    pub(super) named: NamedTables,
}

impl Effective {
    /// The whole configuration as TOML, each value with a comment that says where it came from. It
    /// reads back as the same, but for secrets: in the place of each stands a comment.
    pub fn to_toml(&self) -> String {
        let mut toml = String::from("# effective configuration, and where each value comes from\n");
        for table in tables() {
            if !table.is_empty() {
                header(&mut toml, table);
            }
            for setting in SETTINGS.iter().filter(|setting| setting.table() == table) {
                let Entry { value, origin } = self.entries.get(setting.key);
                let pair = pair(setting.leaf(), value, setting.kind);
                line(&mut toml, &pair, &origin.to_string());
            }
        }
        for family in FAMILIES {
            for (name, table) in self.named.of(family) {
                header(&mut toml, &family.label(name));
                for key in family.keys {
                    let entry = entry_in_force(&table.entries, &self.entries, key);
                    // what is not set and inherits nothing is not there
                    let Some(Entry { value, origin }) = entry else {
                        continue;
                    };
                    let is_own = table.entries.contains_key(key.leaf);
                    let origin = match key.inherits().filter(|_| !is_own) {
                        Some(inherits) => format!("{inherits}: {origin}"),
                        None => origin.to_string(),
                    };
                    let pair = pair(key.leaf, value, key.setting().kind);
                    line(&mut toml, &pair, &origin);
                }
            }
        }
        toml
    }
}

fn pair(key: &str, value: &Value, kind: Kind) -> String {
    match (kind.is_secret(), value.is_set()) {
        (true, true) => format!("# {key} = …  (set, and not shown)"),
        (true, false) => format!("# {key} is not set"),
        _ => format!("{key} = {}", value.to_toml(kind)),
    }
}

fn header(toml: &mut String, table: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(toml, "\n[{table}]");
}

fn line(toml: &mut String, pair: &str, comment: &str) {
    let _ = writeln!(toml, "{pair:<40} # {comment}");
}
