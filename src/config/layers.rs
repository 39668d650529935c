//! Lays the sources over each other: each later offer for a key beats the one before.
//!
//! A bad offer is a problem even where a later layer covers it, and it marks its key as broken, so
//! that contradictions are looked for only among values that somebody meant.

use std::collections::{BTreeMap, BTreeSet};

use super::auth::{ApiKey, Quota};
use super::problem::{ConfigError, Origin, Problem, shown};
use super::settings::{SETTINGS, Setting};
use super::tables::{Family, TableKey};
use super::value::{FromValue, Rejection, Value};
use super::{Effective, assemble, contradictions};

/// What errors show in the place of a value that they do not repeat.
pub const NOT_SHOWN: &str = "…";

/// A value in force and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub value: Value,
    pub origin: Origin,
}

/// One entry for every row of the table, by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries(BTreeMap<&'static str, Entry>);

impl Entries {
    /// The defaults of the table.
    pub fn defaults() -> Self {
        let default_of = |setting: &Setting| Entry {
            value: setting.default_value(),
            origin: Origin::Default,
        };
        let entries = SETTINGS
            .iter()
            .map(|setting| (setting.key, default_of(setting)));
        Self(entries.collect())
    }

    /// The entry of a row.
    pub fn get(&self, key: &str) -> &Entry {
        self.find(key).expect("every key of the table is there")
    }

    /// The entry of a row, if there is such a row.
    pub fn find(&self, key: &str) -> Option<&Entry> {
        self.0.get(key)
    }

    /// The value of a row as the type that its kind has.
    pub fn take<T: FromValue>(&self, key: &str) -> T {
        T::from_value(&self.get(key).value).expect("the row's kind is that of the field")
    }
}

/// The keys that one named table sets itself.
pub type OwnEntries = BTreeMap<&'static str, Entry>;

/// One `[namespace.NAME]`, `[auth.issuers.NAME]` or `[auth.key.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTable {
    /// Where it begins.
    pub origin: Origin,
    pub entries: OwnEntries,
}

/// All named tables, by the prefix of their family and their name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedTables(BTreeMap<&'static str, BTreeMap<String, NamedTable>>);

impl NamedTables {
    /// Those of one family, by name.
    pub fn of(&self, family: &Family) -> impl Iterator<Item = (&String, &NamedTable)> {
        self.0.get(family.prefix).into_iter().flatten()
    }

    pub fn insert(&mut self, family: &Family, name: &str, table: NamedTable) {
        let tables = self.0.entry(family.prefix).or_default();
        tables.insert(name.to_owned(), table);
    }
}

/// What holds for `key` in a named table: its own value, else the inherited one.
pub fn entry_in_force<'a>(
    own: &'a OwnEntries,
    entries: &'a Entries,
    key: &TableKey,
) -> Option<&'a Entry> {
    let inherited = || key.inherits().map(|key| entries.get(key));
    own.get(key.leaf).or_else(inherited)
}

/// What has been read so far.
pub struct Layers {
    pub entries: Entries,
    pub named: NamedTables,
    problems: Vec<Problem>,
    broken: BTreeSet<String>,
    /// Without the file's values, which were meant to be there, nothing can be called a contradiction.
    file_failed: bool,
}

impl Layers {
    /// The defaults alone.
    pub fn new() -> Self {
        Self {
            entries: Entries::defaults(),
            named: NamedTables::default(),
            problems: Vec::new(),
            broken: BTreeSet::new(),
            file_failed: false,
        }
    }

    /// Takes what a variable or a flag says.
    pub fn offer_text(&mut self, setting: &Setting, text: &str, origin: Origin) {
        match setting.read_text(text) {
            Ok(value) => self.accept(setting, value, origin),
            Err(rejections) => {
                let shown = match setting.kind.is_unrepeated() {
                    true => NOT_SHOWN.to_owned(),
                    false => format!("\"{}\"", shown(text)),
                };
                for rejection in rejections {
                    let problem = self.rejection(setting.key, &shown, origin.clone(), rejection);
                    self.problem(problem);
                }
            }
        }
    }

    /// Takes a value that has been read.
    pub fn accept(&mut self, setting: &Setting, value: Value, origin: Origin) {
        self.entries.0.insert(setting.key, Entry { value, origin });
    }

    /// Remembers that a value for `key` (with its table) was refused; `shown` is what was written.
    /// The caller reports the problem, in the order that suits its source.
    pub fn rejection(
        &mut self,
        key: &str,
        shown: &str,
        origin: Origin,
        rejection: Rejection,
    ) -> Problem {
        self.broken.insert(key.to_owned());
        Problem::BadValue {
            origin,
            key: key.to_owned(),
            value: shown.to_owned(),
            what: rejection.what,
            fix: rejection.fix,
        }
    }

    pub fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The file was named but gave nothing.
    pub fn file_failed(&mut self, problem: Problem) {
        self.file_failed = true;
        self.problem(problem);
    }

    /// Whether a value for `key` was refused.
    pub fn is_broken(&self, key: &str) -> bool {
        self.broken.contains(key)
    }

    /// Whether a value in `table`, or in a table below it, was refused, or the table itself.
    pub fn is_broken_in(&self, table: &str) -> bool {
        let below = |key: &String| {
            let rest = key.strip_prefix(table);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.broken.iter().any(below)
    }

    /// A default that an operator's bound leaves no room for gives way to it; a value that somebody set does not.
    fn yield_defaults(&mut self) {
        for (key, bound) in contradictions::YIELDING {
            let most: u64 = self.entries.take(bound);
            let entry = self.entries.0.get_mut(key);
            let default = entry.filter(|entry| entry.origin == Origin::Default);
            if let Some(entry) = default
                && u64::from_value(&entry.value).is_some_and(|number| number > most)
            {
                entry.value = Value::Number(most);
            }
        }
    }

    /// The configuration, if nothing was wrong.
    pub fn finish(mut self) -> Result<Effective, ConfigError> {
        self.yield_defaults();
        if !self.file_failed {
            let contradictions = contradictions::find(&self);
            self.problems.extend(contradictions);
        }
        if !self.problems.is_empty() {
            return Err(ConfigError::new(self.problems));
        }
        Ok(Effective {
            config: assemble::config(&self.entries, &self.named),
            entries: self.entries,
            named: self.named,
        })
    }

    /// The keys of a file that has nothing else, if nothing was wrong.
    pub fn finish_keys(mut self, quota: &Quota) -> Result<BTreeMap<String, ApiKey>, ConfigError> {
        if !self.file_failed {
            let contradictions = contradictions::find_among_keys(&self);
            self.problems.extend(contradictions);
        }
        if !self.problems.is_empty() {
            return Err(ConfigError::new(self.problems));
        }
        Ok(assemble::api_keys(&self.named, quota))
    }
}
