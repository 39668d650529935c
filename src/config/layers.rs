//! Lays the sources over each other: each later offer for a key beats the one before.
//!
//! A bad offer is a problem even where a later layer covers it, and it marks its key as broken, so
//! that contradictions are looked for only among values that somebody meant.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::{ConfigError, Origin, Problem, shown};
use super::settings::{self, NAMESPACE_KEYS, NamespaceKey, SETTINGS, Setting};
use super::value::{FromValue, Rejection, Value};
use super::{Access, Config, Effective, Namespace, Quota, contradictions};

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
        let default_of = |setting: &Setting| {
            let value = setting.read_text(setting.default);
            Entry {
                value: value.expect("the table's defaults are good values"),
                origin: Origin::Default,
            }
        };
        let entries = SETTINGS
            .iter()
            .map(|setting| (setting.key, default_of(setting)));
        Self(entries.collect())
    }

    /// The entry of a row.
    pub fn get(&self, key: &str) -> &Entry {
        self.0.get(key).expect("every key of the table is there")
    }

    /// The value of a row as the type that its kind has.
    pub fn take<T: FromValue>(&self, key: &str) -> T {
        T::from_value(&self.get(key).value).expect("the row's kind is that of the field")
    }
}

/// The keys that one `[namespace.NAME]` table sets itself.
pub type OwnEntries = BTreeMap<&'static str, Entry>;

/// The value of `key` in a namespace: its own, else the inherited one.
pub fn namespace_entry<'a>(
    own: &'a OwnEntries,
    entries: &'a Entries,
    key: &NamespaceKey,
) -> &'a Entry {
    own.get(key.leaf)
        .unwrap_or_else(|| entries.get(key.inherits))
}

/// What has been read so far.
pub struct Layers {
    pub entries: Entries,
    pub namespaces: BTreeMap<String, OwnEntries>,
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
            namespaces: BTreeMap::new(),
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
                let shown = format!("\"{}\"", shown(text));
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

    /// The configuration, if nothing was wrong.
    pub fn finish(mut self) -> Result<Effective, ConfigError> {
        if !self.file_failed {
            let contradictions = contradictions::find(&self);
            self.problems.extend(contradictions);
        }
        if !self.problems.is_empty() {
            return Err(ConfigError::new(self.problems));
        }
        let namespaces = self
            .namespaces
            .iter()
            .map(|(name, own)| (name.clone(), namespace(own, &self.entries)));
        Ok(Effective {
            config: Config::assemble(&self.entries, namespaces.collect()),
            entries: self.entries,
            namespaces: self.namespaces,
        })
    }
}

pub(super) fn namespace(own: &OwnEntries, entries: &Entries) -> Namespace {
    Namespace {
        retention_events: take(own, entries, "retention_events"),
        retention_bytes: take(own, entries, "retention_bytes"),
        retention_age: take(own, entries, "retention_age"),
        publish_rate: take(own, entries, "publish_rate"),
        publish_burst: take(own, entries, "publish_burst"),
        read: Access::Grant,
        write: Access::Grant,
        control: Access::Grant,
        publish_types: crate::event::TypeFilter::everything(),
        control_types: super::auth::control_types(),
        quota: Quota::default(),
    }
}

fn take<T: FromValue>(own: &OwnEntries, entries: &Entries, leaf: &str) -> T {
    let key = NAMESPACE_KEYS.iter().find(|key| key.leaf == leaf);
    let key = key.expect("every field of Namespace is a row of its table");
    let entry = namespace_entry(own, entries, key);
    T::from_value(&entry.value).expect("the row's kind is that of the field")
}

impl NamespaceKey {
    /// The setting that it inherits from, which also says what it takes.
    pub fn setting(&self) -> &'static Setting {
        settings::find(self.inherits).expect("a namespace's key inherits from a row of the table")
    }
}
