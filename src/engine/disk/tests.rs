//! Whatever is said to it, however often it is closed and opened in between: the disk engine has the logs that
//! the memory engine has, which was never closed.

mod bookmarks;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Deliver, DiskEngine, DiskSettings, Sync};
use crate::engine::memory::{MemorySettings, Observer};
use crate::engine::{Engine, EngineError, MemoryEngine, Pending};
use crate::event::{NewEvent, Seq, TopicPath};
use crate::log::idempotency::Producer;
use crate::log::retention::TrimCause;
use crate::log::{Appended, Ending, Publish, Refusal, Retention, SharedLog};

const RETENTION: Retention = Retention {
    events: 12,
    bytes: 1 << 20,
    age: Duration::from_secs(600),
};
const COMPACT_AFTER: Duration = Duration::from_secs(60);
const LET_GO_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
enum Op {
    Publish {
        topic: u8,
        what: Vec<(u8, u8)>,
        producer: Option<(u8, u64)>,
        /// The last publish of this producer again.
        again: bool,
        id: Option<u8>,
    },
    EndRun {
        topic: u8,
        producer: u8,
        epoch: u64,
    },
    Fence {
        topic: u8,
        producer: u8,
        epoch: u64,
    },
    Acknowledge {
        topic: u8,
        seq: u64,
    },
    Delete {
        topic: u8,
    },
    Wait {
        seconds: u64,
    },
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let publish = (
        0..2u8,
        prop::collection::vec((0..6u8, 0..3u8), 1..5),
        prop::option::of((0..2u8, 1..4u64)),
        prop::bool::weighted(0.15),
        prop::option::weighted(0.2, 0..6u8),
    );
    let publish = publish.prop_map(|(topic, what, producer, again, id)| Op::Publish {
        topic,
        what,
        producer,
        again,
        id,
    });
    let run = || (0..2u8, 0..2u8, 1..4u64);
    let op = prop_oneof![
        12 => publish,
        1 => run().prop_map(|(topic, producer, epoch)| Op::EndRun { topic, producer, epoch }),
        1 => run().prop_map(|(topic, producer, epoch)| Op::Fence { topic, producer, epoch }),
        2 => (0..2u8, 1..20u64).prop_map(|(topic, seq)| Op::Acknowledge { topic, seq }),
        1 => (0..2u8).prop_map(|topic| Op::Delete { topic }).boxed(),
        4 => prop::sample::select(vec![0, 2, 2, 2, 61, 130]).prop_map(|seconds| Op::Wait { seconds }),
        3 => Just(Op::Restart),
    ];
    prop::collection::vec(op, 1..60)
}

struct Blind;

impl Observer for Blind {
    fn trimmed(&self, _: &TopicPath, _: TrimCause, _: u64) {}

    fn controls_expired(&self, _: u64) {}
}

struct World {
    folder: tempfile::TempDir,
    clock: Arc<AtomicU64>,
    memory: MemoryEngine,
    disk: Option<DiskEngine>,
    runtime: tokio::runtime::Runtime,
    /// The next seq of each (topic, producer, epoch), and its last publish.
    producers: HashMap<(u8, u8, u64), (u64, Publish)>,
}

type Answer = Result<Result<Appended, Refusal>, EngineError>;

