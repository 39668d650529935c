//! Who is at the other end, and what they may do.
//!
//! `principal` is somebody with their grants; `grants` says what is allowed where; `api_key` is the text that agents
//! and servers show.

pub mod api_key;
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
