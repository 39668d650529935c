//! Folds: the running text of each open message of a topic, and which messages ended lately.
//!
//! Bounds: 1,024 open messages a topic; 1 MiB of text a message and 4 MiB a topic, over which the
//! beginning goes (`omitted` says how much); the last 1,024 ended messages are remembered by id.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{EndedMessage, Epoch, Map, Seq, Set, Snapshot, TextKind, TextPart};

/// Open messages a topic may have.
pub const MAX_OPEN: usize = 1024;
/// Ended messages a topic remembers, to answer `message_ended`.
pub const MAX_ENDED: usize = 1024;
/// Text bytes a message may hold before it loses its beginning.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Text bytes the open messages of a topic may hold together.
pub const MAX_TOPIC_BYTES: usize = 4 << 20;
/// (part, kind) pairs a message may have.
pub const MAX_PARTS: usize = 4096;
/// What is cut off beyond need, so that the next delta does not move the whole text again.
const TRIM_SLACK: usize = 64 << 10;
/// What an open message costs beside its text.
const FOLD_OVERHEAD: usize = size_of::<Fold>() + 128;

/// Whose message it is: only that one may continue or end it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// (principal, producer id).
    Producer(Arc<str>, Arc<str>),
    Principal(Arc<str>),
}

/// One open message.
#[derive(Debug)]
pub struct Fold {
    pub message: Arc<str>,
    pub owner: Owner,
    /// Epoch of the owner's run that added to it last (0 without a producer): who holds the lease for it.
    pub run: u64,
    /// The lease of that run, where it has one.
    pub lease_ms: Option<u64>,
    pub source: Option<Arc<str>>,
    pub started: Option<Box<[u8]>>,
    pub parts: Vec<TextPart>,
    pub first_seq: Seq,
    pub last_seq: Seq,
    /// Its first delta, which no coalescing window holds back.
    pub first_text_seq: Option<Seq>,
    /// Time of its last event, Unix milliseconds.
    pub last_time: u64,
    bytes: usize,
}

impl Fold {
    #[allow(clippy::too_many_arguments, reason = "each is a field, in their order")]
    pub(super) fn restored(
        message: Arc<str>,
        owner: Owner,
        (run, lease_ms): (u64, Option<u64>),
        source: Option<Arc<str>>,
        started: Option<Box<[u8]>>,
        parts: Vec<TextPart>,
        (first_seq, last_seq): (Seq, Seq),
        first_text_seq: Option<Seq>,
        last_time: u64,
    ) -> Self {
        let bytes = parts.iter().map(|part| part.text.len()).sum();
        Self {
            message,
            owner,
            run,
            lease_ms,
            source,
            started,
            parts,
            first_seq,
            last_seq,
            first_text_seq,
            last_time,
            bytes,
        }
    }

    /// UTF-8 bytes of text it holds.
    pub fn text_bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a delta of (part, kind) still has a place.
    pub fn has_room_for(&self, part: u16, kind: TextKind) -> bool {
        self.parts.len() < MAX_PARTS || self.parts.iter().any(|p| p.part == part && p.kind == kind)
    }

    fn part_mut(&mut self, part: u16, kind: TextKind) -> &mut TextPart {
        // the part that grows is nearly always the last one
        let found = self
            .parts
            .iter()
            .rposition(|p| p.part == part && p.kind == kind);
        let at = found.unwrap_or_else(|| {
            self.parts.push(TextPart {
                part,
                kind,
                text: String::new(),
                omitted: 0,
            });
            self.parts.len() - 1
        });
        &mut self.parts[at]
    }

    /// Drops text from the beginning until `bytes` are gone.
    fn omit(&mut self, mut bytes: usize) {
        for part in &mut self.parts {
            if bytes == 0 {
                return;
            }
            let mut cut = bytes.min(part.text.len());
            while !part.text.is_char_boundary(cut) {
                cut += 1;
            }
            part.text.drain(..cut);
            part.omitted += cut as u64;
            self.bytes -= cut;
            bytes = bytes.saturating_sub(cut);
        }
    }
}

