//! What cannot hold together about who may come in: keys of tokens that are two or none, algorithms
//! that their key does not take, and a broker that others reach while nobody can show who they are.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::{Search, Term};
use crate::config::access::{algorithm, secret_bytes};
use crate::config::auth::{Access, Secret};
use crate::config::layers::NamedTable;
use crate::config::problem::Problem;
use crate::config::tables::{ACCESS_KEY, Family, ISSUER, KEY};
use crate::config::value::Value;

/// Where the keys of an issuer can come from.
const SOURCES: [&str; 4] = ["secret", "key_file", "key_env", "jwks_url"];

/// How somebody could come to show who they are.
const AUTHENTICATE: &str = "let clients show who they are, with [auth] (such as \
                            TIDEWIRE_AUTH_SECRET, auth.jwks_url or auth.keys_file)";
const ANONYMOUS: &str =
    "let everybody do everything with --allow-anonymous (`allow_anonymous = true`)";

/// `[auth]` or one `[auth.issuers.NAME]`.
struct IssuerTable<'a> {
    label: String,
    /// `None`: `[auth]`.
    named: Option<&'a NamedTable>,
}

impl<'a> Search<'a> {
    pub(super) fn access(&mut self) {
        self.issuers();
        self.key_ids();
        self.access_keys();
        self.files();
        self.reach();
        self.proxies();
        self.authenticated();
    }

    /// Two keys with one id could not be told apart.
    pub(super) fn key_ids(&mut self) {
        self.ids_of(&KEY);
    }

    fn ids_of(&mut self, family: &'static Family) {
        let ids = self.named(family, "id");
        for (index, term) in ids.iter().enumerate() {
            let same = |other: &&Term<'_>| other.entry.value == term.entry.value;
            let Some(first) = ids[..index].iter().find(same) else {
                continue;
            };
            self.contradiction(
                &[first, term],
                format!(
                    "{} and {} are the same, and a key is found by its id",
                    first.describe(),
                    term.describe()
                ),
                "give each key an id of its own".to_owned(),
            );
        }
    }

    /// Each has an id of its own, and one secret.
    fn access_keys(&mut self) {
        self.ids_of(&ACCESS_KEY);
        let tables = self.layers.named.of(&ACCESS_KEY);
        for (name, table) in tables {
            self.access_secret(&ACCESS_KEY.label(name), table);
        }
    }

    fn access_secret(&mut self, label: &str, table: &'a NamedTable) {
        const SECRETS: [&str; 2] = ["secret", "secret_env"];
        let is_broken = |leaf: &&str| self.layers.is_broken(&format!("{label}.{leaf}"));
        if SECRETS.iter().any(is_broken) {
            return;
        }
        let term = |leaf: &str| {
            let entry = table.entries.get(leaf);
            Some(Term {
                key: format!("{label}.{leaf}"),
                kind: ACCESS_KEY.key(leaf)?.setting().kind,
                entry: entry.filter(|entry| entry.value.is_set())?,
            })
        };
        match SECRETS.map(term) {
            [None, None] => self.problems.push(Problem::Missing {
                origin: table.origin.clone(),
                table: label.to_owned(),
                key: "secret: `secret` or `secret_env`".to_owned(),
                fix: "write what requests are signed with, or name the variable that holds it"
                    .to_owned(),
            }),
            [Some(one), Some(other)] => self.contradiction(
                &[&one, &other],
                format!(
                    "{} and {} each name the secret, and a key has one",
                    one.describe(),
                    other.describe()
                ),
                "keep one of them".to_owned(),
            ),
            _ => {}
        }
    }

    fn issuers(&mut self) {
        let top = IssuerTable {
            label: "auth".to_owned(),
            named: None,
        };
        let named = self.layers.named.of(&ISSUER);
        let named = named.map(|(name, table)| IssuerTable {
            label: ISSUER.label(name),
            named: Some(table),
        });
        let tables: Vec<IssuerTable<'a>> = [top].into_iter().chain(named).collect();
        for table in &tables {
            self.issuer(table);
        }
    }

