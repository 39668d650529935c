//! The one table of settings.
//!
//! A row gives the key, what kind of value it takes, its default as text, and one line of help.
//! All names follow from the key: `limits.outbox_bytes` is the flag `--limits-outbox-bytes` and
//! the variable `TIDEWIRE_LIMITS_OUTBOX_BYTES`; a key without a dot stands at the top of the file.
//! Tables that stand in the file only, one for each name, are in `tables.rs`.

pub use super::kind::Kind;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name in the file, with the table: `limits.outbox_bytes`.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The default, written as it would be in a variable or flag.
    pub default: &'static str,
    /// One line: what it does.
    pub help: &'static str,
    /// What zero stands for; zero is refused without it.
    pub zero: Option<&'static str>,
    /// The largest value that makes sense, beside the bounds of its kind.
    pub at_most: Option<&'static str>,
}

impl Setting {
    const fn zero_means(mut self, meaning: &'static str) -> Self {
        self.zero = Some(meaning);
        self
    }

    const fn at_most(mut self, bound: &'static str) -> Self {
        self.at_most = Some(bound);
        self
    }

    /// Its table in the file, which may be one in another (`quota.subject`); empty at the top.
    pub fn table(&self) -> &'static str {
        self.key.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// Its name within its table.
    pub fn leaf(&self) -> &'static str {
        self.key.rsplit_once('.').map_or(self.key, |(_, leaf)| leaf)
    }

    /// Its environment variable: `TIDEWIRE_LIMITS_OUTBOX_BYTES`.
    pub fn variable(&self) -> String {
        let name = self.key.replace('.', "_").to_ascii_uppercase();
        format!("{VARIABLE_PREFIX}{name}")
    }

    /// Its flag with the dashes: `--limits-outbox-bytes`.
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace(['.', '_'], "-"))
    }
}

/// What every variable of the broker begins with.
pub const VARIABLE_PREFIX: &str = "TIDEWIRE_";

/// The variable for `--config`, which is no key of the file.
pub const CONFIG_VARIABLE: &str = "TIDEWIRE_CONFIG";

pub const fn setting(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        key,
        kind,
        default,
        help,
        zero: None,
        at_most: None,
    }
}

