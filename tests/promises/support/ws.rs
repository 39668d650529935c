//! A raw WebSocket client (RFC 6455): it can also send what no honest client would.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{Http, Response, read_head};
use super::msgpack::{packed, unpacked};
use super::wait::PATIENCE;
use super::wire::{Fill, Wire};

/// RFC 6455 §1.3: the sample key and the accept value that belongs to it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub const JSON: &str = "tidewire.v1.json";
pub const MSGPACK: &str = "tidewire.v1.msgpack";

pub const FIN_CONTINUATION: u8 = 0x80;
pub const FIN_TEXT: u8 = 0x81;
pub const FIN_BINARY: u8 = 0x82;
pub const FIN_CLOSE: u8 = 0x88;
pub const FIN_PING: u8 = 0x89;
pub const FIN_PONG: u8 = 0x8a;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    /// The connection ended without a close frame.
    End,
}

pub struct Ws {
    pub wire: Wire,
    pub welcome: Value,
    pub answers_pings: bool,
    /// It speaks `tidewire.v1.msgpack`; what is said and heard is JSON to the test all the same.
    pub packed: bool,
    /// Frames that arrived while the answer to a call was awaited.
    aside: VecDeque<String>,
    next_id: u64,
}

impl Ws {
    pub fn open(addr: SocketAddr) -> Ws {
        Ws::begin(Wire::connect(addr), addr, JSON)
    }

    /// The same in MessagePack.
    pub fn open_packed(addr: SocketAddr) -> Ws {
        Ws::begin(Wire::connect(addr), addr, MSGPACK)
    }

    /// A reader whose stall the broker feels after a few KiB.
    pub fn open_narrow(addr: SocketAddr) -> Ws {
        Ws::begin(Wire::connect_narrow(addr), addr, JSON)
    }

    fn begin(wire: Wire, addr: SocketAddr, protocol: &str) -> Ws {
        let headers = [("sec-websocket-protocol", protocol)];
        let mut ws = Ws::handshake(wire, addr, &headers)
            .unwrap_or_else(|response| panic!("no upgrade: {response:?}"));
        ws.welcome = ws.recv();
        assert_eq!(ws.welcome["op"], "welcome", "{}", ws.welcome);
        ws
    }

    /// The handshake with any extra headers. Err: the broker answered something other than 101.
    pub fn handshake(
        wire: Wire,
        addr: SocketAddr,
        headers: &[(&str, &str)],
    ) -> Result<Ws, Box<Response>> {
        let usual = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        let all: Vec<(&str, &str)> = usual.iter().chain(headers).copied().collect();
        Ws::ask(wire, addr, &all)
    }

    /// A request for `/v1/ws` with exactly these headers (and a host, if none is among them).
    pub fn ask(
        wire: Wire,
        addr: SocketAddr,
        headers: &[(&str, &str)],
    ) -> Result<Ws, Box<Response>> {
        Ws::ask_for(wire, addr, "/v1/ws", headers)
    }

    /// The handshake with a token or key in the place that pages use: beside the subprotocol.
    pub fn open_as(addr: SocketAddr, token: &str) -> Ws {
        let protocols = format!("{JSON}, bearer.{token}");
        Ws::begin(Wire::connect(addr), addr, &protocols)
    }

