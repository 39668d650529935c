//! Two plain servers that `benches/compare` measures Tidewire against.
//!
//! `floor` is what no fan-out server can do without; `post` is what an HTTP publish costs that nothing is done with.
//! Each says `listening on ADDR:PORT` once it takes connections, and runs on one thread until it is stopped.

mod floor;
mod post;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

const USAGE: &str = "\
peers: plain servers to measure against (benches/compare starts them)
  floor ADDR:PORT             each POST goes as one frame, with one write, to every WebSocket
  floor ADDR:PORT --by-path   only to those that were opened with the same path behind its first part
  post ADDR:PORT              a trivial actix-web handler that parses what is published and says ok";

fn main() -> ExitCode {
    // cargo adds flags of its own
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let served = match args[..] {
        ["floor", addr] => listen(addr).and_then(|listener| floor::run(listener, false)),
        ["floor", addr, "--by-path"] => {
            listen(addr).and_then(|listener| floor::run(listener, true))
        }
        ["post", addr] => listen(addr).and_then(post::run),
        ["floor" | "post", ..] => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
        // `cargo bench` and `cargo test` run this, too: there is nothing to time here
        _ => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers {}: {error}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn listen(addr: &str) -> std::io::Result<TcpListener> {
    let addr: SocketAddr = addr.parse().map_err(std::io::Error::other)?;
    let listener = TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    let mut out = std::io::stdout();
    writeln!(out, "listening on {}", listener.local_addr()?)?;
    out.flush()?;
    Ok(listener)
}
