use super::super::tests::{only_problem, problems, resolved};

/// Refused for exactly these reasons, and good with the one change that makes it hold.
fn assert_edge(bad: &str, good: &str, keys: [&str; 2]) {
    let error = resolved(bad, &[], &[]).expect_err(bad);
    let [problem] = error.problems() else {
        panic!("{error}");
    };
    let text = problem.to_string();
    for key in keys {
        assert!(text.contains(&format!("`{key}` = ")), "{key}: {text}");
    }
    if let Err(error) = resolved(good, &[], &[]) {
        panic!("{good}: {error}");
    }
}

#[test]
fn retention_holds_twice_the_largest_batch() {
    assert_edge(
        "[defaults]\nretention_events = 1999\n",
        "[defaults]\nretention_events = 2000\n",
        ["defaults.retention_events", "limits.max_batch_events"],
    );
    assert_edge(
        "[defaults]\nretention_bytes = 8388607\n",
        "[defaults]\nretention_bytes = 8388608\n",
        ["defaults.retention_bytes", "limits.max_body_bytes"],
    );
    assert_edge(
        "[limits]\nmax_frame_bytes = '9MiB'\n",
        "[limits]\nmax_frame_bytes = '8MiB'\n",
        ["defaults.retention_bytes", "limits.max_frame_bytes"],
    );
}

#[test]
fn retention_of_a_namespace_too() {
    assert_edge(
        "[namespace.'a.b']\nretention_events = 1999\n",
        "[namespace.'a.b']\nretention_events = 2000\n",
        [
            "namespace.\"a.b\".retention_events",
            "limits.max_batch_events",
        ],
    );
    assert_edge(
        "[namespace.chat]\nretention_bytes = '7MiB'\n",
        "[namespace.chat]\nretention_bytes = '8MiB'\n",
        ["namespace.chat.retention_bytes", "limits.max_body_bytes"],
    );
    assert_edge(
        "[namespace.chat]\nretention_bytes = '2GiB'\n",
        "[namespace.chat]\nretention_bytes = '1GiB'\n",
        ["limits.log_bytes", "namespace.chat.retention_bytes"],
    );
}

#[test]
fn an_inherited_retention_is_reported_once() {
    let file = "[defaults]\nretention_events = 1\n[namespace.a]\n[namespace.b]\n";
    assert_eq!(problems(file, &[], &[]).len(), 1);
}

#[test]
fn each_size_fits_into_the_next() {
    assert_edge(
        "[limits]\nmax_frame_bytes = 266239\n",
        "[limits]\nmax_frame_bytes = 266240\n",
        ["limits.max_frame_bytes", "limits.max_event_bytes"],
    );
    assert_edge(
        "[limits]\nmax_body_bytes = 262143\n",
        "[limits]\nmax_body_bytes = 262144\n",
        ["limits.max_body_bytes", "limits.max_event_bytes"],
    );
    assert_edge(
        "[limits]\ninflight_bytes = 4194303\n",
        "[limits]\ninflight_bytes = 4194304\n",
        ["limits.inflight_bytes", "limits.max_body_bytes"],
    );
    assert_edge(
        "[limits]\nmax_body_bytes = '1MiB'\nmax_frame_bytes = '3MiB'\ninflight_bytes = '2MiB'\n",
        "[limits]\nmax_body_bytes = '1MiB'\nmax_frame_bytes = '2MiB'\ninflight_bytes = '2MiB'\n",
        ["limits.inflight_bytes", "limits.max_frame_bytes"],
    );
    assert_edge(
        "[limits]\nlog_bytes = 16777215\n",
        "[limits]\nlog_bytes = 16777216\n",
        ["limits.log_bytes", "defaults.retention_bytes"],
    );
}

#[test]
fn only_loopback_without_access_control() {
    for address in [
        "0.0.0.0:1",
        "[::]:1",
        "192.168.0.7:1",
        "[::ffff:10.0.0.1]:1",
    ] {
        let bad = format!("listen = '{address}'\n");
        let good = format!("listen = '{address}'\nallow_anonymous = true\n");
        assert_edge(&bad, &good, ["listen", "allow_anonymous"]);
    }
    for address in [
        "127.0.0.1:1",
        "127.8.8.8:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert!(resolved(&format!("listen = '{address}'\n"), &[], &[]).is_ok());
    }
}

#[test]
fn who_can_authenticate_may_come_from_anywhere() {
    let ways = [
        "[auth]\nkey_file = '/k'",
        "[auth]\nkeys_file = '/k'",
        "[auth.issuers.a]\nkey_env = 'JWT_KEY'",
        KEY,
    ];
    for way in ways {
        for reach in ["listen = '0.0.0.0:1'", "trusted_proxies = ['10.0.0.7']"] {
            let file = format!("{reach}\n[defaults]\nread = 'authenticated'\n{way}\n");
            assert!(resolved(&file, &[], &[]).is_ok(), "{file}");
        }
    }
    // What was meant to be one and was refused is enough to say nothing more.
    let refused = "listen = '0.0.0.0:1'\n[auth]\nsecret = 'short'\n";
    assert_eq!(problems(refused, &[], &[]).len(), 1);
}

