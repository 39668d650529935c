//! What the tables about access hold, once they are read: `[auth]`, `[auth.issuers.NAME]`,
//! `[auth.key.NAME]` and `[quota.…]`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use crate::auth::GrantTexts;

/// Table `[auth]` and the tables below it: who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Who signs tokens: `[auth]` itself, if it names a key (its name is empty), and each
    /// `[auth.issuers.NAME]`.
    pub issuers: Vec<Issuer>,
    /// `[auth.key.NAME]`, by name.
    pub keys: BTreeMap<String, ApiKey>,
    /// A file with more `[auth.key.NAME]` tables, read again when it changes.
    pub keys_file: Option<PathBuf>,
    /// What was revoked, read again when it changes; what the API revokes is added to it.
    pub revocations_file: Option<PathBuf>,
    /// The cookie in which a token may stand.
    pub cookie: Option<String>,
    /// How far the clocks of issuers may be off.
    pub leeway: Duration,
    /// How often keys are fetched from a JWKS address.
    pub jwks_refresh: Duration,
    /// The shortest time between two fetches, whatever tokens ask for.
    pub jwks_min_interval: Duration,
    /// How long a fetch may take.
    pub jwks_timeout: Duration,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            keys: BTreeMap::new(),
            keys_file: None,
            revocations_file: None,
            cookie: None,
            leeway: Duration::from_secs(30),
            jwks_refresh: Duration::from_secs(600),
            jwks_min_interval: Duration::from_secs(30),
            jwks_timeout: Duration::from_secs(5),
        }
    }
}

/// Who signs tokens, and how that is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The name of its table; empty: `[auth]` itself.
    pub name: String,
    /// What `iss` has to be; `None`: anything, or nothing.
    pub issuer: Option<String>,
    /// What `aud` has to be; `None`: `tidewire:ENVIRONMENT`.
    pub audience: Option<String>,
    pub keys: KeySource,
    /// What its keys may be used with; empty: what each key's own kind says.
    pub algorithms: Vec<Algorithm>,
}

impl Issuer {
    /// What `aud` of its tokens has to be in that environment.
    pub fn audience_in(&self, environment: &str) -> String {
        let usual = || format!("tidewire:{environment}");
        self.audience.clone().unwrap_or_else(usual)
    }
}

/// Where the keys of an issuer come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A shared secret, as it stands in the configuration or in `TIDEWIRE_AUTH_SECRET`.
    Secret(Secret),
    /// A file: a secret, a public key in PEM, a JWK or a JWK Set.
    File(PathBuf),
    /// The name of an environment variable that holds the same.
    Variable(String),
    /// The address of a JWK Set: https, or http on loopback.
    Jwks(String),
}

/// A text that no log, error or `check-config` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One `[auth.key.NAME]`: an API key of an agent or a server. The key itself is nowhere, only its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// By which it is found: the second part of `tw_ID_SECRET`.
    pub id: String,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    pub grants: GrantTexts,
    /// It may revoke, and read metrics.
    pub admin: bool,
    /// Unix seconds.
    pub expires: Option<u64>,
    /// What it sets itself, and `quotas.key` for the rest.
    pub quota: Quota,
}

/// Who may do a thing in a namespace without a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Anyone,
    Authenticated,
    /// Nobody: only who has a grant.
    Grant,
}

impl Access {
    /// The name by which it is set.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Authenticated => "authenticated",
            Self::Grant => "grant",
        }
    }
}

/// Which header trusted proxies write a client's address into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
}

impl ForwardedHeader {
    /// The name by which it is set, and that of the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

/// How much one of something may do. Zero: no bound; but a burst of zero beside a rate is as much as
/// one second's rate. It is kept as it was set: whoever counts puts the rate in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Open connections and streams.
    pub connections: u64,
    /// Topics being read.
    pub subscriptions: u64,
    /// Events a second.
    pub publish_rate: u64,
    pub publish_burst: u64,
    /// Bytes a second, published.
    pub byte_rate: u64,
    pub byte_burst: u64,
    /// Topics that did not exist before.
    pub topics_per_minute: u64,
}

/// Tables `[quota.…]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    pub connection: Quota,
    /// Of a token.
    pub subject: Quota,
    /// An API key.
    pub key: Quota,
    pub namespace: Quota,
    /// A client's address (of IPv6 the first 64 bits).
    pub address: Quota,
}
