//! Access control as it is read from file, variables and flags; and that no secret comes out again.

use jsonwebtoken::Algorithm;

use super::*;

const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-";
const HASH: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// `[auth.key.NAME]` with what it needs.
fn key(name: &str, id: &str, more: &str) -> String {
    format!("[auth.key.{name}]\nid = '{id}'\nhash = '{HASH}'\n{more}\n")
}

#[test]
fn the_whole_of_auth_is_read() {
    let file = "\
trusted_proxies = ['10.0.0.7', 'fd00::/8']
forwarded_header = 'forwarded'
[auth]
jwks_url = 'https://login.example.com/jwks.json'
algorithms = ['RS256', 'ES256']
keys_file = '/etc/tidewire/keys.toml'
revocations_file = '/var/lib/tidewire/revoked'
cookie = 'token'
leeway = 0
jwks_refresh = '1h'
jwks_min_interval = '1m'
jwks_timeout = '2s'
[auth.issuers.b]
key_env = 'JWT_KEY'
[auth.issuers.a]
secret = 'hunter2-hunter2-hunter2-hunter2-hunter2-hunter2-'
issuer = 'backend'
audience = 'client'
algorithms = ['HS384']
";
    let config = resolved(
        file,
        &[("TIDEWIRE_AUTH_ISSUER", "https://login.example.com")],
        &[],
    )
    .expect("good")
    .config;
    let proxies: Vec<String> = config
        .trusted_proxies
        .iter()
        .map(IpNet::to_string)
        .collect();
    assert_eq!(proxies, ["10.0.0.7/32", "fd00::/8"]);
    assert_eq!(config.forwarded_header, ForwardedHeader::Forwarded);
    let issuer = |name: &str, issuer: Option<&str>, keys, algorithms: &[Algorithm]| Issuer {
        name: name.to_owned(),
        issuer: issuer.map(str::to_owned),
        audience: (name == "a").then(|| "client".to_owned()),
        keys,
        algorithms: algorithms.to_vec(),
    };
    let auth = Auth {
        issuers: vec![
            issuer(
                "",
                Some("https://login.example.com"),
                KeySource::Jwks("https://login.example.com/jwks.json".to_owned()),
                &[Algorithm::RS256, Algorithm::ES256],
            ),
            issuer(
                "a",
                Some("backend"),
                KeySource::Secret(Secret(SECRET.to_owned() + "hunter2-hunter2-")),
                &[Algorithm::HS384],
            ),
            issuer("b", None, KeySource::Variable("JWT_KEY".to_owned()), &[]),
        ],
        keys: BTreeMap::new(),
        keys_file: Some("/etc/tidewire/keys.toml".into()),
        revocations_file: Some("/var/lib/tidewire/revoked".into()),
        cookie: Some("token".to_owned()),
        leeway: Duration::ZERO,
        jwks_refresh: Duration::from_secs(3600),
        jwks_min_interval: Duration::from_secs(60),
        jwks_timeout: Duration::from_secs(2),
    };
    assert_eq!(config.auth, auth);
    assert!(config.can_authenticate());
}

#[test]
fn issuers_of_their_own_stand_beside_the_one_of_auth() {
    let file = "[auth]\nkey_file = '/k'\nissuer = 'me'\n[auth.issuers.a]\nkey_file = '/k'\n";
    let effective = resolved(file, &[], &[]).expect("good");
    let issuers = &effective.config.auth.issuers;
    let names: Vec<_> = issuers
        .iter()
        .map(|issuer| issuer.issuer.as_deref())
        .collect();
    assert_eq!(names, [Some("me"), None]);
    let again = resolved(&effective.to_toml(), &[], &[]).expect("good");
    assert_eq!(again.config, effective.config);
    let number = only_problem("[auth]\nkey_file = '/k'\nissuer = 7\n");
    assert!(
        number.contains("it takes a string, not a number"),
        "{number}"
    );
}

