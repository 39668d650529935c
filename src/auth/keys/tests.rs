//! Real keys of each kind, each way of writing them, and every way of taking one for another.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{Jwk as TheirJwk, KeyAlgorithm};
use jsonwebtoken::{EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};

use super::*;

macro_rules! testdata {
    ($name:literal) => {
        include_str!(concat!("../testdata/", $name, ".test.pem"))
    };
}

const RSA: &str = testdata!("rsa.public");
const RSA_PKCS1: &str = testdata!("rsa.pkcs1.public");
const RSA_PRIVATE: &str = testdata!("rsa.private");
const P256: &str = testdata!("p256.public");
const P256_COMPRESSED: &str = testdata!("p256.compressed.public");
const P256_PRIVATE: &str = testdata!("p256.private");
const P384: &str = testdata!("p384.public");
const P384_PRIVATE: &str = testdata!("p384.private");
const ED25519: &str = testdata!("ed25519.public");
const ED25519_PRIVATE: &str = testdata!("ed25519.private");
const CERTIFICATE: &str = testdata!("certificate");

const SECRET: &[u8; 64] = b"a test secret that is long enough for each of the three, HS512+!";

use Algorithm::*;

const HMAC: [Algorithm; 3] = [HS256, HS384, HS512];

fn signing_key(algorithm: Algorithm) -> EncodingKey {
    let key = match algorithm {
        HS256 | HS384 | HS512 => Ok(EncodingKey::from_secret(SECRET)),
        RS256 | RS384 | RS512 | PS256 => EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()),
        ES256 => EncodingKey::from_ec_pem(P256_PRIVATE.as_bytes()),
        ES384 => EncodingKey::from_ec_pem(P384_PRIVATE.as_bytes()),
        _ => EncodingKey::from_ed_pem(ED25519_PRIVATE.as_bytes()),
    };
    key.expect("a key to sign with")
}

/// As a file holds it that can verify what `signing_key` signs.
fn verifying_text(algorithm: Algorithm) -> &'static [u8] {
    match algorithm {
        HS256 | HS384 | HS512 => SECRET,
        RS256 | RS384 | RS512 | PS256 => RSA.as_bytes(),
        ES256 => P256.as_bytes(),
        ES384 => P384.as_bytes(),
        _ => ED25519.as_bytes(),
    }
}

fn token(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(Into::into);
    encode(&header, &json!({"sub": "ada"}), key).expect("a token")
}

fn good(set: &KeySet, token: &str) -> bool {
    let header = jsonwebtoken::decode_header(token).expect("a header");
    set.candidates(header.kid.as_deref(), header.alg)
        .any(|key| {
            let mut validation = Validation::new(header.alg);
            validation.required_spec_claims.clear();
            validation.validate_exp = false;
            decode::<Value>(token, key.decoding_key(), &validation).is_ok()
        })
}

fn read(text: &str, algorithms: &[Algorithm]) -> Result<KeySet, KeyError> {
    KeySet::read(text.as_bytes(), algorithms)
}

fn only(set: Result<KeySet, KeyError>) -> Vec<Algorithm> {
    let set = set.expect("a key");
    assert_eq!(set.keys().len(), 1);
    set.keys()[0].algorithms().to_vec()
}

/// The public JWK of what signs with this, or the secret.
fn jwk(algorithm: Algorithm) -> Value {
    let jwk = TheirJwk::from_encoding_key(&signing_key(algorithm), algorithm);
    let mut jwk = jwk.expect("a JWK");
    jwk.common.key_algorithm = None::<KeyAlgorithm>;
    let mut jwk = serde_json::to_value(jwk).expect("JSON");
    let fields = jwk.as_object_mut().expect("an object");
    fields.retain(|_, value| !value.is_null());
    jwk
}

fn with(mut jwk: Value, fields: Value) -> Value {
    let into = jwk.as_object_mut().expect("an object");
    for (name, value) in fields.as_object().expect("an object") {
        into.insert(name.clone(), value.clone());
    }
    jwk
}

