//! `tidewire token create`: signs a token and prints it alone, so that `TOKEN=$(tidewire token create …)` works.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::builder::PossibleValuesParser;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};

use super::key_source::{DEFAULT_VARIABLE, KeyFlags, KeyText, issuer, load};
use super::{COMMAND, DEFAULT_ENVIRONMENT, audience, check_environment};
use crate::auth::{Action, GrantTexts};
use crate::cli::failure::{Failure, parse_duration};
use crate::cli::grant_flags::{GrantFlags, plain};
use crate::cli::moment;
use crate::cli::target::say;

/// What other flags say.
const OWN_CLAIMS: [&str; 8] = ["sub", "aud", "iat", "nbf", "exp", "jti", "iss", "tidewire"];
const ALGORITHMS: [&str; 12] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "EdDSA",
];

/// Makes a token and prints it
#[derive(clap::Args, Debug)]
#[command(after_help = "\
The key is read from a variable or a file, never from the command line; without a flag, from the variable \
TIDEWIRE_AUTH_SECRET. A secret has 32 bytes at least: openssl rand -base64 48

The token alone goes to standard output: TOKEN=$(tidewire token create --subject ada --subscribe '/chat/*')")]
pub struct Args {
    /// Whom it is for; stands for {sub} in patterns
    #[arg(long, value_name = "NAME")]
    subject: String,
    #[command(flatten)]
    grants: GrantFlags,
    /// How long it is good, from now
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    expires_in: Duration,
    /// How long from now it is not good yet [default: it is good at once]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    not_before_in: Option<Duration>,
    /// The environment of the broker [default: that of --config, else dev]
    #[arg(long, value_name = "NAME", env = "TIDEWIRE_ENVIRONMENT")]
    environment: Option<String>,
    /// Who says so: the claim iss [default: that of --config, else none]
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// The token's own id, by which it can be revoked [default: a random one]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Which of the issuer's keys it is
    #[arg(long, value_name = "ID")]
    kid: Option<String>,
    /// [default: HS256 with a secret, else what the key's kind says]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(ALGORITHMS))]
    algorithm: Option<String>,
    /// The type in the header
    #[arg(long = "type", value_name = "TYPE", default_value = "JWT", value_parser = ["JWT", "at+jwt"])]
    kind: String,
    /// Another claim, for example role='"admin"'
    #[arg(long = "claim", value_name = "NAME=JSON", value_parser = parse_claim)]
    claims: Vec<(String, Value)>,
    #[command(flatten)]
    key: KeyFlags,
}

/// What the flags and the configuration say together.
struct Setting {
    key: KeyText,
    issuer: Option<String>,
    environment: String,
    /// What its broker wants as `aud`.
    audience: String,
    /// What the configuration lets the key be used with; empty: what its kind says.
    algorithms: Vec<Algorithm>,
}

pub fn run(args: &Args) -> ExitCode {
    match create(args) {
        Ok((token, summary)) => {
            let mut out = std::io::stdout();
            if let Err(error) = writeln!(out, "{token}").and_then(|()| out.flush()) {
                return Failure::refused(format_args!("standard output: {error}")).exit(COMMAND);
            }
            say(COMMAND, summary);
            ExitCode::SUCCESS
        }
        Err(failure) => failure.exit(COMMAND),
    }
}

fn create(args: &Args) -> Result<(String, String), Failure> {
    if args.subject.is_empty() {
        return Err(Failure::usage(
            "--subject is empty: nobody would be known by it",
        ));
    }
    let grants = args.grants.checked(&args.subject).map_err(Failure::Usage)?;
    let setting = setting(args)?;
    check_environment(&setting.environment)?;
    let id = match &args.id {
        Some(id) => id.clone(),
        None => {
            random_id().map_err(|error| Failure::refused(format_args!("randomness: {error}")))?
        }
    };
    let now = moment::now();
    let claims = claims(args, &setting, &grants, id, now)?;
    let asked = args.algorithm.as_deref().map(str::parse).transpose();
    let asked = asked.map_err(|_| Failure::usage("--algorithm is not known"))?;
    let header = Header {
        typ: Some(args.kind.clone()),
        kid: args.kid.clone(),
        ..Header::default()
    };
    let (token, algorithm) = sign(&header, &claims, &setting, asked)?;
    Ok((token, summary(&claims, &grants, algorithm, now)))
}

