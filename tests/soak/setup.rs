//! What a run is made of: seed, length, the broker's configuration, and the topics.

use std::time::Duration;

use crate::support::Setup as BrokerSetup;

pub const READERS: usize = 200;
pub const TOPICS: usize = 50;
/// Threads that share the readers.
pub const CROWD_THREADS: usize = 2;
/// Topics that are published over HTTP; all others over WebSockets.
pub const HTTP_TOPICS: usize = 12;
/// WebSockets that share the other topics.
pub const PUBLISHING_SOCKETS: usize = 6;

/// One topic in so many is published at a walking pace, so that its log reaches further back than the
/// deltas of ended messages are kept.
pub const CALM: usize = 5;
/// Between two publishes to a calm topic.
pub const CALM_PAUSE: Duration = Duration::from_millis(20);
/// One topic in so many is published without looking back, whatever its readers miss.
pub const RUTHLESS: usize = 12;
/// Events that the slowest of the readers who read as fast as they can may be behind. Readers and broker
/// share the machine, and it is the broker that is tested: beyond this the publishers wait for the checks.
pub const MAX_LAG: u64 = 1200;
/// Events that every topic is given at once, so that its log is full early.
pub const FILL: u64 = 3000;

/// Shorter than the default, so that readers that stall really are cut off.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(8);
/// Shorter than the default, so that the deltas of ended messages are left out while somebody reads them.
pub const COMPACT_AFTER: Duration = Duration::from_secs(3);

/// The length of a run, and how its randomness begins. `SOAK_SECONDS` and `SOAK_SEED` change them.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub seed: u64,
    pub length: Duration,
}

impl Run {
    pub fn from_env() -> Run {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(
                text.parse()
                    .unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
            )
        };
        Run {
            seed: number("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..)),
            length: Duration::from_secs(number("SOAK_SECONDS").unwrap_or(60)),
        }
    }
}

/// How long a topic keeps its events; the first bound that is reached applies.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub events: u64,
    pub bytes: u64,
    pub age: Duration,
}

/// The defaults of docs/protocol.md.
const DEFAULT: Retention = Retention {
    events: 10_000,
    bytes: 16 << 20,
    age: Duration::from_secs(3600),
};

/// A namespace for each bound, small enough to be reached within the first third of a run.
const NAMESPACES: [(&str, Retention); 3] = [
    (
        "counted",
        Retention {
            events: 3000,
            ..DEFAULT
        },
    ),
    (
        "sized",
        Retention {
            bytes: 1 << 20,
            ..DEFAULT
        },
    ),
    (
        "aged",
        Retention {
            age: Duration::from_secs(4),
            events: 5000,
            ..DEFAULT
        },
    ),
];

/// Path and retention of the topic with this number.
pub fn topic(number: usize) -> (String, Retention) {
    let (namespace, retention) = NAMESPACES[number % NAMESPACES.len()];
    (format!("/{namespace}/talk-{number}"), retention)
}

/// Default limits, but for the two times above; frames and bodies are bounded so that a log may be small
/// (retention holds twice the largest).
pub fn broker() -> BrokerSetup {
    let mut config = format!(
        "[limits]\nstall_timeout = \"{}s\"\ncompact_after = \"{}s\"\n\
         max_frame_bytes = \"512KiB\"\nmax_body_bytes = \"512KiB\"\n",
        STALL_TIMEOUT.as_secs(),
        COMPACT_AFTER.as_secs(),
    );
    for (name, retention) in NAMESPACES {
        config.push_str(&format!(
            "[namespace.{name}]\nretention_events = {}\nretention_bytes = {}\nretention_age = \"{}s\"\n",
            retention.events,
            retention.bytes,
            retention.age.as_secs(),
        ));
    }
    BrokerSetup {
        config,
        ..BrokerSetup::default()
    }
}
