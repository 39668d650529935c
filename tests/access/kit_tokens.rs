//! Keys to sign with, refusals checked wherever a token may stand, and the normal client who is served meanwhile.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::support::broker::{Folder, Setup};
use crate::support::wire::Wire;
use crate::support::ws::JSON;
use crate::support::{Broker, Http, Response, Token, Ws, bearer, note};

use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, RS256, RS384, RS512};

pub const ALGORITHMS: [Algorithm; 10] = [
    HS256, HS384, HS512, RS256, RS384, RS512, PS256, ES256, ES384, EdDSA,
];

/// Long enough for each of the three.
pub const LONG_SECRET: &str = "a test secret that is long enough for each of the three, HS512+!";

/// A reading that needs a grant for it.
pub const READ: &str = "/v1/events?topic=/a/b";

macro_rules! testdata {
    ($name:literal) => {
        include_str!(concat!("../../src/auth/testdata/", $name, ".test.pem"))
    };
}

pub fn signing_key(algorithm: Algorithm) -> EncodingKey {
    let key = match algorithm {
        HS256 | HS384 | HS512 => Ok(EncodingKey::from_secret(LONG_SECRET.as_bytes())),
        ES256 => EncodingKey::from_ec_pem(testdata!("p256.private").as_bytes()),
        ES384 => EncodingKey::from_ec_pem(testdata!("p384.private").as_bytes()),
        EdDSA => EncodingKey::from_ed_pem(testdata!("ed25519.private").as_bytes()),
        _ => EncodingKey::from_rsa_pem(testdata!("rsa.private").as_bytes()),
    };
    key.expect("a key to sign with")
}

/// What a key file holds for tokens of `signing_key`.
pub fn checking_text(algorithm: Algorithm) -> &'static str {
    match algorithm {
        HS256 | HS384 | HS512 => LONG_SECRET,
        ES256 => testdata!("p256.public"),
        ES384 => testdata!("p384.public"),
        EdDSA => testdata!("ed25519.public"),
        _ => testdata!("rsa.public"),
    }
}

/// An Ed25519 key of one's own (RFC 8410 §7): whoever is not in the configuration.
pub fn own_key(number: u8) -> EncodingKey {
    let head = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    EncodingKey::from_ed_der(&[&head[..], &[number; 32]].concat())
}

/// Its public half as a JWK, with these members beside.
pub fn jwk(key: &EncodingKey, algorithm: Algorithm, members: Value) -> Value {
    let jwk = Jwk::from_encoding_key(key, algorithm).expect("a JWK");
    let mut jwk = serde_json::to_value(jwk).expect("JSON");
    let fields = jwk.as_object_mut().expect("an object");
    fields.retain(|name, value| !value.is_null() && name != "alg");
    for (name, value) in members.as_object().expect("an object") {
        fields.insert(name.clone(), value.clone());
    }
    jwk
}

/// A broker whose `[auth]` has a key file with this in it.
pub fn with_key_file(folder: &Folder, key: &str, rest: &str) -> Broker {
    asking(&format!("[auth]\n{}\n{rest}", key_file(folder, "key", key)))
}

/// The line `key_file = …` for a new file.
pub fn key_file(folder: &Folder, name: &str, key: &str) -> String {
    format!("key_file = {}", quoted(&folder.file(name, key)))
}

pub fn quoted(path: &Path) -> String {
    json!(path).to_string()
}

/// A broker that asks who somebody is, as `config` says.
pub fn asking(config: &str) -> Broker {
    Broker::set_up(Setup {
        config: config.to_owned(),
        asks: true,
        ..Setup::default()
    })
}

/// A token that may do everything, for whoever signs it.
pub fn ada() -> Token {
    Token::of_all("ada")
}

pub fn get_as(broker: &Broker, token: &str) -> Response {
    let shown = bearer(token);
    let headers = [("authorization", shown.as_str())];
    broker.http().request("GET", READ, &headers, b"")
}

pub fn publish_as(http: &mut Http, token: &str, topic: &str) -> Response {
    let shown = bearer(token);
    let headers = [
        ("authorization", shown.as_str()),
        ("content-type", "application/json"),
    ];
    let body = json!({ "topic": topic, "events": [note(1)] }).to_string();
    http.request("POST", "/v1/publish", &headers, body.as_bytes())
}

