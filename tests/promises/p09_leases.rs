//! Promise 9: nothing stays open for ever. Whose lease runs, what renews it, and what ends with it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agent::{
    attach, attached, attached_with, heartbeat, interrupted_within, interruptions, metric,
    open_messages, produced, reasons,
};
use crate::support::*;

/// The shortest lease, and by when its end must have been told.
const LEASE_MS: u64 = 1000;
const BOUND: Duration = Duration::from_millis(LEASE_MS + 1000);

fn short(id: &str) -> Value {
    json!({ "producer": { "id": id }, "lease_ms": LEASE_MS })
}

#[test]
fn p09_an_agent_that_comes_back_within_its_lease_goes_on() {
    let broker = Broker::start();
    let topics = ["/back/a", "/back/b"];
    let (mut agent, epoch) = attached_with(broker.addr, short("a"));
    for topic in topics {
        agent.publish(topic, json!([delta("m", "0—")]));
    }
    // away and back, for longer than the lease in all
    for round in 1..=4u64 {
        agent.cut();
        let begin = Instant::now();
        eventually("most of the lease", || {
            (begin.elapsed() > Duration::from_millis(LEASE_MS * 6 / 10)).then_some(())
        });
        let same = json!({ "producer": { "id": "a", "epoch": epoch }, "lease_ms": LEASE_MS });
        agent = attached_with(broker.addr, same).0;
        for topic in topics {
            let answer = agent.publish(topic, json!([delta("m", &events::token(round))]));
            assert_eq!(answer["op"], "published", "{answer}");
        }
    }
    for topic in topics {
        agent.publish(topic, json!([completed("m")]));
        assert!(interruptions(&broker, topic, "m").is_empty());
        let mut reader = Follower::open(
            Transport::WebSocket,
            broker.addr,
            Ask::topic(topic).from("start"),
        );
        said_whole(&reader.until_seq(topic, 6).text("m"), 5);
    }
    assert_eq!(metric(&broker, "tidewire_agent_leases_lost_total"), 0);
}

/// An attached agent may be silent as long as its connection stands.
#[test]
fn p09_a_held_lease_does_not_run() {
    let broker = Broker::set_up(Setup {
        args: vec!["--limits-message-idle".into(), "1s".into()],
        ..Setup::default()
    });
    let (mut agent, _) = attached_with(broker.addr, short("held"));
    agent.publish("/held/a", json!([delta("m", "x")]));
    // one that nobody holds is the clock: it ends after `message_idle`
    broker.publish("/held/a", json!([delta("nobodys", "x")]));
    let reason = interrupted_within(&broker, "/held/a", "nobodys", Duration::from_millis(3500));
    assert_eq!(reason, "timeout");
    broker.publish("/held/a", json!([delta("nobodys-2", "x")]));
    interrupted_within(&broker, "/held/a", "nobodys-2", Duration::from_millis(3500));
    assert_eq!(open_messages(&broker, "/held/a"), ["m"]);
    assert_eq!(
        agent.publish("/held/a", json!([completed("m")]))["op"],
        "published"
    );
    let late = broker.refused(&json!({ "topic": "/held/a", "events": [delta("nobodys", "y")] }));
    assert_eq!(late["code"], "message_ended", "{late}");
}

/// A message that goes on is not idle.
#[test]
fn p09_an_idle_timeout_begins_with_the_last_word() {
    let broker = Broker::set_up(Setup {
        args: vec!["--limits-message-idle".into(), "1s".into()],
        ..Setup::default()
    });
    let topic = "/idle/a";
    broker.publish(topic, json!([delta("silent", "x")]));
    let mut words = 0;
    eventually("the silent one's end", || {
        broker.publish(topic, json!([delta("busy", &events::token(words))]));
        words += 1;
        interruptions(&broker, topic, "silent").pop()
    });
    assert_eq!(open_messages(&broker, topic), ["busy"]);
    broker.publish(topic, json!([completed("busy")]));
    let kept = agent::kept(&broker, topic);
    assert_eq!(reasons(&kept, "silent"), ["timeout"]);
}

