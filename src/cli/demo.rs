//! `tidewire demo`: the broker in this process, and beside it a demo agent as a process of its own
//! that speaks to it over the network, like any agent.
//!
//! The agent ends when this process does, however it ends: it holds the other end of its standard input.

pub mod agent;
mod desk;
mod history;
mod model;
mod prompt;
mod script;
mod tokens;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::target::{REFUSED, say, usage_error};
use crate::edge::Page;

/// What the broker serves at `/` in demo mode: one page and the TypeScript client, nothing external.
pub const PAGE: Page = Page {
    html: include_str!("demo/page.html"),
    // made of clients/typescript by its `npm run bundle-demo`; a test there fails when it is stale
    module: include_str!("demo/tidewire.js"),
};
/// The hidden subcommand of the agent.
pub const AGENT_COMMAND: &str = "demo-agent";

const COMMAND: &str = "demo";
/// Before an agent that ended by itself is started again.
const RESTART: Duration = Duration::from_secs(2);

/// Starts a broker with something to watch
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where the broker listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7070")]
    pub listen: String,
    /// The text the agent streams [default: Tidewire's README]
    #[arg(long, value_name = "FILE", conflicts_with = "openai_base_url")]
    pub text: Option<PathBuf>,
    /// Tokens per second of what is not written by a model
    #[arg(long, value_name = "TOKENS_PER_SECOND", default_value_t = agent::DEFAULT_RATE, value_parser = agent::parse_rate)]
    pub rate: f64,
    #[command(flatten)]
    pub model: agent::ModelArgs,
}

/// A broker that runs in this process.
pub struct RunningBroker {
    /// Where it really listens.
    pub address: SocketAddr,
    /// Ends when the broker has ended (it handles SIGINT and SIGTERM itself and drains).
    pub ended: Pin<Box<dyn Future<Output = ExitCode>>>,
}

/// Runs the demo. `start` starts the broker on `listen` (ADDR:PORT), serving `PAGE` at `/`; its error
/// is shown to the person.
pub async fn run<Start, Starting>(args: Args, start: Start) -> ExitCode
where
    Start: FnOnce(String) -> Starting,
    Starting: Future<Output = Result<RunningBroker, String>>,
{
    if let Some(file) = &args.text
        && let Err(error) = std::fs::File::open(file)
    {
        return usage_error(COMMAND, format_args!("--text {}: {error}", file.display()));
    }
    if let Err(error) = args.model.voice() {
        return usage_error(COMMAND, error);
    }
    let broker = match start(args.listen.clone()).await {
        Ok(broker) => broker,
        Err(error) => {
            say(COMMAND, error);
            return ExitCode::from(REFUSED);
        }
    };
    let url = format!("http://{}", reachable(broker.address));
    println_quietly(&format!(
        "open {url}/ in a browser\n\
         try  some-program | tidewire pipe /chat/demo --url {url}\n\
         try  tidewire tail --text /chat/demo --url {url}"
    ));
    tokio::select! {
        code = broker.ended => code,
        () = keep_the_agent_running(&args, &url) => ExitCode::from(REFUSED),
    }
}

/// An address that this computer can connect to, for one that listens everywhere.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn keep_the_agent_running(args: &Args, url: &str) {
    loop {
        match start_agent(args, url) {
            Ok(mut child) => {
                // `wait` would close it, and that tells the agent to go
                let _held_open = child.stdin.take();
                match child.wait().await {
                    Ok(status) => say(
                        COMMAND,
                        format_args!("the demo agent ended ({status}); starting it again"),
                    ),
                    Err(error) => say(COMMAND, format_args!("the demo agent is lost: {error}")),
                }
            }
            Err(error) => say(
                COMMAND,
                format_args!("cannot start the demo agent: {error}"),
            ),
        }
        sleep(RESTART).await;
    }
}

fn start_agent(args: &Args, url: &str) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg(AGENT_COMMAND)
        .args(["--url", url, "--rate", &args.rate.to_string()]);
    if let Some(file) = &args.text {
        command.arg("--text").arg(file);
    }
    command.args(args.model.to_words());
    // stdin stays open as long as this process lives: its end tells the agent
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    // a Ctrl-C at the terminal is for the broker, which drains; the agent ends with it
    #[cfg(unix)]
    command.process_group(0);
    command.spawn()
}

fn println_quietly(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_listens_everywhere_is_reached_at_home() {
        let reach = |address: &str| reachable(address.parse().expect("an address")).to_string();
        assert_eq!(reach("0.0.0.0:7070"), "127.0.0.1:7070");
        assert_eq!(reach("[::]:7070"), "[::1]:7070");
        assert_eq!(reach("192.0.2.1:1"), "192.0.2.1:1");
    }

    #[test]
    fn the_page_needs_nothing_from_outside() {
        for external in [
            "src=\"http",
            "href=\"http",
            "@import",
            "url(http",
            "<link rel=\"stylesheet",
            " onclick",
            " style=\"",
        ] {
            assert!(!PAGE.html.contains(external), "{external}");
        }
        for id in [
            "answer",
            "position",
            "state",
            "transport",
            "cut",
            "switch",
            "second",
            "reload",
            "ask",
            "prompt",
            "send",
        ] {
            assert!(PAGE.html.contains(&format!("id=\"{id}\"")), "{id}");
        }
        assert!(PAGE.html.contains("from './tidewire.js'"));
    }
}
