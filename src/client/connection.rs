//! One WebSocket to a broker: frames out, frames in, and the notice that it is dead.
//!
//! Invariants: `next` may be dropped at any time without losing a frame; writing goes on while reading
//! waits and the other way round, so neither end can hold the other up; no frame before `welcome`.
//!
//! Bounds: a frame from the broker has at most `MAX_FRAME` bytes; the caller bounds what it sends
//! (`publisher` by its window).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_http::ws::Item;
use awc::error::{SendRequestError, WsClientError, WsProtocolError};
use awc::ws::{CloseCode, CloseReason, Frame, Message};
use bytes::BytesMut;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::{Sleep, sleep, timeout};

use super::ending::Ending;
use super::endpoint::Endpoint;
use super::heartbeat::{Beat, Heartbeat};
use super::wire::{PING, SUBPROTOCOL, ServerFrame, Welcome};

/// The largest frame that is read: the snapshots of a topic (4 MiB of text) arrive as one.
pub const MAX_FRAME: usize = 64 << 20;
/// From the first packet to the `welcome`.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// For saying good-bye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

trait Socket:
    Stream<Item = Result<Frame, WsProtocolError>> + Sink<Message, Error = WsProtocolError> + Unpin
{
}

impl<T> Socket for T where
    T: Stream<Item = Result<Frame, WsProtocolError>>
        + Sink<Message, Error = WsProtocolError>
        + Unpin
{
}

/// See the module.
pub struct Connection {
    socket: Box<dyn Socket>,
    outgoing: VecDeque<Message>,
    /// A frame that arrives in fragments.
    fragments: Option<BytesMut>,
    heartbeat: Heartbeat,
    timer: Pin<Box<Sleep>>,
    welcome: Welcome,
}

impl Connection {
    /// Connects, speaks `tidewire.v1.json` and waits for the `welcome`.
    pub async fn open(endpoint: &Endpoint) -> Result<Self, Ending> {
        match timeout(OPEN_TIMEOUT, Self::handshake(endpoint)).await {
            Ok(opened) => opened,
            Err(_) => Err(Ending::Unreachable(format!(
                "{endpoint}: no answer within {} s",
                OPEN_TIMEOUT.as_secs()
            ))),
        }
    }

    async fn handshake(endpoint: &Endpoint) -> Result<Self, Ending> {
        let mut request = endpoint
            .client(OPEN_TIMEOUT)
            .ws(endpoint.url("/v1/ws"))
            .protocols([SUBPROTOCOL])
            .max_frame_size(MAX_FRAME);
        if let Some(token) = endpoint.token() {
            request = request.bearer_auth(token.reveal());
        }
        let (response, socket) = request
            .connect()
            .await
            .map_err(|error| why_not_open(endpoint, error))?;
        let spoken = response
            .headers()
            .get("sec-websocket-protocol")
            .map(|name| name.as_bytes());
        if spoken != Some(SUBPROTOCOL.as_bytes()) {
            return Err(Ending::NotTidewire(format!(
                "it does not offer the subprotocol {SUBPROTOCOL}"
            )));
        }
        Self::welcomed(Box::new(socket)).await
    }

    async fn welcomed(socket: Box<dyn Socket>) -> Result<Self, Ending> {
        let now = Instant::now();
        let mut connection = Self {
            socket,
            outgoing: VecDeque::new(),
            fragments: None,
            heartbeat: Heartbeat::new(OPEN_TIMEOUT, now),
            timer: Box::pin(sleep(OPEN_TIMEOUT)),
            welcome: Welcome {
                session: None,
                limits: Default::default(),
                ping_ms: 0,
            },
        };
        match connection.next().await? {
            ServerFrame::Welcome(welcome) => {
                connection.heartbeat = Heartbeat::new(welcome.ping(), Instant::now());
                connection.welcome = welcome;
                Ok(connection)
            }
            ServerFrame::Error(problem) => Err(Ending::Problem(problem)),
            _ => Err(Ending::NotTidewire("its first frame is no welcome".into())),
        }
    }

    /// What the broker said of itself when the line was opened.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Queues a frame; `next` writes it.
    pub fn send(&mut self, frame: String) {
        self.outgoing.push_back(Message::Text(frame.into()));
    }

