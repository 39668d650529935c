//! Who somebody is and what they may do: refusals, tokens that are brought later, rights that end, revocations.

use serde_json::{Value, json};

use crate::recorder::{Line, Recorder, described_answers};
use crate::support::token::now;
use crate::support::wire::Wire;
use crate::support::ws::KEY;
use crate::support::{ApiKey, Broker, Sse, Token, Ws, bearer, note};

pub fn record(recorder: &Recorder) {
    nobody(recorder);
    forbidden(recorder);
    brought_later(recorder);
    refused_after_the_upgrade(recorder);
    ended(recorder);
    revoked(recorder);
}

/// Every call that is described with 401 answers so, and says how to do better.
fn nobody(recorder: &Recorder) {
    let broker = Broker::guarded("");
    let mut asked = 0;
    for (name, _) in described_answers() {
        let [method, path, "401"] = name.split(' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        // in AppSync's words, with traffic_appsync
        if path == "/event" {
            continue;
        }
        let target = format!("{path}?topic=/a/b");
        // only what stands in `Authorization` is refused before the upgrade
        let handshake = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
            ("authorization", "Bearer nonsense"),
        ];
        let headers = match path {
            "/v1/ws" => &handshake[..],
            _ => &[],
        };
        let response = broker.http().request(method, &target, headers, b"");
        assert_eq!(response.status, 401, "{name}: {}", response.text());
        assert_eq!(
            response.header("www-authenticate"),
            Some("Bearer realm=\"tidewire\""),
            "{name}"
        );
        recorder.response(method, &target, &response);
        asked += 1;
    }
    assert!(asked > 10, "only {asked} calls are described with 401");
    for open in ["/healthz", "/readyz", "/v1/openapi.json"] {
        assert_eq!(broker.get(open).status, 200, "{open}");
    }
}

/// What a token does not cover is 403, whether it exists or not.
fn forbidden(recorder: &Recorder) {
    let broker = Broker::guarded("");
    let token = bearer(
        &Token::of("ada")
            .grant("subscribe", &["/a/**"])
            .grant("publish", &["/a/b"])
            .sign(),
    );
    let headers = [("authorization", token.as_str())];
    let call = |method: &str, target: &str, body: Option<&Value>| {
        recorder.call_with(broker.addr, method, target, &headers, body)
    };
    let publish = |topic: &str| json!({ "topic": topic, "events": [note(1)] });
    let published = call("POST", "/v1/publish", Some(&publish("/a/b")));
    assert_eq!(published.status, 200, "{}", published.text());
    let events = call("GET", "/v1/events?topic=/a/b", None).json();
    assert_eq!(events["events"][0]["source"], "ada", "{events}");
    for (method, target, body) in [
        ("POST", "/v1/publish", Some(publish("/a/c"))),
        ("GET", "/v1/events?topic=/b/c", None),
        ("GET", "/v1/topic?topic=/b/c", None),
        ("DELETE", "/v1/topic?topic=/a/b", None),
        ("GET", "/v1/sse?topic=/a/b&topic=/b/c", None),
        ("POST", "/v1/publish/stream?topic=/a/c", None),
        ("GET", "/v1/revocations", None),
        ("POST", "/v1/revocations", Some(json!({ "sub": "eve" }))),
    ] {
        let response = call(method, target, body.as_ref());
        assert_eq!(response.problem()["code"], "forbidden", "{method} {target}");
    }
}

