//! Brings kept reading positions from the engine to the broker at the start, and back to it as they change.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt;
use tokio::sync::oneshot;

use crate::broker::Broker;
use crate::broker::directory::unix_millis;
use crate::engine::EngineError;

/// How old what the engine knows may be, beside the time between two saves.
const FLUSH_INTERVAL: Duration = Duration::from_millis(250);
/// Positions that the engine is given at once; publishes go between.
const FLUSHED_AT_ONCE: usize = 4096;

/// What the engine kept. Whatever of it cannot be read, the broker starts: those readers begin at the live tail.
pub fn restore(broker: &Broker) {
    let now = unix_millis();
    let mut ignored = 0u64;
    let visited = broker.engine.bookmarks(&mut |key, value| {
        if !broker.bookmarks.restore(key, value, now) {
            ignored += 1;
        }
    });
    if let Err(error) = visited {
        tracing::warn!(%error, "not all kept reading positions can be read");
    }
    if ignored > 0 {
        tracing::warn!(
            ignored,
            "kept reading positions are damaged or of another version"
        );
    }
    if !broker.bookmarks.is_empty() {
        let known = broker.bookmarks.len();
        tracing::info!(known, "reading positions of before are known");
    }
}

/// Hands changes to the engine until `stopped` is done or dropped, and then the last ones.
pub async fn keep(broker: Arc<Broker>, mut stopped: oneshot::Receiver<()>) {
    let mut has_failed = false;
    loop {
        let is_over = rt::time::timeout(FLUSH_INTERVAL, &mut stopped)
            .await
            .is_ok();
        match flush(&broker).await {
            Ok(()) if has_failed => {
                has_failed = false;
                tracing::info!("reading positions are kept again");
            }
            Ok(()) => {}
            Err(error) => {
                broker.metrics.bookmarks.flush_failures.inc();
                if !has_failed {
                    tracing::warn!(%error, "reading positions cannot be kept now");
                }
                has_failed = true;
            }
        }
        if is_over {
            return;
        }
    }
}

/// Until there is none: what changes meanwhile goes along. What fails is a change again.
async fn flush(broker: &Broker) -> Result<(), EngineError> {
    loop {
        let changes = broker.bookmarks.take_changes(FLUSHED_AT_ONCE);
        if changes.is_empty() {
            return Ok(());
        }
        let keys = changes.iter().map(|(key, _)| key.clone()).collect();
        let kept = broker.engine.keep_bookmarks(changes).wait().await;
        if let Err(error) = kept {
            broker.bookmarks.give_back(keys);
            return Err(error);
        }
    }
}
