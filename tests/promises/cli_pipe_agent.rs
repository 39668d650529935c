//! `tidewire pipe` as an agent: it is cancelled by clients, runs a program, holds a lease and is replaced.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::*;

const TOPIC: &str = "/pipe/agent";

/// A pipe with the message id `m`, and a reader of its topic.
struct Stage {
    broker: Broker,
    follower: Follower,
}

impl Stage {
    fn new() -> Stage {
        let broker = Broker::start();
        let ask = Ask::topic(TOPIC).from("start");
        let follower = Follower::open(Transport::WebSocket, broker.addr, ask);
        Stage { broker, follower }
    }

    fn pipe(&self, more: &[&str]) -> Shell {
        let url = self.broker.url();
        let mut args = vec!["pipe", TOPIC, "--url", &url, "--message-id", "m"];
        args.extend(more);
        Shell::run(&args)
    }

    fn script(&self, script: &str) -> Shell {
        self.pipe(&["--", "sh", "-c", script])
    }

    fn tell(&self, name: &str, data: Value) {
        self.broker
            .publish(TOPIC, json!([{ "type": name, "data": data }]));
    }

    /// Waits until the message has this in its text.
    fn until_said(&mut self, text: &str) -> String {
        let said = |r: &Reader| {
            let view = r.view(TOPIC);
            view.messages.contains_key("m") && view.text("m").contains(text)
        };
        self.follower.until(text, said);
        self.follower.view().text("m")
    }

