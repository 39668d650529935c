//! The handshake: what a client offers, and who it says that it is. Nobody is refused for who they are here: a page
//! cannot read the status of a handshake, so that is told on the connection.

use std::net::IpAddr;

use actix_http::header::{self, HeaderMap};
use actix_http::{HttpMessage, Request};

use super::authorize::{Asked, Headers, authenticate, shown_headers};
use crate::auth::authorizer::Operation;
use crate::broker::Broker;
use crate::broker::caller::Caller;
use crate::broker::link::Waiting as _;
use crate::broker::problem::{Code, Problem};
use crate::dialect::appsync::authorization::Authorization;
use crate::dialect::appsync::{HEADER_PREFIX, SUBPROTOCOL};
use crate::edge::newcomer::Newcomer;
use crate::edge::ws::Visitor;

/// Who came, and what the handshake said.
pub struct Arrival {
    pub visitor: Visitor,
    /// Counts it as long as it has not shown who it is.
    pub newcomer: Option<Newcomer>,
    pub headers: Headers,
}

/// The subprotocol has to be offered: it is the one that is answered with.
pub fn check_subprotocol(headers: &HeaderMap) -> Result<(), Problem> {
    if offered(headers).any(|name| name == SUBPROTOCOL) {
        return Ok(());
    }
    Err(Problem::invalid_request(
        "Sec-WebSocket-Protocol",
        format!("offer the subprotocol `{SUBPROTOCOL}`"),
    ))
}

fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// What cannot be answered now refuses the upgrade: clients come back, and are not told that they may not.
pub async fn arrive(
    request: &Request,
    broker: &Broker,
    address: IpAddr,
) -> Result<Arrival, Problem> {
    let newcomer = request.conn_data::<Newcomer>().cloned();
    let headers = shown_headers(broker, request.headers());
    let visitor = match visitor(request, broker, address, &headers).await {
        Ok((caller, connected)) => {
            if let Some(newcomer) = &newcomer {
                newcomer.admitted();
            }
            Visitor::Known(caller, connected)
        }
        Err(problem) if problem.code == Code::Draining => return Err(problem),
        Err(problem) => Visitor::Refused(problem),
    };
    Ok(Arrival {
        visitor,
        newcomer,
        headers,
    })
}

async fn visitor(
    request: &Request,
    broker: &Broker,
    address: IpAddr,
    headers: &Headers,
) -> Result<(Caller, crate::broker::quota::ConnectionGuard), Problem> {
    let authorization = authorization(request.headers())?;
    let asked = Asked {
        operation: Operation::Connect,
        channel: None,
        namespace: None,
        authorization: &authorization,
        bodies: &[bytes::Bytes::from_static(b"{}")],
        headers,
        query: "",
    };
    let principal = authenticate(broker, &asked).await?;
    Caller::of_request(broker, principal, address).connect(broker)
}

/// Behind `header-` among the subprotocols; or, as the SDKs for Swift and Kotlin have it, in the headers themselves.
fn authorization(headers: &HeaderMap) -> Result<Authorization, Problem> {
    if let Some(encoded) = offered(headers).find_map(|name| name.strip_prefix(HEADER_PREFIX)) {
        return Authorization::from_subprotocol(encoded);
    }
    Ok(of_headers(headers))
}

/// What the headers of a request show.
pub fn of_headers(headers: &HeaderMap) -> Authorization {
    let pairs = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    Authorization::from_pairs(pairs)
}
