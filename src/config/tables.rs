//! Tables that stand in the file only, one for each name: `[namespace.NAME]`, `[auth.issuers.NAME]`,
//! `[auth.key.NAME]` and `[appsync.access_key.NAME]`.
//!
//! A key of such a table takes what a row of the settings takes, and may inherit that row's value;
//! what has no such row is a row of its own here, without flag or variable.

use super::file::toml_key;
use super::kind::Kind;
use super::settings::{self, Setting, setting};
use crate::event::topic::check_segment;

/// All tables of one sort.
#[derive(Debug)]
pub struct Family {
    /// What stands before the name: `auth.key`.
    pub prefix: &'static str,
    /// What one of them is about.
    pub what: &'static str,
    /// Its name, by which errors and documentation call it.
    pub header: &'static str,
    /// What a name has to be.
    pub name_form: &'static str,
    pub is_name: fn(&str) -> bool,
    /// Whether a name may have dots, which want quotes.
    pub dotted_names: bool,
    pub keys: &'static [TableKey],
    /// Keys without which a table says nothing.
    pub required: &'static [&'static str],
    /// What documentation says above its keys.
    pub about: &'static str,
}

impl Family {
    /// The table of `name`, as its header has it.
    pub fn label(&self, name: &str) -> String {
        format!("{}.{}", self.prefix, toml_key(name))
    }

    pub fn key(&self, leaf: &str) -> Option<&'static TableKey> {
        self.keys.iter().find(|key| key.leaf == leaf)
    }

    pub fn leaves(&self) -> Vec<&'static str> {
        self.keys.iter().map(|key| key.leaf).collect()
    }
}

