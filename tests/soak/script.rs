//! What the agents of a topic say next: two producers taking turns, each with messages of its own that
//! interleave, in all three kinds of delta, ended and begun again, and other events between.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;

use crate::oracle::{Plan, Source, Topic, What, is_note};
use crate::setup::{CALM, CALM_PAUSE, FILL, MAX_LAG, RUTHLESS};
use crate::wording::{FIRST_NOTE, TYPES};

/// Open messages of one producer.
const OPEN_OF_EACH: usize = 3;

/// One publish. Its seqs are known, because every retry has to be answered with the same.
#[derive(Debug)]
pub struct Batch {
    pub first: u64,
    pub last: u64,
    /// What stands in the frame or body: `"topic":…,"events":[…],"producer":{…}`.
    pub members: String,
}

struct Open {
    message: u32,
    left: u32,
    kind: u8,
    part: u8,
}

pub struct Script {
    pub topic: Arc<Topic>,
    rng: Rng,
    /// When a calm topic is next published to.
    due: Instant,
    /// By producer.
    open: [Vec<Open>; 2],
    published: [u64; 2],
}

impl Script {
    pub fn new(topic: Arc<Topic>, rng: Rng) -> Script {
        Script {
            topic,
            rng,
            due: Instant::now(),
            open: [Vec::new(), Vec::new()],
            published: [0, 0],
        }
    }

    /// Whether the next publish may go out now.
    pub fn is_due(&mut self) -> bool {
        let (number, now) = (self.topic.number, Instant::now());
        if number % CALM == 1 {
            let due = now >= self.due;
            if due {
                self.due = now + CALM_PAUSE;
            }
            return due;
        }
        number % RUTHLESS == 0 || self.topic.plan().head() < FILL || self.topic.lag() <= MAX_LAG
    }

    /// The next publish; it is in the plan before anybody can send it.
    pub fn next(&mut self) -> Batch {
        let source = match self.rng.u8(0..100) {
            0 => Source::Nobody,
            more => Source::Agent(more % 2),
        };
        let count = match self.rng.u8(0..10) {
            // event ids are remembered for two minutes, so they stay rare: memory is to be flat
            _ if source == Source::Nobody => self.rng.usize(1..3),
            0..5 => self.rng.usize(1..4),
            5..9 => self.rng.usize(4..13),
            _ => self.rng.usize(20..60),
        };
        self.batch(source, |script, plan, now| {
            while plan.events_of_batch() < count {
                script.say(plan, source, now);
            }
        })
    }

