//! Quotas: each bites where docs/operations.md says, is told as docs/protocol.md says, and leaves nothing behind.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::broker::SOON;
use crate::support::token::{SECRET, guarded_by};
use crate::support::*;

/// What everybody here may do.
const ALL: &str = "subscribe = [\"/**\"]\npublish = [\"/**\"]\n";

/// Whose quota is under test, and who comes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Case {
    scope: &'static str,
    by_key: bool,
}

const CONNECTION: Case = by_token("connection");
const SUBJECT: Case = by_token("subject");
const KEY: Case = Case {
    scope: "key",
    by_key: true,
};
const ADDRESS: Case = by_token("address");
const NAMESPACE: Case = by_token("namespace");

const fn by_token(scope: &'static str) -> Case {
    Case {
        scope,
        by_key: false,
    }
}

/// A broker with one quota, and somebody whom it bounds.
struct Town {
    broker: Broker,
    who: String,
    case: Case,
}

impl Town {
    /// `settings`: lines of the quota's table.
    fn bounded(case: Case, settings: &str) -> Town {
        // the rate of a namespace stands with the limits that it has always had
        let is_rate = settings.contains("publish_rate");
        let table = match case.scope {
            "namespace" if is_rate => "[limits]".to_owned(),
            scope => format!("[quota.{scope}]"),
        };
        let key = ApiKey::new("robot", ALL);
        let who = match case.by_key {
            true => key.text,
            false => Token::of_all("ada").sign(),
        };
        let config = format!("{table}\n{settings}\n{}", key.table);
        Town {
            broker: Broker::guarded(&config),
            who,
            case,
        }
    }

    fn ws(&self) -> Ws {
        Ws::open_as(self.broker.addr, &self.who)
    }

    /// A handshake that may be refused.
    fn try_ws(&self) -> Result<Ws, Box<Response>> {
        handshake(&self.broker, &[("authorization", &bearer(&self.who))])
    }

    fn sse(&self, target: &str) -> Sse {
        let headers = [("authorization", &*bearer(&self.who))];
        Sse::open_with(self.broker.addr, target, &headers)
    }

    fn request(&self, method: &str, target: &str, body: &str) -> Response {
        request_as(&self.broker, &self.who, method, target, body)
    }

    fn publish(&self, topic: &str, events: &Value) -> Response {
        let body = json!({ "topic": topic, "events": events });
        self.request("POST", "/v1/publish", &body.to_string())
    }

    fn exists(&self, topic: &str) -> bool {
        let listed = self.request("GET", "/v1/topics", "").json();
        let mut topics = listed["topics"].as_array().expect("topics").iter();
        topics.any(|listed| listed == topic || listed["topic"] == topic)
    }

    /// What `tidewire_limited_total` says of this case's scope.
    fn limited(&self, what: &str) -> u64 {
        limited(&self.broker, self.case.scope, what)
    }
}

fn limited(broker: &Broker, scope: &str, what: &str) -> u64 {
    let text = broker.get("/metrics").text();
    let mut lines = text.lines();
    let line = lines.find(|line| {
        line.starts_with("tidewire_limited_total{")
            && line.contains(&format!("scope=\"{scope}\""))
            && line.contains(&format!("what=\"{what}\""))
    });
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.map_or(0, |value| value.parse().expect("a number"))
}

fn handshake(broker: &Broker, headers: &[(&str, &str)]) -> Result<Ws, Box<Response>> {
    let mut ws = Ws::handshake(wire::Wire::connect(broker.addr), broker.addr, headers)?;
    ws.welcome = ws.recv();
    assert_eq!(ws.welcome["op"], "welcome", "{}", ws.welcome);
    Ok(ws)
}

fn request_as(broker: &Broker, who: &str, method: &str, target: &str, body: &str) -> Response {
    let authorization = bearer(who);
    let headers = [
        ("authorization", &*authorization),
        ("content-type", "application/json"),
    ];
    broker
        .http()
        .request(method, target, &headers, body.as_bytes())
}

/// Events of so many bytes, and a little more.
fn heavy(bytes: usize) -> Value {
    json!([{ "type": "note.taken", "data": { "filler": "x".repeat(bytes) } }])
}

fn notes(count: u64) -> Value {
    (0..count).map(note).collect()
}

