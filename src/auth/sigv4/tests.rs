//! AWS's published test suite as far as it applies, and what Amplify signs: the signatures below are those that its own
//! `signRequest` (aws-amplify 6.22.1) made, and that Python's hmac makes again.

use std::collections::BTreeMap;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2026-11-21T12:00:00Z
const NOW: u64 = 1_795_262_400;
const CONNECT: &str = "14c60661e612b3490fa2d0e29c156bbd08e992ea61c0ec954b8b7234e8e8f219";
const SUBSCRIBE: &str = "742ef6a98291868f20bafb015a451996eef4c08a0cf6fb79d5306efa2f042b47";
const PUBLISH: &str = "4bb9fcba966ecddc8ac992c02d623a53ca740f8f31b81efa93e385956f434e39";
const HEADERS: &str = "accept;content-encoding;content-type;host;x-amz-date";

/// A request with what it is signed with.
#[derive(Clone)]
struct Case {
    method: &'static str,
    path: &'static str,
    query: &'static str,
    headers: BTreeMap<&'static str, &'static str>,
    bodies: Vec<Bytes>,
    authorization: String,
}

impl Case {
    fn vector(
        method: &'static str,
        query: &'static str,
        more: &[(&'static str, &'static str)],
    ) -> Self {
        let mut headers = BTreeMap::from([
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
        ]);
        headers.extend(more.iter().copied());
        Self {
            method,
            path: "/",
            query,
            headers,
            bodies: vec![Bytes::new()],
            authorization: String::new(),
        }
    }

    fn amplify(body: &'static str, signature: &str) -> Self {
        Self {
            method: "POST",
            path: "/event",
            query: "",
            headers: BTreeMap::from([
                ("accept", "application/json, text/javascript"),
                ("content-encoding", "amz-1.0"),
                ("content-type", "application/json; charset=UTF-8"),
                ("host", "127.0.0.1:18080"),
                ("x-amz-date", "20261121T120000Z"),
            ]),
            bodies: vec![body.into()],
            authorization: authorization(HEADERS, signature),
        }
    }

    fn with<T>(&self, ask: impl FnOnce(&SignedRequest<'_>) -> T) -> T {
        let headers = |name: &str| self.headers.get(name).copied();
        ask(&SignedRequest {
            method: self.method,
            path: self.path,
            query: self.query,
            headers: &headers,
            bodies: &self.bodies,
        })
    }

    /// Without what is only asked of AppSync's requests.
    fn matches(&self, signature: &str) -> bool {
        let names: Vec<&str> = self.headers.keys().copied().collect();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders={}, Signature={signature}",
            names.join(";")
        );
        let read = Signature::read(&authorization).expect("a signature");
        let time = self.headers["x-amz-date"];
        self.with(|request| read.matches(SECRET, time, request))
            .expect("all headers are there")
    }

    fn verify_at(&self, now: u64) -> Result<(), AuthError> {
        let signature = Signature::read(&self.authorization)?;
        self.with(|request| signature.verify(SECRET, request, now))
    }

    fn verify(&self) -> Result<(), AuthError> {
        self.verify_at(NOW)
    }
}

fn authorization(headers: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE000001/20261121/eu-west-1/appsync/aws4_request, \
         SignedHeaders={headers}, Signature={signature}"
    )
}

