//! Where readers that cannot say it themselves have read to.
//!
//! Some clients (AppSync's) subscribe again with the same subscription id after a drop, and know nothing of
//! positions. So theirs are kept here: of each principal, subscription id and channel; never given to another
//! principal. `now` is always given, in Unix milliseconds, as what is kept outlives the process.
//!
//! Invariants:
//! - owners are connections, and grow within a process: what a newer one took over, an older one that ends late
//!   neither takes back, saves nor forgets;
//! - a reading is *held* from when its connection took it over until it releases or forgets it, which it must:
//!   one that is held does not grow too old, whatever the clock does;
//! - `BookmarkLimits` bound all of it; beyond a bound the longest unsaved goes of those that nobody holds, and a held
//!   one only where all are. Its connection's next save brings it back;
//! - one principal cannot push out everybody else's, nor can those that have none;
//! - what the engine has and what is here differ by no more than what `take_changes` is still to give;
//! - no lock is held for more than one shard, or for more than a bounded number of readings.

mod codec;
mod shard;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use self::shard::Shard;
use crate::engine::BookmarkChange;
use crate::event::{Position, TopicPath};

/// Readings that are kept in all, some hundred bytes each.
pub const IN_ALL: usize = 200_000;
/// Topics of one channel whose positions are kept.
pub const TOPICS: usize = 100;
/// Bytes of a subscription id (AppSync's own bound).
pub const MAX_LABEL_BYTES: usize = 128;

/// All positions together: so many times `in_all`. Most readings have one.
const POSITIONS_EACH: usize = 5;
const SHARDS: usize = 16;
/// Readings that are handled while a shard is locked.
const AT_ONCE: usize = 64;
/// Bytes of changes after which `take_changes` stops.
const CHANGES_BYTES: usize = 4 << 20;

/// A reading: who reads, under which name, and what.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BookmarkKey {
    /// `""`: everybody on an open broker.
    pub principal: Arc<str>,
    /// The subscription id, at most `MAX_LABEL_BYTES`.
    pub label: Box<str>,
    /// `/ns/a` or `/ns/*`.
    pub channel: Box<str>,
}

/// How far a reading has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bookmark {
    pub positions: Vec<(TopicPath, Position)>,
    /// Every topic of the channel is among them: one that is not was born later.
    pub complete: bool,
}

/// What bounds them.
#[derive(Debug, Clone, Copy)]
pub struct BookmarkLimits {
    /// What nobody holds and was not saved for that long is forgotten.
    pub keep_for: Duration,
    /// Readings of one principal; not of `""`.
    pub per_principal: usize,
    /// Readings of the principal `""`: each of the 16 shards may have its share, at least one. Where there are no
    /// other principals it may be `in_all`.
    pub anonymous: usize,
    /// Readings of all together.
    pub in_all: usize,
    /// Positions of one reading.
    pub topics: usize,
    /// The engine keeps them over a restart; otherwise nothing is a change.
    pub are_written: bool,
}

impl Default for BookmarkLimits {
    fn default() -> Self {
        Self {
            keep_for: Duration::from_secs(3600),
            per_principal: 10_000,
            anonymous: IN_ALL / 2,
            in_all: IN_ALL,
            topics: TOPICS,
            are_written: true,
        }
    }
}

/// All readings. Shared by the shards' threads, which save, and the housekeeping, which forgets and writes.
pub struct Bookmarks {
    limits: BookmarkLimits,
    hasher: RandomState,
    slots: [Slot; SHARDS],
    /// With which slot the next `take_changes` begins, so that none waits for the others.
    next: AtomicUsize,
    /// Saves since somebody asked.
    saves: AtomicU64,
}

impl Bookmarks {
    pub fn new(limits: BookmarkLimits) -> Self {
        Self {
            limits,
            hasher: RandomState::new(),
            slots: std::array::from_fn(|_| Slot::new(limits)),
            next: AtomicUsize::new(0),
            saves: AtomicU64::new(0),
        }
    }

    /// A connection begins a reading, or takes it over, and holds it: from now on no older `owner` may save it.
    /// Answers what is kept (`None`: nothing, or too old). It counts as saved now, since its owner has yet to do so.
    /// `None` and nothing else where a newer one has it.
    pub fn take_over(&self, key: &BookmarkKey, owner: u64, now: u64) -> Option<Bookmark> {
        let kept = self
            .slot(key)
            .with(|shard| shard.take_over(key, owner, now));
        self.make_room();
        kept
    }

    /// Where it has read to; `owner` holds it from now on. To be called now and then also where nothing moved: of the
    /// held ones too the longest unsaved goes first. One that had to go meanwhile is kept anew; so never after
    /// `forget` or `release`. Ignored where a newer one has it, and where nobody took it over since the start. Of more
    /// than `topics` positions the first are kept, and it is not `complete`.
    pub fn save(&self, key: &BookmarkKey, owner: u64, bookmark: Bookmark, now: u64) {
        let is_saved = self
            .slot(key)
            .with(|shard| shard.save(key, owner, bookmark, now));
        self.after_save(is_saved);
    }

