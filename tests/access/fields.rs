//! Attacks with what stands in a field: line breaks, controls, marks, broken texts and crooked paths, in everything that
//! reaches event streams, headers or the log. It is refused clearly, or it comes out as it went in and as nothing else.

use serde_json::{Value, json};

use crate::kit_grants::{Caller, still_serves};
use crate::support::broker::Folder;
use crate::support::http::{Response, read_head};
use crate::support::msgpack::packed;
use crate::support::sse::Block;
use crate::support::token::{SECRET, guarded_by};
use crate::support::wire::Wire;
use crate::support::ws::JSON;
use crate::support::{
    ApiKey, Broker, Http, Setup, Sse, Token, Ws, bearer, completed, delta, note, started,
};

/// What would be another line, block, header, or something else to look at, were it passed on as it is.
const HOSTILE: [&str; 24] = [
    "\r\n\r\nevent: evil\ndata: evil\n\n",
    "\nid: 99",
    "a\rb",
    "a\nx-evil: 1",
    "\r\nx-evil: 1\r\n\r\nHTTP/1.1 200 OK",
    "\0",
    "a\0b",
    "\u{1b}[31m",
    "\u{8}\u{7f}",
    "\u{85}",
    "\u{9b}2J",
    "\u{2028}event: evil",
    "\u{2029}data: evil",
    "\u{202e}drowssap",
    "\u{2066}\u{2069}",
    "\u{200b}",
    "\u{feff}",
    "\u{fffd}",
    "\u{10ffff}",
    "\u{1f600}e\u{301}",
    "data: evil",
    ": comment",
    "\"},{\"op\":\"evil\"",
    "\\u000aid: 1",
];

/// Without a token every log line is one JSON object, however much is logged.
fn logging(config: &str) -> Broker {
    let args = [
        "--log-format",
        "json",
        "--log-level",
        "debug",
        "--trusted-proxies",
        "127.0.0.1/32",
    ];
    Broker::set_up(Setup {
        config: guarded_by(SECRET, config),
        args: args.map(str::to_owned).to_vec(),
        asks: true,
        ..Setup::default()
    })
}

/// Each line of the log is one JSON object, and there are some.
fn logs_whole_lines(broker: &mut Broker) {
    still_serves(broker);
    let log = broker.stderr();
    let whole = log.rsplit_once('\n').expect("a line").0;
    for line in whole.split('\n') {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line:?}"));
        assert!(
            line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
    }
}

/// Every block that has data: just its three lines, and nothing that was not said.
fn whole_block(block: &Block) -> Value {
    let raw = &block.raw;
    let fields: Vec<_> = raw
        .split('\n')
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert!(
        fields == ["event", "data", "id"] || fields == ["event", "data"],
        "{raw:?}"
    );
    let json = block.json();
    assert_eq!(block.event.as_deref(), json["type"].as_str(), "{raw:?}");
    json
}

/// Reads `count` events of a topic, from the start and raw.
fn streamed(reader: &Caller, topic: &str, count: usize) -> Vec<Value> {
    let mut sse = reader.sse(&format!("/v1/sse?topic={topic}&from=start"), &[]);
    assert_eq!(whole_block(&sse.event())["type"], "tidewire.ready");
    (0..count).map(|_| whole_block(&sse.event())).collect()
}

