//! Attacks on where a credential stands and where a request comes from: places of tokens, cookies and foreign pages,
//! rebound names, forwarding headers, and what is too large.

use serde_json::json;

use crate::kit_grants::{Caller, still_serves};
use crate::support::broker::BINARY;
use crate::support::http::{Response, read_head};
use crate::support::token::{SECRET, guarded_by};
use crate::support::wire::Wire;
use crate::support::ws::{JSON, KEY};
use crate::support::{ApiKey, Broker, Http, Process, Setup, Sse, Token, Ws, bearer, note};

const READ: &str = "/v1/events?topic=/mine/1";

type Headers<'a> = &'a [(&'a str, &'a str)];

/// Somebody who may do everything below `/mine`, as text.
fn token(subject: &str) -> String {
    let token = Token::of(subject).grant("subscribe", &["/mine/*"]);
    token.grant("publish", &["/mine/*"]).sign()
}

fn started_with(args: &[&str], config: &str) -> Broker {
    Broker::set_up(Setup {
        config: guarded_by(SECRET, config),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        asks: true,
        ..Setup::default()
    })
}

fn status(broker: &Broker, target: &str, headers: Headers<'_>) -> u16 {
    broker.http().request("GET", target, headers, b"").status
}

/// The answer to a WebSocket handshake, without its body.
fn handshake(broker: &Broker, target: &str, headers: Headers<'_>) -> Response {
    let usual = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];
    let all: Vec<_> = usual.iter().chain(headers).copied().collect();
    let mut http = broker.http();
    let head = http.head("GET", target, &all);
    http.wire.send(head.as_bytes());
    read_head(&mut http.wire).expect("an answer to the handshake")
}

/// Whether a WebSocket may read what its holder may.
fn reads_over_websocket(broker: &Broker, target: &str, headers: Headers<'_>) -> bool {
    let usual = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];
    let all: Vec<_> = usual.iter().chain(headers).copied().collect();
    let Ok(mut ws) = Ws::ask_for(Wire::connect(broker.addr), broker.addr, target, &all) else {
        return false;
    };
    ws.expect("welcome");
    ws.send(&json!({ "op": "subscribe", "topic": "/mine/1" }));
    let answer = ws.recv();
    match answer["op"].as_str() {
        Some("subscribed") => true,
        _ => {
            assert_eq!(answer["code"], "unauthenticated", "{answer}");
            false
        }
    }
}

#[test]
fn an_authorization_counts_only_as_one_bearer_and_is_never_passed_over() {
    let mut broker = Broker::guarded("");
    let token = token("ada");
    for good in [
        "Bearer T",
        "bearer T",
        "BEARER T",
        "Bearer    T",
        "Bearer T   ",
        "   Bearer T",
    ] {
        let value = good.replace('T', &token);
        assert_eq!(
            status(&broker, READ, &[("authorization", &value)]),
            200,
            "{good}"
        );
    }
    let beside = format!("{READ}&access_token={token}");
    let protocols = format!("{JSON}, bearer.{token}");
    for bad in [
        "Basic YWRhOmFkYQ==",
        "Basic TOKEN",
        "Bearer",
        "Bearer ",
        "",
        "TOKEN",
        "BearerTOKEN",
        "Bearer\tTOKEN",
        "Bearer TOKEN x",
        "Bearer TOKEN, Bearer TOKEN",
        "Bearer Bearer TOKEN",
        "Digest TOKEN",
        "Bearer \"TOKEN\"",
        "Bearer token=TOKEN",
    ] {
        let value = bad.replace("TOKEN", &token);
        let headers = [("authorization", value.as_str())];
        assert_eq!(status(&broker, READ, &headers), 401, "{bad}");
        assert_eq!(
            status(&broker, &beside, &headers),
            401,
            "{bad} beside a good one"
        );
        let both = [headers[0], ("sec-websocket-protocol", &protocols)];
        assert_eq!(handshake(&broker, "/v1/ws", &both).status, 401, "{bad}");
    }
    let good = bearer(&token);
    for other in [good.as_str(), "Basic YTpi", ""] {
        for twice in [[&*good, other], [other, &*good]] {
            let headers = twice.map(|value| ("authorization", value));
            assert_eq!(status(&broker, READ, &headers), 401, "{other}");
            assert_eq!(
                handshake(&broker, "/v1/ws", &headers).status,
                401,
                "{other}"
            );
        }
    }
    still_serves(&mut broker);
}

