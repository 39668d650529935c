//! Values that are good alone and cannot hold together. Each is refused at start, with both keys
//! and where they came from, rather than found out later by a publish that can never be kept.

mod access;
#[cfg(test)]
mod tests;

use super::EngineKind;
use super::layers::{Entry, Layers};
use super::problem::Problem;
use super::settings;
use super::settings::Kind;
use super::tables::{Family, NAMESPACE};
use super::units;
use super::value::{FromValue, Value};

/// What surrounds one event of the largest size in a WebSocket message, with room to spare: op, id,
/// topic (at most 8 × 129 characters), producer.
const FRAME_OVERHEAD: u64 = 4096;

/// What clients of AppSync may send, and what anybody may: a default of the first gives way to the second.
pub const YIELDING: [(&str, &str); 2] = [
    ("appsync.max_events", "limits.max_batch_events"),
    ("appsync.max_event_bytes", "limits.max_event_bytes"),
];

/// All contradictions among the values that were read well.
pub fn find(layers: &Layers) -> Vec<Problem> {
    let mut search = Search::new(layers);
    search.sizes();
    search.retention();
    search.directory();
    search.access();
    search.problems
}

/// Those among API keys, where there is nothing else.
pub fn find_among_keys(layers: &Layers) -> Vec<Problem> {
    let mut search = Search::new(layers);
    search.key_ids();
    search.problems
}

/// One value that takes part in a rule.
struct Term<'a> {
    /// Its key with the table.
    key: String,
    kind: Kind,
    entry: &'a Entry,
}

impl Term<'_> {
    fn number(&self) -> u64 {
        u64::from_value(&self.entry.value).unwrap_or_default()
    }

    /// `limits.max_frame_bytes` = 1MiB (tidewire.toml:3)
    fn describe(&self) -> String {
        let Entry { value, origin } = self.entry;
        format!("`{}` = {} ({origin})", self.key, value.in_words(self.kind))
    }
}

/// The least that a term has to be: `times` × the other term + `plus`.
struct Least<'a> {
    times: u64,
    of: Term<'a>,
    plus: u64,
    because: &'static str,
}

struct Search<'a> {
    layers: &'a Layers,
    problems: Vec<Problem>,
}

impl<'a> Search<'a> {
    fn new(layers: &'a Layers) -> Self {
        let problems = Vec::new();
        Self { layers, problems }
    }

    fn sizes(&mut self) {
        let rules = [
            (
                "limits.max_frame_bytes",
                "limits.max_event_bytes",
                FRAME_OVERHEAD,
                "the largest event has to fit into a WebSocket message with 4096 bytes around it",
            ),
            (
                "limits.max_body_bytes",
                "limits.max_event_bytes",
                0,
                "the largest event has to fit into a request body",
            ),
            (
                "limits.inflight_bytes",
                "limits.max_body_bytes",
                0,
                "the largest request has to fit into what may be in flight",
            ),
            (
                "limits.inflight_bytes",
                "limits.max_frame_bytes",
                0,
                "the largest WebSocket message has to fit into what may be in flight",
            ),
            (
                "limits.max_batch_events",
                "appsync.max_events",
                0,
                "a publish of an AppSync client is one of the broker's",
            ),
            (
                "limits.max_event_bytes",
                "appsync.max_event_bytes",
                0,
                "an event of an AppSync client is one of the broker's",
            ),
        ];
        for (key, of, plus, because) in rules {
            if let (Some(term), Some(of)) = (self.setting(key), self.setting(of)) {
                let least = Least {
                    times: 1,
                    of,
                    plus,
                    because,
                };
                self.at_least(&term, &least);
            }
        }
    }

    /// Retention holds twice the largest batch, and all logs together hold one log.
    fn retention(&mut self) {
        self.retention_of("retention_events", "limits.max_batch_events");
        self.retention_of("retention_bytes", "limits.max_body_bytes");
        self.retention_of("retention_bytes", "limits.max_frame_bytes");
        for bytes in self.namespaces_too("retention_bytes") {
            if let Some(log_bytes) = self.setting("limits.log_bytes") {
                let least = Least {
                    times: 1,
                    of: bytes,
                    plus: 0,
                    because: "all logs together have to hold at least one topic's",
                };
                self.at_least(&log_bytes, &least);
            }
        }
    }

