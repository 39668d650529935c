//! The demo agent at work: it hears what the visitors want, answers one prompt at a time, and, where it is
//! given a show, writes that again and again beside it.
//!
//! Whatever it writes is a future that the desk holds: a message is stopped by dropping it (which ends the
//! model's request, too) and publishing its last word.
//!
//! Bounds: `QUEUE` prompts wait; one more is refused with a message that says so.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::super::target::say;
use super::history::History;
use super::model::{Model, ModelError, Piece};
use super::prompt::{Wish, wish};
use super::script::{Script, pause_after};
use super::tokens::tokens;
use crate::client::publisher::{PublishError, random_id};
use crate::client::{ControlEvent, NewEvent, Publisher, TextKind};

/// Prompts that wait while one is answered.
const QUEUE: usize = 8;
/// Between two shows.
const REST: Duration = Duration::from_secs(5);
const COMMAND: &str = "demo";

/// Says to a prompt what is so, where no model is asked.
const REPLY: &str = "I am a script and cannot answer that, but your words have gone the whole way: \
    this page published `run.steer`, the broker handed it to me as a control event, I acknowledged it, \
    and now every open tab sees these tokens, one by one. Press Stop, and the rest is never written. \
    For an answer, start the demo with a model: \
    `tidewire demo --openai-base-url http://127.0.0.1:11434/v1 --model NAME`.";

/// Who answers prompts.
pub enum Voice {
    Script,
    Model(Model),
}

/// A text that is written again and again.
pub struct Show {
    pub title: String,
    pub text: String,
}

/// What the desk works with.
pub struct Office<'a> {
    pub publisher: &'a Publisher,
    pub topic: &'a str,
    pub voice: &'a Voice,
    pub show: Option<&'a Show>,
    /// Tokens per second of everything that is scripted.
    pub rate: f64,
}

type Work<'a> = LocalBoxFuture<'a, Result<(), PublishError>>;

/// A message that is being written.
struct Writing<'a> {
    message_id: String,
    work: Work<'a>,
}

/// A prompt whose message is published.
struct Prompt {
    number: u64,
    text: String,
}

/// An answer that is being written, and what of it is said so far.
struct Answering<'a> {
    writing: Writing<'a>,
    prompt: String,
    said: Rc<RefCell<String>>,
}

enum Stage<'a> {
    Resting(Work<'a>),
    Writing(Writing<'a>),
}

struct Desk<'a> {
    office: &'a Office<'a>,
    /// Tells this life's message ids from those of others.
    life: String,
    asked: u64,
    shown: u64,
    queue: VecDeque<Prompt>,
    answering: Option<Answering<'a>>,
    stage: Option<Stage<'a>>,
    history: History,
}

/// Works until nothing can be published any more.
pub async fn work(office: &Office<'_>) -> PublishError {
    let mut desk = Desk {
        office,
        life: random_id(),
        asked: 0,
        shown: 0,
        queue: VecDeque::new(),
        answering: None,
        stage: None,
        history: History::default(),
    };
    if let Voice::Model(model) = office.voice {
        let ready = json!({"status": "ready", "model": model.name()});
        desk.publish(NewEvent::other("agent.status", &ready));
    }
    if let Some(show) = office.show {
        desk.begin_show(show);
    }
    loop {
        let step = tokio::select! {
            event = office.publisher.control() => event.map(|event| desk.hear(&event)),
            done = answered(&mut desk.answering) => done.map(|()| desk.end_answer()),
            done = staged(&mut desk.stage) => done.map(|()| desk.next_stage()),
        };
        if let Err(error) = step {
            return error;
        }
    }
}

async fn answered(answering: &mut Option<Answering<'_>>) -> Result<(), PublishError> {
    match answering {
        Some(answering) => (&mut answering.writing.work).await,
        None => pending().await,
    }
}

async fn staged(stage: &mut Option<Stage<'_>>) -> Result<(), PublishError> {
    match stage {
        Some(Stage::Resting(work) | Stage::Writing(Writing { work, .. })) => work.await,
        None => pending().await,
    }
}

