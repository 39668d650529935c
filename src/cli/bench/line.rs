//! A connection to the other side, opened by hand, so that thousands of them cost next to nothing: one buffer for all
//! that is read, and no more than what is not whole kept for each.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::decode::Decoder;
use super::failure::Failure;
use super::http::{self, Head, Http};
use super::marker::Scanner;
use super::peer::{ACCEPT, Peer};
use super::run::Run;

/// How long opening may take: a broker at its limit accepts late.
pub const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// Connections from one loopback address: it has about 28,000 ports for them.
const PER_SOURCE: usize = 25_000;
/// Bytes of one read.
const SCRATCH: usize = 64 << 10;
/// What is shown of an answer that was not expected.
const SHOWN: usize = 200;

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

pub struct Line {
    pub stream: TcpStream,
    pub decoder: Decoder,
    pub scanner: Scanner,
}

impl Line {
    /// Reads once, and hands on what came before anything else can run. 0: the end.
    pub fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Decoder, &mut Scanner, &[u8]),
    ) -> Poll<io::Result<usize>> {
        READ.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            take(&mut self.decoder, &mut self.scanner, bytes);
            Poll::Ready(Ok(bytes.len()))
        })
    }
}

/// A connection to the peer.
pub async fn connect(run: &Run) -> Result<TcpStream, Failure> {
    connect_with(run, None).await
}

/// With a receive buffer of so many bytes, which only a socket that is not connected yet can be given for sure.
pub async fn connect_with(run: &Run, receive: Option<u32>) -> Result<TcpStream, Failure> {
    let address = run.peer.address;
    let unreachable = |error: String| Failure::Unreachable {
        address: run.peer.authority.clone(),
        error,
    };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    if let Some(bytes) = receive {
        socket.set_recv_buffer_size(bytes)?;
    }
    let source = run.next_source() / PER_SOURCE;
    if source > 0 && matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
        // 127.0.0.2 and on, which are this computer, too
        let last = 2 + (source - 1) % 250;
        socket.bind((Ipv4Addr::new(127, 0, 0, last as u8), 0).into())?;
    }
    let connecting = timeout(OPEN_WITHIN, socket.connect(address));
    let stream = connecting
        .await
        .map_err(|_| unreachable(format!("no answer within {} s", OPEN_WITHIN.as_secs())))?
        .map_err(|error| unreachable(error.to_string()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection for requests.
pub async fn http(run: &Run) -> Result<Http, Failure> {
    Ok(Http::new(connect(run).await?))
}

/// How the answer to an opening request has to look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    WebSocket,
    EventStream,
}

/// Sends the request, reads the head of its answer. What came behind the head is given back.
pub async fn open(
    peer: &Peer,
    mut stream: TcpStream,
    request: &[u8],
    wanted: Wanted,
    what: &'static str,
) -> Result<(TcpStream, Head, Vec<u8>), Failure> {
    let cut = |error: io::Error| Failure::cut(what, &error);
    stream.write_all(request).await.map_err(cut)?;
    let mut bytes = Vec::with_capacity(1024);
    let head = loop {
        if stream.read_buf(&mut bytes).await.map_err(cut)? == 0 {
            return Err(cut(io::ErrorKind::UnexpectedEof.into()));
        }
        let head = http::head(&bytes).map_err(|said| not_the_peer(peer, wanted, said))?;
        if let Some(head) = head {
            break head;
        }
    };
    let rest = bytes.split_off(head.size);
    let is_wanted = match wanted {
        Wanted::WebSocket => head.status == 101 && head.accept.as_deref() == Some(ACCEPT),
        Wanted::EventStream => head.status == 200 && head.media.starts_with("text/event-stream"),
    };
    if is_wanted {
        return Ok((stream, head, rest));
    }
    if matches!(head.status, 101 | 200..400 | 404) {
        let said = format!("status {} ({})", head.status, head.media);
        return Err(not_the_peer(peer, wanted, said));
    }
    // whoever refuses may well not say why
    let body = timeout(Duration::from_secs(1), Http::new(stream).body(&head, rest)).await;
    let body = body.ok().and_then(Result::ok).unwrap_or_default();
    Err(refused(peer, what, head.status, &body))
}

fn not_the_peer(peer: &Peer, wanted: Wanted, said: String) -> Failure {
    Failure::NotThePeer {
        address: peer.authority.clone(),
        wanted: match wanted {
            _ if peer.is_native() => "a Tidewire broker",
            Wanted::WebSocket => "a WebSocket server",
            Wanted::EventStream => "a server of event streams",
        },
        said,
    }
}

/// An answer over HTTP that is a refusal.
pub fn refused(peer: &Peer, what: &'static str, status: u16, body: &[u8]) -> Failure {
    let problem = match serde_json::from_slice::<crate::client::Problem>(body) {
        Ok(problem) if !problem.code.is_empty() => problem.to_string(),
        _ => {
            let text = String::from_utf8_lossy(body);
            let text: String = text.trim().chars().take(SHOWN).collect();
            format!("status {status} {text}").trim_end().to_owned()
        }
    };
    Failure::Refused {
        who: peer.who(),
        what,
        status,
        problem,
    }
}