#[test]
fn a_token_beside_the_subprotocol_is_never_echoed() {
    let mut broker = Broker::guarded("");
    let token = token("ada");
    for (offered, spoken) in [
        ("tidewire.v1.json, bearer.TOKEN", Some(JSON)),
        ("bearer.TOKEN,tidewire.v1.json", Some(JSON)),
        (
            "bearer.TOKEN, tidewire.v1.msgpack",
            Some("tidewire.v1.msgpack"),
        ),
        ("chat, bearer.TOKEN, tidewire.v1.json", Some(JSON)),
        ("bearer.TOKEN", None),
        ("bearer.TOKEN, bearer.TOKEN", None),
    ] {
        let offered = offered.replace("TOKEN", &token);
        let response = handshake(&broker, "/v1/ws", &[("sec-websocket-protocol", &offered)]);
        assert_eq!(response.status, 101, "{offered}");
        assert_eq!(
            response.header("sec-websocket-protocol"),
            spoken,
            "{offered}"
        );
        assert!(!format!("{response:?}").contains("bearer"), "{response:?}");
    }
    let two = [
        ("sec-websocket-protocol", JSON),
        ("sec-websocket-protocol", &format!("bearer.{token}")),
    ];
    assert_eq!(
        handshake(&broker, "/v1/ws", &two).header("sec-websocket-protocol"),
        Some(JSON)
    );
    assert!(reads_over_websocket(&broker, "/v1/ws", &two));
    let only_others = format!("chat, bearer.{token}");
    let refused = handshake(
        &broker,
        "/v1/ws",
        &[("sec-websocket-protocol", &only_others)],
    );
    assert_eq!(refused.status, 400);
    for bad in ["bearer.", "bearer", "Bearer.TOKEN", "bearer-TOKEN"] {
        let offered = format!("{JSON}, {}", bad.replace("TOKEN", &token));
        let headers = [("sec-websocket-protocol", offered.as_str())];
        assert!(!reads_over_websocket(&broker, "/v1/ws", &headers), "{bad}");
    }
    still_serves(&mut broker);
}

#[test]
fn a_token_in_the_query_is_decoded_once_and_the_first_counts() {
    let mut broker = Broker::guarded("");
    let token = token("ada");
    let encoded: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let twice = encoded.replace('%', "%25");
    for (query, expected) in [
        (format!("access_token={token}"), 200),
        (format!("access_token={encoded}"), 200),
        (format!("%61ccess_token={encoded}"), 200),
        (format!("access_token={twice}"), 401),
        (format!("access_token=nonsense&access_token={token}"), 401),
        (format!("access_token={token}&access_token=nonsense"), 200),
        ("access_token=".to_owned(), 401),
        (format!("ACCESS_TOKEN={token}"), 401),
        (format!("token={token}"), 401),
        (format!("access_token[]={token}"), 401),
        (format!("access_token=Bearer%20{token}"), 401),
        (format!("access_token={token}%00"), 401),
        (format!("access_token={token}%0d%0a"), 401),
    ] {
        let found = status(&broker, &format!("{READ}&{query}"), &[]);
        assert_eq!(found, expected, "{query}");
        let reads = reads_over_websocket_or_is_closed(&broker, &format!("/v1/ws?{query}"));
        assert_eq!(reads, expected == 200, "{query}");
        if expected == 200 {
            Sse::open(broker.addr, &format!("/v1/sse?topic=/mine/1&{query}")).event();
        }
    }
    still_serves(&mut broker);
}

/// As above; a bad token in such a place is told after the upgrade.
fn reads_over_websocket_or_is_closed(broker: &Broker, target: &str) -> bool {
    let mut ws = Ws::ask_for(
        Wire::connect(broker.addr),
        broker.addr,
        target,
        &[
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ],
    )
    .expect("an upgrade");
    ws.expect("welcome");
    ws.send(&json!({ "op": "subscribe", "topic": "/mine/1" }));
    let answer = ws.recv();
    assert!(
        answer["op"] == "subscribed" || answer["code"] == "unauthenticated",
        "{answer}"
    );
    answer["op"] == "subscribed"
}

