//! Somebody with a token or key, on every way in: what `grants`, `places` and `fields` share.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::http::Response;
use crate::support::msgpack::{self, packed, unpacked};
use crate::support::wire::Wire;
use crate::support::ws::{JSON, MSGPACK};
use crate::support::{Broker, Http, Sse, Token, Ws, bearer, note};

/// What a caller shows in `Authorization`.
#[derive(Clone)]
pub struct Caller {
    pub addr: SocketAddr,
    pub shown: String,
}

impl Caller {
    pub fn of(broker: &Broker, token: &Token) -> Caller {
        Caller::with(broker, &token.sign())
    }

    pub fn with(broker: &Broker, shown: &str) -> Caller {
        Caller {
            addr: broker.addr,
            shown: shown.to_owned(),
        }
    }

    /// One that may do everything.
    pub fn owner(broker: &Broker) -> Caller {
        Caller::of(broker, &Token::of_all("owner"))
    }

    pub fn call(&self, method: &str, target: &str, body: Option<&Value>) -> Response {
        self.send(method, target, body.map(Value::to_string).as_deref())
    }

    /// A body of JSON, written by hand.
    pub fn send(&self, method: &str, target: &str, body: Option<&str>) -> Response {
        let bearer = bearer(&self.shown);
        let mut headers = vec![("authorization", bearer.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let body = body.unwrap_or_default().as_bytes();
        Http::connect(self.addr).request(method, target, &headers, body)
    }

    /// The answer to what must be let in, as JSON.
    pub fn read(&self, target: &str) -> Value {
        let response = self.call("GET", target, None);
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        response.json()
    }

    /// The events of a topic that are kept.
    pub fn events(&self, topic: &str) -> Vec<Value> {
        let page = self.read(&format!("/v1/events?topic={topic}&limit=1000"));
        page["events"].as_array().expect("events").clone()
    }

    pub fn head(&self, topic: &str) -> u64 {
        let state = self.read(&format!("/v1/topic?topic={topic}"));
        state["head"].as_u64().expect("a head")
    }

    /// One body or an array of them.
    pub fn post(&self, body: &Value) -> Response {
        self.call("POST", "/v1/publish", Some(body))
    }

    pub fn post_packed(&self, body: &[u8]) -> Response {
        let bearer = bearer(&self.shown);
        let headers = [("authorization", bearer.as_str()), msgpack::TYPE];
        Http::connect(self.addr).request("POST", "/v1/publish", &headers, body)
    }

    pub fn publishes(&self, topic: &str, events: Value) -> Value {
        let response = self.post(&json!({ "topic": topic, "events": events }));
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }

    /// One publish on each of the four ways: its answer, a problem where it was refused.
    pub fn on_each_way(&self, topic: &str, events: &Value) -> Vec<Value> {
        let body = json!({ "topic": topic, "events": events });
        let posted = self.post(&body).json();
        let answer = self.post_packed(&packed(&body));
        let posted_packed = match answer.status {
            200 => unpacked(&answer.body),
            _ => answer.problem(),
        };
        let told = [false, true].map(|packed| self.ws(packed).publish(topic, events.clone()));
        [posted, posted_packed].into_iter().chain(told).collect()
    }

    /// The problem of a publish that must be refused, with its code, on each of the four ways.
    pub fn is_refused(&self, code: &str, topic: &str, events: &Value) -> Vec<Value> {
        let answers = self.on_each_way(topic, events);
        for answer in &answers {
            assert_eq!(answer["code"], code, "{events}: {answer}");
        }
        answers
    }

    pub fn ws(&self, packed: bool) -> Ws {
        let spoken = if packed { MSGPACK } else { JSON };
        let protocols = format!("{spoken}, bearer.{}", self.shown);
        let headers = [("sec-websocket-protocol", protocols.as_str())];
        let mut ws = Ws::handshake(Wire::connect(self.addr), self.addr, &headers)
            .unwrap_or_else(|refused| panic!("no upgrade: {refused:?}"));
        assert_eq!(ws.packed, packed);
        ws.welcome = ws.expect("welcome");
        ws
    }

    pub fn sse(&self, target: &str, headers: &[(&str, &str)]) -> Sse {
        let bearer = bearer(&self.shown);
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend(headers);
        Sse::open_with(self.addr, target, &all)
    }
}

/// An answer as whoever guesses sees it, without what changes by itself.
pub fn seen(response: &Response) -> String {
    let mut headers: Vec<_> = response
        .headers
        .iter()
        .filter(|(name, _)| name != "date")
        .collect();
    // their order is nobody's choice
    headers.sort();
    format!("{} {headers:?} {}", response.status, response.text())
}

/// After whatever was tried, others are served at once.
pub fn still_serves(broker: &mut Broker) {
    assert!(
        broker.is_running(),
        "the broker ended:\n{}",
        broker.stderr()
    );
    assert!(!broker.stderr().contains("panicked"), "{}", broker.stderr());
    let owner = Caller::owner(broker);
    let published = owner.publishes("/healthy/check", json!([note(1)]));
    assert_eq!(
        owner.head("/healthy/check"),
        published["last_seq"],
        "{published}"
    );
}
