//! The two encodings of the native protocol. They say the same: whatever is understood or written in one of
//! them is understood or written in the other, and the broker itself only knows JSON.

use bytes::Bytes;

use super::native_json::decode::{self, PublishBodies, PublishLimits};
use super::native_msgpack;
use crate::broker::command::Command;
use crate::broker::problem::Problem;

/// How native frames and bodies are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Text frames.
    Json,
    /// Binary frames.
    Msgpack,
}

impl Encoding {
    pub const ALL: [Self; 2] = [Self::Json, Self::Msgpack];

    /// The WebSocket subprotocol.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "tidewire.v1.json",
            Self::Msgpack => "tidewire.v1.msgpack",
        }
    }

    /// The media type of what is written.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Msgpack => "application/msgpack",
        }
    }

    /// The encoding of a media type in lower case without parameters; MessagePack has had three names.
    pub fn of_media_type(essence: &str) -> Option<Self> {
        match essence {
            "application/json" => Some(Self::Json),
            "application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack" => {
                Some(Self::Msgpack)
            }
            _ if essence.starts_with("application/") && essence.ends_with("+json") => {
                Some(Self::Json)
            }
            _ => None,
        }
    }

    /// Understands one frame. The connection lives on whatever it says.
    pub fn command(self, message: &Bytes, limits: PublishLimits) -> Command {
        match self {
            Self::Json => decode::command(message, limits),
            Self::Msgpack => native_msgpack::command(message, limits),
        }
    }

    /// Understands the body of `POST /v1/publish`.
    pub fn publish_bodies(
        self,
        body: &Bytes,
        limits: PublishLimits,
    ) -> Result<PublishBodies, Problem> {
        match self {
            Self::Json => decode::publish_bodies(body, limits),
            Self::Msgpack => native_msgpack::publish_bodies(body, limits),
        }
    }

    /// A JSON text of the broker's own in this encoding.
    pub fn text(self, json: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Json => json,
            Self::Msgpack => native_msgpack::from_json(&json),
        }
    }

    /// A whole WebSocket frame of the broker's own in this encoding. Only JSON stands in text frames, so
    /// anything else (a ping, a close frame, the answer to the handshake) stays as it is.
    pub fn frame(self, frame: Bytes) -> Bytes {
        match self {
            Self::Json => frame,
            Self::Msgpack => native_msgpack::frame(frame),
        }
    }
}
