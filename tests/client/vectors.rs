//! The recorded conversations under `schema/vectors/`: the Rust client does what they say, as the TypeScript and
//! Python clients do.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tidewire::client::fold::{Message, MessageState};
use tidewire::client::new_event::Delta;
use tidewire::client::readings::{Heard, Readings};
use tidewire::client::window::{Bounds, Producer, Window};
use tidewire::client::wire::ServerFrame;
use tidewire::client::{Ending, Fold, Item, NewEvent, Position, SubscriberOptions, TextKind};

/// Every vector of a folder, by name.
fn vectors(folder: &str) -> Vec<(String, Value)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("schema/vectors")
        .join(folder);
    let files =
        std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut all: Vec<(String, Value)> = files
        .map(|file| file.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let vector = serde_json::from_str(&text);
            let vector = vector.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (
                path.file_stem().unwrap().to_string_lossy().into_owned(),
                vector,
            )
        })
        .collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert!(all.len() > 5, "{} has next to nothing", path.display());
    all
}

fn steps(vector: &Value) -> impl Iterator<Item = (usize, &str, &Value)> {
    let steps = vector["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .enumerate();
    steps.map(|(at, step)| {
        let (name, value) = step
            .as_object()
            .expect("a step")
            .iter()
            .next()
            .expect("its name");
        (at, name.as_str(), value)
    })
}

struct Reader {
    readings: Readings,
    folds: BTreeMap<String, Fold>,
    told: Vec<Value>,
    /// The last frame did not begin where a reading stands: the line is dropped.
    out_of_step: bool,
}

impl Reader {
    fn new(topics: Vec<(String, String)>) -> Self {
        let folds = topics
            .iter()
            .map(|(topic, _)| (topic.clone(), Fold::default()));
        Self {
            folds: folds.collect(),
            readings: Readings::new(SubscriberOptions {
                topics,
                ..SubscriberOptions::default()
            }),
            told: Vec::new(),
            out_of_step: false,
        }
    }

    /// What is asked for over a new line: each topic, and from where.
    fn connect(&mut self) -> Value {
        self.readings.on_connected();
        let Some(frame) = self.readings.subscribe() else {
            return json!({});
        };
        let frame: Value = serde_json::from_str(&frame).unwrap();
        let topics = frame["topics"].as_array().expect("topics").iter();
        topics
            .map(|one| {
                (
                    one["topic"].as_str().unwrap().to_owned(),
                    one["from"].clone(),
                )
            })
            .collect()
    }

    fn on_frame(&mut self, frame: &Value) {
        let frame = ServerFrame::parse(&frame.to_string()).expect("a frame");
        match self.readings.on_frame(frame, Instant::now()) {
            Ok(Heard::Draining(after)) => {
                let after = after.as_millis() as u64;
                self.told
                    .push(json!({ "draining": { "reconnect_after_ms": after } }));
            }
            Ok(_) => {}
            Err(Ending::Disagreement(_)) => self.out_of_step = true,
            Err(other) => panic!("{other}"),
        }
        while let Some(item) = self.readings.pop() {
            self.on_item(item);
        }
    }

    fn on_item(&mut self, item: Item) {
        match item {
            Item::Events {
                topic,
                events,
                position,
            } => {
                let fold = self.folds.get_mut(&topic).expect("its topic");
                for event in &events {
                    fold.apply(event);
                }
                fold.at(&position);
            }
            Item::Gap { gap, .. } => {
                self.folds.get_mut(&gap.topic).expect("its topic").gap();
                let (from, to) = (gap.from, gap.to);
                self.told.push(json!({ "gap": { "topic": gap.topic, "from": from, "to": to, "reason": gap.reason } }));
            }
            Item::Reset { reset, .. } => {
                self.folds.get_mut(&reset.topic).expect("its topic").reset();
                self.told
                    .push(json!({ "reset": { "topic": reset.topic, "reason": reset.reason } }));
            }
            Item::Refused { topic, problem } => {
                // an error for the topic, or its end: the same to a reader
                let told = json!({ "topic": topic, "code": problem.code });
                self.told
                    .push(json!({ "error": told, "unsubscribed": told }));
            }
            Item::Subscribed { .. } | Item::Disconnected { .. } => {}
        }
    }

    /// A page keeps its positions and not its texts.
    fn reload(&mut self, begin: &[(String, String)]) {
        let topics = begin.iter().map(|(topic, from)| {
            let stands = self
                .readings
                .position(topic)
                .map(|position| position.clone().without_text());
            (
                topic.clone(),
                stands.map_or_else(|| from.clone(), |position| position.to_string()),
            )
        });
        *self = Self::new(topics.collect());
    }

    fn expect(&mut self, expected: &Value, at: &str) {
        for (topic, position) in expected["positions"].as_object().into_iter().flatten() {
            let stands = self.readings.position(topic).map(Position::to_string);
            assert_eq!(stands.as_deref(), position.as_str(), "{at}: {topic}");
        }
        for (topic, messages) in expected["messages"].as_object().into_iter().flatten() {
            let messages = messages.as_array().expect("messages");
            let held: Vec<&Message> = self.folds[topic].messages().collect();
            assert_eq!(held.len(), messages.len(), "{at}: {held:?}");
            for (held, expected) in held.into_iter().zip(messages) {
                expect_message(held, expected, at);
            }
        }
        let told = std::mem::take(&mut self.told);
        let Some(expected) = expected["told"].as_array() else {
            return;
        };
        assert_eq!(told.len(), expected.len(), "{at}: {told:?}");
        for (told, expected) in told.iter().zip(expected) {
            let (kind, members) = expected
                .as_object()
                .expect("an object")
                .iter()
                .next()
                .expect("a kind");
            for (member, value) in members.as_object().expect("members") {
                assert_eq!(told[kind][member], *value, "{at}: {kind}.{member}");
            }
        }
    }
}

fn expect_message(held: &Message, expected: &Value, at: &str) {
    let (state, reason) = match &held.state {
        MessageState::Open => ("open", None),
        MessageState::Completed => ("completed", None),
        MessageState::Interrupted { reason } => ("interrupted", Some(reason.as_str())),
        MessageState::Lost => ("lost", None),
    };
    assert_eq!(held.id, expected["id"].as_str().unwrap(), "{at}");
    assert_eq!(state, expected["state"], "{at}: {}", held.id);
    assert_eq!(
        held.text(),
        expected["text"].as_str().unwrap(),
        "{at}: {}",
        held.id
    );
    if let Some(why) = expected.get("reason") {
        assert_eq!(reason, why.as_str(), "{at}");
    }
    if let Some(finish) = expected.get("finish_reason") {
        let end: Value = serde_json::from_str(held.end.as_ref().expect("an end").get()).unwrap();
        assert_eq!(end["finish_reason"], *finish, "{at}");
    }
    if let Some(parts) = expected.get("parts") {
        let held: Vec<Value> = held
            .parts
            .iter()
            .map(|part| {
                let mut one =
                    json!({ "part": part.part, "kind": kind_name(part.kind), "text": part.text });
                if part.omitted > 0 {
                    one["omitted"] = json!(part.omitted);
                }
                one
            })
            .collect();
        assert_eq!(json!(held), *parts, "{at}");
    }
}

fn kind_name(kind: TextKind) -> &'static str {
    match kind {
        TextKind::Text => "text",
        TextKind::Reasoning => "reasoning",
        TextKind::ToolInput => "tool_input",
    }
}

