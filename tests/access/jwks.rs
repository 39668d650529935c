//! Attacks by way of the address that keys come from: a flood of tokens with unknown keys, and a server of keys that
//! fails in every way. The broker asks it seldom, takes little of it, and keeps the last good keys.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::kit_tokens::{
    LONG_SECRET, READ, ada, asking, encoded, get_as, jwk, own_key, refused, served_at_once,
    signing_key, taken,
};
use crate::support::broker::quiet_port;
use crate::support::wire::Wire;
use crate::support::{Broker, Http, Sse, Ws, bearer, eventually};

use Algorithm::{ES256, EdDSA, HS256, RS256, RS384};

/// How the server answers.
#[derive(Clone)]
enum Mode {
    Keys(Vec<Value>),
    Raw(&'static str),
    /// It redirects to there.
    To(String),
    Hangs,
    /// A byte now and then.
    Trickles,
    /// 100 MB, said to be so long or not.
    Endless {
        chunked: bool,
    },
}

/// A server of keys. It counts its connections.
struct KeyServer {
    addr: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    asked: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl KeyServer {
    fn start(mode: Mode) -> KeyServer {
        KeyServer::start_on(0, mode)
    }

    fn start_on(port: u16, mode: Mode) -> KeyServer {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let server = KeyServer {
            addr: listener.local_addr().unwrap(),
            mode: Arc::new(Mutex::new(mode)),
            asked: Arc::default(),
            ended: Arc::default(),
        };
        let (mode, asked) = (server.mode.clone(), server.asked.clone());
        let ended = server.ended.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                asked.fetch_add(1, Ordering::SeqCst);
                let (mode, ended) = (mode.lock().unwrap().clone(), ended.clone());
                thread::spawn(move || answer(stream, mode, &ended));
            }
        });
        server
    }

    fn now(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until it was asked once more than now.
    fn asked_again(&self) {
        let before = self.asked();
        eventually("a fetch", || (self.asked() > before).then_some(()));
    }

    /// `[auth]` with its address and these times.
    fn config(&self, rest: &str) -> String {
        format!("[auth]\njwks_url = \"http://{}/keys\"\n{rest}", self.addr)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

/// The client may leave at any time, so no write has to succeed.
fn answer(mut stream: TcpStream, mode: Mode, ended: &AtomicBool) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
        request.push(byte[0]);
    }
    let whole = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    match mode {
        Mode::Keys(keys) => {
            let _ = stream.write_all(whole(&json!({ "keys": keys }).to_string()).as_bytes());
        }
        Mode::Raw(answer) => {
            let _ = stream.write_all(answer.as_bytes());
        }
        Mode::To(url) => {
            let answer =
                format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
        Mode::Hangs => while stream.read(&mut byte).is_ok_and(|read| read > 0) {},
        Mode::Trickles => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
            while !ended.load(Ordering::SeqCst) && stream.write_all(b" ").is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
        }
        Mode::Endless { chunked } => {
            let head = match chunked {
                true => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                false => "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n",
            };
            let _ = stream.write_all(head.as_bytes());
            let part = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            for _ in 0..1600 {
                if stream.write_all(part.as_bytes()).is_err() {
                    break;
                }
            }
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn key(kid: &str) -> Value {
    jwk(&own_key(1), EdDSA, json!({ "kid": kid }))
}

fn by(kid: &str, number: u8) -> String {
    ada().head("kid", kid).sign_by(EdDSA, &own_key(number))
}

/// What `keep_fresh` may do with these: every 50 ms at most.
const OFTEN: &str =
    "jwks_min_interval = \"50ms\"\njwks_refresh = \"100ms\"\njwks_timeout = \"300ms\"\n";

fn ready(broker: &Broker, token: &str) {
    eventually("the first keys", || {
        (get_as(broker, token).status == 200).then_some(())
    });
}

#[test]
fn keys_of_each_kind_are_taken_with_and_without_a_name_and_secrets_never() {
    let secret = EncodingKey::from_secret(LONG_SECRET.as_bytes());
    let oct = |members: Value| {
        let mut key = json!({"kty": "oct", "k": encoded(LONG_SECRET)});
        let fields = key.as_object_mut().unwrap();
        fields.extend(members.as_object().unwrap().clone());
        key
    };
    let server = KeyServer::start(Mode::Keys(vec![
        jwk(
            &signing_key(RS256),
            RS256,
            json!({"kid": "rsa", "alg": "RS256", "use": "sig"}),
        ),
        jwk(&signing_key(ES256), ES256, json!({})),
        key("ed"),
        oct(json!({"kid": "secret", "alg": "HS256"})),
        oct(json!({})),
        json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "small"}),
        json!({"kty": "new", "kid": "later"}),
    ]));
    let mut broker = asking(&server.config(""));
    let named = |kid: &str, algorithm| {
        ada()
            .head("kid", kid)
            .sign_by(algorithm, &signing_key(algorithm))
    };
    ready(&broker, &named("rsa", RS256));
    assert!(taken(&broker, &ada().sign_by(ES256, &signing_key(ES256))));
    assert!(taken(&broker, &by("ed", 1)));
    assert!(
        taken(&broker, &ada().sign_by(EdDSA, &own_key(1))),
        "without a kid"
    );
    for (what, token) in [
        (
            "a secret by name",
            ada().head("kid", "secret").sign_by(HS256, &secret),
        ),
        ("a secret without one", ada().sign_by(HS256, &secret)),
        ("a key that says RS256 only", named("rsa", RS384)),
        ("another key of that name", by("ed", 2)),
        (
            "another key without a name",
            ada().sign_by(EdDSA, &own_key(2)),
        ),
        ("a key that is too small", by("small", 9)),
    ] {
        refused(&broker, what, &token);
    }
    served_at_once(&mut broker, &by("ed", 1));
}

#[test]
fn a_new_key_is_found_with_one_fetch_and_an_old_one_goes() {
    let server = KeyServer::start(Mode::Keys(vec![key("old")]));
    // nothing but a token that asks for it brings a fetch
    let broker = asking(&server.config("jwks_min_interval = \"50ms\"\n"));
    ready(&broker, &by("old", 1));
    assert_eq!(server.asked(), 1);
    server.now(Mode::Keys(vec![jwk(
        &own_key(2),
        EdDSA,
        json!({"kid": "new"}),
    )]));
    // within the interval of the first fetch it may be refused
    eventually("the new key", || {
        taken(&broker, &by("new", 2)).then_some(())
    });
    assert_eq!(server.asked(), 2);
    let gone = eventually("the old key's end", || {
        let answer = get_as(&broker, &by("old", 1));
        (answer.status == 401).then_some(answer)
    });
    let said = gone.problem()["message"].to_string();
    assert!(
        said.contains("names a key that its issuer does not have"),
        "{said}"
    );
}

#[test]
fn ten_thousand_unknown_keys_bring_one_fetch_in_an_interval_and_hold_nobody_up() {
    let server = KeyServer::start(Mode::Keys(vec![key("a")]));
    let mut broker = asking(&server.config("jwks_min_interval = \"1s\"\n"));
    let good = by("a", 1);
    ready(&broker, &good);
    let (begun, before) = (Instant::now(), server.asked());
    let addr = broker.addr;
    let floods: Vec<_> = (0..4)
        .map(|thread| {
            thread::spawn(move || {
                for number in 0..2500 {
                    let mut http = Http::connect(addr);
                    let token = bearer(&by(&format!("k{thread}-{number}"), 9));
                    let headers = [("authorization", token.as_str())];
                    assert_eq!(http.request("GET", READ, &headers, b"").status, 401);
                }
            })
        })
        .collect();
    let mut served = 0;
    while !floods.iter().all(|flood| flood.is_finished()) {
        served_at_once(&mut broker, &good);
        served += 1;
    }
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    let most = 1 + begun.elapsed().as_secs() as usize;
    let fetches = server.asked() - before;
    assert!(
        fetches <= most,
        "{fetches} fetches in {:?}",
        begun.elapsed()
    );
    assert!(served > 3, "it was served {served} times meanwhile");
    // the same while the server hangs: they wait for one fetch together, and nobody else does
    server.now(Mode::Hangs);
    let rss = broker.rss_kb();
    let waiting = thread::spawn(move || {
        let mut all: Vec<Http> = (0..200).map(|_| Http::connect(addr)).collect();
        for (number, http) in all.iter_mut().enumerate() {
            let token = bearer(&by(&format!("h{number}"), 9));
            let head = http.head("GET", READ, &[("authorization", &token)]);
            http.wire.send(head.as_bytes());
        }
        all.iter_mut()
            .for_each(|http| assert_eq!(http.response().status, 401));
    });
    while !waiting.is_finished() {
        served_at_once(&mut broker, &good);
    }
    waiting.join().unwrap();
    let grown = broker.rss_kb().saturating_sub(rss);
    assert!(grown < 30_000, "{grown} KiB more");
}

#[test]
fn whatever_the_server_does_the_last_good_keys_stay() {
    let elsewhere = KeyServer::start(Mode::Keys(vec![jwk(
        &own_key(9),
        EdDSA,
        json!({"kid": "evil"}),
    )]));
    let server = KeyServer::start(Mode::Keys(vec![key("a")]));
    let mut broker = asking(&server.config(OFTEN));
    let good = by("a", 1);
    ready(&broker, &good);
    served_at_once(&mut broker, &good);
    let rss = broker.rss_kb();
    for (what, mode) in [
        ("it hangs", Mode::Hangs),
        ("it trickles", Mode::Trickles),
        (
            "500",
            Mode::Raw("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"),
        ),
        ("garbage", Mode::Raw("\x00\x01\x02 what?\r\n\r\n")),
        ("an end at once", Mode::Raw("")),
        (
            "a page",
            Mode::Raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"),
        ),
        ("no keys", Mode::Keys(Vec::new())),
        (
            "keys of no use",
            Mode::Keys(vec![json!({"kty": "oct", "k": encoded(LONG_SECRET)})]),
        ),
        (
            "deep JSON",
            Mode::Raw(
                "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
            ),
        ),
        ("100 MB", Mode::Endless { chunked: false }),
        ("100 MB in chunks", Mode::Endless { chunked: true }),
        (
            "a redirect",
            Mode::To(format!("http://{}/keys", elsewhere.addr)),
        ),
        (
            "a redirect to a file",
            Mode::To("file:///etc/passwd".into()),
        ),
    ] {
        server.now(mode);
        server.asked_again();
        // that one is over when the next one comes
        server.asked_again();
        served_at_once(&mut broker, &good);
        let forged = get_as(&broker, &by("evil", 9));
        assert_eq!(forged.status, 401, "{what}");
        let secret = EncodingKey::from_secret(LONG_SECRET.as_bytes());
        refused(&broker, what, &ada().sign_by(HS256, &secret));
    }
    assert_eq!(elsewhere.asked(), 0, "a redirect was followed");
    let grown = broker.rss_kb().saturating_sub(rss);
    assert!(grown < 20_000, "{grown} KiB more");
    // it mends by itself
    server.now(Mode::Keys(vec![jwk(
        &own_key(2),
        EdDSA,
        json!({"kid": "b"}),
    )]));
    eventually("the next good keys", || {
        taken(&broker, &by("b", 2)).then_some(())
    });
}

#[test]
fn keys_that_never_came_are_an_outage_and_not_a_refusal() {
    let port = quiet_port();
    let url = format!("http://127.0.0.1:{port}/keys");
    let mut broker = asking(&format!("[auth]\njwks_url = \"{url}\"\n{OFTEN}"));
    let token = by("a", 1);
    let answer = get_as(&broker, &token);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.problem()["code"], "draining");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..60).contains(&wait), "{wait}");
    let shown = bearer(&token);
    let headers = [("authorization", shown.as_str())];
    let mut sse = Sse::open_with(broker.addr, "/v1/sse?topic=/a/b", &headers);
    assert_eq!(sse.event().kind(), "tidewire.draining");
    let handshake = Ws::handshake(Wire::connect(broker.addr), broker.addr, &headers);
    assert_eq!(handshake.err().unwrap().status, 503);
    // what is no token at all is refused all the same
    refused(&broker, "nonsense", "nonsense");
    let server = KeyServer::start_on(port, Mode::Keys(vec![key("a")]));
    ready(&broker, &token);
    // and when it goes, what is known stays good
    drop(server);
    eventually("the outage in the log", || {
        broker
            .stderr()
            .matches("cannot be fetched")
            .nth(1)
            .map(|_| ())
    });
    served_at_once(&mut broker, &token);
}
