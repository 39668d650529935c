//! Health, metrics, heartbeats, and connections that end by themselves.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

const BRISK: &str = "[limits]\nping_interval = \"1s\"\nsse_heartbeat = \"1s\"\n";

#[test]
fn operations_health_and_readiness() {
    let broker = Broker::start();
    assert_eq!(broker.get("/healthz").status, 200);
    assert_eq!(broker.get("/readyz").status, 200);
}

#[test]
fn operations_metrics_are_for_prometheus() {
    let broker = Broker::configured("[namespace.metered]\n");
    let _ws = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic("/metered/secret-topic"),
    );
    let _sse = Follower::open(
        Transport::Sse,
        broker.addr,
        Ask::topic("/metered/secret-topic"),
    );
    broker.publish("/metered/secret-topic", json!([delta("m", "x"), note(1)]));
    let response = broker.get("/metrics");
    assert_eq!(response.status, 200);
    let kind = response.header("content-type").unwrap_or_default();
    assert!(
        kind.starts_with("text/plain") || kind.starts_with("application/openmetrics-text"),
        "{kind}"
    );
    let text = response.text();
    for word in [
        "connection",
        "subscription",
        "events",
        "bytes",
        "publish_seconds",
        "delivery_seconds",
        "outbox",
        "merge",
        "open_messages",
    ] {
        assert!(text.contains(word), "nothing about {word}:\n{text}");
    }
    assert!(text.contains("# TYPE") && text.contains("# HELP"), "{text}");
    assert!(text.contains("metered"), "per namespace:\n{text}");
    assert!(!text.contains("secret-topic"), "never per topic:\n{text}");
}

#[test]
fn operations_the_server_pings_a_silent_client() {
    let broker = Broker::configured(BRISK);
    let mut ws = Ws::open(broker.addr);
    assert_eq!(ws.welcome["ping_ms"], 1000);
    let begin = Instant::now();
    for _ in 0..3 {
        let frame = ws.frame_until(Instant::now() + PATIENCE).expect("a ping");
        assert!(matches!(frame, Frame::Ping(_)), "{frame:?}");
    }
    assert!(
        begin.elapsed() > Duration::from_millis(1500),
        "a ping after each silence only"
    );
}

#[test]
fn operations_a_client_that_answers_pings_stays() {
    let broker = Broker::configured(BRISK);
    let mut ws = Ws::open(broker.addr);
    ws.subscribe("/idle/stays", "live");
    let begin = Instant::now();
    // Longer than 2.5 heartbeats, kept up by nothing but its pongs.
    while begin.elapsed() < Duration::from_millis(3500) {
        let frame = ws.frame_until(Instant::now() + PATIENCE).expect("a ping");
        assert!(matches!(frame, Frame::Ping(_)), "{frame:?}");
    }
    broker.publish("/idle/stays", json!([note(1)]));
    ws.expect("events");
}

#[test]
fn operations_a_dead_peer_is_closed_as_idle() {
    let broker = Broker::configured(BRISK);
    let mut ws = Ws::open(broker.addr);
    ws.answers_pings = false;
    let begin = Instant::now();
    assert_eq!(ws.closed(), 4408);
    assert!(
        begin.elapsed() > Duration::from_secs(2),
        "too early: {:?}",
        begin.elapsed()
    );
    assert!(
        begin.elapsed() < Duration::from_secs(6),
        "too late: {:?}",
        begin.elapsed()
    );
}

/// A reader may be busy receiving and still be dead: what counts is what it sends.
#[test]
fn operations_browsers_may_keep_up_by_op_ping() {
    let broker = Broker::configured(BRISK);
    let mut ws = Ws::open(broker.addr);
    ws.answers_pings = false;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(3500) {
        ws.send(&json!({ "op": "ping" }));
        let pause = Instant::now() + Duration::from_millis(300);
        while let Some(frame) = ws.frame_until(pause) {
            assert!(!matches!(frame, Frame::Close(..) | Frame::End), "{frame:?}");
        }
    }
}

#[test]
fn operations_an_idle_stream_has_comments() {
    let broker = Broker::configured(BRISK);
    let mut sse = Sse::open(broker.addr, "/v1/sse?topic=/idle/stream");
    sse.event();
    for _ in 0..2 {
        let block = sse.block().expect("a comment");
        assert!(
            block.data.is_none() && !block.comments.is_empty(),
            "{block:?}"
        );
    }
}

#[test]
fn operations_a_reader_that_left_is_noticed() {
    let broker = Broker::start();
    let topic = "/idle/left";
    broker.publish(topic, json!([note(0)]));
    for transport in BOTH {
        let reader = Follower::open(transport, broker.addr, Ask::topic(topic));
        eventually("the reader", || (broker.readers(topic) == 1).then_some(()));
        drop(reader);
        eventually("its end", || (broker.readers(topic) == 0).then_some(()));
    }
}

#[test]
fn operations_old_connections_are_sent_home() {
    let broker = Broker::configured("max_connection_age = \"1s\"\n");
    let mut ws = Ws::open(broker.addr);
    let mut sse = Sse::open(broker.addr, "/v1/sse?topic=/old/stream");
    let begin = Instant::now();
    assert_eq!(ws.closed(), 4503);
    while sse.block().is_some() {}
    assert!(
        begin.elapsed() > Duration::from_millis(600),
        "too early: {:?}",
        begin.elapsed()
    );
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "too late: {:?}",
        begin.elapsed()
    );
}

