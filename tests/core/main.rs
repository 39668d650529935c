//! The deterministic core under thousands of interleavings: publishes, cuts, resumes with any held
//! position, stalls, joins, retention, merging, compaction, deletion. For each reader the outcome is exactly
//! the text that was published, or an explicit `gap` or `reset` where it is gone.
//!
//! No sockets, clocks or actors: logs, hubs and sessions are driven directly, and what a reader knows comes
//! from nothing but the bytes of its outbox.

mod agents;
mod client;
mod labels;
mod oracle;
mod world;

use proptest::prelude::*;
use world::{Op, World};

fn small_id() -> impl Strategy<Value = u8> {
    0u8..4
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (small_id(), 0u8..3, 0u8..2, 1u8..5).prop_map(|(message, kind, part, count)| Op::Deltas { message, kind, part, count }),
        1 => small_id().prop_map(|message| Op::Started { message }),
        2 => (small_id(), any::<bool>()).prop_map(|(message, whole)| Op::Ended { message, whole }),
        2 => Just(Op::Other),
        2 => (small_id(), small_id()).prop_map(|(a, b)| Op::Batch { a, b }),
        3 => (0u8..6, 0u8..9, any::<bool>(), 0u8..6).prop_map(|(reader, from, compact, view)| Op::Connect { reader, from, compact, view }),
        3 => (0u8..6).prop_map(|reader| Op::Cut { reader }),
        2 => (0u8..6).prop_map(|reader| Op::Reload { reader }),
        6 => (0u8..6, 1u8..4).prop_map(|(reader, pieces)| Op::Read { reader, pieces }),
        4 => (0u8..6).prop_map(|reader| Op::ReadAll { reader }),
        3 => (1u16..120).prop_map(|ms| Op::Wait { ms }),
        1 => Just(Op::WaitLong),
        1 => (100u16..2000).prop_map(|bytes| Op::FreeMemory { bytes }),
        1 => Just(Op::Delete),
    ]
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(20_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_reader_has_exactly_what_was_published_or_was_told(ops in prop::collection::vec(op(), 1..90), retention in 4usize..60) {
        let mut world = World::new(retention);
        for op in &ops {
            world.apply(op);
        }
        world.settle_and_check();
    }
}