/// A key of a named table.
#[derive(Clone, Copy, Debug)]
pub struct TableKey {
    /// Its name in the table.
    pub leaf: &'static str,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    /// It takes what this setting takes, whose value holds where the table says nothing.
    Inherits(&'static str),
    /// It takes what this setting takes, and is nothing where the table says nothing.
    Like(&'static str),
    Own(Setting),
}

impl TableKey {
    /// What it takes.
    pub fn setting(&'static self) -> &'static Setting {
        match &self.form {
            Form::Inherits(key) | Form::Like(key) => {
                settings::find(key).expect("a named table's key is like a row of the settings")
            }
            Form::Own(setting) => setting,
        }
    }

    /// The key of the setting that holds where the table says nothing.
    pub fn inherits(&self) -> Option<&'static str> {
        match self.form {
            Form::Inherits(key) => Some(key),
            Form::Like(_) | Form::Own(_) => None,
        }
    }
}

const fn inherits(leaf: &'static str, key: &'static str) -> TableKey {
    let form = Form::Inherits(key);
    TableKey { leaf, form }
}

const fn like(leaf: &'static str, key: &'static str) -> TableKey {
    let form = Form::Like(key);
    TableKey { leaf, form }
}

const fn own(
    leaf: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> TableKey {
    let form = Form::Own(setting(leaf, kind, default, help));
    TableKey { leaf, form }
}

/// `[namespace.NAME]`
pub static NAMESPACE: Family = Family {
    prefix: "namespace",
    what: "namespace",
    header: "[namespace.NAME]",
    name_form: "write 1 to 128 of A-Z a-z 0-9 . _ : ~ -, not . or ..; with . : or ~ in quotes",
    is_name: |name| check_segment(name).is_ok(),
    dotted_names: true,
    keys: &[
        inherits("retention_events", "defaults.retention_events"),
        inherits("retention_bytes", "defaults.retention_bytes"),
        inherits("retention_age", "defaults.retention_age"),
        inherits("publish_rate", "limits.publish_rate"),
        inherits("publish_burst", "limits.publish_burst"),
        inherits("read", "defaults.read"),
        inherits("write", "defaults.write"),
        inherits("control", "defaults.control"),
        inherits("publish_types", "defaults.publish_types"),
        inherits("control_types", "defaults.control_types"),
        inherits("subscriptions", "quota.namespace.subscriptions"),
        inherits("byte_rate", "quota.namespace.byte_rate"),
        inherits("byte_burst", "quota.namespace.byte_burst"),
        inherits("topics_per_minute", "quota.namespace.topics_per_minute"),
    ],
    required: &[],
    about: "One table for each namespace that differs; only in the file. A name with `.`, `:` or `~` \
            stands in quotes: `[namespace.\"a.b\"]`. What is set here beats what it inherits, however \
            that was set.",
};

/// `[auth.issuers.NAME]`
pub static ISSUER: Family = Family {
    prefix: "auth.issuers",
    what: "issuer",
    header: "[auth.issuers.NAME]",
    name_form: "write 1 to 64 of A-Z a-z 0-9 _ -",
    is_name: is_short_name,
    dotted_names: false,
    keys: &[
        like("secret", "auth.secret"),
        like("key_file", "auth.key_file"),
        like("key_env", "auth.key_env"),
        like("jwks_url", "auth.jwks_url"),
        like("issuer", "auth.issuer"),
        like("audience", "auth.audience"),
        like("algorithms", "auth.algorithms"),
    ],
    required: &[],
    about: "One table for each further issuer of tokens, beside `[auth]` itself; only in the file. It has \
            exactly one of `secret`, `key_file`, `key_env` and `jwks_url`. A name is 1 to 64 of \
            `A-Za-z0-9_-`.",
};

/// `[auth.key.NAME]`
pub static KEY: Family = Family {
    prefix: "auth.key",
    what: "API key",
    header: "[auth.key.NAME]",
    name_form: "write 1 to 64 of A-Z a-z 0-9 _ -",
    is_name: is_short_name,
    dotted_names: false,
    keys: &[
        own(
            "id",
            Kind::KeyId,
            "",
            "By which the key is found: the second part of tw_ID_SECRET; needed",
        ),
        own(
            "hash",
            Kind::KeyHash,
            "",
            "SHA-256 of the whole key, which itself stands nowhere; needed",
        ),
        own(
            "subscribe",
            Kind::Grants,
            "",
            "What it may read: paths such as /news, and patterns such as /chat/* or /chat/**; {sub} is its name",
        ),
        own("publish", Kind::Grants, "", "Where it may publish"),
        own(
            "control",
            Kind::Grants,
            "",
            "Where it may send control events",
        ),
        own("delete", Kind::Grants, "", "What it may erase"),
        own(
            "admin",
            Kind::Switch,
            "false",
            "It may revoke, and read metrics",
        ),
        own(
            "expires",
            Kind::Time,
            "",
            "When it stops being good; never where none is set",
        ),
        inherits("connections", "quota.key.connections"),
        inherits("subscriptions", "quota.key.subscriptions"),
        inherits("publish_rate", "quota.key.publish_rate"),
        inherits("publish_burst", "quota.key.publish_burst"),
        inherits("byte_rate", "quota.key.byte_rate"),
        inherits("byte_burst", "quota.key.byte_burst"),
        inherits("topics_per_minute", "quota.key.topics_per_minute"),
    ],
    required: &["id", "hash"],
    about: "One table for each API key; only in the file, or in the file that `auth.keys_file` names. A name \
            is 1 to 64 of `A-Za-z0-9_-`. Two keys cannot have the same `id`.",
};

/// `[appsync.access_key.NAME]`
pub static ACCESS_KEY: Family = Family {
    prefix: "appsync.access_key",
    what: "access key",
    header: "[appsync.access_key.NAME]",
    name_form: "write 1 to 64 of A-Z a-z 0-9 _ -",
    is_name: is_short_name,
    dotted_names: false,
    keys: &[
        own(
            "id",
            Kind::AccessKeyId,
            "",
            "By which the key is found, as it stands in signatures; needed",
        ),
        own(
            "secret",
            Kind::Secret,
            "",
            "What requests are signed with, never shown; it or secret_env is needed",
        ),
        own(
            "secret_env",
            Kind::Variable,
            "",
            "The name of an environment variable that holds the secret",
        ),
        own(
            "subscribe",
            Kind::Grants,
            "",
            "What it may read: paths such as /news, and patterns such as /chat/* or /chat/**; {sub} is its name",
        ),
        own("publish", Kind::Grants, "", "Where it may publish"),
        own(
            "control",
            Kind::Grants,
            "",
            "Where it may send control events",
        ),
        own("delete", Kind::Grants, "", "What it may erase"),
        own(
            "expires",
            Kind::Time,
            "",
            "When it stops being good; never where none is set",
        ),
    ],
    required: &["id"],
    about: "One table for each access key with which clients of AWS AppSync Events sign (IAM, Signature Version 4); \
            only in the file. A name is 1 to 64 of `A-Za-z0-9_-`. Two keys cannot have the same `id`. What one may \
            use is bounded by `[quota.key]`.",
};

/// Every sort of named table, in the order in which they are printed and documented.
pub static FAMILIES: [&Family; 4] = [&NAMESPACE, &ISSUER, &KEY, &ACCESS_KEY];

fn is_short_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}
