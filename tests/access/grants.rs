//! Attacks of somebody who has a good token, on what it does not cover: what is there, what others say, in whose
//! name, and what others own. Each on HTTP and WebSocket, in JSON and in MessagePack.

use serde_json::{Value, json};

use crate::kit_grants::{Caller, seen, still_serves};
use crate::support::events::delta_of;
use crate::support::msgpack::{array, map, packed};
use crate::support::{ApiKey, Broker, Http, Token, Ws, bearer, completed, delta, note, started};

const HIDDEN: &str = "/secret/aaaa";
const MISSING: &str = "/secret/zzzz";
const WORDS: &str = "nobody else may know this";

/// Somebody who may do everything below `/mine`.
fn reader() -> Token {
    ["subscribe", "publish", "control", "delete"]
        .into_iter()
        .fold(Token::of("reader"), |token, list| {
            token.grant(list, &["/mine/**"])
        })
}

fn hide(broker: &Broker) -> Caller {
    let owner = Caller::owner(broker);
    let said = json!({ "type": "secret.told", "data": { "words": WORDS } });
    owner.publishes(HIDDEN, json!([said, started("m1")]));
    owner
}

#[test]
fn a_guessed_topic_is_answered_alike_whether_it_exists_over_http() {
    let mut broker = Broker::guarded("");
    let owner = hide(&broker);
    let reader = Caller::of(&broker, &reader());
    let publish = |topic: &str| json!({ "topic": topic, "events": [note(1)] });
    type Call = (&'static str, fn(&str) -> String, Option<fn(&str) -> Value>);
    let calls: [Call; 8] = [
        ("GET", |t| format!("/v1/events?topic={t}"), None),
        ("GET", |t| format!("/v1/topic?topic={t}"), None),
        ("DELETE", |t| format!("/v1/topic?topic={t}"), None),
        ("GET", |t| format!("/v1/sse?topic={t}"), None),
        (
            "GET",
            |t| format!("/v1/sse?topic=/mine/1&topic={t}&once=1"),
            None,
        ),
        (
            "POST",
            |_| "/v1/sse".to_owned(),
            Some(|t| json!({ "topics": [{ "topic": t, "from": "start" }] })),
        ),
        (
            "POST",
            |_| "/v1/publish".to_owned(),
            Some(|t| json!({ "topic": t, "events": [note(1)] })),
        ),
        (
            "POST",
            |t| format!("/v1/publish/stream?topic={t}"),
            Some(|_| note(1)),
        ),
    ];
    for (method, target, body) in calls {
        let [hidden, missing] = [HIDDEN, MISSING].map(|topic| {
            let body = body.map(|body| body(topic));
            let response = reader.call(method, &target(topic), body.as_ref());
            assert_eq!(response.problem()["code"], "forbidden", "{method}");
            seen(&response).replace(topic, "TOPIC")
        });
        assert_eq!(hidden, missing, "{method} {}", target("TOPIC"));
        assert!(!hidden.contains(WORDS), "{hidden}");
    }
    let [hidden, missing] = [HIDDEN, MISSING].map(|topic| {
        let packed = reader.post_packed(&packed(&publish(topic)));
        let listed = reader.post(&json!([publish(topic), publish("/mine/1")]));
        assert_eq!(listed.json()[0]["code"], "forbidden", "{}", listed.text());
        assert_eq!(listed.json()[1]["status"], 200, "{}", listed.text());
        let refused = listed.json()[0].to_string();
        (seen(&packed) + &refused).replace(topic, "TOPIC")
    });
    assert_eq!(hidden, missing);
    assert_eq!(owner.head(HIDDEN), 2, "nothing was added or erased");
    still_serves(&mut broker);
}

#[test]
fn a_guessed_topic_is_answered_alike_whether_it_exists_over_a_websocket() {
    let mut broker = Broker::guarded("");
    hide(&broker);
    let reader = Caller::of(&broker, &reader());
    for packed in [false, true] {
        let told = [HIDDEN, MISSING].map(|topic| {
            let mut ws = reader.ws(packed);
            let mut frames = vec![
                ws.call(json!({ "op": "subscribe", "topic": topic })),
                ws.call(json!({ "op": "subscribe", "topic": topic, "from": "start" })),
                ws.call(json!({ "op": "subscribe", "topics": [{ "topic": topic }] })),
                ws.call(json!({ "op": "unsubscribe", "topic": topic })),
                ws.publish(topic, json!([note(1)])),
            ];
            ws.send(&json!({ "op": "control_ack", "topic": topic, "seq": 1 }));
            frames.push(ws.expect("error"));
            let lists = json!({ "op": "attach", "producer": { "id": "spy", "epoch": 1 },
                                "demand": [topic], "control": [topic] });
            frames.push(ws.call(lists));
            // one refusal for each list, then nothing more
            ws.send(&json!({ "op": "ping" }));
            frames.extend(until_pong(&mut ws));
            let refused = |frame: &&Value| frame["code"] == "forbidden";
            assert_eq!(frames.iter().filter(refused).count(), 6, "{frames:?}");
            json!(frames).to_string().replace(topic, "TOPIC")
        });
        assert_eq!(told[0], told[1]);
        assert!(!told[0].contains(WORDS), "{}", told[0]);
    }
    still_serves(&mut broker);
}

/// All frames up to the answer to a ping.
fn until_pong(ws: &mut Ws) -> Vec<Value> {
    let mut frames = Vec::new();
    loop {
        let frame = ws.recv();
        if frame["op"] == "pong" {
            return frames;
        }
        frames.push(frame);
    }
}

#[test]
fn a_pattern_for_everything_brings_only_what_may_be_read() {
    let mut broker = Broker::guarded("");
    let owner = hide(&broker);
    let foreign = |topic: usize| format!("/secret/{topic}");
    let publish = |topic: &str| owner.publishes(topic, json!([note(1)]));
    publish("/mine/old");
    (0..25).for_each(|topic| drop(publish(&foreign(topic))));
    let token = Token::of("reader").grant("subscribe", &["/mine/*", "/shared/x"]);
    let reader = Caller::of(&broker, &token);
    let own = ["/mine/old", "/mine/new", "/shared/x", "/mine/last"];
    let mut readers = [false, true].map(|packed| {
        let mut ws = reader.ws(packed);
        ws.subscribe_with(json!({ "pattern": "/**", "from": "start" }));
        ws
    });
    (0..50).for_each(|topic| drop(publish(&foreign(topic))));
    for topic in ["/mine/new", "/shared/x", "/mine/new/below", "/shared/xy"] {
        publish(topic);
    }
    (50..75).for_each(|topic| drop(publish(&foreign(topic))));
    publish("/mine/last");
    for ws in &mut readers {
        let mut seen = Vec::new();
        loop {
            let frame = ws.recv();
            let topic = frame["topic"].as_str().unwrap_or("no topic").to_owned();
            assert!(own.contains(&topic.as_str()), "{frame}");
            if frame["op"] == "events" {
                seen.push(topic.clone());
            }
            if topic == "/mine/last" && frame["op"] == "events" {
                break;
            }
        }
        ws.send(&json!({ "op": "ping" }));
        let rest = until_pong(ws);
        for frame in rest {
            assert_eq!(frame["op"], "events", "{frame}");
            let topic = frame["topic"].as_str().expect("a topic");
            assert!(own.contains(&topic), "{frame}");
            seen.push(topic.to_owned());
        }
        for topic in own {
            assert!(seen.iter().any(|seen| seen == topic), "{topic}: {seen:?}");
        }
    }
    still_serves(&mut broker);
}

#[test]
fn a_flood_of_foreign_topics_does_not_end_a_reader_of_everything() {
    let mut broker = Broker::guarded("");
    let owner = Caller::owner(&broker);
    let token = Token::of("reader").grant("subscribe", &["/mine/*"]);
    let mut ws = Caller::of(&broker, &token).ws(false);
    ws.subscribe_with(json!({ "pattern": "/**", "from": "start" }));
    // all at once, so that many births are told in one go
    let shown = bearer(&owner.shown);
    let begin = |round: usize| {
        let body =
            |topic| json!({ "topic": format!("/flood/{round}-{topic}"), "events": [note(1)] });
        let body = (0..1000).map(body).collect::<Value>().to_string();
        let length = body.len().to_string();
        let mut http = broker.http();
        let headers = [
            ("authorization", shown.as_str()),
            ("content-type", "application/json"),
            ("content-length", &length),
        ];
        let head = http.head("POST", "/v1/publish", &headers);
        http.wire.send((head + &body).as_bytes());
        http
    };
    let floods: Vec<Http> = (0..8).map(begin).collect();
    for mut flood in floods {
        let answers = flood.response().json();
        let mut answers = answers.as_array().expect("an answer each").iter();
        assert!(answers.all(|answer| answer["status"] == 200));
    }
    owner.publishes("/mine/1", json!([note(1)]));
    assert_eq!(ws.expect("subscribed")["topic"], "/mine/1");
    assert_eq!(ws.expect("events")["topic"], "/mine/1");
    still_serves(&mut broker);
}

#[test]
fn a_pattern_that_can_bring_nothing_is_refused() {
    let mut broker = Broker::guarded("");
    hide(&broker);
    let token = Token::of("ada").grant("subscribe", &["/mine/*", "/news", "/chat/{sub}/**"]);
    let reader = Caller::of(&broker, &token);
    let nobody = Caller::of(&broker, &Token::of("eve").grant("publish", &["/**"]));
    for packed in [false, true] {
        let mut ws = reader.ws(packed);
        for pattern in [
            "/secret/**",
            "/secret/*",
            "/nothing/**",
            "/mine/a/*",
            "/news/*",
            "/chat/*",
            "/chat/bob/**",
            "/chat/adam/**",
        ] {
            let answer = ws.call(json!({ "op": "subscribe", "pattern": pattern }));
            assert_eq!(answer["code"], "forbidden", "{pattern}: {answer}");
        }
        for pattern in [
            "/s*/x",
            "/*/aaaa",
            "**",
            "/secret/***",
            "/../**",
            "/mine/%2a",
        ] {
            let answer = ws.call(json!({ "op": "subscribe", "pattern": pattern }));
            assert_eq!(answer["code"], "invalid_topic", "{pattern}: {answer}");
        }
        for pattern in ["/**", "/*", "/mine/**", "/chat/**", "/chat/ada/*"] {
            let answer = ws.call(json!({ "op": "subscribe", "pattern": pattern }));
            assert_eq!(answer["op"], "subscribed", "{pattern}: {answer}");
        }
        let mut ws = nobody.ws(packed);
        let answer = ws.call(json!({ "op": "subscribe", "pattern": "/**" }));
        assert_eq!(answer["code"], "forbidden", "{answer}");
    }
    still_serves(&mut broker);
}

#[test]
fn the_position_or_cursor_of_somebody_else_opens_no_topic() {
    let mut broker = Broker::guarded("");
    let owner = hide(&broker);
    owner.publishes("/mine/1", json!([note(1), note(2)]));
    let mut of_both = owner.sse(
        &format!("/v1/sse?topic={HIDDEN}&topic=/mine/1&from=live"),
        &[],
    );
    let cursor = of_both.event().id.expect("a cursor");
    let mut of_hidden = owner.sse(&format!("/v1/sse?topic={HIDDEN}&from=live"), &[]);
    let position = of_hidden.event().id.expect("a position");
    let reader = Caller::of(&broker, &reader());
    let before = position.replace(":2", ":0");
    for stolen in [&cursor, &position, &before] {
        for target in [
            format!("/v1/sse?topic={HIDDEN}"),
            format!("/v1/sse?topic={HIDDEN}&last_event_id={stolen}"),
            format!("/v1/sse?topic={HIDDEN}&lastEventId={stolen}"),
            format!("/v1/sse?topic=/mine/1&topic={HIDDEN}&last_event_id={stolen}"),
        ] {
            let shown = format!("Bearer {}", reader.shown);
            let headers = [("authorization", &*shown), ("last-event-id", stolen)];
            let response = broker.http().request("GET", &target, &headers, b"");
            assert_eq!(response.problem()["code"], "forbidden", "{target}");
        }
        // of a topic that may be read it says nothing of the other
        let mut own = reader.sse("/v1/sse?topic=/mine/1&once=1", &[("last-event-id", stolen)]);
        for block in own.rest() {
            assert!(!block.raw.contains("/secret"), "{}", block.raw);
            assert!(!block.raw.contains(WORDS), "{}", block.raw);
        }
    }
    let history = format!("/v1/events?topic={HIDDEN}&from={before}");
    assert_eq!(reader.call("GET", &history, None).status, 403);
    for packed in [false, true] {
        let mut ws = reader.ws(packed);
        let both = [HIDDEN, MISSING, "/mine/1"].map(|topic| json!({ "topic": topic }));
        ws.send(&json!({ "op": "subscribe", "topics": both, "cursor": cursor }));
        assert_eq!(ws.expect("error")["code"], "forbidden");
        assert_eq!(ws.expect("error")["code"], "forbidden");
        assert_eq!(ws.expect("subscribed")["topic"], "/mine/1");
        // positions beside a pattern
        let topics = [HIDDEN, MISSING].map(|topic| json!({ "topic": topic, "from": before }));
        let told = ws.subscribe_with(json!({ "pattern": "/**", "topics": topics }));
        assert_eq!(told["pattern"], "/**", "{told}");
        let refused = [(); 2].map(|()| ws.until("error"));
        let alike = refused.clone().map(|frame| {
            assert_eq!(frame["code"], "forbidden", "{frame}");
            let topic = frame["topic"].as_str().unwrap();
            frame.to_string().replace(topic, "TOPIC")
        });
        assert_eq!(alike[0], alike[1]);
        owner.publishes(HIDDEN, json!([note(3)]));
        owner.publishes("/mine/1", json!([note(3)]));
        let frame = ws.until("events");
        assert_eq!(frame["topic"], "/mine/1", "{frame}");
    }
    still_serves(&mut broker);
}

#[test]
fn the_list_of_topics_is_ones_own_and_its_pages_leave_none_out() {
    let mut broker = Broker::guarded("[namespace.open]\nread = \"authenticated\"\n");
    let owner = hide(&broker);
    let mut own: Vec<String> = (0..30).map(|n| format!("/mine/{n:02}")).collect();
    own.extend(
        [
            "/chat/ada/1",
            "/chat/ada/2/deep",
            "/news",
            "/open",
            "/open/x",
        ]
        .map(String::from),
    );
    let foreign = [
        "/min",
        "/minefield",
        "/minefield/1",
        "/mine",
        "/mine/a/b",
        "/mine-not/x",
        "/chat/ada",
        "/chat/adam/1",
        "/chat/bob/1",
        "/news/1",
        "/newsroom",
        "/opened",
        "/open-not/x",
        "/zzz/last",
        "/0/first",
    ];
    for topic in own.iter().map(String::as_str).chain(foreign) {
        owner.publishes(topic, json!([note(1)]));
    }
    own.sort();
    let grants = [
        "/mine/*",
        "/chat/{sub}/**",
        "/chat/ada/1",
        "/news",
        "/mine/07",
    ];
    let reader = Caller::of(&broker, &Token::of("ada").grant("subscribe", &grants));
    for limit in [1, 2, 7, 34, 35, 36, 1000] {
        assert_eq!(paged(&reader, "/", limit), own, "pages of {limit}");
    }
    for prefix in [
        "/mine",
        "/mine/",
        "/mine/1",
        "/mine/07",
        "/min",
        "/chat/ad",
        "/chat/ada/",
        "/n",
        "/open",
        "/o",
        "/secret",
        "/secret/a",
        "/minefield",
        "/zzz",
        "/mine/a",
        "/news/",
        "/chat/bob",
        "",
        "mine",
        "//",
        "/%2a",
        "/**",
    ] {
        let expected: Vec<_> = own
            .iter()
            .filter(|topic| topic.starts_with(prefix))
            .cloned()
            .collect();
        for limit in [3, 1000] {
            assert_eq!(paged(&reader, prefix, limit), expected, "below {prefix:?}");
        }
    }
    for after in [
        "/secret/aaaa",
        "/mine/07",
        "/m",
        "/zzzz",
        "",
        "/",
        "~",
        "/mine/07/x",
    ] {
        let listed = reader.read(&format!("/v1/topics?after={after}&limit=1000"));
        let expected: Vec<_> = own.iter().filter(|topic| topic.as_str() > after).collect();
        assert_eq!(
            listed,
            json!({ "topics": expected, "more": false }),
            "after {after:?}"
        );
    }
    let stranger = Caller::of(&broker, &Token::of("eve"));
    assert_eq!(paged(&stranger, "/", 1), ["/open", "/open/x"]);
    still_serves(&mut broker);
}

/// All pages put together; each but the last is full and says that there is more.
fn paged(reader: &Caller, prefix: &str, limit: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let after = all.last().cloned().unwrap_or_default();
        let page = reader.read(&format!(
            "/v1/topics?prefix={prefix}&after={after}&limit={limit}"
        ));
        let topics = page["topics"].as_array().expect("topics");
        all.extend(
            topics
                .iter()
                .map(|topic| topic.as_str().unwrap().to_owned()),
        );
        match page["more"].as_bool().expect("more") {
            true => assert_eq!(topics.len(), limit, "{page}"),
            false => return all,
        }
    }
}

