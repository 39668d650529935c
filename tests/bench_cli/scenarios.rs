//! Each scenario against a broker that keeps its promises.

use crate::figures::{bench, end, start};
use crate::support::*;

const SHORT: [&str; 4] = ["--seconds", "1", "--warm-up", "0.2"];

fn with<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [args, more].concat()
}

/// 1.2 s at 50 events a second on each of 4 topics, of which each of 20 readers reads 2.
#[test]
fn bench_fanout_counts_every_delivery() {
    let broker = Broker::start();
    let args = "fanout --readers 20 --topics 4 --topics-per-reader 2 --rate 50";
    let args: Vec<&str> = args.split(' ').collect();
    for more in [
        &["--transport", "ws"][..],
        &["--transport", "sse", "--publish", "http"],
        &["--burst", "10"],
    ] {
        let found = bench(&broker, &with(&with(&args, &SHORT), more));
        found.is_kept();
        assert_eq!(found.count("acknowledged"), 4 * 60, "{more:?}");
        assert_eq!(found.count("delivered"), 20 * 2 * 60, "{more:?}");
        let json = &found.json;
        assert_eq!(json["scenario"], "fanout");
        assert_eq!(json["address"], broker.addr.to_string());
        assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(json["hosts"], "one");
        assert_eq!(json["settings"]["readers"], 20);
        assert!(json["figures"]["latency_p99_ms"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn bench_measures_the_processes_it_is_told() {
    let broker = Broker::start();
    let pid = std::process::id().to_string();
    let found = bench(
        &broker,
        &with(&["fanout", "--readers", "3", "--pid", &pid], &SHORT),
    );
    found.is_kept();
    let figures = &found.json["figures"];
    assert!(
        figures["broker_rss_mb"].as_f64().unwrap() > 0.5,
        "{figures}"
    );
    for name in ["broker_cpu_us_per_delivery", "broker_cpu_us_per_event"] {
        assert!(figures[name].is_number(), "{name}: {figures}");
    }
}

#[test]
fn bench_prints_a_table() {
    let broker = Broker::start();
    let url = broker.url();
    let mut shell = Shell::run(&with(
        &["bench", "fanout", "--readers", "3", "--url", &url],
        &SHORT,
    ));
    let table = shell.succeed();
    for words in [
        "fanout: Tidewire",
        "(on this host), ws, done",
        "latency_p99_ms",
        "kept: every acknowledged event came once, in order",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
    let (_, said) = shell.settled();
    assert!(said.contains(" connections, "), "a line a second: {said}");
}

/// Answers of 20 tokens end and begin while they are read; merged tokens are still counted one by one.
#[test]
fn bench_streams_counts_every_token() {
    let broker = Broker::start();
    let args = "streams --topics 10 --rate 50 --answer-tokens 20 --readers-per-topic 2";
    let args: Vec<&str> = args.split(' ').collect();
    for more in [
        &[][..],
        &["--coalesce-ms", "40"],
        &["--transport", "sse", "--coalesce-ms", "100"],
    ] {
        let found = bench(&broker, &with(&with(&args, &SHORT), more));
        found.is_kept();
        assert_eq!(found.count("acknowledged"), 10 * 60, "{more:?}");
        assert_eq!(found.count("delivered"), 2 * 10 * 60, "{more:?}");
    }
}

#[test]
fn bench_publish_looks_into_the_log() {
    let broker = Broker::start();
    for by in ["ws", "http"] {
        let paced = bench(
            &broker,
            &with(
                &["publish", "--topics", "7", "--rate", "350", "--publish", by],
                &SHORT,
            ),
        );
        paced.is_kept();
        assert_eq!(paced.count("acknowledged"), 7 * 60, "{by}");
        let free = bench(
            &broker,
            &with(&["publish", "--topics", "7", "--publish", by], &SHORT),
        );
        assert!(free.is_kept().count("acknowledged") > 7, "{by}");
    }
}

/// Its topics are erased at the end.
#[test]
fn bench_leaves_nothing_behind() {
    let broker = Broker::start();
    bench(&broker, &with(&["fanout", "--readers", "2"], &SHORT)).is_kept();
    let topics = broker.read("/v1/topics?prefix=/bench");
    assert_eq!(topics["topics"], serde_json::json!([]));
}

#[test]
fn bench_resume_brings_everybody_what_they_missed() {
    let broker = Broker::start();
    for transport in ["ws", "sse"] {
        let found = bench(
            &broker,
            &[
                "resume",
                "--readers",
                "60",
                "--topics",
                "6",
                "--missed",
                "50",
                "--transport",
                transport,
            ],
        );
        found.is_kept();
        assert_eq!(found.count("acknowledged"), 6 * 51, "{transport}");
        assert_eq!(found.count("delivered"), 60 * 51, "{transport}");
        assert_eq!(found.count("readers_caught_up"), 60, "{transport}");
    }
}

#[test]
fn bench_stalled_lets_the_others_read_and_all_catch_up() {
    let broker = Broker::start();
    let args = "stalled --topics 5 --readers-per-topic 4 --rate 50 --share 0.5 --text-bytes 2000";
    let args: Vec<&str> = args.split(' ').collect();
    let found = bench(&broker, &with(&args, &SHORT));
    found.is_kept();
    assert_eq!(found.count("readers_stalled"), 10);
    assert_eq!(found.count("acknowledged"), 5 * 110);
    assert_eq!(found.count("delivered"), 20 * 110);
    let names: Vec<_> = found.json["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|phase| phase["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["all read", "some stall"]);
}

/// Readers that stall for so long that the broker cuts them off come back with their position.
#[test]
fn bench_stalled_gets_back_those_that_were_cut_off() {
    let broker = Broker::configured("[limits]\nstall_timeout = \"1s\"\n");
    let args = "stalled --topics 2 --readers-per-topic 4 --rate 200 --text-bytes 8000 --seconds 4 --warm-up 0";
    let args: Vec<&str> = args.split(' ').collect();
    let found = bench(&broker, &args);
    found.is_kept();
    assert!(found.count("readers_came_back") > 0, "{:#}", found.json);
}

/// One snapshot, whatever the number of tokens: welcome, subscribed and that.
#[test]
fn bench_join_gets_the_text_in_one_piece() {
    let broker = Broker::start();
    for transport in ["ws", "sse"] {
        let args = "join --readers 6 --tokens 1000 --transport";
        let args: Vec<&str> = args.split(' ').collect();
        let found = bench(&broker, &with(&args, &[transport]));
        found.is_kept();
        assert_eq!(found.count("readers_joined"), 6);
        assert!(
            found.count("frames_until_joined_max") <= 3,
            "{:#}",
            found.json
        );
        assert_eq!(found.count("text_bytes_as_json"), 100_002);
        assert!(found.count("bytes_until_joined_max") >= 100_002);
    }
}

#[test]
fn bench_idle_finds_everybody_alive() {
    let broker = Broker::start();
    let args = "idle --readers 40 --topics 4 --seconds 1 --transport";
    let args: Vec<&str> = args.split(' ').collect();
    for transport in ["ws", "sse"] {
        let found = bench(&broker, &with(&args, &[transport]));
        found.is_kept();
        assert_eq!(found.count("acknowledged"), 4);
        assert_eq!(found.count("delivered"), 40);
    }
}

/// A broker that pings often hears from everybody, and keeps them.
#[test]
fn bench_answers_pings() {
    let broker = Broker::configured("[limits]\nping_interval = \"2s\"\n");
    let found = bench(&broker, &["idle", "--readers", "3", "--seconds", "5"]);
    found.is_kept();
    assert!(found.count("pings_answered") >= 3, "{:#}", found.json);
}

#[test]
fn bench_spike_goes_up_and_down() {
    let broker = Broker::start();
    let args = "spike --users 2 --peak-users 12 --calm 0.5 --ramp 0.5 --hold 0.5 --rate 10";
    let args: Vec<&str> = args.split(' ').collect();
    let found = bench(&broker, &args);
    found.is_kept();
    assert_eq!(found.json["phases"].as_array().unwrap().len(), 5);
    assert_eq!(found.count("delivered"), found.count("acknowledged"));
    assert!(found.count("acknowledged") >= 10, "{:#}", found.json);
}

/// Users whose line is cut come back, and miss nothing.
#[test]
fn bench_sustain_survives_churn() {
    let broker = Broker::start();
    let args = "sustain --users 10 --rate 100 --churn 10 --seconds 2 --transport";
    let args: Vec<&str> = args.split(' ').collect();
    for transport in ["ws", "sse"] {
        let found = bench(&broker, &with(&args, &[transport]));
        found.is_kept();
        assert!(found.count("readers_came_back") > 0, "{:#}", found.json);
        assert_eq!(found.count("delivered"), found.count("acknowledged"));
    }
}

/// A broker that allows less than it is given refuses, and has what it acknowledged.
#[test]
fn bench_stress_counts_refusals() {
    let broker = Broker::configured("[limits]\npublish_rate = 20\npublish_burst = 20\n");
    let args = "stress --topics 5 --rate 1000 --step 1 --max-steps 1 --publish";
    let args: Vec<&str> = args.split(' ').collect();
    for by in ["ws", "http"] {
        let found = bench(&broker, &with(&args, &[by]));
        found.is_kept();
        assert!(found.count("refused_rate_limited") > 0, "{:#}", found.json);
        assert_eq!(found.count("refused"), found.count("refused_rate_limited"));
        assert_eq!(found.count("delivered"), found.count("acknowledged"));
    }
}

/// A broker that sends its readers away after a while gets them back, and they miss nothing.
#[test]
fn bench_sustain_comes_back_when_it_is_sent_away() {
    let broker = Broker::configured("max_connection_age = \"1s\"\n");
    let args = ["sustain", "--users", "4", "--rate", "40", "--seconds", "4"];
    let found = end(start(&broker.url(), &args));
    found.is_kept();
    assert!(found.count("readers_came_back") > 0, "{:#}", found.json);
}
