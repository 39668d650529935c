//! How much each connection, subject, API key, namespace and source address may do: open connections,
//! subscriptions, published events and bytes a second, topics created a minute. Zero: no bound.
//!
//! A [`Meter`] stands for one of them. A connection or request keeps the [`Meters`] it has to ask; what it
//! wants is taken from all of them and from the topic's namespace, or from none. The clock comes from
//! outside, in milliseconds that never go back.
//!
//! Bounds: at most [`MAX_METERS`] meters for each of subjects, keys and addresses; beyond that all newcomers
//! share one (see `book`). Configured namespaces have a meter each, all others one together. Where nothing
//! is configured there are no meters, and nothing here allocates or locks.

mod book;
mod bucket;
mod limited;
mod meter;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use self::book::Book;
pub use self::limited::{Limited, Scope, What};
pub use self::meter::Meter;
use self::meter::{Ask, take_all};
use crate::auth::principal::{Principal, Proof};
use crate::config::{Config, Namespace, Quota};

/// Meters of one scope.
pub const MAX_METERS: usize = 100_000;

/// Who is counted as one address: IPv4 whole; of IPv6 the first 64 bits, since the rest is the client's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6(first_half(address)),
        }
    }
}

fn first_half(address: Ipv6Addr) -> u64 {
    (address.to_bits() >> 64) as u64
}

/// All meters of a broker.
pub struct Quotas {
    /// Of each connection by itself.
    connection: Quota,
    subjects: Book<String>,
    keys: Book<String>,
    addresses: Book<Origin>,
    /// `None`: nothing is bounded there.
    namespaces: HashMap<String, Option<Arc<Meter>>>,
    /// Of all namespaces without a table together, so that their names are no way to more.
    other_namespaces: Option<Arc<Meter>>,
}

impl Quotas {
    pub fn new(config: &Config) -> Self {
        Self::with_max(config, MAX_METERS)
    }

    fn with_max(config: &Config, max: usize) -> Self {
        let quotas = &config.quotas;
        let named = config.namespaces.iter();
        let named = named.map(|(name, namespace)| (name.clone(), namespace_meter(namespace)));
        Self {
            connection: Quota {
                connections: 0,
                ..quotas.connection
            },
            subjects: Book::new(Scope::Subject, quotas.subject, max),
            keys: Book::new(Scope::Key, quotas.key, max),
            addresses: Book::new(Scope::Address, quotas.address, max),
            namespaces: named.collect(),
            other_namespaces: namespace_meter(&config.other_namespaces),
        }
    }

    /// What a request of that principal from that address has to ask. Whoever is not known only counts by address.
    pub fn meters(&self, principal: &Principal, address: IpAddr) -> Meters {
        let who = match principal.proof() {
            Proof::Open | Proof::Anonymous => None,
            Proof::Token(_) | Proof::Authorizer(_) => {
                let quota = self.subjects.quota();
                self.subjects.meter(&**principal.id(), quota)
            }
            // it brings what holds for it, `[quota.key]` included
            Proof::Key(key) => self.keys.meter(&*key.name, key.quota),
            Proof::AccessKey(_) => {
                let quota = self.keys.quota();
                self.keys.meter(&**principal.id(), quota)
            }
        };
        let quota = self.addresses.quota();
        Meters {
            connection: None,
            who,
            address: self.addresses.meter(&Origin::from(address), quota),
        }
    }

    /// The same for a connection, which has a meter of its own beside.
    pub fn connection_meters(&self, principal: &Principal, address: IpAddr) -> Meters {
        let bounded = self.connection != Quota::default();
        Meters {
            connection: bounded.then(|| Arc::new(Meter::new(Scope::Connection, self.connection))),
            ..self.meters(principal, address)
        }
    }

    /// The meter of a topic's namespace; `None`: nothing is bounded there.
    pub fn namespace(&self, name: &str) -> Option<&Arc<Meter>> {
        match self.namespaces.get(name) {
            Some(meter) => meter.as_ref(),
            None => self.other_namespaces.as_ref(),
        }
    }

    /// Drops meters that nobody needs; what was taken too much of is not forgotten. A few times a minute is enough.
    pub fn sweep(&self, now_ms: u64) {
        self.subjects.sweep(now_ms);
        self.keys.sweep(now_ms);
        self.addresses.sweep(now_ms);
    }
}

/// Its rate of publishes stands beside its quota, and it has no connections.
fn namespace_meter(namespace: &Namespace) -> Option<Arc<Meter>> {
    let quota = Quota {
        connections: 0,
        publish_rate: namespace.publish_rate,
        publish_burst: namespace.publish_burst,
        ..namespace.quota
    };
    // a burst alone bounds nothing
    let bounds = [
        quota.subscriptions,
        quota.publish_rate,
        quota.byte_rate,
        quota.topics_per_minute,
    ];
    let is_bounded = bounds.into_iter().any(|bound| bound > 0);
    is_bounded.then(|| Arc::new(Meter::new(Scope::Namespace, quota)))
}

