//! The upgrade of a request to a WebSocket (RFC 6455 §4.2): what is accepted, and how a refusal is told.
//!
//! The upgrade service sees every request that asks for an upgrade, whatever its path, and none of the
//! HTTP side's routing or middleware: all of it is checked here.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use actix_http::header::{self, HeaderMap};
use actix_http::ws::{hash_key, verify_handshake};
use actix_http::{HttpMessage, Request};
use actix_rt::net::TcpStream;
use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::admit::{admit, check_request};
use super::credential::Place;
use super::http::{CHALLENGE, address_of};
use super::newcomer::Newcomer;
use super::ws::{self, Upgraded, Visitor};
use super::{appsync, ws_native};
use crate::broker::Broker;
use crate::broker::caller::Caller;
use crate::broker::link::{Link, Waiting as _};
use crate::broker::problem::{Code, Problem};
use crate::broker::shard::Shard;
use crate::dialect::{Encoding, Wire};
use crate::ops::metrics::TransportLabel;

/// Where WebSockets are served.
pub const PATH: &str = "/v1/ws";
/// How long a refusal may take to be written, and what else the client sends may take to be read.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// What an accepted handshake agreed on.
struct Accepted {
    spoken: Spoken,
    address: IpAddr,
    /// The subprotocol that is echoed, if the client named any.
    subprotocol: Option<&'static str>,
    key: [u8; 28],
}

/// What is spoken, and by whom.
enum Spoken {
    Native(Encoding, Visitor),
    AppSync(appsync::Arrival),
}

/// Serves one upgraded connection to its end. Who comes and who is refused is settled in places of their own, which
/// are given back: this waits as long as the connection lives.
pub async fn serve(
    request: Request,
    stream: TcpStream,
    already_read: bytes::BytesMut,
    shard: Rc<Shard>,
) -> io::Result<()> {
    let accepted = match Box::pin(accept(&request, &shard)).await {
        Ok(accepted) => accepted,
        Err(problem) => return Box::pin(refuse(stream, &problem)).await,
    };
    drop(request);
    begin(accepted, stream, already_read, shard).await;
    Ok(())
}

fn begin(
    accepted: Accepted,
    stream: TcpStream,
    already_read: bytes::BytesMut,
    shard: Rc<Shard>,
) -> Pin<Box<dyn Future<Output = ()>>> {
    let (wire, label) = match &accepted.spoken {
        Spoken::Native(encoding, _) => (Wire::Native(*encoding), TransportLabel::ws),
        Spoken::AppSync(_) => (Wire::AppSync, TransportLabel::appsync),
    };
    let upgraded = Upgraded {
        stream,
        already_read,
        response: switching_protocols(&accepted),
        address: accepted.address,
        wire,
        label,
    };
    match accepted.spoken {
        Spoken::Native(encoding, visitor) => {
            let begin = |link: &Rc<Link>| ws_native::begin(link, &shard, encoding, visitor);
            ws::serve(upgraded, shard.clone(), begin)
        }
        Spoken::AppSync(arrival) => {
            let begin = |link: &Rc<Link>| appsync::begin(link, &shard, arrival);
            ws::serve(upgraded, shard.clone(), begin)
        }
    }
}

fn switching_protocols(accepted: &Accepted) -> Bytes {
    let mut response = String::with_capacity(256);
    response.push_str(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    response.push_str("Sec-WebSocket-Accept: ");
    response.push_str(std::str::from_utf8(&accepted.key).expect("base64 is ASCII"));
    if let Some(subprotocol) = accepted.subprotocol {
        response.push_str("\r\nSec-WebSocket-Protocol: ");
        response.push_str(subprotocol);
    }
    response.push_str("\r\n\r\n");
    response.into()
}

async fn accept(request: &Request, shard: &Shard) -> Result<Accepted, Problem> {
    let broker = &shard.broker;
    let speaks_appsync = broker.config.appsync.enabled && request.path() == appsync::REALTIME_PATH;
    if request.path() != PATH && !speaks_appsync {
        return Err(Problem::new(
            Code::NotFound,
            format!("WebSockets are served at {PATH} only"),
        ));
    }
    check_request(&broker.config, request.head())?;
    verify_handshake(request.head()).map_err(|why| {
        Problem::invalid_request("handshake", format!("not a WebSocket handshake: {why}"))
    })?;
    let encoding = match speaks_appsync {
        true => appsync::check_subprotocol(request.headers()).map(|()| None)?,
        false => choose_encoding(request.headers())?,
    };
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
    if speaks_appsync {
        return Ok(Accepted {
            spoken: Spoken::AppSync(appsync::arrive(request, broker, address).await?),
            address,
            subprotocol: Some(appsync::SUBPROTOCOL),
            key,
        });
    }
    let visitor = visitor(request, broker, address).await?;
    Ok(Accepted {
        spoken: Spoken::Native(encoding.unwrap_or(Encoding::Json), visitor),
        address,
        subprotocol: encoding.map(Encoding::subprotocol),
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