fn setting(args: &Args) -> Result<Setting, Failure> {
    let flags = &args.key;
    let (issuer, environment) = (args.issuer.clone(), args.environment.clone());
    if let Some(path) = &flags.config {
        let config = load(path)?;
        let found = self::issuer(&config, flags.from.as_deref())?;
        let environment = environment.unwrap_or_else(|| config.environment.clone());
        return Ok(Setting {
            key: KeyText::of_issuer(found)?,
            issuer: issuer.or_else(|| found.issuer.clone()),
            audience: found.audience_in(&environment),
            environment,
            algorithms: found.algorithms.clone(),
        });
    }
    let key = match (&flags.key_file, &flags.secret_env) {
        (Some(path), _) => KeyText::from_file(path)?,
        (None, Some(name)) => KeyText::from_variable(name)?,
        (None, None) if std::env::var_os(DEFAULT_VARIABLE).is_none() => {
            return Err(Failure::usage(format_args!(
                "no key to sign with: set {DEFAULT_VARIABLE}, or give --secret-env NAME, --key-file FILE or \
                 --config FILE"
            )));
        }
        (None, None) => KeyText::from_variable(DEFAULT_VARIABLE)?,
    };
    let environment = environment.unwrap_or_else(|| DEFAULT_ENVIRONMENT.to_owned());
    Ok(Setting {
        key,
        issuer,
        audience: audience(&environment),
        environment,
        algorithms: Vec::new(),
    })
}

fn claims(
    args: &Args,
    setting: &Setting,
    grants: &GrantTexts,
    id: String,
    now: u64,
) -> Result<Map<String, Value>, Failure> {
    let expires = now + args.expires_in.as_secs();
    let not_before = args.not_before_in.map(|wait| now + wait.as_secs());
    if expires <= not_before.unwrap_or(now) {
        return Err(Failure::usage(
            "--expires-in: it would expire before it is good; times are whole seconds",
        ));
    }
    let mut claims = Map::new();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    set("sub", args.subject.as_str().into());
    set("aud", setting.audience.as_str().into());
    set("iat", now.into());
    set("exp", expires.into());
    set("jti", id.into());
    if let Some(not_before) = not_before {
        set("nbf", not_before.into());
    }
    if let Some(issuer) = &setting.issuer {
        set("iss", issuer.as_str().into());
    }
    set("tidewire", json!(grants));
    for (name, value) in &args.claims {
        if set(name, value.clone()).is_some() {
            return Err(Failure::usage(format_args!(
                "--claim {name} is given twice"
            )));
        }
    }
    Ok(claims)
}

/// Signs with what was asked for, or else with the first algorithm that the key is good for.
fn sign(
    header: &Header,
    claims: &Map<String, Value>,
    setting: &Setting,
    asked: Option<Algorithm>,
) -> Result<(String, Algorithm), Failure> {
    let key = SigningKey::of(&setting.key)?;
    let allowed = |algorithm: &Algorithm| {
        setting.algorithms.is_empty() || setting.algorithms.contains(algorithm)
    };
    let candidates: Vec<Algorithm> = match asked {
        Some(asked) => vec![asked],
        // those that the broker takes come first in its list
        None if !setting.algorithms.is_empty() => setting.algorithms.clone(),
        None => key.usual.to_vec(),
    };
    for algorithm in candidates.into_iter().filter(allowed) {
        check_length(&setting.key, algorithm)?;
        let header = Header {
            alg: algorithm,
            ..header.clone()
        };
        if let Ok(token) = encode(&header, claims, &key.key) {
            return Ok((token, algorithm));
        }
    }
    Err(Failure::usage(match asked {
        Some(asked) if !allowed(&asked) => {
            format!("--algorithm {asked:?}: the configuration does not take it")
        }
        Some(asked) => format!(
            "--algorithm {asked:?} does not go with this key: {}",
            key.is
        ),
        None => format!("this key cannot sign: {}", key.is),
    }))
}

struct SigningKey {
    key: EncodingKey,
    /// What to try, where nothing is asked for: of a curve, only its own works.
    usual: &'static [Algorithm],
    /// What it is, in words.
    is: &'static str,
}

impl SigningKey {
    fn of(key: &KeyText) -> Result<Self, Failure> {
        let pem = match key {
            KeyText::Secret(secret) => {
                return Ok(Self {
                    key: EncodingKey::from_secret(secret),
                    usual: &[Algorithm::HS256],
                    is: "it is a secret, for HS256, HS384 and HS512",
                });
            }
            KeyText::Pem(pem) => pem,
        };
        let made = |key, usual, is| Ok(Self { key, usual, is });
        if let Ok(key) = EncodingKey::from_ed_pem(pem) {
            return made(key, &[Algorithm::EdDSA], "it is an Ed25519 key, for EdDSA");
        }
        if let Ok(key) = EncodingKey::from_ec_pem(pem) {
            let usual = &[Algorithm::ES256, Algorithm::ES384];
            return made(
                key,
                usual,
                "it is an EC key, and only P-256 (ES256) and P-384 (ES384) are known here",
            );
        }
        let text = String::from_utf8_lossy(pem);
        if !text.contains("PUBLIC KEY-----")
            && let Ok(key) = EncodingKey::from_rsa_pem(pem)
        {
            return made(
                key,
                &[Algorithm::RS256],
                "it is an RSA key, for RS… and PS…",
            );
        }
        Err(Failure::refused(what_is_wrong(&text)))
    }
}

