//! An HTTP service that says who may do what, asked as AppSync asks a Lambda authorizer.
//!
//! `call` asks once, `answers` keeps what was said and lets equal questions share a call, `breaker` leaves one alone that
//! fails. Shared by all threads; a call runs on the thread of whoever asked first, and goes on if they leave.
//!
//! Invariants:
//! - whatever fails is no yes: it is `Unavailable`, which coming back later may mend;
//! - a yes is good for the token, the operation and the channel that were asked about, and for nothing else.
//!
//! Bounds: `MAX_CALLS` at once, those of `call` and `answers`; nobody waits longer than `timeout` and `WAIT_MORE`.

mod answers;
mod breaker;
mod call;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, watch};
use tokio::time::{timeout, timeout_at};

use super::error::AuthError;
use super::grants::{GrantTexts, Grants, InvalidGrant};
use super::principal::{AuthorizerProof, Principal};
use super::token;
use crate::config::AuthorizerSettings;
use answers::{Answers, Asked, Found, Outcome};
use breaker::{Breaker, Call, Effect, Input};
use call::{CallError, Caller, Spoken};

const MAX_CALLS: usize = 64;
/// What a call may take beside its `timeout`, to be told of.
const WAIT_MORE: Duration = Duration::from_secs(1);

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Connect,
    Subscribe,
    Publish,
}

impl Operation {
    /// Its name, as AppSync has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "EVENT_CONNECT",
            Self::Subscribe => "EVENT_SUBSCRIBE",
            Self::Publish => "EVENT_PUBLISH",
        }
    }
}

/// What an authorizer is asked.
pub struct Question {
    /// As the client showed it.
    pub token: String,
    pub operation: Operation,
    /// `/news/latest` or `/news/*`; none at a connect.
    pub channel: Option<String>,
    /// The first segment of the channel.
    pub namespace: Option<String>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

/// Questions with the same key have the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    token: [u8; 32],
    operation: Operation,
    channel: Option<Box<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    authorized: bool,
    /// Who it is, if the authorizer says.
    subject: Option<Box<str>>,
}

impl Answer {
    fn no() -> Self {
        Self {
            authorized: false,
            subject: None,
        }
    }
}

/// Told what there is to count.
pub trait AuthorizerObserver: Send + Sync {
    /// What became of a call: `allowed`, `denied`, `unreachable`, `timeout`, `status` or `bad_answer`; or `not_asked`.
    fn called(&self, outcome: &'static str);
    /// An answer was there already.
    fn remembered(&self);
    /// 0: closed, everybody is asked; 1: a probe finds out; 2: open.
    fn breaker(&self, level: i64);
}

/// Who counts nothing.
impl AuthorizerObserver for () {
    fn called(&self, _outcome: &'static str) {}
    fn remembered(&self) {}
    fn breaker(&self, _level: i64) {}
}

/// See the module.
pub struct Authorizer {
    settings: AuthorizerSettings,
    caller: Caller,
    observer: Arc<dyn AuthorizerObserver>,
    answers: Mutex<Answers>,
    breaker: Mutex<Breaker>,
    turns: Semaphore,
}

impl Authorizer {
    pub fn new(
        settings: AuthorizerSettings,
        environment: String,
        observer: Arc<dyn AuthorizerObserver>,
    ) -> Arc<Self> {
        Arc::new(Self {
            caller: Caller::new(&settings, environment),
            settings,
            observer,
            answers: Mutex::default(),
            breaker: Mutex::default(),
            turns: Semaphore::new(MAX_CALLS),
        })
    }

    /// Who may do what was asked, and nothing else.
    pub async fn ask(self: &Arc<Self>, question: Question) -> Result<Principal, AuthError> {
        if question.token.len() > token::MAX_BYTES {
            return Err(AuthError::TooLarge(token::MAX_BYTES));
        }
        if question.token.is_empty() {
            return Err(AuthError::Missing);
        }
        let key = question.key();
        let grants = key.grants()?;
        let found = self.answers.lock().find(&key, Instant::now())?;
        let answer = match found {
            Found::Answer(answer) => {
                self.observer.remembered();
                answer
            }
            Found::Wait(asked) => self.wait(asked).await?,
            Found::Ask(sender) => {
                let asked = sender.subscribe();
                let asking = Asking {
                    authorizer: self.clone(),
                    key: key.clone(),
                    sender,
                    call: None,
                };
                if self.breaker.lock().refuses(Instant::now()) {
                    self.observer.called("not_asked");
                    return Err(AuthError::Unavailable);
                }
                // it goes on for the others if this one leaves
                actix_rt::spawn(asking.run(question));
                self.wait(asked).await?
            }
        };
        if !answer.authorized {
            return Err(AuthError::Denied);
        }
        let proof = AuthorizerProof {
            subject: answer.subject,
        };
        Ok(Principal::of_authorizer(&key.token_id(), proof, grants))
    }

