//! What an operator can set: defaults, then the file, then the environment, then flags.
//!
//! Invariants worth naming:
//! - [`settings::SETTINGS`] is the only list of settings. The flags, the variables, the file's
//!   keys, the defaults and the documentation come from it; a value written twice would drift.
//! - A [`Config`] that came out of [`load`] has passed every check, each number is within its
//!   bounds, and no two settings contradict each other: nothing behind it checks again.
//! - Nothing is ignored: an unknown key, an unknown `TIDEWIRE_…` variable and a bad value in a
//!   layer that another one covers are all problems. All of them are reported at once.

mod access;
pub mod appsync;
mod args;
mod assemble;
pub mod auth;
mod contradictions;
mod docs;
mod effective;
mod environment;
mod file;
mod kind;
mod layers;
mod problem;
mod settings;
mod suggest;
mod tables;
pub(crate) mod units;
mod value;
mod web;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use ipnet::IpNet;

pub use appsync::{AccessKey, AccessSecret, AppSync, AuthorizerSettings};
pub use args::args;
pub use auth::{Access, ApiKey, Auth, ForwardedHeader, Issuer, KeySource, Quota, Quotas, Secret};
pub use docs::settings_markdown;
pub use effective::Effective;
pub use environment::Environment;
pub use problem::{ConfigError, Origin, Problem};
pub use settings::{SETTINGS, Setting};

pub(crate) use access::{MIN_SECRET_BYTES, unix_seconds as read_unix_seconds};
use file::ConfigFile;
use layers::{Entries, Layers, NamedTables};

use crate::event::TypeFilter;

/// All settings of one broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where HTTP and WebSocket are served; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Worker threads; 0: one per core.
    pub workers: usize,
    /// Where logs live.
    pub engine: EngineKind,
    /// The directory of the disk engine; empty with any other engine, and never with that one.
    pub data_dir: PathBuf,
    /// The name of this deployment, 1 to 32 of `A-Za-z0-9_-`; clients see it in `welcome`.
    pub environment: String,
    /// Everybody may do everything, any key or token is accepted, and any address may be listened on.
    pub allow_anonymous: bool,
    /// A namespace without a `[namespace.NAME]` table is refused.
    pub strict_namespaces: bool,
    /// Web origins allowed beside the broker's own, exactly as browsers send them:
    /// `scheme://host[:port]` in lower case, no default port, no path.
    pub allowed_origins: Vec<String>,
    /// `Host` names accepted, on loopback beside its own ones, elsewhere only these if there are any: in lower case
    /// and without a port (any port is accepted).
    pub allowed_hosts: Vec<String>,
    /// Proxies whose word on a client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Where they write it.
    pub forwarded_header: ForwardedHeader,
    /// How long a connection may live, give or take 20 %; zero: for ever.
    pub max_connection_age: Duration,
    /// How long draining may take before the process stops anyway.
    pub drain_timeout: Duration,
    /// Table `[log]`.
    pub log: Log,
    /// Table `[disk]`; only the disk engine looks at it.
    pub disk: Disk,
    /// Table `[auth]` and those below it.
    pub auth: Auth,
    /// Tables `[quota.…]`.
    pub quotas: Quotas,
    /// Table `[limits]`.
    pub limits: Limits,
    /// Table `[defaults]`: what holds in namespaces that set nothing.
    pub defaults: Defaults,
    /// The tables `[namespace.NAME]` by name, each with what it inherits filled in. Use
    /// [`Config::namespace`] to look one up.
    pub namespaces: BTreeMap<String, Namespace>,
    /// What holds in every other namespace.
    pub other_namespaces: Namespace,
    /// Table `[appsync]` and those below it.
    pub appsync: AppSync,
}

/// Table `[log]`: what is logged on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A filter that `tracing_subscriber::EnvFilter` accepts.
    pub level: String,
    /// How lines are written.
    pub format: LogFormat,
}

