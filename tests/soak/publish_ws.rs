//! Publishers over WebSockets: several topics each, many publishes in flight, some sent twice, some again
//! much later, and connections cut with publishes under way, which are then sent again.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::control::Control;
use crate::framing::{next_frame, take_head};
use crate::heard::{self, Frame};
use crate::line::Line;
use crate::oracle::Topic;
use crate::script::{Batch, Script};
use crate::support::PATIENCE;
use crate::support::ws::{FIN_PING, FIN_PONG, FIN_TEXT, KEY, masked};
use crate::tally::{Checked, Fault, Tally, Wrong, must};

/// Publishes of one topic without an answer.
const IN_FLIGHT: usize = 16;
/// Bytes that wait for the socket, over which nothing is added.
const UNSENT: usize = 256 << 10;
/// Rest when there was nothing to do.
const PAUSE: Duration = Duration::from_micros(500);

/// Whether the broker had it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Fresh,
    Duplicate,
    /// The connection was cut before the answer came.
    Either,
}

struct Sent {
    id: u64,
    batch: Arc<Batch>,
    expected: Expected,
}

struct Speaker {
    script: Script,
    sent: VecDeque<Sent>,
    /// The last one that was answered.
    answered: Option<Arc<Batch>>,
    farewell: Option<Vec<Batch>>,
}

enum Phase {
    Handshake,
    Open,
}

struct Socket {
    addr: SocketAddr,
    line: Line,
    phase: Phase,
    speakers: Vec<Speaker>,
    next_id: u64,
    cut_at: Instant,
    heard_at: Instant,
}

/// Publishes until told to end, says farewell, and waits for the last answer.
pub fn run(
    addr: SocketAddr,
    shares: Vec<Vec<Arc<Topic>>>,
    mut rng: Rng,
    control: &Control,
) -> Checked<Tally> {
    let mut tally = Tally::default();
    let mut scratch = vec![0; 64 << 10];
    let mut sockets = Vec::new();
    for share in shares {
        let script = |topic: Arc<Topic>| Script::new(topic, rng.fork());
        let speaker = |script| Speaker {
            script,
            sent: VecDeque::new(),
            answered: None,
            farewell: None,
        };
        let speakers = share.into_iter().map(script).map(speaker).collect();
        sockets.push(Socket {
            addr,
            line: open(addr)?,
            phase: Phase::Handshake,
            speakers,
            next_id: 0,
            cut_at: Instant::now() + Duration::from_millis(rng.u64(500..4000)),
            heard_at: Instant::now(),
        });
    }
    while !(control.is_over() || control.is_ending() && sockets.iter().all(Socket::is_done)) {
        let mut moved = 0;
        for socket in &mut sockets {
            let turn = socket.turn(&mut scratch, &mut rng, control, &mut tally);
            moved += turn.map_err(|fault| fault.of("a publisher over WebSocket"))?;
        }
        control
            .published
            .store(tally.published, std::sync::atomic::Ordering::Relaxed);
        if moved == 0 {
            std::thread::sleep(PAUSE);
        }
    }
    control.say_farewell();
    Ok(tally)
}

fn open(addr: SocketAddr) -> Checked<Line> {
    let line = Line::connect(addr, None);
    let mut line = line.map_err(|why| Fault::new(Wrong::Stuck, format!("no connection: {why}")))?;
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nhost: {addr}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\
         sec-websocket-protocol: tidewire.v1.json\r\n\r\n"
    );
    line.send(request.as_bytes());
    Ok(line)
}

impl Socket {
    fn is_done(&self) -> bool {
        let done = |speaker: &Speaker| {
            speaker.sent.is_empty() && speaker.farewell.as_ref().is_some_and(Vec::is_empty)
        };
        self.speakers.iter().all(done)
    }

    fn turn(
        &mut self,
        scratch: &mut [u8],
        rng: &mut Rng,
        control: &Control,
        tally: &mut Tally,
    ) -> Checked<usize> {
        let mut moved = self.line.write() + self.line.read(scratch);
        self.answers(tally)?;
        self.line.tidy();
        must(!self.line.ended, Wrong::Unexplained, || {
            "the broker ended the connection".to_owned()
        })?;
        let waits = self.speakers.iter().any(|speaker| !speaker.sent.is_empty());
        if !waits {
            self.heard_at = Instant::now();
        }
        must(self.heard_at.elapsed() < PATIENCE, Wrong::Stuck, || {
            "no answer to a publish".to_owned()
        })?;
        if matches!(self.phase, Phase::Open) {
            moved += self.speak(rng, control, tally);
            if Instant::now() >= self.cut_at && !control.is_ending() {
                self.cut(rng, tally)?;
            }
        }
        Ok(moved)
    }

    /// Each speaker gets its turn: how many publishes went out.
    fn speak(&mut self, rng: &mut Rng, control: &Control, tally: &mut Tally) -> usize {
        let mut count = 0;
        for at in 0..self.speakers.len() {
            if self.line.unsent() > UNSENT {
                break;
            }
            let speaker = &mut self.speakers[at];
            if speaker.sent.len() >= IN_FLIGHT {
                continue;
            }
            if control.is_ending() {
                let farewell = speaker.farewell.get_or_insert_with(|| {
                    let mut batches = speaker.script.farewell();
                    batches.reverse();
                    batches
                });
                if let Some(batch) = farewell.pop() {
                    self.publish(at, Arc::new(batch), Expected::Fresh, tally);
                    count += 1;
                }
                continue;
            }
            if !speaker.script.is_due() {
                continue;
            }
            if rng.u8(0..100) == 0
                && let Some(batch) = speaker.answered.clone()
            {
                tally.retried += 1;
                self.publish(at, batch, Expected::Duplicate, tally);
                continue;
            }
            let batch = Arc::new(speaker.script.next());
            self.publish(at, batch.clone(), Expected::Fresh, tally);
            if rng.u8(0..100) == 0 {
                tally.retried += 1;
                self.publish(at, batch, Expected::Duplicate, tally);
            }
            count += 1;
        }
        count
    }