fn set_of(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn published(keys: &[Value], algorithms: &[Algorithm]) -> Result<KeySet, KeyError> {
    KeySet::read_published(set_of(keys).as_bytes(), algorithms)
}

#[test]
fn all_ten_algorithms_verify_what_they_signed_and_nothing_else() {
    let tokens: Vec<(Algorithm, String)> = ALGORITHMS
        .map(|algorithm| (algorithm, token(algorithm, None, &signing_key(algorithm))))
        .into();
    for algorithm in ALGORITHMS {
        let set = KeySet::read(verifying_text(algorithm), &[algorithm]).expect("a key");
        let jwk_set = read(&jwk(algorithm).to_string(), &[algorithm]).expect("a JWK");
        for (other, token) in &tokens {
            assert_eq!(
                good(&set, token),
                algorithm == *other,
                "{algorithm:?} {other:?}"
            );
            assert_eq!(
                good(&jwk_set, token),
                algorithm == *other,
                "{algorithm:?} {other:?}"
            );
        }
        let mut changed = token(algorithm, None, &signing_key(algorithm)).into_bytes();
        let last = changed.len() - 10;
        changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
        assert!(!good(&set, std::str::from_utf8(&changed).expect("text")));
    }
}

#[test]
fn a_key_without_algorithms_is_used_with_what_its_kind_says() {
    assert_eq!(only(KeySet::read(SECRET, &[])), [HS256]);
    assert_eq!(only(read(RSA, &[])), [RS256]);
    assert_eq!(only(read(RSA_PKCS1, &[])), [RS256]);
    assert_eq!(only(read(P256, &[])), [ES256]);
    assert_eq!(only(read(P256_COMPRESSED, &[])), [ES256]);
    assert_eq!(only(read(P384, &[])), [ES384]);
    assert_eq!(only(read(ED25519, &[])), [EdDSA]);
    let read_jwk = |algorithm| only(read(&jwk(algorithm).to_string(), &[]));
    assert_eq!(read_jwk(HS256), [HS256]);
    assert_eq!(read_jwk(RS256), [RS256, RS384, RS512, PS256]);
    assert_eq!(read_jwk(ES256), [ES256]);
    assert_eq!(read_jwk(ES384), [ES384]);
    assert_eq!(read_jwk(EdDSA), [EdDSA]);
    let own = with(
        jwk(RS256),
        json!({"alg": "PS256", "use": "sig", "key_ops": ["verify"]}),
    );
    assert_eq!(only(read(&own.to_string(), &[])), [PS256]);
}

#[test]
fn both_ways_to_write_a_point_or_an_rsa_key_are_one_key() {
    for (text, algorithm) in [(P256_COMPRESSED, ES256), (RSA_PKCS1, RS256)] {
        let token = token(algorithm, None, &signing_key(algorithm));
        assert!(good(&read(text, &[]).expect("a key"), &token));
    }
    let around = format!(
        "\u{feff}\r\nsubject=/CN=x\r\n{}\r\n",
        P256.replace('\n', "\r\n")
    );
    assert!(read(&around, &[]).is_ok());
}

#[test]
fn of_the_algorithms_that_are_given_those_count_that_fit() {
    let all = &ALGORITHMS[..];
    assert_eq!(only(KeySet::read(SECRET, all)), [HS256, HS384, HS512]);
    assert_eq!(only(read(RSA, all)), [RS256, RS384, RS512, PS256]);
    assert_eq!(only(read(RSA, &[PS256, ES256, HS256, PS256])), [PS256]);
    assert_eq!(only(read(P256, all)), [ES256]);
    let own = with(jwk(RS256), json!({"alg": "RS384"}));
    assert_eq!(only(read(&own.to_string(), all)), [RS384]);

    let error = |set: Result<KeySet, KeyError>| set.expect_err("nothing fits").to_string();
    assert_eq!(
        error(read(P256, &[ES384, RS256])),
        "an EC key on P-256 cannot be used with ES384, RS256"
    );
    assert_eq!(
        error(read(&own.to_string(), &[RS256])),
        "an RSA key for RS384 cannot be used with RS256"
    );
    assert_eq!(
        error(read(&set_of(&[jwk(ES256), own.clone()]), &[ES256])),
        "key 2: an RSA key for RS384 cannot be used with ES256"
    );
    // there are algorithms that we do not have
    assert!(read(RSA, &[PS512, PS384]).is_err());
    assert_eq!(only(published(&[own, jwk(ES256)], &[ES256])), [ES256]);
}

#[test]
fn a_public_key_never_becomes_a_secret() {
    let der = STANDARD.decode(
        RSA.lines()
            .filter(|line| !line.starts_with('-'))
            .collect::<String>(),
    );
    let der = der.expect("base64");
    let one_line = STANDARD.encode(&der);
    let jwk = jwk(RS256).to_string();
    let ssh = format!("ssh-rsa {one_line} ada@example");
    let prefixed = [&b"\xff\xfe"[..], RSA.as_bytes()].concat();
    let der_ed = STANDARD
        .decode(ED25519.lines().nth(1).expect("a line"))
        .expect("base64");
    for public in [
        RSA.as_bytes(),
        RSA_PKCS1.as_bytes(),
        P256.as_bytes(),
        ED25519.as_bytes(),
        CERTIFICATE.as_bytes(),
        RSA_PRIVATE.as_bytes(),
        jwk.as_bytes(),
        b"{\"but this is no JSON and long enough for a secret\"",
        b"  -----BEGIN something that is long enough for a secret",
        ssh.as_bytes(),
        one_line.as_bytes(),
        &der,
        &der_ed,
        &prefixed,
    ] {
        for algorithms in [&[][..], &[HS256], &[HS512, HS384, HS256], &ALGORITHMS] {
            let secret = KeySet::secret(public, algorithms);
            assert!(matches!(secret, Err(KeyError::NotSecret(_))), "{public:?}");
            if let Ok(set) = KeySet::read(public, algorithms) {
                let hmac = |key: &VerifyingKey| key.algorithms().iter().any(|a| HMAC.contains(a));
                assert!(!set.keys().iter().any(hmac), "{public:?}");
                let forged = token(HS256, None, &EncodingKey::from_secret(public));
                assert!(!good(&set, &forged));
            }
        }
        assert!(KeySet::read(public, &[HS256]).is_err());
    }
    let said = KeySet::secret(RSA.as_bytes(), &[HS256])
        .expect_err("refused")
        .to_string();
    assert!(said.contains("never taken as a secret"), "{said}");
    let said = read(RSA, &[HS256]).expect_err("refused").to_string();
    assert_eq!(said, "an RSA key cannot be used with HS256");
}

#[test]
fn a_token_cannot_choose_another_kind_for_a_key() {
    let set = read(&set_of(&[jwk(RS256), jwk(ES256), jwk(EdDSA)]), &[]).expect("keys");
    let modulus = jwk(RS256)["n"].as_str().expect("text").to_owned();
    let raw = URL_SAFE_NO_PAD.decode(&modulus).expect("base64url");
    for public in [RSA.as_bytes(), modulus.as_bytes(), &raw, P256.as_bytes()] {
        for algorithm in [HS256, HS384, HS512] {
            let forged = token(algorithm, None, &EncodingKey::from_secret(public));
            assert!(!good(&set, &forged));
            assert_eq!(set.candidates(None, algorithm).count(), 0);
        }
    }
    assert!(good(&set, &token(ES256, None, &signing_key(ES256))));
}

#[test]
fn a_secret_is_as_long_as_its_hash() {
    for (algorithm, needs) in [(HS256, 32), (HS384, 48), (HS512, 64)] {
        assert!(KeySet::secret(&SECRET[..needs], &[algorithm]).is_ok());
        let has = needs - 1;
        let short = KeyError::ShortSecret {
            algorithm,
            needs,
            has,
        };
        assert_eq!(
            KeySet::secret(&SECRET[..has], &[algorithm]).err(),
            Some(short)
        );
    }
    // also if another would do
    assert!(KeySet::secret(&SECRET[..40], &[HS256, HS512]).is_err());
    let short = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(&SECRET[..40]), "alg": "HS384"});
    assert!(read(&short.to_string(), &[]).is_err());
    assert_eq!(KeySet::secret(b"", &[]).err(), Some(KeyError::Empty));
    assert_eq!(read("\n", &[]).err(), Some(KeyError::Empty));
}

