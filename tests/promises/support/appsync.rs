//! A client of AWS AppSync Events in raw bytes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::http::Response;
use super::wait::PATIENCE;
use super::wire::Wire;
use super::ws::{Frame, Ws, parse};

pub const PROTOCOL: &str = "aws-appsync-event-ws";

/// `header-…`: what a client shows with its handshake.
pub fn header_protocol(shown: &Value) -> String {
    format!("header-{}", URL_SAFE_NO_PAD.encode(shown.to_string()))
}

/// What a client with an API key shows.
pub fn api_key(key: &str) -> Value {
    json!({ "host": "example.com", "x-api-key": key })
}

/// What a client with a token shows.
pub fn token(text: &str) -> Value {
    json!({ "host": "example.com", "Authorization": text })
}

pub struct AppSync {
    pub ws: Ws,
    /// Shown with every subscribe and publish.
    pub shown: Value,
    /// What came while the answer to something was awaited.
    aside: VecDeque<Value>,
    next_id: u64,
}

impl AppSync {
    /// Connects to a broker that asks nobody.
    pub fn open(addr: SocketAddr) -> AppSync {
        AppSync::open_as(addr, json!({ "host": "example.com" }))
    }

    /// Connects, and hears that it may.
    pub fn open_as(addr: SocketAddr, shown: Value) -> AppSync {
        AppSync::greeted(Wire::connect(addr), addr, shown)
    }

    fn greeted(wire: Wire, addr: SocketAddr, shown: Value) -> AppSync {
        let protocols = format!("{PROTOCOL}, {}", header_protocol(&shown));
        let ws = upgrade_on(wire, addr, &[("sec-websocket-protocol", &protocols)]);
        let ws = ws.unwrap_or_else(|response| panic!("no upgrade: {response:?}"));
        let mut client = AppSync {
            ws,
            shown,
            aside: VecDeque::new(),
            next_id: 1,
        };
        client.send(json!({ "type": "connection_init" }));
        let ack = client.recv();
        assert_eq!(
            ack,
            json!({ "type": "connection_ack", "connectionTimeoutMs": 300_000 })
        );
        assert_eq!(client.recv(), json!({ "type": "ka" }));
        client
    }

    pub fn send(&mut self, frame: Value) {
        self.ws.send(&frame);
    }

    /// The next frame, whatever it is.
    pub fn recv(&mut self) -> Value {
        self.aside.pop_front().unwrap_or_else(|| self.ws.recv())
    }

    /// The next frame that is no `ka`; None if none comes in time.
    pub fn recv_within(&mut self, patience: Duration) -> Option<Value> {
        if let Some(frame) = self.aside.pop_front() {
            return Some(frame);
        }
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let frame = parse(&self.ws.text_within(left)?);
            if frame["type"] != "ka" {
                return Some(frame);
            }
        }
    }

    /// Subscribes; what answers is given back.
    pub fn try_subscribe(&mut self, id: &str, channel: &str) -> Value {
        let shown = self.shown.clone();
        self.try_subscribe_as(id, channel, shown)
    }

    pub fn try_subscribe_as(&mut self, id: &str, channel: &str, shown: Value) -> Value {
        self.send(json!({
            "type": "subscribe", "id": id, "channel": channel, "authorization": shown,
        }));
        self.answer(id)
    }

    pub fn subscribe(&mut self, id: &str, channel: &str) {
        let answer = self.try_subscribe(id, channel);
        assert_eq!(answer, json!({ "type": "subscribe_success", "id": id }));
    }

    /// Publishes payloads; what answers is given back.
    pub fn publish(&mut self, channel: &str, payloads: &[&str]) -> Value {
        let shown = self.shown.clone();
        self.publish_as(channel, payloads, shown)
    }

    pub fn publish_as(&mut self, channel: &str, payloads: &[&str], shown: Value) -> Value {
        let id = format!("pub-{}", self.next_id);
        self.next_id += 1;
        self.send(json!({
            "type": "publish", "id": id, "channel": channel, "events": payloads,
            "authorization": shown,
        }));
        self.answer(&id)
    }

    /// The next frame with this id that is no `data`; what comes before is heard later.
    fn answer(&mut self, id: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let frame = self.ws.recv();
            if frame["id"] == id && frame["type"] != "data" {
                return frame;
            }
            if frame["type"] != "ka" {
                self.aside.push_back(frame);
            }
            assert!(Instant::now() < deadline, "no answer to {id}");
        }
    }

    /// The payload of the next `data`, which must be of this subscription.
    pub fn data(&mut self, id: &str) -> String {
        let frame = self
            .recv_within(PATIENCE)
            .unwrap_or_else(|| panic!("no data of {id}"));
        assert_eq!((&frame["type"], &frame["id"]), (&json!("data"), &json!(id)));
        assert_eq!(frame.as_object().map(|frame| frame.len()), Some(3));
        let event = frame["event"].as_str();
        event.expect("`event` is a text").to_owned()
    }

    /// Nothing but `ka` comes until a publish of its own to another channel is answered.
    pub fn expect_silence(&mut self) {
        let id = "silence";
        self.send(json!({
            "type": "publish", "id": id, "channel": "/silence/please", "events": ["1"],
            "authorization": self.shown,
        }));
        let frame = self.recv_within(PATIENCE).expect("an answer");
        assert_eq!(frame["id"], id, "{frame}");
    }

    pub fn closed(&mut self) -> u16 {
        self.ws.closed()
    }

    pub fn cut(self) {
        self.ws.cut();
    }

    /// Waits until a ping came, and answers it: what came before is certain then.
    pub fn confirm(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ws.frame_until(deadline) {
                Some(Frame::Ping(payload)) if payload.len() == 8 => return,
                Some(Frame::Text(_)) | Some(Frame::Ping(_)) => {}
                other => panic!("no ping: {other:?}"),
            }
        }
    }
}

/// The handshake at the realtime endpoint.
pub fn upgrade(addr: SocketAddr, headers: &[(&str, &str)]) -> Result<Ws, Box<Response>> {
    upgrade_on(Wire::connect(addr), addr, headers)
}

fn upgrade_on(wire: Wire, addr: SocketAddr, headers: &[(&str, &str)]) -> Result<Ws, Box<Response>> {
    let usual = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", super::ws::KEY),
    ];
    let all: Vec<(&str, &str)> = usual.iter().chain(headers).copied().collect();
    Ws::ask_for(wire, addr, "/event/realtime", &all)
}
