//! A file system that fills up, and is freed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::history;
use crate::mount::Mount;
use crate::setup::{chance, on_disk};
use crate::support::agent::produced;
use crate::support::{Ask, BOTH, Broker, Follower, eventually, note};

const MIB: u64 = 1 << 20;
/// Within that long after there is room again, publishes work.
const RECOVERY: Duration = Duration::from_secs(5);
const KEEPS_ALL: &str = "defaults.retention_bytes = '512MiB'";
const TOPIC: &str = "/full/topic";

/// A producer that says each thing until it was acknowledged.
struct Producer {
    seq: u64,
    waiting: Option<Value>,
    /// The numbers of the notes that were acknowledged.
    acknowledged: Vec<u64>,
    payload: String,
}

impl Producer {
    fn new(bytes: usize) -> Producer {
        Producer {
            seq: 0,
            waiting: None,
            acknowledged: Vec::new(),
            payload: std::iter::repeat_with(fastrand::alphanumeric)
                .take(bytes)
                .collect(),
        }
    }

    /// Says the next thing, or what waits: the code if it was refused.
    fn publish(&mut self, broker: &Broker) -> Result<(), String> {
        let events = self.waiting.take().unwrap_or_else(|| {
            self.seq += 1;
            let data = json!({ "n": self.seq, "payload": self.payload });
            json!([{ "type": "note.taken", "data": data }])
        });
        let body = produced(TOPIC, "producer", (1, self.seq), events.clone());
        let response = broker.post("/v1/publish", &body.to_string());
        if response.status == 200 {
            self.acknowledged.push(self.seq);
            return Ok(());
        }
        self.waiting = Some(events);
        let problem = response.problem();
        assert_eq!(response.status, 503, "{problem}");
        Err(problem["code"].as_str().expect("a code").to_owned())
    }

    fn until_it_works(&mut self, broker: &Broker) -> Duration {
        let begin = Instant::now();
        eventually("a publish that works again", || self.publish(broker).ok());
        let took = begin.elapsed();
        assert!(took < RECOVERY, "it took {took:?}");
        took
    }
}

#[test]
fn a_full_file_system_refuses_publishes_until_there_is_room() {
    let Some(mount) = Mount::tmpfs("160m") else {
        return;
    };
    let mut broker = Broker::set_up(on_disk(&mount.data(), KEEPS_ALL, &[]));
    let mut producer = Producer::new(1000);
    for _ in 0..50 {
        producer.publish(&broker).expect("there is room");
    }
    let mut readers = BOTH.map(|transport| {
        let ask = Ask::topic(TOPIC).from("start");
        Follower::open(transport, broker.addr, ask)
    });

    mount.leave(60 * MIB);
    let code = eventually("a publish that is refused", || {
        producer.publish(&broker).err()
    });
    assert_eq!(code, "storage_unavailable");
    let refused = broker.refused(&json!({ "topic": "/full/new", "events": [note(1)] }));
    assert_eq!(refused["code"], "storage_unavailable", "{refused}");
    assert!(refused["retry_after_ms"].is_u64(), "{refused}");
    let ready = broker.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("is full"), "{}", ready.text());
    assert_eq!(
        history::read(&broker, TOPIC).head,
        producer.acknowledged.len() as u64
    );
    let mut late = Follower::open(BOTH[0], broker.addr, Ask::topic(TOPIC).from("start"));
    late.until_seq(TOPIC, producer.acknowledged.len() as u64);

    mount.free_it();
    println!(
        "it worked again after {:.1?}",
        producer.until_it_works(&broker)
    );
    assert_eq!(broker.get("/readyz").status, 200);
    is_all_there(&mut broker, &producer, &mut readers);
}

