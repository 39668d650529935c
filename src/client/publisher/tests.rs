//! The driver against a broker whose every frame the test writes itself.

use actix_codec::Framed;
use actix_http::ws::{Codec, Frame, Message, hash_key};
use actix_rt::net::TcpStream;
use awc::ws::{CloseCode, CloseReason};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::client::wire::TextKind;

const PATIENCE: Duration = Duration::from_secs(10);

struct FakeBroker {
    listener: TcpListener,
    url: String,
}

/// One accepted connection, after its `welcome`.
struct Line(Framed<TcpStream, Codec>);

impl FakeBroker {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        Self { listener, url }
    }

    fn publisher(&self, attach: Attachment) -> Publisher {
        let endpoint = Endpoint::new(&self.url, None).expect("an address");
        let options = PublisherOptions {
            attach: Some(attach),
            ..PublisherOptions::anonymous("test")
        };
        Publisher::start(endpoint, "/a/b", options)
    }

    async fn accept(&self) -> Line {
        let (mut socket, _) = timeout(PATIENCE, self.listener.accept())
            .await
            .expect("a connection in time")
            .expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.expect("the request"));
        }
        let head = String::from_utf8(head).expect("text");
        let key = head
            .lines()
            .find_map(|line| {
                line.to_lowercase()
                    .starts_with("sec-websocket-key: ")
                    .then(|| &line[19..])
            })
            .expect("a key");
        let accept = String::from_utf8(hash_key(key.as_bytes()).to_vec()).expect("text");
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-protocol: {}\r\nsec-websocket-accept: {accept}\r\n\r\n",
            super::super::wire::SUBPROTOCOL
        );
        socket.write_all(answer.as_bytes()).await.expect("a line");
        let mut line = Line(Framed::new(socket, Codec::new()));
        line.send(json!({"op": "welcome", "ping_ms": 25000})).await;
        line
    }
}

impl Line {
    async fn send(&mut self, frame: Value) {
        self.0
            .send(Message::Text(frame.to_string().into()))
            .await
            .expect("a line");
    }

    async fn expect(&mut self, op: &str) -> Value {
        loop {
            match timeout(PATIENCE, self.0.next()).await {
                Ok(Some(Ok(Frame::Text(text)))) => {
                    let frame: Value = serde_json::from_slice(&text).expect("JSON");
                    assert_eq!(frame["op"], op, "{frame}");
                    return frame;
                }
                Ok(Some(Ok(_))) => {}
                other => panic!("no {op}: {other:?}"),
            }
        }
    }

    /// Answers the claim.
    async fn attach(&mut self, epoch: u64) -> Value {
        let claim = self.expect("attach").await;
        self.send(json!({"op": "attached", "id": claim["id"], "epoch": epoch}))
            .await;
        claim
    }

    async fn published(&mut self, publish: &Value) {
        let answer = json!({"op": "published", "id": publish["id"], "epoch": "aaaaaaaa", "first_seq": 1, "last_seq": 1});
        self.send(answer).await;
    }
}

fn attachment() -> Attachment {
    Attachment::controlled_by("/a/b")
}

fn delta(text: &str) -> NewEvent {
    NewEvent::delta("m", TextKind::Text, text)
}

#[actix_web::test]
async fn an_agent_attaches_before_it_publishes_and_again_in_the_same_epoch_after_a_cut() {
    let broker = FakeBroker::start().await;
    let publisher = broker.publisher(attachment());
    publisher.publish(delta("one")).await.expect("room");
    let mut line = broker.accept().await;
    let claim = line.attach(4).await;
    assert_eq!(claim["producer"].get("epoch"), None, "{claim}");
    assert_eq!(
        (&claim["lease_ms"], &claim["control"]),
        (&json!(15000), &json!(["/a/b"]))
    );
    publisher.ready().await.expect("attached");
    let first = line.expect("publish").await;
    assert_eq!(first["producer"]["epoch"], 4);
    drop(line);
    let mut line = broker.accept().await;
    let claim = line.attach(4).await;
    assert_eq!(claim["producer"]["epoch"], 4);
    let again = line.expect("publish").await;
    assert_eq!(again["producer"], first["producer"]);
    assert_eq!(again["events"], first["events"]);
    line.published(&again).await;
    publisher.flush().await.expect("acknowledged");
}