/// A connection that came without a token brings one; a narrower one ends what it does not cover.
fn brought_later(recorder: &Recorder) {
    let broker = Broker::guarded("");
    let mut line = Line::open(recorder, broker.addr);
    let subscribe = json!({ "op": "subscribe", "topic": "/b" });
    assert_eq!(line.refused(subscribe), "unauthenticated");
    line.send(&json!({ "op": "ping" }));
    line.until("pong");
    let refresh = |token: String| json!({ "op": "refresh", "token": token });
    assert_eq!(line.refused(refresh("nonsense".into())), "unauthenticated");
    let wide = Token::of("ada").grant("subscribe", &["/a/**", "/b"]);
    let expires = now() + 600;
    let refreshed = line.call("refreshed", refresh(wide.claim("exp", expires).sign()));
    assert_eq!(refreshed["expires_at"], expires * 1000, "{refreshed}");
    line.call(
        "subscribed",
        json!({ "op": "subscribe", "pattern": "/a/**" }),
    );
    line.subscribe("/b", "live");
    let hidden = json!({ "op": "subscribe", "pattern": "/c/**" });
    assert_eq!(line.refused(hidden), "forbidden");
    assert_eq!(
        line.refused(refresh(Token::of_all("bob").sign())),
        "forbidden"
    );
    let narrow = Token::of("ada").grant("subscribe", &["/c"]).sign();
    line.call("refreshed", refresh(narrow));
    for what in ["pattern", "topic"] {
        let ended = line.until("unsubscribed");
        assert!(ended[what].is_string(), "{ended}");
        assert_eq!(ended["code"], "forbidden", "{ended}");
        assert!(ended["reason"].is_string(), "{ended}");
    }
}

/// A page cannot read the status of a handshake: it is told over the connection.
fn refused_after_the_upgrade(recorder: &Recorder) {
    let broker = Broker::guarded("");
    let usual = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];
    let target = "/v1/ws?access_token=nonsense";
    let mut ws = Ws::ask_for(Wire::connect(broker.addr), broker.addr, target, &usual).unwrap();
    ws.welcome = ws.recv();
    let mut line = Line::over(recorder, ws);
    assert_eq!(line.until("error")["code"], "unauthenticated");
    assert_eq!(line.ws.closed(), 4401);
}

/// A stream is told that its rights ended, and ends.
fn ended(recorder: &Recorder) {
    let broker = Broker::guarded("");
    let token = Token::of_all("ada").expires_in(2).sign();
    let mut sse = Sse::open(
        broker.addr,
        &format!("/v1/sse?topic=/a/b&access_token={token}"),
    );
    recorder.streams("GET", &sse);
    let blocks = sse.rest();
    blocks.iter().for_each(|block| recorder.block(block));
    let last = blocks.last().expect("a block").json();
    assert_eq!(last["type"], "tidewire.expired", "{last}");
}

fn revoked(recorder: &Recorder) {
    let boss = ApiKey::admin("boss");
    let broker = Broker::guarded(&boss.table);
    let mut reader = Line::over(
        recorder,
        Ws::open_as(broker.addr, &Token::of_all("eve").sign()),
    );
    let shown = bearer(&boss.text);
    let headers = [("authorization", shown.as_str())];
    let call = |method: &str, body: Option<&Value>| {
        recorder.call_with(broker.addr, method, "/v1/revocations", &headers, body)
    };
    let expires = now() + 3600;
    for body in [
        json!({ "jti": "3f1c", "expires_at": expires }),
        json!({ "sub": "eve", "issued_until": expires }),
        json!({ "key": "importer" }),
    ] {
        let answer = call("POST", Some(&body));
        assert_eq!(answer.json(), json!({ "kept": false }), "{body}");
    }
    assert_eq!(reader.ws.closed(), 4401);
    let listed = call("GET", None).json();
    assert_eq!(
        listed["revocations"].as_array().map(Vec::len),
        Some(3),
        "{listed}"
    );
    for body in [
        json!({}),
        json!({ "jti": "a", "sub": "b" }),
        json!({ "key": "a", "issued_until": 1 }),
        json!({ "sub": 7 }),
    ] {
        let refused = call("POST", Some(&body));
        assert_eq!(refused.problem()["code"], "invalid_request", "{body}");
    }
    reader = Line::open(recorder, broker.addr);
    let refresh = json!({ "op": "refresh", "token": boss.text });
    assert_eq!(
        reader.call("refreshed", refresh)["expires_at"],
        Value::Null,
        "a key without an end"
    );
}