#[test]
fn a_write_that_finds_no_room_is_of_unknown_outcome_and_the_store_recovers() {
    let Some(mount) = Mount::tmpfs("192m") else {
        return;
    };
    let mut rng = chance("full");
    let mut broker = Broker::set_up(on_disk(&mount.data(), KEEPS_ALL, &[]));
    let mut producer = Producer::new(200 << 10);
    producer.publish(&broker).expect("there is room");
    let mut readers = BOTH.map(|transport| {
        let ask = Ask::topic(TOPIC).from("start");
        Follower::open(transport, broker.addr, ask)
    });
    let mut unknown = 0;
    for _ in 0..20 {
        // the broker looks at the room now and then: filled between two looks, it is the write that fails
        producer.publish(&broker).expect("there is room");
        mount.leave(rng.u64(..2 * MIB));
        let code = eventually("a publish that is refused", || {
            producer.publish(&broker).err()
        });
        match code.as_str() {
            "storage_unavailable" => {}
            "outcome_unknown" => {
                unknown += 1;
                eventually("a word about it in the log", || {
                    let failures = broker.stderr().matches("the store failed").count();
                    (failures as u64 >= unknown).then_some(())
                });
            }
            other => panic!("{other}"),
        }
        eventually("it not to be ready", || {
            (broker.get("/readyz").status == 503).then_some(())
        });
        assert!(history::read(&broker, TOPIC).head >= producer.acknowledged.len() as u64);
        mount.free_it();
        producer.until_it_works(&broker);
        if unknown >= 3 {
            break;
        }
    }
    println!("{unknown} writes found no room");
    assert!(unknown > 0, "no write ever found no room");
    is_all_there(&mut broker, &producer, &mut readers);
}

/// New files find no room although there are bytes: the store fails in the middle of its own work.
#[test]
fn a_store_that_cannot_make_files_recovers() {
    let Some(mount) = Mount::tmpfs("512m") else {
        return;
    };
    let mut broker = Broker::set_up(on_disk(&mount.data(), KEEPS_ALL, &[]));
    let mut producer = Producer::new(200 << 10);
    producer.publish(&broker).expect("there is room");
    let mut readers = BOTH.map(|transport| {
        let ask = Ask::topic(TOPIC).from("start");
        Follower::open(transport, broker.addr, ask)
    });
    let taken = std::process::Command::new("df")
        .args(["--output=iused"])
        .arg(mount.path())
        .output()
        .unwrap();
    let taken = String::from_utf8(taken.stdout).unwrap();
    let taken: u64 = taken.lines().last().unwrap().trim().parse().unwrap();
    mount.remount(&format!("nr_inodes={taken}")).unwrap();
    let refused = (0..400).find_map(|_| producer.publish(&broker).err());
    println!(
        "refused: {refused:?} after {} publishes",
        producer.acknowledged.len()
    );
    let begin = Instant::now();
    mount.remount("nr_inodes=100000").unwrap();
    producer.until_it_works(&broker);
    println!("it worked again after {:.1?}", begin.elapsed());
    assert!(
        broker.stderr().contains("the store failed"),
        "no file was to be made"
    );
    is_all_there(&mut broker, &producer, &mut readers);
}

/// Through all of it readers stayed connected; and a start finds what was acknowledged.
fn is_all_there(broker: &mut Broker, producer: &Producer, readers: &mut [Follower; 2]) {
    let head = producer.acknowledged.len() as u64;
    for reader in readers {
        let view = reader.until_seq(TOPIC, head);
        assert_eq!(view.notes(), producer.acknowledged);
        assert_eq!((&view.gaps, &view.resets), (&vec![], &vec![]));
    }
    let epoch = history::epoch(broker, TOPIC);
    broker.restart();
    let kept = history::read(broker, TOPIC);
    kept.is_whole();
    assert_eq!((kept.epoch, kept.head), (epoch, head));
    let numbers = kept.events.iter().map(|e| e["data"]["n"].as_u64().unwrap());
    assert_eq!(numbers.collect::<Vec<_>>(), producer.acknowledged);
    assert!(!broker.stderr().contains("panicked"), "{}", broker.stderr());
}
