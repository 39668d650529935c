//! History and topics over HTTP: `/v1/events`, `/v1/topic`, `/v1/topics`.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::http::{Edge, Query, caller, json, problem};
use crate::auth::Action;
use crate::broker::caller::Caller;
use crate::broker::problem::{Code, Problem};
use crate::dialect::native_json::decode::read_from;
use crate::dialect::native_json::push_item;
use crate::event::event_type::TypeFilter;
use crate::event::json::push_string;
use crate::event::{Epoch, Position, Seq, TopicPath};
use crate::log::read::{ReadView, ResetReason};
use crate::log::{Attach, Batch, Gap, ReadFrom, ReadLimits, Reading, Replay, SharedLog};

/// Events on a page where `limit` says nothing, and at most.
const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1000;
/// Bytes on a page (one event always fits).
const MAX_PAGE_BYTES: usize = 1 << 20;

async fn load(
    edge: &Edge,
    request: &HttpRequest,
    topic: &TopicPath,
) -> Result<Option<Arc<SharedLog>>, Problem> {
    let Caller { principal, .. } = caller(request)?;
    edge.broker
        .check_access(&principal, Action::Subscribe, topic)?;
    Ok(edge.broker.engine.load(topic).wait().await?)
}

/// `GET /v1/events`: a page of history.
pub async fn events(edge: web::Data<Edge>, request: HttpRequest) -> HttpResponse {
    page(&edge, &request)
        .await
        .unwrap_or_else(|refused| problem(&refused))
}

async fn page(edge: &Edge, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    caller(request)?;
    let query = Query::of(request)?;
    let topic = query.topic()?;
    let from = read_from(query.get("from").unwrap_or("start"))?;
    if matches!(from, ReadFrom::Live | ReadFrom::Snapshot) {
        let message = "history begins at `start`, `last:N` or a position";
        return Err(Problem::new(Code::InvalidCursor, message));
    }
    let limit = query.number("limit")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::invalid_request(
            "limit",
            format!("`limit` is 1 to {MAX_LIMIT}"),
        ));
    }
    let replay = match query.get("replay") {
        None | Some("raw") => Replay::Raw,
        Some("compact") => Replay::Compact,
        Some(_) => {
            return Err(Problem::invalid_request(
                "replay",
                "`replay` is `raw` or `compact`",
            ));
        }
    };
    let limits = ReadLimits {
        bytes: MAX_PAGE_BYTES,
        scanned: usize::MAX,
        events: limit as usize,
    };
    let page = match load(edge, request, &topic).await? {
        Some(log) => Page::of(&log, &from, replay, limits),
        None => Page::of_nothing(&from),
    };
    Ok(json(page.to_json(&topic)))
}

struct Page {
    attach: Attach,
    gap: Option<Gap>,
    batch: Batch,
    head: Seq,
}

impl Page {
    fn of(log: &SharedLog, from: &ReadFrom, replay: Replay, limits: ReadLimits) -> Self {
        let filter = TypeFilter::everything();
        let view = ReadView {
            filter: &filter,
            merge: false,
        };
        let log = log.read();
        let attach = log.attach(from, replay, &filter);
        let mut state = attach.state;
        let mut gap = None;
        let batch = loop {
            match log.read(state, log.head(), view, limits) {
                Reading::CaughtUp => {
                    break Batch {
                        after: state.seq,
                        to: state,
                        compact: false,
                        items: Vec::new(),
                    };
                }
                Reading::Batch(batch) => break batch,
                Reading::Gap(missing) => {
                    state.seq = missing.to;
                    state.partial = true;
                    gap = Some(missing);
                }
            }
        };
        Self {
            attach,
            gap,
            batch,
            head: log.head(),
        }
    }

    fn of_nothing(from: &ReadFrom) -> Self {
        let attach = Attach::to_nothing(from);
        let batch = Batch {
            after: Seq::ZERO,
            to: attach.state,
            compact: false,
            items: Vec::new(),
        };
        Self {
            attach,
            gap: None,
            batch,
            head: Seq::ZERO,
        }
    }

