//! `tidewire pipe`: any program that prints becomes an agent.

use std::time::Duration;

use serde_json::Value;

use crate::support::*;

/// A reader that follows the topic from its start.
fn reader(broker: &Broker, topic: &str) -> Follower {
    Follower::open(
        Transport::WebSocket,
        broker.addr,
        Ask::topic(topic).from("start"),
    )
}

/// The one message of the topic.
fn only(reader: &Reader, topic: &str) -> Option<message::Message> {
    let messages = &reader.view(topic).messages;
    assert!(
        messages.len() <= 1,
        "more than one message: {:?}",
        messages.keys()
    );
    messages.values().next().cloned()
}

fn text(reader: &Reader, topic: &str) -> String {
    only(reader, topic)
        .map(|message| message.of("text"))
        .unwrap_or_default()
}

fn ended(reader: &Reader, topic: &str) -> Option<String> {
    only(reader, topic).and_then(|message| message.ended)
}

#[test]
fn cli_pipe_turns_input_into_one_message() {
    let broker = Broker::start();
    let topic = "/pipe/simple";
    let mut follower = reader(&broker, topic);
    let mut pipe = Shell::run(&["pipe", "--url", &broker.url(), topic]);
    pipe.write(b"hello ");
    follower.until("the first words, before the end", |r| {
        text(r, topic) == "hello "
    });
    pipe.write("wörld\nand a second line\n".as_bytes());
    pipe.succeed();
    follower.until("the end", |r| ended(r, topic).is_some());
    assert_eq!(
        text(&follower.reader, topic),
        "hello wörld\nand a second line\n"
    );
    assert_eq!(
        ended(&follower.reader, topic).as_deref(),
        Some("message.completed")
    );
}

#[test]
fn cli_pipe_of_nothing_is_an_empty_answer() {
    let broker = Broker::start();
    let topic = "/pipe/empty";
    let mut follower = reader(&broker, topic);
    Shell::run(&["pipe", "--url", &broker.url(), topic]).succeed();
    follower.until("the end", |r| ended(r, topic).is_some());
    assert_eq!(text(&follower.reader, topic), "");
}

/// Characters of two to four bytes, one byte at a time; each delta is whole characters.
#[test]
fn cli_pipe_never_splits_a_character() {
    let broker = Broker::start();
    let topic = "/pipe/utf8";
    let mut follower = reader(&broker, topic);
    let mut pipe = Shell::run(&["pipe", "--url", &broker.url(), topic]);
    let spoken = "aé—😀x🏳️‍🌈ß ".repeat(5);
    for byte in spoken.bytes() {
        pipe.write(&[byte]);
        // Lets each byte be read by itself; not a wait for anything.
        std::thread::sleep(Duration::from_millis(1));
    }
    pipe.succeed();
    follower.until("the end", |r| ended(r, topic).is_some());
    assert_eq!(text(&follower.reader, topic), spoken);
}

/// Bytes that are no UTF-8 are replaced, and cost nothing else.
#[test]
fn cli_pipe_survives_bytes_that_are_not_text() {
    let broker = Broker::start();
    let topic = "/pipe/binary";
    let mut follower = reader(&broker, topic);
    let mut pipe = Shell::run(&["pipe", "--url", &broker.url(), topic]);
    pipe.write(b"before \xff\xfe after \xe2\x80");
    pipe.succeed();
    follower.until("the end", |r| ended(r, topic).is_some());
    let text = text(&follower.reader, topic);
    assert!(
        text.starts_with("before ") && text.contains(" after "),
        "{text:?}"
    );
}

#[test]
fn cli_pipe_carries_a_large_input_whole() {
    let broker = Broker::start();
    let topic = "/pipe/large";
    let mut follower = reader(&broker, topic);
    let mut pipe = Shell::run(&["pipe", "--url", &broker.url(), topic]);
    let spoken = counted(60_000);
    pipe.write(spoken.as_bytes());
    pipe.succeed();
    follower.until("the end", |r| ended(r, topic).is_some());
    said_whole(&text(&follower.reader, topic), 60_000);
}

