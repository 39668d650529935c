//! The window against a small model of the broker that loses lines, answers, rates and whole logs.

use super::*;
use crate::client::fold::Fold;
use crate::client::wire::{Event, ServerFrame, TextKind};
use proptest::prelude::*;
use serde_json::json;

const LIMITS: Limits = Limits {
    max_frame_bytes: 1 << 20,
    max_event_bytes: 256 << 10,
    max_batch_events: 1000,
    window_bytes: 1 << 20,
};

fn window() -> Window {
    let producer = Producer {
        id: "p".into(),
        epoch: 1,
    };
    let mut window = Window::new(
        "/a/b",
        producer,
        Bounds {
            events: 1000,
            bytes: 1 << 20,
        },
        1 << 20,
    );
    window.on_connected(LIMITS);
    window
}

fn delta(text: &str) -> NewEvent {
    NewEvent::delta("m", TextKind::Text, text)
}

fn frame(text: Option<String>) -> Value {
    serde_json::from_str(&text.expect("a frame")).expect("JSON")
}

fn seq(frame: &Value) -> (u64, u64) {
    (
        frame["producer"]["epoch"].as_u64().expect("epoch"),
        frame["producer"]["seq"].as_u64().expect("seq"),
    )
}

fn text_of(frame: &Value) -> String {
    let events = frame["events"].as_array().expect("events");
    events
        .iter()
        .filter_map(|e| e["data"]["text"].as_str())
        .collect()
}

fn published(frame: &Value, epoch: &str) -> Published {
    let answer = json!({"op": "published", "id": frame["id"], "epoch": epoch, "first_seq": 1, "last_seq": 1, "duplicate": false});
    let Ok(ServerFrame::Published(answer)) = ServerFrame::parse(&answer.to_string()) else {
        panic!("no answer")
    };
    answer
}

fn refused(
    frame: &Value,
    code: &str,
    retry_after_ms: Option<u64>,
    expected_seq: Option<u64>,
) -> Problem {
    Problem {
        id: frame["id"].as_u64(),
        code: code.into(),
        retry_after_ms,
        expected_seq,
        ..Problem::default()
    }
}

#[test]
fn the_first_delta_goes_at_once_and_others_gather_while_it_is_on_its_way() {
    let now = Instant::now();
    let mut window = window();
    window.push(delta("a"), now);
    let first = frame(window.next_frame(now));
    assert_eq!((seq(&first), text_of(&first)), ((1, 1), "a".into()));
    window.push(delta("b"), now);
    window.push(delta("c"), now);
    assert_eq!(window.next_frame(now), None);
    assert_eq!(window.next_wake(), Some(now + GATHER));
    let second = frame(window.next_frame(now + GATHER));
    assert_eq!(second["events"].as_array().map(Vec::len), Some(1), "joined");
    assert_eq!((seq(&second), text_of(&second)), ((1, 2), "bc".into()));
    window.push(delta("d"), now + GATHER);
    assert_eq!(window.next_frame(now + GATHER), None);
    window.on_published(&published(&first, "aaaaaaaa"));
    window.on_published(&published(&second, "aaaaaaaa"));
    assert_eq!(
        text_of(&frame(window.next_frame(now + GATHER))),
        "d",
        "nothing is on its way: at once"
    );
}

#[test]
fn after_a_cut_all_that_is_unanswered_goes_again_unchanged_and_in_order() {
    let now = Instant::now();
    let mut window = window();
    window.push(delta("a"), now);
    let first = frame(window.next_frame(now));
    window.push(delta("b"), now);
    let second = frame(window.next_frame(now + GATHER));
    window.on_disconnected();
    assert_eq!(window.next_frame(now + GATHER), None);
    window.push(delta("c"), now + GATHER);
    window.on_connected(LIMITS);
    let again = [
        frame(window.next_frame(now + GATHER)),
        frame(window.next_frame(now + GATHER)),
    ];
    for (before, after) in [first.clone(), second].iter().zip(&again) {
        assert_eq!(
            (seq(before), &before["events"]),
            (seq(after), &after["events"])
        );
        assert_ne!(before["id"], after["id"]);
    }
    assert!(
        !window.on_published(&published(&first, "aaaaaaaa")).progress,
        "an answer to the old attempt settles nothing"
    );
    assert!(
        window
            .on_published(&published(&again[0], "aaaaaaaa"))
            .progress
    );
}

