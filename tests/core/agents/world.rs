//! Topics, agents and readers, the clock, and what happens to them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tidewire::broker::command::ReadOptions;
use tidewire::broker::hub::Hub;
use tidewire::broker::session::{Pumped, Session, SubKey, Terms};
use tidewire::dialect::{Encoding, Wire};
use tidewire::engine::memory::{MemorySettings, Observer};
use tidewire::engine::{Engine, MemoryEngine, Pending};
use tidewire::event::{NewEvent, TopicPath};
use tidewire::log::idempotency::Producer;
use tidewire::log::retention::TrimCause;
use tidewire::log::{Ending, Publish, ReadFrom, Retention};

use super::actors::{AgentActor, Mail, Work, ready_of};
use super::leases::Line;
use super::lines::AgentLine;
use super::model::{Said, Topic, What};
use super::processes::{Process, Way};
use super::readers::Reader;
use super::{Op, Say};
use crate::world::{NoWake, payload};

pub const ENCODING: Encoding = Encoding::Json;
pub const MESSAGE_IDLE_MS: u64 = 6_000;
/// Longer than any lease here.
const ALL_LEASES_MS: u64 = 130_000;
const TOPICS: usize = 2;
const PRODUCERS: usize = 2;
const READERS: usize = 3;
/// Processes that something happens to; older ones keep what they have.
const PROCESSES: usize = 6;

#[derive(Debug, Clone, Copy)]
pub enum Who {
    Recorder,
    Reader(usize),
    Agent(Line),
}

/// How a hub names a member here.
pub type Member = (Who, SubKey);

struct Unobserved;

impl Observer for Unobserved {
    fn trimmed(&self, _: &TopicPath, _: TrimCause, _: u64) {}
    fn controls_expired(&self, _: u64) {}
}

pub struct TopicState {
    pub path: TopicPath,
    pub hub: Option<Rc<Hub<Member>>>,
    /// Reads everything as it comes, to compare it with what must be there.
    recorder: Session<Member>,
    pub mailbox: VecDeque<Mail>,
    pub model: Topic,
}

pub struct World {
    clock: Arc<AtomicU64>,
    pub engine: MemoryEngine,
    pub topics: Vec<TopicState>,
    pub agents: Vec<AgentActor>,
    pub processes: Vec<Process>,
    pub lines: BTreeMap<Line, AgentLine>,
    pub last_line: Line,
    /// Told that somebody took over, and not gone yet.
    pub closing: Vec<Line>,
    pub readers: Vec<Reader>,
    pub echoes: VecDeque<(usize, Ending)>,
    /// Publishes that were sent.
    pub tickets: u64,
    numbers: u64,
}

impl World {
    pub fn new() -> Self {
        let clock = Arc::new(AtomicU64::new(1_000_000));
        let time = clock.clone();
        let retention = Retention {
            events: 100_000,
            bytes: 1 << 30,
            age: Duration::from_secs(1_000_000),
        };
        let engine = MemoryEngine::new(MemorySettings {
            store_epoch: "testtest".into(),
            clock: Arc::new(move || time.load(Ordering::SeqCst)),
            retention: Arc::new(move |_| retention),
            max_bytes: 1 << 30,
            compact_after: Duration::from_millis(400),
            observer: Arc::new(Unobserved),
        });
        let topic = |number: usize| TopicState {
            path: TopicPath::parse(&format!("/chat/{number}")).expect("a topic"),
            hub: None,
            recorder: Session::new(Wire::Native(ENCODING), 1 << 20, 1, Arc::default()),
            mailbox: VecDeque::new(),
            model: Topic::default(),
        };
        let now = clock.load(Ordering::SeqCst);
        Self {
            clock,
            engine,
            topics: (0..TOPICS).map(topic).collect(),
            agents: (0..PRODUCERS).map(|_| AgentActor::new(now)).collect(),
            processes: Vec::new(),
            lines: BTreeMap::new(),
            last_line: 0,
            closing: Vec::new(),
            readers: (0..READERS).map(|_| Reader::default()).collect(),
            echoes: VecDeque::new(),
            tickets: 0,
            numbers: 0,
        }
    }

