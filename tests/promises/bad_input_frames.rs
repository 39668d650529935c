//! Bad input, by its WebSocket frames: close codes say whose fault it was, and nobody else notices.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::ws::{
    FIN_BINARY, FIN_CLOSE, FIN_CONTINUATION, FIN_PING, FIN_PONG, FIN_TEXT, header, masked,
};
use crate::support::*;

const NOT_OUR_PROTOCOL: u16 = 4400;
const TOO_LARGE: u16 = 4413;

/// Sends these bytes on a fresh connection: the code it is closed with. A neighbour stays.
fn closed_by(broker: &mut Broker, bytes: &[u8]) -> u16 {
    let mut neighbour = Ws::open(broker.addr);
    let mut ws = Ws::open(broker.addr);
    let _ = ws.wire.try_send(bytes);
    let code = ws.closed();
    neighbour.send(&json!({ "op": "ping" }));
    neighbour.expect("pong");
    broker.assert_healthy();
    code
}

#[test]
fn bad_input_an_unmasked_frame() {
    let mut broker = Broker::start();
    let mut frame = header(FIN_TEXT, 0, 13);
    frame.extend(br#"{"op":"ping"}"#);
    assert_eq!(closed_by(&mut broker, &frame), NOT_OUR_PROTOCOL);
}

#[test]
fn bad_input_reserved_bits_and_opcodes() {
    let mut broker = Broker::start();
    for first in [
        FIN_TEXT | 0x40,
        FIN_TEXT | 0x20,
        FIN_TEXT | 0x10,
        0x83,
        0x87,
        0x8b,
        0x8f,
    ] {
        let frame = masked(first, br#"{"op":"ping"}"#);
        assert_eq!(
            closed_by(&mut broker, &frame),
            NOT_OUR_PROTOCOL,
            "first byte {first:#x}"
        );
    }
}

#[test]
fn bad_input_control_frames_that_are_fragmented_or_long() {
    let mut broker = Broker::start();
    let fragmented = masked(FIN_PING & 0x7f, b"x");
    assert_eq!(closed_by(&mut broker, &fragmented), NOT_OUR_PROTOCOL);
    let long = masked(FIN_PING, &[b'x'; 126]);
    assert_eq!(closed_by(&mut broker, &long), NOT_OUR_PROTOCOL);
}

#[test]
fn bad_input_fragments_out_of_place() {
    let mut broker = Broker::start();
    let stray = masked(FIN_CONTINUATION, b"x");
    assert_eq!(
        closed_by(&mut broker, &stray),
        NOT_OUR_PROTOCOL,
        "a continuation of nothing"
    );
    let interrupted = [masked(0x01, b"{"), masked(FIN_TEXT, b"{}")].concat();
    assert_eq!(
        closed_by(&mut broker, &interrupted),
        NOT_OUR_PROTOCOL,
        "a new message inside one"
    );
}

#[test]
fn bad_input_binary_on_the_json_subprotocol() {
    let mut broker = Broker::start();
    let frame = masked(FIN_BINARY, br#"{"op":"ping"}"#);
    assert_eq!(closed_by(&mut broker, &frame), NOT_OUR_PROTOCOL);
}

#[test]
fn bad_input_text_that_is_not_utf8() {
    let mut broker = Broker::start();
    let frame = masked(FIN_TEXT, b"{\"op\":\"\xff\"}");
    assert_eq!(closed_by(&mut broker, &frame), NOT_OUR_PROTOCOL);
}

/// Found from the header: the gigabyte never has to arrive.
#[test]
fn bad_input_a_frame_that_declares_a_gigabyte() {
    let mut broker = Broker::start();
    let before = broker.rss_kb();
    for length in [1_048_577u64, 1 << 30, 1 << 40, u64::MAX] {
        let mut frame = header(FIN_TEXT, 0x80, length);
        frame.extend([1, 2, 3, 4]);
        let code = closed_by(&mut broker, &frame);
        if length == u64::MAX {
            // RFC 6455 §5.2: the most significant bit must be 0, so this is no length at all.
            assert!([NOT_OUR_PROTOCOL, TOO_LARGE].contains(&code), "{code}");
        } else {
            assert_eq!(code, TOO_LARGE, "declared {length}");
        }
    }
    let grown = broker.rss_kb().saturating_sub(before);
    assert!(grown < 16 * 1024, "grew by {grown} KiB");
}

#[test]
fn bad_input_endless_fragments() {
    let mut broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    let chunk = vec![b' '; 64 * 1024];
    let mut first = FIN_TEXT & 0x7f;
    let code = (0..64).find_map(|sent| {
        let _ = ws.wire.try_send(&masked(first, &chunk));
        first = 0x00;
        // Near the limit, give it time to say so before more is sent into a closed line.
        let patience = if sent < 14 { 0 } else { 200 };
        match ws.frame_until(Instant::now() + Duration::from_millis(patience)) {
            Some(Frame::Close(code, _)) => Some(code),
            Some(Frame::End) => Some(1006),
            _ => None,
        }
    });
    assert_eq!(code, Some(TOO_LARGE), "four megabytes of fragments");
    broker.assert_healthy();
}

#[test]
fn bad_input_a_message_in_fragments_is_understood() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    ws.send_frame(0x01, br#"{"op":"#);
    ws.send_frame(FIN_PING, b"between");
    ws.send_frame(0x00, br#""pi"#);
    ws.send_frame(FIN_CONTINUATION, br#"ng"}"#);
    let deadline = Instant::now() + PATIENCE;
    assert_eq!(
        ws.frame_until(deadline),
        Some(Frame::Pong(b"between".to_vec()))
    );
    ws.expect("pong");
}

#[test]
fn bad_input_a_multi_byte_character_across_fragments_is_understood() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    let message =
        json!({ "op": "publish", "id": 1, "topic": "/bad/split", "events": [delta("m", "é")] });
    let text = message.to_string();
    let at = text.find('é').expect("it is there") + 1;
    ws.send_frame(0x01, &text.as_bytes()[..at]);
    ws.send_frame(FIN_CONTINUATION, &text.as_bytes()[at..]);
    assert_eq!(ws.recv()["op"], "published");
}

#[test]
fn bad_input_frames_byte_by_byte_are_understood() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    for byte in masked(FIN_TEXT, br#"{"op":"ping"}"#) {
        ws.wire.send(&[byte]);
    }
    ws.expect("pong");
}

#[test]
fn bad_input_an_unasked_pong_is_ignored() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    ws.send_frame(FIN_PONG, b"hello");
    ws.send(&json!({ "op": "ping" }));
    ws.expect("pong");
}

#[test]
fn bad_input_a_close_frame_is_answered() {
    let mut broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    ws.send_frame(FIN_CLOSE, &1000u16.to_be_bytes());
    assert_eq!(ws.closed(), 1000);
    let one_byte = masked(FIN_CLOSE, b"x");
    let code = closed_by(&mut broker, &one_byte);
    assert!(code != 1000, "half a close code is not a code");
}

/// What is JSON but no command, and what is no JSON: an error, and the connection lives on.
#[test]
fn bad_input_commands_that_are_none() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    for (text, code) in [
        ("", "invalid_json"),
        ("nonsense", "invalid_json"),
        (r#"{"op":"ping""#, "invalid_json"),
        ("[]", "invalid_request"),
        ("7", "invalid_request"),
        ("{}", "invalid_request"),
        (r#"{"op":5}"#, "invalid_request"),
        (r#"{"op":null}"#, "invalid_request"),
        (r#"{"op":"dance"}"#, "invalid_request"),
        (r#"{"op":"subscribe","id":1}"#, "invalid_request"),
        (r#"{"op":"subscribe","id":1,"topic":5}"#, "invalid_request"),
        (
            r#"{"op":"subscribe","id":1,"topics":[5]}"#,
            "invalid_request",
        ),
        (
            r#"{"op":"subscribe","id":1,"topic":"/a/b","replay":"x"}"#,
            "invalid_request",
        ),
        (
            r#"{"op":"subscribe","id":1,"topic":"/a/b","types":["*.b"]}"#,
            "invalid_request",
        ),
        (
            r#"{"op":"publish","id":1,"topic":"/a/b"}"#,
            "invalid_request",
        ),
    ] {
        ws.send_text(text);
        let answer = ws.recv();
        assert_eq!(answer["op"], "error", "{text}: {answer}");
        assert_eq!(answer["code"], code, "{text}: {answer}");
    }
    ws.send(&json!({ "op": "ping" }));
    ws.expect("pong");
}

#[test]
fn bad_input_ids_that_are_none() {
    let broker = Broker::start();
    let mut ws = Ws::open(broker.addr);
    let long = "x".repeat(65);
    for id in [json!({}), json!([1]), json!(1.5), json!(true), json!(long)] {
        ws.send(&json!({ "op": "publish", "id": id, "topic": "/bad/id", "events": [note(1)] }));
        let answer = ws.recv();
        assert_eq!(answer["op"], "error", "{id}: {answer}");
        assert_eq!(answer["code"], "invalid_request", "{id}: {answer}");
        assert!(answer.get("id").is_none_or(Value::is_null), "{answer}");
    }
    assert_eq!(broker.head("/bad/id"), 0);
}

#[test]
fn bad_input_handshakes() {
    let mut broker = Broker::start();
    let (upgrade, connection) = (("upgrade", "websocket"), ("connection", "Upgrade"));
    let (version, key) = (
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", ws::KEY),
    );
    let refused = |headers: &[(&str, &str)]| {
        let wire = wire::Wire::connect(broker.addr);
        Ws::ask(wire, broker.addr, headers).err()
    };
    let none = refused(&[upgrade, connection, version, key]);
    assert!(none.is_none(), "no subprotocol is JSON: {none:?}");
    for bad in [None, Some(("sec-websocket-key", "short"))] {
        let headers: Vec<_> = [upgrade, connection, version]
            .into_iter()
            .chain(bad)
            .collect();
        let response = refused(&headers).expect("a refusal");
        assert_eq!(response.status, 400, "{response:?}");
    }
    for bad in [None, Some(("sec-websocket-version", "8"))] {
        let headers: Vec<_> = [upgrade, connection, key].into_iter().chain(bad).collect();
        let response = refused(&headers).expect("a refusal");
        assert!([400, 426].contains(&response.status), "{response:?}");
        // RFC 6455 §4.2.2: it MUST say which version it understands.
        assert_eq!(
            response.header("sec-websocket-version"),
            Some("13"),
            "{response:?}"
        );
    }
    broker.assert_healthy();
}

#[test]
fn bad_input_an_unknown_subprotocol_gets_no_session() {
    let broker = Broker::start();
    let headers = [("sec-websocket-protocol", "soap, graphql-ws")];
    match Ws::handshake(wire::Wire::connect(broker.addr), broker.addr, &headers) {
        Err(response) => assert_eq!(response.status, 400, "{response:?}"),
        Ok(mut ws) => assert_eq!(ws.closed(), NOT_OUR_PROTOCOL),
    }
}

#[test]
fn bad_input_an_upgrade_by_another_method() {
    let mut broker = Broker::start();
    let headers = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", ws::KEY),
    ];
    let response = broker.http().request("POST", "/v1/ws", &headers, b"");
    assert!(
        response.status == 405 || response.status == 400,
        "{response:?}"
    );
    assert_eq!(
        response
            .header("connection")
            .map(str::to_ascii_lowercase)
            .as_deref(),
        Some("close")
    );
    let response = broker.http().request("GET", "/v1/nothing", &headers, b"");
    assert_eq!(response.status, 404, "{response:?}");
    broker.assert_healthy();
}