#[test]
fn a_rate_is_waited_for_and_then_the_same_seqs_go_in_order() {
    let now = Instant::now();
    let mut window = window();
    window.push(delta("a"), now);
    let first = frame(window.next_frame(now));
    window.push(delta("b"), now);
    let second = frame(window.next_frame(now + GATHER));
    let settled = window
        .on_refused(&refused(&first, "rate_limited", Some(300), None), now)
        .expect("it passes");
    assert!(!settled.progress);
    window
        .on_refused(&refused(&second, "rate_limited", Some(300), None), now)
        .expect("it passes");
    let later = now + Duration::from_millis(300);
    assert_eq!(
        (window.next_frame(now + GATHER), window.next_wake()),
        (None, Some(later))
    );
    assert_eq!(seq(&frame(window.next_frame(later))), (1, 1));
    assert_eq!(seq(&frame(window.next_frame(later))), (1, 2));
}

#[test]
fn answers_out_of_order_neither_lose_nor_hold_up_anything() {
    let now = Instant::now();
    let mut window = window();
    let sent: Vec<Value> = (0..4)
        .map(|n| {
            window.push(delta(&n.to_string()), now);
            frame(window.next_frame(now + GATHER))
        })
        .collect();
    let limited = refused(&sent[2], "rate_limited", Some(50), None);
    window.on_refused(&limited, now).expect("it passes");
    assert!(
        !window
            .on_published(&published(&sent[1], "aaaaaaaa"))
            .progress
    );
    assert!(
        window
            .on_published(&published(&sent[0], "aaaaaaaa"))
            .progress
    );
    assert_eq!(window.next_frame(now), None, "paused");
    let later = now + Duration::from_millis(50);
    let again = [
        frame(window.next_frame(later)),
        frame(window.next_frame(later)),
    ];
    assert_eq!([seq(&again[0]), seq(&again[1])], [(1, 3), (1, 4)]);
    window.on_published(&published(&again[1], "aaaaaaaa"));
    window.on_disconnected();
    window.on_connected(LIMITS);
    let third = frame(window.next_frame(later));
    assert_eq!(seq(&third), (1, 3));
    assert_eq!(window.next_frame(later), None, "the fourth is acknowledged");
    window.on_published(&published(&third, "aaaaaaaa"));
    assert!(window.is_empty());
}

#[test]
fn a_broker_that_forgot_is_told_the_whole_text_again() {
    let now = Instant::now();
    let mut window = window();
    window.push(NewEvent::started("m", json!({"role": "assistant"})), now);
    window.push(delta("one "), now);
    let first = frame(window.next_frame(now));
    window.on_published(&published(&first, "aaaaaaaa"));
    window.push(delta("two "), now);
    let second = frame(window.next_frame(now));
    window.push(delta("three"), now);
    window.on_disconnected();
    window.on_connected(LIMITS);
    let again = frame(window.next_frame(now));
    assert_eq!(seq(&again), seq(&second));
    let settled = window
        .on_refused(&refused(&again, "producer_unknown", None, None), now)
        .expect("it is mended");
    assert_eq!(
        settled.loss,
        Some(Loss::Forgotten {
            bytes: 4,
            missing: 0
        })
    );
    let whole = frame(window.next_frame(now));
    assert_eq!(
        (seq(&whole), text_of(&whole)),
        ((2, 1), "one two three".into())
    );
    assert_eq!(whole["events"][0]["type"], "message.started");
    assert!(
        window
            .on_published(&published(&whole, "bbbbbbbb"))
            .loss
            .is_none()
    );
    assert!(window.is_empty());
}

#[test]
fn a_log_replaced_under_the_writer_is_mended_by_the_end_event() {
    let now = Instant::now();
    let mut window = window();
    window.push(delta("one "), now);
    let first = frame(window.next_frame(now));
    window.on_published(&published(&first, "aaaaaaaa"));
    window.push(delta("two "), now);
    let second = frame(window.next_frame(now));
    assert_eq!(
        window.on_published(&published(&second, "bbbbbbbb")).loss,
        Some(Loss::Replaced)
    );
    window.push(delta("three"), now);
    let third = frame(window.next_frame(now));
    window.push(NewEvent::completed("m", Value::Null), now);
    assert_eq!(
        window.next_frame(now + GATHER),
        None,
        "the end waits for what comes before it"
    );
    assert_eq!(window.next_wake(), None);
    window.on_published(&published(&third, "bbbbbbbb"));
    let end = frame(window.next_frame(now + GATHER));
    assert_eq!(
        end["events"][0]["data"],
        json!({"message_id": "m", "text": "one two three"})
    );
}

