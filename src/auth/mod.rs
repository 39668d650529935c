//! Who is at the other end, and what they may do.
//!
//! `principal` is somebody with their grants; `grants` says what is allowed where; `keys` are what tokens are
//! verified with, and `jwks` keeps those that live at an address.

pub mod grants;
pub mod jwks;
pub mod keys;
pub mod principal;

pub use grants::{Action, GrantTexts, Grants};
pub use jwks::{Jwks, JwksObserver, JwksTiming};
pub use keys::{KeyError, KeySet, VerifyingKey};
pub use principal::{Principal, Proof};