#[test]
fn a_broker_that_is_reached_says_both_ways_out() {
    assert_eq!(
        only_problem("listen = '0.0.0.0:7'\n"),
        "`listen` = 0.0.0.0:7 (tidewire.toml:1) reaches beyond this machine, nobody can show who \
         they are, and `allow_anonymous` = false (default)\n  \
         fix: let clients show who they are, with [auth] (such as TIDEWIRE_AUTH_SECRET, \
         auth.jwks_url or auth.keys_file), or let everybody do everything with --allow-anonymous \
         (`allow_anonymous = true`), or listen on 127.0.0.1:7"
    );
}

#[test]
fn nothing_is_for_somebody_where_nobody_can_authenticate() {
    assert_edge(
        "trusted_proxies = ['10.0.0.7']\n",
        "trusted_proxies = ['10.0.0.7']\nallow_anonymous = true\n",
        ["trusted_proxies", "allow_anonymous"],
    );
    for key in ["read", "write", "control"] {
        assert_edge(
            &format!("[defaults]\n{key} = 'authenticated'\n[namespace.a]\n"),
            &format!("[defaults]\n{key} = 'anyone'\n"),
            [&format!("defaults.{key}"), "allow_anonymous"],
        );
        assert_edge(
            &format!("[namespace.a]\n{key} = 'authenticated'\n"),
            &format!("allow_anonymous = true\n[namespace.a]\n{key} = 'authenticated'\n"),
            [&format!("namespace.a.{key}"), "allow_anonymous"],
        );
    }
}

#[test]
fn tokens_of_an_issuer_have_one_key() {
    let sources = [
        ("secret", "'0123456789abcdef0123456789abcdef'"),
        ("key_file", "'/k'"),
        ("key_env", "'JWT_KEY'"),
        ("jwks_url", "'https://login.example.com/'"),
    ];
    for table in ["auth", "auth.issuers.a"] {
        for (index, (one, value)) in sources.iter().enumerate() {
            for (other, other_value) in &sources[index + 1..] {
                assert_edge(
                    &format!("[{table}]\n{one} = {value}\n{other} = {other_value}\n"),
                    &format!("[{table}]\n{one} = {value}\n"),
                    [&format!("{table}.{one}"), &format!("{table}.{other}")],
                );
            }
        }
    }
    for alone in ["issuer = 'me'", "algorithms = ['HS256']"] {
        let problem = only_problem(&format!("[auth]\n{alone}\n"));
        assert!(problem.contains("[auth] names no key"), "{problem}");
        let problem = only_problem(&format!("[auth.issuers.a]\n{alone}\n"));
        assert!(
            problem.contains("tidewire.toml:1: [auth.issuers.a] has no key"),
            "{problem}"
        );
    }
    // one in a variable and another in the file are two
    let variables = [("TIDEWIRE_AUTH_KEY_ENV", "JWT_KEY")];
    let problems = problems("[auth]\nkey_file = '/k'\n", &variables, &[]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        resolved(
            "[auth]\nkey_file = '/k'\n",
            &variables,
            &["--auth-key-file="]
        )
        .is_ok()
    );
}

#[test]
fn algorithms_are_for_the_key_that_is_named() {
    let secret = |bytes: usize| format!("secret = '{}'", "s".repeat(bytes));
    let cases = [
        (secret(47), "HS384", secret(48)),
        (secret(63), "HS512", secret(64)),
        (secret(99), "RS256", "key_file = '/k'".to_owned()),
        (
            secret(99),
            "EdDSA",
            "jwks_url = 'https://x.example/'".to_owned(),
        ),
        (
            "jwks_url = 'https://x.example/'".to_owned(),
            "HS256",
            secret(32),
        ),
    ];
    for table in ["auth", "auth.issuers.a"] {
        for (bad, algorithm, good) in &cases {
            let file = |key: &str| format!("[{table}]\n{key}\nalgorithms = ['{algorithm}']\n");
            let error = resolved(&file(bad), &[], &[]).expect_err(bad).to_string();
            assert!(
                error.contains(&format!("`{table}.algorithms` = ")),
                "{error}"
            );
            assert!(!error.contains("sss"), "{error}");
            assert!(
                resolved(&file(good), &[], &[]).is_ok(),
                "{good} {algorithm}"
            );
        }
    }
    // nobody knows yet what is in them
    for key in ["key_file = '/k'", "key_env = 'JWT_KEY'"] {
        let file = format!("[auth]\n{key}\nalgorithms = ['HS512', 'ES256']\n");
        assert!(resolved(&file, &[], &[]).is_ok());
    }
}

#[test]
fn files_and_ids_are_not_shared() {
    assert_edge(
        "[auth]\nkeys_file = '/a/b'\nrevocations_file = '/a//b'\n",
        "[auth]\nkeys_file = '/a/b'\nrevocations_file = '/a/c'\n",
        ["auth.keys_file", "auth.revocations_file"],
    );
    let other = KEY.replace("auth.key.a", "auth.key.b");
    assert_edge(
        &format!("{KEY}{other}"),
        &format!("{KEY}{}", other.replace("k3y0fagent", "k3y0fserver")),
        ["auth.key.a.id", "auth.key.b.id"],
    );
}