#[test]
fn one_newline_at_the_end_is_not_part_of_a_secret() {
    let token = token(HS256, None, &signing_key(HS256));
    let written = |end: &str| KeySet::read(&[SECRET, end.as_bytes()].concat(), &[]).expect("a key");
    for end in ["", "\n", "\r\n"] {
        assert!(good(&written(end), &token), "{end:?}");
    }
    for end in ["\n\n", " ", " \n"] {
        assert!(!good(&written(end), &token), "{end:?}");
    }
    let as_it_stands = KeySet::secret(&[SECRET, &b"\n"[..]].concat(), &[]).expect("a key");
    assert!(!good(&as_it_stands, &token));
    let binary: Vec<u8> = (128..192).collect();
    assert!(KeySet::read(&binary, &[HS512]).is_ok());
}

#[test]
fn what_is_no_public_key_is_refused_with_what_to_do() {
    for private in [RSA_PRIVATE, P256_PRIVATE, P384_PRIVATE, ED25519_PRIVATE] {
        assert_eq!(read(private, &[]).err(), Some(KeyError::Private));
        let both = format!("{P256}{private}");
        assert_eq!(read(&both, &[]).err(), Some(KeyError::Private));
    }
    for label in ["RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        let text = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        assert_eq!(read(&text, &[]).err(), Some(KeyError::Private));
    }
    assert_eq!(read(CERTIFICATE, &[]).err(), Some(KeyError::Certificate));
    let hint = KeyError::Certificate.to_string();
    assert!(hint.contains("openssl x509 -pubkey -noout"), "{hint}");
    let two = format!("{P256}{P384}");
    assert_eq!(read(&two, &[]).err(), Some(KeyError::SeveralPem));
    for unsupported in [
        testdata!("secp256k1.public"),
        testdata!("p521.public"),
        testdata!("x25519.public"),
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----",
    ] {
        let refused = read(unsupported, &[]);
        assert!(
            matches!(refused, Err(KeyError::Unsupported(_))),
            "{unsupported}"
        );
    }
    let bits = |text: &str| read(text, &[]).err();
    assert_eq!(
        bits(testdata!("rsa1024.public")),
        Some(KeyError::RsaBits(1024))
    );
    assert_eq!(
        bits(testdata!("rsa4104.public")),
        Some(KeyError::RsaBits(4104))
    );
}

