//! Who comes in as AppSync's clients do, and who does not.

use std::sync::Arc;

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::auth::revocations::Revocation;
use crate::auth::service::unix_seconds;
use crate::auth::{Action, GrantTexts, Standing, api_key};
use crate::config::{
    AccessKey, AccessSecret, ApiKey, AuthorizerSettings, Config, Issuer, KeySource, Quota, Secret,
};
use crate::event::TopicPath;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const DA2: &str = "da2-abcdefghijklmnopqrstuvwxyz";
const KEY_ID: &str = "AKIDEXAMPLE000001";
/// 2026-11-21T12:00:00Z
const NOW: u64 = 1_795_262_400;
/// Of the body `{}`, made by Amplify's own `signRequest`.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
    Credential=AKIDEXAMPLE000001/20261121/eu-west-1/appsync/aws4_request, \
    SignedHeaders=accept;content-encoding;content-type;host;x-amz-date, \
    Signature=14c60661e612b3490fa2d0e29c156bbd08e992ea61c0ec954b8b7234e8e8f219";

fn grants() -> GrantTexts {
    GrantTexts {
        subscribe: vec!["/default/{sub}/**".into()],
        ..GrantTexts::default()
    }
}

fn api_key_of(text: &str, expires: Option<u64>) -> ApiKey {
    ApiKey {
        id: "k3y0fteam".into(),
        hash: api_key::hash(text),
        grants: grants(),
        admin: false,
        expires,
        quota: Quota::default(),
    }
}

fn access_key(secret: AccessSecret, expires: Option<u64>) -> AccessKey {
    AccessKey {
        id: KEY_ID.into(),
        secret,
        grants: grants(),
        expires,
    }
}

fn with_key(text: &str, expires: Option<u64>) -> Config {
    let mut config = Config::default();
    let key = api_key_of(text, expires);
    config.auth.keys.insert("team".into(), key);
    config
}

fn with_access_key(expires: Option<u64>) -> Config {
    let mut config = Config::default();
    let key = access_key(AccessSecret::Text(Secret(SECRET.into())), expires);
    config.appsync.access_keys.insert("ci".into(), key);
    config
}

fn auth(config: &Config) -> Auth {
    Auth::new(config, Arc::new(())).expect("a good configuration")
}

fn signed(auth: &Auth, now: u64) -> Result<Principal, AuthError> {
    let headers = |name: &str| match name {
        "accept" => Some("application/json, text/javascript"),
        "content-encoding" => Some("amz-1.0"),
        "content-type" => Some("application/json; charset=UTF-8"),
        "host" => Some("127.0.0.1:18080"),
        "x-amz-date" => Some("20261121T120000Z"),
        _ => None,
    };
    let request = SignedRequest {
        method: "POST",
        path: "/event",
        query: "",
        headers: &headers,
        bodies: &["{}".into()],
    };
    auth.authenticate_signed(AUTHORIZATION, &request, now)
}

fn revoke(auth: &Auth, one: &str) {
    let one: Revocation = serde_json::from_str(one).expect("a revocation");
    auth.revoke(one).expect("it is taken");
}

fn may_read(principal: &Principal, topic: &str) -> bool {
    let topic = TopicPath::parse(topic).expect("a topic");
    principal.grants().allow(Action::Subscribe, &topic)
}

fn error(outcome: Result<Principal, AuthError>) -> AuthError {
    outcome.expect_err("refused")
}