#[test]
fn an_agent_hears_of_readers_and_controls_only_where_it_may_publish() {
    let mut broker = Broker::guarded("");
    let owner = hide(&broker);
    let spy = Token::of("spy")
        .grant("publish", &["/mine/*"])
        .grant("subscribe", &["/secret/*"]);
    let spy = Caller::of(&broker, &spy);
    for packed in [false, true] {
        let mut agent = spy.ws(packed);
        let answer = agent.call(json!({
            "op": "attach", "producer": { "id": format!("spy-{packed}") },
            "demand": ["/mine/1", HIDDEN, MISSING], "control": [HIDDEN, "/mine/1", MISSING] }));
        assert_eq!(answer["op"], "attached", "{answer}");
        let mut reading = owner.ws(packed);
        reading.subscribe(HIDDEN, "live");
        owner.publishes(HIDDEN, json!([{ "type": "run.cancel", "data": {} }]));
        owner.publishes(
            "/mine/1",
            json!([{ "type": "run.steer", "data": { "to": "mine" } }]),
        );
        let mut refused = 0;
        loop {
            let frame = agent.recv();
            match frame["op"].as_str() {
                Some("error") => {
                    assert_eq!(frame["code"], "forbidden", "{frame}");
                    refused += 1;
                }
                Some("control") => {
                    assert_eq!(frame["topic"], "/mine/1", "{frame}");
                    break;
                }
                _ => {
                    assert_eq!(frame["op"], "demand", "{frame}");
                    assert_eq!(frame["topic"], "/mine/1", "{frame}");
                }
            }
        }
        assert_eq!(refused, 4, "two topics in two lists");
    }
    still_serves(&mut broker);
}

