//! Against a server on loopback that behaves as real ones do, also on a bad day.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use actix_rt::task::JoinHandle;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::auth::Action;
use crate::event::TopicPath;

/// Nothing takes longer, not even on a busy machine.
const BOUND: Duration = Duration::from_secs(20);
/// A timeout that is meant to end.
const SHORT: Duration = Duration::from_millis(200);
const YES: &str = r#"{"isAuthorized":true}"#;
const NO: &str = r#"{"isAuthorized":false}"#;

/// What the server does with a call.
#[derive(Clone)]
enum Says {
    Answer(u16, String),
    /// Reads, and says nothing.
    Nothing,
    /// Closes in the middle.
    BreaksOff,
    /// As much as the client takes.
    Endless,
    /// Waits for its gate before it says yes.
    Waits,
}

struct Server {
    says: Rc<RefCell<Says>>,
    bodies: Rc<RefCell<Vec<Value>>>,
    heads: Rc<RefCell<Vec<String>>>,
    open: Rc<Cell<usize>>,
    most_open: Rc<Cell<usize>>,
    gate: watch::Sender<bool>,
    url: String,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (says, bodies) = (Rc::new(RefCell::new(says)), Rc::default());
        let (heads, open, most_open) = (Rc::default(), Rc::default(), Rc::default());
        let gate = watch::Sender::new(false);
        let call = Conversation {
            says: Rc::clone(&says),
            bodies: Rc::clone(&bodies),
            heads: Rc::clone(&heads),
            open: Rc::clone(&open),
            most_open: Rc::clone(&most_open),
            gate: gate.subscribe(),
        };
        let task = actix_rt::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                actix_rt::spawn(call.clone().serve(socket));
            }
        });
        let url = format!("http://{address}/authorize?stage=test");
        Self {
            says,
            bodies,
            heads,
            open,
            most_open,
            gate,
            url,
            task,
        }
    }

    async fn saying(answer: &str) -> Self {
        Self::start(Says::Answer(200, answer.to_owned())).await
    }

    fn change(&self, says: Says) {
        *self.says.borrow_mut() = says;
    }

    fn calls(&self) -> usize {
        self.bodies.borrow().len()
    }

    fn authorizer(&self, timeout: Duration, ttl: Duration) -> (Arc<Authorizer>, Arc<Seen>) {
        let settings = AuthorizerSettings {
            url: self.url.clone(),
            timeout,
            ttl,
        };
        let seen = Arc::new(Seen::default());
        let authorizer = Authorizer::new(settings, "test".to_owned(), seen.clone());
        (authorizer, seen)
    }
}

#[derive(Clone)]
struct Conversation {
    says: Rc<RefCell<Says>>,
    bodies: Rc<RefCell<Vec<Value>>>,
    heads: Rc<RefCell<Vec<String>>>,
    open: Rc<Cell<usize>>,
    most_open: Rc<Cell<usize>>,
    gate: watch::Receiver<bool>,
}

impl Conversation {
    async fn serve(mut self, mut socket: TcpStream) {
        let (head, body) = read_request(&mut socket).await;
        self.heads.borrow_mut().push(head);
        self.bodies.borrow_mut().push(body);
        self.open.set(self.open.get() + 1);
        self.most_open
            .set(self.most_open.get().max(self.open.get()));
        let says = self.says.borrow().clone();
        // the client may leave at any time
        let _ = self.answer(&mut socket, says).await;
        self.open.set(self.open.get() - 1);
    }

    async fn answer(&mut self, socket: &mut TcpStream, says: Says) -> std::io::Result<()> {
        match says {
            Says::Answer(status, body) => write_answer(socket, status, &body).await,
            Says::Nothing => socket.read(&mut [0; 1]).await.map(drop),
            Says::BreaksOff => {
                let part = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"isAuthorized\":true";
                socket.write_all(part).await
            }
            Says::Endless => {
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                socket.write_all(head).await?;
                let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
                loop {
                    socket.write_all(chunk.as_bytes()).await?;
                }
            }
            Says::Waits => {
                let _ = self.gate.wait_for(|open| *open).await;
                write_answer(socket, 200, YES).await
            }
        }
    }
}

async fn write_answer(socket: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status} X\r\nLocation: /yes\r\nContent-Length: {length}\r\n\r\n{body}");
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await
}