#[test]
fn the_first_place_counts_and_the_others_are_not_looked_at() {
    let mut broker = Broker::guarded("cookie = \"tw\"\n");
    let owner = Caller::owner(&broker);
    let [a, s, q, c] = ["a", "s", "q", "c"].map(token);
    let shown = bearer(&a);
    let offered = format!("{JSON}, bearer.{s}");
    let cookie = format!("tw={c}");
    let body = json!({ "topic": "/mine/1", "events": [note(1)] }).to_string();
    let all = [
        ("authorization", shown.as_str()),
        ("sec-websocket-protocol", offered.as_str()),
        ("sec-fetch-site", "same-origin"),
        ("cookie", cookie.as_str()),
        ("content-type", "application/json"),
    ];
    let in_query = format!("/v1/publish?access_token={q}");
    for (target, headers, source) in [
        (&*in_query, &all[..], "a"),
        (&*in_query, &all[1..], "s"),
        (&*in_query, &all[2..], "q"),
        ("/v1/publish", &all[2..], "c"),
    ] {
        let response = broker
            .http()
            .request("POST", target, headers, body.as_bytes());
        assert_eq!(response.status, 200, "{source}: {}", response.text());
        let last = owner.events("/mine/1").pop().expect("an event");
        assert_eq!(last["source"], source);
    }
    // a bad one is not made good by the next
    let bad = [
        ("authorization", "Bearer nonsense"),
        ("sec-websocket-protocol", "bearer.nonsense"),
    ];
    for (target, headers) in [
        (&*in_query, [&bad[..1], &all[1..]].concat()),
        (&*in_query, [&bad[1..], &all[2..]].concat()),
        ("/v1/publish?access_token=nonsense", all[2..].to_vec()),
    ] {
        let response = broker
            .http()
            .request("POST", target, &headers, body.as_bytes());
        assert_eq!(response.problem()["code"], "unauthenticated");
    }
    assert_eq!(owner.head("/mine/1"), 4);
    still_serves(&mut broker);
}

