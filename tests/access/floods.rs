//! Floods: of connections that say nothing or too little, of those that say too much, and of bad tokens.

use serde_json::json;

#[path = "kit_floods.rs"]
mod kit;

use self::kit::*;
use crate::support::ws::{FIN_CONTINUATION, FIN_PING, FIN_TEXT, header, masked};
use crate::support::*;

const TEXT_BEGIN: u8 = 0x01;
const CONTINUATION: u8 = 0x00;

/// A byte of a header now and then: each is told 408, or cut off, when `limits.header_timeout` is over.
#[test]
fn floods_of_slow_headers() {
    let mut broker = Broker::guarded(HASTY);
    withstands(&mut broker, |broker, regular| {
        let mut crowd = Crowd::of(1000, broker.addr);
        crowd.send(b"GET /v1/topics HTTP/1.1\r\nX-Slow: ");
        regular.is_served();
        a_newcomer_is_served(broker.addr);
        crowd.until_with(
            "the end of all slow headers",
            |member| member.ended,
            |crowd| {
                crowd.send(b"x");
                regular.is_served();
            },
        );
        let answered = crowd.count(|member| member.has_heard("HTTP/1.1 408"));
        assert!(answered > 900, "only {answered} were told why");
    });
}

/// Without a token nobody's body is waited for. With one it may be slow, but not stand still.
#[test]
fn floods_of_slow_bodies() {
    let mut broker = Broker::guarded(HASTY);
    let token = Token::of_all("slow").sign();
    let head = |shown: &str| {
        format!(
            "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             Authorization: Bearer {shown}\r\nContent-Length: 100000\r\n\r\n{{"
        )
    };
    withstands(&mut broker, |broker, regular| {
        let mut strangers = Crowd::of(500, broker.addr);
        strangers.send(head(&forged()).as_bytes());
        strangers.until("the refusals", |member| member.has_heard("HTTP/1.1 401"));
        drop(strangers);
        let mut crowd = Crowd::of(500, broker.addr);
        crowd.send(head(&token).as_bytes());
        for _ in 0..10 {
            crowd.send(b" ");
            regular.is_served();
            a_newcomer_is_served(broker.addr);
        }
        crowd.until_with(
            "the end of all bodies that stand still",
            |member| member.has_heard("HTTP/1.1 400") || member.ended,
            |_| regular.is_served(),
        );
        assert_eq!(regular.metric("tidewire_topics"), 1, "only the regular's");
    });
}

/// Readers that take nothing: of a stream, of a WebSocket, and of answers to plain requests.
#[test]
fn floods_of_slow_reads() {
    let config = format!("{HASTY}\n[defaults]\nretention_bytes = \"8MiB\"\n");
    let mut broker = Broker::guarded(&config);
    let token = Token::of_all("lazy").sign();
    let authorization = format!("Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n");
    let stream = format!("GET /v1/sse?topic=/lazy/a&from=live HTTP/1.1\r\n{authorization}");
    let page = format!("GET /v1/events?topic=/lazy/a&limit=1000 HTTP/1.1\r\n{authorization}");
    let filler = "x".repeat(16_000);
    let heavy = json!([{ "type": "note.taken", "data": { "filler": filler } }]);
    let mut publisher = Ws::open_as(broker.addr, &token);
    let mut publish = move |times: usize| {
        for _ in 0..times {
            let answer = publisher.publish("/lazy/a", heavy.clone());
            assert_eq!(answer["op"], "published", "{answer}");
        }
    };
    publish(600);
    withstands(&mut broker, |broker, regular| {
        let mut streams = Crowd::of(100, broker.addr);
        streams.send(stream.as_bytes());
        let mut sockets = Crowd::of_sockets(100, broker.addr, Some(&token));
        let subscribe = json!({ "op": "subscribe", "topic": "/lazy/a", "from": "live" });
        sockets.send(&frame(&subscribe));
        eventually("the readers", || {
            (regular.metric("tidewire_subscriptions") == 201).then_some(())
        });
        let mut pages = Crowd::of(100, broker.addr);
        pages.send(page.repeat(10).as_bytes());
        publish(600);
        regular.is_served();
        a_newcomer_is_served(broker.addr);
        eventually("the end of the readers", || {
            regular.is_served();
            (regular.metric("tidewire_subscriptions") == 1).then_some(())
        });
    });
}

