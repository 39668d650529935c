//! Readers that never say what they have: whatever happens between deliveries, marks, answers and cuts, a reader
//! that comes back with nothing but its label misses nothing, in order, and is sent again only what it had got since
//! the last mark that it answered.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use tidewire::broker::command::ReadOptions;
use tidewire::broker::hub::Hub;
use tidewire::broker::session::{Pumped, Session, SubKey, Terms};
use tidewire::dialect::Wire;
use tidewire::dialect::ws_frame::{Declared, declared};
use tidewire::event::{NewEvent, Position, TopicPath};
use tidewire::log::fold::epoch_of;
use tidewire::log::{Publish, ReadFrom, Retention, SharedLog, TopicLog};

use crate::world::NoWake;

const LABELS: [&str; 2] = ["first", "second"];
/// What the client is told when it is subscribed.
const BEGUN: [&str; 2] = ["first begins", "second begins"];

#[derive(Debug, Clone)]
enum Op {
    Publish { count: u8 },
    Subscribe { label: usize },
    Unsubscribe { label: usize },
    Read { pieces: u8 },
    Mark,
    Answer,
    Cut,
}

/// What the client got under one label.
#[derive(Debug, Default)]
struct Heard {
    /// It is subscribed (and will be again after a cut).
    wanted: bool,
    /// The last event it got; `None`: none yet, whatever comes first is right.
    last: Option<u64>,
    /// The last one on this connection.
    here: Option<u64>,
    /// It may be sent again what is behind this: where it stood at the last mark that it answered.
    certain: Option<u64>,
    /// The next event begins a connection.
    resumes: bool,
    /// Its subscriptions that it was not told of yet: what comes before the last one's answer is of an earlier one.
    untold: usize,
}

struct World {
    topic: TopicPath,
    log: Arc<SharedLog>,
    hub: Rc<Hub<SubKey>>,
    session: Session<SubKey>,
    head: u64,
    kept: BTreeMap<String, Vec<(TopicPath, Position)>>,
    heard: [Heard; 2],
    /// Of marks on their way and answers that wait: what the client had under each label.
    under_way: bool,
    answers: VecDeque<[Option<u64>; 2]>,
}

impl World {
    fn new() -> Self {
        let topic = TopicPath::parse("/ns/room").expect("a topic");
        let log = TopicLog::new(epoch_of("storetest", 1), Retention::default(), 0);
        let log = Arc::new(SharedLog::new(topic.clone(), log));
        let hub = Hub::new(log.clone(), log.follow(Arc::new(NoWake)).expect("alive"));
        Self {
            topic,
            log,
            hub,
            session: new_session(),
            head: 0,
            kept: BTreeMap::new(),
            heard: [Heard::default(), Heard::default()],
            under_way: false,
            answers: VecDeque::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Publish { count } => self.publish(count),
            Op::Subscribe { label } if !self.heard[label].wanted => {
                self.heard[label] = Heard {
                    wanted: true,
                    untold: self.heard[label].untold,
                    ..Heard::default()
                };
                self.kept.remove(LABELS[label]);
                self.subscribe(label);
            }
            Op::Subscribe { .. } => {}
            Op::Unsubscribe { label } => {
                if std::mem::take(&mut self.heard[label].wanted) {
                    let label = Some(LABELS[label].into());
                    self.session.unsubscribe(&self.topic, &label);
                }
            }
            Op::Read { pieces } => (0..pieces).for_each(|_| self.read()),
            Op::Mark => {
                if !self.under_way && self.session.mark() {
                    self.under_way = true;
                    self.session.notice(Bytes::from_static(b"mark"));
                }
            }
            Op::Answer => self.answer(),
            Op::Cut => self.cut(),
        }
    }

    fn publish(&mut self, count: u8) {
        let event = |n: u64| NewEvent::build("event".into(), None, n.to_string().into());
        let numbers = self.head + 1..=self.head + u64::from(count);
        let publish = Publish {
            events: numbers.map(|n| event(n).expect("valid")).collect(),
            principal: "".into(),
            source: None,
            producer: None,
            lease_ms: None,
        };
        let (answer, _) = self.log.publish(&publish, 1).expect("not erased");
        answer.expect("kept");
        self.head += u64::from(count);
        let Self { hub, session, .. } = self;
        hub.on_append(1, |key| session.mark_behind(*key));
    }