/// Table `[disk]`: what the disk engine promises, and what that costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Whether an acknowledged publish is on the disk.
    pub sync: Sync,
    /// With [`Sync::Interval`]: how long an acknowledged publish may not be on the disk yet.
    pub sync_interval: Duration,
    /// Whether readers see only what is on the disk.
    pub deliver: Deliver,
    /// Bytes of the store's own cache of blocks, beside `limits.log_bytes`.
    pub cache_bytes: u64,
}

/// Table `[limits]`: how much of everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; 0: derived from the descriptor limit.
    pub max_connections: usize,
    /// Bytes of one event.
    pub max_event_bytes: usize,
    /// Events in one publish.
    pub max_batch_events: usize,
    /// Bytes of one WebSocket message.
    pub max_frame_bytes: usize,
    /// Bytes of one HTTP request body.
    pub max_body_bytes: usize,
    /// Topics and patterns subscribed on one WebSocket.
    pub max_subscriptions: usize,
    /// Topics read by one SSE request.
    pub max_sse_topics: usize,
    /// Bytes waiting for one socket; it may hold one item more.
    pub outbox_bytes: usize,
    /// Unanswered published events of one connection, over which it is not read.
    pub window_events: usize,
    /// Unanswered published bytes of one connection, over which it is not read.
    pub window_bytes: usize,
    /// Bytes of all logs and folds together.
    pub log_bytes: usize,
    /// Bytes of all publishes on their way to a topic.
    pub inflight_bytes: usize,
    /// Silence after which the server pings a WebSocket.
    pub ping_interval: Duration,
    /// The longest silence on an SSE stream; then a comment is sent.
    pub sse_heartbeat: Duration,
    /// How long a socket that has something to take may take nothing.
    pub stall_timeout: Duration,
    /// How long a client may take to send a request's headers.
    pub header_timeout: Duration,
    /// How long a WebSocket that came without a token may take to bring one.
    pub auth_timeout: Duration,
    /// Connections that have not said who they are yet; 0: half of `max_connections`.
    pub max_unauthenticated: usize,
    /// Bytes of a request's headers, names and values together.
    pub max_header_bytes: usize,
    /// Bytes of a request's query.
    pub max_query_bytes: usize,
    /// How long a topic is idle before it leaves memory's working set.
    pub passivate_after: Duration,
    /// How long after a message's end its deltas are kept.
    pub compact_after: Duration,
    pub message_idle: Duration,
    pub stream_idle: Duration,
    /// Events per second into one namespace that sets no rate of its own.
    pub publish_rate: u64,
    /// Events that may exceed `publish_rate` at once.
    pub publish_burst: u64,
}

/// Table `[defaults]`: what holds in namespaces that do not say otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Events kept per topic.
    pub retention_events: u64,
    /// Bytes kept per topic.
    pub retention_bytes: usize,
    /// How long an event is kept.
    pub retention_age: Duration,
    /// Who may read, publish and send control events without a grant.
    pub read: Access,
    pub write: Access,
    pub control: Access,
    /// Event types that a right to publish is good for, and those that a right to control is.
    pub publish_types: TypeFilter,
    pub control_types: TypeFilter,
}

/// One table `[namespace.NAME]`, with what it does not set from `[defaults]`, `[limits]` and
/// `[quota.namespace]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Events kept per topic.
    pub retention_events: u64,
    /// Bytes kept per topic.
    pub retention_bytes: usize,
    /// How long an event is kept.
    pub retention_age: Duration,
    /// Events per second into the whole namespace.
    pub publish_rate: u64,
    /// Events that may exceed `publish_rate` at once.
    pub publish_burst: u64,
    /// Who may read without a grant.
    pub read: Access,
    /// Who may publish without a grant.
    pub write: Access,
    /// Who may send control events without a grant.
    pub control: Access,
    /// Event types that a right to publish is good for.
    pub publish_types: TypeFilter,
    /// Event types that a right to control is good for.
    pub control_types: TypeFilter,
    /// How much may be done in the whole namespace; its `publish_rate` and `publish_burst` are those
    /// above, and it has no `connections`.
    pub quota: Quota,
}

/// The engines of this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// Logs live in this process and end with it.
    Memory,
    /// Logs live in the directory `data_dir` and survive the process.
    Disk,
}