/// Whether the token is taken: a call that needs its grants answers with 200.
pub fn taken(broker: &Broker, token: &str) -> bool {
    let response = publish_as(&mut broker.http(), token, "/a/b");
    match response.status {
        200 => true,
        401 => false,
        _ => panic!("{} {}", response.status, response.text()),
    }
}

/// A normal client publishes and reads what it published, and does not wait for it.
pub fn served_at_once(broker: &mut Broker, token: &str) {
    let begun = Instant::now();
    let mut http = broker.http();
    let published = publish_as(&mut http, token, "/normal/client");
    assert_eq!(published.status, 200, "{}", published.text());
    let shown = bearer(token);
    let headers = [("authorization", shown.as_str())];
    let read = http.request("GET", "/v1/topic?topic=/normal/client", &headers, b"");
    assert_eq!(read.json()["head"], published.json()["last_seq"]);
    let took = begun.elapsed();
    assert!(
        took < Duration::from_millis(800),
        "a normal client waited {took:?}"
    );
    assert!(broker.is_running(), "it ended:\n{}", broker.stderr());
    let log = broker.stderr();
    assert!(!log.contains("panicked"), "a panic:\n{log}");
}

/// Refused in `Authorization` of a call, a stream and a handshake, in a query and beside the subprotocol; nothing
/// of it is repeated. What is said.
pub fn refused_everywhere(broker: &Broker, what: &str, token: &str) -> String {
    let message = refused(broker, what, token);
    let shown = bearer(token);
    let headers = [("authorization", shown.as_str())];
    let stream = broker
        .http()
        .request("GET", "/v1/sse?topic=/a/b", &headers, b"");
    is_refusal(what, token, &stream);
    let query = format!("/v1/sse?topic=/a/b&access_token={}", in_query(token));
    is_refusal(what, token, &broker.get(&query));
    let handshake = Ws::handshake(Wire::connect(broker.addr), broker.addr, &headers);
    let answer = *handshake.err().unwrap_or_else(|| panic!("{what}: 101"));
    assert_eq!(answer.status, 401, "{what}");
    if token
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b',')
    {
        let said = refused_beside_the_subprotocol(broker, token);
        assert_eq!(said, message, "{what}: each place says the same");
    }
    message
}

/// 101, `welcome`, `error`, 4401. What is said.
pub fn refused_beside_the_subprotocol(broker: &Broker, token: &str) -> String {
    let protocols = format!("{JSON}, bearer.{token}");
    let headers = [("sec-websocket-protocol", protocols.as_str())];
    let mut ws = Ws::handshake(Wire::connect(broker.addr), broker.addr, &headers)
        .unwrap_or_else(|answer| panic!("no upgrade: {answer:?}"));
    ws.expect("welcome");
    let error = ws.expect("error");
    assert_eq!(error["code"], "unauthenticated", "{error}");
    repeats_nothing("the error frame", token, &error.to_string());
    assert_eq!(ws.closed(), 4401);
    error["message"].as_str().expect("a message").to_owned()
}

/// Refused with 401 on HTTP. What is said.
pub fn refused(broker: &Broker, what: &str, token: &str) -> String {
    is_refusal(what, token, &get_as(broker, token))
}

fn is_refusal(what: &str, token: &str, response: &Response) -> String {
    assert_eq!(response.status, 401, "{what}: {}", response.text());
    let problem = response.problem();
    assert_eq!(problem["code"], "unauthenticated", "{what}");
    assert_eq!(
        response.header("www-authenticate"),
        Some("Bearer realm=\"tidewire\""),
        "{what}"
    );
    repeats_nothing(what, token, &format!("{response:?} {}", response.text()));
    problem["message"].as_str().expect("a message").to_owned()
}

/// Fails if `said` has 12 bytes in a row that stand in `token` too.
pub fn repeats_nothing(what: &str, token: &str, said: &str) {
    const RUN: usize = 12;
    let parts: HashSet<&[u8]> = token.as_bytes().windows(RUN).collect();
    let found = said.as_bytes().windows(RUN).find(|run| parts.contains(run));
    let found = found.map(String::from_utf8_lossy);
    assert!(
        found.is_none(),
        "{what}: it repeats {found:?}: {said:.2000}"
    );
}

fn in_query(token: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let encoded = token.bytes().map(|byte| match kept(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}

pub fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