    /// The same for any target.
    pub fn ask_for(
        wire: Wire,
        addr: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Ws, Box<Response>> {
        let mut http = Http {
            wire,
            host: addr.to_string(),
        };
        let head = http.head("GET", target, headers);
        http.wire.send(head.as_bytes());
        let response = read_head(&mut http.wire).expect("an answer to the handshake");
        if response.status != 101 {
            return Err(Box::new(response));
        }
        assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT));
        Ok(Ws {
            wire: http.wire,
            welcome: Value::Null,
            answers_pings: true,
            packed: response.header("sec-websocket-protocol") == Some(MSGPACK),
            aside: VecDeque::new(),
            next_id: 1,
        })
    }

    pub fn send(&mut self, message: &Value) {
        if self.packed {
            self.send_frame(FIN_BINARY, &packed(message));
        } else {
            self.send_frame(FIN_TEXT, message.to_string().as_bytes());
        }
    }

    pub fn send_text(&mut self, text: &str) {
        self.send_frame(FIN_TEXT, text.as_bytes());
    }

    /// A masked frame with any first byte (FIN, RSV and opcode).
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.wire.send(&masked(first, payload));
    }

    /// Sends a command with an id of its own and waits for the answer that carries it. What comes
    /// before is kept for `recv`.
    pub fn call(&mut self, mut message: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        message["id"] = json!(id);
        self.send(&message);
        let mut before = VecDeque::new();
        loop {
            let text = self.text();
            let frame: Value = parse(&text);
            if frame["id"] == id {
                before.append(&mut self.aside);
                self.aside = before;
                return frame;
            }
            before.push_back(text);
        }
    }

    /// Subscribes one topic; the answer must be `subscribed`.
    pub fn subscribe(&mut self, topic: &str, from: &str) -> Value {
        self.subscribe_with(json!({ "topic": topic, "from": from }))
    }

    pub fn subscribe_with(&mut self, mut command: Value) -> Value {
        command["op"] = json!("subscribe");
        let answer = self.call(command);
        assert_eq!(answer["op"], "subscribed", "{answer}");
        answer
    }

    pub fn publish(&mut self, topic: &str, events: Value) -> Value {
        self.call(json!({ "op": "publish", "topic": topic, "events": events }))
    }

    pub fn recv(&mut self) -> Value {
        parse(&self.text())
    }

    /// The next message, whose `op` must be this.
    pub fn expect(&mut self, op: &str) -> Value {
        let frame = self.recv();
        assert_eq!(frame["op"], op, "{frame}");
        frame
    }

    /// Reads on until a message with this `op`, skipping others.
    pub fn until(&mut self, op: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let frame = self.recv();
            if frame["op"] == op {
                return frame;
            }
            assert!(
                Instant::now() < deadline,
                "read {PATIENCE:?} in vain for {op}"
            );
        }
    }

    /// The next message: a text frame as it came, a MessagePack frame as JSON.
    pub fn text(&mut self) -> String {
        match self.text_within(PATIENCE) {
            Some(text) => text,
            None => panic!("no frame within {PATIENCE:?}"),
        }
    }

    pub fn text_within(&mut self, patience: Duration) -> Option<String> {
        if let Some(text) = self.aside.pop_front() {
            return Some(text);
        }
        let deadline = Instant::now() + patience;
        loop {
            match self.frame_until(deadline)? {
                Frame::Text(text) if !self.packed => return Some(text),
                Frame::Binary(bytes) if self.packed => return Some(unpacked(&bytes).to_string()),
                Frame::Ping(_) | Frame::Pong(_) => {}
                other => panic!("expected a message, got {other:?}"),
            }
        }
    }

    /// Reads until the connection ends: the close code, 1006 if there was none.
    pub fn closed(&mut self) -> u16 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.frame_until(deadline) {
                Some(Frame::Close(code, _)) => return code,
                Some(Frame::End) => return 1006,
                Some(_) => {}
                None => panic!("still open after {PATIENCE:?}"),
            }
        }
    }

    /// The next frame of any kind; None if the deadline passes first.
    pub fn frame_until(&mut self, deadline: Instant) -> Option<Frame> {
        loop {
            if let Some((first, payload)) = self.take_frame() {
                return Some(self.classify(first, payload));
            }
            match self.wire.fill(deadline) {
                Fill::More => {}
                Fill::End => return Some(Frame::End),
                Fill::Late => return None,
            }
        }
    }

    fn classify(&mut self, first: u8, payload: Vec<u8>) -> Frame {
        match first {
            FIN_TEXT => Frame::Text(String::from_utf8(payload).expect("UTF-8 in a text frame")),
            FIN_BINARY => Frame::Binary(payload),
            FIN_PING => {
                if self.answers_pings {
                    let _ = self.wire.try_send(&masked(FIN_PONG, &payload));
                }
                Frame::Ping(payload)
            }
            FIN_PONG => Frame::Pong(payload),
            FIN_CLOSE if payload.len() >= 2 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                let _ = self.wire.try_send(&masked(FIN_CLOSE, &payload[..2]));
                Frame::Close(code, String::from_utf8_lossy(&payload[2..]).into_owned())
            }
            FIN_CLOSE => Frame::Close(1005, String::new()),
            other => panic!("the broker sent a frame with first byte {other:#x}"),
        }
    }

    /// One whole frame from the buffer. Frames from a server are not masked (RFC 6455 §5.1).
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let bytes = self.wire.waiting();
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        assert_eq!(second & 0x80, 0, "a masked frame from the broker");
        let (length, header) = match second {
            126 => {
                let raw = bytes.get(2..4)?;
                (
                    u64::from(u16::from_be_bytes(raw.try_into().expect("2 bytes"))),
                    4,
                )
            }
            127 => {
                let raw = bytes.get(2..10)?;
                (u64::from_be_bytes(raw.try_into().expect("8 bytes")), 10)
            }
            short => (u64::from(short), 2),
        };
        let whole = header + usize::try_from(length).expect("a frame fits in memory");
        if bytes.len() < whole {
            return None;
        }
        let frame = self.wire.take(whole);
        Some((first, frame[header..].to_vec()))
    }

    /// To a broker that may have closed already; whether the frame could be handed to the socket.
    pub fn send_or_lose(&mut self, message: &Value) -> bool {
        let frame = masked(FIN_TEXT, message.to_string().as_bytes());
        self.wire.try_send(&frame).is_ok()
    }

    /// Reads on until the answer with this id, or to the connection's end: its close code.
    pub fn answer_or_close(&mut self, id: &str) -> Result<Value, u16> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.frame_until(deadline).expect("an answer in time") {
                Frame::Text(text) => {
                    let frame = parse(&text);
                    if frame["id"] == id {
                        return Ok(frame);
                    }
                }
                Frame::Close(code, _) => return Err(code),
                Frame::End => return Err(1006),
                _ => {}
            }
        }
    }

    pub fn cut(self) {
        self.wire.cut();
    }
}

pub fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
}

/// A client's frame, masked as RFC 6455 §5.3 demands.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = header(first, 0x80, payload.len() as u64);
    frame.extend(mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

/// The header of a frame that says it is `length` long, whatever follows.
pub fn header(first: u8, mask_bit: u8, length: u64) -> Vec<u8> {
    let mut frame = vec![first];
    match length {
        0..=125 => frame.push(mask_bit | length as u8),
        126..=0xffff => {
            frame.push(mask_bit | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        _ => {
            frame.push(mask_bit | 127);
            frame.extend(length.to_be_bytes());
        }
    }
    frame
}
