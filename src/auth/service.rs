//! The one who is asked who somebody is. Shared by all threads.
//!
//! Invariants:
//! - what it answers holds until `standing` says otherwise: rights end when a token or key expires, when it is
//!   revoked, or when a key leaves the keys file;
//! - files that cannot be read again leave everything as it was.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use thiserror::Error;

use super::access_key::AccessKeys;
use super::api_key;
use super::authorizer::{Authorizer, AuthorizerObserver};
use super::error::AuthError;
use super::grants::{Action, InvalidGrant};
use super::jwks::{Jwks, JwksObserver, JwksTiming};
use super::keys::{KeyError, KeySet};
use super::principal::{KeyProof, Principal, Proof};
use super::revocations::{Revocation, RevocationError, Revocations, SLACK};
use super::token::{Audience, Expected, Opened};
use super::watched_file::WatchedFile;
use crate::config::{self, Access, ApiKey, Config, KeySource, Namespace, Quota};

/// Why the broker cannot begin to ask who somebody is.
#[derive(Debug, Error)]
pub enum AuthSetupError {
    #[error("the key of {issuer}: {why}")]
    Key { issuer: String, why: String },
    #[error("the keys file: {0}")]
    KeysFile(#[from] config::ConfigError),
    #[error("the API key `{name}`: {why}")]
    ApiKey { name: String, why: InvalidGrant },
    #[error("the access key `{name}`: {why}")]
    AccessKey { name: String, why: InvalidGrant },
    #[error(
        "the access key `{name}`: the variable `{variable}` does not hold a secret of 32 bytes or more"
    )]
    AccessSecret { name: String, variable: String },
    #[error("the API keys `{name}` and `{other}` have the same id: each needs its own")]
    SameId { name: String, other: String },
    #[error(transparent)]
    Revocations(#[from] RevocationError),
}

/// See the module.
pub struct Auth {
    /// Nobody is asked: everybody may do everything.
    pub(super) open: bool,
    /// There is something that anyone may do.
    admits_anyone: bool,
    leeway: u64,
    pub(super) issuers: Vec<TokenIssuer>,
    pub(super) api_keys: RwLock<Arc<ApiKeys>>,
    keys_file: Option<KeysFile>,
    pub revocations: Revocations,
    revocations_file: Option<Mutex<WatchedFile>>,
    pub(super) access_keys: AccessKeys,
    pub(super) authorizer: Option<Arc<Authorizer>>,
}

pub(super) struct TokenIssuer {
    /// As people know it: the name of its table.
    title: String,
    issuer: Option<String>,
    audience: Audience,
    keys: Keys,
}

enum Keys {
    Fixed(Arc<KeySet>),
    File {
        current: RwLock<Arc<KeySet>>,
        algorithms: Vec<jsonwebtoken::Algorithm>,
        file: Mutex<WatchedFile>,
    },
    Published(Arc<Jwks>),
}

/// The keys of the configuration stay, those of the file are read again.
struct KeysFile {
    configured: BTreeMap<String, ApiKey>,
    quota: Quota,
    path: PathBuf,
    file: Mutex<WatchedFile>,
}

/// A key that is found by its id is checked against its hash; one that was made elsewhere has its hash only.
#[derive(Default)]
pub(super) struct ApiKeys {
    by_id: HashMap<String, Principal>,
    by_hash: HashMap<[u8; 32], Principal>,
}

impl ApiKeys {
    pub(super) fn with_hash(&self, hash: &[u8; 32]) -> Option<&Principal> {
        self.by_hash.get(hash)
    }
}

/// Told what there is to count.
pub trait AuthObserver: JwksObserver + AuthorizerObserver {}

impl<T: JwksObserver + AuthorizerObserver> AuthObserver for T {}

/// What has become of somebody's rights.
pub enum Standing {
    Holds,
    /// The same key grants something else now.
    Changed(Principal),
    Ended(AuthError),
}