/// 429 with the wait in both places; `most`: milliseconds.
fn is_rate_limited(answer: &Response, most: u64) {
    assert_eq!(answer.status, 429, "{}", answer.text());
    let problem = answer.problem();
    assert_eq!(problem["code"], "rate_limited", "{problem}");
    let wait = problem["retry_after_ms"].as_u64().expect("a wait");
    assert!((1..=most).contains(&wait), "{problem}");
    let header = answer.header("retry-after").expect("Retry-After");
    assert_eq!(header.parse(), Ok(wait.div_ceil(1000)), "{problem}");
}

fn is_error(frame: &Value, code: &str, topic: &str) {
    assert_eq!(frame["op"], "error", "{frame}");
    assert_eq!(frame["code"], code, "{frame}");
    assert_eq!(frame["topic"], topic, "{frame}");
}

/// 503 with the time to come again.
fn is_full(answer: &Response) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("1"));
}

/// A rate: what it is called, its settings, what passes at once, what does not any more, and the longest wait.
fn rates() -> [(&'static str, &'static str, Value, Value, u64); 2] {
    [
        (
            "publishes",
            "publish_rate = 1\npublish_burst = 3",
            notes(3),
            notes(3),
            3_000,
        ),
        (
            "bytes",
            "byte_rate = 100\nbyte_burst = 1200",
            heavy(900),
            heavy(900),
            12_000,
        ),
    ]
}

#[test]
fn limits_of_rates_over_http() {
    for case in [SUBJECT, KEY, ADDRESS, NAMESPACE] {
        for (what, settings, fits, too_much, most) in rates() {
            let town = Town::bounded(case, settings);
            let answer = town.publish("/room/a", &fits);
            assert_eq!(answer.status, 200, "{case:?} {what}: {}", answer.text());
            is_rate_limited(&town.publish("/room/new", &too_much), most);
            assert!(!town.exists("/room/new"), "{case:?} {what}");
            assert_eq!(town.limited(what), 1, "{case:?}");
        }
    }
}

#[test]
fn limits_of_rates_over_websocket() {
    for case in [CONNECTION, SUBJECT, KEY, ADDRESS, NAMESPACE] {
        for (what, settings, fits, too_much, most) in rates() {
            let town = Town::bounded(case, settings);
            let mut ws = town.ws();
            let answer = ws.publish("/room/a", fits.clone());
            assert_eq!(answer["op"], "published", "{case:?} {what}: {answer}");
            let refused = ws.publish("/room/new", too_much);
            is_error(&refused, "rate_limited", "/room/new");
            let wait = refused["retry_after_ms"].as_u64().expect("a wait");
            assert!((1..=most).contains(&wait), "{refused}");
            assert!(!town.exists("/room/new"), "{case:?} {what}");
            assert_eq!(town.limited(what), 1, "{case:?}");
            // another connection of the same has nothing of its own, but where the connection is what is bounded
            let other = town.ws().publish("/room/a", fits);
            let passes = other["op"] == "published";
            assert_eq!(passes, case == CONNECTION, "{case:?} {what}: {other}");
        }
    }
}

#[test]
fn limits_of_topics_per_minute() {
    for case in [CONNECTION, SUBJECT, KEY, ADDRESS, NAMESPACE] {
        let town = Town::bounded(case, "topics_per_minute = 2");
        let mut ws = town.ws();
        for topic in ["/room/a", "/room/b"] {
            let answer = ws.publish(topic, notes(1));
            assert_eq!(answer["op"], "published", "{case:?}: {answer}");
        }
        let refused = ws.publish("/room/c", notes(1));
        is_error(&refused, "rate_limited", "/room/c");
        let wait = refused["retry_after_ms"].as_u64().expect("a wait");
        assert!((1..=30_000).contains(&wait), "{refused}");
        let mut refusals = 1;
        if case != CONNECTION {
            is_rate_limited(&town.publish("/room/d", &notes(1)), 30_000);
            refusals += 1;
        }
        assert!(
            !town.exists("/room/c") && !town.exists("/room/d"),
            "{case:?}"
        );
        assert_eq!(town.limited("topics"), refusals, "{case:?}");
        // what exists is not concerned, and what was refused is not paid for
        let answer = ws.publish("/room/a", notes(1));
        assert_eq!(answer["op"], "published", "{case:?}: {answer}");
    }
}