    async fn wait(&self, mut asked: Asked) -> Result<Answer, AuthError> {
        let longest = self.settings.timeout.saturating_add(WAIT_MORE);
        let outcome = timeout(longest, asked.wait_for(Option::is_some)).await;
        // nobody says anything any more: who asked is gone, or takes too long
        let outcome = outcome.ok().and_then(Result::ok);
        let outcome = outcome.and_then(|outcome| outcome.clone().flatten());
        outcome.ok_or(AuthError::Unavailable)
    }

    fn step(&self, input: Input) -> Effect {
        let mut breaker = self.breaker.lock();
        let (next, effect) = breaker.step(input, Instant::now());
        *breaker = next;
        self.observer.breaker(next.level());
        effect
    }
}

/// A question under way. Dropped before its end, it leaves nobody waiting.
struct Asking {
    authorizer: Arc<Authorizer>,
    key: Key,
    sender: watch::Sender<Option<Outcome>>,
    /// The breaker waits to hear of it.
    call: Option<Call>,
}

impl Asking {
    async fn run(mut self, question: Question) {
        let authorizer = self.authorizer.clone();
        let deadline = tokio::time::Instant::now() + authorizer.settings.timeout;
        let Ok(Ok(_turn)) = timeout_at(deadline, authorizer.turns.acquire()).await else {
            authorizer.observer.called("not_asked");
            return;
        };
        // it may have opened while this one waited
        let Effect::Begin(call) = authorizer.step(Input::Ask) else {
            authorizer.observer.called("not_asked");
            return;
        };
        self.call = Some(call);
        let called = timeout_at(deadline, authorizer.caller.call(&question)).await;
        self.end(called.unwrap_or(Err(CallError::TimedOut)), call);
    }

    fn end(mut self, called: Result<Spoken, CallError>, call: Call) {
        let authorizer = self.authorizer.clone();
        self.call = None;
        match called {
            Ok((answer, ttl)) => {
                let said = if answer.authorized {
                    "allowed"
                } else {
                    "denied"
                };
                authorizer.observer.called(said);
                if authorizer.step(Input::Succeeded(call)) == Effect::Closed {
                    tracing::info!("the authorizer answers again");
                }
                let ttl = ttl.map_or(authorizer.settings.ttl, Duration::from_secs);
                self.tell(Some(answer), ttl);
            }
            Err(error) => {
                authorizer.observer.called(error.outcome());
                if let Effect::Opened(pause) = authorizer.step(Input::Failed(call)) {
                    let pause_ms = pause.as_millis();
                    tracing::warn!(%error, pause_ms, "the authorizer fails and is left alone");
                }
            }
        }
    }

    fn tell(&self, outcome: Outcome, ttl: Duration) {
        let mut answers = self.authorizer.answers.lock();
        answers.ended(&self.key, &outcome, ttl, Instant::now());
        self.sender.send_replace(Some(outcome));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.authorizer.step(Input::Abandoned(call));
        }
        if self.sender.borrow().is_none() {
            self.tell(None, Duration::ZERO);
        }
    }
}

impl Question {
    fn key(&self) -> Key {
        Key {
            token: Sha256::digest(&self.token).into(),
            operation: self.operation,
            channel: self.channel.as_deref().map(Into::into),
        }
    }
}

impl Key {
    /// What stands for the token where nobody says who it is of.
    fn token_id(&self) -> String {
        let digits = self.token[..16].iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    }

    /// What a yes grants: the channel, and at a trailing star all below it, as AppSync has it.
    fn grants(&self) -> Result<Grants, InvalidGrant> {
        let channel = self.channel.as_deref();
        let patterns = channel.map(|channel| match channel.strip_suffix("/*") {
            Some(above) => format!("{above}/**"),
            None => channel.to_owned(),
        });
        let patterns: Vec<String> = patterns.into_iter().collect();
        let mut grants = GrantTexts::default();
        match self.operation {
            Operation::Connect => {}
            Operation::Subscribe => grants.subscribe = patterns,
            Operation::Publish => grants.publish = patterns,
        }
        grants.compile("")
    }
}
