//! `tidewire demo` without a model: a script writes on and on, hears what visitors want, and can be stopped.

use serde_json::{Value, json};

use crate::support::broker::Folder;
use crate::support::*;

const TOPIC: &str = "/chat/demo";

fn open_answer(reader: &Reader, prefix: &str) -> Option<String> {
    let messages = reader.view(TOPIC).messages.iter();
    let mut open =
        messages.filter(|(id, message)| id.starts_with(prefix) && message.ended.is_none());
    open.next().map(|(id, _)| id.clone())
}

fn end_of(follower: &mut Follower, id: &str) -> Value {
    follower.until("its end", |r| r.view(TOPIC).message(id).ended.is_some());
    let mut events = follower.view().events.iter().rev();
    let end = events
        .find(|event| event["data"]["message_id"] == id && event["type"] != "message.started");
    end.expect("an end event").clone()
}

#[test]
fn demo_the_script_is_stopped_and_goes_on_with_the_next() {
    let folder = Folder::new();
    let text = folder.file("text.md", &"word ".repeat(20_000));
    let path = text.to_str().expect("a path");
    let demo = Broker::demo(&["--text", path, "--rate", "100"], &[]);
    let ask = Ask::topic(TOPIC).from("start");
    let mut follower = Follower::open(Transport::WebSocket, demo.addr, ask);
    follower.until("an answer", |r| open_answer(r, "demo-").is_some());
    let first = open_answer(&follower.reader, "demo-").expect("just seen");
    let cancel = |id: &str| json!([{ "type": "run.cancel", "data": { "message_id": id } }]);
    demo.publish(TOPIC, cancel("of-somebody-else"));
    demo.publish(TOPIC, cancel(&first));
    let end = end_of(&mut follower, &first);
    assert_eq!(
        (&end["type"], &end["data"]["reason"]),
        (&json!("message.interrupted"), &json!("cancelled"))
    );
    follower.until("the next answer", |r| {
        open_answer(r, "demo-").is_some_and(|id| id != first)
    });
}

#[test]
fn demo_the_script_says_something_to_a_visitor() {
    let demo = Broker::demo(&["--rate", "2000"], &[("OPENAI_API_KEY", "unused")]);
    let ask = Ask::topic(TOPIC).from("start");
    let mut follower = Follower::open(Transport::WebSocket, demo.addr, ask);
    demo.publish(
        TOPIC,
        json!([{ "type": "run.steer", "data": { "text": "Hello?" } }]),
    );
    let answer = |r: &Reader| {
        let mut ids = r.view(TOPIC).messages.keys();
        ids.find(|id| id.starts_with("answer-")).cloned()
    };
    follower.until("an answer", |r| answer(r).is_some());
    let id = answer(&follower.reader).expect("just seen");
    let end = end_of(&mut follower, &id);
    assert_eq!(end["type"], "message.completed");
    let text = follower.view().text(&id);
    assert!(text.contains("--openai-base-url"), "{text}");
    let statuses = &follower.view().events;
    let counted = statuses
        .iter()
        .any(|event| event["data"]["readers"].is_u64());
    assert!(counted, "the agent knows how many read");
}
