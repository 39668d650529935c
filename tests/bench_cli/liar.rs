//! A tiny server of event streams: what is posted to `/pub/T` comes to all readers of `/sub/T`. It can lie.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Clone, Copy, Debug)]
pub enum Lie {
    None,
    /// The sixth text of a topic goes to nobody.
    Drops,
    /// It comes twice.
    Repeats,
    /// It comes before the fifth.
    Swaps,
}

#[derive(Default)]
struct Topic {
    readers: Vec<TcpStream>,
    posted: usize,
    held_back: Vec<u8>,
}

impl Topic {
    fn tell(&mut self, text: &[u8]) {
        let block = [b"data: ", text, b"\n\n"].concat();
        for reader in &mut self.readers {
            let _ = reader.write_all(&block);
        }
    }

    fn post(&mut self, text: Vec<u8>, lie: Lie) {
        self.posted += 1;
        match (lie, self.posted) {
            (Lie::Drops, 6) => {}
            (Lie::Repeats, 6) => {
                self.tell(&text);
                self.tell(&text);
            }
            (Lie::Swaps, 5) => self.held_back = text,
            (Lie::Swaps, 6) => {
                self.tell(&text);
                let fifth = std::mem::take(&mut self.held_back);
                self.tell(&fifth);
            }
            _ => self.tell(&text),
        }
    }
}

type Topics = Arc<Mutex<HashMap<String, Topic>>>;

/// Serves until the test ends; its address.
pub fn serve(lie: Lie) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let topics = Topics::default();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, topics) = (stream.unwrap(), topics.clone());
            std::thread::spawn(move || requests(stream, &topics, lie));
        }
    });
    url
}

fn requests(stream: TcpStream, topics: &Topics, lie: Lie) {
    let mut incoming = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut path, mut len) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if incoming.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let lower = line.to_ascii_lowercase();
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            } else if let Some(value) = lower.strip_prefix("content-length:") {
                len = value.trim().parse().unwrap();
            } else if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; len];
        incoming.read_exact(&mut body).unwrap();
        let mut topics = topics.lock().unwrap();
        if let Some(topic) = path.strip_prefix("/sub/") {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            let readers = &mut topics.entry(topic.to_owned()).or_default().readers;
            readers.push(stream.try_clone().unwrap());
        } else if let Some(topic) = path.strip_prefix("/pub/") {
            let topic = topics.entry(topic.to_owned()).or_default();
            topic.post(body, lie);
            let _ = stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
        }
    }
}
