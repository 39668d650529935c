//! The folder `schema/`: its files, places in them, and validators for such places.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::{Registry, Validator};
use serde_json::{Value, json};

/// Where the files are for the validator, which resolves references between them; nothing is fetched.
const BASE: &str = "tidewire:///schema/";

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema")
}

/// Every JSON file by its path in the folder.
static FILES: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let mut files = BTreeMap::new();
    read_folder(&folder(), "", &mut files);
    files
});

static REGISTRY: LazyLock<Registry<'static>> = LazyLock::new(|| {
    let mut registry = Registry::new();
    for (name, content) in &*FILES {
        registry = registry
            .add(format!("{BASE}{name}"), content)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    registry.prepare().expect("the files fit together")
});

fn read_folder(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Value>) {
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        let name = format!("{prefix}{name}");
        if path.is_dir() && name == "vectors" {
            // conversations, and no schemas
        } else if path.is_dir() {
            read_folder(&path, &format!("{name}/"), files);
        } else if name.ends_with(".json") {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            let content =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            files.insert(name, content);
        }
    }
}

/// All files by name.
pub fn files() -> &'static BTreeMap<String, Value> {
    &FILES
}

/// The files that hold schemas, without the two documents built from them.
pub fn schema_files() -> impl Iterator<Item = (&'static String, &'static Value)> {
    files()
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "openapi.json" | "asyncapi.json"))
}

/// The names under `$defs` of a file.
pub fn definitions(file: &str) -> Vec<&'static str> {
    let definitions = files()[file]["$defs"].as_object();
    let definitions = definitions.unwrap_or_else(|| panic!("{file} has no $defs"));
    definitions.keys().map(String::as_str).collect()
}

/// A place in a file: `frames/server.json#/$defs/gap`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub file: String,
    /// A JSON pointer.
    pub pointer: String,
}

impl Place {
    pub fn parse(text: &str) -> Place {
        let (file, pointer) = text.split_once('#').unwrap_or((text, ""));
        Place {
            file: file.to_owned(),
            pointer: pointer.to_owned(),
        }
    }

    /// One step deeper.
    pub fn then(&self, name: &str) -> Place {
        let name = name.replace('~', "~0").replace('/', "~1");
        Place {
            file: self.file.clone(),
            pointer: format!("{}/{name}", self.pointer),
        }
    }

    /// What stands there.
    pub fn value(&self) -> Option<&'static Value> {
        files().get(&self.file)?.pointer(&self.pointer)
    }

    pub fn schema(&self) -> &'static Value {
        self.value().unwrap_or_else(|| panic!("nothing at {self}"))
    }

    /// Where a reference that stands in this place's file leads.
    pub fn follow(&self, reference: &str) -> Place {
        let (path, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let file = match path {
            "" => self.file.clone(),
            path => {
                let mut parts: Vec<&str> = self.file.split('/').collect();
                parts.pop();
                for part in path.split('/') {
                    match part {
                        ".." => drop(parts.pop()),
                        part => parts.push(part),
                    }
                }
                parts.join("/")
            }
        };
        Place {
            file,
            pointer: pointer.to_owned(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.file, self.pointer)
    }
}

/// Behind a `$ref`, if one stands there.
pub fn resolved(place: Place) -> Place {
    match place.schema()["$ref"].as_str() {
        Some(reference) => place.follow(reference),
        None => place,
    }
}

/// The validator of the schema at a place.
pub fn validator(place: &Place) -> Arc<Validator> {
    static KNOWN: LazyLock<Mutex<HashMap<Place, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    if let Some(known) = KNOWN.lock().unwrap().get(place) {
        return known.clone();
    }
    assert!(place.value().is_some(), "nothing at {place}");
    let pointer = place.pointer.replace('$', "%24");
    let built = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .with_registry(&REGISTRY)
        .offline()
        .build(&json!({ "$ref": format!("{BASE}{}#{pointer}", place.file) }))
        .unwrap_or_else(|error| panic!("{place}: {error}"));
    let built = Arc::new(built);
    KNOWN.lock().unwrap().insert(place.clone(), built.clone());
    built
}

/// What is wrong with `value` by the schema at `place`; empty if nothing is.
pub fn faults(place: &Place, value: &Value) -> Vec<String> {
    let validator = validator(place);
    let faults = validator.iter_errors(value);
    faults
        .map(|fault| {
            let shown: String = fault.to_string().chars().take(300).collect();
            format!("{place} at `{}`: {shown}", fault.instance_path())
        })
        .collect()
}

/// Shows the value at every place of a JSON document, the document itself first.
pub fn walk(place: &Place, value: &'static Value, visit: &mut impl FnMut(&Place, &'static Value)) {
    visit(place, value);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                walk(&place.then(name), member, visit);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                walk(&place.then(&at.to_string()), item, visit);
            }
        }
        _ => {}
    }
}
