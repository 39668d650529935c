//! The inner parts that are on the way of every event. A case prepares its world once; what it gives back is done again
//! and again, and stays in a steady state.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tidewire::auth::{Action, GrantTexts};
use tidewire::dialect::native_json::decode::{PublishLimits, command};
use tidewire::dialect::{Encoding, Wire};
use tidewire::engine::Engine;
use tidewire::engine::memory::{MemoryEngine, MemorySettings, Observer};
use tidewire::event::cursor::{Cursor, HASH_CHARS, topic_hash, write};
use tidewire::event::{Epoch, NewEvent, Seq, TopicPath, TypeFilter};
use tidewire::log::fold::epoch_of;
use tidewire::log::read::ReadView;
use tidewire::log::retention::TrimCause;
use tidewire::log::{
    Batch, Publish, ReadLimits, ReadState, Reading, Retention, SharedLog, TopicLog,
};

/// A word of an answer, as models give them, and some members around it: about 100 bytes.
const DELTA: &str = r#"{"message_id":"msg_01h9zk3v7q","text":" the quick brown fox jumps over the lazy dog, again"}"#;
/// Deltas of one message before it ends.
const DELTAS: u32 = 500;
/// What a reader that merges gets in one step.
const MERGED: usize = 50;
const TOPICS: usize = 1_000;

type Once = Box<dyn FnMut()>;

pub struct Case {
    pub name: &'static str,
    pub start: fn() -> Once,
}

pub const CASES: &[Case] = &[
    Case {
        name: "decode_publish",
        start: decode_publish,
    },
    Case {
        name: "append",
        start: append,
    },
    Case {
        name: "fold",
        start: fold,
    },
    Case {
        name: "merge_50",
        start: merge,
    },
    Case {
        name: "encode_json",
        start: || encode(Wire::Native(Encoding::Json)),
    },
    Case {
        name: "encode_msgpack",
        start: || encode(Wire::Native(Encoding::Msgpack)),
    },
    Case {
        name: "encode_sse",
        start: || {
            encode(Wire::Sse {
                named: true,
                single: true,
            })
        },
    },
    Case {
        name: "encode_sse_of_many",
        start: || {
            encode(Wire::Sse {
                named: true,
                single: false,
            })
        },
    },
    Case {
        name: "encode_appsync",
        start: || encode(Wire::AppSync),
    },
    Case {
        name: "cursor_parse_10",
        start: cursor_parse,
    },
    Case {
        name: "cursor_write_10",
        start: cursor_write,
    },
    Case {
        name: "grant_check_10",
        start: grant_check,
    },
    Case {
        name: "topic_look_up",
        start: topic_look_up,
    },
];

fn topic(path: &str) -> TopicPath {
    TopicPath::parse(path).expect("a topic")
}

fn publish_of(events: Vec<NewEvent>) -> Publish {
    Publish {
        events,
        principal: "agent".into(),
        source: Some("agent".into()),
        producer: None,
        lease_ms: None,
    }
}

fn event(name: &str, data: &str) -> NewEvent {
    NewEvent::build(name.into(), None, Bytes::copy_from_slice(data.as_bytes())).expect("valid")
}

fn new_log() -> SharedLog {
    let log = TopicLog::new(epoch_of("benchmark", 1), Retention::default(), 0);
    SharedLog::new(topic("/chat/room"), log)
}

/// A publish of one delta, from its bytes on a WebSocket to a command.
fn decode_publish() -> Once {
    let frame = json!({ "op": "publish", "id": 7, "topic": "/chat/room", "events": [
        { "type": "token.delta", "data": serde_json::from_str::<serde_json::Value>(DELTA).expect("JSON") },
    ], "producer": { "id": "agent-1", "epoch": 3, "seq": 77 } });
    let frame = Bytes::from(frame.to_string());
    let limits = PublishLimits {
        max_event_bytes: 256 << 10,
        max_batch_events: 1000,
    };
    Box::new(move || drop(black_box(command(black_box(&frame), limits))))
}

/// An event of no message into a log that is full: one comes, one goes.
fn append() -> Once {
    let log = new_log();
    let publish = publish_of(vec![event("tool.progress", DELTA)]);
    for _ in 0..Retention::default().events {
        drop(log.publish(&publish, 1));
    }
    Box::new(move || drop(black_box(log.publish(black_box(&publish), 1))))
}

