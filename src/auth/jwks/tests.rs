//! Servers on loopback that behave as real ones do on a bad day.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;

use actix_rt::task::JoinHandle;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Nothing takes longer, not even on a busy machine.
const BOUND: Duration = Duration::from_secs(20);
/// The timeout of a fetch that is meant to fail.
const SHORT: Duration = Duration::from_millis(200);

const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"KID"}"#;

fn keys(kids: &[&str]) -> String {
    let keys: Vec<String> = kids.iter().map(|kid| KEY.replace("KID", kid)).collect();
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Counts, and keeps the last error.
#[derive(Default)]
struct Seen {
    good: AtomicUsize,
    bad: AtomicUsize,
    last: Mutex<String>,
}

impl JwksObserver for Seen {
    fn fetched(&self, outcome: Result<&KeySet, &FetchError>) {
        match outcome {
            Ok(_) => self.good.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                *self.last.lock() = error.to_string();
                self.bad.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

impl Seen {
    fn good(&self) -> usize {
        self.good.load(Ordering::Relaxed)
    }

    fn bad(&self) -> usize {
        self.bad.load(Ordering::Relaxed)
    }

    async fn failure(&self) -> String {
        until(|| self.bad() > 0).await;
        self.last.lock().clone()
    }
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(BOUND, wait).await.expect("it never happened");
}

/// Hands each connection whose request has come to `answer`.
async fn serve<F: Future<Output = ()> + 'static>(
    answer: impl Fn(TcpStream, String) -> F + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let task = actix_rt::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut part = [0; 1024];
                match socket.read(&mut part).await {
                    Ok(read) if read > 0 => request.extend_from_slice(&part[..read]),
                    _ => break,
                }
            }
            let request = String::from_utf8(request).expect("a request");
            actix_rt::spawn(answer(socket, request));
        }
    });
    (address, task)
}

/// A server that answers each request with what it is told to answer now.
#[derive(Clone, Default)]
struct Says {
    now: Rc<RefCell<String>>,
    requests: Rc<Cell<usize>>,
}

impl Says {
    fn new(answer: &str) -> Self {
        let says = Self::default();
        says.change(answer);
        says
    }

    fn change(&self, answer: &str) {
        *self.now.borrow_mut() = answer.to_owned();
    }

    async fn serve(&self) -> (SocketAddr, JoinHandle<()>) {
        let says = self.clone();
        serve(move |mut socket, _| {
            says.requests.set(says.requests.get() + 1);
            let answer = says.now.borrow().clone();
            async move {
                // the client may leave at any time
                let _ = socket.write_all(answer.as_bytes()).await;
                let _ = socket.shutdown().await;
            }
        })
        .await
    }
}

struct Fetching {
    jwks: Arc<Jwks>,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// With a long refresh: only who looks again brings a second fetch.
fn fetching(address: SocketAddr, min_interval: u64, timeout: Duration) -> Fetching {
    let timing = JwksTiming {
        refresh: Duration::from_secs(3600),
        min_interval: Duration::from_millis(min_interval),
        timeout,
    };
    let url = format!("http://{address}/keys?token=s3cret");
    let seen = Arc::new(Seen::default());
    let jwks = Jwks::new(url, Vec::new(), timing, seen.clone());
    let task = actix_rt::spawn(jwks.clone().keep_fresh());
    Fetching { jwks, seen, task }
}

fn knows(set: &Option<Arc<KeySet>>, kid: &str) -> bool {
    set.as_ref().is_some_and(|set| set.knows(Some(kid)))
}

#[test]
fn it_is_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Jwks>();
}

#[actix_web::test]
async fn a_good_set_is_there_and_one_fetch_serves_all_who_wait() {
    let says = Says::new(&ok(&keys(&["a"])));
    let (address, _server) = says.serve().await;
    let fetching = fetching(address, 60_000, BOUND);
    assert!(fetching.jwks.current().is_none());
    let all = (0..100).map(|_| fetching.jwks.look_again());
    for set in futures_util::future::join_all(all).await {
        assert!(knows(&set, "a"));
    }
    // ten thousand names that nobody has: the interval holds, and nobody waits
    let asked = Instant::now();
    for _ in 0..10_000 {
        assert!(!knows(&fetching.jwks.look_again().await, "forged"));
    }
    assert!(asked.elapsed() < BOUND);
    assert_eq!((says.requests.get(), fetching.seen.good()), (1, 1));
}

