//! A publish stream as the tests speak it: chunks over a raw connection.

use serde_json::Value;

use super::broker::Broker;
use super::http::{Http, Response};

pub const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// An open stream: lines go out as they are said, the answer comes at the end.
pub struct Lines {
    pub http: Http,
}

impl Lines {
    pub fn open(broker: &Broker, query: &str) -> Lines {
        Lines::begin(broker, "POST", query, &[NDJSON])
    }

    pub fn begin(broker: &Broker, method: &str, query: &str, headers: &[(&str, &str)]) -> Lines {
        let mut http = broker.http();
        let mut all = headers.to_vec();
        all.push(("transfer-encoding", "chunked"));
        let head = http.head(method, &format!("/v1/publish/stream?{query}"), &all);
        http.wire.send(head.as_bytes());
        Lines { http }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.try_send(bytes);
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.http.wire.try_send(&chunk)
    }

    pub fn line(&mut self, event: &Value) {
        self.send(format!("{event}\n").as_bytes());
    }

    pub fn end(mut self) -> Response {
        let _ = self.http.wire.try_send(b"0\r\n\r\n");
        self.http.response()
    }

    /// The summary of a stream that went well.
    pub fn summary(self) -> Value {
        let response = self.end();
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }
}

/// Events as the body of a publish stream.
pub fn lines(events: impl IntoIterator<Item = Value>) -> Vec<u8> {
    let lines = events.into_iter().map(|event| format!("{event}\n"));
    lines.collect::<String>().into_bytes()
}
