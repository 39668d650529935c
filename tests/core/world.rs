//! A topic, its readers, and what happens to them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tidewire::broker::command::ReadOptions;
use tidewire::broker::hub::Hub;
use tidewire::broker::session::{Effect, Pumped, Session, SubKey, Terms};
use tidewire::dialect::ws_frame::{Declared, declared};
use tidewire::dialect::{Encoding, Wire, sse};
use tidewire::event::{NewEvent, TopicPath, TypeFilter};
use tidewire::log::fold::epoch_of;
use tidewire::log::shared::Wake;
use tidewire::log::{Publish, ReadFrom, Replay, Retention, SharedLog, TopicLog};

use crate::client::{Client, State};
use crate::oracle::Oracle;

#[derive(Debug, Clone)]
pub enum Op {
    Deltas {
        message: u8,
        kind: u8,
        part: u8,
        count: u8,
    },
    Started {
        message: u8,
    },
    Ended {
        message: u8,
        whole: bool,
    },
    Other,
    /// Several events of two messages, in one publish.
    Batch {
        a: u8,
        b: u8,
    },
    Connect {
        reader: u8,
        from: u8,
        compact: bool,
        view: u8,
    },
    Cut {
        reader: u8,
    },
    /// Cut, and the text is gone.
    Reload {
        reader: u8,
    },
    /// Takes some pieces out of the outbox; without it the reader stalls.
    Read {
        reader: u8,
        pieces: u8,
    },
    ReadAll {
        reader: u8,
    },
    Wait {
        ms: u16,
    },
    /// Long enough for compaction.
    WaitLong,
    FreeMemory {
        bytes: u16,
    },
    Delete,
}

/// How a hub names a member here.
type Member = (usize, SubKey);

pub struct NoWake;

impl Wake for NoWake {
    fn wake(&self, _: &TopicPath) {}
}

struct Connection {
    session: Session<Member>,
    wire: Wire,
    /// Bytes of an SSE stream that are no whole block yet.
    rest: String,
}

#[derive(Default)]
struct Reader {
    client: Client,
    connection: Option<Connection>,
}

pub struct World {
    topic: TopicPath,
    retention: Retention,
    lives: u64,
    now: u64,
    log: Option<Arc<SharedLog>>,
    hub: Option<Rc<Hub<Member>>>,
    oracle: Oracle,
    readers: Vec<Reader>,
}

const COMPACT_AFTER: Duration = Duration::from_millis(400);
const KINDS: [&str; 3] = ["text", "reasoning", "tool_input"];

impl World {
    pub fn new(retention_events: usize) -> Self {
        Self {
            topic: TopicPath::parse("/chat/1").expect("a topic"),
            retention: Retention {
                events: retention_events,
                bytes: 1 << 20,
                age: Duration::from_millis(2_000),
            },
            lives: 0,
            now: 1_000,
            log: None,
            hub: None,
            oracle: Oracle::default(),
            readers: (0..6).map(|_| Reader::default()).collect(),
        }
    }

    pub fn apply(&mut self, op: &Op) {
        match *op {
            Op::Deltas {
                message,
                kind,
                part,
                count,
            } => {
                for _ in 0..count {
                    let event = self.delta(message, kind, part);
                    self.publish(vec![event]);
                }
            }
            Op::Started { message } => {
                let id = self.oracle.id(message);
                self.oracle.start(&id);
                self.publish(vec![event(
                    "message.started",
                    json!({"message_id": id, "role": "assistant"}),
                )]);
            }
            Op::Ended { message, whole } => {
                let event = self.end(message, whole);
                self.publish(vec![event]);
            }
            Op::Other => self.publish(vec![event("memory.created", json!({"memory_id": "x"}))]),
            Op::Batch { a, b } => {
                let mut batch = vec![
                    self.delta(a, 0, 0),
                    self.delta(a, 0, 0),
                    self.delta(b, 1, 0),
                ];
                batch.push(self.end(a, false));
                batch.push(self.delta(a, 0, 0));
                self.publish(batch);
            }
            Op::Connect {
                reader,
                from,
                compact,
                view,
            } => self.connect(reader as usize, from, compact, view),
            Op::Cut { reader } => self.cut(reader as usize),
            Op::Reload { reader } => {
                self.cut(reader as usize);
                self.readers[reader as usize].client.forget_text();
            }
            Op::Read { reader, pieces } => self.read(reader as usize, pieces as usize),
            Op::ReadAll { reader } => self.read(reader as usize, usize::MAX),
            Op::Wait { ms } => self.wait(u64::from(ms)),
            Op::WaitLong => self.wait(500),
            Op::FreeMemory { bytes } => {
                if let Some(log) = &self.log {
                    log.change(|log| log.free_memory(bytes as usize));
                }
            }
            Op::Delete => self.delete(),
        }
    }