    pub fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    pub fn fresh_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn fresh_text(&mut self) -> String {
        format!("<{}ü>", self.fresh_number())
    }

    pub fn topic_at(&self, path: &TopicPath) -> usize {
        let at = self.topics.iter().position(|topic| topic.path == *path);
        at.expect("a topic of this world")
    }

    pub fn highest_in_logs(&self, producer: usize) -> u64 {
        let epochs = self
            .topics
            .iter()
            .map(|topic| topic.model.epoch_of(producer));
        epochs.max().unwrap_or(0)
    }

    /// One of the latest processes.
    fn process(&self, nth: u8) -> usize {
        self.processes.len().saturating_sub(PROCESSES) + nth as usize
    }

    pub fn apply(&mut self, op: &Op) {
        match *op {
            Op::Start {
                producer,
                how,
                again,
                lease,
            } => self.start(producer as usize, how, again, lease),
            Op::Crash { process } => self.crash(self.process(process)),
            Op::Reconnect { process } => self.reconnect(self.process(process)),
            Op::Publish {
                process,
                topic,
                slot,
                what,
                numbered,
            } => self.say(self.process(process), topic as usize, slot, what, numbered),
            Op::Retry { process, topic } => {
                let process = self.process(process);
                let last = self.processes.get(process);
                if let Some(said) = last.and_then(|process| process.last(topic as usize)) {
                    self.send(topic as usize, Some(process), None, said);
                }
            }
            Op::Skip { process, topic } => {
                let process = self.process(process);
                if let Some(process) = self.processes.get_mut(process) {
                    process.skip(topic as usize);
                }
            }
            Op::Heartbeat { process, topic } => self.beat(self.process(process), topic as usize),
            Op::Visit { topic, slot, what } => {
                let what = self.words("visitor", topic as usize, slot, what);
                self.send(topic as usize, None, None, Said { by: None, what });
            }
            Op::Control { topic, about } => {
                let message = about.map(|slot| format!("p0.{slot}.0"));
                let what = vec![What::Control { message }];
                self.send(topic as usize, None, None, Said { by: None, what });
            }
            Op::Acknowledge { process, nth } => {
                self.acknowledge(self.process(process), nth as usize)
            }
            Op::Hear { process, pieces } => self.hear_of(self.process(process), pieces as usize),
            Op::Wait { ms } => self.wait(u64::from(ms)),
            Op::WaitLong { seconds } => self.wait_long(u64::from(seconds) * 1000),
            Op::Sweep => self.sweep(),
            Op::Tidy { producer } => self.tidy(producer as usize),
            Op::StepTopic { topic } => drop(self.step_topic(topic as usize)),
            Op::StepAgent { producer } => drop(self.step_agent(producer as usize)),
            Op::Echo { nth } => self.echo(nth as usize),
            Op::Join {
                reader,
                topic,
                from,
                view,
            } => self.join(reader as usize, topic as usize, from, view),
            Op::Cut { reader } => self.cut(reader as usize),
            Op::Read { reader, pieces } => self.read(reader as usize, pieces as usize),
        }
    }

    fn say(&mut self, at: usize, topic: usize, slot: u8, say: Say, numbered: bool) {
        let Some(process) = self.processes.get_mut(at) else {
            return;
        };
        let Some(by) = process.speaker(topic, numbered) else {
            return;
        };
        let owner = match say {
            Say::Others => (by.producer + 1) % PRODUCERS,
            _ => by.producer,
        };
        let what = self.words(&format!("p{owner}"), topic, slot, say);
        let said = Said { by: Some(by), what };
        let process = &mut self.processes[at];
        process.remember(topic, &said);
        let line = match process.way {
            Way::Line(line) if by.seq.is_none() => Some(line),
            _ => None,
        };
        self.send(topic, Some(at), line, said);
    }

    fn beat(&mut self, at: usize, topic: usize) {
        let Some(process) = self.processes.get_mut(at) else {
            return;
        };
        let Some(epoch) = process.epoch else { return };
        let by = super::model::Speaker {
            producer: process.producer,
            epoch,
            seq: None,
        };
        let what = Vec::new();
        self.send(topic, Some(at), None, Said { by: Some(by), what });
    }

