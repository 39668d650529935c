//! All that a broker keeps of a topic, and whether it is what was acknowledged.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::script::Script;
use crate::support::Broker;
use crate::support::reader::View;

pub struct History {
    pub epoch: String,
    pub head: u64,
    /// As they are in the log, from the first to the head.
    pub events: Vec<Value>,
}

/// Reads a topic to its head.
pub fn read(broker: &Broker, topic: &str) -> History {
    let mut http = broker.http();
    let mut from = "start".to_owned();
    let mut events = Vec::new();
    loop {
        let target = format!("/v1/events?topic={topic}&from={from}&limit=1000");
        let response = http.get(&target);
        assert_eq!(response.status, 200, "GET {target}: {}", response.text());
        let page = response.json();
        assert!(page["gap"].is_null() && page["reset"].is_null(), "{page}");
        events.extend(page["events"].as_array().expect("events").iter().cloned());
        if page["more"] != true {
            return History {
                epoch: page["epoch"].as_str().expect("an epoch").to_owned(),
                head: page["head"].as_u64().expect("a head"),
                events,
            };
        }
        from = page["position"].as_str().expect("a position").to_owned();
    }
}

pub fn epoch(broker: &Broker, topic: &str) -> String {
    let state = broker.topic(topic);
    state["epoch"].as_str().expect("an epoch").to_owned()
}

impl History {
    /// Every event has its seq, without holes.
    pub fn is_whole(&self) {
        let seqs: Vec<u64> = self.seqs().collect();
        assert_eq!(seqs, Vec::from_iter(1..=self.head), "a hole");
    }

    fn seqs(&self) -> impl Iterator<Item = u64> {
        self.events
            .iter()
            .map(|e| e["seq"].as_u64().expect("a seq"))
    }

    /// What each script said is there in order, once, each batch whole and where its answer said.
    pub fn holds(&self, scripts: &[&Script]) {
        self.is_whole();
        let mut owners: Vec<Option<(usize, usize)>> = vec![None; self.events.len()];
        for (which, script) in scripts.iter().enumerate() {
            let mut before = 0;
            for (number, batch) in script.batches.iter().enumerate() {
                let what = || format!("batch {} of {} in {}", number + 1, script.who, script.topic);
                let (first, last) = batch
                    .answer
                    .unwrap_or_else(|| panic!("{}: unanswered", what()));
                assert!(first > before, "{}: out of order", what());
                assert!(
                    last <= self.head,
                    "{}: lost, the head is {}",
                    what(),
                    self.head
                );
                before = last;
                for (seq, said) in (first..=last).zip(&batch.events) {
                    let at = seq as usize - 1;
                    let kept = &self.events[at];
                    let is_said = ["type", "data", "id"]
                        .iter()
                        .all(|key| kept[key] == said[key]);
                    assert!(
                        is_said && kept["source"] == script.who.as_str(),
                        "{}: {kept} for {said}",
                        what()
                    );
                    let other = owners[at].replace((which, number));
                    assert!(other.is_none(), "{}: seq {seq} answered twice", what());
                }
            }
        }
        // the test's own words have no producer
        let strays = self
            .events
            .iter()
            .zip(&owners)
            .filter(|(_, owner)| owner.is_none());
        for (stray, _) in strays {
            assert!(
                stray["source"].is_null(),
                "nobody said this, or it is there twice: {stray}"
            );
        }
    }

    /// Messages as they stand after `upto`: their text, and whether they have ended.
    pub fn messages(&self, upto: u64) -> BTreeMap<String, (String, bool)> {
        let mut messages: BTreeMap<String, (String, bool)> = BTreeMap::new();
        for event in self.events.iter().take(upto as usize) {
            let data = &event["data"];
            let Some(id) = data["message_id"].as_str() else {
                continue;
            };
            let message = messages.entry(id.to_owned()).or_default();
            match event["type"].as_str() {
                Some("token.delta") => message.0.push_str(data["text"].as_str().expect("a text")),
                Some("message.completed" | "message.interrupted") => message.1 = true,
                _ => {}
            }
        }
        messages
    }

    /// Whoever read from the beginning has every text, and every note.
    pub fn was_read(&self, view: &View) {
        assert_eq!(view.epoch, self.epoch);
        assert_eq!(view.seq, self.head);
        for (id, (text, ended)) in self.messages(self.head) {
            assert_eq!(view.text(&id), text, "the text of {id}");
            assert_eq!(view.message(&id).ended.is_some(), ended, "the end of {id}");
        }
        let notes = |events: &[Value]| {
            let notes = events.iter().filter(|e| e["type"] == "note.taken").cloned();
            notes.map(without_topic).collect::<Vec<_>>()
        };
        assert_eq!(notes(&view.events), notes(&self.events), "notes");
    }

    /// And every single event, once.
    pub fn was_read_raw(&self, view: &View) {
        assert_eq!((&view.resets, &view.gaps), (&Vec::new(), &Vec::new()));
        let (deltas, others): (Vec<_>, Vec<_>) = self
            .events
            .iter()
            .cloned()
            .partition(|e| e["type"] == "token.delta");
        let seen: Vec<Value> = view.events.iter().cloned().map(without_topic).collect();
        assert!(seen == others, "{} events of {}", seen.len(), others.len());
        assert_eq!(view.deltas, deltas.len(), "deltas");
        self.was_read(view);
    }

    /// Whoever joined in the middle has the whole text of what was open there.
    pub fn was_joined(&self, view: &View) {
        assert_eq!(view.epoch, self.epoch);
        let open = self.messages(view.seq);
        let open: Vec<_> = open.iter().filter(|(_, (_, ended))| !ended).collect();
        for (id, (text, _)) in &open {
            assert_eq!(view.text(id), *text, "the text of {id} at {}", view.seq);
        }
        let held = view.messages.values().filter(|m| m.ended.is_none()).count();
        assert_eq!(held, open.len(), "open messages at {}", view.seq);
    }
}

/// SSE names the topic in each event.
fn without_topic(mut event: Value) -> Value {
    if let Some(members) = event.as_object_mut() {
        members.remove("topic");
    }
    event
}
