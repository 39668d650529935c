//! What an honest client believes after each thing it was sent (docs/protocol.md), and the
//! checks that it was never told something that contradicts what it was told before.
//!
//! Invariants asserted on every event: seqs only rise; from a whole position nothing is skipped unless
//! the reader filters; a frame starts where the reader stands; nothing belongs to another epoch; a
//! message that ended stays ended.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::message::{Message, number, short, text_of};
use super::sse::Block;

/// The epoch of a topic that does not exist.
pub const NOWHERE: &str = "00000000";

#[derive(Clone, Default)]
pub struct Reader {
    pub topics: BTreeMap<String, View>,
    /// A `types` filter is on, or deltas of ended messages were dropped: jumps in seq are normal.
    pub filtered: bool,
    /// `draining` was announced.
    pub draining: bool,
}

/// One topic as the reader knows it.
#[derive(Clone, Default, Debug)]
pub struct View {
    pub epoch: String,
    pub seq: u64,
    pub partial: bool,
    pub resumed: bool,
    pub messages: BTreeMap<String, Message>,
    /// Everything that is not a delta or a snapshot, as it came, in order.
    pub events: Vec<Value>,
    pub gaps: Vec<(u64, u64)>,
    pub resets: Vec<String>,
    pub snapshots: usize,
    /// Delta events that came (a merge counts once).
    pub deltas: usize,
    /// `subscribed` gave no position: a `reset` has to come before anything else.
    reset_owed: bool,
    /// Messages that were open at a gap and have not been heard of since.
    doubtful: BTreeSet<String>,
}

impl Reader {
    pub fn view(&self, topic: &str) -> &View {
        let known = self.topics.keys();
        self.topics
            .get(topic)
            .unwrap_or_else(|| panic!("nothing of {topic} among {known:?}"))
    }

    /// One WebSocket frame. Frames that answer commands are none of a reader's business.
    pub fn frame(&mut self, frame: &Value) {
        let filtered = self.filtered;
        match text_of(frame, "op") {
            "subscribed" if frame["topic"].is_string() => self.subscribed(frame),
            "events" => self.known(frame).events_frame(frame, filtered),
            "gap" => self.known(frame).gap(frame),
            "reset" => self.known(frame).reset(frame),
            "draining" => self.draining = true,
            _ => {}
        }
    }

    /// One SSE block with data. With one topic its id is the position, and is checked.
    pub fn block(&mut self, block: &Block) {
        let data = block.json();
        let filtered = self.filtered;
        match text_of(&data, "type") {
            "tidewire.ready" => {
                for topic in data["topics"].as_array().expect("topics in ready") {
                    self.subscribed(topic);
                }
            }
            "tidewire.gap" => self.known(&data).gap(&data),
            "tidewire.reset" => self.known(&data).reset(&data),
            "tidewire.draining" => self.draining = true,
            kind if kind.starts_with("tidewire.") => {}
            _ => self.known(&data).event(&data, filtered),
        }
        if let (1, Some(id)) = (self.topics.len(), &block.id) {
            let view = self.topics.values_mut().next().expect("one topic");
            view.told_position(id, text_of(&data, "type"), filtered);
        }
    }

    /// A page of `/v1/events`, read from where the reader stands.
    pub fn page(&mut self, page: &Value) {
        let topic = text_of(page, "topic").to_owned();
        let filtered = self.filtered;
        let view = self.topics.entry(topic).or_insert_with(|| View {
            epoch: text_of(page, "epoch").to_owned(),
            partial: true,
            ..View::default()
        });
        if page["reset"].is_object() {
            let mut reset = page["reset"].clone();
            reset["epoch"] = page["epoch"].clone();
            view.reset(&reset);
        }
        if page["gap"].is_object() {
            view.gap(&page["gap"]);
        }
        for event in page["events"].as_array().expect("events in a page") {
            view.event(event, filtered);
        }
        view.stand_at(text_of(page, "position"));
    }

    fn known(&mut self, frame: &Value) -> &mut View {
        let topic = text_of(frame, "topic");
        self.topics
            .get_mut(topic)
            .unwrap_or_else(|| panic!("{topic} was never subscribed: {frame}"))
    }