#[test]
fn the_published_vectors_are_verified() {
    let unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~\
                      0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let trim = [
        ("my-header1", "  value1"),
        ("my-header2", "  \"a   b   c\"  "),
    ];
    let mut form_case = Case::vector("POST", "", &form);
    form_case.bodies = vec!["Param1=value1".into()];
    for (name, case, signature) in [
        (
            "get-vanilla",
            Case::vector("GET", "", &[]),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "post-vanilla",
            Case::vector("POST", "", &[]),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "get-vanilla-query-order-key",
            Case::vector("GET", "Param2=value2&Param1=value1", &[]),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "get-vanilla-query-unreserved",
            Case::vector("GET", unreserved, &[]),
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        (
            "get-header-value-trim",
            Case::vector("GET", "", &trim),
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            "post-x-www-form-urlencoded",
            form_case,
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ] {
        assert!(case.matches(signature), "{name}");
        assert!(!case.matches(CONNECT), "{name}");
    }
}

#[test]
fn what_amplify_signs_is_verified() {
    assert_eq!(Case::amplify("{}", CONNECT).verify(), Ok(()));
    let subscribe = Case::amplify(r#"{"channel":"/default/a"}"#, SUBSCRIBE);
    assert_eq!(subscribe.verify(), Ok(()));
    let body = r#"{"channel":"/default/a","events":["{\"a\":1}"]}"#;
    let mut publish = Case::amplify(body, "");
    publish.headers.insert("x-amz-security-token", "SESSION");
    publish.authorization = authorization(&format!("{HEADERS};x-amz-security-token"), PUBLISH);
    assert_eq!(publish.verify(), Ok(()));
    publish.headers.insert("x-amz-security-token", "ANOTHER");
    assert_eq!(publish.verify(), Err(AuthError::RequestSignature));
}

#[test]
fn any_of_the_bodies_may_be_what_was_signed() {
    let mut case = Case::amplify("{ }", CONNECT);
    assert_eq!(case.verify(), Err(AuthError::RequestSignature));
    case.bodies.push("{}".into());
    assert_eq!(case.verify(), Ok(()));
    case.bodies = vec!["{ }".into(); MAX_BODIES];
    case.bodies.push("{}".into());
    assert_eq!(case.verify(), Err(AuthError::RequestSignature));
    case.bodies.clear();
    assert_eq!(case.verify(), Err(AuthError::RequestSignature));
}

#[test]
fn every_part_of_the_request_counts() {
    let good = Case::amplify("{}", CONNECT);
    let changed = |change: fn(&mut Case)| {
        let mut case = good.clone();
        change(&mut case);
        case.verify()
    };
    for change in [
        (|case| case.method = "GET") as fn(&mut Case),
        |case| case.path = "/event/",
        |case| case.query = "a=b",
        |case| case.bodies = vec!["{}\n".into()],
        |case| _ = case.headers.insert("host", "127.0.0.1:18081"),
        |case| _ = case.headers.insert("accept", "*/*"),
        |case| _ = case.headers.insert("x-amz-date", "20261121T120001Z"),
        |case| case.authorization = case.authorization.replace("eu-west-1", "eu-west-2"),
        |case| case.authorization = case.authorization.replace("=14c6", "=14c7"),
    ] {
        assert_eq!(changed(change), Err(AuthError::RequestSignature));
    }
    let signature = Signature::read(&good.authorization).expect("a signature");
    let other = good.with(|request| signature.verify("another secret", request, NOW));
    assert_eq!(other, Err(AuthError::RequestSignature));
}

#[test]
fn it_is_good_for_five_minutes_around_its_time() {
    let case = Case::amplify("{}", CONNECT);
    for good in [NOW - MAX_SKEW, NOW + MAX_SKEW] {
        assert_eq!(case.verify_at(good), Ok(()));
    }
    for bad in [0, NOW - MAX_SKEW - 1, NOW + MAX_SKEW + 1, u64::MAX] {
        assert_eq!(case.verify_at(bad), Err(AuthError::SignedTime));
    }
    for bad in [
        "",
        "20261121T120000",
        "20261121 120000Z",
        "20261321T120000Z",
        "20261121T126000Z",
        "2026-11-21T12:00",
        "20261121T12000éZ",
        "Sat, 21 Nov 2026 12:00:00 GMT",
    ] {
        let mut case = case.clone();
        case.headers.insert("x-amz-date", bad);
        assert!(matches!(case.verify(), Err(AuthError::Signed(_))), "{bad}");
    }
}

#[test]
fn what_is_not_wholly_signed_for_appsync_is_refused() {
    let good = Case::amplify("{}", CONNECT);
    let replaced = |from: &str, to: &str| {
        let mut case = good.clone();
        assert!(case.authorization.contains(from), "{from}");
        case.authorization = case.authorization.replace(from, to);
        case.verify()
    };
    for (from, to) in [
        ("/appsync/", "/s3/"),
        ("aws4_request", "aws5_request"),
        ("aws4_request", "aws4_request/x"),
        ("/20261121/", "/20261120/"),
        ("/20261121/", "/2026112/"),
        ("AKIDEXAMPLE000001", ""),
        ("eu-west-1", ""),
        (";host;", ";"),
        (";x-amz-date", ""),
        ("SignedHeaders=accept", "SignedHeaders=Accept"),
        ("accept;content-encoding", "content-encoding;accept"),
        ("accept;", "accept;accept;"),
        ("accept;", ";accept;"),
        ("accept;", "absent;accept;"),
        ("accept;", "accept;b:c;"),
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA512 "),
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256"),
        (", Signature=", ", Signature=1"),
        (", Signature=1", ", Signature=+"),
        (", Signature=", ", Sign="),
        (", Signature=", ", Signature=a, Signature="),
        (", SignedHeaders=", ", "),
    ] {
        let refused = replaced(from, to);
        assert!(matches!(refused, Err(AuthError::Signed(_))), "{from} {to}");
    }
    assert_eq!(replaced(", ", ","), Ok(()), "white space is no part of it");
}

#[test]
fn reading_is_bounded() {
    let long = "a".repeat(MAX_AUTHORIZATION);
    let refused = |text: &str| Signature::read(text).expect_err("refused");
    assert!(matches!(
        refused(&authorization(&long, CONNECT)),
        AuthError::TooLarge(_)
    ));
    let names: Vec<String> = (0..=MAX_HEADERS).map(|n| format!("a{n:02}")).collect();
    let many = authorization(&names.join(";"), CONNECT);
    assert!(matches!(refused(&many), AuthError::Signed(_)));
    let query = vec!["a=b"; MAX_PARAMETERS + 1].join("&");
    assert!(push_query(&mut String::new(), &query).is_err());
}

#[test]
fn paths_and_queries_are_canonical() {
    let path = |text: &str| {
        let mut out = String::new();
        push_path(&mut out, text);
        out
    };
    assert_eq!(path(""), "/");
    assert_eq!(path("/event"), "/event");
    assert_eq!(path("/a%20b/c:d/"), "/a%2520b/c%3Ad/");
    let query = |text: &str| {
        let mut out = String::new();
        push_query(&mut out, text).expect("few parameters");
        out
    };
    assert_eq!(query("b=2&a&b=1&&c=%2f+%zz"), "a=&b=1&b=2&c=%2F%2B%25zz");
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_odd_to_refuse(text in ".{0,200}", name in "(Credential|SignedHeaders|Signature)?=.{0,40}") {
        let _ = Signature::read(&text);
        let _ = Signature::read(&format!("{ALGORITHM} {name},{text}"));
        let _ = read_time(&text);
        let mut out = String::new();
        push_path(&mut out, &text);
        let _ = push_query(&mut out, &text);
    }
}