#[test]
fn deleting_needs_a_grant_of_its_own() {
    let key = ApiKey::new(
        "writer",
        "subscribe = [\"/**\"]\npublish = [\"/**\"]\nadmin = true",
    );
    let open = "[namespace.open]\nread = \"anyone\"\nwrite = \"anyone\"\ncontrol = \"anyone\"\n";
    let mut broker = Broker::guarded(&format!("{}{open}", key.table));
    let owner = hide(&broker);
    owner.publishes("/open/1", json!([note(1)]));
    let all_but = ["subscribe", "publish", "control"]
        .into_iter()
        .fold(Token::of("ada"), |token, list| token.grant(list, &["/**"]));
    let elsewhere = all_but
        .clone()
        .grant("delete", &["/secret/b*", "/secret", "/secret/aaaa/*"]);
    assert_eq!(
        Caller::of(&broker, &elsewhere)
            .call("GET", "/v1/topics", None)
            .status,
        401
    );
    let elsewhere = all_but
        .clone()
        .grant("delete", &["/secret", "/secret/aaaa/**"]);
    for caller in [
        Caller::of(&broker, &all_but),
        Caller::of(&broker, &elsewhere),
        Caller::with(&broker, &key.text),
    ] {
        for topic in [HIDDEN, MISSING, "/open/1"] {
            let response = caller.call("DELETE", &format!("/v1/topic?topic={topic}"), None);
            assert_eq!(response.problem()["code"], "forbidden", "{topic}");
        }
    }
    let unknown = broker.erase("/open/1");
    assert_eq!(unknown.problem()["code"], "forbidden");
    assert_eq!((owner.head(HIDDEN), owner.head("/open/1")), (2, 1));
    still_serves(&mut broker);
}