/// All open messages of a topic.
#[derive(Debug, Default)]
pub struct Folds {
    open: Map<Arc<str>, Fold>,
    text_bytes: usize,
    started_bytes: usize,
    parts: usize,
    ended: VecDeque<Arc<str>>,
    ended_set: Set<Arc<str>>,
}

impl Folds {
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    pub fn get(&self, message: &str) -> Option<&Fold> {
        self.open.get(message)
    }

    pub fn has_ended(&self, message: &str) -> bool {
        self.ended_set.contains(message)
    }

    /// Bytes of memory of all open messages.
    pub fn cost(&self) -> usize {
        let parts = self.parts * size_of::<TextPart>();
        let ended: usize = self.ended.len() * 2 * size_of::<Arc<str>>();
        self.text_bytes + self.started_bytes + parts + ended + self.open.len() * FOLD_OVERHEAD
    }

    /// Opens `message` unless it is open; answers with its shared id.
    pub fn open(
        &mut self,
        message: &str,
        owner: impl FnOnce() -> Owner,
        (run, lease_ms): (u64, Option<u64>),
        source: Option<&Arc<str>>,
        seq: Seq,
    ) -> Arc<str> {
        if let Some(fold) = self.open.get_mut(message) {
            (fold.run, fold.lease_ms) = (run, lease_ms);
            return fold.message.clone();
        }
        let message: Arc<str> = message.into();
        let fold = Fold {
            message: message.clone(),
            owner: owner(),
            run,
            lease_ms,
            source: source.cloned(),
            started: None,
            parts: Vec::new(),
            first_seq: seq,
            last_seq: seq,
            first_text_seq: None,
            last_time: 0,
            bytes: 0,
        };
        self.open.insert(message.clone(), fold);
        message
    }

    /// Keeps the `data` of `message.started` (the last one, if it is repeated).
    pub fn start(&mut self, message: &str, data: &[u8], seq: Seq, time: u64) {
        let Some(fold) = self.open.get_mut(message) else {
            return;
        };
        self.started_bytes -= fold.started.as_ref().map_or(0, |s| s.len());
        self.started_bytes += data.len();
        fold.started = Some(data.into());
        (fold.last_seq, fold.last_time) = (seq, time);
    }

    /// Appends a delta's text (escaped, without quotes) to its part.
    pub fn append(
        &mut self,
        message: &str,
        part: u16,
        kind: TextKind,
        escaped: &[u8],
        seq: Seq,
        time: u64,
    ) {
        let Some(fold) = self.open.get_mut(message) else {
            return;
        };
        let text = unescape(escaped);
        let parts_before = fold.parts.len();
        fold.part_mut(part, kind).text.push_str(&text);
        fold.bytes += text.len();
        self.parts += fold.parts.len() - parts_before;
        fold.first_text_seq.get_or_insert(seq);
        (fold.last_seq, fold.last_time) = (seq, time);
        let before = fold.bytes;
        if fold.bytes > MAX_MESSAGE_BYTES {
            fold.omit(fold.bytes - MAX_MESSAGE_BYTES + TRIM_SLACK);
        }
        self.text_bytes += text.len();
        self.text_bytes -= before - fold.bytes;
        while self.text_bytes > MAX_TOPIC_BYTES {
            self.omit_from_longest();
        }
    }

    fn omit_from_longest(&mut self) {
        let Some(longest) = self.open.values_mut().max_by_key(|fold| fold.bytes) else {
            return;
        };
        let before = longest.bytes;
        longest.omit(TRIM_SLACK);
        self.text_bytes -= before - longest.bytes;
    }

