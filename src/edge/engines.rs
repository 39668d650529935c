//! The engine that the configuration asks for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::directory::unix_millis;
use crate::config::{self, Config, EngineKind};
use crate::engine::disk::{Deliver, DiskEngine, DiskSettings, Sync};
use crate::engine::memory::{MemorySettings, RetentionOf};
use crate::engine::{Engine, MemoryEngine};
use crate::event::TopicPath;
use crate::log::Retention;
use crate::ops::metrics::Metrics;

/// A topic stays in memory until what its ended messages leave behind is gone.
const AFTER_COMPACTION: Duration = Duration::from_secs(5);

/// Opens the engine with what it holds.
pub fn open(config: &Arc<Config>, metrics: &Arc<Metrics>) -> io::Result<Arc<dyn Engine>> {
    match config.engine {
        EngineKind::Memory => Ok(Arc::new(MemoryEngine::new(MemorySettings {
            store_epoch: store_epoch(),
            clock: Arc::new(unix_millis),
            retention: retention(config),
            max_bytes: config.limits.log_bytes,
            compact_after: config.limits.compact_after,
            observer: metrics.clone(),
        }))),
        EngineKind::Disk => {
            let limits = &config.limits;
            let engine = DiskEngine::open(DiskSettings {
                dir: config.data_dir.clone(),
                new_epoch: store_epoch(),
                clock: Arc::new(unix_millis),
                retention: retention(config),
                max_bytes: limits.log_bytes,
                cache_bytes: config.disk.cache_bytes,
                compact_after: limits.compact_after,
                let_go_after: limits
                    .passivate_after
                    .max(limits.compact_after + AFTER_COMPACTION),
                sync: match config.disk.sync {
                    config::Sync::Always => Sync::Always,
                    config::Sync::Interval => Sync::Interval(config.disk.sync_interval),
                },
                deliver: match config.disk.deliver {
                    config::Deliver::Durable => Deliver::Durable,
                    config::Deliver::Early => Deliver::Early,
                },
                observer: metrics.clone(),
            });
            match engine {
                Ok(engine) => Ok(Arc::new(engine)),
                Err(error) => Err(io::Error::other(format!(
                    "the data directory {} cannot be used: {error}",
                    config.data_dir.display()
                ))),
            }
        }
    }
}

fn retention(config: &Arc<Config>) -> RetentionOf {
    let config = config.clone();
    Arc::new(move |topic: &TopicPath| {
        let namespace = config.namespace(topic.namespace());
        Retention {
            events: usize::try_from(namespace.retention_events).unwrap_or(usize::MAX),
            bytes: namespace.retention_bytes,
            age: namespace.retention_age,
        }
    })
}

/// Ten characters that no other start of this broker had.
fn store_epoch() -> String {
    std::iter::repeat_with(|| fastrand::alphanumeric().to_ascii_lowercase())
        .take(10)
        .collect()
}
