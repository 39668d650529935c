//! Bytes ⇄ commands and deliveries. A dialect knows events and commands, never a socket.

pub mod appsync;
mod encoding;
pub mod native_json;
pub mod native_msgpack;
pub mod ndjson;
pub mod sse;
pub mod ws_frame;

use std::rc::Rc;

use bytes::Bytes;

use crate::event::{Epoch, TopicPath};
use crate::log::{Batch, ReadState};

pub use encoding::Encoding;

/// How a reader's deliveries are written. Readers of equal wire share bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// The native protocol in WebSocket frames.
    Native(Encoding),
    /// `named`: blocks have an `event:` line. `single`: one topic, whose position is the `id:`.
    Sse { named: bool, single: bool },
    /// AWS AppSync Events in WebSocket frames.
    AppSync,
}

/// A delivery as bytes.
#[derive(Debug, Clone)]
pub enum Encoded {
    /// The same for every reader at the same position.
    Shared(Bytes),
    /// SSE blocks of one of several topics: each reader adds its own cursor.
    Blocks(Rc<[sse::Block]>),
    /// What stands behind the name of a subscription, for each event: each reader adds its own.
    Tails(Rc<[Bytes]>),
}

impl Encoded {
    pub fn len(&self) -> usize {
        match self {
            Self::Shared(bytes) => bytes.len(),
            Self::Blocks(blocks) => blocks.iter().map(|block| block.text.len()).sum(),
            Self::Tails(tails) => tails.iter().map(Bytes::len).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Wire {
    /// A native JSON frame as a reader of this wire gets it. What is no such frame stays as it is.
    pub fn frame(self, bytes: Bytes) -> Bytes {
        match self {
            Self::Native(encoding) => encoding.frame(bytes),
            Self::Sse { .. } | Self::AppSync => bytes,
        }
    }

    /// `after`: where the reader was told that it stands.
    pub fn batch(
        self,
        topic: &TopicPath,
        epoch: &Epoch,
        after: ReadState,
        batch: &Batch,
    ) -> Encoded {
        match self {
            Self::Native(encoding) => {
                let frame = native_json::events(topic, epoch, after.seq, batch);
                Encoded::Shared(encoding.frame(frame))
            }
            Self::Sse { named, single } => sse::batch(topic, epoch, batch, named, single),
            Self::AppSync => Encoded::Tails(appsync::event::tails(topic, batch)),
        }
    }
}