#[test]
fn p09_an_http_producers_lease_ends_when_it_is_silent() {
    let broker = Broker::start();
    let topic = "/http/silent";
    let mut body = produced(topic, "a", (1, 1), json!([delta("m", "x")]));
    body["lease_ms"] = json!(LEASE_MS);
    broker.http().publish_body(&body);
    assert_eq!(interrupted_within(&broker, topic, "m", BOUND), "agent_lost");
    // the run may go on with other messages
    let next = produced(topic, "a", (1, 2), json!([delta("m2", "x")]));
    assert_eq!(broker.http().publish_body(&next)["last_seq"], 3);
    let late = broker.refused(&produced(topic, "a", (1, 3), json!([delta("m", "y")])));
    assert_eq!(late["code"], "message_ended", "{late}");
}

#[test]
fn p09_a_heartbeat_renews_and_takes_no_seq() {
    let broker = Broker::start();
    let topic = "/http/beat";
    let mut http = broker.http();
    let mut body = produced(topic, "a", (1, 1), json!([delta("m", "x")]));
    body["lease_ms"] = json!(LEASE_MS);
    let epoch = http.publish_body(&body)["epoch"].clone();
    let begin = Instant::now();
    let mut beats = 0;
    eventually("two leases and more", || {
        let answer = http.publish_body(&heartbeat(topic, "a", 1));
        assert_eq!(answer["epoch"], epoch, "{answer}");
        assert!(
            answer["first_seq"].is_null() && answer["last_seq"].is_null(),
            "{answer}"
        );
        assert_eq!(answer["duplicate"], false, "{answer}");
        beats += 1;
        (begin.elapsed() > Duration::from_millis(LEASE_MS * 5 / 2)).then_some(())
    });
    assert!(beats > 3);
    assert_eq!(
        (broker.head(topic), open_messages(&broker, topic).len()),
        (1, 1)
    );
    // its seqs go on as if there had been no heartbeat, and a publish elsewhere renews as well
    http.publish_body(&produced(topic, "a", (1, 2), json!([delta("m", "y")])));
    let begin = Instant::now();
    let mut seq = 0;
    eventually("another lease", || {
        seq += 1;
        http.publish_body(&produced(
            "/http/elsewhere",
            "a",
            (1, seq),
            json!([note(seq)]),
        ));
        (begin.elapsed() > Duration::from_millis(LEASE_MS * 3 / 2)).then_some(())
    });
    assert_eq!(open_messages(&broker, topic), ["m"]);
    assert_eq!(interrupted_within(&broker, topic, "m", BOUND), "agent_lost");
}

/// Without `lease_ms` it is two minutes: no end within what a test can wait, but a heartbeat can shorten it.
#[test]
fn p09_a_heartbeat_can_change_the_lease() {
    let broker = Broker::start();
    let topic = "/http/shorter";
    let mut http = broker.http();
    http.publish_body(&produced(topic, "a", (1, 1), json!([delta("m", "x")])));
    http.publish_body(&produced(topic, "b", (1, 1), json!([delta("stays", "x")])));
    let mut beat = heartbeat(topic, "a", 1);
    beat["lease_ms"] = json!(LEASE_MS);
    http.publish_body(&beat);
    assert_eq!(interrupted_within(&broker, topic, "m", BOUND), "agent_lost");
    assert_eq!(open_messages(&broker, topic), ["stays"]);
}

#[test]
fn p09_a_producer_on_a_websocket_that_did_not_attach_has_a_lease_too() {
    let broker = Broker::start();
    let topic = "/explicit/a";
    let mut ws = Ws::open(broker.addr);
    let mut body = produced(topic, "a", (1, 1), json!([delta("m", "x")]));
    (body["op"], body["lease_ms"]) = (json!("publish"), json!(LEASE_MS));
    assert_eq!(ws.call(body)["op"], "published");
    // it runs although the connection stands
    assert_eq!(interrupted_within(&broker, topic, "m", BOUND), "agent_lost");
    let mut beat = heartbeat(topic, "a", 1);
    beat["op"] = json!("publish");
    assert_eq!(ws.call(beat)["op"], "published");
}