/// Whom one connection or request has to ask. Cheap to clone; empty where nothing is bounded.
#[derive(Debug, Clone, Default)]
pub struct Meters {
    connection: Option<Arc<Meter>>,
    /// The subject of a token, or a key.
    who: Option<Arc<Meter>>,
    address: Option<Arc<Meter>>,
}

impl Meters {
    /// The same connection with somebody else on it, or the same with new rights: its own meter goes on.
    pub fn with_principal(&self, of_request: Meters) -> Self {
        Self {
            connection: self.connection.clone(),
            ..of_request
        }
    }

    fn is_empty(&self) -> bool {
        self.connection.is_none() && self.who.is_none() && self.address.is_none()
    }

    fn take(&self, namespace: Option<&Arc<Meter>>, ask: Ask, now: u64) -> Result<(), Limited> {
        let each = [&self.connection, &self.who, &self.address].map(|meter| meter.as_deref());
        let [connection, who, address] = each;
        take_all(
            [connection, who, address, namespace.map(|meter| &**meter)],
            ask,
            now,
        )
    }

    /// What was counted, until it is dropped. Nothing is kept where nobody counted.
    fn hold(&self, namespace: Option<&Arc<Meter>>, ask: Ask) -> Option<Box<Held>> {
        let anybody = !self.is_empty() || namespace.is_some();
        anybody.then(|| {
            Box::new(Held {
                meters: self.clone(),
                namespace: namespace.cloned(),
                ask,
            })
        })
    }

    /// Another connection or stream.
    pub fn connect(&self) -> Result<ConnectionGuard, Limited> {
        let ask = Ask {
            connections: 1,
            ..Ask::default()
        };
        // connections are no matter of time
        self.take(None, ask, 0)?;
        Ok(ConnectionGuard {
            _held: self.hold(None, ask),
        })
    }

    /// Another topic being read, in that namespace.
    pub fn subscribe(&self, namespace: Option<&Arc<Meter>>) -> Result<SubscriptionGuard, Limited> {
        let ask = Ask {
            subscriptions: 1,
            ..Ask::default()
        };
        self.take(namespace, ask, 0)?;
        Ok(SubscriptionGuard {
            _held: self.hold(namespace, ask),
        })
    }

    /// A publish of so many events and bytes into that namespace.
    pub fn take_publish(
        &self,
        namespace: Option<&Arc<Meter>>,
        events: usize,
        bytes: usize,
        now_ms: u64,
    ) -> Result<(), Limited> {
        let ask = Ask {
            events: events as u64,
            bytes: bytes as u64,
            ..Ask::default()
        };
        self.take(namespace, ask, now_ms)
    }

    /// Whether topics that are created there have to be counted.
    pub fn bounds_topics(&self, namespace: Option<&Arc<Meter>>) -> bool {
        let own = [&self.connection, &self.who, &self.address];
        let mut all = own.into_iter().flatten().chain(namespace);
        all.any(|meter| meter.bounds_topics())
    }

    /// A topic that is about to come into being in that namespace.
    pub fn take_topic(
        &self,
        namespace: Option<&Arc<Meter>>,
        now_ms: u64,
    ) -> Result<TakenTopic, Limited> {
        let ask = Ask {
            topics: 1,
            ..Ask::default()
        };
        self.take(namespace, ask, now_ms)?;
        Ok(TakenTopic {
            held: self.hold(namespace, Ask::default()),
            taken_at: now_ms,
        })
    }
}

/// What is given back when it is dropped.
#[derive(Debug)]
struct Held {
    meters: Meters,
    namespace: Option<Arc<Meter>>,
    ask: Ask,
}

impl Held {
    fn each(&self) -> impl Iterator<Item = &Arc<Meter>> {
        let Meters {
            connection,
            who,
            address,
        } = &self.meters;
        [connection, who, address, &self.namespace]
            .into_iter()
            .flatten()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.ask.connections + self.ask.subscriptions > 0 {
            for meter in self.each() {
                meter.give_back(self.ask);
            }
        }
    }
}

/// Counts as an open connection until it is dropped.
#[derive(Debug)]
#[must_use = "the connection counts as long as this lives"]
pub struct ConnectionGuard {
    _held: Option<Box<Held>>,
}

/// Counts as a subscription until it is dropped.
#[derive(Debug)]
#[must_use = "the subscription counts as long as this lives"]
pub struct SubscriptionGuard {
    _held: Option<Box<Held>>,
}

/// A topic that was paid for. Dropped, it stays paid.
#[derive(Debug)]
pub struct TakenTopic {
    held: Option<Box<Held>>,
    taken_at: u64,
}

impl TakenTopic {
    /// It did not come into being.
    pub fn give_back(self, now_ms: u64) {
        for meter in self.held.iter().flat_map(|held| held.each()) {
            meter.give_topic_back(self.taken_at, now_ms);
        }
    }
}
