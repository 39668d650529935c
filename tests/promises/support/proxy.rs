//! A TCP relay between a client under test and the broker, whose lines can be cut at will.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;

#[derive(Clone)]
pub struct Proxy {
    pub addr: SocketAddr,
    lines: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    pub fn before(broker: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(broker) else {
                    continue;
                };
                let mut kept = kept.lock().expect("no poisoned lines");
                kept.push(client.try_clone().expect("a clone"));
                kept.push(server.try_clone().expect("a clone"));
                pump(&client, &server);
                pump(&server, &client);
            }
        });
        Proxy { addr, lines }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Cuts every line that is up; returns how many there were.
    pub fn cut_all(&self) -> usize {
        let lines = std::mem::take(&mut *self.lines.lock().expect("no poisoned lines"));
        for line in &lines {
            let _ = SockRef::from(line).set_linger(Some(Duration::ZERO));
            let _ = line.shutdown(std::net::Shutdown::Both);
        }
        lines.len() / 2
    }
}

fn pump(from: &TcpStream, to: &TcpStream) {
    let mut from = from.try_clone().expect("a clone");
    let mut to = to.try_clone().expect("a clone");
    std::thread::spawn(move || {
        let mut chunk = [0u8; 16 * 1024];
        while let Ok(count) = from.read(&mut chunk) {
            if count == 0 || to.write_all(&chunk[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}