impl EngineKind {
    /// The name by which it is set.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

/// When the disk engine syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before a publish is acknowledged: what was acknowledged is kept.
    Always,
    /// Up to `disk.sync_interval` after a publish is acknowledged: that much may be lost.
    Interval,
}

impl Sync {
    /// The name by which it is set.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Interval => "interval",
        }
    }
}

/// When readers see what the disk engine was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliver {
    /// When it is as durable as its acknowledgement says.
    Durable,
    /// Before it is on the disk: after an unclean stop, readers may have seen what is not kept.
    Early,
}

impl Deliver {
    /// The name by which it is set.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Early => "early",
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The name by which it is set.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl Default for Config {
    /// The table's defaults: nothing is repeated here.
    fn default() -> Self {
        assemble::config(&Entries::defaults(), &NamedTables::default())
    }
}

impl Config {
    /// What holds in the namespace `name`, configured or not.
    pub fn namespace(&self, name: &str) -> &Namespace {
        self.namespaces.get(name).unwrap_or(&self.other_namespaces)
    }

    /// Whether anybody could show who they are. What only AppSync's clients can show counts where they are not served,
    /// too: switching them off opens nothing.
    pub fn can_authenticate(&self) -> bool {
        let Auth {
            issuers,
            keys,
            keys_file,
            ..
        } = &self.auth;
        let AppSync {
            authorizer,
            access_keys,
            ..
        } = &self.appsync;
        let by_appsync = authorizer.is_some() || !access_keys.is_empty();
        !issuers.is_empty() || !keys.is_empty() || keys_file.is_some() || by_appsync
    }
}

/// The configuration from defaults, the file that `--config` or `TIDEWIRE_CONFIG` names,
/// variables and flags.
///
/// `env` is asked for the variables that exist; since a function cannot list its names, an
/// unknown `TIDEWIRE_…` variable goes unnoticed here. A process uses [`load_process`].
///
/// # Errors
/// Every problem found in any layer.
pub fn load(
    matches: &ArgMatches,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    effective(matches, &Environment::from_lookup(env)).map(|effective| effective.config)
}

/// [`load`] with the variables of this process, where unknown `TIDEWIRE_…` names and values that
/// are not UTF-8 are problems too.
///
/// # Errors
/// Every problem found in any layer.
pub fn load_process(matches: &ArgMatches) -> Result<Config, ConfigError> {
    effective(matches, &Environment::process()).map(|effective| effective.config)
}

/// The configuration together with where each value came from.
///
/// # Errors
/// Every problem found in any layer.
pub fn effective(matches: &ArgMatches, env: &Environment) -> Result<Effective, ConfigError> {
    let file =
        args::config_path(matches, env).map(|(path, named_by)| ConfigFile::read(&path, named_by));
    resolve(file, env, matches)
}

/// The API keys of the file that `auth.keys_file` names: tables `[auth.key.NAME]` and nothing else.
/// What a key does not set of its quota is that of `quota`, which is `quotas.key`.
///
/// It can be called again whenever the file changes. Whether an id is also that of a key of the
/// configuration is not looked at.
///
/// # Errors
/// Every problem of the file; one that does not exist is a problem too.
pub fn read_keys_file(path: &Path, quota: &Quota) -> Result<BTreeMap<String, ApiKey>, ConfigError> {
    let mut layers = Layers::new();
    match ConfigFile::read_keys(path) {
        Ok(file) => file::apply_keys(&file, &mut layers),
        Err(problem) => layers.file_failed(*problem),
    }
    layers.finish_keys(quota)
}

/// Lays the layers over each other, in the order in which they beat each other.
fn resolve(
    file: Option<Result<ConfigFile, Box<Problem>>>,
    env: &Environment,
    matches: &ArgMatches,
) -> Result<Effective, ConfigError> {
    let mut layers = Layers::new();
    match file {
        Some(Ok(file)) => file::apply(&file, &mut layers),
        Some(Err(problem)) => layers.file_failed(*problem),
        None => {}
    }
    environment::apply(env, &mut layers);
    args::apply(matches, &mut layers);
    layers.finish()
}
