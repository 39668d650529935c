//! How long rights last: to their end and not beyond, for every kind of connection, and never longer than a
//! revocation. Nobody else is touched, and what still holds goes on without a gap.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit_tokens::{
    ada, asking, get_as, publish_as, quoted, refused, refused_everywhere, served_at_once, taken,
};
use crate::support::broker::Folder;
use crate::support::token::{SECRET, guarded_by, now};
use crate::support::{ApiKey, Broker, Http, Response, Sse, Token, Ws, bearer, eventually, note};

/// Rights end within a second, and tests run beside others.
const SOON: Duration = Duration::from_millis(2_500);
const ALL: &str = "subscribe = [\"/**\"]\npublish = [\"/**\"]\n";

/// One of each kind that lasts, all with one token or key.
struct Connected {
    ws: Ws,
    sse: Sse,
    stream: Http,
}

impl Connected {
    fn with(broker: &Broker, token: &str) -> Connected {
        let shown = bearer(token);
        let headers = [("authorization", shown.as_str())];
        let mut ws = Ws::open_as(broker.addr, token);
        ws.subscribe("/a/b", "live");
        let sse = Sse::open_with(broker.addr, "/v1/sse?topic=/a/b", &headers);
        let mut stream = broker.http();
        let chunked = [headers[0], ("transfer-encoding", "chunked")];
        let head = stream.head("POST", "/v1/publish/stream?topic=/a/s", &chunked);
        stream.wire.send(head.as_bytes());
        let mut all = Connected { ws, sse, stream };
        all.line();
        all
    }

    /// One more event on the stream.
    fn line(&mut self) {
        let line = format!("{}\n", note(1));
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        let _ = self.stream.wire.try_send(chunk.as_bytes());
    }

    /// All of them are told so, and end, `within` this time.
    fn ended(mut self, why: &str, within: Duration) {
        let begun = Instant::now();
        assert_eq!(self.ws.closed(), 4401);
        let last = self.sse.rest().pop().expect("a last event");
        assert_eq!(last.kind(), "tidewire.expired");
        assert!(
            last.json()["reason"].as_str().unwrap().contains(why),
            "{last:?}"
        );
        let took = begun.elapsed();
        assert!(took < within, "they lasted {took:?}");
        self.line();
        let answer: Response = self.stream.response();
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert_eq!(answer.problem()["kept"], 1, "{}", answer.text());
    }

    /// They are as they were.
    fn lives(&mut self) {
        self.ws.send(&json!({"op": "ping"}));
        self.ws.until("pong");
    }
}

fn refresh(ws: &mut Ws, token: &str) -> Value {
    ws.call(json!({ "op": "refresh", "token": token }))
}

#[test]
fn rights_end_when_the_token_does() {
    let mut broker = Broker::guarded("");
    let token = ada().expires_in(3).sign();
    let connected = Connected::with(&broker, &token);
    connected.ended("the token has expired", Duration::from_secs(3) + SOON);
    served_at_once(&mut broker, &ada().sign());
}

#[test]
fn a_new_token_of_the_same_subject_keeps_a_connection_and_no_other_does() {
    let broker = Broker::guarded("");
    let end = now() + 3;
    let mut ws = Ws::open_as(broker.addr, &ada().claim("exp", end).sign());
    ws.subscribe("/a/b", "live");
    for (token, code) in [
        (Token::of_all("eve").sign(), "forbidden"),
        (ada().claim("iss", "another").sign(), "forbidden"),
        ("nonsense".into(), "unauthenticated"),
        (ada().claim("exp", 1).sign(), "unauthenticated"),
        (
            ada().sign_with("a secret of somebody else, long enough"),
            "unauthenticated",
        ),
    ] {
        let answer = refresh(&mut ws, &token);
        assert_eq!(
            (&answer["op"], &answer["code"]),
            (&json!("error"), &json!(code))
        );
    }
    assert_eq!(refresh(&mut ws, &ada().sign())["op"], "refreshed");
    eventually("the first token's end", || (now() > end + 1).then_some(()));
    publish_as(&mut broker.http(), &ada().sign(), "/a/b");
    assert_eq!(ws.until("events")["topic"], "/a/b");
}

