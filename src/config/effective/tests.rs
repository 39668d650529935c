use super::super::tests::resolved;

const FILE: &str = "\
environment = 'production'
allowed_origins = ['https://a.example', 'http://localhost:3000']
[limits]
outbox_bytes = 900000
[namespace.'a.b']
retention_age = '90m'
";

fn printed() -> String {
    let variables = [("TIDEWIRE_LIMITS_PUBLISH_RATE", "5")];
    let flags = ["--drain-timeout=250ms"];
    let effective = resolved(FILE, &variables, &flags).expect("good");
    effective.to_toml()
}

#[test]
fn every_value_says_where_it_came_from() {
    let printed = printed();
    let lines: Vec<String> = printed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let expected = [
        "listen = \"127.0.0.1:7070\" # default",
        "environment = \"production\" # tidewire.toml:1",
        "allowed_origins = [\"https://a.example\", \"http://localhost:3000\"] # tidewire.toml:2",
        "drain_timeout = \"250ms\" # --drain-timeout",
        "outbox_bytes = 900000 # tidewire.toml:4",
        "window_bytes = \"4MiB\" # default",
        "publish_rate = 5 # TIDEWIRE_LIMITS_PUBLISH_RATE",
        "[namespace.\"a.b\"]",
        "retention_age = \"90m\" # tidewire.toml:6",
        "retention_events = 10000 # defaults.retention_events: default",
        "publish_rate = 5 # limits.publish_rate: TIDEWIRE_LIMITS_PUBLISH_RATE",
    ];
    for line in expected {
        assert!(lines.iter().any(|found| found == line), "{line}\n{printed}");
    }
}

#[test]
fn it_is_a_file_that_reads_back_as_the_same() {
    let printed = printed();
    let again = resolved(&printed, &[], &[]).expect("what it prints is good");
    let variables = [("TIDEWIRE_LIMITS_PUBLISH_RATE", "5")];
    let first = resolved(FILE, &variables, &["--drain-timeout=250ms"]).expect("good");
    assert_eq!(again.config, first.config);
}

#[test]
fn the_longest_name_of_a_namespace_is_printed_whole() {
    let name = "a.".repeat(64);
    let file = format!("[namespace.'{name}']\nretention_events = 30000\n");
    let first = resolved(&file, &[], &[]).expect("good");
    let again = resolved(&first.to_toml(), &[], &[]).expect("what it prints is good");
    assert_eq!(again.config, first.config);
    assert_eq!(again.config.namespace(&name).retention_events, 30_000);
}
