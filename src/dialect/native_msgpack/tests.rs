//! Compared with `rmp-serde`, which shares no code with what is tested here.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialect::native_json::decode::{Fault, FaultKind, Said};
use crate::dialect::ws_frame::text_frame;
use crate::event::json::{JsonFault, MAX_DEPTH};

const LIMITS: PublishLimits = PublishLimits {
    max_event_bytes: 64 << 10,
    max_batch_events: 3,
};

fn packed(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec(value).expect("JSON has a form in MessagePack")
}

fn said(bytes: &[u8]) -> Result<Said, Malformed> {
    to_json(bytes, LIMITS.max_batch_events)
}

fn json_of(bytes: &[u8]) -> Value {
    let said = said(bytes).expect("MessagePack");
    assert_eq!(said.faults, [], "{}", String::from_utf8_lossy(&said.json));
    serde_json::from_slice(&said.json).expect("JSON")
}

/// A publish of events whose `data` are these bytes.
fn publish_of(data: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0x82];
    out.extend(packed(&json!("topic")));
    out.extend(packed(&json!("/a/b")));
    out.extend(packed(&json!("events")));
    out.push(0x90 | data.len() as u8);
    for data in data {
        out.push(0x82);
        out.extend(packed(&json!("type")));
        out.extend(packed(&json!("a.b")));
        out.extend(packed(&json!("data")));
        out.extend_from_slice(data);
    }
    out
}

fn bodies(bytes: &[u8]) -> Result<PublishBodies, Problem> {
    publish_bodies(&Bytes::copy_from_slice(bytes), LIMITS)
}

fn refused(bytes: &[u8]) -> Problem {
    match bodies(bytes) {
        Err(problem) => problem,
        Ok(_) => panic!("{bytes:x?} was understood"),
    }
}

/// What `data` can have in MessagePack and not in JSON.
fn unsayable() -> Vec<(&'static str, Vec<u8>)> {
    let mut deep = vec![0x91; MAX_DEPTH + 1];
    deep.push(0xc0);
    let mut bomb = vec![0x91; 10_000];
    bomb.push(0xc0);
    vec![
        ("bin", vec![0xc4, 1, 7]),
        ("an empty bin", vec![0xc4, 0]),
        ("ext", vec![0xd4, 5, 7]),
        ("a timestamp", vec![0xd6, 0xff, 0, 0, 0, 1]),
        ("ext 8", vec![0xc7, 1, 5, 7]),
        ("NaN", [&[0xcb][..], &f64::NAN.to_be_bytes()].concat()),
        (
            "infinity",
            [&[0xcb][..], &f64::INFINITY.to_be_bytes()].concat(),
        ),
        (
            "-infinity",
            [&[0xca][..], &f32::NEG_INFINITY.to_be_bytes()].concat(),
        ),
        ("a number as a key", vec![0x81, 1, 1]),
        ("nil as a key", vec![0x81, 0xc0, 1]),
        ("an array as a key", vec![0x81, 0x91, 1, 1]),
        ("a text that is not UTF-8", vec![0xa1, 0xff]),
        ("a surrogate", vec![0xa3, 0xed, 0xa0, 0x80]),
        ("a key that is not UTF-8", vec![0x81, 0xa1, 0xff, 1]),
        ("too deep", deep),
        ("far too deep", bomb),
    ]
}

#[test]
fn what_json_cannot_say_is_refused_at_its_place() {
    for (name, data) in unsayable() {
        for data in [data.clone(), [&[0x81, 0xa1, b'k'][..], &data].concat()] {
            let problem = refused(&publish_of(&[&[1], &data, &[2]]));
            assert_eq!(problem.code, Code::InvalidEvent, "{name}: {problem:?}");
            assert_eq!(problem.details.index, Some(1), "{name}: {problem:?}");
            assert_eq!(problem.details.field, Some("data"), "{name}: {problem:?}");
            assert_eq!(problem.details.topic.as_deref(), Some("/a/b"), "{name}");
        }
    }
}

#[test]
fn only_the_faulty_body_of_an_array_is_refused() {
    let good = publish_of(&[&[1]]);
    for (name, data) in unsayable() {
        let bad = publish_of(&[&[1], &data]);
        let Ok(PublishBodies::Many(each)) = bodies(&[&[0x93][..], &good, &bad, &good].concat())
        else {
            panic!("{name}: no array")
        };
        let problem = each[1].as_ref().expect_err(name);
        assert_eq!(problem.details.index, Some(1), "{name}");
        assert!(each[0].is_ok() && each[2].is_ok(), "{name}");
    }
}

