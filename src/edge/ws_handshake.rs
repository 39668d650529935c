//! The upgrade of a request to a WebSocket (RFC 6455 §4.2): what is accepted, and how a refusal is told.
//!
//! The upgrade service sees every request that asks for an upgrade, whatever its path, and none of the
//! HTTP side's routing or middleware: all of it is checked here.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_http::header::{self, HeaderMap};
use actix_http::ws::{hash_key, verify_handshake};
use actix_http::{HttpMessage, Request};
use actix_rt::net::TcpStream;
use tokio::io::AsyncWriteExt;

use super::admit::{admit, check_request};
use super::credential::Place;
use super::http::{CHALLENGE, address_of};
use super::newcomer::Newcomer;
use super::ws::{self, Visitor};
use crate::broker::Broker;
use crate::broker::caller::Caller;
use crate::broker::link::Waiting as _;
use crate::broker::problem::{Code, Problem};
use crate::broker::shard::Shard;
use crate::dialect::Encoding;

/// Where WebSockets are served.
pub const PATH: &str = "/v1/ws";
/// How long a refusal may take to be written, and what else the client sends may take to be read.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// What an accepted handshake agreed on.
struct Accepted {
    visitor: Visitor,
    address: IpAddr,
    encoding: Encoding,
    /// Whether the client named a subprotocol, which is then echoed.
    named: bool,
    key: [u8; 28],
}

/// Serves one upgraded connection to its end.
pub async fn serve(
    request: Request,
    stream: TcpStream,
    already_read: bytes::BytesMut,
    shard: Rc<Shard>,
) -> io::Result<()> {
    match accept(&request, &shard).await {
        Ok(accepted) => {
            let mut response = String::with_capacity(256);
            response.push_str(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
            );
            response.push_str("Sec-WebSocket-Accept: ");
            response.push_str(std::str::from_utf8(&accepted.key).expect("base64 is ASCII"));
            if accepted.named {
                response.push_str("\r\nSec-WebSocket-Protocol: ");
                response.push_str(accepted.encoding.subprotocol());
            }
            response.push_str("\r\n\r\n");
            drop(request);
            ws::serve(
                stream,
                already_read,
                response.into(),
                shard,
                accepted.visitor,
                accepted.address,
                accepted.encoding,
            )
            .await;
            Ok(())
        }
        Err(problem) => refuse(stream, &problem).await,
    }
}

async fn accept(request: &Request, shard: &Shard) -> Result<Accepted, Problem> {
    let broker = &shard.broker;
    if request.path() != PATH {
        return Err(Problem::new(
            Code::NotFound,
            format!("WebSockets are served at {PATH} only"),
        ));
    }
    check_request(&broker.config, request.head())?;
    verify_handshake(request.head()).map_err(|why| {
        Problem::invalid_request("handshake", format!("not a WebSocket handshake: {why}"))
    })?;
    let chosen = choose_encoding(request.headers())?;
    if broker.is_draining() {
        return Err(Problem::draining(1000));
    }
    if broker.is_full() {
        let mut problem = Problem::new(
            Code::Draining,
            "the broker has as many connections as it may have; try again",
        );
        problem.details.retry_after_ms = Some(1000);
        return Err(problem);
    }
    let key = request
        .headers()
        .get(header::SEC_WEBSOCKET_KEY)
        .map(|key| hash_key(key.as_bytes()));
    let key =
        key.ok_or_else(|| Problem::invalid_request("handshake", "Sec-WebSocket-Key is missing"))?;
    let address = address_of(broker, request.head());
    Ok(Accepted {
        visitor: visitor(request, broker, address).await?,
        address,
        encoding: chosen.unwrap_or(Encoding::Json),
        named: chosen.is_some(),
        key,
    })
}

async fn visitor(request: &Request, broker: &Broker, address: IpAddr) -> Result<Visitor, Problem> {
    let newcomer = request.conn_data::<Newcomer>();
    let admission = admit(broker, request.head()).await?;
    match admission.principal {
        Ok(Some(principal)) => {
            if let Some(newcomer) = newcomer {
                newcomer.admitted();
            }
            let caller = Caller::of_request(broker, principal, address);
            let (caller, connected) = caller.connect(broker)?;
            Ok(Visitor::Known(caller, connected))
        }
        Ok(None) => Ok(Visitor::Unknown(newcomer.cloned())),
        Err(refused) => {
            let refused = Problem::from(refused);
            let reads_status = admission.place == Some(Place::Authorization);
            match reads_status || refused.code != Code::Unauthenticated {
                true => Err(refused),
                false => Ok(Visitor::Refused(refused)),
            }
        }
    }
}

/// The first subprotocol that we speak; `bearer.<token>` may stand beside it and is never echoed. `None`: the
/// client named none at all.
fn choose_encoding(headers: &HeaderMap) -> Result<Option<Encoding>, Problem> {
    let mut offered_any = false;
    for value in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        for name in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            let spoken = |encoding: &Encoding| encoding.subprotocol() == name;
            if let Some(encoding) = Encoding::ALL.into_iter().find(spoken) {
                return Ok(Some(encoding));
            }
            offered_any |= !name.is_empty() && !name.starts_with("bearer.");
        }
    }
    if offered_any {
        let [json, msgpack] = Encoding::ALL.map(Encoding::subprotocol);
        let message = format!(
            "none of the offered subprotocols is served here; offer `{json}` or `{msgpack}`"
        );
        return Err(Problem::invalid_request("Sec-WebSocket-Protocol", message));
    }
    Ok(None)
}

/// Answers once, as HTTP, and closes.
async fn refuse(mut stream: TcpStream, problem: &Problem) -> io::Result<()> {
    let body = problem.to_json();
    let status = problem.code.status();
    let mut response = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\nSec-WebSocket-Version: 13\r\n",
        reason(status),
        body.len(),
    );
    if problem.code == Code::Unauthenticated {
        response.push_str(&format!("WWW-Authenticate: {CHALLENGE}\r\n"));
    }
    if let Some(wait) = problem.details.retry_after_ms {
        response.push_str(&format!("Retry-After: {}\r\n", wait.div_ceil(1000)));
    }
    response.push_str("\r\n");
    let mut response = response.into_bytes();
    response.extend_from_slice(&body);
    let written = async {
        stream.write_all(&response).await?;
        stream.shutdown().await?;
        ws::discard_until_closed(&stream).await;
        Ok(())
    };
    tokio::time::timeout(REFUSAL_TIMEOUT, written)
        .await
        .unwrap_or(Ok(()))
}

fn reason(status: u16) -> &'static str {
    actix_http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Refused")
}
