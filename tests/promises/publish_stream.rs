//! `POST /v1/publish/stream`: one event a line, for as long as the request lasts.

use serde_json::{Value, json};

use crate::support::agent::kept;
use crate::support::lines::{Lines, NDJSON, lines};
use crate::support::*;

/// A whole body at once.
fn whole(broker: &Broker, topic: &str, body: &[u8]) -> Response {
    let target = format!("/v1/publish/stream?topic={topic}");
    broker.http().request("POST", &target, &[NDJSON], body)
}

#[test]
fn publish_stream_keeps_order_and_tells_a_summary() {
    let broker = Broker::start();
    let topic = "/stream/order";
    broker.publish(topic, json!([note(1000)]));
    let mut stream = Lines::open(&broker, &format!("topic={topic}"));
    let text: Vec<u8> = lines((0..5000).map(|n| delta("m", &events::token(n))));
    // in pieces that cut lines, and characters, anywhere
    for piece in text.chunks(1777) {
        stream.send(piece);
    }
    let summary = stream.summary();
    assert_eq!(summary["topic"], topic, "{summary}");
    assert_eq!(summary["kept"], 5000, "{summary}");
    assert_eq!(
        (&summary["first_seq"], &summary["last_seq"]),
        (&json!(2), &json!(5001))
    );
    assert_eq!(summary["epoch"], broker.topic(topic)["epoch"], "{summary}");
    let mut reader = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("start"),
    );
    said_whole(&reader.until_seq(topic, 5001).text("m"), 5000);
}

#[test]
fn publish_stream_is_seen_before_the_request_ends() {
    let broker = Broker::start();
    let topic = "/stream/live";
    for method in ["POST", "PUT"] {
        let mut stream = Lines::begin(&broker, method, &format!("topic={topic}"), &[NDJSON]);
        let mut reader =
            Follower::open(Transport::Sse, broker.addr, Ask::topic(topic).from("start"));
        let head = broker.head(topic);
        for n in 1..=20 {
            stream.line(&note(n));
            reader.until_seq(topic, head + n);
        }
        assert_eq!(stream.summary()["kept"], 20);
    }
}

#[test]
fn publish_stream_by_curl_from_standard_input() {
    let broker = Broker::start();
    let topic = "/stream/curl";
    let url = format!("{}/v1/publish/stream?topic={topic}", broker.url());
    let mut curl = Process::run("curl", &["-sfN", "-T", "-", &url]);
    for n in 0..5 {
        curl.write(&lines([delta("m", &events::token(n))]));
        eventually("the line", || (broker.head(topic) == n + 1).then_some(()));
    }
    curl.write(&lines([completed("m")]));
    let (summary, well) = curl.finish();
    assert!(well, "{summary}");
    let summary: Value = serde_json::from_str(&summary).expect("a summary");
    assert_eq!(summary["kept"], 6, "{summary}");
}

#[test]
fn publish_stream_takes_what_lines_look_like() {
    let broker = Broker::start();
    let topic = "/stream/looks";
    let mut body = b"\n\r\n  \n".to_vec();
    body.extend(format!("{}\r\n", note(1)).bytes());
    body.extend(format!("\t {}  \n\n", note(2)).bytes());
    // no newline at the end
    body.extend(note(3).to_string().bytes());
    let summary = whole(&broker, topic, &body).json();
    assert_eq!(summary["kept"], 3, "{summary}");
    assert!(summary.get("dropped_bytes").is_none(), "{summary}");
    let nothing = whole(&broker, "/stream/empty", b"\n\n").json();
    assert_eq!(nothing["kept"], 0, "{nothing}");
    assert!(nothing["first_seq"].is_null() && nothing["last_seq"].is_null());
    assert_eq!(whole(&broker, "/stream/empty", b"").json()["kept"], 0);
    assert_eq!(broker.head("/stream/empty"), 0);
}

#[test]
fn publish_stream_drops_a_last_line_that_was_cut_off() {
    let broker = Broker::start();
    let topic = "/stream/cut";
    let mut body = lines([note(1), note(2)]);
    body.extend(b"{\"type\":\"note.taken\",\"da");
    let summary = whole(&broker, topic, &body).json();
    assert_eq!(summary["kept"], 2, "{summary}");
    assert_eq!(summary["dropped_bytes"], 24, "{summary}");
    // cut by the network: what is whole stays, and nothing else
    let mut stream = Lines::open(&broker, &format!("topic={topic}"));
    stream.send(&body);
    eventually("the whole lines", || {
        (broker.head(topic) == 4).then_some(())
    });
    stream.http.wire.cut();
    broker.publish(topic, json!([note(9)]));
    let seen: Vec<Value> = kept(&broker, topic)
        .iter()
        .map(|e| e["data"]["n"].clone())
        .collect();
    assert_eq!(json!(seen), json!([1, 2, 1, 2, 9]));
}

