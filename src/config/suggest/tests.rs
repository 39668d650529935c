use super::*;

#[test]
fn distances() {
    let cases = [
        ("", "", 0),
        ("a", "", 1),
        ("abc", "abd", 1),
        ("abc", "acb", 1),
        ("abc", "ab", 1),
        ("kitten", "sitting", 3),
    ];
    for (a, b, expected) in cases {
        assert_eq!(distance(a, b), expected, "{a} {b}");
        assert_eq!(distance(b, a), expected, "{b} {a}");
    }
}

#[test]
fn a_slip_finds_its_key() {
    assert_eq!(setting("", "listn"), Some("listen"));
    assert_eq!(setting("", "allow-anonymous"), Some("allow_anonymous"));
    assert_eq!(
        setting("limits", "maxEventBytes"),
        Some("limits.max_event_bytes")
    );
    assert_eq!(
        setting("limits", "outobx_bytes"),
        Some("limits.outbox_bytes")
    );
}

#[test]
fn a_key_in_the_wrong_table_finds_its_own() {
    assert_eq!(setting("", "outbox_bytes"), Some("limits.outbox_bytes"));
    assert_eq!(
        setting("limits", "retention_age"),
        Some("defaults.retention_age")
    );
    assert_eq!(
        setting("defaults", "publish_rate"),
        Some("limits.publish_rate")
    );
    assert_eq!(setting("limits", "listen"), Some("listen"));
    // although its neighbour `publish_types` is near
    assert_eq!(
        setting("defaults", "publish-rate"),
        Some("limits.publish_rate")
    );
    assert_eq!(
        setting("quota.key", "publish-rate"),
        Some("quota.key.publish_rate")
    );
}

#[test]
fn what_is_near_nothing_finds_nothing() {
    assert_eq!(setting("", "colour"), None);
    assert_eq!(setting("limits", "x"), None);
    assert_eq!(variable("TIDEWIRE_COLOUR"), None);
}

#[test]
fn a_variable_is_found_without_its_table_and_by_a_slip() {
    let found = |wrong| variable(wrong).expect("found");
    assert_eq!(
        found("TIDEWIRE_OUTBOX_BYTES"),
        "TIDEWIRE_LIMITS_OUTBOX_BYTES"
    );
    assert_eq!(
        found("TIDEWIRE_LIMIT_OUTBOX_BYTES"),
        "TIDEWIRE_LIMITS_OUTBOX_BYTES"
    );
    assert_eq!(found("TIDEWIRE_LISTN"), "TIDEWIRE_LISTEN");
}
