//! `POST /event` of AWS AppSync Events.

use serde_json::{Value, json};

use crate::support::{ApiKey, AppSync, Broker, Http, Response, Token};

fn post(broker: &Broker, headers: &[(&str, &str)], body: &str) -> Response {
    let mut all = vec![("content-type", "application/json; charset=UTF-8")];
    all.extend(headers);
    broker
        .http()
        .request("POST", "/event", &all, body.as_bytes())
}

fn refused(response: &Response) -> (u16, String, String) {
    let body = response.json();
    let error = &body["errors"][0];
    // with such a header or member Amplify takes it for a wrong clock, and tries again and again
    assert_eq!(response.header("x-amzn-errortype"), None);
    assert!(body.get("code").is_none() && body.get("__type").is_none());
    (
        response.status,
        error["errorType"].as_str().expect("a type").to_owned(),
        body["message"].as_str().expect("a message").to_owned(),
    )
}

#[test]
fn appsync_post_publishes_and_answers_for_each_event() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/channel");
    let body = r#"{"channel":"default/channel","events":["{\"a\":1}","\"str\"","3"]}"#;
    let response = post(&broker, &[("x-api-key", "whatever")], body);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-amzn-requestid").map(str::len), Some(36));
    let body = response.json();
    assert_eq!(body["failed"], json!([]));
    let indexes: Vec<&Value> = body["successful"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|event| &event["index"])
        .collect();
    assert_eq!(indexes, [0, 1, 2]);
    for payload in ["{\"a\":1}", "\"str\"", "3"] {
        assert_eq!(client.data("a"), payload);
    }
}

#[test]
fn appsync_post_tells_of_an_event_that_is_too_large_and_publishes_the_others() {
    let broker = Broker::start();
    let mut client = AppSync::open(broker.addr);
    client.subscribe("a", "/default/channel");
    let large = json!("x".repeat(240 << 10)).to_string();
    let just = json!("y".repeat((240 << 10) - 2)).to_string();
    let body = json!({ "channel": "/default/channel", "events": ["1", large, just] });
    let response = post(&broker, &[], &body.to_string());
    assert_eq!(response.status, 200, "{}", response.text());
    let body = response.json();
    let failed = &body["failed"][0];
    assert_eq!(failed["code"], "EventTooLargeException");
    assert_eq!(failed["index"], 1);
    assert_eq!(failed["message"], "Transformed event is larger than 240KB");
    assert_eq!(failed["identifier"].as_str().map(str::len), Some(36));
    let successful = body["successful"].as_array().expect("a list");
    let indexes: Vec<&Value> = successful.iter().map(|event| &event["index"]).collect();
    assert_eq!(indexes, [0, 2]);
    assert_eq!(client.data("a"), "1");
    assert_eq!(client.data("a"), just);
}

#[test]
fn appsync_post_refuses_in_the_shapes_and_words_of_appsync() {
    let broker = Broker::start();
    let six = r#"{"channel":"/default/x","events":["1","2","3","4","5","6"]}"#;
    for (body, status, message) in [
        (six, 400, Some("Input exceeded 5 event limit")),
        (r#"{"channel":"/default/x","events":[]}"#, 400, None),
        (r#"{"channel":"/default/x","events":[1]}"#, 400, None),
        (
            r#"{"channel":"/default/x","events":["no json"]}"#,
            400,
            None,
        ),
        (r#"{"channel":"/default/*","events":["1"]}"#, 400, None),
        (r#"{"channel":"/de fault","events":["1"]}"#, 400, None),
        (r#"{"events":["1"]}"#, 400, None),
        ("no json", 400, None),
        ("[]", 400, None),
    ] {
        let response = post(&broker, &[], body);
        let (told, error_type, text) = refused(&response);
        assert_eq!(
            (told, error_type.as_str()),
            (status, "BadRequestException"),
            "{body}"
        );
        assert!(message.is_none_or(|message| message == text), "{text}");
        assert!(!text.is_empty());
    }
    let mut http = broker.http();
    let response = http.request(
        "POST",
        "/event",
        &[("content-type", "text/plain")],
        six.as_bytes(),
    );
    assert_eq!(response.status, 415);
    let mut http = broker.http();
    let length = (8 << 20).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("content-length", length.as_str()),
    ];
    let head = http.head("POST", "/event", &headers);
    http.wire.send(head.as_bytes());
    assert_eq!(refused(&http.response()).0, 413);
    assert_eq!(broker.get("/event").status, 405);
}

#[test]
fn appsync_post_asks_who_it_is() {
    let key = ApiKey::new("web", "publish = [\"/default/**\"]");
    let broker = Broker::guarded(&key.table);
    let token = Token::of("ada").grant("publish", &["/default/ada"]).sign();
    let bearer = format!("Bearer {token}");
    let body = r#"{"channel":"/default/ada","events":["1"]}"#;
    for shown in [
        ("x-api-key", key.text.as_str()),
        ("X-Api-Key", key.text.as_str()),
        ("authorization", token.as_str()),
        ("Authorization", bearer.as_str()),
    ] {
        let response = post(&broker, &[shown], body);
        assert_eq!(response.status, 200, "{shown:?}: {}", response.text());
        assert_ne!(response.header("connection"), Some("close"));
    }
    let other = r#"{"channel":"/default/bob","events":["1"]}"#;
    for (shown, body) in [
        (&[][..], body),
        (&[("x-api-key", "da2-wrongwrongwrongwrongwrong")], body),
        (&[("x-api-key", "tw_wrong_wrong")], body),
        (&[("authorization", "nonsense")], body),
        (&[("authorization", token.as_str())], other),
    ] {
        let response = post(&broker, shown, body);
        let told = refused(&response);
        let message = "You are not authorized to make this call.";
        assert_eq!(
            told,
            (401, "UnauthorizedException".into(), message.into()),
            "{shown:?}"
        );
    }
    let kept = broker.http().request(
        "GET",
        "/v1/topic?topic=/default/ada",
        &[(
            "authorization",
            &format!("Bearer {}", Token::of_all("root").sign()),
        )],
        b"",
    );
    assert_eq!(
        kept.json()["head"],
        4,
        "what was refused left nothing behind"
    );
}

/// A page of another loopback port may, and is told which headers it may send.
#[test]
fn appsync_post_answers_the_preflight_of_a_page() {
    let broker = Broker::start();
    let headers = [
        ("origin", "http://localhost:5173"),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "content-type,x-amz-user-agent,x-api-key",
        ),
    ];
    let response = broker.http().request("OPTIONS", "/event", &headers, b"");
    assert_eq!(response.status, 204);
    let allowed = response
        .header("access-control-allow-headers")
        .expect("a list")
        .to_lowercase();
    for header in [
        "content-type",
        "x-amz-user-agent",
        "x-api-key",
        "authorization",
    ] {
        assert!(allowed.contains(header), "{allowed}");
    }
    let foreign = [
        ("origin", "https://evil.example"),
        ("content-type", "application/json"),
    ];
    let mut http = Http::connect(broker.addr);
    let response = http.request(
        "POST",
        "/event",
        &foreign,
        br#"{"channel":"/a","events":["1"]}"#,
    );
    assert_eq!(response.status, 403);
}
