//! What is counted, in Prometheus' text format. Labels are bounded: configured namespaces, never topics.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::auth::jwks::FetchError;
use crate::auth::{Action, AuthError, AuthorizerObserver, JwksObserver, KeySet, Principal};
use crate::engine::memory::Observer;
use crate::event::TopicPath;
use crate::log::retention::TrimCause;

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are label values")]
pub enum TransportLabel {
    ws,
    sse,
    http,
    appsync,
}

/// What a reader that came back with a position was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are label values")]
pub enum ResumeLabel {
    exact,
    gap,
    reset,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Transport {
    pub transport: TransportLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Resume {
    pub outcome: ResumeLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClosedBy {
    pub transport: TransportLabel,
    /// The WebSocket close code, also for SSE.
    pub code: u16,
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Namespace {
    pub namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Trimmed {
    pub namespace: String,
    pub cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Refused {
    pub namespace: String,
    pub code: String,
}

/// Seconds; from 50 µs to 10 s.
const LATENCY_BUCKETS: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
    10.0,
];

type LatencyHistogram = Family<Transport, Histogram, fn() -> Histogram>;

fn latency() -> Histogram {
    Histogram::new(LATENCY_BUCKETS)
}

/// What somebody may not do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ForbiddenLabel {
    pub action: &'static str,
}

/// How somebody showed who they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AdmittedLabel {
    pub by: &'static str,
}

/// Why a token or key was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AuthRefusedLabel {
    pub reason: &'static str,
}

/// What became of a fetch of keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FetchLabel {
    pub outcome: &'static str,
}

/// What became of a call of the authorizer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabel {
    pub outcome: &'static str,
}

/// Of access control.
#[derive(Default)]
pub struct AuthMetrics {
    key_fetches: Family<FetchLabel, Counter>,
    authorizer_calls: Family<CallLabel, Counter>,
    authorizer_remembered: Counter,
    authorizer_breaker: Gauge,
    pub admitted: Family<AdmittedLabel, Counter>,
    pub refused: Family<AuthRefusedLabel, Counter>,
    pub forbidden: Family<ForbiddenLabel, Counter>,
    pub revocations: Gauge,
    pub unauthenticated: Gauge,
    pub turned_away: Counter,
}

impl AuthMetrics {
    fn register(&self, r: &mut Registry) {
        r.register(
            "auth_admitted",
            "Requests and connections let in, by how they showed who they are",
            self.admitted.clone(),
        );
        r.register(
            "auth_refused",
            "Tokens and keys that were not taken, by reason",
            self.refused.clone(),
        );
        r.register(
            "auth_key_fetches",
            "Fetches of keys from JWKS addresses",
            self.key_fetches.clone(),
        );
        r.register(
            "authorizer_calls",
            "Questions to the authorizer, by what became of them",
            self.authorizer_calls.clone(),
        );
        r.register(
            "authorizer_cache_hits",
            "Questions that the authorizer had answered already",
            self.authorizer_remembered.clone(),
        );
        r.register(
            "authorizer_breaker",
            "0: the authorizer is asked, 1: one call finds out whether it answers, 2: it is left alone",
            self.authorizer_breaker.clone(),
        );
        r.register(
            "auth_forbidden",
            "Things that somebody may not do, by what",
            self.forbidden.clone(),
        );
        r.register(
            "auth_revocations",
            "Tokens, subjects and keys that are revoked",
            self.revocations.clone(),
        );
        r.register(
            "unauthenticated_connections",
            "Connections that have not said who they are yet",
            self.unauthenticated.clone(),
        );
        r.register(
            "turned_away_connections",
            "Connections cut off because too many had not said who they are",
            self.turned_away.clone(),
        );
    }
}

/// Why the broker ended messages.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct EndedLabel {
    pub reason: &'static str,
}

/// Whose bound was reached, and what it bounds.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct LimitedLabel {
    pub scope: &'static str,
    pub what: &'static str,
}