#[actix_web::test]
async fn after_the_broker_forgot_the_raised_epoch_is_claimed_on_a_new_connection() {
    let broker = FakeBroker::start().await;
    let publisher = broker.publisher(attachment());
    let mut line = broker.accept().await;
    line.attach(1).await;
    publisher.publish(delta("one ")).await.expect("room");
    let first = line.expect("publish").await;
    line.published(&first).await;
    publisher.publish(delta("two")).await.expect("room");
    let second = line.expect("publish").await;
    assert_eq!(
        second["producer"],
        json!({"id": first["producer"]["id"], "epoch": 1, "seq": 2})
    );
    line.send(
        json!({"op": "error", "id": second["id"], "code": "producer_unknown", "message": ""}),
    )
    .await;
    let mut next = broker.accept().await;
    let claim = next.attach(2).await;
    assert_eq!(claim["producer"]["epoch"], 2);
    let whole = next.expect("publish").await;
    assert_eq!(
        (&whole["producer"]["epoch"], &whole["producer"]["seq"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(whole["events"][0]["data"]["text"], "one two");
    next.published(&whole).await;
    publisher.flush().await.expect("acknowledged");
}

#[actix_web::test]
async fn control_events_come_once_and_their_acknowledgements_arrive() {
    let broker = FakeBroker::start().await;
    let mut asked = attachment();
    asked.demand = vec!["/a/b".into()];
    let publisher = broker.publisher(asked);
    let control = |seqs: &[u64]| {
        let event =
            |seq: &u64| json!({"seq": seq, "type": "run.cancel", "data": {"message_id": "m"}});
        let events: Vec<Value> = seqs.iter().map(event).collect();
        json!({"op": "control", "topic": "/a/b", "epoch": "aaaaaaaa", "events": events})
    };
    let mut line = broker.accept().await;
    line.attach(1).await;
    line.send(json!({"op": "demand", "topic": "/a/b", "readers": 3}))
        .await;
    line.send(control(&[5])).await;
    let five = publisher.control().await.expect("an event");
    assert_eq!((five.seq, five.event.name()), (5, "run.cancel"));
    assert_eq!(publisher.readers("/a/b"), Some(3));
    publisher.acknowledge(&five);
    let ack = line.expect("control_ack").await;
    assert_eq!((&ack["topic"], &ack["seq"]), (&json!("/a/b"), &json!(5)));
    drop(line);
    let mut line = broker.accept().await;
    line.attach(1).await;
    line.send(control(&[5, 6])).await;
    let again = line.expect("control_ack").await;
    assert_eq!(again["seq"], 5, "the first may have been lost");
    assert_eq!(publisher.control().await.expect("an event").seq, 6);
}

#[actix_web::test]
async fn whoever_is_replaced_stays_away_and_says_why() {
    let broker = FakeBroker::start().await;
    for how in ["closed", "fenced", "refused"] {
        let publisher = broker.publisher(attachment());
        let mut line = broker.accept().await;
        if how == "refused" {
            let claim = line.expect("attach").await;
            line.send(json!({"op": "error", "id": claim["id"], "code": "producer_fenced", "message": "old"}))
                .await;
        } else {
            line.attach(1).await;
            publisher.publish(delta("one")).await.expect("room");
            let publish = line.expect("publish").await;
            if how == "fenced" {
                line.send(json!({"op": "error", "id": publish["id"], "code": "producer_fenced", "message": "old"}))
                    .await;
            } else {
                let reason = CloseReason {
                    code: CloseCode::Other(4409),
                    description: None,
                };
                line.0
                    .send(Message::Close(Some(reason)))
                    .await
                    .expect("a line");
            }
        }
        let error = timeout(PATIENCE, publisher.failure())
            .await
            .expect("it gives up");
        assert!(matches!(error, PublishError::Replaced(_)), "{how}: {error}");
    }
}

#[actix_web::test]
async fn an_attach_that_is_refused_for_good_is_final() {
    let broker = FakeBroker::start().await;
    let publisher = broker.publisher(attachment());
    let mut line = broker.accept().await;
    let claim = line.expect("attach").await;
    line.send(
        json!({"op": "error", "id": claim["id"], "code": "forbidden", "message": "not here"}),
    )
    .await;
    let error = timeout(PATIENCE, publisher.failure())
        .await
        .expect("it gives up");
    assert!(matches!(&error, PublishError::Refused(problem) if problem.code == "forbidden"));
}