#[test]
fn publish_stream_says_at_which_line_it_stopped() {
    let broker = Broker::start();
    let long = format!(
        "{{\"type\":\"a.b\",\"data\":\"{}\"}}",
        "x".repeat(300 << 10)
    );
    let bad: [(&str, u16, &str, &[u8]); 8] = [
        (
            "nul",
            400,
            "invalid_json",
            b"{\"type\":\"a.b\",\"data\":\"\0\"}",
        ),
        ("nul-alone", 400, "invalid_json", b"\0"),
        ("text", 400, "invalid_json", b"hello"),
        ("array", 400, "invalid_event", b"[1]"),
        (
            "reserved",
            400,
            "reserved_type",
            b"{\"type\":\"tidewire.x\",\"data\":1}",
        ),
        ("untyped", 400, "invalid_event", b"{\"type\":7,\"data\":1}"),
        (
            "utf8",
            400,
            "invalid_json",
            b"{\"type\":\"a.b\",\"data\":\"\xff\"}",
        ),
        ("long", 413, "too_large", long.as_bytes()),
    ];
    for (name, status, code, line) in bad {
        let topic = format!("/stream/bad-{name}");
        let mut body = lines([note(1), note(2)]);
        body.extend(b"\n");
        body.extend(line);
        body.extend(b"\n");
        body.extend(lines([note(3)]));
        let problem = whole(&broker, &topic, &body).problem();
        assert_eq!(problem["status"], status, "{name}: {problem}");
        assert_eq!(problem["code"], code, "{name}: {problem}");
        assert_eq!(problem["line"], 4, "{name}: {problem}");
        assert_eq!(problem["kept"], 2, "{name}: {problem}");
        assert_eq!(problem["last_seq"], 2, "{name}: {problem}");
        assert!(problem.get("index").is_none(), "{name}: {problem}");
        assert_eq!(broker.head(&topic), 2, "{name}");
    }
    let first = whole(&broker, "/stream/bad-first", b"no\n").problem();
    assert_eq!(
        (&first["line"], &first["kept"]),
        (&json!(1), &json!(0)),
        "{first}"
    );
    assert!(first["last_seq"].is_null(), "{first}");
}

/// Ten megabytes without a newline: refused before it is held, and those before it are kept.
#[test]
fn publish_stream_refuses_a_line_of_ten_megabytes() {
    let mut broker = Broker::start();
    let topic = "/stream/ten";
    let before = broker.rss_kb();
    let mut stream = Lines::open(&broker, &format!("topic={topic}"));
    stream.line(&note(1));
    let piece = [b'x'; 64 << 10];
    for _ in 0..160 {
        if stream.try_send(&piece).is_err() {
            break;
        }
    }
    let problem = stream.end().problem();
    assert_eq!(problem["code"], "too_large", "{problem}");
    assert_eq!(
        (&problem["line"], &problem["kept"]),
        (&json!(2), &json!(1)),
        "{problem}"
    );
    let after = broker.rss_kb();
    assert!(
        after < before + 6 * 1024,
        "{before} KiB before, {after} KiB after"
    );
    assert_eq!(broker.head(topic), 1);
    broker.assert_healthy();
}

#[test]
fn publish_stream_keeps_what_stands_before_a_line_the_topic_refuses() {
    let broker = Broker::start();
    let topic = "/stream/ended";
    broker.publish(topic, json!([delta("done", "x"), completed("done")]));
    let before: Vec<Value> = (0..10).map(|n| delta("m", &events::token(n))).collect();
    let mut body = lines(before);
    body.extend(lines([delta("done", "late"), delta("m", "never"), note(1)]));
    let problem = whole(&broker, topic, &body).problem();
    assert_eq!(problem["code"], "message_ended", "{problem}");
    assert_eq!(problem["status"], 409, "{problem}");
    assert_eq!(
        (&problem["line"], &problem["kept"]),
        (&json!(11), &json!(10)),
        "{problem}"
    );
    assert_eq!(problem["last_seq"], 12, "{problem}");
    assert_eq!(broker.head(topic), 12);
    let mut reader = Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("start"),
    );
    said_whole(&reader.until_seq(topic, 12).text("m"), 10);
}

/// A publisher that comes back repeats what it is not sure of: each line is one publish, however they come.
#[test]
fn publish_stream_repeated_event_ids_are_kept_once() {
    let broker = Broker::start();
    let topic = "/stream/ids";
    let event = |n: u64| json!({ "type": "note.taken", "id": format!("e{n}"), "data": { "n": n } });
    let first = whole(&broker, topic, &lines((0..10).map(event)));
    assert_eq!(first.json()["kept"], 10);
    // some known, some new; and one twice
    let mut again: Vec<Value> = (5..15).map(event).collect();
    again.push(event(14));
    let response = whole(&broker, topic, &lines(again));
    assert_eq!(response.status, 200, "{}", response.text());
    let seen: Vec<Value> = kept(&broker, topic)
        .iter()
        .map(|e| e["data"]["n"].clone())
        .collect();
    assert_eq!(json!(seen), json!((0..15).collect::<Vec<u64>>()));
}
