//! Attacks with tokens and keys: what is not signed by a key of the configuration, for this broker and for now, is
//! answered with 401 wherever it stands, and nothing of it is repeated.

use std::io::ErrorKind;
use std::net::TcpListener;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::kit_tokens::{
    ALGORITHMS, LONG_SECRET, READ, ada, asking, checking_text, encoded, get_as, jwk, key_file,
    own_key, publish_as, refused, refused_everywhere, repeats_nothing, served_at_once, signing_key,
    taken, with_key_file,
};
use crate::support::broker::{Folder, Setup};
use crate::support::token::{SECRET, guarded_by, now};
use crate::support::wire::Wire;
use crate::support::ws::JSON;
use crate::support::{ApiKey, Broker, PATIENCE, Token, Ws, bearer, eventually};

use Algorithm::{EdDSA, HS256, HS384, HS512, PS256, RS256, RS384, RS512};

/// The issuers `file-ALG` and `env-ALG` for each algorithm, and `secret-ALG` for those that have secrets.
fn one_broker_for_all(folder: &Folder) -> Broker {
    let mut config = String::new();
    let mut env = Vec::new();
    let mut table = |name: &str, key: &str, algorithm: Algorithm| {
        config += &format!(
            "[auth.issuers.{name}]\nissuer = \"{name}\"\nalgorithms = [\"{algorithm:?}\"]\n{key}\n"
        );
    };
    for algorithm in ALGORITHMS {
        let text = checking_text(algorithm);
        let name = format!("{algorithm:?}").to_lowercase();
        table(
            &format!("file-{name}"),
            &key_file(folder, &name, text),
            algorithm,
        );
        let variable = format!("KEY_{algorithm:?}");
        table(
            &format!("env-{name}"),
            &format!("key_env = \"{variable}\""),
            algorithm,
        );
        env.push((variable, text.to_owned()));
        if text == LONG_SECRET {
            table(
                &format!("secret-{name}"),
                &format!("secret = {}", json!(text)),
                algorithm,
            );
        }
    }
    Broker::set_up(Setup {
        config,
        env,
        asks: true,
        ..Setup::default()
    })
}

#[test]
fn each_algorithm_is_taken_from_a_file_a_variable_and_a_secret_and_no_other_in_its_place() {
    let folder = Folder::new();
    let broker = one_broker_for_all(&folder);
    let mut count = 0;
    for signed in ALGORITHMS {
        for place in ["file", "env", "secret"] {
            for expected in ALGORITHMS {
                let issuer = format!("{place}-{expected:?}").to_lowercase();
                let token = ada().claim("iss", issuer.as_str());
                let token = token.sign_by(signed, &signing_key(signed));
                let exists = place != "secret" || checking_text(expected) == LONG_SECRET;
                let good = exists && signed == expected;
                assert_eq!(taken(&broker, &token), good, "{signed:?} by {issuer}");
                count += usize::from(good);
            }
        }
    }
    assert_eq!(count, 23);
}

#[test]
fn a_token_does_not_choose_how_it_is_checked() {
    let folder = Folder::new();
    let public = checking_text(RS256);
    // a PEM file is for RS256 only, as no algorithms are named
    let mut broker = with_key_file(&folder, public, "");
    let good = ada().sign_by(RS256, &signing_key(RS256));
    let signature = good.rsplit('.').next().unwrap();
    let mut attacks: Vec<(String, String)> = Vec::new();
    for none in [
        "none", "None", "NONE", "nOnE", "none ", "", "null", "RS256\0", "rs256",
    ] {
        let unsigned = ada().unsigned(none);
        for end in [".", ".AA", ".e30", &format!(".{signature}")] {
            attacks.push((
                format!("alg {none:?} and {end:.6}"),
                format!("{unsigned}{end}"),
            ));
        }
        attacks.push((format!("alg {none:?} without a dot"), unsigned));
    }
    for alg in [
        json!(null),
        json!(7),
        json!(["none"]),
        json!({"alg": "none"}),
    ] {
        let token = ada().head("alg", alg.clone()).unsigned("") + ".";
        attacks.push((format!("alg {alg}"), token));
    }
    let lines: String = public
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let der = STANDARD.decode(&lines).unwrap();
    let secrets = [
        ("PEM", public.as_bytes()),
        ("PEM without its last newline", public.trim_end().as_bytes()),
        ("DER", &der),
        ("base64", lines.as_bytes()),
        ("nothing", b""),
    ];
    for (name, bytes) in secrets {
        for algorithm in [HS256, HS384, HS512] {
            let token = ada().sign_by(algorithm, &EncodingKey::from_secret(bytes));
            attacks.push((format!("{algorithm:?} with {name}"), token));
        }
    }
    for algorithm in [RS384, RS512, PS256] {
        let token = ada().sign_by(algorithm, &signing_key(algorithm));
        attacks.push((format!("{algorithm:?} by the same key"), token));
    }
    // it says one algorithm, and is signed with another
    for (says, signs) in [
        ("RS256", PS256),
        ("RS256", RS512),
        ("RS512", RS256),
        ("HS256", RS256),
    ] {
        let token = ada().head("alg", says).sign_by(signs, &signing_key(signs));
        attacks.push((format!("{says} over {signs:?}"), token));
    }
    for (what, token) in &attacks {
        refused_everywhere(&broker, what, token);
    }
    assert!(attacks.len() > 60);
    served_at_once(&mut broker, &good);
}

