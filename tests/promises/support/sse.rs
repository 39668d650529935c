//! A raw SSE client: chunked decoding and the block format of the HTML standard, read strictly.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{Http, Response, find, read_head};
use super::wait::PATIENCE;
use super::wire::{Fill, Wire};

/// One block: what stands between two blank lines.
#[derive(Debug, Clone, Default)]
pub struct Block {
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: Option<String>,
    pub retry: Option<u64>,
    pub comments: Vec<String>,
    /// The bytes as they came, without the blank line.
    pub raw: String,
}

pub struct Sse {
    pub wire: Wire,
    pub head: Response,
    /// The body, decoded, as far as no block has been taken from it.
    body: Vec<u8>,
    /// What is still to come of a body that said its length.
    left: Option<usize>,
    ended: bool,
    /// What an `EventSource` would send as `Last-Event-ID`.
    pub last_id: Option<String>,
    pub retry: Option<u64>,
    /// Bytes of the stream so far, without the chunk framing.
    pub body_bytes: usize,
}

impl Sse {
    /// GET; the answer must be an event stream.
    pub fn open(addr: SocketAddr, target: &str) -> Sse {
        Sse::open_with(addr, target, &[])
    }

    pub fn open_with(addr: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Sse {
        Sse::begin(Wire::connect(addr), addr, ("GET", target, ""), headers)
    }

    pub fn post(addr: SocketAddr, body: &Value, headers: &[(&str, &str)]) -> Sse {
        let body = body.to_string();
        let request = ("POST", "/v1/sse", body.as_str());
        Sse::begin(Wire::connect(addr), addr, request, headers)
    }

    pub fn begin(
        wire: Wire,
        addr: SocketAddr,
        (method, target, body): (&str, &str, &str),
        headers: &[(&str, &str)],
    ) -> Sse {
        let host = addr.to_string();
        let mut http = Http { wire, host };
        let length = body.len().to_string();
        let mut all = headers.to_vec();
        all.push(("accept", "text/event-stream"));
        if method == "POST" {
            all.push(("content-type", "application/json"));
            all.push(("content-length", &length));
        }
        let head = http.head(method, target, &all) + body;
        http.wire.send(head.as_bytes());
        let head = read_head(&mut http.wire).expect("an answer");
        let mut sse = Sse {
            wire: http.wire,
            head,
            body: Vec::new(),
            left: None,
            ended: false,
            last_id: None,
            retry: None,
            body_bytes: 0,
        };
        sse.check_head();
        sse
    }

    fn check_head(&mut self) {
        if self.head.status != 200 {
            let deadline = Instant::now() + Duration::from_secs(1);
            while self.wire.fill(deadline) == Fill::More {}
            let rest = String::from_utf8_lossy(self.wire.waiting()).into_owned();
            panic!("no event stream: {:?} {rest}", self.head);
        }
        let kind = self.head.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        // A stream goes on for ever; only a polite refusal may say how long it is.
        self.left = self
            .head
            .header("content-length")
            .map(|length| length.parse().expect("bytes"));
        assert!(
            self.left.is_some() || self.head.is_chunked(),
            "{:?}",
            self.head
        );
    }

    /// The next block; None at the end of the stream.
    pub fn block(&mut self) -> Option<Block> {
        match self.block_until(Instant::now() + PATIENCE) {
            Ok(block) => block,
            Err(()) => panic!("no block within {PATIENCE:?}"),
        }
    }

    /// Err: the deadline passed first.
    pub fn block_until(&mut self, deadline: Instant) -> Result<Option<Block>, ()> {
        loop {
            if let Some(end) = find(&self.body, b"\n\n") {
                let raw: Vec<u8> = self.body.drain(..end + 2).collect();
                self.body_bytes += raw.len();
                let block = parse_block(&raw[..end]);
                if let Some(id) = &block.id {
                    self.last_id = Some(id.clone());
                }
                self.retry = block.retry.or(self.retry);
                return Ok(Some(block));
            }
            if self.ended {
                return Ok(None);
            }
            if self.decode_chunk() {
                continue;
            }
            match self.wire.fill(deadline) {
                Fill::More => {}
                Fill::End => self.ended = true,
                Fill::Late => return Err(()),
            }
        }
    }

    /// The next block that is an event (has data); None at the end of the stream.
    pub fn try_event(&mut self) -> Option<Block> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Ok(next) = self.block_until(deadline) else {
                panic!("no event within {PATIENCE:?}");
            };
            let block = next?;
            if block.data.is_some() {
                return Some(block);
            }
        }
    }

    pub fn event(&mut self) -> Block {
        self.try_event().expect("an event before the stream's end")
    }

    /// All events until the stream ends.
    pub fn rest(&mut self) -> Vec<Block> {
        std::iter::from_fn(|| self.try_event()).collect()
    }

    /// Moves one whole chunk from the wire to the body.
    fn decode_chunk(&mut self) -> bool {
        if let Some(left) = self.left {
            let count = left.min(self.wire.waiting().len());
            self.body.extend(self.wire.take(count));
            self.left = Some(left - count);
            self.ended = left == count;
            return count > 0 || self.ended;
        }
        let waiting = self.wire.waiting();
        let Some(line) = find(waiting, b"\r\n") else {
            return false;
        };
        let size = std::str::from_utf8(&waiting[..line]).expect("a chunk size");
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        if waiting.len() < line + 2 + size + 2 {
            return false;
        }
        self.wire.take(line + 2);
        self.body.extend(self.wire.take(size));
        assert_eq!(self.wire.take(2), b"\r\n");
        if size == 0 {
            self.ended = true;
        }
        true
    }

    pub fn cut(self) {
        self.wire.cut();
    }
}

impl Block {
    pub fn json(&self) -> Value {
        super::ws::parse(self.data.as_deref().expect("a block with data"))
    }

    /// The event's type: from its data, which has it whatever `named` says.
    pub fn kind(&self) -> String {
        let data = self.json();
        data["type"]
            .as_str()
            .expect("a type in the data")
            .to_owned()
    }
}

fn parse_block(raw: &[u8]) -> Block {
    let raw = String::from_utf8(raw.to_vec()).expect("an event stream is UTF-8");
    assert!(!raw.contains('\r'), "a carriage return in {raw:?}");
    let mut block = Block::default();
    for line in raw.split('\n').filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => block.comments.push(value),
            "id" => assert!(block.id.replace(value).is_none(), "two ids: {raw:?}"),
            "event" => assert!(block.event.replace(value).is_none(), "two names: {raw:?}"),
            "data" => assert!(
                block.data.replace(value).is_none(),
                "two data lines: {raw:?}"
            ),
            "retry" => block.retry = Some(value.parse().expect("milliseconds")),
            _ => panic!("an unknown field in {raw:?}"),
        }
    }
    block.raw = raw;
    block
}
