//! `floor`: what a fan-out server cannot do without. A WebSocket is accepted and never read again; the body of a POST
//! is framed once and written with one `write` to each of them. No topics, no log, no queue: who has no room misses it.
//!
//! With `by_path` a POST to `/pub/X` goes to those who opened `/sub/X` alone: the floor of many topics.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use actix_http::ws::hash_key;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

const DONE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const MAX_HEADERS: usize = 32;
/// Neither a head nor a body is larger; beyond it the connection is closed.
const MAX_REQUEST: usize = 1 << 20;

type Readers = Rc<RefCell<HashMap<String, Vec<TcpStream>>>>;

pub fn run(listener: std::net::TcpListener, by_path: bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::from_std(listener)?;
        let readers = Readers::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let readers = readers.clone();
            spawn_local(async move {
                // whoever sends what is no request is cut
                let _ = serve(stream, &readers, by_path).await;
            });
        }
    })
}

/// A connection until it ends or becomes a reader.
async fn serve(mut stream: TcpStream, readers: &Readers, by_path: bool) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(4096);
    while bytes.len() < MAX_REQUEST && stream.read_buf(&mut bytes).await? > 0 {
        while let Some(request) = Request::parse(&bytes, by_path)? {
            if let Some(key) = request.upgrade {
                stream.write_all(&accepted(&key)).await?;
                readers
                    .borrow_mut()
                    .entry(request.name)
                    .or_default()
                    .push(stream);
                return Ok(());
            }
            let Some(body) = bytes.get(request.head..request.head + request.body) else {
                break;
            };
            if let Some(readers) = readers.borrow_mut().get_mut(&request.name) {
                deliver(body, readers);
            }
            stream.write_all(DONE).await?;
            bytes.drain(..request.head + request.body);
        }
    }
    Ok(())
}

/// One `write` each. A socket that is full misses the frame; one that took half of it, or is gone, is dropped.
fn deliver(body: &[u8], readers: &mut Vec<TcpStream>) {
    let frame = frame(body);
    readers.retain(|stream| match stream.try_write(&frame) {
        Ok(written) => written == frame.len(),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    });
}

/// A text frame from a server (RFC 6455 §5.2).
fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match body.len() {
        len @ 0..=125 => frame.push(len as u8),
        len @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(body);
    frame
}

fn accepted(key: &[u8]) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    answer
        .extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    answer.extend_from_slice(&hash_key(key));
    answer.extend_from_slice(b"\r\n\r\n");
    answer
}

struct Request {
    /// Whose the body is: with `by_path` the path behind its first part, else nothing, which is all.
    name: String,
    /// The key of a WebSocket's request.
    upgrade: Option<Vec<u8>>,
    /// Bytes of the head, and of the body behind it.
    head: usize,
    body: usize,
}

impl Request {
    /// None: more bytes are needed for a head.
    fn parse(bytes: &[u8], by_path: bool) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(head) = request.parse(bytes).map_err(io::Error::other)?
        else {
            return Ok(None);
        };
        let value = |name: &str| {
            let mut headers = request.headers.iter();
            headers
                .find(|header| header.name.eq_ignore_ascii_case(name))
                .map(|header| header.value)
        };
        let length = value("content-length")
            .and_then(|length| std::str::from_utf8(length).ok()?.trim().parse().ok());
        let path = request.path.unwrap_or_default().trim_start_matches('/');
        let name = path.split_once('/').map_or("", |(_, name)| name);
        Ok(Some(Self {
            name: if by_path {
                name.to_owned()
            } else {
                String::new()
            },
            upgrade: value("sec-websocket-key").map(<[u8]>::to_vec),
            head,
            body: length.unwrap_or(0),
        }))
    }
}
