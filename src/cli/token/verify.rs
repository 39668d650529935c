//! Whether a broker would take a token: by its own rules, with its own keys.

use std::sync::Arc;

use super::key_source::{self, KeyFlags};
use super::{DEFAULT_ENVIRONMENT, check_environment};
use crate::auth::{Auth, AuthError};
use crate::cli::failure::Failure;
use crate::config::{Config, Issuer, KeySource};

/// The configuration of the broker that is asked about.
pub fn rules(
    flags: &KeyFlags,
    environment: Option<&str>,
    issuer: Option<&str>,
) -> Result<Config, Failure> {
    let mut config = match &flags.config {
        Some(path) => {
            let mut config = key_source::load(path)?;
            let from = flags.from.as_deref();
            if from.is_some() || config.auth.issuers.is_empty() {
                config.auth.issuers = vec![key_source::issuer(&config, from)?.clone()];
            }
            config.environment = environment.unwrap_or(&config.environment).to_owned();
            config
        }
        None => {
            let mut config = Config {
                environment: environment.unwrap_or(DEFAULT_ENVIRONMENT).to_owned(),
                ..Config::default()
            };
            config.auth.issuers.push(Issuer {
                name: String::new(),
                issuer: issuer.map(str::to_owned),
                audience: None,
                keys: match (&flags.key_file, &flags.secret_env) {
                    (Some(path), _) => KeySource::File(path.clone()),
                    (None, name) => KeySource::Variable(name.clone().unwrap_or_default()),
                },
                algorithms: Vec::new(),
            });
            config
        }
    };
    check_environment(&config.environment)?;
    // whether it would be taken if it was asked for
    config.allow_anonymous = false;
    Ok(config)
}

/// `Ok(Err(_))`: why the broker would not take it.
pub async fn verify(token: &str, rules: &Config) -> Result<Result<(), AuthError>, Failure> {
    let auth = Auth::new(rules, Arc::new(())).map_err(Failure::refused)?;
    for published in auth.published() {
        actix_web::rt::spawn(published.clone().keep_fresh());
    }
    Ok(auth.authenticate(token).await.map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn trusting(issuer: Option<&str>) -> Config {
        let mut config = Config::default();
        config.auth.issuers.push(Issuer {
            name: String::new(),
            issuer: issuer.map(str::to_owned),
            audience: None,
            keys: KeySource::Secret(Secret(SECRET.into())),
            algorithms: Vec::new(),
        });
        config
    }

    fn token(claims: &Value) -> String {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        encode(&Header::default(), claims, &key).expect("a token")
    }

    #[actix_web::test]
    async fn what_a_broker_refuses_is_refused_with_its_reason() {
        let now = crate::cli::moment::now();
        let good = json!({"sub": "ada", "aud": "tidewire:dev", "exp": now + 60, "iss": "me"});
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            token(&claims)
        };
        let rules = trusting(Some("me"));
        let refused = async |token: &str| {
            let answer = verify(token, &rules).await.expect("good rules");
            answer.expect_err("refused").reason()
        };
        let taken = verify(&token(&good), &rules).await.expect("good rules");
        assert_eq!(taken, Ok(()));
        for (token, reason) in [
            (with("exp", (now - 35).into()), "expired"),
            (with("nbf", (now + 35).into()), "not_yet_valid"),
            (with("aud", "tidewire:prod".into()), "audience"),
            (with("sub", Value::Null), "claims"),
            (with("iss", "you".into()), "issuer"),
            (token(&good) + "A", "signature"),
            ("a.b".into(), "malformed"),
        ] {
            assert_eq!(refused(&token).await, reason);
        }
    }
}
