use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::dialect::appsync::authorization::Kind;

const LIMITS: Limits = Limits {
    max_events: 3,
    max_event_bytes: 64,
};

fn said(text: &str) -> Frame {
    frame(&Bytes::copy_from_slice(text.as_bytes()), LIMITS)
}

fn refused(text: &str) -> (Operation, Option<String>, Problem) {
    match said(text) {
        Frame::Refused {
            operation,
            id,
            problem,
        } => (operation, id.map(String::from), problem),
        other => panic!("{text}: {other:?}"),
    }
}

fn posted(text: &str) -> Result<Post, Problem> {
    post(&Bytes::copy_from_slice(text.as_bytes()), LIMITS)
}

#[test]
fn ids_are_safe_everywhere() {
    let longest = "x".repeat(MAX_ID);
    for ok in ["a", "0-_+Z", longest.as_str()] {
        assert_eq!(OperationId::parse(ok).expect(ok).as_str(), ok);
    }
    let long = "x".repeat(MAX_ID + 1);
    for bad in ["", "a b", "a.b", "é", "a\"", long.as_str()] {
        assert_eq!(OperationId::parse(bad), None, "{bad}");
    }
}

#[test]
fn what_amplify_says_is_understood() {
    assert!(matches!(said(r#"{"type":"connection_init"}"#), Frame::Init));
    let text = r#"{"id":"s-1","type":"subscribe","channel":"default/*","authorization":{"x-api-key":"k","host":"h"},"payload":{"channel":"default/*","extensions":{"authorization":{"x-api-key":"k"}}}}"#;
    let Frame::Subscribe {
        id,
        channel,
        authorization,
        signed,
    } = said(text)
    else {
        panic!("no subscribe")
    };
    assert_eq!((id.as_str(), channel.as_str()), ("s-1", "/default/*"));
    assert_eq!(authorization.kind(), Some(Kind::ApiKey("k")));
    assert!(signed.is_empty());

    let text = r#"{"id":"p1","type":"publish","channel":"/default/room","events":["{\"a\":1}","3"],"authorization":{"Authorization":"t"},"payload":{"events":["x"]}}"#;
    let Frame::Publish {
        id,
        topic,
        payloads,
        authorization,
        signed,
        bytes,
    } = said(text)
    else {
        panic!("no publish")
    };
    assert_eq!((id.as_str(), topic.as_str()), ("p1", "/default/room"));
    assert_eq!(payloads, [&br#"{"a":1}"#[..], b"3"]);
    assert_eq!(authorization.kind(), Some(Kind::Token("t")));
    assert_eq!((signed.len(), bytes), (0, text.len()));

    let unsubscribe = said(r#"{"type":"unsubscribe","id":"s-1"}"#);
    assert!(matches!(unsubscribe, Frame::Unsubscribe { id } if id.as_str() == "s-1"));
}

#[test]
fn authorization_may_be_left_out() {
    for text in [
        r#"{"type":"subscribe","id":"s","channel":"a"}"#,
        r#"{"type":"subscribe","id":"s","channel":"a","authorization":null}"#,
    ] {
        let Frame::Subscribe { authorization, .. } = said(text) else {
            panic!("{text}")
        };
        assert!(authorization.is_empty());
    }
}

#[test]
fn what_may_have_been_signed() {
    let signature = r#""authorization":{"Authorization":"AWS4-HMAC-SHA256 x"}"#;
    let signed = |members: &str| match said(&format!("{{{members},{signature}}}")) {
        Frame::Subscribe { signed, .. } | Frame::Publish { signed, .. } => signed,
        other => panic!("{members}: {other:?}"),
    };
    let subscribe = r#""type":"subscribe","id":"s""#;
    assert_eq!(
        signed(&format!(r#"{subscribe},"channel":"/a/b""#)),
        [&br#"{"channel":"/a/b"}"#[..]]
    );
    assert_eq!(
        signed(&format!(r#"{subscribe},"channel":"\/a""#)),
        [&br#"{"channel":"\/a"}"#[..], br#"{"channel":"/a"}"#]
    );
    let publish = r#""type":"publish","id":"s""#;
    assert_eq!(
        signed(&format!(
            r#"{publish},"events":["\"x\"", "1"],"channel":"a""#
        )),
        [
            &br#"{"channel":"a","events":["\"x\"", "1"]}"#[..],
            br#"{"channel":"a","events":["\"x\"","1"]}"#
        ]
    );
    assert_eq!(
        signed(&format!(
            r#"{publish},"events":["\"x\"","\n1"],"channel":"a""#
        )),
        [&br#"{"channel":"a","events":["\"x\"","\n1"]}"#[..]]
    );
}

#[test]
fn refusals_name_their_operation_and_echo_a_text_as_id() {
    let told = |text: &str| {
        let (operation, id, problem) = refused(text);
        (operation, id, problem.code, problem.details.field)
    };
    let id = |id: &str| Some(id.to_owned());
    use Operation::{Other, Publish, Subscribe, Unsubscribe};
    for (text, expected) in [
        ("not json", (Other, None, Code::InvalidJson, None)),
        (
            r#"{"type":"publish""#,
            (Other, None, Code::InvalidJson, None),
        ),
        ("[1]", (Other, None, Code::InvalidRequest, None)),
        ("7", (Other, None, Code::InvalidRequest, None)),
        ("{}", (Other, None, Code::InvalidRequest, Some("type"))),
        (
            r#"{"type":7,"id":"x"}"#,
            (Other, id("x"), Code::InvalidRequest, Some("type")),
        ),
        (
            r#"{"type":"dance","id":"a\nb c"}"#,
            (Other, id("ab c"), Code::InvalidRequest, Some("type")),
        ),
        (
            r#"{"type":"unsubscribe"}"#,
            (Unsubscribe, None, Code::InvalidRequest, Some("id")),
        ),
        (
            r#"{"type":"unsubscribe","id":7}"#,
            (Unsubscribe, None, Code::InvalidRequest, Some("id")),
        ),
        (
            r#"{"type":"subscribe","id":"a b","channel":"a"}"#,
            (Subscribe, id("a b"), Code::InvalidRequest, Some("id")),
        ),
        (
            r#"{"type":"subscribe","id":"x"}"#,
            (Subscribe, id("x"), Code::InvalidRequest, Some("channel")),
        ),
        (
            r#"{"type":"subscribe","id":"x","channel":["a"]}"#,
            (Subscribe, id("x"), Code::InvalidRequest, Some("channel")),
        ),
        (
            r#"{"type":"subscribe","id":"x","channel":"/a/*/b"}"#,
            (Subscribe, id("x"), Code::InvalidTopic, Some("channel")),
        ),
        (
            r#"{"type":"subscribe","id":"x","channel":"a","authorization":{"a":1}}"#,
            (
                Subscribe,
                id("x"),
                Code::InvalidRequest,
                Some("authorization"),
            ),
        ),
        (
            r#"{"type":"publish","id":"x","channel":"/a/*","events":["1"]}"#,
            (Publish, id("x"), Code::InvalidTopic, Some("channel")),
        ),
        (
            r#"{"type":"publish","id":"x","channel":"a"}"#,
            (Publish, id("x"), Code::InvalidRequest, Some("events")),
        ),
    ] {
        assert_eq!(told(text), expected, "{text}");
    }
    let (_, _, problem) = refused(r#"{"type":"dance"}"#);
    assert_eq!(problem.message, "`dance` is no operation of this protocol");
    let long = format!(r#"{{"type":"publish","id":"{}"}}"#, "é".repeat(1000));
    let (_, shown, _) = refused(&long);
    assert_eq!(shown, Some("é".repeat(MAX_ID)));
}

#[test]
fn events_are_one_to_some_texts_that_hold_json() {
    let told = |events: &str| {
        let members = format!(r#""channel":"a","events":{events}"#);
        let (operation, _, problem) =
            refused(&format!(r#"{{"type":"publish","id":"x",{members}}}"#));
        assert_eq!(operation, Operation::Publish);
        let over_http = posted(&format!("{{{members}}}")).expect_err(events);
        assert_eq!(over_http, problem);
        (problem.code, problem.details.index, problem.message)
    };
    for bad in ["[]", "{}", "null", r#""1""#, "7"] {
        assert_eq!(told(bad).0, Code::InvalidRequest, "{bad}");
    }
    for many in [r#"["1","2","3","4"]"#, "[1,2,3,4,5,6]"] {
        let (code, _, message) = told(many);
        assert_eq!(code, Code::TooManyEvents);
        assert_eq!(message, "input exceeded 3 event limit");
    }
    for bad in [
        "{\"a\":1}",
        "1",
        "null",
        r#""""#,
        r#""x""#,
        r#""{\"a\":}""#,
        r#""1 2""#,
        r#""\"\n\"""#,
        r#""\ud800""#,
        r#""\"\\ud800\"""#,
        r#""1e999""#,
        r#""\u0000""#,
    ] {
        let (code, index, message) = told(&format!(r#"["1",{bad}]"#));
        assert_eq!((code, index), (Code::InvalidEvent, Some(1)), "{bad}");
        assert!(message.starts_with("event 1 "), "{message}");
    }
    let wide = Limits {
        max_event_bytes: 1 << 20,
        ..LIMITS
    };
    let deep = json!({ "channel": "a", "events": ["[".repeat(1000) + &"]".repeat(1000)] });
    let problem = post(&deep.to_string().into(), wide).expect_err("too deep");
    assert_eq!(problem.code, Code::InvalidEvent);
}

#[test]
fn payloads_are_kept_byte_for_byte_and_shared_where_they_can_be() {
    let body = Bytes::from_static(
        "{\"channel\":\"a\",\"events\":[\" [1, 2.50]\\t\",\"[1]\",\"\\\"\u{1f600}\\u00e9\\\"\"]}"
            .as_bytes(),
    );
    let post = post(&body, LIMITS).expect("valid");
    assert_eq!(post.topic.as_str(), "/a");
    assert_eq!(
        post.payloads,
        [
            "\u{20}[1, 2.50]\t".as_bytes(),
            b"[1]",
            "\"\u{1f600}é\"".as_bytes()
        ]
    );
    assert!(body.as_ptr_range().contains(&post.payloads[1].as_ptr()));
}

#[test]
fn large_events_refuse_a_frame_and_are_listed_over_http() {
    let exact = format!("\"{}\"", "x".repeat(LIMITS.max_event_bytes - 2));
    let over = format!("\"{}\"", "x".repeat(LIMITS.max_event_bytes - 1));
    let with = |events: &[&str]| {
        json!({ "type": "publish", "id": "x", "channel": "a", "events": events }).to_string()
    };
    let (operation, _, problem) = refused(&with(&[&exact, &over, &over]));
    assert_eq!(operation, Operation::Publish);
    assert_eq!(
        (problem.code, problem.details.index),
        (Code::TooLarge, Some(1))
    );
    assert_eq!(problem.message, "Transformed event is larger than 64 bytes");
    let post = posted(&with(&[&over, &exact, &over])).expect("taken");
    assert_eq!((post.too_large, post.payloads.len()), (vec![0, 2], 3));
    assert!(matches!(said(&with(&[&exact])), Frame::Publish { .. }));
}

#[test]
fn the_last_of_members_of_one_name_counts() {
    let text = r#"{"type":"dance","type":"unsubscribe","id":1,"id":"x","id":"y"}"#;
    assert!(matches!(said(text), Frame::Unsubscribe { id } if id.as_str() == "y"));
    let Frame::Unsubscribe { id } = said(r#"{"\u0074ype":"unsubscribe","id":"x"}"#) else {
        panic!("names may be escaped")
    };
    assert_eq!(id.as_str(), "x");
}

#[test]
fn a_body_is_refused_with_a_reason() {
    for (body, code, field) in [
        ("", Code::InvalidJson, None),
        ("{", Code::InvalidJson, None),
        ("[]", Code::InvalidRequest, None),
        ("{}", Code::InvalidRequest, Some("channel")),
        (r#"{"channel":1}"#, Code::InvalidRequest, Some("channel")),
        (r#"{"channel":"/a/*"}"#, Code::InvalidTopic, Some("channel")),
        (r#"{"channel":"a"}"#, Code::InvalidRequest, Some("events")),
    ] {
        let problem = posted(body).expect_err(body);
        assert_eq!((problem.code, problem.details.field), (code, field));
    }
}

#[test]
fn types_are_what_is_understood() {
    for kind in TYPES {
        let understood = said(&json!({ "type": kind }).to_string());
        let other = matches!(
            understood,
            Frame::Refused {
                operation: Operation::Other,
                ..
            }
        );
        assert!(!other, "{kind}");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        frame(&bytes, LIMITS);
        let _ = post(&bytes, LIMITS);
    }

    #[test]
    fn no_mutation_is_too_strange(
        payload in any::<String>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let text = json!({
            "type": "publish", "id": "x", "channel": "/a/b", "events": [payload, "1"],
            "authorization": { "authorization": "AWS4-HMAC-SHA256 x" },
        });
        let mut bytes = text.to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let bytes = Bytes::from(bytes);
        frame(&bytes, LIMITS);
        let _ = post(&bytes, LIMITS);
    }
}
