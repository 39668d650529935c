//! A publish that is in order, understood in one pass over its bytes.
//!
//! `None` is no verdict: whatever is not in order, or written in an uncommon way, is read again by serde, which has the
//! last word and says what is wrong. What is understood here means the same there (a property test compares them).

use std::borrow::Cow;

use bytes::Bytes;

use super::command_id;
use super::publish::{ProducerBody, PublishLimits, lease_of, producer_of};
use crate::broker::command::{CommandId, PublishRequest};
use crate::event::incoming::Fields;
use crate::event::json::{Facts, JsonFault, Scan};
use crate::event::{NewEvent, TopicPath};

/// A frame whose `op` is `publish`.
pub fn frame(frame: &Bytes, limits: PublishLimits) -> Option<(CommandId, PublishRequest)> {
    let members = Members::read(frame, limits)?;
    if members.op.as_deref() != Some("publish") {
        return None;
    }
    let id = command_id(members.id).ok()?;
    Some((id, members.request(frame, frame)?))
}

/// A body of a request, which lies in `owner`.
pub fn body(body: &[u8], owner: &Bytes, limits: PublishLimits) -> Option<PublishRequest> {
    Members::read(body, limits)?.request(body, owner)
}

#[derive(Default)]
struct Members<'a> {
    op: Option<Cow<'a, str>>,
    id: Option<&'a str>,
    topic: Option<Cow<'a, str>>,
    events: Option<Vec<Event<'a>>>,
    producer: Option<Option<ProducerBody<'a>>>,
    lease_ms: Option<Option<u64>>,
}

struct Event<'a> {
    name: Cow<'a, str>,
    id: Option<Cow<'a, str>>,
    data: &'a str,
    fields: Fields<'a>,
    facts: Facts,
}

impl<'a> Members<'a> {
    fn read(text: &'a [u8], limits: PublishLimits) -> Option<Self> {
        let mut scan = Scan::new(std::str::from_utf8(text).ok()?);
        let mut members = Self::default();
        scan.object(|scan, key| match key.plain() {
            Some("op") => once(&mut members.op, decoded(scan)?),
            Some("id") => once(&mut members.id, scan.value()?),
            Some("topic") => once(&mut members.topic, decoded(scan)?),
            Some("events") => once(&mut members.events, events(scan, limits)?),
            Some("producer") => once(&mut members.producer, producer(scan)?),
            Some("lease_ms") => once(&mut members.lease_ms, number(scan)?),
            Some(_) => scan.value().map(drop),
            None => GIVEN_UP,
        })
        .and_then(|()| scan.end())
        .ok()?;
        Some(members)
    }

    /// `body` lies in `owner`, whose bytes the events then share.
    fn request(self, body: &[u8], owner: &Bytes) -> Option<PublishRequest> {
        let topic = TopicPath::parse(&self.topic?).ok()?;
        let lease = lease_of(self.lease_ms.flatten()).ok()?;
        let producer = self.producer.flatten().map(producer_of);
        let producer = producer.transpose().ok()?;
        let has_seq = producer.as_ref().is_none_or(|it| it.seq.is_some());
        let events = self.events.filter(|events| !events.is_empty() && has_seq)?;
        let events = events.into_iter().map(|event| {
            let Event {
                name,
                id,
                data,
                fields,
                facts,
            } = event;
            NewEvent::of_parts(name, id, owner.slice_ref(data.as_bytes()), fields, facts).ok()
        });
        Some(PublishRequest {
            topic,
            events: events.collect::<Option<_>>()?,
            producer,
            lease,
            bytes: body.len(),
        })
    }
}

/// It is left to serde.
const GIVEN_UP: Result<(), JsonFault> = Err(JsonFault::Syntax);

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), JsonFault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => GIVEN_UP,
    }
}

fn decoded<'a>(scan: &mut Scan<'a>) -> Result<Cow<'a, str>, JsonFault> {
    scan.string()?.decoded().ok_or(JsonFault::Syntax)
}

/// An integer that is not negative, or `null`.
fn number(scan: &mut Scan<'_>) -> Result<Option<u64>, JsonFault> {
    match scan.value()? {
        "null" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| JsonFault::Syntax),
    }
}

