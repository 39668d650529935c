//! Readers that drop, stall, resume and join at random: one thread drives its share of them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::control::Control;
use crate::filter::Filter;
use crate::oracle::Topic;
use crate::reader::{Ending, Reader, Return, Transport, Wants};
use crate::setup::STALL_TIMEOUT;
use crate::tally::{Checked, Fault, Tally, Wrong};
use crate::view::Asked;

/// What a reader takes in one turn, so that all have theirs.
const MOUTHFUL: usize = 128 << 10;
const SIP: usize = 3000;
/// Between two sips.
const SIP_PAUSE: Duration = Duration::from_millis(25);
/// How long a connected reader may hear nothing although there is something to hear.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the readers may take to read what is left at the end.
const LAST_PATIENCE: Duration = Duration::from_secs(60);
/// How often the publishers are told how far the slowest reader is.
const LAG_PAUSE: Duration = Duration::from_millis(5);
/// Happenings that are kept for the words of a fault.
const TRAIL: usize = 10;
/// A third of the stalls last so long that the broker may lose patience, in milliseconds.
const STALLS_LONG: std::ops::Range<u64> = 8_000..14_000;
/// A stall may end before the broker notices that it lasted long enough, or after.
const STALL_SLACK: Duration = Duration::from_millis(200);
/// A pause shorter than this is no reason to be cut off.
const SHORT: Duration = Duration::from_millis(500);
/// Nor does so short a time of reading end a stall.
const BREATH: Duration = Duration::from_secs(2);
/// After a stall, retransmissions have backed off: a reader that reads again may hear nothing for seconds,
/// and hear only then that it was cut off.
const BACKED_OFF: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Reads,
    /// Reads nothing until then.
    Stalls {
        since: Instant,
        until: Instant,
    },
    Sips {
        since: Instant,
        until: Instant,
        next: Instant,
    },
    /// Not connected.
    Away {
        until: Instant,
    },
}

struct Member {
    reader: Reader,
    mood: Mood,
    /// When it does something else.
    whim: Instant,
    heard: Instant,
    /// Since when it read nothing, or little, and went on when: the last time on this connection.
    slow: Option<(Instant, Instant)>,
    /// Until when it may hear that it was cut off in a stall that lasted long enough, however it read since.
    excused: Option<Instant>,
    /// When it comes back to a topic that it stepped out of.
    back_in: Option<Instant>,
    /// What it did lately, for the words of a fault.
    trail: VecDeque<(Instant, &'static str)>,
}

impl Member {
    fn did(&mut self, what: &'static str) {
        if self.trail.len() == TRAIL {
            self.trail.pop_front();
        }
        self.trail.push_back((Instant::now(), what));
    }
}

pub struct Crowd<'a> {
    thread: usize,
    addr: SocketAddr,
    topics: &'a [Arc<Topic>],
    control: &'a Control,
    rng: Rng,
    members: Vec<Member>,
    next_number: u64,
    pub tally: Tally,
}