    /// Ends `message` and gives its text away. `whole_text` is where in the end event's data the whole answer stands.
    pub fn end(
        &mut self,
        message: &Arc<str>,
        whole_text: Option<std::ops::Range<u32>>,
    ) -> EndedMessage {
        let (mut parts, started) = match self.open.remove(message) {
            Some(fold) => {
                self.text_bytes -= fold.bytes;
                self.started_bytes -= fold.started.as_ref().map_or(0, |s| s.len());
                self.parts -= fold.parts.len();
                (fold.parts, fold.started)
            }
            None => (Vec::new(), None),
        };
        let whole_text = whole_text.map(|range| (range, replace_text_parts(&mut parts)));
        for part in &mut parts {
            part.text.shrink_to_fit();
        }
        self.remember_ended(message);
        EndedMessage {
            message: message.clone(),
            parts,
            started,
            whole_text,
        }
    }

    /// Puts an open message back as it was.
    pub(super) fn restore(&mut self, fold: Fold) {
        self.text_bytes += fold.bytes;
        self.started_bytes += fold.started.as_ref().map_or(0, |s| s.len());
        self.parts += fold.parts.len();
        self.open.insert(fold.message.clone(), fold);
    }

    /// Messages that ended, the oldest first.
    pub(super) fn ended_in_order(&self) -> impl Iterator<Item = &Arc<str>> {
        self.ended.iter()
    }

