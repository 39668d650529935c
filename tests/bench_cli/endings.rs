//! What ends a bench before its time ends it soon, with a word that says what to do and with what it had.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::figures::{Found, bench, end, start};
use crate::support::{broker::quiet_port, *};

const LONG: [&str; 6] = ["fanout", "--readers", "10", "--seconds", "600", "--warm-up"];

fn long(broker: &Broker) -> Shell {
    let shell = start(&broker.url(), &[&LONG[..], &["0.1"]].concat());
    eventually("events on their way", || {
        let said = shell.stderr();
        (said.contains("deliveries/s (measured), p99")).then_some(())
    });
    shell
}

fn failed(found: &Found, words: &[&str]) {
    assert_eq!(found.status, Some(1), "{}", found.said);
    for word in words {
        assert!(found.said.contains(word), "{word}: {}", found.said);
    }
}

#[test]
fn bench_ends_when_the_broker_dies() {
    let mut broker = Broker::start();
    let shell = long(&broker);
    broker.kill();
    let found = end(shell);
    failed(&found, &["tidewire bench: "]);
    let ended = found.json["ended"].as_str().unwrap();
    assert!(ended.starts_with("failed: "), "{ended}");
    assert_eq!(found.json["kept"], serde_json::Value::Null);
    assert!(
        found.count("delivered") > 0,
        "what it had: {:#}",
        found.json
    );
}

#[test]
fn bench_ends_when_the_broker_answers_no_more() {
    let broker = Broker::start();
    let shell = long(&broker);
    broker.pause();
    failed(&end(shell), &["was not answered", "is the broker stopped"]);
}

#[test]
fn bench_ends_at_a_signal() {
    let broker = Broker::start();
    let shell = long(&broker);
    shell.signal("INT");
    let found = end(shell);
    assert_eq!(found.status, Some(130), "{}", found.said);
    assert_eq!(found.json["ended"], "stopped");
    assert!(
        found.count("delivered") > 0,
        "what it had: {:#}",
        found.json
    );
}

#[test]
fn bench_says_when_nobody_is_there() {
    let url = format!("http://127.0.0.1:{}", quiet_port());
    failed(
        &end(start(&url, &["idle"])),
        &["cannot reach", "is it running"],
    );
}

#[test]
fn bench_says_when_it_is_no_broker() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let page =
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\nlog in";
            let _ = stream.write_all(page.as_bytes());
        }
    });
    failed(
        &end(start(&url, &["idle", "--readers", "3"])),
        &["is not a Tidewire broker", "text/html"],
    );
}

#[test]
fn bench_says_what_its_token_lacks() {
    let broker = Broker::guarded("");
    let args = ["fanout", "--readers", "2", "--seconds", "1"];
    failed(&bench(&broker, &args), &["unauthenticated", "--token"]);
    let with = |token: &Token| bench(&broker, &[&args[..], &["--token", &token.sign()]].concat());
    let reads = Token::of("ada").grant("subscribe", &["/bench/**"]);
    failed(&with(&reads), &["(forbidden)", "publish below --prefix"]);
    failed(&with(&Token::of("ada")), &["(forbidden)", "below --prefix"]);
    let both = reads.grant("publish", &["/bench/**"]);
    with(&both).is_kept();
}

#[test]
fn bench_says_that_it_was_too_much() {
    let broker = Broker::configured("[limits]\npublish_rate = 20\npublish_burst = 20\n");
    let args = [
        "fanout",
        "--readers",
        "2",
        "--rate",
        "200",
        "--seconds",
        "5",
    ];
    for by in ["ws", "http"] {
        let found = bench(&broker, &[&args[..], &["--publish", by]].concat());
        failed(&found, &["(rate_limited)", "ask for less"]);
    }
}

#[test]
fn bench_says_what_cannot_be_asked_for() {
    let broker = Broker::start();
    for (args, words) in [
        (&["fanout", "--text-bytes", "5"][..], "--text-bytes"),
        (&["fanout", "--rate", "0"], "--rate"),
        (&["fanout", "--topics", "0"], "--topics"),
        (
            &["fanout", "--topics-per-reader", "2"],
            "--topics-per-reader",
        ),
        (&["fanout", "--prefix", "bench"], "--prefix"),
        (&["fanout", "--burst", "5000"], "at most"),
        (&["fanout", "--pid", "4294967295"], "no such process"),
        (&["idle", "--readers", "100000000"], "ulimit -n"),
        (&["join", "--against", "raw"], "no answers"),
        (&["fanout", "--against", "raw", "--pub-body", "x"], "{text}"),
    ] {
        let found = bench(&broker, args);
        assert_eq!(found.status, Some(2), "{args:?}: {}", found.said);
        assert!(found.said.contains(words), "{args:?}: {}", found.said);
    }
    let found = end(start("https://127.0.0.1:1", &["idle"]));
    assert_eq!(found.status, Some(2), "{}", found.said);
}
