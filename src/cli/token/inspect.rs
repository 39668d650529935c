//! `tidewire token inspect`: what a token says, what it grants, and what is wrong with it.
//!
//! The JSON goes to standard output, for programs; the words go to standard error, for people.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Serialize;
use serde_json::Value;

use super::key_source::KeyFlags;
use super::verify::{rules, verify};
use super::{COMMAND, audience, check_environment};
use crate::auth::{GrantTexts, api_key};
use crate::cli::failure::Failure;
use crate::cli::grant_flags::{self, is_harmless, plain};
use crate::cli::moment;
use crate::cli::target::{REFUSED, USAGE, say};
use crate::config::Config;

/// How far the clocks of issuers may be off, in seconds, where no configuration says.
const LEEWAY: u64 = 30;
/// No token is longer.
const MAX_BYTES: usize = 64 << 10;
/// The types of tokens (RFC 7519 §5.1, RFC 9068 §2.1), in lower case; a header may also have none.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// Shows what a token says and grants, and what is wrong with it
#[derive(clap::Args, Debug)]
#[command(after_help = "\
The header and the claims go to standard output as JSON, everything else to standard error. Without a key the \
signature is not checked.\n\n\
Exit status: 0 good, 1 a broker would refuse it, 2 it could not be told.")]
pub struct Args {
    /// The token; - or none: standard input, which keeps it out of the shell's history
    #[arg(value_name = "TOKEN", default_value = "-", hide_default_value = true)]
    token: String,
    /// The environment of the broker [default: that of --config; with another key: dev; without: any]
    #[arg(long, value_name = "NAME", env = "TIDEWIRE_ENVIRONMENT")]
    environment: Option<String>,
    /// What iss has to be, with --secret-env or --key-file [default: anything]
    #[arg(long, value_name = "ISSUER", conflicts_with = "config")]
    issuer: Option<String>,
    #[command(flatten)]
    key: KeyFlags,
}

pub async fn run(args: &Args) -> ExitCode {
    match inspect(args).await {
        Ok(code) => code,
        Err(failure) => {
            say(COMMAND, failure);
            ExitCode::from(USAGE)
        }
    }
}

async fn inspect(args: &Args) -> Result<ExitCode, Failure> {
    if let Some(environment) = &args.environment {
        check_environment(environment)?;
    }
    let rules = match args.key.is_given() {
        true => {
            let (environment, issuer) = (args.environment.as_deref(), args.issuer.as_deref());
            Some(rules(&args.key, environment, issuer)?)
        }
        false => None,
    };
    let token = read(&args.token)?;
    let parts = match Parts::of(&token) {
        Ok(parts) => parts,
        Err(why) => {
            say(COMMAND, why);
            return Ok(ExitCode::from(REFUSED));
        }
    };
    print(&parts)?;
    let now = moment::now();
    // an audience of the configuration's own is for `verify` to see
    let has_own = |rules: &Config| {
        let mut issuers = rules.auth.issuers.iter();
        issuers.any(|issuer| issuer.audience.is_some())
    };
    let mut wrong = parts.problems(now);
    if !rules.as_ref().is_some_and(has_own) {
        wrong.extend(parts.audience_problem(args.environment.as_deref()));
    }
    let verified = match &rules {
        Some(rules) => Some(verify(&token, rules).await?),
        None => None,
    };
    let mut words = parts.words(now);
    for one in &wrong {
        // a String takes everything
        let _ = writeln!(words, "wrong: {}", plain(one));
    }
    let _ = match &verified {
        None => writeln!(
            words,
            "the signature was not checked: give --config FILE, --secret-env NAME or --key-file FILE"
        ),
        Some(Ok(())) => writeln!(words, "the signature is good"),
        Some(Err(why)) => writeln!(
            words,
            "with this key it is refused: {}",
            plain(&why.to_string())
        ),
    };
    let _ = std::io::stderr().write_all(words.as_bytes());
    Ok(match (wrong.is_empty(), verified) {
        (true, None | Some(Ok(()))) => ExitCode::SUCCESS,
        _ => ExitCode::from(REFUSED),
    })
}

fn read(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.trim().to_owned());
    }
    let input = std::io::stdin();
    if input.is_terminal() {
        say(COMMAND, "paste the token, then press Return and Ctrl-D");
    }
    let mut text = String::new();
    // one more byte tells that it is too long
    let bound = MAX_BYTES as u64 + 1;
    input
        .take(bound)
        .read_to_string(&mut text)
        .map_err(|error| Failure::refused(format_args!("standard input: {error}")))?;
    match text.trim() {
        "" => Err(Failure::usage("there is no token on standard input")),
        token => Ok(token.to_owned()),
    }
}

/// A token, taken apart.
#[derive(Debug, Serialize)]
struct Parts {
    header: Value,
    claims: Value,
}

