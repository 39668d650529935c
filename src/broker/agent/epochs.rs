//! The epochs of agents that the registry let go of, so that no epoch is given out twice.
//!
//! Bound: two generations of 250,000, some 8 MB. The older one goes when the younger one is full; an agent
//! that is looked up moves back into the registry.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::registry::Key;

const GENERATION: usize = 250_000;

/// By the hash of (principal, producer id): two that share one only skip some epochs.
#[derive(Default)]
pub struct PastEpochs {
    hasher: RandomState,
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl PastEpochs {
    pub fn remember(&mut self, key: &Key, epoch: u64) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        let known = self.young.entry(self.hasher.hash_one(key)).or_insert(0);
        *known = epoch.max(*known);
    }

    /// The highest epoch that is known of it; 0: none.
    pub fn latest(&self, key: &Key) -> u64 {
        let hash = self.hasher.hash_one(key);
        let of = |generation: &HashMap<u64, u64>| generation.get(&hash).copied().unwrap_or(0);
        of(&self.young).max(of(&self.old))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: usize) -> Key {
        ("".into(), format!("p{id}").into())
    }

    #[test]
    fn epochs_are_remembered_for_two_generations() {
        let mut past = PastEpochs::default();
        past.remember(&key(0), 7);
        past.remember(&key(0), 5);
        assert_eq!((past.latest(&key(0)), past.latest(&key(1))), (7, 0));
        for id in 1..=GENERATION {
            past.remember(&key(id), 1);
        }
        assert_eq!(past.latest(&key(0)), 7, "in the old generation");
        for id in 1..=GENERATION {
            past.remember(&key(GENERATION + id), 1);
        }
        assert_eq!(past.latest(&key(0)), 0);
    }
}