/// Behind a refused publish its topic stays closed on that connection, so that nothing makes a hole; other topics do
/// not.
#[test]
fn limits_close_the_gate_of_the_topic() {
    let town = Town::bounded(CONNECTION, "byte_rate = 300\nbyte_burst = 2000");
    let mut ws = town.ws();
    let first = ws.publish("/room/a", heavy(1200));
    assert_eq!(first["op"], "published", "{first}");
    let publish = |id: u64, topic: &str, events: Value| json!({ "op": "publish", "id": id, "topic": topic, "events": events });
    ws.send(&publish(101, "/room/a", heavy(1500)));
    ws.send(&publish(102, "/room/a", notes(1)));
    ws.send(&publish(103, "/room/b", notes(1)));
    let mut answers = [ws.recv(), ws.recv(), ws.recv()];
    answers.sort_by_key(|answer| answer["id"].as_u64());
    let [big, behind, beside] = &answers;
    is_error(big, "rate_limited", "/room/a");
    is_error(behind, "rate_limited", "/room/a");
    assert_eq!(beside["op"], "published", "{beside}");
    let wait = |refused: &Value| refused["retry_after_ms"].as_u64().expect("a wait");
    assert!(wait(behind) <= wait(big), "{behind} {big}");
    // after that time, in order
    let big = eventually("the gate to open", || {
        let answer = ws.publish("/room/a", heavy(1500));
        (answer["op"] == "published").then_some(answer)
    });
    assert_eq!(big["last_seq"], 2, "nothing came between: {big}");
    assert!(town.limited("bytes") > 0);
}

#[test]
fn limits_of_connections() {
    for case in [SUBJECT, KEY, ADDRESS] {
        let town = Town::bounded(case, "connections = 2");
        let stream = "/v1/sse?topic=/room/a";
        // what is given back can be taken again
        for _ in 0..3 {
            let ws = eventually("the first place", || town.try_ws().ok());
            let sse = eventually("the second place", || {
                let mut sse = town.sse(stream);
                (sse.event().kind() == "tidewire.ready").then_some(sse)
            });
            is_full(&town.try_ws().err().expect("no third place"));
            ws.cut();
            sse.cut();
        }
        let mut ws = eventually("the first place", || town.try_ws().ok());
        let _second = eventually("the second place", || town.try_ws().ok());
        // in the place that pages use, too
        let page = format!("tidewire.v1.json, bearer.{}", town.who);
        let page = handshake(&town.broker, &[("sec-websocket-protocol", &page)]);
        is_full(&page.err().expect("no third place"));
        // an EventSource gives up on anything but 200
        let mut sse = town.sse(stream);
        assert!(sse.block().expect("a block").retry.is_some());
        assert_eq!(sse.event().kind(), "tidewire.draining");
        assert!(sse.try_event().is_none());
        let line = format!("{}\n", note(1));
        let answer = request_with(&town, "/v1/publish/stream?topic=/room/new", &line);
        is_full(&answer);
        assert!(!town.exists("/room/new"));
        // plain requests are no connections
        assert_eq!(town.publish("/room/a", &notes(1)).status, 200);
        assert_eq!(ws.publish("/room/a", notes(1))["op"], "published");
        assert!(town.limited("connections") >= 6, "{case:?}");
    }
}

/// A publish stream of these lines.
fn request_with(town: &Town, target: &str, lines: &str) -> Response {
    let authorization = bearer(&town.who);
    let headers = [
        ("authorization", &*authorization),
        ("content-type", "application/x-ndjson"),
    ];
    let mut http = town.broker.http();
    http.request("POST", target, &headers, lines.as_bytes())
}

