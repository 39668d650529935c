//! HTTP/1.1 as far as a bench needs it: heads of answers, and one request after the other on a connection that is
//! kept.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::decode::chunks::Chunks;

/// An answer is no longer than this; of a broker's only `/metrics` comes near.
const MAX_ANSWER: usize = 8 << 20;
const MAX_HEAD: usize = 32 << 10;
const MAX_HEADERS: usize = 64;

/// The beginning of an answer.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub len: Option<usize>,
    pub is_chunked: bool,
    pub closes: bool,
    pub accept: Option<String>,
    pub media: String,
    /// Where the body begins.
    pub size: usize,
}

/// None: more bytes are needed.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let size = match response.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) => return Err("a head without an end".into()),
        Err(error) => return Err(format!("no HTTP ({error})")),
    };
    let value = |name: &str| {
        let header = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok().map(str::trim)
    };
    let says =
        |name, word: &str| value(name).is_some_and(|v| v.to_ascii_lowercase().contains(word));
    Ok(Some(Head {
        status: response.code.unwrap_or(0),
        len: value("content-length").and_then(|len| len.parse().ok()),
        is_chunked: says("transfer-encoding", "chunked"),
        closes: says("connection", "close") || response.version == Some(0),
        accept: value("sec-websocket-accept").map(str::to_owned),
        media: value("content-type")
            .unwrap_or_default()
            .to_ascii_lowercase(),
        size,
    }))
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A connection for one request after the other.
pub struct Http {
    stream: TcpStream,
    /// The other side will close it.
    is_used_up: bool,
}

impl Http {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            is_used_up: false,
        }
    }

    /// Whether it can still be asked: nothing was said without a question, and it was not closed.
    pub fn is_open(&self) -> bool {
        let mut byte = [0u8; 1];
        let quiet = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        !self.is_used_up && self.stream.try_read(&mut byte).is_err_and(quiet)
    }

    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        let mut bytes = Vec::with_capacity(1024);
        let head = loop {
            self.more(&mut bytes).await?;
            if let Some(head) = head(&bytes).map_err(io::Error::other)? {
                break head;
            }
        };
        self.is_used_up = head.closes;
        let rest = bytes.split_off(head.size);
        let body = self.body(&head, rest).await?;
        let status = head.status;
        Ok(Answer { status, body })
    }

    /// The whole body, of which `bytes` are there.
    pub async fn body(&mut self, head: &Head, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        if head.is_chunked {
            let (mut chunks, mut body) = (Chunks::default(), Vec::new());
            loop {
                chunks
                    .feed(&bytes, &mut |data| body.extend_from_slice(data))
                    .map_err(|_| io::Error::other("broken chunks"))?;
                if chunks.is_done() {
                    return Ok(body);
                }
                if body.len() > MAX_ANSWER {
                    return Err(io::Error::other("an answer without an end"));
                }
                bytes.clear();
                self.more(&mut bytes).await?;
            }
        }
        let len = head.len.unwrap_or(0);
        if len > MAX_ANSWER {
            return Err(io::Error::other("an answer too long to be one"));
        }
        while bytes.len() < len {
            self.more(&mut bytes).await?;
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    async fn more(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        match self.stream.read_buf(bytes).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_when_they_are_whole() {
        let bytes = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: abc=\r\n\r\nrest";
        for end in 0..bytes.len() - 4 {
            assert!(head(&bytes[..end]).expect("HTTP").is_none(), "{end}");
        }
        let whole = head(bytes).expect("HTTP").expect("whole");
        assert_eq!((whole.status, whole.accept.as_deref()), (101, Some("abc=")));
        assert_eq!(&bytes[whole.size..], b"rest");
        let kept = head(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        let kept = kept.expect("HTTP").expect("whole");
        assert_eq!(
            (kept.len, kept.closes, kept.is_chunked),
            (Some(5), false, false)
        );
    }

    #[test]
    fn what_is_no_http_is_told() {
        assert!(head(b"220 mail.example ESMTP\r\n").is_err());
    }
}