#[test]
fn nobody_can_say_that_an_event_is_somebody_elses() {
    let mut broker = Broker::guarded("");
    let owner = Caller::owner(&broker);
    let forger = Caller::of(
        &broker,
        &Token::of("mallory").grant("publish", &["/mine/**"]),
    );
    let forged = json!({
        "type": "note.taken", "data": { "source": "owner" }, "source": "owner", "seq": 900, "time": 1,
        "first_seq": 1, "topic": "/secret/1", "parts": [], "started": {}, "partial": true,
        "principal": "owner", "epoch": "zzzzzzzz" });
    let body = json!({
        "topic": "/mine/1", "events": [forged], "source": "owner", "principal": "owner",
        "producer": { "id": "owner", "epoch": 1, "seq": 1, "source": "owner", "principal": "owner" } });
    assert_eq!(forger.post(&body).status, 200);
    for answer in forger.on_each_way("/mine/1", &json!([forged])) {
        assert!(answer["first_seq"].is_u64(), "{answer}");
    }
    let line = format!("{forged}\n");
    let target = "/v1/publish/stream?topic=/mine/1&producer_id=owner&source=owner";
    assert_eq!(forger.send("POST", target, Some(&line)).status, 200);
    forger.publishes(
        "/mine/1",
        json!([{ "type": "token.delta", "source": "owner",
        "data": { "message_id": "m1", "text": "I am", "source": "owner" } }]),
    );
    let events = owner.events("/mine/1");
    assert_eq!(events.len(), 7);
    for (event, seq) in events.iter().zip(1..) {
        assert_eq!(event["source"], "mallory", "{event}");
        assert_eq!(event["seq"], seq, "{event}");
        assert!(event["time"].as_u64() > Some(1_600_000_000_000), "{event}");
        let expected: &[&str] = &["seq", "type", "time", "source", "data"];
        let members: Vec<_> = event.as_object().unwrap().keys().collect();
        assert_eq!(members.len(), expected.len(), "{event}");
    }
    assert_eq!(owner.head("/secret/1"), 0);
    let mut snapshot = owner.sse("/v1/sse?topic=/mine/1", &[]);
    snapshot.event();
    let snapshot = snapshot.event().json();
    assert_eq!(snapshot["type"], "message.snapshot", "{snapshot}");
    assert_eq!(snapshot["data"]["source"], "mallory", "{snapshot}");
    still_serves(&mut broker);
}

