//! Where logs live. One contract; the engine assigns seqs in the step that appends.
//!
//! An engine owns each topic's `SharedLog` and keeps it fed: readers read there and follow it, whoever
//! appended. Everything is asynchronous, so that an engine with a disk or a network fits; one that has
//! the answer at hand gives it at once, without an allocation or a wake-up.
//!
//! What an implementation must hold:
//! - appends to one topic take effect in the order in which `append` was called;
//! - an entry is in the `SharedLog` before its append is answered;
//! - `Refusal` and `EngineError::Unavailable` leave nothing behind; only `OutcomeUnknown` leaves it open.

#[cfg(test)]
mod contract;
pub mod disk;
pub mod memory;

use std::pin::Pin;
use std::sync::Arc;

use thiserror::Error;

use crate::event::{Seq, TopicPath};
use crate::log::fold::Fold;
use crate::log::{Appended, Ending, Publish, Refusal, SharedLog};

pub use memory::MemoryEngine;

/// An answer that is here already, or comes later.
pub enum Pending<T> {
    Ready(T),
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> Pending<T> {
    pub async fn wait(self) -> T {
        match self {
            Self::Ready(answer) => answer,
            Self::Later(future) => future.await,
        }
    }
}

#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum EngineError {
    #[error("the log cannot be written now: {0}")]
    Unavailable(String),
    #[error("nobody can know whether it was kept")]
    OutcomeUnknown,
}

/// What an append is answered: kept (or known), refused, or the engine failed.
pub type AppendAnswer = Result<Result<Appended, Refusal>, EngineError>;

/// Told about every topic that appears. Must not block.
pub trait Watch: Send + Sync {
    fn appeared(&self, topic: &TopicPath);
}

/// How much of what an engine holds, for the metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct EngineTotals {
    pub topics: usize,
    /// Topics that are in memory.
    pub in_memory: usize,
    /// Bytes of memory of all logs and folds together.
    pub bytes: usize,
    /// Bytes of files.
    pub stored_bytes: u64,
}

/// What one topic holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TopicCensus {
    pub events: usize,
    pub open_messages: usize,
}

/// A kept reading position to be written: its key and its value; `None`: it is gone. The engine does not look into
/// them.
pub type BookmarkChange = (Vec<u8>, Option<Vec<u8>>);

pub trait Engine: Send + Sync + 'static {
    /// The log of a topic; `None` where it does not exist. Creates nothing.
    fn load(&self, topic: &TopicPath) -> Pending<Result<Option<Arc<SharedLog>>, EngineError>>;

    /// Appends a batch whole or not at all; the topic comes into being with its first event.
    fn append(&self, topic: &TopicPath, publish: Publish) -> Pending<AppendAnswer>;

    /// The same for an engine that waits for nobody: appends here and now. `None`: it cannot; nothing was done.
    fn append_at_once(&self, _topic: &TopicPath, _publish: &Publish) -> Option<AppendAnswer> {
        None
    }

    /// Ends messages of publishers that are gone, in their turn among the appends; answers how many. Whoever
    /// asks, each message ends once.
    fn end(&self, topic: &TopicPath, ending: Ending) -> Pending<Result<usize, EngineError>>;

    /// An agent has this control event: it is delivered no more. `false`: it was not kept any more.
    fn acknowledge(&self, topic: &TopicPath, seq: Seq) -> Pending<Result<bool, EngineError>>;

    /// The epoch of a producer's latest run, over all topics that remember it.
    fn last_epoch(
        &self,
        principal: &Arc<str>,
        producer: &Arc<str>,
    ) -> Pending<Result<Option<u64>, EngineError>>;

    /// A run attaches that may have published nothing yet. From then on `last_epoch` knows it, and those before
    /// it are refused wherever they publish, for as long as what is appended is kept. In memory the registry of
    /// agents lives as long as the logs: nothing is to be done.
    fn begin_run(
        &self,
        _principal: &Arc<str>,
        _producer: &Arc<str>,
        _epoch: u64,
    ) -> Pending<Result<(), EngineError>> {
        Pending::Ready(Ok(()))
    }

    /// Whether they outlive the process.
    fn keeps_bookmarks(&self) -> bool {
        false
    }

    /// Where readers that cannot say it themselves have read to: written soon, and not synced (an older position
    /// only repeats). The last write of a key wins. After an error any of them may be written, or none. In memory
    /// they live with the process anyway.
    fn keep_bookmarks(&self, _changes: Vec<BookmarkChange>) -> Pending<Result<(), EngineError>> {
        Pending::Ready(Ok(()))
    }

    /// Shows every bookmark that was kept, at the start. After an error there may be more than were shown.
    fn bookmarks(&self, _visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), EngineError> {
        Ok(())
    }

    /// Erases a topic; `false` where there was none.
    fn delete(&self, topic: &TopicPath) -> Pending<Result<bool, EngineError>>;

    /// Topics with the prefix, in order of name, after `after`.
    fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Pending<Result<Vec<TopicPath>, EngineError>>;

    /// Registers a watcher for all topics. Watch first, then list: nothing falls between.
    fn watch(&self, watcher: Arc<dyn Watch>);

    /// What time brings: retention by age, compaction, forgetting. Called about once a second.
    fn sweep(&self);

    /// Why publishes are refused now, where they are.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    /// Everything that was appended is kept when this returns; nothing is appended any more.
    fn close(&self) {}

    fn totals(&self) -> EngineTotals;

    /// Shows every open message to which nothing was added since `before`, Unix milliseconds. After a restart
    /// the open messages that were kept are among them.
    fn idle_messages(&self, before: u64, visit: &mut dyn FnMut(&TopicPath, &Fold));

    /// Shows every topic that is in memory; for the metrics.
    fn census(&self, visit: &mut dyn FnMut(&TopicPath, TopicCensus));
}