/// Of agents: publishing processes with leases.
#[derive(Default)]
pub struct AgentMetrics {
    pub attached: Gauge,
    pub known: Gauge,
    pub leases_lost: Counter,
    pub fenced: Counter,
    pub replaced: Counter,
    pub ended: Family<EndedLabel, Counter>,
    pub control_kept: Counter,
    pub control_delivered: Counter,
    pub control_expired: Counter,
    pub demand_changes: Counter,
}

/// What the disk engine does.
#[derive(Default)]
pub struct StoreMetrics {
    pub bytes: Gauge,
    pub topics_in_memory: Gauge,
    syncs: Counter,
    steps: Counter,
    publishes: Counter,
    failures: Counter,
    damaged: Counter,
}

impl StoreMetrics {
    fn register(&self, r: &mut Registry) {
        r.register_with_unit(
            "store",
            "Files of the data directory",
            Unit::Bytes,
            self.bytes.clone(),
        );
        r.register(
            "store_topics_in_memory",
            "Topics that are in memory because they are used",
            self.topics_in_memory.clone(),
        );
        let counters = [
            (
                "store_writes",
                "Steps written, each with all publishes that waited",
                &self.steps,
            ),
            (
                "store_syncs",
                "Times that the disk was waited for",
                &self.syncs,
            ),
            ("store_publishes", "Publishes written", &self.publishes),
            (
                "store_failures",
                "Times that the store failed and was opened again",
                &self.failures,
            ),
            (
                "store_damaged_topics",
                "Topics found that cannot be loaded",
                &self.damaged,
            ),
        ];
        for (name, help, counter) in counters {
            r.register(name, help, counter.clone());
        }
    }
}

/// Of reading positions that are kept for those who do not know them.
#[derive(Default)]
pub struct BookmarkMetrics {
    pub known: Gauge,
    pub saves: Counter,
    pub flush_failures: Counter,
}

impl BookmarkMetrics {
    fn register(&self, r: &mut Registry) {
        r.register(
            "bookmarks",
            "Readings whose position is kept",
            self.known.clone(),
        );
        r.register(
            "bookmark_saves",
            "Times that a reading told how far it has come",
            self.saves.clone(),
        );
        r.register(
            "bookmark_flush_failures",
            "Times that kept positions could not be handed to the engine",
            self.flush_failures.clone(),
        );
    }
}

impl AgentMetrics {
    fn register(&self, r: &mut Registry) {
        let counters = [
            (
                "agent_leases_lost",
                "Runs that were silent for longer than their lease with messages open",
                &self.leases_lost,
            ),
            (
                "agent_fenced",
                "Attaches and publishes refused because a newer run was there",
                &self.fenced,
            ),
            (
                "agent_replaced",
                "Runs that a newer one replaced by attaching",
                &self.replaced,
            ),
            (
                "control_kept",
                "Control events accepted for the agents of a topic",
                &self.control_kept,
            ),
            (
                "control_delivered",
                "Control events delivered to agents",
                &self.control_delivered,
            ),
            (
                "control_expired",
                "Control events that no agent acknowledged in time",
                &self.control_expired,
            ),
            (
                "demand_changes",
                "Numbers of readers told to agents",
                &self.demand_changes,
            ),
        ];
        r.register(
            "agents_attached",
            "Connections attached as a run of an agent",
            self.attached.clone(),
        );
        r.register("agents", "Agents that are looked after", self.known.clone());
        for (name, help, counter) in counters {
            r.register(name, help, counter.clone());
        }
        r.register(
            "broker_ended_messages",
            "Messages ended by the broker, by reason",
            self.ended.clone(),
        );
    }
}

