//! Agents that crash, retry, are replaced and wake up again, in thousands of interleavings.
//!
//! The state machines and the engine are the real ones, driven as the actors drive them: each topic and each
//! agent has a mailbox, and whether it gets to it now or later is a matter of chance. Time is a number.
//! What must come of it is said by `model` and `leases`, which share nothing with them.

mod actors;
mod leases;
mod lines;
mod model;
mod processes;
mod readers;
mod world;

use proptest::prelude::*;

use crate::cases;
use processes::How;
use world::World;

#[derive(Debug, Clone)]
pub enum Op {
    /// A new process of a producer, as its next run or (`again`) as the run that is there.
    Start {
        producer: u8,
        how: How,
        again: bool,
        lease: u8,
    },
    /// It is killed: its connection drops, or it falls silent.
    Crash {
        process: u8,
    },
    /// The same run on a new connection, whether the old one is still there or not.
    Reconnect {
        process: u8,
    },
    Publish {
        process: u8,
        topic: u8,
        slot: u8,
        what: Say,
        /// It numbers the publish, also where it is attached.
        numbered: bool,
    },
    /// The last numbered publish again.
    Retry {
        process: u8,
        topic: u8,
    },
    /// A publish is left out.
    Skip {
        process: u8,
        topic: u8,
    },
    Heartbeat {
        process: u8,
        topic: u8,
    },
    /// Somebody without a producer says something.
    Visit {
        topic: u8,
        slot: u8,
        what: Say,
    },
    /// A client speaks to the agents of the topic.
    Control {
        topic: u8,
        about: Option<u8>,
    },
    /// An agent acknowledges one of those that were delivered to it.
    Acknowledge {
        process: u8,
        nth: u8,
    },
    Hear {
        process: u8,
        pieces: u8,
    },
    Wait {
        ms: u16,
    },
    /// Leases and idle messages run out; very long: the broker forgets the agents, too.
    WaitLong {
        seconds: u16,
    },
    /// Compaction, expiry of control events, idle messages.
    Sweep,
    /// Topics of runs in which nothing is open are forgotten.
    Tidy {
        producer: u8,
    },
    /// The mailboxes of one topic or agent move by one.
    StepTopic {
        topic: u8,
    },
    StepAgent {
        producer: u8,
    },
    /// Another node ends what one has ended already.
    Echo {
        nth: u8,
    },
    Join {
        reader: u8,
        topic: u8,
        from: u8,
        view: u8,
    },
    Cut {
        reader: u8,
    },
    Read {
        reader: u8,
        pieces: u8,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    Delta,
    End {
        whole: bool,
    },
    Note,
    /// A delta, the end of its message, and a note.
    All,
    /// A delta of a message of the next producer.
    Others,
}

fn say() -> impl Strategy<Value = Say> {
    prop_oneof![
        8 => Just(Say::Delta),
        2 => any::<bool>().prop_map(|whole| Say::End { whole }),
        1 => Just(Say::Note),
        1 => Just(Say::All),
        1 => Just(Say::Others),
    ]
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        4 => Just(How::Attached),
        2 => Just(How::Posting),
        1 => Just(How::Streaming),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let (process, topic, slot) = (0u8..6, 0u8..2, 0u8..2);
    let (producer, reader, pieces) = (0u8..2, 0u8..3, 1u8..4);
    let p = process;
    prop_oneof![
        5 => (producer.clone(), how(), prop::bool::weighted(0.2), 0u8..4).prop_map(|(producer, how, again, lease)| Op::Start { producer, how, again, lease }),
        3 => p.clone().prop_map(|process| Op::Crash { process }),
        3 => p.clone().prop_map(|process| Op::Reconnect { process }),
        14 => (p.clone(), topic.clone(), slot.clone(), say(), any::<bool>()).prop_map(|(process, topic, slot, what, numbered)| Op::Publish { process, topic, slot, what, numbered }),
        3 => (p.clone(), topic.clone()).prop_map(|(process, topic)| Op::Retry { process, topic }),
        1 => (p.clone(), topic.clone()).prop_map(|(process, topic)| Op::Skip { process, topic }),
        1 => (p.clone(), topic.clone()).prop_map(|(process, topic)| Op::Heartbeat { process, topic }),
        1 => (topic.clone(), slot.clone(), say()).prop_map(|(topic, slot, what)| Op::Visit { topic, slot, what }),
        3 => (topic.clone(), prop::option::of(slot.clone())).prop_map(|(topic, about)| Op::Control { topic, about }),
        2 => (p.clone(), 0u8..4).prop_map(|(process, nth)| Op::Acknowledge { process, nth }),
        3 => (p.clone(), pieces.clone()).prop_map(|(process, pieces)| Op::Hear { process, pieces }),
        5 => (1u16..1500).prop_map(|ms| Op::Wait { ms }),
        2 => prop_oneof![2 => 3u16..130, 1 => 1300u16..1400].prop_map(|seconds| Op::WaitLong { seconds }),
        2 => Just(Op::Sweep),
        1 => producer.clone().prop_map(|producer| Op::Tidy { producer }),
        4 => topic.clone().prop_map(|topic| Op::StepTopic { topic }),
        4 => producer.prop_map(|producer| Op::StepAgent { producer }),
        2 => (0u8..4).prop_map(|nth| Op::Echo { nth }),
        2 => (reader.clone(), topic, 0u8..6, 0u8..3).prop_map(|(reader, topic, from, view)| Op::Join { reader, topic, from, view }),
        1 => reader.clone().prop_map(|reader| Op::Cut { reader }),
        3 => (reader, pieces).prop_map(|(reader, pieces)| Op::Read { reader, pieces }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// `at_once`: after the step, all mailboxes are emptied before the next.
    #[test]
    fn whatever_becomes_of_agents_every_message_ends_once(ops in prop::collection::vec((op(), prop::bool::weighted(0.6)), 1..90)) {
        let mut world = World::new();
        for (op, at_once) in &ops {
            world.apply(op);
            if *at_once {
                world.settle();
            }
        }
        world.finish();
    }
}
