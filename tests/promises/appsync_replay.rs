//! Replay for clients that never ask for it: who subscribes again with the same id misses nothing.

use serde_json::{Value, json};

use crate::support::appsync::token;
use crate::support::{AppSync, Broker, Token, eventually};

fn publish(broker: &Broker, topic: &str, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        broker.publish(topic, json!([{ "type": "event", "data": number }]));
    }
}

/// Numbers that come until `last` did.
fn heard(client: &mut AppSync, id: &str, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        numbers.push(client.data(id).parse().expect("a number"));
    }
    numbers
}

#[test]
fn appsync_what_came_while_the_client_was_away_comes_first() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/room");
    publish(&broker, "/default/room", 1..=3);
    assert_eq!(heard(&mut client, "a", 3), [1, 2, 3]);
    client.confirm();
    client.cut();
    publish(&broker, "/default/room", 4..=6);
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "default/room/");
    publish(&broker, "/default/room", 7..=7);
    let all = heard(&mut client, "a", 7);
    assert_eq!(all, (all[0]..=7).collect::<Vec<u64>>(), "in order");
    assert!(all[0] <= 4, "4 was missed: {all:?}");
    // another id begins at the end
    let mut other = AppSync::open(broker.addr);
    other.subscribe("b", "/default/room");
    publish(&broker, "/default/room", 8..=8);
    assert_eq!(heard(&mut other, "b", 8), [8]);
}

/// What was confirmed does not come again.
#[test]
fn appsync_only_what_was_not_confirmed_comes_again() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/room");
    publish(&broker, "/default/room", 1..=5);
    heard(&mut client, "a", 5);
    client.confirm();
    eventually("the confirmed position is kept", || {
        (metric(&broker, "tidewire_bookmark_saves_total", "") >= 2).then_some(())
    });
    client.ws.answers_pings = false;
    publish(&broker, "/default/room", 6..=8);
    heard(&mut client, "a", 8);
    client.cut();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/room");
    publish(&broker, "/default/room", 9..=9);
    assert_eq!(heard(&mut client, "a", 9), [6, 7, 8, 9]);
}

/// The first line of the metric that has this label.
fn metric(broker: &Broker, name: &str, label: &str) -> u64 {
    let text = broker.get("/metrics").text();
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with(name) && line.contains(label));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.map_or(0, |value| value.parse().expect("a number"))
}

/// The kernel took what the peer never got: nobody may take that for received.
#[test]
fn appsync_what_stayed_in_a_dead_network_comes_again() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/room");
    publish(&broker, "/default/room", 1..=2);
    heard(&mut client, "a", 2);
    client.confirm();
    // from here on it reads nothing, as if its network had gone
    publish(&broker, "/default/room", 3..=9);
    eventually("everything is written", || {
        let frames = metric(&broker, "tidewire_frames_out_total", "appsync");
        (frames >= 9).then_some(())
    });
    let mut again = AppSync::open(broker.addr);
    again.subscribe("a", "/default/room");
    publish(&broker, "/default/room", 10..=10);
    let all = heard(&mut again, "a", 10);
    assert_eq!(all, (all[0]..=10).collect::<Vec<u64>>());
    assert!(all[0] <= 3, "{all:?}");
    drop(client);
}

#[test]
fn appsync_wildcards_are_replayed_with_topics_that_appeared_meanwhile() {
    let broker = Broker::start();
    publish(&broker, "/default/a", 1..=2);
    let mut client = AppSync::open(broker.addr);
    client.subscribe("all", "/default/*");
    publish(&broker, "/default/a", 3..=3);
    publish(&broker, "/default/b", 10..=10);
    assert_eq!(client.data("all"), "3");
    assert_eq!(client.data("all"), "10");
    client.confirm();
    client.cut();
    publish(&broker, "/default/a", 4..=4);
    publish(&broker, "/default/b", 11..=11);
    publish(&broker, "/default/c/d", 20..=21);
    let mut client = AppSync::open(broker.addr);
    client.subscribe("all", "/default/*");
    let mut all: Vec<u64> = Vec::new();
    while ![4, 11, 20, 21].iter().all(|number| all.contains(number)) {
        all.push(client.data("all").parse().expect("a number"));
    }
    let at = |number| all.iter().position(|heard| *heard == number);
    assert!(at(20) < at(21), "{all:?}");
    assert!(!all.contains(&1) && !all.contains(&2), "{all:?}");
}

