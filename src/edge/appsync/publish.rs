//! `POST /event`: publishes up to five events to one channel.

use std::time::Instant;

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use bytes::Bytes;

use super::authorize::{Asked, authenticate, shown_headers};
use super::handshake::of_headers;
use super::{connection, max_message};
use crate::auth::Principal;
use crate::auth::authorizer::Operation;
use crate::broker::caller::Caller;
use crate::broker::link::Waiting as _;
use crate::broker::problem::{Code, Problem};
use crate::dialect::appsync::authorization::{Authorization, Kind};
use crate::dialect::appsync::decode::{self, Limits, Post};
use crate::dialect::appsync::encode;
use crate::edge::http::{Edge, LetIn, address_of, check_json, read_body};
use crate::edge::newcomer::Newcomer;
use crate::ops::metrics::{Transport, TransportLabel};

/// See the module. What AWS calls the request in its logs is in `x-amzn-RequestId`.
pub async fn publish(
    edge: web::Data<Edge>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let started = Instant::now();
    let (status, body, wait) = match publish_body(&edge, &request, payload).await {
        Ok(body) => (200, body, None),
        Err(problem) => {
            let (status, body) = encode::http_error(&problem);
            (status, body, problem.details.retry_after_ms)
        }
    };
    let label = Transport {
        transport: TransportLabel::appsync,
    };
    edge.broker
        .metrics
        .publish_latency
        .get_or_create(&label)
        .observe(started.elapsed().as_secs_f64());
    let status = actix_web::http::StatusCode::from_u16(status).expect("our statuses are valid");
    let mut response = HttpResponse::build(status);
    response
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("x-amzn-RequestId", encode::uuid()));
    if let Some(wait) = wait {
        let seconds = HeaderValue::from(wait.div_ceil(1000));
        response.insert_header((header::RETRY_AFTER, seconds));
    }
    response.body(body)
}

async fn publish_body(
    edge: &Edge,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Vec<u8>, Problem> {
    let broker = &edge.broker;
    let settings = &broker.config.appsync;
    let authorization = of_headers(request.headers());
    // what can be known before the body is known before the body
    let early = match is_known_early(edge, &authorization) {
        true => Some(who(edge, request, &authorization, None, &[]).await?),
        false => None,
    };
    check_json(request)?;
    let max = max_message(settings);
    let patience = broker.config.limits.stall_timeout;
    let body = match &early {
        Some(_) => read_body(request, payload, max, patience).await?,
        None => read_strangers_body(edge, request, payload, max).await?,
    };
    if broker.is_draining() {
        return Err(Problem::draining(1000));
    }
    let limits = Limits {
        max_events: settings.max_events,
        max_event_bytes: settings.max_event_bytes,
    };
    let post = decode::post(&body, limits);
    let principal = match early {
        Some(principal) => principal,
        None => {
            let topic = post.as_ref().ok().map(|post| &post.topic);
            who(
                edge,
                request,
                &authorization,
                topic,
                std::slice::from_ref(&body),
            )
            .await?
        }
    };
    if let Some(newcomer) = request.conn_data::<Newcomer>() {
        newcomer.admitted();
    }
    request.extensions_mut().insert(LetIn);
    let Post {
        topic,
        payloads,
        too_large,
    } = post.inspect_err(|problem| broker.count_refused(problem))?;
    let caller = Caller::of_request(broker, principal, address_of(broker, request.head()));
    // the body may have taken its time
    let caller = broker.still(&caller)?;
    let accepted: Vec<usize> = (0..payloads.len())
        .filter(|at| !too_large.contains(at))
        .collect();
    let payloads: Vec<Bytes> = accepted.iter().map(|at| payloads[*at].clone()).collect();
    if !payloads.is_empty() {
        let publish = connection::request(broker, &caller, topic.clone(), payloads, body.len())?;
        let answer = broker.publish(publish, &caller).await;
        answer.map_err(|problem| problem.about(topic.as_str()))?;
    } else {
        broker.usable_types(&caller.principal, &topic)?;
    }
    Ok(encode::posted(
        &accepted,
        &too_large,
        settings.max_event_bytes,
    ))
}

/// Of somebody who cannot be known before it is read: few at once, and for a short time.
async fn read_strangers_body(
    edge: &Edge,
    request: &HttpRequest,
    payload: web::Payload,
    max: usize,
) -> Result<Bytes, Problem> {
    if let Some(Kind::Signature(text)) = of_headers(request.headers()).kind() {
        edge.broker.auth.knows_signer(text)?;
    }
    let patience = edge.broker.config.limits.auth_timeout;
    let read = async {
        let _place = edge.broker.strangers_body().await;
        read_body(request, payload, max, patience).await
    };
    let read = tokio::time::timeout(patience, read).await;
    read.unwrap_or_else(|_| {
        let message = "the body took too long to come, or too many came at once; try again";
        let mut problem = Problem::new(Code::Draining, message);
        problem.details.retry_after_ms = Some(1000);
        Err(problem)
    })
}

/// A signature is over the body, and an authorizer is asked about the channel that stands in it.
fn is_known_early(edge: &Edge, authorization: &Authorization) -> bool {
    match authorization.kind() {
        Some(Kind::Signature(_)) => false,
        Some(Kind::Token(_)) => !edge.broker.auth.has_authorizer(),
        Some(Kind::ApiKey(_)) | None => true,
    }
}

async fn who(
    edge: &Edge,
    request: &HttpRequest,
    authorization: &Authorization,
    topic: Option<&crate::event::TopicPath>,
    bodies: &[Bytes],
) -> Result<Principal, Problem> {
    let headers = shown_headers(&edge.broker, request.headers());
    let asked = Asked {
        operation: Operation::Publish,
        channel: topic.map(|topic| topic.as_str()),
        namespace: topic.map(|topic| topic.namespace()),
        authorization,
        bodies,
        headers: &headers,
        query: request.query_string(),
    };
    Ok(authenticate(&edge.broker, &asked).await?)
}
