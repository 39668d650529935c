//! `GET` and `POST /v1/sse`: one stream of several topics, and long polling with the same framing.
//!
//! A native `EventSource` gives up on anything but 200, so whatever coming back can mend is told in the
//! stream: full and draining as `tidewire.draining`, a bad cursor as `tidewire.reset`.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;

use super::body::SseBody;
use super::http::{Edge, Query, caller, check_json, problem, read_body};
use super::socket::{BodyState, BodyTransport, Descriptor};
use crate::auth::{Action, Principal};
use crate::broker::caller::Caller;
use crate::broker::command::ReadOptions;
use crate::broker::link::Link;
use crate::broker::opening::{count_subscription, open_topic};
use crate::broker::problem::{Code, Problem};
use crate::broker::session::{Session, Terms};
use crate::dialect::native_json::decode::{TopicFrom, from_cursor, read_from, read_options};
use crate::dialect::{Wire, sse};
use crate::event::{Position, TopicPath};
use crate::log::{Attach, ReadFrom};
use crate::ops::metrics::TransportLabel;

/// How long a client waits before it comes back, with jitter, in milliseconds.
const RETRY_MS: std::ops::Range<u64> = 500..2000;
/// The longest time a poll may wait.
const MAX_WAIT_MS: u64 = 30_000;
/// Bytes of comment that push the first block through proxies which hold back short beginnings.
const PAD_BYTES: usize = 2048;

pub async fn get(edge: web::Data<Edge>, request: HttpRequest) -> HttpResponse {
    let wanted = Query::of(&request).and_then(|query| {
        let topics = query
            .all("topic")
            .map(|topic| TopicFrom {
                topic: topic.into(),
                from: None,
            })
            .collect();
        Wanted::from_query(&edge, &request, &query, topics, None)
    });
    answer(&edge, &request, wanted).await
}

/// The body of `POST /v1/sse`; members stand beside the query's and beat them.
#[derive(Deserialize)]
#[serde(expecting = "an object with `topics`")]
struct Body<'a> {
    #[serde(borrow)]
    topics: Vec<TopicFrom<'a>>,
    #[serde(borrow, default)]
    from: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    replay: Option<Cow<'a, str>>,
    #[serde(default)]
    coalesce_ms: Option<u64>,
    #[serde(default)]
    types: Option<Vec<String>>,
    #[serde(borrow, default)]
    last_event_id: Option<Cow<'a, str>>,
    #[serde(default)]
    once: Option<bool>,
    #[serde(default)]
    wait_ms: Option<u64>,
    #[serde(default)]
    named: Option<bool>,
}

pub async fn post(
    edge: web::Data<Edge>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let wanted = read_post(&edge, &request, payload).await;
    answer(&edge, &request, wanted).await
}

