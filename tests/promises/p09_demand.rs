//! Demand: an agent knows how many read its topics, so that it need not speak to nobody.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agent::{attach, attached_with, metric};
use crate::support::*;

/// How long a fall is held back.
const HOLD: Duration = Duration::from_secs(5);

fn watching(id: &str, topics: &[&str]) -> Value {
    json!({ "producer": { "id": id }, "demand": topics })
}

/// The next number this agent is told of the topic.
fn told(agent: &mut Ws, topic: &str) -> u64 {
    let frame = agent.until("demand");
    assert_eq!(frame["topic"], topic, "{frame}");
    frame["readers"].as_u64().expect("a number")
}

/// Fails if it was told anything until now.
fn told_nothing(agent: &mut Ws) {
    agent.send(&json!({ "op": "ping" }));
    agent.expect("pong");
}

fn open(broker: &Broker, transport: Transport, topic: &str) -> Follower {
    Follower::open(transport, broker.addr, Ask::topic(topic))
}

#[test]
fn p09_demand_is_told_at_once_and_each_rise_at_once() {
    let broker = Broker::start();
    let topic = "/demand/rise";
    let _first = open(&broker, Transport::WebSocket, topic);
    let (mut agent, _) = attached_with(broker.addr, watching("a", &[topic, "/demand/nobody"]));
    assert_eq!(told(&mut agent, topic), 1);
    assert_eq!(told(&mut agent, "/demand/nobody"), 0);
    let mut readers = Vec::new();
    for (n, transport) in BOTH.into_iter().cycle().take(4).enumerate() {
        let begin = Instant::now();
        readers.push(open(&broker, transport, topic));
        assert_eq!(told(&mut agent, topic), 2 + n as u64, "{transport:?}");
        assert!(begin.elapsed() < broker::SOON, "{:?}", begin.elapsed());
    }
    assert_eq!(broker.readers(topic), 5);
    assert_eq!(metric(&broker, "tidewire_demand_changes_total"), 6);
}