    fn to_json(&self, topic: &TopicPath) -> Vec<u8> {
        let position = Position {
            epoch: self.attach.epoch.clone(),
            seq: self.batch.to.seq,
            partial: self.batch.to.partial,
        };
        let mut out = b"{\"topic\":".to_vec();
        push_string(&mut out, topic.as_str());
        push_text_member(&mut out, "epoch", self.attach.epoch.as_str());
        out.extend_from_slice(b",\"events\":[");
        for (at, item) in self.batch.items.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_item(&mut out, item);
        }
        out.push(b']');
        push_text_member(&mut out, "position", &position.to_string());
        let more = position.seq < self.head || position.partial;
        out.extend_from_slice(format!(",\"head\":{},\"more\":{more}", self.head).as_bytes());
        if let Some(gap) = self.gap {
            let gap = format!(
                ",\"gap\":{{\"from\":{},\"to\":{},\"reason\":\"{}\"}}",
                gap.from,
                gap.to,
                gap.reason.as_str()
            );
            out.extend_from_slice(gap.as_bytes());
        }
        if let Some(reason) = self.attach.reset {
            out.extend_from_slice(reset_member(&self.attach.epoch, reason).as_bytes());
        }
        out.push(b'}');
        out
    }
}

fn push_text_member(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b',');
    push_string(out, name);
    out.push(b':');
    push_string(out, value);
}

fn reset_member(epoch: &Epoch, reason: ResetReason) -> String {
    format!(
        ",\"reset\":{{\"epoch\":\"{epoch}\",\"reason\":\"{}\"}}",
        reason.as_str()
    )
}

#[derive(Serialize)]
struct TopicState<'a> {
    topic: &'a str,
    epoch: &'a str,
    head: u64,
    first_seq: u64,
    open_messages: Vec<OpenMessage<'a>>,
    readers: usize,
}

#[derive(Serialize)]
struct OpenMessage<'a> {
    message_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    first_seq: u64,
    last_seq: u64,
    /// UTF-8 bytes of text.
    bytes: usize,
}

/// `GET /v1/topic`: what is known of one topic.
pub async fn topic(edge: web::Data<Edge>, request: HttpRequest) -> HttpResponse {
    topic_state(&edge, &request)
        .await
        .unwrap_or_else(|refused| problem(&refused))
}

async fn topic_state(edge: &Edge, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    caller(request)?;
    let topic = Query::of(request)?.topic()?;
    let Some(shared) = load(edge, request, &topic).await? else {
        let none = TopicState {
            topic: topic.as_str(),
            epoch: Epoch::NONE,
            head: 0,
            first_seq: 1,
            open_messages: Vec::new(),
            readers: edge.broker.readers.count(&topic),
        };
        return Ok(json(
            serde_json::to_vec(&none).expect("a plain struct can always be written"),
        ));
    };
    let log = shared.read();
    let open = log.folds().in_order().into_iter().map(|fold| OpenMessage {
        message_id: &fold.message,
        source: fold.source.as_deref(),
        first_seq: fold.first_seq.0,
        last_seq: fold.last_seq.0,
        bytes: fold.text_bytes(),
    });
    let state = TopicState {
        topic: topic.as_str(),
        epoch: log.epoch().as_str(),
        head: log.head().0,
        first_seq: log.first().0,
        open_messages: open.collect(),
        readers: edge.broker.readers.count(&topic),
    };
    Ok(json(
        serde_json::to_vec(&state).expect("a plain struct can always be written"),
    ))
}

/// `DELETE /v1/topic`: erases it; its readers are told `reset`.
pub async fn delete(edge: web::Data<Edge>, request: HttpRequest) -> HttpResponse {
    delete_topic(&edge, &request)
        .await
        .unwrap_or_else(|refused| problem(&refused))
}

async fn delete_topic(edge: &Edge, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let Caller { principal, .. } = caller(request)?;
    let topic = Query::of(request)?.topic()?;
    edge.broker
        .check_access(&principal, Action::Delete, &topic)?;
    let deleted = edge.broker.engine.delete(&topic).wait().await?;
    let body = serde_json::json!({"topic": topic.as_str(), "deleted": deleted});
    Ok(json(body.to_string().into_bytes()))
}

/// `GET /v1/topics`: what exists.
pub async fn topics(edge: web::Data<Edge>, request: HttpRequest) -> HttpResponse {
    list_topics(&edge, &request)
        .await
        .unwrap_or_else(|refused| problem(&refused))
}

async fn list_topics(edge: &Edge, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let Caller { principal, .. } = caller(request)?;
    let query = Query::of(request)?;
    let limit = query.number("limit")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::invalid_request(
            "limit",
            format!("`limit` is 1 to {MAX_LIMIT}"),
        ));
    }
    let prefix = query.get("prefix").unwrap_or("/");
    // one more than asked for tells whether there is more
    let found = edge
        .broker
        .topics_for(
            &principal,
            prefix,
            query.get("after"),
            limit as usize + 1,
            |_| true,
        )
        .await?;
    let more = found.len() > limit as usize;
    let names: Vec<&str> = found
        .iter()
        .take(limit as usize)
        .map(TopicPath::as_str)
        .collect();
    let body = serde_json::json!({"topics": names, "more": more});
    Ok(json(body.to_string().into_bytes()))
}