    fn retention_of(&mut self, leaf: &str, batch: &str) {
        for retention in self.namespaces_too(leaf) {
            if let Some(of) = self.setting(batch) {
                let least = Least {
                    times: 2,
                    of,
                    plus: 0,
                    because: "a topic has to keep at least twice the largest batch",
                };
                self.at_least(&retention, &least);
            }
        }
    }

    /// The disk engine has a directory, and no other engine is given one to leave unused.
    fn directory(&mut self) {
        let (Some(engine), Some(data_dir)) = (self.setting("engine"), self.setting("data_dir"))
        else {
            return;
        };
        let (Value::Engine(kind), Value::Text(path)) = (&engine.entry.value, &data_dir.entry.value)
        else {
            return;
        };
        let (what, fix) = match (kind, path.is_empty()) {
            (EngineKind::Disk, false) | (EngineKind::Memory, true) => return,
            (EngineKind::Disk, true) => (
                format!(
                    "{} keeps logs in a directory, and {}",
                    engine.describe(),
                    data_dir.describe()
                ),
                "name a directory with --data-dir DIR (`data_dir = \"/var/lib/tidewire\"`), or \
                 keep logs in memory with --engine memory (`engine = \"memory\"`)",
            ),
            (EngineKind::Memory, false) => (
                format!(
                    "{} is for the disk engine, and {} would keep nothing there",
                    data_dir.describe(),
                    engine.describe()
                ),
                "keep logs there with --engine disk (`engine = \"disk\"`), or leave `data_dir` out",
            ),
        };
        self.problems.push(Problem::Contradiction {
            keys: vec![engine.key, data_dir.key],
            what,
            fix: fix.to_owned(),
        });
    }

    fn at_least(&mut self, term: &Term<'_>, least: &Least<'_>) {
        let Least {
            times,
            of,
            plus,
            because,
        } = least;
        // Every number is far below u64::MAX (units::MAX_SIZE, units::MAX_COUNT).
        let needed = of.number() * times + plus;
        if term.number() >= needed {
            return;
        }
        let needed = match term.kind {
            Kind::Size => units::format_size(needed),
            _ => needed.to_string(),
        };
        let times = match times {
            1 => String::new(),
            times => format!("{times} × "),
        };
        self.problems.push(Problem::Contradiction {
            keys: vec![term.key.clone(), of.key.clone()],
            what: format!(
                "{} is too small for {times}{}: {because}",
                term.describe(),
                of.describe()
            ),
            fix: format!(
                "raise `{}` to {needed} or more, or lower `{}`",
                term.key, of.key
            ),
        });
    }

    /// The term of a row, unless what was written for it is no value.
    fn setting(&self, key: &str) -> Option<Term<'a>> {
        let row = settings::find(key)?;
        let is_broken = self.layers.is_broken(key);
        let term = Term {
            key: key.to_owned(),
            kind: row.kind,
            entry: self.layers.entries.get(key),
        };
        (!is_broken).then_some(term)
    }

    /// The terms of one key of `[defaults]` and of every namespace that sets it itself.
    fn namespaces_too(&self, leaf: &str) -> Vec<Term<'a>> {
        let inherits = NAMESPACE.key(leaf).and_then(|key| key.inherits());
        let inherited = inherits.and_then(|key| self.setting(key));
        let own = self.named(&NAMESPACE, leaf);
        inherited.into_iter().chain(own).collect()
    }

    /// The terms of one key of every table of a family that sets it itself.
    fn named(&self, family: &'static Family, leaf: &str) -> Vec<Term<'a>> {
        let Some(key) = family.key(leaf) else {
            return Vec::new();
        };
        let own = self.layers.named.of(family).filter_map(|(name, table)| {
            // A broken value never became an entry.
            let entry = table.entries.get(key.leaf)?;
            Some(Term {
                key: format!("{}.{leaf}", family.label(name)),
                kind: key.setting().kind,
                entry,
            })
        });
        own.collect()
    }
}
