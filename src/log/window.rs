//! A coalescing window: how far the readers of one (topic, `coalesce_ms`) may read for now.
//!
//! The first delta of a message goes at once, then deltas gather for that long; any event that is not a
//! delta flushes first. Since all readers of a window are shown the same boundaries, they share bytes.

use std::sync::Arc;

use super::topic_log::TopicLog;
use crate::event::{Content, Seq};

/// The windows on offer, in milliseconds; others round up.
pub const WINDOWS_MS: [u64; 6] = [20, 40, 100, 250, 500, 1000];

/// Rounds `coalesce_ms` up to a window on offer; 0 is none.
pub fn round_up(ms: u64) -> u64 {
    if ms == 0 {
        return 0;
    }
    WINDOWS_MS
        .into_iter()
        .find(|window| *window >= ms)
        .unwrap_or(WINDOWS_MS[WINDOWS_MS.len() - 1])
}

#[derive(Debug)]
pub struct Window {
    ms: u64,
    /// The last seq that its readers may see.
    visible: Seq,
    /// The last seq that was looked at.
    looked_at: Seq,
    /// When what gathered is shown, in the caller's milliseconds.
    due: Option<u64>,
}

impl Window {
    /// A window on a log whose readers are shown everything up to `head`.
    pub fn new(ms: u64, head: Seq) -> Self {
        Self {
            ms,
            visible: head,
            looked_at: head,
            due: None,
        }
    }

    pub fn ms(&self) -> u64 {
        self.ms
    }

    pub fn visible(&self) -> Seq {
        self.visible
    }

    /// When `on_due` is to be called.
    pub fn due(&self) -> Option<u64> {
        self.due
    }

    /// Looks at what was appended since; answers whether more is visible now.
    pub fn on_append(&mut self, log: &TopicLog, now: u64) -> bool {
        let before = self.visible;
        if log.head() <= self.looked_at {
            return false;
        }
        let at = log.index_of(self.looked_at.next());
        for entry in log.entries.range(at..) {
            let gathers = match &entry.content {
                Content::Delta { message, .. } => !is_first_delta(log, message, entry.seq),
                _ => false,
            };
            if !gathers {
                self.visible = entry.seq;
                let is_delta = matches!(entry.content, Content::Delta { .. });
                self.due = is_delta.then_some(now + self.ms);
            } else if self.due.is_none() {
                self.due = Some(now + self.ms);
            }
        }
        self.looked_at = log.head();
        self.visible > before
    }

    /// Shows what gathered; answers whether more is visible now.
    pub fn on_due(&mut self, now: u64) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        self.due = None;
        let more = self.looked_at > self.visible;
        self.visible = self.looked_at;
        more
    }
}

/// The delta that opened its message (a message that ended since then is not in the folds: its
/// deltas gather, and its end event shows them).
fn is_first_delta(log: &TopicLog, message: &Arc<str>, seq: Seq) -> bool {
    log.folds()
        .get(message)
        .is_some_and(|fold| fold.first_text_seq == Some(seq))
}
