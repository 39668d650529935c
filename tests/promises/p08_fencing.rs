//! Promise 8: an old agent cannot write over a new one. Two runs of one producer, one after the other.

use serde_json::{Value, json};

use crate::support::agent::{
    attach, attached, attached_with, heartbeat, interruptions, kept, metric, open_messages,
    produced, try_attach,
};
use crate::support::*;

#[test]
fn p08_fencing_is_per_topic_from_the_first_append_of_the_higher_epoch() {
    let broker = Broker::start();
    let mut http = broker.http();
    for topic in ["/fence/one", "/fence/two"] {
        http.publish_body(&produced(topic, "a", (1, 1), json!([note(1)])));
    }
    http.publish_body(&produced("/fence/one", "a", (2, 1), json!([note(2)])));
    let fenced = broker.refused(&produced("/fence/one", "a", (1, 2), json!([note(3)])));
    assert_eq!(fenced["code"], "producer_fenced", "{fenced}");
    assert_eq!(fenced["status"], 409, "{fenced}");
    let over_ws = Ws::open(broker.addr).call(with_op(produced(
        "/fence/one",
        "a",
        (1, 2),
        json!([delta("m", "x")]),
    )));
    assert_eq!(over_ws["code"], "producer_fenced", "{over_ws}");
    let beat = broker.refused(&heartbeat("/fence/one", "a", 1));
    assert_eq!(beat["code"], "producer_fenced", "{beat}");
    http.publish_body(&produced("/fence/two", "a", (1, 2), json!([note(2)])));
    // another producer has epochs of its own
    http.publish_body(&produced("/fence/one", "b", (1, 1), json!([note(3)])));
    assert_eq!(broker.head("/fence/one"), 3);
}

fn with_op(mut publish: Value) -> Value {
    publish["op"] = json!("publish");
    publish
}

#[test]
fn p08_an_attach_refuses_the_old_run_everywhere() {
    let broker = Broker::start();
    let mut http = broker.http();
    http.publish_body(&produced("/everywhere/a", "a", (3, 1), json!([note(1)])));
    let (mut new, epoch) = attached(broker.addr, "a");
    assert_eq!(epoch, 4);
    // also where it never wrote, and where nobody ever did
    for topic in ["/everywhere/a", "/everywhere/never"] {
        for body in [
            produced(topic, "a", (3, 2), json!([note(2)])),
            produced(topic, "a", (3, 2), json!([delta("m", "late")])),
            heartbeat(topic, "a", 3),
        ] {
            let fenced = broker.refused(&body);
            assert_eq!(fenced["code"], "producer_fenced", "{body}: {fenced}");
            let fenced = Ws::open(broker.addr).call(with_op(body));
            assert_eq!(fenced["code"], "producer_fenced", "{fenced}");
        }
    }
    assert_eq!(broker.head("/everywhere/never"), 0);
    assert_eq!(
        new.publish("/everywhere/a", json!([note(2)]))["last_seq"],
        2
    );
}

#[test]
fn p08_an_attach_ends_the_old_runs_messages_as_replaced_once() {
    let broker = Broker::start();
    let topics = ["/replaced/a", "/replaced/b"];
    let (mut old, first) = attached(broker.addr, "a");
    for topic in topics {
        for message in ["m1", "m2"] {
            old.publish(topic, json!([delta(message, "half a th")]));
        }
        old.publish(topic, json!([delta("done", "x"), completed("done")]));
        broker.publish(topic, json!([delta("other", "not hers")]));
    }
    let mut readers: Vec<Follower> = BOTH
        .iter()
        .map(|t| Follower::open(*t, broker.addr, Ask::topics(&topics).from("start")))
        .collect();
    let (mut new, second) = attached(broker.addr, "a");
    assert_eq!(second, first + 1);
    // when it is answered they have ended
    for topic in topics {
        assert_eq!(interruptions(&broker, topic, "m1"), ["replaced"]);
        assert_eq!(interruptions(&broker, topic, "m2"), ["replaced"]);
        assert_eq!(open_messages(&broker, topic), ["other"]);
        assert!(interruptions(&broker, topic, "done").is_empty());
    }
    assert_eq!(old.closed(), 4409);
    let late = new.publish(topics[0], json!([delta("m1", "ing")]));
    assert_eq!(late["code"], "message_ended", "{late}");
    for topic in topics {
        new.publish(topic, json!([note(99)]));
        for reader in &mut readers {
            reader.until("the note", |r| r.view(topic).notes() == [99]);
            let view = reader.reader.view(topic);
            assert_eq!(agent::reasons(&view.events, "m1"), ["replaced"]);
            assert_eq!(view.text("m1"), "half a th");
        }
    }
    assert_eq!(metric(&broker, "tidewire_agent_replaced_total"), 1);
}