#[test]
fn a_key_is_read_whole_and_inherits_its_quota() {
    let more = "\
subscribe = ['/chat/{sub}/**']
publish = ['/chat/a', '/chat/b']
control = ['/chat/*']
delete = ['/old/**']
admin = true
expires = 2027-01-31T00:00:00Z
publish_rate = 5
byte_burst = '1KiB'";
    let file = key("agent-1", "k3y0fagent", more)
        + &key("server", "k3y0fserver", "expires = '2027-01-31T00:00:01Z'");
    let flags = [
        "--quota-key-publish-rate=100",
        "--quota-key-publish-burst=0",
        "--quota-key-connections=9",
    ];
    let config = resolved(&file, &[], &flags).expect("good").config;
    let agent = &config.auth.keys["agent-1"];
    assert_eq!(agent.id, "k3y0fagent");
    assert_eq!(agent.hash[..3], [0x00, 0x11, 0x22]);
    assert_eq!(agent.grants.subscribe, ["/chat/{sub}/**"]);
    assert_eq!(agent.grants.publish, ["/chat/a", "/chat/b"]);
    assert_eq!(agent.grants.control, ["/chat/*"]);
    assert_eq!(agent.grants.delete, ["/old/**"]);
    assert!(agent.admin);
    assert_eq!(agent.expires, Some(1_801_353_600));
    let quota = Quota {
        connections: 9,
        publish_rate: 5,
        byte_burst: 1024,
        ..Quota::default()
    };
    assert_eq!(agent.quota, quota);
    let server = &config.auth.keys["server"];
    assert_eq!(server.grants, crate::auth::GrantTexts::default());
    assert_eq!((server.admin, server.expires), (false, Some(1_801_353_601)));
    assert_eq!(server.quota, config.quotas.key);
    assert_eq!(server.quota.publish_rate, 100);
}

#[test]
fn every_key_of_a_quota_lands_in_its_own_field() {
    let base = format!(
        "{:#?}",
        resolved(&key("a", "k3y0fagent", ""), &[], &[])
            .expect("good")
            .config
            .auth
    );
    for leaf in tables::KEY.leaves() {
        let Some(inherits) = tables::KEY.key(leaf).and_then(|key| key.inherits()) else {
            continue;
        };
        assert_eq!(inherits, format!("quota.key.{leaf}"));
        let file = key("a", "k3y0fagent", &format!("{leaf} = 77"));
        // sizes are bare numbers of bytes too
        let changed = resolved(&file, &[], &[]).expect(leaf).config.auth;
        let changed = format!("{changed:#?}");
        let differing: Vec<&str> = changed
            .lines()
            .zip(base.lines())
            .filter_map(|(a, b)| (a != b).then_some(a.trim()))
            .collect();
        assert_eq!(differing, [format!("{leaf}: 77,")]);
    }
}

#[test]
fn quotas_are_tables_in_a_table() {
    let file = "\
quota.connection.byte_rate = '1KiB'
quota.address = { publish_rate = 3, publish_burst = 4 }
[quota.subject]
connections = 1
[quota.namespace]
topics_per_minute = 2
";
    let variables = [("TIDEWIRE_QUOTA_SUBJECT_CONNECTIONS", "5")];
    let flags = ["--quota-namespace-topics-per-minute=6"];
    let quotas = resolved(file, &[], &[]).expect("good").config.quotas;
    let all = [quotas.connection.byte_rate, quotas.subject.connections];
    assert_eq!(all, [1024, 1]);
    assert_eq!(quotas.namespace.topics_per_minute, 2);
    let address = Quota {
        publish_rate: 3,
        publish_burst: 4,
        ..Quota::default()
    };
    assert_eq!(quotas.address, address);
    let quotas = resolved(file, &variables, &flags)
        .expect("good")
        .config
        .quotas;
    assert_eq!(quotas.subject.connections, 5);
    assert_eq!(quotas.namespace.topics_per_minute, 6);
    assert_eq!(quotas.key, Quota::default());
}