    /// Writes what is queued and waits for the next frame.
    pub async fn next(&mut self) -> Result<ServerFrame, Ending> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Writes what is queued and says good-bye.
    pub async fn close(mut self) {
        let reason = CloseReason {
            code: CloseCode::Normal,
            description: None,
        };
        self.outgoing.push_back(Message::Close(Some(reason)));
        let goodbye = async {
            while let Some(message) = self.outgoing.pop_front() {
                self.socket.feed(message).await?;
            }
            self.socket.flush().await?;
            while let Some(Ok(frame)) = self.socket.next().await {
                if matches!(frame, Frame::Close(_)) {
                    break;
                }
            }
            Ok::<(), WsProtocolError>(())
        };
        // a peer that does not answer has our close frame all the same
        let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<ServerFrame, Ending>> {
        loop {
            self.poll_write(cx)?;
            match self.socket.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.heartbeat.heard(Instant::now());
                    match self.take(frame)? {
                        Some(frame) => return Poll::Ready(Ok(frame)),
                        None => continue,
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(Ending::Cut(error.to_string())));
                }
                Poll::Ready(None) => {
                    return Poll::Ready(Err(Ending::Cut("the other side is gone".into())));
                }
                Poll::Pending => {}
            }
            match self.heartbeat.due(Instant::now()) {
                Beat::Dead => return Poll::Ready(Err(Ending::Silent(self.welcome.ping() * 5 / 2))),
                Beat::Ping => self.send(PING.into()),
                Beat::Nothing => {
                    self.timer.as_mut().reset(self.heartbeat.next().into());
                    ready!(self.timer.as_mut().poll(cx));
                }
            }
        }
    }

    /// Hands over as much as the socket takes.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        let cut = |error: WsProtocolError| Ending::Cut(error.to_string());
        while !self.outgoing.is_empty() && self.socket.poll_ready_unpin(cx).map_err(cut)?.is_ready()
        {
            if let Some(message) = self.outgoing.pop_front() {
                self.socket.start_send_unpin(message).map_err(cut)?;
            }
        }
        // pending is fine: the waker is in place
        let _ = self.socket.poll_flush_unpin(cx).map_err(cut)?;
        Ok(())
    }

    fn take(&mut self, frame: Frame) -> Result<Option<ServerFrame>, Ending> {
        match frame {
            Frame::Text(text) => parse(&text).map(Some),
            Frame::Ping(payload) => {
                self.outgoing.push_back(Message::Pong(payload));
                Ok(None)
            }
            Frame::Pong(_) => Ok(None),
            Frame::Close(reason) => Err(closed(reason)),
            Frame::Binary(_) => Err(Ending::Disagreement("a binary frame".into())),
            Frame::Continuation(item) => self.take_fragment(item),
        }
    }

    fn take_fragment(&mut self, item: Item) -> Result<Option<ServerFrame>, Ending> {
        let (bytes, last) = match item {
            Item::FirstText(bytes) => {
                self.fragments = Some(BytesMut::new());
                (bytes, false)
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
            Item::FirstBinary(_) => return Err(Ending::Disagreement("a binary frame".into())),
        };
        let Some(fragments) = &mut self.fragments else {
            return Err(Ending::Disagreement("a fragment of nothing".into()));
        };
        if fragments.len() + bytes.len() > MAX_FRAME {
            return Err(Ending::Disagreement(format!(
                "a frame of more than {MAX_FRAME} bytes"
            )));
        }
        fragments.extend_from_slice(&bytes);
        if !last {
            return Ok(None);
        }
        let whole = self.fragments.take().unwrap_or_default();
        parse(&whole).map(Some)
    }
}

fn parse(bytes: &[u8]) -> Result<ServerFrame, Ending> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Ending::Disagreement("a frame that is not UTF-8".into()))?;
    ServerFrame::parse(text).map_err(|error| Ending::Disagreement(error.to_string()))
}

fn closed(reason: Option<CloseReason>) -> Ending {
    match reason {
        // 1005: no code was given (RFC 6455 §7.1.5)
        None => Ending::Closed {
            code: 1005,
            reason: String::new(),
        },
        Some(reason) => Ending::Closed {
            code: reason.code.into(),
            reason: reason.description.unwrap_or_default(),
        },
    }
}

