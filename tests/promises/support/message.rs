//! One message as a reader holds it, and how deltas, snapshots and end events change it.

use serde_json::Value;

#[derive(Clone, Default, Debug)]
pub struct Message {
    pub parts: Vec<Part>,
    /// The type of its end event.
    pub ended: Option<String>,
    pub started: bool,
    /// It ended inside a gap; nobody will ever tell how.
    pub lost: bool,
}

#[derive(Clone, Debug)]
pub struct Part {
    pub part: u64,
    pub kind: String,
    pub text: String,
    /// Bytes that are missing at its beginning.
    pub omitted: u64,
}

impl Message {
    /// All text of one kind, in the order of its parts.
    pub fn of(&self, kind: &str) -> String {
        let mut parts: Vec<&Part> = self.parts.iter().filter(|p| p.kind == kind).collect();
        parts.sort_by_key(|part| part.part);
        parts.into_iter().map(|part| part.text.as_str()).collect()
    }

    pub fn append(&mut self, data: &Value) {
        let part = data["part"].as_u64().unwrap_or(0);
        let kind = data["kind"].as_str().unwrap_or("text");
        let text = text_of(data, "text");
        let known = self
            .parts
            .iter_mut()
            .find(|p| p.part == part && p.kind == kind);
        match known {
            Some(known) => known.text.push_str(text),
            None => self.parts.push(Part {
                part,
                kind: kind.to_owned(),
                text: text.to_owned(),
                omitted: 0,
            }),
        }
    }

    /// A snapshot's or a compact end event's parts replace everything, but what is omitted at the
    /// beginning of one is kept where the reader has it.
    pub fn replace(&mut self, parts: &Value) {
        let parts = parts.as_array().expect("parts");
        let new = parts.iter().map(|entry| self.replaced(entry)).collect();
        self.parts = new;
    }

    fn replaced(&self, entry: &Value) -> Part {
        let (part, kind) = (number(entry, "part"), text_of(entry, "kind"));
        let omitted = entry["omitted"].as_u64().unwrap_or(0);
        let text = text_of(entry, "text");
        let held = self.parts.iter().find(|p| p.part == part && p.kind == kind);
        let beginning = held
            .filter(|held| held.omitted == 0)
            .and_then(|held| held.text.get(..omitted as usize))
            .unwrap_or_default();
        Part {
            part,
            kind: kind.to_owned(),
            text: format!("{beginning}{text}"),
            omitted: omitted - beginning.len() as u64,
        }
    }

    pub fn replace_text(&mut self, text: &str) {
        self.parts.retain(|part| part.kind != "text");
        self.parts.push(Part {
            part: 0,
            kind: "text".to_owned(),
            text: text.to_owned(),
            omitted: 0,
        });
    }
}

pub fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key} in {}", short(value)))
}

pub fn number(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {key} in {}", short(value)))
}

pub fn short(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(400).collect()
}
