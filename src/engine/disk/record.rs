//! An event as it is kept: everything that brings its publish back, as bytes.
//!
//! Layout, version 1: numbers as LEB128, texts and bytes with their length before them; sealed.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::sealed::{seal, unseal};
use crate::event::{NewEvent, Seq};
use crate::log::Publish;
use crate::log::idempotency::{Producer, Range};

const VERSION: u8 = 1;

/// The bytes are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a record cannot be read")]
pub struct Damaged;

/// One event, with what its publish said.
#[derive(Debug, Clone)]
pub struct Record {
    /// With this one event.
    pub publish: Publish,
    /// The seqs of the whole publish.
    pub range: Range,
    /// Unix milliseconds.
    pub time: u64,
}

/// `seq`: the event's own, within `range`.
pub fn encode(publish: &Publish, event: &NewEvent, seq: Seq, range: Range, time: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.data.len() + event.name.len() + 96);
    out.push(VERSION);
    push_number(&mut out, time);
    push_number(&mut out, seq.0 - range.0.0);
    push_number(&mut out, range.1.0 - seq.0);
    push_text(&mut out, &publish.principal);
    push_option(&mut out, publish.source.as_deref());
    match &publish.producer {
        None => out.push(0),
        Some(producer) => {
            out.push(1);
            push_text(&mut out, &producer.id);
            push_number(&mut out, producer.epoch);
            // 0: it is not counted
            push_number(&mut out, producer.seq.unwrap_or(0));
        }
    }
    push_number(&mut out, publish.lease_ms.unwrap_or(0));
    push_text(&mut out, &event.name);
    push_option(&mut out, event.id.as_deref());
    push_bytes(&mut out, &event.data);
    seal(out)
}

pub fn decode(bytes: &[u8], seq: Seq) -> Result<Record, Damaged> {
    let mut input = Input {
        rest: unseal(bytes)?,
    };
    if input.byte()? != VERSION {
        return Err(Damaged);
    }
    let time = input.number()?;
    let (before, after) = (input.number()?, input.number()?);
    let range = (
        Seq(seq.0.checked_sub(before).ok_or(Damaged)?),
        Seq(seq.0.checked_add(after).ok_or(Damaged)?),
    );
    let principal: Arc<str> = input.text()?.into();
    let source = input.option()?.map(Into::into);
    let producer = match input.byte()? {
        0 => None,
        1 => Some(Producer {
            id: input.text()?.into(),
            epoch: input.number()?,
            seq: Some(input.number()?).filter(|seq| *seq > 0),
        }),
        _ => return Err(Damaged),
    };
    let lease_ms = Some(input.number()?).filter(|lease| *lease > 0);
    let name = input.text()?.to_owned();
    let id = input.option()?.map(Into::into);
    let data = Bytes::copy_from_slice(input.bytes()?);
    let event = NewEvent::build(name.into(), id, data).map_err(|_| Damaged)?;
    if !input.rest.is_empty() {
        return Err(Damaged);
    }
    Ok(Record {
        publish: Publish {
            events: vec![event],
            principal,
            source,
            producer,
            lease_ms,
        },
        range,
        time,
    })
}

/// When the event of a record came, without looking at the rest.
pub fn time_of(bytes: &[u8]) -> Result<u64, Damaged> {
    let mut input = Input { rest: bytes };
    if input.byte()? != VERSION {
        return Err(Damaged);
    }
    input.number()
}

/// Whether the event of a record has an id, by which a retry of it is known.
pub fn has_id(bytes: &[u8], seq: Seq) -> bool {
    decode(bytes, seq).is_ok_and(|record| record.publish.events.iter().any(|e| e.id.is_some()))
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_bytes(out, text.as_bytes());
}

fn push_option(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.push(0),
        Some(text) => {
            out.push(1);
            push_text(out, text);
        }
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.rest.split_first().ok_or(Damaged)?;
        self.rest = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let len = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Damaged)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    fn option(&mut self) -> Result<Option<&'a str>, Damaged> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.text().map(Some),
            _ => Err(Damaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish() -> Publish {
        let data = Bytes::from_static(br#"{"message_id":"m","text":"x"}"#);
        Publish {
            events: vec![
                NewEvent::build("token.delta".into(), Some("e1".into()), data).expect("valid"),
            ],
            principal: "me".into(),
            source: Some("me".into()),
            producer: Some(Producer {
                id: "p".into(),
                epoch: 300,
                seq: None,
            }),
            lease_ms: Some(15_000),
        }
    }

    #[test]
    fn a_record_brings_its_publish_back() {
        let publish = publish();
        let range = (Seq(7), Seq(300));
        let bytes = encode(
            &publish,
            &publish.events[0],
            Seq(9),
            range,
            1_795_000_000_000,
        );
        let back = decode(&bytes, Seq(9)).expect("whole");
        assert_eq!((back.range, back.time), (range, 1_795_000_000_000));
        assert_eq!(time_of(&bytes), Ok(back.time));
        assert_eq!(back.publish.producer, publish.producer);
        assert_eq!(back.publish.lease_ms, publish.lease_ms);
        assert_eq!(
            (&*back.publish.principal, back.publish.source.as_deref()),
            ("me", Some("me"))
        );
        let (event, original) = (&back.publish.events[0], &publish.events[0]);
        assert_eq!((&event.name, &event.id), (&original.name, &original.id));
        assert_eq!(event.data, original.data);
    }

    #[test]
    fn damage_is_noticed_and_never_a_panic() {
        let publish = publish();
        let bytes = encode(&publish, &publish.events[0], Seq(9), (Seq(7), Seq(9)), 1);
        for at in 0..bytes.len() {
            assert!(decode(&bytes[..at], Seq(9)).is_err(), "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x80;
            assert!(decode(&flipped, Seq(9)).is_err(), "flipped at {at}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(decode(&longer, Seq(9)).is_err());
        assert!(decode(&bytes, Seq(1)).is_err(), "before its own publish");
    }
}
