//! Maps on the way of every event.
//!
//! Their keys come from outside, so they are hashed with keys drawn at random, as std's are; the hash is cheaper.

use std::collections::{HashMap, HashSet};

pub type KeyedHash = ahash::RandomState;
pub type Map<K, V> = HashMap<K, V, KeyedHash>;
pub type Set<T> = HashSet<T, KeyedHash>;