    fn subscribe(&mut self, label: usize) {
        let kept = self.kept.get(LABELS[label]);
        let from = kept.and_then(|kept| kept.first());
        let from = from.map_or(ReadFrom::Live, |(_, at)| ReadFrom::After(at.clone()));
        let name: Rc<str> = LABELS[label].into();
        let terms = Terms {
            options: Rc::new(ReadOptions::default()),
            by_pattern: false,
            label: Some(name.clone()),
            held: true,
        };
        let hub = Some(self.hub.clone());
        self.session
            .subscribe(self.topic.clone(), hub, &from, terms, |key| key);
        self.heard[label].certain.get_or_insert(self.head);
        let had = self.session.had_under(&name);
        self.kept.insert(LABELS[label].to_owned(), had);
        self.heard[label].untold += 1;
        self.heard[label].here = None;
        self.session.notice(BEGUN[label].into());
        self.session.release(&Some(name));
    }

    fn read(&mut self) {
        while self.session.pump(&mut Vec::new()) == Pumped::More {}
        let Some(piece) = self.session.outbox.pop() else {
            return;
        };
        if &piece[..] == b"mark" {
            let had = [0, 1].map(|label| self.heard[label].here);
            return self.answers.push_back(had);
        }
        if let Some(label) = BEGUN.iter().position(|begun| piece == *begun) {
            self.heard[label].untold -= 1;
            return;
        }
        for text in payloads(&piece) {
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            let number = frame["event"].as_str().expect("a text").parse::<u64>();
            let label = LABELS.iter().position(|label| frame["id"] == *label);
            self.hear(label.expect("a label"), number.expect("a number"));
        }
    }

    fn hear(&mut self, label: usize, number: u64) {
        let heard = &mut self.heard[label];
        if !heard.wanted || heard.untold > 0 {
            return;
        }
        let certain = heard.certain.unwrap_or(0);
        if std::mem::take(&mut heard.resumes) {
            assert!(
                number > certain,
                "{number} again, and {certain} was certain"
            );
            let next = heard.last.unwrap_or(certain) + 1;
            assert!(number <= next, "{number} came, and {next} was missed");
        } else if let Some(last) = heard.last {
            assert_eq!(number, last + 1);
        } else {
            assert_eq!(number, certain + 1, "the first one");
        }
        heard.last = Some(number);
        heard.here = Some(number);
    }

    /// The answer to a mark reaches the broker.
    fn answer(&mut self) {
        let Some(had) = self.answers.pop_front() else {
            return;
        };
        self.under_way = false;
        for (label, had) in had.into_iter().enumerate() {
            let heard = &mut self.heard[label];
            if heard.wanted && had.is_some() {
                heard.certain = had.max(heard.certain);
            }
        }
        for (label, positions) in self.session.confirm() {
            self.kept.insert(label.to_string(), positions);
        }
    }

    /// What was on its way is lost, in both directions.
    fn cut(&mut self) {
        self.session.end();
        self.session = new_session();
        self.answers.clear();
        self.under_way = false;
        for label in 0..2 {
            self.heard[label].untold = 0;
            if self.heard[label].wanted {
                self.heard[label].resumes = true;
                self.subscribe(label);
            }
        }
    }

    fn settle_and_check(&mut self) {
        self.cut();
        self.publish(1);
        while self.session.has_news() || !self.session.outbox.is_empty() {
            self.read();
        }
        for heard in self.heard.iter().filter(|heard| heard.wanted) {
            assert_eq!(heard.last, Some(self.head));
        }
    }
}

/// An outbox of a few events, so that it is full in the middle of everything.
fn new_session() -> Session<SubKey> {
    Session::new(Wire::AppSync, 200, 8, Arc::default())
}

/// The payloads of frames that stand behind each other.
fn payloads(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let Declared::Payload(length) = declared(bytes) else {
            panic!("half a frame");
        };
        let header = match bytes[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let end = header + length as usize;
        texts.push(String::from_utf8_lossy(&bytes[header..end]).into_owned());
        bytes = &bytes[end..];
    }
    texts
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1u8..6).prop_map(|count| Op::Publish { count }),
        2 => (0usize..2).prop_map(|label| Op::Subscribe { label }),
        1 => (0usize..2).prop_map(|label| Op::Unsubscribe { label }),
        6 => (1u8..5).prop_map(|pieces| Op::Read { pieces }),
        3 => Just(Op::Mark),
        3 => Just(Op::Answer),
        2 => Just(Op::Cut),
    ]
}

/// What was on its way under a label is not taken for what comes after it is used again.
#[test]
fn an_earlier_subscription_under_the_same_label_is_not_mistaken_for_the_new_one() {
    let mut world = World::new();
    for op in [
        Op::Subscribe { label: 1 },
        Op::Subscribe { label: 0 },
        Op::Publish { count: 2 },
        Op::Read { pieces: 1 },
        Op::Unsubscribe { label: 0 },
        Op::Subscribe { label: 0 },
        Op::Read { pieces: 8 },
    ] {
        world.apply(&op);
    }
    world.settle_and_check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_never_says_what_it_has_misses_nothing(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.settle_and_check();
    }
}
