//! The commands beside `serve`: publish, tail, check-config, and what `serve` refuses to start with.

use serde_json::{Value, json};

use crate::support::broker::Folder;
use crate::support::*;

#[test]
fn cli_publish_publishes_one_event() {
    let broker = Broker::start();
    let url = broker.url();
    let data = r#"{"memory_id":"x", "n": 1.0}"#;
    Shell::run(&[
        "publish",
        "--url",
        &url,
        "/cli/one",
        "--type",
        "memory.created",
        "--data",
        data,
    ])
    .succeed();
    let page = broker.get("/v1/events?topic=/cli/one");
    assert_eq!(page.json()["events"][0]["type"], "memory.created");
    assert!(
        page.text().contains(data),
        "the data is passed on as it is: {}",
        page.text()
    );
}

#[test]
fn cli_publish_publishes_lines_of_its_input() {
    let broker = Broker::start();
    let url = broker.url();
    let mut shell = Shell::run(&["publish", "--url", &url, "/cli/lines", "--file", "-"]);
    for n in 0..50 {
        shell.write(format!("{}\n", note(n)).as_bytes());
    }
    shell.succeed();
    let mut reader = Follower::open(
        Transport::Sse,
        broker.addr,
        Ask::topic("/cli/lines").from("start"),
    );
    assert_eq!(
        reader.until_seq("/cli/lines", 50).notes(),
        (0..50).collect::<Vec<_>>()
    );
}

#[test]
fn cli_publish_says_what_was_refused() {
    let broker = Broker::start();
    let url = broker.url();
    for args in [
        ["no-topic", "note.taken", "1"],
        ["/cli/bad", "nodots", "1"],
        ["/cli/bad", "note.taken", "{not json"],
        ["/cli/bad", "tidewire.ready", "1"],
    ] {
        let [topic, kind, data] = args;
        let said = Shell::run(&[
            "publish", "--url", &url, topic, "--type", kind, "--data", data,
        ])
        .fail();
        assert!(!said.contains("panicked"), "{said}");
    }
    assert_eq!(broker.head("/cli/bad"), 0);
}

#[test]
fn cli_publish_with_an_id_is_published_once() {
    let broker = Broker::start();
    let url = broker.url();
    let args = [
        "publish",
        "--url",
        &url,
        "/cli/id",
        "--type",
        "note.taken",
        "--data",
        "1",
        "--id",
        "x",
    ];
    Shell::run(&args).succeed();
    Shell::run(&args).succeed();
    assert_eq!(broker.head("/cli/id"), 1);
}

#[test]
fn cli_tail_prints_json_lines() {
    let broker = Broker::start();
    let url = broker.url();
    broker.publish("/cli/tail", events::notes(0..3));
    let tail = Shell::run(&["tail", "--url", &url, "/cli/tail", "--from", "start"]);
    eventually("the old events", || {
        (tail.stdout().lines().count() == 3).then_some(())
    });
    broker.publish("/cli/tail", events::notes(3..5));
    let printed = eventually("the new events", || {
        Some(tail.stdout()).filter(|text| text.ends_with('\n') && text.lines().count() == 5)
    });
    for (line, n) in printed.lines().zip(0..) {
        let event: Value = serde_json::from_str(line).expect("a line of JSON");
        assert_eq!(event["type"], "note.taken", "{line}");
        assert_eq!(event["data"]["n"], n, "{line}");
        assert_eq!(event["seq"], n + 1, "{line}");
    }
}

#[test]
fn cli_tail_prints_text_as_it_grows() {
    let broker = Broker::start();
    let url = broker.url();
    let topic = "/cli/text";
    broker.publish(topic, events::tokens("m", 0..20));
    let tail = Shell::run(&["tail", "--url", &url, topic, "--text"]);
    eventually("the text so far", || {
        tail.stdout().contains(&counted(20)).then_some(())
    });
    broker.publish(topic, events::tokens("m", 20..30));
    eventually("the text before its end", || {
        tail.stdout().contains(&counted(30)).then_some(())
    });
    broker.publish(topic, json!([completed("m")]));
    broker.publish(topic, events::tokens("next", 0..3));
    eventually("the next message", || {
        (tail.stdout().matches('—').count() == 33).then_some(())
    });
}