#[test]
fn a_key_that_appsync_made_is_known_by_its_hash() {
    let auth = auth(&with_key(DA2, None));
    let team = auth.authenticate_api_key(DA2).expect("it is known");
    assert_eq!((&**team.id(), &**team.name()), ("key:team", "team"));
    assert!(may_read(&team, "/default/team/1") && !may_read(&team, "/default/ci/1"));
    assert!(matches!(auth.standing(&team), Standing::Holds));
    for (text, why) in [
        ("da2-abcdefghijklmnopqrstuvwxyZ", AuthError::KeyUnknown),
        ("", AuthError::Malformed),
        ("da2-abcdefghijklmno", AuthError::Malformed),
        ("tw_abcdefghijklmnopqrstuvwxyz", AuthError::Malformed),
        (&"a".repeat(9_000), AuthError::TooLarge(8 << 10)),
    ] {
        assert_eq!(error(auth.authenticate_api_key(text)), why, "{text}");
    }
    revoke(&auth, r#"{"key":"team"}"#);
    assert_eq!(error(auth.authenticate_api_key(DA2)), AuthError::Revoked);
    assert!(matches!(
        auth.standing(&team),
        Standing::Ended(AuthError::Revoked)
    ));
}

#[actix_web::test]
async fn a_key_that_appsync_made_is_none_where_tokens_are_shown() {
    let auth = auth(&with_key(DA2, None));
    assert_eq!(error(auth.authenticate(DA2).await), AuthError::Malformed);
}

#[test]
fn a_key_of_this_broker_is_one_here_too_and_a_guessable_or_old_one_is_not() {
    let own = api_key::ApiKeyText::generate().expect("randomness");
    let mut config = with_key(own.as_str(), None);
    if let Some(key) = config.auth.keys.get_mut("team") {
        key.id = own.id().to_owned();
    }
    let principal = auth(&config).authenticate_api_key(own.as_str());
    assert_eq!(&**principal.expect("it is known").name(), "team");
    let short = auth(&with_key("0123456789012345678", None));
    let refused = short.authenticate_api_key("0123456789012345678");
    assert_eq!(error(refused), AuthError::Malformed);
    let old = auth(&with_key(DA2, Some(1_000)));
    assert_eq!(error(old.authenticate_api_key(DA2)), AuthError::KeyExpired);
}

#[test]
fn who_signed_is_known_by_the_name_of_the_access_key() {
    let auth = auth(&with_access_key(None));
    let ci = signed(&auth, NOW).expect("it is good");
    assert_eq!((&**ci.id(), &**ci.name()), ("iam:ci", "ci"));
    assert!(ci.is_known() && !ci.is_admin() && ci.expires().is_none());
    assert!(may_read(&ci, "/default/ci/1") && !may_read(&ci, "/default/team/1"));
    assert!(matches!(auth.standing(&ci), Standing::Holds));
    assert_eq!(error(signed(&auth, NOW + 301)), AuthError::SignedTime);
}

#[test]
fn an_access_key_that_is_unknown_old_or_revoked_signs_nothing() {
    let mut other = with_access_key(None);
    if let Some(key) = other.appsync.access_keys.get_mut("ci") {
        key.id = "AKIDEXAMPLE000002".into();
    }
    assert_eq!(error(signed(&auth(&other), NOW)), AuthError::KeyUnknown);
    let old = with_access_key(Some(NOW));
    assert_eq!(error(signed(&auth(&old), NOW)), AuthError::KeyExpired);
    assert!(signed(&auth(&with_access_key(Some(NOW + 1))), NOW).is_ok());
    for one in [r#"{"key":"ci"}"#, r#"{"key":"iam:ci"}"#] {
        let auth = auth(&with_access_key(None));
        let ci = signed(&auth, NOW).expect("it is good");
        revoke(&auth, r#"{"key":"iam:other"}"#);
        assert!(matches!(auth.standing(&ci), Standing::Holds));
        revoke(&auth, one);
        assert_eq!(error(signed(&auth, NOW)), AuthError::Revoked);
        assert!(matches!(auth.standing(&ci), Standing::Ended(_)));
    }
}

#[test]
fn a_secret_that_is_not_in_its_variable_is_told_at_the_start() {
    let mut config = Config::default();
    let variable = AccessSecret::Variable("TIDEWIRE_TEST_NO_SUCH_SECRET".into());
    let key = access_key(variable, None);
    config.appsync.access_keys.insert("ci".into(), key);
    let error = Auth::new(&config, Arc::new(())).err().expect("refused");
    let text = error.to_string();
    assert!(
        text.contains("`ci`") && text.contains("NO_SUCH_SECRET"),
        "{text}"
    );
}

#[actix_web::test]
async fn where_nobody_is_asked_everybody_is_let_in_whatever_they_show() {
    let open = auth(&Config::default());
    assert!(open.is_open() && !open.has_authorizer() && !open.takes_tokens());
    let principals = [
        open.authenticate_api_key("short"),
        signed(&open, 0),
        open.ask_authorizer(question("")).await,
    ];
    for principal in principals {
        assert!(!principal.expect("let in").is_known());
    }
}

#[actix_web::test]
async fn without_an_authorizer_nothing_is_asked() {
    let auth = auth(&with_key(DA2, None));
    let refused = auth.ask_authorizer(question("token")).await;
    assert_eq!(error(refused), AuthError::Malformed);
    let mut config = Config::default();
    config.appsync.authorizer = Some(AuthorizerSettings {
        url: "http://127.0.0.1:9/".into(),
        timeout: std::time::Duration::from_secs(1),
        ttl: std::time::Duration::ZERO,
    });
    let asked = Auth::new(&config, Arc::new(())).expect("good");
    assert!(asked.has_authorizer() && !asked.takes_tokens() && !asked.is_open());
}

fn question(token: &str) -> Question {
    Question {
        token: token.into(),
        operation: crate::auth::Operation::Connect,
        channel: None,
        namespace: None,
        headers: Vec::new(),
    }
}

fn with_audience(audience: Option<&str>) -> Auth {
    let mut config = Config::default();
    config.auth.issuers.push(Issuer {
        name: String::new(),
        issuer: None,
        audience: audience.map(str::to_owned),
        keys: KeySource::Secret(Secret(SECRET.into())),
        algorithms: Vec::new(),
    });
    auth(&config)
}

fn token(claims: &Value) -> String {
    let mut claims = claims.clone();
    claims["sub"] = json!("ada");
    claims["exp"] = json!(unix_seconds() + 60);
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::default(), &claims, &key).expect("a token")
}

#[actix_web::test]
async fn a_token_is_for_the_audience_that_is_configured_or_was_issued_to_it() {
    let (own, usual) = (with_audience(Some("client")), with_audience(None));
    assert!(own.takes_tokens());
    for good in [
        json!({"aud": "client"}),
        json!({"aud": ["else", "client"]}),
        json!({"client_id": "client"}),
        json!({"azp": "client"}),
    ] {
        assert!(own.authenticate(&token(&good)).await.is_ok(), "{good}");
        assert!(usual.authenticate(&token(&good)).await.is_err(), "{good}");
    }
    for bad in [
        json!({}),
        json!({"aud": "tidewire:dev"}),
        json!({"aud": "tidewire:dev", "client_id": "client"}),
        json!({"aud": [], "azp": "client"}),
        json!({"client_id": "clients"}),
        json!({"client_id": ["client"]}),
        json!({"aud": 7, "client_id": "client"}),
    ] {
        assert!(own.authenticate(&token(&bad)).await.is_err(), "{bad}");
    }
    let refused = async |claims: Value| error(usual.authenticate(&token(&claims)).await);
    assert!(
        usual
            .authenticate(&token(&json!({"aud": "tidewire:dev"})))
            .await
            .is_ok()
    );
    assert_eq!(refused(json!({})).await.reason(), "claims");
    let by_client = json!({"client_id": "tidewire:dev", "azp": "tidewire:dev"});
    assert_eq!(refused(by_client).await.reason(), "claims");
}
