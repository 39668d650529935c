//! Connections of agents: what clients said to them comes in order, and never to who came after it was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidewire::broker::session::{Pumped, Session};
use tidewire::dialect::Wire;
use tidewire::engine::Engine;
use tidewire::event::Seq;

use super::actors::{Work, ready_of};
use super::leases::Line;
use super::processes::{How, Process, Way};
use super::world::{ENCODING, Member, Who, World};
use crate::world::payload;

/// A few control events: an agent that does not read is stopped in the middle of them.
const OUTBOX: usize = 300;
const LEASES: [u64; 4] = [1_000, 2_000, 3_000, 60_000];

pub struct AgentLine {
    pub session: Session<Member>,
    producer: usize,
    pub attached: bool,
    /// It dropped before its attach was answered.
    dropped: bool,
    /// By topic: what was delivered, and what must not be any more.
    heard: BTreeMap<usize, Vec<u64>>,
    forbidden: BTreeMap<usize, BTreeSet<u64>>,
    /// The head of each topic when it came.
    joined: BTreeMap<usize, u64>,
}

impl World {
    pub(super) fn start(&mut self, producer: usize, how: How, again: bool, lease: u8) {
        let latest = self.agents[producer].leases.highest();
        let epoch = match how {
            How::Posting if again && latest > 0 => Some(latest),
            How::Posting => Some(latest + 1),
            _ => (again && latest > 0).then_some(latest),
        };
        let lease = LEASES[lease as usize];
        self.processes
            .push(Process::new(producer, epoch, how, lease));
        let at = self.processes.len() - 1;
        match how {
            How::Attached => self.connect(at),
            How::Posting => {}
            How::Streaming => self.stream(at),
        }
    }

    fn stream(&mut self, at: usize) {
        let Process {
            producer,
            epoch,
            lease,
            ..
        } = self.processes[at];
        match epoch {
            Some(epoch) => {
                // the longest one stands for a stream that does not say
                let lease = (lease < LEASES[3]).then_some(lease);
                if self.open_stream(producer, epoch, lease) {
                    self.processes[at].way = Way::Stream;
                }
            }
            None => {
                self.processes[at].way = Way::Stream;
                self.agents[producer].mailbox.push_back(Work::Attach {
                    process: at,
                    line: None,
                    epoch,
                });
            }
        }
    }

    /// A new connection that attaches at once.
    fn connect(&mut self, at: usize) {
        self.last_line += 1;
        let line = self.last_line;
        let process = &mut self.processes[at];
        let (producer, epoch) = (process.producer, process.epoch);
        process.way = Way::Line(line);
        self.lines.insert(
            line,
            AgentLine {
                session: Session::new(Wire::Native(ENCODING), OUTBOX, 8, Arc::default()),
                producer,
                attached: false,
                dropped: false,
                heard: BTreeMap::new(),
                forbidden: BTreeMap::new(),
                joined: BTreeMap::new(),
            },
        );
        self.agents[producer].mailbox.push_back(Work::Attach {
            process: at,
            line: Some(line),
            epoch,
        });
    }

    pub(super) fn reconnect(&mut self, at: usize) {
        let Some(process) = self.processes.get(at) else {
            return;
        };
        if process.how == How::Attached && process.epoch.is_some() {
            // the connection before this one may not have noticed yet
            self.connect(at);
        }
    }

    pub(super) fn crash(&mut self, at: usize) {
        let now = self.now();
        let Some(process) = self.processes.get_mut(at) else {
            return;
        };
        let way = std::mem::replace(&mut process.way, Way::Nowhere);
        let (producer, epoch) = (process.producer, process.epoch);
        match (way, epoch) {
            (Way::Line(line), _) => self.drop_line(line),
            (Way::Stream, Some(epoch)) => {
                let agent = &mut self.agents[producer];
                agent.runs.close_stream(epoch, now);
                agent.leases.close_stream(epoch, now);
            }
            _ => {}
        }
    }

    pub(super) fn drop_line(&mut self, line: Line) {
        let now = self.now();
        let Some(known) = self.lines.get_mut(&line) else {
            return;
        };
        if !known.attached {
            known.dropped = true;
            return;
        }
        known.session.end();
        let agent = &mut self.agents[known.producer];
        agent.runs.release(&line, now);
        agent.leases.release(line, now);
        self.lines.remove(&line);
        for process in &mut self.processes {
            if process.way == Way::Line(line) {
                process.way = Way::Nowhere;
            }
        }
    }