    pub(super) fn remember_ended(&mut self, message: &Arc<str>) {
        if self.ended_set.insert(message.clone()) {
            self.ended.push_back(message.clone());
        }
        if self.ended.len() > MAX_ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.ended_set.remove(&oldest);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fold> {
        self.open.values()
    }

    /// Open messages, oldest first.
    pub fn in_order(&self) -> Vec<&Fold> {
        let mut folds: Vec<_> = self.open.values().collect();
        folds.sort_unstable_by(|a, b| (a.first_seq, &a.message).cmp(&(b.first_seq, &b.message)));
        folds
    }

    /// One snapshot per open message, as of `head`.
    pub fn snapshots(&self, head: Seq) -> Vec<Snapshot> {
        let snapshot = |fold: &Fold| Snapshot {
            message: fold.message.clone(),
            parts: fold.parts.clone(),
            started: fold.started.clone(),
            source: fold.source.clone(),
            upto: head,
            time: fold.last_time,
        };
        self.in_order().into_iter().map(snapshot).collect()
    }
}

/// Leaves one empty part of kind `text`, number 0, where the first one stood; answers with its place.
fn replace_text_parts(parts: &mut Vec<TextPart>) -> usize {
    let at = parts.iter().position(|p| p.kind == TextKind::Text);
    let whole = TextPart {
        part: 0,
        kind: TextKind::Text,
        text: String::new(),
        omitted: 0,
    };
    match at {
        Some(at) => {
            parts[at] = whole;
            let mut index = 0;
            parts.retain(|p| {
                index += 1;
                p.kind != TextKind::Text || index - 1 == at
            });
            at
        }
        None => {
            parts.push(whole);
            parts.len() - 1
        }
    }
}

/// A JSON string's inside as text; it was checked when the event was accepted.
pub fn unescape(escaped: &[u8]) -> Cow<'_, str> {
    if !escaped.contains(&b'\\') {
        return Cow::Borrowed(
            std::str::from_utf8(escaped).expect("checked when the event was accepted"),
        );
    }
    let mut quoted = Vec::with_capacity(escaped.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(escaped);
    quoted.push(b'"');
    Cow::Owned(serde_json::from_slice(&quoted).expect("checked when the event was accepted"))
}

/// What an engine needs to name one life of a log: a store epoch and a counter.
pub fn epoch_of(store: &str, counter: u64) -> Epoch {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut tail = Vec::new();
    let mut rest = counter;
    loop {
        tail.push(DIGITS[(rest % 36) as usize]);
        rest /= 36;
        if rest == 0 {
            break;
        }
    }
    tail.reverse();
    let tail = String::from_utf8(tail).expect("the digits are ASCII");
    Epoch::parse(&format!("{store}-{tail}")).expect("a store epoch has 8 to 16 allowed characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folds_with(message: &str) -> Folds {
        let mut folds = Folds::default();
        folds.open(
            message,
            || Owner::Principal("p".into()),
            (0, None),
            None,
            Seq(1),
        );
        folds
    }

    #[test]
    fn parts_stand_in_order_of_first_appearance() {
        let mut folds = folds_with("m");
        folds.append("m", 0, TextKind::Reasoning, b"why", Seq(1), 1);
        folds.append("m", 1, TextKind::Text, b"a\\n", Seq(2), 1);
        folds.append("m", 0, TextKind::Reasoning, b"!", Seq(3), 1);
        folds.append("m", 1, TextKind::Text, "ü".as_bytes(), Seq(4), 1);
        let snapshots = folds.snapshots(Seq(4));
        let texts: Vec<_> = snapshots[0]
            .parts
            .iter()
            .map(|p| (p.part, p.kind, p.text.as_str()))
            .collect();
        assert_eq!(
            texts,
            [
                (0, TextKind::Reasoning, "why!"),
                (1, TextKind::Text, "a\nü")
            ]
        );
    }

    #[test]
    fn a_long_message_loses_its_beginning_and_says_how_much() {
        let mut folds = folds_with("m");
        let piece = "ä".repeat(32 << 10);
        for seq in 1..=40 {
            folds.append("m", 0, TextKind::Text, piece.as_bytes(), Seq(seq), 1);
            assert!(folds.get("m").expect("open").text_bytes() <= MAX_MESSAGE_BYTES);
        }
        let part = &folds.snapshots(Seq(40))[0].parts[0];
        assert_eq!(part.omitted as usize + part.text.len(), 40 * piece.len());
        assert!(part.omitted > 0);
    }

    #[test]
    fn a_topic_over_its_bound_shortens_its_longest_message() {
        let mut folds = folds_with("long");
        let piece = "x".repeat(1 << 20);
        folds.append("long", 0, TextKind::Text, piece.as_bytes(), Seq(1), 1);
        for i in 0..4 {
            let name = format!("m{i}");
            folds.open(
                &name,
                || Owner::Principal("p".into()),
                (0, None),
                None,
                Seq(2),
            );
            folds.append(
                &name,
                0,
                TextKind::Text,
                &piece.as_bytes()[..1 << 19],
                Seq(2),
                1,
            );
            folds.append(
                &name,
                1,
                TextKind::Text,
                &piece.as_bytes()[..3 << 17],
                Seq(2),
                1,
            );
        }
        let total: usize = folds.in_order().iter().map(|f| f.text_bytes()).sum();
        assert!(total <= MAX_TOPIC_BYTES, "{total}");
        assert_eq!(folds.text_bytes, total);
    }

    #[test]
    fn a_whole_answer_replaces_the_parts_of_kind_text() {
        let mut folds = folds_with("m");
        folds.append("m", 0, TextKind::Text, b"draft", Seq(1), 1);
        folds.append("m", 0, TextKind::Reasoning, b"why", Seq(2), 1);
        folds.append("m", 1, TextKind::Text, b"more", Seq(3), 1);
        let message: Arc<str> = "m".into();
        let data = br#"{"text":"whole"}"#;
        let ended = folds.end(&message, Some(9..14));
        let mut out = Vec::new();
        ended.push_members(&mut out, data);
        let expected = r#""parts":[{"part":0,"kind":"text","text":"whole"},{"part":0,"kind":"reasoning","text":"why"}]"#;
        assert_eq!(String::from_utf8(out).as_deref(), Ok(expected));
        assert!(folds.has_ended("m") && folds.get("m").is_none());
        assert_eq!(
            (folds.text_bytes, folds.parts, folds.started_bytes),
            (0, 0, 0)
        );
    }

    #[test]
    fn the_last_ended_messages_are_remembered() {
        let mut folds = Folds::default();
        for i in 0..=MAX_ENDED {
            folds.end(&format!("m{i}").into(), None);
        }
        assert!(
            !folds.has_ended("m0")
                && folds.has_ended("m1")
                && folds.has_ended(&format!("m{MAX_ENDED}"))
        );
    }
}
