//! Promise 4: a slow reader costs bounded memory, loses nothing the log still holds, and is closed only
//! when its socket takes nothing at all.

use serde_json::{Value, json};

use crate::support::*;

/// A batch of `count` notes of some `bytes` each.
fn heavy(numbers: std::ops::Range<u64>, bytes: usize) -> Value {
    let filler = "x".repeat(bytes);
    let event = |n| json!({ "type": "note.taken", "data": { "n": n, "filler": filler } });
    numbers.map(event).collect()
}

/// Publishes `total` heavy notes in batches of ten.
fn publish_heavy(broker: &Broker, topic: &str, numbers: std::ops::Range<u64>, bytes: usize) -> u64 {
    let mut http = broker.http();
    let mut last = 0;
    for at in numbers.clone().step_by(10) {
        let answer = http.publish(topic, heavy(at..(at + 10).min(numbers.end), bytes));
        last = answer["last_seq"].as_u64().expect("a seq");
    }
    last
}

fn stalled(transport: Transport, broker: &Broker, topic: &str) -> Follower {
    Follower::open(
        transport,
        broker.addr,
        Ask::topic(topic).from("live").narrow(),
    )
}

/// Twenty readers stall while 48 MiB go by in a topic that keeps 8 MiB: the broker may grow by the log
/// and by an outbox for each, not by what they have missed.
#[test]
fn p04_stalled_readers_cost_bounded_memory() {
    let config = "[namespace.heavy]\nretention_bytes = \"8MiB\"\n";
    let broker = Broker::configured(config);
    let topic = "/heavy/stalled";
    publish_heavy(&broker, topic, 0..200, 16_000);
    let readers: Vec<_> = (0..20)
        .map(|n| stalled(BOTH[n % 2], &broker, topic))
        .collect();
    let before = broker.rss_kb();
    publish_heavy(&broker, topic, 200..3200, 16_000);
    let grown = broker.rss_kb().saturating_sub(before);
    assert!(
        grown < 32 * 1024 + engine_memory_kb(),
        "grew by {grown} KiB with {} stalled readers",
        readers.len()
    );
}

#[test]
fn p04_a_reader_whose_socket_takes_nothing_is_closed() {
    let broker = Broker::configured("[limits]\nstall_timeout = \"2s\"\n");
    for transport in BOTH {
        let topic = format!("/heavy/closed-{transport:?}");
        broker.publish(&topic, json!([note(0)]));
        let mut reader = stalled(transport, &broker, &topic);
        eventually("the reader", || (broker.readers(&topic) == 1).then_some(()));
        publish_heavy(&broker, &topic, 0..500, 16_000);
        eventually("the stalled reader's end", || {
            (broker.readers(&topic) == 0).then_some(())
        });
        // What was in the kernel can still be read; then the line is dead.
        reader.until_closed();
        assert!(reader.view().seq < 500, "it was never behind");
    }
}

#[test]
fn p04_a_closed_reader_gets_everything_it_is_owed_on_return() {
    let broker = Broker::configured("[limits]\nstall_timeout = \"1s\"\n");
    for transport in BOTH {
        let topic = format!("/heavy/returns-{transport:?}");
        let mut reader = stalled(transport, &broker, &topic);
        let last = publish_heavy(&broker, &topic, 0..500, 16_000);
        eventually("the stalled reader's end", || {
            (broker.readers(&topic) == 0).then_some(())
        });
        while reader.step().is_some() {}
        reader.cut();
        reader.come_back();
        assert!(reader.view().resumed);
        let view = reader.until_seq(&topic, last);
        assert_eq!(view.notes(), (0..500).collect::<Vec<_>>());
        assert!(view.gaps.is_empty());
    }
}

