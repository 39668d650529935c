//! The layers as a whole, row by row of the table.

mod access;

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{ArgMatches, Command};

use super::file::ConfigFile;
use super::settings::{self, Kind};
use super::tables::{FAMILIES, NAMESPACE};
use super::*;
use crate::event::TypeFilter;

/// The flags, parsed as `serve` would.
pub fn matches(flags: &[&str]) -> ArgMatches {
    let command = args(Command::new("serve").no_binary_name(true));
    command.try_get_matches_from(flags).expect("good flags")
}

/// A file of that text, variables and flags, without touching the disk or this process.
pub fn resolved(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[&str],
) -> Result<Effective, ConfigError> {
    let file = ConfigFile {
        path: "tidewire.toml".to_owned(),
        text: file.to_owned(),
    };
    let env: Environment = variables.iter().copied().collect();
    resolve(Some(Ok(file)), &env, &matches(flags))
}

/// The problems as they are printed, without the fixes.
pub fn problems(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> Vec<String> {
    let error = resolved(file, variables, flags).expect_err("something is wrong");
    error.problems().iter().map(ToString::to_string).collect()
}

/// The only problem with its fix, on two lines.
pub fn only_problem(file: &str) -> String {
    let error = resolved(file, &[], &[]).expect_err("something is wrong");
    assert_eq!(error.problems().len(), 1, "{error}");
    error.to_string()
}

/// A good value other than the default, written as in a variable.
fn another_value(key: &str) -> &'static str {
    match key {
        "engine" => "disk",
        "data_dir" => "/var/lib/tidewire",
        "disk.sync" => "interval",
        "disk.sync_interval" => "3s",
        "disk.deliver" => "early",
        "listen" => "[::1]:9",
        "environment" => "production",
        "allow_anonymous" | "strict_namespaces" => "true",
        "allowed_origins" => "https://app.example.com,http://localhost:3000",
        "allowed_hosts" => "broker.example.com,broker",
        "log.level" => "info,tidewire=debug",
        "log.format" => "json",
        "limits.max_event_bytes" => "128KiB",
        "limits.max_batch_events" => "999",
        "limits.max_frame_bytes" => "2MiB",
        "limits.max_body_bytes" => "3MiB",
        "limits.inflight_bytes" => "65MiB",
        "limits.log_bytes" => "2GiB",
        "limits.max_sse_topics" => "50",
        "limits.sse_heartbeat" => "2500ms",
        "trusted_proxies" => "10.0.0.0/8,fd00::7",
        "forwarded_header" => "forwarded",
        "auth.secret" => "0123456789abcdef0123456789abcdef",
        "auth.key_file" | "auth.keys_file" | "auth.revocations_file" => "/etc/tidewire/file",
        "auth.key_env" => "JWT_KEY",
        "auth.jwks_url" => "https://login.example.com/jwks.json?a=b",
        "auth.issuer" | "auth.audience" => "https://login.example.com",
        "appsync.enabled" | "appsync.replay" => "false",
        "appsync.max_event_bytes" => "200KiB",
        "appsync.authorizer_url" => "http://127.0.0.1:9/authorize",
        "appsync.authorizer_timeout" => "7s",
        "auth.algorithms" => "RS256,EdDSA",
        "auth.cookie" => "__Host-token",
        "auth.leeway" | "auth.jwks_timeout" | "limits.auth_timeout" => "7s",
        "defaults.read" | "defaults.write" | "defaults.control" => "anyone",
        "defaults.publish_types" => "token.*,message.completed",
        "defaults.control_types" => "*",
        "defaults.retention_events" => "20000",
        "defaults.retention_bytes" => "17MiB",
        key => match settings::find(key).expect("a row").kind {
            Kind::Size => "900kB",
            Kind::Duration => "7m",
            _ => "77",
        },
    }
}

/// What has to stand beside [`another_value`] so that it contradicts nothing: flags, and the
/// defaults with them.
fn beside_another_value(key: &str) -> (&'static [&'static str], Config) {
    let defaults = Config::default();
    match key {
        "engine" => {
            let data_dir = "/d".into();
            (
                &["--data-dir=/d"],
                Config {
                    data_dir,
                    ..defaults
                },
            )
        }
        "data_dir" => {
            let engine = EngineKind::Disk;
            (&["--engine=disk"], Config { engine, ..defaults })
        }
        "trusted_proxies" => (ANONYMOUS, flags_alone(ANONYMOUS)),
        "auth.issuer" | "auth.audience" | "auth.algorithms" => (KEY_FILE, flags_alone(KEY_FILE)),
        "appsync.authorizer_timeout" | "appsync.authorizer_ttl" => {
            (AUTHORIZER, flags_alone(AUTHORIZER))
        }
        _ => (&[], defaults),
    }
}