    fn issuer(&mut self, table: &IssuerTable<'a>) {
        let is_broken = |leaf: &&str| {
            let key = format!("{}.{leaf}", table.label);
            self.layers.is_broken(&key)
        };
        if SOURCES.iter().any(is_broken) {
            // What was meant is not known.
            return;
        }
        let sources = SOURCES.iter();
        let sources: Vec<Term<'_>> = sources
            .filter_map(|leaf| self.issuer_term(table, leaf))
            .collect();
        match sources.as_slice() {
            [] => self.issuer_without_key(table),
            [source] => self.issuer_algorithms(table, source),
            several => {
                let described: Vec<String> = several.iter().map(Term::describe).collect();
                self.contradiction(
                    &several.iter().collect::<Vec<_>>(),
                    format!(
                        "{} each name the key of tokens, and [{}] has one",
                        described.join(" and "),
                        table.label
                    ),
                    format!(
                        "keep one of them; a second issuer has a table {} of its own",
                        ISSUER.header
                    ),
                );
            }
        }
    }

    fn issuer_without_key(&mut self, table: &IssuerTable<'a>) {
        let fix = "name its key with secret, key_file, key_env or jwks_url";
        if let Some(named) = table.named {
            self.problems.push(Problem::Missing {
                origin: named.origin.clone(),
                table: table.label.clone(),
                key: "key: `secret`, `key_file`, `key_env` or `jwks_url`".to_owned(),
                fix: format!("{fix}, or remove the table"),
            });
            return;
        }
        for leaf in ["issuer", "audience", "algorithms"] {
            if let Some(term) = self.issuer_term(table, leaf) {
                self.contradiction(
                    &[&term],
                    format!(
                        "{} is about tokens, and [auth] names no key for them",
                        term.describe()
                    ),
                    format!("{fix}, or leave `{}` out", term.key),
                );
            }
        }
    }

    /// RFC 7518 §3.2 for secrets; and a secret is none where everybody can fetch it.
    fn issuer_algorithms(&mut self, table: &IssuerTable<'a>, source: &Term<'_>) {
        let Some(algorithms) = self.issuer_term(table, "algorithms") else {
            return;
        };
        let Value::List(names) = &algorithms.entry.value else {
            return;
        };
        for name in names {
            let needed = algorithm(name).and_then(secret_bytes);
            let described = (algorithms.describe(), source.describe());
            let (what, fix) = match (&source.entry.value, needed) {
                (Value::Secret(_), None) => (
                    format!("{} has {name}, which {} cannot check", described.0, described.1),
                    "keep HS256, HS384 and HS512 only, or name a public key with key_file, key_env \
                     or jwks_url"
                        .to_owned(),
                ),
                (Value::Secret(Secret(secret)), Some(needed)) if secret.len() < needed => (
                    format!(
                        "{} has {name}, for which {} is too short",
                        described.0, described.1
                    ),
                    format!("take a secret of {needed} bytes or more, or leave {name} out"),
                ),
                (Value::Text(_), Some(_)) if source.key.ends_with("jwks_url") => (
                    format!(
                        "{} has {name}, which takes a secret, and {} publishes its keys",
                        described.0, described.1
                    ),
                    format!("leave {name} out, or name the secret with secret, key_file or key_env"),
                ),
                _ => continue,
            };
            self.contradiction(&[&algorithms, source], what, fix);
        }
    }

