//! Publishes a second, memory against disk through the same front: each publisher has a WebSocket and a topic
//! of its own and sends the next publish when the last one is answered.
//!
//! `cargo bench --bench publish [-- SECONDS]` prints a table; rounds of the engines take turns.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

const PUBLISHERS: [usize; 3] = [1, 16, 256];
const ENGINES: [&str; 3] = ["memory", "disk", "interval"];
const ROUNDS: usize = 3;
const TEXT: usize = 100;

fn main() {
    // cargo adds flags of its own
    let seconds = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let time = Duration::from_secs_f64(seconds.unwrap_or(3.0));
    println!("| publishers | engine | publishes/s | against memory | syncs a publish |");
    println!("|---|---|---|---|---|");
    for publishers in PUBLISHERS {
        let mut rounds: [Vec<Round>; ENGINES.len()] = Default::default();
        for _ in 0..ROUNDS {
            for (engine, rounds) in ENGINES.iter().zip(&mut rounds) {
                rounds.push(Round::run(engine, publishers, time));
            }
        }
        let medians = rounds.map(median);
        for (engine, round) in ENGINES.iter().zip(&medians) {
            let ratio = round.rate / medians[0].rate;
            println!(
                "| {publishers} | {engine} | {:.0} | {ratio:.2} | 1 in {:.1} |",
                round.rate, round.publishes_a_sync
            );
        }
    }
}

struct Round {
    rate: f64,
    publishes_a_sync: f64,
}

fn median(mut rounds: Vec<Round>) -> Round {
    rounds.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    rounds.swap_remove(rounds.len() / 2)
}

impl Round {
    fn run(engine: &str, publishers: usize, time: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut broker, addr) = start(engine, folder.path());
        let mut lines: Vec<Line> = (0..publishers).map(|n| Line::open(addr, n)).collect();
        run_for(&mut lines, time / 4);
        let (before, syncs_before) = (answered(&lines), syncs(addr));
        let begin = Instant::now();
        run_for(&mut lines, time);
        let publishes = (answered(&lines) - before) as f64;
        let rate = publishes / begin.elapsed().as_secs_f64();
        let syncs = syncs(addr) - syncs_before;
        drop(broker.kill());
        drop(broker.wait());
        Self {
            rate,
            publishes_a_sync: publishes / syncs,
        }
    }
}

fn start(engine: &str, folder: &std::path::Path) -> (Child, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewire"));
    command.args(["serve", "--allow-anonymous", "--listen", "127.0.0.1:0"]);
    if engine != "memory" {
        command.args(["--engine", "disk", "--data-dir"]);
        command.arg(folder.join("data"));
    }
    if engine == "interval" {
        command.args(["--disk-sync", "interval"]);
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

fn answered(lines: &[Line]) -> u64 {
    lines.iter().map(|line| line.answered).sum()
}

fn run_for(lines: &mut [Line], time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let ready: Vec<bool> = {
            let mut fds: Vec<PollFd<'_>> = lines
                .iter()
                .map(|line| PollFd::from_borrowed_fd(line.stream.as_fd(), PollFlags::IN))
                .collect();
            let patience = rustix::event::Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            poll(&mut fds, Some(&patience)).expect("poll works");
            fds.iter().map(|fd| !fd.revents().is_empty()).collect()
        };
        for (line, _) in lines.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            line.go_on();
        }
    }
}

/// A publisher.
struct Line {
    stream: TcpStream,
    frame: Vec<u8>,
    input: Vec<u8>,
    answered: u64,
}

impl Line {
    fn open(addr: SocketAddr, number: usize) -> Self {
        let mut stream = TcpStream::connect(addr).expect("it listens");
        stream.set_nodelay(true).expect("TCP");
        let upgrade = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: tidewire.v1.json\r\n\r\n"
        );
        stream.write_all(upgrade.as_bytes()).expect("open");
        let text = "x".repeat(TEXT);
        let publish = format!(
            r#"{{"op":"publish","id":1,"topic":"/bench/{number}","events":[{{"type":"bench.note","data":{{"text":"{text}"}}}}]}}"#
        );
        let mut line = Self {
            stream,
            frame: masked(publish.as_bytes()),
            input: Vec::new(),
            answered: 0,
        };
        // the head of the answer and `welcome`
        while !line.input.windows(9).any(|part| part == b"\"welcome\"") {
            line.read();
        }
        line.input.clear();
        line.stream.set_nonblocking(true).expect("a socket");
        line.stream.write_all(&line.frame).expect("open");
        line
    }

    fn read(&mut self) {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => panic!("the broker closed a line"),
            Ok(count) => self.input.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// One frame is one answer, and each is short.
    fn go_on(&mut self) {
        self.read();
        while let [_, length, rest @ ..] = self.input.as_slice() {
            let (length, head) = match (length, rest) {
                (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 4),
                (126, _) => return,
                (length, _) => (usize::from(*length), 2),
            };
            if self.input.len() < head + length {
                return;
            }
            let payload = &self.input[head..head + length];
            if self.input[0] == 0x81 {
                let is_ok = payload.windows(11).any(|part| part == b"\"published\"");
                assert!(is_ok, "{}", String::from_utf8_lossy(payload));
                self.answered += 1;
                self.stream
                    .write_all(&self.frame)
                    .expect("it takes a frame");
            }
            self.input.drain(..head + length);
        }
    }
}

/// A text frame whose mask changes nothing.
fn masked(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text);
    frame
}

fn syncs(addr: SocketAddr) -> f64 {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let mut lines = answer.lines();
    let line = lines.find(|line| line.starts_with("tidewire_store_syncs_total"));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value
        .and_then(|value| value.parse().ok())
        .expect("a number")
}