#[test]
fn an_attached_producer_keeps_its_epoch_where_only_the_end_of_the_log_is_gone() {
    let now = Instant::now();
    let mut window = window();
    window.assign(4);
    for text in ["one ", "two "] {
        window.push(delta(text), now);
        let sent = frame(window.next_frame(now));
        window.on_published(&published(&sent, "aaaaaaaa"));
    }
    window.push(delta("three"), now);
    let third = frame(window.next_frame(now));
    assert_eq!(seq(&third), (4, 3));
    let settled = window
        .on_refused(&refused(&third, "producer_gap", None, Some(2)), now)
        .expect("it is mended");
    assert!(settled.renumbered);
    assert_eq!(settled.loss, Some(Loss::Replaced));
    window.on_disconnected();
    window.assign(4);
    window.on_connected(LIMITS);
    let again = frame(window.next_frame(now));
    assert_eq!((seq(&again), text_of(&again)), ((4, 2), "three".into()));
    window.on_published(&published(&again, "aaaaaaaa"));
    window.push(NewEvent::completed("m", Value::Null), now);
    let end = frame(window.next_frame(now));
    assert_eq!(end["events"][0]["data"]["text"], "one two three");
}

#[test]
fn what_no_repetition_mends_is_an_error() {
    let now = Instant::now();
    for (code, expected) in [
        ("message_owned", None),
        ("producer_fenced", None),
        ("producer_gap", Some(7)),
        ("producer_unknown", None),
    ] {
        let mut window = window();
        window.push(delta("a"), now);
        let first = frame(window.next_frame(now));
        let problem = window
            .on_refused(&refused(&first, code, None, expected), now)
            .expect_err(code);
        assert_eq!(problem.code, code);
    }
}

#[test]
fn a_full_window_has_no_room_until_something_is_acknowledged() {
    let now = Instant::now();
    let producer = Producer {
        id: "p".into(),
        epoch: 1,
    };
    let mut window = Window::new(
        "/a/b",
        producer,
        Bounds {
            events: 100,
            bytes: 1000,
        },
        1000,
    );
    window.on_connected(LIMITS);
    window.push(delta(&"x".repeat(1000)), now);
    assert!(!window.has_room());
    let first = frame(window.next_frame(now));
    assert!(!window.has_room());
    window.on_published(&published(&first, "aaaaaaaa"));
    assert!(window.has_room() && window.is_empty());
}

#[test]
fn publishes_stay_within_what_the_broker_takes() {
    let now = Instant::now();
    let mut window = window();
    window.on_connected(Limits {
        max_batch_events: 3,
        ..LIMITS
    });
    for n in 0..10 {
        window.push(NewEvent::other("a.b", &n), now);
    }
    window.push(delta(&"\u{1}".repeat(200_000)), now);
    let mut text = String::new();
    while let Some(sent) = window.next_frame(now + GATHER) {
        assert!(sent.len() < PUBLISH_BYTES + 4096, "{}", sent.len());
        let sent = frame(Some(sent));
        assert!(sent["events"].as_array().map(Vec::len) <= Some(3));
        text.push_str(&text_of(&sent));
        window.on_published(&published(&sent, "aaaaaaaa"));
    }
    assert_eq!(text.len(), 200_000);
}

/// The broker as far as a publisher can see it: one topic, one producer, and a log that can go.
#[derive(Default)]
struct Model {
    log: Vec<Value>,
    lives: u32,
    producer: Option<(u64, u64)>,
    answered: Vec<(u64, u64)>,
    refuse_next: bool,
}

impl Model {
    fn restart(&mut self) {
        *self = Self {
            lives: self.lives + 1,
            ..Self::default()
        };
    }

    fn on_frame(&mut self, frame: &Value) -> Value {
        let (epoch, seq) = seq(frame);
        let log = format!("life-{:04}", self.lives);
        let refusal = |code: &str| json!({"op": "error", "id": frame["id"], "code": code, "message": "", "retry_after_ms": 10});
        if std::mem::take(&mut self.refuse_next) {
            return refusal("rate_limited");
        }
        let done = json!({"op": "published", "id": frame["id"], "epoch": log, "first_seq": 1, "last_seq": 1});
        if self.answered.contains(&(epoch, seq)) {
            return done;
        }
        match self.producer {
            None if seq != 1 => return refusal("producer_unknown"),
            Some((known, _)) if epoch < known => return refusal("producer_fenced"),
            Some((known, last)) if epoch == known && seq != last + 1 => {
                let mut gap = refusal("producer_gap");
                gap["expected_seq"] = json!(last + 1);
                return gap;
            }
            Some((known, _)) if epoch > known && seq != 1 => return refusal("producer_unknown"),
            _ => {}
        }
        self.producer = Some((epoch, seq));
        self.answered.push((epoch, seq));
        self.log
            .extend(frame["events"].as_array().expect("events").iter().cloned());
        done
    }