    pub(super) fn line_attached(&mut self, line: Line) {
        let hubs: Vec<_> = self.topics.iter().map(|topic| topic.hub.clone()).collect();
        let Some(known) = self.lines.get_mut(&line) else {
            return;
        };
        known.attached = true;
        known.session.become_agent();
        for (topic, hub) in hubs.into_iter().enumerate() {
            let model = &self.topics[topic].model;
            let gone = model.gone.union(&model.acknowledged);
            known.forbidden.insert(topic, gone.copied().collect());
            known.joined.insert(topic, model.head);
            let path = self.topics[topic].path.clone();
            let who = Who::Agent(line);
            known.session.follow_controls(path, hub, |key| (who, key));
        }
        if known.dropped {
            return self.drop_line(line);
        }
        self.pump_line(line);
    }

    pub(super) fn pump_line(&mut self, line: Line) {
        if let Some(known) = self.lines.get_mut(&line) {
            while known.session.pump(&mut Vec::new()) == Pumped::More {}
        }
    }

    /// What is gone now must not be delivered from here on.
    pub(super) fn forbid_gone(&mut self, topic: usize) {
        let Self { topics, lines, .. } = self;
        let topic_state = &topics[topic];
        for line in lines.values_mut().filter(|line| line.attached) {
            let pumped = line.session.last_control(&topic_state.path);
            let pumped = pumped.unwrap_or(Seq::ZERO).0;
            let gone = topic_state.model.gone.range(pumped + 1..);
            line.forbidden.entry(topic).or_default().extend(gone);
        }
    }

    pub(super) fn hear(&mut self, line: Line, pieces: usize) {
        for _ in 0..pieces {
            let Some(known) = self.lines.get_mut(&line) else {
                return;
            };
            let Some(piece) = known.session.outbox.pop() else {
                return;
            };
            let frame = payload(&piece, ENCODING);
            assert_eq!(frame["op"], "control", "{frame}");
            let path = frame["topic"].as_str().expect("a topic");
            let at = self.topics.iter().position(|t| t.path.as_str() == path);
            let at = at.expect("a topic of this world");
            let known = self.lines.get_mut(&line).expect("it is here");
            let heard = known.heard.entry(at).or_default();
            for event in frame["events"].as_array().expect("events") {
                let seq = event["seq"].as_u64().expect("a seq");
                assert!(
                    heard.last().is_none_or(|last| *last < seq),
                    "in order: {frame}"
                );
                assert!(
                    !known
                        .forbidden
                        .get(&at)
                        .is_some_and(|gone| gone.contains(&seq)),
                    "control event {seq} was acknowledged, or is of no use any more"
                );
                heard.push(seq);
            }
            self.pump_line(line);
        }
    }

    pub(super) fn hear_of(&mut self, process: usize, pieces: usize) {
        if let Some(Way::Line(line)) = self.processes.get(process).map(|process| process.way) {
            self.hear(line, pieces);
        }
    }

    pub(super) fn acknowledge(&mut self, process: usize, nth: usize) {
        let Some(Way::Line(line)) = self.processes.get(process).map(|process| process.way) else {
            return;
        };
        let Some(known) = self.lines.get(&line) else {
            return;
        };
        let heard = known.heard.iter();
        let mut heard = heard.flat_map(|(topic, seqs)| seqs.iter().map(|seq| (*topic, *seq)));
        let Some((topic, seq)) = heard.nth(nth) else {
            return;
        };
        let path = self.topics[topic].path.clone();
        let model = &self.topics[topic].model;
        let was_pending =
            !model.acknowledged.contains(&seq) && model.kept_controls().any(|kept| kept == seq);
        let known = ready_of(self.engine.acknowledge(&path, Seq(seq)));
        assert_eq!(known, Ok(was_pending), "control event {seq}");
        self.topics[topic].model.acknowledge(seq);
        self.forbid_gone(topic);
    }

    /// Everything that is kept has come to every agent that is attached, but for what was there before it
    /// and is acknowledged.
    pub(super) fn check_controls(&mut self) {
        let lines: Vec<Line> = self.lines.keys().copied().collect();
        for line in lines {
            self.pump_line(line);
            self.hear(line, usize::MAX);
            let known = &self.lines[&line];
            if !known.attached {
                continue;
            }
            for (at, topic) in self.topics.iter().enumerate() {
                let heard = known.heard.get(&at).map_or(&[][..], Vec::as_slice);
                let came_late =
                    |seq| topic.model.acknowledged.contains(&seq) && seq <= known.joined[&at];
                for kept in topic.model.kept_controls() {
                    assert!(
                        heard.contains(&kept) || came_late(kept),
                        "line {line} lacks control event {kept} of {}",
                        topic.path
                    );
                }
            }
        }
    }
}
