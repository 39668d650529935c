use serde_json::Value;

use super::*;
use crate::broker::problem::Code;
use crate::dialect::ws_frame::text_of;

fn text(frame: &Bytes) -> String {
    let text = text_of(frame).expect("a text frame");
    String::from_utf8(text.to_vec()).expect("UTF-8")
}

fn id(text: &str) -> OperationId {
    OperationId::parse(text).expect("an id")
}

/// Every identifier must be a version 4 UUID; they become `UUID`.
fn without_uuids(text: &str) -> String {
    let before = "\"identifier\":\"";
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (uuid, rest) = part.split_at(36);
        let groups: Vec<&str> = uuid.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        assert!(uuid.chars().all(|c| c == '-' || hex(c)), "{uuid}");
        assert!(groups[2].starts_with('4'), "{uuid}");
        assert!(groups[3].starts_with(['8', '9', 'a', 'b']), "{uuid}");
        out.push_str(before);
        out.push_str("UUID");
        out.push_str(rest);
    }
    out
}

#[test]
fn frames_byte_for_byte() {
    let forbidden = Problem::new(Code::Forbidden, "our own reason");
    let many = Problem::new(Code::TooManyEvents, "input exceeded 5 event limit");
    let unknown = Problem::new(Code::NotFound, "Unknown operation id u1");
    let strange = Problem::new(Code::InvalidRequest, "`x` is no operation of this protocol");
    let bad = Problem::new(Code::InvalidRequest, "what stands there");
    let ack = connection_ack(300_000);
    assert_eq!(ack[..2], [0x81, ack.len() as u8 - 2]);
    for (frame, expected) in [
        (
            ack,
            r#"{"type":"connection_ack","connectionTimeoutMs":300000}"#,
        ),
        (ka(), r#"{"type":"ka"}"#),
        (
            connection_error(&forbidden),
            r#"{"type":"connection_error","errors":[{"errorType":"UnauthorizedException","errorCode":401,"message":"You are not authorized to make this call."}]}"#,
        ),
        (
            refused(Operation::Init, Some("i"), &bad),
            r#"{"type":"connection_error","errors":[{"errorType":"BadRequestException","errorCode":400,"message":"what stands there"}]}"#,
        ),
        (
            subscribe_success(&id("s-1")),
            r#"{"type":"subscribe_success","id":"s-1"}"#,
        ),
        (
            refused(Operation::Subscribe, Some("s-1"), &forbidden),
            r#"{"type":"subscribe_error","id":"s-1","errors":[{"errorType":"UnauthorizedException","message":"You are not authorized to make this call."}]}"#,
        ),
        (
            unsubscribe_success(&id("s-1")),
            r#"{"type":"unsubscribe_success","id":"s-1"}"#,
        ),
        (
            refused(Operation::Unsubscribe, Some("u1"), &unknown),
            r#"{"type":"unsubscribe_error","id":"u1","errors":[{"errorType":"UnknownOperationError","message":"Unknown operation id u1"}]}"#,
        ),
        (
            refused(Operation::Publish, Some("a\"b"), &many),
            r#"{"type":"publish_error","id":"a\"b","errors":[{"errorType":"InvalidInputError","message":"input exceeded 5 event limit"}]}"#,
        ),
        (
            refused(Operation::Publish, None, &bad),
            r#"{"type":"publish_error","errors":[{"errorType":"InvalidInputError","message":"what stands there"}]}"#,
        ),
        (
            refused(Operation::Other, Some("x"), &strange),
            r#"{"type":"error","id":"x","errors":[{"errorType":"UnsupportedOperation","message":"`x` is no operation of this protocol"}]}"#,
        ),
        (
            refused(Operation::Other, None, &strange),
            r#"{"type":"error","errors":[{"errorType":"UnsupportedOperation","message":"`x` is no operation of this protocol"}]}"#,
        ),
        (
            ended("s-1", &forbidden),
            r#"{"type":"subscribe_error","id":"s-1","errors":[{"errorType":"UnauthorizedException","message":"You are not authorized to make this call."}]}"#,
        ),
        (
            missed("s-1", "gone \"so\""),
            r#"{"type":"broadcast_error","id":"s-1","errors":[{"errorType":"MessageProcessingError","message":"gone \"so\""}]}"#,
        ),
    ] {
        assert_eq!(text(&frame), expected);
    }
}

#[test]
fn an_undefined_namespace_has_no_message() {
    let mut undefined = Problem::new(Code::Forbidden, "no such namespace");
    undefined.details.field = Some("namespace");
    assert_eq!(
        text(&refused(Operation::Publish, Some("p"), &undefined)),
        r#"{"type":"publish_error","id":"p","errors":[{"errorType":"UnauthorizedException"}]}"#
    );
    let (status, body) = http_error(&undefined);
    assert_eq!(status, 401);
    assert_eq!(
        String::from_utf8_lossy(&body),
        r#"{"errors":[{"errorType":"UnauthorizedException"}],"message":"You are not authorized to make this call."}"#
    );
}

#[test]
fn a_publish_is_answered_event_by_event() {
    assert_eq!(
        without_uuids(&text(&publish_success("\"p1\"", 2))),
        r#"{"type":"publish_success","id":"p1","successful":[{"identifier":"UUID","index":0},{"identifier":"UUID","index":1}],"failed":[]}"#
    );
    let body = |accepted: &[usize], too_large: &[usize]| {
        let body = posted(accepted, too_large, 245_760);
        without_uuids(&String::from_utf8(body).expect("UTF-8"))
    };
    assert_eq!(
        body(&[0], &[]),
        r#"{"failed":[],"successful":[{"identifier":"UUID","index":0}]}"#
    );
    assert_eq!(
        body(&[1], &[0, 2]),
        r#"{"failed":[{"code":"EventTooLargeException","identifier":"UUID","index":0,"message":"Transformed event is larger than 240KB"},{"code":"EventTooLargeException","identifier":"UUID","index":2,"message":"Transformed event is larger than 240KB"}],"successful":[{"identifier":"UUID","index":1}]}"#
    );
    assert_eq!(body(&[], &[]), r#"{"failed":[],"successful":[]}"#);
}

#[test]
fn an_error_over_http_says_its_message_twice() {
    let many = Problem::new(Code::TooManyEvents, "input exceeded 5 event limit");
    let (status, body) = http_error(&many);
    assert_eq!(status, 400);
    assert_eq!(
        String::from_utf8_lossy(&body),
        r#"{"errors":[{"errorType":"BadRequestException","message":"Input exceeded 5 event limit"}],"message":"Input exceeded 5 event limit"}"#
    );
}

#[test]
fn every_frame_has_its_name_in_the_list() {
    let problem = Problem::new(Code::InternalError, "x");
    let mut written: Vec<String> = [
        connection_ack(1),
        ka(),
        subscribe_success(&id("x")),
        unsubscribe_success(&id("x")),
        publish_success("\"x\"", 1),
        refused(Operation::Init, None, &problem),
        refused(Operation::Subscribe, None, &problem),
        refused(Operation::Unsubscribe, None, &problem),
        refused(Operation::Publish, None, &problem),
        refused(Operation::Other, None, &problem),
        missed("x", "y"),
    ]
    .iter()
    .map(|frame| {
        let frame: Value = serde_json::from_str(&text(frame)).expect("JSON");
        frame["type"].as_str().expect("a type").to_owned()
    })
    .collect();
    // written by `event::push_data_frame`
    written.push("data".to_owned());
    written.sort();
    let mut listed = TYPES.map(str::to_owned);
    listed.sort();
    assert_eq!(written, listed);
}