impl Auth {
    /// `observer` is told of every fetch of keys, and of every call of the authorizer.
    pub fn new(config: &Config, observer: Arc<dyn AuthObserver>) -> Result<Self, AuthSetupError> {
        let auth = &config.auth;
        let now = unix_seconds();
        let mut api_keys = auth.keys.clone();
        let keys_file = match &auth.keys_file {
            None => None,
            Some(path) => {
                let file = WatchedFile::new(path);
                let quota = config.quotas.key;
                for (name, key) in config::read_keys_file(path, &quota)? {
                    api_keys.entry(name).or_insert(key);
                }
                Some(KeysFile {
                    configured: auth.keys.clone(),
                    quota,
                    path: path.clone(),
                    file: Mutex::new(file),
                })
            }
        };
        let jwks_observer: Arc<dyn JwksObserver> = observer.clone();
        let authorizer = config.appsync.authorizer.as_ref();
        let revocations_file = auth.revocations_file.as_deref();
        let watched = revocations_file.map(|path| Mutex::new(WatchedFile::new(path)));
        Ok(Self {
            open: config.allow_anonymous || !config.can_authenticate(),
            admits_anyone: config
                .namespaces
                .values()
                .chain([&config.other_namespaces])
                .any(Namespace::admits_anyone),
            leeway: auth.leeway.as_secs(),
            issuers: auth
                .issuers
                .iter()
                .map(|issuer| TokenIssuer::new(issuer, config, &jwks_observer))
                .collect::<Result<_, _>>()?,
            api_keys: RwLock::new(Arc::new(by_id(api_keys)?)),
            keys_file,
            revocations: Revocations::open(revocations_file, now)?,
            revocations_file: watched,
            access_keys: AccessKeys::new(&config.appsync)?,
            authorizer: authorizer.map(|settings| {
                let environment = config.environment.clone();
                Authorizer::new(settings.clone(), environment, observer)
            }),
        })
    }

    /// Whether everybody may do everything.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Who comes without saying who they are. `None`: they have to.
    pub fn without_credential(&self) -> Option<Principal> {
        match (self.open, self.admits_anyone) {
            (true, _) => Some(Principal::open()),
            (false, true) => Some(Principal::anonymous()),
            (false, false) => None,
        }
    }

    /// Says who shows this token or key.
    pub async fn authenticate(&self, credential: &str) -> Result<Principal, AuthError> {
        if self.open {
            return Ok(Principal::open());
        }
        let principal = match api_key::looks_like_key(credential) {
            true => self.of_key(credential)?,
            false => self.of_token(credential).await?,
        };
        self.unless_revoked(principal)
    }

    pub(super) fn unless_revoked(&self, principal: Principal) -> Result<Principal, AuthError> {
        match self.revocations.cover(&principal) {
            true => Err(AuthError::Revoked),
            false => Ok(principal),
        }
    }

    pub(super) fn of_key(&self, text: &str) -> Result<Principal, AuthError> {
        let key = api_key::parse(text).ok_or(AuthError::Malformed)?;
        let keys = self.api_keys.read().clone();
        let principal = keys.by_id.get(key.id).ok_or(AuthError::KeyUnknown)?;
        let Proof::Key(proof) = principal.proof() else {
            return Err(AuthError::KeyUnknown);
        };
        if !key.matches(&proof.hash) {
            return Err(AuthError::KeyUnknown);
        }
        unless_expired(principal)
    }

    async fn of_token(&self, text: &str) -> Result<Principal, AuthError> {
        let token = Opened::read(text)?;
        let is_its = |issuer: &&TokenIssuer| match &issuer.issuer {
            Some(name) => token.issuer.as_ref() == Some(name),
            None => true,
        };
        let mut why = AuthError::Issuer;
        for issuer in self.issuers.iter().filter(is_its) {
            match self.check(issuer, &token).await {
                Ok(principal) => return Ok(principal),
                // what one issuer's key was good for is that issuer's to refuse
                Err(refused) if !refused.is_about_keys() => return Err(refused),
                Err(refused) => why = refused,
            }
        }
        Err(why)
    }

    async fn check(
        &self,
        issuer: &TokenIssuer,
        token: &Opened<'_>,
    ) -> Result<Principal, AuthError> {
        let kid = token.kid.as_deref();
        let keys = match &issuer.keys {
            Keys::Fixed(keys) => keys.clone(),
            Keys::File { current, .. } => current.read().clone(),
            Keys::Published(jwks) => {
                let keys = match jwks.current() {
                    Some(keys) if keys.knows(kid) => Some(keys),
                    _ => jwks.look_again().await,
                };
                keys.ok_or(AuthError::Unavailable)?
            }
        };
        let expected = Expected {
            audience: &issuer.audience,
            issuer: issuer.issuer.as_deref(),
            leeway: self.leeway,
            now: unix_seconds(),
        };
        let mut why = match keys.knows(kid) {
            true => AuthError::Algorithm,
            false => AuthError::UnknownKey,
        };
        for key in keys.candidates(kid, token.algorithm) {
            match token.check(key, &expected)? {
                Some(principal) => return Ok(principal),
                None => why = AuthError::Signature,
            }
        }
        Err(why)
    }

