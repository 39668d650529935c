//! The tables of the file: every key is handed on with its line, or said not to belong there.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::{ConfigFile, toml_key};
use crate::config::access;
use crate::config::layers::{Entry, Layers, NOT_SHOWN, NamedTable, OwnEntries};
use crate::config::problem::{Problem, shown};
use crate::config::settings::{self, Kind, SETTINGS, Setting};
use crate::config::suggest;
use crate::config::tables::{FAMILIES, Family, KEY};
use crate::config::value::{Rejection, Value};

/// Lays the tables under `root` over `layers`.
pub fn apply(file: &ConfigFile, scope: Scope, root: &DeTable<'_>, layers: &mut Layers) {
    let mut walk = Walk {
        file,
        scope,
        layers,
        found: Vec::new(),
    };
    walk.table("", root);
    let mut found = walk.found;
    // Tables come in the order of their names; people read from top to bottom.
    found.sort_by_key(|(offset, _)| *offset);
    for (_, problem) in found {
        layers.problem(problem);
    }
}

/// What belongs into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Whole,
    /// `[auth.key.NAME]` and nothing else.
    Keys,
}

impl Scope {
    fn settings(self) -> &'static [Setting] {
        match self {
            Self::Whole => SETTINGS,
            Self::Keys => &[],
        }
    }

    fn families(self) -> &'static [&'static Family] {
        const KEYS: &[&Family] = &[&KEY];
        match self {
            Self::Whole => &FAMILIES,
            Self::Keys => KEYS,
        }
    }

    /// The tables that can stand right in `table`, by their names in it.
    fn tables_in(self, table: &str) -> Vec<&'static str> {
        let settings = settings::tables().into_iter();
        let settings = settings.filter(|_| self == Self::Whole);
        let families = self.families().iter().map(|family| family.prefix);
        let mut names = Vec::new();
        for path in settings.chain(families) {
            let below = match table {
                "" => Some(path),
                table => path
                    .strip_prefix(table)
                    .and_then(|rest| rest.strip_prefix('.')),
            };
            let name = below.and_then(|below| below.split('.').next());
            if let Some(name) = name.filter(|name| !name.is_empty())
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }

    fn family(self, path: &str) -> Option<&'static Family> {
        let families = self.families().iter();
        families.copied().find(|family| family.prefix == path)
    }

    /// What the header of the table `path` looks like.
    fn header(self, path: &str) -> String {
        match self.family(path) {
            Some(family) => family.header.to_owned(),
            None => format!("[{path}]"),
        }
    }
}

type Key<'a, 'i> = &'a Spanned<Cow<'i, str>>;

/// Where a value stands.
struct Place<'a> {
    /// Its key with the table.
    key: &'a str,
    /// The name of its table, if that is a named one.
    table: &'a str,
}

struct Walk<'a> {
    file: &'a ConfigFile,
    scope: Scope,
    layers: &'a mut Layers,
    /// Problems with the byte at which each one is.
    found: Vec<(usize, Problem)>,
}