#[test]
fn limits_of_subscriptions() {
    for case in [SUBJECT, KEY, ADDRESS, NAMESPACE] {
        let town = Town::bounded(case, "subscriptions = 2");
        let mut ws = town.ws();
        let topics = ["/room/a", "/room/b", "/room/c"].map(|topic| json!({ "topic": topic }));
        ws.send(&json!({ "op": "subscribe", "topics": topics }));
        let answers = [ws.recv(), ws.recv(), ws.recv()];
        assert_eq!(answers[0]["op"], "subscribed", "{case:?}: {answers:?}");
        assert_eq!(answers[1]["op"], "subscribed", "{case:?}: {answers:?}");
        is_error(&answers[2], "too_many_subscriptions", "/room/c");
        // a stream is refused whole
        let answer = town.request("GET", "/v1/sse?topic=/room/a", "");
        assert_eq!(answer.status, 429, "{case:?}: {}", answer.text());
        assert_eq!(answer.problem()["code"], "too_many_subscriptions");
        assert_eq!(town.limited("subscriptions"), 2, "{case:?}");
        // the rest goes on
        assert_eq!(town.publish("/room/a", &notes(1)).status, 200);
        assert_eq!(ws.until("events")["topic"], "/room/a");
        // what is given back can be taken again, and what was refused took nothing
        let answer = ws.call(json!({ "op": "unsubscribe", "topic": "/room/b" }));
        assert_eq!(answer["op"], "unsubscribed", "{answer}");
        ws.subscribe("/room/c", "live");
        ws.cut();
        let two = "/v1/sse?topic=/room/a&topic=/room/b";
        let three = format!("{two}&topic=/room/c");
        let open = eventually("both places", || {
            let mut http = town.broker.http();
            let authorization = bearer(&town.who);
            let head = http.head("GET", two, &[("authorization", &authorization)]);
            http.wire.send(head.as_bytes());
            let answer = http::read_head(&mut http.wire).expect("an answer");
            (answer.status == 200).then_some(http)
        });
        drop(open);
        eventually("both places again", || {
            assert_eq!(town.request("GET", &three, "").status, 429, "{case:?}");
            let mut ws = town.ws();
            ["/room/a", "/room/b"]
                .into_iter()
                .all(|topic| {
                    let subscribe = json!({ "op": "subscribe", "topic": topic });
                    ws.call(subscribe)["op"] == "subscribed"
                })
                .then_some(())
        });
    }
}

/// A publish stream is held up, not refused, and keeps its order.
#[test]
fn limits_pace_a_publish_stream() {
    for case in [CONNECTION, SUBJECT, KEY, ADDRESS, NAMESPACE] {
        let settings = "publish_rate = 50\npublish_burst = 10";
        let mut town = Town::bounded(case, settings);
        // one chunk is one batch, and a batch larger than the burst would pass an empty bucket at once
        let limits = match case {
            NAMESPACE => format!("[limits]\nmax_batch_events = 5\n{settings}\n"),
            Case { scope, .. } => {
                format!("[limits]\nmax_batch_events = 5\n[quota.{scope}]\n{settings}\n")
            }
        };
        town.broker = Broker::guarded(&(limits + &ApiKey::new("robot", ALL).table));
        let lines: String = (0..30).map(|n| format!("{}\n", note(n))).collect();
        let begin = Instant::now();
        let answer = request_with(&town, "/v1/publish/stream?topic=/room/a", &lines);
        let took = begin.elapsed();
        assert_eq!(answer.status, 200, "{case:?}: {}", answer.text());
        // 10 at once, 20 at 50 a second
        assert!(took >= Duration::from_millis(390), "{case:?}: {took:?}");
        let page = town.request("GET", "/v1/events?topic=/room/a", "").json();
        let numbers = page["events"].as_array().expect("events").iter();
        let numbers: Vec<u64> = numbers.filter_map(|e| e["data"]["n"].as_u64()).collect();
        assert_eq!(numbers, (0..30).collect::<Vec<_>>(), "{case:?}");
        assert_eq!(town.limited("publishes"), 0, "nothing was refused");
    }
}

/// A key's own limits beat `[quota.key]`, and a namespace's own beat `[quota.namespace]`.
#[test]
fn limits_of_one_beat_those_of_all() {
    let rich = ApiKey::new("rich", &format!("{ALL}topics_per_minute = 3"));
    let poor = ApiKey::new("poor", ALL);
    let config = format!(
        "[quota.key]\ntopics_per_minute = 1\n{}{}",
        rich.table, poor.table
    );
    let broker = Broker::guarded(&config);
    for (key, may) in [(&rich, 3), (&poor, 1)] {
        assert_eq!(topics_made(&broker, &key.text, "room"), may);
    }
    let config = "[quota.namespace]\ntopics_per_minute = 1\n[namespace.rich]\ntopics_per_minute = 3\n\
                  [namespace.poor]\n";
    let broker = Broker::guarded(config);
    let token = Token::of_all("ada").sign();
    for (namespace, may) in [("rich", 3), ("poor", 1), ("other", 1), ("another", 0)] {
        // those without a table share one
        assert_eq!(topics_made(&broker, &token, namespace), may, "{namespace}");
    }
}

