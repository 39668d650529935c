//! How clients of AppSync show who they are beside tokens: keys that AppSync made, signed requests, and tokens that
//! only an authorizer can read.

#[cfg(test)]
mod tests;

use super::api_key;
use super::authorizer::Question;
use super::error::AuthError;
use super::principal::Principal;
use super::service::{Auth, unless_expired};
use super::sigv4::SignedRequest;
use super::token;

/// Characters of a key: what is shorter could be guessed.
const MIN_KEY: usize = 20;

impl Auth {
    /// Says whose key this is: one of this broker's, or any other text whose hash a configured key has.
    pub fn authenticate_api_key(&self, text: &str) -> Result<Principal, AuthError> {
        if self.open {
            return Ok(Principal::open());
        }
        if api_key::looks_like_key(text) {
            return self.unless_revoked(self.of_key(text)?);
        }
        if text.len() < MIN_KEY {
            return Err(AuthError::Malformed);
        }
        if text.len() > token::MAX_BYTES {
            return Err(AuthError::TooLarge(token::MAX_BYTES));
        }
        let keys = self.api_keys.read().clone();
        // what a look-up of a hash tells by its time says nothing of a text that has it
        let known = keys.with_hash(&api_key::hash(text));
        let principal = unless_expired(known.ok_or(AuthError::KeyUnknown)?)?;
        self.unless_revoked(principal)
    }

    /// Says who signed this request. `authorization`: its `Authorization`; `now`: Unix seconds.
    pub fn authenticate_signed(
        &self,
        authorization: &str,
        request: &SignedRequest<'_>,
        now: u64,
    ) -> Result<Principal, AuthError> {
        if self.open {
            return Ok(Principal::open());
        }
        let principal = self.access_keys.check(authorization, request, now)?;
        self.unless_revoked(principal)
    }

    /// Whether anybody is known who may have signed so: before anything more is read of them.
    pub fn knows_signer(&self, authorization: &str) -> Result<(), AuthError> {
        match self.open {
            true => Ok(()),
            false => self.access_keys.knows(authorization),
        }
    }

    /// Asks the authorizer whether who shows this token may do that; who they are may do just that. Runs on a thread of
    /// an actix system (`awc` is not `Send`).
    pub async fn ask_authorizer(&self, question: Question) -> Result<Principal, AuthError> {
        if self.open {
            return Ok(Principal::open());
        }
        let authorizer = self.authorizer.as_ref().ok_or(AuthError::Malformed)?;
        let principal = authorizer.ask(question).await?;
        self.unless_revoked(principal)
    }

    /// Whether there is somebody to ask about tokens that no issuer signed.
    pub fn has_authorizer(&self) -> bool {
        self.authorizer.is_some()
    }

    /// Whether there is an issuer whose tokens are taken.
    pub fn takes_tokens(&self) -> bool {
        !self.issuers.is_empty()
    }
}
