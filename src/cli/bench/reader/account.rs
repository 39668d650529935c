//! What a reader makes of the bytes it gets: its account of events, and what the broker says beside them.

use std::time::Duration;

use crate::cli::bench::decode::said::Said;
use crate::cli::bench::decode::{Decoder, Garbled, Heard, frames};
use crate::cli::bench::marker::Scanner;
use crate::cli::bench::run::{Reached, Run, add};

/// What the bytes of one read brought beside events.
#[derive(Default)]
pub struct Upshot {
    pub pongs: Vec<u8>,
    /// Topics that are being read by now.
    pub reading: usize,
    pub come_back_after: Option<Duration>,
    pub closed: Option<(u16, String)>,
    pub refused: Option<String>,
    pub garbled: Option<Garbled>,
}

/// Counts what came.
pub fn take(
    run: &Run,
    reader: usize,
    decoder: &mut Decoder,
    scanner: &mut Scanner,
    bytes: &[u8],
    upshot: &mut Upshot,
) {
    let now_us = run.now_us();
    let mut readings = run.readings.borrow_mut();
    let mine = &mut readings[run.readings_of(reader)];
    let mut windows = run.windows.borrow_mut();
    let (topics, first) = (run.size.topics, run.first_topic(reader));
    let (mut delivered, mut stray) = (0, 0);
    let (goal, before) = (run.goal.get(), mine[0].next());
    let mut reached = None;
    let back_since_us = run.back_since_us.borrow()[reader];
    let fed = decoder.feed(bytes, &mut |heard| match heard {
        Heard::Content(content, message) => scanner.scan(content, |marker| {
            let at = (marker.topic as usize + topics - first) % topics;
            match mine.get_mut(at) {
                Some(reading) => {
                    reading.saw(marker.number);
                    if reached.is_none() && reading.next() >= goal {
                        reached = Some(message);
                    }
                    if marker.due_us >= back_since_us {
                        windows.delivered(marker.due_us, now_us);
                    }
                    delivered += 1;
                }
                None => stray += 1,
            }
        }),
        Heard::Ping(payload) => frames::pong(payload, &mut upshot.pongs),
        Heard::Closed { code, reason } => upshot.closed = Some((code, reason)),
        Heard::Said(Said::Reading(topics)) => upshot.reading += topics,
        Heard::Said(Said::Gone { topic, events }) => {
            let named = |at: &usize| run.peer.topic(((first + at) % topics) as u32) == topic;
            if let Some(at) = (0..mine.len()).find(named) {
                mine[at].was_told_gone(events);
            }
        }
        Heard::Said(Said::Draining { reconnect_after_ms }) => {
            upshot.come_back_after = Some(Duration::from_millis(reconnect_after_ms));
        }
        Heard::Said(Said::Refused(problem)) => upshot.refused = Some(problem.to_string()),
        Heard::Said(Said::Reset { reason }) => {
            upshot.refused = Some(format!(
                "the topic began anew, its events are lost ({reason})"
            ));
        }
        Heard::Said(Said::Expired { reason }) => upshot.refused = Some(reason),
        Heard::Said(Said::Welcome(_) | Said::Published(_) | Said::Other) => {}
    });
    upshot.garbled = fed.err();
    // once only, and of readers of one topic
    if let Some(messages) = reached.filter(|_| before < goal) {
        run.reached.borrow_mut().push(Reached {
            reader,
            at_us: now_us,
            messages,
            bytes: decoder.bytes,
        });
    }
    add(&run.counts.delivered, delivered);
    add(&run.counts.stray, stray);
    add(&run.counts.bytes_in, bytes.len() as u64);
}