const KEY: &str = "\
[auth.key.a]
id = 'k3y0fagent'
hash = 'sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff'
";

#[test]
fn the_disk_engine_has_a_directory_and_no_other_engine_has() {
    let good = "engine = 'disk'\ndata_dir = '/data'\n";
    assert_edge("engine = 'disk'\n", good, ["engine", "data_dir"]);
    assert_edge("data_dir = '/data'\n", good, ["data_dir", "engine"]);
    assert_edge(
        "engine = 'disk'\ndata_dir = ''\n",
        "engine = 'memory'\ndata_dir = ''\n",
        ["engine", "data_dir"],
    );
}

#[test]
fn a_missing_and_an_unused_directory_say_the_way_out() {
    assert_eq!(
        only_problem("engine = 'disk'\n"),
        "`engine` = disk (tidewire.toml:1) keeps logs in a directory, and `data_dir` = none \
         (default)\n  \
         fix: name a directory with --data-dir DIR (`data_dir = \"/var/lib/tidewire\"`), or keep \
         logs in memory with --engine memory (`engine = \"memory\"`)"
    );
    assert_eq!(
        only_problem("\ndata_dir = '/data'\n"),
        "`data_dir` = /data (tidewire.toml:2) is for the disk engine, and `engine` = memory \
         (default) would keep nothing there\n  \
         fix: keep logs there with --engine disk (`engine = \"disk\"`), or leave `data_dir` out"
    );
}

#[test]
fn a_directory_that_could_not_be_read_is_not_missing_too() {
    let problems = problems("engine = 'disk'\ndata_dir = '~/data'\n", &[], &[]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problems = self::problems("engine = 'paper'\ndata_dir = '/data'\n", &[], &[]);
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn the_text_names_both_origins_and_the_fix() {
    let file = "\n[limits]\nmax_event_bytes = '1MiB'\n";
    assert_eq!(
        only_problem(file),
        "`limits.max_frame_bytes` = 1MiB (default) is too small for `limits.max_event_bytes` = \
         1MiB (tidewire.toml:3): the largest event has to fit into a WebSocket message with 4096 \
         bytes around it\n  \
         fix: raise `limits.max_frame_bytes` to 1028KiB or more, or lower `limits.max_event_bytes`"
    );
}

#[test]
fn bytes_without_a_round_unit_are_named() {
    let problem = only_problem("[limits]\nmax_frame_bytes = 266239\n");
    assert!(
        problem.contains("= 266239 bytes (tidewire.toml:2)"),
        "{problem}"
    );
}

#[test]
fn layers_contradict_each_other_too() {
    let variables = [("TIDEWIRE_LISTEN", "0.0.0.0:7")];
    let problems = problems("", &variables, &["--allow-anonymous=false"]);
    assert_eq!(problems.len(), 1);
    let problem = &problems[0];
    assert!(problem.contains("(TIDEWIRE_LISTEN)"), "{problem}");
    assert!(problem.contains("(--allow-anonymous)"), "{problem}");
}

#[test]
fn a_value_that_could_not_be_read_contradicts_nothing() {
    let bad_value = "[limits]\nmax_event_bytes = '2MiB'\nmax_frame_bytes = '3 MB?'\n";
    assert_eq!(problems(bad_value, &[], &[]).len(), 1);
    // The file may say `allow_anonymous = true`: nobody knows.
    let no_toml = problems("allow_anonymous = true =\n", &[], &["--listen=0.0.0.0:1"]);
    assert_eq!(no_toml.len(), 1, "{no_toml:?}");
}

#[test]
fn what_appsync_clients_may_send_is_no_more_than_what_anybody_may() {
    assert_edge(
        "[limits]\nmax_event_bytes = '100KiB'\n[appsync]\nmax_event_bytes = '101KiB'\n",
        "[limits]\nmax_event_bytes = '100KiB'\n[appsync]\nmax_event_bytes = '100KiB'\n",
        ["limits.max_event_bytes", "appsync.max_event_bytes"],
    );
    assert_edge(
        "[appsync]\nmax_events = 1001\n",
        "[appsync]\nmax_events = 1000\n",
        ["limits.max_batch_events", "appsync.max_events"],
    );
}

#[test]
fn a_default_gives_way_to_a_bound_that_is_set() {
    let file = "[limits]\nmax_event_bytes = '100KiB'\nmax_batch_events = 3\n";
    let effective = resolved(file, &[], &[]).expect("good");
    let appsync = &effective.config.appsync;
    assert_eq!(
        (appsync.max_event_bytes, appsync.max_events),
        (100 << 10, 3)
    );
    let again = resolved(&effective.to_toml(), &[], &[]).expect("what it prints is good");
    assert_eq!(again.config, effective.config);
}