async fn read_request(socket: &mut TcpStream) -> (String, Value) {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = socket.read(&mut part).await.expect("a request");
        bytes.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            return (head.to_ascii_lowercase(), body);
        }
        assert!(read > 0, "half a request: {text}");
    }
}

/// Counts what it is told.
#[derive(Default)]
struct Seen {
    outcomes: Mutex<Vec<&'static str>>,
    remembered: Mutex<usize>,
    level: Mutex<i64>,
}

impl AuthorizerObserver for Seen {
    fn called(&self, outcome: &'static str) {
        self.outcomes.lock().push(outcome);
    }

    fn remembered(&self) {
        *self.remembered.lock() += 1;
    }

    fn breaker(&self, level: i64) {
        *self.level.lock() = level;
    }
}

impl Seen {
    fn outcomes(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.outcomes.lock())
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

fn question(token: &str, operation: Operation, channel: Option<&str>) -> Question {
    let namespace = channel.and_then(|channel| channel.split('/').nth(1));
    Question {
        token: token.to_owned(),
        operation,
        channel: channel.map(str::to_owned),
        namespace: namespace.map(str::to_owned),
        headers: vec![("host".to_owned(), "broker.example".to_owned())],
    }
}

fn connect(token: &str) -> Question {
    question(token, Operation::Connect, None)
}

fn may(principal: &Principal, action: Action, topic: &str) -> bool {
    let topic = TopicPath::parse(topic).expect("a topic");
    principal.grants().allow(action, &topic)
}

#[actix_web::test]
async fn it_is_asked_as_appsync_asks() {
    let server = Server::saying(YES).await;
    let (authorizer, _) = server.authorizer(BOUND, BOUND);
    authorizer.ask(connect("secret")).await.expect("yes");
    let asked = question("secret", Operation::Publish, Some("/news/latest"));
    authorizer.ask(asked).await.expect("yes");
    let bodies: Vec<Value> = server.bodies.borrow().clone();
    let context = |body: &Value| {
        let mut context = body["requestContext"].clone();
        let id = context["requestId"].take();
        assert_eq!(id.as_str().map(str::len), Some(36));
        context
    };
    let headers = json!({"host": "broker.example"});
    for body in &bodies {
        assert_eq!(body["authorizationToken"], "secret");
        assert_eq!(body["requestHeaders"], headers);
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(3));
    }
    let at_connect = json!({
        "apiId": "test", "accountId": "tidewire", "requestId": null, "operation": "EVENT_CONNECT",
    });
    assert_eq!(context(&bodies[0]), at_connect);
    let at_publish = json!({
        "apiId": "test", "accountId": "tidewire", "requestId": null, "operation": "EVENT_PUBLISH",
        "channelNamespaceName": "news", "channel": "/news/latest",
    });
    assert_eq!(context(&bodies[1]), at_publish);
    let heads = server.heads.borrow();
    assert!(heads[0].starts_with("post /authorize?stage=test http/1.1"));
    assert!(heads[0].contains("content-type: application/json"));
}

#[actix_web::test]
async fn a_yes_is_good_for_what_was_asked_and_nothing_else() {
    let server = Server::saying(YES).await;
    let (authorizer, _) = server.authorizer(BOUND, BOUND);
    let ask = async |operation, channel| {
        let asked = authorizer.ask(question("secret", operation, channel)).await;
        asked.expect("yes")
    };
    let connected = ask(Operation::Connect, None).await;
    let reader = ask(Operation::Subscribe, Some("/news/a")).await;
    let below = ask(Operation::Subscribe, Some("/news/*")).await;
    let all = ask(Operation::Subscribe, Some("/*")).await;
    let writer = ask(Operation::Publish, Some("/news/a")).await;
    let all_of = |principal: &Principal| {
        let topics = ["/news/a", "/news/a/b", "/else"];
        let reads = topics.map(|topic| may(principal, Action::Subscribe, topic));
        let writes = topics.map(|topic| may(principal, Action::Publish, topic));
        (reads, writes)
    };
    let none = [false; 3];
    assert_eq!(all_of(&connected), (none, none));
    assert_eq!(all_of(&reader), ([true, false, false], none));
    assert_eq!(all_of(&below), ([true, true, false], none));
    assert_eq!(all_of(&all), ([true; 3], none));
    assert_eq!(all_of(&writer), (none, [true, false, false]));
    // the first 16 bytes of: printf %s secret | sha256sum
    assert_eq!(
        &**reader.id(),
        "authorizer:2bb80d537b1da3e38bd30361aa855686"
    );
    assert_eq!((&**reader.name(), reader.expires()), ("authorizer", None));
    assert!(reader.is_known() && !reader.is_admin());
}