#[test]
fn p04_a_reader_that_falls_behind_reads_on_from_the_log() {
    let broker = Broker::start();
    for transport in BOTH {
        let topic = format!("/heavy/behind-{transport:?}");
        let mut reader = stalled(transport, &broker, &topic);
        let last = publish_heavy(&broker, &topic, 0..500, 16_000);
        let view = reader.until_seq(&topic, last);
        assert_eq!(
            view.notes(),
            (0..500).collect::<Vec<_>>(),
            "on the same connection"
        );
        assert!(view.gaps.is_empty());
    }
}

#[test]
fn p04_a_stalled_reader_of_a_message_loses_no_text() {
    let broker = Broker::start();
    for transport in BOTH {
        for coalesce in [0, 100] {
            let topic = format!("/chat/stall-{transport:?}-{coalesce}");
            let ask = Ask::topic(&topic).narrow().coalesce(coalesce);
            let mut reader = Follower::open(transport, broker.addr, ask);
            let speaker = Speaker::limited(broker.addr, &topic, "m", 8_000);
            let said = speaker.finish();
            let last = speaker::end(broker.addr, &topic, "m");
            let view = reader.until_seq(&topic, last);
            said_whole(&view.text("m"), said);
            assert!(view.message("m").ended.is_some());
        }
    }
}

#[test]
fn p04_a_reader_overtaken_by_retention_is_told_in_the_middle() {
    let config = "[namespace.heavy]\nretention_bytes = \"8MiB\"\n";
    let broker = Broker::configured(config);
    for transport in BOTH {
        let topic = format!("/heavy/overtaken-{transport:?}");
        let mut reader = stalled(transport, &broker, &topic);
        publish_heavy(&broker, &topic, 0..1500, 16_000);
        let last = broker.publish(&topic, json!([delta("m", "0—")]))["last_seq"]
            .as_u64()
            .unwrap();
        let view = reader.until_seq(&topic, last);
        assert_eq!(view.gaps.len(), 1, "{transport:?} {:?}", view.gaps);
        let (from, to) = view.gaps[0];
        assert!(from > 1 && to < 1500, "{:?}", view.gaps);
        let kept: Vec<u64> = (0..from - 1).chain(to..1500).collect();
        assert_eq!(view.notes(), kept, "all but the gap");
        reader.until("the snapshot", |reader| {
            reader.view(&topic).text("m") == "0—"
        });
    }
}

/// Slow, but never still: nobody may close it, however far behind it is.
#[test]
fn p04_a_slow_reader_that_takes_bytes_is_not_closed() {
    let broker = Broker::configured("[limits]\nstall_timeout = \"1s\"\n");
    for transport in BOTH {
        let topic = format!("/heavy/slow-{transport:?}");
        let mut reader = stalled(transport, &broker, &topic);
        let last = publish_heavy(&broker, &topic, 0..400, 16_000);
        // Three stall timeouts of sips: some 200 KiB of 6 MiB.
        for _ in 0..20 {
            assert_ne!(
                reader.wire().sip(10_000),
                wire::Fill::End,
                "closed while it was reading"
            );
            std::thread::sleep(std::time::Duration::from_millis(150));
        }
        let view = reader.until_seq(&topic, last);
        assert_eq!(view.notes(), (0..400).collect::<Vec<_>>());
    }
}

/// One stalled topic among many on one connection does not make the others forget anything.
#[test]
fn p04_a_stalled_reader_of_many_topics_gets_each_in_full() {
    let broker = Broker::start();
    let topics = ["/heavy/a", "/heavy/b", "/heavy/c"];
    for transport in BOTH {
        let ask = Ask::topics(&topics).from("live").narrow();
        let mut reader = Follower::open(transport, broker.addr, ask);
        for topic in topics {
            let last = publish_heavy(&broker, topic, 0..100, 16_000);
            assert!(last >= 100);
        }
        for topic in topics {
            let head = broker.head(topic);
            let view = reader.until_seq(topic, head);
            assert_eq!(view.notes(), (0..100).collect::<Vec<_>>());
        }
    }
}