    /// What has become of the rights of somebody who is there; their expiry is for the caller to see.
    pub fn standing(&self, principal: &Principal) -> Standing {
        if self.revocations.cover(principal) {
            return Standing::Ended(AuthError::Revoked);
        }
        let Proof::Key(proof) = principal.proof() else {
            return Standing::Holds;
        };
        let keys = self.api_keys.read().clone();
        let same = |known: &&Principal| match known.proof() {
            Proof::Key(known) => known.name == proof.name && known.hash == proof.hash,
            _ => false,
        };
        match keys.by_id.values().find(same) {
            None => Standing::Ended(AuthError::KeyUnknown),
            Some(known) if known.grants() == principal.grants() && known.proof_is(proof) => {
                Standing::Holds
            }
            Some(known) => Standing::Changed(known.clone()),
        }
    }

    /// Revokes; answers whether it is kept over a restart.
    pub fn revoke(&self, one: Revocation) -> Result<bool, RevocationError> {
        self.revocations.add(one, unix_seconds())
    }

    /// Reads files again: those that changed, or (`all`) every one. Answers whether anybody's rights may be others.
    pub fn reload(&self, all: bool) -> bool {
        let keys = self.keys_file.as_ref().is_some_and(|file| {
            let mut watched = file.file.lock();
            if !watched.has_changed() && !all {
                return false;
            }
            let changed = self.reload_keys(file);
            if std::fs::File::open(&file.path).is_err() {
                watched.look_again();
            }
            changed
        });
        for issuer in &self.issuers {
            issuer.reload(all);
        }
        let revoked = self.revocations_file.as_ref().is_some_and(|file| {
            let mut file = file.lock();
            if !file.has_changed() && !all {
                return false;
            }
            self.revocations
                .reload(unix_seconds())
                .unwrap_or_else(|error| {
                    tracing::error!(%error, "what was revoked before stays so");
                    file.look_again();
                    false
                })
        });
        keys || revoked
    }

    fn reload_keys(&self, file: &KeysFile) -> bool {
        let read =
            config::read_keys_file(&file.path, &file.quota).map_err(|error| error.to_string());
        let read = read.and_then(|keys| {
            let mut all = file.configured.clone();
            for (name, key) in keys {
                all.entry(name).or_insert(key);
            }
            by_id(all).map_err(|error| error.to_string())
        });
        match read {
            Ok(keys) => {
                tracing::info!(keys = keys.by_id.len(), "API keys were read again");
                *self.api_keys.write() = Arc::new(keys);
                true
            }
            Err(error) => {
                tracing::error!(
                    error,
                    "the keys file is not good: the keys stay as they were"
                );
                false
            }
        }
    }

    /// Whether anything comes from files that may change.
    pub fn has_files(&self) -> bool {
        let is_file = |issuer: &TokenIssuer| matches!(issuer.keys, Keys::File { .. });
        self.keys_file.is_some()
            || self.revocations_file.is_some()
            || self.issuers.iter().any(is_file)
    }

    /// What is about tokens that have expired is forgotten.
    pub fn sweep(&self) {
        self.revocations
            .forget_expired(unix_seconds().saturating_sub(SLACK));
    }

    /// Addresses whose keys have to be fetched.
    pub fn published(&self) -> impl Iterator<Item = &Arc<Jwks>> {
        self.issuers.iter().filter_map(|issuer| match &issuer.keys {
            Keys::Published(jwks) => Some(jwks),
            Keys::Fixed(_) | Keys::File { .. } => None,
        })
    }
}

