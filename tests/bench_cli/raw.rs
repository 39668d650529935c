//! Peers that are asked by templates. One that lies is found out, fault by fault: a bench that cannot fail measures
//! nothing.

use crate::figures::{Found, bench, end, start};
use crate::liar::{Lie, serve};
use crate::support::*;

fn raw(lie: Lie) -> Found {
    let args = "fanout --against raw --transport sse --readers 6 --topics 2 --rate 20 --seconds 1 --warm-up 0.2";
    let args: Vec<&str> = args.split(' ').collect();
    end(start(&serve(lie), &args))
}

#[test]
fn bench_raw_counts_what_an_honest_peer_delivers() {
    let found = raw(Lie::None);
    found.is_kept();
    assert_eq!(found.count("acknowledged"), 2 * 24);
    assert_eq!(found.count("delivered"), 6 * 24);
    assert_eq!(found.json["against"], "raw");
}

#[test]
fn bench_finds_out_a_peer_that_lies() {
    for (lie, missing, repeated, reordered) in [
        (Lie::Drops, 6, 0, 0),
        (Lie::Repeats, 0, 6, 0),
        (Lie::Swaps, 0, 0, 6),
    ] {
        let found = raw(lie);
        assert_eq!(found.status, Some(3), "{lie:?}: {}", found.said);
        assert_eq!(found.json["kept"], false, "{lie:?}");
        assert_eq!(found.count("missing"), missing, "{lie:?}");
        assert_eq!(found.count("repeated"), repeated, "{lie:?}");
        assert_eq!(found.count("out_of_order"), reordered, "{lie:?}");
    }
}

/// A Tidewire broker is a plain server of event streams and WebSockets, too.
#[test]
fn bench_raw_speaks_to_any_server_by_its_templates() {
    let broker = Broker::start();
    let common = [
        "fanout",
        "--against",
        "raw",
        "--readers",
        "6",
        "--topics",
        "2",
        "--rate",
        "20",
        "--seconds",
        "1",
        "--warm-up",
        "0.2",
        "--pub-path",
        "/v1/publish",
        "--pub-type",
        "application/json",
        "--pub-body",
        r#"{"topic":"/raw/{topic}","events":[{"type":"a.b","data":"{text}"}]}"#,
    ];
    let sse = [
        "--transport",
        "sse",
        "--sub-path",
        "/v1/sse?topic=/raw/{topic}&from=live",
    ];
    let ws = [
        "--transport",
        "ws",
        "--sub-path",
        "/v1/ws",
        "--ws-protocol",
        "tidewire.v1.json",
        "--sub-send",
        r#"{"op":"subscribe","topic":"/raw/{topic}","from":"live"}"#,
    ];
    for transport in [&sse[..], &ws] {
        let found = bench(&broker, &[&common[..], transport].concat());
        found.is_kept();
        assert_eq!(found.count("delivered"), 6 * 24, "{transport:?}");
    }
}