    /// How the message ended: the type and the reason.
    fn ending(&mut self) -> (String, String) {
        let is_ended = |r: &Reader| {
            let message = r.view(TOPIC).messages.get("m");
            message.is_some_and(|message| message.ended.is_some())
        };
        self.follower.until("the end of the message", is_ended);
        let mut events = self.follower.view().events.iter();
        let end = events
            .rfind(|event| event["data"]["message_id"] == "m" && event["type"] != "run.cancel")
            .expect("an end event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&end["type"]), text(&end["data"]["reason"]))
    }

    fn assert_ended(&mut self, name: &str, reason: &str) {
        assert_eq!(self.ending(), (name.to_owned(), reason.to_owned()));
    }
}

fn is_alive(pid: &str) -> bool {
    // a process that nobody has collected yet is dead, too
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state
        .rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn until_dead(pid: &str) {
    eventually("the end of the process", || (!is_alive(pid)).then_some(()));
}

/// The pids that a script printed, one a line, before the line `ready`.
fn pids(text: &str) -> Vec<String> {
    let lines = text.lines().take_while(|line| *line != "ready");
    lines.map(str::to_owned).collect()
}

#[test]
fn cli_pipe_is_cancelled_by_a_client() {
    for data in [json!({ "message_id": "m" }), json!({})] {
        let mut stage = Stage::new();
        let mut pipe = stage.pipe(&[]);
        pipe.write(b"half an ans");
        stage.until_said("half an ans");
        stage.tell("run.cancel", json!({ "message_id": "another" }));
        stage.tell("run.cancel", data);
        assert_eq!(pipe.exit().code(), Some(130), "{}", pipe.stderr());
        stage.assert_ended("message.interrupted", "cancelled");
        assert_eq!(stage.follower.view().text("m"), "half an ans");
    }
}

/// A cancel that comes while the line is cut is heard on the next one.
#[test]
fn cli_pipe_hears_a_cancel_through_a_cut_line() {
    let mut stage = Stage::new();
    let proxy = Proxy::before(stage.broker.addr);
    let url = proxy.url();
    let mut pipe = Shell::run(&["pipe", TOPIC, "--url", &url, "--message-id", "m"]);
    pipe.write(b"words");
    stage.until_said("words");
    for _ in 0..3 {
        proxy.cut_all();
        pipe.write(b" more");
    }
    proxy.cut_all();
    stage.tell("run.cancel", json!({ "message_id": "m" }));
    assert_eq!(pipe.exit().code(), Some(130), "{}", pipe.stderr());
    stage.assert_ended("message.interrupted", "cancelled");
}

/// What cannot be followed is told, and, where it named this message, kept from nobody else for nothing.
#[test]
fn cli_pipe_acknowledges_what_it_cannot_follow() {
    let mut stage = Stage::new();
    let mut pipe = stage.pipe(&[]);
    pipe.write(b"words");
    stage.until_said("words");
    stage.tell("run.steer", json!({ "message_id": "m", "text": "faster" }));
    eventually("words about it", || {
        pipe.stderr().contains("run.steer").then_some(())
    });
    pipe.write(b" and more");
    stage.until_said("words and more");
    // another agent of the topic hears only what nobody has taken
    stage.tell("run.approve", json!({ "message_id": "another" }));
    let mut ws = Ws::open(stage.broker.addr);
    ws.send(&json!({ "op": "attach", "id": 1, "producer": { "id": "other" }, "control": [TOPIC] }));
    ws.expect("attached");
    let control = ws.expect("control");
    assert_eq!(control["events"][0]["type"], "run.approve", "{control}");
    pipe.succeed();
}

#[test]
fn cli_pipe_runs_a_program() {
    let mut stage = Stage::new();
    let mut pipe = stage.script("read line; echo \"hello $line\"; echo aside >&2");
    pipe.write("wörld\n".as_bytes());
    pipe.succeed();
    stage.assert_ended("message.completed", "");
    assert_eq!(stage.follower.view().text("m"), "hello wörld\n");
    assert!(pipe.stderr().contains("aside"));
}

#[test]
fn cli_pipe_passes_on_how_a_program_fails() {
    for (script, code) in [("echo words; exit 3", 3), ("echo words; kill -9 $$", 137)] {
        let mut stage = Stage::new();
        let mut pipe = stage.script(script);
        assert_eq!(pipe.exit().code(), Some(code), "{script}");
        stage.assert_ended("message.interrupted", "error");
        assert_eq!(stage.follower.view().text("m"), "words\n");
    }
    let stage = Stage::new();
    let mut pipe = stage.pipe(&["--", "/no/such/program"]);
    assert_eq!(pipe.exit().code(), Some(127));
    assert!(pipe.stderr().contains("/no/such/program"));
    assert_eq!(stage.broker.head(TOPIC), 0, "nothing was begun");
}

/// All that the program started ends with it, and what it printed, also on the way out, is there.
#[test]
fn cli_pipe_stops_a_program_with_all_it_started() {
    let script = "trap 'echo bye; exit 0' TERM; sleep 1000 & echo $!; echo $$; echo ready; wait";
    for how in ["a client", "TERM", "INT"] {
        let mut stage = Stage::new();
        let mut pipe = stage.script(script);
        let started = pids(&stage.until_said("ready\n"));
        assert!(started.iter().all(|pid| is_alive(pid)), "{started:?}");
        match how {
            "a client" => stage.tell("run.cancel", json!({ "message_id": "m" })),
            signal => pipe.signal(signal),
        }
        assert_eq!(pipe.exit().code(), Some(130), "{how}: {}", pipe.stderr());
        stage.assert_ended("message.interrupted", "cancelled");
        assert!(stage.follower.view().text("m").ends_with("ready\nbye\n"));
        for pid in started {
            until_dead(&pid);
        }
    }
}

#[test]
fn cli_pipe_kills_a_program_that_does_not_listen() {
    let mut stage = Stage::new();
    let script = "trap '' TERM; echo $$; echo ready; while :; do sleep 0.05; done";
    let mut pipe = stage.script(script);
    let started = pids(&stage.until_said("ready\n"));
    let begun = Instant::now();
    stage.tell("run.cancel", json!({}));
    stage.assert_ended("message.interrupted", "cancelled");
    assert!(begun.elapsed().as_secs() < 3, "readers do not wait for it");
    assert_eq!(pipe.exit().code(), Some(130));
    for pid in started {
        until_dead(&pid);
    }
}

/// SIGKILL leaves nobody to say anything: the broker ends the message, and the program cannot write.
#[test]
fn cli_pipe_that_is_killed_leaves_nothing_open() {
    let mut stage = Stage::new();
    let script = "echo $$; echo ready; while echo x; do sleep 0.05; done";
    let mut pipe = stage.pipe(&["--lease", "1s", "--", "sh", "-c", script]);
    let started = pids(&stage.until_said("ready\n"));
    pipe.signal("KILL");
    pipe.exit();
    stage.assert_ended("message.interrupted", "agent_lost");
    for pid in started {
        until_dead(&pid);
    }
}

#[test]
fn cli_pipe_makes_way_for_a_newer_run_of_itself() {
    let mut stage = Stage::new();
    let mut old = stage.pipe(&["--producer-id", "scribe"]);
    old.write(b"old words");
    stage.until_said("old words");
    let url = stage.broker.url();
    let more = ["--producer-id", "scribe", "--message-id", "n"];
    let mut new = Shell::run(&[&["pipe", TOPIC, "--url", &url][..], &more].concat());
    new.write(b"new words");
    assert_eq!(old.exit().code(), Some(1));
    assert!(old.stderr().contains("a newer run"), "{}", old.stderr());
    stage.assert_ended("message.interrupted", "replaced");
    new.succeed();
    stage.follower.until("the end of the new message", |r| {
        let message = r.view(TOPIC).messages.get("n");
        message.is_some_and(|message| message.ended.as_deref() == Some("message.completed"))
    });
}

#[test]
fn cli_pipe_says_what_a_lease_may_be() {
    for lease in ["500ms", "11m", "soon"] {
        let said = Shell::run(&["pipe", TOPIC, "--lease", lease]).fail();
        assert!(said.contains("--lease"), "{said}");
    }
}

/// Away for longer than its lease: the broker has ended the message, and pipe says so instead of going on.
#[test]
fn cli_pipe_that_was_away_for_too_long_says_so() {
    let mut stage = Stage::new();
    let proxy = Proxy::before(stage.broker.addr);
    let url = proxy.url();
    let args = [
        "pipe",
        TOPIC,
        "--url",
        &url,
        "--message-id",
        "m",
        "--lease",
        "1s",
    ];
    let mut pipe = Shell::run(&args);
    pipe.write(b"words");
    stage.until_said("words");
    pipe.signal("STOP");
    proxy.cut_all();
    stage.assert_ended("message.interrupted", "agent_lost");
    pipe.signal("CONT");
    pipe.write(b" too late");
    assert_eq!(pipe.exit().code(), Some(1));
    let said = pipe.stderr();
    assert!(
        said.contains("message_ended") && said.contains("--lease"),
        "{said}"
    );
    assert_eq!(stage.follower.view().text("m"), "words");
}