#[test]
fn the_place_of_a_fault_is_named() {
    // {"topic": "/a/b", "events": [{KEY: VALUE}]}
    let with_member = |key: &[u8], value: &[u8]| {
        let mut body = publish_of(&[&[1]]);
        let event = body.len() - packed(&json!({"type": "a.b", "data": 1})).len();
        body.truncate(event);
        body.push(0x81);
        body.extend_from_slice(key);
        body.extend_from_slice(value);
        refused(&body)
    };
    for (key, field) in [("type", "type"), ("id", "id"), ("more", "event")] {
        let problem = with_member(&packed(&json!(key)), &[0xc4, 0]);
        assert_eq!(problem.code, Code::InvalidEvent, "{problem:?}");
        assert_eq!(problem.details.field, Some(field), "{problem:?}");
    }
    let problem = with_member(&[7], &[7]);
    assert_eq!(problem.details.field, Some("event"), "{problem:?}");

    let mut body = publish_of(&[]);
    body.push(0xc4);
    body.push(0);
    body[0] = 0x82;
    assert_eq!(refused(&body).details.field, Some("body"), "trailing");
    let outside = [
        &[0x83][..],
        &publish_of(&[&[1]])[1..],
        &[0xa1, b'x', 0xc4, 0],
    ]
    .concat();
    let problem = refused(&outside);
    assert_eq!(problem.code, Code::InvalidRequest, "{problem:?}");
    assert_eq!(problem.details.field, Some("body"), "{problem:?}");
}

#[test]
fn what_is_no_messagepack_is_refused_as_a_whole() {
    let good = publish_of(&[&[1]]);
    let mut bad: Vec<Vec<u8>> = (0..good.len()).map(|end| good[..end].to_vec()).collect();
    bad.push([&good[..], &[0xc0]].concat());
    bad.push(publish_of(&[&[0xc1]]));
    bad.push(publish_of(&[&[0xdd, 0xff, 0xff, 0xff, 0xff]]));
    bad.push(publish_of(&[&[0xdf, 0xff, 0xff, 0xff, 0xff]]));
    bad.push(publish_of(&[&[0xdb, 0xff, 0xff, 0xff, 0xff]]));
    bad.push(publish_of(&[&[0xc6, 0xff, 0xff, 0xff, 0xff]]));
    bad.push(publish_of(&[&[0xc9, 0xff, 0xff, 0xff, 0xff]]));
    bad.push(vec![0xdd, 0xff, 0xff, 0xff, 0xff]);
    bad.push(vec![0x91; 100_000]);
    for body in bad {
        let problem = refused(&body);
        assert_eq!(problem.code, Code::InvalidRequest, "{body:x?} {problem:?}");
        assert_eq!(problem.details.field, Some("body"), "{body:x?} {problem:?}");
        let frame = Bytes::from(body);
        let Command::Refused { id: None, problem } = command(&frame, LIMITS) else {
            panic!("{frame:x?} was understood")
        };
        assert_eq!(problem.code, Code::InvalidRequest, "{problem:?}");
        assert_eq!(problem.details.field, Some("frame"), "{problem:?}");
    }
}

#[test]
fn a_refused_frame_keeps_its_id() {
    for (id, echoed) in [(json!(7), "7"), (json!("x"), "\"x\"")] {
        let mut frame = packed(&json!({ "op": "ping", "id": id, "x": null }));
        *frame.last_mut().expect("a frame") = 0xc4;
        frame.push(0);
        let Command::Refused { id, problem } = command(&frame.into(), LIMITS) else {
            panic!("it was understood")
        };
        assert_eq!(id.as_deref(), Some(echoed));
        assert_eq!(problem.details.field, Some("frame"), "{problem:?}");
    }
}

#[test]
fn many_are_counted_and_not_written() {
    let many = 300_000u32;
    let mut body = publish_of(&[]);
    body.pop();
    let mut array = vec![0xdd];
    array.extend(many.to_be_bytes());
    array.resize(array.len() + many as usize, 0xc0);
    body.extend(&array);
    assert!(said(&body).expect("MessagePack").json.len() < 100);
    let problem = refused(&body);
    assert_eq!(problem.code, Code::TooManyEvents);
    assert!(problem.message.contains("300000"), "{}", problem.message);
    let problem = refused(&array);
    assert_eq!(problem.code, Code::TooManyEvents);
    assert!(problem.message.contains("300000"), "{}", problem.message);
}

#[test]
fn the_deepest_value_goes_through_both_ways() {
    let mut data = vec![0x91; MAX_DEPTH];
    data.push(0xc0);
    let Ok(PublishBodies::One(request)) = bodies(&publish_of(&[&data])) else {
        panic!("{MAX_DEPTH} levels are allowed")
    };
    assert_eq!(from_json(&request.events[0].data), data);
    assert_eq!(to_json::TOO_DEEP, JsonFault::TooDeep.to_string());
}