const ANONYMOUS: &[&str] = &["--allow-anonymous"];
const AUTHORIZER: &[&str] = &["--appsync-authorizer-url=https://auth.example.com/"];
const KEY_FILE: &[&str] = &["--auth-key-file=/etc/tidewire/key.pem"];

fn flags_alone(flags: &[&str]) -> Config {
    resolved("", &[], flags).expect("good flags").config
}

/// The field that shows another value of `setting`, where it is not the one of that name.
fn field_of(setting: &Setting) -> &'static str {
    match setting.key {
        "auth.secret" | "auth.key_file" | "auth.key_env" | "auth.jwks_url" => "issuers",
        "defaults.publish_types" | "defaults.control_types" => "patterns",
        "appsync.authorizer_url" => "authorizer",
        "appsync.authorizer_timeout" => "timeout",
        "appsync.authorizer_ttl" => "ttl",
        _ => setting.leaf(),
    }
}

/// What no setting takes, written as in a variable.
fn nonsense(kind: Kind) -> &'static str {
    match kind {
        // Nearly every text is the name of some directory.
        Kind::Path | Kind::File => "~/?!",
        // Nor is there much that is no text.
        Kind::Text => "?!\t",
        _ => "?!",
    }
}

/// The value as a line of the file in its table.
fn as_file(setting: &Setting, text: &str) -> String {
    let value = match setting.kind {
        Kind::Count(_) | Kind::Switch => text.to_owned(),
        kind if kind.is_list() => {
            let items: Vec<String> = text.split(',').map(|item| format!("'{item}'")).collect();
            format!("[{}]", items.join(", "))
        }
        _ => format!("'{text}'"),
    };
    let header = match setting.table() {
        "" => String::new(),
        table => format!("[{table}]\n"),
    };
    format!("{header}{} = {value}\n", setting.leaf())
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = Config::default();
    assert_eq!(config.listen.to_string(), "127.0.0.1:7070");
    assert_eq!(config.workers, 0);
    assert_eq!(config.engine, EngineKind::Memory);
    assert_eq!(config.data_dir, PathBuf::new());
    assert_eq!(config.environment, "dev");
    assert!(!config.allow_anonymous && !config.strict_namespaces);
    assert!(config.allowed_origins.is_empty() && config.allowed_hosts.is_empty());
    assert_eq!(config.max_connection_age, Duration::from_secs(3600));
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.log.level, "info");
    assert_eq!(config.log.format, LogFormat::Text);
    let disk = Disk {
        sync: Sync::Always,
        sync_interval: Duration::from_millis(200),
        deliver: Deliver::Durable,
        cache_bytes: 64 << 20,
    };
    assert_eq!(config.disk, disk);
    let limits = Limits {
        max_connections: 0,
        max_event_bytes: 256 << 10,
        max_batch_events: 1000,
        max_frame_bytes: 1 << 20,
        max_body_bytes: 4 << 20,
        max_subscriptions: 1000,
        max_sse_topics: 100,
        outbox_bytes: 64 << 10,
        window_events: 1024,
        window_bytes: 4 << 20,
        log_bytes: 1 << 30,
        inflight_bytes: 64 << 20,
        ping_interval: Duration::from_secs(25),
        sse_heartbeat: Duration::from_secs(15),
        stall_timeout: Duration::from_secs(30),
        header_timeout: Duration::from_secs(5),
        auth_timeout: Duration::from_secs(10),
        max_unauthenticated: 0,
        max_header_bytes: 32 << 10,
        max_query_bytes: 16 << 10,
        passivate_after: Duration::from_secs(60),
        compact_after: Duration::from_secs(60),
        message_idle: Duration::from_secs(300),
        stream_idle: Duration::from_secs(600),
        publish_rate: 1_000_000,
        publish_burst: 1_000_000,
    };
    assert_eq!(config.limits, limits);
    let defaults = Defaults {
        retention_events: 10_000,
        retention_bytes: 16 << 20,
        retention_age: Duration::from_secs(3600),
        read: Access::Grant,
        write: Access::Grant,
        control: Access::Grant,
        publish_types: TypeFilter::everything(),
        control_types: TypeFilter::parse(&["run.*"]).expect("good types"),
    };
    assert_eq!(config.defaults, defaults);
    let appsync = AppSync {
        enabled: true,
        max_events: 5,
        max_event_bytes: 240 << 10,
        max_subscriptions: 200,
        replay: true,
        replay_for: Duration::from_secs(3600),
        replay_subscriptions: 10_000,
        authorizer: None,
        access_keys: BTreeMap::new(),
    };
    assert_eq!(config.appsync, appsync);
    assert!(config.namespaces.is_empty());
    assert_eq!(config.auth, Auth::default());
    assert_eq!(config.quotas, Quotas::default());
    assert!(config.trusted_proxies.is_empty() && !config.can_authenticate());
    assert_eq!(config.forwarded_header, ForwardedHeader::XForwardedFor);
}

