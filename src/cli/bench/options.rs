//! What every scenario takes: which peer, how to speak to it, what to show.

use std::net::SocketAddr;
use std::time::Duration;

use awc::http::Uri;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::failure::Failure;
use super::marker;
use super::peer::{Dialect, Peer, Transport};
use super::publisher::By;
use super::templates::Templates;
use crate::cli::target::Target;
use crate::event::TopicPath;

/// How long one of a name's addresses has to answer.
const TO_ANSWER: Duration = Duration::from_secs(10);

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// A Tidewire broker
    Tidewire,
    /// Any server that speaks plain WebSocket or SSE, by templates
    Raw,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Common {
    #[command(flatten)]
    pub target: Target,
    /// What answers there
    #[arg(long, value_enum, default_value_t = Against::Tidewire, value_name = "WHAT")]
    pub against: Against,
    /// How readers read
    #[arg(long, value_enum, default_value_t = Transport::Ws, value_name = "HOW")]
    pub transport: Transport,
    /// How events are published: ws (many under way at once) or http (one after the other on each connection)
    #[arg(long, value_enum, value_name = "HOW")]
    pub publish: Option<By>,
    /// Bytes of each text; at least 34
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub text_bytes: usize,
    /// Joins deltas for so many milliseconds
    #[arg(long, value_name = "N")]
    pub coalesce_ms: Option<u32>,
    /// A process of the broker on this machine, whose CPU and memory are measured; may be repeated
    #[arg(long = "pid", value_name = "PID")]
    pub pids: Vec<u32>,
    /// Topics begin with it; they are erased at the end, where the token may
    #[arg(long, value_name = "PATH", default_value = "/bench")]
    pub prefix: String,
    /// Connections that are opened at once
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub connect_at_once: usize,
    /// Prints one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// Shows no progress
    #[arg(long)]
    pub quiet: bool,
    #[command(flatten)]
    pub templates: Templates,
}

impl Common {
    pub fn is_native(&self) -> bool {
        self.against == Against::Tidewire
    }

    /// How events are published, if the command does not say.
    pub fn by(&self, otherwise: By) -> By {
        match self.is_native() {
            true => self.publish.unwrap_or(otherwise),
            false => By::Http,
        }
    }

    /// Whom the run speaks to.
    pub async fn peer(&self) -> Result<Peer, Failure> {
        let asked = |problem: String| Failure::Asked(problem);
        self.target.endpoint().map_err(asked)?;
        if let Some(problem) = self.problem() {
            return Err(asked(problem));
        }
        let url: Uri = self
            .target
            .url
            .trim()
            .parse()
            .map_err(|_| asked(format!("--url: `{}` is no address", self.target.url)))?;
        if url.scheme_str() != Some("http") {
            return Err(asked(
                "--url: bench speaks http, so that it measures the broker and not TLS: give the broker's own address"
                    .into(),
            ));
        }
        let authority = url.authority().map(ToString::to_string).unwrap_or_default();
        let token = self.target.token.as_deref().map(str::trim);
        Ok(Peer {
            address: resolve(&url, &authority).await?,
            authority,
            base: url.path().trim_end_matches('/').to_owned(),
            token: token.filter(|token| !token.is_empty()).map(str::to_owned),
            transport: self.transport,
            coalesce_ms: self.coalesce_ms,
            run: run_name(),
            dialect: match self.against {
                Against::Tidewire => Dialect::Tidewire {
                    prefix: self.prefix.trim_end_matches('/').to_owned(),
                },
                Against::Raw => Dialect::Raw(self.templates.clone()),
            },
        })
    }

    fn problem(&self) -> Option<String> {
        if self.text_bytes < marker::LEN {
            return Some(format!(
                "--text-bytes: at least {}, for the mark in each text",
                marker::LEN
            ));
        }
        if self.connect_at_once == 0 {
            return Some("--connect-at-once: at least 1".into());
        }
        if self.is_native() {
            let topic = format!("{}/run/0", self.prefix.trim_end_matches('/'));
            let parsed = TopicPath::parse(&topic);
            return parsed.err().map(|error| format!("--prefix: {error}"));
        }
        if self.publish == Some(By::Ws) {
            return Some("--publish ws: a raw peer is published to over HTTP".into());
        }
        self.templates.problem()
    }
}

async fn resolve(url: &Uri, authority: &str) -> Result<SocketAddr, Failure> {
    let unreachable = |error: String| Failure::Unreachable {
        address: authority.to_owned(),
        error,
    };
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let found = lookup_host((host, url.port_u16().unwrap_or(80))).await;
    let mut error = "the name has no address".to_owned();
    for address in found.map_err(|error| unreachable(error.to_string()))? {
        // a name such as localhost may stand for two, of which one answers
        match timeout(TO_ANSWER, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(address),
            Ok(Err(refused)) => error = refused.to_string(),
            Err(_) => error = format!("no answer within {TO_ANSWER:?}"),
        }
    }
    Err(unreachable(error))
}

/// Eight letters and digits.
fn run_name() -> String {
    std::iter::repeat_with(fastrand::lowercase)
        .take(8)
        .collect()
}
