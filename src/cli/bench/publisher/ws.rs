//! Publishes over a WebSocket, many under way at once, within the broker's window.
//!
//! Invariants: no more is under way than the window allows, so that the broker always reads on; what is due waits
//! here, and its waiting counts.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::time::{sleep, sleep_until, timeout};

use super::{ANSWER_WITHIN, Job, PUBLISH, Sent, is_over};
use crate::cli::bench::clock::Alarm;
use crate::cli::bench::decode::said::{Limits, Published, Said};
use crate::cli::bench::decode::{Decoder, Heard, frames};
use crate::cli::bench::failure::Failure;
use crate::cli::bench::line::{self, OPEN_WITHIN, Wanted};
use crate::cli::bench::run::{Run, add};
use crate::client::Problem;

const PUBLISHER: &str = "a publisher's connection";
/// Of many, what is due within it goes out together: a system call for each event would be the generator's limit.
const TICK: Duration = Duration::from_millis(1);
/// Bytes that are put together for one write.
const WRITE: usize = 64 << 10;
const READ: usize = 16 << 10;

pub async fn publish(run: &Run, mut job: Job) -> Result<(), Failure> {
    loop {
        let (mut stream, limits, decoder) = timeout(OPEN_WITHIN, open(run))
            .await
            .map_err(|_| Failure::Silent(OPEN_WITHIN, "a publisher's connection did not open"))??;
        check(run, &job, &limits)?;
        let mut publisher = Publisher {
            run,
            limits,
            decoder,
            sent: VecDeque::new(),
            first_id: 0,
            events: 0,
            bytes: 0,
            out: Vec::new(),
            written: 0,
            gathered_us: 0,
            paused_until_us: 0,
            come_back_after: None,
        };
        let outcome = publisher.work(&mut stream, &mut job).await;
        publisher
            .sent
            .iter()
            .flatten()
            .for_each(|sent| sent.unknown(run));
        match (outcome, publisher.come_back_after) {
            (_, Some(pause)) => sleep(pause).await,
            (outcome, None) => return outcome,
        }
    }
}

async fn open(run: &Run) -> Result<(TcpStream, Limits, Decoder), Failure> {
    let stream = line::connect(run).await?;
    let request = run.peer.publisher_request();
    let opened = line::open(&run.peer, stream, &request, Wanted::WebSocket, PUBLISHER);
    let (mut stream, _, mut bytes) = opened.await?;
    let mut decoder = Decoder::websocket(true);
    let mut limits = None;
    loop {
        let fed = decoder.feed(&bytes, &mut |heard| {
            if let Heard::Said(Said::Welcome(welcome)) = heard {
                limits = Some(welcome);
            }
        });
        fed.map_err(|error| not_a_broker(run, error.to_string()))?;
        if let Some(limits) = limits {
            return Ok((stream, limits, decoder));
        }
        bytes.clear();
        let count = stream.read_buf(&mut bytes).await;
        if count.map_err(|error| Failure::cut(PUBLISHER, &error))? == 0 {
            return Err(cut());
        }
    }
}

/// What the broker would refuse is not even tried.
fn check(run: &Run, job: &Job, limits: &Limits) -> Result<(), Failure> {
    let text = run.size.text_bytes;
    let per_event = text + 128;
    let of_frame = limits.max_frame_bytes / per_event;
    let burst = usize::try_from(job.burst).unwrap_or(usize::MAX);
    let most = limits
        .max_batch_events
        .min(limits.window_events)
        .min(of_frame);
    if per_event > limits.max_event_bytes {
        let most = limits.max_event_bytes;
        return Err(Failure::Asked(format!(
            "--text-bytes {text}: the broker takes events of at most {most} bytes"
        )));
    }
    if burst > most {
        return Err(Failure::Asked(format!(
            "a publish of {burst} events of {text} bytes: the broker takes at most {most} at once"
        )));
    }
    Ok(())
}

fn cut() -> Failure {
    Failure::cut(PUBLISHER, &io::ErrorKind::UnexpectedEof.into())
}

fn not_a_broker(run: &Run, said: String) -> Failure {
    Failure::NotThePeer {
        address: run.peer.authority.clone(),
        wanted: "a Tidewire broker",
        said,
    }
}

struct Publisher<'a> {
    run: &'a Run,
    limits: Limits,
    decoder: Decoder,
    /// By id, from `first_id` on; None: answered.
    sent: VecDeque<Option<Sent>>,
    first_id: u64,
    /// Under way.
    events: usize,
    bytes: usize,
    out: Vec<u8>,
    written: usize,
    /// When something was sent last.
    gathered_us: u64,
    paused_until_us: u64,
    /// The broker drains: nothing more is sent on this connection.
    come_back_after: Option<Duration>,
}

