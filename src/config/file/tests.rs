use super::super::tests::{only_problem, problems, resolved};
use super::*;

#[test]
fn lines_are_counted_from_one_whatever_ends_them() {
    assert_eq!(line_at(b"", 0), 1);
    assert_eq!(line_at(b"a\nb", 0), 1);
    assert_eq!(line_at(b"a\nb", 1), 1);
    assert_eq!(line_at(b"a\nb", 2), 2);
    assert_eq!(line_at(b"a\r\nb", 3), 2);
    assert_eq!(line_at(b"a\n", 99), 2);
}

#[test]
fn each_form_of_table_gives_the_right_line() {
    let file = "\
# first\r
limits.outbox_bytes = '1x'\r
limits.window_bytes = '2x'\r

log = { level = '', format = 'xml' }

[defaults]

retention_age = '5'
[namespace]
a.retention_age = '6'
b = { retention_age = '7' }
[namespace.c]
retention_age = '8'
";
    let problems = problems(file, &[], &[]);
    let lines: Vec<&str> = problems
        .iter()
        .filter_map(|problem| problem.split("`:").next()?.split(" = ").next())
        .collect();
    let expected = [
        "tidewire.toml:2: `limits.outbox_bytes`",
        "tidewire.toml:3: `limits.window_bytes`",
        "tidewire.toml:5: `log.level`",
        "tidewire.toml:5: `log.format`",
        "tidewire.toml:9: `defaults.retention_age`",
        "tidewire.toml:11: `namespace.a.retention_age`",
        "tidewire.toml:12: `namespace.b.retention_age`",
        "tidewire.toml:14: `namespace.c.retention_age`",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_bad_item_has_its_own_line() {
    let file = "allowed_origins = [\n  'https://a.example',\n  'b.example',\n  7,\n]\n";
    let problems = problems(file, &[], &[]);
    let expected = [
        "tidewire.toml:3: `allowed_origins` = 'b.example': `b.example` has no scheme",
        "tidewire.toml:4: `allowed_origins` = 7: it takes a list of strings, not a number",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn unknown_keys_are_told_what_was_meant() {
    let expect = |file: &str, expected: &str| assert_eq!(only_problem(file), expected);
    expect(
        "listn = '127.0.0.1:1'\n",
        "tidewire.toml:1: unknown key `listn`\n  fix: did you mean `listen`?",
    );
    expect(
        "\noutbox_bytes = '1KiB'\n",
        "tidewire.toml:2: unknown key `outbox_bytes`\n  fix: did you mean `limits.outbox_bytes`?",
    );
    expect(
        "'limits.outbox_bytes' = '1KiB'\n",
        "tidewire.toml:1: unknown key `\"limits.outbox_bytes\"`\n  \
         fix: write `outbox_bytes` under [limits], without quotes",
    );
    expect(
        "[limit]\noutbox_bytes = '1KiB'\n",
        "tidewire.toml:1: unknown table `limit`\n  fix: did you mean `[limits]`?",
    );
    expect(
        "[namespaces.chat]\nretention_events = 1\n",
        "tidewire.toml:1: unknown table `namespaces`\n  fix: did you mean `[namespace.NAME]`?",
    );
    expect(
        "[namespace.chat]\n\nretention_event = 1\n",
        "tidewire.toml:3: unknown key `namespace.chat.retention_event`\n  \
         fix: did you mean `retention_events`?",
    );
    expect(
        "[defaults]\npublish_rate = 1\n",
        "tidewire.toml:2: unknown key `defaults.publish_rate`\n  \
         fix: did you mean `limits.publish_rate`?",
    );
}

#[test]
fn an_unquoted_dot_in_the_name_of_a_namespace_is_explained() {
    let problem = only_problem("[namespace.a.b]\nretention_events = 20000\n");
    assert!(
        problem.contains("a dot in a name needs quotes: [namespace.\"a.b\"]"),
        "{problem}"
    );
}

#[test]
fn names_that_can_be_no_segment_are_refused() {
    let long = "a".repeat(129);
    for name in ["", ".", "..", "a/b", "ä", "a b", &long] {
        let problem = only_problem(&format!("[namespace.'{name}']\n"));
        assert!(
            problem.contains("it is not the name of a namespace"),
            "{problem}"
        );
    }
    let longest = "a".repeat(128);
    for name in ["a.b", "a:b~c-d_E", "...", &longest] {
        let file = format!("[namespace.'{name}']\n");
        let config = resolved(&file, &[], &[]).expect("good").config;
        assert!(config.namespaces.contains_key(name), "{name}");
    }
}

#[test]
fn wrong_types_are_named() {
    let cases = [
        ("listen = 7070", "it takes a string, not a number"),
        (
            "allow_anonymous = 'true'",
            "it takes true or false, not a string",
        ),
        ("workers = '4'", "it takes a whole number, not a string"),
        ("workers = 1.5", "it takes a whole number, not a fraction"),
        (
            "drain_timeout = 07:32:00",
            "it takes a string with a number and a unit, not a date or time",
        ),
        (
            "allowed_hosts = 'broker'",
            "it takes a list of strings, not a string",
        ),
        ("[listen]", "it takes a string, not a table"),
        ("limits = 5", "it is a table, not a number"),
        ("[[namespace]]", "it is a table, not a list"),
        (
            "[namespace]\nretention_events = 1",
            "it is a table, not a number",
        ),
        (
            "[limits]\nlog_bytes = 1.5",
            "it takes a size: a string with a unit, or a whole number of bytes, not a fraction",
        ),
    ];
    for (file, expected) in cases {
        let problem = only_problem(file);
        let first = problem.lines().next().unwrap_or_default();
        assert!(first.ends_with(expected), "{problem}");
    }
}

#[test]
fn integers_of_every_spelling_are_whole_or_refused() {
    let outbox = |text: &str| {
        let file = format!("[limits]\noutbox_bytes = {text}\n");
        resolved(&file, &[], &[]).map(|effective| effective.config.limits.outbox_bytes)
    };
    assert_eq!(outbox("65_536"), Ok(65_536));
    assert_eq!(outbox("0x1_0000"), Ok(65_536));
    assert_eq!(outbox("+7"), Ok(7));
    let bad = [
        "-7",
        "9223372036854775808",
        "18446744073709551617",
        "0xffffffffffffffffffffffffffffffffffffffff",
        "340282366920938463463374607431768211457",
    ];
    for text in bad {
        assert!(outbox(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_not_toml_is_reported_with_its_lines_and_without_values() {
    let file = "listen = \nworkers = 4\nengine = hunter2\nworkers = 5\n";
    let problems = problems(file, &[], &["--drain-timeout=x"]);
    let lines: Vec<&str> = problems
        .iter()
        .filter_map(|problem| problem.split(": ").next())
        .collect();
    let expected = [
        "tidewire.toml:1",
        "tidewire.toml:3",
        "tidewire.toml:4",
        "--drain-timeout",
    ];
    assert_eq!(lines, expected, "{problems:#?}");
    assert!(problems[2].contains("`workers`"), "{problems:?}");
    assert!(!problems.concat().contains("hunter2"), "{problems:?}");
}

#[test]
fn one_mistake_is_one_problem() {
    for file in ["a = [1 2 3\n", "a = {b = , c = }\n", "a b c = 1\n"] {
        assert_eq!(problems(file, &[], &[]).len(), 1, "{file}");
    }
}

#[test]
fn no_input_is_too_odd_to_report() {
    let seeds = [
        "listen = '127.0.0.1:1'\n[limits]\noutbox_bytes = 5\n[namespace.\"a.b\"]\npublish_rate=1\n",
        "allowed_origins = ['https://a.example', \"\"\"x\"\"\"]\n[[a]]\n[a.b]\nc.d = {e = 1}\n",
        "[auth.key.a]\nid='k3y0fagent'\nsubscribe=['/a/{sub}']\nexpires=2027-01-31T00:00:00Z\n",
    ];
    let marks = [
        "[", "]", "{", "}", "=", ".", "'", "\"", "\n", "#", "\\", "é", ",",
    ];
    for seed in seeds {
        for at in (0..=seed.len()).filter(|at| seed.is_char_boundary(*at)) {
            // Cut short, and with every mark put in: it must answer, whatever it answers.
            let _ = resolved(&seed[..at], &[], &[]);
            for mark in marks {
                let (before, after) = seed.split_at(at);
                let _ = resolved(&format!("{before}{mark}{after}"), &[], &[]);
            }
        }
    }
    let deep = "[".repeat(10_000);
    assert!(resolved(&format!("a = {deep}"), &[], &[]).is_err());
}

#[test]
fn what_is_no_text_is_reported_with_its_line() {
    let path = std::env::temp_dir().join(format!("tidewire-utf8-test-{}", std::process::id()));
    std::fs::write(&path, b"a = 1\nb = '\xff'\n").expect("written");
    let read = ConfigFile::read(&path, Origin::Flag("--config".to_owned()));
    std::fs::remove_file(&path).expect("removed");
    let problem = read.err().expect("refused").to_string();
    assert!(problem.ends_with("line 2 is not UTF-8"), "{problem}");
}

#[test]
fn a_file_without_end_is_refused() {
    let endless = Path::new("/dev/zero");
    if endless.exists() {
        let read = ConfigFile::read(endless, Origin::Flag("--config".to_owned()));
        let problem = read.err().expect("refused").to_string();
        assert!(problem.contains("larger than"), "{problem}");
    }
}
