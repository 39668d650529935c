//! A socket that nobody waits for: whoever drives it reads what is there and writes what fits.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

pub struct Line {
    stream: TcpStream,
    input: Vec<u8>,
    taken: usize,
    output: Vec<u8>,
    /// The peer closed or reset the connection; what came before it can still be taken.
    pub ended: bool,
}

impl Line {
    /// `receive_buffer`: bytes that the kernel takes for a reader that stalls; `None`: as many as it likes.
    pub fn connect(addr: SocketAddr, receive_buffer: Option<usize>) -> std::io::Result<Line> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect(&addr.into())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Line {
            stream: socket.into(),
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
            ended: false,
        })
    }

    /// Reads once, into `scratch`: how many bytes came.
    pub fn read(&mut self, scratch: &mut [u8]) -> usize {
        match self.stream.read(scratch) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                self.input.extend_from_slice(&scratch[..count]);
                return count;
            }
            Err(error) if is_later(&error) => {}
            Err(_) => self.ended = true,
        }
        0
    }

    /// What came and was not taken yet.
    pub fn waiting(&self) -> &[u8] {
        &self.input[self.taken..]
    }

    pub fn take(&mut self, count: usize) {
        self.taken += count;
    }

    /// Forgets what was taken.
    pub fn tidy(&mut self) {
        self.input.drain(..self.taken);
        self.taken = 0;
        if self.input.is_empty() && self.input.capacity() > 256 << 10 {
            self.input = Vec::new();
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        self.write();
    }

    pub fn unsent(&self) -> usize {
        self.output.len()
    }

    /// Writes what fits: how many bytes went.
    pub fn write(&mut self) -> usize {
        if self.output.is_empty() {
            return 0;
        }
        match self.stream.write(&self.output) {
            Ok(count) => {
                self.output.drain(..count);
                count
            }
            Err(error) if is_later(&error) => 0,
            Err(_) => {
                // reading tells how it ended
                self.output.clear();
                0
            }
        }
    }

    /// Ends the connection with a reset, as a pulled cable or a killed process does.
    pub fn cut(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

fn is_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
