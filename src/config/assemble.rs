//! From values that are good to the structs that the broker reads.
//!
//! Nothing can fail here: every value has the type of its row, and what a table needs is there.

use std::collections::BTreeMap;

use super::appsync::{AccessKey, AccessSecret, AppSync, AuthorizerSettings};
use super::auth::{ApiKey, Auth, Issuer, KeySource, Quota, Quotas, Secret};
use super::layers::{Entries, NamedTables, OwnEntries, entry_in_force};
use super::tables::{ACCESS_KEY, Family, ISSUER, KEY, NAMESPACE};
use super::value::{FromValue, Value};
use super::{Config, Defaults, Disk, Limits, Log, Namespace, access};
use crate::auth::GrantTexts;

pub fn config(entries: &Entries, named: &NamedTables) -> Config {
    let quotas = quotas(entries);
    Config {
        listen: entries.take("listen"),
        workers: entries.take("workers"),
        engine: entries.take("engine"),
        data_dir: entries.take("data_dir"),
        environment: entries.take("environment"),
        allow_anonymous: entries.take("allow_anonymous"),
        strict_namespaces: entries.take("strict_namespaces"),
        allowed_origins: entries.take("allowed_origins"),
        allowed_hosts: entries.take("allowed_hosts"),
        trusted_proxies: entries.take("trusted_proxies"),
        forwarded_header: entries.take("forwarded_header"),
        max_connection_age: entries.take("max_connection_age"),
        drain_timeout: entries.take("drain_timeout"),
        log: Log {
            level: entries.take("log.level"),
            format: entries.take("log.format"),
        },
        disk: Disk {
            sync: entries.take("disk.sync"),
            sync_interval: entries.take("disk.sync_interval"),
            deliver: entries.take("disk.deliver"),
            cache_bytes: entries.take("disk.cache_bytes"),
        },
        auth: Auth {
            issuers: issuers(entries, named),
            keys: api_keys(named, &quotas.key),
            keys_file: entries.take("auth.keys_file"),
            revocations_file: entries.take("auth.revocations_file"),
            cookie: entries.take("auth.cookie"),
            leeway: entries.take("auth.leeway"),
            jwks_refresh: entries.take("auth.jwks_refresh"),
            jwks_min_interval: entries.take("auth.jwks_min_interval"),
            jwks_timeout: entries.take("auth.jwks_timeout"),
        },
        quotas,
        limits: limits(entries),
        defaults: Defaults {
            retention_events: entries.take("defaults.retention_events"),
            retention_bytes: entries.take("defaults.retention_bytes"),
            retention_age: entries.take("defaults.retention_age"),
            read: entries.take("defaults.read"),
            write: entries.take("defaults.write"),
            control: entries.take("defaults.control"),
            publish_types: entries.take("defaults.publish_types"),
            control_types: entries.take("defaults.control_types"),
        },
        namespaces: named
            .of(&NAMESPACE)
            .map(|(name, table)| (name.clone(), namespace(&table.entries, entries)))
            .collect(),
        other_namespaces: namespace(&OwnEntries::new(), entries),
        appsync: appsync(entries, named),
    }
}

/// Every `[auth.key.NAME]`; what one does not set of its quota is that of `inherited`.
pub fn api_keys(named: &NamedTables, inherited: &Quota) -> BTreeMap<String, ApiKey> {
    let keys = named.of(&KEY);
    keys.map(|(name, table)| (name.clone(), api_key(&table.entries, inherited)))
        .collect()
}

