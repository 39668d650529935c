//! The mailboxes: how the agent and the topic actors drive the state machines, one message at a time.

use std::collections::VecDeque;

use tidewire::broker::agent::Lease;
use tidewire::broker::agent::runs::{Admission, Runs, Turned};
use tidewire::engine::{Engine, Pending};
use tidewire::event::TopicPath;
use tidewire::log::fold::Owner;
use tidewire::log::{Ending, Refusal};

use super::leases::{Leases, Line};
use super::model::{Expected, Said, Speaker};
use super::processes::Way;
use super::world::{MESSAGE_IDLE_MS, World, producer_name, ready};

/// Forgotten after this long without a run, as the registry does it.
const MEMORY_MS: u64 = 600_000;
/// Endings that another node may repeat.
const ECHOES: usize = 4;

pub enum Work {
    Attach {
        process: usize,
        line: Option<Line>,
        epoch: Option<u64>,
    },
    /// A lease may have ended.
    Look,
}

/// An attach that is answered when the messages of earlier runs have ended.
pub struct Answer {
    process: usize,
    line: Option<Line>,
    epoch: u64,
}

pub struct AgentActor {
    pub runs: Runs<Line>,
    pub leases: Leases,
    /// An attach that waits for the publishes up to this number.
    settling: Option<(u64, Work)>,
    pub mailbox: VecDeque<Work>,
    /// What it is at, before the next work.
    endings: VecDeque<(TopicPath, Ending)>,
    waiting: usize,
    answer: Option<Answer>,
}

pub enum Mail {
    Publish {
        process: Option<usize>,
        said: Said,
        admitted: Result<(), Refusal>,
        /// Counts the publishes that were sent.
        ticket: u64,
    },
    /// `producer`: who waits until it is done.
    End {
        ending: Ending,
        producer: Option<usize>,
    },
}

impl AgentActor {
    pub fn new(now: u64) -> Self {
        Self {
            runs: Runs::new(now),
            leases: Leases::default(),
            settling: None,
            mailbox: VecDeque::new(),
            endings: VecDeque::new(),
            waiting: 0,
            answer: None,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.mailbox.is_empty() && self.is_free()
    }

    fn is_free(&self) -> bool {
        self.endings.is_empty()
            && self.waiting == 0
            && self.answer.is_none()
            && self.settling.is_none()
    }
}

impl World {
    /// One step of an agent: the next ending is on its way, the answer is given, or the next work begins.
    /// `false`: there was nothing to do.
    pub(super) fn step_agent(&mut self, producer: usize) -> bool {
        let agent = &mut self.agents[producer];
        if agent.waiting > 0 {
            return false;
        }
        if let Some((path, ending)) = agent.endings.pop_front() {
            agent.waiting += 1;
            let topic = self.topic_at(&path);
            let producer = Some(producer);
            self.topics[topic]
                .mailbox
                .push_back(Mail::End { ending, producer });
            return true;
        }
        if let Some(answer) = agent.answer.take() {
            self.attached(answer);
            return true;
        }
        if let Some((upto, work)) = agent.settling.take() {
            if self.is_under_way(producer, upto) {
                self.agents[producer].settling = Some((upto, work));
                return false;
            }
            self.attach(producer, work);
            return true;
        }
        match agent.mailbox.pop_front() {
            None => return false,
            Some(Work::Look) => self.end_lost_runs(producer),
            Some(attach) => {
                // nothing that is under way now may land behind it
                agent.runs.settled();
                agent.leases.claimed = 0;
                agent.settling = Some((self.tickets, attach));
            }
        }
        true
    }

    fn is_under_way(&self, producer: usize, upto: u64) -> bool {
        let mut mail = self.topics.iter().flat_map(|topic| &topic.mailbox);
        mail.any(|mail| match mail {
            Mail::Publish { said, ticket, .. } => {
                *ticket <= upto && said.by.is_some_and(|by| by.producer == producer)
            }
            Mail::End { .. } => false,
        })
    }

