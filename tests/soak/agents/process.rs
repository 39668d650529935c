//! Agents that are processes of their own, so that `kill -9` is what it says.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fastrand::Rng;

use super::attached::Agent;
use super::ledger::{Key, Ledger, add, clock};

const ADDRESS: &str = "TIDEWIRE_SOAK_AGENT";

/// What such a process is: this test binary, told to be an agent.
#[test]
#[ignore = "started by the soak, as a process that can be killed"]
fn an_agent_of_its_own() {
    let Ok(told) = std::env::var(ADDRESS) else {
        return;
    };
    let words: Vec<&str> = told.split(' ').collect();
    let number = |at: usize| words[at].parse::<u64>().expect("a number");
    let ledger = Ledger::telling();
    let addr = words[0].parse().expect("an address");
    let rng = Rng::with_seed(number(3));
    let mut agent = Agent::new(addr, number(1) as usize, &ledger, rng);
    agent.lease = number(4);
    agent.run_until_killed(number(2));
}

/// Starts it and kills it, again and again.
pub fn run(addr: SocketAddr, number: usize, ledger: &Ledger, mut rng: Rng) {
    for life in 1.. {
        if ledger.is_ending() {
            return;
        }
        let lease = rng.u64(1000..3000);
        let told = format!("{addr} {number} {life} {} {lease}", rng.u64(..));
        let mut child = Killed(start(&told));
        let stdout = child.0.stdout.take().expect("piped");
        let heard = std::thread::scope(|scope| {
            let books = scope.spawn(|| keep_books(stdout, ledger));
            let until = clock() + rng.u64(1000..4000);
            while clock() < until && !ledger.is_ending() {
                std::thread::sleep(Duration::from_millis(20));
            }
            let alive = child.0.try_wait().expect("a child of this process");
            assert!(alive.is_none(), "agent {number} ended by itself: {alive:?}");
            child.0.kill().expect("it can be killed");
            books.join().expect("lines that can be read")
        });
        let killed = clock();
        add(&ledger.counts.child_kills);
        for key in heard {
            ledger.killed(&key, killed, lease);
        }
        std::thread::sleep(Duration::from_millis(rng.u64(..2 * lease)));
    }
}

fn start(told: &str) -> Child {
    let binary = std::env::current_exe().expect("this binary");
    let name = "agents::process::an_agent_of_its_own";
    let mut command = Command::new(binary);
    command.args(["--exact", name, "--ignored", "--nocapture"]);
    command.env(ADDRESS, told).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    command.spawn().expect("this binary starts")
}

/// Until its output ends: which messages it spoke of.
fn keep_books(stdout: impl std::io::Read, ledger: &Ledger) -> Vec<Key> {
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let mut keys: Vec<Key> = lines.filter_map(|line| ledger.hear(&line)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