#[test]
fn p08_an_attach_replaces_a_run_that_only_publishes_over_http() {
    let broker = Broker::start();
    let topic = "/replaced/http";
    let mut http = broker.http();
    http.publish_body(&produced(topic, "a", (7, 1), json!([delta("m", "x")])));
    let (_new, epoch) = attached(broker.addr, "a");
    assert_eq!(epoch, 8);
    assert_eq!(interruptions(&broker, topic, "m"), ["replaced"]);
    let late = broker.refused(&produced(topic, "a", (7, 2), json!([delta("m", "y")])));
    assert_eq!(late["code"], "producer_fenced", "{late}");
}

#[test]
fn p08_an_attach_with_a_lower_epoch_is_refused() {
    let broker = Broker::start();
    let (mut holder, _) = attached_with(
        broker.addr,
        json!({ "producer": { "id": "a", "epoch": 5 } }),
    );
    let mut late = Ws::open(broker.addr);
    let before = metric(&broker, "tidewire_agent_fenced_total");
    let refused = try_attach(&mut late, json!({ "producer": { "id": "a", "epoch": 4 } }));
    assert_eq!(refused["op"], "error", "{refused}");
    assert_eq!(refused["code"], "producer_fenced", "{refused}");
    assert!(metric(&broker, "tidewire_agent_fenced_total") > before);
    // both connections live on, and the refused one may try again
    assert!(holder.publish("/lower/a", json!([note(1)]))["last_seq"] == 1);
    assert_eq!(
        attach(&mut late, json!({ "producer": { "id": "a", "epoch": 6 } })),
        6
    );
    assert_eq!(holder.closed(), 4409);
}

#[test]
fn p08_an_attach_below_what_the_logs_know_is_refused() {
    let broker = Broker::start();
    // a note makes nobody look after its producer: only the log knows
    let mut http = broker.http();
    http.publish_body(&produced("/logs/know", "a", (5, 1), json!([note(1)])));
    let mut ws = Ws::open(broker.addr);
    let refused = try_attach(&mut ws, json!({ "producer": { "id": "a", "epoch": 4 } }));
    assert_eq!(refused["code"], "producer_fenced", "{refused}");
    assert_eq!(
        attach(&mut ws, json!({ "producer": { "id": "a", "epoch": 5 } })),
        5
    );
}

#[test]
fn p08_without_an_epoch_the_next_one_is_given() {
    let broker = Broker::start();
    let mut http = broker.http();
    assert_eq!(attached(broker.addr, "new").1, 1);
    assert_eq!(attached(broker.addr, "new").1, 2);
    // given by a publish over HTTP that left only a trace in a log
    http.publish_body(&produced("/next/a", "http", (41, 1), json!([note(1)])));
    assert_eq!(attached(broker.addr, "http").1, 42);
    // and one while the agent is known
    http.publish_body(&produced("/next/b", "http", (50, 1), json!([note(1)])));
    assert_eq!(attached(broker.addr, "http").1, 51);
    http.publish_body(&produced(
        "/next/b",
        "http",
        (60, 1),
        json!([delta("m", "x")]),
    ));
    assert_eq!(attached(broker.addr, "http").1, 61);
    // given in several topics: the highest counts
    for (n, epoch) in [3, 9, 6].into_iter().enumerate() {
        let topic = format!("/next/many-{n}");
        http.publish_body(&produced(&topic, "many", (epoch, 1), json!([note(1)])));
    }
    assert_eq!(attached(broker.addr, "many").1, 10);
    // the names of others mean nothing
    assert_eq!(attached(broker.addr, "man").1, 1);
}

/// What is refused leaves nothing behind: no epoch either.
#[test]
fn p08_a_refused_publish_gives_no_epoch() {
    let broker = Broker::start();
    let topic = "/refused/epoch";
    let (mut ws, epoch) = attached(broker.addr, "a");
    assert_eq!(epoch, 1);
    let body = json!({ "topic": topic, "events": [note(1)],
                       "producer": { "id": "a", "epoch": 1000, "seq": 7 } });
    assert_eq!(broker.refused(&body)["code"], "producer_unknown");
    let body = json!({ "topic": topic, "events": [delta("m", "x")],
                       "producer": { "id": "a", "epoch": (1u64 << 53) - 1, "seq": 7 } });
    assert_eq!(broker.refused(&body)["code"], "producer_unknown");
    assert_eq!(ws.publish(topic, json!([note(1)]))["last_seq"], 1);
    let mut next = Ws::open(broker.addr);
    let answer = try_attach(&mut next, json!({ "producer": { "id": "a" } }));
    assert_eq!(answer["epoch"], 2, "{answer}");
}

