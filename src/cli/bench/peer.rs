//! What is said to the other side, to read and to publish: a Tidewire broker's protocol, or templates for a plain
//! WebSocket or SSE peer. Only bytes are made here; nothing is sent.

use std::net::SocketAddr;

use super::content::Content;
use super::decode::{Decoder, frames};
use super::templates::Templates;

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Ws,
    Sse,
}

/// Where a reader begins.
#[derive(Clone, Debug)]
pub enum From {
    Live,
    Snapshot,
    /// Behind this position, of a reader of one topic.
    Position(String),
}

pub struct Peer {
    pub address: SocketAddr,
    /// As the `Host` header says it.
    pub authority: String,
    /// The path under which a proxy serves it.
    pub base: String,
    pub token: Option<String>,
    pub transport: Transport,
    pub coalesce_ms: Option<u32>,
    /// In every topic's name, so that no run meets what another left.
    pub run: String,
    pub dialect: Dialect,
}

pub enum Dialect {
    /// With the path above all topics.
    Tidewire {
        prefix: String,
    },
    Raw(Templates),
}

/// RFC 6455 §1.3's own example of a key, and the answer to it. A key is to differ each time so that a cache's old
/// answer is noticed; whoever measures through such a cache notices without.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

impl Peer {
    pub fn is_native(&self) -> bool {
        matches!(self.dialect, Dialect::Tidewire { .. })
    }

