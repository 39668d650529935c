//! The tables of the file: every key is handed on with its line, or said not to belong there.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::{ConfigFile, toml_key};
use crate::config::layers::{Entry, Layers, OwnEntries};
use crate::config::problem::{Problem, shown};
use crate::config::settings::{self, Kind, NAMESPACE_KEYS, SETTINGS, Setting};
use crate::config::suggest;
use crate::config::value::{Rejection, Value};
use crate::event::topic::check_segment;

/// Lays the tables under `root` over `layers`.
pub fn apply(file: &ConfigFile, root: &DeTable<'_>, layers: &mut Layers) {
    let mut walk = Walk {
        file,
        layers,
        found: Vec::new(),
    };
    walk.root(root);
    let mut found = walk.found;
    // Tables come in the order of their names; people read from top to bottom.
    found.sort_by_key(|(offset, _)| *offset);
    for (_, problem) in found {
        layers.problem(problem);
    }
}

type Key<'a, 'i> = &'a Spanned<Cow<'i, str>>;

struct Walk<'a> {
    file: &'a ConfigFile,
    layers: &'a mut Layers,
    /// Problems with the byte at which each one is.
    found: Vec<(usize, Problem)>,
}

impl Walk<'_> {
    fn root(&mut self, root: &DeTable<'_>) {
        for (key, value) in root {
            let name = key.get_ref().as_ref();
            let is_setting = |setting: &&Setting| setting.table().is_empty() && setting.key == name;
            if let Some(setting) = SETTINGS.iter().find(is_setting) {
                self.setting(setting, setting.key, key, value);
            } else if name == "namespace" {
                self.namespaces(key, value);
            } else if settings::tables().contains(&name) && !name.is_empty() {
                self.table(name, key, value);
            } else {
                self.unknown_at_top(key, value);
            }
        }
    }

    fn table(&mut self, table: &str, key: Key<'_, '_>, value: &Spanned<DeValue<'_>>) {
        let Some(entries) = value.get_ref().as_table() else {
            return self.not_a_table(table, key, value, &format!("write a [{table}] header"));
        };
        for (key, value) in entries {
            let leaf = key.get_ref().as_ref();
            let is_setting =
                |setting: &&Setting| setting.table() == table && setting.leaf() == leaf;
            match SETTINGS.iter().find(is_setting) {
                Some(setting) => self.setting(setting, setting.key, key, value),
                None => {
                    let fix = match suggest::setting(table, leaf) {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None => format!("remove it; [{table}] takes {}", leaves_of(table)),
                    };
                    self.unknown("key", format!("{table}.{}", toml_key(leaf)), key, fix);
                }
            }
        }
    }

    fn namespaces(&mut self, key: Key<'_, '_>, value: &Spanned<DeValue<'_>>) {
        let Some(tables) = value.get_ref().as_table() else {
            let fix = "write a [namespace.NAME] header for each namespace";
            return self.not_a_table("namespace", key, value, fix);
        };
        for (key, value) in tables {
            let name = key.get_ref().as_ref();
            let label = format!("namespace.{}", toml_key(name));
            let Some(entries) = value.get_ref().as_table() else {
                let fix =
                    "write [namespace.NAME] with the name of the namespace, and the key in it";
                self.not_a_table(&shown(&label), key, value, fix);
                continue;
            };
            if check_segment(name).is_err() {
                let rejection = Rejection::new(
                    "it is not the name of a namespace",
                    "write 1 to 128 of A-Z a-z 0-9 . _ : ~ -, not . or ..; with . : or ~ in quotes",
                );
                let shown = format!("\"{}\"", shown(name));
                self.reject("namespace.NAME", &shown, key.span(), rejection);
                continue;
            }
            let own = self.namespace(&label, name, entries);
            self.layers.namespaces.insert(name.to_owned(), own);
        }
    }

    fn namespace(&mut self, label: &str, name: &str, entries: &DeTable<'_>) -> OwnEntries {
        let mut own = OwnEntries::new();
        for (key, value) in entries {
            let leaf = key.get_ref().as_ref();
            let Some(known) = NAMESPACE_KEYS.iter().find(|known| known.leaf == leaf) else {
                let fix = if value.get_ref().is_table() {
                    format!("a dot in a name needs quotes: [namespace.\"{name}.{leaf}\"]")
                } else {
                    unknown_namespace_key(leaf)
                };
                self.unknown("key", format!("{label}.{}", toml_key(leaf)), key, fix);
                continue;
            };
            let full_key = format!("{label}.{leaf}");
            if let Some(read) = self.read(known.setting(), &full_key, key, value) {
                let origin = self.file.origin(key.span());
                let entry = Entry {
                    value: read,
                    origin,
                };
                own.insert(known.leaf, entry);
            }
        }
        own
    }

    fn setting(
        &mut self,
        setting: &Setting,
        full_key: &str,
        key: Key<'_, '_>,
        value: &Spanned<DeValue<'_>>,
    ) {
        if let Some(value) = self.read(setting, full_key, key, value) {
            let origin = self.file.origin(key.span());
            self.layers.accept(setting, value, origin);
        }
    }

    /// The value, or `None` after saying what is wrong with it.
    fn read(
        &mut self,
        setting: &Setting,
        full_key: &str,
        key: Key<'_, '_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Value> {
        let result = match (setting.kind.is_list(), value.get_ref()) {
            (true, DeValue::Array(items)) => return self.read_list(setting, full_key, items),
            (true, other) => Err(wrong_type(setting, other)),
            (false, other) => {
                scalar_text(setting, other).and_then(|text| setting.read_scalar(&text))
            }
        };
        result
            .map_err(|rejection| {
                let written = self.file.written(value.span());
                self.reject(full_key, &written, key.span(), rejection);
            })
            .ok()
    }

    fn read_list(
        &mut self,
        setting: &Setting,
        full_key: &str,
        items: &DeArray<'_>,
    ) -> Option<Value> {
        let mut good = Vec::new();
        for item in items.iter() {
            let read = match item.get_ref() {
                DeValue::String(text) => setting.read_item(text),
                other => Err(wrong_type(setting, other)),
            };
            match read {
                Ok(text) => good.push(text),
                Err(rejection) => {
                    let written = self.file.written(item.span());
                    self.reject(full_key, &written, item.span(), rejection);
                }
            }
        }
        (good.len() == items.len()).then_some(Value::List(good))
    }

    fn unknown_at_top(&mut self, key: Key<'_, '_>, value: &Spanned<DeValue<'_>>) {
        let name = key.get_ref().as_ref();
        let is_table = value.get_ref().is_table();
        let known_tables: Vec<&str> = settings::tables()
            .into_iter()
            .filter(|table| !table.is_empty())
            .chain(["namespace"])
            .collect();
        if is_table {
            let fix = match suggest::closest(name, known_tables.iter().copied()) {
                Some("namespace") => "did you mean `[namespace.NAME]`?".to_owned(),
                Some(table) => format!("did you mean `[{table}]`?"),
                None => format!("remove it; the tables are {}", known_tables.join(", ")),
            };
            return self.unknown("table", toml_key(name), key, fix);
        }
        let dotted = SETTINGS.iter().find(|setting| setting.key == name);
        let fix = match (dotted, suggest::setting("", name)) {
            (Some(setting), _) => {
                let (table, leaf) = (setting.table(), setting.leaf());
                format!("write `{leaf}` under [{table}], without quotes")
            }
            (None, Some(meant)) => format!("did you mean `{meant}`?"),
            (None, None) => "remove it; `tidewire serve --help` lists every key".to_owned(),
        };
        self.unknown("key", toml_key(name), key, fix);
    }

    fn not_a_table(
        &mut self,
        name: &str,
        key: Key<'_, '_>,
        value: &Spanned<DeValue<'_>>,
        fix: &str,
    ) {
        let what = format!("it is a table, not {}", type_name(value.get_ref()));
        let written = self.file.written(value.span());
        self.reject(name, &written, key.span(), Rejection::new(what, fix));
    }

    fn unknown(&mut self, what: &'static str, name: String, key: Key<'_, '_>, fix: String) {
        let origin = self.file.origin(key.span());
        let problem = Problem::Unknown {
            origin,
            what,
            name: shown(&name),
            fix,
        };
        self.found.push((key.span().start, problem));
    }

    fn reject(&mut self, key: &str, written: &str, at: Range<usize>, rejection: Rejection) {
        let origin = self.file.origin(at.clone());
        let problem = self.layers.rejection(key, written, origin, rejection);
        self.found.push((at.start, problem));
    }
}