#[test]
fn p09_demand_falls_after_five_seconds_to_zero() {
    let broker = Broker::start();
    let topic = "/demand/fall";
    let (mut agent, _) = attached_with(broker.addr, watching("a", &[topic]));
    assert_eq!(told(&mut agent, topic), 0);
    let mut tabs: Vec<Follower> = BOTH.into_iter().map(|t| open(&broker, t, topic)).collect();
    assert_eq!((told(&mut agent, topic), told(&mut agent, topic)), (1, 2));
    let begin = Instant::now();
    tabs.iter_mut().for_each(Follower::cut);
    // both closed at the same moment, perhaps told one after the other
    let mut now = told(&mut agent, topic);
    assert!(
        begin.elapsed() >= HOLD - Duration::from_millis(100),
        "{:?}",
        begin.elapsed()
    );
    while now != 0 {
        now = told(&mut agent, topic);
    }
    assert!(
        begin.elapsed() < HOLD + Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn p09_a_reload_changes_no_demand() {
    let broker = Broker::start();
    let topic = "/demand/reload";
    let mut tab = open(&broker, Transport::Sse, topic);
    let (mut agent, _) = attached_with(broker.addr, watching("a", &[topic]));
    assert_eq!(told(&mut agent, topic), 1);
    // reloaded again and again, for longer than the five seconds in all
    let begin = Instant::now();
    while begin.elapsed() < HOLD + Duration::from_millis(800) {
        tab.cut();
        eventually("the tab to be gone", || {
            (broker.readers(topic) == 0).then_some(())
        });
        tab.come_back();
        told_nothing(&mut agent);
        let pause = Instant::now();
        eventually("a moment of reading", || {
            (pause.elapsed() > Duration::from_millis(300)).then_some(())
        });
    }
    told_nothing(&mut agent);
    let _second = open(&broker, Transport::WebSocket, topic);
    assert_eq!(told(&mut agent, topic), 2);
}

#[test]
fn p09_agents_are_no_readers() {
    let broker = Broker::start();
    let topic = "/demand/agents";
    let (mut agent, _) = attached_with(broker.addr, watching("a", &[topic]));
    assert_eq!(told(&mut agent, topic), 0);
    agent.subscribe(topic, "live");
    let (mut other, _) = attached_with(broker.addr, watching("b", &[topic]));
    assert_eq!(told(&mut other, topic), 0);
    other.subscribe(topic, "live");
    told_nothing(&mut agent);
    assert_eq!(broker.readers(topic), 0);
    // a reader that becomes an agent stops being a reader, after the five seconds
    let mut late = Ws::open(broker.addr);
    late.subscribe(topic, "live");
    assert_eq!(told(&mut agent, topic), 1);
    attach(
        &mut late,
        json!({ "producer": { "id": "c" }, "control": [topic] }),
    );
    assert_eq!(broker.readers(topic), 0);
    assert_eq!(told(&mut agent, topic), 0);
    late.cut();
    other.cut();
    eventually("two agents to leave", || {
        (metric(&broker, "tidewire_agents_attached") == 1).then_some(())
    });
    assert_eq!(broker.readers(topic), 0);
    told_nothing(&mut agent);
}

#[test]
fn p09_only_who_is_shown_tokens_is_a_reader() {
    let broker = Broker::start();
    let topic = "/demand/types";
    let (mut agent, _) = attached_with(broker.addr, watching("a", &[topic]));
    assert_eq!(told(&mut agent, topic), 0);
    let ask = |types: &[&'static str]| Ask::topic(topic).types(types);
    let mut open = Vec::new();
    for transport in BOTH {
        for types in [&["message.*"][..], &["token.other", "run.*"]] {
            open.push(Follower::open(transport, broker.addr, ask(types)));
        }
    }
    told_nothing(&mut agent);
    assert_eq!(broker.readers(topic), 0);
    for (n, types) in [&["token.delta"][..], &["token.*"], &["*"]]
        .into_iter()
        .enumerate()
    {
        open.push(Follower::open(Transport::Sse, broker.addr, ask(types)));
        assert_eq!(told(&mut agent, topic), 1 + n as u64, "{types:?}");
    }
    let mut pattern = Ws::open(broker.addr);
    broker.publish(topic, json!([note(1)]));
    pattern.call(json!({ "op": "subscribe", "pattern": "/demand/*" }));
    assert_eq!(told(&mut agent, topic), 4);
}

#[test]
fn p09_a_poller_is_a_reader() {
    let broker = Broker::start();
    let topic = "/demand/poll";
    let (mut agent, _) = attached_with(broker.addr, watching("a", &[topic]));
    assert_eq!(told(&mut agent, topic), 0);
    for _ in 0..3 {
        let target = format!("/v1/sse?topic={topic}&once=1&wait_ms=100");
        let mut poll = Sse::open(broker.addr, &target);
        poll.rest();
    }
    // between two polls it goes on counting, once
    assert_eq!(told(&mut agent, topic), 1);
    assert!(broker.readers(topic) >= 1);
}

#[test]
fn p09_demand_is_told_by_a_further_attach() {
    let broker = Broker::start();
    let (one, two) = ("/demand/one", "/demand/two");
    let _reader = open(&broker, Transport::WebSocket, two);
    let (mut agent, epoch) = attached_with(broker.addr, watching("a", &[one]));
    assert_eq!(told(&mut agent, one), 0);
    assert_eq!(attach(&mut agent, watching("a", &[one, two])), epoch);
    assert_eq!(told(&mut agent, two), 1);
    told_nothing(&mut agent);
    let _both = Follower::open(Transport::Sse, broker.addr, Ask::topics(&[one, two]));
    let mut numbers = [told_of(&mut agent), told_of(&mut agent)];
    numbers.sort();
    assert_eq!(numbers, [(one.to_owned(), 1), (two.to_owned(), 2)]);
}

fn told_of(agent: &mut Ws) -> (String, u64) {
    let frame = agent.until("demand");
    let topic = frame["topic"].as_str().expect("a topic").to_owned();
    (topic, frame["readers"].as_u64().expect("a number"))
}

/// The numbers of a thousand topics, and a crowd that comes at once.
#[test]
fn p09_demand_of_many_topics_and_a_crowd() {
    let broker = Broker::start();
    let topics: Vec<String> = (0..1000).map(|n| format!("/crowd/{n}")).collect();
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let (mut agent, _) = attached_with(broker.addr, watching("a", &names));
    for topic in &topics {
        assert_eq!(told(&mut agent, topic), 0);
    }
    let crowd: Vec<Ws> = (0..100)
        .map(|_| {
            let mut ws = Ws::open(broker.addr);
            ws.subscribe("/crowd/500", "live");
            ws
        })
        .collect();
    let mut last = 0;
    while last < crowd.len() as u64 {
        let now = told(&mut agent, "/crowd/500");
        assert!(now > last, "{now} after {last}");
        last = now;
    }
}
