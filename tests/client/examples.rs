//! `clients/rust`: its README shows the examples as they are built, and they do what it says.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Broker, Process};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where cargo put it, beside this test.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let built = profile.join("examples").join(name);
    assert!(
        built.exists(),
        "{} (cargo build --examples)",
        built.display()
    );
    built
}

#[test]
fn the_readme_shows_the_examples_as_they_are() {
    let readme = read("clients/rust/README.md");
    for name in ["agent", "reader"] {
        let code = read(&format!("clients/rust/examples/{name}.rs"));
        assert!(readme.contains(&format!("```rust\n{code}```")), "{name}");
    }
}

#[test]
fn an_answer_of_the_agent_is_shown_by_the_reader() {
    let broker = Broker::start();
    let url = format!("http://{}", broker.addr);
    let run = |name| {
        let shell = format!("TIDEWIRE_URL={url} exec {}", example(name).display());
        Process::shell(&shell)
    };
    let mut reader = run("reader");
    let mut agent = run("agent");
    let (said, went_well) = agent.finish();
    assert!(went_well, "{said}");
    let (shown, went_well) = reader.finish();
    assert!(went_well, "{shown}");
    assert_eq!(shown, "Hello from Rust.\n");
}

#[test]
fn what_only_the_broker_needs_is_not_needed_by_the_client() {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--no-default-features",
            "--edges",
            "normal",
        ])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let tree = String::from_utf8_lossy(&tree.stdout);
    for crate_name in ["awc", "serde_json"] {
        assert!(
            tree.lines()
                .any(|line| line.starts_with(&format!("{crate_name} "))),
            "{tree}"
        );
    }
    for crate_name in [
        "actix",
        "actix-web",
        "clap",
        "dashmap",
        "fjall",
        "jsonwebtoken",
        "prometheus-client",
        "toml",
    ] {
        assert!(
            !tree
                .lines()
                .any(|line| line.starts_with(&format!("{crate_name} "))),
            "{crate_name} in {tree}"
        );
    }
}