#[test]
fn readers_read_as_recorded() {
    for (name, vector) in vectors("reading") {
        let begin = vector["topics"].as_object().expect("topics").iter();
        let begin =
            begin.map(|(topic, from)| (topic.clone(), from.as_str().expect("a text").to_owned()));
        let begin: Vec<_> = begin.collect();
        let mut reader = Reader::new(begin.clone());
        for (at, step, value) in steps(&vector) {
            let at = format!("{name}, step {at}");
            match step {
                "subscribe" => assert_eq!(reader.connect(), *value, "{at}"),
                "in" => {
                    assert!(!reader.out_of_step, "{at}: the frame before did not fit");
                    reader.on_frame(value);
                }
                "cut" => {}
                "reload" => reader.reload(&begin),
                "out_of_step" => assert!(std::mem::take(&mut reader.out_of_step), "{at}"),
                "expect" => reader.expect(value, &at),
                other => panic!("{at}: `{other}` is no step"),
            }
        }
        assert!(!reader.out_of_step, "{name}: a frame did not fit");
    }
}

struct Sender {
    window: Window,
    now: Instant,
    /// Ids of frames that are not answered yet.
    unanswered: Vec<u64>,
    failed: Option<String>,
}

impl Sender {
    fn sent(&mut self) -> Vec<Value> {
        let mut frames = Vec::new();
        while let Some(frame) = self.window.next_frame(self.now) {
            let mut frame: Value = serde_json::from_str(&frame).expect("a frame");
            let id = frame["id"].as_u64().expect("an id");
            frame.as_object_mut().expect("an object").remove("id");
            self.unanswered.push(id);
            frames.push(frame);
        }
        frames
    }

