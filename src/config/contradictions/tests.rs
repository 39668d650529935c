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