async fn read_post(
    edge: &Edge,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Wanted, Problem> {
    caller(request)?;
    check_json(request)?;
    let limits = &edge.broker.config.limits;
    let bytes = read_body(
        request,
        payload,
        limits.max_frame_bytes,
        limits.stall_timeout,
    )
    .await?;
    let mut body: Body<'_> =
        serde_json::from_slice(&bytes).map_err(|error| match error.is_data() {
            true => Problem::invalid_request(
                "topics",
                format!("the body is `{{\"topics\":[{{\"topic\"}}]}}`: {error}"),
            ),
            false => Problem::invalid_json(&error),
        })?;
    let topics = std::mem::take(&mut body.topics);
    Wanted::from_query(edge, request, &Query::of(request)?, topics, Some(body))
}

/// What a stream is asked for.
struct Wanted {
    caller: Caller,
    topics: Vec<(TopicPath, ReadFrom)>,
    options: ReadOptions,
    /// A long poll, and how long it waits.
    once: Option<Duration>,
    named: bool,
    pad: bool,
}

impl Wanted {
    fn from_query(
        edge: &Edge,
        request: &HttpRequest,
        query: &Query,
        listed: Vec<TopicFrom<'_>>,
        body: Option<Body<'_>>,
    ) -> Result<Self, Problem> {
        let caller = caller(request)?;
        let body = body.as_ref();
        let types: Option<Vec<String>> = match body.and_then(|body| body.types.clone()) {
            Some(types) => Some(types),
            None => query
                .get("types")
                .map(|types| types.split(',').map(str::to_owned).collect()),
        };
        let replay = body
            .and_then(|body| body.replay.as_deref())
            .or(query.get("replay"));
        let coalesce_ms = body
            .and_then(|body| body.coalesce_ms)
            .or(query.number("coalesce_ms")?);
        let options = read_options(replay, coalesce_ms, types.as_deref())?;
        let from = body
            .and_then(|body| body.from.as_deref())
            .or(query.get("from"))
            .map(read_from)
            .transpose()?;
        let header = request
            .headers()
            .get("Last-Event-ID")
            .map(|id| id.to_str().unwrap_or("\u{fffd}"));
        let cursor = header
            .or(body.and_then(|body| body.last_event_id.as_deref()))
            .or(query.get("last_event_id"))
            .or(query.get("lastEventId"))
            .filter(|cursor| !cursor.is_empty());
        let once = body
            .and_then(|body| body.once)
            .or(query.flag("once")?)
            .unwrap_or(false);
        let wait_ms = body
            .and_then(|body| body.wait_ms)
            .or(query.number("wait_ms")?)
            .unwrap_or(0);
        if wait_ms > MAX_WAIT_MS {
            return Err(Problem::invalid_request(
                "wait_ms",
                format!("`wait_ms` is 0 to {MAX_WAIT_MS}"),
            ));
        }
        let named = body
            .and_then(|body| body.named)
            .or(query.flag("named")?)
            .unwrap_or(true);
        let topics = wanted_topics(edge, &caller.principal, listed, cursor, from.as_ref())?;
        let once = once.then(|| Duration::from_millis(wait_ms));
        Ok(Self {
            caller,
            topics,
            options,
            once,
            named,
            pad: query.flag("pad")?.unwrap_or(false),
        })
    }
}

fn wanted_topics(
    edge: &Edge,
    principal: &Principal,
    listed: Vec<TopicFrom<'_>>,
    cursor: Option<&str>,
    from: Option<&ReadFrom>,
) -> Result<Vec<(TopicPath, ReadFrom)>, Problem> {
    let max = edge.broker.config.limits.max_sse_topics;
    if listed.is_empty() {
        return Err(Problem::invalid_request("topic", "`topic` is missing"));
    }
    if listed.len() > max {
        return Err(Problem::new(
            Code::TooManySubscriptions,
            format!("a stream has at most {max} topics"),
        ));
    }
    let several = listed.len() > 1;
    let mut topics: Vec<(TopicPath, ReadFrom)> = Vec::with_capacity(listed.len());
    for entry in listed {
        let topic = TopicPath::parse(&entry.topic)
            .map_err(|why| Problem::invalid_topic(&entry.topic, why))?;
        // `Last-Event-ID` beats every `from`; a topic that a cursor does not name starts by its `from`
        let start = match cursor.and_then(|cursor| from_cursor_of(cursor, several, &topic)) {
            Some(start) => start,
            None => match entry.from.as_deref() {
                Some(own) => read_from(own)?,
                None => from.cloned().unwrap_or(ReadFrom::Snapshot),
            },
        };
        edge.broker
            .check_access(principal, Action::Subscribe, &topic)?;
        if !topics.iter().any(|(known, _)| *known == topic) {
            topics.push((topic, start));
        }
    }
    Ok(topics)
}

/// The `id` of a one-topic stream is a position and names no topic: to a stream of several it is foreign.
fn from_cursor_of(cursor: &str, several: bool, topic: &TopicPath) -> Option<ReadFrom> {
    match from_cursor(cursor, topic) {
        Some(ReadFrom::After(_)) if several && Position::parse(cursor).is_some() => {
            Some(ReadFrom::BadCursor)
        }
        start => start,
    }
}

async fn answer(
    edge: &Edge,
    request: &HttpRequest,
    wanted: Result<Wanted, Problem>,
) -> HttpResponse {
    let opened = match wanted {
        Ok(wanted) if edge.broker.is_draining() || edge.broker.is_full() => {
            return come_back(wanted.named);
        }
        Ok(wanted) => open(edge, request, wanted).await,
        Err(refused) => Err(refused),
    };
    opened.unwrap_or_else(|refused| match refused.code {
        // who it is cannot be found out at the moment, or they have as many connections as they may
        Code::Draining => come_back(true),
        _ => problem(&refused),
    })
}

fn stream_response() -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"));
    response
}

