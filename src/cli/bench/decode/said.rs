//! What a Tidewire broker says beside events (docs/protocol.md, sections 7 and 8).

use serde::Deserialize;

use crate::client::Problem;

#[derive(Debug)]
pub enum Said {
    Welcome(Limits),
    /// So many topics are being read.
    Reading(usize),
    Published(Published),
    Refused(Problem),
    /// So many events of a topic are gone.
    Gone {
        topic: String,
        events: u64,
    },
    /// A topic began anew.
    Reset {
        reason: String,
    },
    Draining {
        reconnect_after_ms: u64,
    },
    Expired {
        reason: String,
    },
    /// Nothing that concerns a bench.
    Other,
}

/// From `welcome`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Limits {
    pub max_frame_bytes: usize,
    pub max_event_bytes: usize,
    pub max_batch_events: usize,
    pub window_events: usize,
    pub window_bytes: usize,
}

#[derive(Debug, Deserialize)]
pub struct Published {
    #[serde(default)]
    pub id: u64,
    pub epoch: String,
    pub first_seq: Option<u64>,
    pub last_seq: Option<u64>,
}

#[derive(Deserialize)]
struct Gap {
    topic: String,
    from: u64,
    to: u64,
}

#[derive(Deserialize)]
struct Reset {
    reason: String,
}

#[derive(Deserialize)]
struct Draining {
    reconnect_after_ms: u64,
}

#[derive(Deserialize)]
struct Expired {
    reason: String,
}

/// A frame of the WebSocket.
pub fn frame(json: &[u8]) -> Result<Said, serde_json::Error> {
    #[derive(Deserialize)]
    struct Op {
        op: String,
    }
    #[derive(Deserialize)]
    struct Welcome {
        limits: Limits,
    }
    let op: Op = serde_json::from_slice(json)?;
    Ok(match op.op.as_str() {
        "welcome" => Said::Welcome(serde_json::from_slice::<Welcome>(json)?.limits),
        "subscribed" => Said::Reading(1),
        "published" => Said::Published(serde_json::from_slice(json)?),
        "error" => Said::Refused(serde_json::from_slice(json)?),
        kind => notice(kind, json)?,
    })
}

/// The data of an SSE block of the broker's own.
pub fn block(json: &[u8]) -> Result<Said, serde_json::Error> {
    #[derive(Deserialize)]
    struct Type {
        #[serde(rename = "type")]
        name: String,
    }
    #[derive(Deserialize)]
    struct Ready {
        topics: Vec<serde::de::IgnoredAny>,
    }
    let name: Type = serde_json::from_slice(json)?;
    let kind = name.name.strip_prefix("tidewire.").unwrap_or_default();
    Ok(match kind {
        "ready" => Said::Reading(serde_json::from_slice::<Ready>(json)?.topics.len()),
        kind => notice(kind, json)?,
    })
}

fn notice(kind: &str, json: &[u8]) -> Result<Said, serde_json::Error> {
    Ok(match kind {
        "gap" => {
            let gap: Gap = serde_json::from_slice(json)?;
            let events = (gap.to + 1).saturating_sub(gap.from);
            Said::Gone {
                topic: gap.topic,
                events,
            }
        }
        "reset" => {
            let Reset { reason } = serde_json::from_slice(json)?;
            Said::Reset { reason }
        }
        "draining" => {
            let Draining { reconnect_after_ms } = serde_json::from_slice(json)?;
            Said::Draining { reconnect_after_ms }
        }
        "expired" => {
            let Expired { reason } = serde_json::from_slice(json)?;
            Said::Expired { reason }
        }
        _ => Said::Other,
    })
}
