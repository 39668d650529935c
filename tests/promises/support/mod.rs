//! The test kit: the real broker as a child process, and clients that speak its bytes over blocking
//! sockets. Nothing here shares code with the broker, so a mistake cannot be made twice in the same way.
//!
//! Invariants: every wait has a bound (`PATIENCE`) and waits for a condition; nothing outlives its test.

pub mod agent;
pub mod appsync;
pub mod broker;
pub mod events;
pub mod follower;
pub mod http;
pub mod lines;
pub mod message;
pub mod model;
pub mod msgpack;
pub mod process;
pub mod proxy;
pub mod reader;
pub mod shell;
pub mod speaker;
pub mod sse;
pub mod token;
pub mod wait;
pub mod wire;
pub mod ws;

pub use appsync::AppSync;
pub use broker::{Broker, Setup, engine_memory_kb};
pub use events::{completed, counted, counted_to, delta, note, said_whole, started};
pub use follower::{ALL, Ask, BOTH, Follower, Transport};
pub use http::{Http, Response};
pub use model::ModelServer;
pub use process::Process;
pub use proxy::Proxy;
pub use reader::{Reader, View};
pub use shell::Shell;
pub use speaker::Speaker;
pub use sse::Sse;
pub use token::{ApiKey, Token, bearer};
pub use wait::{PATIENCE, eventually};
pub use ws::{Frame, Ws};
