//! `tidewire serve`: the broker, until it is told to stop.

use std::io::Write;
use std::net::TcpListener;
use std::process::ExitCode;

use actix_web::rt::signal::unix::{SignalKind, signal};
use clap::{ArgMatches, Command};

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
    logging::start(&config.log);
    let bound = TcpListener::bind(config.listen)
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = match bound {
        Ok(bound) => bound,
        Err(error) => {
            eprintln!("cannot listen on {}: {error}", config.listen);
            return ExitCode::FAILURE;
        }
    };
    config.listen = address;
    let ready = || ready(&address.to_string());
    match server::run(listener, config, page, ready, told_to_stop()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the broker stopped: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn told_to_stop() {
    let wait_for = async |kind| match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(error) => {
            tracing::error!(%error, "signals cannot be heard; stop the broker with SIGKILL");
            std::future::pending().await
        }
    };
    tokio::select! {
        () = wait_for(SignalKind::terminate()) => {}
        () = wait_for(SignalKind::interrupt()) => {}
    }
}