    fn on_answer(&mut self, answer: &Value) {
        let mut answer = answer.clone();
        answer["id"] = json!(self.unanswered.remove(0));
        match ServerFrame::parse(&answer.to_string()).expect("an answer") {
            ServerFrame::Published(published) => {
                self.window.on_published(&published);
            }
            ServerFrame::Error(problem) => match self.window.on_refused(&problem, self.now) {
                Ok(settled) if settled.renumbered => self.unanswered.clear(),
                Ok(_) => {}
                Err(problem) => self.failed = Some(problem.code.clone()),
            },
            other => panic!("{other:?} answers no publish"),
        }
    }
}

fn new_event(event: &Value) -> NewEvent {
    let (name, data) = (event["type"].as_str().expect("a type"), &event["data"]);
    let id = || data["message_id"].as_str().expect("an id").to_owned();
    let members = || {
        let mut members = data.clone();
        members
            .as_object_mut()
            .expect("an object")
            .remove("message_id");
        members
    };
    match name {
        "token.delta" => {
            let kind = data.get("kind").map_or(TextKind::Text, |kind| {
                serde_json::from_value(kind.clone()).unwrap()
            });
            let part = data
                .get("part")
                .map_or(0, |part| part.as_u64().unwrap() as u16);
            let text = data["text"].as_str().expect("a text").to_owned();
            NewEvent::Delta(Delta::new(id(), part, kind, text))
        }
        "message.started" => NewEvent::started(id(), members()),
        "message.completed" => NewEvent::completed(id(), members()),
        "message.interrupted" => {
            NewEvent::interrupted(id(), data["reason"].as_str().expect("a reason"))
        }
        other => NewEvent::Other {
            name: other.into(),
            data: to_raw_value(data).unwrap(),
            id: event["id"].as_str().map(Into::into),
        },
    }
}

#[test]
fn publishers_publish_as_recorded() {
    for (name, vector) in vectors("publishing") {
        let producer = Producer {
            id: vector["producer"]["id"].as_str().expect("an id").to_owned(),
            epoch: vector["producer"]["epoch"].as_u64().expect("an epoch"),
        };
        let topic = vector["topic"].as_str().expect("a topic");
        let mut sender = Sender {
            window: Window::new(topic, producer, Bounds::default(), 1 << 20),
            now: Instant::now(),
            unanswered: Vec::new(),
            failed: None,
        };
        for (at, step, value) in steps(&vector) {
            let at = format!("{name}, step {at}");
            match step {
                "connected" => {
                    let limits = serde_json::from_value(value.clone()).expect("limits");
                    sender.window.on_connected(limits);
                }
                "publish" => {
                    for event in value.as_array().expect("events") {
                        sender.window.push(new_event(event), sender.now);
                    }
                }
                "after_ms" => sender.now += Duration::from_millis(value.as_u64().expect("a time")),
                "out" => assert_eq!(json!(sender.sent()), *value, "{at}"),
                "in" => sender.on_answer(value),
                "cut" => {
                    sender.window.on_disconnected();
                    sender.unanswered.clear();
                }
                "expect" => {
                    if let Some(failed) = value.get("failed") {
                        assert_eq!(json!(sender.failed), *failed, "{at}");
                    }
                    if let Some(epoch) = value.get("epoch") {
                        assert_eq!(json!(sender.window.producer().epoch), *epoch, "{at}");
                    }
                    if let Some(outstanding) = value.get("outstanding") {
                        assert_eq!(json!(sender.window.outstanding()), *outstanding, "{at}");
                    }
                }
                other => panic!("{at}: `{other}` is no step"),
            }
        }
    }
}

#[test]
fn endings_are_told_apart_as_recorded() {
    for (name, vector) in vectors("endings") {
        let ending = if let Some(code) = vector["close"].as_u64() {
            Ending::Closed {
                code: code as u16,
                reason: String::new(),
            }
        } else if vector.get("body").is_some() {
            // what is no handshake is never looked into
            Ending::NotTidewire("a page".to_owned())
        } else {
            let status = vector["status"].as_u64().expect("a status") as u16;
            Ending::Refused(awc::http::StatusCode::from_u16(status).expect("a status"))
        };
        let kind = json!({ "retry": ending.may_come_back(), "kind": ending.kind().as_str() });
        assert_eq!(kind, vector["expect"], "{name}");
        assert!(ending.to_string().len() > 10, "{name}: {ending}");
    }
}
