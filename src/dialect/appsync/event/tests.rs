use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialect::ws_frame::text_of;
use crate::event::{Content, Entry, Seq, Snapshot, TextKind, TextPart};
use crate::log::ReadState;

fn of(payload: &str) -> NewEvent {
    new_event(Bytes::copy_from_slice(payload.as_bytes()), |name| {
        name != "not.mine"
    })
    .expect(payload)
}

fn topic() -> TopicPath {
    TopicPath::parse("/default/room").expect("a topic")
}

fn kept(event: &NewEvent) -> Item {
    let content = |_| Content::Plain;
    let entry = Entry::new(event, Seq(7), 5, Some("me".into()), content);
    Item::Event(Arc::new(entry))
}

/// The `event` of the whole frame that a reader gets.
fn told(item: &Item) -> String {
    let mut out = Vec::new();
    push_data_frame(&mut out, "s-1", &data_tail(&topic(), item));
    let text = text_of(&out).expect("a text frame");
    let frame: Value = serde_json::from_slice(text).expect("JSON");
    assert_eq!(
        (&frame["type"], &frame["id"]),
        (&json!("data"), &json!("s-1"))
    );
    assert_eq!(frame.as_object().map(|members| members.len()), Some(3));
    frame["event"].as_str().expect("a string").to_owned()
}

#[test]
fn a_typed_object_is_that_event() {
    let event = of(r#" {"id":"i","data":{"a": 1},"type":"my.type"} "#);
    assert_eq!(event.name, "my.type");
    assert_eq!(event.id.as_deref(), Some("i"));
    assert_eq!(event.data, &br#"{"a": 1}"#[..]);
    for typed in [
        r#"{"type":"a.b","data":null}"#,
        r#"{"type":"a.b","data":1,"id":null}"#,
        r#"{"ty\u0070e":"a.b","data":1}"#,
        r#"{"type":"token.delta","data":{"message_id":"m","text":"x"}}"#,
        r#"{"type":"run.cancel","data":{}}"#,
    ] {
        assert_ne!(of(typed).name, "event", "{typed}");
    }
}

#[test]
fn anything_else_is_a_bare_payload() {
    let long = format!(r#"{{"type":"a.b","data":1,"id":"{}"}}"#, "x".repeat(129));
    for bare in [
        "1",
        "null",
        r#""type""#,
        "[]",
        "{}",
        r#"{"data":1}"#,
        r#"{"type":"a.b"}"#,
        r#"{"type":"a.b","data":1,"more":2}"#,
        r#"{"type":"a.b","type":"a.b","data":1}"#,
        r#"{"type":"a.b","data":1,"data":1}"#,
        r#"{"type":"a.b","data":1,"id":null,"id":"x"}"#,
        r#"{"type":"a.b","data":1,"id":7}"#,
        r#"{"type":"a.b","data":1,"id":""}"#,
        r#"{"type":7,"data":1}"#,
        r#"{"type":null,"data":1}"#,
        r#"{"type":"nodots","data":1}"#,
        r#"{"type":"message.snapshot","data":1}"#,
        r#"{"type":"tidewire.gap","data":1}"#,
        r#"{"type":"not.mine","data":1}"#,
        r#"{"type":"token.delta","data":{"text":"x"}}"#,
        r#"{"type":"event","data":1}"#,
        r#"["my.type",null,1]"#,
        &long,
    ] {
        let event = of(bare);
        assert_eq!((&*event.name, &event.id), ("event", &None), "{bare}");
        assert_eq!(event.data, bare.as_bytes());
        assert_eq!(told(&kept(&event)), bare);
    }
}

#[test]
fn what_cannot_be_kept_is_refused() {
    for bad in [
        r#""\ud800""#,
        "1e999",
        r#"{"type":"a.b","data":"\ud800"}"#,
        &("[".repeat(200) + &"]".repeat(200)),
    ] {
        let payload = Bytes::copy_from_slice(bad.as_bytes());
        assert!(new_event(payload, |_| true).is_err(), "{bad}");
    }
}

#[test]
fn only_names_that_could_be_used_are_asked_for() {
    let payload = Bytes::from_static(br#"{"type":"tidewire.gap","data":1}"#);
    let event = new_event(payload, |name| panic!("{name}")).expect("a bare payload");
    assert_eq!(event.name, "event");
}

#[test]
fn other_types_are_told_with_their_envelope() {
    let event = of(r#"{"type":"my.type","id":"i\"1","data":{"a":"\\"}}"#);
    let told = told(&kept(&event));
    assert_eq!(
        told,
        r#"{"topic":"/default/room","seq":7,"type":"my.type","id":"i\"1","time":5,"source":"me","data":{"a":"\\"}}"#
    );
}

#[test]
fn snapshots_and_whole_batches_are_told() {
    let snapshot = Item::Snapshot(Arc::new(Snapshot {
        message: "m\u{1}".into(),
        parts: vec![TextPart {
            part: 0,
            kind: TextKind::Text,
            text: "a\"\n\u{7}b".into(),
            omitted: 0,
        }],
        started: None,
        source: None,
        upto: Seq(3),
        time: 4,
    }));
    let shown: Value = serde_json::from_str(&told(&snapshot)).expect("JSON");
    assert_eq!(shown["topic"], "/default/room");
    assert_eq!(shown["type"], "message.snapshot");
    assert_eq!(shown["data"]["parts"][0]["text"], "a\"\n\u{7}b");

    let items = vec![snapshot, kept(&of("1"))];
    let single: Vec<Bytes> = items.iter().map(|item| data_tail(&topic(), item)).collect();
    let batch = Batch {
        after: Seq(6),
        to: ReadState {
            seq: Seq(7),
            partial: false,
        },
        compact: false,
        items,
    };
    assert_eq!(*tails(&topic(), &batch), *single);
    assert_eq!(single[1], &br#","event":"1"}"#[..]);
}

#[test]
fn frames_stand_behind_each_other() {
    let tail = data_tail(&topic(), &kept(&of(r#""é\\""#)));
    let mut out = Vec::new();
    push_data_frame(&mut out, "a", &tail);
    push_data_frame(&mut out, "b+", &tail);
    let first = r#"{"type":"data","id":"a","event":"\"é\\\\\""}"#;
    let second = r#"{"type":"data","id":"b+","event":"\"é\\\\\""}"#;
    let mut expected = vec![0x81, first.len() as u8];
    expected.extend_from_slice(first.as_bytes());
    expected.extend_from_slice(&[0x81, second.len() as u8]);
    expected.extend_from_slice(second.as_bytes());
    assert_eq!(out, expected);

    let large = format!("\"{}\"", "x".repeat(70_000));
    assert_eq!(told(&kept(&of(&large))), large);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        let name = prop_oneof![
            Just("type".to_owned()),
            Just("data".to_owned()),
            any::<String>()
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_bare_payload_comes_back_byte_for_byte(value in any_json(), form in 0..3) {
        let payload = match form {
            0 => value.to_string(),
            1 => format!("{value:#}"),
            _ => format!("\r\n\t{value:#} ").replace('\n', "\r\n"),
        };
        let event = of(&payload);
        if event.name == "event" {
            prop_assert_eq!(told(&kept(&event)), payload);
        }
    }

    #[test]
    fn a_typed_event_keeps_its_data(value in any_json()) {
        let event = of(&json!({ "type": "my.type", "data": value }).to_string());
        prop_assert_eq!(&*event.name, "my.type");
        let shown: Value = serde_json::from_str(&told(&kept(&event))).expect("JSON");
        prop_assert_eq!(&shown["data"], &value);
    }
}