impl World {
    fn new() -> Self {
        let clock = Arc::new(AtomicU64::new(1_000_000));
        let now = clock.clone();
        let memory = MemoryEngine::new(MemorySettings {
            store_epoch: "memorytest".into(),
            clock: Arc::new(move || now.load(Ordering::Relaxed)),
            retention: Arc::new(|_| RETENTION),
            max_bytes: 1 << 30,
            compact_after: COMPACT_AFTER,
            observer: Arc::new(Blind),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let mut world = Self {
            folder: tempfile::tempdir().expect("a folder"),
            clock,
            memory,
            disk: None,
            runtime: runtime.expect("a runtime"),
            producers: HashMap::new(),
        };
        world.restart();
        world
    }

    fn restart(&mut self) {
        self.disk = None;
        let now = self.clock.clone();
        let engine = DiskEngine::open(DiskSettings {
            dir: self.folder.path().join("data"),
            new_epoch: "disktest".into(),
            clock: Arc::new(move || now.load(Ordering::Relaxed)),
            retention: Arc::new(|_| RETENTION),
            max_bytes: 1 << 30,
            cache_bytes: 1 << 20,
            compact_after: COMPACT_AFTER,
            let_go_after: LET_GO_AFTER,
            sync: Sync::Always,
            deliver: Deliver::Durable,
            observer: Arc::new(Blind),
        });
        self.disk = Some(engine.expect("it opens"));
    }

    fn disk(&self) -> &DiskEngine {
        self.disk.as_ref().expect("it is open")
    }

    fn both<T>(&self, ask: impl Fn(&dyn Engine) -> Pending<T>) -> (T, T) {
        let memory = self.runtime.block_on(ask(&self.memory).wait());
        let disk = self.runtime.block_on(ask(self.disk()).wait());
        (memory, disk)
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Publish {
                topic,
                what,
                producer,
                again,
                id,
            } => self.publish(*topic, what, *producer, *again, *id),
            Op::EndRun {
                topic,
                producer,
                epoch,
            } => {
                let ending = Ending::Run {
                    principal: "me".into(),
                    producer: name(*producer),
                    epoch: *epoch,
                };
                let (memory, disk) = self.both(|e| e.end(&path(*topic), ending.clone()));
                assert_eq!(memory, disk);
            }
            Op::Fence {
                topic,
                producer,
                epoch,
            } => {
                let ending = Ending::RunsBefore {
                    principal: "me".into(),
                    producer: name(*producer),
                    epoch: *epoch,
                };
                let (memory, disk) = self.both(|e| e.end(&path(*topic), ending.clone()));
                assert_eq!(memory, disk);
            }
            Op::Acknowledge { topic, seq } => {
                let (memory, disk) = self.both(|e| e.acknowledge(&path(*topic), Seq(*seq)));
                assert_eq!(memory, disk);
            }
            Op::Delete { topic } => {
                let (memory, disk) = self.both(|e| e.delete(&path(*topic)));
                assert_eq!(memory, disk);
                self.producers.retain(|(of, _, _), _| of != topic);
            }
            Op::Wait { seconds } => {
                self.clock.fetch_add(seconds * 1000, Ordering::Relaxed);
                self.memory.sweep();
                self.disk().sweep();
            }
            Op::Restart => self.restart(),
        }
        self.compare();
    }

    fn publish(
        &mut self,
        topic: u8,
        what: &[(u8, u8)],
        producer: Option<(u8, u64)>,
        again: bool,
        id: Option<u8>,
    ) {
        let events: Vec<_> = what
            .iter()
            .map(|(what, message)| event(*what, *message))
            .collect();
        let mut publish = Publish {
            events,
            principal: "me".into(),
            source: None,
            producer: None,
            lease_ms: None,
        };
        if let Some(id) = id {
            let data = json!({ "n": id }).to_string();
            let id: Box<str> = format!("id-{id}").into();
            publish.events =
                vec![NewEvent::build("a.b".into(), Some(id), data.into()).expect("valid")];
        }
        if let Some((number, epoch)) = producer {
            let known = self.producers.get(&(topic, number, epoch));
            let seq = known.map_or(1, |(next, _)| *next);
            publish.source = Some(name(number));
            publish.lease_ms = Some(15_000);
            publish.producer = Some(Producer {
                id: name(number),
                epoch,
                seq: Some(seq),
            });
            if let (true, Some((_, last))) = (again, known) {
                publish = last.clone();
            }
        }
        let (memory, disk) = self.both(|engine| engine.append(&path(topic), publish.clone()));
        same_answer(&publish, &memory, &disk);
        if let (Ok(Ok(appended)), Some((number, epoch))) = (&disk, producer)
            && !appended.duplicate
        {
            let seq = publish.producer.as_ref().and_then(|p| p.seq).unwrap_or(0);
            self.producers
                .insert((topic, number, epoch), (seq + 1, publish));
        }
    }

    fn compare(&self) {
        for topic in 0..2 {
            let (memory, disk) = self.both(|engine| engine.load(&path(topic)));
            let (memory, disk) = (memory.expect("it works"), disk.expect("it works"));
            assert_eq!(memory.map(|log| view(&log)), disk.map(|log| view(&log)));
        }
        let (memory, disk) = self.both(|engine| engine.topics("/", None, 10));
        assert_eq!(memory, disk);
        assert_eq!(
            self.memory.totals().topics,
            self.disk().totals().topics,
            "counted"
        );
        let me: Arc<str> = "me".into();
        for producer in 0..2 {
            let (memory, disk) = self.both(|engine| engine.last_epoch(&me, &name(producer)));
            let (memory, disk) = (memory.expect("it works"), disk.expect("it works"));
            // the disk remembers for longer than any topic is kept
            assert!(disk >= memory, "{memory:?} {disk:?}");
        }
    }
}

/// Of a retry whose events are gone the disk knows that it is one, and not always its seqs.
fn same_answer(publish: &Publish, memory: &Answer, disk: &Answer) {
    match (memory, disk) {
        (Ok(Ok(memory)), Ok(Ok(disk))) => {
            assert_eq!(memory.duplicate, disk.duplicate, "{publish:?}");
            if disk.range.is_some() || !disk.duplicate {
                assert_eq!(memory.range, disk.range, "{publish:?}");
            }
        }
        _ => assert_eq!(memory, disk, "{publish:?}"),
    }
}

fn path(topic: u8) -> TopicPath {
    TopicPath::parse(&format!("/chat/{topic}")).expect("a topic")
}

fn name(producer: u8) -> Arc<str> {
    format!("agent-{producer}").into()
}

fn event(what: u8, message: u8) -> NewEvent {
    let message = format!("m{message}");
    let (name, data) = match what {
        0 | 1 => (
            "token.delta",
            json!({ "message_id": message, "text": "a\"b" }),
        ),
        2 => (
            "message.started",
            json!({ "message_id": message, "model": "x" }),
        ),
        3 => (
            "message.completed",
            json!({ "message_id": message, "text": "the whole" }),
        ),
        4 => ("run.cancel", json!({ "message_id": message })),
        _ => ("a.b", Value::Null),
    };
    let data = bytes::Bytes::from(data.to_string());
    NewEvent::build(name.into(), None, data).expect("valid")
}

/// All of a log that anybody can find out.
fn view(log: &SharedLog) -> (Seq, Seq, Vec<String>, String, Vec<String>, Vec<u64>) {
    let log = log.read();
    let entries = log.entries.iter().map(|entry| {
        let envelope = String::from_utf8_lossy(entry.envelope());
        format!("{} {envelope} {:?}", entry.seq.0, entry.content)
    });
    let open = log.folds().in_order();
    let open = open.iter().map(|fold| format!("{fold:?}"));
    let controls = log.controls().pending().map(|entry| entry.seq.0);
    (
        log.head(),
        log.first(),
        entries.collect(),
        format!("{:?}", log.folds().snapshots(log.head())),
        open.collect(),
        controls.collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_was_said_survives_every_restart(ops in ops()) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
        }
    }
}