#[test]
fn a_narrower_token_ends_what_it_does_not_cover_and_nothing_else() {
    let broker = Broker::guarded("");
    let wide = Token::of("ada")
        .grant("subscribe", &["/a/**", "/b/**", "/c/x"])
        .grant("publish", &["/a/**", "/b/**"]);
    let narrow = Token::of("ada")
        .grant("subscribe", &["/a/*"])
        .grant("publish", &["/a/b"]);
    let mut ws = Ws::open_as(broker.addr, &wide.sign());
    let publish = |topic: &str| {
        let answer = publish_as(&mut broker.http(), &ada().sign(), topic);
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    ws.subscribe("/a/b", "live");
    ws.subscribe("/b/b", "live");
    let attach = json!({"op": "attach", "producer": {"id": "agent"},
                        "demand": ["/a/b", "/b/b"], "control": ["/a/b", "/b/b"]});
    assert_eq!(ws.call(attach)["op"], "attached");
    assert_eq!(
        ws.call(json!({"op": "subscribe", "pattern": "/b/**"}))["op"],
        "subscribed"
    );
    publish("/a/b");
    assert_eq!(refresh(&mut ws, &narrow.sign())["op"], "refreshed");
    publish("/b/b");
    publish("/a/b");
    let (mut seqs, mut ended, mut told) = (Vec::new(), Vec::new(), 0);
    while seqs.len() < 2 {
        let frame = ws.recv();
        match frame["op"].as_str().unwrap() {
            "events" => {
                assert_eq!(frame["topic"], "/a/b", "{frame}");
                for event in frame["events"].as_array().unwrap() {
                    seqs.push(event["seq"].as_u64().unwrap());
                }
            }
            "unsubscribed" => {
                assert_eq!(frame["code"], "forbidden", "{frame}");
                let what = frame["topic"].as_str().or(frame["pattern"].as_str());
                ended.push(what.unwrap().to_owned());
            }
            "error" => {
                assert_eq!(
                    (&frame["code"], &frame["topic"]),
                    (&json!("forbidden"), &json!("/b/b"))
                );
                told += 1;
            }
            _ => {}
        }
    }
    ended.sort();
    assert_eq!(seqs, [1, 2], "without loss or repeat");
    assert_eq!(ended, ["/b/**", "/b/b"]);
    assert_eq!(told, 2, "control and demand");
    // a wider one begins nothing by itself, and what it covers can be had
    let subscribe = json!({"op": "subscribe", "topic": "/c/x", "from": "live"});
    assert_eq!(ws.call(subscribe.clone())["code"], "forbidden");
    assert_eq!(refresh(&mut ws, &wide.sign())["op"], "refreshed");
    assert_eq!(ws.call(subscribe)["op"], "subscribed");
    // a pattern brings in what is covered only
    assert_eq!(
        ws.call(json!({"op": "subscribe", "pattern": "/c/*"}))["op"],
        "subscribed"
    );
    publish("/c/y");
    publish("/c/x");
    let events = ws.until("events");
    assert_eq!(events["topic"], "/c/x", "{events}");
}

#[test]
fn a_connection_without_a_token_may_bring_one_and_nothing_else() {
    let broker = Broker::guarded("[limits]\nauth_timeout = \"2s\"\n");
    let begun = Instant::now();
    let mut ws = Ws::open(broker.addr);
    for command in [
        json!({"op": "subscribe", "topic": "/a/b"}),
        json!({"op": "publish", "topic": "/a/b", "events": [note(1)]}),
        json!({"op": "attach", "producer": {"id": "p"}}),
        json!({"op": "unsubscribe", "topic": "/a/b"}),
    ] {
        assert_eq!(ws.call(command)["code"], "unauthenticated");
    }
    ws.send(&json!({"op": "ping"}));
    ws.until("pong");
    assert_eq!(ws.closed(), 4401);
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1_900) && took < Duration::from_secs(2) + SOON);
    let mut ws = Ws::open(broker.addr);
    assert_eq!(refresh(&mut ws, &ada().sign())["op"], "refreshed");
    ws.subscribe("/a/b", "live");
}

/// By API, by a line in the file, and by a line and SIGHUP.
#[test]
fn what_is_revoked_ends_at_once_for_all_its_connections_and_for_nobody_else() {
    let folder = Folder::new();
    let path = folder.file("revoked", "");
    let (boss, worker) = (ApiKey::admin("boss"), ApiKey::new("worker", ALL));
    let rest = format!(
        "revocations_file = {}\n{}{}",
        quoted(&path),
        boss.table,
        worker.table
    );
    let mut broker = asking(&guarded_by(SECRET, &rest));
    let of = |sub: &str, jti: &str| {
        Token::of_all(sub)
            .claim("jti", jti)
            .claim("iat", now() - 5)
            .sign()
    };
    let other = of("bob", "j2");
    let mut stays = Connected::with(&broker, &other);
    let append = |line: Value| {
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}{line}\n")).unwrap();
    };
    let (by_id, by_subject) = (of("ada", "j1"), of("eve", "j3"));
    let cases = [
        (&by_id, json!({"jti": "j1"}), "API"),
        (
            &by_subject,
            json!({"sub": "eve", "issued_until": now() - 2}),
            "file",
        ),
        (&worker.text, json!({"key": "worker"}), "SIGHUP"),
    ];
    for (token, line, how) in &cases {
        let connected = Connected::with(&broker, token);
        if *how == "API" {
            let shown = bearer(&boss.text);
            let headers = [
                ("authorization", shown.as_str()),
                ("content-type", "application/json"),
            ];
            let body = line.to_string();
            let answer =
                broker
                    .http()
                    .request("POST", "/v1/revocations", &headers, body.as_bytes());
            assert_eq!(answer.json(), json!({"kept": true}));
        } else {
            append(line.clone());
        }
        if *how == "SIGHUP" {
            broker.hang_up();
        }
        connected.ended("revoked", SOON);
        refused_everywhere(&broker, how, token);
        stays.lives();
    }
    // another token of the one whose one token was revoked, and a later one of the one who lost all
    assert!(taken(&broker, &of("ada", "j9")));
    assert!(taken(&broker, &Token::of_all("eve").sign()));
    // only an admin key revokes
    let shown = bearer(&other);
    let headers = [
        ("authorization", shown.as_str()),
        ("content-type", "application/json"),
    ];
    let answer = broker
        .http()
        .request("POST", "/v1/revocations", &headers, b"{\"sub\":\"boss\"}");
    assert_eq!(answer.status, 403);
    drop(stays);
    broker.restart();
    for (token, _, how) in &cases {
        refused(&broker, how, token);
    }
    served_at_once(&mut broker, &other);
}