    fn text(&self) -> Option<String> {
        let mut fold = Fold::default();
        for event in &self.log {
            fold.apply(
                &Event::parse(serde_json::value::to_raw_value(event).expect("json"))
                    .expect("an event"),
            );
        }
        fold.get("m").map(|m| m.text())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8),
    Wait(u8),
    Send,
    Arrive,
    Answer,
    Cut,
    Restart,
    Refuse,
    Swap,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1u8..5).prop_map(Step::Push),
        4 => (1u8..30).prop_map(Step::Wait),
        8 => Just(Step::Send),
        8 => Just(Step::Arrive),
        8 => Just(Step::Answer),
        1 => Just(Step::Cut),
        1 => Just(Step::Restart),
        1 => Just(Step::Refuse),
        1 => Just(Step::Swap),
    ]
}

/// The two ends and the line between them.
struct World {
    window: Window,
    model: Model,
    now: Instant,
    to_broker: VecDeque<Value>,
    to_client: VecDeque<Value>,
    text: String,
    attached: bool,
}

impl World {
    fn new(attached: bool) -> Self {
        let (to_broker, to_client) = Default::default();
        let mut window = window();
        if attached {
            window.assign(7);
        }
        Self {
            attached,
            window,
            model: Model::default(),
            now: Instant::now(),
            to_broker,
            to_client,
            text: String::new(),
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Push(length) => {
                for _ in 0..*length {
                    let piece = format!("{} ", self.text.len());
                    self.text.push_str(&piece);
                    self.window.push(delta(&piece), self.now);
                }
            }
            Step::Wait(ms) => self.now += Duration::from_millis((*ms).into()),
            Step::Send => {
                if let Some(sent) = self.window.next_frame(self.now) {
                    self.to_broker.push_back(frame(Some(sent)));
                }
            }
            Step::Arrive => {
                if let Some(frame) = self.to_broker.pop_front() {
                    let answer = self.model.on_frame(&frame);
                    self.to_client.push_back(answer);
                }
            }
            Step::Answer => self.answer(),
            Step::Cut => self.cut(),
            Step::Restart => {
                self.model.restart();
                self.cut();
            }
            Step::Refuse => self.model.refuse_next = true,
            // no promise of the broker's is needed for the text to be right
            Step::Swap if self.to_client.len() > 1 => self.to_client.swap(0, 1),
            Step::Swap => {}
        }
    }

    fn cut(&mut self) {
        self.to_broker.clear();
        self.to_client.clear();
        self.window.on_disconnected();
        self.window.on_connected(LIMITS);
    }

    fn answer(&mut self) {
        let Some(answer) = self.to_client.pop_front() else {
            return;
        };
        let settled = match ServerFrame::parse(&answer.to_string()) {
            Ok(ServerFrame::Published(answer)) => self.window.on_published(&answer),
            Ok(ServerFrame::Error(problem)) => self
                .window
                .on_refused(&problem, self.now)
                .expect("nothing here is final"),
            other => panic!("{other:?}"),
        };
        // an attached producer goes on over a new connection
        if settled.renumbered && self.attached {
            self.cut();
        }
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.window.is_empty() {
                return;
            }
            for step in [Step::Wait(30), Step::Send, Step::Arrive, Step::Answer] {
                self.run(&step);
            }
        }
        panic!("it never settles");
    }
}

proptest! {
    #[test]
    fn whatever_happens_on_the_way_the_log_ends_with_the_text_once(steps in prop::collection::vec(step(), 0..200), attached: bool) {
        let mut world = World::new(attached);
        world.run(&Step::Push(1));
        for step in &steps {
            world.run(step);
        }
        // a broker that restarts after the last answer is told nothing more: only an end event would notice
        world.window.push(NewEvent::completed("m", Value::Null), world.now);
        world.settle();
        prop_assert_eq!(world.model.text(), Some(world.text.clone()));
        let restarted = steps.iter().any(|step| matches!(step, Step::Restart));
        if !restarted {
            let mut deltas = String::new();
            for event in world.model.log.iter().filter(|e| e["type"] == "token.delta") {
                deltas.push_str(event["data"]["text"].as_str().expect("text"));
            }
            prop_assert_eq!(deltas, world.text);
        }
    }
}
