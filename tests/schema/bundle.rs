//! `schema/openapi.json` is served by itself, so the schemas it refers to stand in it too, under
//! `components/schemas`: copied from the files, with references that stay inside.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::schemas::{Place, files, folder, schema_files, walk};

/// Set to anything, the test writes the copies instead of comparing them.
const WRITE: &str = "WRITE_SCHEMA";
const INSIDE: &str = "#/components/schemas/";

/// The name of a copy: `frames/server.json#/$defs/gap` is `frames.server.gap`.
fn copy_name(place: &Place) -> String {
    let stem = place.file.trim_end_matches(".json").replace('/', ".");
    match place.pointer.strip_prefix("/$defs/") {
        Some(definition) => format!("{stem}.{definition}"),
        None => stem,
    }
}

/// What can be copied: every file whose root says something, and every definition, by the copy's name.
fn originals() -> BTreeMap<String, Place> {
    let mut originals = BTreeMap::new();
    let mut add = |place: Place| {
        let known = originals.insert(copy_name(&place), place);
        assert_eq!(known, None, "two places have the same copy's name");
    };
    for (file, content) in schema_files() {
        let root = Place::parse(file);
        if let Some(definitions) = content["$defs"].as_object() {
            let definitions_at = root.then("$defs");
            definitions
                .keys()
                .for_each(|name| add(definitions_at.then(name)));
        }
        add(root);
    }
    originals
}

/// The place in a file that a reference in `openapi.json` to one of its copies stands for.
pub fn original_of(place: &Place) -> Option<Place> {
    let name = place.pointer.strip_prefix(&INSIDE[1..])?;
    (place.file == "openapi.json").then(|| originals().remove(name))?
}

/// The schema at `place` with its references turned to the copies.
fn copy_of(place: &Place) -> Value {
    let mut schema = place.schema().clone();
    if let Some(members) = schema.as_object_mut() {
        members.retain(|name, _| {
            !(place.pointer.is_empty() && (name == "$defs" || name == "$schema"))
        });
    }
    turn_references(place, &mut schema);
    schema
}

fn turn_references(place: &Place, schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get_mut("$ref") {
                *reference = format!("{INSIDE}{}", copy_name(&place.follow(reference)));
            }
            for member in members.values_mut() {
                turn_references(place, member);
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| turn_references(place, item)),
        _ => {}
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(name) = members.get("$ref").and_then(Value::as_str)
                && let Some(name) = name.strip_prefix(INSIDE)
            {
                found.insert(name.to_owned());
            }
            members
                .values()
                .for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// All copies that the calls need.
fn copies() -> Map<String, Value> {
    let mut document = files()["openapi.json"].clone();
    document["components"]["schemas"] = Value::Null;
    let originals = originals();
    let (mut wanted, mut copies) = (BTreeSet::new(), Map::new());
    references(&document, &mut wanted);
    while let Some(name) = wanted.pop_first() {
        let original = originals
            .get(&name)
            .unwrap_or_else(|| panic!("openapi.json refers to {name}, which is in no file"));
        let copy = copy_of(original);
        let mut further = BTreeSet::new();
        references(&copy, &mut further);
        copies.insert(name, copy);
        wanted.extend(
            further
                .into_iter()
                .filter(|name| !copies.contains_key(name)),
        );
    }
    copies
}

/// Puts the copies in the place of the last member of `components`, and leaves every other line alone.
fn written(document: &str, copies: &Map<String, Value>) -> String {
    let begin = "    \"schemas\": {\n";
    let (before, rest) = document.split_once(begin).expect("components/schemas");
    let (_, after) = rest.split_once("\n    }\n").unwrap_or_else(|| {
        let after = rest.strip_prefix("    }\n").expect("its end");
        ("", after)
    });
    let copies = serde_json::to_string_pretty(copies).expect("JSON");
    let copies = copies
        .trim_start_matches("{\n")
        .trim_end_matches("\n}")
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect::<String>();
    format!("{before}{begin}{copies}    }}\n{after}")
}

#[test]
fn openapi_has_copies_of_the_schemas_it_needs() {
    let copies = copies();
    if std::env::var_os(WRITE).is_some() {
        let path = folder().join("openapi.json");
        let document = std::fs::read_to_string(&path).expect("the document");
        std::fs::write(&path, written(&document, &copies)).expect("the document can be written");
        return;
    }
    let found = files()["openapi.json"]["components"]["schemas"].as_object();
    let found = found.expect("components/schemas");
    let differing: Vec<&String> = copies
        .keys()
        .chain(found.keys())
        .filter(|name| copies.get(*name) != found.get(*name))
        .collect();
    assert!(
        differing.is_empty(),
        "schema/openapi.json is not up to date: {differing:?}\n\
         {WRITE}=1 cargo test --release --test schema openapi_has_copies"
    );
}

/// What is served must not lead out of itself.
#[test]
fn openapi_refers_to_nothing_outside() {
    walk(
        &Place::parse("openapi.json"),
        &files()["openapi.json"],
        &mut |place, value| {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                assert!(reference.starts_with('#'), "{place}: {reference}");
            }
        },
    );
}
