//! Whether an event is, byte for byte, the one that was published under its seq.

use crate::heard::{self, Event};
use crate::oracle::{Plan, Planned, Source, Topic, What};
use crate::script::{event_id, producer_id};
use crate::tally::{Checked, Fault, Wrong, must};
use crate::wording::KINDS;

/// A merge holds at most so much text.
const MAX_MERGED_TEXT: usize = 64 << 10;

/// How it travels: in SSE, line breaks between JSON's tokens have become spaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    WebSocket,
    Sse,
}

pub fn source_name(topic: &Topic, source: Source) -> Option<String> {
    match source {
        Source::Nobody => None,
        Source::Agent(producer) => Some(producer_id(topic.number, producer)),
    }
}

/// `data` as it was published and as it travels.
pub fn data_of(plan: &Plan, seq: u64, carrier: Carrier) -> String {
    let mut data = String::with_capacity(256);
    plan.push_data(&mut data, seq);
    if carrier == Carrier::Sse && data.contains(['\r', '\n']) {
        data = data.replace(['\r', '\n'], " ");
    }
    data
}

fn altered(topic: &Topic, seq: u64, what: &str, is: &str, should: &str) -> Fault {
    Fault::new(
        Wrong::Altered,
        format!(
            "{what} of event {seq} of {}: {is} instead of {should}",
            topic.path
        ),
    )
}

/// An event as it was published.
pub fn check_event(
    topic: &Topic,
    plan: &Plan,
    event: &Event<'_>,
    seq: u64,
    carrier: Carrier,
) -> Checked {
    let planned = *plan.get(seq).ok_or_else(|| {
        Fault::new(
            Wrong::Altered,
            format!("event {seq} of {} was never published", topic.path),
        )
    })?;
    if event.kind != planned.what.type_name() {
        return Err(altered(
            topic,
            seq,
            "the type",
            &event.kind,
            planned.what.type_name(),
        ));
    }
    check_envelope(topic, event, seq, &planned)?;
    let expected = data_of(plan, seq, carrier);
    if event.data.get() != expected {
        return Err(altered(topic, seq, "the data", event.data.get(), &expected));
    }
    Ok(())
}

fn check_envelope(topic: &Topic, event: &Event<'_>, seq: u64, planned: &Planned) -> Checked {
    let id = planned.has_id.then(|| event_id(seq));
    let source = source_name(topic, planned.source);
    if event.id.as_deref() != id.as_deref() {
        return Err(altered(
            topic,
            seq,
            "the id",
            &format!("{:?}", event.id),
            &format!("{id:?}"),
        ));
    }
    if event.source.as_deref() != source.as_deref() {
        return Err(altered(
            topic,
            seq,
            "the source",
            &format!("{:?}", event.source),
            &format!("{source:?}"),
        ));
    }
    must(event.time > 0, Wrong::Altered, || {
        format!("event {seq} of {} has no time", topic.path)
    })
}

/// Several deltas as one; every one of them has to be what this one says it is.
pub fn check_merge(
    topic: &Topic,
    plan: &Plan,
    event: &Event<'_>,
    first: u64,
    last: u64,
) -> Checked {
    let at = || format!("the merge {first}..={last} of {}", topic.path);
    let wrong = |what: &str| {
        Fault::new(
            Wrong::Altered,
            format!("{}: {what}: {}", at(), event.data.get()),
        )
    };
    if event.kind != "token.delta" {
        return Err(wrong("not a delta"));
    }
    let delta: heard::Delta<'_> = heard::parse(event.data.get()).map_err(|why| wrong(&why))?;
    let mut text = String::with_capacity(delta.text.len());
    for seq in first..=last {
        let planned = *plan
            .get(seq)
            .ok_or_else(|| wrong("it was never published"))?;
        let What::Delta { kind, part, extra } = planned.what else {
            return Err(wrong(&format!("event {seq} is no delta")));
        };
        let fits = delta.message_id == format!("m{}", planned.message)
            && delta.kind.as_deref().unwrap_or("text") == KINDS[usize::from(kind)]
            && delta.part == u64::from(part)
            && !extra
            && !planned.has_id;
        if !fits {
            return Err(wrong(&format!("event {seq} does not belong in it")));
        }
        check_envelope(topic, event, seq, &planned)?;
        plan.push_text(&mut text, seq);
    }
    if delta.text != text {
        return Err(wrong(&format!("the text should be {text:?}")));
    }
    must(text.len() <= MAX_MERGED_TEXT, Wrong::Unexplained, || {
        format!("{} is {} bytes", at(), text.len())
    })
}
