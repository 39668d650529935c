//! docs/bench.md names what the command has, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::*;

fn help(args: &[&str]) -> String {
    Shell::run(&[&["bench"], args, &["--help"]].concat()).succeed()
}

fn scenarios() -> Vec<String> {
    let help = help(&[]);
    let (_, listed) = help.split_once("Commands:\n").unwrap();
    let lines = listed.lines().take_while(|line| !line.is_empty());
    let names = lines.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

/// Words that begin with two dashes.
fn options(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.split(|c: char| !is_part(c))
        .filter(|word| word.starts_with("--") && word.len() > 3 && !word.starts_with("---"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn bench_is_described_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bench.md");
    let text = std::fs::read_to_string(path).unwrap();
    let scenarios = scenarios();
    assert_eq!(scenarios.len(), 10, "{scenarios:?}");
    let mut known = options(&help(&[]));
    for scenario in &scenarios {
        assert!(text.contains(&format!("| `{scenario}` |")), "{scenario}");
        known.extend(options(&help(&[scenario])));
    }
    let unknown: Vec<_> = options(&text).difference(&known).cloned().collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
