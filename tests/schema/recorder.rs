//! Clients that compare everything they hear and say with the schemas, and remember what they saw of them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::coverage::Seen;
use crate::schemas::{Place, faults, files, resolved};
use crate::support::sse::Block;
use crate::support::{Broker, Http, Response, Sse, Ws};

/// What was seen of the schemas in all traffic.
#[derive(Default)]
pub struct Recorder {
    /// What the broker said.
    pub told: RefCell<Seen>,
    /// What clients said and the broker understood.
    pub said: RefCell<Seen>,
    /// `GET /v1/events 200`.
    pub answers: RefCell<BTreeSet<String>>,
}

impl Recorder {
    /// The broker said this; it must fit.
    pub fn told(&self, place: &Place, value: &Value) {
        assert_fits(place, value);
        self.told.borrow_mut().take_in(place, value);
    }

    /// A client says this; it must fit.
    pub fn said(&self, place: &Place, value: &Value) {
        assert_fits(place, value);
        self.said.borrow_mut().take_in(place, value);
    }

    pub fn frame(&self, frame: &Value) {
        let op = frame["op"].as_str().expect("every frame has an op");
        // by its own definition, for the sake of clear faults; then as one of all
        let own = Place::parse(&format!("frames/server.json#/$defs/{op}"));
        assert!(own.value().is_some(), "an undescribed frame: {frame}");
        assert_fits(&own, frame);
        self.told(&Place::parse("frames/server.json"), frame);
    }

    pub fn block(&self, block: &Block) {
        let data = block.json();
        let kind = data["type"].as_str().expect("every block has a type");
        if !kind.starts_with("tidewire.") {
            return self.told(
                &Place::parse("events/envelope.json#/$defs/with_topic"),
                &data,
            );
        }
        let own = Place::parse(&format!("sse/blocks.json#/$defs/{kind}"));
        assert!(own.value().is_some(), "an undescribed block: {data}");
        assert_fits(&own, &data);
        self.told(&Place::parse("sse/blocks.json"), &data);
    }

    /// One HTTP call, compared with what openapi.json says of it.
    pub fn call(
        &self,
        addr: SocketAddr,
        method: &str,
        target: &str,
        body: Option<&Value>,
    ) -> Response {
        self.call_with(addr, method, target, &[], body)
    }

    /// The same with further headers.
    pub fn call_with(
        &self,
        addr: SocketAddr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Response {
        let mut headers = headers.to_vec();
        let body_text = body.map(Value::to_string).unwrap_or_default();
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let mut http = Http::connect(addr);
        let response = http.request(method, target, &headers, body_text.as_bytes());
        self.response(method, target, &response);
        if let (Some(body), 200) = (body, response.status) {
            let place = operation(method, target)
                .then("requestBody")
                .then("content");
            self.said(&place.then("application/json").then("schema"), body);
        }
        response
    }

    /// An answer, compared with what openapi.json says of the call.
    pub fn response(&self, method: &str, target: &str, response: &Response) {
        let operation = operation(method, target);
        let path = target.split('?').next().unwrap_or_default();
        let name = format!("{method} {path} {}", response.status);
        let described = match operation.value() {
            Some(_) => operation
                .then("responses")
                .then(&response.status.to_string()),
            None => Place::parse(&format!(
                "openapi.json#/components/responses/{}",
                response.status
            )),
        };
        assert!(
            described.value().is_some(),
            "not described: {name} {}",
            response.text()
        );
        let described = resolved(described);
        let kind = response.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        let content = described.then("content").then(kind).then("schema");
        assert!(content.value().is_some(), "{name}: {kind} is not described");
        if kind.ends_with("json") {
            self.told(&content, &response.json());
        }
        self.answers.borrow_mut().insert(name);
    }

    /// A publish stream of good events, all of which are kept: its summary.
    pub fn stream(
        &self,
        broker: &Broker,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        events: &[Value],
    ) -> Value {
        let line = Place::parse("http/publish.json#/$defs/stream_line");
        events.iter().for_each(|event| self.said(&line, event));
        let body: String = events.iter().map(|event| format!("{event}\n")).collect();
        let mut http = broker.http();
        let response = http.request(method, target, headers, body.as_bytes());
        assert_eq!(response.status, 200, "{}", response.text());
        self.response(method, target, &response);
        response.json()
    }

    /// A stream that began well.
    pub fn streams(&self, method: &str, sse: &Sse) {
        assert_eq!(sse.head.status, 200);
        self.answers
            .borrow_mut()
            .insert(format!("{method} /v1/sse 200"));
    }
}

/// Where openapi.json describes a call; there may be nothing.
fn operation(method: &str, target: &str) -> Place {
    let path = target.split('?').next().unwrap_or_default();
    let paths = Place::parse("openapi.json#/paths");
    paths.then(path).then(&method.to_ascii_lowercase())
}

/// Every schema of an answer that openapi.json describes, by `GET /v1/events 200`.
pub fn described_answers() -> Vec<(String, Place)> {
    let mut found = Vec::new();
    let paths = files()["openapi.json"]["paths"].as_object().expect("paths");
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            let here = Place::parse("openapi.json#/paths").then(path).then(method);
            let responses = operation["responses"].as_object().expect("responses");
            for status in responses.keys() {
                let name = format!("{} {path} {status}", method.to_ascii_uppercase());
                found.push((name, resolved(here.then("responses").then(status))));
            }
        }
    }
    found
}

