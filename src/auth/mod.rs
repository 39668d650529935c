//! Who is at the other end, and what they may do.
//!
//! `principal` is somebody with their grants; `grants` says what is allowed where.

pub mod grants;
pub mod principal;

pub use grants::{Action, GrantTexts, Grants};
pub use principal::{Principal, Proof};
