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

const ACCESS: &str = "\
trusted_proxies = ['10.0.0.0/8']
[auth]
jwks_url = 'https://login.example.com/jwks.json'
algorithms = ['RS256']
leeway = 0
[auth.issuers.b]
key_file = '/k'
[auth.key.a]
id = 'k3y0fagent'
hash = 'sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff'
publish = ['/chat/{sub}/*', '/news']
expires = 2027-01-31T00:00:00Z
byte_rate = '1KiB'
[quota.key]
connections = 7
[namespace.chat]
read = 'authenticated'
control_types = ['run.cancel', 'run.steer']
byte_burst = 900
";

#[test]
fn access_reads_back_as_the_same_too() {
    let first = resolved(ACCESS, &[], &[]).expect("good");
    let printed = first.to_toml();
    let again = resolved(&printed, &[], &[]).expect("what it prints is good");
    assert_eq!(again.config, first.config);
    let lines: Vec<String> = printed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let expected = [
        "trusted_proxies = [\"10.0.0.0/8\"] # tidewire.toml:1",
        "# secret is not set # default",
        "key_file = \"\" # default",
        "[auth.key.a]",
        "expires = \"2027-01-31T00:00:00Z\" # tidewire.toml:12",
        "connections = 7 # quota.key.connections: tidewire.toml:15",
        "byte_rate = \"1KiB\" # tidewire.toml:13",
        "[auth.issuers.b]",
        "key_file = \"/k\" # tidewire.toml:7",
        "read = \"authenticated\" # tidewire.toml:17",
        "write = \"grant\" # defaults.write: default",
    ];
    for line in expected {
        assert!(lines.iter().any(|found| found == line), "{line}\n{printed}");
    }
}

#[test]
fn in_the_place_of_a_secret_stands_a_comment() {
    let secret = "hunter2-hunter2-hunter2-hunter2-";
    let variables = [("TIDEWIRE_AUTH_SECRET", secret)];
    let file = format!("[auth.issuers.a]\nissuer = 'me'\nsecret = '{secret}'\n");
    let first = resolved(&file, &variables, &[]).expect("good");
    let printed = first.to_toml();
    let lines: Vec<&str> = printed
        .lines()
        .filter(|line| line.contains("secret"))
        .collect();
    assert_eq!(
        lines,
        [
            "# secret = …  (set, and not shown)       # TIDEWIRE_AUTH_SECRET",
            "# secret = …  (set, and not shown)       # tidewire.toml:3",
        ]
    );
    // with the secrets put back it is the same
    let whole = printed.replace(
        "# secret = …  (set, and not shown)",
        &format!("secret = '{secret}'"),
    );
    let again = resolved(&whole, &[], &[]).expect("good");
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