    fn delta(&mut self, message: u8, kind: u8, part: u8) -> NewEvent {
        let (id, text) = (self.oracle.id(message), self.oracle.fresh_text());
        let kind = KINDS[kind as usize];
        self.oracle.append(&id, u64::from(part), kind, &text);
        event(
            "token.delta",
            json!({"message_id": id, "text": text, "kind": kind, "part": part}),
        )
    }

    fn end(&mut self, message: u8, whole: bool) -> NewEvent {
        let id = self.oracle.id(message);
        let text = whole.then(|| self.oracle.fresh_text());
        self.oracle.end(message, &id, text.as_deref());
        match text {
            Some(text) => event("message.completed", json!({"message_id": id, "text": text})),
            None => event(
                "message.interrupted",
                json!({"message_id": id, "reason": "error"}),
            ),
        }
    }

    fn publish(&mut self, events: Vec<NewEvent>) {
        self.now += 1;
        let publish = Publish {
            events,
            principal: "".into(),
            source: None,
            producer: None,
            lease_ms: None,
        };
        let log = self.living_log();
        let (answer, _) = log.publish(&publish, self.now).expect("it is not deleted");
        answer.expect("it is valid");
        self.news();
    }

    /// The topic's log; a topic that is gone begins its next life.
    fn living_log(&mut self) -> Arc<SharedLog> {
        if let Some(log) = &self.log {
            return log.clone();
        }
        self.lives += 1;
        let log = TopicLog::new(epoch_of("testtest", self.lives), self.retention, self.now);
        let log = Arc::new(SharedLog::new(self.topic.clone(), log));
        let hub = Hub::new(
            log.clone(),
            log.follow(Arc::new(NoWake)).expect("it is in use"),
        );
        for (at, reader) in self.readers.iter_mut().enumerate() {
            if let Some(connection) = &mut reader.connection {
                connection
                    .session
                    .appeared(&self.topic, &hub, |key| (at, key));
            }
        }
        self.log = Some(log.clone());
        self.hub = Some(hub);
        log
    }

    fn news(&mut self) {
        let Some(hub) = self.hub.clone() else { return };
        let touched = RefCell::new(Vec::new());
        hub.on_append(self.now, |member| touched.borrow_mut().push(*member));
        self.pump(touched.into_inner());
    }

    fn pump(&mut self, touched: Vec<Member>) {
        for (at, key) in touched {
            if let Some(connection) = &mut self.readers[at].connection {
                connection.session.mark_behind(key);
            }
        }
        for at in 0..self.readers.len() {
            self.pump_reader(at);
        }
    }