#[test]
fn defaults_do_not_contradict_each_other() {
    let config = load(&matches(&[]), |_| None).expect("the defaults are good");
    assert_eq!(config, Config::default());
}

#[test]
fn every_row_is_reached_by_file_variable_and_flag() {
    for setting in SETTINGS {
        let text = another_value(setting.key);
        let (beside, without) = beside_another_value(setting.key);
        let by_file = resolved(&as_file(setting, text), &[], beside).expect(setting.key);
        let variable = setting.variable();
        let by_variable = resolved("", &[(&variable, text)], beside).expect(setting.key);
        let flag = format!("{}={text}", setting.flag());
        let flags = [&[flag.as_str()], beside].concat();
        let by_flag = resolved("", &[], &flags).expect(setting.key);

        assert_eq!(by_file.config, by_variable.config, "{}", setting.key);
        assert_eq!(by_file.config, by_flag.config, "{}", setting.key);
        assert_sets_its_own_field(setting, &without, &by_flag.config);
    }
}

/// The first difference from what holds without it is the field that is named like the key.
fn assert_sets_its_own_field(setting: &Setting, without: &Config, with: &Config) {
    let changed = format!("{with:#?}");
    let before = format!("{without:#?}");
    let mut lines = changed.lines().zip(before.lines());
    let (changed, _) = lines.find(|(a, b)| a != b).expect(setting.key);
    let field = format!("{}: ", field_of(setting));
    assert!(
        changed.trim().starts_with(&field),
        "{}: {changed}",
        setting.key
    );
}

#[test]
fn every_row_refuses_nonsense_from_everywhere_and_says_whence() {
    for setting in SETTINGS {
        let nonsense = nonsense(setting.kind);
        let in_file = format!("# a comment\n{}", as_file(setting, nonsense));
        let in_file = in_file.replace("= ?!", "= '?!'");
        let line = in_file.lines().count();
        let variable = setting.variable();
        let flag = format!("{}={nonsense}", setting.flag());
        let problems = problems(&in_file, &[(&variable, nonsense)], &[&flag]);
        let origins = [
            format!("tidewire.toml:{line}"),
            variable.clone(),
            setting.flag(),
        ];
        assert_eq!(problems.len(), origins.len(), "{problems:?}");
        for (problem, origin) in problems.iter().zip(origins) {
            let beginning = format!("{origin}: `{}` = ", setting.key);
            assert!(problem.starts_with(&beginning), "{problem}");
            let is_repeated = problem.contains("?!");
            assert_eq!(is_repeated, !setting.kind.is_unrepeated(), "{problem}");
        }
    }
}

#[test]
fn each_layer_beats_the_one_before() {
    let file = "[limits]\noutbox_bytes = '1KiB'\n";
    let variable = [("TIDEWIRE_LIMITS_OUTBOX_BYTES", "2KiB")];
    let flag = ["--limits-outbox-bytes", "3KiB"];
    let outbox = |file, variables, flags| {
        let effective = resolved(file, variables, flags).expect("good");
        let origin = effective.entries.get("limits.outbox_bytes").origin.clone();
        (
            effective.config.limits.outbox_bytes >> 10,
            origin.to_string(),
        )
    };
    let expect = |kib: usize, origin: &str| (kib, origin.to_owned());
    assert_eq!(outbox("", &[], &[]), expect(64, "default"));
    assert_eq!(outbox(file, &[], &[]), expect(1, "tidewire.toml:2"));
    let variable_name = "TIDEWIRE_LIMITS_OUTBOX_BYTES";
    assert_eq!(outbox(file, &variable, &[]), expect(2, variable_name));
    let flag_name = "--limits-outbox-bytes";
    assert_eq!(outbox(file, &variable, &flag), expect(3, flag_name));
    assert_eq!(outbox("", &variable, &flag), expect(3, flag_name));
}