/// 5,000 connections at once that have sent nothing, or half a request: all are ended, nobody is kept out.
#[test]
fn floods_of_half_open_handshakes() {
    let mut broker = Broker::guarded("[limits]\nheader_timeout = \"2s\"\n");
    withstands(&mut broker, |broker, regular| {
        let mut silent = Crowd::of(2500, broker.addr);
        let mut halves = Crowd::of(2500, broker.addr);
        let whole = upgrade(broker.addr, None);
        halves.send(&whole[..whole.len() / 2]);
        regular.is_served();
        a_newcomer_is_served(broker.addr);
        for crowd in [&mut silent, &mut halves] {
            crowd.until_with(
                "the end of all",
                |member| member.ended,
                |_| regular.is_served(),
            );
        }
    });
}

/// 5,000 WebSockets that bring no token: as many as `limits.max_unauthenticated` are heard, all others are told 503 or
/// cut off, and nobody hangs. Whoever is known is not concerned.
#[test]
fn floods_of_sockets_without_a_token() {
    const MOST: usize = 1000;
    let limits = format!("[limits]\nauth_timeout = \"1s\"\nmax_unauthenticated = {MOST}\n");
    let mut broker = Broker::guarded(&limits);
    withstands(&mut broker, |broker, regular| {
        let turned_away = regular.metric("tidewire_turned_away_connections_total");
        let mut crowd = Crowd::of(5000, broker.addr);
        let request = upgrade(broker.addr, None);
        crowd.send(&request);
        regular.is_served();
        crowd.until_with(
            "a word to everybody, or their end",
            |member| member.ended || member.has_heard("\"op\":\"welcome\""),
            |_| regular.is_served(),
        );
        let welcome = crowd.count(|member| member.has_heard("\"op\":\"welcome\""));
        let told = crowd.count(|member| member.has_heard("HTTP/1.1 503"));
        assert!(0 < welcome && welcome <= MOST, "{welcome} were let in");
        assert!(
            told > 3000,
            "only {told} of {} were told 503",
            5000 - welcome
        );
        let away = regular.metric("tidewire_turned_away_connections_total") - turned_away;
        assert!(away as usize >= 5000 - MOST, "{away}");
        crowd.until_with(
            "the end of those who were let in",
            |member| member.ended,
            |_| regular.is_served(),
        );
        let late = crowd.count(|member| member.has_heard("no token came"));
        assert_eq!(late, welcome, "each is told why");
    });
}

/// One connection too many is told so: a client that sends its request at once gets to read it.
#[test]
fn floods_turn_away_with_an_answer_that_is_read() {
    let broker = Broker::guarded("[limits]\nheader_timeout = \"60s\"\nmax_unauthenticated = 4\n");
    let token = Token::of_all("ada").sign();
    let mut regular = Regular::open(broker.addr);
    let crowd = Crowd::of(4, broker.addr);
    eventually("the places to be taken", || {
        (regular.metric("tidewire_unauthenticated_connections") == 4).then_some(())
    });
    let answers = (0..100).filter_map(|_| asked_at_the_door(broker.addr, &token));
    let told = answers.inspect(|answer| {
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("1"));
    });
    let told = told.count();
    assert!(told >= 95, "only {told} of 100 read why");
    drop(crowd);
    eventually("places again", || {
        let answer = asked_at_the_door(broker.addr, &token)?;
        (answer.status == 200).then_some(())
    });
}

/// Pings without end, of those who read no pong: they are read no further than their pongs have room.
#[test]
fn floods_of_pings() {
    let mut broker = Broker::guarded(HASTY);
    let token = Token::of_all("pinger").sign();
    let pings = masked(FIN_PING, &[b'p'; 125]).repeat(1000);
    withstands(&mut broker, |broker, regular| {
        for shown in [Some(token.as_str()), None] {
            let mut crowd = Crowd::of_sockets(50, broker.addr, shown);
            let mut taken = 0;
            for _ in 0..40 {
                taken += crowd
                    .0
                    .iter_mut()
                    .map(|member| member.send(&pings))
                    .sum::<usize>();
                regular.is_served();
            }
            assert!(taken > 50 * pings.len(), "no flood: {taken} bytes");
            a_newcomer_is_served(broker.addr);
        }
        let mut readers = Crowd::of_sockets(20, broker.addr, Some(&token));
        readers.send(&pings[..pings.len() / 10]);
        readers.until("all pongs", |member| {
            member.times_heard(&"p".repeat(125)) >= 100
        });
    });
}

