//! `tidewire demo --openai-base-url … --model …`: what a visitor writes is answered by a model.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::support::message::Message;
use crate::support::model::chunk;
use crate::support::*;

const TOPIC: &str = "/chat/demo";
const KEY: &str = "sk-very-s3cret";

/// A demo with a model, and a reader of its topic.
struct Room {
    demo: Broker,
    follower: Follower,
}

impl Room {
    fn open(model: &str) -> Room {
        Room::with(model, &[])
    }

    fn with(model: &str, more: &[&str]) -> Room {
        let mut args = vec!["--openai-base-url", model, "--model", "test-model"];
        args.extend(more);
        let demo = Broker::demo(&args, &[("OPENAI_API_KEY", KEY)]);
        let ask = Ask::topic(TOPIC).from("start");
        let mut follower = Follower::open(Transport::WebSocket, demo.addr, ask);
        follower.until("the agent", |r| !r.view(TOPIC).events.is_empty());
        Room { demo, follower }
    }

    fn ask(&self, text: &str) {
        self.say("run.steer", json!({ "text": text }));
    }

    fn say(&self, name: &str, data: Value) {
        self.demo
            .publish(TOPIC, json!([{ "type": name, "data": data }]));
    }

    /// The id of the nth answer, once it is begun.
    fn answer(&mut self, number: usize) -> String {
        let suffix = format!("-{number}");
        let is_it = move |id: &&String| id.starts_with("answer-") && id.ends_with(&suffix);
        let find = |r: &Reader| r.view(TOPIC).messages.keys().find(&is_it).cloned();
        self.follower
            .until("the answer to begin", |r| find(r).is_some());
        find(&self.follower.reader).expect("just seen")
    }

    /// The nth answer when it has ended, and its end event.
    fn ended(&mut self, number: usize) -> (Message, Value) {
        let id = self.answer(number);
        self.end_of(&id)
    }

    fn end_of(&mut self, id: &str) -> (Message, Value) {
        self.follower.until("the end of the answer", |r| {
            r.view(TOPIC).message(id).ended.is_some()
        });
        let view = self.follower.view();
        let end = view
            .events
            .iter()
            .rfind(|event| event["data"]["message_id"] == id && event["type"] != "message.started");
        (view.message(id).clone(), end.expect("an end event").clone())
    }

    fn until_text(&mut self, id: &str) {
        self.follower.until("some of the text", |r| {
            !r.view(TOPIC).message(id).of("text").is_empty()
        });
    }
}

fn reason(end: &Value) -> &str {
    end["data"]["reason"].as_str().unwrap_or_default()
}

#[test]
fn demo_a_model_answers_what_a_visitor_writes() {
    let server = ModelServer::start(|_, line| {
        line.begin();
        line.delta("reasoning_content", "Let me ");
        line.delta("reasoning", "see.");
        // cut anywhere: in a line, in a character, between CR and LF
        let text = format!(
            ": ping\r\n\r\ndata: {}\r\n\r\n",
            chunk("content", "Grüße 🌊")
        );
        for byte in text.as_bytes() {
            line.raw(&[*byte]);
        }
        line.raw(b": keep-alive\n\n");
        line.delta("content", "!");
        line.finish();
    });
    let mut room = Room::open(&server.url());
    room.ask("How are the tides?");
    let (message, end) = room.ended(1);
    assert_eq!(message.of("text"), "Grüße 🌊!");
    assert_eq!(message.of("reasoning"), "Let me see.");
    assert_eq!(end["type"], "message.completed");
    assert_eq!(end["data"]["finish_reason"], "stop");
    let usage = json!({ "input_tokens": 5, "output_tokens": 7 });
    assert_eq!(end["data"]["usage"], usage);

    let view = room.follower.view();
    let (_, prompt) = view
        .messages
        .iter()
        .find(|(id, _)| id.starts_with("prompt-"))
        .expect("the visitor's words, for every tab");
    assert_eq!(prompt.of("text"), "How are the tides?");
    let roles: Vec<&Value> = view
        .events
        .iter()
        .filter(|event| event["type"] == "message.started")
        .map(|event| &event["data"]["role"])
        .collect();
    assert_eq!(roles, ["user", "assistant"]);

    let asked = server.nth(1);
    assert!(asked.head.starts_with("post /v1/chat/completions "));
    assert!(asked.head.contains(&format!("authorization: bearer {KEY}")));
    assert_eq!(asked.body["model"], "test-model");
    assert_eq!(asked.body["stream"], true);
    let messages = json!([{ "role": "user", "content": "How are the tides?" }]);
    assert_eq!(asked.body["messages"], messages);
}