#[test]
fn any_text_in_data_is_one_block_with_just_that_text() {
    let mut broker = logging("");
    let owner = Caller::owner(&broker);
    let datas: Vec<Value> = HOSTILE
        .iter()
        .map(|text| json!({ *text: [text, { "deep": text }], "n": 1 }))
        .collect();
    let events: Value = datas
        .iter()
        .map(|data| json!({ "type": "note.taken", "data": data }))
        .collect();
    for answer in owner.on_each_way("/mine/1", &events) {
        assert!(answer["first_seq"].is_u64(), "{answer}");
    }
    let read = streamed(&owner, "/mine/1", 4 * HOSTILE.len());
    for (event, data) in read.iter().zip(datas.iter().cycle()) {
        assert_eq!(event["data"], *data);
    }
    // white space of JSON between tokens is no text, and stays on the line
    for space in [
        "\n",
        "\r",
        "\r\n\r\n",
        "\n\nevent: evil\n".split("event").next().unwrap(),
        "\t\r \n",
    ] {
        let data = format!(
            "{{{space}\"message_id\"{space}:{space}\"m{}\",{space}\"role\":{space}[1,{space}2]}}",
            space.len()
        );
        for name in ["message.started", "note.taken", "run.cancel"] {
            let body = format!(
                "{{\"topic\":\"/mine/2\",{space}\"events\":[{{\"type\":\"{name}\",\"data\":{space}{data}{space}}}]}}"
            );
            let answer = owner.send("POST", "/v1/publish", Some(&body));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    let line = "{\"type\":\"note.taken\",\"data\":{\r\"a\":\r1}\r}\r\n";
    assert_eq!(
        owner
            .send("POST", "/v1/publish/stream?topic=/mine/2", Some(line))
            .status,
        200
    );
    let count = owner.head("/mine/2") as usize;
    assert!(count > 12);
    streamed(&owner, "/mine/2", count);
    // so does what a snapshot repeats
    let mut sse = owner.sse("/v1/sse?topic=/mine/2&topic=/mine/1", &[]);
    whole_block(&sse.event());
    let snapshot = whole_block(&sse.event());
    assert_eq!(snapshot["type"], "message.snapshot", "{snapshot}");
    assert!(snapshot["data"]["started"]["role"].is_array(), "{snapshot}");
    logs_whole_lines(&mut broker);
}

#[test]
fn any_text_of_a_message_is_read_as_it_was_said() {
    let mut broker = logging("");
    let owner = Caller::owner(&broker);
    let whole: String = HOSTILE.concat();
    let said: Value = HOSTILE.iter().map(|text| delta("m1", text)).collect();
    owner.publishes("/mine/1", said.clone());
    for query in ["", "&coalesce_ms=100", "&from=start&replay=compact"] {
        let mut sse = owner.sse(&format!("/v1/sse?topic=/mine/1{query}"), &[]);
        whole_block(&sse.event());
        let snapshot = whole_block(&sse.event());
        assert_eq!(snapshot["data"]["parts"][0]["text"], whole, "{query}");
    }
    let merged = owner
        .sse(
            "/v1/sse?topic=/mine/1&from=start&coalesce_ms=1000&named=0",
            &[],
        )
        .event_after_ready();
    assert!(
        merged["data"]["text"]
            .as_str()
            .unwrap()
            .starts_with(HOSTILE[0]),
        "{merged}"
    );
    let mut end = completed("m1");
    end["data"]["text"] = json!(whole);
    end["data"]["finish_reason"] = json!(HOSTILE[0]);
    owner.publishes("/mine/1", json!([end]));
    let mut sse = owner.sse("/v1/sse?topic=/mine/1&from=start&replay=compact", &[]);
    whole_block(&sse.event());
    let ended = whole_block(&sse.event());
    assert_eq!(ended["parts"][0]["text"], whole, "{ended}");
    logs_whole_lines(&mut broker);
}

trait AfterReady {
    fn event_after_ready(self) -> Value;
}

impl AfterReady for Sse {
    /// Of a stream without names: one line of data, one id.
    fn event_after_ready(mut self) -> Value {
        self.event();
        let block = self.event();
        assert_eq!(block.event, None);
        assert_eq!(block.raw.matches('\n').count(), 1, "{:?}", block.raw);
        block.json()
    }
}

/// A refusal that can be read and brings nothing along.
fn is_clear(response: &Response, codes: &[&str]) {
    let problem = response.problem();
    let code = problem["code"].as_str().unwrap_or_default();
    assert!(codes.contains(&code), "{problem}");
    brings_nothing(response);
}

/// No header that somebody else wrote.
fn brings_nothing(response: &Response) {
    for (name, value) in &response.headers {
        assert!(
            !name.contains("evil") && !value.contains("evil"),
            "{response:?}"
        );
    }
}

fn query(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn a_topic_or_pattern_of_any_other_text_is_refused() {
    let mut broker = logging("");
    let owner = Caller::owner(&broker);
    let long = "x".repeat(2_000);
    let topics = HOSTILE
        .map(str::to_owned)
        .into_iter()
        .map(|text| format!("/a/{text}"));
    let others = [
        "", "/", "a", "/a/", "/a//b", "/a/..", "/./a", "/a b", "/ä", "/ａ", "/a%2fb", "/a;b",
        "/a?b", "/a#b", "/a\\b", "/*", "/a/**",
    ];
    let long = [format!("/{long}"), "/a".repeat(9)];
    let topics: Vec<_> = topics
        .chain(others.map(str::to_owned))
        .chain(long)
        .collect();
    let refused = ["invalid_topic"];
    let mut json_ws = owner.ws(false);
    let mut packed_ws = owner.ws(true);
    for topic in &topics {
        let body = json!({ "topic": topic, "events": [note(1)] });
        is_clear(&owner.post(&body), &refused);
        is_clear(&owner.post_packed(&packed(&body)), &refused);
        let post = json!({ "topics": [{ "topic": topic }] });
        is_clear(&owner.call("POST", "/v1/sse", Some(&post)), &refused);
        let text = query(topic);
        for (method, target) in [
            ("GET", "/v1/sse"),
            ("GET", "/v1/events"),
            ("GET", "/v1/topic"),
            ("DELETE", "/v1/topic"),
            ("POST", "/v1/publish/stream"),
        ] {
            is_clear(
                &owner.call(method, &format!("{target}?topic={text}"), None),
                &refused,
            );
        }
        let listed = owner.call(
            "GET",
            &format!("/v1/topics?prefix={text}&after={text}"),
            None,
        );
        assert_eq!(listed.status, 200, "a prefix is any text");
        for ws in [&mut json_ws, &mut packed_ws] {
            for op in ["subscribe", "unsubscribe"] {
                let answer = ws.call(json!({ "op": op, "topic": topic }));
                assert_eq!(answer["code"], "invalid_topic", "{topic:?}: {answer}");
            }
            let pattern = if topic.ends_with('*') {
                "/a*/**"
            } else {
                topic
            };
            let answer = ws.call(json!({ "op": "subscribe", "pattern": pattern }));
            assert_eq!(answer["code"], "invalid_topic", "{pattern:?}: {answer}");
            let attach = json!({ "op": "attach", "producer": { "id": "a" }, "demand": [topic], "control": [topic] });
            assert_eq!(ws.call(attach)["op"], "error", "{topic:?}");
            assert_eq!(ws.publish(topic, json!([note(1)]))["code"], "invalid_topic");
        }
    }
    assert_eq!(owner.read("/v1/topics")["topics"], json!([]));
    logs_whole_lines(&mut broker);
}

#[test]
fn a_type_or_id_of_any_other_text_is_refused_or_comes_back_as_it_was() {
    let mut broker = logging("");
    let owner = Caller::owner(&broker);
    let long = "x".repeat(129);
    let hostile = || HOSTILE.into_iter().chain([long.as_str(), ""]);
    for text in hostile() {
        for name in [text.to_owned(), format!("a.{text}"), format!("{text}.b")] {
            let events = json!([{ "type": name, "data": 1 }]);
            for refused in owner.is_refused("invalid_event", "/mine/1", &events) {
                assert_eq!(refused["field"], "type", "{name:?}");
            }
            let target = format!("/v1/sse?topic=/mine/1&once=1&types={}", query(&name));
            is_clear(&owner.call("GET", &target, None), &["invalid_request"]);
        }
    }
    let mut kept = 0;
    for text in hostile() {
        let is_id =
            !text.is_empty() && text.chars().count() <= 128 && !text.chars().any(char::is_control);
        let id = json!([{ "type": "note.taken", "id": text, "data": text }]);
        let message = json!([delta(text, text), completed(text)]);
        for (events, field) in [(id, "id"), (message, "data.message_id")] {
            if !is_id {
                for refused in owner.is_refused("invalid_event", "/mine/1", &events) {
                    assert_eq!(refused["field"], field, "{text:?}");
                }
                continue;
            }
            kept += events.as_array().unwrap().len();
            owner.publishes("/mine/1", events);
        }
        let producer = json!({ "topic": "/mine/1", "events": [note(1)], "producer": { "id": text, "epoch": 1, "seq": 1 } });
        let attach = json!({ "op": "attach", "producer": { "id": text } });
        let stream = format!(
            "/v1/publish/stream?topic=/mine/1&producer_id={}",
            query(text)
        );
        let attached = owner.ws(text.len() % 2 == 0).call(attach);
        let line = note(1).to_string();
        if is_id {
            kept += 2;
            assert_eq!(owner.post(&producer).status, 200, "{text:?}");
            assert_eq!(attached["op"], "attached", "{text:?}: {attached}");
            assert_eq!(
                owner.send("POST", &stream, Some(&line)).status,
                200,
                "{text:?}"
            );
        } else {
            is_clear(&owner.post(&producer), &["invalid_request"]);
            is_clear(&owner.post_packed(&packed(&producer)), &["invalid_request"]);
            assert_eq!(attached["code"], "invalid_request", "{text:?}: {attached}");
            is_clear(
                &owner.send("POST", &stream, Some(&line)),
                &["invalid_request"],
            );
        }
    }
    let read = streamed(&owner, "/mine/1", kept);
    let ids: Vec<_> = read
        .iter()
        .filter_map(|event| event["id"].as_str())
        .collect();
    assert!(
        ids.len() > 8 && ids.iter().all(|id| HOSTILE.contains(id)),
        "{ids:?}"
    );
    for event in read.iter().filter(|event| event["type"] == "token.delta") {
        assert_eq!(event["data"]["message_id"], event["data"]["text"]);
    }
    logs_whole_lines(&mut broker);
}

#[test]
fn the_id_of_a_command_comes_back_as_it_was_and_nothing_beside_it() {
    let mut broker = logging("");
    let owner = Caller::owner(&broker);
    for packed in [false, true] {
        let mut ws = owner.ws(packed);
        for text in HOSTILE {
            for command in [
                json!({ "op": "subscribe", "topic": "bad" }),
                json!({ "op": text }),
                json!({ "op": "publish", "topic": "/mine/1", "events": [note(1)] }),
                json!({ "op": "refresh", "token": text }),
            ] {
                if command["op"] == "refresh" && text != HOSTILE[0] {
                    continue;
                }
                let mut command = command;
                command["id"] = json!(text);
                ws.send(&command);
                let answer = ws.recv();
                assert_eq!(answer["id"], text, "{answer}");
                assert_ne!(answer["op"], "evil", "{answer}");
            }
        }
    }
    let mut ws = owner.ws(false);
    for bad in [r#""\ud800""#, r#""\udc00x""#, "1.5", "[1]", "{}", "true"] {
        ws.send_text(&format!(r#"{{"op":"ping","id":{bad}}}"#));
        let answer = ws.expect("error");
        assert!(answer["id"].is_null(), "{bad}: {answer}");
    }
    logs_whole_lines(&mut broker);
}

#[test]
fn a_lone_surrogate_or_bytes_that_are_no_text_are_refused() {
    let mut broker = logging("");
    let owner = Caller::owner(&broker);
    let lone = [
        r"\ud800",
        r"\udfff",
        r"\udc00\ud800",
        r"\ud83d\u0041",
        r"\uD83Dx",
    ];
    for lone in lone {
        for event in [
            format!(r#"{{"type":"note.taken","data":"{lone}"}}"#),
            format!(r#"{{"type":"note.taken","data":{{"{lone}":1}}}}"#),
            format!(r#"{{"type":"note.{lone}","data":1}}"#),
            format!(r#"{{"type":"note.taken","id":"{lone}","data":1}}"#),
            format!(r#"{{"type":"token.delta","data":{{"message_id":"{lone}","text":""}}}}"#),
            format!(r#"{{"type":"token.delta","data":{{"message_id":"m","text":"{lone}"}}}}"#),
        ] {
            let body = format!(r#"{{"topic":"/mine/1","events":[{event}]}}"#);
            is_clear(
                &owner.send("POST", "/v1/publish", Some(&body)),
                &["invalid_event"],
            );
            let stream = "/v1/publish/stream?topic=/mine/1";
            is_clear(
                &owner.send("POST", stream, Some(&event)),
                &["invalid_event"],
            );
        }
        let topic = format!(r#"{{"topic":"/a/{lone}","events":[{{"type":"a.b","data":1}}]}}"#);
        let refused = ["invalid_topic", "invalid_request", "invalid_json"];
        is_clear(&owner.send("POST", "/v1/publish", Some(&topic)), &refused);
        let topic = format!(r#"{{"topics":[{{"topic":"/a/{lone}"}}]}}"#);
        is_clear(&owner.send("POST", "/v1/sse", Some(&topic)), &refused);
        let mut ws = owner.ws(false);
        ws.send_text(&format!(r#"{{"op":"subscribe","topic":"/a/{lone}"}}"#));
        ws.expect("error");
    }
    // overlong forms, surrogates in UTF-8, cut characters, Latin-1
    let broken: [&[u8]; 7] = [
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"caf\xe9",
        b"\xff",
    ];
    for bytes in broken {
        let shown = bearer(&owner.shown);
        for (kind, begin, end) in [
            (
                "application/json",
                &br#"{"topic":"/mine/1","events":[{"type":"a.b","data":""#[..],
                &br#""}]}"#[..],
            ),
            (
                "application/json",
                br#"{"topic":"/mine/", "events":[{"type":"a.b","data":1,""#,
                br#"":1}]}"#,
            ),
            (
                "application/json",
                br#"{"topic":"/mine/"#,
                br#"","events":[{"type":"a.b","data":1}]}"#,
            ),
        ] {
            let body = [begin, bytes, end].concat();
            let headers = [("authorization", shown.as_str()), ("content-type", kind)];
            let answer = broker
                .http()
                .request("POST", "/v1/publish", &headers, &body);
            is_clear(&answer, &["invalid_json", "invalid_topic"]);
        }
        let text = [&[0xa0 | bytes.len() as u8][..], bytes].concat();
        let event =
            crate::support::msgpack::map(&[("type", &packed(&json!("a.b"))), ("data", &text)]);
        let events = crate::support::msgpack::array(&[event]);
        let body = crate::support::msgpack::map(&[
            ("topic", &packed(&json!("/mine/1"))),
            ("events", &events),
        ]);
        is_clear(&owner.post_packed(&body), &["invalid_event"]);
        let encoded: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
        for target in [
            "/v1/events?topic=/mine/",
            "/v1/sse?topic=/mine/",
            "/v1/topic?topic=/",
        ] {
            let answer = owner.call("GET", &format!("{target}{encoded}"), None);
            is_clear(&answer, &["invalid_topic", "invalid_request"]);
        }
    }
    assert_eq!(owner.read("/v1/topics")["topics"], json!([]));
    logs_whole_lines(&mut broker);
}

#[test]
fn a_cursor_of_any_text_is_a_bad_cursor() {
    let mut broker = logging("");
    let owner = Caller::owner(&broker);
    owner.publishes("/mine/1", json!([note(1)]));
    let long = "x".repeat(9000);
    for text in HOSTILE.into_iter().chain([
        long.as_str(),
        "1.",
        "1.evil!1",
        "0:0:0",
        "zzzzzzzz:99999999999999999999",
    ]) {
        for target in [
            format!(
                "/v1/sse?topic=/mine/1&once=1&last_event_id={}",
                query(&text[..text.len().min(4000)])
            ),
            "/v1/sse?topic=/mine/1&topic=/mine/2&once=1".to_owned(),
        ] {
            let raw: String = text.chars().filter(|c| !c.is_ascii_control()).collect();
            let mut sse = owner.sse(&target, &[("last-event-id", &raw)]);
            let blocks = sse.rest();
            assert_eq!(blocks[0].kind(), "tidewire.ready");
            blocks.iter().for_each(|block| drop(whole_block(block)));
            let all: String = blocks.iter().map(|block| block.raw.as_str()).collect();
            assert!(!all.contains("evil"), "{all}");
        }
        let from = format!(
            "/v1/events?topic=/mine/1&from={}",
            query(&text[..text.len().min(4000)])
        );
        is_clear_or_read(&owner.call("GET", &from, None));
    }
    logs_whole_lines(&mut broker);
}

fn is_clear_or_read(response: &Response) {
    match response.status {
        200 => drop(response.json()),
        _ => is_clear(response, &["invalid_cursor"]),
    }
}

#[test]
fn what_a_token_says_splits_no_header_and_no_line() {
    let folder = Folder::new();
    let revoked = folder.file("revoked", "");
    let admin = ApiKey::admin("boss");
    let file = format!(
        "revocations_file = {:?}\n{}",
        revoked.to_str().unwrap(),
        admin.table
    );
    let mut broker = logging(&file);
    let owner = Caller::owner(&broker);
    let boss = Caller::with(&broker, &admin.text);
    let all = ["/**"];
    let mut subjects = 0;
    for text in HOSTILE {
        // whatever is not looked at does no harm, whatever is refused is not repeated raw
        for token in [
            Token::of_all("ada").claim("jti", text),
            Token::of_all("ada").claim("iss", text),
            Token::of_all("ada").claim(text, text),
            Token::of_all("ada").head("kid", text),
            Token::of_all("ada").head("typ", text),
            Token::of_all("ada").head("cty", text),
            Token::of_all("ada").claim("aud", text),
            Token::of(text)
                .grant("subscribe", &all)
                .grant("publish", &all),
            Token::of("ada").grant("subscribe", &[text]),
            Token::of("ada").claim("tidewire", text),
        ] {
            let caller = Caller::of(&broker, &token);
            let answer = caller.call("GET", "/v1/topics", None);
            brings_nothing(&answer);
            let challenge = answer.header("www-authenticate");
            match answer.status {
                200 => assert_eq!(challenge, None),
                _ => {
                    is_clear(&answer, &["unauthenticated"]);
                    assert_eq!(challenge, Some("Bearer realm=\"tidewire\""));
                }
            }
        }
        let subject = Caller::of(&broker, &Token::of(text).grant("publish", &all));
        let said = subject.post(&json!({ "topic": "/mine/1", "events": [note(1)] }));
        assert_eq!(
            said.status == 200,
            !text.chars().any(char::is_control),
            "{text:?}"
        );
        subjects += usize::from(said.status == 200);
    }
    assert!(subjects > 8);
    for event in streamed(&owner, "/mine/1", subjects) {
        let source = event["source"].as_str().expect("a source");
        assert!(HOSTILE.contains(&source), "{event}");
    }
    // what is revoked is one line each, and holds
    for text in HOSTILE {
        let token = Token::of_all("eve").claim("jti", text);
        let good = Caller::of(&broker, &token);
        assert_eq!(good.call("GET", "/v1/topics", None).status, 200, "{text:?}");
        let answer = boss.call("POST", "/v1/revocations", Some(&json!({ "jti": text })));
        assert_eq!(answer.status, 200, "{text:?}: {}", answer.text());
        assert_eq!(good.call("GET", "/v1/topics", None).status, 401, "{text:?}");
        let subject = boss.call(
            "POST",
            "/v1/revocations",
            Some(&json!({ "sub": text, "issued_until": 1 })),
        );
        assert!(
            [200, 400].contains(&subject.status),
            "{text:?}: {}",
            subject.text()
        );
        let key = boss.call("POST", "/v1/revocations", Some(&json!({ "key": text })));
        assert!([200, 400].contains(&key.status), "{text:?}: {}", key.text());
    }
    let kept = std::fs::read_to_string(&revoked).expect("the file");
    let kept: Vec<Value> = kept
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line"))
        .collect();
    for text in HOSTILE {
        assert!(kept.iter().any(|line| line["jti"] == text), "{text:?}");
    }
    assert_eq!(
        owner.call("GET", "/v1/topics", None).status,
        200,
        "nobody else was revoked"
    );
    logs_whole_lines(&mut broker);
}

#[test]
fn a_name_in_the_configuration_cannot_hold_a_line() {
    let attempt = |config: String| {
        let refused = Broker::attempt(Setup {
            config: guarded_by(SECRET, &config),
            args: vec!["--log-format".into(), "json".into()],
            asks: true,
            ..Setup::default()
        });
        refused.err()
    };
    for text in HOSTILE {
        let name = json!(text).to_string();
        let name = if text.contains('\u{7f}') {
            name.replace('\u{7f}', "\\u007f")
        } else {
            name
        };
        let key = ApiKey::new("good", "")
            .table
            .replace("[auth.key.good]", &format!("[auth.key.{name}]"));
        for config in [
            key,
            format!("[namespace.{name}]\n"),
            format!("[auth.issuers.{name}]\nsecret = {:?}\n", "x".repeat(40)),
        ] {
            let refused =
                attempt(config.clone()).unwrap_or_else(|| panic!("it serves with {config:?}"));
            assert_eq!(refused.status.code(), Some(2), "{config:?}: {refused}");
            let raw: Vec<_> = refused
                .stderr
                .chars()
                .filter(|c| c.is_control() && *c != '\n')
                .collect();
            assert_eq!(raw, [], "{config:?}: {refused}");
        }
    }
    assert!(attempt(String::new()).is_none());
}

#[test]
fn a_header_of_any_bytes_comes_back_in_no_header_and_no_line() {
    let mut broker = logging("cookie = \"tw\"\n[quota.address]\nconnections = 100\n");
    let owner = Caller::owner(&broker);
    let shown = bearer(&owner.shown);
    let raw: [&[u8]; 14] = [
        b"a\r\nx-evil: 1",
        b"a\nx-evil: 1",
        b"a\rx-evil: 1",
        b"\0",
        b"a\0b",
        b"\x1b[31m",
        b"\x7f",
        b"\x80\xff",
        b"\xc0\xaf",
        "\u{2028}".as_bytes(),
        "\u{202e}x".as_bytes(),
        "ä".as_bytes(),
        b"a b\tc",
        b"a, b; c=\"d",
    ];
    for bytes in raw {
        for name in [
            "Host",
            "Origin",
            "X-Forwarded-For",
            "Forwarded",
            "Last-Event-ID",
            "Cookie",
            "Authorization",
            "Sec-WebSocket-Protocol",
            "Sec-Fetch-Site",
            "Content-Type",
            "Accept",
            "User-Agent",
            "X-Request-Id",
            "Via",
        ] {
            for target in ["/v1/topics", "/v1/sse?topic=/mine/1&once=1"] {
                let mut request = format!("GET {target} HTTP/1.1\r\n").into_bytes();
                let mut line = |name: &str, value: &[u8]| {
                    request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat())
                };
                if name != "Host" {
                    line("Host", broker.addr.to_string().as_bytes());
                }
                if name != "Authorization" {
                    line("Authorization", shown.as_bytes());
                }
                line(name, bytes);
                line("Connection", b"close");
                request.extend(b"\r\n");
                let mut wire = Wire::connect(broker.addr);
                wire.send(&request);
                let response = read_head(&mut wire).expect("an answer");
                assert!(
                    [200, 400, 401, 403].contains(&response.status),
                    "{name} {bytes:x?}: {response:?}"
                );
                brings_nothing(&response);
            }
        }
    }
    // an origin that is known comes back as it is, and only whole
    let same = format!("http://{}", broker.addr);
    for origin in [
        format!("{same}\tx"),
        format!("{same} x"),
        format!("{same},{same}"),
        format!("{same}\u{2028}"),
    ] {
        let answer = broker
            .http()
            .request("GET", "/healthz", &[("origin", &origin)], b"");
        assert_eq!(answer.status, 403, "{origin:?}");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            None,
            "{origin:?}"
        );
    }
    logs_whole_lines(&mut broker);
}

/// Every path that answers with what belongs to somebody.
const GUARDED: [&str; 8] = [
    "/v1/topics",
    "/v1/topic?topic=/secret/1",
    "/v1/events?topic=/secret/1",
    "/v1/sse?topic=/secret/1&once=1",
    "/v1/publish",
    "/v1/publish/stream?topic=/secret/1",
    "/v1/revocations",
    "/v1/ws",
];

/// The same path as somebody may write it who wants in by the side.
fn crooked(target: &str) -> Vec<String> {
    let (path, query) = target
        .split_once('?')
        .map_or((target, ""), |(path, query)| (path, query));
    let last = path.rsplit('/').next().unwrap();
    let mut paths = vec![
        path.to_owned(),
        format!("/{path}"),
        path.replace('/', "//"),
        format!("/.{path}"),
        format!("/v1/..{path}"),
        format!("/v1/%2e%2e{path}"),
        format!("/v1/%2E./{}", &path[1..]),
        format!("/healthz/..{path}"),
        format!("/healthz/%2e%2e{path}"),
        format!("/v1/openapi.json/../{last}"),
        format!("/v1/openapi.json/..%2f{last}"),
        format!("/v1/openapi.json;{path}"),
        format!("/readyz;/..{path}"),
        path.to_uppercase(),
        path.replace("v1", "V1"),
        format!("{path}/"),
        format!("{path}//"),
        format!("{path}/."),
        format!("{path}/.."),
        format!("{path}/healthz"),
        format!("{path};x"),
        format!("{path};/healthz"),
        format!("{path}%00"),
        format!("{path}%00/healthz"),
        format!("{path}%20"),
        format!("{path}%0d%0a"),
        format!("{path}.json"),
        format!("{path}#/healthz"),
        format!("{path}%3f"),
        format!("{path}%23"),
        format!("{path}\\"),
        path.replace("/v1/", "/v1%2f"),
        path.replace("/v1/", "/v1%2F"),
        path.replace("/v1/", "/v1%5c"),
        path.replace("/v1/", "/v1\\"),
        path.replace("/v1/", "/v1%252f"),
        path.replace("/v1/", "/v1%c0%af"),
        path.replace("/v1/", "/v1%e0%80%af"),
        path.replace("/v1/", "/v1\u{ff0f}"),
        path.replace('o', "\u{43e}"),
        path.replace('e', "e\u{301}"),
        path.replace('t', "%74").replace('v', "%76"),
        path.replace("/v1/", "/%76%31/"),
        path.replace('s', "\u{17f}"),
        format!("http://127.0.0.1{path}"),
        format!("http://evil.example{path}"),
        format!("HTTP://LOCALHOST:1{path}"),
        format!("ws://localhost{path}"),
        format!("//evil.example{path}"),
        path[1..].to_owned(),
        "*".to_owned(),
        "localhost:80".to_owned(),
        String::new(),
    ];
    if !query.is_empty() {
        paths
            .iter_mut()
            .for_each(|path| *path = format!("{path}?{query}"));
    } else {
        let asked: Vec<_> = paths
            .iter()
            .map(|path| format!("{path}?/healthz"))
            .collect();
        paths.extend(asked);
    }
    paths
}

#[test]
fn no_way_of_writing_a_path_gets_by_without_a_token() {
    let mut broker = logging("");
    let owner = Caller::owner(&broker);
    owner.publishes(
        "/secret/1",
        json!([{ "type": "secret.told", "data": "treasure" }]),
    );
    let mut asked = 0;
    let mut ask = |method: &str, target: &str, headers: &str| {
        let body = json!({ "topic": "/secret/1", "events": [note(1)] }).to_string();
        let length = body.len();
        let mut wire = Wire::connect(broker.addr);
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {}\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}",
            broker.addr
        );
        let _ = wire.try_send(head.as_bytes());
        let response = read_head(&mut wire).expect("an answer");
        let deadline = std::time::Instant::now() + crate::support::PATIENCE;
        while wire.fill(deadline) == crate::support::wire::Fill::More {}
        let rest = String::from_utf8_lossy(wire.waiting()).into_owned();
        assert!(
            !rest.contains("treasure") && !rest.contains("/secret/1\""),
            "{method} {target}: {rest}"
        );
        asked += 1;
        response.status
    };
    for target in GUARDED {
        for crooked in crooked(target) {
            for method in ["GET", "POST", "DELETE", "OPTIONS"] {
                let status = ask(method, &crooked, "");
                assert!(
                    [400, 401, 404, 405, 426].contains(&status),
                    "{method} {crooked}: {status}"
                );
            }
        }
        for method in ["PUT", "PATCH", "TRACE", "get", "EVIL", "GET\t"] {
            let status = ask(method, target, "");
            assert!(
                [400, 401, 404, 405, 426].contains(&status),
                "{method} {target}: {status}"
            );
        }
        for headers in [
            "x-http-method-override: GET\r\n",
            "x-original-url: /healthz\r\n",
            "x-rewrite-url: /healthz\r\n",
            "upgrade: h2c\r\nconnection: upgrade\r\n",
            "x-forwarded-for: 127.0.0.1\r\n",
        ] {
            let status = ask("GET", target, headers);
            assert!(
                [400, 401, 404, 405, 426].contains(&status),
                "{headers} {target}: {status}"
            );
        }
    }
    assert!(asked > 1000, "{asked}");
    assert_eq!(owner.head("/secret/1"), 1, "nothing was added or erased");
    for open in ["/healthz", "/readyz", "/v1/openapi.json"] {
        assert_eq!(broker.get(open).status, 200, "{open}");
    }
    logs_whole_lines(&mut broker);
}

#[test]
fn a_crooked_path_leads_nowhere_with_a_token_either() {
    let mut broker = logging("");
    let owner = Caller::owner(&broker);
    owner.publishes("/secret/1", json!([started("m1")]));
    for target in [
        "/v1/../v1/topics",
        "/v1//topics",
        "/v1%2ftopics",
        "/v1/%2e%2e/v1/topics",
        "/V1/topics",
        "/v1/topics/",
        "/v1/topics;x",
        "/v1/topics%00",
        "/v1%c0%aftopics",
        "//v1/topics",
        "/v1/./topics",
        "/v1/TOPICS",
    ] {
        let answer = owner.call("GET", target, None);
        assert!(
            [400, 404].contains(&answer.status),
            "{target}: {}",
            answer.status
        );
    }
    // an absolute form is asked of this broker, whatever it names
    let absolute = format!("http://{}/v1/topics", broker.addr);
    assert_eq!(owner.call("GET", &absolute, None).status, 200);
    for path in [
        "/v1/ws/",
        "/v1/WS",
        "/v1//ws",
        "/v1/ws;x",
        "/v1/ws%00",
        "/v1/../v1/ws",
        "/%76%31/ws",
        "/metrics",
        "/v1/sse",
    ] {
        let protocols = format!("{JSON}, bearer.{}", owner.shown);
        let headers = [("sec-websocket-protocol", protocols.as_str())];
        let opened = Ws::ask_for(
            Wire::connect(broker.addr),
            broker.addr,
            path,
            &[
                &[
                    ("connection", "Upgrade"),
                    ("upgrade", "websocket"),
                    ("sec-websocket-version", "13"),
                    ("sec-websocket-key", crate::support::ws::KEY),
                ][..],
                &headers,
            ]
            .concat(),
        );
        let refused = opened
            .err()
            .unwrap_or_else(|| panic!("an upgrade at {path}"));
        assert!([400, 404].contains(&refused.status), "{path}: {refused:?}");
    }
    // the body of a publish may follow a request that was refused: it is no request of its own
    let mut http = Http::connect(broker.addr);
    let inner = "DELETE /v1/topic?topic=/secret/1 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let answer = http.request(
        "POST",
        "/v1/publish",
        &[("content-type", "application/json")],
        inner.as_bytes(),
    );
    assert_eq!(answer.status, 401);
    assert_eq!(owner.head("/secret/1"), 1);
    logs_whole_lines(&mut broker);
}
