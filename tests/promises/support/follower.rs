//! A checked reader on any transport: connects, reads, can be cut, and comes back where it stood.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};

use super::msgpack::unpacked;
use super::reader::{Reader, View};
use super::sse::Sse;
use super::wait::PATIENCE;
use super::wire::Wire;
use super::ws::{JSON, MSGPACK, Ws};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Sse,
    /// A WebSocket that speaks MessagePack.
    Packed,
}

pub const BOTH: [Transport; 2] = [Transport::WebSocket, Transport::Sse];
/// Both, and both encodings.
pub const ALL: [Transport; 3] = [Transport::WebSocket, Transport::Sse, Transport::Packed];

/// What a reader asks for; the same words on all transports.
#[derive(Clone, Default)]
pub struct Ask {
    pub topics: Vec<String>,
    from: Option<String>,
    replay: Option<&'static str>,
    coalesce_ms: Option<u64>,
    types: Vec<&'static str>,
    narrow: bool,
}

impl Ask {
    pub fn topic(topic: &str) -> Ask {
        Ask::topics(&[topic])
    }

    pub fn topics(topics: &[&str]) -> Ask {
        Ask {
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            ..Ask::default()
        }
    }

    pub fn from(mut self, from: &str) -> Ask {
        self.from = Some(from.to_owned());
        self
    }

    pub fn compact(mut self) -> Ask {
        self.replay = Some("compact");
        self
    }

    pub fn coalesce(mut self, ms: u64) -> Ask {
        self.coalesce_ms = Some(ms);
        self
    }

    pub fn types(mut self, types: &[&'static str]) -> Ask {
        self.types = types.to_vec();
        self
    }

    /// With a socket that holds only a few KiB.
    pub fn narrow(mut self) -> Ask {
        self.narrow = true;
        self
    }

    fn connect(&self, addr: SocketAddr) -> Wire {
        if self.narrow {
            Wire::connect_narrow(addr)
        } else {
            Wire::connect(addr)
        }
    }

    fn query(&self) -> String {
        let mut query: Vec<String> = self.topics.iter().map(|t| format!("topic={t}")).collect();
        query.extend(self.from.iter().map(|from| format!("from={from}")));
        query.extend(self.replay.iter().map(|replay| format!("replay={replay}")));
        query.extend(
            self.coalesce_ms
                .iter()
                .map(|ms| format!("coalesce_ms={ms}")),
        );
        if !self.types.is_empty() {
            query.push(format!("types={}", self.types.join(",")));
        }
        format!("/v1/sse?{}", query.join("&"))
    }

    /// The `subscribe` command; `held` are positions to resume.
    fn command(&self, held: &Reader) -> Value {
        let topics: Vec<Value> = self
            .topics
            .iter()
            .map(|topic| match held.topics.get(topic) {
                Some(view) => json!({ "topic": topic, "from": view.position() }),
                None => json!({ "topic": topic }),
            })
            .collect();
        let mut command = json!({ "op": "subscribe", "id": "follow", "topics": topics });
        if let Some(from) = &self.from {
            command["from"] = json!(from);
        }
        if let Some(replay) = self.replay {
            command["replay"] = json!(replay);
        }
        if let Some(ms) = self.coalesce_ms {
            command["coalesce_ms"] = json!(ms);
        }
        if !self.types.is_empty() {
            command["types"] = json!(self.types);
        }
        command
    }
}

pub enum Line {
    Ws(Box<Ws>),
    Sse(Box<Sse>),
    Cut,
}

pub struct Follower {
    pub transport: Transport,
    pub addr: SocketAddr,
    pub ask: Ask,
    pub line: Line,
    pub reader: Reader,
    last_id: Option<String>,
}

impl Follower {
    /// Connects and waits until every topic asked for has been answered.
    pub fn open(transport: Transport, addr: SocketAddr, ask: Ask) -> Follower {
        let mut follower = Follower {
            transport,
            addr,
            reader: Reader {
                filtered: !ask.types.is_empty(),
                ..Reader::default()
            },
            ask,
            line: Line::Cut,
            last_id: None,
        };
        follower.come_back();
        follower
    }