#[test]
fn cli_pipe_is_interrupted_by_a_signal() {
    for name in ["INT", "TERM"] {
        let broker = Broker::start();
        let topic = "/pipe/signal";
        let mut follower = reader(&broker, topic);
        let mut pipe = Shell::run(&["pipe", "--url", &broker.url(), topic]);
        pipe.write(b"half an ans");
        follower.until("the words so far", |r| text(r, topic) == "half an ans");
        pipe.signal(name);
        pipe.exit();
        follower.until("the end", |r| ended(r, topic).is_some());
        assert_eq!(
            ended(&follower.reader, topic).as_deref(),
            Some("message.interrupted")
        );
        let end: &Value = follower.view().events.last().expect("the end event");
        assert!(end["data"]["reason"].is_string(), "{end}");
    }
}

/// The line is cut again and again while it speaks: no character is lost or doubled.
#[test]
fn cli_pipe_bridges_cut_lines() {
    let broker = Broker::start();
    let proxy = Proxy::before(broker.addr);
    let topic = "/pipe/cut";
    let mut follower = reader(&broker, topic);
    let mut pipe = Shell::run(&["pipe", "--url", &proxy.url(), topic]);
    let mut said = 0;
    for round in 0..6 {
        for _ in 0..50 {
            pipe.write(events::token(said).as_bytes());
            said += 1;
        }
        if round % 2 == 0 {
            // Somewhere in the middle, wherever that is.
            follower.until("some of it", |r| !text(r, topic).is_empty());
        } else {
            let goal = said;
            follower.until("all of it", |r| {
                text(r, topic).matches('—').count() as u64 == goal
            });
        }
        proxy.cut_all();
    }
    pipe.succeed();
    follower.until("the end", |r| ended(r, topic).is_some());
    said_whole(&text(&follower.reader, topic), said);
}

/// A broker on the memory engine forgets; the pipe says its message again, and goes on.
#[test]
fn cli_pipe_bridges_a_restarted_broker() {
    let mut broker = Broker::restartable();
    let topic = "/pipe/restart";
    let mut follower = reader(&broker, topic);
    let mut pipe = Shell::run(&["pipe", "--url", &broker.url(), topic]);
    pipe.write(counted(50).as_bytes());
    follower.until("the first words", |r| {
        text(r, topic).matches('—').count() == 50
    });
    broker.kill();
    for n in 50..100 {
        pipe.write(events::token(n).as_bytes());
    }
    broker.start_again();
    for n in 100..150 {
        pipe.write(events::token(n).as_bytes());
    }
    pipe.succeed();
    let mut follower = reader(&broker, topic);
    follower.until("the end", |r| ended(r, topic).is_some());
    said_whole(&text(&follower.reader, topic), 150);
}

#[test]
fn cli_pipe_says_when_there_is_nobody() {
    // Bound but not listening: connections are refused, and nobody else can take the port.
    let (ipv4, stream) = (socket2::Domain::IPV4, socket2::Type::STREAM);
    let nobody = socket2::Socket::new(ipv4, stream, None).expect("a socket");
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    nobody.bind(&any.into()).expect("a port");
    let addr = nobody.local_addr().ok().and_then(|addr| addr.as_socket());
    let url = format!("http://{}", addr.expect("bound"));
    let mut pipe = Shell::run(&["pipe", "--url", &url, "/pipe/nobody"]);
    pipe.write(b"hello");
    let said = eventually("words about it, while it tries on", || {
        Some(pipe.stderr()).filter(|said| said.contains(&url))
    });
    assert!(!said.contains("panicked"), "{said}");
    pipe.signal("INT");
    pipe.fail();
}

#[test]
fn cli_pipe_says_what_was_refused() {
    let broker = Broker::start();
    let mut pipe = Shell::run(&["pipe", "--url", &broker.url(), "not-a-topic"]);
    let said = pipe.fail();
    assert!(said.contains("topic"), "{said}");
}