fn limits(entries: &Entries) -> Limits {
    Limits {
        max_connections: entries.take("limits.max_connections"),
        max_event_bytes: entries.take("limits.max_event_bytes"),
        max_batch_events: entries.take("limits.max_batch_events"),
        max_frame_bytes: entries.take("limits.max_frame_bytes"),
        max_body_bytes: entries.take("limits.max_body_bytes"),
        max_subscriptions: entries.take("limits.max_subscriptions"),
        max_sse_topics: entries.take("limits.max_sse_topics"),
        outbox_bytes: entries.take("limits.outbox_bytes"),
        window_events: entries.take("limits.window_events"),
        window_bytes: entries.take("limits.window_bytes"),
        log_bytes: entries.take("limits.log_bytes"),
        inflight_bytes: entries.take("limits.inflight_bytes"),
        ping_interval: entries.take("limits.ping_interval"),
        sse_heartbeat: entries.take("limits.sse_heartbeat"),
        stall_timeout: entries.take("limits.stall_timeout"),
        header_timeout: entries.take("limits.header_timeout"),
        auth_timeout: entries.take("limits.auth_timeout"),
        max_unauthenticated: entries.take("limits.max_unauthenticated"),
        max_header_bytes: entries.take("limits.max_header_bytes"),
        max_query_bytes: entries.take("limits.max_query_bytes"),
        passivate_after: entries.take("limits.passivate_after"),
        compact_after: entries.take("limits.compact_after"),
        message_idle: entries.take("limits.message_idle"),
        stream_idle: entries.take("limits.stream_idle"),
        publish_rate: entries.take("limits.publish_rate"),
        publish_burst: entries.take("limits.publish_burst"),
    }
}

/// A key that a quota does not have is one without a bound.
fn quotas(entries: &Entries) -> Quotas {
    let quota = |table: &str| {
        let number = |leaf: &str| {
            let entry = entries.find(&format!("quota.{table}.{leaf}"));
            entry.map_or(0, |entry| content(&entry.value))
        };
        Quota {
            connections: number("connections"),
            subscriptions: number("subscriptions"),
            publish_rate: number("publish_rate"),
            publish_burst: number("publish_burst"),
            byte_rate: number("byte_rate"),
            byte_burst: number("byte_burst"),
            topics_per_minute: number("topics_per_minute"),
        }
    };
    Quotas {
        connection: quota("connection"),
        subject: quota("subject"),
        key: quota("key"),
        namespace: quota("namespace"),
        address: quota("address"),
    }
}

fn namespace(own: &OwnEntries, entries: &Entries) -> Namespace {
    let publish_rate = inherited(&NAMESPACE, own, entries, "publish_rate");
    let publish_burst = inherited(&NAMESPACE, own, entries, "publish_burst");
    Namespace {
        retention_events: inherited(&NAMESPACE, own, entries, "retention_events"),
        retention_bytes: inherited(&NAMESPACE, own, entries, "retention_bytes"),
        retention_age: inherited(&NAMESPACE, own, entries, "retention_age"),
        publish_rate,
        publish_burst,
        read: inherited(&NAMESPACE, own, entries, "read"),
        write: inherited(&NAMESPACE, own, entries, "write"),
        control: inherited(&NAMESPACE, own, entries, "control"),
        publish_types: inherited(&NAMESPACE, own, entries, "publish_types"),
        control_types: inherited(&NAMESPACE, own, entries, "control_types"),
        quota: Quota {
            connections: 0,
            subscriptions: inherited(&NAMESPACE, own, entries, "subscriptions"),
            publish_rate,
            publish_burst,
            byte_rate: inherited(&NAMESPACE, own, entries, "byte_rate"),
            byte_burst: inherited(&NAMESPACE, own, entries, "byte_burst"),
            topics_per_minute: inherited(&NAMESPACE, own, entries, "topics_per_minute"),
        },
    }
}

/// `[auth]` itself, if it names a key, then each `[auth.issuers.NAME]`.
fn issuers(entries: &Entries, named: &NamedTables) -> Vec<Issuer> {
    let top = issuer("", |leaf| {
        let entry = entries.find(&format!("auth.{leaf}"));
        entry.map(|entry| &entry.value)
    });
    let named = named.of(&ISSUER).filter_map(|(name, table)| {
        issuer(name, |leaf| {
            table.entries.get(leaf).map(|entry| &entry.value)
        })
    });
    top.into_iter().chain(named).collect()
}

