//! A buffered blocking socket with deadlines. Bytes leave the buffer only when the caller takes them,
//! so a read that ran into its deadline can be repeated without losing anything.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

/// What one attempt to read more bytes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    More,
    /// The peer closed or reset the connection.
    End,
    /// The deadline passed first.
    Late,
}

pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    taken: usize,
    /// All bytes that ever arrived.
    pub received: usize,
}

impl Wire {
    pub fn connect(addr: SocketAddr) -> Wire {
        let stream = TcpStream::connect(addr).expect("the broker accepts connections");
        Wire::over(stream)
    }

    /// With a small receive buffer: a reader that stops is felt by the broker soon. (With one below a few
    /// segments the kernel may send by its persist timer only, 2 KB every 200 ms, however fast the reader reads.)
    pub fn connect_narrow(addr: SocketAddr) -> Wire {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
        socket
            .set_recv_buffer_size(16 << 10)
            .expect("a small receive buffer");
        socket
            .connect(&addr.into())
            .expect("the broker accepts connections");
        Wire::over(socket.into())
    }

    fn over(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream
            .set_write_timeout(Some(super::PATIENCE))
            .expect("a write timeout");
        Wire {
            stream,
            buffer: Vec::new(),
            taken: 0,
            received: 0,
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the peer takes bytes");
    }

    /// For peers that may have closed already.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// How long a write may find no room before it fails.
    pub fn set_write_patience(&mut self, patience: Duration) {
        let set = self.stream.set_write_timeout(Some(patience));
        set.expect("a write timeout");
    }

    /// The bytes that have arrived and were not taken yet.
    pub fn waiting(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let bytes = self.waiting()[..count].to_vec();
        self.taken += count;
        if self.taken > 1 << 20 || self.taken == self.buffer.len() {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        bytes
    }

    /// Reads once, waiting no longer than until `deadline`.
    pub fn fill(&mut self, deadline: Instant) -> Fill {
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = left.max(Duration::from_millis(1));
        self.stream
            .set_read_timeout(Some(patience))
            .expect("a read timeout");
        let mut chunk = [0u8; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Fill::End,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                self.received += count;
                Fill::More
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Fill::Late,
                ErrorKind::Interrupted => Fill::More,
                _ => Fill::End,
            },
        }
    }

    /// Reads a slow reader's mouthful: at most `count` bytes, in one read.
    pub fn sip(&mut self, count: usize) -> Fill {
        self.stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a read timeout");
        let mut chunk = vec![0u8; count];
        match self.stream.read(&mut chunk) {
            Ok(0) => Fill::End,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                self.received += count;
                Fill::More
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Fill::Late
            }
            Err(_) => Fill::End,
        }
    }

    /// Ends the sending half; the answer can still be read.
    pub fn finish_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection with a reset, as a pulled cable or a killed process does.
    pub fn cut(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}