#[test]
fn a_cookie_counts_only_from_a_page_that_is_known() {
    let args = ["--allowed-origins", "https://app.example"];
    let mut broker = started_with(&args, "cookie = \"tw\"\n");
    let owner = Caller::owner(&broker);
    owner.publishes("/mine/1", json!([note(1)]));
    let cookie = format!("a=b; tw={}; c=d", token("ada"));
    let host = broker.addr.to_string();
    let same = format!("http://{host}");
    let other_port = format!("http://{}:1", broker.addr.ip());
    let body = json!({ "topic": "/mine/1", "events": [note(2)] }).to_string();
    let tries = |page: &[(&str, &str)]| {
        let mut headers = vec![("cookie", cookie.as_str())];
        headers.extend(page);
        let read = broker.http().request("GET", READ, &headers, b"");
        let once = "/v1/sse?topic=/mine/1&once=1";
        let streamed = broker.http().request("GET", once, &headers, b"");
        let reads = reads_over_websocket(&broker, "/v1/ws", &headers);
        headers.push(("content-type", "application/json"));
        let posted = broker
            .http()
            .request("POST", "/v1/publish", &headers, body.as_bytes());
        let post = json!({ "topics": [{ "topic": "/mine/1" }], "once": true }).to_string();
        let asked = broker
            .http()
            .request("POST", "/v1/sse", &headers, post.as_bytes());
        let answers = [read, streamed, posted, asked];
        (answers, reads)
    };
    let known: [&[(&str, &str)]; 4] = [
        &[("origin", &same)],
        &[("origin", "https://app.example")],
        &[("sec-fetch-site", "same-origin")],
        &[
            ("origin", "https://app.example"),
            ("sec-fetch-site", "cross-site"),
        ],
    ];
    for page in known {
        let (answers, reads) = tries(page);
        assert!(reads, "{page:?}");
        for answer in answers {
            assert_eq!(answer.status, 200, "{page:?}: {}", answer.text());
        }
    }
    assert_eq!(owner.head("/mine/1"), 1 + known.len() as u64);
    let unknown: [&[(&str, &str)]; 11] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("origin", &other_port)],
        &[
            ("origin", "http://localhost:3000"),
            ("sec-fetch-site", "same-origin"),
        ],
        &[("origin", "null"), ("sec-fetch-site", "same-origin")],
        &[("origin", "https://evil.example")],
        &[("origin", "https://app.example.evil.example")],
        &[("origin", "http://app.example")],
        &[
            ("origin", "https://evil.example"),
            ("referer", "https://app.example/"),
        ],
    ];
    for page in unknown {
        let (answers, reads) = tries(page);
        assert!(!reads, "{page:?}");
        for answer in answers {
            assert!(
                [401, 403].contains(&answer.status),
                "{page:?}: {}",
                answer.text()
            );
            assert!(!answer.text().contains("note.taken"), "{page:?}");
        }
    }
    for name in ["TW", "xtw", "tw2", "__Host-tw", "t w", "access_token"] {
        let cookie = format!("{name}={}", token("ada"));
        let headers = [
            ("cookie", cookie.as_str()),
            ("sec-fetch-site", "same-origin"),
        ];
        assert_eq!(status(&broker, READ, &headers), 401, "{name}");
    }
    assert_eq!(
        owner.head("/mine/1"),
        1 + known.len() as u64,
        "nothing was forged"
    );
    // where no cookie is configured none counts
    let without = Broker::guarded("");
    let headers = [
        ("cookie", cookie.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    assert_eq!(status(&without, READ, &headers), 401);
    still_serves(&mut broker);
}

/// Origins that no broker on loopback knows.
const FOREIGN: [&str; 12] = [
    "https://evil.example",
    "null",
    "http://127.0.0.1.evil.example",
    "http://localhost.evil.example",
    "http://evil.example:80@127.0.0.1",
    "http://app.example",
    "https://app.example:444",
    "https://app.example.",
    "https://xapp.example",
    "https://app.example/",
    "file://",
    "http://[::ffff:7f00:1]x",
];

#[test]
fn a_page_of_another_origin_gets_no_websocket_and_no_readable_answer() {
    let mut broker = started_with(&["--allowed-origins", "https://app.example"], "");
    let token = token("ada");
    let shown = bearer(&token);
    let protocols = format!("{JSON}, bearer.{token}");
    let cors = |response: &Response| {
        let found = response.headers.iter();
        let found = found.filter(|(name, _)| name.starts_with("access-control"));
        found.cloned().collect::<Vec<_>>()
    };
    for origin in FOREIGN {
        let headers = [("origin", origin), ("sec-websocket-protocol", &protocols)];
        let refused = handshake(&broker, "/v1/ws", &headers);
        assert_eq!(refused.status, 403, "{origin}");
        assert_eq!(cors(&refused), [], "{origin}");
        for target in [
            READ,
            "/v1/topics",
            "/v1/sse?topic=/mine/1",
            "/healthz",
            "/v1/openapi.json",
            "/metrics",
            "/x",
        ] {
            for method in ["GET", "POST", "OPTIONS", "DELETE"] {
                let headers = [
                    ("origin", origin),
                    ("authorization", &*shown),
                    ("access-control-request-method", "GET"),
                    ("access-control-request-headers", "authorization"),
                ];
                let response = broker.http().request(method, target, &headers, b"");
                assert_eq!(response.status, 403, "{method} {target} from {origin}");
                assert_eq!(cors(&response), [], "{method} {target} from {origin}");
            }
        }
    }
    let same = format!("http://{}", broker.addr);
    for origin in ["https://app.example", "http://localhost:5173", &same] {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "DELETE"),
        ];
        let preflight = broker.http().request("OPTIONS", "/v1/topic", &headers, b"");
        assert_eq!(preflight.status, 204, "{origin}");
        let allowed = preflight.header("access-control-allow-headers").unwrap();
        for name in ["Authorization", "Content-Type", "Last-Event-ID"] {
            assert!(
                allowed.split(", ").any(|allowed| allowed == name),
                "{allowed}"
            );
        }
        let headers = [("origin", origin)];
        let read = broker.http().request("GET", READ, &headers, b"");
        assert_eq!(
            read.status, 401,
            "a page that is known still has to say who it is for"
        );
        for response in [preflight, read] {
            assert_eq!(response.header("access-control-allow-origin"), Some(origin));
            assert_eq!(response.header("vary"), Some("Origin"));
            let any = cors(&response)
                .into_iter()
                .any(|(_, value)| value.contains('*'));
            assert!(!any, "{response:?}");
        }
        assert!(reads_over_websocket(
            &broker,
            "/v1/ws",
            &[("origin", origin), ("sec-websocket-protocol", &protocols)]
        ));
    }
    // several origins are none that is known
    let two = [
        ("origin", &*same),
        ("origin", "https://evil.example"),
        ("authorization", &*shown),
    ];
    assert_eq!(status(&broker, READ, &two), 403);
    still_serves(&mut broker);
}