impl<'a> Crowd<'a> {
    pub fn new(
        thread: usize,
        addr: SocketAddr,
        topics: &'a [Arc<Topic>],
        control: &'a Control,
        rng: Rng,
    ) -> Crowd<'a> {
        Crowd {
            thread,
            addr,
            topics,
            control,
            rng,
            members: Vec::new(),
            next_number: thread as u64 * 1_000_000,
            tally: Tally::default(),
        }
    }

    /// Drives `count` readers until the run ends, and then until each of them has everything.
    pub fn run(&mut self, count: usize) -> Checked {
        for at in 0..count {
            let member = self.join(at);
            self.members.push(member);
        }
        let mut scratch = vec![0; MOUTHFUL];
        let mut told_lag = Instant::now();
        let mut told_delivered = 0;
        let mut ending_since = None;
        while !self.control.is_over() {
            let mut moved = 0;
            let ending = self.control.is_ending();
            for at in 0..self.members.len() {
                moved += self
                    .turn(at, ending, &mut scratch)
                    .map_err(|fault| self.blame(at, fault))?;
            }
            if told_lag.elapsed() > LAG_PAUSE {
                told_lag = Instant::now();
                self.tell_lag();
                let delivered = self.tally.delivered;
                self.control
                    .delivered
                    .fetch_add(delivered - told_delivered, Ordering::Relaxed);
                told_delivered = delivered;
            }
            if ending && self.all_published() {
                let since = *ending_since.get_or_insert_with(Instant::now);
                if self.members.iter().all(|member| is_drained(&member.reader)) {
                    return self.check_final();
                }
                if since.elapsed() > LAST_PATIENCE {
                    return Err(self.not_drained());
                }
            }
            if moved == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    fn all_published(&self) -> bool {
        let acknowledged =
            |topic: &Arc<Topic>| topic.acknowledged.load(Ordering::Relaxed) == topic.plan().head();
        self.control.has_said_farewell() && self.topics.iter().all(acknowledged)
    }

    fn blame(&self, at: usize, fault: Fault) -> Fault {
        let member = &self.members[at];
        let Wants {
            transport,
            filter,
            coalesce_ms,
            from,
            compact,
            topics,
            ..
        } = &member.reader.wants;
        let ago = |(at, what): &(Instant, &str)| {
            format!("{what} {:.3} s ago", at.elapsed().as_secs_f64())
        };
        let trail: Vec<String> = member.trail.iter().map(ago).collect();
        fault.of(format!(
            "reader {} ({transport:?}, {} topics, from {from:?}, types {:?}, coalesce {coalesce_ms}, compact {compact}; {})",
            member.reader.number,
            topics.len(),
            filter.patterns,
            trail.join(", "),
        ))
    }

    fn check_final(&self) -> Checked {
        for (at, member) in self.members.iter().enumerate() {
            for view in member.reader.views() {
                view.check_final().map_err(|fault| self.blame(at, fault))?;
            }
        }
        Ok(())
    }

    fn not_drained(&self) -> Fault {
        let at = self
            .members
            .iter()
            .position(|member| !is_drained(&member.reader))
            .unwrap_or(0);
        let view = |view: &crate::view::View| {
            let lacks = view.lacks(&view.topic.plan());
            format!("{} {}{lacks}", view.topic.path, view.position())
        };
        let views: Vec<String> = self.members[at].reader.views().map(view).collect();
        self.blame(
            at,
            Fault::new(
                Wrong::Stuck,
                format!("not at the end after {LAST_PATIENCE:?}: {views:?}"),
            ),
        )
    }

    /// Keeps the connections until the broker, which drains, has ended all of them.
    pub fn be_drained(&mut self) -> Checked {
        let mut scratch = vec![0; MOUTHFUL];
        let until = Instant::now() + PATIENCE;
        while self
            .members
            .iter()
            .any(|member| member.reader.is_connected())
        {
            for at in 0..self.members.len() {
                let reader = &mut self.members[at].reader;
                let turn = reader.turn(&mut scratch, &mut self.tally);
                let told = reader.draining;
                let (_, ending) = turn.map_err(|fault| self.blame(at, fault))?;
                let unexpected = match ending {
                    None | Some(Ending::Closed(4503)) => false,
                    Some(Ending::Cut) => !told,
                    Some(_) => true,
                };
                if unexpected {
                    return Err(self.blame(
                        at,
                        Fault::new(
                            Wrong::Unexplained,
                            format!("drained with {ending:?}, told: {told}"),
                        ),
                    ));
                }
            }
            if Instant::now() > until {
                return Err(Fault::new(
                    Wrong::Stuck,
                    "still connected to a broker that drains",
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Where the slowest of those who read as fast as they can stands, for each topic.
    fn tell_lag(&self) {
        let mut slowest = vec![u64::MAX; self.topics.len()];
        for member in self
            .members
            .iter()
            .filter(|member| member.mood == Mood::Reads)
        {
            if !member.reader.is_reading() || !member.reader.wants.filter.admits_all() {
                continue;
            }
            for view in member.reader.views() {
                let at = &mut slowest[view.topic.number];
                *at = view.seq.min(*at);
            }
        }
        for (topic, seq) in self.topics.iter().zip(slowest) {
            topic.slowest[self.thread].store(seq, Ordering::Relaxed);
        }
    }

    /// One turn of one reader: how many bytes it read.
    fn turn(&mut self, at: usize, ending: bool, scratch: &mut [u8]) -> Checked<usize> {
        let now = Instant::now();
        self.follow_mood(at, ending, now)?;
        let member = &mut self.members[at];
        let mouthful = match &mut member.mood {
            Mood::Stalls { .. } | Mood::Away { .. } => return Ok(0),
            Mood::Sips { next, .. } if *next > now => return Ok(0),
            Mood::Sips { next, .. } => {
                *next = now + SIP_PAUSE;
                SIP
            }
            Mood::Reads => scratch.len(),
        };
        if !member.reader.is_connected() {
            return Ok(0);
        }
        let (count, ended) = member
            .reader
            .turn(&mut scratch[..mouthful], &mut self.tally)?;
        if count > 0 {
            member.heard = now;
        } else if now - member.heard > PATIENCE && member.mood == Mood::Reads {
            self.check_silence(at, now)?;
        }
        if let Some(ending) = ended {
            self.on_ending(at, ending, now)?;
        }
        Ok(count)
    }

    /// Only those who are behind have reason to complain.
    fn check_silence(&mut self, at: usize, now: Instant) -> Checked {
        let member = &mut self.members[at];
        let late = !member.reader.is_reading() || !is_drained(&member.reader);
        if late && member.back_in.is_none() {
            return Err(Fault::new(
                Wrong::Stuck,
                format!("nothing comes for {PATIENCE:?}"),
            ));
        }
        member.heard = now;
        Ok(())
    }

    /// The broker ends a connection only when its reader took nothing for long enough (or, on a machine that
    /// is far too busy, before it began).
    fn on_ending(&mut self, at: usize, ending: Ending, now: Instant) -> Checked {
        let until = now + Duration::from_millis(self.rng.u64(0..500));
        if ending == Ending::TurnedAway {
            self.tally.turned_away += 1;
            self.members[at].mood = Mood::Away { until };
            return Ok(());
        }
        let member = &self.members[at];
        let slow = match member.mood {
            Mood::Sips { since, .. } => Some((since, now)),
            _ => member.slow,
        };
        let long_enough = slow.is_some_and(|(since, until)| {
            now - since + STALL_SLACK >= STALL_TIMEOUT && now - until < BACKED_OFF
        });
        let excused = member.excused.is_some_and(|until| now < until);
        if !(long_enough || excused) || !matches!(ending, Ending::Cut | Ending::Closed(4408)) {
            let what = format!("the broker ended the connection ({ending:?})");
            return Err(Fault::new(Wrong::Unexplained, what));
        }
        self.members[at].did("was cut off");
        self.tally.cut_off += 1;
        self.members[at].mood = Mood::Away { until };
        Ok(())
    }

    fn follow_mood(&mut self, at: usize, ending: bool, now: Instant) -> Checked {
        let member = &mut self.members[at];
        match member.mood {
            Mood::Away { until } if ending || until <= now => {
                let with = self.return_with(at, ending);
                let member = &mut self.members[at];
                member.did(match with {
                    Return::Cursor => "came back by cursor",
                    Return::Positions => "came (back)",
                });
                member.reader.connect(self.addr, with, &mut self.tally)?;
                (member.mood, member.heard) = (Mood::Reads, now);
                (member.slow, member.excused) = (None, None);
            }
            Mood::Stalls { since, until } | Mood::Sips { since, until, .. }
                if ending || until <= now =>
            {
                // with a short breath in between it is one stall
                let before = member.slow.filter(|(_, read_on)| since - *read_on < BREATH);
                if now - since > SHORT || before.is_some() {
                    let since = before.map_or(since, |(since, _)| since);
                    member.slow = Some((since, now));
                    if now - since + STALL_SLACK >= STALL_TIMEOUT {
                        member.excused = Some(now + BACKED_OFF);
                    }
                }
                (member.mood, member.heard) = (Mood::Reads, now);
                member.did("read on");
            }
            _ => {}
        }
        let member = &mut self.members[at];
        if member.back_in.is_some_and(|when| ending || when <= now) {
            member.reader.step_in();
            member.back_in = member.reader.is_out().then_some(now);
        }
        let member = &mut self.members[at];
        if !ending && member.whim <= now {
            member.whim = now + Duration::from_millis(self.rng.u64(300..9000));
            if member.mood == Mood::Reads && member.reader.is_connected() {
                self.indulge(at, now);
            }
        }
        Ok(())
    }

    /// How it comes back, and as whom.
    fn return_with(&mut self, at: usize, ending: bool) -> Return {
        let reader = &mut self.members[at].reader;
        let chance = if ending { 255 } else { self.rng.u8(0..100) };
        reader.wants.compact = chance < 5;
        match chance {
            5..20 => reader.forget_text(),
            20..30 => {
                self.tally.switched += 1;
                reader.wants.transport = match reader.wants.transport {
                    Transport::WebSocket => Transport::Sse,
                    Transport::Sse => Transport::WebSocket,
                };
            }
            _ => {}
        }
        if reader.has_cursor() && self.rng.u8(0..4) > 0 {
            Return::Cursor
        } else {
            Return::Positions
        }
    }

    fn indulge(&mut self, at: usize, now: Instant) {
        let millis = Duration::from_millis;
        let rng = &mut self.rng;
        let member = &mut self.members[at];
        match rng.u8(0..100) {
            0..40 => {
                member.did("cut its line");
                self.tally.cuts += 1;
                self.tally.early_cuts += u64::from(!member.reader.is_reading());
                member.reader.disconnect(rng.u8(0..3) > 0);
                let away = if rng.u8(0..5) == 0 {
                    rng.u64(2000..8000)
                } else {
                    rng.u64(0..1500)
                };
                member.mood = Mood::Away {
                    until: now + millis(away),
                };
                member.back_in = None;
            }
            40..65 => {
                member.did("stalled");
                self.tally.stalls += 1;
                let stall = if rng.u8(0..3) == 0 {
                    rng.u64(STALLS_LONG)
                } else {
                    rng.u64(100..2000)
                };
                member.mood = Mood::Stalls {
                    since: now,
                    until: now + millis(stall),
                };
            }
            65..72 => {
                member.did("sipped");
                self.tally.sips += 1;
                let until = now + millis(rng.u64(500..3000));
                member.mood = Mood::Sips {
                    since: now,
                    until,
                    next: now,
                };
            }
            72..84 => {
                let topic = rng.usize(0..member.reader.wants.topics.len());
                if member.reader.step_out(topic) {
                    member.did("stepped out");
                    self.tally.stepped_out += 1;
                    member.back_in = Some(now + millis(rng.u64(0..1500)));
                }
            }
            _ => {
                self.tally.left += 1;
                member.reader.disconnect(rng.bool());
                self.members[at] = self.join(at);
            }
        }
    }

    /// A reader that was never here.
    fn join(&mut self, at: usize) -> Member {
        self.tally.joined += 1;
        self.next_number += 1;
        let now = Instant::now();
        Member {
            reader: Reader::new(self.next_number, self.wants(at)),
            mood: Mood::Away { until: now },
            whim: now + Duration::from_millis(self.rng.u64(300..9000)),
            heard: now,
            slow: None,
            excused: None,
            back_in: None,
            trail: VecDeque::new(),
        }
    }

    fn wants(&mut self, at: usize) -> Wants {
        let rng = &mut self.rng;
        let count = match rng.u8(0..20) {
            0..12 => 1,
            12..17 => rng.usize(2..4),
            _ => rng.usize(4..9),
        };
        let from = match rng.u8(0..20) {
            0..8 => Asked::Snapshot,
            8..11 => Asked::Start,
            11..15 => Asked::Last(rng.u64(1..3000)),
            _ => Asked::Live,
        };
        Wants {
            transport: if at.is_multiple_of(2) {
                Transport::WebSocket
            } else {
                Transport::Sse
            },
            topics: rng
                .choose_multiple(self.topics, count)
                .into_iter()
                .cloned()
                .collect(),
            filter: if rng.u8(0..5) == 0 {
                Filter::number(rng.usize(0..Filter::COUNT))
            } else {
                Filter::everything()
            },
            coalesce_ms: if rng.u8(0..3) == 0 {
                rng.choice([20, 40, 100]).expect("not empty")
            } else {
                0
            },
            from,
            compact: rng.u8(0..10) == 0,
            receive_buffer: rng.bool().then_some(128 << 10),
        }
    }
}

fn is_drained(reader: &Reader) -> bool {
    reader.is_reading()
        && reader
            .views()
            .all(|view| view.is_drained(&view.topic.plan()))
}
