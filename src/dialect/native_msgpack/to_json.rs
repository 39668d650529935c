//! MessagePack as JSON, with the place of what JSON cannot say.
//!
//! JSON has no bytes, no extensions, no NaN, no keys but texts. Where one stands, `null` is written, the
//! first one of each body is noted with its place, and reading goes on to the end: the next body is found,
//! and the decoder refuses the faulty one as it refuses any other.
//!
//! Bounds: the text is at most 6 times as long as the bytes and two more (a control character is one byte
//! here and `\u0000` there; `false,` is one byte here). Recursion ends at `MAX_DEPTH` levels and those of a
//! body around them; what is deeper is skipped without recursion. One fault is kept for each body.

use serde::Serialize;

use super::reader::{Malformed, Reader, Token};
use crate::dialect::native_json::decode::{Fault, FaultKind, MAX_BODIES, Said};
use crate::event::json::{MAX_DEPTH, push_number, push_string};

const NO_BYTES: &str = "has bytes (`bin`), which JSON cannot say: send a text, such as base64";
const NO_EXTENSIONS: &str =
    "has an extension (`ext`, such as a timestamp), which JSON cannot say: send a number or a text";
const NOT_FINITE: &str = "has a number that is infinite or none (NaN)";
const NOT_UTF8: &str = "has a text that is not UTF-8";
const KEY_NO_TEXT: &str = "has a key that is not a text";
/// As `JsonFault::TooDeep` says it.
pub(super) const TOO_DEEP: &str = "is nested deeper than 96 levels";

/// Writes one frame, one body or an array of bodies as JSON. Of more than `max_events` events in a body only
/// the number is passed on.
pub fn to_json(bytes: &[u8], max_events: usize) -> Result<Said, Malformed> {
    let mut writer = Writer {
        input: Reader::new(bytes),
        out: Vec::with_capacity(bytes.len() + bytes.len() / 4),
        max_events,
        body: 0,
        place: Place::Outside,
        faults: Vec::new(),
    };
    writer.bodies()?;
    writer.input.end()?;
    Ok(Said {
        json: writer.out.into(),
        faults: writer.faults,
    })
}

/// Where the value stands that is being written.
#[derive(Clone, Copy)]
enum Place {
    Outside,
    Event { index: usize, field: &'static str },
}

struct Writer<'a> {
    input: Reader<'a>,
    out: Vec<u8>,
    max_events: usize,
    body: usize,
    place: Place,
    faults: Vec<Fault>,
}

impl<'a> Writer<'a> {
    fn bodies(&mut self) -> Result<(), Malformed> {
        match self.input.token()? {
            Token::Array(count) => self.array(count, |writer, at| {
                writer.body = at;
                writer.place = Place::Outside;
                let body = writer.input.token()?;
                writer.body(body)
            }),
            body => self.body(body),
        }
    }

    fn body(&mut self, body: Token<'a>) -> Result<(), Malformed> {
        let Token::Map(count) = body else {
            return self.value(body, 0);
        };
        self.map(count, |writer, key| match (key, writer.input.token()?) {
            (Some("events"), Token::Array(count)) => writer.events(count),
            (_, value) => writer.value(value, 1),
        })
    }

    fn events(&mut self, count: u32) -> Result<(), Malformed> {
        if count as usize > self.max_events {
            self.note(FaultKind::TooManyEvents(count as usize));
            self.out.extend_from_slice(b"[]");
            return self.input.skip(Token::Array(count));
        }
        self.array(count, |writer, index| writer.event(index))?;
        self.place = Place::Outside;
        Ok(())
    }

    fn event(&mut self, index: usize) -> Result<(), Malformed> {
        let at = |field| Place::Event { index, field };
        self.place = at("event");
        match self.input.token()? {
            Token::Map(count) => self.map(count, |writer, key| {
                writer.place = at(match key {
                    Some("type") => "type",
                    Some("id") => "id",
                    Some("data") => "data",
                    _ => "event",
                });
                let value = writer.input.token()?;
                writer.value(value, 0)?;
                writer.place = at("event");
                Ok(())
            }),
            other => self.value(other, 0),
        }
    }

    /// `depth`: the containers around it that count.
    fn value(&mut self, token: Token<'a>, depth: usize) -> Result<(), Malformed> {
        match token {
            Token::Nil => self.out.extend_from_slice(b"null"),
            Token::Bool(true) => self.out.extend_from_slice(b"true"),
            Token::Bool(false) => self.out.extend_from_slice(b"false"),
            Token::Uint(number) => push_number(&mut self.out, number),
            Token::Int(number) => self.push(number),
            Token::Float(number) if number.is_finite() => self.push(number),
            Token::Float(_) => self.unsayable(NOT_FINITE),
            Token::Str(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => push_string(&mut self.out, text),
                Err(_) => self.unsayable(NOT_UTF8),
            },
            Token::Bin => self.unsayable(NO_BYTES),
            Token::Ext => self.unsayable(NO_EXTENSIONS),
            Token::Array(_) | Token::Map(_) if depth == MAX_DEPTH => {
                self.unsayable(TOO_DEEP);
                return self.input.skip(token);
            }
            Token::Array(count) => {
                return self.array(count, |writer, _| {
                    let item = writer.input.token()?;
                    writer.value(item, depth + 1)
                });
            }
            Token::Map(count) => {
                return self.map(count, |writer, _| {
                    let value = writer.input.token()?;
                    writer.value(value, depth + 1)
                });
            }
        }
        Ok(())
    }

    fn array(
        &mut self,
        count: u32,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.out.push(b'[');
        for at in 0..count as usize {
            if at > 0 {
                self.out.push(b',');
            }
            item(self, at)?;
        }
        self.out.push(b']');
        Ok(())
    }

    /// `value` reads and writes what stands under a key; `None`: the key was no text.
    fn map(
        &mut self,
        count: u32,
        mut value: impl FnMut(&mut Self, Option<&str>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.out.push(b'{');
        for at in 0..count {
            if at > 0 {
                self.out.push(b',');
            }
            let key = self.key()?;
            push_string(&mut self.out, key.unwrap_or_default());
            self.out.push(b':');
            value(self, key)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn key(&mut self) -> Result<Option<&'a str>, Malformed> {
        let token = self.input.token()?;
        let why = match token {
            Token::Str(bytes) => match std::str::from_utf8(bytes) {
                Ok(key) => return Ok(Some(key)),
                Err(_) => NOT_UTF8,
            },
            _ => KEY_NO_TEXT,
        };
        self.note_unsayable(why);
        self.input.skip(token)?;
        Ok(None)
    }

    fn push(&mut self, number: impl Serialize) {
        serde_json::to_writer(&mut self.out, &number)
            .expect("writing a number to memory cannot fail");
    }

    /// Writes `null` in the place of something that JSON has no word for.
    fn unsayable(&mut self, why: &'static str) {
        self.out.extend_from_slice(b"null");
        self.note_unsayable(why);
    }

    fn note_unsayable(&mut self, why: &'static str) {
        self.note(match self.place {
            Place::Outside => FaultKind::Outside(why),
            Place::Event { index, field } => FaultKind::Event { index, field, why },
        });
    }

    /// The first fault of a body stands for all of them; there are at most `MAX_BODIES` that are looked at.
    fn note(&mut self, kind: FaultKind) {
        let known = self
            .faults
            .last()
            .is_some_and(|last| last.body == self.body);
        if !known && self.body < MAX_BODIES {
            let body = self.body;
            self.faults.push(Fault { body, kind });
        }
    }
}