    fn end_lost_runs(&mut self, producer: usize) {
        let now = self.now();
        let agent = &mut self.agents[producer];
        let lost = agent.runs.expire(now);
        let mut epochs: Vec<u64> = lost.iter().map(|run| run.epoch).collect();
        epochs.sort_unstable();
        assert_eq!(epochs, agent.leases.expire(now), "the runs that are lost");
        for run in lost {
            for topic in run.topics {
                let ending = Ending::Run {
                    principal: "".into(),
                    producer: producer_name(producer),
                    epoch: run.epoch,
                };
                agent.endings.push_back((topic, ending));
            }
        }
    }

    fn attach(&mut self, producer: usize, work: Work) {
        let Work::Attach {
            process,
            line,
            epoch,
        } = work
        else {
            return;
        };
        let now = self.now();
        let lease = self.processes[process].lease;
        let in_logs = self.highest_in_logs(producer);
        let agent = &mut self.agents[producer];
        let known = ready(self.engine.last_epoch(&"".into(), &producer_name(producer)));
        agent.runs.raise_latest(known.expect("memory").unwrap_or(0));
        agent.leases.latest = agent.leases.latest.max(in_logs);
        let length = Lease::from_ms(lease).expect("a lease that is allowed");
        let taken = agent.runs.attach(epoch, line, length, now);
        let Some(expected) = agent.leases.may_attach(epoch) else {
            taken.expect_err("it comes too late");
            return self.attach_refused(process, line);
        };
        let taken = taken.expect("nobody is ahead of it");
        assert_eq!(taken.epoch, expected, "the epoch it is given");
        let mut displaced = taken.displaced;
        displaced.sort_unstable();
        assert_eq!(displaced, agent.leases.attach(expected, line, lease, now));
        for topic in taken.topics {
            let ending = Ending::RunsBefore {
                principal: "".into(),
                producer: producer_name(producer),
                epoch: expected,
            };
            agent.endings.push_back((topic, ending));
        }
        agent.answer = Some(Answer {
            process,
            line,
            epoch: expected,
        });
        self.closing.extend(displaced);
    }

    fn attach_refused(&mut self, process: usize, line: Option<Line>) {
        if let Some(line) = line {
            self.lines.remove(&line);
            let way = &mut self.processes[process].way;
            if *way == Way::Line(line) {
                *way = Way::Nowhere;
            }
        }
    }

    fn attached(&mut self, answer: Answer) {
        let Answer {
            process,
            line,
            epoch,
        } = answer;
        self.check_replaced(self.processes[process].producer, epoch);
        let process = &mut self.processes[process];
        // an attach that was under way when the process crashed is answered to nobody
        let heard = match line {
            Some(line) => process.way == Way::Line(line),
            None => process.way == Way::Stream,
        };
        if heard {
            process.epoch.get_or_insert(epoch);
        }
        match line {
            Some(line) => self.line_attached(line),
            None => {
                let (producer, lease) = (process.producer, process.lease);
                if heard && !self.open_stream(producer, epoch, Some(lease)) {
                    let process = self.processes.iter_mut();
                    for process in
                        process.filter(|p| p.way == Way::Stream && p.epoch == Some(epoch))
                    {
                        if process.producer == producer {
                            process.way = Way::Nowhere;
                        }
                    }
                }
            }
        }
    }

    /// When an attach is answered, nothing of earlier runs is open.
    fn check_replaced(&self, producer: usize, epoch: u64) {
        for topic in &self.topics {
            for (id, message) in topic.model.open() {
                let is_older = message.owner == Some(producer) && message.run < epoch;
                assert!(!is_older, "{id} of a replaced run is open");
            }
        }
    }

    pub(super) fn open_stream(&mut self, producer: usize, epoch: u64, lease: Option<u64>) -> bool {
        let now = self.now();
        let agent = &mut self.agents[producer];
        let length = lease.and_then(Lease::from_ms);
        let opened = agent.runs.open_stream(epoch, length, now);
        assert_eq!(opened.is_ok(), agent.leases.may_publish(epoch, None));
        if opened.is_ok() {
            agent.leases.open_stream(epoch, lease);
        }
        opened.is_ok()
    }

