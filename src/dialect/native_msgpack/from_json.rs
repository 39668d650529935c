//! JSON as MessagePack, in one pass and in the smallest forms.
//!
//! JSON tells the length of an array or object only at its end: one byte is kept for it, and what did not
//! fit is put in behind that byte. Integers of 64 bits stay integers, all other numbers are 64-bit floats.

use std::fmt;

use rmp::encode;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Appends a JSON text. It is nested less than serde_json's limit of 128: `data` has at most
/// `event::json::MAX_DEPTH` levels, and a frame five more around it.
pub fn push(out: &mut Vec<u8>, json: &[u8]) -> Result<(), serde_json::Error> {
    let mut input = serde_json::Deserializer::from_slice(json);
    Value(out).deserialize(&mut input)?;
    input.end()
}

/// Appends the value it meets.
struct Value<'o>(&'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

fn written<T, E: Error>(result: Result<T, impl fmt::Display>) -> Result<(), E> {
    result.map(drop).map_err(E::custom)
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        written(encode::write_nil(self.0))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        written(encode::write_bool(self.0, value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        written(encode::write_uint(self.0, value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        written(encode::write_sint(self.0, value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        written(encode::write_f64(self.0, value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        written(encode::write_str(self.0, value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let out = self.0;
        let begin = reserve(out);
        let mut count = 0;
        while items.next_element_seed(Value(out))?.is_some() {
            count += 1;
        }
        patch(out, begin, count, &ARRAY)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let out = self.0;
        let begin = reserve(out);
        let mut count = 0;
        while members.next_key_seed(Value(out))?.is_some() {
            members.next_value_seed(Value(out))?;
            count += 1;
        }
        patch(out, begin, count, &MAP)
    }
}

/// The markers of a container by the size of its length.
struct Markers {
    fix: u8,
    short: u8,
    long: u8,
}

const ARRAY: Markers = Markers {
    fix: 0x90,
    short: 0xdc,
    long: 0xdd,
};
const MAP: Markers = Markers {
    fix: 0x80,
    short: 0xde,
    long: 0xdf,
};

fn reserve(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len() - 1
}

/// Writes marker and length where `reserve` kept a byte.
fn patch<E: Error>(
    out: &mut Vec<u8>,
    begin: usize,
    count: usize,
    markers: &Markers,
) -> Result<(), E> {
    if count < 16 {
        out[begin] = markers.fix | count as u8;
    } else if let Ok(short) = u16::try_from(count) {
        out[begin] = markers.short;
        insert(out, begin + 1, short.to_be_bytes());
    } else {
        let long =
            u32::try_from(count).map_err(|_| E::custom("more values than MessagePack has"))?;
        out[begin] = markers.long;
        insert(out, begin + 1, long.to_be_bytes());
    }
    Ok(())
}

fn insert<const N: usize>(out: &mut Vec<u8>, at: usize, bytes: [u8; N]) {
    out.splice(at..at, bytes);
}
