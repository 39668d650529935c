//! The broker under test: the real binary, started with a configuration, killed on drop.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{Http, Response, json_body};
use super::token::{SECRET, guarded_by};
use super::wait::{PATIENCE, eventually};

pub const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

/// What a broker is started with.
#[derive(Clone, Default)]
pub struct Setup {
    /// The text of the TOML file; no file at all if empty.
    pub config: String,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// 0: any free port.
    pub port: u16,
    /// It asks who somebody is, as its configuration says; otherwise everybody may do everything.
    pub asks: bool,
    /// `demo` instead of `serve`.
    pub demo: bool,
    /// Another copy of the binary, for a user who cannot reach this one.
    pub binary: Option<PathBuf>,
    /// The user it runs as; that of the test if there is none.
    pub uid: Option<u32>,
}

pub struct Broker {
    child: Child,
    pub addr: SocketAddr,
    setup: Setup,
    folder: Folder,
    stderr: Arc<Mutex<String>>,
}

impl Broker {
    pub fn start() -> Broker {
        Broker::set_up(Setup::default())
    }

    /// On a port of its own outside the system's range for outgoing connections, so that nobody takes
    /// it while the broker is down.
    pub fn restartable() -> Broker {
        Broker::set_up(Setup {
            port: quiet_port(),
            ..Setup::default()
        })
    }

    /// Starts it, unless it ends before it serves.
    pub fn attempt(setup: Setup) -> Result<Broker, Refusal> {
        let folder = Folder::new();
        let stderr = Arc::default();
        let (child, addr) = launch(&setup, &folder, &stderr)?;
        Ok(Broker {
            child,
            addr,
            setup,
            folder,
            stderr,
        })
    }

    /// `tidewire demo`: a broker, and its agent beside it.
    pub fn demo(args: &[&str], env: &[(&str, &str)]) -> Broker {
        Broker::set_up(Setup {
            demo: true,
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: env
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            ..Setup::default()
        })
    }

    pub fn configured(config: &str) -> Broker {
        Broker::set_up(Setup {
            config: config.to_owned(),
            ..Setup::default()
        })
    }

    /// One that asks who somebody is: `[auth] secret` is that of the test kit's tokens, and `config` stands behind
    /// it (so that it may go on with keys of `[auth]`).
    pub fn guarded(config: &str) -> Broker {
        Broker::set_up(Setup {
            config: guarded_by(SECRET, config),
            asks: true,
            ..Setup::default()
        })
    }

    pub fn set_up(setup: Setup) -> Broker {
        Broker::attempt(setup).unwrap_or_else(|refusal| panic!("it does not serve: {refusal}"))
    }

    /// Kills the broker and starts it again on the same port: everything in memory is gone.
    pub fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn start_again(&mut self) {
        self.setup.port = self.addr.port();
        let (child, addr) = launch(&self.setup, &self.folder, &self.stderr)
            .unwrap_or_else(|refusal| panic!("it does not serve again: {refusal}"));
        assert_eq!(addr, self.addr);
        self.child = child;
    }

    /// SIGTERM: the broker drains.
    pub fn term(&self) {
        signal("TERM", self.child.id());
    }

    /// SIGINT, as by Ctrl-C.
    pub fn interrupt(&self) {
        signal("INT", self.child.id());
    }

    pub fn wait_exit(&mut self) -> ExitStatus {
        eventually("the broker's exit", || {
            self.child.try_wait().expect("a child of this process")
        })
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Resident memory in KiB.
    pub fn rss_kb(&self) -> u64 {
        let output = Command::new("ps")
            .args(["-o", "rss=", "-p", &self.child.id().to_string()])
            .output()
            .expect("ps runs");
        String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .expect("ps prints KiB")
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// SIGHUP: files are read again.
    pub fn hang_up(&self) {
        signal("HUP", self.child.id());
    }

    /// It lives, and does nothing more.
    #[allow(dead_code, reason = "not every suite that has this kit asks it")]
    pub fn pause(&self) {
        signal("STOP", self.child.id());
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("no poisoned log").clone()
    }

    pub fn http(&self) -> Http {
        Http::connect(self.addr)
    }

    pub fn get(&self, target: &str) -> Response {
        self.http().get(target)
    }

    /// GET that must succeed; its body as JSON.
    pub fn read(&self, target: &str) -> Value {
        let response = self.get(target);
        assert_eq!(response.status, 200, "GET {target}: {}", response.text());
        response.json()
    }

    pub fn post(&self, target: &str, body: &str) -> Response {
        self.http().post(target, body)
    }

    /// Publishes one batch, which must be accepted.
    pub fn publish(&self, topic: &str, events: Value) -> Value {
        self.http().publish(topic, events)
    }

    /// Publishes what must be refused: the problem.
    pub fn refused(&self, body: &Value) -> Value {
        let response = self.post("/v1/publish", &json_body(body));
        response.problem()
    }

    pub fn topic(&self, topic: &str) -> Value {
        self.read(&format!("/v1/topic?topic={topic}"))
    }

    pub fn head(&self, topic: &str) -> u64 {
        self.topic(topic)["head"].as_u64().expect("a head")
    }

    pub fn readers(&self, topic: &str) -> u64 {
        self.topic(topic)["readers"].as_u64().expect("readers")
    }

    pub fn erase(&self, topic: &str) -> Response {
        self.http()
            .request("DELETE", &format!("/v1/topic?topic={topic}"), &[], b"")
    }

    /// Shows that the broker still serves others: a publish and its reading.
    pub fn assert_healthy(&mut self) {
        assert!(
            self.is_running(),
            "the broker ended; its log:\n{}",
            self.stderr()
        );
        let topic = "/healthy/check";
        let published = self.publish(topic, json!([super::note(1)]));
        let last = published["last_seq"].as_u64().expect("a seq");
        let epoch = published["epoch"].as_str().expect("an epoch");
        let page = self.read(&format!(
            "/v1/events?topic={topic}&from={epoch}:{}",
            last - 1
        ));
        assert_eq!(page["events"][0]["seq"], last, "{page}");
        assert!(
            !self.stderr().contains("panicked"),
            "a panic:\n{}",
            self.stderr()
        );
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.stderr();
            let start = log.len().saturating_sub(4000);
            let start = (start..log.len())
                .find(|at| log.is_char_boundary(*at))
                .unwrap_or(0);
            eprintln!("--- broker log ---\n{}", &log[start..]);
        }
    }
}

pub fn signal(name: &str, pid: u32) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success(), "kill -{name} {pid}");
}