impl<'a> Desk<'a> {
    fn publish(&self, event: NewEvent) {
        self.office.publisher.publish_now(event);
    }

    fn hear(&mut self, event: &ControlEvent) {
        let writes = [self.answer_id(), self.show_id()];
        let is_mine = |id: &str| writes.contains(&Some(id));
        let wish = wish(event.event.name(), event.event.data(), is_mine);
        if !matches!(wish, Wish::Leave) {
            self.office.publisher.acknowledge(event);
        }
        match wish {
            Wish::Ask(text) => self.take_prompt(text),
            Wish::Unusable(why) => self.refuse("error", &why),
            Wish::Cancel(message_id) => self.cancel(message_id.as_deref()),
            Wish::Leave => {}
        }
    }

    fn answer_id(&self) -> Option<&str> {
        let answering = self.answering.as_ref()?;
        Some(&answering.writing.message_id)
    }

    fn show_id(&self) -> Option<&str> {
        match &self.stage {
            Some(Stage::Writing(writing)) => Some(&writing.message_id),
            _ => None,
        }
    }

    fn take_prompt(&mut self, text: String) {
        self.asked += 1;
        let number = self.asked;
        let id = self.id("prompt", number);
        self.publish(NewEvent::started(&id, json!({"role": "user"})));
        self.publish(NewEvent::delta(&id, TextKind::Text, text.as_str()));
        self.publish(NewEvent::completed(&id, Value::Null));
        if self.queue.len() >= QUEUE {
            let why =
                format!("{QUEUE} prompts are waiting already; ask again when one is answered");
            self.refuse("busy", &why);
            return;
        }
        self.queue.push_back(Prompt { number, text });
        self.answer_next();
    }

    /// An answer that says why there is none.
    fn refuse(&mut self, reason: &str, why: &str) {
        let id = format!("refusal-{}-{}", self.life, random_id());
        self.publish(NewEvent::started(
            &id,
            json!({"role": "assistant", "agent": "demo"}),
        ));
        self.publish(NewEvent::interrupted_because(&id, reason, why));
    }

    fn cancel(&mut self, message_id: Option<&str>) {
        let meant = |id: Option<&str>| id.is_some() && (message_id.is_none() || message_id == id);
        if meant(self.answer_id())
            && let Some(answering) = &self.answering
        {
            self.stop(&answering.writing.message_id);
            self.end_answer();
        }
        if meant(self.show_id())
            && let Some(id) = self.show_id()
        {
            self.stop(id);
            self.next_stage();
        }
    }

    fn stop(&self, message_id: &str) {
        self.publish(NewEvent::interrupted(message_id, "cancelled"));
        self.publish(NewEvent::other("agent.status", &json!({"status": "idle"})));
    }

    fn id(&self, what: &str, number: u64) -> String {
        format!("{what}-{}-{number}", self.life)
    }

    fn end_answer(&mut self) {
        if let Some(answering) = self.answering.take() {
            self.history
                .add(&answering.prompt, &answering.said.borrow());
        }
        self.answer_next();
    }

    fn answer_next(&mut self) {
        if self.answering.is_some() {
            return;
        }
        let Some(Prompt { number, text }) = self.queue.pop_front() else {
            return;
        };
        let said = Rc::new(RefCell::new(String::new()));
        let writer = Writer {
            office: self.office,
            message_id: self.id("answer", number),
            said: said.clone(),
        };
        let parent = self.id("prompt", number);
        let messages = self.history.messages(&text);
        self.answering = Some(Answering {
            writing: Writing {
                message_id: writer.message_id.clone(),
                work: Box::pin(writer.answer(parent, messages)),
            },
            prompt: text,
            said,
        });
    }

    fn next_stage(&mut self) {
        let resting = async {
            sleep(REST).await;
            Ok(())
        };
        self.stage = match (self.stage.take(), self.office.show) {
            (Some(Stage::Writing(_)), _) => Some(Stage::Resting(Box::pin(resting))),
            (Some(Stage::Resting(_)), Some(show)) => {
                self.begin_show(show);
                return;
            }
            _ => None,
        };
    }

