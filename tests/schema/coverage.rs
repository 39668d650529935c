//! Which members and words of the schemas were seen in real traffic. A member that is described and never
//! comes is as wrong as one that comes and is not described.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::bundle::original_of;
use crate::schemas::{Place, validator};

/// The places of members (`…/properties/topic`) and of words (`…/enum/retention`).
#[derive(Default)]
pub struct Seen(BTreeSet<String>);

impl Seen {
    /// Takes in a value that is valid by the schema at `place`.
    pub fn take_in(&mut self, place: &Place, value: &Value) {
        let place = original_of(place).unwrap_or_else(|| place.clone());
        let schema = place.schema();
        if let Some(reference) = schema["$ref"].as_str() {
            self.take_in(&place.follow(reference), value);
        }
        self.branches(&place, schema, value);
        if let (Some(properties), Some(members)) =
            (schema["properties"].as_object(), value.as_object())
        {
            let at = place.then("properties");
            for name in properties.keys() {
                if let Some(member) = members.get(name) {
                    let at = at.then(name);
                    self.0.insert(at.to_string());
                    self.take_in(&at, member);
                }
            }
        }
        if schema["items"].is_object()
            && let Some(items) = value.as_array()
        {
            let at = place.then("items");
            items.iter().for_each(|item| self.take_in(&at, item));
        }
        if let (Some(_), Some(word)) = (words(schema), value.as_str()) {
            self.0.insert(place.then("enum").then(word).to_string());
        }
    }

    fn branches(&mut self, place: &Place, schema: &Value, value: &Value) {
        for name in ["allOf", "anyOf", "oneOf"] {
            let count = schema[name].as_array().map_or(0, Vec::len);
            for at in 0..count {
                let branch = place.then(name).then(&at.to_string());
                if validator(&branch).is_valid(value) {
                    self.take_in(&branch, value);
                }
            }
        }
        if schema["if"].is_object() {
            let name = match validator(&place.then("if")).is_valid(value) {
                true => "then",
                false => "else",
            };
            if schema[name].is_object() {
                self.take_in(&place.then(name), value);
            }
        }
    }

    /// What was not seen of all that the schemas at these places have.
    pub fn missing(&self, roots: impl IntoIterator<Item = Place>) -> BTreeSet<String> {
        let mut all = All::default();
        for root in roots {
            all.collect(&root);
        }
        all.found.difference(&self.0).cloned().collect()
    }
}

/// The words of an `enum`. One without a type only narrows another and is no list of its own.
fn words(schema: &Value) -> Option<&Vec<Value>> {
    schema["enum"]
        .as_array()
        .filter(|_| schema["type"] == "string")
}

#[derive(Default)]
struct All {
    found: BTreeSet<String>,
    visited: BTreeSet<Place>,
}

impl All {
    fn collect(&mut self, place: &Place) {
        let place = original_of(place).unwrap_or_else(|| place.clone());
        if !self.visited.insert(place.clone()) {
            return;
        }
        let schema = place.schema();
        if let Some(reference) = schema["$ref"].as_str() {
            self.collect(&place.follow(reference));
        }
        for name in ["allOf", "anyOf", "oneOf"] {
            let count = schema[name].as_array().map_or(0, Vec::len);
            (0..count).for_each(|at| self.collect(&place.then(name).then(&at.to_string())));
        }
        for name in ["then", "else", "items"] {
            if schema[name].is_object() {
                self.collect(&place.then(name));
            }
        }
        let at = place.then("properties");
        for name in schema["properties"]
            .as_object()
            .into_iter()
            .flat_map(|p| p.keys())
        {
            let at = at.then(name);
            self.found.insert(at.to_string());
            self.collect(&at);
        }
        for word in words(schema)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            self.found.insert(place.then("enum").then(word).to_string());
        }
    }
}
