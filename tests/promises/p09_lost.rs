//! Promise 9: an agent that is killed while ten messages are open, and what each of its readers is told.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agent::{attached_with, heartbeat, metric, open_messages, produced, reasons};
use crate::support::*;

/// The shortest lease, and by when its end must have been told.
const LEASE_MS: u64 = 1000;
const BOUND: Duration = Duration::from_millis(LEASE_MS + 1000);

/// Two messages in each of five topics.
fn ten_messages() -> Vec<(String, String)> {
    let topic = |n: usize| format!("/lost/t{}", n / 2);
    (0..10).map(|n| (topic(n), format!("m{n}"))).collect()
}

fn topics() -> Vec<String> {
    let mut topics: Vec<String> = ten_messages().into_iter().map(|(topic, _)| topic).collect();
    topics.dedup();
    topics
}

fn ask() -> Ask {
    let topics = topics();
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    Ask::topics(&names).from("start")
}

/// Readers of every kind, the last of which is away while the agent dies.
fn readers(broker: &Broker) -> Vec<Follower> {
    let kinds = [
        (Transport::WebSocket, ask()),
        (Transport::Sse, ask()),
        (Transport::WebSocket, ask().coalesce(100)),
        (Transport::Sse, ask().coalesce(1000)),
        (Transport::WebSocket, ask()),
    ];
    let open = |(transport, ask)| Follower::open(transport, broker.addr, ask);
    kinds.into_iter().map(open).collect()
}

fn all_ended(reader: &Reader) -> bool {
    let ended = |topic: &str, message: &str| {
        let view = reader.topics.get(topic);
        view.and_then(|view| view.messages.get(message))
            .is_some_and(|message| message.ended.is_some())
    };
    ten_messages().iter().all(|(t, m)| ended(t, m))
}

/// Every reader sees each of the ten messages interrupted, once and in time, with the text it had.
fn each_sees_each_ended_once(broker: &Broker, mut readers: Vec<Follower>, died: Instant) {
    let mut away = readers.pop().unwrap();
    for reader in &mut readers {
        reader.until("all ten ends", all_ended);
        let took = died.elapsed();
        assert!(took < BOUND, "{:?}: {took:?}", reader.transport);
    }
    away.come_back();
    readers.push(away);
    // a mark behind everything, so that a second end would have been seen
    for topic in topics() {
        broker.publish(&topic, json!([note(99)]));
    }
    for mut reader in readers {
        for (topic, message) in ten_messages() {
            reader.until("the mark", |r| r.view(&topic).notes() == [99]);
            let view = reader.reader.view(&topic);
            assert_eq!(reasons(&view.events, &message), ["agent_lost"], "{message}");
            assert_eq!(view.text(&message), "half a thought");
            let end = view
                .events
                .iter()
                .find(|e| e["data"]["message_id"] == message.as_str());
            assert!(end.unwrap().get("source").is_none(), "{end:?}");
        }
    }
}

/// The agent as a process of its own: it opens the ten messages with `curl`, as a script would, and waits.
#[test]
fn p09_a_killed_agent_process_leaves_ten_messages_ended_once_for_every_reader() {
    let broker = Broker::start();
    let mut readers = readers(&broker);
    let mut script = String::from("set -e\n");
    for topic in topics() {
        let events: Value = ten_messages()
            .iter()
            .filter(|(t, _)| *t == topic)
            .flat_map(|(_, m)| [delta(m, "half "), delta(m, "a thought")])
            .collect();
        let mut body = produced(&topic, "script", (1, 1), events);
        body["lease_ms"] = json!(LEASE_MS);
        let url = broker.url();
        script.push_str(&format!("curl -sf -o /dev/null -H 'content-type: application/json' -d '{body}' {url}/v1/publish &\n"));
    }
    // goes on renewing, as an agent that thinks for long
    let beat = heartbeat("/lost/t0", "script", 1);
    script.push_str(&format!("wait\necho said\nwhile :; do curl -sf -o /dev/null -H 'content-type: application/json' -d '{beat}' {}/v1/publish; sleep 0.2; done\n", broker.url()));
    let mut agent = Process::shell(&script);
    agent.until_printed("said");
    for (topic, message) in ten_messages() {
        readers[4].until("the text", |r| {
            r.topics
                .get(&topic)
                .is_some_and(|v| v.text(&message) == "half a thought")
        });
    }
    readers[4].cut();
    // it outlives its lease as long as it lives
    let begin = Instant::now();
    eventually("more than a lease to pass", || {
        (begin.elapsed() > BOUND - Duration::from_millis(500)).then_some(())
    });
    for topic in topics() {
        assert_eq!(open_messages(&broker, &topic).len(), 2, "{topic}");
    }
    agent.kill_dash_nine();
    each_sees_each_ended_once(
        &broker,
        readers,
        Instant::now() + Duration::from_millis(200),
    );
    assert_eq!(metric(&broker, "tidewire_agent_leases_lost_total"), 1);
}

/// The same over a WebSocket that is reset, as by the kernel of a killed process.
#[test]
fn p09_a_cut_agent_leaves_ten_messages_ended_once_for_every_reader() {
    let broker = Broker::start();
    let mut readers = readers(&broker);
    let (mut agent, _) = attached_with(
        broker.addr,
        json!({ "producer": { "id": "socket" }, "lease_ms": LEASE_MS }),
    );
    for (topic, message) in ten_messages() {
        agent.publish(
            &topic,
            json!([delta(&message, "half "), delta(&message, "a thought")]),
        );
    }
    for (topic, message) in ten_messages() {
        readers[4].until("the text", |r| {
            r.topics
                .get(&topic)
                .is_some_and(|v| v.text(&message) == "half a thought")
        });
    }
    readers[4].cut();
    agent.cut();
    each_sees_each_ended_once(&broker, readers, Instant::now());
    assert_eq!(metric(&broker, "tidewire_agent_leases_lost_total"), 1);
    assert_eq!(metric(&broker, "tidewire_agents_attached"), 0);
}