    fn subscribed(&mut self, answer: &Value) {
        let topic = text_of(answer, "topic").to_owned();
        let view = self.topics.entry(topic).or_default();
        view.resumed = answer["resumed"].as_bool().expect("resumed is told");
        let Some(position) = answer["position"].as_str() else {
            assert!(answer["position"].is_null(), "{answer}");
            assert!(!view.resumed, "resumed, but nowhere: {answer}");
            view.reset_owed = true;
            return;
        };
        let before = (view.epoch.clone(), view.seq);
        view.stand_at(position);
        assert_eq!(view.epoch, text_of(answer, "epoch"), "{answer}");
        if view.resumed && before.1 > 0 {
            assert_eq!(before, (view.epoch.clone(), view.seq), "{answer}");
        }
    }
}

impl View {
    /// The position to come back with.
    pub fn position(&self) -> String {
        let tilde = if self.partial { "~" } else { "" };
        format!("{}:{}{tilde}", self.epoch, self.seq)
    }

    pub fn message(&self, id: &str) -> &Message {
        let known = self.messages.keys();
        self.messages
            .get(id)
            .unwrap_or_else(|| panic!("no message {id} among {known:?}"))
    }

    /// The text of a message of kind `text`; empty if nothing is known of it.
    pub fn text(&self, id: &str) -> String {
        self.messages
            .get(id)
            .map(|m| m.of("text"))
            .unwrap_or_default()
    }

    /// The numbers of the notes that came.
    pub fn notes(&self) -> Vec<u64> {
        let numbers = self.events.iter().map(|event| &event["data"]["n"]);
        numbers.filter_map(Value::as_u64).collect()
    }

    pub fn seqs(&self) -> Vec<u64> {
        let seqs = self.events.iter().map(|event| &event["seq"]);
        seqs.filter_map(Value::as_u64).collect()
    }

    fn events_frame(&mut self, frame: &Value, filtered: bool) {
        assert!(
            !self.reset_owed,
            "events before the reset: {}",
            short(frame)
        );
        self.same_epoch(text_of(frame, "epoch"));
        let after = number(frame, "after");
        let upto = number(frame, "upto");
        assert_eq!(
            after,
            self.seq,
            "a frame that starts elsewhere: {}",
            short(frame)
        );
        assert!(upto >= after, "{}", short(frame));
        let whole = !self.partial;
        for event in frame["events"].as_array().expect("events") {
            assert!(event.get("topic").is_none(), "a topic in {}", short(event));
            self.event(event, filtered);
            assert!(self.seq <= upto, "beyond upto {upto}: {}", short(event));
        }
        if whole && !filtered && frame["partial"] != true {
            assert_eq!(self.seq, upto, "a hole at the end of {}", short(frame));
        }
        self.seq = upto;
        self.become_partial(frame["partial"] == true);
    }

    fn event(&mut self, event: &Value, filtered: bool) {
        assert!(
            !self.reset_owed,
            "an event before the reset: {}",
            short(event)
        );
        if text_of(event, "type") == "message.snapshot" {
            return self.snapshot(event);
        }
        let seq = number(event, "seq");
        let first = event["first_seq"].as_u64().unwrap_or(seq);
        assert!(first <= seq, "{}", short(event));
        assert!(
            first > self.seq,
            "repeated or out of order at {}: {}",
            self.position(),
            short(event)
        );
        if !self.partial && !filtered {
            assert_eq!(first, self.seq + 1, "an unexplained hole: {}", short(event));
        }
        self.seq = seq;
        self.fold(event);
    }

    fn fold(&mut self, event: &Value) {
        let kind = text_of(event, "type");
        let data = &event["data"];
        match kind {
            "token.delta" => {
                self.deltas += 1;
                assert!(event.get("parts").is_none(), "{}", short(event));
                self.open(data).append(data);
            }
            "message.started" => {
                self.open(data).started = true;
                self.events.push(event.clone());
            }
            "message.completed" | "message.interrupted" => {
                let message = self.open(data);
                if let Some(parts) = event.get("parts") {
                    message.replace(parts);
                }
                if let (true, Some(text)) = (kind == "message.completed", data["text"].as_str()) {
                    message.replace_text(text);
                }
                message.ended = Some(kind.to_owned());
                self.events.push(event.clone());
            }
            _ => self.events.push(event.clone()),
        }
    }