#[test]
fn demo_a_model_is_told_what_was_said_before() {
    let server = ModelServer::start(|asked, line| {
        line.begin();
        line.delta("content", &format!("You said {}", asked.prompt()));
        line.finish();
    });
    let mut room = Room::open(&server.url());
    room.ask("one");
    room.ask("two");
    let (message, _) = room.ended(2);
    assert_eq!(message.of("text"), "You said two");
    let messages = json!([
        { "role": "user", "content": "one" },
        { "role": "assistant", "content": "You said one" },
        { "role": "user", "content": "two" },
    ]);
    assert_eq!(server.nth(2).body["messages"], messages);
}

#[test]
fn demo_an_answer_is_stopped_and_so_is_the_model() {
    let (tell, hung_up) = channel();
    let tell = Mutex::new(tell);
    let server = ModelServer::start(move |asked, line| {
        line.begin();
        if asked.prompt() == "short" {
            line.delta("content", "ok");
            line.finish();
            return;
        }
        line.babble();
        let _ = tell.lock().expect("no poisoned channel").send(());
    });
    let mut room = Room::open(&server.url());
    room.ask("long");
    let id = room.answer(1);
    room.until_text(&id);
    room.say("run.cancel", json!({ "message_id": "of-somebody-else" }));
    room.say("run.cancel", json!({ "message_id": id }));
    let (_, end) = room.end_of(&id);
    assert_eq!(
        (end["type"].as_str(), reason(&end)),
        (Some("message.interrupted"), "cancelled")
    );
    hung_up
        .recv_timeout(PATIENCE)
        .expect("the request has ended");

    // without a message id it is for whatever is being written
    room.ask("long");
    let id = room.answer(2);
    room.until_text(&id);
    room.say("run.cancel", json!({}));
    assert_eq!(reason(&room.end_of(&id).1), "cancelled");
    room.ask("short");
    let (message, _) = room.ended(3);
    assert_eq!(message.of("text"), "ok");
}

#[test]
fn demo_a_model_that_fails_is_told_and_the_demo_goes_on() {
    let server = ModelServer::start(|asked, line| {
        let error =
            json!({ "error": { "message": format!("about {KEY}"), "type": "bad", "code": null } });
        match asked.prompt() {
            "fine" => {
                line.begin();
                line.delta("content", "fine");
                line.finish();
            }
            "in the middle" => {
                line.begin();
                line.delta("content", "so far");
                line.event(&error);
                line.end();
            }
            "early" => {
                line.begin();
                line.delta("content", "so far");
                line.end();
            }
            "cut" => {
                line.begin();
                line.delta("content", "so far");
            }
            "silence" => {
                line.begin();
                line.delta("content", "so far");
                line.until_hung_up();
            }
            "nothing at all" => line.until_hung_up(),
            "garbled" => {
                line.begin();
                line.raw(b"data: <html>\n\n");
            }
            "endless line" => {
                line.begin();
                while line.raw(&[b'x'; 16 << 10]) {}
            }
            status => line.refuse(status.parse().expect("a status"), &error),
        }
    });
    let mut room = Room::with(&server.url(), &["--model-timeout", "1"]);
    let cases = [
        ("401", "refused the API key (401)"),
        ("429", "at its limit; try again later (429)"),
        ("500", "failed (500)"),
        ("404", "does not know that model or address (404)"),
        ("in the middle", "broke off with an error"),
        ("early", "ended the answer before it was complete"),
        ("cut", "ended the answer before it was complete"),
        ("silence", "silent for 1 s"),
        ("nothing at all", "silent for 1 s"),
        ("garbled", "no streamed chat completion"),
        ("endless line", "no streamed chat completion"),
    ];
    for ((prompt, expected), number) in cases.into_iter().zip(1..) {
        room.ask(prompt);
        let (_, end) = room.ended(number);
        assert_eq!(end["type"], "message.interrupted", "{prompt}: {end}");
        assert_eq!(reason(&end), "error", "{prompt}");
        let told = end["data"]["message"].as_str().expect("a text");
        assert!(told.contains(expected), "{prompt}: {told}");
        let said = eventually("a line about it", || {
            Some(room.demo.stderr()).filter(|said| said.contains(told))
        });
        assert!(!said.contains(KEY) && !end.to_string().contains(KEY));
    }
    room.ask("fine");
    let (message, _) = room.ended(cases.len() + 1);
    assert_eq!(message.of("text"), "fine");
}