#[test]
fn bounds_of_access_are_kept() {
    let most = [
        ("--auth-leeway=5m", "--auth-leeway=301s"),
        ("--auth-jwks-timeout=60s", "--auth-jwks-timeout=61s"),
        ("--limits-auth-timeout=60s", "--limits-auth-timeout=61s"),
    ];
    for (good, bad) in most {
        assert!(resolved("", &[], &[good]).is_ok(), "{good}");
        let problems = problems("", &[], &[bad]);
        assert!(problems[0].contains("the most is"), "{problems:?}");
    }
}

#[test]
fn unknown_keys_and_tables_are_told_what_was_meant() {
    let expect = |file: &str, problem: &str, fix: &str| {
        let found = only_problem(file);
        assert_eq!(found, format!("{problem}\n  fix: {fix}"));
    };
    expect(
        "[auth]\nkeyfile = '/k'\n",
        "tidewire.toml:2: unknown key `auth.keyfile`",
        "did you mean `auth.key_file`?",
    );
    expect(
        "[auth.keys.a]\n",
        "tidewire.toml:1: unknown table `auth.keys`",
        "did you mean `[auth.key.NAME]`?",
    );
    expect(
        "[quota.subjects]\n",
        "tidewire.toml:1: unknown table `quota.subjects`",
        "did you mean `[quota.subject]`?",
    );
    expect(
        "[quota]\npublish_rate = 1\n",
        "tidewire.toml:2: unknown key `quota.publish_rate`",
        "write it under one of [quota.connection], [quota.subject], [quota.key], \
         [quota.namespace], [quota.address]",
    );
    expect(
        &key("a", "k3y0fagent", "subscribes = ['/a']"),
        "tidewire.toml:4: unknown key `auth.key.a.subscribes`",
        "did you mean `subscribe`?",
    );
    expect(
        "[auth.issuers.a]\nkey_file = '/k'\nleeway = '1s'\n",
        "tidewire.toml:3: unknown key `auth.issuers.a.leeway`",
        "remove it; an issuer takes secret, key_file, key_env, jwks_url, issuer, audience, algorithms",
    );
}

/// `[appsync.access_key.NAME]` with its id.
fn access_key(name: &str, id: &str, more: &str) -> String {
    format!("[appsync.access_key.{name}]\nid = '{id}'\n{more}\n")
}

#[test]
fn access_keys_and_an_authorizer_are_read_and_let_others_reach_the_broker() {
    let file = "\
listen = '0.0.0.0:7070'
[appsync]
authorizer_url = 'https://auth.example.com/events'
authorizer_timeout = '1s'
authorizer_ttl = 0
"
    .to_owned()
        + &access_key(
            "ci",
            "AKIDEXAMPLE000001",
            &format!(
                "secret = '{SECRET}'\npublish = ['/a/{{sub}}']\nexpires = 2027-01-31T00:00:00Z"
            ),
        )
        + &access_key("app", "AKIDEXAMPLE000002", "secret_env = 'APP_SECRET'");
    let effective = resolved(&file, &[], &[]).expect("good");
    let appsync = &effective.config.appsync;
    let authorizer = AuthorizerSettings {
        url: "https://auth.example.com/events".to_owned(),
        timeout: Duration::from_secs(1),
        ttl: Duration::ZERO,
    };
    assert_eq!(appsync.authorizer, Some(authorizer));
    let [app, ci] = ["app", "ci"].map(|name| &appsync.access_keys[name]);
    assert_eq!(app.secret, AccessSecret::Variable("APP_SECRET".to_owned()));
    assert_eq!(ci.secret, AccessSecret::Text(Secret(SECRET.to_owned())));
    assert_eq!(ci.grants.publish, ["/a/{sub}"]);
    assert_eq!((ci.expires, app.expires), (Some(1_801_353_600), None));
    assert!(effective.config.can_authenticate());
    let shown = format!("{} {effective:?}", effective.to_toml());
    assert!(!shown.contains("hunter2"), "{shown}");
    for alone in [
        "listen = '0.0.0.0:1'\nappsync.authorizer_url = 'https://a.example/'\n".to_owned(),
        "listen = '0.0.0.0:1'\nappsync.enabled = false\n".to_owned()
            + &access_key("app", "AKIDEXAMPLE000002", "secret_env = 'APP_SECRET'"),
    ] {
        let config = resolved(&alone, &[], &[]).expect("good").config;
        assert!(config.can_authenticate(), "{alone}");
    }
}

