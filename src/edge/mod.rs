//! Sockets and HTTP. Handlers only extract, call and map the answer; the one way in is `admit`.

pub mod address;
pub mod admit;
mod appsync;
mod body;
mod bookmarks;
mod credential;
mod engines;
mod health;
mod history;
mod http;
mod media;
mod newcomer;
mod openapi;
mod publish;
mod publish_stream;
mod revocations;
pub mod server;
mod socket;
mod sse;
mod ws;
mod ws_handshake;
mod ws_native;

pub use http::Page;