    /// Past its agent, into the mailbox of its topic, in one step.
    pub(super) fn send(
        &mut self,
        topic: usize,
        process: Option<usize>,
        line: Option<Line>,
        said: Said,
    ) {
        let admitted = match said.by {
            None => Ok(()),
            Some(by) => {
                let lease = process
                    .filter(|process| line.is_none() && self.processes[*process].way != Way::Stream)
                    .map(|process| self.processes[process].lease);
                self.admit(by, topic, line, lease, &said)
            }
        };
        self.tickets += 1;
        self.topics[topic].mailbox.push_back(Mail::Publish {
            process,
            said,
            admitted,
            ticket: self.tickets,
        });
    }

    fn admit(
        &mut self,
        by: Speaker,
        topic: usize,
        line: Option<Line>,
        lease: Option<u64>,
        said: &Said,
    ) -> Result<(), Refusal> {
        let now = self.now();
        let opens = said
            .what
            .iter()
            .any(|what| matches!(what, super::model::What::Delta { .. }));
        let path = self.topics[topic].path.clone();
        let agent = &mut self.agents[by.producer];
        let admission = Admission {
            epoch: by.epoch,
            lease: lease.and_then(Lease::from_ms),
            holder: line.as_ref(),
            topic: opens.then_some(&path),
        };
        let admitted = agent.runs.admit(admission, now);
        let may = agent.leases.may_publish(by.epoch, line);
        assert_eq!(admitted.is_ok(), may, "{by:?} on line {line:?}");
        if may {
            agent.leases.publish(by.epoch, lease, opens, now);
        }
        admitted.map(drop).map_err(|turned| match turned {
            Turned::Fenced(fenced) => Refusal::ProducerFenced {
                current: fenced.current,
            },
            Turned::TooManyRuns => Refusal::TooManyRuns,
        })
    }

    pub(super) fn step_topic(&mut self, topic: usize) -> bool {
        match self.topics[topic].mailbox.pop_front() {
            None => return false,
            Some(Mail::Publish {
                process,
                said,
                admitted,
                ..
            }) => match admitted {
                Ok(()) => self.publish(topic, process, said),
                Err(_) => self.refused(topic, process, &said),
            },
            Some(Mail::End { ending, producer }) => {
                self.end(topic, &ending);
                self.echoes.push_front((topic, ending));
                self.echoes.truncate(ECHOES);
                if let Some(producer) = producer {
                    self.agents[producer].waiting -= 1;
                }
            }
        }
        true
    }

    fn publish(&mut self, topic: usize, process: Option<usize>, said: Said) {
        let now = self.now();
        let expected = self.topics[topic].model.expect(&said);
        let path = self.topics[topic].path.clone();
        let answer = ready(self.engine.append(&path, super::world::publish_of(&said)));
        let answer = answer.expect("memory does not fail");
        match expected {
            Expected::Refused(refusal) => {
                assert_eq!(answer, Err(refusal), "{said:?}");
                self.refused(topic, process, &said);
            }
            Expected::Nothing => {
                let answer = answer.expect("a heartbeat");
                assert_eq!((answer.range, answer.duplicate), (None, false));
            }
            Expected::Duplicate(first, last) => {
                let answer = answer.expect("a retry");
                let range = answer.range.map(|(first, last)| (first.0, last.0));
                assert_eq!((range, answer.duplicate), (Some((first, last)), true));
            }
            Expected::Appended => {
                let answer = answer.unwrap_or_else(|why| panic!("{said:?}: {why:?}"));
                let model = &mut self.topics[topic].model;
                let first = model.head + 1;
                model.append(&said, now);
                let range = answer.range.map(|(first, last)| (first.0, last.0));
                assert_eq!(
                    (range, answer.duplicate),
                    (Some((first, model.head)), false)
                );
                self.must_be_recorded(topic, &said);
            }
        }
    }

    fn refused(&mut self, topic: usize, process: Option<usize>, said: &Said) {
        if let Some(process) = process
            && let Some(seq) = said.by.and_then(|by| by.seq)
        {
            self.processes[process].go_back(topic, seq);
        }
    }