impl Publisher<'_> {
    async fn work(&mut self, stream: &mut TcpStream, job: &mut Job) -> Result<(), Failure> {
        let (mut incoming, mut outgoing) = stream.split();
        let mut alarm = Alarm::new()?;
        let mut buffer = vec![0; READ];
        let mut heard_at = Instant::now();
        loop {
            if self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
            }
            let next = match self.out.is_empty() && self.come_back_after.is_none() {
                true => self.gather(job),
                false => Next::Blocked,
            };
            if self.sent.is_empty() && self.out.is_empty() {
                if self.come_back_after.is_some() {
                    return Ok(());
                }
                if next == Next::Nothing {
                    return self.leave(&mut outgoing).await;
                }
                heard_at = Instant::now();
            }
            let ring_at = match next {
                Next::At(us) => Some(self.run.clock.at(us)),
                Next::Nothing | Next::Blocked => None,
            };
            let happened = tokio::select! {
                biased;
                count = outgoing.write(&self.out[self.written..]), if !self.out.is_empty() => Happened::Wrote(count),
                count = incoming.read(&mut buffer) => Happened::Read(count),
                rang = alarm.ring(ring_at.unwrap_or(heard_at)), if ring_at.is_some() => Happened::Rang(rang),
                () = sleep_until((heard_at + ANSWER_WITHIN).into()), if !self.sent.is_empty() => {
                    return Err(Failure::Silent(ANSWER_WITHIN, "a publish was not answered"));
                }
            };
            match happened {
                Happened::Wrote(count) => {
                    self.written += count.map_err(|error| Failure::cut(PUBLISHER, &error))?;
                }
                Happened::Read(count) => {
                    let count = count.map_err(|error| Failure::cut(PUBLISHER, &error))?;
                    self.hear(&buffer[..count])?;
                    heard_at = Instant::now();
                }
                Happened::Rang(rang) => rang?,
            }
        }
    }

    /// Puts together what is due and fits.
    fn gather(&mut self, job: &mut Job) -> Next {
        let now_us = self.run.now_us();
        if now_us < self.paused_until_us {
            return Next::At(self.paused_until_us);
        }
        loop {
            let Some(due) = job.cadence.peek(now_us) else {
                return Next::Nothing;
            };
            if is_over(self.run, due.at_us) || is_over(self.run, now_us) {
                return Next::Nothing;
            }
            if due.at_us > now_us {
                let at_us = match job.cadence.is_dense(TICK) {
                    // rather a little late than a system call for each event
                    true => due.at_us.max(self.gathered_us + TICK.as_micros() as u64),
                    false => due.at_us,
                };
                return Next::At(at_us);
            }
            if !self.has_room(job) {
                return Next::Blocked;
            }
            job.cadence.advance();
            self.gathered_us = now_us;
            let (mut sent, content) = Sent::next(self.run, due.topic, job.burst, due.at_us);
            let id = self.first_id + self.sent.len() as u64;
            let before = self.out.len();
            let peer = &self.run.peer;
            peer.publish_frame(id, due.topic, &content, &mut self.out);
            sent.bytes = self.out.len() - before;
            self.bytes += sent.bytes;
            self.events += sent.events as usize;
            self.sent.push_back(Some(sent));
        }
    }

    fn has_room(&self, job: &Job) -> bool {
        let events = self.limits.window_events.min(job.in_flight);
        let burst = job.burst as usize;
        let bytes = burst * (self.run.size.text_bytes + 256);
        self.out.len() < WRITE
            && (self.events == 0 || self.events + burst <= events)
            && (self.bytes == 0 || self.bytes + bytes <= self.limits.window_bytes)
    }

    /// What the broker says; nothing at all is the end.
    fn hear(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.is_empty() {
            return Err(cut());
        }
        let mut said = Vec::new();
        let mut closed = None;
        let out = &mut self.out;
        let fed = self.decoder.feed(bytes, &mut |heard| match heard {
            Heard::Said(one) => said.push(one),
            Heard::Ping(payload) => {
                frames::pong(payload, out);
                add(&self.run.counts.pings, 1);
            }
            Heard::Closed { code, reason } => closed = Some((code, reason)),
            Heard::Content(..) => {}
        });
        fed.map_err(|error| not_a_broker(self.run, error.to_string()))?;
        for one in said {
            match one {
                Said::Published(published) => self.published(&published),
                Said::Refused(problem) => self.refused(&problem)?,
                Said::Draining { reconnect_after_ms } => {
                    self.come_back_after = Some(Duration::from_millis(reconnect_after_ms));
                }
                _ => {}
            }
        }
        match closed {
            Some((code, reason)) => Err(Failure::Closed {
                what: PUBLISHER,
                code,
                reason,
            }),
            None => Ok(()),
        }
    }

    fn take(&mut self, id: u64) -> Option<Sent> {
        let at = usize::try_from(id.checked_sub(self.first_id)?).ok()?;
        let sent = self.sent.get_mut(at)?.take()?;
        while let Some(None) = self.sent.front() {
            self.sent.pop_front();
            self.first_id += 1;
        }
        self.events -= sent.events as usize;
        self.bytes -= sent.bytes;
        Some(sent)
    }

    fn published(&mut self, published: &Published) {
        if let Some(sent) = self.take(published.id) {
            let seqs = published.first_seq.zip(published.last_seq);
            sent.accepted(self.run, Some(&published.epoch), seqs);
        }
    }

    fn refused(&mut self, problem: &Problem) -> Result<(), Failure> {
        if let Some(sent) = problem.id.and_then(|id| self.take(id)) {
            if problem.code == "outcome_unknown" {
                sent.unknown(self.run);
                return Ok(());
            }
            sent.refused(self.run, &problem.code);
            if problem.passes() && self.run.bears_refusals.get() {
                let pause = problem.retry_after().unwrap_or_default();
                let until = self.run.now_us() + pause.as_micros() as u64;
                self.paused_until_us = self.paused_until_us.max(until);
                return Ok(());
            }
        }
        Err(Failure::Refused {
            who: self.run.peer.who(),
            what: PUBLISH,
            status: 0,
            problem: problem.to_string(),
        })
    }

    async fn leave(&mut self, outgoing: &mut WriteHalf<'_>) -> Result<(), Failure> {
        let mut good_bye = Vec::new();
        frames::close(&mut good_bye);
        // everything is answered: a good-bye that does not arrive harms nobody
        let _ = timeout(TICK, outgoing.write_all(&good_bye)).await;
        Ok(())
    }
}

/// What a publisher waits for.
enum Happened {
    Wrote(io::Result<usize>),
    Read(io::Result<usize>),
    Rang(io::Result<()>),
}

/// When there is something to send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    At(u64),
    /// Once something is answered or written.
    Blocked,
    Nothing,
}
