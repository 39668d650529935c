use super::*;

#[test]
fn origins_as_browsers_send_them_are_taken() {
    let good = [
        "https://app.example.com",
        "http://localhost:3000",
        "https://app.example.com:8443",
        "http://127.0.0.1:8080",
        "http://[::1]:3000",
        "https://xn--bcher-kva.example",
        "http://my_machine",
    ];
    for origin in good {
        assert_eq!(check_origin(origin), Ok(()), "{origin}");
    }
}

#[test]
fn origins_that_would_never_match_are_refused() {
    let bad = [
        "",
        "*",
        "null",
        "app.example.com",
        "htps://app.example.com",
        "https://",
        "https://:443",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://app.example.com?x",
        "https://user@app.example.com",
        "https://*.example.com",
        "https://App.example.com",
        "HTTPS://app.example.com",
        "https://bücher.example",
        "https://app..example.com",
        "https://app.example.com:",
        "https://app.example.com:0",
        "https://app.example.com:65536",
        "https://app.example.com:0443",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "http://[::0001]",
        "http://[::1",
        "https://app example.com",
        "https://app.example.com\n",
    ];
    for origin in bad {
        assert!(check_origin(origin).is_err(), "{origin}");
    }
}

#[test]
fn fixes_give_the_origin_that_was_meant() {
    let fix_of = |origin: &str| check_origin(origin).expect_err("bad").fix;
    let meant = "write \"https://app.example.com\"";
    assert_eq!(fix_of("https://app.example.com/"), meant);
    assert_eq!(fix_of("https://app.example.com:443"), meant);
    // What stands before an @ is no host.
    assert_ne!(
        fix_of("https://app.example.com@evil.example"),
        "write \"https://evil.example\""
    );
}

#[test]
fn hosts_are_bare_names() {
    for host in ["broker", "broker.example.com", "192.168.0.7", "[fd00::7]"] {
        assert_eq!(check_host(host), Ok(()), "{host}");
    }
    let long_label = "a".repeat(64);
    let bad = [
        "",
        "*",
        "Broker",
        "broker:7070",
        "[::1]:7070",
        "http://broker",
        "broker/",
        "a..b",
        ".",
        &long_label,
    ];
    for host in bad {
        assert!(check_host(host).is_err(), "{host}");
    }
    let fix_of = |host: &str| check_host(host).expect_err("bad").fix;
    assert_eq!(fix_of("broker:7070"), "write \"broker\"");
    assert_eq!(fix_of("http://broker:7070/x"), "write \"broker\"");
}
