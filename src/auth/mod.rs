//! Who is at the other end, and what they may do.
//!
//! `service` is asked; `token`, `keys` and `jwks` know JSON Web Tokens and the keys they are checked with,
//! `api_key` the keys of agents and servers; `appsync` is what clients of AppSync have beside: requests signed with an
//! `access_key` (`sigv4`), and tokens that an `authorizer` is asked about. `revocations` takes rights back. What comes out is a `principal`
//! with its `grants`.

mod access_key;
pub mod api_key;
mod appsync;
pub mod authorizer;
mod error;
pub mod grants;
pub mod jwks;
pub mod keys;
pub mod principal;
pub mod revocations;
pub mod service;
pub mod sigv4;
mod token;
mod watched_file;

pub use authorizer::{AuthorizerObserver, Operation, Question};
pub use error::AuthError;
pub use grants::{Action, GrantTexts, Grants};
pub use jwks::{Jwks, JwksObserver, JwksTiming};
pub use keys::{KeyError, KeySet, VerifyingKey};
pub use principal::{Principal, Proof};
pub use service::{Auth, AuthObserver, AuthSetupError, Standing};
pub use sigv4::SignedRequest;