/// It ended before it served.
#[derive(Debug)]
pub struct Refusal {
    pub status: ExitStatus,
    /// What it said on standard error.
    pub stderr: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.status, self.stderr)
    }
}

fn launch(
    setup: &Setup,
    folder: &Folder,
    log: &Arc<Mutex<String>>,
) -> Result<(Child, SocketAddr), Refusal> {
    let binary = setup.binary.as_deref();
    let mut command = Command::new(binary.unwrap_or(BINARY.as_ref()));
    if let Some(uid) = setup.uid {
        command.uid(uid);
    }
    command
        .arg(if setup.demo { "demo" } else { "serve" })
        .args(["--listen", &format!("127.0.0.1:{}", setup.port)]);
    if !setup.demo && !setup.asks {
        command.arg("--allow-anonymous");
    }
    if !setup.config.is_empty() {
        let path = folder.file("tidewire.toml", &setup.config);
        command.arg("--config").arg(path);
    }
    command.args(&setup.args);
    if runs_on_disk(setup) {
        command.args(["--engine", "disk", "--data-dir"]);
        command.arg(folder.new_folder("data"));
    }
    command.envs(setup.env.iter().map(|(k, v)| (k, v)));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let said = collect(child.stderr.take().expect("piped"), Arc::clone(log));
    let (lines, ready) = mpsc::channel();
    let stdout = child.stdout.take().expect("piped");
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    match ready.recv_timeout(PATIENCE) {
        Ok(line) => Ok((child, ready_addr(&line))),
        Err(waiting) => {
            if waiting == mpsc::RecvTimeoutError::Timeout {
                let _ = child.kill();
                let _ = child.wait();
                let stderr = log.lock().expect("no poisoned log");
                panic!("no ready line; the broker's log:\n{stderr}");
            }
            let status = eventually("its exit", || {
                child.try_wait().expect("a child of this process")
            });
            said.join().expect("its words were collected");
            let stderr = log.lock().expect("no poisoned log").clone();
            Err(Refusal { status, stderr })
        }
    }
}

/// What the engine under test may take beside the logs, in KiB: the disk engine's tables in memory, which grow to
/// their bounds.
pub fn engine_memory_kb() -> u64 {
    if is_disk_asked() { 96 * 1024 } else { 0 }
}

fn is_disk_asked() -> bool {
    std::env::var("TEST_ENGINE").is_ok_and(|engine| engine == "disk")
}

/// With `TEST_ENGINE=disk` every broker whose test says nothing of its engine has a new data directory at each
/// start: what is promised, every engine promises.
fn runs_on_disk(setup: &Setup) -> bool {
    let says = |text: &String| text.contains("engine") || text.contains("data-dir");
    is_disk_asked() && !setup.demo && !setup.args.iter().any(says) && !says(&setup.config)
}

/// A free port below the usual ephemeral range; other test processes begin their search elsewhere.
pub fn quiet_port() -> u16 {
    static STEPS: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id() * 7 + STEPS.fetch_add(1, Ordering::Relaxed);
    let mut ports = (0..10_000).map(|step| 20_000 + ((begin + step) % 10_000) as u16);
    let free = ports.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.expect("one of ten thousand ports is free")
}

fn ready_addr(line: &str) -> SocketAddr {
    line.strip_prefix("tidewire listening on http://")
        .and_then(|addr| addr.parse().ok())
        .unwrap_or_else(|| panic!("not the ready line: {line:?}"))
}

/// Reads a child's output to its end, so that the child never blocks on it.
pub fn collect(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut chunk = [0u8; 8192];
        let mut held = Vec::new();
        while let Ok(count) = from.read(&mut chunk) {
            if count == 0 {
                break;
            }
            held.extend_from_slice(&chunk[..count]);
            let whole = whole_prefix(&held);
            let text = String::from_utf8_lossy(&held[..whole]).into_owned();
            held.drain(..whole);
            into.lock().expect("no poisoned log").push_str(&text);
        }
    })
}

/// The length that does not end inside a character.
fn whole_prefix(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => bytes.len(),
    }
}

/// A folder of its own for each broker or command, removed with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidewire-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    /// A path in it that does not exist yet.
    pub fn new_folder(&self, name: &str) -> PathBuf {
        let paths = (1..).map(|number| self.0.join(format!("{name}-{number}")));
        let mut free = paths.filter(|path| !path.exists());
        free.next().expect("numbers do not end")
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a temporary file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Longer than any timer a test configures, for asserting that something came early.
pub const SOON: Duration = Duration::from_millis(900);
