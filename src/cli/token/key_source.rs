//! Where the key comes from that signs or verifies: a variable, a file, or the broker's configuration. Never a
//! flag's value: those can be read by everybody on the computer, and stay in the shell's history.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Command;

use crate::cli::failure::Failure;
use crate::config::{self, Config, Issuer, KeySource};

/// Where a broker finds its secret, too.
pub const DEFAULT_VARIABLE: &str = "TIDEWIRE_AUTH_SECRET";
/// No key is larger; a wrong path (`/dev/zero`) may name something that is.
const MAX_KEY_BYTES: u64 = 64 << 10;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "The key")]
pub struct KeyFlags {
    /// The environment variable that holds the secret
    #[arg(long, value_name = "NAME", conflicts_with_all = ["key_file", "config"])]
    pub secret_env: Option<String>,
    /// A file that holds a secret, or a key in PEM
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub key_file: Option<PathBuf>,
    /// The broker's configuration: its key, issuer and environment
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// With --config: the table [auth.issuers.NAME] instead of [auth]
    #[arg(long, value_name = "NAME", requires = "config")]
    pub from: Option<String>,
}

impl KeyFlags {
    pub fn is_given(&self) -> bool {
        self.secret_env.is_some() || self.key_file.is_some() || self.config.is_some()
    }
}

/// A key as it was found.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyText {
    Secret(Vec<u8>),
    /// One or more PEM blocks (RFC 7468).
    Pem(Vec<u8>),
}

/// Without the key.
impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(…)",
            Self::Pem(_) => "Pem(…)",
        })
    }
}

impl KeyText {
    /// `place` says where it was found.
    fn of(mut bytes: Vec<u8>, place: &str) -> Result<Self, Failure> {
        // editors and `openssl rand` end a file with a line end; it belongs to no secret
        bytes.pop_if(|last| *last == b'\n');
        bytes.pop_if(|last| *last == b'\r');
        if bytes.is_empty() {
            return Err(Failure::refused(format_args!("{place} is empty")));
        }
        if bytes.trim_ascii_start().starts_with(b"{") {
            return Err(Failure::refused(format_args!(
                "{place} holds JSON, and a key set cannot be used here: give a secret or a key in PEM"
            )));
        }
        match bytes.windows(11).any(|at| at == b"-----BEGIN ") {
            true => Ok(Self::Pem(bytes)),
            false => Ok(Self::Secret(bytes)),
        }
    }

    pub fn from_variable(name: &str) -> Result<Self, Failure> {
        let value = std::env::var_os(name).ok_or_else(|| {
            Failure::usage(format_args!("the environment variable {name} is not set"))
        })?;
        Self::of(value.into_encoded_bytes(), name)
    }

    pub fn from_file(path: &Path) -> Result<Self, Failure> {
        let place = path.display().to_string();
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_KEY_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| Failure::refused(format_args!("{place}: {error}")))?;
        if bytes.len() as u64 > MAX_KEY_BYTES {
            return Err(Failure::refused(format_args!(
                "{place} is larger than {MAX_KEY_BYTES} bytes: it is no key"
            )));
        }
        Self::of(bytes, &place)
    }

    pub fn of_issuer(issuer: &Issuer) -> Result<Self, Failure> {
        match &issuer.keys {
            KeySource::Secret(secret) => Self::of(
                secret.0.clone().into_bytes(),
                &format!("{} secret", table(issuer)),
            ),
            KeySource::File(path) => Self::from_file(path),
            KeySource::Variable(name) => Self::from_variable(name),
            KeySource::Jwks(_) => Err(Failure::refused(format_args!(
                "{} fetches its keys from an address; only a broker does that",
                table(issuer)
            ))),
        }
    }
}

/// The configuration as the broker would read it, with the variables that it would read.
pub fn load(path: &Path) -> Result<Config, Failure> {
    let mut flag = std::ffi::OsString::from("--config=");
    flag.push(path);
    let command = config::args(Command::new("tidewire"));
    let matches = command
        .try_get_matches_from(["tidewire".into(), flag])
        .map_err(Failure::usage)?;
    config::load_process(&matches).map_err(|problems| Failure::Usage(format!("\n{problems}")))
}

/// The issuer that `--from` names: by default `[auth]` itself, or the only one.
pub fn issuer<'a>(config: &'a Config, from: Option<&str>) -> Result<&'a Issuer, Failure> {
    let issuers = &config.auth.issuers;
    let by_name = |name: &str| issuers.iter().find(|issuer| issuer.name == name);
    let found = match from {
        Some(name) => by_name(name),
        None => by_name("").or(match issuers.as_slice() {
            [only] => Some(only),
            _ => None,
        }),
    };
    found.ok_or_else(|| {
        let tables: Vec<String> = issuers.iter().map(table).collect();
        let there = match tables.is_empty() {
            true => "the configuration names no key that tokens are signed with".to_owned(),
            false => format!("the configuration has {}", tables.join(", ")),
        };
        Failure::usage(match from {
            Some(name) => format!("--from {name}: {there}"),
            None if issuers.is_empty() => there,
            None => format!("{there}: name one with --from"),
        })
    })
}

/// The table in which it stands.
pub fn table(issuer: &Issuer) -> String {
    match issuer.name.as_str() {
        "" => "[auth]".to_owned(),
        name => format!("[auth.issuers.{name}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn issuer_named(name: &str) -> Issuer {
        Issuer {
            name: name.into(),
            issuer: None,
            audience: None,
            keys: KeySource::Secret(Secret("s".repeat(40))),
            algorithms: Vec::new(),
        }
    }

    #[test]
    fn a_secret_ends_before_the_line_end_and_a_pem_is_seen() {
        let of = |text: &str| KeyText::of(text.into(), "it");
        assert_eq!(of("abc\r\n"), Ok(KeyText::Secret(b"abc".into())));
        assert_eq!(of(" a b "), Ok(KeyText::Secret(b" a b ".into())));
        let pem = "text before\n-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
        assert!(matches!(of(pem), Ok(KeyText::Pem(_))));
        for bad in ["", "\n", "{\"keys\":[]}"] {
            assert!(matches!(of(bad), Err(Failure::Refused(_))), "{bad}");
        }
    }

    #[test]
    fn the_issuer_is_the_one_named_or_the_only_one() {
        let mut config = Config::default();
        let name = |config: &Config, from| issuer(config, from).map(|issuer| issuer.name.clone());
        assert!(name(&config, None).is_err());
        config.auth.issuers = vec![issuer_named("a")];
        assert_eq!(name(&config, None), Ok("a".into()));
        config.auth.issuers.push(issuer_named("b"));
        let refused = name(&config, None).expect_err("two of them").to_string();
        assert!(refused.contains("[auth.issuers.b]") && refused.contains("--from"));
        assert_eq!(name(&config, Some("b")), Ok("b".into()));
        assert!(name(&config, Some("c")).is_err());
        config.auth.issuers.push(issuer_named(""));
        assert_eq!(name(&config, None), Ok(String::new()));
    }

    #[test]
    fn no_key_is_in_debug_output() {
        let key = KeyText::Secret(b"do not show".into());
        assert!(!format!("{key:?}").contains("show"));
    }
}