    /// Ends what it concerns, and nothing else.
    fn end(&mut self, topic: usize, ending: &Ending) {
        let concerned = self.concerned(topic, ending);
        if let Ending::RunsBefore {
            producer, epoch, ..
        } = ending
        {
            let producer = super::world::producer_number(producer);
            self.topics[topic].model.fence(producer, *epoch);
        }
        let path = self.topics[topic].path.clone();
        let ended = ready(self.engine.end(&path, ending.clone())).expect("memory does not fail");
        assert_eq!(ended, concerned.len(), "{ending:?} ends {concerned:?}");
        self.must_be_interrupted(topic, concerned, ending.reason().as_str());
    }

    fn concerned(&self, topic: usize, ending: &Ending) -> Vec<String> {
        let open = self.topics[topic].model.open();
        let of = |number: &Option<usize>, name: &str| {
            number.is_some_and(|number| *producer_name(number) == *name)
        };
        let concerned = open.filter(|(id, message)| match ending {
            Ending::Run {
                producer, epoch, ..
            } => of(&message.owner, producer) && message.run == *epoch,
            Ending::RunsBefore {
                producer, epoch, ..
            } => of(&message.owner, producer) && message.run < *epoch,
            Ending::Untouched(messages) => messages
                .iter()
                .any(|(known, seq)| **known == ***id && seq.0 == message.last_seq),
        });
        concerned.map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn echo(&mut self, nth: usize) {
        let Some((topic, ending)) = self.echoes.get(nth).cloned() else {
            return;
        };
        // a run that came back to life is not lost on the other node either
        if let Ending::Run {
            producer, epoch, ..
        } = &ending
        {
            let producer = super::world::producer_number(producer);
            if self.agents[producer].leases.is_live(*epoch) {
                return;
            }
        }
        self.end(topic, &ending);
    }

    /// As the broker does it now and then: what is found is ended in its turn.
    pub(super) fn end_idle_messages(&mut self) {
        let now = self.now();
        let before = now.saturating_sub(MESSAGE_IDLE_MS);
        let mut found: Vec<(TopicPath, _, _)> = Vec::new();
        self.engine.idle_messages(before, &mut |path, fold| {
            let is_held = match &fold.owner {
                Owner::Producer(_, name) => {
                    let agent = &self.agents[super::world::producer_number(name)];
                    let held = agent.runs.is_live(fold.run);
                    assert_eq!(held, agent.leases.is_live(fold.run), "a lease on {fold:?}");
                    held
                }
                Owner::Principal(_) => false,
            };
            if !is_held {
                found.push((path.clone(), fold.message.clone(), fold.last_seq));
            }
        });
        for (path, message, seq) in found {
            let topic = self.topic_at(&path);
            let ending = Ending::Untouched(vec![(message, seq)]);
            let producer = None;
            self.topics[topic]
                .mailbox
                .push_back(Mail::End { ending, producer });
        }
    }

    pub(super) fn tidy(&mut self, producer: usize) {
        let now = self.now();
        for (epoch, path) in self.agents[producer].runs.quiet_topics(now) {
            let topic = self.topic_at(&path);
            // what is on its way has arrived long before
            if !self.topics[topic].mailbox.is_empty() {
                continue;
            }
            let mut open = self.topics[topic].model.open();
            let is_open =
                open.any(|(_, message)| message.owner == Some(producer) && message.run == epoch);
            if !is_open {
                self.agents[producer].runs.forget_topic(epoch, &path, now);
            }
        }
    }

    /// An agent that had no run for long is not remembered, but by the logs.
    pub(super) fn forget(&mut self, producer: usize) {
        let now = self.now();
        let agent = &mut self.agents[producer];
        let since = agent.runs.idle_since();
        if agent.is_idle() && since.is_some_and(|since| since + MEMORY_MS <= now) {
            agent.runs = Runs::new(now);
            agent.leases.forget();
        }
    }
}

pub fn ready_of<T>(pending: Pending<T>) -> T {
    match pending {
        Pending::Ready(answer) => answer,
        Pending::Later(_) => panic!("memory answers at once"),
    }
}
