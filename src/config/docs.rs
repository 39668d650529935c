//! The table of settings as Markdown, for `docs/operations.md`.

#[cfg(test)]
mod tests;

use std::fmt::Write;

use super::settings::{CONFIG_VARIABLE, SETTINGS, Setting, tables};
use super::tables::FAMILIES;

/// Every setting with its default, what it takes, its variable and flag: one Markdown table for each table of
/// the file.
pub fn settings_markdown() -> String {
    let mut text = format!(
        "The file is named by `--config FILE` or `{CONFIG_VARIABLE}`. Flags beat the environment, \
         which beats the file, which beats the default. In variables and flags, lists are \
         separated by commas.\n\n\
         A duration is a string of a whole number and `ms`, `s`, `m`, `h` or `d`: `\"250ms\"`. A size \
         is a string of a whole number and `B`, `kB`, `MB`, `GB`, `TB` (1000s) or `KiB`, `MiB`, \
         `GiB`, `TiB` (1024s): `\"64KiB\"`, or a bare number of bytes.\n"
    );
    for table in tables() {
        let title = match table {
            "" => "At the top of the file".to_owned(),
            table => format!("`[{table}]`"),
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n### {title}\n\n\
             | key | default | takes | what | variable | flag |\n\
             |---|---|---|---|---|---|\n"
        );
        for setting in SETTINGS.iter().filter(|setting| setting.table() == table) {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | `{}` | `{}` |",
                setting.leaf(),
                default_of(setting),
                cell(setting.kind.unit()),
                what(setting),
                setting.variable(),
                setting.flag(),
            );
        }
    }
    for family in FAMILIES {
        let _ = write!(
            text,
            "\n### `{header}`\n\n{about}\n\n\
             | key | takes | what | inherits from |\n\
             |---|---|---|---|\n",
            header = family.header,
            about = family.about,
        );
        for key in family.keys {
            let setting = key.setting();
            let inherits = match key.inherits() {
                Some(key) => format!("`{key}`"),
                None => "nothing".to_owned(),
            };
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {inherits} |",
                key.leaf,
                cell(setting.kind.unit()),
                what(setting),
            );
        }
    }
    text
}

fn default_of(setting: &Setting) -> String {
    match setting.default {
        "" => "none".to_owned(),
        text => format!("`{text}`"),
    }
}

fn what(setting: &Setting) -> String {
    let zero = setting.zero.map(|meaning| format!("; `0`: {meaning}"));
    let most = setting.at_most.map(|bound| format!("; at most `{bound}`"));
    cell(setting.help) + &zero.unwrap_or_default() + &most.unwrap_or_default()
}

/// Text that cannot end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
