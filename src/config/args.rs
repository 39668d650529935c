//! The flags: one for each row of the table, and `--config`.
//!
//! They carry no defaults and no environment of their own: whether a flag was given has to stay
//! visible, and all text is read in one place.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::Environment;
use super::layers::Layers;
use super::problem::Origin;
use super::settings::{CONFIG_VARIABLE, Kind, SETTINGS, Setting};

const CONFIG: &str = "config";

const AFTER_HELP: &str = "\
A setting can stand in the file (key), in the environment (env) and among the flags; flags beat \
the environment, which beats the file, which beats the default.
Durations: a whole number and ms, s, m, h or d, such as 250ms. Sizes: a whole number and B, kB, \
MB, GB, TB (1000s) or KiB, MiB, GiB, TiB (1024s), or bytes without a unit. Lists: separated by \
commas, or the flag several times.
Some tables can stand in the file only. [namespace.NAME] sets for one namespace what [defaults], \
[limits] and [quota.namespace] set for all. [auth.issuers.NAME] is a further issuer of tokens, with \
the keys secret, key_file, key_env, jwks_url, issuer, audience and algorithms. [auth.key.NAME] is an \
API key: id and hash, then subscribe, publish, control and delete (what it was granted), admin, \
expires, and what it sets of [quota.key]. [appsync.access_key.NAME] is an access key that signs \
requests: id and secret or secret_env, then what it was granted, and expires.";

/// Adds a flag for every setting, and `--config`, to `cmd`.
pub fn args(cmd: Command) -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .next_line_help(true)
        .help_heading("Settings")
        .help(format!(
            "Read settings from a TOML file\n[env: {CONFIG_VARIABLE}]"
        ));
    let cmd = cmd.arg(config).args(SETTINGS.iter().map(arg));
    if cmd.get_after_help().is_none() {
        cmd.after_help(AFTER_HELP)
    } else {
        cmd
    }
}

/// The file to read and who names it: the flag, else the variable, else none.
pub(super) fn config_path(matches: &ArgMatches, env: &Environment) -> Option<(PathBuf, Origin)> {
    let flag = matches.try_get_one::<PathBuf>(CONFIG).ok().flatten();
    if let Some(path) = flag {
        return Some((path.clone(), Origin::Flag(format!("--{CONFIG}"))));
    }
    let path = env.config_path()?;
    let origin = Origin::Variable(CONFIG_VARIABLE.to_owned());
    Some((PathBuf::from(path), origin))
}

/// Lays the flags over `layers`. A command that lacks some of them, or all, is as good.
pub(super) fn apply(matches: &ArgMatches, layers: &mut Layers) {
    for setting in SETTINGS {
        let given = matches.try_get_many::<String>(setting.key).ok().flatten();
        let Some(given) = given else {
            continue;
        };
        let given: Vec<&str> = given.map(String::as_str).collect();
        let origin = Origin::Flag(setting.flag());
        layers.offer_text(setting, &given.join(","), origin);
    }
}

fn arg(setting: &'static Setting) -> Arg {
    let flag = setting.flag();
    let arg = Arg::new(setting.key)
        .long(flag.trim_start_matches('-').to_owned())
        .value_name(value_name(setting.kind))
        .allow_negative_numbers(true)
        .next_line_help(true)
        .help_heading(heading(setting))
        .help(help(setting))
        // a secret that begins with a dash would be named in the complaint about an unknown flag
        .allow_hyphen_values(setting.kind.is_unrepeated());
    match setting.kind {
        // `--allow-anonymous` alone switches on, `--allow-anonymous=false` off again.
        Kind::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        kind if kind.is_list() => arg.action(ArgAction::Append),
        _ => arg,
    }
}

fn heading(setting: &Setting) -> String {
    match setting.table() {
        "" => "Settings".to_owned(),
        table => format!("Settings [{table}]"),
    }
}

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Address => "ADDR:PORT",
        Kind::Switch => "BOOL",
        Kind::Engine | Kind::Name => "NAME",
        Kind::Filter => "FILTER",
        Kind::LogFormat => "FORMAT",
        Kind::Sync | Kind::Deliver => "WHEN",
        Kind::Path => "DIR",
        Kind::File => "FILE",
        Kind::ForwardedHeader | Kind::Cookie | Kind::Variable => "NAME",
        Kind::Access => "WHO",
        Kind::Networks => "NETWORK,…",
        Kind::Algorithms => "ALGORITHM,…",
        Kind::Types => "TYPE,…",
        Kind::Grants => "TOPIC,…",
        Kind::Secret => "SECRET",
        Kind::JwksUrl | Kind::AuthorizerUrl => "URL",
        Kind::Text | Kind::KeyHash => "TEXT",
        Kind::KeyId | Kind::AccessKeyId => "ID",
        Kind::Time => "TIME",
        Kind::Origins => "ORIGIN,…",
        Kind::Hosts => "HOST,…",
        Kind::Count(_) => "NUMBER",
        Kind::Size => "SIZE",
        Kind::Duration => "DURATION",
    }
}

fn help(setting: &Setting) -> String {
    let zero = setting.zero.map(|meaning| format!("; 0: {meaning}"));
    let most = setting.at_most.map(|bound| format!("; at most {bound}"));
    let default = match setting.default {
        "" => "none",
        text => text,
    };
    let takes = match setting.kind {
        Kind::Count(_) | Kind::Size | Kind::Duration => "unit",
        _ => "takes",
    };
    // A line for each name: none is broken in two on a terminal of 80 columns.
    format!(
        "{help}{zero}{most}\n[{takes}: {unit}] [default: {default}]\n[key: {key}]\n[env: {variable}]",
        help = setting.help,
        zero = zero.unwrap_or_default(),
        most = most.unwrap_or_default(),
        unit = setting.kind.unit(),
        key = setting.key,
        variable = setting.variable(),
    )
}