#[test]
fn cli_tail_resumes_by_itself() {
    let broker = Broker::start();
    let proxy = Proxy::before(broker.addr);
    let url = proxy.url();
    let topic = "/cli/resume";
    let text = Shell::run(&["tail", "--url", &url, topic, "--text", "--from", "start"]);
    let lines = Shell::run(&["tail", "--url", &url, topic, "--from", "start"]);
    broker.publish(topic, events::tokens("m", 0..10));
    eventually("the first tokens", || {
        (text.stdout().contains(&counted(10)) && lines.stdout().lines().count() == 10).then_some(())
    });
    for round in 1..4 {
        assert!(proxy.cut_all() >= 2, "both were connected");
        broker.publish(topic, events::tokens("m", round * 10..round * 10 + 10));
        let total = round * 10 + 10;
        eventually("the tokens after a cut", || {
            let lines = lines.stdout().lines().count() as u64;
            (text.stdout().contains(&counted(total)) && lines == total).then_some(())
        });
    }
    assert_eq!(
        text.stdout().matches('—').count(),
        40,
        "no token twice: {}",
        text.stdout()
    );
    let seqs: Vec<u64> = lines
        .stdout()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["seq"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
}

fn check_config(config: &str) -> Shell {
    let folder = Folder::new();
    let path = folder.file("tidewire.toml", config);
    let mut shell = Shell::run(&["check-config", "--config", path.to_str().expect("a path")]);
    shell.end_input();
    shell.exit();
    shell
}

#[test]
fn cli_check_config_accepts_a_good_file() {
    let config = "listen = \"127.0.0.1:0\"\n[limits]\nstall_timeout = \"5s\"\noutbox_bytes = \"128KiB\"\n\
                  [namespace.chat]\nretention_events = 5000\nretention_age = \"10m\"\n";
    check_config(config).succeed();
}

/// Each mistake is told with its key, its line and what to do.
#[test]
fn cli_check_config_names_the_key_and_the_line() {
    for (config, line, words) in [
        ("\nlisten_on = \"127.0.0.1:1\"\n", 2, &["listen_on"][..]),
        (
            "[limits]\nstall_timout = \"5s\"\n",
            2,
            &["stall_timout", "stall_timeout"],
        ),
        (
            "[limits]\n\nstall_timeout = \"5 parsecs\"\n",
            3,
            &["stall_timeout", "parsecs"],
        ),
        ("[limits]\nstall_timeout = 5\n", 2, &["stall_timeout"]),
        (
            "[limits]\noutbox_bytes = \"64 kilos\"\n",
            2,
            &["outbox_bytes"],
        ),
        (
            "[limits]\nmax_batch_events = -1\n",
            2,
            &["max_batch_events"],
        ),
        (
            "[limits]\nmax_batch_events = \"many\"\n",
            2,
            &["max_batch_events"],
        ),
        ("[limit]\nmax_batch_events = 1\n", 1, &["limit"]),
        ("[namespace.chat]\nretention = 5\n", 2, &["retention"]),
        ("listen = \"nowhere\"\n", 1, &["listen"]),
        ("engine = \"paper\"\n", 1, &["engine", "paper"]),
        ("listen = \n", 1, &[]),
    ] {
        let said = check_config(config).fail();
        assert!(
            said.contains(&format!("tidewire.toml:{line}")),
            "line {line} of {config:?}: {said}"
        );
        for word in words {
            assert!(said.contains(word), "{word} of {config:?}: {said}");
        }
    }
}

#[test]
fn cli_check_config_finds_contradictions() {
    for (config, keys) in [
        (
            "[namespace.chat]\nretention_events = 1000\n",
            ["retention_events", "max_batch_events"],
        ),
        (
            "[defaults]\nretention_bytes = \"1MiB\"\n",
            ["retention_bytes", "max_body_bytes"],
        ),
        (
            "[limits]\nmax_frame_bytes = \"256KiB\"\n",
            ["max_frame_bytes", "max_event_bytes"],
        ),
    ] {
        let said = check_config(config).fail();
        for key in keys {
            assert!(said.contains(key), "{key} of {config:?}: {said}");
        }
    }
}

#[test]
fn cli_check_config_tells_every_mistake_at_once() {
    let said = check_config("[limits]\nfirst_wrong = 1\nsecond_wrong = 2\n").fail();
    assert!(
        said.contains("first_wrong") && said.contains("second_wrong"),
        "{said}"
    );
}

#[test]
fn cli_serve_refuses_a_bad_configuration() {
    let folder = Folder::new();
    let path = folder.file("tidewire.toml", "[limits]\nnonsense = 1\n");
    let path = path.to_str().expect("a path");
    let said = Shell::run(&["serve", "--listen", "127.0.0.1:0", "--config", path]).fail();
    assert!(
        said.contains("nonsense") && said.contains("tidewire.toml:2"),
        "{said}"
    );
    let said = Shell::run(&["serve", "--config", "/not/there.toml"]).fail();
    assert!(said.contains("/not/there.toml"), "{said}");
}

#[test]
fn cli_serve_listens_on_loopback_only_unless_anonymous() {
    let said = Shell::run(&["serve", "--listen", "0.0.0.0:0"]).fail();
    assert!(
        said.contains("allow-anonymous"),
        "the way out is named: {said}"
    );
}

#[test]
fn cli_serve_says_when_its_port_is_taken() {
    let broker = Broker::start();
    let addr = broker.addr.to_string();
    let said = Shell::run(&["serve", "--listen", &addr]).fail();
    assert!(said.contains(&broker.addr.port().to_string()), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn cli_help_shows_flag_variable_and_key_of_every_setting() {
    let help = Shell::run(&["serve", "--help"]).succeed();
    for name in [
        "--limits-stall-timeout",
        "TIDEWIRE_LIMITS_STALL_TIMEOUT",
        "limits.stall_timeout",
        "--config",
        "--allow-anonymous",
        "--engine",
    ] {
        assert!(help.contains(name), "{name} is not in the help");
    }
    let help = Shell::run(&["--help"]).succeed();
    for command in ["serve", "demo", "pipe", "publish", "tail", "check-config"] {
        assert!(help.contains(command), "{command} is not in the help");
    }
}
