//! Topics in memory: loaded when they are used, let go when they are not.
//!
//! What an engine is asked for a topic that is being loaded waits with it, in order; what it is asked for a
//! loaded one goes to the committer at once. `pending` counts the latter, so that no topic is let go while
//! something is on its way to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::store::TopicNumber;
use crate::engine::{AppendAnswer, EngineError};
use crate::event::{Seq, TopicPath};
use crate::log::{Ending, Publish, SharedLog};

pub type LoadAnswer = Result<Option<Arc<SharedLog>>, EngineError>;

/// What is to be done with a topic.
pub enum Job {
    Append {
        publish: Publish,
        reply: oneshot::Sender<AppendAnswer>,
    },
    End {
        ending: Ending,
        reply: oneshot::Sender<Result<usize, EngineError>>,
    },
    Acknowledge {
        seq: Seq,
        /// The log in memory knows already.
        is_noted: bool,
        reply: oneshot::Sender<Result<bool, EngineError>>,
    },
    Delete {
        reply: oneshot::Sender<Result<bool, EngineError>>,
    },
    /// Its state is to be written, and what left the log to be deleted.
    Checkpoint,
}

impl Job {
    /// Only this one makes a topic that does not exist.
    pub fn creates(&self) -> bool {
        matches!(self, Self::Append { .. })
    }

    /// It writes more than it deletes.
    pub fn adds(&self) -> bool {
        !matches!(self, Self::Delete { .. } | Self::Checkpoint)
    }

    /// What is in memory and not yet on the disk.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Append { publish, .. } => publish
                .events
                .iter()
                .map(|event| event.data.len() + 64)
                .sum(),
            _ => 64,
        }
    }

    pub fn fail(self, error: &EngineError) {
        // whoever asked may be gone
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::End { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Acknowledge { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Delete { reply } => drop(reply.send(Err(error.clone()))),
            Self::Checkpoint => {}
        }
    }

    /// The topic does not exist, and this does not make it.
    pub fn answer_absent(self) {
        match self {
            Self::End { reply, .. } => drop(reply.send(Ok(0))),
            Self::Acknowledge { reply, .. } => drop(reply.send(Ok(false))),
            Self::Delete { reply } => drop(reply.send(Ok(false))),
            Self::Append { .. } | Self::Checkpoint => {}
        }
    }
}

/// Waits for a topic to be loaded.
pub enum Waiting {
    Load(oneshot::Sender<LoadAnswer>),
    Job(Job),
}

/// A topic on its way to the committer with a job.
pub struct Ticket(Arc<Cached>);

impl Ticket {
    pub fn new(cached: Arc<Cached>) -> Self {
        cached.pending.fetch_add(1, Ordering::SeqCst);
        Self(cached)
    }

    pub fn cached(&self) -> &Arc<Cached> {
        &self.0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::SeqCst);
    }
}

pub enum Slot {
    Loading(Vec<Waiting>),
    Loaded(Arc<Cached>),
}

/// A loaded topic.
pub struct Cached {
    pub number: TopicNumber,
    pub log: Arc<SharedLog>,
    /// Jobs on their way to the committer (`Ticket`).
    pending: AtomicUsize,
    /// When it was last asked for, in the clock's milliseconds.
    pub last_used: AtomicU64,
    /// What the committer knows of its place on the disk.
    pub book: Mutex<Book>,
}

/// How a topic stands on the disk.
#[derive(Debug, Default)]
pub struct Book {
    /// It has an entry in `topics`.
    pub exists: bool,
    pub noted_open: bool,
    /// It is noted as one of which readers or publishers may know more than the disk.
    pub dirty: bool,
    /// Up to which seq its state stands in a checkpoint.
    pub checkpoint: Seq,
    /// Events that left the log by compaction and are still on the disk.
    pub compacted: Vec<Seq>,
    /// Before this seq nothing is on the disk any more.
    pub disk_first: Seq,
    /// Retention's edge as the disk knows it.
    pub first: Seq,
    /// When events that left the log may leave the disk too, whose ids were still to be known.
    pub held_until: u64,
}

/// Events that left a log before the disk is told, and their bytes.
const CHECKPOINT_EVENTS: usize = 512;
const CHECKPOINT_BYTES: usize = 4 << 20;

impl Book {
    /// Whether so much left the log that the disk is to be told. `first`: retention's edge now; `event_bytes`: what
    /// an event of this log takes.
    pub fn owes_checkpoint(&self, first: Seq, event_bytes: usize, is_idle: bool, now: u64) -> bool {
        let gone = self.compacted.len() + first.0.saturating_sub(self.first.0) as usize;
        let held = self.disk_first < first && self.held_until <= now;
        gone >= CHECKPOINT_EVENTS
            || gone.saturating_mul(event_bytes) >= CHECKPOINT_BYTES
            || (is_idle && (gone > 0 || held))
    }

    /// Nothing more is to be deleted.
    pub fn is_tidy(&self, first: Seq) -> bool {
        self.compacted.is_empty() && self.disk_first >= first
    }
}

impl Cached {
    pub fn new(number: TopicNumber, log: SharedLog, now: u64, book: Book) -> Arc<Self> {
        Arc::new(Self {
            number,
            log: Arc::new(log),
            pending: AtomicUsize::new(0),
            last_used: AtomicU64::new(now),
            book: Mutex::new(book),
        })
    }

    pub fn is_pending(&self) -> bool {
        self.pending.load(Ordering::SeqCst) > 0
    }

    pub fn has_open_messages(&self) -> bool {
        self.log.read().folds().open_count() > 0
    }

    pub fn path(&self) -> &TopicPath {
        self.log.path()
    }

    pub fn touch(&self, now: u64) {
        self.last_used.store(now, Ordering::Relaxed);
    }
}
