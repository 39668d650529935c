//! What access control costs: the grant check, the checks of tokens and keys, and the broker's CPU for each publish and
//! each delivery with tokens against `--allow-anonymous`.
//!
//! `cargo bench --bench access [-- PAIRS]` prints two tables; rounds with and without tokens take turns. It fails where
//! a grant check allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use jsonwebtoken::{Algorithm, EncodingKey};
use tidewire::auth::{Action, Auth, GrantTexts, Principal};
use tidewire::config::{self, Config};
use tidewire::event::TopicPath;

#[path = "../promises/support/token.rs"]
mod token;

use token::{ApiKey, SECRET, Token, guarded_by};

const PAIRS: usize = 7;
const PUBLISHES: u64 = 30_000;
const READERS: usize = 100;
const EVENTS: u64 = 1_000;
/// `USER_HZ`, which Linux shows to programs everywhere.
const TICKS_A_SECOND: f64 = 100.0;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(
    unsafe_code,
    reason = "an allocator can only be watched from its own place"
)]
// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

fn main() {
    // cargo adds flags of its own
    let pairs = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    println!("| check | time | allocations |");
    println!("|---|---|---|");
    grants();
    tokens();
    println!();
    println!("| broker's CPU | `--allow-anonymous` | with tokens | median ratio |");
    println!("|---|---|---|---|");
    whole_process(pairs.unwrap_or(PAIRS));
}

/// Nanoseconds and allocations of one, the median of nine runs.
fn cost(times: u32, mut one: impl FnMut()) -> (f64, f64) {
    one();
    let mut runs: Vec<f64> = Vec::with_capacity(9);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..9 {
        let begin = Instant::now();
        for _ in 0..times {
            one();
        }
        runs.push(begin.elapsed().as_nanos() as f64 / f64::from(times));
    }
    let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
    (median(runs), allocated as f64 / f64::from(times * 9))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn topic(path: &str) -> TopicPath {
    TopicPath::parse(path).expect("a topic")
}

fn configured(text: &str) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tidewire.toml");
    std::fs::write(&file, text).expect("a file");
    let file = file.to_str().expect("a path in UTF-8");
    let args = config::args(clap::Command::new("bench"));
    let matches = args.get_matches_from(["bench", "--config", file]);
    config::load(&matches, |_| None).expect("a good configuration")
}

fn grants() {
    let config = configured(&guarded_by(SECRET, ""));
    let auth = Auth::new(&config, Arc::new(())).expect("good keys");
    for count in [1, 10, 128] {
        let subscribe: Vec<String> = (0..count).map(|n| format!("/chat/room-{n}/*")).collect();
        let texts = GrantTexts {
            subscribe: subscribe.clone(),
            ..GrantTexts::default()
        };
        assert!(texts.compile("ada").is_ok());
        let lists: Vec<&str> = subscribe.iter().map(String::as_str).collect();
        let shown = Token::of("ada").grant("subscribe", &lists).sign();
        let principal: Principal = wait(auth.authenticate(&shown)).expect("a good token");
        let hit = topic(&format!("/chat/room-{}/talk", count - 1));
        let miss = topic("/chat/room-x/talk");
        let namespace = config.namespace("chat");
        for (name, topic, may) in [("hit, the last", &hit, true), ("miss", &miss, false)] {
            assert_eq!(principal.may(Action::Subscribe, topic, namespace), may);
            let (time, allocations) = cost(100_000, || {
                black_box(black_box(&principal).may(
                    Action::Subscribe,
                    black_box(topic),
                    namespace,
                ));
            });
            println!("| grant, {count} patterns, {name} | {time:.0} ns | {allocations:.0} |");
            assert!(allocations == 0.0, "a grant check allocates");
        }
    }
}

fn tokens() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth/testdata");
    let pem = |name: &str| std::fs::read(data.join(name)).expect("a key");
    let key_file = |name: &str| {
        let path = data.join(name);
        format!("[auth]\nkey_file = {:?}\n", path.to_str().expect("a path"))
    };
    let token = Token::of("ada").grant("subscribe", &["/chat/{sub}/*"]);
    let rsa = EncodingKey::from_rsa_pem(&pem("rsa.private.test.pem")).expect("RSA");
    let p256 = EncodingKey::from_ec_pem(&pem("p256.private.test.pem")).expect("P-256");
    let ed25519 = EncodingKey::from_ed_pem(&pem("ed25519.private.test.pem")).expect("Ed25519");
    let robot = ApiKey::new("robot", "subscribe = [\"/chat/**\"]");
    let shown = [
        ("HS256", guarded_by(SECRET, ""), token.sign()),
        (
            "RS256",
            key_file("rsa.public.test.pem"),
            token.sign_by(Algorithm::RS256, &rsa),
        ),
        (
            "ES256",
            key_file("p256.public.test.pem"),
            token.sign_by(Algorithm::ES256, &p256),
        ),
        (
            "EdDSA",
            key_file("ed25519.public.test.pem"),
            token.sign_by(Algorithm::EdDSA, &ed25519),
        ),
        ("API key", guarded_by(SECRET, &robot.table), robot.text),
    ];
    for (name, config, shown) in shown {
        let auth = Auth::new(&configured(&config), Arc::new(())).expect("good keys");
        let (time, allocations) = cost(500, || {
            black_box(wait(auth.authenticate(black_box(&shown)))).expect("it is good");
        });
        println!("| {name} | {:.1} µs | {allocations:.0} |", time / 1000.0);
    }
}

