//! The kit's own tests: a checker that cannot fail would make every promise look kept.

use serde_json::{Value, json};

use crate::support::*;

const TOPIC: &str = "/kit/a";

/// A reader that subscribed at seq 3 of epoch `abcdefgh`.
fn subscribed(position: &str) -> Reader {
    let mut reader = Reader::default();
    reader.frame(
        &json!({ "op": "subscribed", "topic": TOPIC, "epoch": "abcdefgh", "head": 3,
                          "position": position, "resumed": false }),
    );
    reader
}

fn frame(after: u64, upto: u64, events: Value) -> Value {
    json!({ "op": "events", "topic": TOPIC, "epoch": "abcdefgh", "after": after, "upto": upto,
            "events": events })
}

fn numbered(mut event: Value, seq: u64) -> Value {
    event["seq"] = json!(seq);
    event
}

fn snapshot(text: &str, upto: u64) -> Value {
    json!({ "type": "message.snapshot", "data": { "message_id": "m", "upto": upto,
            "parts": [{ "part": 0, "kind": "text", "text": text }] } })
}

#[test]
fn kit_an_honest_stream_passes() {
    let mut reader = subscribed("abcdefgh:3");
    reader.frame(&frame(
        3,
        5,
        json!([numbered(delta("m", "a"), 4), numbered(delta("m", "b"), 5)]),
    ));
    let mut merge = numbered(delta("m", "cd"), 7);
    merge["first_seq"] = json!(6);
    reader.frame(&frame(5, 8, json!([merge, numbered(completed("m"), 8)])));
    assert_eq!(reader.view(TOPIC).text("m"), "abcd");
    assert_eq!(reader.view(TOPIC).position(), "abcdefgh:8");
}

#[test]
#[should_panic(expected = "repeated or out of order")]
fn kit_a_repeat_is_caught() {
    let mut reader = subscribed("abcdefgh:3");
    reader.frame(&frame(
        3,
        4,
        json!([numbered(note(1), 4), numbered(note(1), 4)]),
    ));
}

#[test]
#[should_panic(expected = "an unexplained hole")]
fn kit_a_hole_is_caught() {
    let mut reader = subscribed("abcdefgh:3");
    reader.frame(&frame(3, 5, json!([numbered(note(1), 5)])));
}

#[test]
#[should_panic(expected = "a hole at the end")]
fn kit_a_hole_at_the_end_of_a_frame_is_caught() {
    let mut reader = subscribed("abcdefgh:3");
    reader.frame(&frame(3, 5, json!([numbered(note(1), 4)])));
}

#[test]
#[should_panic(expected = "a frame that starts elsewhere")]
fn kit_a_lost_frame_is_caught() {
    let mut reader = subscribed("abcdefgh:3");
    reader.frame(&frame(4, 5, json!([numbered(note(1), 5)])));
}

#[test]
#[should_panic(expected = "another epoch without a reset")]
fn kit_another_epoch_is_caught() {
    let mut reader = subscribed("abcdefgh:3");
    let mut other = frame(3, 4, json!([numbered(note(1), 4)]));
    other["epoch"] = json!("otherone");
    reader.frame(&other);
}

#[test]
#[should_panic(expected = "before the reset")]
fn kit_events_before_an_owed_reset_are_caught() {
    let mut reader = Reader::default();
    reader.frame(
        &json!({ "op": "subscribed", "topic": TOPIC, "epoch": "abcdefgh", "head": 3,
                          "position": null, "resumed": false }),
    );
    reader.frame(&frame(0, 1, json!([numbered(note(1), 1)])));
}

#[test]
#[should_panic(expected = "it had ended")]
fn kit_a_delta_after_the_end_is_caught() {
    let mut reader = subscribed("abcdefgh:3");
    reader.frame(&frame(
        3,
        5,
        json!([numbered(completed("m"), 4), numbered(delta("m", "x"), 5)]),
    ));
}

