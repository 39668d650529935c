//! Events to publish, and texts that tell by themselves whether a piece is missing or doubled.

use serde_json::{Value, json};

pub fn delta(message: &str, text: &str) -> Value {
    json!({ "type": "token.delta", "data": { "message_id": message, "text": text } })
}

pub fn delta_of(message: &str, kind: &str, part: u64, text: &str) -> Value {
    json!({ "type": "token.delta",
            "data": { "message_id": message, "kind": kind, "part": part, "text": text } })
}

pub fn started(message: &str) -> Value {
    json!({ "type": "message.started", "data": { "message_id": message, "role": "assistant" } })
}

pub fn completed(message: &str) -> Value {
    json!({ "type": "message.completed", "data": { "message_id": message, "finish_reason": "stop" } })
}

/// An event that is not part of a message.
pub fn note(number: u64) -> Value {
    json!({ "type": "note.taken", "data": { "n": number } })
}

pub fn notes(numbers: std::ops::Range<u64>) -> Value {
    numbers.map(note).collect()
}

/// The token with this number in a counted text. The long dash makes characters of several bytes.
pub fn token(number: u64) -> String {
    format!("{number}—")
}

/// The counted text of the tokens 0 to `count` - 1.
pub fn counted(count: u64) -> String {
    (0..count).map(token).collect()
}

/// How many tokens a counted text holds; fails if one is missing, doubled or out of order.
pub fn counted_to(text: &str) -> u64 {
    let count = text.matches('—').count() as u64;
    if text != counted(count) {
        let at = (0..count).find(|at| !text.starts_with(&counted(at + 1)));
        panic!("a counted text of {count} tokens breaks at token {at:?}");
    }
    count
}

/// Whether a counted text is whole up to exactly `count` tokens.
pub fn said_whole(text: &str, count: u64) {
    assert_eq!(counted_to(text), count, "tokens in the reader's text");
}

pub fn tokens(message: &str, numbers: std::ops::Range<u64>) -> Value {
    numbers
        .map(|number| delta(message, &token(number)))
        .collect()
}