    fn snapshot(&mut self, event: &Value) {
        assert!(
            event.get("seq").is_none(),
            "a snapshot has no seq: {}",
            short(event)
        );
        let data = &event["data"];
        let upto = number(data, "upto");
        assert!(upto >= self.seq, "a snapshot of the past: {}", short(event));
        self.snapshots += 1;
        self.open(data).replace(&data["parts"]);
        // With it the reader has reached the head; the next event is upto + 1.
        self.seq = upto;
    }

    /// The message an event belongs to, which must not have ended.
    fn open(&mut self, data: &Value) -> &mut Message {
        let id = text_of(data, "message_id").to_owned();
        self.doubtful.remove(&id);
        let message = self.messages.entry(id).or_default();
        assert!(message.ended.is_none(), "it had ended: {}", short(data));
        message
    }

    fn gap(&mut self, gap: &Value) {
        assert!(!self.reset_owed, "a gap before the reset: {gap}");
        let (from, to) = (number(gap, "from"), number(gap, "to"));
        assert_eq!(from, self.seq + 1, "{gap}");
        assert!(to >= from, "{gap}");
        self.gaps.push((from, to));
        self.seq = to;
        self.partial = true;
        let open = self.messages.iter().filter(|(_, m)| m.ended.is_none());
        self.doubtful = open.map(|(id, _)| id.clone()).collect();
    }

    fn reset(&mut self, reset: &Value) {
        let reasons = ["epoch", "ahead_of_head", "bad_cursor", "deleted"];
        let reason = text_of(reset, "reason");
        assert!(reasons.contains(&reason), "{reset}");
        let mut resets = std::mem::take(&mut self.resets);
        resets.push(reason.to_owned());
        *self = View {
            epoch: text_of(reset, "epoch").to_owned(),
            partial: true,
            resets,
            ..View::default()
        };
    }

    fn same_epoch(&mut self, epoch: &str) {
        if self.epoch == NOWHERE {
            self.epoch = epoch.to_owned();
        }
        assert_eq!(self.epoch, epoch, "another epoch without a reset");
    }

    /// An SSE block told where the reader stands now.
    fn told_position(&mut self, id: &str, kind: &str, filtered: bool) {
        let jumps = filtered || self.partial;
        let (epoch, seq, partial) = split_position(id);
        if kind != "tidewire.ready" && kind != "tidewire.reset" {
            self.same_epoch(epoch);
        }
        assert_eq!(epoch, self.epoch, "{kind} with id {id}");
        if kind == "tidewire.position" || partial || jumps {
            // Positions move over what is left out.
            assert!(seq >= self.seq, "back from {} to {id}", self.seq);
            self.seq = seq;
        }
        assert_eq!(seq, self.seq, "{kind} with id {id}");
        self.become_partial(partial);
    }

    fn stand_at(&mut self, position: &str) {
        let (epoch, seq, partial) = split_position(position);
        self.epoch = epoch.to_owned();
        self.seq = seq;
        self.become_partial(partial);
    }

    fn become_partial(&mut self, partial: bool) {
        self.partial = partial;
        if !partial {
            for id in std::mem::take(&mut self.doubtful) {
                self.messages.entry(id).or_default().lost = true;
            }
        }
    }
}

/// `EPOCH:SEQ` or `EPOCH:SEQ~`.
pub fn split_position(position: &str) -> (&str, u64, bool) {
    let (whole, partial) = match position.strip_suffix('~') {
        Some(whole) => (whole, true),
        None => (position, false),
    };
    whole
        .split_once(':')
        .and_then(|(epoch, seq)| Some((epoch, seq.parse().ok()?, partial)))
        .unwrap_or_else(|| panic!("not a position: {position:?}"))
}