#[test]
fn an_access_key_has_one_id_and_one_secret() {
    let secret = format!("secret = '{SECRET}'");
    for (file, expected) in [
        (
            access_key("a", "AKIDEXAMPLE000001", ""),
            "has no secret: `secret` or `secret_env`",
        ),
        (
            access_key(
                "a",
                "AKIDEXAMPLE000001",
                &format!("{secret}\nsecret_env = 'A'"),
            ),
            "each name the secret",
        ),
        (
            access_key("a", "AKIDEXAMPLE000001", &secret)
                + &access_key("b", "AKIDEXAMPLE000001", &secret),
            "are the same, and a key is found by its id",
        ),
        (
            access_key("a", "hunter2", &secret),
            "it is not 16 to 128 of A-Z a-z 0-9 _",
        ),
        (
            "[appsync.access_key.a]\nsecret_env = 'A'\n".to_owned(),
            "[appsync.access_key.a] has no `id`",
        ),
        (
            "appsync.authorizer_url = 'http://auth.example.com/hunter2'\n".to_owned(),
            "it is for loopback only",
        ),
    ] {
        let problem = only_problem(&file);
        assert!(problem.contains(expected), "{problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn named_tables_have_names_and_what_they_need() {
    let long = "a".repeat(65);
    for name in ["''", "'a.b'", "'a b'", "'ä'", &long] {
        for (table, what) in [("issuers", "an issuer"), ("key", "an API key")] {
            let problem = only_problem(&format!("[auth.{table}.{name}]\n"));
            let expected = format!("it is not the name of {what}");
            assert!(problem.contains(&expected), "{problem}");
        }
    }
    assert_eq!(
        problems("\n[auth.key.a]\nadmin = true\n", &[], &[]),
        [
            "tidewire.toml:2: [auth.key.a] has no `id`",
            "tidewire.toml:2: [auth.key.a] has no `hash`"
        ]
    );
    // refused is not missing
    let file = "[auth.key.a]\nid = 'short'\nhash = 7\n";
    assert_eq!(
        problems(file, &[], &[]),
        [
            "tidewire.toml:2: `auth.key.a.id` = …: it is not 8 to 32 of a-z 0-9",
            "tidewire.toml:3: `auth.key.a.hash` = …: it takes a string, not a number"
        ]
    );
}

#[test]
fn all_problems_of_a_key_are_told_with_their_lines() {
    let more = "subscribe = [\n  '/a',\n  'b',\n  7,\n]\nadmin = 'yes'\nexpires = 2027-01-31\nconnections = -1";
    let file = key("a", "k3y0fagent", more) + "[auth.issuers.x]\nalgorithms = ['none']\n";
    let expected = [
        "tidewire.toml:6: `auth.key.a.subscribe` = 'b': `subscribe` grants `b`: ",
        "tidewire.toml:7: `auth.key.a.subscribe` = 7: it takes a list of strings, not a number",
        "tidewire.toml:9: `auth.key.a.admin` = 'yes': it takes true or false, not a string",
        "tidewire.toml:10: `auth.key.a.expires` = 2027-01-31: it is not a date and a time",
        "tidewire.toml:11: `auth.key.a.connections` = -1: it cannot be negative",
        "tidewire.toml:13: `auth.issuers.x.algorithms` = 'none': there is no such algorithm here",
        "tidewire.toml:12: [auth.issuers.x] has no key: `secret`, `key_file`, `key_env` or `jwks_url`",
    ];
    let problems = problems(&file, &[], &[]);
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}");
    }
    let many = "'/a',".repeat(129);
    let problem = only_problem(&key("a", "k3y0fagent", &format!("delete = [{many}]")));
    assert!(problem.contains("the most is 128 patterns"), "{problem}");
}

