//! What a client asks for, whatever dialect it speaks.

use std::sync::Arc;

use crate::event::event_type::TypeFilter;
use crate::event::{NewEvent, Position, Seq, TopicPath, TopicPattern};
use crate::log::idempotency::Producer;
use crate::log::{ReadFrom, Replay};

use super::agent::Lease;
use super::problem::Problem;
use crate::config::Secret;

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
    /// How long the producer may be silent from now on; `None`: as before.
    pub lease: Option<Lease>,
    /// Bytes it came in: what the windows and permits count.
    pub bytes: usize,
}

/// A connection becomes the one of an agent's run.
#[derive(Debug)]
pub struct Attach {
    pub id: CommandId,
    pub producer: Arc<str>,
    /// `None`: the broker assigns the next one.
    pub epoch: Option<u64>,
    pub lease: Lease,
    /// Topics whose number of readers it wants to know.
    pub demand: Vec<TopicPath>,
    /// Topics whose control events it wants.
    pub control: Vec<TopicPath>,
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
    Attach(Box<Attach>),
    /// An agent has this control event.
    ControlAck {
        topic: TopicPath,
        seq: Seq,
    },
    Refresh {
        id: CommandId,
        token: Secret,
    },
    Ping,
    /// It could not be understood; the connection lives on.
    Refused {
        id: CommandId,
        problem: Problem,
    },
}

impl Command {
    /// The client's name for it.
    pub fn id(&self) -> CommandId {
        match self {
            Self::Subscribe { id, .. }
            | Self::SubscribePattern { id, .. }
            | Self::Unsubscribe { id, .. }
            | Self::UnsubscribePattern { id, .. }
            | Self::Publish { id, .. }
            | Self::Refresh { id, .. }
            | Self::Refused { id, .. } => id.clone(),
            Self::Attach(attach) => attach.id.clone(),
            Self::ControlAck { .. } | Self::Ping => None,
        }
    }
}
