//! Agents over HTTP: numbered publishes with their lease, retried on another connection where the answer got
//! lost; and publish streams that are cut.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use super::ledger::{Key, Ledger, add, clock};
use super::topic_name;
use crate::support::Http;
use crate::support::events::{completed, delta, token, tokens};

pub struct Poster<'a> {
    pub addr: SocketAddr,
    pub number: usize,
    pub ledger: &'a Ledger,
    pub rng: Rng,
}

impl Poster<'_> {
    /// One run after the other, each with an epoch of its own.
    pub fn post(&mut self) {
        for epoch in 1.. {
            if self.ledger.is_ending() {
                return;
            }
            self.post_as(epoch);
            // gone without a word, and back before the lease ends or after
            std::thread::sleep(Duration::from_millis(self.rng.u64(..3000)));
        }
    }

    fn post_as(&mut self, epoch: u64) {
        let topic = self.rng.usize(..super::TOPICS);
        let lease = self.rng.u64(1000..2500);
        let mut http = Http::connect(self.addr);
        let (mut seq, mut open) = (0, Vec::<(Key, u64)>::new());
        let until = Instant::now() + Duration::from_millis(self.rng.u64(500..4000));
        // when the last publish that was answered began: the broker heard of it later
        let mut alive = clock();
        while Instant::now() < until && !self.ledger.is_ending() {
            if open.len() < 3 {
                let id = format!("poster-{}.{epoch}.{}", self.number, open.len());
                open.push(((topic, id), 0));
            }
            let at = self.rng.usize(..open.len());
            let (key, said) = open[at].clone();
            let more = said + self.rng.u64(1..4);
            self.ledger.sent(&key, more);
            seq += 1;
            let body = json!({ "topic": topic_name(topic), "events": tokens(&key.1, said..more), "lease_ms": lease,
                               "producer": { "id": format!("poster-{}", self.number), "epoch": epoch, "seq": seq } });
            let asked = clock();
            let answer = self.post_until_answered(&mut http, &body);
            if answer["code"] == "message_ended" && clock() > alive + lease {
                add(&self.ledger.counts.told_ended);
                break;
            }
            assert!(
                answer["last_seq"].is_u64(),
                "{key:?}, {} ms after the publish before, asked {} ms ago, lease {lease}: {answer}",
                clock() - alive,
                clock() - asked
            );
            alive = asked;
            self.ledger.acked(&key, more);
            open[at].1 = more;
            std::thread::sleep(Duration::from_millis(self.rng.u64(20..120)));
        }
        for (key, _) in &open {
            self.ledger.killed(key, alive, lease);
        }
        add(&self.ledger.counts.killed);
    }

    fn post_until_answered(&mut self, http: &mut Http, body: &Value) -> Value {
        add(&self.ledger.counts.posts);
        let text = body.to_string();
        if self.rng.u8(..10) == 0 {
            let length = text.len().to_string();
            let headers = [
                ("content-type", "application/json"),
                ("content-length", length.as_str()),
            ];
            let head = http.head("POST", "/v1/publish", &headers);
            let _ = http.wire.try_send((head + &text).as_bytes());
            std::mem::replace(http, Http::connect(self.addr)).wire.cut();
            add(&self.ledger.counts.cut_posts);
        }
        let asked = clock();
        let answer = http.post("/v1/publish", &text).json();
        let slowest = &self.ledger.counts.slowest_answer;
        slowest.fetch_max(clock() - asked, Ordering::Relaxed);
        if answer["duplicate"] == true {
            add(&self.ledger.counts.duplicates);
        }
        answer
    }

    /// Publish streams, one after the other: ended well, or cut.
    pub fn stream(&mut self) {
        for nth in 0.. {
            if self.ledger.is_ending() {
                return;
            }
            self.stream_once(nth);
            std::thread::sleep(Duration::from_millis(self.rng.u64(..2500)));
        }
    }

    fn stream_once(&mut self, nth: u64) {
        add(&self.ledger.counts.streams);
        let topic = self.rng.usize(..super::TOPICS);
        let key = (topic, format!("streamer-{}.{nth}", self.number));
        let lease = self.rng.u64(1000..2500);
        let mut http = Http::connect(self.addr);
        let target = format!(
            "/v1/publish/stream?topic={}&producer_id=streamer-{}&lease_ms={lease}",
            topic_name(topic),
            self.number
        );
        let headers = [
            ("content-type", "application/x-ndjson"),
            ("transfer-encoding", "chunked"),
        ];
        let head = http.head("POST", &target, &headers);
        http.wire.send(head.as_bytes());
        let until = Instant::now() + Duration::from_millis(self.rng.u64(500..4000));
        let mut said = 0;
        while Instant::now() < until && !self.ledger.is_ending() {
            self.ledger.sent(&key, said + 1);
            http.wire.send(&chunk(&delta(&key.1, &token(said))));
            said += 1;
            std::thread::sleep(Duration::from_millis(self.rng.u64(10..60)));
        }
        if self.rng.bool() {
            http.wire.cut();
            add(&self.ledger.counts.cut_streams);
            return self.ledger.killed(&key, clock(), lease);
        }
        let ends = self.rng.bool();
        if ends {
            self.ledger.completed(&key);
            http.wire.send(&chunk(&completed(&key.1)));
        }
        http.wire.send(b"0\r\n\r\n");
        let summary = http.response();
        if summary.status == 409 && summary.json()["code"] == "producer_fenced" {
            // the stream before it, which was cut, was opened only now: the broker cannot know which was meant
            add(&self.ledger.counts.overtaken);
            return self.ledger.killed(&key, clock(), lease);
        }
        assert_eq!(summary.status, 200, "{}", summary.text());
        let kept = summary.json()["kept"].as_u64();
        assert_eq!(kept, Some(said + u64::from(ends)), "{}", summary.text());
        self.ledger.acked(&key, said);
        if !ends {
            self.ledger.killed(&key, clock(), lease);
        }
    }
}

fn chunk(event: &Value) -> Vec<u8> {
    let line = format!("{event}\n");
    format!("{:x}\r\n{line}\r\n", line.len()).into_bytes()
}
