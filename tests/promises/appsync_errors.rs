//! Every error of AWS AppSync Events that is known, and what else a client may get wrong.

use serde_json::{Value, json};

use crate::support::appsync::{AppSync, PROTOCOL, header_protocol, token, upgrade};
use crate::support::{Broker, Setup, Token};

/// The error of an answer: its frame's type, its type and its message.
fn error(frame: &Value) -> (&str, &str, Option<&str>) {
    let error = &frame["errors"][0];
    (
        frame["type"].as_str().expect("a type"),
        error["errorType"].as_str().expect("an error's type"),
        error["message"].as_str(),
    )
}

const NOT_AUTHORIZED: Option<&str> = Some("You are not authorized to make this call.");

#[test]
fn appsync_too_many_events_are_refused_in_the_words_of_appsync() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/room");
    let answer = client.publish("/default/room", &["1", "2", "3", "4", "5", "6"]);
    let told = (
        "publish_error",
        "InvalidInputError",
        Some("input exceeded 5 event limit"),
    );
    assert_eq!(error(&answer), told);
    client.expect_silence();

    let more = Broker::configured("[appsync]\nmax_events = 7\n");
    let mut client = AppSync::open(more.addr);
    let answer = client.publish("/default/room", &["1", "2", "3", "4", "5", "6"]);
    assert_eq!(answer["type"], "publish_success");
}

#[test]
fn appsync_what_is_not_an_event_refuses_the_publish_whole() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/room");
    let large = json!("x".repeat(240 << 10)).to_string();
    for (events, error_type) in [
        (json!([]), "InvalidInputError"),
        (json!("1"), "InvalidInputError"),
        (json!(["1", 2]), "InvalidInputError"),
        (json!(["1", { "a": 1 }]), "InvalidInputError"),
        (json!(["1", "no json"]), "InvalidInputError"),
        (json!(["1", ""]), "InvalidInputError"),
        (json!(["1", "{\"a\":}"]), "InvalidInputError"),
        (json!(["1", large]), "EventTooLargeException"),
        (Value::Null, "InvalidInputError"),
    ] {
        client.send(json!({
            "type": "publish", "id": "p", "channel": "/default/room", "events": events,
            "authorization": {},
        }));
        let answer = client.recv();
        assert_eq!(error(&answer).0, "publish_error", "{answer}");
        assert_eq!(error(&answer).1, error_type, "{answer}");
        assert_eq!(answer["id"], "p");
    }
    client.expect_silence();
}

#[test]
fn appsync_bad_channels_are_refused() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    let long = format!("/default/{}", "a".repeat(51));
    for channel in [
        "",
        "/",
        "//",
        "/a//b",
        "/default/a.b",
        "/default/a_b",
        "/-a",
        "/a-",
        "/a/b/c/d/e/f",
        "/default/*/x",
        "/default/a*",
        "/*/x",
        "/default/ü",
        long.as_str(),
    ] {
        let answer = client.try_subscribe("s", channel);
        assert_eq!(error(&answer).0, "subscribe_error", "{channel}: {answer}");
        assert_eq!(error(&answer).1, "InvalidInputError", "{channel}");
        let answer = client.publish(channel, &["1"]);
        assert_eq!(error(&answer).0, "publish_error", "{channel}: {answer}");
        assert_eq!(error(&answer).1, "InvalidInputError", "{channel}");
    }
    let answer = client.publish("/default/*", &["1"]);
    assert_eq!(error(&answer).0, "publish_error");
    assert_eq!(error(&answer).1, "InvalidInputError");
    for channel in [
        "/a",
        "a",
        "a/",
        "/A-9/b/c/d/e",
        "/default/*",
        "/*",
        "/a/b/c/d/*",
    ] {
        client.subscribe(&format!("ok-{}", channel.len()), channel);
        let id = format!("ok-{}", channel.len());
        client.send(json!({ "type": "unsubscribe", "id": id }));
        assert_eq!(client.recv()["type"], "unsubscribe_success", "{channel}");
    }
}