/// Full or draining: an `EventSource` would give up on anything but 200.
fn come_back(named: bool) -> HttpResponse {
    let wait = fastrand::u64(RETRY_MS);
    let mut out = format!("retry: {wait}\n\n").into_bytes();
    out.extend_from_slice(&sse::whole_block(&sse::draining(wait, named)));
    stream_response().body(out)
}

async fn open(edge: &Edge, request: &HttpRequest, wanted: Wanted) -> Result<HttpResponse, Problem> {
    let (broker, shard) = (&edge.broker, &edge.shard);
    let (caller, connected) = wanted.caller.connect(broker)?;
    let wire = Wire::Sse {
        named: wanted.named,
        single: wanted.topics.len() == 1,
    };
    let limits = &broker.config.limits;
    let session = Session::new(
        wire,
        limits.outbox_bytes,
        limits.max_sse_topics,
        broker.readers.clone(),
    );
    let descriptor = request.conn_data::<Descriptor>().copied();
    let descriptor = descriptor
        .ok_or_else(|| Problem::new(Code::InternalError, "the connection has no descriptor"))?;
    let state = BodyState::new(descriptor);
    let transport = Box::new(BodyTransport {
        state: state.clone(),
    });
    let once = wanted.once.is_some();
    let link = Link::new(
        broker.next_session(),
        TransportLabel::sse,
        session,
        transport,
        caller.address,
        broker.now(),
        once,
    );
    link.expires.set(broker.expiry());
    let rights_end = broker.rights_end(&caller.principal);
    link.set_caller(caller.clone(), rights_end);
    *link.counted.borrow_mut() = Some(connected);

    let mut hubs = Vec::with_capacity(wanted.topics.len());
    for (topic, _) in &wanted.topics {
        let counted = count_subscription(broker, &caller, topic)?;
        hubs.push((shard.hub(topic).await?, counted));
    }
    // from here to the end without a pause: where each topic's reading begins is one moment, and whose rights end
    // from now on is found among the links
    let caller = broker.still(&caller)?;
    for (topic, _) in &wanted.topics {
        broker.check_access(&caller.principal, Action::Subscribe, topic)?;
    }
    let rights_end = broker.rights_end(&caller.principal);
    link.set_caller(caller, rights_end);
    let options = Rc::new(wanted.options);
    let polled: Vec<TopicPath> = match once && options.filter.admits_deltas() {
        true => wanted
            .topics
            .iter()
            .map(|(topic, _)| topic.clone())
            .collect(),
        false => Vec::new(),
    };
    shard.add_link(&link);
    let mut attached: Vec<(TopicPath, Attach)> = Vec::with_capacity(hubs.len());
    for ((topic, from), (hub, counted)) in wanted.topics.into_iter().zip(hubs) {
        let terms = Terms::unnamed(options.clone(), false);
        let attach = open_topic(shard, &link, &topic, hub, &from, terms);
        link.session.borrow_mut().count(&topic, &None, counted);
        attached.push((topic, attach));
    }
    let preamble = preamble(&link, &attached, wanted.named, wanted.pad);
    let body = SseBody::new(link, shard.clone(), state, preamble, broker.count_open());
    let body = match wanted.once {
        Some(wait) => body.polling(wait, polled),
        None => body,
    };
    Ok(stream_response().body(body))
}

/// `retry:`, perhaps padding, and `tidewire.ready`.
fn preamble(link: &Link, attached: &[(TopicPath, Attach)], named: bool, pad: bool) -> Bytes {
    let mut out = format!("retry: {}\n\n", fastrand::u64(RETRY_MS)).into_bytes();
    if pad {
        out.push(b':');
        out.resize(out.len() + PAD_BYTES, b' ');
        out.extend_from_slice(b"\n\n");
    }
    out.extend_from_slice(&sse::ready(
        attached.iter().map(|(topic, attach)| (topic, attach)),
        named,
    ));
    sse::push_end(&mut out, link.session.borrow().current_id().as_deref());
    out.into()
}