#[test]
fn a_name_that_is_rebound_to_loopback_is_refused() {
    let mut broker = started_with(&["--allowed-hosts", "chat.example"], "");
    let token = bearer(&token("ada"));
    let port = broker.addr.port();
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "0.0.0.0",
        "",
        "evil.example:80:80",
        "localhost@evil.example",
        "localhost.",
        "chat.example.evil",
        "xchat.example",
        "[::2]",
        "127.0.0.1/",
        "127.0.0.1 evil.example",
        "2130706433",
    ] {
        let headers = [("host", host), ("authorization", &*token)];
        for target in [READ, "/healthz", "/v1/openapi.json", "/metrics"] {
            let found = status(&broker, target, &headers);
            assert!([400, 403].contains(&found), "{host}: {found}");
        }
        let refused = handshake(&broker, "/v1/ws", &headers).status;
        assert!([400, 403].contains(&refused), "{host}: {refused}");
    }
    for host in [
        "localhost",
        "LOCALHOST:1",
        "a.localhost",
        "127.0.0.1",
        "127.9.9.9:9",
        "[::1]:80",
        "chat.example",
        "Chat.Example:443",
    ] {
        let headers = [("host", host), ("authorization", &*token)];
        assert_eq!(status(&broker, READ, &headers), 200, "{host}");
        assert_eq!(handshake(&broker, "/v1/ws", &headers).status, 101, "{host}");
    }
    let mine = format!("127.0.0.1:{port}");
    for two in [[&*mine, "evil.example"], ["evil.example", &*mine]] {
        let headers = [
            ("host", two[0]),
            ("host", two[1]),
            ("authorization", &*token),
        ];
        let found = status(&broker, READ, &headers);
        assert!([400, 403].contains(&found), "{two:?}: {found}");
    }
    still_serves(&mut broker);
}

/// `serve` on another address than loopback: what it says on standard output, and the process.
fn serve(args: &[&str]) -> (Process, Option<u16>) {
    let mut process = Process::run(BINARY, &[&["serve"], args].concat());
    let port = crate::support::eventually("its ready line, or its end", || {
        let said = process.stdout();
        let port = said
            .trim()
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        match port {
            Some(port) if said.ends_with('\n') => Some(Some(port)),
            _ if process.is_gone() => Some(None),
            _ => None,
        }
    });
    (process, port)
}

#[test]
fn serve_asks_who_somebody_is_or_stays_on_loopback() {
    let public = ["--listen", "0.0.0.0:0"];
    for refused in [
        &public[..],
        &["--listen", "[::]:0"],
        &["--listen", "127.0.0.1:0", "--trusted-proxies", "10.0.0.0/8"],
        &[&public[..], &["--auth-secret", "too short"]].concat(),
        &[&public[..], &["--auth-issuer", "https://login.example/"]].concat(),
        &[&public[..], &["--auth-cookie", "tw"]].concat(),
    ] {
        let (mut process, port) = serve(refused);
        assert_eq!(port, None, "{refused:?}");
        assert!(!process.finish().1, "{refused:?}");
    }
    for taken in [&["--auth-secret", SECRET][..], &["--allow-anonymous"]] {
        let args = [&public[..], taken].concat();
        let (_process, port) = serve(&args);
        let addr = ([127, 0, 0, 1], port.expect("a port")).into();
        let expected = if taken.len() == 2 { 401 } else { 200 };
        assert_eq!(
            Http::connect(addr).get("/v1/topics").status,
            expected,
            "{taken:?}"
        );
    }
}