/// Subscriptions that come and go, of topics that are not there: nothing of them stays.
#[test]
fn floods_of_subscriptions() {
    let mut broker = Broker::guarded("");
    let token = Token::of_all("restless").sign();
    withstands(&mut broker, |broker, regular| {
        let mut crowd = Crowd::of_sockets(20, broker.addr, Some(&token));
        for wave in 0..10 {
            for (n, member) in crowd.0.iter_mut().enumerate() {
                member.heard.clear();
                let frames: Vec<u8> = (0..100)
                    .flat_map(|i| {
                        let topic = format!("/flood/{n}/{wave}-{i}");
                        let subscribe = json!({ "op": "subscribe", "topic": topic });
                        let unsubscribe = json!({ "op": "unsubscribe", "topic": topic });
                        [frame(&subscribe), frame(&unsubscribe)].concat()
                    })
                    .collect();
                assert_eq!(member.send(&frames), frames.len());
            }
            regular.is_served();
            crowd.until_with(
                "all answers",
                |member| member.times_heard("\"op\":\"unsubscribed\"") == 100,
                |_| regular.is_served(),
            );
        }
        assert_eq!(regular.metric("tidewire_subscriptions"), 1);
        assert_eq!(regular.metric("tidewire_topics"), 1);
        a_newcomer_is_served(broker.addr);
    });
}

/// A connection that brings bad tokens without end is closed for it, and not many of them are checked.
#[test]
fn floods_of_refreshes() {
    /// The eighth ends it; what was read ahead of the eighth may be checked too.
    const MOST_CHECKED: usize = 8 + 64;
    let mut broker = Broker::guarded("");
    let refreshes = frame(&json!({ "op": "refresh", "token": forged() })).repeat(300);
    let good = Token::of_all("ada").sign();
    withstands(&mut broker, |broker, regular| {
        for shown in [None, Some(good.as_str())] {
            let before = regular.metric("tidewire_auth_refused_total");
            let mut crowd = Crowd::of_sockets(100, broker.addr, shown);
            crowd.send(&refreshes);
            crowd.until_with(
                "the end of all",
                |member| member.ended,
                |_| regular.is_served(),
            );
            let told = crowd.count(|member| member.has_heard("not authenticated"));
            assert!(told > 90, "only {told} of 100 were told why");
            let checked = regular.metric("tidewire_auth_refused_total") - before;
            let bounds = 100 * 8..=100 * MOST_CHECKED as i64;
            assert!(bounds.contains(&checked), "{checked} checks");
            a_newcomer_is_served(broker.addr);
        }
    });
}

/// 10,000 bad tokens and keys of all kinds: each is refused, and counts.
#[test]
fn floods_of_bad_tokens() {
    let mut broker = Broker::guarded("");
    let expired = Token::of_all("ada")
        .claim("exp", token::now() - 3600)
        .sign();
    let unknown = ApiKey::new("unknown", "").text;
    let bad = [forged(), expired, unknown, "nonsense".to_owned()];
    // so that the metric is there
    asked(&mut broker.http(), &bad[0]);
    withstands(&mut broker, |broker, regular| {
        let before = regular.metric("tidewire_auth_refused_total");
        for round in 0..250 {
            for n in 0..20 {
                for token in &bad[n % 2 * 2..][..2] {
                    let answer = asked(&mut broker.http(), token);
                    assert_eq!(answer.status, 401);
                    assert!(answer.header("www-authenticate").is_some());
                }
            }
            if round % 10 == 0 {
                regular.is_served();
            }
        }
        let refused = regular.metric("tidewire_auth_refused_total") - before;
        assert_eq!(refused, 10_000);
    });
}