    fn begin_show(&mut self, show: &'a Show) {
        self.shown += 1;
        let message_id = self.id("demo", self.shown);
        let work = perform(self.office, show, message_id.clone(), self.shown);
        self.stage = Some(Stage::Writing(Writing {
            message_id,
            work: Box::pin(work),
        }));
    }
}

async fn perform(
    office: &Office<'_>,
    show: &Show,
    message_id: String,
    run: u64,
) -> Result<(), PublishError> {
    let script = Script {
        message_id: &message_id,
        run,
        title: &show.title,
        text: &show.text,
        rate: office.rate,
    };
    for step in script.steps(fastrand::f64) {
        sleep(step.pause).await;
        office.publisher.publish(step.event).await?;
    }
    Ok(())
}

/// Writes one answer.
struct Writer<'a> {
    office: &'a Office<'a>,
    message_id: String,
    said: Rc<RefCell<String>>,
}

enum Broken {
    Model(ModelError),
    Broker(PublishError),
}

impl From<PublishError> for Broken {
    fn from(error: PublishError) -> Self {
        Self::Broker(error)
    }
}

impl Writer<'_> {
    async fn answer(self, parent: String, messages: Vec<Value>) -> Result<(), PublishError> {
        let mut started = json!({"role": "assistant", "agent": "demo", "parent_id": parent});
        if let Voice::Model(model) = self.office.voice {
            started["metadata"] = json!({"model": model.name()});
        }
        self.publish(NewEvent::started(&self.message_id, started))
            .await?;
        self.tell_status("thinking").await?;
        let written = match self.office.voice {
            Voice::Script => self.recite().await,
            Voice::Model(model) => self.relay(model, &messages).await,
        };
        let end = match written {
            Ok(end) => NewEvent::completed(&self.message_id, end),
            Err(Broken::Broker(error)) => return Err(error),
            Err(Broken::Model(error)) => {
                say(COMMAND, error.in_detail());
                NewEvent::interrupted_because(&self.message_id, "error", &error.to_string())
            }
        };
        self.publish(end).await?;
        self.tell_status("idle").await
    }

    async fn recite(&self) -> Result<Value, Broken> {
        let pieces = tokens(REPLY);
        for piece in &pieces {
            sleep(pause_after(piece, fastrand::f64(), self.office.rate)).await;
            self.say(TextKind::Text, (*piece).into()).await?;
        }
        Ok(json!({"finish_reason": "stop", "usage": {"output_tokens": pieces.len()}}))
    }

    /// Passes on what the model says; gives what belongs into the end event.
    async fn relay(&self, model: &Model, messages: &[Value]) -> Result<Value, Broken> {
        let mut end = json!({});
        let mut answer = model.ask(messages).await.map_err(Broken::Model)?;
        while let Some(pieces) = answer.next().await.map_err(Broken::Model)? {
            for piece in pieces {
                match piece {
                    Piece::Reasoning(text) => self.say(TextKind::Reasoning, text).await?,
                    Piece::Text(text) => self.say(TextKind::Text, text).await?,
                    Piece::Finish(reason) => end["finish_reason"] = reason.into(),
                    Piece::Usage(usage) => end["usage"] = usage,
                }
            }
        }
        Ok(end)
    }

    async fn say(&self, kind: TextKind, text: String) -> Result<(), PublishError> {
        if kind == TextKind::Text {
            if self.said.borrow().is_empty() {
                self.tell_status("writing").await?;
            }
            self.said.borrow_mut().push_str(&text);
        }
        self.publish(NewEvent::delta(&self.message_id, kind, text))
            .await
    }

    async fn tell_status(&self, status: &str) -> Result<(), PublishError> {
        let mut data = json!({"status": status});
        if let Some(readers) = self.office.publisher.readers(self.office.topic) {
            data["readers"] = readers.into();
        }
        self.publish(NewEvent::other("agent.status", &data)).await
    }

    async fn publish(&self, event: NewEvent) -> Result<(), PublishError> {
        self.office.publisher.publish(event).await
    }
}
