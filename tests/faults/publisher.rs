//! Publishers that repeat what was not acknowledged, with the same producer seq, until it is.

use serde_json::{Value, json};

use crate::life::{Life, patience};
use crate::script::Script;
use crate::support::agent::attach;
use crate::support::{Frame, Http, Ws};

/// The run of a publisher over HTTP.
const HTTP_RUN: u64 = 1;
/// Publishes in flight on a WebSocket.
const IN_FLIGHT: usize = 8;

/// One request after the other, over HTTP: its scripts as they were said.
pub fn over_http(life: &Life, mut scripts: Vec<Script>) -> Vec<Script> {
    let mut line: Option<Http> = None;
    let mut turn = 0;
    while !life.is_over() {
        turn = (turn + 1) % scripts.len();
        let script = &mut scripts[turn];
        let number = script.go_on();
        let body = script.body(number, HTTP_RUN).to_string();
        let answer = loop {
            let mut http = line.take().unwrap_or_else(|| life.broker().http());
            if let Some(response) = try_post(&mut http, &body) {
                line = Some(http);
                break response;
            }
        };
        script.answered(number, &answer);
        life.count_answer();
    }
    scripts
}

/// None: the connection ended without an answer.
fn try_post(http: &mut Http, body: &str) -> Option<Value> {
    let length = body.len().to_string();
    let headers = [
        ("content-type", "application/json"),
        ("content-length", length.as_str()),
    ];
    let head = http.head("POST", "/v1/publish", &headers);
    http.wire.try_send((head + body).as_bytes()).ok()?;
    let response = http.try_response()?;
    assert_eq!(response.status, 200, "{}", response.text());
    Some(response.json())
}

/// Attached over a WebSocket, with many publishes in flight.
pub fn over_ws(life: &Life, scripts: Vec<Script>) -> Vec<Script> {
    let mut agent = Agent {
        waiting: Vec::new(),
        epoch: None,
        scripts,
    };
    let mut line: Option<Ws> = None;
    let mut turn = 0;
    while !(life.is_over() && agent.waiting.is_empty()) {
        let mut ws = line.take().unwrap_or_else(|| agent.connect(life));
        let may_say = agent.waiting.len() < IN_FLIGHT && !life.is_over();
        let lives = if may_say {
            turn = (turn + 1) % agent.scripts.len();
            agent.say(&mut ws, turn)
        } else {
            agent.hear(&mut ws, life)
        };
        line = lives.then_some(ws);
    }
    agent.scripts
}

struct Agent {
    scripts: Vec<Script>,
    /// What was said and not answered: script and batch, the oldest first.
    waiting: Vec<(usize, u64)>,
    epoch: Option<u64>,
}

impl Agent {
    /// Attaches as the same run, and says again what was not answered.
    fn connect(&mut self, life: &Life) -> Ws {
        let broker = life.broker();
        let mut ws = Ws::open(broker.addr);
        let mut producer = json!({ "id": self.scripts[0].who });
        if let Some(epoch) = self.epoch {
            producer["epoch"] = json!(epoch);
        }
        let command = json!({ "producer": producer, "lease_ms": 60_000 });
        self.epoch = Some(attach(&mut ws, command));
        for (script, number) in self.waiting.clone() {
            self.send(&mut ws, script, number);
        }
        ws
    }

    fn send(&self, ws: &mut Ws, script: usize, number: u64) -> bool {
        let epoch = self.epoch.expect("it is attached");
        let mut publish = self.scripts[script].body(number, epoch);
        publish["op"] = json!("publish");
        publish["id"] = json!(format!("{script}/{number}"));
        ws.send_or_lose(&publish)
    }

    fn say(&mut self, ws: &mut Ws, script: usize) -> bool {
        let number = self.scripts[script].go_on();
        self.waiting.push((script, number));
        self.send(ws, script, number)
    }

    /// Waits for one answer. `false`: the connection ended.
    fn hear(&mut self, ws: &mut Ws, life: &Life) -> bool {
        let text = match ws.frame_until(patience()).expect("an answer in time") {
            Frame::Text(text) => text,
            Frame::Close(..) | Frame::End => return false,
            _ => return true,
        };
        let answer = crate::support::ws::parse(&text);
        assert_eq!(answer["op"], "published", "{answer}");
        let id = answer["id"].as_str().expect("an id");
        let (script, number) = id.split_once('/').expect("the id of a publish");
        let said = (script.parse().unwrap(), number.parse().unwrap());
        let at = self.waiting.iter().position(|waiting| *waiting == said);
        self.waiting.remove(at.expect("an answer to what waits"));
        self.scripts[said.0].answered(said.1, &answer);
        life.count_answer();
        true
    }
}