#[test]
fn forms_are_the_smallest() {
    let long: Vec<u32> = vec![1; 70_000];
    for value in [
        json!(null),
        json!(true),
        json!(0),
        json!(127),
        json!(128),
        json!(256),
        json!(65_536),
        json!(u64::MAX),
        json!(-1),
        json!(-32),
        json!(-33),
        json!(-129),
        json!(i64::MIN),
        json!(1.5),
        json!("x".repeat(31)),
        json!("x".repeat(32)),
        json!("x".repeat(300)),
        json!(vec![1; 15]),
        json!(vec![1; 16]),
        json!(long),
        json!({ "a": { "b": [[], {}] } }),
        json!({ "0": 0, "1": 0, "2": 0, "3": 0, "4": 0, "5": 0, "6": 0, "7": 0, "8": 0, "9": 0,
                "a": 0, "b": 0, "c": 0, "d": 0, "e": 0, "f": vec![vec![1; 16]; 16] }),
    ] {
        assert_eq!(from_json(value.to_string().as_bytes()), packed(&value));
    }
}

#[test]
fn numbers_keep_their_value() {
    let f32_bytes = [&[0xca][..], &0.1f32.to_be_bytes()].concat();
    assert_eq!(json_of(&f32_bytes), json!(f64::from(0.1f32)));
    assert_eq!(json_of(&[0xd3, 0, 0, 0, 0, 0, 0, 0, 5]), json!(5));
    assert_eq!(from_json(b"1e2"), packed(&json!(100.0)));
    // beyond u64: the nearest float, as every reader of JSON has it
    assert_eq!(
        from_json(b"18446744073709551616"),
        packed(&json!(18446744073709551616.0))
    );
}

#[test]
fn a_text_frame_becomes_a_binary_one_and_others_stay() {
    let text = text_frame(16, |out| out.extend_from_slice(br#"{"op":"pong"}"#));
    let binary = frame(text);
    assert_eq!(&binary[..2], &[0x82, binary.len() as u8 - 2]);
    assert_eq!(&binary[2..], packed(&json!({ "op": "pong" })));
    for other in [&[0x89, 0][..], b"HTTP/1.1 101 Switching Protocols", b""] {
        let other = Bytes::copy_from_slice(other);
        assert_eq!(frame(other.clone()), other);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |number| {
            serde_json::Number::from_f64(number).map(Value::Number)
        }),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 80, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..20)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_comes_back_the_same(value in any_json()) {
        let bytes = from_json(value.to_string().as_bytes());
        prop_assert_eq!(&rmp_serde::from_slice::<Value>(&bytes).expect("MessagePack"), &value);
        prop_assert_eq!(&json_of(&bytes), &value);
    }

    #[test]
    fn what_another_encoder_writes_is_understood(value in any_json()) {
        prop_assert_eq!(&json_of(&packed(&value)), &value);
    }

    /// Whatever comes in: no panic, JSON of bounded length, and a fault for every body at most.
    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        strange(&bytes)?;
    }

    #[test]
    fn no_mutation_is_too_strange(
        value in any_json(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        array in any::<bool>(),
    ) {
        let event = json!({ "type": "a.b", "id": "x", "data": value });
        let body = json!({ "op": "publish", "topic": "/a/b", "events": [event, event] });
        let mut bytes = packed(&if array { json!([body, body]) } else { body });
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        strange(&bytes)?;
    }

    /// What the broker keeps it can write in MessagePack, whatever its numbers and escapes look like.
    #[test]
    fn what_is_kept_can_be_written(text in r#"-?(0|[1-9][0-9]{0,330})(\.[0-9]{1,330})?([eE][+-]?[0-9]{1,12})?|"(\\u[0-9a-fA-F]{4}|\\["\\/bfnrt]|[a-z]){0,8}""#) {
        let kept = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok()
            && crate::event::json::check(&text).is_ok();
        if kept {
            from_json(text.as_bytes());
        }
    }
}

fn strange(bytes: &[u8]) -> Result<(), TestCaseError> {
    let frame = Bytes::copy_from_slice(bytes);
    command(&frame, LIMITS);
    let understood = publish_bodies(&frame, LIMITS);
    let Ok(said) = said(bytes) else {
        prop_assert!(understood.is_err());
        return Ok(());
    };
    prop_assert!(said.json.len() <= 6 * bytes.len() + 2);
    let value: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&said.json);
    prop_assert!(value.is_ok(), "{}", String::from_utf8_lossy(&said.json));
    let bodies: Vec<usize> = said.faults.iter().map(|fault: &Fault| fault.body).collect();
    prop_assert!(bodies.windows(2).all(|pair| pair[0] < pair[1]));
    let event_fault = |fault: &Fault| matches!(fault.kind, FaultKind::Event { .. });
    if let (Ok(PublishBodies::One(_)), Some(fault)) = (&understood, said.faults.first()) {
        prop_assert!(!event_fault(fault), "a faulty event went through");
    }
    Ok(())
}