#[test]
fn appsync_nothing_is_replayed_to_another_principal_or_after_unsubscribe() {
    let broker = Broker::guarded("");
    let shown = |name: &str| token(&Token::of_all(name).sign());
    let event = |number: u64| number.to_string();
    let mut ada = AppSync::open_as(broker.addr, shown("ada"));
    ada.subscribe("same", "/default/room");
    ada.publish("/default/room", &[&event(1)]);
    assert_eq!(ada.recv()["type"], "data");
    ada.cut();
    let mut publisher = AppSync::open_as(broker.addr, shown("publisher"));
    publisher.publish("/default/room", &[&event(2)]);
    let mut bob = AppSync::open_as(broker.addr, shown("bob"));
    bob.subscribe("same", "/default/room");
    publisher.publish("/default/room", &[&event(3)]);
    assert_eq!(heard(&mut bob, "same", 3), [3]);
    // on one connection each subscription is of whoever asked for it
    let answer = bob.try_subscribe_as("same-2", "/default/room", shown("ada"));
    assert_eq!(answer["type"], "subscribe_success");
    let mut ada = AppSync::open_as(broker.addr, shown("ada"));
    ada.subscribe("same", "/default/room");
    publisher.publish("/default/room", &[&event(4)]);
    let all = heard(&mut ada, "same", 4);
    assert!(all.ends_with(&[2, 3, 4]), "{all:?}");
    ada.send(json!({ "type": "unsubscribe", "id": "same" }));
    assert_eq!(ada.recv()["type"], "unsubscribe_success");
    publisher.publish("/default/room", &[&event(5)]);
    ada.subscribe("same", "/default/room");
    publisher.publish("/default/room", &[&event(6)]);
    assert_eq!(heard(&mut ada, "same", 6), [6]);
}

#[test]
fn appsync_replay_is_off_where_it_is_switched_off() {
    let broker = Broker::configured("[appsync]\nreplay = false\n");
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/room");
    publish(&broker, "/default/room", 1..=1);
    assert_eq!(heard(&mut client, "a", 1), [1]);
    client.cut();
    publish(&broker, "/default/room", 2..=2);
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/room");
    publish(&broker, "/default/room", 3..=3);
    assert_eq!(heard(&mut client, "a", 3), [3]);
}

/// The one that took over is the one that counts, even while the old connection still stands.
#[test]
fn appsync_a_connection_that_is_still_there_spoils_nothing() {
    let broker = Broker::start();
    let mut old = AppSync::open(broker.addr);
    old.subscribe("a", "/default/room");
    publish(&broker, "/default/room", 1..=1);
    heard(&mut old, "a", 1);
    let mut new = AppSync::open(broker.addr);
    new.subscribe("a", "/default/room");
    new.ws.answers_pings = false;
    publish(&broker, "/default/room", 2..=4);
    heard(&mut old, "a", 4);
    old.confirm();
    heard(&mut new, "a", 4);
    new.cut();
    let mut third = AppSync::open(broker.addr);
    third.subscribe("a", "/default/room");
    publish(&broker, "/default/room", 5..=5);
    let all = heard(&mut third, "a", 5);
    assert!(
        all.ends_with(&[2, 3, 4, 5]),
        "what `new` never confirmed: {all:?}"
    );
}

/// Retention took what was missed: the client is told, and goes on with what is kept.
#[test]
fn appsync_what_is_gone_is_told_as_an_error_of_its_broadcast() {
    let broker = Broker::configured(
        "[limits]\nmax_batch_events = 2\n[namespace.default]\nretention_events = 4\n",
    );
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/room");
    publish(&broker, "/default/room", 1..=1);
    heard(&mut client, "a", 1);
    client.cut();
    publish(&broker, "/default/room", 2..=9);
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/room");
    let told = loop {
        let frame = client.recv();
        if frame["type"] != "data" {
            break frame;
        }
    };
    assert_eq!(
        (&told["type"], &told["id"]),
        (&json!("broadcast_error"), &json!("a"))
    );
    let errors: &Value = &told["errors"][0];
    assert_eq!(errors["errorType"], "MessageProcessingError");
    assert!(
        errors["message"]
            .as_str()
            .expect("words")
            .contains("are not kept any more")
    );
    assert_eq!(heard(&mut client, "a", 9), [6, 7, 8, 9]);
}

/// Topics that were born and erased under a wildcard take no place: not on the connection, nor in what is kept.
#[test]
fn appsync_topics_that_are_gone_are_not_kept() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("all", "/d/*");
    for number in 0..110u64 {
        let topic = format!("/d/{number}");
        publish(&broker, &topic, number..=number);
        assert_eq!(client.data("all"), number.to_string());
        let gone = broker
            .http()
            .request("DELETE", &format!("/v1/topic?topic={topic}"), &[], b"");
        assert!(gone.status < 300, "{}", gone.text());
        let told = client.recv();
        assert_eq!(told["type"], "broadcast_error", "{told}");
    }
    publish(&broker, "/d/alive", 500..=500);
    assert_eq!(client.data("all"), "500");
    // one that comes again is read again
    publish(&broker, "/d/7", 700..=700);
    assert_eq!(client.data("all"), "700");
    client.confirm();
    client.cut();
    publish(&broker, "/d/alive", 501..=501);
    publish(&broker, "/d/born", 600..=600);
    let mut client = AppSync::open(broker.addr);
    client.subscribe("all", "/d/*");
    let mut all: Vec<u64> = Vec::new();
    while ![501, 600].iter().all(|number| all.contains(number)) {
        all.push(client.data("all").parse().expect("a number"));
    }
    assert!(all.iter().all(|number| *number >= 500), "{all:?}");
}