#[actix_web::test]
async fn a_subject_outlives_its_token() {
    let yes = r#"{"isAuthorized":true,"handlerContext":{"sub":"ada"},"ttlOverride":0}"#;
    let server = Server::saying(yes).await;
    let (authorizer, _) = server.authorizer(BOUND, BOUND);
    for token in ["one", "another"] {
        let ada = authorizer.ask(connect(token)).await.expect("yes");
        assert_eq!((&**ada.id(), &**ada.name()), ("authorizer-sub:ada", "ada"));
    }
}

#[actix_web::test]
async fn answers_are_kept_by_token_operation_and_channel() {
    let server = Server::saying(YES).await;
    let (authorizer, seen) = server.authorizer(BOUND, BOUND);
    let questions = || {
        [
            connect("a"),
            connect("b"),
            question("a", Operation::Publish, Some("/news/a")),
            question("a", Operation::Subscribe, Some("/news/a")),
            question("a", Operation::Subscribe, Some("/news/b")),
        ]
    };
    for _ in 0..3 {
        for question in questions() {
            authorizer.ask(question).await.expect("yes");
        }
    }
    assert_eq!((server.calls(), *seen.remembered.lock()), (5, 10));
    assert_eq!(seen.outcomes(), ["allowed"; 5]);
}