    /// The last publishes: some messages end, some stay open, and every filter has something to see.
    pub fn farewell(&mut self) -> Vec<Batch> {
        let each = |producer: u8| {
            move |script: &mut Script, plan: &mut Sheet<'_>, now: u32| {
                let source = Source::Agent(producer);
                let keep = script.rng.usize(0..2);
                let open = std::mem::take(&mut script.open[usize::from(producer)]);
                for last in open.iter().skip(keep) {
                    plan.push(
                        What::Completed { whole: false },
                        last.message,
                        source,
                        false,
                        now,
                    );
                }
                let fresh = plan.plan.new_message();
                let delta = What::Delta {
                    kind: 1,
                    part: 0,
                    extra: false,
                };
                for what in [What::Started, delta] {
                    plan.push(what, fresh, source, false, now);
                }
                for note in FIRST_NOTE..TYPES.len() as u8 {
                    plan.push(What::Note(note), 0, source, false, now);
                }
            }
        };
        vec![
            self.batch(Source::Agent(0), each(0)),
            self.batch(Source::Agent(1), each(1)),
        ]
    }

    fn batch(
        &mut self,
        source: Source,
        fill: impl FnOnce(&mut Script, &mut Sheet<'_>, u32),
    ) -> Batch {
        let topic = self.topic.clone();
        let (first, last, mut members) = topic.extend(|plan, now| {
            let mut sheet = Sheet {
                first: plan.head() + 1,
                plan,
            };
            fill(self, &mut sheet, now);
            let mut members = format!("\"topic\":\"{}\",\"events\":[", topic.path);
            sheet.write(&mut members);
            (sheet.first, sheet.plan.head(), members)
        });
        if let Source::Agent(producer) = source {
            let seq = &mut self.published[usize::from(producer)];
            *seq += 1;
            let id = producer_id(topic.number, producer);
            write!(
                members,
                ",\"producer\":{{\"id\":\"{id}\",\"epoch\":7,\"seq\":{seq}}}"
            )
            .expect("a String");
        }
        Batch {
            first,
            last,
            members,
        }
    }

    /// One event, or a run of deltas of one message.
    fn say(&mut self, plan: &mut Sheet<'_>, source: Source, now: u32) {
        let Source::Agent(producer) = source else {
            // without a producer it is told apart by its ids
            let note = self.note();
            plan.push(note, 0, source, true, now);
            return;
        };
        let open = &mut self.open[usize::from(producer)];
        let rng = &mut self.rng;
        if rng.u8(0..100) < 8 {
            let note = self.note();
            plan.push(note, 0, source, false, now);
            return;
        }
        let begins = open.is_empty() || (open.len() < OPEN_OF_EACH && rng.u8(0..12) == 0);
        if begins {
            let message = plan.plan.new_message();
            let left = match rng.u8(0..50) {
                0 => rng.u32(2000..4000),
                1..10 => rng.u32(150..600),
                _ => rng.u32(0..120),
            };
            let (kind, part) = (rng.u8(0..3), 0);
            open.push(Open {
                message,
                left,
                kind,
                part,
            });
            // a first delta opens a message, too
            if rng.bool() || left == 0 {
                plan.push(What::Started, message, source, false, now);
                return;
            }
        }
        // messages are numbered in the order of their first events
        let at = if begins {
            open.len() - 1
        } else {
            rng.usize(0..open.len())
        };
        let speaking = &mut open[at];
        if speaking.left == 0 {
            let end = match rng.u8(0..4) {
                0 => What::Interrupted,
                1 => What::Completed { whole: true },
                _ => What::Completed { whole: false },
            };
            plan.push(end, speaking.message, source, false, now);
            open.swap_remove(at);
            return;
        }
        if rng.u8(0..6) == 0 {
            (speaking.kind, speaking.part) = (rng.u8(0..3), rng.u8(0..3));
        }
        let run = rng.u32(1..7).min(speaking.left);
        speaking.left -= run;
        for _ in 0..run {
            let extra = rng.u8(0..40) == 0;
            let what = What::Delta {
                kind: speaking.kind,
                part: speaking.part,
                extra,
            };
            let has_id = rng.u16(0..2000) == 0;
            plan.push(what, speaking.message, source, has_id, now);
        }
    }

    fn note(&mut self) -> What {
        What::Note(self.rng.u8(FIRST_NOTE..TYPES.len() as u8))
    }
}

/// The part of the plan that one batch adds.
struct Sheet<'a> {
    plan: &'a mut Plan,
    first: u64,
}

impl Sheet<'_> {
    fn events_of_batch(&self) -> usize {
        (self.plan.head() + 1 - self.first) as usize
    }

    fn push(&mut self, what: What, message: u32, source: Source, has_id: bool, now: u32) {
        debug_assert!(!matches!(what, What::Note(note) if !is_note(note)));
        self.plan.push(what, message, source, has_id, now);
    }

    fn write(&self, out: &mut String) {
        for seq in self.first..=self.plan.head() {
            let event = self.plan.get(seq).expect("just planned");
            if seq > self.first {
                out.push(',');
            }
            write!(out, "{{\"type\":\"{}\",\"data\":", event.what.type_name()).expect("a String");
            self.plan.push_data(out, seq);
            if event.has_id {
                write!(out, ",\"id\":\"{}\"", event_id(seq)).expect("a String");
            }
            out.push('}');
        }
        out.push(']');
    }
}

pub fn producer_id(topic: usize, producer: u8) -> String {
    format!("agent-{topic}-{producer}")
}

pub fn event_id(seq: u64) -> String {
    format!("id-{seq}")
}
