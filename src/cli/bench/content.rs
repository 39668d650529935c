//! What is published: texts of a given length, each with its mark, as plain events or as the tokens of messages.

use super::marker::{self, Marker};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Events of a type that the broker does not know.
    Plain,
    /// Deltas of messages; a message ends after so many.
    Tokens(u64),
}

/// The events of one publish.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    shape: Shape,
    text_bytes: usize,
    pub events: u64,
    pub due_us: u64,
    pub first: u64,
}

impl Content {
    /// `events` from number `first` on, due at `due_us`, with texts of `text_bytes` (at least a mark's).
    pub fn new(shape: Shape, text_bytes: usize, events: u64, due_us: u64, first: u64) -> Self {
        Self {
            shape,
            text_bytes: text_bytes.max(marker::LEN),
            events,
            due_us,
            first,
        }
    }

    /// The text of the event at `index`, which JSON carries as it is.
    pub fn write_text(&self, topic: u32, index: u64, out: &mut Vec<u8>) {
        let mark = Marker {
            due_us: self.due_us,
            topic,
            number: self.first + index,
        };
        let begin = out.len();
        mark.write(out);
        out.resize(begin + self.text_bytes, b'x');
    }

    /// The events as JSON, with commas between them.
    pub fn write_events(&self, topic: u32, out: &mut Vec<u8>) {
        for index in 0..self.events {
            if index > 0 {
                out.push(b',');
            }
            self.write_event(topic, index, out);
        }
    }

    fn write_event(&self, topic: u32, index: u64, out: &mut Vec<u8>) {
        let Shape::Tokens(of_message) = self.shape else {
            out.extend_from_slice(br#"{"type":"bench.event","data":{"text":""#);
            self.write_text(topic, index, out);
            out.extend_from_slice(br#""}}"#);
            return;
        };
        let number = self.first + index;
        let message = number / of_message;
        let head = format!(r#"{{"type":"token.delta","data":{{"message_id":"m{message}","text":""#);
        out.extend_from_slice(head.as_bytes());
        self.write_text(topic, index, out);
        out.extend_from_slice(br#""}}"#);
        if number % of_message == of_message - 1 {
            let end = format!(
                r#",{{"type":"message.completed","data":{{"message_id":"m{message}","finish_reason":"stop"}}}}"#
            );
            out.extend_from_slice(end.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(content: &Content) -> Vec<serde_json::Value> {
        let mut out = vec![b'['];
        content.write_events(7, &mut out);
        out.push(b']');
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn texts_have_their_length_and_their_mark() {
        let events = json(&Content::new(Shape::Plain, 100, 3, 5, 10));
        assert_eq!(events.len(), 3);
        let text = events[2]["data"]["text"].as_str().expect("a text");
        assert!(text.starts_with("@b0000000000005t000007n0000000012@xxx"));
        assert_eq!(text.len(), 100);
    }

    #[test]
    fn a_message_ends_behind_its_last_token() {
        let events = json(&Content::new(Shape::Tokens(4), 40, 3, 0, 2));
        let types: Vec<_> = events
            .iter()
            .map(|event| {
                format!(
                    "{} {}",
                    event["type"].as_str().unwrap_or_default(),
                    event["data"]["message_id"].as_str().unwrap_or_default()
                )
            })
            .collect();
        assert_eq!(
            types,
            [
                "token.delta m0",
                "token.delta m0",
                "message.completed m0",
                "token.delta m1"
            ]
        );
    }
}