impl Walk<'_> {
    /// The table at `path`, which is empty at the top.
    fn table(&mut self, path: &str, entries: &DeTable<'_>) {
        for (key, value) in entries {
            let leaf = key.get_ref().as_ref();
            let is_setting = |setting: &&Setting| setting.table() == path && setting.leaf() == leaf;
            let is_table_here = self.scope.tables_in(path).contains(&leaf);
            let setting = self.scope.settings().iter().find(is_setting);
            match setting {
                Some(setting) => self.setting(setting, key, value),
                _ if is_table_here => self.table_below(&join(path, leaf), key, value),
                _ => self.unknown_in(path, key, value),
            }
        }
    }

    fn table_below(&mut self, path: &str, key: Key<'_, '_>, value: &Spanned<DeValue<'_>>) {
        let family = self.scope.family(path);
        match (value.get_ref().as_table(), family) {
            (Some(entries), Some(family)) => self.family(family, entries),
            (Some(entries), None) => self.table(path, entries),
            (None, Some(family)) => {
                let fix = format!("write a {} header for each {}", family.header, family.what);
                self.not_a_table(path, key, value, &fix);
            }
            (None, None) => {
                let fix = format!("write a [{path}] header");
                self.not_a_table(path, key, value, &fix);
            }
        }
    }

    fn family(&mut self, family: &'static Family, tables: &DeTable<'_>) {
        for (key, value) in tables {
            let name = key.get_ref().as_ref();
            let label = family.label(name);
            let Some(entries) = value.get_ref().as_table() else {
                let fix = format!(
                    "write {} with the name of the {}, and the key in it",
                    family.header, family.what
                );
                self.not_a_table(&shown(&label), key, value, &fix);
                continue;
            };
            if !(family.is_name)(name) {
                let what = format!("it is not the name of {} {}", article(family), family.what);
                let shown = format!("\"{}\"", shown(name));
                let key_shown = format!("{}.NAME", family.prefix);
                let rejection = Rejection::new(what, family.name_form);
                self.reject(&key_shown, &shown, key.span(), rejection);
                continue;
            }
            let table = NamedTable {
                origin: self.file.origin(key.span()),
                entries: self.named(family, name, entries),
            };
            for required in family.required {
                self.require(family, required, &table, key);
            }
            self.layers.named.insert(family, name, table);
        }
    }

    /// The table `name` of a family.
    fn named(&mut self, family: &'static Family, name: &str, entries: &DeTable<'_>) -> OwnEntries {
        let label = family.label(name);
        let mut own = OwnEntries::new();
        for (key, value) in entries {
            let leaf = key.get_ref().as_ref();
            let Some(known) = family.key(leaf) else {
                let fix = if family.dotted_names && value.get_ref().is_table() {
                    let prefix = family.prefix;
                    format!("a dot in a name needs quotes: [{prefix}.\"{name}.{leaf}\"]")
                } else {
                    unknown_named_key(family, leaf)
                };
                self.unknown("key", format!("{label}.{}", toml_key(leaf)), key, fix);
                continue;
            };
            let place = Place {
                key: &format!("{label}.{leaf}"),
                table: name,
            };
            if let Some(read) = self.read(known.setting(), &place, key, value) {
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

    /// Says that the table lacks `leaf`, unless what was written for it was refused.
    fn require(
        &mut self,
        family: &'static Family,
        leaf: &str,
        table: &NamedTable,
        key: Key<'_, '_>,
    ) {
        let label = family.label(key.get_ref());
        let is_there = table.entries.contains_key(leaf);
        if is_there || self.layers.is_broken(&format!("{label}.{leaf}")) {
            return;
        }
        let setting = family.key(leaf).map(|key| key.setting());
        let example = setting.map(Setting::example).unwrap_or_default();
        let problem = Problem::Missing {
            origin: table.origin.clone(),
            table: label,
            key: format!("`{leaf}`"),
            fix: format!("write for example {example}"),
        };
        self.found.push((key.span().start, problem));
    }

    fn setting(&mut self, setting: &Setting, key: Key<'_, '_>, value: &Spanned<DeValue<'_>>) {
        let place = Place {
            key: setting.key,
            table: "",
        };
        if let Some(value) = self.read(setting, &place, key, value) {
            let origin = self.file.origin(key.span());
            self.layers.accept(setting, value, origin);
        }
    }

    /// The value, or `None` after saying what is wrong with it.
    fn read(
        &mut self,
        setting: &Setting,
        place: &Place<'_>,
        key: Key<'_, '_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Value> {
        let result = match (setting.kind.is_list(), value.get_ref()) {
            (true, DeValue::Array(items)) => return self.read_list(setting, place, key, items),
            (true, other) => Err(wrong_type(setting, other)),
            (false, other) => {
                scalar_text(setting, other).and_then(|text| setting.read_scalar(&text))
            }
        };
        result
            .map_err(|rejection| {
                let written = match setting.kind.is_unrepeated() {
                    true => NOT_SHOWN.to_owned(),
                    false => self.file.written(value.span()),
                };
                self.reject(place.key, &written, key.span(), rejection);
            })
            .ok()
    }

    fn read_list(
        &mut self,
        setting: &Setting,
        place: &Place<'_>,
        key: Key<'_, '_>,
        items: &DeArray<'_>,
    ) -> Option<Value> {
        let mut good = Vec::new();
        for item in items.iter() {
            let read = match item.get_ref() {
                DeValue::String(text) if setting.kind == Kind::Grants => {
                    let checked = access::check_grant(setting.leaf(), text, place.table);
                    checked.map(|()| text.to_string())
                }
                DeValue::String(text) => setting.read_item(text),
                other => Err(wrong_type(setting, other)),
            };
            match read {
                Ok(text) => good.push(text),
                Err(rejection) => {
                    let written = self.file.written(item.span());
                    self.reject(place.key, &written, item.span(), rejection);
                }
            }
        }
        if good.len() < items.len() {
            return None;
        }
        if let Err(rejection) = setting.check_count(good.len()) {
            let written = format!("{} patterns", good.len());
            self.reject(place.key, &written, key.span(), rejection);
            return None;
        }
        Some(Value::List(good))
    }

    fn unknown_in(&mut self, path: &str, key: Key<'_, '_>, value: &Spanned<DeValue<'_>>) {
        let leaf = key.get_ref().as_ref();
        let tables = self.scope.tables_in(path);
        let name = join(path, &toml_key(leaf));
        if self.scope == Scope::Keys {
            let what = match value.get_ref().is_table() {
                true => "table",
                false => "key",
            };
            let fix = match suggest::closest(leaf, tables) {
                Some(_) => format!("did you mean `{}`?", KEY.header),
                None => format!("remove it; a keys file has {} tables only", KEY.header),
            };
            return self.unknown(what, name, key, fix);
        }
        if value.get_ref().is_table() && !tables.is_empty() {
            let fix = match suggest::closest(leaf, tables.iter().copied()) {
                Some(meant) => {
                    let header = self.scope.header(&join(path, meant));
                    format!("did you mean `{header}`?")
                }
                None if path.is_empty() => {
                    format!("remove it; the tables are {}", tables.join(", "))
                }
                None => format!(
                    "remove it; the tables in [{path}] are {}",
                    tables.join(", ")
                ),
            };
            return self.unknown("table", name, key, fix);
        }
        let dotted = SETTINGS
            .iter()
            .find(|setting| path.is_empty() && setting.key == leaf);
        let fix = match (dotted, suggest::setting(path, leaf)) {
            (Some(setting), _) => {
                let (table, leaf) = (setting.table(), setting.leaf());
                format!("write `{leaf}` under [{table}], without quotes")
            }
            (None, _) if !path.is_empty() && leaves_of(path).is_empty() => {
                let headers = tables.iter().map(|table| format!("[{path}.{table}]"));
                let headers: Vec<String> = headers.collect();
                format!("write it under one of {}", headers.join(", "))
            }
            (None, Some(meant)) => format!("did you mean `{meant}`?"),
            (None, None) if path.is_empty() => {
                "remove it; `tidewire serve --help` lists every key".to_owned()
            }
            (None, None) => format!("remove it; [{path}] takes {}", leaves_of(path)),
        };
        self.unknown("key", name, key, fix);
    }

    fn not_a_table(
        &mut self,
        name: &str,
        key: Key<'_, '_>,
        value: &Spanned<DeValue<'_>>,
        fix: &str,
    ) {
        let what = format!("it is a table, not {}", type_name(value.get_ref()));
        // It may be a secret that stands one table too high.
        self.reject(name, NOT_SHOWN, key.span(), Rejection::new(what, fix));
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
        (Kind::Time, DeValue::Datetime(time)) => Ok(time.to_string()),
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
        Kind::Time => "a time in UTC",
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

fn unknown_named_key(family: &Family, leaf: &str) -> String {
    let leaves = family.leaves();
    match suggest::closest(leaf, leaves.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!(
            "remove it; {} {} takes {}",
            article(family),
            family.what,
            leaves.join(", ")
        ),
    }
}

fn article(family: &Family) -> &'static str {
    match family.what.starts_with(['A', 'a', 'e', 'i', 'o', 'u']) {
        true => "an",
        false => "a",
    }
}

fn join(path: &str, leaf: &str) -> String {
    match path {
        "" => leaf.to_owned(),
        path => format!("{path}.{leaf}"),
    }
}

fn leaves_of(table: &str) -> String {
    let rows = SETTINGS.iter().filter(|setting| setting.table() == table);
    let leaves: Vec<&str> = rows.map(Setting::leaf).collect();
    leaves.join(", ")
}