#[actix_web::test]
async fn it_asks_for_keys_and_brings_no_cookies() {
    let asked = Rc::new(RefCell::new(String::new()));
    let heard = asked.clone();
    let (address, _server) = serve(move |mut socket, request| {
        *heard.borrow_mut() = request;
        async move {
            let _ = socket.write_all(ok(&keys(&["a"])).as_bytes()).await;
        }
    })
    .await;
    let fetching = fetching(address, 60_000, BOUND);
    assert!(fetching.jwks.look_again().await.is_some());
    let asked = asked.borrow().to_ascii_lowercase();
    assert!(
        asked.starts_with("get /keys?token=s3cret http/1.1\r\n"),
        "{asked}"
    );
    let accept = "\r\naccept: application/jwk-set+json, application/json\r\n";
    assert!(asked.contains(accept), "{asked}");
    assert!(!asked.contains("cookie"), "{asked}");
}

#[actix_web::test]
async fn a_new_key_is_found_by_who_looks_again() {
    let says = Says::new(&ok(&keys(&["old"])));
    let (address, _server) = says.serve().await;
    let fetching = fetching(address, 20, BOUND);
    assert!(knows(&fetching.jwks.look_again().await, "old"));
    says.change(&ok(&keys(&["old", "new"])));
    // within the interval it may be answered at once
    let look = async {
        while !knows(&fetching.jwks.look_again().await, "new") {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, look).await.expect("the new key");
    assert!(knows(&fetching.jwks.current(), "old"));
    assert_eq!(says.requests.get(), 2);
}

#[actix_web::test]
async fn the_last_good_set_survives_all_that_goes_wrong() {
    let says = Says::new(&ok(&keys(&["a"])));
    let (address, server) = says.serve().await;
    let fetching = fetching(address, 10, BOUND);
    assert!(knows(&fetching.jwks.look_again().await, "a"));
    let no_key = keys(&["b"]).replace("OKP", "oct");
    for (failures, bad) in [
        ok(&no_key),
        ok("{\"keys\":[]}"),
        ok("<html>"),
        "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".into(),
        "what?\r\n\r\n".into(),
        String::new(),
    ]
    .iter()
    .enumerate()
    {
        says.change(bad);
        let fail = async {
            while fetching.seen.bad() <= failures {
                let set = fetching.jwks.look_again().await;
                assert!(knows(&set, "a") && !knows(&set, "b"), "{bad}");
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, fail).await.expect("a failure");
    }
    // nobody listens any more
    server.abort();
    let _ = server.await;
    let failed = fetching.seen.bad();
    until(|| fetching.seen.bad() > failed + 1).await;
    assert!(knows(&fetching.jwks.current(), "a"));
}

#[actix_web::test]
async fn it_recovers_by_itself() {
    let says = Says::new("HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n");
    let (address, _server) = says.serve().await;
    let fetching = fetching(address, 10, BOUND);
    until(|| fetching.seen.bad() > 1).await;
    says.change(&ok(&keys(&["a"])));
    until(|| fetching.jwks.current().is_some()).await;
}

#[actix_web::test]
async fn who_never_answers_or_trickles_is_left_after_the_timeout() {
    for first in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"] {
        let left = Rc::new(Cell::new(false));
        let saw = left.clone();
        let (address, _server) = serve(move |mut socket, _| {
            let saw = saw.clone();
            async move {
                let _ = socket.write_all(first.as_bytes()).await;
                let mut trickle = tokio::time::interval(Duration::from_secs(1));
                let mut byte = [0];
                loop {
                    tokio::select! {
                        _ = trickle.tick(), if !first.is_empty() => {
                            let _ = socket.write_all(b" ").await;
                        }
                        // zero bytes, or an error: it is gone
                        _ = socket.read(&mut byte) => break saw.set(true),
                    }
                }
            }
        })
        .await;
        let fetching = fetching(address, 60_000, SHORT);
        let waiting = Instant::now();
        assert!(fetching.jwks.look_again().await.is_none());
        assert!(waiting.elapsed() >= SHORT);
        let said = fetching.seen.failure().await;
        assert_eq!(said, "the server did not answer within 0.2 s");
        until(|| left.get()).await;
        // the next one comes when the interval allows it
        let waiting = Instant::now();
        assert!(fetching.jwks.look_again().await.is_none());
        assert!(waiting.elapsed() < BOUND && fetching.seen.bad() == 1);
    }
}

#[actix_web::test]
async fn a_hundred_megabytes_are_not_read() {
    const PART: usize = 64 << 10;
    for length in [true, false] {
        let taken = Rc::new(Cell::new(None));
        let count = taken.clone();
        let (address, _server) = serve(move |mut socket, _| {
            let count = count.clone();
            async move {
                let head = match length {
                    true => "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n",
                    false => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                };
                let _ = socket.write_all(head.as_bytes()).await;
                let part = format!("{PART:x}\r\n{}\r\n", " ".repeat(PART));
                let mut written = 0;
                while written < 100 << 20 {
                    if socket.write_all(part.as_bytes()).await.is_err() {
                        break;
                    }
                    written += PART;
                }
                count.set(Some(written));
            }
        })
        .await;
        let fetching = fetching(address, 60_000, BOUND);
        let said = fetching.seen.failure().await;
        assert_eq!(said, "the answer is longer than 1024 KiB");
        until(|| taken.get().is_some()).await;
        // what was taken, and what the system's buffers hold
        assert!(
            taken.get() < Some(24 << 20),
            "{taken:?} with a length: {length}"
        );
    }
}

#[actix_web::test]
async fn a_redirect_is_not_followed() {
    let other = Says::new(&ok(&keys(&["stranger"])));
    let (elsewhere, _other) = other.serve().await;
    for status in [301, 302, 303, 307, 308] {
        let head = format!("HTTP/1.1 {status} Go\r\nLocation: http://{elsewhere}/\r\n");
        let says = Says::new(&format!("{head}Content-Length: 0\r\n\r\n"));
        let (address, _server) = says.serve().await;
        let fetching = fetching(address, 60_000, BOUND);
        let said = fetching.seen.failure().await;
        assert!(said.starts_with("the server redirects"), "{said}");
        assert!(fetching.jwks.current().is_none());
    }
    assert_eq!(other.requests.get(), 0);
}

#[actix_web::test]
async fn how_an_answer_may_end() {
    let body = keys(&["a"]);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let until_closed =
        |version| format!("HTTP/{version} 200 OK\r\nConnection: close\r\n\r\n{body}");
    let cut = ok(&body)[..ok(&body).len() - 1].to_owned();
    let cut_chunk = chunked[..chunked.len() - 12].to_owned();
    for (answer, failure) in [
        (chunked, None),
        (until_closed("1.0"), None),
        // RFC 9112 §6.3 allows it; `awc` sees no body
        (until_closed("1.1"), Some("neither its length")),
        (cut, Some("")),
        (cut_chunk, Some("")),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(),
            Some("of no use"),
        ),
        ("HTTP/1.1 204 No\r\n\r\n".into(), Some("answered 204")),
        (
            format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20)),
            Some(""),
        ),
    ] {
        let says = Says::new(&answer);
        let (address, _server) = says.serve().await;
        let fetching = fetching(address, 60_000, BOUND);
        match failure {
            None => assert!(knows(&fetching.jwks.look_again().await, "a"), "{answer}"),
            Some(part) => {
                let said = fetching.seen.failure().await;
                assert!(said.contains(part), "{said}");
                assert!(!said.contains("s3cret"), "{said}");
            }
        }
    }
}

#[actix_web::test]
async fn nobody_waits_for_who_does_not_fetch_any_more() {
    let (address, _server) = serve(|mut socket, _| async move {
        let mut byte = [0];
        let _ = socket.read(&mut byte).await;
    })
    .await;
    let fetching = fetching(address, 60_000, BOUND);
    let jwks = fetching.jwks.clone();
    let waiter = actix_rt::spawn(async move { jwks.look_again().await });
    until(|| fetching.jwks.schedule.lock().ask(Instant::now()) == Asked::Wait).await;
    until(|| fetching.jwks.ended.receiver_count() > 0).await;
    // a second one ends at once
    fetching.jwks.clone().keep_fresh().await;
    fetching.task.abort();
    let waited = timeout(BOUND / 2, waiter)
        .await
        .expect("it waits no longer");
    assert!(waited.expect("no panic").is_none());
}