/// The scalar as a variable would have it, if TOML's type is the one that the setting takes.
fn scalar_text(setting: &Setting, value: &DeValue<'_>) -> Result<String, Rejection> {
    match (setting.kind, value) {
        (Kind::Count(_) | Kind::Size | Kind::Duration, DeValue::Integer(integer)) => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix());
            // What does not fit is too large in any case: its digits say so further on.
            Ok(number.map_or_else(|_| integer.as_str().to_owned(), |n| n.to_string()))
        }
        (Kind::Switch, DeValue::Boolean(on)) => Ok(on.to_string()),
        (Kind::Switch | Kind::Count(_), _) => Err(wrong_type(setting, value)),
        (_, DeValue::String(text)) => Ok(text.to_string()),
        _ => Err(wrong_type(setting, value)),
    }
}

fn wrong_type(setting: &Setting, value: &DeValue<'_>) -> Rejection {
    let wanted = match setting.kind {
        Kind::Count(_) => "a whole number",
        Kind::Switch => "true or false",
        Kind::Size => "a size: a string with a unit, or a whole number of bytes",
        Kind::Duration => "a string with a number and a unit",
        kind if kind.is_list() => "a list of strings",
        _ => "a string",
    };
    let what = format!("it takes {wanted}, not {}", type_name(value));
    Rejection::new(what, format!("write for example {}", setting.example()))
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn unknown_namespace_key(leaf: &str) -> String {
    match suggest::namespace_key(leaf) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => {
            let leaves: Vec<&str> = NAMESPACE_KEYS.iter().map(|key| key.leaf).collect();
            format!("remove it; a namespace takes {}", leaves.join(", "))
        }
    }
}

fn leaves_of(table: &str) -> String {
    let rows = SETTINGS.iter().filter(|setting| setting.table() == table);
    let leaves: Vec<&str> = rows.map(Setting::leaf).collect();
    leaves.join(", ")
}