#[test]
fn a_key_that_leaves_the_keys_file_or_changes_is_another_and_a_broken_file_changes_nothing() {
    let folder = Folder::new();
    let (goes, stays) = (ApiKey::new("goes", ALL), ApiKey::new("stays", ALL));
    let narrow = ApiKey::new("stays", "subscribe = [\"/c\"]\n");
    let path = folder.file("keys.toml", &format!("{}{}", goes.table, stays.table));
    let mut broker = asking(&format!("[auth]\nkeys_file = {}\n", quoted(&path)));
    let connected = Connected::with(&broker, &goes.text);
    let mut other = Connected::with(&broker, &stays.text);
    fs::write(&path, "[auth.key.stays]\nid = 7 [[[").unwrap();
    broker.hang_up();
    eventually("the broken file in the log", || {
        broker
            .stderr()
            .contains("keys stay as they were")
            .then_some(())
    });
    served_at_once(&mut broker, &goes.text);
    other.lives();
    fs::write(&path, &stays.table).unwrap();
    connected.ended("revoked", SOON);
    refused_everywhere(&broker, "a key that left", &goes.text);
    served_at_once(&mut broker, &stays.text);
    other.lives();
    // what it may do becomes less: the topic ends, and so does the stream of events
    fs::write(&path, &narrow.table).unwrap();
    let told = other.ws.until("unsubscribed");
    assert_eq!(
        (&told["topic"], &told["code"]),
        (&json!("/a/b"), &json!("forbidden"))
    );
    other.lives();
    other.sse.rest();
    assert_eq!(get_as(&broker, &narrow.text).status, 403);
}

/// Whoever sends a body slowly has, when it is whole, the rights of then.
#[test]
fn rights_that_end_while_a_body_is_on_its_way_are_good_for_nothing() {
    let boss = ApiKey::admin("boss");
    let broker = asking(&guarded_by(SECRET, &boss.table));
    for (target, rest) in [
        (
            "/v1/publish",
            r#""/slow/1","events":[{"type":"a.b","data":1}]}"#,
        ),
        ("/v1/sse", r#"s":[{"topic":"/slow/1"}]}"#),
    ] {
        let token = bearer(&Token::of_all("ada").claim("jti", target).sign());
        let begin = match target {
            "/v1/publish" => r#"{"topic":"#,
            _ => r#"{"topic"#,
        };
        let admitted = || {
            let metrics = broker.http().get("/metrics").text();
            let line = metrics
                .lines()
                .find(|line| line.contains("auth_admitted_total") && line.contains("\"token\""));
            line.map_or(0, |line| {
                let count = line.rsplit(' ').next().unwrap();
                count.parse::<u64>().unwrap()
            })
        };
        let before = admitted();
        let mut slow = broker.http();
        let length = (begin.len() + rest.len()).to_string();
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
            ("content-length", length.as_str()),
        ];
        let head = slow.head("POST", target, &headers);
        slow.wire.send((head + begin).as_bytes());
        eventually("the head to be let in", || {
            (admitted() > before).then_some(())
        });
        let shown = bearer(&boss.text);
        let headers = [
            ("authorization", shown.as_str()),
            ("content-type", "application/json"),
        ];
        let body = json!({ "jti": target }).to_string();
        let revoked = broker
            .http()
            .request("POST", "/v1/revocations", &headers, body.as_bytes());
        assert_eq!(revoked.status, 200);
        slow.wire.send(rest.as_bytes());
        assert_eq!(slow.response().status, 401, "{target}");
    }
}
