//! Whether a broker would take a token.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use super::key_source::KeyText;
use crate::cli::failure::Failure;

/// How far the clocks of issuers may be off, in seconds.
pub const LEEWAY: u64 = 30;

/// Who may sign, and for whom.
pub struct Rules {
    pub audience: String,
    pub issuers: Vec<Trusted>,
}

/// One who may sign.
pub struct Trusted {
    /// What `iss` has to be; `None`: anything, or nothing.
    pub issuer: Option<String>,
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

impl Trusted {
    /// `algorithms`: what the key may be used with; empty: what its kind says.
    pub fn new(
        key: &KeyText,
        issuer: Option<String>,
        algorithms: &[Algorithm],
    ) -> Result<Self, Failure> {
        let key = match key {
            KeyText::Secret(secret) => DecodingKey::from_secret(secret),
            KeyText::Pem(pem) => public_key(pem)?,
        };
        let family = key.family();
        let family = family.algorithms();
        let algorithms = match algorithms {
            [] => family.to_vec(),
            some => some
                .iter()
                .filter(|one| family.contains(one))
                .copied()
                .collect(),
        };
        Ok(Self {
            issuer,
            key,
            algorithms,
        })
    }
}

fn public_key(pem: &[u8]) -> Result<DecodingKey, Failure> {
    if String::from_utf8_lossy(pem).contains("PRIVATE KEY-----") {
        return Err(Failure::refused(
            "the file holds a private key: take its public one with `openssl pkey -in FILE -pubout -out PUBLIC`",
        ));
    }
    let ed = DecodingKey::from_ed_pem(pem)
        .ok()
        // what is shorter would end the library
        .filter(|key| key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() == 32));
    ed.or_else(|| DecodingKey::from_ec_pem(pem).ok())
        .or_else(|| DecodingKey::from_rsa_pem(pem).ok())
        .ok_or_else(|| {
            Failure::refused(
                "the file holds no public key that is known here: RSA, EC and Ed25519 are",
            )
        })
}

/// Checks signature, times, audience and issuer. `Err`: why it is refused.
pub fn verify(token: &str, rules: &Rules) -> Result<(), String> {
    let header = decode_header(token).map_err(|error| reason(&error, rules))?;
    let mut refused = None;
    for trusted in &rules.issuers {
        let Err(error) = verify_by(token, header.alg, trusted, rules) else {
            return Ok(());
        };
        match error.kind() {
            // another one may have signed it, and its word counts
            ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => {
                refused.get_or_insert(error);
            }
            _ => refused = Some(error),
        }
    }
    Err(match refused {
        Some(error) => reason(&error, rules),
        None => "nobody is trusted to sign".to_owned(),
    })
}

fn verify_by(
    token: &str,
    algorithm: Algorithm,
    trusted: &Trusted,
    rules: &Rules,
) -> jsonwebtoken::errors::Result<()> {
    if !trusted.algorithms.contains(&algorithm) {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    validation.set_audience(&[&rules.audience]);
    let mut required = vec!["exp", "aud", "sub"];
    if let Some(issuer) = &trusted.issuer {
        validation.set_issuer(&[issuer]);
        required.push("iss");
    }
    validation.set_required_spec_claims(&required);
    decode::<Value>(token, &trusted.key, &validation).map(drop)
}

fn reason(error: &jsonwebtoken::errors::Error, rules: &Rules) -> String {
    match error.kind() {
        ErrorKind::InvalidSignature => "the signature is not of this key".into(),
        ErrorKind::InvalidAlgorithm => "its algorithm does not go with the key".into(),
        ErrorKind::ExpiredSignature => "it has expired".into(),
        ErrorKind::ImmatureSignature => "it is not good yet".into(),
        ErrorKind::InvalidAudience => format!("its audience is not {}", rules.audience),
        ErrorKind::InvalidIssuer => "its issuer is another one".into(),
        ErrorKind::MissingRequiredClaim(claim) => format!("it has no claim `{claim}`"),
        ErrorKind::InvalidClaimFormat(claim) => format!("its claim `{claim}` is malformed"),
        _ => "it is malformed, or its algorithm is not known".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn rules(issuer: Option<&str>, algorithms: &[Algorithm]) -> Rules {
        let key = KeyText::Secret(SECRET.into());
        let trusted = Trusted::new(&key, issuer.map(str::to_owned), algorithms);
        Rules {
            audience: "tidewire:dev".into(),
            issuers: vec![trusted.expect("a key")],
        }
    }

    fn token(claims: &Value) -> String {
        encode(
            &Header::default(),
            claims,
            &EncodingKey::from_secret(SECRET),
        )
        .expect("a token")
    }

    #[test]
    fn what_a_broker_refuses_is_refused_with_its_reason() {
        let now = crate::cli::moment::now();
        let good = json!({"sub": "ada", "aud": "tidewire:dev", "exp": now + 60, "iss": "me"});
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            token(&claims)
        };
        let trusting = rules(Some("me"), &[]);
        assert_eq!(verify(&token(&good), &trusting), Ok(()));
        let leeway = with("exp", (now - LEEWAY + 5).into());
        assert_eq!(verify(&leeway, &trusting), Ok(()));
        for (token, words) in [
            (with("exp", (now - LEEWAY - 5).into()), "expired"),
            (with("exp", Value::Null), "exp"),
            (with("nbf", (now + LEEWAY + 5).into()), "not good yet"),
            (with("aud", "tidewire:prod".into()), "tidewire:dev"),
            (with("aud", Value::Null), "aud"),
            (with("sub", Value::Null), "sub"),
            (with("iss", "you".into()), "issuer"),
            (with("iss", Value::Null), "iss"),
            (token(&good) + "A", "signature"),
            ("a.b".into(), "malformed"),
        ] {
            let refused = verify(&token, &trusting).expect_err(words);
            assert!(refused.contains(words), "{refused}");
        }
        let strange = rules(None, &[Algorithm::HS512]);
        assert!(verify(&token(&good), &strange).is_err());
        let other = KeyText::Secret(vec![b'x'; 32]);
        let mut both = rules(None, &[]);
        both.issuers
            .insert(0, Trusted::new(&other, None, &[]).expect("a key"));
        assert_eq!(verify(&token(&good), &both), Ok(()));
        both.issuers.pop();
        let refused = verify(&token(&good), &both).expect_err("another key");
        assert!(refused.contains("signature"), "{refused}");
    }
}