#[test]
fn appsync_ids_are_checked() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("same", "/default/room");
    let again = client.try_subscribe("same", "/default/room");
    assert_eq!(error(&again).0, "subscribe_error");
    assert_eq!(error(&again).1, "InvalidInputError");
    let other = client.try_subscribe("same", "/default/other");
    assert_eq!(error(&other).0, "subscribe_error");
    // the one that was there lives on
    broker.publish("/default/room", json!([{ "type": "event", "data": 1 }]));
    assert_eq!(client.data("same"), "1");

    client.send(json!({ "type": "unsubscribe", "id": "unknown" }));
    let answer = client.recv();
    let told = (
        "unsubscribe_error",
        "UnknownOperationError",
        Some("Unknown operation id unknown"),
    );
    assert_eq!(error(&answer), told);
    assert_eq!(answer["id"], "unknown");

    let long = "a".repeat(129);
    for id in ["", "a b", "a/b", "ü", long.as_str()] {
        for kind in ["subscribe", "unsubscribe", "publish"] {
            client.send(json!({
                "type": kind, "id": id, "channel": "/default/x", "events": ["1"],
                "authorization": {},
            }));
            let answer = client.recv();
            assert_eq!(answer["type"], format!("{kind}_error"), "{id}");
        }
    }
    client.send(json!({ "type": "subscribe", "channel": "/default/x", "authorization": {} }));
    assert_eq!(client.recv()["type"], "subscribe_error");
}

