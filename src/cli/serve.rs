//! `tidewire serve`: the broker, until it is told to stop.

use std::io::Write;
use std::process::ExitCode;

use actix_web::rt::signal::unix::{SignalKind, signal};
use clap::{ArgMatches, Command};

use super::demo::RunningBroker;
use crate::config::{self, Config};
use crate::edge::{Page, server};
use crate::ops::logging;

pub fn command() -> Command {
    config::args(Command::new("serve").about("Runs the broker"))
}

pub async fn run(matches: &ArgMatches) -> ExitCode {
    match config::load_process(matches) {
        Ok(config) => serve(config, None, announce).await,
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(2)
        }
    }
}

/// The line that scripts wait for.
fn announce(address: &str) {
    let mut out = std::io::stdout();
    // whoever started us may not listen; the broker runs all the same
    drop(writeln!(out, "tidewire listening on http://{address}").and_then(|()| out.flush()));
}

/// Listens, tells `ready` the address (`ADDR:PORT`, with the port it got), and serves until SIGTERM or SIGINT.
pub async fn serve(mut config: Config, page: Option<Page>, ready: impl FnOnce(&str)) -> ExitCode {
    logging::start(&config.log, &config.environment);
    let bound =
        server::listen(config.listen).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = match bound {
        Ok(bound) => bound,
        Err(error) => {
            eprintln!("cannot listen on {}: {error}", config.listen);
            return ExitCode::FAILURE;
        }
    };
    config.listen = address;
    let told_to_stop = match told_to_stop() {
        Ok(told) => told,
        Err(error) => {
            eprintln!("signals cannot be heard: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ready = || ready(&address.to_string());
    match server::run(listener, config, page, ready, told_to_stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the broker stopped: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Listens for signals from here on, not only once somebody waits: one may come right after the ready line.
fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Starts the demo's broker in this process, with its page at `/`.
pub async fn start_demo(listen: String) -> Result<RunningBroker, String> {
    let mut flags = vec!["demo".into(), format!("--listen={listen}")];
    // whoever sits at this machine is who the demo is for, whatever a broker of theirs would ask
    let address = listen.parse::<std::net::SocketAddr>();
    if address.is_ok_and(|address| address.ip().is_loopback()) {
        flags.push("--allow-anonymous".to_owned());
    }
    let matches = config::args(Command::new("demo"))
        .try_get_matches_from(flags)
        .map_err(|error| error.to_string())?;
    let config = config::load_process(&matches).map_err(|problems| problems.to_string())?;
    let (started, address) = tokio::sync::oneshot::channel();
    let ready = move |address: &str| {
        announce(address);
        // whoever waits for it is this function
        drop(started.send(address.parse()));
    };
    let serving = actix_web::rt::spawn(serve(config, Some(super::demo::PAGE), ready));
    let address = match address.await {
        Ok(address) => address.map_err(|error| format!("the broker's address: {error}"))?,
        Err(_) => return Err("the broker did not start".to_owned()),
    };
    let ended = Box::pin(async { serving.await.unwrap_or(ExitCode::FAILURE) });
    Ok(RunningBroker { address, ended })
}
