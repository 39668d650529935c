//! What was read against what was acknowledged.

use std::collections::BTreeMap;

use super::ledger::{Key, Record};
use super::readers::Wants;
use super::topic_name;
use crate::support::reader::View;
use crate::support::{Reader, counted_to};

/// A lost agent's messages end so much later than its lease at most, in milliseconds.
const PROMISED: u64 = 1000;
/// On a machine that is busy with other things.
const GENEROUS: u64 = 15_000;
/// The broker saw the last sign of life a little before its agent knew it.
const EARLY: u64 = 500;

/// How one message ended, by its log.
pub struct End {
    pub tokens: u64,
    pub reason: String,
    time: u64,
}

#[derive(Default)]
pub struct Verdict {
    pub ends: BTreeMap<Key, End>,
    pub by_reason: BTreeMap<String, u64>,
    /// How late the broker ended messages of lost agents, in milliseconds, sorted.
    pub late: Vec<u64>,
    pub broken_promises: u64,
    /// (message, reader) pairs that were compared.
    pub compared: u64,
    /// Tokens that were kept although nobody was told.
    pub unacknowledged: u64,
}

impl Verdict {
    /// The readers that were there from the beginning tell what the log says.
    pub fn of_logs(readers: &[(Wants, Reader)], records: &BTreeMap<Key, Record>) -> Verdict {
        let mut verdict = Verdict::default();
        for (wants, reader) in readers.iter().take(super::TOPICS) {
            let topic = wants.topics[0];
            verdict.read_log(topic, reader.view(&topic_name(topic)));
        }
        for (key, record) in records {
            let end = verdict.ends.get(key);
            assert!(
                end.is_some() || record.acked == 0,
                "{key:?} is lost: {record:?}"
            );
            if let Some(end) = end {
                verdict.late.extend(lateness(key, record, end));
                let tokens = end.tokens;
                let whole = (record.acked..=record.sent).contains(&tokens);
                assert!(whole, "{tokens} tokens of {key:?}: {record:?}");
                verdict.unacknowledged += tokens - record.acked;
            }
        }
        verdict.late.sort_unstable();
        verdict.broken_promises = verdict.late.iter().filter(|ms| **ms > PROMISED).count() as u64;
        verdict
    }

    fn read_log(&mut self, topic: usize, view: &View) {
        assert!(
            view.gaps.is_empty() && view.resets.is_empty(),
            "{:?}",
            view.gaps
        );
        for event in &view.events {
            let kind = event["type"].as_str().unwrap_or_default();
            if !matches!(kind, "message.completed" | "message.interrupted") {
                continue;
            }
            let id = event["data"]["message_id"]
                .as_str()
                .expect("an id")
                .to_owned();
            let reason = event["data"]["reason"]
                .as_str()
                .unwrap_or("completed")
                .to_owned();
            *self.by_reason.entry(reason.clone()).or_default() += 1;
            let end = End {
                tokens: counted_to(&view.text(&id)),
                reason,
                time: event["time"].as_u64().expect("a time"),
            };
            let twice = self.ends.insert((topic, id), end);
            assert!(twice.is_none(), "a message of {topic} ended twice: {event}");
        }
        let open = view
            .messages
            .iter()
            .find(|(_, message)| message.ended.is_none());
        assert!(open.is_none(), "still open in {topic}: {open:?}");
    }

    /// Everybody read the same; who was there all the time read all of it.
    pub fn compare(&mut self, (wants, reader): &(Wants, Reader)) {
        for topic in &wants.topics {
            let view = reader.view(&topic_name(*topic));
            for (id, message) in view.messages.iter().filter(|(_, message)| !message.lost) {
                let end = &self.ends[&(*topic, id.clone())];
                assert_eq!(
                    counted_to(&message.of("text")),
                    end.tokens,
                    "{id} for {:?}",
                    wants.transport
                );
                assert!(
                    message.ended.is_some(),
                    "{id} of {topic} is open for a reader"
                );
                self.compared += 1;
            }
            let of_topic = self.ends.keys().filter(|(known, _)| known == topic).count();
            if wants.from_start && view.gaps.is_empty() {
                assert_eq!(view.messages.len(), of_topic, "messages of {topic}");
            }
        }
    }
}

/// How much later than the lease a lost agent's message was ended.
fn lateness(key: &Key, record: &Record, end: &End) -> Option<u64> {
    if end.reason != "agent_lost" {
        let completed = end.reason == "completed";
        assert!(
            !completed || record.completed,
            "{key:?} was ended by nobody"
        );
        return None;
    }
    let (alive, lease) = record
        .killed
        .unwrap_or_else(|| panic!("{key:?} was lost, its agent lives: {record:?}"));
    let due = alive + lease;
    assert!(
        end.time + EARLY >= due,
        "{key:?} was ended {} ms early",
        due - end.time
    );
    let late = end.time.saturating_sub(due);
    assert!(late < GENEROUS, "{key:?} was ended {late} ms late");
    Some(late)
}