    fn wait(&mut self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
        let now = self.now();
        for agent in &mut self.agents {
            let due = agent.runs.next_expiry().is_some_and(|due| due <= now);
            assert_eq!(due, agent.leases.has_expired(now), "a lease has ended");
            if due {
                agent.mailbox.push_back(Work::Look);
            }
        }
        self.show_all();
    }

    /// All leases may run out, and agents without a run may be forgotten.
    fn wait_long(&mut self, ms: u64) {
        self.wait(ms);
        self.settle();
        for producer in 0..self.agents.len() {
            self.forget(producer);
        }
    }

    /// Windows show what they gathered.
    pub fn show_all(&mut self) {
        self.clock.fetch_add(100, Ordering::SeqCst);
        for topic in 0..self.topics.len() {
            let Some(hub) = self.topics[topic].hub.clone() else {
                continue;
            };
            let touched = RefCell::new(Vec::new());
            hub.on_due(self.now(), |member| touched.borrow_mut().push(*member));
            self.pump(touched.into_inner());
            hub.forget_frames();
        }
    }

    fn sweep(&mut self) {
        self.engine.sweep();
        let now = self.now();
        for topic in 0..self.topics.len() {
            self.topics[topic].model.sweep(now);
            self.forbid_gone(topic);
        }
        self.end_idle_messages();
    }

    /// Empties all mailboxes.
    pub fn settle(&mut self) {
        loop {
            let mut moved = false;
            for topic in 0..self.topics.len() {
                while self.step_topic(topic) {
                    moved = true;
                }
            }
            for producer in 0..self.agents.len() {
                moved |= self.step_agent(producer);
            }
            for line in std::mem::take(&mut self.closing) {
                self.drop_line(line);
                moved = true;
            }
            if !moved {
                break;
            }
        }
        self.check_open_messages();
    }

    /// While nothing is under way, somebody holds a lease for every open message of an agent.
    fn check_open_messages(&self) {
        for topic in &self.topics {
            for (id, message) in topic.model.open() {
                let is_leased = message
                    .owner
                    .is_none_or(|producer| self.agents[producer].leases.is_live(message.run));
                assert!(is_leased, "{id} is open, and nobody's lease is on it");
            }
        }
    }

    /// All leases run out, and everybody reads to the end.
    pub fn finish(&mut self) {
        self.settle();
        self.check_controls();
        for process in 0..self.processes.len() {
            self.crash(process);
        }
        let lines: Vec<Line> = self.lines.keys().copied().collect();
        for line in lines {
            self.drop_line(line);
        }
        self.settle();
        self.wait(ALL_LEASES_MS);
        self.settle();
        for topic in &self.topics {
            let mut open = topic.model.open();
            assert!(
                open.all(|(_, message)| message.owner.is_none()),
                "all leases have run out"
            );
        }
        self.wait(MESSAGE_IDLE_MS);
        self.sweep();
        self.settle();
        for topic in &self.topics {
            let open: Vec<_> = topic.model.open().map(|(id, _)| id).collect();
            assert!(open.is_empty(), "still open: {open:?}");
            if let Some(hub) = &topic.hub {
                assert_eq!(hub.log().read().folds().open_count(), 0);
            }
        }
        self.come_back_and_check();
    }

    /// The topic changed: its followers look.
    fn news(&mut self, topic: usize) {
        if self.topics[topic].hub.is_none() {
            self.appear(topic);
        }
        let Some(hub) = self.topics[topic].hub.clone() else {
            return;
        };
        let touched = RefCell::new(Vec::new());
        hub.on_append(self.now(), |member| touched.borrow_mut().push(*member));
        self.pump(touched.into_inner());
    }

    fn appear(&mut self, topic: usize) {
        let path = self.topics[topic].path.clone();
        let Some(log) = ready(self.engine.load(&path)).expect("memory does not fail") else {
            return;
        };
        let hub = Hub::new(
            log.clone(),
            log.follow(Arc::new(NoWake)).expect("not retired"),
        );
        let state = &mut self.topics[topic];
        state.hub = Some(hub.clone());
        let options = Rc::new(ReadOptions::default());
        let hub_of = Some(hub.clone());
        let member = |key| (Who::Recorder, key);
        let from = ReadFrom::Start;
        state.recorder.subscribe(
            path.clone(),
            hub_of,
            &from,
            Terms::unnamed(options, false),
            member,
        );
        for (at, reader) in self.readers.iter_mut().enumerate() {
            if let Some(session) = reader.session() {
                session.appeared(&path, &hub, |key| (Who::Reader(at), key));
            }
        }
        for (line, known) in &mut self.lines {
            known
                .session
                .appeared(&path, &hub, |key| (Who::Agent(*line), key));
        }
    }