impl Parts {
    /// `Err`: why it is no token at all, without showing any of it.
    fn of(token: &str) -> Result<Self, String> {
        if token.len() > MAX_BYTES {
            return Err(format!("it is longer than {MAX_BYTES} bytes"));
        }
        if api_key::looks_like_key(token) {
            return Err("it is an API key, not a token: see `tidewire key`".to_owned());
        }
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, _signature] = parts.as_slice() else {
            return Err(format!(
                "it is no token: a token has three parts with dots between them, this has {}",
                parts.len()
            ));
        };
        Ok(Self {
            header: object("header", header)?,
            claims: object("claims", claims)?,
        })
    }

    fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name).filter(|value| !value.is_null())
    }

    fn time(&self, name: &str) -> Option<u64> {
        self.claim(name).and_then(seconds)
    }

    fn subject(&self) -> &str {
        self.claim("sub")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn grants(&self) -> Result<GrantTexts, String> {
        match self.claim("tidewire") {
            None => Ok(GrantTexts::default()),
            Some(claim) => serde_json::from_value(claim.clone())
                .map_err(|error| format!("the claim `tidewire` cannot be read: {error}")),
        }
    }

    /// Times and grants, for people.
    fn words(&self, now: u64) -> String {
        let mut text = String::new();
        for (name, what) in [("iat", "issued"), ("nbf", "good from"), ("exp", "expires")] {
            if let Some(time) = self.time(name) {
                let (utc, distance) = (moment::utc(time), moment::from_now(time, now));
                // a String takes everything
                let _ = writeln!(text, "{what:<11}{utc} ({distance})");
            }
        }
        let grants = self.grants().unwrap_or_default();
        let lines = grant_flags::lines(&grants, "  ");
        let subject = plain(self.subject());
        let _ = match lines.is_empty() {
            true => writeln!(text, "grants     nothing of its own"),
            false => writeln!(text, "grants to {subject}:\n{}", lines.trim_end()),
        };
        text
    }

    /// What can be seen without a key.
    fn problems(&self, now: u64) -> Vec<String> {
        let mut found = self.header_problems();
        match self.claim("sub").map(Value::as_str) {
            None => found.push("it has no claim `sub`: nobody is known by it".to_owned()),
            Some(Some(subject)) if !subject.is_empty() => {}
            Some(_) => found.push("its claim `sub` is not a text".to_owned()),
        }
        found.extend(self.time_problems(now));
        match self.grants() {
            Ok(grants) => {
                if let Err(error) = grants.compile(self.subject()) {
                    found.push(error.to_string());
                }
            }
            Err(error) => found.push(error),
        }
        found
    }

    fn header_problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        match self.header.get("alg").and_then(Value::as_str) {
            None => found.push("its header has no `alg`".to_owned()),
            Some(name) if name.eq_ignore_ascii_case("none") => {
                found.push("its `alg` is `none`: nobody signed it".to_owned());
            }
            Some(name) if name.parse::<Algorithm>().is_err() => {
                found.push(format!("its `alg` is `{name}`, which is not known"));
            }
            Some(_) => {}
        }
        match self.header.get("typ").map(Value::as_str) {
            None => {}
            Some(Some(kind)) if TYPES.contains(&kind.to_ascii_lowercase().as_str()) => {}
            Some(kind) => found.push(format!(
                "its `typ` is `{}`: a token's is JWT or at+jwt",
                kind.unwrap_or("not a text")
            )),
        }
        if self.header.get("crit").is_some() {
            // RFC 7515 §4.1.11
            found.push("its header has `crit`: extensions that have to be understood".to_owned());
        }
        found
    }

    fn time_problems(&self, now: u64) -> Vec<String> {
        let mut found = Vec::new();
        for name in ["exp", "nbf"] {
            if self.claim(name).is_some() && self.time(name).is_none() {
                found.push(format!("its claim `{name}` is not a time in seconds"));
            }
        }
        if self.claim("exp").is_none() {
            found.push("it has no claim `exp`: it would be good for ever".to_owned());
        }
        if let Some(expires) = self.time("exp")
            && expires < now.saturating_sub(LEEWAY)
        {
            found.push(format!("it expired {}", moment::from_now(expires, now)));
        }
        if let Some(from) = self.time("nbf")
            && from > now.saturating_add(LEEWAY)
        {
            found.push(format!(
                "it is not good yet: {}",
                moment::from_now(from, now)
            ));
        }
        found
    }

    fn audience_problem(&self, environment: Option<&str>) -> Option<String> {
        let wanted = environment.map(audience);
        let is_good = |value: &Value| match (value.as_str(), &wanted) {
            (Some(text), Some(wanted)) => text == wanted,
            (Some(text), None) => text.starts_with("tidewire:"),
            (None, _) => false,
        };
        let wanted = wanted.as_deref().unwrap_or("tidewire:ENVIRONMENT");
        match self.claim("aud") {
            None => Some(format!("it has no claim `aud`: {wanted} is needed")),
            Some(Value::Array(all)) if all.iter().any(is_good) => None,
            Some(value) if is_good(value) => None,
            Some(value) => Some(format!("its `aud` is {value}: {wanted} is needed")),
        }
    }
}