fn issuer<'a>(name: &str, value: impl Fn(&str) -> Option<&'a Value>) -> Option<Issuer> {
    let set = |leaf: &str| value(leaf).filter(|value| value.is_set());
    let text = |leaf: &str| set(leaf).map(content::<String>);
    let secret = set("secret").map(|value| KeySource::Secret(content::<Secret>(value)));
    let keys = secret
        .or_else(|| text("key_file").map(|path| KeySource::File(path.into())))
        .or_else(|| text("key_env").map(KeySource::Variable))
        .or_else(|| text("jwks_url").map(KeySource::Jwks))?;
    Some(Issuer {
        name: name.to_owned(),
        issuer: text("issuer"),
        audience: text("audience"),
        keys,
        algorithms: set("algorithms").map(content).unwrap_or_default(),
    })
}

fn api_key(own: &OwnEntries, inherited: &Quota) -> ApiKey {
    let number = |leaf: &str, inherited: u64| own_value(own, leaf).unwrap_or(inherited);
    ApiKey {
        id: own_value(own, "id").expect("a key without an id is refused"),
        hash: own_value(own, "hash").expect("a key without a hash is refused"),
        grants: grants(own),
        admin: own_value(own, "admin").unwrap_or(false),
        expires: expires(own),
        quota: Quota {
            connections: number("connections", inherited.connections),
            subscriptions: number("subscriptions", inherited.subscriptions),
            publish_rate: number("publish_rate", inherited.publish_rate),
            publish_burst: number("publish_burst", inherited.publish_burst),
            byte_rate: number("byte_rate", inherited.byte_rate),
            byte_burst: number("byte_burst", inherited.byte_burst),
            topics_per_minute: number("topics_per_minute", inherited.topics_per_minute),
        },
    }
}

fn grants(own: &OwnEntries) -> GrantTexts {
    let list = |leaf: &str| own_value(own, leaf).unwrap_or_default();
    GrantTexts {
        subscribe: list("subscribe"),
        publish: list("publish"),
        control: list("control"),
        delete: list("delete"),
    }
}

/// Unix seconds.
fn expires(own: &OwnEntries) -> Option<u64> {
    let text: Option<String> = own_value(own, "expires");
    text.map(|text| access::unix_seconds(&text).expect("it was read as a time"))
}

fn appsync(entries: &Entries, named: &NamedTables) -> AppSync {
    let url: Option<String> = entries.take("appsync.authorizer_url");
    let keys = named.of(&ACCESS_KEY);
    AppSync {
        enabled: entries.take("appsync.enabled"),
        max_events: entries.take("appsync.max_events"),
        max_event_bytes: entries.take("appsync.max_event_bytes"),
        max_subscriptions: entries.take("appsync.max_subscriptions"),
        replay: entries.take("appsync.replay"),
        replay_for: entries.take("appsync.replay_for"),
        replay_subscriptions: entries.take("appsync.replay_subscriptions"),
        authorizer: url.map(|url| AuthorizerSettings {
            url,
            timeout: entries.take("appsync.authorizer_timeout"),
            ttl: entries.take("appsync.authorizer_ttl"),
        }),
        access_keys: keys
            .map(|(name, table)| (name.clone(), access_key(&table.entries)))
            .collect(),
    }
}

fn access_key(own: &OwnEntries) -> AccessKey {
    let variable = || own_value(own, "secret_env").map(AccessSecret::Variable);
    let secret = own_value(own, "secret").map(AccessSecret::Text);
    let secret = secret.or_else(variable);
    AccessKey {
        id: own_value(own, "id").expect("an access key without an id is refused"),
        secret: secret.expect("an access key without a secret is refused"),
        grants: grants(own),
        expires: expires(own),
    }
}

fn inherited<T: FromValue>(family: &Family, own: &OwnEntries, entries: &Entries, leaf: &str) -> T {
    let key = family.key(leaf);
    let key = key.expect("every field that is inherited is a key of its table");
    let entry = entry_in_force(own, entries, key);
    content(&entry.expect("it inherits from a row of the settings").value)
}

fn own_value<T: FromValue>(own: &OwnEntries, leaf: &str) -> Option<T> {
    own.get(leaf).map(|entry| content(&entry.value))
}

fn content<T: FromValue>(value: &Value) -> T {
    T::from_value(value).expect("the row's kind is that of the field")
}