#[actix_web::test]
async fn how_long_an_answer_is_kept_is_its_own_to_say() {
    for (answer, ttl, calls) in [
        (r#"{"isAuthorized":true,"ttlOverride":0}"#, BOUND, 2),
        (
            r#"{"isAuthorized":true,"ttlOverride":9}"#,
            Duration::ZERO,
            1,
        ),
        (YES, Duration::ZERO, 2),
        (NO, BOUND, 1),
        (r#"{"isAuthorized":false,"ttlOverride":0}"#, BOUND, 2),
    ] {
        let server = Server::saying(answer).await;
        let (authorizer, _) = server.authorizer(BOUND, ttl);
        for _ in 0..2 {
            let said = authorizer.ask(connect("a")).await;
            assert_eq!(said.is_ok(), answer.contains("true"));
        }
        assert_eq!(server.calls(), calls, "{answer}");
    }
}

#[actix_web::test]
async fn a_no_is_a_no_and_so_is_a_status_that_says_so() {
    let server = Server::saying(NO).await;
    let (authorizer, seen) = server.authorizer(BOUND, Duration::ZERO);
    for status in [200, 400, 401, 403, 422] {
        server.change(Says::Answer(status, NO.to_owned()));
        for _ in 0..3 {
            let said = authorizer.ask(connect("a")).await;
            assert_eq!(said.expect_err("no"), AuthError::Denied);
        }
    }
    assert_eq!(seen.outcomes(), ["denied"; 15]);
    assert_eq!(*seen.level.lock(), 0, "bad tokens are no failures of it");
}

#[actix_web::test]
async fn equal_questions_share_a_call_that_outlives_who_asked_first() {
    let server = Server::start(Says::Waits).await;
    let (authorizer, _) = server.authorizer(BOUND, Duration::ZERO);
    let first = actix_rt::spawn({
        let authorizer = authorizer.clone();
        async move { authorizer.ask(connect("a")).await }
    });
    until(|| server.calls() == 1).await;
    let others = (0..20).map(|_| authorizer.ask(connect("a")));
    let opens = async {
        first.abort();
        server.gate.send_replace(true);
    };
    let (said, ()) = tokio::join!(join_all(others), opens);
    assert!(said.iter().all(Result::is_ok));
    assert_eq!(server.calls(), 1);
}

#[actix_web::test]
async fn so_many_calls_are_made_at_once_and_the_rest_waits() {
    let server = Server::start(Says::Waits).await;
    let (authorizer, _) = server.authorizer(BOUND, BOUND);
    let tokens: Vec<String> = (0..MAX_CALLS + 20).map(|n| n.to_string()).collect();
    let asked = tokens.iter().map(|token| authorizer.ask(connect(token)));
    let opens = async {
        until(|| server.open.get() == MAX_CALLS).await;
        server.gate.send_replace(true);
    };
    let (said, ()) = tokio::join!(join_all(asked), opens);
    assert!(said.iter().all(Result::is_ok));
    assert_eq!(server.calls(), MAX_CALLS + 20);
    assert_eq!(server.most_open.get(), MAX_CALLS);
}

#[actix_web::test]
async fn whatever_fails_is_an_outage_and_no_yes() {
    let server = Server::start(Says::Nothing).await;
    let ask = async |says: Says, timeout| {
        server.change(says);
        let (authorizer, seen) = server.authorizer(timeout, BOUND);
        let asked = tokio::time::Instant::now();
        let said = authorizer.ask(connect("a")).await;
        assert_eq!(said.expect_err("no yes"), AuthError::Unavailable);
        assert!(asked.elapsed() < BOUND);
        seen.outcomes()
    };
    assert_eq!(ask(Says::Nothing, SHORT).await, ["timeout"]);
    assert_eq!(ask(Says::BreaksOff, BOUND).await, ["bad_answer"]);
    assert_eq!(ask(Says::Endless, BOUND).await, ["bad_answer"]);
    let long = format!("{YES}{}", " ".repeat(64 << 10));
    assert_eq!(ask(Says::Answer(200, long), BOUND).await, ["bad_answer"]);
    for bad in ["", "yes", "{}", r#"{"isAuthorized":"true"}"#] {
        let says = Says::Answer(200, bad.to_owned());
        assert_eq!(ask(says, BOUND).await, ["bad_answer"], "{bad}");
    }
    // a redirect is not followed
    for status in [201, 302, 307, 404, 429, 500, 503] {
        let says = Says::Answer(status, YES.to_owned());
        let calls = server.calls();
        assert_eq!(ask(says, BOUND).await, ["status"], "{status}");
        assert_eq!(server.calls(), calls + 1);
    }
}

#[actix_web::test]
async fn one_that_fails_is_left_alone_and_found_to_work_again() {
    let server = Server::start(Says::Answer(500, String::new())).await;
    let (authorizer, seen) = server.authorizer(BOUND, BOUND);
    server.change(Says::Answer(200, YES.to_owned()));
    authorizer.ask(connect("known")).await.expect("yes");
    server.change(Says::Answer(500, String::new()));
    let ask = async |token: &str| authorizer.ask(connect(token)).await;
    for token in ["1", "2", "3", "4", "5"] {
        assert_eq!(ask(token).await.expect_err("500"), AuthError::Unavailable);
    }
    assert_eq!((*seen.level.lock(), server.calls()), (2, 6));
    assert_eq!(ask("6").await.expect_err("open"), AuthError::Unavailable);
    assert!(ask("known").await.is_ok(), "what is known is known");
    assert_eq!(server.calls(), 6, "at once");
    server.change(Says::Answer(200, YES.to_owned()));
    until(|| !authorizer.breaker.lock().refuses(Instant::now())).await;
    assert!(ask("6").await.is_ok());
    assert_eq!(*seen.level.lock(), 0);
    assert_eq!(seen.outcomes()[6..], ["not_asked", "allowed"]);
}

#[actix_web::test]
async fn one_that_is_not_there_is_an_outage() {
    let server = Server::saying(YES).await;
    let (authorizer, seen) = server.authorizer(BOUND, BOUND);
    drop(server);
    until_refused(&authorizer).await;
    assert_eq!(seen.outcomes().last(), Some(&"unreachable"));
}

/// The listener goes when its task has ended.
async fn until_refused(authorizer: &Arc<Authorizer>) {
    for attempt in 0.. {
        if authorizer.ask(connect(&attempt.to_string())).await.is_err() {
            return;
        }
    }
}

#[actix_web::test]
async fn tokens_and_channels_have_a_form() {
    let server = Server::saying(YES).await;
    let (authorizer, _) = server.authorizer(BOUND, BOUND);
    let refused = async |question| authorizer.ask(question).await.expect_err("refused");
    let long = "a".repeat(token::MAX_BYTES + 1);
    assert!(matches!(
        refused(connect(&long)).await,
        AuthError::TooLarge(_)
    ));
    assert_eq!(refused(connect("")).await, AuthError::Missing);
    for channel in ["news", "/news/*/a", "/{sub}"] {
        let question = question("a", Operation::Subscribe, Some(channel));
        assert!(matches!(refused(question).await, AuthError::Grant(_)));
    }
    assert_eq!(server.calls(), 0);
}
