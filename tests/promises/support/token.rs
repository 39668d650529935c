//! Tokens as an application would sign them, and as somebody would who should not: every claim and every member of
//! the header can be chosen. And API keys.

// each suite uses a part of it
#![allow(dead_code)]

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// What `Broker::guarded` checks tokens with.
pub const SECRET: &str = "the secret of the test kit, which everybody may know";

/// A configuration with this secret. `rest` stands behind it, in the table `[auth]` until it begins another.
pub fn guarded_by(secret: &str, rest: &str) -> String {
    format!("[auth]\nsecret = {}\n{rest}", json!(secret))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

/// `Authorization: Bearer TOKEN`, the value.
pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A token that is being made. It is good for an hour, for the environment `dev`, and grants nothing.
#[derive(Debug, Clone)]
pub struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Token {
    pub fn of(subject: &str) -> Token {
        let now = now();
        Token {
            header: Map::new(),
            claims: Map::new(),
        }
        .head("typ", "JWT")
        .claim("sub", subject)
        .claim("aud", "tidewire:dev")
        .claim("iat", now)
        .claim("exp", now + 3600)
    }

    /// One that may do everything.
    pub fn of_all(subject: &str) -> Token {
        ["subscribe", "publish", "control", "delete"]
            .into_iter()
            .fold(Token::of(subject), |token, list| {
                token.grant(list, &["/**"])
            })
    }

    /// One list of the claim `tidewire`: `subscribe`, `publish`, `control` or `delete`.
    pub fn grant(mut self, list: &str, patterns: &[&str]) -> Token {
        let grants = self.claims.entry("tidewire").or_insert_with(|| json!({}));
        grants[list] = json!(patterns);
        self
    }

    /// Any claim, in the place of what it was.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Token {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    pub fn without(mut self, claim: &str) -> Token {
        self.claims.remove(claim);
        self
    }

    /// Any member of the header; an `alg` that stands here is written, whatever signs.
    pub fn head(mut self, name: &str, value: impl Into<Value>) -> Token {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    pub fn expires_in(self, seconds: u64) -> Token {
        self.claim("exp", now() + seconds)
    }

    /// Signed as `Broker::guarded` expects it.
    pub fn sign(&self) -> String {
        self.sign_with(SECRET)
    }

    /// HS256 with this secret.
    pub fn sign_with(&self, secret: &str) -> String {
        self.sign_by(
            Algorithm::HS256,
            &EncodingKey::from_secret(secret.as_bytes()),
        )
    }

    pub fn sign_by(&self, algorithm: Algorithm, key: &EncodingKey) -> String {
        let name = format!("{algorithm:?}");
        let signed = self.unsigned(&name);
        let signature = sign(signed.as_bytes(), key, algorithm).expect("a key of that kind");
        format!("{signed}.{signature}")
    }

    /// Header and claims, without the signature and its dot.
    pub fn unsigned(&self, algorithm: &str) -> String {
        let mut header = self.header.clone();
        header.entry("alg").or_insert_with(|| json!(algorithm));
        let encode = |part: &Map<String, Value>| {
            let text = Value::Object(part.clone()).to_string();
            URL_SAFE_NO_PAD.encode(text)
        };
        format!("{}.{}", encode(&header), encode(&self.claims))
    }
}

/// An API key with its table of the configuration.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// What a client shows.
    pub text: String,
    /// `[auth.key.NAME]`, to stand in a configuration or in a keys file.
    pub table: String,
}

impl ApiKey {
    /// `settings`: lines of the table, such as `admin = true` or `publish = ["/a/**"]`. The same name gives the
    /// same key.
    pub fn new(name: &str, settings: &str) -> ApiKey {
        let digest = |text: String| Sha256::digest(text.as_bytes());
        let hex =
            |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
        let id = &hex(&digest(format!("id {name}")))[..12];
        let secret = URL_SAFE_NO_PAD.encode(digest(format!("secret {name}")));
        let text = format!("tw_{id}_{secret}");
        let hash = hex(&digest(text.clone()));
        let table =
            format!("[auth.key.{name}]\nid = \"{id}\"\nhash = \"sha256:{hash}\"\n{settings}\n");
        ApiKey { text, table }
    }

    /// One that may revoke.
    pub fn admin(name: &str) -> ApiKey {
        ApiKey::new(name, "admin = true")
    }
}
