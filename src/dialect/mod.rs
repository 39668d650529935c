//! Bytes ⇄ commands and deliveries. A dialect knows events and commands, never a socket.

pub mod native_json;
pub mod ndjson;
pub mod sse;
pub mod ws_frame;

use std::rc::Rc;

use bytes::Bytes;

use crate::event::{Epoch, TopicPath};
use crate::log::{Batch, ReadState};

/// How a reader's deliveries are written. Readers of equal wire share bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// Native JSON in WebSocket text frames.
    NativeJson,
    /// `named`: blocks have an `event:` line. `single`: one topic, whose position is the `id:`.
    Sse { named: bool, single: bool },
}

/// A delivery as bytes.
#[derive(Debug, Clone)]
pub enum Encoded {
    /// The same for every reader at the same position.
    Shared(Bytes),
    /// SSE blocks of one of several topics: each reader adds its own cursor.
    Blocks(Rc<[sse::Block]>),
}

impl Encoded {
    pub fn len(&self) -> usize {
        match self {
            Self::Shared(bytes) => bytes.len(),
            Self::Blocks(blocks) => blocks.iter().map(|block| block.text.len()).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Wire {
    /// `after`: where the reader was told that it stands.
    pub fn batch(
        self,
        topic: &TopicPath,
        epoch: &Epoch,
        after: ReadState,
        batch: &Batch,
    ) -> Encoded {
        match self {
            Self::NativeJson => {
                Encoded::Shared(native_json::events(topic, epoch, after.seq, batch))
            }
            Self::Sse { named, single } => sse::batch(topic, epoch, batch, named, single),
        }
    }
}