#[test]
fn demo_a_model_that_is_not_there_is_told() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1", nobody.local_addr().expect("bound"));
    drop(nobody);
    let mut room = Room::open(&url);
    room.ask("anybody?");
    let (_, end) = room.ended(1);
    let told = end["data"]["message"].as_str().expect("a text");
    assert!(told.contains("cannot be reached"), "{told}");
}

#[test]
fn demo_a_server_that_knows_no_stream_options_is_asked_without() {
    let server = ModelServer::start(|asked, line| {
        if asked.body["stream_options"].is_object() {
            line.refuse(400, &json!({ "error": "unknown member stream_options" }));
            return;
        }
        line.begin();
        line.delta("content", "plain");
        line.finish();
    });
    let mut room = Room::open(&server.url());
    room.ask("hello");
    assert_eq!(room.ended(1).0.of("text"), "plain");
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn demo_prompts_wait_in_a_queue_that_has_an_end() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let server = ModelServer::start(move |asked, line| {
        line.begin();
        if asked.prompt() == "0" {
            let _ = wait
                .lock()
                .expect("no poisoned channel")
                .recv_timeout(PATIENCE);
        }
        line.delta("content", asked.prompt());
        line.finish();
    });
    let mut room = Room::open(&server.url());
    for n in 0..10 {
        room.ask(&n.to_string());
    }
    let refusals = |r: &Reader| {
        let events = &r.view(TOPIC).events;
        let busy = events.iter().filter(|event| reason(event) == "busy");
        busy.cloned().collect::<Vec<Value>>()
    };
    room.follower
        .until("a refusal", |r| !refusals(r).is_empty());
    let refused = refusals(&room.follower.reader);
    let told = refused[0]["data"]["message"].as_str().expect("a text");
    assert!(told.contains("8 prompts are waiting"), "{told}");
    room.say("run.steer", json!({ "text": 7 }));
    go.send(()).expect("the model still waits");
    for n in 0..9 {
        assert_eq!(room.ended(n + 1).0.of("text"), n.to_string());
    }
    assert_eq!(refusals(&room.follower.reader).len(), 1);
    let nothing = |event: &&Value| event["data"]["message"] == "the prompt has no text";
    assert_eq!(
        room.follower.view().events.iter().filter(nothing).count(),
        1
    );
}

#[test]
fn demo_says_what_is_wrong_with_its_model() {
    let https_without_certificates = [
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/dev/null"),
    ];
    for (args, env, expected) in [
        (
            &["--openai-base-url", "http://x/v1"][..],
            &[][..],
            "--model",
        ),
        (
            &["--openai-base-url", "x/v1", "--model", "m"],
            &[],
            "no address",
        ),
        (
            &["--openai-base-url", "http://u:p@x/v1", "--model", "m"],
            &[],
            "user",
        ),
        (
            &["--openai-base-url", "http://x", "--model", "m"],
            &[("OPENAI_API_KEY", "a b")],
            "OPENAI_API_KEY",
        ),
        (
            &["--openai-base-url", "https://x", "--model", "m"],
            &https_without_certificates,
            "certificates",
        ),
    ] {
        let mut words = vec!["demo", "--listen", "127.0.0.1:0"];
        words.extend(args);
        let said = Shell::run_with(&words, env).fail();
        assert!(said.contains(expected), "{args:?}: {said}");
        assert!(
            !said.contains("panicked") && !said.contains("u:p"),
            "{said}"
        );
    }
}