pub struct Metrics {
    pub agents: AgentMetrics,
    pub store: StoreMetrics,
    pub auth: AuthMetrics,
    pub bookmarks: BookmarkMetrics,
    registry: Registry,
    namespaces: BTreeSet<String>,
    pub connections: Family<Transport, Gauge>,
    pub connections_opened: Family<Transport, Counter>,
    pub subscriptions: Family<Transport, Gauge>,
    pub closed: Family<ClosedBy, Counter>,
    pub events_in: Family<Namespace, Counter>,
    pub bytes_in: Family<Namespace, Counter>,
    pub duplicates: Family<Namespace, Counter>,
    pub refused: Family<Refused, Counter>,
    pub limited: Family<LimitedLabel, Counter>,
    pub frames_out: Family<Transport, Counter>,
    pub bytes_out: Family<Transport, Counter>,
    pub merged_events: Counter,
    pub resumes: Family<Resume, Counter>,
    pub trimmed: Family<Trimmed, Counter>,
    pub publish_latency: LatencyHistogram,
    pub delivery_latency: Histogram,
    pub outbox_bytes: Gauge,
    pub log_bytes: Gauge,
    pub topics: Gauge,
    pub log_events: Family<Namespace, Gauge>,
    pub open_messages: Family<Namespace, Gauge>,
    pub max_connections: Gauge<i64, AtomicI64>,
    pub inflight_bytes: Gauge,
    pub topic_actors: Gauge,
}

impl JwksObserver for Metrics {
    fn fetched(&self, fetched: Result<&KeySet, &FetchError>) {
        let outcome = if fetched.is_ok() { "good" } else { "failed" };
        let fetches = &self.auth.key_fetches;
        fetches.get_or_create(&FetchLabel { outcome }).inc();
    }
}

impl AuthorizerObserver for Metrics {
    fn called(&self, outcome: &'static str) {
        let calls = &self.auth.authorizer_calls;
        calls.get_or_create(&CallLabel { outcome }).inc();
    }

    fn remembered(&self) {
        self.auth.authorizer_remembered.inc();
    }

    fn breaker(&self, level: i64) {
        self.auth.authorizer_breaker.set(level);
    }
}

impl Observer for Metrics {
    fn trimmed(&self, topic: &TopicPath, cause: TrimCause, events: u64) {
        let namespace = self.namespace(topic).namespace;
        let cause = cause.as_str();
        self.trimmed
            .get_or_create(&Trimmed { namespace, cause })
            .inc_by(events);
    }

    fn controls_expired(&self, events: u64) {
        self.agents.control_expired.inc_by(events);
    }

    fn step_written(&self, publishes: u64) {
        self.store.steps.inc();
        self.store.publishes.inc_by(publishes);
    }

    fn synced(&self) {
        self.store.syncs.inc();
    }

    fn store_failed(&self) {
        self.store.failures.inc();
    }

    fn topic_damaged(&self) {
        self.store.damaged.inc();
    }
}

impl Metrics {
    /// `namespaces`: the configured ones, which get a label of their own; all others are `other`.
    pub fn new(namespaces: impl IntoIterator<Item = String>, environment: &str) -> Self {
        let mut registry = Registry::with_prefix_and_labels(
            "tidewire",
            [("environment".into(), environment.to_owned().into())].into_iter(),
        );
        let mut metrics = Self {
            agents: AgentMetrics::default(),
            store: StoreMetrics::default(),
            auth: AuthMetrics::default(),
            bookmarks: BookmarkMetrics::default(),
            namespaces: namespaces.into_iter().collect(),
            connections: Family::default(),
            connections_opened: Family::default(),
            subscriptions: Family::default(),
            closed: Family::default(),
            events_in: Family::default(),
            bytes_in: Family::default(),
            duplicates: Family::default(),
            refused: Family::default(),
            limited: Family::default(),
            frames_out: Family::default(),
            bytes_out: Family::default(),
            merged_events: Counter::default(),
            resumes: Family::default(),
            trimmed: Family::default(),
            publish_latency: Family::new_with_constructor(latency),
            delivery_latency: latency(),
            outbox_bytes: Gauge::default(),
            log_bytes: Gauge::default(),
            topics: Gauge::default(),
            log_events: Family::default(),
            open_messages: Family::default(),
            max_connections: Gauge::default(),
            inflight_bytes: Gauge::default(),
            topic_actors: Gauge::default(),
            registry: Registry::default(),
        };
        metrics.register(&mut registry);
        metrics.registry = registry;
        metrics
    }

