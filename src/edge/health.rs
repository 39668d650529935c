//! Liveness, readiness, metrics.

use std::collections::HashMap;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::address::is_local;
use super::http::{Edge, caller, problem};
use crate::broker::problem::{Code, Problem};
use crate::engine::TopicCensus;

fn state(status: &str, edge: &Edge) -> String {
    json!({"status": status, "environment": edge.broker.config.environment, "version": env!("CARGO_PKG_VERSION")})
        .to_string()
}

/// The process answers.
pub async fn healthz(edge: web::Data<Edge>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(state("ok", &edge))
}

/// It may be sent traffic.
pub async fn readyz(edge: web::Data<Edge>) -> HttpResponse {
    if edge.broker.is_draining() {
        return problem(&Problem::draining(1000));
    }
    if let Err(why) = edge.broker.engine.health() {
        return problem(&Problem::new(Code::StorageUnavailable, why));
    }
    HttpResponse::Ok()
        .content_type("application/json")
        .body(state("ready", &edge))
}

/// Prometheus' text format; for peers on loopback, and for admin keys.
pub async fn metrics(edge: web::Data<Edge>, request: HttpRequest) -> HttpResponse {
    let is_local = request
        .peer_addr()
        .is_some_and(|peer| is_local(peer.ip(), request.headers()));
    if !is_local && !caller(&request).is_ok_and(|caller| caller.principal.is_admin()) {
        return problem(&Problem::new(
            Code::Forbidden,
            "metrics are served to loopback, and to API keys with `admin = true`",
        ));
    }
    let metrics = &edge.broker.metrics;
    let totals = edge.broker.engine.totals();
    metrics.log_bytes.set(totals.bytes as i64);
    metrics.topics.set(totals.topics as i64);
    metrics.store.bytes.set(totals.stored_bytes as i64);
    metrics.store.topics_in_memory.set(totals.in_memory as i64);
    let mut by_namespace: HashMap<_, TopicCensus> = HashMap::new();
    edge.broker.engine.census(&mut |topic, census| {
        let sum = by_namespace.entry(metrics.namespace(topic)).or_default();
        sum.events += census.events;
        sum.open_messages += census.open_messages;
    });
    metrics.log_events.clear();
    metrics.open_messages.clear();
    for (namespace, sum) in by_namespace {
        metrics
            .log_events
            .get_or_create(&namespace)
            .set(sum.events as i64);
        metrics
            .open_messages
            .get_or_create(&namespace)
            .set(sum.open_messages as i64);
    }
    metrics
        .auth
        .revocations
        .set(edge.broker.auth.revocations.count() as i64);
    let bookmarks = &edge.broker.bookmarks;
    metrics.bookmarks.known.set(bookmarks.len() as i64);
    metrics.bookmarks.saves.inc_by(bookmarks.take_saves());
    metrics
        .inflight_bytes
        .set(edge.broker.inflight_bytes() as i64);
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(metrics.render())
}
