use super::super::tests::{problems, resolved};
use super::*;

#[test]
fn unknown_variables_are_told_what_was_meant() {
    let variables = [("TIDEWIRE_OUTBOX_BYTES", "1KiB"), ("TIDEWIRE_PORT", "8080")];
    let error = resolved("", &variables, &[]).expect_err("unknown");
    let [outbox, port] = error.problems() else {
        panic!("{error}");
    };
    assert_eq!(
        outbox.to_string(),
        "TIDEWIRE_OUTBOX_BYTES: unknown variable `TIDEWIRE_OUTBOX_BYTES`"
    );
    assert_eq!(outbox.fix(), "did you mean `TIDEWIRE_LIMITS_OUTBOX_BYTES`?");
    assert!(port.to_string().contains("unknown variable"));
}

#[test]
fn variables_of_others_are_let_be() {
    // What Kubernetes sets for the services `tidewire` and `tidewire-metrics`, our own clients'
    // variables, and what is not ours at all.
    let variables = [
        ("TIDEWIRE_SERVICE_HOST", "10.0.0.1"),
        ("TIDEWIRE_SERVICE_PORT", "7070"),
        ("TIDEWIRE_SERVICE_PORT_HTTP", "7070"),
        ("TIDEWIRE_PORT", "tcp://10.0.0.1:7070"),
        ("TIDEWIRE_PORT_7070_TCP", "tcp://10.0.0.1:7070"),
        ("TIDEWIRE_PORT_7070_TCP_PROTO", "tcp"),
        ("TIDEWIRE_PORT_7070_TCP_PORT", "7070"),
        ("TIDEWIRE_PORT_7070_TCP_ADDR", "10.0.0.1"),
        ("TIDEWIRE_METRICS_SERVICE_HOST", "10.0.0.2"),
        ("TIDEWIRE_METRICS_PORT", "tcp://10.0.0.2:9090"),
        ("TIDEWIRE_URL", "http://127.0.0.1:7070"),
        ("TIDEWIRE_TOKEN", "secret"),
        ("TIDEWIRE", "x"),
        ("HOME", "/root"),
    ];
    assert!(resolved("", &variables, &[]).is_ok());
}

#[test]
fn an_empty_variable_is_not_an_unset_one() {
    let problems = problems("", &[("TIDEWIRE_WORKERS", "")], &[]);
    assert_eq!(
        problems,
        ["TIDEWIRE_WORKERS: `workers` = \"\": it is empty"]
    );
}

#[test]
fn a_lookup_is_asked_for_every_variable() {
    let asked = Environment::from_lookup(|name| Some(name.to_owned()));
    assert_eq!(asked.variables.len(), SETTINGS.len() + 1);
    assert_eq!(asked.config_path(), Some("TIDEWIRE_CONFIG"));
}

#[test]
fn what_is_not_utf8_is_a_problem_and_not_unset() {
    let mut env = Environment::default();
    env.variables.insert("TIDEWIRE_LISTEN".to_owned(), None);
    env.variables.insert("TIDEWIRE_CONFIG".to_owned(), None);
    let mut layers = Layers::new();
    apply(&env, &mut layers);
    let error = layers.finish().expect_err("two problems");
    let origins: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
    assert!(
        origins[0].starts_with("TIDEWIRE_CONFIG: ") && origins[1].starts_with("TIDEWIRE_LISTEN: "),
        "{origins:?}"
    );
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let problems = problems("", &[("TIDEWIRE_LISTEN", "a\u{1b}[31m\nb")], &[]);
    assert!(!problems[0].chars().any(char::is_control), "{problems:?}");
}
