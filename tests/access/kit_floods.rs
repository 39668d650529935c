//! What floods are made of, and what has to hold around each: somebody who was there is served during it, somebody
//! new is served after it, and another round of it adds no memory.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::ws::{FIN_TEXT, KEY, masked};
use crate::support::*;

/// What a normal client may have to wait for what takes microseconds on an idle machine.
pub const AT_ONCE: Duration = Duration::from_secs(2);
/// What the broker may grow by in another round of a flood, once the allocator has what it needs. A flood of 5,000
/// connections that left 1 KB of each would be over it.
const ANOTHER_ROUND_KIB: u64 = 4 << 10;
/// Rounds in which the allocator may find its size. Of 5,000 connections at once it keeps 60, 25, 9, 3, 1 and 0 MiB
/// more in one round after the other: the holes of one round do not fit all of the next. What leaks is the same in
/// each.
const MOST_ROUNDS: usize = 6;

/// Patience that lets a test see the end of it.
pub const HASTY: &str = "[limits]\nheader_timeout = \"1s\"\nstall_timeout = \"1s\"\n";

/// Floods it until a round adds no memory; at least twice.
pub fn withstands(broker: &mut Broker, mut flood: impl FnMut(&Broker, &mut Regular)) {
    let mut regular = Regular::open(broker.addr);
    let connections = regular.metric("tidewire_connections");
    let mut rss = Vec::new();
    for _ in 0..MOST_ROUNDS {
        flood(broker, &mut regular);
        regular.is_served();
        a_newcomer_is_served(broker.addr);
        eventually("all who flooded to be gone", || {
            let strangers = regular.metric("tidewire_unauthenticated_connections");
            (strangers == 0 && regular.metric("tidewire_connections") == connections).then_some(())
        });
        rss.push(broker.rss_kb());
        if is_settled(&rss) {
            break;
        }
    }
    assert!(is_settled(&rss), "each round adds memory: {rss:?} KiB");
    assert!(broker.is_running() && !broker.stderr().contains("panicked"));
}

fn is_settled(rss: &[u64]) -> bool {
    let most = ANOTHER_ROUND_KIB + engine_memory_kb();
    matches!(rss, [.., before, after] if after.saturating_sub(*before) <= most)
}

/// Somebody who was there before: publishes over a WebSocket, reads there what they publish, and asks over HTTP.
pub struct Regular {
    ws: Ws,
    http: Http,
    token: String,
    published: u64,
}

impl Regular {
    pub const TOPIC: &str = "/regular/talk";

    pub fn open(addr: SocketAddr) -> Regular {
        let token = Token::of_all("regular").sign();
        let mut ws = Ws::open_as(addr, &token);
        ws.subscribe(Regular::TOPIC, "live");
        let mut http = Http::connect(addr);
        assert_eq!(asked(&mut http, &token).status, 200);
        Regular {
            ws,
            http,
            token,
            published: 0,
        }
    }

    /// A metric, or the sum over its labels; zero before its first value.
    pub fn metric(&mut self, name: &str) -> i64 {
        let text = authorized(&mut self.http, "/metrics", &self.token).text();
        let samples = text.lines().filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            let is_it = key == name || key.strip_prefix(name).is_some_and(|r| r.starts_with('{'));
            is_it.then(|| value.parse::<i64>().expect("a whole number"))
        });
        samples.sum()
    }

    pub fn is_served(&mut self) {
        let begin = Instant::now();
        self.published += 1;
        let events = json!([note(self.published)]);
        let answer = self.ws.publish(Regular::TOPIC, events);
        assert_eq!(answer["op"], "published", "{answer}");
        loop {
            let frame = self.ws.until("events");
            let events = frame["events"].as_array().expect("events");
            if events.iter().any(|e| e["data"]["n"] == self.published) {
                break;
            }
        }
        assert_eq!(asked(&mut self.http, &self.token).status, 200);
        let took = begin.elapsed();
        assert!(took < AT_ONCE, "a regular client waited {took:?}");
    }
}

/// Somebody who comes only now, by WebSocket and by HTTP.
pub fn a_newcomer_is_served(addr: SocketAddr) {
    let token = Token::of_all("newcomer").sign();
    let begin = Instant::now();
    drop(Ws::open_as(addr, &token));
    let answer = asked(&mut Http::connect(addr), &token);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let took = begin.elapsed();
    assert!(took < AT_ONCE, "a new client waited {took:?}");
}