    /// Connects (again) with all the positions held, as a client does after its line was cut.
    pub fn come_back(&mut self) {
        let wire = self.ask.connect(self.addr);
        match self.transport {
            Transport::WebSocket | Transport::Packed => {
                let protocol = match self.transport {
                    Transport::Packed => MSGPACK,
                    _ => JSON,
                };
                let headers = [("sec-websocket-protocol", protocol)];
                let mut ws = Ws::handshake(wire, self.addr, &headers).expect("an upgrade");
                ws.send(&self.ask.command(&self.reader));
                self.line = Line::Ws(Box::new(ws));
            }
            Transport::Sse => {
                let query = self.ask.query();
                let headers: Vec<(&str, &str)> = self
                    .last_id
                    .iter()
                    .map(|id| ("last-event-id", id.as_str()))
                    .collect();
                let request = ("GET", query.as_str(), "");
                let sse = Sse::begin(wire, self.addr, request, &headers);
                self.line = Line::Sse(Box::new(sse));
            }
        }
        self.await_answers();
    }

    fn await_answers(&mut self) {
        let mut missing = match self.transport {
            Transport::WebSocket | Transport::Packed => self.ask.topics.len(),
            Transport::Sse => 1,
        };
        while missing > 0 {
            let kind = self.step().expect("an answer before the connection ended");
            if kind == "subscribed" || kind == "tidewire.ready" {
                missing -= 1;
            }
            assert_ne!(kind, "error", "a refused subscription");
        }
    }

    /// Reads one frame or one event and applies it: its op or type. None at the connection's end.
    pub fn step(&mut self) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        match &mut self.line {
            Line::Ws(ws) => loop {
                match ws.frame_until(deadline).expect("a frame in time") {
                    super::Frame::Text(text) => {
                        let frame = super::ws::parse(&text);
                        self.reader.frame(&frame);
                        return Some(frame["op"].as_str().expect("an op").to_owned());
                    }
                    super::Frame::Binary(bytes) if ws.packed => {
                        let frame = unpacked(&bytes);
                        self.reader.frame(&frame);
                        return Some(frame["op"].as_str().expect("an op").to_owned());
                    }
                    super::Frame::Close(..) | super::Frame::End => return None,
                    _ => {}
                }
            },
            Line::Sse(sse) => {
                let block = sse.try_event()?;
                self.reader.block(&block);
                self.last_id = block.id.clone().or(self.last_id.take());
                Some(block.kind())
            }
            Line::Cut => panic!("read from a line that was cut"),
        }
    }

    /// Reads on until the condition holds.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&Reader) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.reader) {
            assert!(
                Instant::now() < deadline,
                "read {PATIENCE:?} in vain for {what}"
            );
            let more = self.step();
            assert!(more.is_some(), "the connection ended before {what}");
        }
    }

    /// Reads on until it stands at this seq of this topic, or beyond.
    pub fn until_seq(&mut self, topic: &str, seq: u64) -> &View {
        self.until(&format!("seq {seq} of {topic}"), |reader| {
            reader.topics.get(topic).is_some_and(|view| view.seq >= seq)
        });
        self.reader.view(topic)
    }

    /// The same, with a whole position, so that the texts of open messages are there too. SSE over
    /// several topics does not tell which of them is whole; there the seq has to do.
    pub fn until_whole(&mut self, topic: &str, seq: u64) -> &View {
        let tells = self.transport != Transport::Sse || self.ask.topics.len() == 1;
        self.until(&format!("seq {seq} of {topic}, whole"), |reader| {
            let view = reader.topics.get(topic);
            view.is_some_and(|view| view.seq >= seq && !(tells && view.partial))
        });
        self.reader.view(topic)
    }

    /// Reads until the connection ends; what it closed with (SSE streams just end: 0).
    pub fn until_closed(&mut self) -> u16 {
        while !matches!(self.line, Line::Ws(_)) {
            if self.step().is_none() {
                return 0;
            }
        }
        match &mut self.line {
            Line::Ws(ws) => ws.closed(),
            _ => unreachable!("the loop above ends only with a WebSocket"),
        }
    }

    pub fn wire(&mut self) -> &mut Wire {
        match &mut self.line {
            Line::Ws(ws) => &mut ws.wire,
            Line::Sse(sse) => &mut sse.wire,
            Line::Cut => panic!("a line that was cut"),
        }
    }

    pub fn cut(&mut self) {
        match std::mem::replace(&mut self.line, Line::Cut) {
            Line::Ws(ws) => ws.cut(),
            Line::Sse(sse) => sse.cut(),
            Line::Cut => {}
        }
    }

    pub fn view(&self) -> &View {
        self.reader.view(&self.ask.topics[0])
    }
}
