//! One key as the table `[auth.key.NAME]`.

use std::fmt::Write as _;

use toml::Value;

use crate::auth::{Action, GrantTexts, api_key};
use crate::cli::moment;
use crate::config::units::format_size;

/// How much one key may do, as far as it says so itself.
#[derive(clap::Args, Debug, Default, Clone, Copy)]
#[command(next_help_heading = "How much it may do (0: no bound; else what quota.key says)")]
pub struct QuotaFlags {
    /// Open connections and streams
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub connections: Option<u64>,
    /// Topics being read
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub subscriptions: Option<u64>,
    /// Events a second
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub publish_rate: Option<u64>,
    /// Events that may exceed it at once
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub publish_burst: Option<u64>,
    /// Bytes a second, for example 64KiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub byte_rate: Option<u64>,
    /// Bytes that may exceed it at once
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub byte_burst: Option<u64>,
    /// New topics a minute
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub topics_per_minute: Option<u64>,
}

/// The members of a quota that count, and those that are sizes.
pub const COUNTS: [&str; 5] = [
    "connections",
    "subscriptions",
    "publish_rate",
    "publish_burst",
    "topics_per_minute",
];
pub const SIZES: [&str; 2] = ["byte_rate", "byte_burst"];

impl QuotaFlags {
    fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let values = [
            self.connections,
            self.subscriptions,
            self.publish_rate,
            self.publish_burst,
            self.topics_per_minute,
        ];
        COUNTS
            .into_iter()
            .zip(values)
            .filter_map(|(name, value)| Some((name, value?)))
    }

    fn sizes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let values = [self.byte_rate, self.byte_burst];
        SIZES
            .into_iter()
            .zip(values)
            .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// What the table holds.
pub struct KeyTable<'a> {
    pub name: &'a str,
    pub id: &'a str,
    pub hash: [u8; 32],
    pub grants: &'a GrantTexts,
    pub admin: bool,
    /// Unix seconds.
    pub expires: Option<u64>,
    pub quota: QuotaFlags,
}

impl KeyTable<'_> {
    /// As TOML.
    pub fn text(&self) -> String {
        let mut text = format!("[auth.key.{}]\n", self.name);
        let mut set = |name: &str, value: &str| {
            // a String takes everything
            let _ = writeln!(text, "{name} = {value}");
        };
        set("id", &quoted(self.id));
        set("hash", &quoted(&api_key::hash_text(&self.hash)));
        for action in Action::ALL {
            let patterns = self.grants.of(action);
            if !patterns.is_empty() {
                let patterns: Vec<String> = patterns.iter().map(|text| quoted(text)).collect();
                set(action.as_str(), &format!("[{}]", patterns.join(", ")));
            }
        }
        if self.admin {
            set("admin", "true");
        }
        if let Some(expires) = self.expires {
            set("expires", &quoted(&moment::utc(expires)));
        }
        for (name, count) in self.quota.counts() {
            set(name, &count.to_string());
        }
        for (name, size) in self.quota.sizes() {
            let size_text = format_size(size);
            let is_number = size_text.bytes().all(|byte| byte.is_ascii_digit());
            let value = if is_number {
                size_text
            } else {
                quoted(&size_text)
            };
            set(name, &value);
        }
        text
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn parse_count(text: &str) -> Result<u64, String> {
    crate::config::units::parse_count(text).map_err(|error| error.to_string())
}

fn parse_size(text: &str) -> Result<u64, String> {
    crate::config::units::parse_size(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_toml_and_holds_what_was_said() {
        let grants = GrantTexts {
            publish: vec!["/chat/*".into(), "/a".into()],
            delete: vec!["/{sub}".into()],
            ..GrantTexts::default()
        };
        let table = KeyTable {
            name: "finance-agent",
            id: "abcdefgh0123",
            hash: api_key::hash("abc"),
            grants: &grants,
            admin: true,
            expires: Some(1_798_761_600),
            quota: QuotaFlags {
                publish_rate: Some(100),
                byte_rate: Some(64 << 10),
                byte_burst: Some(1000),
                ..QuotaFlags::default()
            },
        };
        let text = table.text();
        let expected = "[auth.key.finance-agent]\n\
            id = \"abcdefgh0123\"\n\
            hash = \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n\
            publish = [\"/chat/*\", \"/a\"]\n\
            delete = [\"/{sub}\"]\n\
            admin = true\n\
            expires = \"2027-01-01T00:00:00Z\"\n\
            publish_rate = 100\n\
            byte_rate = \"64KiB\"\n\
            byte_burst = 1000\n";
        assert_eq!(text, expected);
        toml::from_str::<toml::Table>(&text).expect("TOML");
    }
}
