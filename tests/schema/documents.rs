//! The files by themselves: references lead somewhere, examples fit, members are described.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::schemas::{Place, definitions, faults, files, schema_files, validator, walk};

fn each_place(mut visit: impl FnMut(&Place, &'static Value)) {
    for (file, content) in files() {
        walk(&Place::parse(file), content, &mut visit);
    }
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_reference_leads_somewhere() {
    let mut broken = Vec::new();
    each_place(|place, value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str)
            && place.follow(reference).value().is_none()
        {
            broken.push(format!("{place}: {reference}"));
        }
    });
    assert_none("references that lead nowhere", &broken);
}

#[test]
fn every_file_is_a_valid_schema() {
    for (file, content) in schema_files() {
        assert_eq!(
            content["$schema"], "https://json-schema.org/draft/2020-12/schema",
            "{file}"
        );
        if let Err(error) = jsonschema::meta::validate(content) {
            panic!("{file} at {}: {error}", error.instance_path());
        }
        validator(&Place::parse(file));
    }
}

/// Wherever `examples` stands beside a schema's other keywords.
#[test]
fn every_example_fits() {
    let mut wrong = Vec::new();
    let mut count = 0;
    each_place(|place, value| {
        let is_name_of_member = place.pointer.ends_with("/properties");
        if let Some(examples) = value.get("examples").and_then(Value::as_array)
            && !is_name_of_member
        {
            count += examples.len();
            for example in examples {
                wrong.extend(faults(place, example));
            }
        }
        // a parameter's example stands beside its schema
        if let (Some(example), Some(_)) = (value.get("example"), value.get("schema")) {
            count += 1;
            wrong.extend(faults(&place.then("schema"), example));
        }
    });
    assert_none("examples that do not fit", &wrong);
    assert!(count > 50, "only {count} examples were found");
}

/// Each member has a description, its own or that of what it refers to.
#[test]
fn every_member_is_described() {
    let mut silent = Vec::new();
    for (file, content) in schema_files() {
        walk(&Place::parse(file), content, &mut |place, value| {
            let described = |place: &Place, value: &Value| {
                let followed = value["$ref"].as_str().map(|to| place.follow(to));
                value["description"].is_string()
                    || followed.is_some_and(|to| to.schema()["description"].is_string())
            };
            // places that narrow a member which is described elsewhere
            let narrows = ["/if/", "/then/", "/else/", "/not/", "/oneOf/"]
                .iter()
                .any(|word| place.pointer.contains(word));
            let is_member = place.pointer.rsplit('/').nth(1) == Some("properties");
            let refines_only = value.get("unevaluatedProperties").is_some();
            if is_member && !narrows && !refines_only && !described(place, value) {
                silent.push(place.to_string());
            }
        });
    }
    assert_none("members without a description", &silent);
}

/// What the broker sends is closed, so that an undescribed member is noticed; what it is sent is open.
#[test]
fn what_is_sent_is_closed_and_what_is_taken_is_open() {
    let closed = |place: &Place| {
        let schema = place.schema();
        let is_false = |name: &str| schema.get(name) == Some(&Value::Bool(false));
        is_false("additionalProperties") || is_false("unevaluatedProperties")
    };
    for file in [
        "frames/server.json",
        "sse/blocks.json",
        "appsync/server.json",
    ] {
        for name in definitions(file) {
            let place = Place::parse(file).then("$defs").then(name);
            let is_choice = place.schema().get("oneOf").is_some();
            assert!(is_choice || closed(&place), "{place} is open");
        }
    }
    let answers = [
        "published",
        "events",
        "topic",
        "topics",
        "health",
        "problem",
        "revocations",
    ];
    let places = answers.map(|answer| Place::parse(&format!("http/{answer}.json")));
    let further = ["properties/revocations/items", "$defs/kept"]
        .map(|inner| Place::parse(&format!("http/revocations.json#/{inner}")));
    for place in places.into_iter().chain(further) {
        assert!(closed(&place), "{place} is open");
    }
    for open in [
        "frames/client.json",
        "http/publish.json",
        "http/sse.json",
        "appsync/client.json",
    ] {
        walk(&Place::parse(open), &files()[open], &mut |place, value| {
            let is_schema = value.is_object();
            assert!(!is_schema || !closed(place), "{place} is closed");
        });
    }
}

/// The frames and blocks of asyncapi.json are those of the files, and each belongs to an operation.
#[test]
fn asyncapi_has_every_frame_and_block() {
    let document = &files()["asyncapi.json"];
    let messages = document["components"]["messages"]
        .as_object()
        .expect("messages");
    let here = Place::parse("asyncapi.json");
    let mut expected = BTreeSet::from(["sse.event".to_owned()]);
    for (prefix, file) in [
        ("client", "frames/client.json"),
        ("server", "frames/server.json"),
        ("sse", "sse/blocks.json"),
        ("appsync.client", "appsync/client.json"),
        ("appsync.server", "appsync/server.json"),
    ] {
        for choice in files()[file]["oneOf"].as_array().expect("the choices") {
            let name = choice["$ref"].as_str().expect("a reference");
            let name = name.trim_start_matches("#/$defs/");
            expected.insert(format!("{prefix}.{name}"));
            let payload = &messages[&format!("{prefix}.{name}")]["payload"]["schema"]["$ref"];
            assert_eq!(payload, &format!("{file}#/$defs/{name}"));
        }
    }
    let found: BTreeSet<String> = messages.keys().cloned().collect();
    assert_eq!(found, expected);

    let mut used = BTreeSet::new();
    walk(&here, document, &mut |place, value| {
        if place.pointer.starts_with("/operations/")
            && let Some(reference) = value.get("$ref").and_then(Value::as_str)
            && reference.contains("/messages/")
        {
            used.extend(reference.rsplit('/').next().map(str::to_owned));
        }
    });
    assert_eq!(used, expected, "messages that no operation has, or no file");
}