#[test]
fn appsync_unknown_frames_are_answered_and_the_connection_lives_on() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    for (frame, id) in [
        (r#"{"type":"start","id":"x"}"#, json!("x")),
        (r#"{"type":7}"#, Value::Null),
        (r#"{}"#, Value::Null),
        (r#"[1]"#, Value::Null),
        ("no json", Value::Null),
        ("", Value::Null),
    ] {
        client.ws.send_text(frame);
        let answer = client.recv();
        assert_eq!(answer["type"], "error", "{frame}");
        assert_eq!(answer["id"], id, "{frame}");
        assert!(
            answer.get("event").is_none(),
            "Amplify would take it for a payload"
        );
    }
    client.ws.send_text(r#"{"type":"start","id":"x"}"#);
    assert_eq!(
        client.recv()["errors"][0]["errorType"],
        "UnsupportedOperation"
    );
    client.subscribe("a", "/default/room");
}

#[test]
fn appsync_subscriptions_of_a_connection_are_bounded() {
    let broker = Broker::configured("[appsync]\nmax_subscriptions = 3\n");
    let mut client = AppSync::open(broker.addr);
    for id in ["a", "b", "c"] {
        client.subscribe(id, &format!("/default/{id}"));
    }
    let answer = client.try_subscribe("d", "/default/d");
    assert_eq!(error(&answer).1, "MaxSubscriptionsReachedError");
    client.send(json!({ "type": "unsubscribe", "id": "a" }));
    assert_eq!(client.recv()["type"], "unsubscribe_success");
    client.subscribe("d", "/default/d");

    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    for id in 0..200 {
        client.subscribe(&format!("s{id}"), "/default/room");
    }
    let answer = client.try_subscribe("one-more", "/default/room");
    assert_eq!(error(&answer).1, "MaxSubscriptionsReachedError");
}

#[test]
fn appsync_over_its_rate_a_publish_is_told_so() {
    let config = "[namespace.slow]\npublish_rate = 1\npublish_burst = 2\n";
    let broker = Broker::configured(config);
    let mut client = AppSync::open(broker.addr);
    assert_eq!(
        client.publish("/slow/a", &["1", "2"])["type"],
        "publish_success"
    );
    let answer = client.publish("/slow/a", &["3"]);
    assert_eq!(error(&answer).0, "publish_error");
    assert_eq!(error(&answer).1, "LimitExceededError");
}

#[test]
fn appsync_a_bad_header_is_told_in_band_and_not_tried_again() {
    let broker = Broker::start();
    for bad in [
        "header-",
        "header-***",
        "header-bm8ganNvbg",
        "header-WzFd",
        "header-eyJ4LWFwaS1rZXkiOjd9",
    ] {
        let offered = format!("{PROTOCOL}, {bad}");
        let headers = [("sec-websocket-protocol", offered.as_str())];
        let mut ws = upgrade(broker.addr, &headers).expect("an upgrade");
        ws.send_text(r#"{"type":"connection_init"}"#);
        let answer = ws.recv();
        assert_eq!(error(&answer).0, "connection_error", "{bad}");
        assert_eq!(error(&answer).1, "BadRequestException", "{bad}");
        assert_eq!(answer["errors"][0]["errorCode"], 400, "{bad}");
        assert_eq!(ws.closed(), 1000);
    }
}

#[test]
fn appsync_frames_before_authorization_are_not_answered_but_with_the_refusal() {
    let broker = Broker::guarded("[defaults]\nread = \"authenticated\"\n");
    for first in [
        r#"{"type":"connection_init"}"#,
        r#"{"type":"subscribe","id":"a","channel":"/default/x","authorization":{}}"#,
        r#"{"type":"publish","id":"a","channel":"/default/x","events":["1"],"authorization":{}}"#,
        "no json",
    ] {
        for shown in [
            json!({}),
            token("nonsense"),
            json!({ "x-api-key": "da2-wrong" }),
        ] {
            let offered = format!("{PROTOCOL}, {}", header_protocol(&shown));
            let headers = [("sec-websocket-protocol", offered.as_str())];
            let mut ws = upgrade(broker.addr, &headers).expect("an upgrade");
            ws.send_text(first);
            let answer = ws.recv();
            assert_eq!(
                answer,
                json!({ "type": "connection_error", "errors": [{
                    "errorType": "UnauthorizedException", "errorCode": 401,
                    "message": "You are not authorized to make this call.",
                }] })
            );
            assert_eq!(ws.closed(), 1000);
        }
    }
}

#[test]
fn appsync_who_says_nothing_and_showed_nothing_is_told_in_the_end() {
    let broker = Broker::guarded("[limits]\nauth_timeout = \"1s\"\n");
    let headers = [("sec-websocket-protocol", PROTOCOL)];
    let mut ws = upgrade(broker.addr, &headers).expect("an upgrade");
    assert_eq!(error(&ws.recv()).0, "connection_error");
    assert_eq!(ws.closed(), 1000);
}

#[test]
fn appsync_an_undefined_namespace_is_refused_without_a_word() {
    let broker = Broker::set_up(Setup {
        config: "strict_namespaces = true\n[namespace.default]\n".to_owned(),
        ..Setup::default()
    });
    let mut client = AppSync::open(broker.addr);
    let answer = client.publish("/other/x", &["1"]);
    assert_eq!(
        error(&answer),
        ("publish_error", "UnauthorizedException", None)
    );
    for channel in ["/other/x", "/other/*"] {
        let answer = client.try_subscribe("s", channel);
        assert_eq!(
            error(&answer),
            ("subscribe_error", "UnauthorizedException", None)
        );
    }
    client.subscribe("s", "/default/*");
    let response = broker.post("/event", r#"{"channel":"/other/x","events":["1"]}"#);
    assert_eq!(response.status, 401);
    assert_eq!(
        response.json()["errors"],
        json!([{ "errorType": "UnauthorizedException" }])
    );
}

#[test]
fn appsync_a_denied_channel_leaves_the_allowed_one_beside_it() {
    let broker = Broker::guarded("");
    let ada = Token::of("ada")
        .grant("subscribe", &["/chat/ada/**"])
        .sign();
    let mut client = AppSync::open_as(broker.addr, token(&ada));
    client.subscribe("mine", "/chat/ada/1");
    for channel in ["/chat/bob/1", "/chat/bob/*", "/other/*"] {
        let answer = client.try_subscribe("theirs", channel);
        assert_eq!(
            error(&answer),
            ("subscribe_error", "UnauthorizedException", NOT_AUTHORIZED)
        );
    }
    let answer = client.publish("/chat/ada/1", &["1"]);
    assert_eq!(
        error(&answer),
        ("publish_error", "UnauthorizedException", NOT_AUTHORIZED)
    );
    let bob = Token::of_all("bob").sign();
    let answer = client.publish_as("/chat/ada/1", &["2"], token(&bob));
    assert_eq!(
        answer["type"], "publish_success",
        "who publishes is said with the publish"
    );
    assert_eq!(client.data("mine"), "2");
}

/// Amplify lost track of what it reads, and subscribes all of it again: that is no mistake.
#[test]
fn appsync_an_id_that_comes_again_with_its_channel_after_a_while_is_read_on() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("same", "/default/room");
    let answer = crate::support::eventually("it is taken for one that lost track", || {
        let answer = client.try_subscribe("same", "/default/room");
        (answer["type"] == "subscribe_success").then_some(answer)
    });
    assert_eq!(answer["id"], "same");
    let other = client.try_subscribe("same", "/default/other");
    assert_eq!(error(&other).0, "subscribe_error");
    broker.publish("/default/room", json!([{ "type": "event", "data": 1 }]));
    assert_eq!(client.data("same"), "1");
    client.expect_silence();
}
