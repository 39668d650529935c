//! What the tables about AppSync Events hold, once they are read: `[appsync]` and `[appsync.access_key.NAME]`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::auth::Secret;
use crate::auth::GrantTexts;

/// Table `[appsync]` and the tables below it: the dialect of AWS AppSync Events, and who comes in by it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSync {
    /// `/event` and `/event/realtime` are served.
    pub enabled: bool,
    /// Events in one publish; never more than `limits.max_batch_events`.
    pub max_events: usize,
    /// Bytes of one event; never more than `limits.max_event_bytes`.
    pub max_event_bytes: usize,
    /// Subscriptions of one connection.
    pub max_subscriptions: usize,
    /// The positions of subscriptions are kept, for clients that never ask for what they missed.
    pub replay: bool,
    /// How long a position is kept after it was last saved.
    pub replay_for: Duration,
    /// Positions kept of one principal.
    pub replay_subscriptions: usize,
    /// Who is asked about tokens that no issuer signed.
    pub authorizer: Option<AuthorizerSettings>,
    /// `[appsync.access_key.NAME]`, by name.
    pub access_keys: BTreeMap<String, AccessKey>,
}

/// An HTTP service that is asked as AppSync asks a Lambda authorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizerSettings {
    /// Where it is asked: https, or http on loopback.
    pub url: String,
    /// How long an answer may take, with the wait for its turn.
    pub timeout: Duration,
    /// How long an answer is kept that says nothing of it; zero: not at all.
    pub ttl: Duration,
}

/// One `[appsync.access_key.NAME]`: who signs requests with AWS Signature Version 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// By which it is found, and which stands in every signature: `AKIA…`.
    pub id: String,
    pub secret: AccessSecret,
    pub grants: GrantTexts,
    /// Unix seconds.
    pub expires: Option<u64>,
}

/// Where the secret of an access key is. Both sides have it: no hash would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessSecret {
    Text(Secret),
    /// The name of an environment variable that holds it.
    Variable(String),
}
