use super::*;

#[test]
fn every_setting_has_its_row() {
    let text = settings_markdown();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let named: usize = FAMILIES.iter().map(|family| family.keys.len()).sum();
    assert_eq!(rows.count(), SETTINGS.len() + named);
    for header in [
        "[auth]",
        "[quota.subject]",
        "[auth.issuers.NAME]",
        "[auth.key.NAME]",
        "[appsync]",
        "[appsync.access_key.NAME]",
    ] {
        assert!(text.contains(&format!("\n### `{header}`\n")), "{header}");
    }
    assert!(text.contains(
        "| `outbox_bytes` | `64KiB` | bytes, or KiB, MiB, GiB … | What may wait for one socket, plus one item; a \
         slower reader reads on from the log | `TIDEWIRE_LIMITS_OUTBOX_BYTES` | \
         `--limits-outbox-bytes` |\n"
    ));
    assert!(text.contains("| What may be published into each namespace | `limits.publish_rate` |"));
    assert!(text.contains("; `0`: one per core; at most `1024` |"));
}

#[test]
fn every_row_has_the_cells_of_its_table() {
    let mut cells = 0;
    for line in settings_markdown().lines() {
        let count = line.replace("\\|", "").matches('|').count();
        if line.starts_with("| key") {
            cells = count;
        }
        if line.starts_with('|') {
            assert_eq!(count, cells, "{line}");
        }
    }
}
