use super::*;
use crate::auth::api_key::parse_hash;

fn is_good<T>(check: impl Fn(&str) -> Result<T, Rejection>, good: &[&str], bad: &[&str]) {
    for text in good {
        if let Err(rejection) = check(text) {
            panic!("{text}: {rejection:?}");
        }
    }
    for text in bad {
        let rejection = check(text).err();
        let rejection = rejection.unwrap_or_else(|| panic!("{text} is taken"));
        assert!(rejection.fix.len() > 8, "{text}: {rejection:?}");
    }
}

#[test]
fn proxies_are_addresses_and_networks_but_not_everybody() {
    is_good(
        check_network,
        &[
            "10.0.0.7",
            "10.0.0.0/8",
            "fd00::7",
            "fd00::/8",
            "127.0.0.1/32",
        ],
        &[
            "",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/33",
            "10.0.0",
            "proxy.example.com",
            "10.0.0.1:80",
            "::ffff:10.0.0.0/104",
        ],
    );
    let everybody = check_network("::/0").expect_err("refused").what;
    assert!(
        everybody.contains("everybody would be a proxy"),
        "{everybody}"
    );
    assert_eq!(network("10.0.0.7").map(|net| net.prefix_len()), Some(32));
    assert_eq!(network("fd00::7").map(|net| net.prefix_len()), Some(128));
}

#[test]
fn secrets_are_long_enough_and_have_nothing_around_them() {
    let bytes = |count: usize| "s".repeat(count);
    is_good(
        read_secret,
        &[&bytes(32), &bytes(1000), "ü ü ü ü ü ü ü ü ü ü ü"],
        &[
            "",
            &bytes(31),
            &format!("{}\n", bytes(32)),
            &format!(" {}", bytes(40)),
        ],
    );
}

#[test]
fn addresses_of_keys_cannot_be_tampered_with() {
    is_good(
        read_jwks_url,
        &[
            "https://login.example.com/.well-known/jwks.json",
            "https://login.example.com",
            "https://login.example.com:8443/keys?tenant=1",
            "http://127.0.0.1:9/keys",
            "http://[::1]/keys",
            "http://localhost:3000/",
        ],
        &[
            "http://login.example.com/keys",
            "http://localhost.example.com/",
            "ftp://login.example.com/",
            "login.example.com/keys",
            "/keys",
            "https://",
            "https:///keys",
            "https://user:word@login.example.com/",
            "https://user@login.example.com/",
            "https://login.example.com/#keys",
            "https://login.example.com:0/",
            "https://login.example.com:65536/",
            "https://login example.com/",
        ],
    );
}

#[test]
fn names_are_what_their_standard_says() {
    is_good(
        read_cookie,
        &["token", "__Host-t.1", "a!#$"],
        &["a b", "a=b", "a;b", "ü", "a\"b"],
    );
    is_good(
        read_variable,
        &["JWT_KEY", "_x", "a1"],
        &["1A", "A-B", "A B", "ü", "TIDEWIRE_KEY"],
    );
    is_good(
        read_text,
        &["https://login.example.com", "me"],
        &[" me", "a\nb"],
    );
    is_good(
        read_access,
        &["anyone", "authenticated", "grant"],
        &["", "Anyone", "nobody"],
    );
    is_good(
        read_forwarded_header,
        &["x-forwarded-for", "X-Forwarded-For", "forwarded"],
        &["", "x-real-ip"],
    );
}

#[test]
fn algorithms_are_those_of_the_list() {
    for (name, parsed) in ALGORITHMS {
        assert_eq!(algorithm(name), Some(parsed));
        assert_eq!(name.parse::<Algorithm>().ok(), Some(parsed));
        assert_eq!(secret_bytes(parsed).is_some(), name.starts_with("HS"));
    }
    is_good(
        check_algorithm,
        &["HS256"],
        &["", "none", "hs256", "PS384", "ES512"],
    );
    let fix = check_algorithm("eddsa").expect_err("refused").fix;
    assert_eq!(fix, "did you mean \"EdDSA\"?");
}

#[test]
fn types_are_patterns_of_types() {
    is_good(
        check_type,
        &["*", "token.*", "run.cancel"],
        &["", "token", "a.*.b", "*.b"],
    );
    assert!(check_types(0).is_err() && check_types(33).is_err());
    assert!(check_types(1).is_ok() && check_types(32).is_ok());
}

#[test]
fn ids_and_hashes_of_keys() {
    let id = |count: usize| "a".repeat(count);
    is_good(
        read_key_id,
        &["k3y0fagent", &id(8), &id(32)],
        &["", &id(7), &id(33), "K3Y0FAGENT", "tw_k3y0fagent"],
    );
    let digits = |count: usize| format!("sha256:{}", "0aF".repeat(count / 3 + 1).split_at(count).0);
    is_good(
        read_key_hash,
        &[&digits(64)],
        &[
            "",
            &digits(63),
            &digits(65),
            &digits(64).replace("sha256", "sha512"),
            &digits(64).replace("0", "g"),
            &digits(64).replace("0a", "ü"),
        ],
    );
    let hash = parse_hash(&digits(64)).expect("good");
    assert_eq!(hash[..3], [0x0a, 0xf0, 0xaf]);
}

#[test]
fn times_are_whole_seconds_in_utc() {
    let cases = [
        ("1970-01-01T00:00:00Z", 0),
        ("1972-03-01T00:00:00Z", 68_256_000),
        ("2000-02-29T12:34:56Z", 951_827_696),
        ("2001-01-01T00:00:00Z", 978_307_200),
        ("2027-01-31T00:00:00Z", 1_801_353_600),
        ("2100-03-01T00:00:00Z", 4_107_542_400),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
    ];
    for (text, seconds) in cases {
        assert_eq!(unix_seconds(text), Ok(seconds), "{text}");
    }
    is_good(
        read_time,
        &["2027-01-31T00:00:00Z"],
        &[
            "",
            "tomorrow",
            "2027-01-31",
            "00:00:00",
            "2027-01-31T00:00:00",
            "2027-01-31T00:00:00+01:00",
            "2027-01-31T00:00:00.5Z",
            "2027-01-31T00:00:60Z",
            "2027-01-31T00:00Z",
            "2027-02-29T00:00:00Z",
            "2027-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1801353600",
        ],
    );
}

#[test]
fn grants_are_checked_with_the_name_of_their_key() {
    for good in ["/news", "/chat/*", "/chat/{sub}/**", "/**"] {
        assert_eq!(check_grant("publish", good, "agent_1"), Ok(()), "{good}");
    }
    let bad = check_grant("publish", "chat", "agent").expect_err("refused");
    assert!(bad.what.starts_with("`publish` grants `chat`"), "{bad:?}");
    // `{sub}` with a name that makes the segment too long
    let long = format!("/chat/{{sub}}{}", "x".repeat(100));
    assert_eq!(check_grant("delete", &long, "agent"), Ok(()));
    assert!(check_grant("delete", &long, &"n".repeat(64)).is_err());
    assert!(check_grants(128).is_ok() && check_grants(129).is_err());
}
