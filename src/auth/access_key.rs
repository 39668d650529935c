//! The access keys of the configuration, with which requests are signed. Their secrets are here in the clear, since a
//! signature is checked by making it again.

use std::collections::HashMap;

use super::error::AuthError;
use super::principal::{AccessKeyProof, Principal};
use super::service::AuthSetupError;
use super::sigv4::{Signature, SignedRequest};
use crate::config::{AccessKey, AccessSecret, AppSync, MIN_SECRET_BYTES};

/// By id.
#[derive(Default)]
pub struct AccessKeys(HashMap<String, Known>);

struct Known {
    secret: String,
    principal: Principal,
}

impl AccessKeys {
    pub fn new(config: &AppSync) -> Result<Self, AuthSetupError> {
        let keys = config.access_keys.iter();
        let keys = keys.map(|(name, key)| Ok((key.id.clone(), Known::new(name, key)?)));
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is a key of the name that stands there.
    pub fn knows(&self, authorization: &str) -> Result<(), AuthError> {
        let signature = Signature::read(authorization)?;
        let known = self.0.get(signature.key_id);
        known.map(|_| ()).ok_or(AuthError::KeyUnknown)
    }

    /// Who signed this request. `now`: Unix seconds.
    pub fn check(
        &self,
        authorization: &str,
        request: &SignedRequest<'_>,
        now: u64,
    ) -> Result<Principal, AuthError> {
        let signature = Signature::read(authorization)?;
        let known = self.0.get(signature.key_id);
        let Known { secret, principal } = known.ok_or(AuthError::KeyUnknown)?;
        signature.verify(secret, request, now)?;
        match principal.expires() {
            Some(expires) if expires <= now => Err(AuthError::KeyExpired),
            _ => Ok(principal.clone()),
        }
    }
}

impl Known {
    fn new(name: &str, key: &AccessKey) -> Result<Self, AuthSetupError> {
        let secret = match &key.secret {
            AccessSecret::Text(secret) => secret.0.clone(),
            AccessSecret::Variable(variable) => {
                let value = std::env::var(variable).ok();
                let long = value.filter(|value| value.len() >= MIN_SECRET_BYTES);
                long.ok_or_else(|| AuthSetupError::AccessSecret {
                    name: name.to_owned(),
                    variable: variable.clone(),
                })?
            }
        };
        let grants = key.grants.compile(name);
        let grants = grants.map_err(|why| AuthSetupError::AccessKey {
            name: name.to_owned(),
            why,
        })?;
        let proof = AccessKeyProof {
            name: name.into(),
            expires: key.expires,
        };
        Ok(Self {
            secret,
            principal: Principal::of_access_key(proof, grants),
        })
    }
}