#[test]
fn a_public_address_serves_the_hosts_it_was_told_of() {
    let args = [
        "--listen",
        "0.0.0.0:0",
        "--auth-secret",
        SECRET,
        "--allowed-hosts",
        "chat.example",
    ];
    let (_process, port) = serve(&args);
    let addr = ([127, 0, 0, 1], port.expect("a port")).into();
    let token = bearer(&token("ada"));
    let ask = |host: &str, origin: Option<&str>| {
        let mut headers = vec![("host", host), ("authorization", &*token)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        Http::connect(addr)
            .request("GET", READ, &headers, b"")
            .status
    };
    assert_eq!(ask("chat.example", None), 200);
    assert_eq!(
        ask("chat.example:8080", Some("https://chat.example:8080")),
        200
    );
    for host in ["evil.example", "localhost", "127.0.0.1", "0.0.0.0", ""] {
        assert_eq!(ask(host, None), 403, "{host}");
    }
    // pages of this machine are no neighbours of a public broker
    for origin in [
        "http://localhost",
        "http://127.0.0.1:3000",
        "https://evil.example",
        "null",
    ] {
        assert_eq!(ask("chat.example", Some(origin)), 403, "{origin}");
    }
}

#[test]
fn an_address_is_taken_from_proxies_that_are_trusted_only() {
    let quota = "[quota.address]\nconnections = 1\n";
    let token = token("ada");
    let protocols = format!("{JSON}, bearer.{token}");
    let connect = |broker: &Broker, forwarded: Headers<'_>| {
        let mut headers = forwarded.to_vec();
        headers.push(("sec-websocket-protocol", &protocols));
        Ws::handshake(Wire::connect(broker.addr), broker.addr, &headers)
    };
    let broker = started_with(&[], quota);
    let _first = connect(&broker, &[("x-forwarded-for", "198.51.100.1")]).expect("the first");
    for forwarded in [
        &[("x-forwarded-for", "198.51.100.2")][..],
        &[("forwarded", "for=198.51.100.2")],
        &[("x-real-ip", "198.51.100.2")],
        &[
            ("x-forwarded-for", "198.51.100.3"),
            ("forwarded", "for=198.51.100.3"),
        ],
        &[("cf-connecting-ip", "198.51.100.3")],
    ] {
        let refused = connect(&broker, forwarded).err().expect("one too many");
        assert!(
            [429, 503].contains(&refused.status),
            "{forwarded:?}: {refused:?}"
        );
    }
    let trusted = ["--trusted-proxies", "127.0.0.1/32"];
    let broker = started_with(&trusted, quota);
    let mut held = Vec::new();
    for address in [
        "198.51.100.1",
        "198.51.100.2",
        "2001:db8::1",
        "192.0.2.1, 198.51.100.3",
    ] {
        held.push(connect(&broker, &[("x-forwarded-for", address)]).expect(address));
    }
    // of each address only one, whatever it says in front of what the proxy saw
    for (name, same) in [
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-for", "203.0.113.1, 198.51.100.1"),
        ("x-forwarded-for", "203.0.113.9, 127.0.0.1, 198.51.100.2"),
        ("x-forwarded-for", "\"203.0.113.9, 198.51.100.1"),
        ("x-forwarded-for", "2001:db8::ffff"),
        ("x-forwarded-for", "198.51.100.3:4711"),
        ("x-forwarded-for", "::ffff:198.51.100.3"),
    ] {
        assert!(connect(&broker, &[(name, same)]).is_err(), "{same}");
    }
    // the header that is not the proxies' says nothing: all of these are the proxy itself
    held.push(connect(&broker, &[("forwarded", "for=203.0.113.7")]).expect("the proxy itself"));
    for unread in [
        ("forwarded", "for=203.0.113.8"),
        ("x-forwarded-for", "unknown"),
        ("x-real-ip", "203.0.113.8"),
    ] {
        assert!(connect(&broker, &[unread]).is_err(), "{unread:?}");
    }
    let args = [&trusted[..], &["--forwarded-header", "forwarded"]].concat();
    let broker = started_with(&args, quota);
    let _first = connect(&broker, &[("forwarded", "for=198.51.100.1")]).expect("the first");
    let _second = connect(
        &broker,
        &[("forwarded", "for=\"[2001:db8::1]:9\";proto=https")],
    )
    .expect("another");
    assert!(
        connect(
            &broker,
            &[("forwarded", "for=203.0.113.9, for=198.51.100.1")]
        )
        .is_err()
    );
    let _proxy = connect(&broker, &[("x-forwarded-for", "203.0.113.9")]).expect("the proxy itself");
    assert!(connect(&broker, &[("x-forwarded-for", "203.0.113.10")]).is_err());
}

