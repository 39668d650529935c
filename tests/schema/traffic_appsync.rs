//! Clients of AWS AppSync Events: every type of frame both ways, and their publishes over HTTP.

use serde_json::{Value, json};

use crate::recorder::Recorder;
use crate::schemas::{Place, faults};
use crate::support::appsync::{PROTOCOL, header_protocol, token, upgrade};
use crate::support::ws::KEY;
use crate::support::{Broker, Setup, Token, Ws, completed, delta, eventually};

pub fn record(recorder: &Recorder) {
    every_operation(recorder);
    what_is_wrong(recorder);
    what_contradicts(recorder);
    what_is_too_much(recorder);
    who_may_not(recorder);
    what_is_gone(recorder);
    what_is_temporary(recorder);
    posts(recorder);
    refused_posts(recorder);
}

/// A WebSocket of this dialect whose frames are recorded.
struct Line<'a> {
    ws: Ws,
    recorder: &'a Recorder,
    shown: Value,
}

impl<'a> Line<'a> {
    fn open(recorder: &'a Recorder, broker: &Broker) -> Line<'a> {
        let mut line = Line::silent(recorder, broker, json!({ "host": "example.com" }));
        line.greet();
        line
    }

    fn open_as(recorder: &'a Recorder, broker: &Broker, text: &str) -> Line<'a> {
        let mut line = Line::silent(recorder, broker, token(text));
        line.greet();
        line
    }

    /// One that has said nothing yet.
    fn silent(recorder: &'a Recorder, broker: &Broker, shown: Value) -> Line<'a> {
        let offered = format!("{PROTOCOL}, {}", header_protocol(&shown));
        let ws = upgrade(broker.addr, &[("sec-websocket-protocol", &offered)]);
        let ws = ws.unwrap_or_else(|response| panic!("no upgrade: {response:?}"));
        let mut answers = recorder.answers.borrow_mut();
        answers.insert("GET /event/realtime 101".into());
        drop(answers);
        Line {
            ws,
            recorder,
            shown,
        }
    }

    fn greet(&mut self) {
        self.say(json!({ "type": "connection_init" }));
        assert_eq!(self.recv()["type"], "connection_ack");
        assert_eq!(self.recv()["type"], "ka");
    }

    /// Sends a frame that is as the schema has it.
    fn say(&mut self, frame: Value) {
        let place = Place::parse("appsync/client.json");
        self.recorder.said(&place, &frame);
        self.ws.send(&frame);
    }

    fn recv(&mut self) -> Value {
        let frame = self.ws.recv();
        let kind = frame["type"].as_str().expect("every frame has a type");
        // by its own definition, for the sake of clear faults; then as one of all
        let own = Place::parse(&format!("appsync/server.json#/$defs/{kind}"));
        assert!(own.value().is_some(), "an undescribed frame: {frame}");
        assert_eq!(faults(&own, &frame), Vec::<String>::new(), "{frame}");
        let all = Place::parse("appsync/server.json");
        self.recorder.told(&all, &frame);
        frame
    }

    /// Reads until a frame of this type.
    fn until(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.recv();
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    fn subscribe(&mut self, id: &str, channel: &str) {
        self.say(json!({
            "type": "subscribe", "id": id, "channel": channel, "authorization": self.shown,
        }));
        assert_eq!(self.until("subscribe_success")["id"], id);
    }

    fn publish_frame(&self, channel: &str, events: Value) -> Value {
        json!({
            "type": "publish", "id": "p-1", "channel": channel, "events": events,
            "authorization": self.shown,
        })
    }

    fn publish(&mut self, channel: &str, events: Value) {
        self.say(self.publish_frame(channel, events));
        self.until("publish_success");
    }

    /// Sends what need not fit: the type of error that answers it.
    fn refused(&mut self, answer: &str, frame: Value) -> String {
        self.ws.send(&frame);
        let told = self.until(answer);
        let error_type = told["errors"][0]["errorType"].as_str();
        error_type.expect("a type").to_owned()
    }

    fn refused_publish(&mut self, channel: &str, events: Value) -> String {
        let frame = self.publish_frame(channel, events);
        self.refused("publish_error", frame)
    }
}

/// A handshake that is refused: its status.
fn handshake(recorder: &Recorder, broker: &Broker, offered: &str) -> u16 {
    let headers = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-protocol", offered),
    ];
    let target = "/event/realtime";
    let refused = broker.http().request("GET", target, &headers, b"");
    recorder.response("GET", target, &refused);
    refused.status
}

fn every_operation(recorder: &Recorder) {
    let broker = Broker::start();
    let mut line = Line::open(recorder, &broker);
    line.subscribe("s-1", "/default/*");
    line.publish("default/room", json!(["{\"a\":1}", "2"]));
    let typed = json!({ "type": "a.b", "data": 1 }).to_string();
    line.publish("/default/room", json!([typed]));
    line.say(json!({ "type": "unsubscribe", "id": "s-1" }));
    line.until("unsubscribe_success");
    let unknown = json!({ "type": "unsubscribe", "id": "s-1" });
    let error_type = line.refused("unsubscribe_error", unknown);
    assert_eq!(error_type, "UnknownOperationError");
}

fn what_is_wrong(recorder: &Recorder) {
    let broker = Broker::start();
    let mut line = Line::open(recorder, &broker);
    let unknown = json!({ "type": "start", "id": "x" });
    assert_eq!(line.refused("error", unknown), "UnsupportedOperation");
    let nothing = line.refused_publish("/default/x", json!([]));
    assert_eq!(nothing, "InvalidInputError");
    let bad = json!({ "type": "subscribe", "id": "s", "channel": "/a/*/b", "authorization": {} });
    assert_eq!(line.refused("subscribe_error", bad), "InvalidInputError");

    let offered = format!("{PROTOCOL}, header-***");
    let ws = upgrade(broker.addr, &[("sec-websocket-protocol", &offered)]);
    let mut line = Line {
        ws: ws.unwrap_or_else(|response| panic!("no upgrade: {response:?}")),
        recorder,
        shown: json!({}),
    };
    let init = json!({ "type": "connection_init" });
    let error_type = line.refused("connection_error", init);
    assert_eq!(error_type, "BadRequestException");

    assert_eq!(handshake(recorder, &broker, "graphql-ws"), 400);
    recorder.call(broker.addr, "GET", "/event/realtime", None);
}

fn what_contradicts(recorder: &Recorder) {
    let broker = Broker::start();
    let mut line = Line::open(recorder, &broker);
    broker.publish("/chat/a", json!([delta("m", "x"), completed("m")]));
    let late = json!([delta("m", "y").to_string()]);
    let error_type = line.refused_publish("/chat/a", late.clone());
    assert_eq!(error_type, "ConflictException");
    let body = json!({ "channel": "/chat/a", "events": late });
    let response = recorder.call(broker.addr, "POST", "/event", Some(&body));
    assert_eq!(response.status, 409, "{}", response.text());
}

fn what_is_too_much(recorder: &Recorder) {
    let config = "[appsync]\nmax_subscriptions = 1\n[namespace.slow]\npublish_rate = 1\n\
                  publish_burst = 1\n";
    let broker = Broker::configured(config);
    let mut line = Line::open(recorder, &broker);
    line.subscribe("s-1", "/default/x");
    let second = json!({
        "type": "subscribe", "id": "s-2", "channel": "/default/y", "authorization": {},
    });
    let error_type = line.refused("subscribe_error", second);
    assert_eq!(error_type, "MaxSubscriptionsReachedError");
    let large = json!("x".repeat(240 << 10)).to_string();
    let error_type = line.refused_publish("/default/x", json!([large]));
    assert_eq!(error_type, "EventTooLargeException");
    line.publish("/slow/a", json!(["1"]));
    let error_type = line.refused_publish("/slow/a", json!(["2"]));
    assert_eq!(error_type, "LimitExceededError");
    let body = json!({ "channel": "/slow/a", "events": ["3"] });
    let response = recorder.call(broker.addr, "POST", "/event", Some(&body));
    assert_eq!(response.status, 429, "{}", response.text());
}

fn who_may_not(recorder: &Recorder) {
    let broker = Broker::guarded("");
    let mut line = Line::silent(recorder, &broker, token("nonsense"));
    let init = json!({ "type": "connection_init" });
    let error_type = line.refused("connection_error", init);
    assert_eq!(error_type, "UnauthorizedException");
    assert_eq!(line.ws.closed(), 1000);

    // what was allowed with another token than the connection's ends with that token
    let ada = Token::of_all("ada").sign();
    let mut line = Line::open_as(recorder, &broker, &ada);
    line.shown = token(&Token::of_all("ada").expires_in(2).sign());
    line.subscribe("s-1", "/default/x");
    let ended = line.until("subscribe_error");
    assert_eq!(ended["id"], "s-1");
    assert_eq!(ended["errors"][0]["errorType"], "UnauthorizedException");

    let body = json!({ "channel": "/default/x", "events": ["1"] });
    let response = recorder.call(broker.addr, "POST", "/event", Some(&body));
    assert_eq!(response.status, 401, "{}", response.text());

    // a namespace that is not defined is refused without a message
    let strict = Broker::set_up(Setup {
        config: "strict_namespaces = true\n".to_owned(),
        ..Setup::default()
    });
    let mut line = Line::open(recorder, &strict);
    let error_type = line.refused_publish("/other/x", json!(["1"]));
    assert_eq!(error_type, "UnauthorizedException");
}

/// Retention took what a client missed.
fn what_is_gone(recorder: &Recorder) {
    let config = "[limits]\nmax_batch_events = 5\n[namespace.default]\nretention_events = 10\n";
    let broker = Broker::configured(config);
    let mut line = Line::open(recorder, &broker);
    line.subscribe("s-1", "/default/x");
    line.ws.cut();
    eventually("the connection is gone", || {
        (broker.readers("/default/x") == 0).then_some(())
    });
    let publish = |number: u64| {
        let event = json!({ "type": "event", "data": number });
        broker.publish("/default/x", json!([event]));
    };
    (0..20).for_each(publish);
    let mut line = Line::open(recorder, &broker);
    line.subscribe("s-1", "/default/x");
    let told = line.until("broadcast_error");
    assert_eq!(told["errors"][0]["errorType"], "MessageProcessingError");
}

/// Nobody can tell who this is now: its client may come back.
fn what_is_temporary(recorder: &Recorder) {
    let config = "[appsync]\nauthorizer_url = \"http://127.0.0.1:1/\"\n";
    let broker = Broker::guarded(config);
    let known = Token::of_all("ada").sign();
    let mut line = Line::open_as(recorder, &broker, &known);
    line.shown = token("whose-is-this");
    let error_type = line.refused_publish("/default/x", json!(["1"]));
    assert_eq!(error_type, "ServiceUnavailableException");

    let offered = format!("{PROTOCOL}, {}", header_protocol(&token("whose-is-this")));
    assert_eq!(handshake(recorder, &broker, &offered), 503);

    let body = json!({ "channel": "/default/x", "events": ["1"] });
    let shown = [("authorization", "whose-is-this")];
    let response = recorder.call_with(broker.addr, "POST", "/event", &shown, Some(&body));
    assert_eq!(response.status, 503, "{}", response.text());
}

fn posts(recorder: &Recorder) {
    let broker = Broker::start();
    let large = json!("x".repeat(240 << 10)).to_string();
    let body = json!({ "channel": "/default/x", "events": ["1", large] });
    let response = recorder.call(broker.addr, "POST", "/event", Some(&body));
    assert_eq!(response.status, 200, "{}", response.text());
    let six = json!({ "channel": "/default/x", "events": ["1", "2", "3", "4", "5", "6"] });
    let response = recorder.call(broker.addr, "POST", "/event", Some(&six));
    assert_eq!(response.status, 400, "{}", response.text());
}

fn refused_posts(recorder: &Recorder) {
    let broker = Broker::start();
    let long = "x".repeat(33 << 10);
    let much = (8 << 20).to_string();
    let json_type = ("content-type", "application/json");
    for (headers, status) in [
        ([("content-type", "text/plain"), ("x-other", "x")], 415),
        ([json_type, ("origin", "https://evil.example")], 403),
        // both come before the body, the one of every call, the other of this one
        ([json_type, ("x-much", long.as_str())], 413),
        ([json_type, ("content-length", much.as_str())], 413),
    ] {
        let mut http = broker.http();
        let response = match headers[1].0 {
            "content-length" => {
                let head = http.head("POST", "/event", &headers);
                http.wire.send(head.as_bytes());
                http.response()
            }
            _ => http.request("POST", "/event", &headers, b"{}"),
        };
        assert_eq!(response.status, status, "{}", response.text());
        recorder.response("POST", "/event", &response);
    }
}