/// What never has to wait for anything here.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => panic!("it waits for keys that are there"),
    }
}

fn whole_process(pairs: usize) {
    let rounds: Vec<[Round; 2]> = (0..pairs)
        .map(|n| match n % 2 {
            0 => [false, true].map(Round::run),
            _ => {
                let [with, without] = [true, false].map(Round::run);
                [without, with]
            }
        })
        .collect();
    for (name, value) in [
        ("a publish", (|round| round.publish) as fn(&Round) -> f64),
        ("a delivery", |round| round.delivery),
    ] {
        let of = |at: usize| median(rounds.iter().map(|pair| value(&pair[at])).collect());
        let ratios = rounds.iter().map(|pair| value(&pair[1]) / value(&pair[0]));
        println!(
            "| {name} | {:.1} µs | {:.1} µs | {:.2} |",
            of(0),
            of(1),
            median(ratios.collect())
        );
    }
}

/// Microseconds of the broker's CPU.
struct Round {
    publish: f64,
    delivery: f64,
}

impl Round {
    fn run(asks: bool) -> Round {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut broker, addr) = start(asks, folder.path());
        let token = asks.then(|| Token::of_all("ada").sign());
        let token = token.as_deref();
        let mut publisher = Line::open(addr, token);
        let publish = |publisher: &mut Line, topic: &str| {
            publisher.send(&format!(
                r#"{{"op":"publish","id":1,"topic":"{topic}","events":[{{"type":"bench.note","data":{{"text":"{}"}}}}]}}"#,
                "x".repeat(100)
            ));
            publisher.until("\"published\"");
        };
        for _ in 0..1000 {
            publish(&mut publisher, "/bench/alone");
        }
        let before = cpu(&broker);
        for _ in 0..PUBLISHES {
            publish(&mut publisher, "/bench/alone");
        }
        let of_publishes = cpu(&broker) - before;
        let mut readers: Vec<Line> = (0..READERS)
            .map(|_| {
                let mut line = Line::open(addr, token);
                line.send(r#"{"op":"subscribe","id":1,"topic":"/bench/read","from":"live"}"#);
                line.until("\"subscribed\"");
                line
            })
            .collect();
        let mut before = 0.0;
        for n in 0..EVENTS + 100 {
            if n == 100 {
                before = cpu(&broker);
            }
            publish(&mut publisher, "/bench/read");
            for reader in &mut readers {
                reader.until("bench.note");
            }
        }
        let of_deliveries = cpu(&broker) - before;
        drop(broker.kill());
        drop(broker.wait());
        Round {
            publish: of_publishes * 1e6 / PUBLISHES as f64,
            delivery: of_deliveries * 1e6 / (EVENTS as f64 * READERS as f64),
        }
    }
}

fn start(asks: bool, folder: &Path) -> (Child, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewire"));
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    if asks {
        let file = folder.join("tidewire.toml");
        std::fs::write(&file, guarded_by(SECRET, "")).expect("a file");
        command.arg("--config").arg(file);
    } else {
        command.arg("--allow-anonymous");
    }
    let mut broker = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut ready = String::new();
    let mut out = BufReader::new(broker.stdout.take().expect("piped"));
    out.read_line(&mut ready).expect("a ready line");
    let addr = ready.trim().rsplit('/').next().expect("an address");
    (broker, addr.parse().expect("an address"))
}

/// Seconds of CPU that it has used, its own and the kernel's for it.
fn cpu(broker: &Child) -> f64 {
    let path = format!("/proc/{}/stat", broker.id());
    let stat = std::fs::read_to_string(path).expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks
        .map(|ticks| ticks.parse::<f64>().expect("ticks"))
        .sum();
    ticks / TICKS_A_SECOND
}

/// A WebSocket that waits for each answer.
struct Line {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Line {
    fn open(addr: SocketAddr, token: Option<&str>) -> Line {
        let mut stream = TcpStream::connect(addr).expect("it listens");
        stream.set_nodelay(true).expect("TCP");
        let shown = token.map_or(String::new(), |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        let upgrade = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: tidewire.v1.json\r\n{shown}\r\n"
        );
        stream.write_all(upgrade.as_bytes()).expect("open");
        let mut line = Line {
            stream,
            input: Vec::new(),
        };
        line.until("\"welcome\"");
        line
    }

    /// A text frame whose mask changes nothing.
    fn send(&mut self, text: &str) {
        let length = u16::try_from(text.len()).expect("a short text");
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame).expect("it takes a frame");
    }

    /// One thing is answered at a time: when the word is there, all of it is.
    fn until(&mut self, word: &str) {
        let mut chunk = [0; 4096];
        let is_there = |input: &[u8]| {
            let mut parts = input.windows(word.len());
            parts.any(|part| part == word.as_bytes())
        };
        while !is_there(&self.input) {
            let count = self.stream.read(&mut chunk).expect("open");
            assert!(count > 0, "the broker closed a line");
            self.input.extend_from_slice(&chunk[..count]);
        }
        self.input.clear();
    }
}