#[test]
fn a_bad_value_is_a_problem_under_a_good_one_too() {
    let file = "[limits]\noutbox_bytes = '1 parsec'\n";
    let problems = problems(file, &[], &["--limits-outbox-bytes=3KiB"]);
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with("tidewire.toml:2: `limits.outbox_bytes`"),
        "{problems:?}"
    );
}

#[test]
fn a_switch_is_switched_off_again_by_a_flag() {
    let file = "allow_anonymous = true\n";
    let on = resolved("", &[], &["--allow-anonymous"]).expect("good");
    assert!(on.config.allow_anonymous);
    let off = resolved(file, &[], &["--allow-anonymous=false"]).expect("good");
    assert!(!off.config.allow_anonymous);
}

#[test]
fn lists_come_with_commas_or_from_several_flags() {
    let expected = ["https://a.example", "https://b.example"];
    let one = [(
        "TIDEWIRE_ALLOWED_ORIGINS",
        "https://a.example, https://b.example",
    )];
    let by_variable = resolved("", &one, &[]).expect("good");
    assert_eq!(by_variable.config.allowed_origins, expected);
    let two = [
        "--allowed-origins=https://a.example",
        "--allowed-origins=https://b.example",
    ];
    let by_flags = resolved("", &[], &two).expect("good");
    assert_eq!(by_flags.config.allowed_origins, expected);
    // An empty list beats one of an earlier layer.
    let file = "allowed_origins = ['https://a.example']\n";
    let none = resolved(file, &[("TIDEWIRE_ALLOWED_ORIGINS", "")], &[]).expect("good");
    assert!(none.config.allowed_origins.is_empty());
}

#[test]
fn all_problems_of_all_layers_are_reported_at_once() {
    let file = "\
listen = 'everywhere'
[limits]
max_event_bytes = '256 KB'
outbox_byte = '1KiB'
ping_interval = 30
[namespace.chat]
retention_age = '0s'
";
    let variables = [
        ("TIDEWIRE_WORKERS", "-1"),
        ("TIDEWIRE_LISTN", "127.0.0.1:1"),
    ];
    let flags = ["--engine=redis"];
    let expected = [
        "tidewire.toml:1: `listen` = 'everywhere': it is not an IP address and a port",
        "tidewire.toml:3: `limits.max_event_bytes` = '256 KB': `KB` is not a unit here; there are \
         B, kB, MB, GB, TB, KiB, MiB, GiB, TiB (did you mean `kB`?)",
        "tidewire.toml:4: unknown key `limits.outbox_byte`",
        "tidewire.toml:5: `limits.ping_interval` = 30: a bare number says no unit; there are \
         ms, s, m, h, d",
        "tidewire.toml:7: `namespace.chat.retention_age` = '0s': zero makes no sense here",
        "TIDEWIRE_LISTN: unknown variable `TIDEWIRE_LISTN`",
        "TIDEWIRE_WORKERS: `workers` = \"-1\": it cannot be negative",
        "--engine: `engine` = \"redis\": this build has the engines memory and disk",
    ];
    assert_eq!(problems(file, &variables, &flags), expected);
}

#[test]
fn every_problem_has_a_fix() {
    let file = "listen = 1\nx = 1\n[limits]\nmax_frame_bytes = '1KiB'\n";
    let error = resolved(file, &[("TIDEWIRE_X", "1")], &["--drain-timeout=1"]).expect_err("bad");
    assert_eq!(error.problems().len(), 5);
    for problem in error.problems() {
        assert!(problem.fix().len() > 8, "{problem}: {}", problem.fix());
    }
    assert_eq!(error.to_string().matches("\n  fix: ").count(), 5);
}

