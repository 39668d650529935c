//! A raw HTTP/1.1 client: one connection, kept alive; bodies by content length or chunked.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};

use super::wait::PATIENCE;
use super::wire::{Fill, Wire};

pub struct Http {
    pub wire: Wire,
    pub host: String,
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub fn json_body(value: &Value) -> String {
    value.to_string()
}

impl Http {
    pub fn connect(addr: SocketAddr) -> Http {
        Http {
            wire: Wire::connect(addr),
            host: addr.to_string(),
        }
    }

    pub fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, &[], b"")
    }

    pub fn post(&mut self, target: &str, body: &str) -> Response {
        let headers = [("content-type", "application/json")];
        self.request("POST", target, &headers, body.as_bytes())
    }

    /// Publishes one batch, which must be accepted.
    pub fn publish(&mut self, topic: &str, events: Value) -> Value {
        let body = json!({ "topic": topic, "events": events });
        self.publish_body(&body)
    }

    pub fn publish_body(&mut self, body: &Value) -> Value {
        let response = self.post("/v1/publish", &json_body(body));
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }

    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let length = body.len().to_string();
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        if !body.is_empty() || method == "POST" {
            all.push(("content-length", &length));
        }
        let head = self.head(method, target, &all);
        // A peer that refuses early may close before it took everything; its answer is what counts.
        let _ = self.wire.try_send(&[head.as_bytes(), body].concat());
        self.response()
    }

    /// The request's head as text, to send with other bodies than it announces.
    pub fn head(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head.push_str(&format!("host: {}\r\n", self.host));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head
    }

    pub fn response(&mut self) -> Response {
        self.try_response()
            .expect("an answer before the connection ended")
    }

    /// None: the connection ended without a whole answer.
    pub fn try_response(&mut self) -> Option<Response> {
        let mut response = read_head(&mut self.wire)?;
        if response.status == 204 || response.status == 304 {
            return Some(response);
        }
        response.body = if response.is_chunked() {
            self.chunks()?
        } else {
            let length = response.header("content-length").unwrap_or("0");
            let length = length.parse().expect("a content length");
            self.exactly(length)?
        };
        Some(response)
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(line.trim(), 16).expect("a chunk size");
            let chunk = self.exactly(size)?;
            self.exactly(2)?;
            if size == 0 {
                return Some(body);
            }
            body.extend(chunk);
        }
    }

    fn line(&mut self) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(end) = find(self.wire.waiting(), b"\r\n") {
                let line = self.wire.take(end + 2);
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            more(&mut self.wire, deadline)?;
        }
    }

    fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        while self.wire.waiting().len() < count {
            more(&mut self.wire, deadline)?;
        }
        Some(self.wire.take(count))
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn is_chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// The body as a problem of RFC 9457, checked for what promise 12 says of each.
    pub fn problem(&self) -> Value {
        assert!(self.status >= 400, "{} {}", self.status, self.text());
        let kind = self.header("content-type").unwrap_or_default();
        assert!(
            kind.starts_with("application/problem+json"),
            "{} {kind:?} {}",
            self.status,
            self.text()
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert!(problem["code"].is_string(), "{problem}");
        problem
    }
}

/// The status line and the headers (names in lower case). None: the connection ended first.
pub fn read_head(wire: &mut Wire) -> Option<Response> {
    let deadline = Instant::now() + PATIENCE;
    let end = loop {
        if let Some(end) = find(wire.waiting(), b"\r\n\r\n") {
            break end;
        }
        more(wire, deadline)?;
    };
    let head = String::from_utf8_lossy(&wire.take(end + 4)).into_owned();
    let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
    let status_line = lines.next().expect("a status line");
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Response {
        status,
        headers,
        body: Vec::new(),
    })
}

/// None at the end of the connection; a deadline that passes fails the test.
fn more(wire: &mut Wire, deadline: Instant) -> Option<()> {
    match wire.fill(deadline) {
        Fill::More => Some(()),
        Fill::End => None,
        Fill::Late => panic!("no answer within {PATIENCE:?}"),
    }
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