fn assert_fits(place: &Place, value: &Value) {
    let faults = faults(place, value);
    let shown: String = value.to_string().chars().take(600).collect();
    assert!(faults.is_empty(), "{shown}\n{}", faults.join("\n"));
}

/// A WebSocket whose frames are recorded.
pub struct Line<'a> {
    pub ws: Ws,
    recorder: &'a Recorder,
}

impl<'a> Line<'a> {
    pub fn open(recorder: &'a Recorder, addr: SocketAddr) -> Line<'a> {
        Line::over(recorder, Ws::open(addr))
    }

    /// One that was opened in a way of its own, and said `welcome`.
    pub fn over(recorder: &'a Recorder, ws: Ws) -> Line<'a> {
        recorder.frame(&ws.welcome);
        recorder
            .answers
            .borrow_mut()
            .insert("GET /v1/ws 101".into());
        Line { ws, recorder }
    }

    /// Sends a frame that is as the schema has it.
    pub fn send(&mut self, frame: &Value) {
        let op = frame["op"].as_str().expect("an op");
        let own = Place::parse(&format!("frames/client.json#/$defs/{op}"));
        assert_fits(&own, frame);
        self.recorder
            .said(&Place::parse("frames/client.json"), frame);
        self.ws.send(frame);
    }

    pub fn recv(&mut self) -> Value {
        let frame = self.ws.recv();
        self.recorder.frame(&frame);
        frame
    }

    /// Reads until a frame of this op.
    pub fn until(&mut self, op: &str) -> Value {
        loop {
            let frame = self.recv();
            if frame["op"] == op {
                return frame;
            }
        }
    }

    /// Sends a good command and reads until its answer, which must be of this op.
    pub fn call(&mut self, answer: &str, mut command: Value) -> Value {
        command["id"] = json!("call");
        self.send(&command);
        let found = self.answer();
        assert_eq!(found["op"], answer, "{found}");
        found
    }

    /// Sends what need not fit and reads until the `error`: its code.
    pub fn refused(&mut self, mut command: Value) -> String {
        command["id"] = json!("call");
        self.ws.send(&command);
        let found = self.answer();
        assert_eq!(found["op"], "error", "{found}");
        found["code"].as_str().expect("a code").to_owned()
    }

    fn answer(&mut self) -> Value {
        loop {
            let frame = self.recv();
            if frame["id"] == "call" {
                return frame;
            }
        }
    }

    pub fn subscribe(&mut self, topic: &str, from: &str) -> Value {
        self.call(
            "subscribed",
            json!({ "op": "subscribe", "topic": topic, "from": from }),
        )
    }

    pub fn publish(&mut self, topic: &str, events: Value) -> Value {
        self.call(
            "published",
            json!({ "op": "publish", "topic": topic, "events": events }),
        )
    }

    /// Reads until the topic's position is at `seq`, whole.
    pub fn until_seq(&mut self, topic: &str, seq: u64) {
        loop {
            let frame = self.until("events");
            if frame["topic"] == topic && frame["upto"] == seq && frame.get("partial").is_none() {
                return;
            }
        }
    }
}