/// How many of five.
fn topics_made(broker: &Broker, who: &str, namespace: &str) -> usize {
    let made = (0..5).filter(|n| {
        let topic = format!("/{namespace}/{n}-{}", &who[who.len() - 8..]);
        let body = json!({ "topic": topic, "events": notes(1) }).to_string();
        let answer = request_as(broker, who, "POST", "/v1/publish", &body);
        assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
        answer.status == 200
    });
    made.count()
}

/// Who says only later who they are counts from then on, and finds no place where there is none.
#[test]
fn limits_hold_for_those_who_say_later_who_they_are() {
    let town = Town::bounded(SUBJECT, "connections = 1");
    let first = town.ws();
    let mut late = Ws::open(town.broker.addr);
    let refresh = json!({ "op": "refresh", "token": town.who });
    let refused = late.call(refresh.clone());
    assert_eq!(refused["op"], "error", "{refused}");
    assert_eq!(refused["code"], "draining", "{refused}");
    assert!(refused["retry_after_ms"].as_u64() > Some(0), "{refused}");
    let still = late.publish("/room/a", notes(1));
    assert_eq!(still["code"], "unauthenticated", "{still}");
    assert_eq!(town.limited("connections"), 1);
    first.cut();
    let begin = Instant::now();
    eventually("the place of the first", || {
        let there = town.request("GET", "/metrics", "").text();
        let left = |line: &str| {
            line.starts_with("tidewire_connections{")
                && line.contains("\"ws\"")
                && line.ends_with(" 1")
        };
        there.lines().any(left).then_some(())
    });
    assert!(begin.elapsed() < SOON);
    let taken = late.call(refresh.clone());
    assert_eq!(taken["op"], "refreshed", "{taken}");
    // the same again counts once
    assert_eq!(late.call(refresh)["op"], "refreshed");
    is_full(&town.try_ws().err().expect("the place is taken"));
}

/// Behind a trusted proxy each client has an address of its own; without one nobody chooses theirs.
#[test]
fn limits_of_addresses_behind_a_proxy() {
    let config = guarded_by(SECRET, "[quota.address]\nconnections = 1\n");
    let start = |args: &[&str]| {
        Broker::set_up(Setup {
            config: config.clone(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            asks: true,
            ..Setup::default()
        })
    };
    let come = |broker: &Broker, subject: &str, forwarded: &str| {
        let authorization = bearer(&Token::of_all(subject).sign());
        let headers = [
            ("authorization", &*authorization),
            ("x-forwarded-for", forwarded),
        ];
        handshake(broker, &headers)
    };
    let broker = start(&["--trusted-proxies", "127.0.0.1"]);
    let mut open = Vec::new();
    for (subject, forwarded, has_place) in [
        ("ada", "203.0.113.1", true),
        ("bob", "203.0.113.2", true),
        ("ada", "203.0.113.1", false),
        ("eve", "203.0.113.2", false),
        // what stands before the proxy's own entry is the client's word
        ("eve", "198.51.100.7, 203.0.113.2", false),
        ("ada", "203.0.113.3", true),
        // of IPv6 the first 64 bits
        ("ada", "2001:db8::1", true),
        ("bob", "2001:db8::2:3", false),
        ("bob", "2001:db8:0:1::1", true),
        ("bob", "::ffff:203.0.113.3", false),
    ] {
        match come(&broker, subject, forwarded) {
            Ok(ws) => {
                assert!(has_place, "{subject} from {forwarded}");
                open.push(ws);
            }
            Err(answer) => {
                assert!(!has_place, "{subject} from {forwarded}");
                is_full(&answer);
            }
        }
    }
    assert_eq!(limited(&broker, "address", "connections"), 5);
    let broker = start(&[]);
    let _first = come(&broker, "ada", "203.0.113.1").unwrap_or_else(|_| panic!("a place"));
    is_full(&come(&broker, "bob", "203.0.113.2").err().expect("no place"));
}