#[test]
#[should_panic(expected = "breaks at token Some(2)")]
fn kit_a_lost_token_is_caught() {
    counted_to("0—1—3—");
}

#[test]
#[should_panic(expected = "breaks at token")]
fn kit_a_doubled_token_is_caught() {
    counted_to("0—1—1—2—");
}

#[test]
fn kit_a_snapshot_replaces_and_the_next_event_follows_it() {
    let mut reader = subscribed("abcdefgh:3~");
    reader.frame(&frame(3, 9, json!([snapshot("whole", 9)])));
    reader.frame(&frame(9, 10, json!([numbered(delta("m", "!"), 10)])));
    assert_eq!(reader.view(TOPIC).text("m"), "whole!");
}

#[test]
#[should_panic(expected = "a snapshot of the past")]
fn kit_a_snapshot_of_the_past_is_caught() {
    let mut reader = subscribed("abcdefgh:3~");
    reader.frame(&frame(3, 3, json!([snapshot("old", 2)])));
}

#[test]
fn kit_a_message_that_ended_in_a_gap_is_lost() {
    let mut reader = subscribed("abcdefgh:3");
    let both = json!([
        numbered(delta("m", "a"), 4),
        numbered(delta("gone", "b"), 5)
    ]);
    reader.frame(&frame(3, 5, both));
    reader
        .frame(&json!({ "op": "gap", "topic": TOPIC, "from": 6, "to": 9, "reason": "retention" }));
    assert_eq!(reader.view(TOPIC).position(), "abcdefgh:9~");
    reader.frame(&frame(9, 12, json!([snapshot("abc", 12)])));
    assert!(reader.view(TOPIC).message("gone").lost);
    assert!(!reader.view(TOPIC).message("m").lost);
    assert_eq!(reader.view(TOPIC).text("m"), "abc");
}

#[test]
fn kit_what_a_snapshot_omits_is_kept() {
    let mut reader = subscribed("abcdefgh:3");
    reader.frame(&frame(3, 4, json!([numbered(delta("m", "héllo"), 4)])));
    reader.frame(&json!({ "op": "gap", "topic": TOPIC, "from": 5, "to": 5, "reason": "memory" }));
    let mut omitting = snapshot("llo wörld", 6);
    omitting["data"]["parts"][0]["omitted"] = json!(3);
    reader.frame(&frame(5, 6, json!([omitting])));
    assert_eq!(reader.view(TOPIC).text("m"), "héllo wörld");
}

#[test]
fn kit_tokens_and_keys_are_those_that_a_guarded_broker_takes() {
    let key = ApiKey::new("reader", "subscribe = [\"/a/*\"]");
    let folder = tempfile::tempdir().unwrap();
    let revoked = folder.path().join("revoked");
    let broker = Broker::guarded(&format!("revocations_file = {revoked:?}\n{}", key.table));
    let status = |credential: &str| {
        let authorization = bearer(credential);
        let headers = [("authorization", authorization.as_str())];
        let mut http = broker.http();
        http.request("GET", "/v1/events?topic=/a/b", &headers, b"")
            .status
    };
    let token = Token::of("ada").grant("subscribe", &["/a/{sub}", "/a/b"]);
    assert_eq!(status(&token.sign()), 200);
    assert_eq!(status(&key.text), 200);
    assert_eq!(status(&Token::of("ada").sign()), 403);
    assert_eq!(
        status(&token.sign_with("another secret of 32 bytes or more")),
        401
    );
    assert_eq!(status(&format!("{}.", token.unsigned("none"))), 401);
    assert_eq!(status(&token.without("exp").sign()), 401);
    let ws = Ws::open_as(broker.addr, &Token::of("ada").sign());
    assert_eq!(ws.welcome["environment"], "dev");
    std::fs::write(&revoked, "{\"key\":\"reader\"}\n").unwrap();
    broker.hang_up();
    eventually("the key is revoked", || {
        (status(&key.text) == 401).then_some(())
    });
}