#[test]
fn p08_the_same_run_on_a_new_connection_takes_over() {
    let broker = Broker::start();
    let topic = "/same/run";
    let (mut old, epoch) = attached(broker.addr, "a");
    old.publish(topic, json!([delta("m", "one ")]));
    let (mut new, again) = attached_with(
        broker.addr,
        json!({ "producer": { "id": "a", "epoch": epoch } }),
    );
    assert_eq!(again, epoch);
    assert_eq!(old.closed(), 4409);
    new.publish(topic, json!([delta("m", "two")]));
    new.publish(topic, json!([completed("m")]));
    let mut reader = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("start"),
    );
    assert_eq!(reader.until_seq(topic, 3).text("m"), "one two");
    assert!(interruptions(&broker, topic, "m").is_empty());
    eventually("one attached connection", || {
        (metric(&broker, "tidewire_agents_attached") == 1).then_some(())
    });
    assert_eq!(metric(&broker, "tidewire_agent_replaced_total"), 0);
    drop(new);
    eventually("nobody attached", || {
        (metric(&broker, "tidewire_agents_attached") == 0).then_some(())
    });
}

#[test]
fn p08_a_message_belongs_to_who_opened_it() {
    let broker = Broker::start();
    let topic = "/owned/a";
    let mut http = broker.http();
    let (mut agent, _) = attached(broker.addr, "a");
    agent.publish(topic, json!([delta("hers", "x")]));
    broker.publish(topic, json!([delta("anyones", "x")]));
    for events in [
        json!([delta("hers", "y")]),
        json!([completed("hers")]),
        json!([started("hers")]),
        json!([note(1), delta("hers", "y")]),
    ] {
        let body = json!({ "topic": topic, "events": events });
        let problem = broker.refused(&body);
        assert_eq!(problem["code"], "message_owned", "{body}: {problem}");
        assert_eq!(problem["status"], 409);
        let other = broker.refused(&produced(topic, "b", (1, 1), events));
        assert_eq!(other["code"], "message_owned", "{other}");
    }
    let refused = agent.publish(topic, json!([delta("anyones", "y")]));
    assert_eq!(refused["code"], "message_owned", "{refused}");
    // the same producer in a later epoch that did not attach goes on with it
    let goes_on = produced(topic, "a", (9, 1), json!([delta("hers", "z")]));
    assert_eq!(http.publish_body(&goes_on)["last_seq"], 3);
    assert_eq!(open_messages(&broker, topic), ["anyones", "hers"]);
}

#[test]
fn p08_what_comes_after_a_messages_end_is_refused() {
    let broker = Broker::start();
    let topic = "/ended/a";
    let (mut agent, _) = attached(broker.addr, "a");
    agent.publish(topic, json!([delta("m", "x"), completed("m")]));
    for late in [delta("m", "y"), started("m"), completed("m")] {
        let refused = agent.publish(topic, json!([late]));
        assert_eq!(refused["code"], "message_ended", "{refused}");
        // ended is ended, for others too
        let refused = broker.refused(&json!({ "topic": topic, "events": [late] }));
        assert_eq!(refused["code"], "message_ended", "{refused}");
    }
    assert_eq!(kept(&broker, topic).len(), 2);
}

#[test]
fn p08_a_connection_whose_attach_was_refused_publishes_as_nobody_else() {
    let broker = Broker::start();
    let (_current, _) = attached_with(
        broker.addr,
        json!({ "producer": { "id": "f", "epoch": 5 } }),
    );
    let mut old = Ws::open(broker.addr);
    old.send(&json!({ "op": "attach", "id": 1, "producer": { "id": "f", "epoch": 4 } }));
    // it does not wait for the answer
    let events = json!([delta("m", "from the fenced run")]);
    old.send(&json!({ "op": "publish", "id": 2, "topic": "/fence/late", "events": events }));
    for id in [1, 2] {
        let refused = old.expect("error");
        assert_eq!(
            (&refused["id"], &refused["code"]),
            (&json!(id), &json!("producer_fenced"))
        );
    }
    assert_eq!(broker.head("/fence/late"), 0);
    // with a name of its own it may go on
    let attached = try_attach(&mut old, json!({ "producer": { "id": "g" } }));
    assert_eq!(attached["op"], "attached", "{attached}");
    old.publish("/fence/late", json!([note(1)]));
    assert_eq!(broker.head("/fence/late"), 1);
}

#[test]
fn p08_epochs_are_numbers_that_every_language_holds() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    let beyond = json!({ "producer": { "id": "e", "epoch": 1u64 << 53 } });
    let refused = try_attach(&mut ws, beyond);
    assert_eq!(refused["field"], "producer.epoch", "{refused}");
    let refused = broker.refused(&produced("/fence/e", "e", (1 << 53, 1), json!([note(1)])));
    assert_eq!(refused["field"], "producer.epoch", "{refused}");
    let last = (1u64 << 53) - 1;
    attach(&mut ws, json!({ "producer": { "id": "e", "epoch": last } }));
    let none_left = try_attach(
        &mut Ws::open(broker.addr),
        json!({ "producer": { "id": "e" } }),
    );
    assert_eq!(none_left["code"], "producer_fenced", "{none_left}");
    assert!(
        none_left["message"].as_str().unwrap().contains("used up"),
        "{none_left}"
    );
}