#[test]
fn operations_a_reader_survives_its_connections_ages() {
    let broker = Broker::configured("max_connection_age = \"1s\"\n");
    for transport in BOTH {
        let topic = format!("/old/resumes-{transport:?}");
        let mut reader = Follower::open(transport, broker.addr, Ask::topic(&topic).from("start"));
        broker.publish(&topic, events::notes(0..5));
        while reader.step().is_some() {}
        broker.publish(&topic, events::notes(5..10));
        reader.come_back();
        let view = reader.until_seq(&topic, 10);
        assert_eq!(view.notes(), (0..10).collect::<Vec<_>>());
    }
}

/// A full broker answers a stream with 200, a time to come back and an end: an `EventSource` gives up on
/// anything else.
#[test]
fn operations_a_full_broker_sends_streams_home_politely() {
    let broker = Broker::configured("[limits]\nmax_connections = 8\n");
    let mut held = Vec::new();
    let refused = (0..20).find_map(|n| {
        let mut sse = Sse::open(broker.addr, &format!("/v1/sse?topic=/full/{n}"));
        let first = sse.event();
        if first.kind() == "tidewire.draining" {
            return Some((sse, first));
        }
        held.push(sse);
        None
    });
    let (mut sse, block) = refused.expect("the limit was never reached");
    assert!(held.len() <= 8, "{} streams were held", held.len());
    assert_eq!(block.event.as_deref(), Some("tidewire.draining"));
    assert!(sse.retry.is_some_and(|ms| ms > 0), "when to come back");
    assert!(sse.try_event().is_none(), "and an end");
}

#[test]
fn operations_settings_come_from_file_environment_and_flags() {
    let from_flag = Broker::set_up(Setup {
        args: vec!["--limits-max-subscriptions".into(), "7".into()],
        env: vec![("TIDEWIRE_LIMITS_MAX_SUBSCRIPTIONS".into(), "6".into())],
        config: "[limits]\nmax_subscriptions = 5\n".into(),
        port: 0,
        ..Setup::default()
    });
    let told =
        |broker: &Broker| Ws::open(broker.addr).welcome["limits"]["max_subscriptions"].clone();
    assert_eq!(told(&from_flag), 7);
    let from_environment = Broker::set_up(Setup {
        env: vec![("TIDEWIRE_LIMITS_MAX_SUBSCRIPTIONS".into(), "6".into())],
        config: "[limits]\nmax_subscriptions = 5\n".into(),
        ..Setup::default()
    });
    assert_eq!(told(&from_environment), 6);
    assert_eq!(
        told(&Broker::configured("[limits]\nmax_subscriptions = 5\n")),
        5
    );
}

#[test]
fn operations_logs_have_no_payloads() {
    let broker = Broker::start();
    let secret = "a-very-private-sentence";
    broker.publish("/log/quiet", json!([delta("m", secret)]));
    broker
        .refused(&json!({ "topic": "/log/quiet", "events": [{ "type": "bad", "data": secret }] }));
    let mut ws = Ws::open(broker.addr);
    ws.subscribe("/log/quiet", "start");
    ws.expect("events");
    ws.send_text(secret);
    ws.expect("error");
    assert!(!broker.stderr().contains(secret), "{}", broker.stderr());
}

#[test]
fn operations_strict_namespaces_admit_only_what_is_configured() {
    let config = "strict_namespaces = true\n[namespace.known]\n";
    let broker = Broker::configured(config);
    broker.publish("/known/a", json!([note(1)]));
    let problem = broker.refused(&json!({ "topic": "/unknown/a", "events": [note(1)] }));
    assert!(problem["status"].as_u64() < Some(500), "{problem}");
}

/// Sixty seconds after its end a message's deltas may go (here at once): no gap, and the text stays.
#[test]
fn operations_an_ended_messages_deltas_may_go_without_a_gap() {
    let broker = Broker::configured("[limits]\ncompact_after = \"1s\"\n");
    let topic = "/compact/soon";
    broker.publish(topic, json!([note(0)]));
    broker.publish(topic, events::tokens("m", 0..50));
    let answer = broker.publish(topic, json!([completed("m"), note(1)]));
    let epoch = answer["epoch"].as_str().unwrap().to_owned();
    eventually("the deltas to go", || {
        let page = broker.read(&format!("/v1/events?topic={topic}&limit=1000"));
        (page["events"].as_array()?.len() < 52).then_some(())
    });
    assert_eq!(
        broker.topic(topic)["first_seq"],
        1,
        "retention's edge does not move"
    );
    for transport in BOTH {
        for from in [
            "start".to_owned(),
            format!("{epoch}:1"),
            format!("{epoch}:20"),
        ] {
            let mut reader = Follower::open(transport, broker.addr, Ask::topic(topic).from(&from));
            reader.reader.filtered = true;
            reader.until("the end of the message", |reader| {
                reader
                    .view(topic)
                    .messages
                    .get("m")
                    .is_some_and(|m| m.ended.is_some())
            });
            said_whole(&reader.view().text("m"), 50);
            assert!(reader.view().gaps.is_empty() && reader.view().resets.is_empty());
        }
    }
}
