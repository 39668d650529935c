//! `tidewire key list`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use super::COMMAND;
use super::keys_file::KeysFile;
use super::table::{COUNTS, SIZES};
use crate::auth::GrantTexts;
use crate::cli::failure::Failure;
use crate::cli::grant_flags::{self, plain};
use crate::cli::moment;
use crate::cli::target::say;

pub fn run(file: &Path) -> Result<(), Failure> {
    let keys = KeysFile::read(file)?.ok_or_else(|| {
        Failure::refused(format_args!("{}: there is no such file", file.display()))
    })?;
    let now = moment::now();
    let all = keys.keys();
    if all.is_empty() {
        say(COMMAND, format_args!("{} has no keys", file.display()));
    }
    let text: String = all
        .iter()
        .map(|(name, key)| lines(name, key, now))
        .collect();
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // that is how `key list … | head` ends
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::refused(format_args!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn lines(name: &str, key: &Table, now: u64) -> String {
    let id = key.get("id").and_then(Value::as_str).unwrap_or("none");
    let admin = match key.get("admin") {
        Some(Value::Boolean(true)) => "  admin",
        _ => "",
    };
    let expires = match key.get("expires") {
        None => "never expires".to_owned(),
        Some(value) => match expiry(value) {
            Some(at) if at <= now => format!("expired {}", moment::utc(at)),
            Some(at) => format!(
                "expires {} ({})",
                moment::utc(at),
                moment::from_now(at, now)
            ),
            None => format!("expires {value}, which is no time"),
        },
    };
    let name = plain(name);
    let mut text = format!("{name}  id {}{admin}  {}\n", plain(id), plain(&expires));
    // the rest of the table, the hash above all, is not looked at
    match GrantTexts::deserialize(Value::Table(key.clone())) {
        Ok(grants) => {
            text.push_str(&grant_flags::lines(&grants, "  "));
            if let Err(error) = grants.compile(&name) {
                let _ = writeln!(text, "  wrong: {error}");
            }
        }
        // its words could have the value in them
        Err(_) => text.push_str("  wrong: what it grants are not lists of texts\n"),
    }
    let quota = COUNTS.into_iter().chain(SIZES);
    let quota: Vec<String> = quota
        .filter_map(|member| Some(format!("{member} {}", plain(&key.get(member)?.to_string()))))
        .collect();
    if !quota.is_empty() {
        let _ = writeln!(text, "  {:<11}{}", "quota", quota.join(", "));
    }
    text
}

/// As a text or as TOML's own time.
fn expiry(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => moment::parse(text).ok(),
        Value::Datetime(moment) => moment::seconds(moment),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(table: &str) -> String {
        let key: Table = toml::from_str(table).expect("TOML");
        lines("agent", &key, 1_798_761_600 - 86_400 * 3)
    }

    #[test]
    fn a_key_is_listed_without_its_hash() {
        let text = listed(
            "id = \"abcdefgh0123\"\nhash = \"sha256:00ff\"\nadmin = true\nexpires = 2027-01-01T00:00:00Z\n\
             subscribe = [\"/a\", \"/b/*\"]\nbyte_rate = \"1KiB\"\nconnections = 4\n",
        );
        assert_eq!(
            text,
            "agent  id abcdefgh0123  admin  expires 2027-01-01T00:00:00Z (in 3 days)\n\
             \x20 subscribe  /a, /b/*\n  quota      connections 4, byte_rate \"1KiB\"\n"
        );
    }

    #[test]
    fn what_is_wrong_with_a_key_is_told() {
        for (table, words) in [
            ("", "agent  id none  never expires\n"),
            ("expires = \"2026-12-01T00:00:00Z\"", "expired 2026-12-01"),
            ("expires = \"soon\"", "which is no time"),
            ("publish = [\"/a*\"]", "wrong: `publish` grants `/a*`"),
            ("publish = \"/a\"", "wrong: what it grants"),
        ] {
            let text = listed(table);
            assert!(text.contains(words), "{text}");
        }
    }
}