#[test]
fn nobody_can_speak_as_the_broker() {
    let mut broker = Broker::guarded("");
    let owner = Caller::owner(&broker);
    for name in [
        "message.snapshot",
        "tidewire.gap",
        "tidewire.reset",
        "tidewire.expired",
        "tidewire.draining",
        "tidewire.x",
    ] {
        let events =
            json!([note(1), { "type": name, "data": { "message_id": "m1", "parts": [] } }]);
        for refused in owner.is_refused("reserved_type", "/mine/1", &events) {
            assert_eq!(refused["index"], 1, "{refused}");
        }
        let line = events[1].to_string();
        let streamed = owner.send("POST", "/v1/publish/stream?topic=/mine/1", Some(&line));
        assert_eq!(streamed.problem()["code"], "reserved_type", "{name}");
    }
    // the same name written otherwise
    for written in [
        r#""tidewire\u002egap""#,
        r#""\u0074idewire.gap""#,
        r#""message.snapsh\u006ft""#,
    ] {
        let body = format!(r#"{{"topic":"/mine/1","events":[{{"type":{written},"data":1}}]}}"#);
        let refused = owner.send("POST", "/v1/publish", Some(&body)).problem();
        assert_eq!(refused["code"], "reserved_type", "{written}");
    }
    let twice = r#"{"topic":"/mine/1","events":[{"type":"a.b","data":1,"type":"tidewire.gap"}]}"#;
    assert_eq!(owner.send("POST", "/v1/publish", Some(twice)).status, 400);
    assert_eq!(owner.head("/mine/1"), 0);
    still_serves(&mut broker);
}

fn two(broker: &Broker) -> [Caller; 2] {
    ["alice", "bob"].map(|name| Caller::of(broker, &Token::of_all(name)))
}

#[test]
fn the_same_producer_id_of_another_principal_is_another_producer() {
    let mut broker = Broker::guarded("");
    let [alice, bob] = two(&broker);
    let said = |epoch: u64, seq: u64, n: u64| {
        json!({ "topic": "/mine/1", "events": [note(n)],
                "producer": { "id": "agent", "epoch": epoch, "seq": seq } })
    };
    let first = alice.post(&said(5, 1, 1)).json();
    assert_eq!(first["first_seq"], 1, "{first}");
    // no answer of alice's, and an event of his own
    let own = bob.post(&said(5, 1, 2)).json();
    assert_eq!(
        (&own["first_seq"], &own["duplicate"]),
        (&json!(2), &json!(false)),
        "{own}"
    );
    // no seq of hers to go on with
    let next = bob.post(&said(5, 3, 2)).problem();
    assert_eq!(next["expected_seq"], 2, "{next}");
    // no fence for her
    assert_eq!(bob.post(&said(900, 1, 3)).json()["first_seq"], 3);
    assert_eq!(alice.post(&said(5, 2, 4)).json()["first_seq"], 4);
    let again = alice.post(&said(5, 1, 1)).json();
    assert_eq!(
        (&again["first_seq"], &again["duplicate"]),
        (&json!(1), &json!(true)),
        "{again}"
    );
    // nor by attaching, nor by a stream
    let attach =
        |epoch: u64| json!({ "op": "attach", "producer": { "id": "agent", "epoch": epoch } });
    for (packed, round) in [(false, 1), (true, 2)] {
        let mut hers = alice.ws(packed);
        assert_eq!(hers.call(attach(10 * round))["op"], "attached");
        hers.publish("/mine/1", json!([delta(&format!("m{round}"), "a")]));
        let mut his = bob.ws(packed);
        assert_eq!(his.call(attach(1000 * round))["op"], "attached");
        let epoch = 1000 * round + 500;
        let target =
            format!("/v1/publish/stream?topic=/mine/1&producer_id=agent&producer_epoch={epoch}");
        let target = target.as_str();
        assert_eq!(
            bob.send("POST", target, Some(&note(5).to_string())).status,
            200
        );
        let goes_on = hers.publish("/mine/1", json!([delta(&format!("m{round}"), "b")]));
        assert_eq!(goes_on["op"], "published", "{goes_on}");
        let state = alice.read("/v1/topic?topic=/mine/1").to_string();
        assert!(state.contains(&format!("\"m{round}\"")), "ended: {state}");
    }
    still_serves(&mut broker);
}

#[test]
fn a_message_is_written_and_ended_only_by_who_opened_it() {
    let mut broker = Broker::guarded("");
    let [alice, bob] = two(&broker);
    alice.publishes("/mine/1", json!([started("m1"), delta("m1", "mine")]));
    let by_agent = json!({ "topic": "/mine/1", "events": [delta("m2", "agent's")],
                           "producer": { "id": "agent", "epoch": 1, "seq": 1 } });
    assert_eq!(alice.post(&by_agent).status, 200);
    let stopped = |id| json!({ "type": "message.interrupted", "data": { "message_id": id, "reason": "agent_lost" } });
    for (id, run) in [("m1", 100), ("m2", 200)] {
        for event in [
            delta(id, "?"),
            delta_of(id, "reasoning", 7, "?"),
            started(id),
            completed(id),
            stopped(id),
        ] {
            let events = json!([note(1), event]);
            for refused in bob.is_refused("message_owned", "/mine/1", &events) {
                assert_eq!(refused["index"], 1, "{refused}");
            }
            let line = event.to_string();
            for by in ["", "&producer_id=agent", "&producer_id=alice"] {
                let target = format!("/v1/publish/stream?topic=/mine/1{by}");
                let refused = bob.send("POST", &target, Some(&line)).problem();
                assert_eq!(refused["code"], "message_owned", "{refused}");
            }
        }
        for (producer, epoch) in [("agent", run), ("alice", run), ("token::alice", run)] {
            let body = json!({ "topic": "/mine/1", "events": [completed(id)],
                               "producer": { "id": producer, "epoch": epoch, "seq": 1 } });
            assert_eq!(
                bob.post(&body).problem()["code"],
                "message_owned",
                "{producer}"
            );
        }
        // the id written otherwise, or twice, so that readers might take the other one
        let same = format!(r#"{{"message_\u0069d":"\u006d{}","text":"?"}}"#, &id[1..]);
        let twice = format!(r#"{{"message_id":"other","text":"?","message_id":"{id}"}}"#);
        let masked = format!(r#"{{"message_id":"other","text":"?","message_\u0069d":"{id}"}}"#);
        for (data, code) in [
            (same, "message_owned"),
            (twice, "invalid_event"),
            (masked, "invalid_event"),
        ] {
            let body = format!(
                r#"{{"topic":"/mine/1","events":[{{"type":"token.delta","data":{data}}}]}}"#
            );
            let refused = bob.send("POST", "/v1/publish", Some(&body)).problem();
            assert_eq!(refused["code"], code, "{data}");
        }
        let text = |text: &str| packed(&json!(text));
        let mut data = map(&[("message_id", &text("other")), ("text", &text("?"))]);
        data[0] += 1;
        data.extend([text("message_id"), text(id)].concat());
        let event = map(&[("type", &text("token.delta")), ("data", &data)]);
        let body = map(&[("topic", &text("/mine/1")), ("events", &array(&[event]))]);
        assert_eq!(bob.post_packed(&body).problem()["code"], "invalid_event");
    }
    let state = alice.read("/v1/topic?topic=/mine/1");
    assert_eq!(
        state["open_messages"].as_array().unwrap().len(),
        2,
        "{state}"
    );
    assert_eq!(state["head"], 3, "{state}");
    alice.publishes("/mine/1", json!([completed("m1")]));
    still_serves(&mut broker);
}

#[test]
fn a_page_that_may_only_control_sends_run_events_and_nothing_else() {
    let mut broker = Broker::guarded("");
    let owner = Caller::owner(&broker);
    let page = Caller::of(&broker, &Token::of("page").grant("control", &["/chat/*"]));
    let run = |name: &str| json!({ "type": name, "data": {} });
    let cancel = run("run.cancel");
    for other in [
        delta("m1", "I am the agent"),
        note(1),
        started("m1"),
        run("running.x"),
        run("RUN.cancel"),
        run("a.run.cancel"),
        json!({ "type": "event", "data": 1 }),
    ] {
        for (events, index) in [
            (json!([other]), 0),
            (json!([cancel, cancel, other, cancel]), 2),
        ] {
            for refused in page.is_refused("forbidden", "/chat/1", &events) {
                assert_eq!(refused["index"], index, "{refused}");
                assert_eq!(refused["field"], "type", "{refused}");
            }
        }
        let streamed = page.send(
            "POST",
            "/v1/publish/stream?topic=/chat/1",
            Some(&other.to_string()),
        );
        assert_eq!(streamed.problem()["code"], "forbidden");
        assert_eq!(streamed.json()["kept"], 0);
    }
    assert_eq!(
        owner.head("/chat/1"),
        0,
        "a batch goes in whole or not at all"
    );
    for name in ["run.cancel", "run.steer", "run.approve", "run.own.thing"] {
        for answer in page.on_each_way("/chat/1", &json!([run(name), run(name)])) {
            assert!(answer["first_seq"].is_u64(), "{name}: {answer}");
        }
    }
    assert_eq!(owner.head("/chat/1"), 32);
    // an array: each body by itself
    let body = |topic: &str, events: Value| json!({ "topic": topic, "events": events });
    let bodies = json!([
        body("/chat/2", json!([cancel])),
        body("/chat/2", json!([cancel, note(1)])),
        body("/else/2", json!([cancel])),
        body("/chat/2", json!([cancel]))
    ]);
    let answers = page.post(&bodies).json();
    let statuses: Vec<_> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| &answer["status"])
        .collect();
    assert_eq!(statuses, [200, 403, 403, 200], "{answers}");
    assert_eq!(owner.head("/chat/2"), 2);
    // an empty batch gets no further, nor does the topic beside it
    page.is_refused("forbidden", "/chat/1/below", &json!([cancel]));
    page.is_refused("forbidden", "/chat", &json!([cancel]));
    // it controls and does not read
    assert_eq!(
        page.call("GET", "/v1/events?topic=/chat/1", None).status,
        403
    );
    still_serves(&mut broker);
}

#[test]
fn a_right_to_publish_is_good_for_run_events_too() {
    let mut broker = Broker::guarded("");
    let agent = Caller::of(&broker, &Token::of("agent").grant("publish", &["/chat/*"]));
    let events = json!([{ "type": "run.resumed", "data": {} }, note(1)]);
    for answer in agent.on_each_way("/chat/1", &events) {
        assert!(answer["first_seq"].is_u64(), "{answer}");
    }
    still_serves(&mut broker);
}

#[test]
fn a_namespace_gives_what_its_settings_say_and_no_more() {
    let mut broker = Broker::guarded(
        "[namespace.news]\nread = \"anyone\"\n\
         [namespace.wall]\nread = \"authenticated\"\nwrite = \"anyone\"\npublish_types = [\"post.*\"]\n\
         [namespace.desk]\ncontrol = \"authenticated\"\ncontrol_types = [\"run.cancel\"]\npublish_types = [\"note.*\"]\n\
         [namespace.ask]\ncontrol = \"anyone\"\n",
    );
    let owner = Caller::owner(&broker);
    let stranger = Caller::of(&broker, &Token::of("eve"));
    let post = json!([{ "type": "post.made", "data": "hello" }]);
    let (cancel, steer) = (
        json!([{ "type": "run.cancel", "data": {} }]),
        json!([{ "type": "run.steer", "data": {} }]),
    );
    owner.publishes("/news/1", json!([note(1)]));
    owner.publishes("/wall/1", post.clone());
    owner.publishes("/desk/1", json!([note(1)]));
    let anyone = |method: &str, target: &str, body: Option<&Value>| {
        let text = body.map(Value::to_string).unwrap_or_default();
        let headers = [("content-type", "application/json")];
        broker
            .http()
            .request(method, target, &headers, text.as_bytes())
            .status
    };
    let reads = |status: [u16; 2], topic: &str| {
        let target = format!("/v1/events?topic={topic}");
        let found = [
            anyone("GET", &target, None),
            stranger.call("GET", &target, None).status,
        ];
        assert_eq!(found, status, "reading {topic}");
    };
    reads([200, 200], "/news/1");
    reads([200, 200], "/news/not/there");
    reads([403, 200], "/wall/1");
    reads([403, 403], "/desk/1");
    reads([403, 403], "/ask/1");
    reads([403, 403], "/newsroom/1");
    reads([403, 403], "/other");
    let writes = |status: [u16; 3], topic: &str, events: &Value| {
        let body = json!({ "topic": topic, "events": events });
        let found = [
            anyone("POST", "/v1/publish", Some(&body)),
            stranger.post(&body).status,
            owner.post(&body).status,
        ];
        assert_eq!(found, status, "{events} into {topic}");
    };
    writes([403, 403, 200], "/news/1", &json!([note(1)]));
    writes([200, 200, 200], "/wall/1", &post);
    writes([403, 403, 403], "/wall/1", &json!([note(1)]));
    writes([403, 403, 403], "/wall/1", &json!([post[0], note(1)]));
    // whoever may control too may send what controls
    writes([403, 403, 200], "/wall/1", &cancel);
    writes([403, 200, 200], "/desk/1", &cancel);
    writes([403, 403, 403], "/desk/1", &steer);
    writes([403, 403, 200], "/desk/1", &json!([note(1)]));
    writes([403, 403, 200], "/desk/1", &json!([note(1), cancel[0]]));
    writes([200, 200, 200], "/ask/1", &steer);
    writes([403, 403, 200], "/ask/1", &json!([note(1)]));
    // on a WebSocket the same, for nobody in particular
    let mut ws = Ws::open(broker.addr);
    ws.subscribe("/news/1", "start");
    let allowed = ws.publish("/wall/1", post.clone());
    assert_eq!(allowed["op"], "published", "{allowed}");
    for (topic, events) in [
        ("/desk/1", &cancel),
        ("/news/1", &json!([note(1)])),
        ("/wall/1", &cancel),
    ] {
        assert_eq!(
            ws.publish(topic, events.clone())["code"],
            "forbidden",
            "{topic}"
        );
    }
    let pattern = |pattern: &str| json!({ "op": "subscribe", "pattern": pattern });
    assert_eq!(ws.call(pattern("/desk/**"))["code"], "forbidden");
    assert_eq!(ws.call(pattern("/wall/**"))["code"], "forbidden");
    assert_eq!(ws.call(pattern("/**"))["op"], "subscribed");
    owner.publishes("/wall/2", post);
    owner.publishes("/news/2", json!([note(1)]));
    assert_eq!(ws.until("subscribed")["topic"], "/news/2");
    assert_eq!(ws.expect("events")["topic"], "/news/2");
    // a token that is not good is worse than none
    let bad = Caller::with(&broker, "nonsense");
    assert_eq!(
        bad.call("GET", "/v1/events?topic=/news/1", None).status,
        401
    );
    still_serves(&mut broker);
}

#[test]
fn a_hostile_subject_widens_no_pattern() {
    let mut broker = Broker::guarded("");
    hide(&broker);
    for subject in [
        "**",
        "*",
        "a/b",
        "a/**",
        "/",
        "..",
        ".",
        "{sub}",
        "a b",
        "ü",
        "%2a",
        "a\u{202e}b",
        "a%2fb",
        "~/../**",
        "a,b",
    ] {
        for pattern in [
            "/user/{sub}",
            "/user/{sub}/**",
            "/{sub}",
            "/{sub}/**",
            "/user/x-{sub}",
        ] {
            let token = Token::of(subject).grant("subscribe", &[pattern, "/mine/**"]);
            let caller = Caller::of(&broker, &token);
            let refused = caller.call("GET", "/v1/events?topic=/mine/1", None);
            assert_eq!(
                refused.problem()["code"],
                "unauthenticated",
                "{subject:?} {pattern}"
            );
        }
        // where it stands in no pattern it is just a name
        let token = Token::of(subject)
            .grant("publish", &["/mine/1"])
            .grant("subscribe", &["/mine/1"]);
        let caller = Caller::of(&broker, &token);
        caller.publishes("/mine/1", json!([note(1)]));
        let last = caller.events("/mine/1").pop().expect("an event");
        assert_eq!(last["source"], subject);
        assert_eq!(
            caller
                .call("GET", &format!("/v1/events?topic={HIDDEN}"), None)
                .status,
            403
        );
    }
    for subject in [
        String::new(),
        "a\nb".into(),
        "a\0".into(),
        "x".repeat(257),
        "\u{7f}".into(),
        "\u{85}".into(),
    ] {
        let caller = Caller::of(&broker, &Token::of(&subject).grant("subscribe", &["/**"]));
        let refused = caller.call("GET", "/v1/topics", None);
        assert_eq!(refused.problem()["code"], "unauthenticated", "{subject:?}");
    }
    // a bearer on a WebSocket gets no further
    let token = Token::of("**").grant("subscribe", &["/{sub}"]);
    let mut ws = Caller::of(&broker, &token).ws(true);
    assert_eq!(ws.expect("error")["code"], "unauthenticated");
    assert_eq!(ws.closed(), 4401);
    still_serves(&mut broker);
}

#[test]
fn who_may_publish_nowhere_cannot_attach() {
    let mut broker = Broker::guarded("");
    let token = Token::of("page")
        .grant("subscribe", &["/**"])
        .grant("control", &["/**"]);
    let page = Caller::of(&broker, &token);
    for packed in [false, true] {
        let mut ws = page.ws(packed);
        let attach = json!({ "op": "attach", "producer": { "id": "agent", "epoch": 9 },
                             "demand": ["/chat/1"], "control": ["/chat/1"] });
        let answer = ws.call(attach);
        assert_eq!(answer["code"], "forbidden", "{answer}");
        ws.send(&json!({ "op": "ping" }));
        assert_eq!(
            until_pong(&mut ws),
            Vec::<Value>::new(),
            "no demand, no control"
        );
    }
    let cancel = json!({ "type": "run.cancel", "data": {} }).to_string();
    let target = "/v1/publish/stream?topic=/chat/1&producer_id=agent";
    let refused = page.send("POST", target, Some(&cancel)).problem();
    assert_eq!(refused["code"], "forbidden", "{refused}");
    still_serves(&mut broker);
}

#[test]
fn a_namespace_that_is_not_there_is_answered_as_one_that_may_not_be_seen() {
    // a key at the top of the file has to stand before the tables
    let config = "[namespace.known]\n[namespace.healthy]\n";
    let mut broker = strict(config);
    let owner = Caller::owner(&broker);
    owner.publishes("/known/1", json!([note(1)]));
    let stranger = Caller::of(
        &broker,
        &Token::of("eve").grant("subscribe", &["/known/mine"]),
    );
    for (method, target) in [
        ("GET", "/v1/events?topic="),
        ("GET", "/v1/topic?topic="),
        ("DELETE", "/v1/topic?topic="),
        ("GET", "/v1/sse?topic="),
    ] {
        let [known, unknown] = ["/known/1", "/unknown/1"].map(|topic| {
            let answer = stranger.call(method, &format!("{target}{topic}"), None);
            assert_eq!(answer.status, 403);
            let all = owner.call(method, &format!("{target}/unknown/1"), None);
            assert_eq!(all.problem()["code"], "forbidden", "{method} {target}");
            seen(&answer).replace(topic, "TOPIC")
        });
        // the name is one byte longer, nothing else
        let length = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
        assert_eq!(length(&known), length(&unknown), "{method} {target}");
    }
    owner.is_refused("forbidden", "/unknown/1", &json!([note(1)]));
    let mut ws = owner.ws(true);
    for topic in ["/unknown/1", "/unknown"] {
        let answer = ws.call(json!({ "op": "subscribe", "topic": topic }));
        assert_eq!(answer["code"], "forbidden", "{answer}");
    }
    assert_eq!(paged(&owner, "/", 10), ["/known/1"]);
    still_serves(&mut broker);
}

fn strict(config: &str) -> Broker {
    use crate::support::Setup;
    use crate::support::token::{SECRET, guarded_by};
    Broker::set_up(Setup {
        config: format!("strict_namespaces = true\n{}", guarded_by(SECRET, config)),
        asks: true,
        ..Setup::default()
    })
}
