//! What the documentation says is what the code does, where that can be compared.

use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn operations_lists_every_setting_as_it_is() {
    let operations = read("docs/operations.md");
    let (_, rest) = operations
        .split_once("<!-- settings -->")
        .expect("the marker");
    let (listed, _) = rest
        .split_once("<!-- /settings -->")
        .expect("the closing marker");
    assert_eq!(listed.trim(), tidewire::config::settings_markdown().trim());
}

#[test]
fn every_metric_is_described() {
    let operations = read("docs/operations.md");
    let metrics = tidewire::ops::metrics::Metrics::new([], "dev");
    let rendered = metrics.render();
    let names = rendered
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in names {
        assert!(
            operations.contains(name),
            "docs/operations.md does not describe {name}"
        );
    }
}

#[test]
fn every_error_code_is_described() {
    let protocol = read("docs/protocol.md");
    for code in tidewire::broker::problem::Code::ALL {
        assert!(
            protocol.contains(&code.name()),
            "docs/protocol.md does not describe {}",
            code.name()
        );
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for from in [
        "README.md",
        "docs/protocol.md",
        "docs/appsync.md",
        "docs/security.md",
        "docs/operations.md",
        "docs/architecture.md",
        "docs/performance.md",
        "docs/bench.md",
        "docs/decisions/0012-appsync.md",
        "schema/README.md",
    ] {
        let text = read(from);
        let folder = Path::new(from).parent().expect("a folder");
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(folder)
                .join(target);
            assert!(path.exists(), "{from} links to {link}");
        }
    }
}