fn why_not_open(endpoint: &Endpoint, error: WsClientError) -> Ending {
    match error {
        WsClientError::InvalidResponseStatus(status) => Ending::Refused(status),
        WsClientError::SendRequest(SendRequestError::Connect(error)) => {
            Ending::Unreachable(format!("{endpoint}: {error}"))
        }
        WsClientError::SendRequest(error) => Ending::Unreachable(format!("{endpoint}: {error}")),
        other => Ending::NotTidewire(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    type Incoming = Result<Frame, WsProtocolError>;

    /// A socket whose other end is in the test's hands.
    struct Fake {
        incoming: UnboundedReceiver<Incoming>,
        outgoing: UnboundedSender<Message>,
    }

    impl Stream for Fake {
        type Item = Incoming;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
            self.incoming.poll_recv(cx)
        }
    }

    impl Sink<Message> for Fake {
        type Error = WsProtocolError;

        fn poll_ready(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<(), WsProtocolError>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), WsProtocolError> {
            self.outgoing
                .send(message)
                .map_err(|_| WsProtocolError::BadOpCode)
        }

        fn poll_flush(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<(), WsProtocolError>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<(), WsProtocolError>> {
            Poll::Ready(Ok(()))
        }
    }

    fn socket() -> (
        Box<dyn Socket>,
        UnboundedSender<Incoming>,
        UnboundedReceiver<Message>,
    ) {
        let (to_client, incoming) = unbounded_channel();
        let (outgoing, from_client) = unbounded_channel();
        (
            Box::new(Fake { incoming, outgoing }),
            to_client,
            from_client,
        )
    }

    fn text(text: &str) -> Incoming {
        Ok(Frame::Text(text.to_owned().into()))
    }

    const WELCOME: &str = r#"{"op":"welcome","session":"s","environment":"e","limits":{"max_batch_events":7},"ping_ms":20}"#;

    async fn opened() -> (
        Connection,
        UnboundedSender<Incoming>,
        UnboundedReceiver<Message>,
    ) {
        let (socket, broker, sent) = socket();
        broker.send(text(WELCOME)).expect("open");
        (
            Connection::welcomed(socket).await.expect("welcome"),
            broker,
            sent,
        )
    }

    #[tokio::test]
    async fn the_welcome_brings_the_limits() {
        let (connection, ..) = opened().await;
        assert_eq!(connection.welcome().limits.max_batch_events, 7);
        assert_eq!(
            connection.welcome().limits.max_frame_bytes,
            1 << 20,
            "what is not said has its default"
        );
    }

    #[tokio::test]
    async fn pings_are_answered_and_fragments_joined() {
        let (mut connection, broker, mut sent) = opened().await;
        broker.send(Ok(Frame::Ping("hi".into()))).expect("open");
        broker
            .send(Ok(Frame::Continuation(Item::FirstText(
                "{\"op\":\"drai".into(),
            ))))
            .expect("open");
        broker
            .send(Ok(Frame::Continuation(Item::Last(
                "ning\",\"reconnect_after_ms\":5}".into(),
            ))))
            .expect("open");
        let frame = connection.next().await.expect("a frame");
        assert!(
            matches!(frame, ServerFrame::Draining { reconnect_after: Some(after) } if after.as_millis() == 5)
        );
        assert_eq!(sent.recv().await, Some(Message::Pong("hi".into())));
    }

    #[tokio::test]
    async fn silence_is_pinged_and_then_ends_the_connection() {
        let (mut connection, _broker, mut sent) = opened().await;
        let ending = connection.next().await.expect_err("it is dead");
        assert!(matches!(ending, Ending::Silent(after) if after.as_millis() == 50));
        assert_eq!(sent.recv().await, Some(Message::Text(PING.into())));
    }

    #[tokio::test]
    async fn a_dropped_wait_loses_nothing() {
        let (mut connection, broker, mut sent) = opened().await;
        connection.send("first".into());
        assert!(
            timeout(Duration::from_millis(1), connection.next())
                .await
                .is_err()
        );
        assert_eq!(sent.recv().await, Some(Message::Text("first".into())));
        broker.send(text(r#"{"op":"pong"}"#)).expect("open");
        assert!(matches!(connection.next().await, Ok(ServerFrame::Other)));
    }

    #[tokio::test]
    async fn a_close_frame_says_why() {
        let (mut connection, broker, _sent) = opened().await;
        let reason = CloseReason {
            code: CloseCode::Other(4503),
            description: Some("draining".into()),
        };
        broker.send(Ok(Frame::Close(Some(reason)))).expect("open");
        let ending = connection.next().await.expect_err("closed");
        assert!(
            matches!(&ending, Ending::Closed { code: 4503, reason } if reason == "draining"),
            "{ending}"
        );
    }
}
