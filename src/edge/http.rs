//! The HTTP side: routes, the one way in, errors as problems.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use actix_http::{ConnectionType, RequestHead};
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;

use super::address::client_address;
use super::admit::{admit, check_request};
use super::newcomer::Newcomer;
use super::{
    appsync, health, history, media, openapi, publish, publish_stream, revocations, sse,
    ws_handshake,
};
use crate::auth::AuthError;
use crate::broker::Broker;
use crate::broker::caller::Caller;
use crate::broker::link::Waiting as _;
use crate::broker::problem::{Code, Problem};
use crate::broker::shard::Shard;
use crate::dialect::Encoding;
use crate::event::TopicPath;

/// What every handler has at hand.
#[derive(Clone)]
pub struct Edge {
    pub broker: std::sync::Arc<Broker>,
    pub shard: Rc<Shard>,
}

/// A page served at `/` (the demo's), with the module that it imports.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    pub html: &'static str,
    /// Served at `/tidewire.js`.
    pub module: &'static str,
}

/// The page talks to this broker only (its second reader is a frame of itself).
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; \
     img-src data:; connect-src 'self'; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'";

/// How to say who one is (RFC 6750 §3).
pub const CHALLENGE: &str = "Bearer realm=\"tidewire\"";

/// Puts the routes into an `App`.
pub fn routes(config: &mut web::ServiceConfig, edge: Edge, page: Option<Page>) {
    let is_appsync_served = edge.broker.config.appsync.enabled;
    config
        .app_data(web::Data::new(edge))
        .service(resource("/v1/publish").route(web::post().to(publish::publish)))
        .service(
            resource("/v1/publish/stream")
                .route(web::post().to(publish_stream::publish))
                // what `curl -T -` sends
                .route(web::put().to(publish_stream::publish)),
        )
        .service(
            resource("/v1/sse")
                .route(web::get().to(sse::get))
                .route(web::post().to(sse::post)),
        )
        .service(resource("/v1/events").route(web::get().to(history::events)))
        .service(
            resource("/v1/topic")
                .route(web::get().to(history::topic))
                .route(web::delete().to(history::delete)),
        )
        .service(resource("/v1/topics").route(web::get().to(history::topics)))
        .service(resource(ws_handshake::PATH).route(web::get().to(upgrade_required)))
        .service(
            resource("/v1/revocations")
                .route(web::get().to(revocations::list))
                .route(web::post().to(revocations::revoke)),
        )
        .configure(|config| appsync_routes(config, is_appsync_served))
        .service(resource("/v1/openapi.json").route(web::get().to(openapi::openapi)))
        .service(resource("/healthz").route(web::get().to(health::healthz)))
        .service(resource("/readyz").route(web::get().to(health::readyz)))
        .service(resource("/metrics").route(web::get().to(health::metrics)))
        .default_service(web::to(not_found));
    if let Some(Page { html, module }) = page {
        let page = move || served(html, "text/html; charset=utf-8");
        let module = move || served(module, "text/javascript; charset=utf-8");
        config
            .service(resource("/").route(web::get().to(page)))
            .service(resource("/tidewire.js").route(web::get().to(module)));
    }
}

/// The page and its module belong together, so neither outlives this broker in a cache.
async fn served(text: &'static str, content_type: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .body(text)
}

/// Of the dialect of AWS AppSync Events, unless it is switched off.
fn appsync_routes(config: &mut web::ServiceConfig, is_served: bool) {
    if !is_served {
        return;
    }
    config
        .service(resource(appsync::REALTIME_PATH).route(web::get().to(upgrade_required)))
        .service(resource(appsync::PUBLISH_PATH).route(web::post().to(appsync::publish)));
}

fn resource(path: &str) -> actix_web::Resource {
    web::resource(path.to_owned()).default_service(web::to(method_not_allowed))
}

async fn not_found() -> HttpResponse {
    problem(&Problem::new(
        Code::NotFound,
        "nothing is served here; the calls stand under /v1",
    ))
}

async fn method_not_allowed(request: HttpRequest) -> HttpResponse {
    let message = format!("{} is not served at this path", request.method());
    problem(&Problem::new(Code::MethodNotAllowed, message))
}

async fn upgrade_required() -> HttpResponse {
    let mut response = problem(&Problem::new(
        Code::UpgradeRequired,
        "this path speaks WebSocket only",
    ));
    response
        .headers_mut()
        .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
}

/// RFC 9457.
pub fn problem(problem: &Problem) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(problem.code.status())
        .expect("our codes have valid statuses");
    let mut response = HttpResponse::build(status);
    response
        .content_type("application/problem+json")
        .insert_header((header::CACHE_CONTROL, "no-store"));
    if problem.code == Code::Unauthenticated {
        response.insert_header((header::WWW_AUTHENTICATE, CHALLENGE));
    }
    if let Some(wait) = problem.details.retry_after_ms {
        response.insert_header((header::RETRY_AFTER, wait.div_ceil(1000).to_string()));
    }
    response.body(problem.to_json())
}

/// JSON that nobody may keep.
pub fn json(body: Vec<u8>) -> HttpResponse {
    encoded(body, Encoding::Json)
}

/// JSON in the encoding of the answer.
pub fn encoded(json: Vec<u8>, encoding: Encoding) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(encoding.media_type())
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(encoding.text(json))
}

/// What passed the gate.
type Passed<B> = Result<ServiceResponse<EitherBody<B, BoxBody>>, actix_web::Error>;

