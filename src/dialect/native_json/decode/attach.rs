//! `attach` and `control_ack`: what an agent says of itself.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::publish::{check_epoch, check_producer_id, lease_of, topic_of};
use super::shape;
use crate::broker::agent::Lease;
use crate::broker::command::{Attach, Command, CommandId};
use crate::broker::problem::Problem;
use crate::event::{Seq, TopicPath};

/// Topics that one `attach` may name in each of its lists.
const MAX_TOPICS: usize = 1000;

#[derive(Deserialize)]
#[serde(expecting = "an object with `producer`")]
struct AttachFrame<'a> {
    #[serde(borrow, default)]
    producer: Option<ProducerBody<'a>>,
    #[serde(default)]
    lease_ms: Option<u64>,
    #[serde(borrow, default)]
    demand: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    control: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `id` and perhaps `epoch`")]
struct ProducerBody<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default)]
    epoch: Option<u64>,
}

/// `{"producer":{"id","epoch?"},"lease_ms?","demand?":[topics],"control?":[topics]}`, whole or not at all.
pub fn attach(frame: &Bytes, id: CommandId) -> Result<Command, Problem> {
    let parsed: AttachFrame = serde_json::from_slice(frame).map_err(|e| shape(&e, "attach"))?;
    let message = "`producer` is missing: {\"id\", \"epoch\"?}";
    let producer = parsed
        .producer
        .ok_or_else(|| Problem::invalid_request("producer", message))?;
    check_producer_id(&producer.id)?;
    producer.epoch.map_or(Ok(()), check_epoch)?;
    Ok(Command::Attach(Box::new(Attach {
        id,
        producer: producer.id.into(),
        epoch: producer.epoch,
        lease: lease_of(parsed.lease_ms)?.unwrap_or(Lease::ATTACHED),
        demand: topics(parsed.demand, "demand")?,
        control: topics(parsed.control, "control")?,
    })))
}

/// Each once, in their order.
fn topics(raw: Option<Vec<&RawValue>>, field: &'static str) -> Result<Vec<TopicPath>, Problem> {
    let raw = raw.unwrap_or_default();
    if raw.len() > MAX_TOPICS {
        let message = format!(
            "`{field}` names {} topics; {MAX_TOPICS} are allowed",
            raw.len()
        );
        return Err(Problem::invalid_request(field, message));
    }
    let mut seen = HashSet::new();
    let mut topics = Vec::with_capacity(raw.len());
    for raw in raw {
        let topic = topic_of(Some(raw))?;
        if seen.insert(topic.clone()) {
            topics.push(topic);
        }
    }
    Ok(topics)
}

/// `{"topic","seq"}`.
pub fn control_ack(frame: &Bytes) -> Result<Command, Problem> {
    #[derive(Deserialize)]
    #[serde(expecting = "an object with `topic` and `seq`")]
    struct Frame<'a> {
        #[serde(borrow, default)]
        topic: Option<&'a RawValue>,
        #[serde(default)]
        seq: Option<u64>,
    }
    let parsed: Frame = serde_json::from_slice(frame).map_err(|e| shape(&e, "control_ack"))?;
    let topic = topic_of(parsed.topic)?;
    let message = "`seq` is missing: the control event that was received";
    let seq = parsed
        .seq
        .ok_or_else(|| Problem::invalid_request("seq", message).about(topic.as_str()))?;
    Ok(Command::ControlAck {
        topic,
        seq: Seq(seq),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::problem::Code;

    fn understood(text: &str) -> Result<Attach, Problem> {
        match attach(&Bytes::copy_from_slice(text.as_bytes()), None)? {
            Command::Attach(attach) => Ok(*attach),
            other => panic!("{other:?}"),
        }
    }

    fn refused(text: &str) -> (Code, Option<&'static str>) {
        let problem = understood(text).expect_err("refused");
        (problem.code, problem.details.field)
    }

    #[test]
    fn an_agent_needs_a_name_and_the_rest_has_defaults() {
        let attach = understood(r#"{"producer":{"id":"a"}}"#).expect("valid");
        assert_eq!((&*attach.producer, attach.epoch), ("a", None));
        assert_eq!((attach.lease, attach.control), (Lease::ATTACHED, vec![]));
        let attach = understood(
            r#"{"producer":{"id":"a","epoch":7},"lease_ms":2000,"demand":["/a","/b","/a"],"control":["/b"]}"#,
        )
        .expect("valid");
        assert_eq!((attach.epoch, attach.lease.ms()), (Some(7), 2000));
        assert_eq!((attach.demand.len(), attach.control.len()), (2, 1));
    }

    #[test]
    fn a_fault_names_its_field() {
        let invalid = Code::InvalidRequest;
        assert_eq!(refused("{}"), (invalid, Some("producer")));
        assert_eq!(
            refused(r#"{"producer":{"id":""}}"#),
            (invalid, Some("producer.id"))
        );
        for lease in ["0", "999", "86400000"] {
            let text = format!(r#"{{"producer":{{"id":"a"}},"lease_ms":{lease}}}"#);
            assert_eq!(refused(&text), (invalid, Some("lease_ms")), "{lease}");
        }
        let bad_topic = r#"{"producer":{"id":"a"},"control":["nope"]}"#;
        assert_eq!(refused(bad_topic).0, Code::InvalidTopic);
        let bad_epoch = r#"{"producer":{"id":"a","epoch":-1}}"#;
        assert_eq!(refused(bad_epoch).0, invalid);
    }
}