/// A connection that showed a bad token is closed behind the answer: whoever does not say who they are keeps no place.
#[test]
fn floods_of_bad_tokens_on_connections_that_would_stay() {
    let mut broker = Broker::guarded("[limits]\nmax_unauthenticated = 8\n");
    let (bad, good) = (forged(), Token::of_all("ada").sign());
    withstands(&mut broker, |broker, regular| {
        let mut known = broker.http();
        for _ in 0..2 {
            assert_eq!(asked(&mut known, &good).status, 200, "who is known stays");
        }
        for _ in 0..100 {
            let lines: Vec<Http> = (0..8)
                .map(|_| {
                    let mut http = broker.http();
                    let refused = asked(&mut http, &bad);
                    assert_eq!(refused.status, 401);
                    assert_eq!(refused.header("connection"), Some("close"));
                    http
                })
                .collect();
            // they are held open here, and count no more there
            a_newcomer_is_served(broker.addr);
            drop(lines);
        }
        assert_eq!(asked(&mut known, &good).status, 200);
        regular.is_served();
    });
}

/// Frames that say they are larger than any may be, or grow to it: they are not waited for.
#[test]
fn floods_of_giant_frames() {
    let mut broker = Broker::guarded("");
    let token = Token::of_all("giant").sign();
    let is_told = |member: &Member| member.ended && member.has_heard("\"code\":\"too_large\"");
    withstands(&mut broker, |broker, regular| {
        for shown in [Some(token.as_str()), None] {
            for length in [(1 << 20) + 1, 1 << 32, (1 << 63) - 1] {
                let mut crowd = Crowd::of_sockets(100, broker.addr, shown);
                crowd.send(&header(FIN_TEXT, 0x80, length));
                crowd.until_with("the refusals", is_told, |_| regular.is_served());
            }
            let mut crowd = Crowd::of_sockets(20, broker.addr, shown);
            let part = vec![b' '; 60_000];
            for first in [TEXT_BEGIN].into_iter().chain([CONTINUATION; 20]) {
                let piece = masked(first, &part);
                for member in &mut crowd.0 {
                    let mut sent = 0;
                    eventually("room for a fragment", || {
                        sent += member.send(&piece[sent..]);
                        member.listen();
                        (sent == piece.len() || member.ended).then_some(())
                    });
                }
            }
            crowd.send(&masked(FIN_CONTINUATION, b" "));
            crowd.until_with(
                "the refusals",
                |member| member.ended,
                |_| regular.is_served(),
            );
            a_newcomer_is_served(broker.addr);
        }
    });
}

/// Who has not said who they are sends no more than a token: half a frame of the allowed size is not kept for them.
#[test]
fn floods_of_half_frames_of_strangers() {
    let mut broker = Broker::guarded("");
    let mut half = header(FIN_TEXT, 0x80, 1 << 20);
    half.extend(vec![b' '; 100_000]);
    withstands(&mut broker, |broker, regular| {
        let mut crowd = Crowd::of_sockets(500, broker.addr, None);
        crowd.send(&half);
        crowd.until_with(
            "the refusals",
            |member| member.ended && member.has_heard("\"code\":\"too_large\""),
            |_| regular.is_served(),
        );
    });
}

/// Who shows a token and sends at once what only those may who did is not taken for a stranger.
#[test]
fn floods_are_not_what_follows_a_token() {
    let broker = Broker::guarded("");
    let refresh = json!({ "op": "refresh", "id": 1, "token": Token::of_all("ada").sign() });
    let events = json!([{ "type": "note.taken", "data": { "filler": "x".repeat(200_000) } }]);
    let publish = json!({ "op": "publish", "id": 2, "topic": "/room/a", "events": events });
    for _ in 0..20 {
        let mut ws = Ws::open(broker.addr);
        ws.wire.send(&[frame(&refresh), frame(&publish)].concat());
        assert_eq!(ws.recv()["op"], "refreshed");
        assert_eq!(ws.recv()["op"], "published");
    }
    // and where the token was not good, the rest is not waited for
    let refresh = json!({ "op": "refresh", "id": 1, "token": forged() });
    let mut ws = Ws::open(broker.addr);
    ws.wire.send(&[frame(&refresh), frame(&publish)].concat());
    assert_eq!(ws.recv()["code"], "unauthenticated");
    assert_eq!(ws.recv()["code"], "too_large");
    assert_eq!(ws.closed(), 4413);
}
