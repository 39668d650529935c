//! Who is at the other end, and what they may do.
//!
//! `service` is asked; `token`, `keys` and `jwks` know JSON Web Tokens and the keys they are checked with,
//! `api_key` the keys of agents and servers; `revocations` takes rights back. What comes out is a `principal`
//! with its `grants`.

pub mod api_key;
mod error;
pub mod grants;
pub mod jwks;
pub mod keys;
pub mod principal;
pub mod revocations;
pub mod service;
mod token;
mod watched_file;

pub use error::AuthError;
pub use grants::{Action, GrantTexts, Grants};
pub use jwks::{Jwks, JwksObserver, JwksTiming};
pub use keys::{KeyError, KeySet, VerifyingKey};
pub use principal::{Principal, Proof};
pub use service::{Auth, AuthSetupError, Standing};