#[test]
fn metrics_are_for_this_machine_and_for_admin_keys() {
    let (admin, other) = (
        ApiKey::admin("boss"),
        ApiKey::new("other", "subscribe = [\"/**\"]"),
    );
    let mut broker = Broker::guarded(&format!("{}{}", admin.table, other.table));
    let all = Token::of_all("boss").claim("admin", true).sign();
    assert_eq!(status(&broker, "/metrics", &[]), 200);
    for trace in [
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "::1"),
        ("via", "1.1 x"),
        ("x-forwarded-for", ""),
    ] {
        assert_ne!(status(&broker, "/metrics", &[trace]), 200, "{trace:?}");
        for (shown, expected) in [(&admin.text, 200), (&other.text, 403), (&all, 403)] {
            let shown = bearer(shown);
            let found = status(&broker, "/metrics", &[trace, ("authorization", &shown)]);
            assert_eq!(found, expected, "{trace:?}");
        }
    }
    assert_eq!(
        status(&broker, "/metrics", &[("origin", "https://evil.example")]),
        403
    );
    still_serves(&mut broker);
}

#[test]
fn what_is_too_large_is_refused_before_anybody_is_asked_who_they_are() {
    let mut broker = Broker::guarded("");
    let token = bearer(&token("ada"));
    let long = |bytes: usize| "x".repeat(bytes);
    for (bytes, expected) in [(33 << 10, 413), (100 << 10, 413), (200 << 10, 431)] {
        let value = long(bytes);
        let headers = [("x-long", value.as_str()), ("authorization", &*token)];
        assert_eq!(status(&broker, READ, &headers), expected, "{bytes}");
        let refused = handshake(&broker, "/v1/ws", &headers).status;
        assert_eq!(refused, expected, "{bytes}");
    }
    let parts = long(8 << 10);
    let many = ["x-a", "x-b", "x-c", "x-d"].map(|name| (name, parts.as_str()));
    assert_eq!(status(&broker, READ, &many), 413, "together");
    let names: Vec<String> = (0..200).map(|n| format!("x-{n}")).collect();
    let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    assert!(
        [400, 431].contains(&status(&broker, READ, &headers)),
        "200 headers"
    );
    let query = format!("{READ}&x={}", long(16 << 10));
    assert_eq!(status(&broker, &query, &[("authorization", &token)]), 413);
    assert_eq!(
        handshake(&broker, &format!("/v1/ws?x={}", long(16 << 10)), &[]).status,
        413
    );
    let path = format!("/v1/{}", long(100 << 10));
    assert!(
        [400, 404, 413, 414, 431].contains(&status(&broker, &path, &[])),
        "a long path"
    );
    for shown in [
        format!("Bearer {}", long(9 << 10)),
        format!("Bearer tw_{}", long(9 << 10)),
        format!("Bearer {}", ".".repeat(9 << 10)),
    ] {
        assert_eq!(status(&broker, READ, &[("authorization", &shown)]), 401);
    }
    still_serves(&mut broker);
}
