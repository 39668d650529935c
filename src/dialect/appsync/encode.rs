//! What the server says. Everything over WebSocket is a whole text frame.

#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::decode::{Operation, OperationId};
use super::refusal::{Refusal, UNAUTHORIZED, larger_than, over_http, over_websocket};
use crate::broker::problem::Problem;
use crate::dialect::ws_frame::text_frame;
use crate::event::TopicPath;
use crate::event::json::{push_number, push_string};
use crate::log::Gap;
use crate::log::read::ResetReason;

/// The `type` of every frame of the server; `schema/appsync/server.json` has a definition for each.
pub const TYPES: [&str; 12] = [
    "connection_ack",
    "connection_error",
    "ka",
    "subscribe_success",
    "subscribe_error",
    "data",
    "broadcast_error",
    "unsubscribe_success",
    "unsubscribe_error",
    "publish_success",
    "publish_error",
    "error",
];

fn object(kind: &str, id: Option<&str>, members: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    text_frame(192, |out| {
        out.extend_from_slice(b"{\"type\":");
        push_string(out, kind);
        if let Some(id) = id {
            out.extend_from_slice(b",\"id\":");
            push_string(out, id);
        }
        members(out);
        out.push(b'}');
    })
}

/// Always the first frame. A client that hears nothing for `timeout_ms` connects again.
pub fn connection_ack(timeout_ms: u64) -> Bytes {
    object("connection_ack", None, |out| {
        out.extend_from_slice(b",\"connectionTimeoutMs\":");
        push_number(out, timeout_ms);
    })
}

/// Keeps the client's clock from running out.
pub fn ka() -> Bytes {
    object("ka", None, |_| {})
}

/// Instead of `connection_ack`. The only error with an `errorCode`, by which clients tell whether to try again.
pub fn connection_error(problem: &Problem) -> Bytes {
    let refusal = over_websocket(problem, Operation::Init);
    object("connection_error", None, |out| {
        push_errors(out, &refusal, true);
    })
}

pub fn subscribe_success(id: &OperationId) -> Bytes {
    object("subscribe_success", Some(id.as_str()), |_| {})
}

pub fn unsubscribe_success(id: &OperationId) -> Bytes {
    object("unsubscribe_success", Some(id.as_str()), |_| {})
}

/// `id_json`: the id as JSON, with its quotes. Every event of a publish is kept, or none of them.
pub fn publish_success(id_json: &str, count: usize) -> Bytes {
    object("publish_success", None, |out| {
        out.extend_from_slice(b",\"id\":");
        out.extend_from_slice(id_json.as_bytes());
        out.extend_from_slice(b",\"successful\":");
        push_successful(out, 0..count);
        out.extend_from_slice(b",\"failed\":[]");
    })
}

/// The error that answers an operation. `id`: `None` where none could be read.
pub fn refused(of: Operation, id: Option<&str>, problem: &Problem) -> Bytes {
    let kind = match of {
        Operation::Init => return connection_error(problem),
        Operation::Subscribe => "subscribe_error",
        Operation::Unsubscribe => "unsubscribe_error",
        Operation::Publish => "publish_error",
        Operation::Other => "error",
    };
    let refusal = over_websocket(problem, of);
    object(kind, id, |out| push_errors(out, &refusal, false))
}

/// The server ended a subscription, such as one whose rights have ended. An `error` would end it too, but Amplify
/// would tell people no reason.
pub fn ended(id: &str, problem: &Problem) -> Bytes {
    refused(Operation::Subscribe, Some(id), problem)
}

/// Events of a topic that are gone: retention or memory took them before the reader came back for them.
pub fn gap(id: &str, topic: &TopicPath, gap: Gap) -> Bytes {
    let Gap { from, to, reason } = gap;
    let message = format!(
        "events {} to {} of {topic} are not kept any more ({}); what follows begins behind them",
        from.0,
        to.0,
        reason.as_str()
    );
    missed(id, &message)
}

/// The topic is not the one that was read before: all that is kept of it comes.
pub fn reset(id: &str, topic: &TopicPath, reason: ResetReason) -> Bytes {
    let message = format!(
        "{topic} began anew ({}); what follows is all that is kept of it",
        reason.as_str()
    );
    missed(id, &message)
}

/// What a reader missed and cannot be given any more; its subscription lives on.
pub fn missed(id: &str, message: &str) -> Bytes {
    let refusal = Refusal {
        error_type: "MessageProcessingError",
        code: 500,
        message: Some(message.to_owned()),
    };
    object("broadcast_error", Some(id), |out| {
        push_errors(out, &refusal, false);
    })
}

/// The body of a `POST /event` that was taken: which events were, and which were too large, by index.
pub fn posted(accepted: &[usize], too_large: &[usize], limit_bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 * (accepted.len() + too_large.len()) + 32);
    out.extend_from_slice(b"{\"failed\":[");
    for (at, index) in too_large.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"code\":\"EventTooLargeException\",");
        push_identified(&mut out, *index);
        out.extend_from_slice(b",\"message\":");
        push_string(&mut out, &larger_than(limit_bytes));
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"successful\":");
    push_successful(&mut out, accepted.iter().copied());
    out.push(b'}');
    out
}

/// The status and body of a refused `POST /event`. A `message` beside `errors` is more than AppSync sends:
/// without it Amplify shows people "Unknown error".
pub fn http_error(problem: &Problem) -> (u16, Vec<u8>) {
    let refusal = over_http(problem);
    let mut out = Vec::with_capacity(192);
    out.push(b'{');
    push_error_list(&mut out, &refusal, false);
    out.extend_from_slice(b",\"message\":");
    push_string(&mut out, refusal.message.as_deref().unwrap_or(UNAUTHORIZED));
    out.push(b'}');
    (refusal.code, out)
}

fn push_errors(out: &mut Vec<u8>, refusal: &Refusal, with_code: bool) {
    out.push(b',');
    push_error_list(out, refusal, with_code);
}

fn push_error_list(out: &mut Vec<u8>, refusal: &Refusal, with_code: bool) {
    out.extend_from_slice(b"\"errors\":[{\"errorType\":");
    push_string(out, refusal.error_type);
    if with_code {
        out.extend_from_slice(b",\"errorCode\":");
        push_number(out, u64::from(refusal.code));
    }
    if let Some(message) = &refusal.message {
        out.extend_from_slice(b",\"message\":");
        push_string(out, message);
    }
    out.extend_from_slice(b"}]");
}

fn push_successful(out: &mut Vec<u8>, indexes: impl Iterator<Item = usize>) {
    out.push(b'[');
    for (at, index) in indexes.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.push(b'{');
        push_identified(out, index);
        out.push(b'}');
    }
    out.push(b']');
}

fn push_identified(out: &mut Vec<u8>, index: usize) {
    out.extend_from_slice(b"\"identifier\":\"");
    out.extend_from_slice(uuid().as_bytes());
    out.extend_from_slice(b"\",\"index\":");
    push_number(out, index as u64);
}

/// A version 4 UUID (RFC 9562 §5.4). It names an event or a request in an answer and nowhere else, so it need not be
/// hard to guess.
pub fn uuid() -> String {
    let random = fastrand::u128(..);
    let uuid = (random & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
    let hex = format!("{uuid:032x}");
    let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| &hex[range]);
    format!("{a}-{b}-{c}-{d}-{e}")
}