    /// What it is called in messages.
    pub fn who(&self) -> &'static str {
        match self.dialect {
            Dialect::Tidewire { .. } => "the broker",
            Dialect::Raw(_) => "the peer",
        }
    }

    /// A topic's name on the other side.
    pub fn topic(&self, number: u32) -> String {
        match &self.dialect {
            Dialect::Tidewire { prefix } => format!("{prefix}/{}/{number}", self.run),
            Dialect::Raw(_) => format!("{}-{number}", self.run),
        }
    }

    /// The request that opens a reader's connection.
    pub fn reader_request(&self, reader: usize, topics: &[u32], from: &From) -> Vec<u8> {
        let (path, headers) = match &self.dialect {
            Dialect::Raw(templates) => {
                let topic = self.topic(topics.first().copied().unwrap_or_default());
                (
                    templates.fill(&templates.sub_path, &topic, reader),
                    templates.headers(&templates.sub_headers, &topic, reader),
                )
            }
            Dialect::Tidewire { .. } => (self.native_path(topics, from), self.authorization()),
        };
        let mut request = self.start("GET", &path, &headers);
        match self.transport {
            Transport::Ws => request += &upgrade(self.subprotocol()),
            Transport::Sse => request += "Accept: text/event-stream\r\n",
        }
        if let From::Position(position) = from
            && self.transport == Transport::Sse
        {
            request += &format!("Last-Event-ID: {position}\r\n");
        }
        (request + "\r\n").into_bytes()
    }

    fn native_path(&self, topics: &[u32], from: &From) -> String {
        if self.transport == Transport::Ws {
            return "/v1/ws".into();
        }
        let from = match from {
            From::Snapshot => "snapshot",
            From::Live | From::Position(_) => "live",
        };
        let coalesce = self.coalesce_ms.unwrap_or(0);
        let topics: String = topics
            .iter()
            .map(|&topic| format!("&topic={}", self.topic(topic)))
            .collect();
        format!("/v1/sse?from={from}&coalesce_ms={coalesce}{topics}")
    }

    /// What is sent once a WebSocket is open.
    pub fn reader_messages(&self, reader: usize, topics: &[u32], from: &From) -> Vec<u8> {
        let mut out = Vec::new();
        if self.transport == Transport::Sse {
            return out;
        }
        match &self.dialect {
            Dialect::Raw(templates) => {
                let topic = self.topic(topics.first().copied().unwrap_or_default());
                for message in &templates.sub_send {
                    frames::text(templates.fill(message, &topic, reader).as_bytes(), &mut out);
                }
            }
            Dialect::Tidewire { .. } => {
                let from = match from {
                    From::Live => "live",
                    From::Snapshot => "snapshot",
                    From::Position(position) => position,
                };
                let coalesce = self.coalesce_ms.unwrap_or(0);
                let topics: Vec<String> = topics
                    .iter()
                    .map(|&topic| format!(r#"{{"topic":"{}"}}"#, self.topic(topic)))
                    .collect();
                let subscribe = format!(
                    r#"{{"op":"subscribe","id":1,"from":"{from}","coalesce_ms":{coalesce},"topics":[{}]}}"#,
                    topics.join(",")
                );
                frames::text(subscribe.as_bytes(), &mut out);
            }
        }
        out
    }

    /// How a reader's answer is taken apart.
    pub fn reader_decoder(&self, is_chunked: bool) -> Decoder {
        match self.transport {
            Transport::Ws => Decoder::websocket(self.is_native()),
            Transport::Sse => Decoder::stream(self.is_native(), is_chunked),
        }
    }

    /// The request that opens a publisher's WebSocket; only a Tidewire broker takes publishes over one.
    pub fn publisher_request(&self) -> Vec<u8> {
        let request = self.start("GET", "/v1/ws", &self.authorization());
        (request + &upgrade(self.subprotocol()) + "\r\n").into_bytes()
    }

    /// Appends a `publish` frame.
    pub fn publish_frame(&self, id: u64, topic: u32, content: &Content, out: &mut Vec<u8>) {
        let mut body = format!(
            r#"{{"op":"publish","id":{id},"topic":"{}","events":["#,
            self.topic(topic)
        )
        .into_bytes();
        content.write_events(topic, &mut body);
        body.extend_from_slice(b"]}");
        frames::text(&body, out);
    }

    /// Appends the request that publishes over HTTP.
    pub fn publish_request(&self, topic: u32, content: &Content, out: &mut Vec<u8>) {
        let name = self.topic(topic);
        let (path, headers, media, body) = match &self.dialect {
            Dialect::Tidewire { .. } => {
                let mut body = format!(r#"{{"topic":"{name}","events":["#).into_bytes();
                content.write_events(topic, &mut body);
                body.extend_from_slice(b"]}");
                let path = "/v1/publish".to_owned();
                (path, self.authorization(), "application/json", body)
            }
            Dialect::Raw(templates) => {
                let mut text = Vec::new();
                content.write_text(topic, 0, &mut text);
                (
                    templates.fill(&templates.pub_path, &name, 0),
                    templates.headers(&templates.pub_headers, &name, 0),
                    templates.pub_type.as_str(),
                    templates.body(&name, &text),
                )
            }
        };
        let start = self.start("POST", &path, &headers);
        let rest = format!(
            "Content-Type: {media}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        out.extend_from_slice(start.as_bytes());
        out.extend_from_slice(rest.as_bytes());
        out.extend_from_slice(&body);
    }

    /// A request without a body.
    pub fn plain_request(&self, method: &str, path: &str) -> Vec<u8> {
        (self.start(method, path, &self.authorization()) + "\r\n").into_bytes()
    }

    fn start(&self, method: &str, path: &str, headers: &str) -> String {
        let Self {
            base, authority, ..
        } = self;
        format!("{method} {base}{path} HTTP/1.1\r\nHost: {authority}\r\n{headers}")
    }

    fn authorization(&self) -> String {
        match &self.token {
            Some(token) => format!("Authorization: Bearer {token}\r\n"),
            None => String::new(),
        }
    }

    fn subprotocol(&self) -> &str {
        match &self.dialect {
            Dialect::Tidewire { .. } => "tidewire.v1.json",
            Dialect::Raw(templates) => &templates.ws_protocol,
        }
    }
}

fn upgrade(subprotocol: &str) -> String {
    let protocol = match subprotocol {
        "" => String::new(),
        name => format!("Sec-WebSocket-Protocol: {name}\r\n"),
    };
    format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{protocol}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::content::Shape;

    fn peer(transport: Transport, dialect: Dialect) -> Peer {
        Peer {
            address: "127.0.0.1:1".parse().expect("an address"),
            authority: "127.0.0.1:1".into(),
            base: "/live".into(),
            token: Some("s3cret".into()),
            transport,
            coalesce_ms: Some(40),
            run: "run".into(),
            dialect,
        }
    }

    fn native(transport: Transport) -> Peer {
        let prefix = "/bench".to_owned();
        peer(transport, Dialect::Tidewire { prefix })
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn a_broker_is_asked_in_its_protocol() {
        let sse = native(Transport::Sse);
        let position = From::Position("e:7".into());
        let request = text(sse.reader_request(0, &[3, 4], &position));
        assert!(request.starts_with(
            "GET /live/v1/sse?from=live&coalesce_ms=40&topic=/bench/run/3&topic=/bench/run/4 HTTP/1.1\r\n"
        ));
        assert!(request.contains("\r\nLast-Event-ID: e:7\r\n"));
        assert!(request.contains("\r\nAuthorization: Bearer s3cret\r\n"));
        assert!(request.ends_with("\r\n\r\n"));
        let ws = native(Transport::Ws);
        let request = text(ws.reader_request(0, &[3], &From::Live));
        assert!(request.contains("\r\nSec-WebSocket-Protocol: tidewire.v1.json\r\n"));
        let messages = text(ws.reader_messages(0, &[3], &position));
        assert!(
            messages.ends_with(
                r#"{"op":"subscribe","id":1,"from":"e:7","coalesce_ms":40,"topics":[{"topic":"/bench/run/3"}]}"#
            ),
            "{messages}"
        );
    }

    #[test]
    fn a_raw_peer_is_asked_by_its_templates() {
        let templates = Templates {
            sub_path: "/sub/{topic}?n={reader}".into(),
            pub_path: "/pub/{topic}".into(),
            pub_body: "<{text}>".into(),
            pub_headers: vec!["X-Key: {topic}".into()],
            sub_send: vec!["{\"join\":\"{topic}\"}".into()],
            ..Templates::default()
        };
        let raw = peer(Transport::Ws, Dialect::Raw(templates));
        let request = text(raw.reader_request(9, &[3], &From::Live));
        assert!(request.starts_with("GET /live/sub/run-3?n=9 HTTP/1.1\r\n"));
        assert!(!request.contains("Authorization") && !request.contains("Protocol"));
        assert!(text(raw.reader_messages(9, &[3], &From::Live)).ends_with("{\"join\":\"run-3\"}"));
        let mut out = Vec::new();
        let content = Content::new(Shape::Plain, 40, 1, 5, 0);
        raw.publish_request(3, &content, &mut out);
        let request = text(out);
        assert!(request.starts_with("POST /live/pub/run-3 HTTP/1.1\r\n"));
        assert!(request.contains("\r\nX-Key: run-3\r\n"));
        assert!(request.contains("\r\nContent-Length: 42\r\n"));
        assert!(request.ends_with("\r\n\r\n<@b0000000000005t000003n0000000000@xxxxxx>"));
    }
}
