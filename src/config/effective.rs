//! The configuration in force and where each value came from, as a file one could start with.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Config;
use super::file::toml_key;
use super::layers::{Entries, Entry, OwnEntries, namespace_entry};
use super::settings::{NAMESPACE_KEYS, SETTINGS, tables};

/// A good configuration with the origin of every value.
#[derive(Clone, Debug)]
pub struct Effective {
    /// What holds.
    pub config: Config,
    pub(super) entries: Entries,
    pub(super) namespaces: BTreeMap<String, OwnEntries>,
}

impl Effective {
    /// The whole configuration as TOML that reads back as the same, each value with a comment that
    /// says where it came from.
    pub fn to_toml(&self) -> String {
        let mut toml = String::from("# effective configuration, and where each value comes from\n");
        for table in tables() {
            if !table.is_empty() {
                header(&mut toml, table);
            }
            for setting in SETTINGS.iter().filter(|setting| setting.table() == table) {
                let Entry { value, origin } = self.entries.get(setting.key);
                let value = value.to_toml(setting.kind);
                line(&mut toml, setting.leaf(), &value, &origin.to_string());
            }
        }
        for (name, own) in &self.namespaces {
            header(&mut toml, &format!("namespace.{}", toml_key(name)));
            for key in NAMESPACE_KEYS {
                let Entry { value, origin } = namespace_entry(own, &self.entries, key);
                let value = value.to_toml(key.setting().kind);
                let origin = if own.contains_key(key.leaf) {
                    origin.to_string()
                } else {
                    format!("{}: {origin}", key.inherits)
                };
                line(&mut toml, key.leaf, &value, &origin);
            }
        }
        toml
    }
}

fn header(toml: &mut String, table: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(toml, "\n[{table}]");
}

fn line(toml: &mut String, key: &str, value: &str, comment: &str) {
    let pair = format!("{key} = {value}");
    let _ = writeln!(toml, "{pair:<40} # {comment}");
}
