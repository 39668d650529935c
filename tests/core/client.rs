//! A reader as the protocol asks it to be: it knows nothing but the bytes it got.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::oracle::Texts;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Open,
    Ended,
    /// It ended inside a gap.
    Lost,
}

#[derive(Debug, Clone)]
pub struct Message {
    pub texts: Texts,
    pub state: State,
    /// A snapshot or the beginning itself came since the position was last partial.
    fresh: bool,
}

#[derive(Debug, Default, Clone)]
pub struct Client {
    pub epoch: Option<String>,
    pub seq: u64,
    pub partial: bool,
    pub messages: BTreeMap<String, Message>,
    /// A whole position comes after a gap: open messages without a snapshot are lost then.
    pub after_gap: bool,
    /// Began with `live` or without text: the texts of messages it joined late are no evidence.
    pub joined_live: bool,
    pub others: u64,
}

impl Client {
    /// The position it would resume with.
    pub fn position(&self) -> Option<String> {
        let tilde = if self.partial { "~" } else { "" };
        self.epoch
            .as_ref()
            .map(|epoch| format!("{epoch}:{}{tilde}", self.seq))
    }

    /// A reloaded page: the position stays, the text does not.
    pub fn forget_text(&mut self) {
        self.messages.clear();
        self.partial = true;
    }

    pub fn begin_at(&mut self, position: &str) {
        let (position, partial) = match position.strip_suffix('~') {
            Some(rest) => (rest, true),
            None => (position, false),
        };
        let (epoch, seq) = position.split_once(':').expect("a position");
        self.epoch = Some(epoch.to_owned());
        self.seq = seq.parse().expect("a seq");
        self.set_partial(partial);
    }

    fn set_partial(&mut self, partial: bool) {
        if self.partial && !partial {
            if self.after_gap {
                for message in self
                    .messages
                    .values_mut()
                    .filter(|m| m.state == State::Open && !m.fresh)
                {
                    message.state = State::Lost;
                }
            }
            self.after_gap = false;
        }
        if partial && !self.partial {
            for message in self.messages.values_mut() {
                message.fresh = false;
            }
        }
        self.partial = partial;
    }

    /// One native frame.
    pub fn on_frame(&mut self, frame: &Value) {
        match frame["op"].as_str().expect("an op") {
            "subscribed" => {
                if let Some(position) = frame["position"].as_str() {
                    self.begin_at(position);
                }
            }
            "gap" => self.on_gap(frame),
            "reset" => self.on_reset(frame),
            "events" => {
                let after = frame["after"].as_u64().expect("after");
                assert_eq!(
                    after, self.seq,
                    "a frame continues where the reader stands: {frame}"
                );
                let upto = frame["upto"].as_u64().expect("upto");
                assert!(upto >= after);
                self.epoch = Some(frame["epoch"].as_str().expect("epoch").to_owned());
                let partial = frame["partial"].as_bool().unwrap_or(false);
                for event in frame["events"].as_array().expect("events") {
                    self.on_event(event);
                    assert!(event["seq"].as_u64().is_none_or(|seq| seq <= upto));
                }
                self.seq = upto;
                self.set_partial(partial);
            }
            other => panic!("unexpected {other}"),
        }
    }

    pub fn on_gap(&mut self, gap: &Value) {
        assert_eq!(
            gap["from"].as_u64(),
            Some(self.seq + 1),
            "a gap begins behind the position"
        );
        self.seq = gap["to"].as_u64().expect("to");
        self.set_partial(true);
        for message in self.messages.values_mut() {
            message.fresh = false;
        }
        self.after_gap = true;
    }

    pub fn on_reset(&mut self, reset: &Value) {
        self.messages.clear();
        self.epoch = Some(reset["epoch"].as_str().expect("epoch").to_owned());
        self.seq = 0;
        self.partial = true;
        self.after_gap = false;
        self.joined_live = false;
    }

    /// One block of a one-topic stream.
    pub fn on_block(&mut self, name: &str, id: Option<&str>, data: &Value) {
        match name {
            "tidewire.ready" => {
                let topic = &data["topics"][0];
                if let Some(position) = topic["position"].as_str() {
                    self.begin_at(position);
                }
                return;
            }
            "tidewire.gap" => self.on_gap(data),
            "tidewire.reset" => self.on_reset(data),
            "tidewire.position" => {}
            _ => self.on_event(data),
        }
        if let Some(id) = id {
            let (before, partial) = (self.seq, id.ends_with('~'));
            let (epoch, seq) = id
                .trim_end_matches('~')
                .split_once(':')
                .expect("a position");
            self.epoch = Some(epoch.to_owned());
            self.seq = seq.parse().expect("a seq");
            assert!(
                self.seq >= before || name == "tidewire.reset",
                "positions go forward"
            );
            self.set_partial(partial);
        }
    }

    fn on_event(&mut self, event: &Value) {
        let data = &event["data"];
        if let Some(seq) = event["seq"].as_u64() {
            let first = event["first_seq"].as_u64().unwrap_or(seq);
            assert!(first > self.seq, "no repeats: {event} at {}", self.seq);
            self.seq = seq;
        }
        let id = data["message_id"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().expect("a type") {
            "message.snapshot" => {
                let message = Message {
                    texts: texts_of(&data["parts"]),
                    state: State::Open,
                    fresh: true,
                };
                self.messages.insert(id, message);
            }
            "message.started" => {
                self.open(id);
            }
            "token.delta" => {
                let part = data["part"].as_u64().unwrap_or(0);
                let kind = data["kind"].as_str().unwrap_or("text").to_owned();
                let text = data["text"].as_str().expect("text");
                self.open(id)
                    .texts
                    .entry((part, kind))
                    .or_default()
                    .push_str(text);
            }
            "message.completed" | "message.interrupted" => self.end(id, event),
            _ => self.others += 1,
        }
    }

    fn open(&mut self, id: String) -> &mut Message {
        self.messages.entry(id).or_insert_with(|| Message {
            texts: Texts::new(),
            state: State::Open,
            fresh: true,
        })
    }

    fn end(&mut self, id: String, event: &Value) {
        let message = self.open(id);
        if let Some(parts) = event.get("parts") {
            message.texts = texts_of(parts);
        } else if let Some(whole) = event["data"]["text"].as_str() {
            message.texts.retain(|(_, kind), _| kind != "text");
            message.texts.insert((0, "text".into()), whole.to_owned());
        }
        message.state = State::Ended;
        message.fresh = true;
    }
}

fn texts_of(parts: &Value) -> Texts {
    let mut texts = Texts::new();
    for part in parts.as_array().expect("parts") {
        assert!(part.get("omitted").is_none(), "texts here are short");
        let key = (
            part["part"].as_u64().expect("part"),
            part["kind"].as_str().expect("kind").to_owned(),
        );
        let twice = texts.insert(key, part["text"].as_str().expect("text").to_owned());
        assert!(twice.is_none(), "one entry per (part, kind)");
    }
    texts
}
