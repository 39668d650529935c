//! Readers among killed agents: some are always there, some drop and resume, some merge, on both transports.
//! That nothing is lost, repeated or added after an end, their view itself checks with every event.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;

use super::ledger::{FailsOnPanic, Ledger, add};
use super::topic_name;
use crate::support::{Ask, Follower, Reader, Transport};

/// How far each topic goes, once it is known.
pub type Heads = Mutex<Option<Vec<u64>>>;

pub struct Wants {
    pub transport: Transport,
    pub topics: Vec<usize>,
    pub coalesce_ms: u64,
    /// Now and then it loses its connection.
    pub drops: bool,
    pub from_start: bool,
}

impl Wants {
    /// The first ones read one topic each, from its beginning to its end.
    pub fn of(number: usize, rng: &mut Rng) -> Wants {
        let sse = rng.bool();
        let transport = if sse {
            Transport::Sse
        } else {
            Transport::WebSocket
        };
        if number < super::TOPICS {
            return Wants {
                transport: Transport::WebSocket,
                topics: vec![number],
                coalesce_ms: 0,
                drops: false,
                from_start: true,
            };
        }
        let mut topics: Vec<usize> = (0..super::TOPICS).collect();
        rng.shuffle(&mut topics);
        topics.truncate(rng.usize(1..4));
        Wants {
            transport,
            topics,
            coalesce_ms: [0, 0, 100, 500][rng.usize(..4)],
            drops: rng.u8(..3) > 0,
            from_start: rng.bool(),
        }
    }
}

/// Reads until the run is over and it has everything.
pub fn read(
    addr: SocketAddr,
    wants: Wants,
    ledger: &Ledger,
    heads: &Heads,
    mut rng: Rng,
) -> Reader {
    let _guard = FailsOnPanic(ledger);
    std::thread::sleep(Duration::from_millis(if wants.from_start {
        0
    } else {
        rng.u64(..8000)
    }));
    let names: Vec<String> = wants
        .topics
        .iter()
        .map(|topic| topic_name(*topic))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let from = if wants.from_start {
        "start"
    } else {
        "snapshot"
    };
    let ask = Ask::topics(&names).coalesce(wants.coalesce_ms).from(from);
    let mut follower = Follower::open(wants.transport, addr, ask);
    // deltas of messages that ended a minute ago are left out
    follower.reader.filtered = true;
    loop {
        if ledger.has_failed() || is_done(&follower, &wants, heads) {
            return follower.reader;
        }
        let kind = follower.step();
        let kind =
            kind.unwrap_or_else(|| panic!("a connection ended without reason: {:?}", wants.topics));
        ledger.counts.delivered.fetch_add(1, Ordering::Relaxed);
        // between snapshots there is no id: an SSE client would take them again
        let drops = wants.drops && !ledger.is_ending() && rng.u16(..200) == 0;
        if drops && kind != "message.snapshot" {
            follower.cut();
            std::thread::sleep(Duration::from_millis(rng.u64(..3000)));
            follower.come_back();
            let sse = wants.transport == Transport::Sse;
            add(if sse {
                &ledger.counts.sse_drops
            } else {
                &ledger.counts.drops
            });
        }
    }
}

fn is_done(follower: &Follower, wants: &Wants, heads: &Heads) -> bool {
    let heads = heads.lock().expect("no poisoned heads");
    let Some(heads) = &*heads else { return false };
    wants.topics.iter().all(|topic| {
        let view = follower.reader.view(&topic_name(*topic));
        view.seq >= heads[*topic]
    })
}
