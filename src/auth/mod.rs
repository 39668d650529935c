//! Who is at the other end, and what they may do.
//!
//! `principal` is somebody with their grants; `grants` says what is allowed where; `api_key` is the text that agents
//! and servers show.

pub mod api_key;
pub mod grants;
pub mod principal;

pub use grants::{Action, GrantTexts, Grants};
pub use principal::{Principal, Proof};
