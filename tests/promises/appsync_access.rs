//! Who clients of AWS AppSync Events are, in each of its authorization modes, and what becomes of their rights.

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::appsync::{PROTOCOL, api_key, header_protocol, token, upgrade};
use crate::support::{ApiKey, AppSync, Broker, ModelServer, Setup, Token, eventually};

/// The error's type in the first error of a frame.
fn error_type(frame: &Value) -> &str {
    frame["errors"][0]["errorType"].as_str().unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn appsync_a_key_that_appsync_made_is_known_by_its_hash() {
    let text = "da2-abcdefghijklmnopqrstuvwxyz";
    let hash = hex(&Sha256::digest(text));
    let key = format!(
        "[auth.key.web]\nid = \"webkey0001\"\nhash = \"sha256:{hash}\"\n\
         subscribe = [\"/default/**\"]\npublish = [\"/default/**\"]\n"
    );
    let broker = Broker::guarded(&key);
    let mut client = AppSync::open_as(broker.addr, api_key(text));
    client.subscribe("a", "/default/*");
    assert_eq!(
        client.publish("/default/x", &["1"])["type"],
        "publish_success"
    );
    assert_eq!(
        error_type(&client.publish("/other/x", &["1"])),
        "UnauthorizedException"
    );
    let other = "da2-zbcdefghijklmnopqrstuvwxyz";
    let answer = client.publish_as("/default/x", &["1"], api_key(other));
    assert_eq!(error_type(&answer), "UnauthorizedException");
}

/// As the SDKs for Swift and Kotlin do it.
#[test]
fn appsync_headers_of_the_handshake_count_as_well() {
    let key = ApiKey::new("web", "subscribe = [\"/default/**\"]");
    let broker = Broker::guarded(&key.table);
    let ada = Token::of_all("ada").sign();
    for (name, value) in [
        ("x-api-key", key.text.as_str()),
        ("X-Api-Key", key.text.as_str()),
        ("authorization", ada.as_str()),
        ("Authorization", &format!("Bearer {ada}")),
    ] {
        let headers = [("sec-websocket-protocol", PROTOCOL), (name, value)];
        let mut ws = upgrade(broker.addr, &headers).expect("an upgrade");
        ws.send_text(r#"{"type":"connection_init"}"#);
        assert_eq!(ws.recv()["type"], "connection_ack", "{name}");
    }
}

#[test]
fn appsync_each_message_says_whose_it_is() {
    let broker = Broker::guarded("");
    let ada = Token::of("ada").grant("subscribe", &["/chat/ada"]).sign();
    let agent = Token::of("agent").grant("publish", &["/chat/**"]).sign();
    let mut client = AppSync::open_as(broker.addr, token(&ada));
    client.subscribe("a", "/chat/ada");
    let answer = client.publish("/chat/ada", &["1"]);
    assert_eq!(error_type(&answer), "UnauthorizedException");
    for shown in [token(&agent), token(&format!("Bearer {agent}"))] {
        let answer = client.publish_as("/chat/ada", &["1"], shown);
        assert_eq!(answer["type"], "publish_success", "{answer}");
        assert_eq!(client.data("a"), "1");
    }
    for shown in [
        json!({}),
        json!(null),
        token("nonsense"),
        api_key("tw_no_key"),
    ] {
        let answer = client.publish_as("/chat/ada", &["1"], shown);
        assert_eq!(error_type(&answer), "UnauthorizedException");
    }
    for bad in [json!("text"), json!([1]), json!({ "Authorization": 7 })] {
        let answer = client.publish_as("/chat/ada", &["1"], bad);
        assert_eq!(error_type(&answer), "InvalidInputError");
    }
    let answer = client.try_subscribe_as("b", "/chat/ada", token(&agent));
    assert_eq!(error_type(&answer), "UnauthorizedException");
}

#[test]
fn appsync_a_subscription_ends_with_the_rights_of_who_asked_for_it() {
    let admin = ApiKey::admin("boss");
    let broker = Broker::guarded(&admin.table);
    let bearer = format!("Bearer {}", admin.text);
    let ada = Token::of_all("ada").claim("jti", "ada-1").sign();
    let bob = Token::of_all("bob").sign();
    let mut client = AppSync::open_as(broker.addr, token(&bob));
    client.subscribe("of-bob", "/chat/1");
    let answer = client.try_subscribe_as("of-ada", "/chat/1", token(&ada));
    assert_eq!(answer["type"], "subscribe_success");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = br#"{"jti":"ada-1"}"#;
    let response = broker
        .http()
        .request("POST", "/v1/revocations", &headers, body);
    assert!(response.status < 300, "{}", response.text());
    let ended = client.recv();
    assert_eq!(
        (&ended["type"], &ended["id"]),
        (&json!("subscribe_error"), &json!("of-ada"))
    );
    assert_eq!(error_type(&ended), "UnauthorizedException");
    assert_eq!(client.publish("/chat/1", &["1"])["type"], "publish_success");
    assert_eq!(client.data("of-bob"), "1");
    client.expect_silence();
    let answer = client.publish_as("/chat/1", &["2"], token(&ada));
    assert_eq!(error_type(&answer), "UnauthorizedException");

    let body = br#"{"sub":"bob"}"#;
    let response = broker
        .http()
        .request("POST", "/v1/revocations", &headers, body);
    assert!(response.status < 300, "{}", response.text());
    assert_eq!(client.closed(), 1008);
}

#[test]
fn appsync_rights_end_with_the_token() {
    let broker = Broker::guarded("leeway = \"0s\"\n");
    let short = Token::of_all("ada").expires_in(2).sign();
    let long = Token::of_all("bob").sign();
    let mut client = AppSync::open_as(broker.addr, token(&long));
    let answer = client.try_subscribe_as("short", "/chat/1", token(&short));
    assert_eq!(answer["type"], "subscribe_success");
    let mut whole = AppSync::open_as(broker.addr, token(&short));
    let ended = client.recv();
    assert_eq!(
        (&ended["type"], &ended["id"]),
        (&json!("subscribe_error"), &json!("short"))
    );
    assert_eq!(whole.closed(), 1008);
    client.subscribe("long", "/chat/1");
}

/// A broker that asks this authorizer.
fn asking(authorizer: &ModelServer) -> Broker {
    let url = format!("http://{}/ask", authorizer.addr);
    Broker::set_up(Setup {
        config: format!("[appsync]\nauthorizer_url = \"{url}\"\n"),
        asks: true,
        ..Setup::default()
    })
}

fn authorizer_answering(status: u16) -> ModelServer {
    ModelServer::start(move |asked, telling| {
        let context = &asked.body["requestContext"];
        let token = asked.body["authorizationToken"]
            .as_str()
            .unwrap_or_default();
        let allowed = match context["operation"].as_str() {
            Some("EVENT_CONNECT") => token.starts_with("good"),
            Some("EVENT_SUBSCRIBE") => {
                token == "good-reader" && context["channel"] != "/chat/secret"
            }
            Some("EVENT_PUBLISH") => token == "good-writer",
            _ => false,
        };
        telling.refuse(
            status,
            &json!({ "isAuthorized": allowed, "ttlOverride": 60 }),
        );
    })
}

#[test]
fn appsync_an_authorizer_is_asked_for_each_operation_and_channel() {
    let authorizer = authorizer_answering(200);
    let broker = asking(&authorizer);
    let mut client = AppSync::open_as(broker.addr, token("good-reader"));
    client.subscribe("a", "/chat/1");
    client.subscribe("all", "/chat/*");
    let answer = client.try_subscribe("s", "/chat/secret");
    assert_eq!(error_type(&answer), "UnauthorizedException");
    let answer = client.publish("/chat/1", &["1"]);
    assert_eq!(error_type(&answer), "UnauthorizedException");
    for _ in 0..3 {
        let answer = client.publish_as("/chat/1", &["1"], token("good-writer"));
        assert_eq!(answer["type"], "publish_success", "{answer}");
    }
    let asked = authorizer.asked();
    let operations: Vec<&Value> = asked
        .iter()
        .map(|asked| &asked.body["requestContext"])
        .collect();
    assert_eq!(operations.len(), 6, "answers are kept: {operations:?}");
    assert_eq!(operations[0]["operation"], "EVENT_CONNECT");
    assert_eq!(operations[1]["channel"], "/chat/1");
    assert_eq!(operations[1]["channelNamespaceName"], "chat");
    assert_eq!(operations[2]["channel"], "/chat/*");

    let offered = format!("{PROTOCOL}, {}", header_protocol(&token("bad")));
    let headers = [("sec-websocket-protocol", offered.as_str())];
    let mut ws = upgrade(broker.addr, &headers).expect("an upgrade");
    ws.send_text(r#"{"type":"connection_init"}"#);
    assert_eq!(error_type(&ws.recv()), "UnauthorizedException");

    let body = br#"{"channel":"/chat/1","events":["1"]}"#;
    for (shown, status) in [("good-writer", 200), ("good-reader", 401)] {
        let headers = [
            ("authorization", shown),
            ("content-type", "application/json"),
        ];
        let response = broker.http().request("POST", "/event", &headers, body);
        assert_eq!(response.status, status, "{}", response.text());
    }
}

/// Amplify gives up for ever on what it is told in `connection_error`: it comes back after a refused upgrade.
#[test]
fn appsync_an_authorizer_that_fails_sends_nobody_away_for_ever() {
    let authorizer = authorizer_answering(500);
    let broker = asking(&authorizer);
    let offered = format!("{PROTOCOL}, {}", header_protocol(&token("good")));
    let headers = [("sec-websocket-protocol", offered.as_str())];
    let refused = upgrade(broker.addr, &headers).err().expect("no upgrade");
    assert_eq!(refused.status, 503);
    let body = br#"{"channel":"/chat/1","events":["1"]}"#;
    let headers = [
        ("authorization", "good-writer"),
        ("content-type", "application/json"),
    ];
    let response = broker.http().request("POST", "/event", &headers, body);
    assert_eq!(response.status, 503);
    assert_eq!(error_type(&response.json()), "ServiceUnavailableException");
    // its breaker opens: nobody waits for it any more
    eventually("calls stop", || {
        let before = authorizer.asked().len();
        broker.http().request("POST", "/event", &headers, body);
        (authorizer.asked().len() == before).then_some(())
    });
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// What Amplify shows: AWS Signature Version 4 over a request that is never sent.
fn signed(secret: &str, body: &str) -> Value {
    let now = eventually("the time", || {
        let output = std::process::Command::new("date")
            .args(["-u", "+%Y%m%dT%H%M%SZ"])
            .output();
        String::from_utf8(output.ok()?.stdout)
            .ok()
            .map(|text| text.trim().to_owned())
    });
    let (host, day) = ("127.0.0.1:7070", &now[..8]);
    let headers = "accept;content-encoding;content-type;host;x-amz-date";
    let canonical = format!(
        "POST\n/event\n\naccept:application/json, text/javascript\ncontent-encoding:amz-1.0\n\
         content-type:application/json; charset=UTF-8\nhost:{host}\nx-amz-date:{now}\n\n{headers}\n{}",
        hex(&Sha256::digest(body))
    );
    let scope = format!("{day}/eu-west-1/appsync/aws4_request");
    let text = format!(
        "AWS4-HMAC-SHA256\n{now}\n{scope}\n{}",
        hex(&Sha256::digest(canonical))
    );
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = hmac(&key, part);
    }
    let signature = hex(&hmac(&key, &text));
    json!({
        "accept": "application/json, text/javascript",
        "content-encoding": "amz-1.0",
        "content-type": "application/json; charset=UTF-8",
        "host": host,
        "x-amz-date": now,
        "Authorization": format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/{scope}, SignedHeaders={headers}, Signature={signature}"
        ),
    })
}

#[test]
fn appsync_signatures_of_configured_access_keys_count() {
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let config = format!(
        "[appsync.access_key.server]\nid = \"AKIAIOSFODNN7EXAMPLE\"\nsecret = \"{secret}\"\n\
         subscribe = [\"/chat/**\"]\npublish = [\"/chat/**\"]\n"
    );
    let broker = Broker::guarded(&config);
    let mut client = AppSync::open_as(broker.addr, signed(secret, "{}"));
    let subscribe = signed(secret, r#"{"channel":"/chat/1"}"#);
    let answer = client.try_subscribe_as("a", "/chat/1", subscribe.clone());
    assert_eq!(answer["type"], "subscribe_success", "{answer}");
    let publish = signed(
        secret,
        r#"{"channel":"/chat/1","events":["{\"a\":1}","2"]}"#,
    );
    let answer = client.publish_as("/chat/1", &["{\"a\":1}", "2"], publish.clone());
    assert_eq!(answer["type"], "publish_success", "{answer}");
    assert_eq!(client.data("a"), "{\"a\":1}");
    assert_eq!(client.data("a"), "2");
    for (shown, channel) in [
        (subscribe, "/chat/2"),
        (signed("wrong", r#"{"channel":"/chat/2"}"#), "/chat/2"),
        (signed(secret, r#"{"channel":"/other"}"#), "/other"),
    ] {
        let answer = client.try_subscribe_as("b", channel, shown);
        assert_eq!(error_type(&answer), "UnauthorizedException", "{channel}");
    }
    let answer = client.publish_as("/chat/1", &["3"], publish);
    assert_eq!(
        error_type(&answer),
        "UnauthorizedException",
        "another body was signed"
    );
}

/// Nobody sends megabytes before it is looked who they are.
#[test]
fn appsync_a_signer_whom_nobody_knows_is_refused_before_the_body() {
    let broker = Broker::guarded("");
    let scope = "AKIAIOSFODNN7EXAMPLE/20261121/eu-west-1/appsync/aws4_request";
    let signature = "0".repeat(64);
    for shown in [
        "AWS4-HMAC-SHA256 x".to_owned(),
        format!(
            "AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
        ),
    ] {
        let mut http = broker.http();
        let headers = [
            ("content-type", "application/json"),
            ("content-length", "4000000"),
            ("authorization", shown.as_str()),
        ];
        let head = http.head("POST", "/event", &headers);
        http.wire.send(head.as_bytes());
        assert_eq!(http.response().status, 401, "{shown}");
    }
}

#[test]
fn appsync_wildcards_count_among_the_subscriptions_of_a_key() {
    let key = ApiKey::new("web", "subscribe = [\"/**\"]\nsubscriptions = 2");
    let broker = Broker::guarded(&key.table);
    let mut client = AppSync::open_as(broker.addr, api_key(&key.text));
    client.subscribe("a", "/quiet/*");
    client.subscribe("b", "/silent/*");
    let answer = client.try_subscribe("c", "/calm/*");
    assert_eq!(error_type(&answer), "MaxSubscriptionsReachedError");
    client.send(json!({ "type": "unsubscribe", "id": "a" }));
    assert_eq!(client.recv()["type"], "unsubscribe_success");
    client.subscribe("c", "/calm/*");
}