    fn pump(&mut self, touched: Vec<Member>) {
        for (who, key) in touched {
            match who {
                Who::Recorder => {}
                Who::Reader(at) => {
                    if let Some(session) = self.readers[at].session() {
                        session.mark_behind(key);
                    }
                }
                Who::Agent(line) => {
                    if let Some(known) = self.lines.get_mut(&line) {
                        known.session.mark_behind(key);
                    }
                }
            }
        }
        for at in 0..self.readers.len() {
            self.pump_reader(at);
        }
        let lines: Vec<Line> = self.lines.keys().copied().collect();
        for line in lines {
            self.pump_line(line);
        }
    }

    /// The events that were appended since the last call.
    fn recorded(&mut self, topic: usize) -> Vec<Value> {
        self.news(topic);
        let recorder = &mut self.topics[topic].recorder;
        recorder.mark_behind(0);
        while recorder.pump(&mut Vec::new()) == Pumped::More {}
        let mut events = Vec::new();
        while let Some(piece) = recorder.outbox.pop() {
            let frame = payload(&piece, ENCODING);
            assert_eq!(frame["op"], "events", "{frame}");
            events.extend(frame["events"].as_array().expect("events").clone());
        }
        events
    }

    /// Exactly this stands in the log now, behind what was there.
    pub(super) fn must_be_recorded(&mut self, topic: usize, said: &Said) {
        self.forbid_gone(topic);
        let events = self.recorded(topic);
        let first = self.topics[topic].model.head + 1 - said.what.len() as u64;
        assert_eq!(events.len(), said.what.len(), "{events:?}");
        let source = said.by.map(|by| producer_name(by.producer));
        for (at, (event, what)) in events.iter().zip(&said.what).enumerate() {
            let (kind, data) = what.event();
            assert_eq!(event["seq"], first + at as u64);
            assert_eq!((&event["type"], &event["data"]), (&kind.into(), &data));
            assert_eq!(event["source"].as_str(), source.as_deref());
        }
    }

    /// The broker ended exactly these.
    pub(super) fn must_be_interrupted(&mut self, topic: usize, ids: Vec<String>, reason: &str) {
        let head = self.topics[topic].model.head;
        for id in &ids {
            self.topics[topic].model.interrupt(id);
        }
        self.forbid_gone(topic);
        let events = self.recorded(topic);
        let mut left: BTreeSet<String> = ids.into_iter().collect();
        for (at, event) in events.iter().enumerate() {
            assert_eq!(event["seq"], head + 1 + at as u64);
            assert_eq!(event["type"], "message.interrupted");
            assert_eq!(
                (&event["data"]["reason"], &event["source"]),
                (&reason.into(), &Value::Null)
            );
            let id = event["data"]["message_id"].as_str().expect("an id");
            assert!(left.remove(id), "{id} was not to be ended");
        }
        assert!(left.is_empty(), "{left:?} should have ended");
    }
}

pub fn producer_name(number: usize) -> Arc<str> {
    format!("p{number}").into()
}

pub fn producer_number(name: &str) -> usize {
    name[1..].parse().expect("a producer of this world")
}

pub fn publish_of(said: &Said) -> Publish {
    let event = |what: &What| {
        let (kind, data) = what.event();
        NewEvent::build(kind.into(), None, Bytes::from(data.to_string())).expect("a valid event")
    };
    Publish {
        events: said.what.iter().map(event).collect(),
        principal: "".into(),
        source: said.by.map(|by| producer_name(by.producer)),
        producer: said.by.map(|by| Producer {
            id: producer_name(by.producer),
            epoch: by.epoch,
            seq: by.seq,
        }),
        lease_ms: None,
    }
}

pub fn ready<T>(pending: Pending<T>) -> T {
    ready_of(pending)
}