#[test]
fn keys_that_a_token_brings_along_or_points_at_are_not_looked_at() {
    let folder = Folder::new();
    let mut broker = with_key_file(&folder, checking_text(EdDSA), "");
    let attacker = TcpListener::bind("127.0.0.1:0").unwrap();
    attacker.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys", attacker.local_addr().unwrap());
    let own = own_key(7);
    let own_jwk = jwk(&own, EdDSA, json!({"kid": "own"}));
    let mut heads: Vec<(&str, Value)> = vec![
        ("jwk", own_jwk.clone()),
        ("jwk", json!({"kty": "oct", "k": encoded(LONG_SECRET)})),
        ("jwk", json!("nonsense")),
        ("jku", json!(url)),
        ("x5u", json!(url)),
        (
            "x5c",
            json!([STANDARD.encode(lines_of(checking_text(EdDSA)))]),
        ),
        ("x5t", json!(encoded([1; 20]))),
        ("x5t#S256", json!(encoded([1; 32]))),
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("/proc/self/environ")),
        ("kid", json!(url)),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!("x' UNION SELECT 'secret' --")),
        ("kid", json!("$(id)|`id`;id\0\r\nX: y")),
        ("kid", json!("")),
        ("kid", json!("k".repeat(257))),
        ("kid", json!("k".repeat(5_000))),
        ("kid", json!("k".repeat(10_000))),
        ("kid", json!(7)),
        ("kid", json!({"$ne": null})),
    ];
    heads.push(("jku", json!(format!("{url}\r\nHost: other"))));
    for (name, value) in &heads {
        let what = format!("{name} {value:.60}");
        let token = ada().head(name, value.clone()).sign_by(EdDSA, &own);
        refused_everywhere(&broker, &what, &token);
    }
    let all = ada()
        .head("jwk", own_jwk)
        .head("jku", url.as_str())
        .head("x5u", url.as_str())
        .head("kid", url.as_str());
    refused_everywhere(&broker, "all together", &all.sign_by(EdDSA, &own));
    served_at_once(&mut broker, &ada().sign_by(EdDSA, &signing_key(EdDSA)));
    let asked = attacker.accept().map(|_| ()).unwrap_err();
    assert_eq!(asked.kind(), ErrorKind::WouldBlock, "nobody came for keys");
    // they do no harm to a token that is good by a key that is known
    let good = ada().head("jku", url.as_str()).head("x5u", url.as_str());
    assert!(taken(&broker, &good.sign_by(EdDSA, &signing_key(EdDSA))));
    assert_eq!(attacker.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn lines_of(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(lines).unwrap()
}

#[test]
fn what_a_token_says_of_time_audience_and_itself_is_checked() {
    let mut broker = Broker::guarded("leeway = \"10s\"\n");
    let now = now();
    let ada = || Token::of_all("ada");
    let sub = "`sub` is 1 to 256 bytes without controls";
    for (what, token, said) in [
        (
            "expired",
            ada().claim("exp", now - 15),
            "the token has expired",
        ),
        (
            "expired at 0",
            ada().claim("exp", 0),
            "the token has expired",
        ),
        ("no exp", ada().without("exp"), "`exp`"),
        (
            "exp as text",
            ada().claim("exp", (now + 60).to_string()),
            "",
        ),
        ("exp negative", ada().claim("exp", -1), ""),
        ("exp null", ada().claim("exp", Value::Null), ""),
        ("exp a list", ada().claim("exp", json!([now + 60])), ""),
        (
            "nbf",
            ada().claim("nbf", now + 60),
            "the token is not valid yet",
        ),
        (
            "nbf in the far future",
            ada().claim("nbf", u64::MAX),
            "the token is not valid yet",
        ),
        ("no aud", ada().without("aud"), "`aud`"),
        (
            "aud",
            ada().claim("aud", "tidewire"),
            "the token is not for `tidewire:dev`",
        ),
        (
            "aud of another environment",
            ada().claim("aud", "tidewire:production"),
            "is not for",
        ),
        (
            "aud in capitals",
            ada().claim("aud", "TIDEWIRE:DEV"),
            "is not for",
        ),
        (
            "aud with more",
            ada().claim("aud", "tidewire:dev2"),
            "is not for",
        ),
        ("aud empty", ada().claim("aud", ""), "is not for"),
        (
            "aud an empty list",
            ada().claim("aud", json!([])),
            "is not for",
        ),
        (
            "aud a list of others",
            ada().claim("aud", json!(["a", "tidewire:"])),
            "is not for",
        ),
        ("aud a number", ada().claim("aud", 7), ""),
        (
            "aud an object",
            ada().claim("aud", json!({"tidewire:dev": 1})),
            "",
        ),
        ("no sub", ada().without("sub"), "`sub`"),
        ("sub empty", ada().claim("sub", ""), sub),
        ("sub with a newline", ada().claim("sub", "ada\nbob"), sub),
        ("sub with NUL", ada().claim("sub", "ada\0"), sub),
        ("sub with C1", ada().claim("sub", "ada\u{85}"), sub),
        ("sub too long", ada().claim("sub", "a".repeat(257)), sub),
        ("sub a number", ada().claim("sub", 7), ""),
        ("jti a number", ada().claim("jti", 7), ""),
        ("iat text", ada().claim("iat", "now"), ""),
        (
            "typ",
            ada().head("typ", "dpop+jwt"),
            "a token of type `dpop+jwt` is not taken",
        ),
        (
            "typ logout",
            ada().head("typ", "logout+jwt"),
            "is not taken",
        ),
        (
            "typ with more",
            ada().head("typ", "application/at+jwt;x"),
            "is not taken",
        ),
        ("typ empty", ada().head("typ", ""), "is not taken"),
        ("crit", ada().head("crit", json!(["exp"])), ""),
        (
            "crit unknown",
            ada().head("crit", json!(["b64"])).head("b64", false),
            "",
        ),
        ("crit empty", ada().head("crit", json!([])), ""),
        ("enc", ada().head("enc", "A256GCM"), ""),
        ("zip", ada().head("zip", "DEF"), ""),
        ("grants as text", ada().claim("tidewire", "all"), "claims"),
        (
            "grants as a list",
            ada().claim("tidewire", json!(["/**"])),
            "",
        ),
        (
            "a list as text",
            ada().claim("tidewire", json!({"publish": "/**"})),
            "claims",
        ),
        (
            "a list of numbers",
            ada().claim("tidewire", json!({"publish": [1]})),
            "claims",
        ),
        (
            "129 patterns",
            ada().claim("tidewire", json!({"publish": vec!["/a"; 129]})),
            "`publish` has more than 128 patterns",
        ),
        (
            "no slash",
            ada().grant("subscribe", &["chat"]),
            "`subscribe` grants `chat`",
        ),
        (
            "up",
            ada().grant("publish", &["/a/../b"]),
            "`publish` grants `/a/../b`",
        ),
        (
            "star in a word",
            ada().grant("control", &["/a*"]),
            "`control` grants `/a*`",
        ),
        (
            "stars inside",
            ada().grant("delete", &["/**/a"]),
            "`delete` grants `/**/a`",
        ),
        (
            "empty",
            ada().grant("subscribe", &[""]),
            "`subscribe` grants",
        ),
        (
            "sub with a slash",
            ada().claim("sub", "a/b").grant("subscribe", &["/u/{sub}"]),
            "the subject cannot stand in a topic",
        ),
        (
            "sub a star",
            ada().claim("sub", "**").grant("subscribe", &["/u/{sub}"]),
            "the subject cannot stand in a topic",
        ),
        (
            "sub one star",
            ada().claim("sub", "*").grant("publish", &["/{sub}"]),
            "the subject cannot stand in a topic",
        ),
        (
            "sub two dots",
            ada().claim("sub", "..").grant("publish", &["/a/{sub}"]),
            "the subject cannot stand in a topic",
        ),
    ] {
        let message = refused_everywhere(&broker, what, &token.sign());
        assert!(message.contains(said), "{what}: {message}");
    }
    for (what, token) in [
        ("expired within the leeway", ada().claim("exp", now - 3)),
        ("nbf within the leeway", ada().claim("nbf", now + 5)),
        ("exp a float", ada().claim("exp", now as f64 + 60.5)),
        ("exp huge", ada().claim("exp", u64::MAX / 2)),
        (
            "aud in a list",
            ada().claim("aud", json!(["x", "tidewire:dev"])),
        ),
        ("any issuer", ada().claim("iss", "anybody")),
        ("typ at+jwt", ada().head("typ", "at+jwt")),
        ("typ in capitals", ada().head("typ", "AT+JWT")),
        (
            "typ with application",
            ada().head("typ", "application/at+jwt"),
        ),
        ("sub of 256 bytes", ada().claim("sub", "a".repeat(256))),
        (
            "claims that are not ours",
            ada().claim("admin", true).claim("scope", "*"),
        ),
    ] {
        assert!(taken(&broker, &token.sign()), "{what}");
    }
    // none of the huge ones may make a right without end that panics somewhere
    for exp in [
        json!(1e300),
        json!(1.8446744073709552e19),
        json!(u64::MAX),
        json!(1e19),
    ] {
        let token = ada().claim("exp", exp.clone()).sign();
        let status = get_as(&broker, &token).status;
        assert!([200, 401].contains(&status), "exp {exp}: {status}");
        if status == 200 {
            Ws::open_as(broker.addr, &token).subscribe("/a/b", "live");
        }
    }
    served_at_once(&mut broker, &ada().sign());
}

#[test]
fn a_token_that_was_tampered_with_is_refused() {
    let mut broker = Broker::guarded("");
    let token = Token::of_all("ada").sign();
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else {
        unreachable!()
    };
    let other = Token::of_all("eve").sign();
    let others: Vec<&str> = other.split('.').collect();
    let typed = Token::of_all("ada").head("typ", "at+jwt").unsigned("HS256");
    let typed = typed.split('.').next().unwrap();
    let short = &signature[..signature.len() - 1];
    for (what, token) in [
        ("other claims", format!("{head}.{}.{signature}", others[1])),
        ("another header", format!("{typed}.{claims}.{signature}")),
        (
            "a signature of another",
            format!("{head}.{claims}.{}", others[2]),
        ),
        ("a short signature", format!("{head}.{claims}.{short}")),
        (
            "half a signature",
            format!("{head}.{claims}.{}", &signature[..20]),
        ),
        ("no signature", format!("{head}.{claims}.")),
        ("no signature nor dot", format!("{head}.{claims}")),
        ("a dot more", format!("{token}.")),
        ("a part more", format!("{token}.e30")),
        ("a dot before", format!(".{token}")),
        ("two dots", format!("{head}..{signature}")),
        ("dots only", "..".into()),
        (
            "five parts, as in JWE",
            format!("{head}.e30.e30.{claims}.{signature}"),
        ),
        ("padding", format!("{head}.{claims}.{signature}=")),
        (
            "standard base64",
            format!("{head}.{claims}.{}", signature.replace(['-', '_'], "+")) + "+",
        ),
        ("another word behind it", format!("{token} {other}")),
        ("in quotes", format!("\"{token}\"")),
        (
            "another secret",
            Token::of_all("ada").sign_with(&SECRET.replace("kit", "kid")),
        ),
        ("an empty secret", Token::of_all("ada").sign_with("")),
        (
            "no JSON",
            format!("{}.{}.{signature}", encoded("x"), encoded("y")),
        ),
        (
            "not UTF-8",
            format!("{}.{}.{signature}", encoded([255, 254]), encoded([255])),
        ),
        (
            "JSON of 3,000 levels",
            format!("{head}.{}.{signature}", encoded("[".repeat(3_000))),
        ),
        ("just a word", "password".into()),
    ] {
        refused_everywhere(&broker, what, &token);
    }
    let long = Token::of_all("ada").claim("x", "x".repeat(6_800)).sign();
    assert!((9_000..10_000).contains(&long.len()), "{}", long.len());
    let said = refused_everywhere(&broker, "9 KB", &long);
    assert_eq!(said, "a token has at most 8192 bytes");
    let longer = Token::of_all("ada").claim("x", "x".repeat(75_000)).sign();
    let answer = get_as(&broker, &longer);
    assert!(
        [400, 401, 413, 431].contains(&answer.status),
        "{}",
        answer.status
    );
    repeats_nothing("100 KB", &longer, &answer.text());
    served_at_once(&mut broker, &token);
}

#[test]
fn an_issuer_is_who_it_is_said_to_be() {
    let table = |name: &str, secret: &str| {
        let secret = json!(secret);
        format!("[auth.issuers.{name}]\nissuer = \"https://{name}.example\"\nsecret = {secret}\n")
    };
    // two of them share a secret, the third has its own
    let config = table("one", SECRET) + &table("two", SECRET) + &table("three", LONG_SECRET);
    let mut broker = asking(&config);
    let of = |issuer: &str| Token::of_all("ada").claim("iss", format!("https://{issuer}.example"));
    for issuer in ["one", "two"] {
        assert!(taken(&broker, &of(issuer).sign()), "{issuer}");
    }
    assert!(taken(&broker, &of("three").sign_with(LONG_SECRET)));
    let none = Token::of_all("ada");
    for (what, token) in [
        ("missing", none.sign()),
        ("unknown", of("four").sign()),
        (
            "with a slash",
            none.clone().claim("iss", "https://one.example/").sign(),
        ),
        (
            "in capitals",
            none.clone().claim("iss", "HTTPS://ONE.EXAMPLE").sign(),
        ),
        (
            "a list",
            none.clone()
                .claim("iss", json!(["https://one.example"]))
                .sign(),
        ),
        ("empty", none.clone().claim("iss", "").sign()),
        ("a number", none.clone().claim("iss", 7).sign()),
        ("another's secret", of("three").sign()),
        (
            "another's secret, the other way",
            of("one").sign_with(LONG_SECRET),
        ),
    ] {
        refused_everywhere(&broker, what, &token);
    }
    // with the same secret and the same subject they are two: the one cannot write on in the other's message
    let start = |issuer: &str| {
        let shown = bearer(&of(issuer).sign());
        let headers = [
            ("authorization", shown.as_str()),
            ("content-type", "application/json"),
        ];
        let body = json!({"topic": "/a/m", "events": [crate::support::delta("m1", "x")]});
        let mut http = broker.http();
        http.request("POST", "/v1/publish", &headers, body.to_string().as_bytes())
    };
    assert_eq!(start("one").status, 200);
    let other = start("two");
    assert!(other.status >= 400, "{}", other.text());
    assert_eq!(start("one").status, 200);
    served_at_once(&mut broker, &of("one").sign());
}

#[test]
fn a_token_of_another_environment_is_refused_though_the_secret_is_the_same() {
    let start = |environment: &str| {
        Broker::set_up(Setup {
            config: guarded_by(SECRET, ""),
            args: vec!["--environment".into(), environment.into()],
            asks: true,
            ..Setup::default()
        })
    };
    let (mut dev, mut prod) = (start("dev"), start("prod"));
    let of = |environment: &str| {
        let audience = format!("tidewire:{environment}");
        Token::of_all("ada").claim("aud", audience).sign()
    };
    let said = refused_everywhere(&dev, "prod on dev", &of("prod"));
    assert_eq!(said, "the token is not for `tidewire:dev`");
    refused_everywhere(&prod, "dev on prod", &of("dev"));
    served_at_once(&mut dev, &of("dev"));
    served_at_once(&mut prod, &of("prod"));
}

#[test]
fn an_api_key_is_known_here_whole_and_not_expired() {
    let all = "subscribe = [\"/**\"]\npublish = [\"/**\"]";
    let good = ApiKey::new("good", all);
    let old = ApiKey::new("old", &format!("{all}\nexpires = 2020-01-01T00:00:00Z"));
    let other = ApiKey::new("other", all);
    let mut broker = asking(&format!("{}{}", good.table, old.table));
    let mut elsewhere = asking(&other.table);
    let secret = |key: &ApiKey| key.text.splitn(3, '_').nth(2).unwrap().to_owned();
    let id = |key: &ApiKey| key.text.split('_').nth(1).unwrap().to_owned();
    let (own_id, own_secret) = (id(&good), secret(&good));
    let cut = &own_secret[..own_secret.len() - 1];
    for (what, key, said) in [
        (
            "another's secret",
            format!("tw_{own_id}_{}", secret(&other)),
            "the key is not known here",
        ),
        (
            "another's id",
            format!("tw_{}_{own_secret}", id(&other)),
            "the key is not known here",
        ),
        (
            "an id that nobody has",
            format!("tw_aaaaaaaaaaaa_{own_secret}"),
            "the key is not known here",
        ),
        ("expired", old.text.clone(), "the key has expired"),
        (
            "of another broker",
            other.text.clone(),
            "the key is not known here",
        ),
        ("cut", format!("tw_{own_id}_{cut}"), "neither"),
        ("longer", format!("{}A", good.text), "neither"),
        ("without its id", format!("tw__{own_secret}"), "neither"),
        ("in capitals", good.text.to_uppercase(), "neither"),
        ("the name", "tw_good".into(), "neither"),
        ("the prefix", "tw_".into(), "neither"),
        ("a path", format!("tw_../../../../_{own_secret}"), "neither"),
    ] {
        let message = refused_everywhere(&broker, what, &key);
        assert!(message.contains(said), "{what}: {message}");
    }
    refused_everywhere(&elsewhere, "the other way", &good.text);
    // a broker that knows keys only takes no token, whatever it is signed with
    refused(&broker, "a token", &Token::of_all("ada").sign());
    served_at_once(&mut broker, &good.text);
    served_at_once(&mut elsewhere, &other.text);
}

/// The places in which a credential can stand, each looked at with the log wide open.
#[test]
fn the_log_shows_no_credential_at_any_level() {
    let key = ApiKey::new("worker", "subscribe = [\"/**\"]\npublish = [\"/**\"]");
    let folder = Folder::new();
    let config = format!(
        "cookie = \"tw\"\nkeys_file = {}\n",
        crate::kit_tokens::quoted(&folder.file("keys.toml", &key.table))
    );
    let mut broker = Broker::set_up(Setup {
        config: guarded_by(SECRET, &config),
        args: vec!["--log-level".into(), "trace".into()],
        asks: true,
        ..Setup::default()
    });
    let good = Token::of_all("ada").claim("jti", "j1").sign();
    let expired = Token::of_all("ada").claim("exp", 1).sign();
    let forged = Token::of_all("ada").sign_with("a wrong secret, which is long enough for HS256");
    let malformed = format!("{good}.x");
    let nobodys = ApiKey::new("nobody", "").text;
    let broken_key = format!("{}x", ApiKey::new("broken", "").text);
    let shown = [
        &good,
        &expired,
        &forged,
        &malformed,
        &key.text,
        &nobodys,
        &broken_key,
    ];
    let origin = broker.url();
    for text in shown {
        get_as(&broker, text);
        publish_as(&mut broker.http(), text, "/a/b");
        broker.get(&format!("{READ}&access_token={text}"));
        let cookie = format!("tw={text}");
        let headers = [("cookie", cookie.as_str()), ("origin", origin.as_str())];
        broker.http().request("GET", READ, &headers, b"");
        let protocols = format!("{JSON}, bearer.{text}");
        let bearer = bearer(text);
        for header in [
            ("sec-websocket-protocol", protocols.as_str()),
            ("authorization", bearer.as_str()),
            ("cookie", cookie.as_str()),
        ] {
            let headers = [header, ("origin", origin.as_str())];
            if let Ok(mut ws) = Ws::handshake(Wire::connect(broker.addr), broker.addr, &headers) {
                ws.expect("welcome");
                ws.send_or_lose(&json!({"op": "subscribe", "topic": "/a/b"}));
                ws.recv();
            }
        }
        let mut ws = Ws::open(broker.addr);
        ws.call(json!({"op": "refresh", "token": text}));
        // what is no good frame, and what is no good request
        ws.call(json!({"op": "refresh", "token": {"token": text}}));
        ws.call(json!({"op": text}));
        broker.get(&format!("/v1/nothing/{text}?access_token={text}"));
    }
    broker.hang_up();
    eventually("the end of reading files", || {
        broker
            .stderr()
            .contains("API keys were read again")
            .then_some(())
    });
    broker.term();
    broker.wait_exit();
    // what it said last is collected
    let mut length = 0;
    let deadline = std::time::Instant::now() + PATIENCE;
    let log = loop {
        let log = broker.stderr();
        if log.len() == length {
            break log;
        }
        length = log.len();
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert!(log.contains("TRACE"), "nothing is traced:\n{log:.2000}");
    for text in shown {
        // the header and most claims are the same in all tokens, and no secret; but they are not shown either
        for (at, line) in log.lines().enumerate() {
            repeats_nothing(&format!("line {at}"), text, line);
        }
    }
    repeats_nothing("the secret", SECRET, &log);
}
