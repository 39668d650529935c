//! The native protocol in MessagePack: one map a frame, with the members of native JSON.
//!
//! There is one decoder and one encoder, those of JSON; this is the translation on both sides of them.
//! - What comes in is written as JSON once, here, and goes through the decoder of JSON. So an event is kept
//!   in one form, and a reader in one encoding sees what a publisher in the other sent.
//! - What goes out is translated frame by frame, whole. A frame that readers share is translated once for
//!   all of them.

mod from_json;
mod reader;
mod to_json;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::native_json::decode::{self, MAX_BODIES, PublishBodies, PublishLimits};
use super::ws_frame::{binary_frame, text_of};
use crate::broker::command::Command;
use crate::broker::problem::{Code, Problem};
use reader::{Malformed, Reader, Token};
use to_json::to_json;

/// Understands one frame. The connection lives on whatever it says.
pub fn command(frame: &Bytes, limits: PublishLimits) -> Command {
    match to_json(frame, limits.max_batch_events) {
        Ok(said) => decode::command_of(&said, limits),
        Err(malformed) => Command::Refused {
            id: None,
            problem: not_msgpack("frame", &malformed),
        },
    }
}

/// The body of `POST /v1/publish`.
pub fn publish_bodies(body: &Bytes, limits: PublishLimits) -> Result<PublishBodies, Problem> {
    let refused = |malformed: Malformed| not_msgpack("body", &malformed);
    // before anything is written for each of them
    if let Token::Array(count) = Reader::new(body).token().map_err(refused)?
        && count as usize > MAX_BODIES
    {
        let message = format!("the array has {count} bodies; {MAX_BODIES} are allowed");
        return Err(Problem::new(Code::TooManyEvents, message));
    }
    let said = to_json(body, limits.max_batch_events).map_err(refused)?;
    decode::publish_bodies_of(&said, limits)
}

fn not_msgpack(field: &'static str, malformed: &Malformed) -> Problem {
    Problem::invalid_request(
        field,
        format!("the {field} is not MessagePack: {malformed}"),
    )
}

/// A JSON text of the broker's own as MessagePack.
pub fn from_json(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    push_json(&mut out, json);
    out
}

/// A text frame as a binary frame; anything else stays as it is.
pub fn frame(frame: Bytes) -> Bytes {
    match text_of(&frame) {
        Some(json) => binary_frame(json.len(), |out| push_json(out, json)),
        None => frame,
    }
}

fn push_json(out: &mut Vec<u8>, json: &[u8]) {
    from_json::push(out, json)
        .expect("what the broker writes is JSON, with data that was checked when it came");
}