/// Every setting, in the order in which help and documentation show them.
#[rustfmt::skip]
pub static SETTINGS: &[Setting] = &[
    setting("listen", Kind::Address, "127.0.0.1:7070",
        "Where HTTP and WebSocket are served; port 0 takes any free port"),
    setting("workers", Kind::Count("threads"), "0",
        "Worker threads").zero_means("one per core").at_most("1024"),
    setting("engine", Kind::Engine, "memory",
        "Where logs live: memory ends with the process, disk survives it"),
    setting("data_dir", Kind::Path, "",
        "The directory of the disk engine, which it needs and no other engine takes"),
    setting("environment", Kind::Name, "dev",
        "Name of this deployment: in the welcome, health, logs and metrics; tokens are for the audience tidewire:NAME where auth.audience names no other"),
    setting("allow_anonymous", Kind::Switch, "false",
        "Let everybody do everything, and accept any key or token"),
    setting("strict_namespaces", Kind::Switch, "false",
        "Refuse namespaces that have no [namespace.NAME] table"),
    setting("allowed_origins", Kind::Origins, "",
        "Web origins allowed beside the broker's own, such as https://app.example.com"),
    setting("allowed_hosts", Kind::Hosts, "",
        "Host names accepted, on any port; on loopback beside its own names, elsewhere only these (also of probes), if there are any"),
    setting("trusted_proxies", Kind::Networks, "",
        "Proxies whose word on a client's address is taken, such as 10.0.0.0/8"),
    setting("forwarded_header", Kind::ForwardedHeader, "x-forwarded-for",
        "The header into which they write it"),
    setting("max_connection_age", Kind::Duration, "1h",
        "Age at which a connection is asked to come back, give or take 20 %").zero_means("never"),
    setting("drain_timeout", Kind::Duration, "30s",
        "How long stopping waits for readers to take what is theirs").zero_means("stop at once"),

    setting("log.level", Kind::Filter, "info",
        "What is logged on standard error: a level, or a filter such as info,tidewire=debug"),
    setting("log.format", Kind::LogFormat, "text",
        "How log lines are written"),

    setting("disk.sync", Kind::Sync, "always",
        "A publish is acknowledged when it is on the disk (always), or up to disk.sync_interval earlier (interval: see there what may be lost)"),
    setting("disk.sync_interval", Kind::Duration, "200ms",
        "With sync = interval, how long an acknowledged publish may not be on the disk yet: a power failure or kernel crash may lose up to this much of what was acknowledged; after any unclean stop the topics written lately begin a new epoch").at_most("60s"),
    setting("disk.deliver", Kind::Deliver, "durable",
        "Readers see events when they are as durable as their acknowledgement says (durable), or before they are on the disk (early: after an unclean stop readers may have seen what is not kept; those topics begin a new epoch)"),
    setting("disk.cache_bytes", Kind::Size, "64MiB",
        "The store's own cache of blocks, beside limits.log_bytes"),

    setting("auth.secret", Kind::Secret, "",
        "The secret that signs tokens, never shown; better in its variable than among the flags, which every process sees"),
    setting("auth.key_file", Kind::File, "",
        "A file with the key of tokens: a secret, a public key in PEM, a JWK or a JWK Set"),
    setting("auth.key_env", Kind::Variable, "",
        "The name of an environment variable that holds what key_file would"),
    setting("auth.jwks_url", Kind::JwksUrl, "",
        "The address of the JWK Set with the keys of tokens"),
    setting("auth.issuer", Kind::Text, "",
        "What `iss` of a token has to be; anything where none is set"),
    setting("auth.audience", Kind::Text, "",
        "What `aud` of a token has to be, or, in a token without `aud`, `client_id` or `azp`; tidewire:ENVIRONMENT where none is set"),
    setting("auth.algorithms", Kind::Algorithms, "",
        "What tokens may be signed with; what the kind of each key says where none is set"),
    setting("auth.keys_file", Kind::File, "",
        "A file of [auth.key.NAME] tables and nothing else, read again when it changes"),
    setting("auth.revocations_file", Kind::File, "",
        "A file of what was revoked, read again when it changes; what the API revokes is added to it"),
    setting("auth.cookie", Kind::Cookie, "",
        "The cookie in which a token may stand"),
    setting("auth.leeway", Kind::Duration, "30s",
        "How far the clocks of issuers may be off").zero_means("none").at_most("5m"),
    setting("auth.jwks_refresh", Kind::Duration, "10m",
        "How often keys are fetched from a jwks_url"),
    setting("auth.jwks_min_interval", Kind::Duration, "30s",
        "The shortest time between two fetches, whatever tokens ask for"),
    setting("auth.jwks_timeout", Kind::Duration, "5s",
        "How long a fetch may take").at_most("60s"),

    setting("appsync.enabled", Kind::Switch, "true",
        "Serve clients of AWS AppSync Events under /event"),
    setting("appsync.max_events", Kind::Count("events"), "5",
        "Most events in one publish of such a client"),
    setting("appsync.max_event_bytes", Kind::Size, "240KiB",
        "Largest event of such a client; where this is not set, no more than limits.max_event_bytes"),
    setting("appsync.max_subscriptions", Kind::Count("subscriptions"), "200",
        "Subscriptions on one of their connections"),
    setting("appsync.replay", Kind::Switch, "true",
        "Keep the positions of their subscriptions, and send what was missed when they come back"),
    setting("appsync.replay_for", Kind::Duration, "1h",
        "How long a position is kept after it was last saved"),
    setting("appsync.replay_subscriptions", Kind::Count("subscriptions"), "10000",
        "Positions kept of one principal; over it the oldest goes"),
    setting("appsync.authorizer_url", Kind::AuthorizerUrl, "",
        "Where tokens that no issuer signed are asked about, as AppSync asks a Lambda authorizer"),
    setting("appsync.authorizer_timeout", Kind::Duration, "2s",
        "How long such an answer may take").at_most("10s"),
    setting("appsync.authorizer_ttl", Kind::Duration, "5m",
        "How long an answer is kept that does not say so itself").zero_means("not at all").at_most("1h"),

    setting("limits.max_connections", Kind::Count("connections"), "0",
        "Open connections").zero_means("derived from the descriptor limit"),
    setting("limits.max_event_bytes", Kind::Size, "256KiB",
        "Largest event"),
    setting("limits.max_batch_events", Kind::Count("events"), "1000",
        "Most events in one publish"),
    setting("limits.max_frame_bytes", Kind::Size, "1MiB",
        "Largest WebSocket message"),
    setting("limits.max_body_bytes", Kind::Size, "4MiB",
        "Largest HTTP request body"),
    setting("limits.max_subscriptions", Kind::Count("subscriptions"), "1000",
        "Subscriptions on one WebSocket"),
    // An SSE cursor names every topic and has to stay within 4 KiB.
    setting("limits.max_sse_topics", Kind::Count("topics"), "100",
        "Topics read by one SSE request").at_most("100"),
    setting("limits.outbox_bytes", Kind::Size, "64KiB",
        "What may wait for one socket, plus one item; a slower reader reads on from the log"),
    setting("limits.window_events", Kind::Count("events"), "1024",
        "Published events without an answer after which a connection is not read further"),
    setting("limits.window_bytes", Kind::Size, "4MiB",
        "Published bytes without an answer after which a connection is not read further"),
    setting("limits.log_bytes", Kind::Size, "1GiB",
        "All logs and folds together; the oldest events of the idlest topics go first"),
    setting("limits.inflight_bytes", Kind::Size, "64MiB",
        "All publishes on their way to a topic"),
    setting("limits.ping_interval", Kind::Duration, "25s",
        "Silence after which a WebSocket is pinged; closed after 2.5 times that"),
    setting("limits.sse_heartbeat", Kind::Duration, "15s",
        "Longest silence on an SSE stream before a comment is sent").at_most("15s"),
    setting("limits.stall_timeout", Kind::Duration, "30s",
        "How long a socket may take nothing of what waits for it"),
    setting("limits.header_timeout", Kind::Duration, "5s",
        "How long a client may take to send the head of a request"),
    setting("limits.auth_timeout", Kind::Duration, "10s",
        "How long a WebSocket that came without a token may take to bring one").at_most("60s"),
    setting("limits.max_unauthenticated", Kind::Count("connections"), "0",
        "Connections that have not said who they are yet").zero_means("half of max_connections"),
    setting("limits.max_header_bytes", Kind::Size, "32KiB",
        "A request's headers, names and values together"),
    setting("limits.max_query_bytes", Kind::Size, "16KiB",
        "A request's query"),
    setting("limits.passivate_after", Kind::Duration, "60s",
        "How long a topic nobody uses stays active"),
    setting("limits.compact_after", Kind::Duration, "60s",
        "How long after the end of a message its deltas are kept"),
    setting("limits.message_idle", Kind::Duration, "5m",
        "Silence after which a message that no lease protects is ended with `timeout`"),
    setting("limits.stream_idle", Kind::Duration, "10m",
        "How long an open publish stream may send nothing, not even an empty line"),
    setting("limits.publish_rate", Kind::Count("events per second"), "1000000",
        "What may be published into each namespace"),
    setting("limits.publish_burst", Kind::Count("events"), "1000000",
        "What a namespace may publish at once, above its rate"),

    setting("defaults.retention_events", Kind::Count("events"), "10000",
        "Events kept per topic"),
    setting("defaults.retention_bytes", Kind::Size, "16MiB",
        "Bytes kept per topic"),
    setting("defaults.retention_age", Kind::Duration, "1h",
        "How long an event is kept"),
    setting("defaults.read", Kind::Access, "grant",
        "Who may read: anyone, authenticated (who showed who they are), or only who has a grant"),
    setting("defaults.write", Kind::Access, "grant",
        "Who may publish"),
    setting("defaults.control", Kind::Access, "grant",
        "Who may send control events"),
    setting("defaults.publish_types", Kind::Types, "*",
        "Event types that a right to publish is good for"),
    setting("defaults.control_types", Kind::Types, "run.*",
        "Event types that a right to control is good for"),

    setting("quota.connection.publish_rate", Kind::Count("events per second"), "0",
        "What may be published by one connection").zero_means("no bound"),
    setting("quota.connection.publish_burst", Kind::Count("events"), "0",
        "What one connection may publish at once, above its rate").zero_means("as much as one second's rate"),
    setting("quota.connection.byte_rate", Kind::Size, "0",
        "Bytes a second that may be published by one connection").zero_means("no bound"),
    setting("quota.connection.byte_burst", Kind::Size, "0",
        "Bytes that one connection may publish at once, above its rate").zero_means("as much as one second's rate"),
    setting("quota.connection.topics_per_minute", Kind::Count("topics"), "0",
        "Topics that did not exist before, made in a minute by one connection").zero_means("no bound"),

    setting("quota.subject.connections", Kind::Count("connections"), "0",
        "Open connections and streams of one subject of tokens").zero_means("no bound"),
    setting("quota.subject.subscriptions", Kind::Count("subscriptions"), "0",
        "Topics being read by one subject of tokens").zero_means("no bound"),
    setting("quota.subject.publish_rate", Kind::Count("events per second"), "0",
        "What may be published by one subject of tokens").zero_means("no bound"),
    setting("quota.subject.publish_burst", Kind::Count("events"), "0",
        "What one subject of tokens may publish at once, above its rate").zero_means("as much as one second's rate"),
    setting("quota.subject.byte_rate", Kind::Size, "0",
        "Bytes a second that may be published by one subject of tokens").zero_means("no bound"),
    setting("quota.subject.byte_burst", Kind::Size, "0",
        "Bytes that one subject of tokens may publish at once, above its rate").zero_means("as much as one second's rate"),
    setting("quota.subject.topics_per_minute", Kind::Count("topics"), "0",
        "Topics that did not exist before, made in a minute by one subject of tokens").zero_means("no bound"),

    setting("quota.key.connections", Kind::Count("connections"), "0",
        "Open connections and streams of one API key").zero_means("no bound"),
    setting("quota.key.subscriptions", Kind::Count("subscriptions"), "0",
        "Topics being read by one API key").zero_means("no bound"),
    setting("quota.key.publish_rate", Kind::Count("events per second"), "0",
        "What may be published by one API key").zero_means("no bound"),
    setting("quota.key.publish_burst", Kind::Count("events"), "0",
        "What one API key may publish at once, above its rate").zero_means("as much as one second's rate"),
    setting("quota.key.byte_rate", Kind::Size, "0",
        "Bytes a second that may be published by one API key").zero_means("no bound"),
    setting("quota.key.byte_burst", Kind::Size, "0",
        "Bytes that one API key may publish at once, above its rate").zero_means("as much as one second's rate"),
    setting("quota.key.topics_per_minute", Kind::Count("topics"), "0",
        "Topics that did not exist before, made in a minute by one API key").zero_means("no bound"),

    setting("quota.namespace.subscriptions", Kind::Count("subscriptions"), "0",
        "Topics being read in one namespace").zero_means("no bound"),
    setting("quota.namespace.byte_rate", Kind::Size, "0",
        "Bytes a second that may be published into one namespace").zero_means("no bound"),
    setting("quota.namespace.byte_burst", Kind::Size, "0",
        "Bytes that may be published into one namespace at once, above its rate").zero_means("as much as one second's rate"),
    setting("quota.namespace.topics_per_minute", Kind::Count("topics"), "0",
        "Topics that did not exist before, made in a minute in one namespace").zero_means("no bound"),

    setting("quota.address.connections", Kind::Count("connections"), "0",
        "Open connections and streams of one client address (of IPv6 the first 64 bits)").zero_means("no bound"),
    setting("quota.address.subscriptions", Kind::Count("subscriptions"), "0",
        "Topics being read by one client address (of IPv6 the first 64 bits)").zero_means("no bound"),
    setting("quota.address.publish_rate", Kind::Count("events per second"), "0",
        "What may be published by one client address (of IPv6 the first 64 bits)").zero_means("no bound"),
    setting("quota.address.publish_burst", Kind::Count("events"), "0",
        "What one client address (of IPv6 the first 64 bits) may publish at once, above its rate").zero_means("as much as one second's rate"),
    setting("quota.address.byte_rate", Kind::Size, "0",
        "Bytes a second that may be published by one client address (of IPv6 the first 64 bits)").zero_means("no bound"),
    setting("quota.address.byte_burst", Kind::Size, "0",
        "Bytes that one client address (of IPv6 the first 64 bits) may publish at once, above its rate").zero_means("as much as one second's rate"),
    setting("quota.address.topics_per_minute", Kind::Count("topics"), "0",
        "Topics that did not exist before, made in a minute by one client address (of IPv6 the first 64 bits)").zero_means("no bound"),
];

/// The row of `key`.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The tables of the file that hold settings, in order, the top (empty) first.
pub fn tables() -> Vec<&'static str> {
    let mut tables: Vec<&'static str> = SETTINGS.iter().map(Setting::table).collect();
    tables.dedup();
    tables
}
