//! Every frame of AWS AppSync Events, both ways, as its bytes are.

use serde_json::json;

use crate::support::appsync::{AppSync, PROTOCOL, header_protocol, upgrade};
use crate::support::broker::quiet_port;
use crate::support::ws::{FIN_CLOSE, FIN_TEXT};
use crate::support::{Broker, Frame, PATIENCE, Setup};

fn shown() -> String {
    header_protocol(&json!({ "host": "example.com", "x-api-key": "whatever" }))
}

#[test]
fn appsync_the_subprotocol_is_echoed_in_whatever_order_and_spacing_it_was_offered() {
    let broker = Broker::start();
    for offered in [
        format!("{PROTOCOL}, {}", shown()),
        format!("{},{PROTOCOL}", shown()),
        PROTOCOL.to_owned(),
    ] {
        let headers = [("sec-websocket-protocol", offered.as_str())];
        let mut ws = upgrade(broker.addr, &headers).expect("an upgrade");
        ws.send_text(r#"{"type":"connection_init"}"#);
        let ack = r#"{"type":"connection_ack","connectionTimeoutMs":300000}"#;
        assert_eq!(ws.text(), ack);
        assert_eq!(ws.text(), r#"{"type":"ka"}"#);
    }
}

#[test]
fn appsync_a_handshake_without_the_subprotocol_is_refused() {
    let broker = Broker::start();
    for headers in [
        &[][..],
        &[("sec-websocket-protocol", "graphql-ws")],
        &[("sec-websocket-protocol", "tidewire.v1.json")],
        &[("sec-websocket-protocol", "header-e30")],
    ] {
        let refused = upgrade(broker.addr, headers).err().expect("no upgrade");
        assert_eq!(refused.status, 400, "{headers:?}");
    }
    assert_eq!(broker.get("/event/realtime").status, 426);
}

/// Some clients set their handler only after the event of the open connection: what came before is lost to them.
#[test]
fn appsync_nothing_is_said_before_the_client_speaks() {
    let broker = Broker::start();
    let headers = [("sec-websocket-protocol", PROTOCOL)];
    let mut ws = upgrade(broker.addr, &headers).expect("an upgrade");
    // the answer to a ping shows that nothing else stood before it
    ws.send_frame(0x89, b"here");
    let deadline = std::time::Instant::now() + PATIENCE;
    assert_eq!(
        ws.frame_until(deadline),
        Some(Frame::Pong(b"here".to_vec()))
    );
}

#[test]
fn appsync_a_subscriber_gets_what_is_published_as_a_text() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("sub-1", "/default/room");
    client.ws.send_text(
        r#"{"type":"publish","id":"p1","channel":"default/room/","events":["{\"a\":1}","\"two\""],"authorization":{}}"#,
    );
    let (mut answer, mut data) = (None, Vec::new());
    while answer.is_none() || data.len() < 2 {
        let text = client.ws.text();
        match text.contains("publish_success") {
            true => answer = Some(text),
            false => data.push(text),
        }
    }
    assert_eq!(
        data,
        [
            r#"{"type":"data","id":"sub-1","event":"{\"a\":1}"}"#,
            r#"{"type":"data","id":"sub-1","event":"\"two\""}"#,
        ]
    );
    let answer = crate::support::ws::parse(&answer.expect("an answer"));
    assert_eq!(
        (&answer["id"], &answer["failed"]),
        (&json!("p1"), &json!([]))
    );
    let successful = answer["successful"].as_array().expect("a list");
    assert_eq!(successful.len(), 2);
    for (at, event) in successful.iter().enumerate() {
        assert_eq!(event["index"], at);
        assert_eq!(event["identifier"].as_str().map(str::len), Some(36));
    }
}

#[test]
fn appsync_init_is_optional_and_may_come_again() {
    let broker = Broker::start();
    let headers = [("sec-websocket-protocol", PROTOCOL)];
    let mut ws = upgrade(broker.addr, &headers).expect("an upgrade");
    ws.send_text(r#"{"type":"subscribe","id":"a","channel":"/default/x","authorization":{}}"#);
    assert_eq!(ws.text(), r#"{"type":"subscribe_success","id":"a"}"#);
    ws.send_text(r#"{"type":"connection_init"}"#);
    assert!(ws.text().contains("connection_ack"));
    assert_eq!(ws.text(), r#"{"type":"ka"}"#);
}

#[test]
fn appsync_unsubscribe_ends_one_subscription_and_leaves_the_other() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("one", "/default/room");
    client.subscribe("two", "/default/room");
    client.send(json!({ "type": "unsubscribe", "id": "one" }));
    let ended = json!({ "type": "unsubscribe_success", "id": "one" });
    assert_eq!(client.recv(), ended);
    broker.publish("/default/room", json!([{ "type": "event", "data": 1 }]));
    assert_eq!(client.data("two"), "1");
    client.expect_silence();
    // the id is free again
    client.subscribe("one", "/default/other");
}

#[test]
fn appsync_a_wildcard_covers_every_depth_and_what_appears_later() {
    let broker = Broker::start();
    broker.publish(
        "/default/old",
        json!([{ "type": "event", "data": "before" }]),
    );
    let mut client = AppSync::open(broker.addr);
    client.subscribe("all", "/default/*");
    let event = |n: u32| json!([{ "type": "event", "data": n }]);
    broker.publish("/default/old", event(1));
    assert_eq!(client.data("all"), "1");
    broker.publish("/default/new/deep/er", event(2));
    assert_eq!(client.data("all"), "2");
    broker.publish("/defaults/x", event(3));
    broker.publish("/default", event(4));
    client.expect_silence();
    let id = json!({ "type": "unsubscribe", "id": "all" });
    client.send(id);
    assert_eq!(client.recv()["type"], "unsubscribe_success");
    broker.publish("/default/old", event(5));
    broker.publish("/default/newer", event(6));
    client.expect_silence();
}

#[test]
fn appsync_two_subscriptions_of_a_topic_and_a_wildcard_each_get_it() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/room");
    client.subscribe("b", "default/room/");
    client.subscribe("c", "/default/*");
    let answer = client.publish("/default/room", &["7"]);
    assert_eq!(answer["type"], "publish_success");
    let mut heard: Vec<String> = Vec::new();
    while heard.len() < 3 {
        let frame = client.recv();
        if frame["type"] == "data" {
            assert_eq!(frame["event"], "7");
            heard.push(frame["id"].as_str().expect("an id").to_owned());
        }
    }
    heard.sort();
    assert_eq!(heard, ["a", "b", "c"]);
}

#[test]
fn appsync_a_close_is_answered_with_a_close() {
    let broker = Broker::start();
    for payload in [&b""[..], &1000u16.to_be_bytes(), &3001u16.to_be_bytes()] {
        let mut client = AppSync::open(broker.addr);
        client.ws.send_frame(FIN_CLOSE, payload);
        assert_eq!(client.closed(), 1000);
    }
}

#[test]
fn appsync_a_drained_client_is_closed_so_that_it_comes_back() {
    let mut broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/room");
    broker.term();
    assert_eq!(client.closed(), 1001);
    assert!(broker.wait_exit().success());
}

#[test]
fn appsync_messages_may_be_as_large_as_the_largest_publish_and_no_larger() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    // quotes are escaped in the payload, and again in the frame
    let payload = json!("\"".repeat((240 << 10) / 2 - 2)).to_string();
    let payloads = [payload.as_str(); 5];
    let answer = client.publish("/default/large", &payloads);
    assert_eq!(answer["type"], "publish_success", "{answer}");

    let mut client = AppSync::open(broker.addr);
    let header = crate::support::ws::header(FIN_TEXT, 0x80, 6 << 20);
    client.ws.wire.send(&header);
    assert_eq!(
        client.recv()["errors"][0]["errorType"],
        "EventTooLargeException"
    );
    assert_eq!(client.closed(), 1009);
}

#[test]
fn appsync_is_off_where_it_is_switched_off() {
    let broker = Broker::configured("[appsync]\nenabled = false\n");
    let headers = [("sec-websocket-protocol", PROTOCOL)];
    assert_eq!(
        upgrade(broker.addr, &headers).err().map(|r| r.status),
        Some(404)
    );
    assert_eq!(broker.post("/event", "{}").status, 404);
}

/// Clients look for one every 60 s, and init is optional.
#[test]
fn appsync_a_silent_connection_hears_within_a_minute_that_it_lives() {
    let broker = Broker::start();
    let mut greeted = AppSync::open(broker.addr);
    let headers = [("sec-websocket-protocol", PROTOCOL)];
    let mut other = upgrade(broker.addr, &headers).expect("an upgrade");
    other.send_text(r#"{"type":"subscribe","id":"a","channel":"/default/x","authorization":{}}"#);
    assert!(other.text().contains("subscribe_success"));
    let minute = std::time::Duration::from_secs(60);
    let heard = greeted.ws.text_within(minute);
    assert_eq!(heard.as_deref(), Some(r#"{"type":"ka"}"#));
    let heard = other.text_within(PATIENCE);
    assert_eq!(heard.as_deref(), Some(r#"{"type":"ka"}"#));
}

/// Amplify waits for an answer to a publish for as long as the connection lives.
#[test]
fn appsync_what_was_published_before_a_drain_is_answered_before_the_close() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let args = [
        "--engine",
        "disk",
        "--data-dir",
        data.to_str().expect("UTF-8"),
    ];
    let mut broker = Broker::set_up(Setup {
        args: args.map(str::to_owned).to_vec(),
        port: quiet_port(),
        ..Setup::default()
    });
    let mut client = AppSync::open(broker.addr);
    let publishes = 100;
    for number in 0..publishes {
        client.send(json!({
            "type": "publish", "id": format!("p{number}"), "channel": "/default/room",
            "events": ["1"], "authorization": {},
        }));
    }
    broker.term();
    let mut answered = 0;
    let closed = loop {
        let deadline = std::time::Instant::now() + PATIENCE;
        match client.ws.frame_until(deadline).expect("an end") {
            Frame::Text(text) => answered += usize::from(text.contains("publish_success")),
            Frame::Close(code, _) => break code,
            Frame::End => panic!("no close"),
            _ => {}
        }
    };
    assert_eq!(closed, 1001);
    assert!(broker.wait_exit().success());
    broker.start_again();
    let head = broker.read("/v1/topic?topic=/default/room")["head"].clone();
    assert_eq!(head, answered, "what was kept was answered");
    assert!(answered <= publishes);
}
