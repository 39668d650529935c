//! Promise 10: an event is encoded once, and all its readers get those bytes; `data` is passed on as it
//! was published.

use serde_json::json;

use crate::support::*;

/// The raw `events` frames up to this seq.
fn raw_frames(ws: &mut Ws, upto: u64) -> Vec<String> {
    let mut frames = Vec::new();
    loop {
        let text = ws.text();
        let frame = ws::parse(&text);
        if frame["op"] == "events" {
            frames.push(text);
            if frame["upto"].as_u64() >= Some(upto) {
                return frames;
            }
        }
    }
}

/// The bytes of the `events` array: what does not depend on where a frame begins or ends.
fn event_bytes(frames: &[String]) -> String {
    let inner = |frame: &String| {
        let begin = frame.find("\"events\":[").expect("events") + "\"events\":[".len();
        let end = frame.rfind(']').expect("the end of the events");
        frame[begin..end].to_owned()
    };
    let parts: Vec<String> = frames
        .iter()
        .map(inner)
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(",")
}

#[test]
fn p10_websocket_readers_get_the_same_bytes() {
    let broker = Broker::start();
    let topic = "/bytes/ws";
    let mut readers: Vec<Ws> = (0..3).map(|_| Ws::open(broker.addr)).collect();
    for reader in &mut readers {
        reader.subscribe(topic, "live");
    }
    broker.publish(topic, events::tokens("m", 0..20));
    broker.publish(topic, json!([note(1), completed("m")]));
    let mut late = Ws::open(broker.addr);
    late.subscribe(topic, "start");
    readers.push(late);
    let bytes: Vec<String> = readers
        .iter_mut()
        .map(|reader| event_bytes(&raw_frames(reader, 22)))
        .collect();
    assert!(bytes.iter().all(|other| *other == bytes[0]), "{bytes:#?}");
}

#[test]
fn p10_sse_readers_get_the_same_bytes() {
    let broker = Broker::start();
    let topic = "/bytes/sse";
    let target = format!("/v1/sse?topic={topic}&from=live");
    let mut readers: Vec<Sse> = (0..3).map(|_| Sse::open(broker.addr, &target)).collect();
    for reader in &mut readers {
        reader.event();
    }
    broker.publish(topic, events::tokens("m", 0..20));
    broker.publish(topic, json!([note(1), completed("m")]));
    let late = format!("/v1/sse?topic={topic}&from=start");
    let mut late = Sse::open(broker.addr, &late);
    late.event();
    readers.push(late);
    let streams: Vec<Vec<String>> = readers
        .iter_mut()
        .map(|reader| (0..22).map(|_| reader.event().raw).collect())
        .collect();
    assert!(
        streams.iter().all(|other| *other == streams[0]),
        "{streams:#?}"
    );
}

#[test]
fn p10_merged_bytes_are_the_same_for_all_in_one_window() {
    let broker = Broker::start();
    let topic = "/bytes/merged";
    let mut readers: Vec<Ws> = (0..3).map(|_| Ws::open(broker.addr)).collect();
    for reader in &mut readers {
        reader.subscribe_with(json!({ "topic": topic, "from": "live", "coalesce_ms": 100 }));
    }
    broker.publish(topic, events::tokens("m", 0..50));
    let last = broker.publish(topic, json!([completed("m")]))["last_seq"]
        .as_u64()
        .unwrap();
    let bytes: Vec<String> = readers
        .iter_mut()
        .map(|reader| event_bytes(&raw_frames(reader, last)))
        .collect();
    assert!(bytes.iter().all(|other| *other == bytes[0]), "{bytes:#?}");
}

/// Spacing, number formats, escapes and key order are the publisher's own.
#[test]
fn p10_data_is_passed_on_as_it_came() {
    let broker = Broker::start();
    let topic = "/bytes/data";
    let data = r#"{ "z" : 1.50, "a":[ 1e2,-0.0 ,18446744073709551615],"u":"\u00e9é\/","n":null }"#;
    let mut ws = Ws::open(broker.addr);
    ws.subscribe(topic, "live");
    let mut sse = Sse::open(broker.addr, &format!("/v1/sse?topic={topic}&from=live"));
    sse.event();
    let body = format!(r#"{{"topic":"{topic}","events":[{{"type":"note.taken","data":{data}}}]}}"#);
    assert_eq!(broker.post("/v1/publish", &body).status, 200);
    let frame = raw_frames(&mut ws, 1).remove(0);
    assert!(frame.contains(data), "{frame}");
    let block = sse.event().raw;
    assert!(block.contains(data), "{block}");
    let page = broker.get(&format!("/v1/events?topic={topic}")).text();
    assert!(page.contains(data), "{page}");
}

#[test]
fn p10_data_published_over_websocket_is_passed_on_as_it_came() {
    let broker = Broker::start();
    let topic = "/bytes/ws-data";
    let data = r#"[1.0,  "\u0041", {"b":2,"a":1}]"#;
    let mut ws = Ws::open(broker.addr);
    ws.subscribe(topic, "live");
    ws.send_text(&format!(
        r#"{{"op":"publish","id":9,"topic":"{topic}","events":[{{"data":{data},"type":"note.taken"}}]}}"#
    ));
    let frame = raw_frames(&mut ws, 1).remove(0);
    assert!(frame.contains(data), "{frame}");
}

/// White space in `data` may hold line breaks; an SSE data line may not.
#[test]
fn p10_line_breaks_between_tokens_become_spaces_in_sse_only() {
    let broker = Broker::start();
    let topic = "/bytes/breaks";
    let mut sse = Sse::open(broker.addr, &format!("/v1/sse?topic={topic}&from=live"));
    sse.event();
    let data = "{\r\n \"a\" :\n1,\r\"b\": \"x\\r\\ny\"}";
    let body = format!(r#"{{"topic":"{topic}","events":[{{"type":"note.taken","data":{data}}}]}}"#);
    assert_eq!(broker.post("/v1/publish", &body).status, 200);
    let block = sse.event();
    let line = block.data.clone().expect("data");
    assert!(line.contains(&data.replace(['\r', '\n'], " ")), "{line}");
    assert_eq!(block.json()["data"], json!({ "a": 1, "b": "x\r\ny" }));
    let page = broker.get(&format!("/v1/events?topic={topic}")).text();
    assert!(page.contains(data), "the log keeps the bytes: {page}");
}
