//! The server: one port for HTTP, SSE and WebSocket, from its start to its drained end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, Request, h1};
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::{fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::rt::signal::unix::{Signal, SignalKind, signal};
use actix_web::{App, rt};
use futures_util::TryFutureExt;
use socket2::{Domain, Socket, Type};
use tokio::sync::oneshot;

use super::engines;
use super::http::{Edge, Page, gate, routes};
use super::newcomer::Newcomer;
use super::{bookmarks, socket, ws_handshake};
use crate::auth::Auth;
use crate::broker::bookmarks::{BookmarkLimits, IN_ALL};
use crate::broker::directory::unix_millis;
use crate::broker::shard::Shard;
use crate::broker::{Broker, BrokerSettings};
use crate::config::Config;
use crate::ops::metrics::Metrics;
use crate::ops::process;

/// Connections that wait in the kernel until they are accepted.
const BACKLOG: i32 = 4096;
/// Plain requests that still have a place when all long-lived connections are taken.
const REQUESTS_BESIDE: usize = 128;
/// How often time's work is done: retention by age, compaction, passivation.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Spread over each drained connection.
const DRAIN_PER_CONNECTION: Duration = Duration::from_millis(2);
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// Bytes of a response that actix takes over before the socket has: a stream's progress is seen in such steps,
/// so a slow reader must not be taken for one that stalled.
const WRITE_BUFFER: usize = 8 << 10;
/// How long an idle keep-alive connection may stay.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Between two looks for the first worker.
const WORKER_POLL: Duration = Duration::from_millis(5);
/// Between two looks at files with keys and revocations: what is written there holds within a second.
const FILE_POLL: Duration = Duration::from_millis(250);
/// How long the server waits for its workers once everything was told to go.
const STOP_SECONDS: u64 = 2;

/// Serves on `listener` until `shutdown` is done, then drains. `ready` is called when connections are taken.
pub async fn run(
    listener: TcpListener,
    config: Config,
    page: Option<Page>,
    ready: impl FnOnce(),
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let workers = match config.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let descriptors = process::raise_descriptor_limit();
    let broker = new_broker(Arc::new(config), descriptors)?;
    let config = &broker.config;
    tracing::info!(
        engine = config.engine.as_str(),
        workers,
        descriptors,
        max_connections = broker.max_open,
        "starting"
    );

    let accepted_at_once = (broker.max_open + REQUESTS_BESIDE).div_ceil(workers);
    let for_workers = broker.clone();
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(accepted_at_once)
        .disable_signals()
        .shutdown_timeout(STOP_SECONDS)
        .listen("tidewire", listener, move || {
            // once on each worker's thread
            let broker = for_workers.clone();
            let shard = Shard::start(&broker);
            let limits = broker.config.limits.clone();
            let upgrades = shard.clone();
            let arriving = broker.clone();
            let edge = Edge { broker, shard };
            let app = App::new()
                .wrap(from_fn(gate))
                .configure(|services| routes(services, edge, page));
            HttpService::build()
                .keep_alive(KEEP_ALIVE)
                .client_request_timeout(limits.header_timeout)
                .h1_allow_half_closed(false)
                .h1_write_buffer_size(WRITE_BUFFER)
                .on_connect_ext(move |stream: &TcpStream, data| {
                    data.insert(Newcomer::arrive(&arriving, stream));
                    data.insert(socket::prepare(stream, limits.stall_timeout));
                })
                .upgrade(fn_service(move |(request, framed): (Request, Upgraded)| {
                    let parts = framed.into_parts();
                    let served =
                        ws_handshake::serve(request, parts.io, parts.read_buf, upgrades.clone());
                    served.map_err(actix_web::Error::from)
                }))
                .h1(map_config(app, |_| AppConfig::default()))
                .tcp()
        })?
        .run();
    let handle = server.handle();
    let serving = rt::spawn(server);
    // SIGHUP reads files again; at a terminal that is closed it ends the demo, as it would any command
    let hang_up = match page {
        None => Some(signal(SignalKind::hangup())?),
        Some(_) => None,
    };
    ready();

    let housekeeping = rt::spawn(keep_house(broker.clone()));
    let rights = rt::spawn(keep_rights(broker.clone(), hang_up));
    let (stop_keeping, stopped) = oneshot::channel();
    let bookmarks = rt::spawn(bookmarks::keep(broker.clone(), stopped));
    shutdown.await;
    drain(&broker).await;
    handle.stop(true).await;
    housekeeping.abort();
    rights.abort();
    let served = serving.await.map_err(io::Error::other)?;
    // every connection has said how far it came
    drop(stop_keeping);
    bookmarks.await.map_err(io::Error::other)?;
    broker.engine.close();
    served
}

/// A listener whose queue holds a burst of clients that come back all at once.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

type Upgraded = actix_codec::Framed<TcpStream, h1::Codec>;

fn new_broker(config: Arc<Config>, descriptors: u64) -> io::Result<Arc<Broker>> {
    let metrics = Arc::new(Metrics::new(
        config.namespaces.keys().cloned(),
        &config.environment,
    ));
    let max_open = match config.limits.max_connections {
        0 => process::connections_under(descriptors)
            .saturating_sub(REQUESTS_BESIDE)
            .max(16),
        set => set,
    };
    metrics.max_connections.set(max_open as i64);
    let auth = Auth::new(&config, metrics.clone()).map_err(io::Error::other)?;
    let engine = engines::open(&config, &metrics)?;
    let bookmarks = BookmarkLimits {
        keep_for: config.appsync.replay_for,
        per_principal: config.appsync.replay_subscriptions,
        are_written: engine.keeps_bookmarks(),
        anonymous: match auth.is_open() {
            true => IN_ALL,
            false => IN_ALL / 2,
        },
        ..BookmarkLimits::default()
    };
    let settings = BrokerSettings {
        auth,
        engine,
        metrics,
        max_open,
        bookmarks,
    };
    let broker = Broker::new(config, settings);
    bookmarks::restore(&broker);
    Ok(broker)
}

async fn keep_house(broker: Arc<Broker>) {
    let mut interval = rt::time::interval(SWEEP_INTERVAL);
    while !broker.has_workers() {
        rt::time::sleep(WORKER_POLL).await;
    }
    broker.adopt_open_messages();
    loop {
        interval.tick().await;
        broker.engine.sweep();
        broker.auth.sweep();
        broker.quotas.sweep(broker.now());
        broker.bookmarks.sweep(unix_millis());
        broker.end_idle_messages();
        broker.agents.forget_idle(broker.now());
        broker
            .metrics
            .agents
            .known
            .set(broker.agents.count() as i64);
        broker.passivate_idle(broker.config.limits.passivate_after);
    }
}

/// Keeps keys and revocations up to date with where they come from: addresses, files, and SIGHUP.
async fn keep_rights(broker: Arc<Broker>, mut hang_up: Option<Signal>) {
    for published in broker.auth.published() {
        rt::spawn(published.clone().keep_fresh());
    }
    loop {
        let asked = async {
            match &mut hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        let asked = match broker.auth.has_files() {
            true => rt::time::timeout(FILE_POLL, asked).await.is_ok(),
            false => {
                asked.await;
                tracing::info!("there are no files with keys or revocations to read again");
                continue;
            }
        };
        if broker.auth.reload(asked) {
            broker.recheck_rights();
        }
    }
}

/// Not ready, everybody told in slices, outboxes flushed; then whatever is left is cut off.
async fn drain(broker: &Broker) {
    let open = broker.open_count();
    let patience = broker.config.drain_timeout;
    let over = (DRAIN_PER_CONNECTION * open as u32).min(patience / 2);
    tracing::info!(connections = open, "draining");
    broker.start_draining();
    for shard in broker.shards() {
        shard.drain(over);
    }
    let drained = async {
        while broker.open_count() > 0 {
            rt::time::sleep(DRAIN_POLL).await;
        }
    };
    if rt::time::timeout(patience, drained).await.is_err() {
        tracing::warn!(
            connections = broker.open_count(),
            "draining took too long; the rest is cut off"
        );
    }
}