fn producer<'a>(scan: &mut Scan<'a>) -> Result<Option<ProducerBody<'a>>, JsonFault> {
    scan.skip_space();
    if scan.peek() == b'n' {
        return scan.value().map(|_| None);
    }
    let (mut id, mut epoch, mut seq) = (None, None, None);
    scan.object(|scan, key| match key.plain() {
        Some("id") => once(&mut id, decoded(scan)?),
        Some("epoch") => once(&mut epoch, number(scan)?),
        Some("seq") => once(&mut seq, number(scan)?),
        Some(_) => scan.value().map(drop),
        None => GIVEN_UP,
    })?;
    let (epoch, seq) = (epoch.flatten(), seq.flatten());
    let id = id.ok_or(JsonFault::Syntax)?;
    Ok(Some(ProducerBody { id, epoch, seq }))
}

fn events<'a>(scan: &mut Scan<'a>, limits: PublishLimits) -> Result<Vec<Event<'a>>, JsonFault> {
    let mut events = Vec::with_capacity(1);
    scan.array(|scan| {
        let (event, text, _) = scan.afresh(event)?;
        if text.len() > limits.max_event_bytes || events.len() == limits.max_batch_events {
            return GIVEN_UP;
        }
        events.push(event);
        Ok(())
    })?;
    Ok(events)
}