    /// Pumps one session, and does for it what its shard would: a topic that is gone may be back already.
    fn pump_reader(&mut self, at: usize) {
        let Some(connection) = &mut self.readers[at].connection else {
            return;
        };
        let mut effects: Vec<Effect> = Vec::new();
        loop {
            let pumped = connection.session.pump(&mut effects);
            match (effects.pop(), &self.hub) {
                (Some(Effect::Await(topic)), Some(hub)) => {
                    connection.session.appeared(&topic, hub, |key| (at, key));
                }
                _ if pumped == Pumped::More => {}
                _ => return,
            }
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now += ms;
        if let Some(log) = &self.log {
            log.change(|log| log.sweep(self.now, COMPACT_AFTER));
        }
        if let Some(hub) = self.hub.clone() {
            let touched = RefCell::new(Vec::new());
            hub.on_due(self.now, |member| touched.borrow_mut().push(*member));
            self.pump(touched.into_inner());
            hub.forget_frames();
        }
    }

    fn delete(&mut self) {
        let (Some(log), Some(hub)) = (self.log.take(), self.hub.take()) else {
            return;
        };
        assert!(log.erase(|_| true).is_some());
        self.oracle = Oracle::default();
        let touched = RefCell::new(Vec::new());
        hub.on_append(self.now, |member| touched.borrow_mut().push(*member));
        self.pump(touched.into_inner());
    }

    fn cut(&mut self, at: usize) {
        if let Some(mut connection) = self.readers[at].connection.take() {
            connection.session.end();
        }
    }

    fn connect(&mut self, at: usize, from: u8, compact: bool, view: u8) {
        self.cut(at);
        let hub = self.hub.clone();
        let reader = &mut self.readers[at];
        let from = match (reader.client.position(), from) {
            (Some(position), 0..=5) => ReadFrom::parse(&position).expect("a position"),
            (_, 6) => ReadFrom::Start,
            (_, 7) => ReadFrom::Last(7),
            (_, 8) => ReadFrom::Live,
            _ => ReadFrom::Snapshot,
        };
        let resumes = matches!(from, ReadFrom::After(_));
        if !resumes {
            reader.client = Client {
                joined_live: from == ReadFrom::Live,
                ..Client::default()
            };
        }
        let filter = if view == 3 {
            TypeFilter::parse(&["token.*", "message.*"]).expect("a filter")
        } else {
            TypeFilter::everything()
        };
        let options = ReadOptions {
            replay: if compact {
                Replay::Compact
            } else {
                Replay::Raw
            },
            coalesce_ms: if matches!(view, 1 | 5) { 40 } else { 0 },
            filter,
        };
        let wire = match view {
            2 => Wire::Sse {
                named: true,
                single: true,
            },
            4 | 5 => Wire::Native(Encoding::Msgpack),
            _ => Wire::Native(Encoding::Json),
        };
        // an outbox of a few events, so that readers are stopped in the middle of everything
        let mut session = Session::new(wire, 300, 8, Arc::default());
        let attach = session.subscribe(
            self.topic.clone(),
            hub,
            &from,
            Terms::unnamed(Rc::new(options), false),
            |key| (at, key),
        );
        match wire {
            Wire::Native(_) => session.tell_subscribed(&None, &self.topic, &attach),
            Wire::Sse { named, .. } => {
                let mut ready = sse::ready([(&self.topic, &attach)].into_iter(), named).to_vec();
                sse::push_end(&mut ready, session.current_id().as_deref());
                session.notice(ready.into());
            }
            Wire::AppSync => unreachable!("it has tests of its own"),
        }
        reader.connection = Some(Connection {
            session,
            wire,
            rest: String::new(),
        });
        self.pump_reader(at);
    }

    fn read(&mut self, at: usize, pieces: usize) {
        for _ in 0..pieces {
            let Reader { client, connection } = &mut self.readers[at];
            let Some(connection) = connection else { return };
            let Some(piece) = connection.session.outbox.pop() else {
                return;
            };
            match connection.wire {
                Wire::Native(encoding) => client.on_frame(&payload(&piece, encoding)),
                Wire::Sse { .. } => read_blocks(client, &mut connection.rest, &piece),
                Wire::AppSync => unreachable!("it has tests of its own"),
            }
            self.pump_reader(at);
        }
    }

    /// Everybody comes back with what they hold, reads everything, and is compared with what was published.
    pub fn settle_and_check(&mut self) {
        for at in 0..self.readers.len() {
            if self.readers[at].connection.is_none() && self.readers[at].client.position().is_some()
            {
                self.connect(at, 0, false, 0);
            }
        }
        self.wait(100);
        for at in 0..self.readers.len() {
            self.read(at, usize::MAX);
            // a heartbeat tells what moved behind a filter
            if let Some(connection) = &mut self.readers[at].connection {
                connection.session.tell_positions();
            }
            self.read(at, usize::MAX);
            self.check(at);
        }
    }

    fn check(&self, at: usize) {
        let Reader { client, connection } = &self.readers[at];
        if connection.is_none() {
            return;
        }
        if let Some(log) = &self.log {
            assert_eq!(
                client.seq,
                log.read().head().0,
                "reader {at} reached the head"
            );
            assert!(!client.partial, "reader {at} is whole at the head");
        }
        if client.joined_live {
            return;
        }
        for (id, message) in &client.messages {
            if message.state == State::Lost {
                continue;
            }
            let published = self
                .oracle
                .messages
                .get(id)
                .unwrap_or_else(|| panic!("{id} was never published"));
            assert_eq!(message.texts, published.texts, "reader {at}, message {id}");
            assert_eq!(
                message.state == State::Ended,
                published.ended,
                "reader {at}, message {id}"
            );
        }
        for (id, _) in self
            .oracle
            .messages
            .iter()
            .filter(|(_, published)| !published.ended)
        {
            assert!(
                client.messages.contains_key(id),
                "reader {at} lacks the open message {id}"
            );
        }
    }
}

fn event(name: &str, data: Value) -> NewEvent {
    NewEvent::build(name.to_owned().into(), None, Bytes::from(data.to_string()))
        .expect("a valid event")
}

/// What a native frame says.
pub fn payload(frame: &[u8], encoding: Encoding) -> Value {
    let Declared::Payload(length) = declared(frame) else {
        panic!("half a frame")
    };
    let payload = &frame[frame.len() - length as usize..];
    match encoding {
        Encoding::Json => serde_json::from_slice(payload).expect("JSON"),
        Encoding::Msgpack => rmp_serde::from_slice(payload).expect("MessagePack"),
    }
}

pub fn read_blocks(client: &mut Client, rest: &mut String, bytes: &[u8]) {
    rest.push_str(std::str::from_utf8(bytes).expect("UTF-8"));
    while let Some(end) = rest.find("\n\n") {
        let block: String = rest.drain(..end + 2).collect();
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let data = serde_json::from_str(field("data: ").expect("data")).expect("JSON");
        client.on_block(field("event: ").expect("event"), field("id: "), &data);
    }
}
