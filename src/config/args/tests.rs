use super::*;
use crate::config::tests::matches;

fn help() -> String {
    // Wide enough that nothing is wrapped.
    let mut command = args(Command::new("serve").term_width(400));
    command.clone().debug_assert();
    command.render_help().to_string()
}

#[test]
fn help_shows_key_variable_flag_unit_and_default_of_every_setting() {
    let help = help();
    for setting in SETTINGS {
        let after_flag = |end: &str| help.find(&format!("      {}{end}", setting.flag()));
        let from = after_flag(" <").or_else(|| after_flag("[="));
        let from = from.expect(setting.key);
        let entry: Vec<&str> = help[from..].lines().take(5).collect();
        let default = match setting.default {
            "" => "none",
            text => text,
        };
        assert!(entry[1].contains(setting.help), "{entry:?}");
        let unit_and_default = format!(": {}] [default: {default}]", setting.kind.unit());
        assert!(entry[2].ends_with(&unit_and_default), "{entry:?}");
        assert_eq!(entry[3].trim(), format!("[key: {}]", setting.key));
        assert_eq!(entry[4].trim(), format!("[env: {}]", setting.variable()));
    }
    assert!(help.contains("[unit: events per second] [default: 1000000]"));
    assert!(help.contains("[takes: text or json] [default: text]"));
    assert!(help.contains("--config <FILE>") && help.contains("[env: TIDEWIRE_CONFIG]"));
}

#[test]
fn names_that_scripts_rely_on() {
    let given = [
        "--listen=127.0.0.1:0",
        "--config=tidewire.toml",
        "--engine=memory",
        "--allow-anonymous",
        "--limits-outbox-bytes=1KiB",
    ];
    let matches = matches(&given);
    let value = |key: &str| matches.get_one::<String>(key).map(String::as_str);
    assert_eq!(value("listen"), Some("127.0.0.1:0"));
    assert_eq!(value("engine"), Some("memory"));
    assert_eq!(value("allow_anonymous"), Some("true"));
    assert_eq!(value("limits.outbox_bytes"), Some("1KiB"));
    let path = matches.get_one::<PathBuf>("config");
    assert_eq!(path, Some(&PathBuf::from("tidewire.toml")));
}

#[test]
fn a_negative_number_reaches_the_text_that_explains_it() {
    let matches = matches(&["--workers", "-4"]);
    let value = matches.get_one::<String>("workers");
    assert_eq!(value.map(String::as_str), Some("-4"));
}

#[test]
fn a_switch_does_not_swallow_what_follows() {
    let command = args(Command::new("serve").no_binary_name(true));
    let result = command.try_get_matches_from(["--allow-anonymous", "false"]);
    assert!(result.is_err());
}

#[test]
fn help_of_the_command_is_kept() {
    let mut command = args(Command::new("serve").after_help("its own"));
    assert!(command.render_help().to_string().contains("its own"));
}