#[test]
fn lists_of_types_say_something() {
    for text in ["", "token", "token.*,"] {
        let problems = problems("", &[("TIDEWIRE_DEFAULTS_PUBLISH_TYPES", text)], &[]);
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
    let problem = only_problem("[namespace.a]\ncontrol_types = []\n");
    assert!(problem.contains("it names no type"), "{problem}");
}

#[test]
fn a_secret_is_shown_nowhere() {
    let file = format!("[auth]\nsecret = '{SECRET}'\n[auth.issuers.a]\nsecret = '{SECRET}a'\n");
    let variable = [("TIDEWIRE_AUTH_SECRET", SECRET)];
    for effective in [
        resolved(&file, &[], &[]),
        resolved("", &variable, &[]),
        resolved("", &[], &["--auth-secret", SECRET]),
    ] {
        let effective = effective.expect("good");
        assert!(!effective.to_toml().contains("hunter2"));
        assert!(!format!("{effective:?} {:#?}", effective.config).contains("hunter2"));
        let KeySource::Secret(secret) = &effective.config.auth.issuers[0].keys else {
            panic!("no secret");
        };
        assert_eq!(secret.0, SECRET);
    }
    let env: Environment = variable.into_iter().collect();
    assert!(!format!("{env:?}").contains("hunter2"));
}

#[test]
fn a_secret_is_in_no_error() {
    let files = [
        // too short, of another type, where it does not belong, contradicted
        "[auth]\nsecret = 'hunter2'\n",
        "[auth]\nsecret = ['hunter2']\n",
        "[auth]\nsecret.hunter = 'hunter2'\n",
        "[auth]\nsecret = { a = 'hunter2' }\n",
        "[auth]\nsecret = 'hunter2-hunter2-hunter2-hunter2-\t'\n",
        "[auth]\nsecrets = 'hunter2'\n",
        "auth = 'hunter2'\n",
        "auth.issuers = { a = 'hunter2' }\n",
        "auth.key = 'hunter2'\n",
        "auth_secret = 'hunter2'\n",
        "[auth]\nkey_env = 'hunter2-hunter2'\n",
        "[auth]\njwks_url = 'https://me:hunter2@login.example.com/'\n",
        "[auth]\nsecret = 'hunter2-hunter2-hunter2-hunter2-'\nkey_file = '/k'\n",
        "[auth]\nsecret = 'hunter2-hunter2-hunter2-hunter2-'\nalgorithms = ['HS512', 'RS256']\n",
        "[auth.issuers.a]\nsecret = 'hunter2'\n",
        "[auth.key.a]\nid = 'tw_k3y0fagent_hunter2'\nhash = 'tw_k3y0fagent_hunter2'\n",
        // no TOML
        "[auth]\nsecret = hunter2\n",
        "[auth]\nsecret = 'hunter2\n",
        "[auth]\nsecret = 'hunter2'hunter2\n",
        "[auth]\nsecret 'hunter2'\n",
        "[auth]\nsecret: hunter2\n",
        "[auth]\nhunter2\n",
        "[auth]\nhunter2==\n",
        "[auth]\nsecret = \"hunter2\\q\"\n",
        "[auth]\nsecret = \"\"\"\nhunter2\\q==\n\"\"\"\n",
        "[auth]\nsecret = 'hunter2'\nsecret = 'hunter2'\n",
        "auth = { secret = 'hunter2' \n",
    ];
    for file in files {
        let error = resolved(file, &[], &[]).expect_err(file);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    for text in ["hunter2", "", " hunter2-hunter2-hunter2-hunter2-hunter2"] {
        let flag = format!("--auth-secret={text}");
        let error = resolved("", &[("TIDEWIRE_AUTH_SECRET", text)], &[&flag]);
        let error = error.expect_err("refused");
        assert_eq!(error.problems().len(), 2, "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let command = args(Command::new("serve").no_binary_name(true));
    let dashed = command.try_get_matches_from(["--auth-secret", "-hunter2"]);
    let dashed = dashed.expect("the text is for the settings to refuse");
    assert!(load(&dashed, |_| None).is_err());
}

#[test]
fn no_broken_file_shows_a_secret() {
    let seeds = [
        "environment = 'x'\n[auth]\nsecret = 'hunter2-hunter2-hunter2-hunter2-'\nissuer = 'me'\n",
        "[auth]\nissuer = 'me'\nsecret = \"\"\"hunter2-hunter2\nhunter2-hunter2-\"\"\"\n",
        "auth = { issuer = 'me', secret = \"hunter2-hunter2-hunter2-hunter2-\" }\n",
    ];
    let marks = [
        "[", "]", "{", "}", "=", ".", "'", "\"", "\n", "#", "\\", "é", ",", " ",
    ];
    for seed in seeds {
        // Before and behind the secret; a mark in it makes keys of its parts, which are names then.
        let from = seed.find("hunter2").expect("it is there");
        let to = seed.rfind("hunter2").expect("it is there") + "hunter2-".len();
        for at in (0..=from).chain(to..=seed.len()) {
            for mark in marks {
                let (before, after) = seed.split_at(at);
                if let Err(error) = resolved(&format!("{before}{mark}{after}"), &[], &[]) {
                    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
                }
            }
        }
    }
}

mod keys_file {
    use super::*;

    fn read(text: &str, quota: &Quota) -> Result<BTreeMap<String, ApiKey>, ConfigError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        read_keys_file(file.path(), quota)
    }

    #[test]
    fn it_has_keys_as_the_configuration_has() {
        let quota = Quota {
            connections: 3,
            publish_rate: 9,
            ..Quota::default()
        };
        let text = key("a", "k3y0fagent", "publish = ['/a']\npublish_rate = 5")
            + &key("b", "k3y0fserver", "");
        let keys = read(&text, &quota).expect("good");
        assert_eq!(keys["a"].grants.publish, ["/a"]);
        let merged = Quota {
            publish_rate: 5,
            ..quota
        };
        assert_eq!(keys["a"].quota, merged);
        assert_eq!(keys["b"].quota, quota);
        assert_eq!(read("", &quota), Ok(BTreeMap::new()));
        let of_config = resolved(
            &text,
            &[],
            &["--quota-key-connections=3", "--quota-key-publish-rate=9"],
        );
        assert_eq!(of_config.expect("good").config.auth.keys, keys);
    }

    #[test]
    fn it_has_nothing_else() {
        let text = "listen = '127.0.0.1:1'\n[auth]\nsecret = 'hunter2'\n[auth.issuers.x]\n[limits]\n[auth.keys.a]\n";
        let error = read(text, &Quota::default()).expect_err("refused");
        let found: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 5, "{found:#?}");
        let ends = [
            ":1: unknown key `listen`",
            ":3: unknown key `auth.secret`",
            ":4: unknown table `auth.issuers`",
            ":5: unknown table `limits`",
            ":6: unknown table `auth.keys`",
        ];
        for (problem, end) in found.iter().zip(ends) {
            assert!(problem.ends_with(end), "{problem}");
        }
        let fix = error.problems()[4].fix();
        assert_eq!(fix, "did you mean `[auth.key.NAME]`?");
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let text = key("a", "k3y0fagent", "publish = ['a']")
            + &key("b", "k3y0fserver", "")
            + &key("c", "k3y0fserver", "");
        let error = read(&text, &Quota::default()).expect_err("refused");
        let found: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(
            found[0].contains(":4: `auth.key.a.publish` = 'a'"),
            "{found:#?}"
        );
        assert!(
            found[1].contains("`auth.key.b.id` = k3y0fserver"),
            "{found:#?}"
        );
        assert!(read("[auth.key.a]\nid = \n", &Quota::default()).is_err());
    }

    #[test]
    fn one_that_does_not_exist_is_said_not_to() {
        let missing = Path::new("/nonexistent/keys.toml");
        let error = read_keys_file(missing, &Quota::default()).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "cannot read the keys file /nonexistent/keys.toml (from auth.keys_file): it does not \
             exist\n  fix: make the file (an empty one is good), let the broker read it, or name \
             another one in auth.keys_file"
        );
    }
}
