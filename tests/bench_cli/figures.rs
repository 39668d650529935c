//! A bench as a child process, and what it found.

use serde_json::Value;

use crate::support::{Broker, Shell};

pub struct Found {
    pub json: Value,
    pub said: String,
    pub status: Option<i32>,
}

impl Found {
    pub fn count(&self, figure: &str) -> u64 {
        let value = &self.json["figures"][figure];
        value
            .as_u64()
            .unwrap_or_else(|| panic!("{figure}: {value} in {:#}", self.json))
    }

    /// Everything that was acknowledged came once, in order.
    pub fn is_kept(&self) -> &Self {
        assert_eq!(self.status, Some(0), "{}\n{:#}", self.said, self.json);
        assert_eq!(self.json["kept"], true, "{:#}", self.json);
        assert_eq!(self.json["ended"], "done");
        for figure in ["missing", "repeated", "out_of_order"] {
            assert_eq!(self.count(figure), 0, "{figure}: {:#}", self.json);
        }
        self
    }
}

/// Starts `tidewire bench ARGS --json`.
pub fn start(url: &str, args: &[&str]) -> Shell {
    Shell::run(&[&["bench"], args, &["--json", "--url", url]].concat())
}

/// Waits for its end.
pub fn end(mut shell: Shell) -> Found {
    shell.end_input();
    let status = shell.exit().code();
    let (out, said) = shell.settled();
    assert!(!said.contains("panicked"), "{said}");
    let json = serde_json::from_str(&out).unwrap_or(Value::Null);
    Found { json, said, status }
}

pub fn bench(broker: &Broker, args: &[&str]) -> Found {
    end(start(&broker.url(), args))
}
