//! Socket options, and the two transports: a raw socket, and the body of a response.

use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use actix_rt::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;

use crate::broker::link::{Transport, Written};
use crate::broker::outbox::Outbox;

/// Unsent bytes that the kernel takes over for one socket (without it: 4 MB for each reader that stalls).
const NOTSENT_LOWAT: u32 = 16 << 10;
/// Pieces given to one `writev`.
const MAX_SLICES: usize = 64;
/// Silence after which the kernel asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The descriptor of a connection, for those who only have its request.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor(RawFd);

/// Sets what every connection needs; a system that lacks an option goes without.
pub fn prepare(stream: &TcpStream, stall_timeout: Duration) -> Descriptor {
    let socket = SockRef::from(stream);
    let results = [
        socket.set_tcp_nodelay(true),
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE)),
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        set_notsent_lowat(&socket),
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(stall_timeout * 2)),
    ];
    if let Some(error) = results.into_iter().find_map(Result::err) {
        tracing::debug!(%error, "a socket option was refused");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stall_timeout;
    Descriptor(stream.as_raw_fd())
}

#[cfg(target_os = "linux")]
fn set_notsent_lowat(socket: &SockRef<'_>) -> std::io::Result<()> {
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)
}

#[cfg(target_os = "macos")]
fn set_notsent_lowat(_: &SockRef<'_>) -> std::io::Result<()> {
    let _ = NOTSENT_LOWAT;
    Ok(())
}

/// A socket of our own: written at once, from whoever has something for it.
pub struct RawTransport {
    pub stream: Rc<TcpStream>,
}

impl RawTransport {
    /// Asks the socket itself: what tokio knows of it stands elsewhere in memory, cold by the time the next event comes.
    fn send(&self, piece: &[u8]) -> std::io::Result<usize> {
        let full = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        let sent = SockRef::from(&*self.stream).send(piece);
        if sent.as_ref().is_err_and(full) {
            // tokio learns that it is to wait
            let wait = || Err(std::io::ErrorKind::WouldBlock.into());
            return self.stream.try_io(Interest::WRITABLE, wait);
        }
        sent
    }
}

impl Transport for RawTransport {
    fn write(&self, outbox: &mut Outbox) -> Written {
        let mut total = 0;
        while !outbox.is_empty() {
            let written = match outbox.only() {
                Some(piece) => self.send(piece),
                None => {
                    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                    let filled = outbox.slices(&mut slices);
                    self.stream.try_write_vectored(&slices[..filled])
                }
            };
            match written {
                Ok(0) => return Written::Failed,
                Ok(n) => {
                    outbox.advance(n);
                    total += n;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Written::Stuck(total);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Written::Failed,
            }
        }
        Written::Some(total)
    }

    fn abort(&self) {
        // fails where the peer was faster
        drop(SockRef::from(&*self.stream).shutdown(std::net::Shutdown::Both));
    }
}

/// A response body: the server asks for bytes when the socket takes them, so writing is waking it.
pub struct BodyTransport {
    pub state: Rc<BodyState>,
}

pub struct BodyState {
    descriptor: Descriptor,
    alive: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl BodyState {
    pub fn new(descriptor: Descriptor) -> Rc<Self> {
        Rc::new(Self {
            descriptor,
            alive: Cell::new(true),
            waker: RefCell::new(None),
        })
    }

    pub fn set_waker(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// The body is dropped: the descriptor may belong to somebody else from now on.
    pub fn dropped(&self) {
        self.alive.set(false);
    }
}

impl Transport for BodyTransport {
    fn write(&self, _: &mut Outbox) -> Written {
        if let Some(waker) = self.state.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
        Written::Stuck(0)
    }

    #[allow(
        unsafe_code,
        reason = "actix keeps the socket to itself; a stalled one can only be cut off by number"
    )]
    fn abort(&self) {
        if !self.state.alive.get() {
            return;
        }
        // SAFETY: the server drops a response's body before its socket and on this same thread, and `alive`
        // is cleared when the body is dropped, so the descriptor is open and still this connection's.
        let socket = unsafe { BorrowedFd::borrow_raw(self.state.descriptor.0) };
        // fails where the peer was faster
        drop(SockRef::from(&socket).shutdown(std::net::Shutdown::Both));
        if let Some(waker) = self.state.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}
