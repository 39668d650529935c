//! Promise 2: attach without a race. Readers join while an agent speaks at full speed; nothing may be
//! lost or doubled at the seam between what was and what comes.

use serde_json::json;

use crate::support::*;

const JOINS: usize = 12;

/// Room for everything a test says, so that retention plays no part.
const ROOMY: &str = "[defaults]\nretention_events = 2000000\nretention_bytes = \"512MiB\"\n";

/// Joins again and again while the message grows; each time the text must be whole from `begin`.
fn join_while_speaking(transport: Transport, ask: impl Fn(&Broker) -> Ask, begins: bool) {
    let broker = Broker::configured(ROOMY);
    let topic = "/chat/join";
    let speaker = Speaker::start(broker.addr, topic, "m");
    speaker.speak_on(100);
    for _ in 0..JOINS {
        let mut reader = Follower::open(transport, broker.addr, ask(&broker));
        let joined = reader.view().seq;
        let view = reader.until_whole(topic, joined + 1_000);
        let text = view.text("m");
        if begins {
            assert_eq!(
                counted_to(&text),
                view.seq,
                "every delta up to the position, once"
            );
        } else {
            let rest = (joined..view.seq).map(events::token).collect::<String>();
            assert_eq!(text, rest, "exactly what came after {joined}");
        }
        assert!(view.gaps.is_empty() && view.resets.is_empty());
    }
    speaker.stop();
}

#[test]
fn p02_websocket_joins_from_snapshot_without_a_seam() {
    join_while_speaking(Transport::WebSocket, |_| Ask::topic("/chat/join"), true);
}

#[test]
fn p02_sse_joins_from_snapshot_without_a_seam() {
    join_while_speaking(Transport::Sse, |_| Ask::topic("/chat/join"), true);
}

#[test]
fn p02_websocket_joins_live_without_a_hole() {
    join_while_speaking(
        Transport::WebSocket,
        |_| Ask::topic("/chat/join").from("live"),
        false,
    );
}

#[test]
fn p02_sse_joins_live_without_a_hole() {
    join_while_speaking(
        Transport::Sse,
        |_| Ask::topic("/chat/join").from("live"),
        false,
    );
}

#[test]
fn p02_websocket_joins_from_start_without_a_seam() {
    join_while_speaking(
        Transport::WebSocket,
        |_| Ask::topic("/chat/join").from("start"),
        true,
    );
}

#[test]
fn p02_sse_joins_from_start_without_a_seam() {
    join_while_speaking(
        Transport::Sse,
        |_| Ask::topic("/chat/join").from("start"),
        true,
    );
}

#[test]
fn p02_websocket_joins_compact_from_start_without_a_seam() {
    join_while_speaking(
        Transport::WebSocket,
        |_| Ask::topic("/chat/join").from("start").compact(),
        true,
    );
}

#[test]
fn p02_joins_from_a_position_without_a_seam() {
    let at_head = |broker: &Broker| {
        let topic = broker.topic("/chat/join");
        let position = format!("{}:{}", topic["epoch"].as_str().unwrap(), topic["head"]);
        Ask::topic("/chat/join").from(&position)
    };
    join_while_speaking(Transport::WebSocket, at_head, false);
    join_while_speaking(Transport::Sse, at_head, false);
}

#[test]
fn p02_joins_a_merging_stream_without_a_seam() {
    for transport in ALL {
        join_while_speaking(transport, |_| Ask::topic("/chat/join").coalesce(20), true);
    }
}

/// Two messages at once, with all three kinds of delta and notes between them.
#[test]
fn p02_joins_interleaved_messages_without_a_seam() {
    let broker = Broker::configured(ROOMY);
    let topic = "/chat/mixed";
    let addr = broker.addr;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let agent = std::thread::spawn(move || {
        let mut http = Http::connect(addr);
        let mut n = 0;
        while stopped.try_recv().is_err() {
            let batch: Vec<_> = ["a", "b"]
                .iter()
                .flat_map(|message| {
                    ["text", "reasoning", "tool_input"]
                        .map(|kind| events::delta_of(message, kind, 0, &events::token(n)))
                })
                .chain([note(n)])
                .collect();
            http.publish(topic, json!(batch));
            n += 1;
        }
        n
    });
    for transport in ALL.iter().cycle().take(JOINS) {
        let mut reader = Follower::open(*transport, addr, Ask::topic(topic));
        let joined = reader.view().seq;
        let goal = (joined / 7 + 60) * 7;
        let view = reader.until_whole(topic, goal);
        let rounds = view.seq / 7;
        for message in ["a", "b"] {
            for kind in ["text", "reasoning", "tool_input"] {
                let said = counted_to(&view.message(message).of(kind));
                assert!(said == rounds || said == rounds + 1, "{said} of {rounds}");
            }
        }
        let notes = view.notes();
        assert!(
            notes.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{notes:?}"
        );
    }
    stop.send(()).expect("the agent still speaks");
    agent.join().expect("the agent's part");
}

#[test]
fn p02_joins_many_topics_at_once_without_a_seam() {
    let broker = Broker::configured(ROOMY);
    let topics = ["/chat/one", "/chat/two", "/chat/three"];
    let speakers = topics.map(|topic| Speaker::start(broker.addr, topic, "m"));
    for speaker in &speakers {
        speaker.speak_on(50);
    }
    for transport in ALL.iter().cycle().take(8) {
        let mut reader = Follower::open(*transport, broker.addr, Ask::topics(&topics));
        for topic in topics {
            let goal = broker.head(topic) + 200;
            let view = reader.until_whole(topic, goal);
            assert_eq!(counted_to(&view.text("m")), view.seq);
        }
    }
}

/// The message ends just while readers attach: they see it open with its end to come, or not at all.
#[test]
fn p02_an_end_at_the_seam_is_not_lost() {
    let broker = Broker::start();
    for round in 0..20 {
        let topic = format!("/chat/end-{round}");
        broker.publish(&topic, events::tokens("m", 0..50));
        let (addr, ending) = (broker.addr, topic.clone());
        let agent = std::thread::spawn(move || {
            Http::connect(addr).publish(&ending, json!([completed("m"), note(1)]))
        });
        let transport = ALL[round % 2];
        let mut reader = Follower::open(transport, addr, Ask::topic(&topic));
        let view = reader.until_seq(&topic, 52);
        if let Some(message) = view.messages.get("m") {
            assert!(message.ended.is_some(), "open for ever: {view:?}");
            said_whole(&message.of("text"), 50);
        }
        agent.join().expect("the agent's part");
    }
}