    /// A key of `[auth]` or `[auth.issuers.NAME]` that says something.
    fn issuer_term(&self, table: &IssuerTable<'a>, leaf: &str) -> Option<Term<'a>> {
        let term = match table.named {
            None => self.setting(&format!("auth.{leaf}"))?,
            Some(named) => Term {
                key: format!("{}.{leaf}", table.label),
                kind: ISSUER.key(leaf)?.setting().kind,
                entry: named.entries.get(leaf)?,
            },
        };
        term.entry.value.is_set().then_some(term)
    }

    /// What is revoked is written by the broker, and would replace the keys.
    fn files(&mut self) {
        let keys = self.setting("auth.keys_file");
        let (Some(keys), Some(revoked)) = (keys, self.setting("auth.revocations_file")) else {
            return;
        };
        let (Value::Text(one), Value::Text(other)) = (&keys.entry.value, &revoked.entry.value)
        else {
            return;
        };
        if one.is_empty() || Path::new(one) != Path::new(other) {
            return;
        }
        self.contradiction(
            &[&keys, &revoked],
            format!(
                "{} and {} are the same file, and each holds something else",
                keys.describe(),
                revoked.describe()
            ),
            "name a file for each".to_owned(),
        );
    }

    /// Where nobody can show who they are, nobody but this machine unless everybody may do everything.
    fn reach(&mut self) {
        let Some(anonymous) = self.nobody_can_authenticate() else {
            return;
        };
        let Some(listen) = self.setting("listen") else {
            return;
        };
        let Value::Address(address) = &listen.entry.value else {
            return;
        };
        if address.ip().to_canonical().is_loopback() {
            return;
        }
        let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port());
        self.contradiction(
            &[&listen, &anonymous],
            format!(
                "{} reaches beyond this machine, nobody can show who they are, and {}",
                listen.describe(),
                anonymous.describe(),
            ),
            format!("{AUTHENTICATE}, or {ANONYMOUS}, or listen on {local}"),
        );
    }

    /// Through a proxy, others reach a broker on loopback too.
    fn proxies(&mut self) {
        let Some(anonymous) = self.nobody_can_authenticate() else {
            return;
        };
        let Some(proxies) = self.setting("trusted_proxies") else {
            return;
        };
        if !proxies.entry.value.is_set() {
            return;
        }
        self.contradiction(
            &[&proxies, &anonymous],
            format!(
                "{} let others reach the broker, nobody can show who they are, and {}",
                proxies.describe(),
                anonymous.describe(),
            ),
            format!("{AUTHENTICATE}, or {ANONYMOUS}, or leave `trusted_proxies` out"),
        );
    }

    /// A right of those who showed who they are, where nobody can, is nobody's.
    fn authenticated(&mut self) {
        let Some(anonymous) = self.nobody_can_authenticate() else {
            return;
        };
        for leaf in ["read", "write", "control"] {
            for right in self.namespaces_too(leaf) {
                if right.entry.value != Value::Access(Access::Authenticated) {
                    continue;
                }
                self.contradiction(
                    &[&right, &anonymous],
                    format!(
                        "{} is for those who show who they are, nobody can, and {}",
                        right.describe(),
                        anonymous.describe(),
                    ),
                    format!("{AUTHENTICATE}, or {ANONYMOUS}, or write \"anyone\" or \"grant\""),
                );
            }
        }
    }

    /// `allow_anonymous`, if it is off and there is no way to authenticate. Where a value below `[auth]`
    /// was refused, one was meant.
    fn nobody_can_authenticate(&self) -> Option<Term<'a>> {
        let anonymous = self.setting("allow_anonymous")?;
        let is_off = anonymous.entry.value == Value::Switch(false);
        let is_set = |key: &str| self.layers.entries.get(key).value.is_set();
        let can = self.layers.is_broken_in("auth")
            || SOURCES.iter().any(|leaf| is_set(&format!("auth.{leaf}")))
            || is_set("auth.keys_file")
            || self.layers.named.of(&ISSUER).next().is_some()
            || self.layers.named.of(&KEY).next().is_some()
            || self.layers.is_broken_in("appsync.access_key")
            || self.layers.is_broken("appsync.authorizer_url")
            || is_set("appsync.authorizer_url")
            || self.layers.named.of(&ACCESS_KEY).next().is_some();
        (is_off && !can).then_some(anonymous)
    }

    fn contradiction(&mut self, terms: &[&Term<'_>], what: String, fix: String) {
        let keys = terms.iter().map(|term| term.key.clone()).collect();
        self.problems
            .push(Problem::Contradiction { keys, what, fix });
    }
}