#[test]
fn a_broken_key_is_an_error_when_it_is_read() {
    let cut = P256.replace("MFkw", "MFkx");
    assert_eq!(read(&cut, &[]).err(), Some(KeyError::Pem));
    assert_eq!(
        read("-----BEGIN PUBLIC KEY-----", &[]).err(),
        Some(KeyError::Pem)
    );
    // a point that is not on the curve
    let off = P256.replace("KYqw", "KYqx");
    assert_ne!(off, P256);
    assert!(matches!(read(&off, &[]), Err(KeyError::Broken(_))));

    let bytes = |count: usize| URL_SAFE_NO_PAD.encode(vec![7; count]);
    let x = jwk(ES256)["x"].clone();
    for broken in [
        json!({"kty": "EC", "crv": "P-256", "x": bytes(32), "y": bytes(32)}),
        json!({"kty": "EC", "crv": "P-256", "x": bytes(31), "y": bytes(33)}),
        json!({"kty": "EC", "crv": "P-256", "x": x}),
        with(jwk(ES256), json!({"crv": "P-384"})),
        with(jwk(ES384), json!({"crv": "P-256"})),
        json!({"kty": "OKP", "crv": "Ed25519", "x": bytes(31)}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": bytes(33)}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": ""}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([0; 32])}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "not base64!"}),
        json!({"kty": "OKP", "crv": "X25519", "x": bytes(32)}),
        json!({"kty": "RSA", "n": bytes(128), "e": "AQAB"}),
        json!({"kty": "RSA", "n": bytes(1025), "e": "AQAB"}),
        with(jwk(RS256), json!({"e": "AQ"})),
        with(jwk(RS256), json!({"e": ""})),
        with(jwk(RS256), json!({"e": 3})),
        with(jwk(RS256), json!({"kid": 3})),
        with(jwk(RS256), json!({"alg": "HS256"})),
        with(jwk(RS256), json!({"alg": "ES256"})),
        with(jwk(RS256), json!({"alg": "none"})),
        with(jwk(RS256), json!({"alg": "RSA-OAEP"})),
        with(jwk(ES256), json!({"alg": "ES384"})),
        with(jwk(HS256), json!({"alg": "RS256"})),
        with(jwk(EdDSA), json!({"d": bytes(32)})),
        json!({"kty": "EC"}),
        json!({}),
    ] {
        assert!(read(&broken.to_string(), &[]).is_err(), "{broken}");
        assert!(
            published(std::slice::from_ref(&broken), &[]).is_err(),
            "{broken}"
        );
        // beside a good one it is an error in a file, and passed over at an address
        let both = [broken.clone(), jwk(ES384)];
        let refused = read(&set_of(&both), &[]);
        assert!(
            matches!(refused, Err(KeyError::InSet { number: 1, .. })),
            "{broken}"
        );
        assert_eq!(only(published(&both, &[])), [ES384], "{broken}");
    }
}