/// What an attached agent publishes with its own explicit producer is held by its connection as well.
#[test]
fn p09_an_attached_agent_that_numbers_its_publishes_is_held() {
    let broker = Broker::start();
    let topic = "/explicit/held";
    let (mut ws, epoch) = attached_with(broker.addr, short("a"));
    let mut body = produced(topic, "a", (epoch, 1), json!([delta("m", "x")]));
    body["op"] = json!("publish");
    assert_eq!(ws.call(body)["op"], "published");
    // another run's end is the clock
    let mut other = produced(topic, "other", (1, 1), json!([delta("clock", "x")]));
    other["lease_ms"] = json!(LEASE_MS * 3 / 2);
    broker.http().publish_body(&other);
    interrupted_within(&broker, topic, "clock", BOUND + BOUND);
    assert_eq!(open_messages(&broker, topic), ["m"]);
    ws.cut();
    assert_eq!(interrupted_within(&broker, topic, "m", BOUND), "agent_lost");
}

#[test]
fn p09_a_reader_that_leaves_changes_nothing() {
    let broker = Broker::start();
    let topic = "/leaves/a";
    let (mut agent, _) = attached_with(broker.addr, short("a"));
    let mut said = 0;
    for transport in BOTH.into_iter().cycle().take(6) {
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic).from("start"));
        agent.publish(topic, json!([delta("m", &events::token(said))]));
        said += 1;
        reader.until("the word", |r| counted_to(&r.view(topic).text("m")) == said);
        reader.cut();
        eventually("no reader", || (broker.readers(topic) == 0).then_some(()));
        let answer = agent.publish(topic, json!([delta("m", &events::token(said))]));
        assert_eq!(answer["op"], "published", "{answer}");
        said += 1;
    }
    agent.publish(topic, json!([completed("m")]));
    let kept = agent::kept(&broker, topic);
    assert_eq!(
        kept.len() as u64,
        said + 1,
        "nothing but what the agent said"
    );
    assert!(reasons(&kept, "m").is_empty());
}

/// A lease that ends at the same moment as the agent comes back: either way each message ends once at most.
#[test]
fn p09_coming_back_as_the_lease_ends_leaves_no_doubt() {
    let broker = Broker::start();
    let rounds: Vec<_> = (0..12u64)
        .map(|round| {
            let addr = broker.addr;
            std::thread::spawn(move || {
                let (id, topic) = (format!("edge-{round}"), format!("/edge/{round}"));
                let (mut agent, epoch) = attached_with(addr, short(&id));
                agent.publish(&topic, json!([delta("m", "x")]));
                agent.cut();
                let begin = Instant::now();
                let pause = Duration::from_millis(LEASE_MS - 30 + round * 5);
                eventually("the edge of the lease", || {
                    (begin.elapsed() >= pause).then_some(())
                });
                let mut agent = Ws::open(addr);
                let same =
                    json!({ "producer": { "id": id, "epoch": epoch }, "lease_ms": LEASE_MS });
                attach(&mut agent, same);
                let answer = agent.publish(&topic, json!([delta("m", "y")]));
                (topic, answer, agent)
            })
        })
        .collect();
    for round in rounds {
        let (topic, answer, mut agent) = round.join().unwrap();
        let ends = interruptions(&broker, &topic, "m");
        if answer["op"] == "published" {
            assert!(ends.is_empty(), "{topic}: {ends:?}");
            agent.publish(&topic, json!([completed("m")]));
        } else {
            assert_eq!(answer["code"], "message_ended", "{answer}");
            assert_eq!(ends, ["agent_lost"], "{topic}");
        }
        assert!(open_messages(&broker, &topic).is_empty());
    }
}

/// An erased topic owes nobody an end.
#[test]
fn p09_the_lease_of_an_erased_message_ends_without_a_trace() {
    let broker = Broker::start();
    let (mut agent, _) = attached_with(broker.addr, short("a"));
    agent.publish("/erased/a", json!([delta("m", "x")]));
    agent.publish("/erased/b", json!([delta("m", "x")]));
    assert!(broker.erase("/erased/a").status < 300);
    agent.cut();
    interrupted_within(&broker, "/erased/b", "m", BOUND);
    assert_eq!(broker.head("/erased/a"), 0);
    let (_again, epoch) = attached(broker.addr, "a");
    assert_eq!(epoch, 2);
}