/// A secret is as long as the hash at least (RFC 7518 §3.2).
fn check_length(key: &KeyText, algorithm: Algorithm) -> Result<(), Failure> {
    let KeyText::Secret(secret) = key else {
        return Ok(());
    };
    let needed = match algorithm {
        Algorithm::HS256 => 32,
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        // that it does not fit is told elsewhere
        _ => return Ok(()),
    };
    if secret.len() >= needed {
        return Ok(());
    }
    Err(Failure::refused(format_args!(
        "the secret has {} bytes, and who sees one token could guess it: {algorithm:?} needs {needed} (make one \
         with: openssl rand -base64 48)",
        secret.len()
    )))
}

/// Of a PEM that nothing can be signed with.
fn what_is_wrong(pem: &str) -> &'static str {
    if pem.contains("ENCRYPTED") {
        "the private key is encrypted: decrypt it with `openssl pkey -in FILE -out PLAIN`"
    } else if pem.contains("BEGIN EC ") {
        "the private key is in the older EC form: convert it with `openssl pkcs8 -topk8 -nocrypt -in FILE -out NEW`"
    } else if pem.contains("PUBLIC KEY-----") {
        "the file holds a public key, which verifies; a private one is needed to sign"
    } else {
        "the file holds no private key that is known here: RSA, EC P-256, EC P-384 and Ed25519 are"
    }
}

/// One line.
fn summary(
    claims: &Map<String, Value>,
    grants: &GrantTexts,
    algorithm: Algorithm,
    now: u64,
) -> String {
    let text = |name: &str| plain(claims.get(name).and_then(Value::as_str).unwrap_or_default());
    let expires = claims.get("exp").and_then(Value::as_u64).unwrap_or(now);
    let granted: Vec<String> = Action::ALL
        .iter()
        .filter(|action| !grants.of(**action).is_empty())
        .map(|action| format!("{} {}", action.as_str(), grants.of(*action).join(" ")))
        .collect();
    let granted = match granted.is_empty() {
        true => "grants nothing of its own".to_owned(),
        false => granted.join(", "),
    };
    format!(
        "{algorithm:?} token {} for {} at {}, expires {} ({}); {granted}",
        text("jti"),
        text("sub"),
        text("aud"),
        moment::utc(expires),
        moment::from_now(expires, now),
    )
}

fn parse_claim(text: &str) -> Result<(String, Value), String> {
    let (name, json) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("write name=json, for example role='\"admin\"'")?;
    if OWN_CLAIMS.contains(&name) {
        return Err(format!("`{name}` is set by a flag of its own"));
    }
    match serde_json::from_str(json) {
        Ok(value) => Ok((name.to_owned(), value)),
        Err(error) => Err(format!(
            "`{name}` is not JSON (a text needs its quotes): {error}"
        )),
    }
}

fn random_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_a_name_and_json() {
        assert_eq!(
            parse_claim("a=[1,\"=\"]"),
            Ok(("a".into(), json!([1, "="])))
        );
        for bad in [
            "",
            "a",
            "=1",
            "a=",
            "a=text",
            "sub=\"x\"",
            "tidewire={}",
            "exp=1",
        ] {
            assert!(parse_claim(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_algorithm_that_is_offered_is_known() {
        for name in ALGORITHMS {
            let algorithm: Algorithm = name.parse().expect(name);
            assert_eq!(format!("{algorithm:?}"), name);
        }
    }

    #[test]
    fn a_key_that_cannot_sign_says_why() {
        for (pem, words) in [
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "encrypted"),
            ("-----BEGIN EC PRIVATE KEY-----", "openssl pkcs8"),
            ("-----BEGIN PUBLIC KEY-----", "public key"),
            ("-----BEGIN CERTIFICATE-----", "no private key"),
        ] {
            let refused = SigningKey::of(&KeyText::Pem(pem.into())).err().expect(pem);
            assert!(refused.to_string().contains(words), "{refused}");
        }
        for (bytes, algorithm, is_good) in [
            (31, Algorithm::HS256, false),
            (32, Algorithm::HS256, true),
            (63, Algorithm::HS512, false),
        ] {
            let secret = KeyText::Secret(vec![b'x'; bytes]);
            assert_eq!(check_length(&secret, algorithm).is_ok(), is_good, "{bytes}");
        }
    }
}