    fn register(&mut self, r: &mut Registry) {
        self.agents.register(r);
        self.store.register(r);
        self.auth.register(r);
        self.bookmarks.register(r);
        r.register("connections", "Open connections", self.connections.clone());
        r.register(
            "connections_opened",
            "Connections since start",
            self.connections_opened.clone(),
        );
        r.register(
            "subscriptions",
            "Topics being read",
            self.subscriptions.clone(),
        );
        r.register(
            "closed",
            "Connections that the broker ended, by close code",
            self.closed.clone(),
        );
        r.register("events_in", "Events appended", self.events_in.clone());
        r.register_with_unit(
            "in",
            "Event data appended",
            Unit::Bytes,
            self.bytes_in.clone(),
        );
        r.register(
            "duplicate_publishes",
            "Publishes recognised as retries",
            self.duplicates.clone(),
        );
        r.register(
            "refused_publishes",
            "Publishes refused, by code",
            self.refused.clone(),
        );
        r.register(
            "limited",
            "What was refused because somebody may not do more, by whose bound",
            self.limited.clone(),
        );
        r.register(
            "frames_out",
            "Deliveries: frames and groups of SSE blocks",
            self.frames_out.clone(),
        );
        r.register_with_unit("out", "Deliveries", Unit::Bytes, self.bytes_out.clone());
        r.register(
            "merged_events",
            "Deltas that travelled inside another one's merge",
            self.merged_events.clone(),
        );
        r.register(
            "resumes",
            "Readers that came back with a position",
            self.resumes.clone(),
        );
        r.register(
            "trimmed_events",
            "Events that left a log, by cause",
            self.trimmed.clone(),
        );
        r.register_with_unit(
            "publish",
            "From the publish read to its answer",
            Unit::Seconds,
            self.publish_latency.clone(),
        );
        r.register_with_unit(
            "delivery",
            "From the append to the sockets of a shard",
            Unit::Seconds,
            self.delivery_latency.clone(),
        );
        r.register_with_unit(
            "outbox",
            "Waiting for sockets",
            Unit::Bytes,
            self.outbox_bytes.clone(),
        );
        r.register_with_unit(
            "log",
            "All logs and folds together",
            Unit::Bytes,
            self.log_bytes.clone(),
        );
        r.register("topics", "Topics that exist", self.topics.clone());
        r.register("log_events", "Events kept", self.log_events.clone());
        r.register(
            "open_messages",
            "Messages that have not ended",
            self.open_messages.clone(),
        );
        r.register(
            "max_connections",
            "Connections allowed at once",
            self.max_connections.clone(),
        );
        r.register_with_unit(
            "inflight",
            "Publishes on their way to a topic",
            Unit::Bytes,
            self.inflight_bytes.clone(),
        );
        r.register(
            "topic_actors",
            "Topics with a running actor",
            self.topic_actors.clone(),
        );
    }

    pub fn count_admission(&self, answer: &Result<Principal, AuthError>) {
        match answer {
            Ok(principal) => {
                let by = principal.proof().as_str();
                self.auth
                    .admitted
                    .get_or_create(&AdmittedLabel { by })
                    .inc();
            }
            Err(refused) => {
                let reason = refused.reason();
                let label = AuthRefusedLabel { reason };
                self.auth.refused.get_or_create(&label).inc();
            }
        }
    }

    pub fn count_forbidden(&self, action: Action) {
        let label = ForbiddenLabel {
            action: action.as_str(),
        };
        self.auth.forbidden.get_or_create(&label).inc();
    }

    /// The label of a topic's namespace.
    pub fn namespace(&self, topic: &TopicPath) -> Namespace {
        let name = topic.namespace();
        let known = self.namespaces.contains(name);
        Namespace {
            namespace: if known {
                name.to_owned()
            } else {
                "other".to_owned()
            },
        }
    }

    /// The whole of it, in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a String cannot fail");
        out
    }
}
