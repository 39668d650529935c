//! What a client asks for, whatever dialect it speaks.

use crate::event::event_type::TypeFilter;
use crate::event::{NewEvent, Position, TopicPath, TopicPattern};
use crate::log::idempotency::Producer;
use crate::log::{ReadFrom, Replay};

use super::problem::Problem;

/// The `id` of a command as raw JSON (an integer, or a text of at most 64 characters), echoed in its answer.
pub type CommandId = Option<Box<str>>;

/// How a subscription wants to be shown its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    pub replay: Replay,
    /// 0 or one of `log::window::WINDOWS_MS`.
    pub coalesce_ms: u64,
    pub filter: TypeFilter,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            replay: Replay::Raw,
            coalesce_ms: 0,
            filter: TypeFilter::everything(),
        }
    }
}

/// One batch as it came, valid in itself.
#[derive(Debug)]
pub struct PublishRequest {
    pub topic: TopicPath,
    pub events: Vec<NewEvent>,
    pub producer: Option<Producer>,
    /// Bytes it came in: what the windows and permits count.
    pub bytes: usize,
}

#[derive(Debug)]
pub enum Command {
    Subscribe {
        id: CommandId,
        /// Each topic stands or falls by itself.
        topics: Vec<Result<(TopicPath, ReadFrom), Problem>>,
        options: ReadOptions,
    },
    SubscribePattern {
        id: CommandId,
        pattern: TopicPattern,
        from: ReadFrom,
        /// Where to resume topics that were read before; the rest starts by `from`.
        positions: Vec<(TopicPath, Position)>,
        options: ReadOptions,
    },
    Unsubscribe {
        id: CommandId,
        topic: TopicPath,
    },
    UnsubscribePattern {
        id: CommandId,
        pattern: TopicPattern,
    },
    Publish {
        id: CommandId,
        request: PublishRequest,
    },
    Refresh {
        id: CommandId,
    },
    Ping,
    /// It could not be understood; the connection lives on.
    Refused {
        id: CommandId,
        problem: Problem,
    },
}