/// A delta into a log and into the text of its message.
fn fold() -> Once {
    let log = new_log();
    let delta = publish_of(vec![event("token.delta", DELTA)]);
    let end = publish_of(vec![event(
        "message.completed",
        r#"{"message_id":"msg_01h9zk3v7q"}"#,
    )]);
    let mut deltas = 0;
    Box::new(move || {
        drop(black_box(log.publish(black_box(&delta), 1)));
        deltas += 1;
        if deltas % DELTAS == 0 {
            drop(log.publish(&end, 1));
        }
    })
}

fn batch_of(log: &SharedLog, merge: bool) -> Batch {
    let from = ReadState {
        seq: Seq::ZERO,
        partial: false,
    };
    let filter = TypeFilter::everything();
    let log = log.read();
    match log.read(
        from,
        log.head(),
        ReadView {
            filter: &filter,
            merge,
        },
        ReadLimits::FRAME,
    ) {
        Reading::Batch(batch) => batch,
        other => panic!("no batch: {other:?}"),
    }
}

/// A step of a reader that merges the deltas of its window.
fn merge() -> Once {
    let log = new_log();
    let delta = publish_of(vec![event("token.delta", DELTA)]);
    for _ in 0..MERGED {
        drop(log.publish(&delta, 1));
    }
    Box::new(move || drop(black_box(batch_of(black_box(&log), true))))
}

/// A frame or block of one event, shared by all readers at one position.
fn encode(wire: Wire) -> Once {
    let log = new_log();
    drop(log.publish(&publish_of(vec![event("token.delta", DELTA)]), 1));
    let batch = batch_of(&log, false);
    let (topic, epoch) = (topic("/chat/room"), epoch_of("benchmark", 1));
    let after = ReadState {
        seq: Seq::ZERO,
        partial: false,
    };
    Box::new(move || {
        drop(black_box(wire.batch(
            black_box(&topic),
            &epoch,
            after,
            black_box(&batch),
        )))
    })
}

type Hashes = Vec<[u8; HASH_CHARS]>;

fn ten_hashes() -> Hashes {
    let hashes = (0..10).map(|n| topic_hash(&format!("/chat/room-{n}")));
    hashes.collect()
}

fn cursor_of(hashes: &Hashes, epoch: &Epoch) -> String {
    let mut out = String::new();
    let entries = hashes
        .iter()
        .map(|hash| (*hash, epoch, Seq(123_456), false));
    write(&mut out, entries);
    out
}

/// What a browser's EventSource comes back with, for ten topics.
fn cursor_parse() -> Once {
    let text = cursor_of(&ten_hashes(), &epoch_of("benchmark", 1));
    Box::new(move || drop(black_box(Cursor::parse(black_box(&text)))))
}

/// The `id:` of a block for a reader of ten topics.
fn cursor_write() -> Once {
    let (hashes, epoch) = (ten_hashes(), epoch_of("benchmark", 1));
    Box::new(move || drop(black_box(cursor_of(black_box(&hashes), &epoch))))
}

/// Ten patterns, of which the last one allows.
fn grant_check() -> Once {
    let subscribe = (0..10).map(|n| format!("/chat/room-{n}/*")).collect();
    let texts = GrantTexts {
        subscribe,
        ..GrantTexts::default()
    };
    let grants = texts.compile("ada").expect("valid");
    let asked = topic("/chat/room-9/talk");
    Box::new(move || {
        black_box(black_box(&grants).allow(Action::Subscribe, black_box(&asked)));
    })
}

/// Nobody looks.
struct Blind;

impl Observer for Blind {
    fn trimmed(&self, _: &TopicPath, _: TrimCause, _: u64) {}
    fn controls_expired(&self, _: u64) {}
}

/// One of a thousand topics, found by its name.
fn topic_look_up() -> Once {
    let engine = MemoryEngine::new(MemorySettings {
        store_epoch: "benchmark".into(),
        clock: Arc::new(|| 1),
        retention: Arc::new(|_| Retention::default()),
        max_bytes: 1 << 30,
        compact_after: std::time::Duration::from_secs(60),
        observer: Arc::new(Blind),
    });
    let topics: Vec<_> = (0..TOPICS)
        .map(|n| topic(&format!("/chat/room-{n}")))
        .collect();
    for topic in &topics {
        drop(engine.append(topic, publish_of(vec![event("tool.progress", DELTA)])));
    }
    let mut at = 0;
    Box::new(move || {
        at = (at + 619) % TOPICS;
        drop(black_box(engine.load(black_box(&topics[at]))));
    })
}