fn event<'a>(scan: &mut Scan<'a>) -> Result<Event<'a>, JsonFault> {
    let (mut name, mut id, mut data) = (None, None, None);
    scan.object(|scan, key| match key.plain() {
        Some("type") => once(&mut name, decoded(scan)?),
        Some("id") => once(&mut id, decoded(scan)?),
        Some("data") => once(&mut data, scan.afresh(Fields::read)?),
        Some(_) => scan.value().map(drop),
        None => GIVEN_UP,
    })?;
    let (fields, data, facts) = data.ok_or(JsonFault::Syntax)?;
    Ok(Event {
        name: name.ok_or(JsonFault::Syntax)?,
        id,
        data,
        fields,
        facts,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::publish::publish_by_serde;
    use super::super::{Command, understand_by_serde};
    use super::*;

    const LIMITS: PublishLimits = PublishLimits {
        max_event_bytes: 200,
        max_batch_events: 3,
    };

    fn of(text: &str) -> Option<(CommandId, PublishRequest)> {
        frame(&Bytes::copy_from_slice(text.as_bytes()), LIMITS)
    }

    #[test]
    fn what_is_in_order_is_understood_here() {
        for text in [
            r#"{"op":"publish","id":7,"topic":"/chat/1","events":[{"type":"token.delta","data":{"message_id":"m","text":" a\nb"}}]}"#,
            r#"{"op":"publish","topic":"/a","events":[{"type":"a.b","data":null,"id":"é"}],"later":[1,{}]}"#,
            " { \"topic\" : \"/a\" , \"op\":\"publish\", \"id\":\"x\", \"lease_ms\":5000,\n\"events\" : [ {\"data\":1,\"type\":\"a.b\"} ],
               \"producer\":{\"id\":\"p\",\"epoch\":1,\"seq\":2,\"x\":null} }",
        ] {
            assert!(of(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_not_in_order_is_left_to_serde() {
        for text in [
            r#"{"op":"ping"}"#,
            r#"{"topic":"/a","events":[{"type":"a.b","data":1}]}"#,
            r#"{"op":"publish","topic":"/a","topic":"/a","events":[{"type":"a.b","data":1}]}"#,
            r#"{"op":"publish","topic":"/a","events":[]}"#,
            r#"{"op":"publish","topic":"/a","events":[{"type":"a.b"}]}"#,
            r#"{"op":"publish","topic":"/a","events":[{"type":"tidewire.x","data":1}]}"#,
            r#"{"op":"publish","topic":"/a","events":[{"type":"a.b","data":1}],"producer":{"id":"p","epoch":1}}"#,
            r#"{"op":"publish","topic":"/a","events":[{"type":"a.b","data":"\ud800"}]}"#,
            r#"{"op":"publish","topic":"/a","events":[{"type":"a.b","data":1}]} x"#,
        ] {
            assert!(of(text).is_none(), "{text}");
        }
        let large = format!(
            r#"{{"op":"publish","topic":"/a","events":[{{"type":"a.b","data":"{}"}}]}}"#,
            "x".repeat(200)
        );
        assert!(of(&large).is_none());
    }

    fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
        proptest::sample::select(values)
    }

    fn object(
        keys: &'static [&'static str],
        value: impl Strategy<Value = String> + 'static,
    ) -> BoxedStrategy<String> {
        let member = (one_of(keys), value).prop_map(|(key, value)| format!("\"{key}\":{value}"));
        proptest::collection::vec(member, 0..5)
            .prop_map(|members| format!("{{{}}}", members.join(",")))
            .boxed()
    }

    fn word() -> impl Strategy<Value = String> {
        one_of(&[
            "1",
            "0",
            "-1",
            "1.5",
            "70000",
            "1e400",
            "null",
            "true",
            "[]",
            "{}",
            "\"\"",
            "\"m\"",
            "\"a\\u0041\"",
            "\"\\ud800\"",
            "\"text\"",
            "\"/a\"",
            "\"/a/\"",
            "\"publish\"",
            "\"a.b\"",
            "\"é\"",
            "\n[ 1 ]",
        ])
        .prop_map(String::from)
    }

    fn data() -> BoxedStrategy<String> {
        let keys = &[
            "message_id",
            "text",
            "kind",
            "part",
            "reason",
            "to",
            "call_id",
            "x",
            "te\\u0078t",
        ];
        let fitting = one_of(&[
            r#"{"message_id":"m","text":"t"}"#,
            r#"{"message_id":"m","text":"a\"b\n","kind":"reasoning","part":3}"#,
            r#"{"message_id":"m","reason":"r","text":"whole"}"#,
            r#"{ "memory_id":"1","to":"/x", "call_id":"c","status":"s" }"#,
        ]);
        prop_oneof![fitting.prop_map(String::from), object(keys, word()), word()].boxed()
    }

    fn event() -> BoxedStrategy<String> {
        let name = one_of(&[
            "token.delta",
            "message.started",
            "message.completed",
            "message.interrupted",
            "memory.created",
            "navigation.requested",
            "tool.started",
            "agent.status",
            "run.cancel",
            "run.later",
            "event",
            "a.b",
            "ab",
            "message.snapshot",
        ]);
        let id = prop_oneof![
            Just(String::new()),
            word().prop_map(|id| format!(",\"id\":{id}"))
        ];
        let event = (name, data(), id)
            .prop_map(|(name, data, id)| format!(r#"{{"type":"{name}","data":{data}{id}}}"#));
        prop_oneof![9 => event, 1 => object(&["type", "data", "id", "x"], word())].boxed()
    }

    fn publish() -> BoxedStrategy<String> {
        let events = proptest::collection::vec(event(), 0..5)
            .prop_map(|events| format!("\"events\":[{}]", events.join(",")));
        let producer = prop_oneof![
            Just(r#""producer":{"id":"p","epoch":3,"seq":9}"#.to_owned()),
            object(&["id", "epoch", "seq", "x"], word())
                .prop_map(|it| format!("\"producer\":{it}")),
        ];
        let other = (
            one_of(&[
                "op", "id", "topic", "events", "producer", "lease_ms", "x", "i\\u0064",
            ]),
            word(),
        )
            .prop_map(|(key, value)| format!("\"{key}\":{value}"));
        let common =
            one_of(&["\"op\":\"publish\"", "\"topic\":\"/a\"", "\"id\":1"]).prop_map(String::from);
        let member = prop_oneof![3 => events, 1 => producer, 2 => other, 2 => common];
        (proptest::collection::vec(member, 0..4), any::<bool>())
            .prop_map(|(members, whole)| {
                let members = members.join(",");
                match (whole, members.is_empty()) {
                    (true, false) => format!(r#"{{"op":"publish","topic":"/a",{members}}}"#),
                    _ => format!("{{{members}}}"),
                }
            })
            .boxed()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn it_means_what_serde_reads(text in publish(), cut in 0usize..400) {
            for text in [&text[..], text.get(..cut).unwrap_or("")] {
                let text = Bytes::copy_from_slice(text.as_bytes());
                if let Some((id, request)) = frame(&text, LIMITS) {
                    let quick = Command::Publish { id, request };
                    let slow = understand_by_serde(&text, None, LIMITS);
                    prop_assert_eq!(format!("{quick:?}"), format!("{slow:?}"));
                }
                let quick = body(&text, &text, LIMITS);
                let slow = publish_by_serde(&text, &text, None, LIMITS);
                if let Some(quick) = quick {
                    prop_assert_eq!(format!("{quick:?}"), format!("{:?}", slow.expect("the same")));
                }
            }
        }
    }
}
