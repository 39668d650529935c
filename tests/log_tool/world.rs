//! Data directories with something in them, and the command that looks into them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::broker::BINARY;
use crate::support::events::notes;
use crate::support::*;

/// Small logs, so that a log soon loses events and is checkpointed.
const SMALL: &str = "[limits]\nmax_batch_events = 10\n[namespace.small]\nretention_events = 20\n";

pub struct Dir {
    folder: tempfile::TempDir,
}

impl Dir {
    pub fn new() -> Dir {
        let folder = tempfile::tempdir().expect("a folder");
        Dir { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A broker on the directory of that name.
    pub fn broker(&self, name: &str, config: &str) -> Broker {
        let dir = self.path(name);
        Broker::set_up(Setup {
            config: config.to_owned(),
            args: vec![
                "--engine=disk".to_owned(),
                format!("--data-dir={}", dir.display()),
            ],
            ..Setup::default()
        })
    }

    /// A stopped directory with topics of every kind: open and ended messages, control events, ids, line breaks
    /// in data, and one log with a checkpoint.
    pub fn filled(&self, name: &str) {
        let mut broker = self.broker(name, SMALL);
        let mut http = broker.http();
        for n in 0..64 {
            http.publish("/small/trimmed", notes(n * 10..n * 10 + 10));
        }
        http.publish(
            "/small/trimmed",
            json!([
                started("ended"),
                delta("ended", "all of it"),
                completed("ended"),
                delta("open", "some of it"),
            ]),
        );
        http.publish("/chat/open", json!([note(1), delta("m", "öpen"), note(2)]));
        http.publish("/chat/agent", json!([{"type": "run.cancel", "data": {}}]));
        http.publish(
            "/chat/ids",
            json!([{"type": "a.b", "id": "one", "data": 1.50}]),
        );
        let producer = json!({"id": "p", "epoch": 3, "seq": 1});
        let body = json!({"topic": "/chat/ids", "producer": producer, "events": [note(7)]});
        http.publish_body(&body);
        let multiline =
            "{\"topic\":\"/chat/lines\",\"events\":[{\"type\":\"a.b\",\"data\":[\r\n1.0,\n2]}]}";
        assert_eq!(broker.post("/v1/publish", multiline).status, 200);
        eventually("a checkpoint", || {
            let exported = self.log(&["export", "--prefix", "/small"], name);
            exported.stdout().contains("\"checkpoint\":{").then_some(())
        });
        broker.term();
        broker.wait_exit();
    }

    pub fn log(&self, args: &[&str], name: &str) -> Done {
        run(args, &self.path(name))
    }
}

/// A command that ended.
pub struct Done(pub Output);

impl Done {
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    pub fn ends_with(self, code: i32) -> Done {
        let (out, err) = (self.stdout(), self.stderr());
        let start = out.chars().take(2000).collect::<String>();
        assert_eq!(self.0.status.code(), Some(code), "{start}\n{err}");
        self
    }

    /// Of lines of JSON on standard output.
    pub fn lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).expect("a line of JSON");
        self.stdout().lines().map(parse).collect()
    }
}

pub fn command(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("log").args(args).arg("--data-dir").arg(dir);
    command.stdin(Stdio::null());
    command
}

pub fn run(args: &[&str], dir: &Path) -> Done {
    Done(command(args, dir).output().expect("the binary runs"))
}

/// The last seq of each topic.
pub fn heads(dir: &Path) -> Vec<(String, u64)> {
    let listed = run(&["topics", "--json"], dir).ends_with(0);
    let head = |line: Value| {
        let topic = line["topic"].as_str().expect("a topic").to_owned();
        (topic, line["last"].as_u64().expect("a seq"))
    };
    listed.lines().into_iter().map(head).collect()
}

/// Nothing of a command is left in the directory.
pub fn assert_tidy(dir: &Path) {
    let names = std::fs::read_dir(dir).expect("a directory");
    let left = names.filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(left.count(), 0, "something is left in {}", dir.display());
}