/// A request that anybody with a good token may make.
pub fn asked(http: &mut Http, token: &str) -> Response {
    authorized(http, "/v1/topics", token)
}

fn authorized(http: &mut Http, target: &str, token: &str) -> Response {
    http.request("GET", target, &[("authorization", &bearer(token))], b"")
}

/// The same on a connection that may be cut off at any time; `None`: it was, and nothing was said.
pub fn asked_at_the_door(addr: SocketAddr, token: &str) -> Option<Response> {
    let mut http = Http::connect(addr);
    let head = http.head("GET", "/v1/topics", &[("authorization", &bearer(token))]);
    // an answer may come before the question, and is read all the same
    let _ = http.wire.try_send(head.as_bytes());
    http.try_response()
}

/// Signed by somebody else.
pub fn forged() -> String {
    Token::of_all("mallory").sign_with("a secret that nobody told the broker about")
}

/// A frame of a client with this message.
pub fn frame(message: &Value) -> Vec<u8> {
    masked(FIN_TEXT, message.to_string().as_bytes())
}

/// The request for a WebSocket.
pub fn upgrade(addr: SocketAddr, token: Option<&str>) -> Vec<u8> {
    let shown = token.map_or(String::new(), |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Protocol: tidewire.v1.json\r\n{shown}\r\n"
    )
    .into_bytes()
}

/// Sockets that are never waited for. They are reset at the end, so that no port stays taken.
pub struct Crowd(pub Vec<Member>);

pub struct Member {
    stream: TcpStream,
    /// All bytes that came.
    pub heard: Vec<u8>,
    pub ended: bool,
}

impl Crowd {
    /// Connections to the broker, of which nothing is heard yet.
    pub fn of(count: usize, addr: SocketAddr) -> Crowd {
        rlimit::increase_nofile_limit(u64::MAX)
            .expect("the soft limit can be raised to the hard one");
        Crowd((0..count).map(|_| Member::connect(addr)).collect())
    }

    /// WebSockets, with this token or as strangers, which have read `welcome`.
    pub fn of_sockets(count: usize, addr: SocketAddr, token: Option<&str>) -> Crowd {
        let mut crowd = Crowd::of(count, addr);
        let request = upgrade(addr, token);
        crowd.send(&request);
        crowd.until("welcome", |member| member.has_heard("\"op\":\"welcome\""));
        crowd
    }

    /// As much of it to each as its socket takes.
    pub fn send(&mut self, bytes: &[u8]) {
        for member in &mut self.0 {
            member.send(bytes);
        }
    }

    pub fn listen(&mut self) {
        for member in &mut self.0 {
            member.listen();
        }
    }

    /// Listens until that holds for all.
    pub fn until(&mut self, what: &str, holds: impl Fn(&Member) -> bool) {
        self.until_with(what, holds, |_| ());
    }

    /// The same, doing something in between.
    pub fn until_with(
        &mut self,
        what: &str,
        holds: impl Fn(&Member) -> bool,
        mut meanwhile: impl FnMut(&mut Crowd),
    ) {
        eventually(what, || {
            meanwhile(self);
            self.listen();
            self.0.iter().all(&holds).then_some(())
        });
    }

    pub fn count(&self, that: impl Fn(&Member) -> bool) -> usize {
        self.0.iter().filter(|member| that(member)).count()
    }
}

impl Member {
    fn connect(addr: SocketAddr) -> Member {
        let stream = TcpStream::connect(addr).expect("the broker accepts connections");
        let socket = socket2::SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_nonblocking(true).expect("a socket");
        Member {
            stream,
            heard: Vec::new(),
            ended: false,
        }
    }

    /// How much of it the socket took.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // full, or closed by the broker
                Err(_) => break,
            }
        }
        sent
    }

    pub fn listen(&mut self) {
        let mut chunk = [0; 16 << 10];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => break self.ended = true,
                Ok(count) => self.heard.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break self.ended = true,
            }
        }
    }

    pub fn has_heard(&self, text: &str) -> bool {
        self.times_heard(text) > 0
    }

    pub fn times_heard(&self, text: &str) -> usize {
        let windows = self.heard.windows(text.len());
        windows.filter(|window| *window == text.as_bytes()).count()
    }
}