    fn publish(&mut self, at: usize, batch: Arc<Batch>, expected: Expected, tally: &mut Tally) {
        self.next_id += 1;
        let id = self.next_id * 64 + at as u64;
        let frame = format!("{{\"op\":\"publish\",\"id\":{id},{}}}", batch.members);
        self.line.send(&masked(FIN_TEXT, frame.as_bytes()));
        if expected == Expected::Fresh {
            tally.publishes += 1;
            tally.published += batch.last + 1 - batch.first;
        }
        self.speakers[at].sent.push_back(Sent {
            id,
            batch,
            expected,
        });
    }

    /// The connection is gone; whatever has no answer is sent again over another.
    fn cut(&mut self, rng: &mut Rng, tally: &mut Tally) -> Checked {
        let line = open(self.addr)?;
        std::mem::replace(&mut self.line, line).cut();
        self.phase = Phase::Handshake;
        self.cut_at = Instant::now() + Duration::from_millis(rng.u64(1000..6000));
        tally.publisher_cuts += 1;
        Ok(())
    }

    fn send_again(&mut self, tally: &mut Tally) {
        for (at, speaker) in self.speakers.iter_mut().enumerate() {
            for sent in &mut speaker.sent {
                self.next_id += 1;
                sent.id = self.next_id * 64 + at as u64;
                sent.expected = Expected::Either;
                let frame = format!(
                    "{{\"op\":\"publish\",\"id\":{},{}}}",
                    sent.id, sent.batch.members
                );
                self.line.send(&masked(FIN_TEXT, frame.as_bytes()));
                tally.retried += 1;
            }
        }
    }

    fn answers(&mut self, tally: &mut Tally) -> Checked {
        if let Phase::Handshake = self.phase {
            let Some((status, head)) = take_head(&mut self.line) else {
                return Ok(());
            };
            must(status == 101, Wrong::Unexplained, || {
                format!("refused: {head}")
            })?;
            self.phase = Phase::Open;
            self.heard_at = Instant::now();
            self.send_again(tally);
        }
        while let Some((first, header, length)) = next_frame(self.line.waiting()) {
            let payload = self.line.waiting()[header..header + length].to_vec();
            self.line.take(header + length);
            self.heard_at = Instant::now();
            match first {
                FIN_TEXT => {
                    let text = String::from_utf8_lossy(&payload);
                    let frame: Frame<'_> =
                        heard::parse(&text).map_err(|why| Fault::new(Wrong::Altered, why))?;
                    self.answer(&frame, &text, tally)?;
                }
                FIN_PING => self.line.send(&masked(FIN_PONG, &payload)),
                other => {
                    return Err(Fault::new(
                        Wrong::Unexplained,
                        format!("a frame that begins with {other:#x}: {payload:?}"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Answers come in order per topic, and each names the seqs that the plan gave.
    fn answer(&mut self, frame: &Frame<'_>, text: &str, tally: &mut Tally) -> Checked {
        if frame.op == "welcome" {
            return Ok(());
        }
        must(frame.op == "published", Wrong::Unexplained, || {
            text.to_owned()
        })?;
        let id = frame.id.unwrap_or_default();
        let speaker = self.speakers.get_mut((id % 64) as usize);
        let sent = speaker.and_then(|speaker| speaker.sent.pop_front().map(|sent| (speaker, sent)));
        let Some((speaker, sent)) = sent.filter(|(_, sent)| sent.id == id) else {
            return Err(Fault::new(
                Wrong::OutOfOrder,
                format!("not the next answer: {text}"),
            ));
        };
        check_answer(&speaker.script.topic, &sent.batch, frame, text)?;
        let duplicate = frame.duplicate.unwrap_or_default();
        tally.duplicates += u64::from(duplicate);
        let fits = match sent.expected {
            Expected::Fresh => !duplicate,
            Expected::Duplicate => duplicate,
            Expected::Either => true,
        };
        let wrong = if duplicate {
            Wrong::Lost
        } else {
            Wrong::Repeated
        };
        must(fits, wrong, || {
            format!("{:?} was expected: {text}", sent.expected)
        })?;
        speaker.answered = Some(sent.batch);
        Ok(())
    }
}

/// The seqs of an answer are those that the plan gave.
pub fn check_answer(topic: &Topic, batch: &Batch, told: &Frame<'_>, text: &str) -> Checked {
    let fits = (told.first_seq, told.last_seq) == (Some(batch.first), Some(batch.last))
        && told
            .epoch
            .as_deref()
            .is_some_and(|epoch| topic.is_epoch(epoch))
        && told.duplicate.is_some();
    must(fits, Wrong::OutOfOrder, || {
        format!(
            "{}: {}..={} were due: {text}",
            topic.path, batch.first, batch.last
        )
    })?;
    topic.acknowledge(batch.last);
    Ok(())
}