fn object(what: &str, part: &str) -> Result<Value, String> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| format!("it is no token: its {what} is not base64url"))?;
    match serde_json::from_slice(&bytes) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(format!("it is no token: its {what} is not a JSON object")),
    }
}

/// A time as tokens have it: seconds, perhaps with a fraction (RFC 7519 §2).
fn seconds(value: &Value) -> Option<u64> {
    let fraction = || {
        let seconds = value.as_f64()?;
        (seconds.is_finite() && (0.0..1e15).contains(&seconds)).then_some(seconds.round() as u64)
    };
    value.as_u64().or_else(fraction)
}

fn print(parts: &Parts) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(parts).map_err(Failure::refused)?;
    // in JSON such characters are in texts only, where they can be written so
    let mut shown = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        match c {
            '\n' => shown.push(c),
            c if is_harmless(c) => shown.push(c),
            c => {
                let _ = write!(shown, "\\u{:04x}", u32::from(c));
            }
        }
    }
    shown.push('\n');
    let mut out = std::io::stdout();
    match out.write_all(shown.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::refused(format_args!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parts(header: Value, claims: Value) -> Parts {
        Parts { header, claims }
    }

    fn good() -> Value {
        json!({"sub": "ada", "aud": "tidewire:dev", "exp": 2000, "tidewire": {"subscribe": ["/chat/{sub}"]}})
    }

    fn problems(header: Value, claims: Value) -> Vec<String> {
        let token = parts(header, claims);
        let mut found = token.problems(1000);
        found.extend(token.audience_problem(None));
        found
    }

    #[test]
    fn a_good_token_has_no_problem() {
        for header in [
            json!({"alg": "HS256"}),
            json!({"alg": "EdDSA", "typ": "jwt", "kid": "a"}),
            json!({"alg": "ES256", "typ": "at+jwt"}),
        ] {
            assert_eq!(problems(header, good()), Vec::<String>::new());
        }
        let mut claims = good();
        claims["aud"] = json!(["else", "tidewire:prod"]);
        claims["exp"] = json!(1000.5 - LEEWAY as f64);
        let token = parts(json!({"alg": "HS256"}), claims);
        assert_eq!(token.problems(1000), Vec::<String>::new());
        assert_eq!(token.audience_problem(Some("prod")), None);
        assert!(token.audience_problem(Some("dev")).is_some());
    }

    #[test]
    fn each_problem_is_told() {
        for (header, words) in [
            (json!({}), "no `alg`"),
            (json!({"alg": "none"}), "nobody signed"),
            (json!({"alg": "NoNe"}), "nobody signed"),
            (json!({"alg": "ES512"}), "not known"),
            (json!({"alg": "HS256", "typ": "dpop+jwt"}), "dpop+jwt"),
            (json!({"alg": "HS256", "typ": 1}), "typ"),
            (json!({"alg": "HS256", "crit": []}), "crit"),
        ] {
            let found = problems(header, good());
            assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
        }
        for (name, value, words) in [
            ("sub", Value::Null, "no claim `sub`"),
            ("sub", json!(7), "not a text"),
            ("exp", Value::Null, "for ever"),
            ("exp", json!("soon"), "not a time"),
            ("exp", json!(-1), "not a time"),
            ("exp", json!(900), "expired 100 seconds ago"),
            ("nbf", json!(1100), "in 100 seconds"),
            ("nbf", json!([]), "not a time"),
            ("aud", Value::Null, "no claim `aud`"),
            ("aud", json!("else"), "else"),
            ("aud", json!([]), "tidewire:"),
            ("tidewire", json!({"publish": ["/a*"]}), "/a*"),
            ("tidewire", json!({"publish": "/a"}), "cannot be read"),
        ] {
            let mut claims = good();
            claims[name] = value;
            if name == "sub" {
                claims["tidewire"] = json!({});
            }
            let found = problems(json!({"alg": "HS256"}), claims);
            assert!(
                found.len() == 1 && found[0].contains(words),
                "{words}: {found:?}"
            );
        }
    }

    #[test]
    fn what_is_no_token_is_told_without_showing_it() {
        let long = "A".repeat(MAX_BYTES + 1);
        for bad in [
            "secretive",
            "a.b",
            "e30.e30",
            "a.b.c.d",
            "!.e30.",
            "W10.e30.x",
            "tw_secretive",
            &long,
        ] {
            let why = Parts::of(bad).expect_err("no token");
            assert!(!why.contains("secretive") && why.len() < 200, "{why}");
        }
        assert!(Parts::of("e30.e30.").is_ok());
    }
}