/// Everything passes here first: who it is, whether the page it comes from may, and CORS for those that may. A stream
/// that was let in holds nothing of it any more.
pub fn gate<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> LocalBoxFuture<'static, Passed<B>> {
    Box::pin(pass(request, next))
}

async fn pass<B: MessageBody + 'static>(request: ServiceRequest, next: Next<B>) -> Passed<B> {
    let Some(edge) = request.app_data::<web::Data<Edge>>().cloned() else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = request.method() == Method::OPTIONS && origin.is_some();
    let mut response = match check_request(&edge.broker.config, request.head()) {
        Err(refused) => {
            return Ok(request
                .into_response(problem(&refused))
                .map_into_right_body());
        }
        Ok(()) if preflight => request
            .into_response(allow_preflight())
            .map_into_right_body(),
        Ok(()) => {
            let mut is_known = edge.broker.auth.is_open();
            if is_for_somebody(request.path()) {
                let admitted = admit_request(&edge.broker, &request).await;
                is_known |= admitted.is_ok();
                request.extensions_mut().insert(admitted);
            }
            if let Some(newcomer) = request.conn_data::<Newcomer>().filter(|_| is_known) {
                newcomer.admitted();
            }
            let mut response = next.call(request).await?.map_into_left_body();
            is_known |= response.request().extensions().contains::<LetIn>();
            if !is_known {
                // nobody keeps a place who does not say who they are
                let head = response.response_mut().head_mut();
                head.set_connection_type(ConnectionType::Close);
            }
            response
        }
    };
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    Ok(response)
}

fn allow_preflight() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((
            header::ACCESS_CONTROL_ALLOW_METHODS,
            "GET, POST, PUT, DELETE, OPTIONS",
        ))
        .insert_header((
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "Authorization, Content-Type, Accept, Cache-Control, Last-Event-ID, X-Api-Key, X-Amz-Date, \
             X-Amz-Security-Token, X-Amz-User-Agent, X-Amz-Content-Sha256, Content-Encoding",
        ))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, "600"))
        .finish()
}

/// Whether who asks makes a difference.
fn is_for_somebody(path: &str) -> bool {
    !matches!(
        path,
        "/" | "/healthz" | "/readyz" | "/v1/openapi.json" | appsync::PUBLISH_PATH
    )
}

/// Stands with a request whose handler itself looked who it is from, and let them in.
pub struct LetIn;

/// Who the request is from, or why it may not come in.
type Admitted = Result<Caller, Problem>;

async fn admit_request(broker: &Broker, request: &ServiceRequest) -> Admitted {
    let admission = admit(broker, request.head()).await?;
    let principal = admission.principal?.ok_or(AuthError::Missing)?;
    let address = address_of(broker, request.head());
    Ok(Caller::of_request(broker, principal, address))
}

/// Where a request comes from.
pub fn address_of(broker: &Broker, head: &RequestHead) -> IpAddr {
    let peer = head.peer_addr.map(|peer| peer.ip());
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    client_address(peer, &head.headers, &broker.config)
}

/// Who the request is from; `gate` put it there.
pub fn caller(request: &HttpRequest) -> Admitted {
    let admitted = request.extensions().get::<Admitted>().cloned();
    admitted.unwrap_or_else(|| Err(Problem::from(AuthError::Missing)))
}

/// Reads a body of at most `limit` bytes; a declared length over it is refused before anything is buffered.
pub async fn read_body(
    request: &HttpRequest,
    mut payload: web::Payload,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Code::TooLarge, format!("a body has at most {limit} bytes"));
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    loop {
        let chunk = tokio::time::timeout(patience, payload.next())
            .await
            .map_err(|_| Problem::new(Code::InvalidRequest, "the body stopped in the middle"))?;
        match chunk {
            Some(Ok(chunk)) if body.len() + chunk.len() > limit => return Err(too_large()),
            // most bodies come in one piece, which needs no copy
            Some(Ok(chunk)) if body.is_empty() && declared == Some(chunk.len() as u64) => {
                return Ok(chunk);
            }
            Some(Ok(chunk)) => body.extend_from_slice(&chunk),
            Some(Err(error)) => {
                return Err(Problem::new(
                    Code::InvalidRequest,
                    format!("the body was cut off: {error}"),
                ));
            }
            None => return Ok(body.freeze()),
        }
    }
}

/// JSON, or no type at all, is taken as JSON.
pub fn check_json(request: &HttpRequest) -> Result<(), Problem> {
    match media::of_body(request) {
        Ok(Encoding::Json) => Ok(()),
        _ => Err(Problem::new(
            Code::UnsupportedMediaType,
            "send `Content-Type: application/json`",
        )),
    }
}

/// The pairs of a query, decoded, in order.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn of(request: &HttpRequest) -> Result<Self, Problem> {
        web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map(|query| Self(query.into_inner()))
            .map_err(|_| Problem::invalid_request("query", "the query is not valid `name=value&…`"))
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn number(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| Problem::invalid_request(name, format!("`{name}` is a number from 0")))
        };
        self.get(name).map(parse).transpose()
    }

    pub fn flag(&self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some("1" | "true") => Ok(Some(true)),
            Some("0" | "false") => Ok(Some(false)),
            Some(_) => Err(Problem::invalid_request(
                name,
                format!("`{name}` is 0 or 1"),
            )),
        }
    }

    pub fn topic(&self) -> Result<TopicPath, Problem> {
        let text = self
            .get("topic")
            .ok_or_else(|| Problem::invalid_request("topic", "`topic` is missing"))?;
        TopicPath::parse(text).map_err(|why| Problem::invalid_topic(text, why))
    }
}
