//! Agents attached over a WebSocket: killed with a reset in the middle of what they say, and back within
//! their lease, after it, as a new run, or two at once.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use super::ledger::{Key, Ledger, add, clock};
use super::topic_name;
use crate::support::events::{completed, tokens};
use crate::support::ws::{FIN_TEXT, masked};
use crate::support::{Frame, PATIENCE, Ws};

/// Open messages of one agent.
const MESSAGES: usize = 5;
/// The broker notices the end of a connection a little later than the agent caused it.
const SLACK: u64 = 100;

pub struct Agent<'a> {
    addr: SocketAddr,
    pub name: String,
    ledger: &'a Ledger,
    rng: Rng,
    topics: Vec<usize>,
    pub lease: u64,
    open: Vec<(Key, u64)>,
    next_message: u64,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Killed,
    /// Somebody else is this agent now.
    Replaced,
}

impl<'a> Agent<'a> {
    pub fn new(addr: SocketAddr, number: usize, ledger: &'a Ledger, mut rng: Rng) -> Agent<'a> {
        let topics = (0..3).map(|_| rng.usize(..super::TOPICS)).collect();
        Agent {
            addr,
            name: format!("agent-{number}"),
            ledger,
            topics,
            lease: rng.u64(1000..3000),
            rng,
            open: Vec::new(),
            next_message: 0,
        }
    }

    /// Until the whole process is killed. `life`: its messages are named after it.
    pub fn run_until_killed(&mut self, life: u64) {
        self.next_message = life * 100_000;
        let (mut ws, _) = self.attach(None);
        let long = Instant::now() + Duration::from_secs(3600);
        self.live(&mut ws, long);
    }

    pub fn run(&mut self) {
        let (mut ws, mut epoch) = self.attach(None);
        loop {
            let until = Instant::now() + Duration::from_millis(self.rng.u64(300..4000));
            let alive = self.live(&mut ws, until);
            assert_eq!(alive, Life::Killed, "{} was replaced by nobody", self.name);
            if self.ledger.is_ending() {
                return self.leave(ws);
            }
            if self.rng.u8(..6) == 0 {
                (ws, epoch) = self.be_two(ws, epoch);
                continue;
            }
            self.say_without_listening(&mut ws);
            ws.cut();
            let killed = clock();
            add(&self.ledger.counts.killed);
            for (key, _) in &self.open {
                self.ledger.killed(key, killed, self.lease);
            }
            let (counter, pause, same) = match self.rng.u8(..3) {
                0 => (
                    &self.ledger.counts.within,
                    self.rng.u64(..self.lease / 2),
                    true,
                ),
                1 => (&self.ledger.counts.after, self.lease + 1500, true),
                _ => (&self.ledger.counts.anew, self.rng.u64(..500), false),
            };
            add(counter);
            std::thread::sleep(Duration::from_millis(pause));
            (ws, epoch) = self.attach(same.then_some(epoch));
            let in_time = same && clock() < killed + self.lease - SLACK;
            self.take_up(&mut ws, in_time, same);
        }
    }

    fn attach(&self, epoch: Option<u64>) -> (Ws, u64) {
        let mut ws = Ws::open(self.addr);
        let mut producer = json!({ "id": self.name });
        if let Some(epoch) = epoch {
            producer["epoch"] = json!(epoch);
        }
        let attach = json!({ "op": "attach", "producer": producer, "lease_ms": self.lease,
                             "control": [topic_name(self.topics[0])], "demand": [topic_name(self.topics[0])] });
        let answer = ask(&mut ws, attach).expect("the answer to an attach");
        assert_eq!(answer["op"], "attached", "{answer}");
        add(&self.ledger.counts.attached);
        (ws, answer["epoch"].as_u64().expect("an epoch"))
    }

    /// Says something now and then until it is killed.
    fn live(&mut self, ws: &mut Ws, until: Instant) -> Life {
        while Instant::now() < until && !self.ledger.is_ending() {
            std::thread::sleep(Duration::from_millis(self.rng.u64(10..80)));
            let at = self.message();
            if self.rng.u8(..30) == 0 {
                let (key, _) = self.open.swap_remove(at);
                self.ledger.completed(&key);
                match self.publish(ws, &key, json!([completed(&key.1)])) {
                    Ok(answer) => assert_eq!(answer["op"], "published", "{key:?}: {answer}"),
                    Err(life) => return life,
                }
                continue;
            }
            let (key, said) = self.open[at].clone();
            let more = said + self.rng.u64(1..4);
            self.ledger.sent(&key, more);
            match self.publish(ws, &key, tokens(&key.1, said..more)) {
                Ok(answer) => {
                    assert_eq!(answer["op"], "published", "{key:?}: {answer}");
                    self.ledger.acked(&key, more);
                    self.open[at].1 = more;
                }
                Err(life) => return life,
            }
        }
        Life::Killed
    }

    /// One that is open, or a new one.
    fn message(&mut self) -> usize {
        if self.open.len() < MESSAGES && self.rng.u8(..4) == 0 || self.open.is_empty() {
            self.next_message += 1;
            let topic = self.topics[self.rng.usize(..self.topics.len())];
            let id = format!("{}.{}", self.name, self.next_message);
            self.open.push(((topic, id), 0));
            return self.open.len() - 1;
        }
        self.rng.usize(..self.open.len())
    }

    fn publish(&self, ws: &mut Ws, key: &Key, events: Value) -> Result<Value, Life> {
        let topic = topic_name(key.0);
        let publish = json!({ "op": "publish", "topic": topic, "events": events });
        ask(ws, publish).map_err(|code| {
            assert_eq!(
                code, 4409,
                "{}: a connection ended without reason",
                self.name
            );
            Life::Replaced
        })
    }

    /// What is on its way when it is killed may be kept or not.
    fn say_without_listening(&mut self, ws: &mut Ws) {
        for (key, said) in &mut self.open {
            if self.rng.bool() {
                *said += 1;
                self.ledger.sent(key, *said);
                let events = tokens(&key.1, *said - 1..*said);
                let publish = json!({ "op": "publish", "id": "last", "topic": topic_name(key.0), "events": events });
                let frame = masked(FIN_TEXT, publish.to_string().as_bytes());
                let _ = ws.wire.try_send(&frame);
            }
        }
    }

    /// Whether the messages of before are still there: within the lease they must be. What was said last may
    /// be missing, so nothing is added to them: they are ended.
    fn take_up(&mut self, ws: &mut Ws, in_time: bool, same: bool) {
        for (key, said) in std::mem::take(&mut self.open) {
            let acked = self.ledger.acked_of(&key);
            if in_time && acked == said && said > 0 {
                let answer = self.publish(ws, &key, tokens(&key.1, said..said + 1));
                self.ledger.sent(&key, said + 1);
                let answer = answer.expect("attached");
                assert_eq!(
                    answer["op"], "published",
                    "within the lease: {key:?} {answer}"
                );
                self.ledger.acked(&key, said + 1);
                self.ledger.came_back(&key);
                self.open.push((key, said + 1));
                continue;
            }
            let end = json!([completed(&key.1)]);
            if in_time || said == 0 {
                // whether the broker ever heard of it nobody knows
                self.ledger.completed(&key);
                let answer = self.publish(ws, &key, end).expect("attached");
                let ended = answer["code"] == "message_ended";
                assert!(answer["op"] == "published" || ended && !in_time, "{answer}");
                continue;
            }
            if acked > 0 {
                let answer = self.publish(ws, &key, end).expect("attached");
                if same && answer["op"] == "published" {
                    // late by the agent's clock, in time by the broker's
                    self.ledger.completed(&key);
                    continue;
                }
                assert_eq!(answer["code"], "message_ended", "{key:?} {answer}");
                add(&self.ledger.counts.told_ended);
            }
        }
    }

    /// A second process of the same name starts while the first one speaks: exactly one goes on.
    fn be_two(&mut self, mut first: Ws, epoch: u64) -> (Ws, u64) {
        add(&self.ledger.counts.twice);
        let (mut second, later) = self.attach(None);
        assert!(later > epoch, "{later} after {epoch}");
        // the first does not know it yet
        let key = self.open.first().map(|(key, _)| key.clone());
        let key = key.unwrap_or((self.topics[0], format!("{}.nothing", self.name)));
        let publish =
            json!({ "op": "publish", "topic": topic_name(key.0), "events": [completed(&key.1)] });
        match ask(&mut first, publish) {
            Ok(answer) => {
                assert_eq!(answer["code"], "producer_fenced", "{answer}");
                add(&self.ledger.counts.fenced);
                assert_eq!(first.closed(), 4409);
            }
            Err(code) => assert_eq!(code, 4409),
        }
        add(&self.ledger.counts.displaced);
        self.take_up(&mut second, false, false);
        (second, later)
    }

    /// Some say goodbye, the others are lost.
    fn leave(&mut self, mut ws: Ws) {
        if self.rng.bool() {
            for (key, _) in std::mem::take(&mut self.open) {
                self.ledger.completed(&key);
                let end = json!([completed(&key.1)]);
                let answer = self.publish(&mut ws, &key, end).expect("attached");
                assert_eq!(answer["op"], "published", "{answer}");
            }
        }
        ws.cut();
        for (key, _) in &self.open {
            self.ledger.killed(key, clock(), self.lease);
        }
        self.ledger.counts.killed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends a command and waits for its answer; `Err`: the connection ended, with this code.
pub fn ask(ws: &mut Ws, mut command: Value) -> Result<Value, u16> {
    let id = fastrand::u32(..);
    command["id"] = json!(id);
    let frame = masked(FIN_TEXT, command.to_string().as_bytes());
    // where it cannot be sent, what came before tells why
    let _ = ws.wire.try_send(&frame);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ws.frame_until(deadline) {
            Some(Frame::Text(text)) => {
                let answer = crate::support::ws::parse(&text);
                if answer["id"] == id {
                    return Ok(answer);
                }
            }
            Some(Frame::Close(code, _)) => return Err(code),
            Some(Frame::End) => return Err(1006),
            Some(_) => {}
            None => panic!("no answer within {PATIENCE:?} to {command}"),
        }
    }
}
