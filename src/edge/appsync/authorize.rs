//! Who somebody is, by what they show: with the handshake, with each message, and with each request.

use std::cell::RefCell;
use std::rc::Rc;

use actix_http::header::HeaderMap;
use bytes::Bytes;

use crate::auth::authorizer::{Operation, Question};
use crate::auth::sigv4::SignedRequest;
use crate::auth::{AuthError, Principal, Proof};
use crate::broker::Broker;
use crate::broker::caller::Caller;
use crate::broker::directory::unix_millis;
use crate::broker::problem::Problem;
use crate::dialect::appsync::authorization::{Authorization, Kind};

/// Tokens and keys of one connection whose owners are remembered.
const MAX_KNOWN: usize = 8;

/// The headers of the handshake or request, for an authorizer that wants to see them.
pub type Headers = Rc<[(String, String)]>;

/// What somebody wants to do, and what they show for it.
pub struct Asked<'a> {
    pub operation: Operation,
    pub channel: Option<&'a str>,
    pub namespace: Option<&'a str>,
    pub authorization: &'a Authorization,
    /// Any of these may be what was signed,
    pub bodies: &'a [Bytes],
    /// with this query.
    pub query: &'a str,
    pub headers: &'a Headers,
}

/// Says who that is.
pub async fn authenticate(broker: &Broker, asked: &Asked<'_>) -> Result<Principal, AuthError> {
    let answer = ask(broker, asked).await;
    broker.metrics.count_admission(&answer);
    answer
}

async fn ask(broker: &Broker, asked: &Asked<'_>) -> Result<Principal, AuthError> {
    let auth = &broker.auth;
    if auth.is_open() {
        return Ok(Principal::open());
    }
    match asked.authorization.kind() {
        None => auth.without_credential().ok_or(AuthError::Missing),
        Some(Kind::ApiKey(text)) => auth.authenticate_api_key(text),
        Some(Kind::Signature(text)) => {
            let request = SignedRequest {
                method: "POST",
                path: super::PUBLISH_PATH,
                query: asked.query,
                headers: &|name| asked.authorization.get(name),
                bodies: asked.bodies,
            };
            auth.authenticate_signed(text, &request, unix_millis() / 1000)
        }
        Some(Kind::Token(text)) if !auth.has_authorizer() => auth.authenticate(text).await,
        Some(Kind::Token(text)) => {
            // what no issuer of ours has to do with is for the authorizer to judge
            let ours = match auth.takes_tokens() || text.starts_with("tw_") {
                true => auth.authenticate(text).await,
                false => Err(AuthError::Issuer),
            };
            match ours {
                Err(AuthError::Malformed | AuthError::Issuer | AuthError::UnknownKey) => {
                    auth.ask_authorizer(question(asked, text)).await
                }
                known => known,
            }
        }
    }
}

fn question(asked: &Asked<'_>, token: &str) -> Question {
    Question {
        token: token.to_owned(),
        operation: asked.operation,
        channel: asked.channel.map(str::to_owned),
        namespace: asked.namespace.map(str::to_owned),
        headers: asked.headers.to_vec(),
    }
}

/// The headers that an authorizer is shown; none, where there is no authorizer.
pub fn shown_headers(broker: &Broker, headers: &HeaderMap) -> Headers {
    if !broker.auth.has_authorizer() {
        return Rc::default();
    }
    headers
        .iter()
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect()
}

/// Who showed what on one connection: nobody is looked up again for each of their messages.
#[derive(Default)]
pub struct Known(RefCell<Vec<(Shown, Principal)>>);

/// A token or a key, as it was shown.
#[derive(PartialEq, Eq, Clone)]
struct Shown {
    is_key: bool,
    text: Box<str>,
}

impl Shown {
    /// `None`: what is shown is good for one message only, or there is nothing.
    fn of(authorization: &Authorization) -> Option<Self> {
        let (is_key, text) = match authorization.kind() {
            Some(Kind::ApiKey(text)) => (true, text),
            Some(Kind::Token(text)) => (false, text),
            Some(Kind::Signature(_)) | None => return None,
        };
        let text = text.into();
        Some(Self { is_key, text })
    }
}

impl Known {
    /// Says who that is, with the rights that they have now. `on`: the connection it came on.
    pub async fn caller(
        &self,
        broker: &Broker,
        asked: &Asked<'_>,
        on: &Caller,
    ) -> Result<Caller, Problem> {
        let shown = Shown::of(asked.authorization);
        let known = shown.as_ref().and_then(|shown| {
            let known = self.0.borrow();
            let found = known.iter().find(|(known, _)| known == shown);
            found.map(|(_, principal)| principal.clone())
        });
        if let Some(principal) = known
            && let Ok(caller) = broker.still(&on.with_principal(broker, principal))
        {
            return Ok(caller);
        }
        let principal = authenticate(broker, asked).await?;
        // what an authorizer said holds for what it was asked only
        if let Some(shown) = shown.filter(|_| !matches!(principal.proof(), Proof::Authorizer(_))) {
            let mut known = self.0.borrow_mut();
            known.retain(|(known, _)| *known != shown);
            if known.len() >= MAX_KNOWN {
                known.remove(0);
            }
            known.push((shown, principal.clone()));
        }
        Ok(on.with_principal(broker, principal))
    }
}