#[test]
fn every_bad_item_of_a_list_is_reported() {
    let flag = "--allowed-origins=https://ok.example,*,ftp://x";
    let problems = problems("", &[], &[flag]);
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn zero_is_taken_where_it_means_something_and_nowhere_else() {
    for setting in SETTINGS {
        let is_number = matches!(setting.kind, Kind::Count(_) | Kind::Size | Kind::Duration);
        if !is_number {
            continue;
        }
        let flag = format!("{}=0", setting.flag());
        let result = resolved("", &[], &[&flag]);
        assert_eq!(result.is_ok(), setting.zero.is_some(), "{}", setting.key);
    }
    let both = resolved("max_connection_age = 0\ndrain_timeout = '0s'\n", &[], &[]).expect("good");
    assert_eq!(both.config.max_connection_age, Duration::ZERO);
    assert_eq!(both.config.drain_timeout, Duration::ZERO);
}

#[test]
fn bounds_are_kept() {
    assert!(resolved("", &[], &["--limits-sse-heartbeat=15s"]).is_ok());
    let problems_of = |flag| problems("", &[], &[flag]);
    let beat = problems_of("--limits-sse-heartbeat=15001ms");
    assert!(beat[0].ends_with("the most is 15s"), "{beat:?}");
    let topics = problems_of("--limits-max-sse-topics=101");
    assert!(topics[0].ends_with("the most is 100"), "{topics:?}");
    assert!(resolved("", &[], &["--disk-sync-interval=60s"]).is_ok());
    let sync = problems_of("--disk-sync-interval=60001ms");
    assert!(sync[0].ends_with("the most is 60s"), "{sync:?}");
}

#[test]
fn the_disk_engine_is_configured_whole() {
    let file = "\
engine = 'disk'
data_dir = '/var/lib/tidewire'
[disk]
sync = 'interval'
sync_interval = '1s'
deliver = 'early'
cache_bytes = '128MiB'
";
    let config = resolved(file, &[], &[]).expect("good").config;
    assert_eq!(config.engine, EngineKind::Disk);
    assert_eq!(config.data_dir, PathBuf::from("/var/lib/tidewire"));
    let disk = Disk {
        sync: Sync::Interval,
        sync_interval: Duration::from_secs(1),
        deliver: Deliver::Early,
        cache_bytes: 128 << 20,
    };
    assert_eq!(config.disk, disk);
}

#[test]
fn a_directory_is_taken_back_by_an_empty_one() {
    let file = "engine = 'disk'\ndata_dir = '/data'\n";
    let flags = ["--engine=memory", "--data-dir="];
    let config = resolved(file, &[], &flags).expect("good").config;
    assert_eq!(config.engine, EngineKind::Memory);
    assert_eq!(config.data_dir, PathBuf::new());
}

#[test]
fn a_namespace_inherits_what_it_does_not_set() {
    let file = "\
[defaults]
retention_age = '5m'
[namespace.chat]
retention_events = 20000
publish_rate = 5
[namespace.\"a.b\"]
";
    let flags = ["--limits-publish-burst=7"];
    let config = resolved(file, &[], &flags).expect("good").config;
    let chat = config.namespace("chat");
    assert_eq!(chat.retention_events, 20_000);
    assert_eq!(chat.publish_rate, 5);
    assert_eq!(chat.publish_burst, 7);
    assert_eq!(chat.retention_age, Duration::from_secs(300));
    assert_eq!(chat.retention_bytes, 16 << 20);
    let names: Vec<&str> = config.namespaces.keys().map(String::as_str).collect();
    assert_eq!(names, ["a.b", "chat"]);
    assert_eq!(config.namespace("a.b"), config.namespace("other"));
    let other = config.namespace("other");
    assert_eq!((other.publish_rate, other.publish_burst), (1_000_000, 7));
    assert_eq!(other.retention_age, Duration::from_secs(300));
}

#[test]
fn a_namespace_beats_flags_for_the_defaults() {
    let file = "[namespace.chat]\nretention_events = 30000\n";
    let flags = ["--defaults-retention-events=20000"];
    let config = resolved(file, &[], &flags).expect("good").config;
    assert_eq!(config.namespace("chat").retention_events, 30_000);
    assert_eq!(config.namespace("other").retention_events, 20_000);
}

#[test]
fn every_key_of_a_namespace_lands_in_its_own_field() {
    let base = format!("{:#?}", Config::default().namespace("x"));
    for key in NAMESPACE.keys {
        let setting = key.setting();
        let line = as_file(setting, another_value(setting.key));
        let line = line.lines().last().expect("a line");
        let config = resolved(&format!("[namespace.x]\n{line}\n"), &[], &[]);
        let config = config.expect(key.leaf).config;
        let changed = format!("{:#?}", config.namespace("x"));
        let mut lines = changed.lines().zip(base.lines());
        let (changed, _) = lines.find(|(a, b)| a != b).expect(key.leaf);
        let field = format!("{}: ", field_of(setting));
        assert!(
            changed.trim().starts_with(&field),
            "{}: {changed}",
            key.leaf
        );
    }
}

#[test]
fn a_namespace_inherits_rights_and_quotas() {
    let file = "\
[defaults]
read = 'anyone'
publish_types = ['token.*']
[quota.namespace]
subscriptions = 7
byte_rate = '1MiB'
[namespace.chat]
read = 'grant'
control_types = ['run.cancel']
byte_rate = '2MiB'
publish_rate = 5
";
    let config = resolved(file, &[], &[]).expect("good").config;
    let (chat, other) = (config.namespace("chat"), config.namespace("other"));
    assert_eq!((chat.read, other.read), (Access::Grant, Access::Anyone));
    assert!(!chat.publish_types.admits("run.x") && chat.publish_types.admits("token.delta"));
    assert!(chat.control_types.admits("run.cancel") && !chat.control_types.admits("run.steer"));
    assert!(other.control_types.admits("run.steer"));
    let quota = Quota {
        subscriptions: 7,
        byte_rate: 2 << 20,
        publish_rate: 5,
        publish_burst: 1_000_000,
        ..Quota::default()
    };
    assert_eq!(chat.quota, quota);
    assert_eq!(other.quota.byte_rate, 1 << 20);
    assert_eq!(other.quota.publish_rate, 1_000_000);
}

#[test]
fn rows_of_named_tables_are_like_rows_of_settings() {
    for family in FAMILIES {
        let leaves: BTreeSet<&str> = family.leaves().into_iter().collect();
        assert_eq!(leaves.len(), family.keys.len(), "{}", family.header);
        for key in family.keys {
            // it finds its row, or this panics
            assert!(!key.setting().help.is_empty());
        }
        for required in family.required {
            assert!(leaves.contains(required), "{required}");
        }
        assert!(!settings::tables().contains(&family.prefix));
    }
}

#[test]
fn names_are_unique() {
    let flags: BTreeSet<String> = SETTINGS.iter().map(Setting::flag).collect();
    let variables: BTreeSet<String> = SETTINGS.iter().map(Setting::variable).collect();
    assert_eq!(flags.len(), SETTINGS.len());
    assert_eq!(variables.len(), SETTINGS.len());
    assert!(!flags.contains("--config") && !variables.contains("TIDEWIRE_CONFIG"));
    // A table whose rows are not together would be shown twice.
    let tables = settings::tables();
    let distinct: BTreeSet<&str> = tables.iter().copied().collect();
    assert_eq!(tables.len(), distinct.len());
}

#[test]
fn a_flag_names_the_file_before_the_variable_does() {
    let directory = std::env::temp_dir();
    let unique = format!("tidewire-config-test-{}", std::process::id());
    let by_flag = directory.join(format!("{unique}-flag.toml"));
    let by_variable = directory.join(format!("{unique}-variable.toml"));
    std::fs::write(&by_flag, "environment = 'flag'\n").expect("written");
    std::fs::write(&by_variable, "environment = 'variable'\n").expect("written");
    let variable = by_variable.to_str().expect("a plain path").to_owned();
    let env = |name: &str| (name == "TIDEWIRE_CONFIG").then(|| variable.clone());

    let flag = by_flag.to_str().expect("a plain path");
    let from_flag = load(&matches(&["--config", flag]), env).expect("good");
    let from_variable = load(&matches(&[]), env).expect("good");
    std::fs::remove_file(&by_flag).expect("removed");
    let missing = load(&matches(&["--config", flag]), env).expect_err("no such file");
    std::fs::remove_file(&by_variable).expect("removed");

    assert_eq!(from_flag.environment, "flag");
    assert_eq!(from_variable.environment, "variable");
    let text = missing.to_string();
    assert!(
        text.contains(flag) && text.contains("(from --config)"),
        "{text}"
    );
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other_problem() {
    let flags = ["--config=/nonexistent/tidewire.toml", "--workers=x"];
    let error = load(&matches(&flags), |_| None).expect_err("two problems");
    assert_eq!(error.problems().len(), 2, "{error}");
}

#[test]
fn a_command_without_these_flags_loads_too() {
    let bare = Command::new("demo").no_binary_name(true);
    let bare = bare.try_get_matches_from([""; 0]).expect("good");
    let port = |name: &str| (name == "TIDEWIRE_LISTEN").then(|| "127.0.0.1:1".to_owned());
    let config = load(&bare, port).expect("good");
    assert_eq!(config.listen.port(), 1);
}
