//! An agent that speaks one message, a counted text, as fast as the broker acknowledges it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use serde_json::json;

use super::events::{completed, tokens};
use super::ws::Ws;

/// Tokens per publish.
const BATCH: u64 = 5;
/// Publishes in flight.
const IN_FLIGHT: u64 = 4;

pub struct Speaker {
    said: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Speaker {
    /// Speaks until told to stop.
    pub fn start(addr: SocketAddr, topic: &str, message: &str) -> Speaker {
        Speaker::limited(addr, topic, message, u64::MAX)
    }

    /// Speaks until told to stop, or until `limit` tokens are said (a multiple of the batch).
    pub fn limited(addr: SocketAddr, topic: &str, message: &str, limit: u64) -> Speaker {
        let said = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (topic, message) = (topic.to_owned(), message.to_owned());
        let (counter, stopped) = (Arc::clone(&said), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut ws = Ws::open(addr);
            let (mut sent, mut answered) = (0, 0);
            loop {
                let more = sent * BATCH < limit && !stopped.load(Ordering::Relaxed);
                if more && sent - answered < IN_FLIGHT {
                    let events = tokens(&message, sent * BATCH..(sent + 1) * BATCH);
                    ws.send(
                        &json!({ "op": "publish", "id": sent, "topic": topic, "events": events }),
                    );
                    sent += 1;
                } else if answered < sent {
                    let answer = ws.expect("published");
                    assert_eq!(answer["id"], answered, "answers come in order");
                    answered += 1;
                    counter.store(answered * BATCH, Ordering::Relaxed);
                } else {
                    break;
                }
            }
        });
        Speaker {
            said,
            stop,
            thread: Some(thread),
        }
    }

    /// Tokens that have been acknowledged so far.
    pub fn said(&self) -> u64 {
        self.said.load(Ordering::Relaxed)
    }

    /// Waits until more tokens have been acknowledged than now.
    pub fn speak_on(&self, more: u64) {
        let goal = self.said() + more;
        super::eventually("more tokens", || (self.said() >= goal).then_some(()));
    }

    /// Stops and waits for the last acknowledgement: how many tokens were said in all.
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.wait()
    }

    /// Waits until its limit is reached.
    pub fn finish(mut self) -> u64 {
        self.wait()
    }

    fn wait(&mut self) -> u64 {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the speaker was understood");
        }
        self.said()
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Ends a message that a speaker has spoken.
pub fn end(addr: SocketAddr, topic: &str, message: &str) -> u64 {
    let answer = Ws::open(addr).publish(topic, json!([completed(message)]));
    answer["last_seq"].as_u64().expect("a seq")
}
