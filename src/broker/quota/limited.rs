//! Why somebody may not do more, and what they are told: their own bound, and never who else is there.

use crate::broker::problem::{Code, Problem};
use crate::ops::metrics::{LimitedLabel, Metrics};

/// When a connection that found no place may come again.
const CONNECT_AGAIN_MS: u64 = 1_000;

/// Whose bound it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    Connection,
    /// Of a token.
    Subject,
    Key,
    Address,
    Namespace,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Subject => "subject",
            Self::Key => "key",
            Self::Address => "address",
            Self::Namespace => "namespace",
        }
    }

    fn described(self) -> &'static str {
        match self {
            Self::Connection => "this connection",
            Self::Subject => "the subject of this token",
            Self::Key => "this API key",
            Self::Address => "this address",
            Self::Namespace => "the namespace",
        }
    }
}

/// What is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    Connections,
    Subscriptions,
    Publishes,
    Bytes,
    Topics,
}

impl What {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Subscriptions => "subscriptions",
            Self::Publishes => "publishes",
            Self::Bytes => "bytes",
            Self::Topics => "topics",
        }
    }
}

/// A bound is reached. Nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    pub scope: Scope,
    pub what: What,
    /// `None`: it is not a matter of time.
    pub retry_after_ms: Option<u64>,
}

impl Limited {
    pub fn label(&self) -> LimitedLabel {
        LimitedLabel {
            scope: self.scope.as_str(),
            what: self.what.as_str(),
        }
    }

    /// Counts it, and says it.
    pub fn refuse(self, metrics: &Metrics) -> Problem {
        metrics.limited.get_or_create(&self.label()).inc();
        self.into()
    }
}

impl From<Limited> for Problem {
    fn from(limited: Limited) -> Self {
        let whose = limited.scope.described();
        let wait = limited.retry_after_ms.unwrap_or(CONNECT_AGAIN_MS);
        match limited.what {
            What::Connections => {
                let message = format!("{whose} has as many connections as it may have; try again");
                let mut problem = Problem::new(Code::Draining, message);
                problem.details.retry_after_ms = Some(wait);
                problem
            }
            What::Subscriptions => Problem::new(
                Code::TooManySubscriptions,
                format!("{whose} has as many subscriptions as it may have; end one first"),
            ),
            What::Publishes => {
                Problem::rate_limited(&format!("the publish rate of {whose} is used up"), wait)
            }
            What::Bytes => Problem::rate_limited(
                &format!("the rate of published bytes of {whose} is used up"),
                wait,
            ),
            What::Topics => Problem::rate_limited(
                &format!("{whose} created as many topics as it may for now"),
                wait,
            ),
        }
    }
}