    /// The connection is over: its last save, and `keep_for` begins. Ignored unless `owner` is the latest, and where
    /// the reading had to go meanwhile.
    pub fn release(&self, key: &BookmarkKey, owner: u64, bookmark: Bookmark, now: u64) {
        let is_saved = self
            .slot(key)
            .with(|shard| shard.release(key, owner, bookmark, now));
        self.after_save(is_saved);
    }

    /// The client ended it: nothing is owed any more. Ignored unless `owner` is the latest.
    pub fn forget(&self, key: &BookmarkKey, owner: u64) {
        self.slot(key).with(|shard| shard.forget(key, owner));
    }

    /// Forgets what nobody holds and was not saved for `keep_for`.
    pub fn sweep(&self, now: u64) {
        for slot in &self.slots {
            while slot.with(|shard| shard.forget_old(now, AT_ONCE)) {}
        }
    }

    /// What changed since the last call, for the engine: at most `limit` readings, and at most some MiB. A change
    /// with the same positions is one only if the time that the engine knows is getting old. One caller at a time.
    pub fn take_changes(&self, limit: usize) -> Vec<BookmarkChange> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut changes = Vec::new();
        let mut bytes = 0;
        for at in 0..SHARDS {
            let slot = &self.slots[first.wrapping_add(at) % SHARDS];
            loop {
                let room = limit.saturating_sub(changes.len()).min(AT_ONCE);
                if room == 0 || bytes >= CHANGES_BYTES {
                    return changes;
                }
                let taken = slot.with(|shard| shard.take_changes(room));
                if taken.is_empty() {
                    break;
                }
                let size =
                    |(key, value): &BookmarkChange| key.len() + value.as_ref().map_or(0, Vec::len);
                bytes += taken.iter().map(size).sum::<usize>();
                changes.extend(taken);
            }
        }
        changes
    }

    /// The changes with these keys could not be written: they are changes again, as they are by now.
    pub fn give_back(&self, keys: Vec<Vec<u8>>) {
        for key in keys {
            if let Some(key) = codec::key_of(&key) {
                self.slot(&key).with(|shard| shard.change_again(&key));
            }
        }
    }

    /// At the start: what the engine kept. `false`: it is damaged, or of another version. It is ignored then, and
    /// the engine is to forget it; so it is with what is too old.
    pub fn restore(&self, key: &[u8], value: &[u8], now: u64) -> bool {
        let Some(key) = codec::key_of(key) else {
            return false;
        };
        let slot = self.slot(&key);
        let Some((bookmark, saved)) = codec::value_of(value) else {
            slot.with(|shard| shard.change_again(&key));
            return false;
        };
        slot.with(|shard| shard.restore(&key, bookmark, saved, now));
        self.make_room();
        true
    }

    /// How many readings there are, also those of which nothing was saved yet.
    pub fn len(&self) -> usize {
        let each = self.slots.iter();
        each.map(|slot| slot.readings.load(Ordering::Relaxed)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often something was saved since the last call; for the metrics.
    pub fn take_saves(&self) -> u64 {
        self.saves.swap(0, Ordering::Relaxed)
    }

    fn positions(&self) -> usize {
        let each = self.slots.iter();
        each.map(|slot| slot.positions.load(Ordering::Relaxed))
            .sum()
    }

    /// Those of a principal are together, so that they can be bounded; those of everybody are not.
    fn slot(&self, key: &BookmarkKey) -> &Slot {
        let hash = match &*key.principal {
            "" => self.hasher.hash_one(key),
            principal => self.hasher.hash_one(principal),
        };
        &self.slots[hash as usize % SHARDS]
    }

    fn after_save(&self, is_saved: bool) {
        if is_saved {
            self.saves.fetch_add(1, Ordering::Relaxed);
            self.make_room();
        }
    }

    /// Over the bounds on all, the first to go of all shards go: no more than were added. Of two threads that look at the
    /// same moment each may let one go.
    fn make_room(&self) {
        let max_positions = self.limits.in_all.saturating_mul(POSITIONS_EACH);
        while self.len() > self.limits.in_all || self.positions() > max_positions {
            let first = |slot: &&Slot| slot.first_to_go.load(Ordering::Relaxed);
            let went = self.slots.iter().min_by_key(first);
            if !went.is_some_and(|slot| slot.with(Shard::forget_first)) {
                return;
            }
        }
    }
}

/// A shard, and what others may know of it without its lock.
struct Slot {
    shard: Mutex<Shard>,
    readings: AtomicUsize,
    positions: AtomicUsize,
    /// As `Shard::first_to_go` says; `u64::MAX`: it has none.
    first_to_go: AtomicU64,
}

impl Slot {
    fn new(limits: BookmarkLimits) -> Self {
        Self {
            shard: Mutex::new(Shard::new(limits)),
            readings: AtomicUsize::new(0),
            positions: AtomicUsize::new(0),
            first_to_go: AtomicU64::new(u64::MAX),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Shard) -> T) -> T {
        let mut shard = self.shard.lock();
        let outcome = act(&mut shard);
        // still under the lock, so that the last word is the latest
        self.readings.store(shard.len(), Ordering::Relaxed);
        self.positions.store(shard.positions(), Ordering::Relaxed);
        let first = shard.first_to_go().unwrap_or(u64::MAX);
        self.first_to_go.store(first, Ordering::Relaxed);
        outcome
    }
}