impl TokenIssuer {
    fn new(
        issuer: &config::Issuer,
        config: &Config,
        observer: &Arc<dyn JwksObserver>,
    ) -> Result<Self, AuthSetupError> {
        let auth = &config.auth;
        let title = match issuer.name.as_str() {
            "" => "[auth]".to_owned(),
            name => format!("[auth.issuers.{name}]"),
        };
        let algorithms = &issuer.algorithms;
        let failed = |why: String| AuthSetupError::Key {
            issuer: title.clone(),
            why,
        };
        let fixed = |keys: Result<KeySet, KeyError>| match keys {
            Ok(keys) => Ok(Keys::Fixed(Arc::new(keys))),
            Err(error) => Err(failed(error.to_string())),
        };
        let keys = match &issuer.keys {
            KeySource::Secret(secret) => fixed(KeySet::secret(secret.0.as_bytes(), algorithms))?,
            KeySource::Variable(name) => {
                let text = std::env::var(name)
                    .map_err(|_| failed(format!("the variable `{name}` is not set")))?;
                fixed(KeySet::read(text.as_bytes(), algorithms))?
            }
            KeySource::File(path) => {
                let file = WatchedFile::new(path);
                let read = read_key_file(&file, algorithms).map_err(failed)?;
                Keys::File {
                    current: RwLock::new(Arc::new(read)),
                    algorithms: algorithms.clone(),
                    file: Mutex::new(file),
                }
            }
            KeySource::Jwks(url) => {
                let timing = JwksTiming {
                    refresh: auth.jwks_refresh,
                    min_interval: auth.jwks_min_interval,
                    timeout: auth.jwks_timeout,
                };
                Keys::Published(Jwks::new(
                    url.clone(),
                    algorithms.clone(),
                    timing,
                    observer.clone(),
                ))
            }
        };
        Ok(Self {
            title,
            issuer: issuer.issuer.clone(),
            audience: Audience {
                name: issuer.audience_in(&config.environment),
                or_client: issuer.audience.is_some(),
            },
            keys,
        })
    }

    fn reload(&self, all: bool) {
        let Keys::File {
            current,
            algorithms,
            file,
        } = &self.keys
        else {
            return;
        };
        let mut file = file.lock();
        if !file.has_changed() && !all {
            return;
        }
        match read_key_file(&file, algorithms) {
            Ok(keys) => {
                tracing::info!(issuer = self.title, "the key file was read again");
                *current.write() = Arc::new(keys);
            }
            Err(error) => {
                tracing::error!(issuer = self.title, error, "the key stays as it was");
            }
        }
    }
}

fn read_key_file(
    file: &WatchedFile,
    algorithms: &[jsonwebtoken::Algorithm],
) -> Result<KeySet, String> {
    let text = file
        .read()
        .map_err(|error| format!("{}: {error}", file.path().display()))?;
    KeySet::read(&text, algorithms).map_err(|error| format!("{}: {error}", file.path().display()))
}

fn by_id(keys: BTreeMap<String, ApiKey>) -> Result<ApiKeys, AuthSetupError> {
    let mut all = ApiKeys::default();
    for (name, key) in keys {
        let compiled = key.grants.compile(&name);
        let grants = compiled.map_err(|why| AuthSetupError::ApiKey {
            name: name.clone(),
            why,
        })?;
        let proof = KeyProof {
            name: name.as_str().into(),
            hash: key.hash,
            admin: key.admin,
            expires: key.expires,
            quota: key.quota,
        };
        let principal = Principal::of_key(proof, grants);
        all.by_hash.entry(key.hash).or_insert(principal.clone());
        if let Some(other) = all.by_id.insert(key.id, principal) {
            let other = other.name().to_string();
            return Err(AuthSetupError::SameId { name, other });
        }
    }
    Ok(all)
}

pub(super) fn unless_expired(principal: &Principal) -> Result<Principal, AuthError> {
    match principal.expires() {
        Some(expires) if expires <= unix_seconds() => Err(AuthError::KeyExpired),
        _ => Ok(principal.clone()),
    }
}

impl Namespace {
    fn admits_anyone(&self) -> bool {
        let actions = [Action::Subscribe, Action::Publish, Action::Control];
        actions
            .into_iter()
            .any(|action| self.access(action) == Access::Anyone)
    }
}

impl AuthError {
    /// Another issuer of the same name may have the right key.
    fn is_about_keys(&self) -> bool {
        matches!(
            self,
            Self::Signature | Self::UnknownKey | Self::Algorithm | Self::Unavailable
        )
    }
}

/// Seconds since 1970.
pub fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}
