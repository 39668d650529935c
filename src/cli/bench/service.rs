//! What is asked of a broker beside the load: who it is, and that the run's topics be erased.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use super::failure::Failure;
use super::http::{Answer, Http};
use super::line;
use super::run::Run;

const WITHIN: Duration = Duration::from_secs(10);
/// Nobody waits longer for topics to be erased: they go by themselves with their retention.
const ERASE_WITHIN: Duration = Duration::from_secs(5);

pub async fn ask(run: &Run, http: &mut Http, method: &str, path: &str) -> Result<Answer, Failure> {
    let request = run.peer.plain_request(method, path);
    timeout(WITHIN, http.ask(&request))
        .await
        .map_err(|_| Failure::Silent(WITHIN, "a request was not answered"))?
        .map_err(|error| Failure::cut("a request", &error))
}

/// Whether it is there, on which host, and which version, if it says so.
pub async fn probe(run: &Run) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Health {
        version: String,
    }
    let stream = line::connect(run).await?;
    let (mine, theirs) = (stream.local_addr()?.ip(), stream.peer_addr()?.ip());
    run.report.borrow_mut().is_one_host = mine == theirs || theirs.is_loopback();
    if run.peer.is_native() {
        // a proxy may keep it to itself
        let answer = ask(run, &mut Http::new(stream), "GET", "/healthz").await?;
        let health: Option<Health> = serde_json::from_slice(&answer.body).ok();
        run.report.borrow_mut().version = health.map(|health| health.version);
    }
    Ok(())
}

/// Erases what the run published, if it may.
pub async fn erase(run: &Run) {
    if !run.peer.is_native() {
        return;
    }
    let erasing = async {
        let mut http = line::http(run).await?;
        for topic in 0..run.size.topics {
            if run.ledgers.borrow()[topic].sent > 0 {
                let path = format!("/v1/topic?topic={}", run.peer.topic(topic as u32));
                let answer = ask(run, &mut http, "DELETE", &path).await?;
                if !answer.is_good() {
                    return Ok(());
                }
            }
        }
        Ok::<_, Failure>(())
    };
    // what is left goes with its retention
    let _ = timeout(ERASE_WITHIN, erasing).await;
}

/// Bytes of events that the broker's log holds, if it shows its metrics.
pub async fn log_bytes(run: &Run) -> Option<u64> {
    if !run.peer.is_native() {
        return None;
    }
    let mut http = line::http(run).await.ok()?;
    let answer = ask(run, &mut http, "GET", "/metrics").await.ok()?;
    let text = String::from_utf8(answer.body).ok()?;
    let line = text
        .lines()
        .find(|line| line.split([' ', '{']).next() == Some("tidewire_log_bytes"))?;
    line.split_whitespace().next_back()?.parse().ok()
}
