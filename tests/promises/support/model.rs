//! A language model's server on a port of its own: the bytes that OpenAI-compatible servers write, at the
//! pace and with the faults that a test wants.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::wait::{PATIENCE, eventually};

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Request line and headers, in lower case.
    pub head: String,
    pub body: Value,
}

impl Asked {
    /// The text of the last message.
    pub fn prompt(&self) -> &str {
        let messages = self.body["messages"].as_array().expect("messages");
        messages.last().expect("a message")["content"]
            .as_str()
            .expect("a text")
    }
}

pub struct ModelServer {
    pub addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl ModelServer {
    /// Answers every request with `tell`, each in a thread of its own.
    pub fn start(tell: impl Fn(&Asked, &mut Telling) + Send + Sync + 'static) -> ModelServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (tell, heard) = (Arc::new(tell), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tell, heard) = (Arc::clone(&tell), Arc::clone(&heard));
                std::thread::spawn(move || {
                    let Some(request) = read_request(&stream) else {
                        return;
                    };
                    heard
                        .lock()
                        .expect("no poisoned requests")
                        .push(request.clone());
                    tell(&request, &mut Telling { stream });
                });
            }
        });
        ModelServer { addr, asked }
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no poisoned requests").clone()
    }

    pub fn nth(&self, number: usize) -> Asked {
        eventually("a request to the model", || {
            self.asked().get(number - 1).cloned()
        })
    }
}

fn read_request(stream: &TcpStream) -> Option<Asked> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))?
        .trim()
        .parse()
        .ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).ok()?;
    Some(Asked { head, body })
}

/// One answer. Whoever hears it may be gone: nothing here fails for that.
pub struct Telling {
    stream: TcpStream,
}

impl Telling {
    /// 200, and a stream of events in chunks.
    pub fn begin(&mut self) {
        self.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
              cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        self.event(&json!({ "object": "chat.completion.chunk", "choices": [
            { "index": 0, "delta": { "role": "assistant", "content": "" }, "finish_reason": null }] }));
    }

    pub fn event(&mut self, data: &Value) {
        self.raw(format!("data: {data}\n\n").as_bytes());
    }

    pub fn delta(&mut self, member: &str, text: &str) {
        self.event(&chunk(member, text));
    }

    /// As one chunk of the transfer; `false`: the other side is gone.
    pub fn raw(&mut self, bytes: &[u8]) -> bool {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.write(&chunk)
    }

    /// How a good answer ends.
    pub fn finish(&mut self) {
        self.event(&json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }));
        self.event(
            &json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 7 } }),
        );
        self.raw(b"data: [DONE]\n\n");
        self.end();
    }

    /// The end of the transfer, whatever was said.
    pub fn end(&mut self) {
        self.write(b"0\r\n\r\n");
    }

    pub fn refuse(&mut self, status: u16, body: &Value) {
        let body = body.to_string();
        self.write(
            format!(
                "HTTP/1.1 {status} No\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
    }

    /// Waits until the other side has hung up.
    pub fn until_hung_up(&mut self) {
        let _ = self.stream.set_read_timeout(Some(PATIENCE));
        while !matches!(self.stream.read(&mut [0; 64]), Ok(0) | Err(_)) {}
    }

    /// Says so again and again, until nobody hears it.
    pub fn babble(&mut self) {
        while self.raw(format!("data: {}\n\n", chunk("content", "bla ")).as_bytes()) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream
            .write_all(bytes)
            .and_then(|()| self.stream.flush())
            .is_ok()
    }
}

/// One delta: `member` is `content` or a name for reasoning.
pub fn chunk(member: &str, text: &str) -> Value {
    json!({ "object": "chat.completion.chunk", "choices": [
        { "index": 0, "delta": { member: text }, "finish_reason": null }] })
}