#[test]
fn keys_for_something_else_are_passed_over() {
    for other in [
        with(jwk(RS256), json!({"use": "enc"})),
        with(jwk(RS256), json!({"key_ops": ["encrypt", "wrapKey"]})),
        with(jwk(RS256), json!({"key_ops": []})),
    ] {
        let both = [other.clone(), jwk(ES256)];
        assert_eq!(only(published(&both, &[])), [ES256], "{other}");
        assert_eq!(only(read(&set_of(&both), &[])), [ES256], "{other}");
        assert_eq!(
            read(&other.to_string(), &[]).err(),
            Some(KeyError::NothingUsable(1))
        );
    }
}

#[test]
fn nothing_secret_and_nothing_unusable_comes_from_an_address() {
    assert_eq!(
        published(&[jwk(HS256)], &[]).err(),
        Some(KeyError::NothingUsable(1))
    );
    assert_eq!(
        published(&[jwk(HS256)], &[HS256]).err(),
        Some(KeyError::NothingUsable(1))
    );
    assert_eq!(
        only(published(&[jwk(HS256), jwk(ES256)], &[HS256, ES256])),
        [ES256]
    );
    assert_eq!(published(&[], &[]).err(), Some(KeyError::NothingUsable(0)));
    for no_set in [
        &b"{}"[..],
        b"",
        SECRET,
        RSA.as_bytes(),
        b"[]",
        jwk(ES256).to_string().as_bytes(),
    ] {
        assert_eq!(
            KeySet::read_published(no_set, &[]).err(),
            Some(KeyError::NoSet)
        );
    }
    let json = KeySet::read_published(b"{\"keys\": [", &[]);
    assert!(matches!(json, Err(KeyError::Json { .. })));
    let long = vec![b' '; MAX_TEXT + 1];
    assert_eq!(
        KeySet::read_published(&long, &[]).err(),
        Some(KeyError::TooLong)
    );
    assert_eq!(KeySet::read(&long, &[]).err(), Some(KeyError::TooLong));
}

#[test]
fn errors_and_debug_show_nothing_of_a_secret() {
    let secret = "s3cret".repeat(20);
    let k = json!({"kty": "oct", "k": secret, "kid": 7, "alg": secret});
    for text in [
        k.to_string(),
        set_of(&[k]),
        format!("{{{secret}"),
        format!("-----BEGIN PUBLIC KEY-----{secret}-----END PUBLIC KEY-----"),
    ] {
        let error = read(&text, &[]).expect_err("broken");
        assert!(
            !format!("{error:?} {error}").contains("s3crets3"),
            "{error}"
        );
    }
    let set = KeySet::secret(secret.as_bytes(), &[]).expect("a key");
    assert!(!format!("{set:?}").contains("s3cret"));
}

#[test]
fn a_token_is_checked_with_few_keys() {
    let named = |kid: &str| with(jwk(ES256), json!({"kid": kid}));
    let many: Vec<Value> = (0..MAX_KEYS).map(|n| named(&n.to_string())).collect();
    let set = published(&many, &[]).expect("keys");
    let kids = |set: &KeySet, kid| -> Vec<String> {
        let found = set.candidates(kid, ES256);
        found
            .map(|key| key.kid().unwrap_or("-").to_owned())
            .collect()
    };
    assert_eq!(kids(&set, Some("42")), ["42"]);
    assert_eq!(kids(&set, None).len(), MAX_CANDIDATES);
    assert!(kids(&set, Some("")).is_empty() && kids(&set, Some("042")).is_empty());
    assert_eq!(set.candidates(Some("42"), ES384).count(), 0);
    assert!(set.knows(Some("42")) && !set.knows(Some("100")) && set.knows(None));

    let more = [&many[..], &[named("100")]].concat();
    assert_eq!(published(&more, &[]).err(), Some(KeyError::TooMany));
    assert_eq!(read(&set_of(&more), &[]).err(), Some(KeyError::TooMany));

    let mut mixed = vec![jwk(ES256); 9];
    mixed.push(named("a"));
    let mixed = published(&mixed, &[]).expect("keys");
    assert_eq!(kids(&mixed, Some("a"))[..2], ["a", "-"]);
    assert_eq!(kids(&mixed, Some("a")).len(), MAX_CANDIDATES);
    assert!(!mixed.knows(Some("b")), "a newer set may have it");
    assert!(good(&mixed, &token(ES256, Some("b"), &signing_key(ES256))));
}

#[test]
fn every_algorithm_has_its_name() {
    let names: BTreeSet<&str> = ALGORITHMS.map(algorithm_name).into();
    assert_eq!(names.len(), ALGORITHMS.len());
    for algorithm in ALGORITHMS {
        assert_eq!(algorithm_name(algorithm).parse().ok(), Some(algorithm));
    }
}
