//! `tidewire token` and `tidewire key`: what they print where, what they refuse, and that no secret gets out.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::broker::{BINARY, Folder};
use crate::support::*;

const SECRET: &str = "a-secret-for-tests-that-nobody-else-has-0123456789";
const VARIABLE: (&str, &str) = ("TIDEWIRE_AUTH_SECRET", SECRET);

/// What a command printed, and its exit status.
struct Said {
    out: String,
    err: String,
    status: Option<i32>,
}

/// Runs the binary with `input` as its standard input.
fn run(args: &[&str], env: &[(&str, &str)], input: &str) -> Said {
    let mut shell = Shell::run_with(args, env);
    // a command that needs no input may have ended without reading it
    shell.offer(input.as_bytes());
    shell.end_input();
    let status = shell.exit().code();
    let (out, err) = shell.settled();
    for text in [&out, &err] {
        assert!(!text.contains(SECRET), "the secret gets out: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
    Said { out, err, status }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// A token for ada, of the secret.
fn token(more: &[&str]) -> String {
    let args = [&["token", "create", "--subject", "ada"], more].concat();
    let said = run(&args, &[VARIABLE], "");
    assert_eq!(said.status, Some(0), "{}", said.err);
    let token = said.out.strip_suffix('\n').expect("a line");
    assert_eq!(
        token.split('.').count(),
        3,
        "nothing but the token: {token}"
    );
    assert_eq!(said.err.lines().count(), 1, "one line: {}", said.err);
    token.to_owned()
}

fn verified(token: &str, more: &[&str]) -> Said {
    let args = ["token", "inspect", "--secret-env", VARIABLE.0];
    run(&[&args[..], more].concat(), &[VARIABLE], token)
}

#[test]
fn cli_token_create_makes_what_inspect_shows() {
    let token = token(&[
        "--subscribe",
        "/chat/{sub}/*",
        "--subscribe",
        "/news",
        "--publish",
        "/chat/{sub}/*",
        "--expires-in",
        "2h",
        "--not-before-in",
        "0s",
        "--issuer",
        "https://ada.example",
        "--id",
        "t-1",
        "--kid",
        "k-1",
        "--type",
        "at+jwt",
        "--environment",
        "prod",
        "--claim",
        "role=\"admin\"",
    ]);
    let said = run(&["token", "inspect", &token], &[], "");
    assert_eq!(said.status, Some(0), "{}", said.err);
    let shown: Value = serde_json::from_str(&said.out).expect("JSON");
    let (header, claims) = (&shown["header"], &shown["claims"]);
    assert_eq!(header["alg"], "HS256");
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(header["kid"], "k-1");
    for (name, value) in [
        ("sub", "ada"),
        ("aud", "tidewire:prod"),
        ("iss", "https://ada.example"),
        ("jti", "t-1"),
        ("role", "admin"),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    let time = |name: &str| claims[name].as_u64().expect(name);
    assert_eq!(time("exp"), time("iat") + 7200);
    assert_eq!(time("nbf"), time("iat"));
    let granted = &claims["tidewire"];
    assert_eq!(granted["subscribe"][1], "/news");
    assert_eq!(
        granted.get("control"),
        None,
        "only lists that are not empty"
    );
    for words in [
        "expires    2",
        "(in 119 minutes)",
        "grants to ada",
        "subscribe  /chat/{sub}/*, /news",
        "the signature was not checked",
    ] {
        // a second may have passed, or not
        let said = said.err.replace("in 2 hours", "in 119 minutes");
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn cli_token_inspect_verifies_where_there_is_a_key() {
    let token = token(&["--subscribe", "/a"]);
    for input in [token.clone(), format!("  {token}\n")] {
        let said = verified(&input, &["-"]);
        assert_eq!(said.status, Some(0), "{}", said.err);
        assert!(said.err.contains("the signature is good"), "{}", said.err);
    }
    let said = verified(&token, &["--environment", "prod"]);
    assert_eq!(said.status, Some(1));
    assert!(said.err.contains("tidewire:prod is needed"), "{}", said.err);
    let folder = Folder::new();
    let other = folder.file("other", &"x".repeat(40));
    let args = ["token", "inspect", &token, "--key-file", text(&other)];
    let said = run(&args, &[], "");
    assert_eq!(said.status, Some(1));
    assert!(said.err.contains("refused"), "{}", said.err);
    let changed = token.replacen("eyJ", "eyK", 1);
    assert_eq!(verified(&changed, &[]).status, Some(1));
}

#[test]
fn cli_token_create_refuses_what_would_not_work() {
    let folder = Folder::new();
    let short = folder.file("short", "0123456789012345678901234567890\n");
    let pem = folder.file(
        "public.pem",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    );
    let config = folder.file("tidewire.toml", "environment = \"prod\"\n");
    let (short, pem, config) = (text(&short), text(&pem), text(&config));
    for (status, more, words) in [
        (2, &["--subscribe", "/a*"][..], "/a*"),
        (2, &["--publish", "a"], "publish"),
        (2, &["--subject", ""], "--subject"),
        (2, &["--expires-in", "0s"], "--expires-in"),
        (
            2,
            &["--expires-in", "1h", "--not-before-in", "1h"],
            "before it is good",
        ),
        (2, &["--expires-in", "1 year"], "year"),
        (2, &["--claim", "sub=\"eve\""], "`sub`"),
        (2, &["--claim", "role=admin"], "not JSON"),
        (2, &["--algorithm", "none"], "none"),
        (2, &["--algorithm", "RS256"], "RS256"),
        (2, &["--environment", "a b"], "--environment"),
        (2, &["--secret-env", "NOT_THERE"], "NOT_THERE"),
        (1, &["--key-file", "/not/there"], "/not/there"),
        (1, &["--key-file", short], "31 bytes"),
        (1, &["--key-file", pem], "public key"),
        (2, &["--config", config], "no key"),
        (2, &["--config", "/not/there.toml"], "/not/there.toml"),
        (2, &["--from", "a"], "--config"),
        (
            2,
            &["--secret-env", "A", "--key-file", "b"],
            "cannot be used with",
        ),
    ] {
        let subject = ["token", "create", "--subject", "ada"];
        let subject = match more.first() {
            Some(&"--subject") => &subject[..2],
            _ => &subject[..],
        };
        // the configuration has its own secret, or none
        let env = match more.first() {
            Some(&"--config") => &[][..],
            _ => &[VARIABLE][..],
        };
        let said = run(&[subject, more].concat(), env, "");
        assert_eq!(said.status, Some(status), "{more:?}: {}", said.err);
        assert!(said.err.contains(words), "{more:?}: {}", said.err);
        assert_eq!(said.out, "", "{more:?}");
    }
    let said = run(&["token", "create", "--subject", "ada"], &[], "");
    assert_eq!(said.status, Some(2));
    assert!(said.err.contains(VARIABLE.0), "{}", said.err);
}

#[test]
fn cli_token_inspect_says_what_is_wrong() {
    // {"alg":"none"}, {}
    let unsigned = "eyJhbGciOiJub25lIn0.e30.";
    let long = "A".repeat(70_000);
    for (status, token, words) in [
        (
            1,
            unsigned,
            &["nobody signed", "`exp`", "`aud`", "`sub`"][..],
        ),
        (1, "tw_abcdefgh0123_x", &["API key"]),
        (1, "not a token", &["no token"]),
        (1, "a.b.c", &["no token"]),
        (1, &long, &["longer than 65536 bytes"]),
        (2, "", &["no token"]),
        (2, " \n", &["no token"]),
    ] {
        let said = run(&["token", "inspect"], &[], token);
        assert_eq!(said.status, Some(status), "{}", said.err);
        for words in words {
            assert!(said.err.contains(words), "{words}: {}", said.err);
        }
    }
    let early = token(&["--not-before-in", "1h", "--expires-in", "2h"]);
    let said = run(&["token", "inspect", &early], &[], "");
    assert_eq!(said.status, Some(1));
    assert!(said.err.contains("not good yet"), "{}", said.err);
}

/// What a shell does with `$(…)`.
#[test]
fn cli_what_is_printed_is_the_token_or_key_alone() {
    for (command, beginning) in [
        ("token create --subject ada", "eyJ"),
        ("key create --name ada", "tw_"),
    ] {
        let script = format!("IT=$('{BINARY}' {command} 2>/dev/null) && printf '[%s]' \"$IT\"");
        let output = Command::new("sh")
            .args(["-c", &script])
            .env(VARIABLE.0, VARIABLE.1)
            .output()
            .expect("a shell");
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(printed.starts_with(&format!("[{beginning}")), "{printed}");
        assert!(printed.ends_with(']') && !printed.contains(char::is_whitespace));
    }
}

fn key_create(name: &str, more: &[&str]) -> Said {
    run(
        &[&["key", "create", "--name", name], more].concat(),
        &[],
        "",
    )
}

#[test]
fn cli_key_create_shows_the_key_once_and_its_table() {
    let said = key_create(
        "finance-agent",
        &[
            "--publish",
            "/chat/*",
            "--admin",
            "--expires",
            "2127-01-01T00:00:00Z",
            "--publish-rate",
            "100",
            "--byte-rate",
            "64KiB",
        ],
    );
    assert_eq!(said.status, Some(0), "{}", said.err);
    let key = said.out.trim_end();
    let [_, id, secret]: [&str; 3] = key
        .splitn(3, '_')
        .collect::<Vec<_>>()
        .try_into()
        .expect("tw_ID_SECRET");
    assert_eq!((id.len(), secret.len()), (12, 43));
    assert!(!said.err.contains(secret), "the key is printed once");
    for line in [
        "[auth.key.finance-agent]",
        &format!("id = \"{id}\""),
        "hash = \"sha256:",
        "publish = [\"/chat/*\"]",
        "admin = true",
        "expires = \"2127-01-01T00:00:00Z\"",
        "publish_rate = 100",
        "byte_rate = \"64KiB\"",
    ] {
        assert!(said.err.contains(line), "{line}: {}", said.err);
    }
}

#[test]
fn cli_key_create_list_and_remove_in_a_keys_file() {
    let folder = Folder::new();
    let path = folder.file("keys.toml", "");
    std::fs::remove_file(&path).expect("our file");
    let file = text(&path);
    let read = || std::fs::read_to_string(&path).expect("a file");
    let list = || run(&["key", "list", "--file", file], &[], "");
    let remove = |name: &str| run(&["key", "remove", name, "--file", file], &[], "");
    assert_eq!(list().status, Some(1), "there is no file yet");

    let first = key_create("first", &["--publish", "/chat/*", "--file", file]);
    assert_eq!(first.status, Some(0), "{}", first.err);
    let mode = std::fs::metadata(&path)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let commented = format!("# who may come in\n{}# the end\n", read());
    std::fs::write(&path, &commented).expect("our file");
    let second = key_create(
        "second",
        &[
            "--subscribe",
            "/{sub}/**",
            "--expires-in",
            "90d",
            "--admin",
            "--file",
            file,
        ],
    );
    assert_eq!(second.status, Some(0), "{}", second.err);
    assert!(read().starts_with(&commented), "the rest stays as it is");
    for said in [&first, &second] {
        assert!(!read().contains(said.out.trim()), "no key is in the file");
        assert!(!said.err.contains(said.out.trim()) && !said.err.contains("sha256"));
    }

    let before = read();
    let again = key_create("first", &["--file", file]);
    assert_eq!((again.status, again.out.as_str()), (Some(1), ""));
    assert!(again.err.contains("`first` already"), "{}", again.err);
    assert_eq!(read(), before);

    let listed = list();
    assert_eq!(listed.status, Some(0), "{}", listed.err);
    let id = &first.out[3..15];
    for words in [
        &format!("first  id {id}  never expires"),
        "second  id ",
        "  admin  expires ",
        "publish    /chat/*",
        "subscribe  /{sub}/**",
    ] {
        assert!(listed.out.contains(words), "{words}: {}", listed.out);
    }
    assert!(!listed.out.contains("sha256"), "no hashes");

    assert_eq!(remove("second").status, Some(0));
    assert_eq!(read().trim_end(), commented.trim_end());
    let gone = remove("second");
    assert_eq!(gone.status, Some(1));
    assert!(gone.err.contains("no key `second`"), "{}", gone.err);
    assert_eq!(remove("first").status, Some(0));
    assert_eq!(read(), "# who may come in\n# the end\n");
}

/// Twenty at the same time: no key is lost, and the file is good at the end.
#[test]
fn cli_key_create_at_the_same_time_loses_none() {
    let folder = Folder::new();
    let path = folder.file("keys.toml", "");
    let names: Vec<String> = (0..20).map(|number| format!("agent-{number}")).collect();
    let mut running: Vec<Shell> = names
        .iter()
        .map(|name| Shell::run(&["key", "create", "--name", name, "--file", text(&path)]))
        .collect();
    for shell in &mut running {
        shell.succeed();
    }
    let listed = run(&["key", "list", "--file", text(&path)], &[], "").out;
    for name in &names {
        assert!(listed.contains(&format!("{name}  id ")), "{name}: {listed}");
    }
}

#[test]
fn cli_key_create_refuses_what_would_not_work() {
    let folder = Folder::new();
    let broken = folder.file("broken.toml", "\nhash = sha256:00ff\n");
    let inline = folder.file("inline.toml", "auth = { cookie = \"a\" }\n");
    let (broken, inline) = (text(&broken), text(&inline));
    let long = "n".repeat(65);
    for (status, name, more, words) in [
        (2, "", &[][..], "1 to 64"),
        (2, "a.b", &[], "1 to 64"),
        (2, "a/b", &[], "1 to 64"),
        (2, &long, &[], "1 to 64"),
        (2, "a", &["--publish", "chat"], "chat"),
        (2, "a", &["--expires-in", "90"], "unit"),
        (2, "a", &["--expires-in", "0s"], "expired"),
        (2, "a", &["--expires", "2020-01-01T00:00:00Z"], "expired"),
        (2, "a", &["--expires", "tomorrow"], "2027-01-01T00:00:00Z"),
        (2, "a", &["--publish-rate=-1"], "publish-rate"),
        (2, "a", &["--byte-rate", "1 KB"], "byte-rate"),
        (1, "a", &["--file", broken], "broken.toml:2"),
        (1, "a", &["--file", inline], "by hand"),
        (1, "a", &["--file", "/not/there/keys.toml"], "/not/there"),
    ] {
        let said = key_create(name, more);
        assert_eq!(said.status, Some(status), "{name} {more:?}: {}", said.err);
        assert!(said.err.contains(words), "{name} {more:?}: {}", said.err);
        assert_eq!(said.out, "", "{name} {more:?}");
    }
}
