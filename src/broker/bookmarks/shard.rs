//! Readings of some of the principals, in the order in which they would go, and what of them the engine does not have
//! yet.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::{Bookmark, BookmarkKey, BookmarkLimits, SHARDS, codec};
use crate::engine::BookmarkChange;

/// The time that the engine knows may lag by that fraction of `keep_for`: a reader of a quiet topic is not written
/// every second.
const TIME_LAG: u64 = 8;
/// Changes that a shard holds beside its share of all.
const SPARE_CHANGES: usize = 1024;
/// In `Shard::first_to_go`: it is held. Above every time.
const HELD: u64 = 1 << 63;

/// A place in the order in which readings go: those that nobody holds, then the longest unsaved. `turn` tells apart
/// what came in the same millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    is_held: bool,
    since: u64,
    turn: u64,
}

struct Reading {
    /// `None`: nobody took it over since the start.
    owner: Option<u64>,
    /// The last save or take-over.
    touched: u64,
    place: Place,
    /// The time that the engine knows; 0: none.
    written: u64,
    /// `None`: nothing was saved yet.
    bookmark: Option<Bookmark>,
}

impl Reading {
    fn positions(&self) -> usize {
        self.bookmark.as_ref().map_or(0, |b| b.positions.len())
    }
}

pub struct Shard {
    limits: BookmarkLimits,
    readings: HashMap<Arc<BookmarkKey>, Reading>,
    /// All readings, the first to go first.
    order: BTreeMap<Place, Arc<BookmarkKey>>,
    /// The same of each principal; of `""` those that are here.
    principals: HashMap<Arc<str>, BTreeSet<Place>>,
    changes: Changes,
    positions: usize,
    /// The clock may be set back; the order of saves stays.
    newest: u64,
    turn: u64,
}

impl Shard {
    pub fn new(limits: BookmarkLimits) -> Self {
        Self {
            limits,
            readings: HashMap::new(),
            order: BTreeMap::new(),
            principals: HashMap::new(),
            changes: Changes::new(2 * limits.in_all / SHARDS + SPARE_CHANGES),
            positions: 0,
            newest: 0,
            turn: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.readings.len()
    }

    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Which of its readings would go first, as a number: of two shards' the smaller goes.
    pub fn first_to_go(&self) -> Option<u64> {
        let (place, _) = self.order.first_key_value()?;
        let since = place.since.min(HELD - 1);
        Some(if place.is_held { HELD | since } else { since })
    }

    pub fn take_over(&mut self, key: &BookmarkKey, owner: u64, now: u64) -> Option<Bookmark> {
        let known = self.readings.get(key);
        if known.is_some_and(|reading| reading.owner > Some(owner)) {
            return None;
        }
        if known.is_some_and(|reading| self.is_forgotten(reading, now)) {
            self.remove(key);
        }
        match self.readings.get_mut(key) {
            Some(reading) => {
                reading.owner = Some(owner);
                let kept = reading.bookmark.clone();
                self.touch(key, true, now);
                kept
            }
            None => {
                self.begin(key, owner, None, now);
                None
            }
        }
    }

    /// `false`: it was not this owner's to save.
    pub fn save(
        &mut self,
        key: &BookmarkKey,
        owner: u64,
        mut bookmark: Bookmark,
        now: u64,
    ) -> bool {
        self.cut(&mut bookmark);
        let Some(reading) = self.readings.get_mut(key) else {
            self.begin(key, owner, Some(bookmark), now);
            return true;
        };
        if reading.owner.is_none_or(|present| present > owner) {
            return false;
        }
        reading.owner = Some(owner);
        self.put(key, bookmark, true, now);
        true
    }

    /// `false`: it is not this owner's.
    pub fn release(
        &mut self,
        key: &BookmarkKey,
        owner: u64,
        mut bookmark: Bookmark,
        now: u64,
    ) -> bool {
        let known = self.readings.get(key);
        if known.is_none_or(|reading| reading.owner != Some(owner)) {
            return false;
        }
        self.cut(&mut bookmark);
        self.put(key, bookmark, false, now);
        true
    }

    pub fn forget(&mut self, key: &BookmarkKey, owner: u64) {
        let known = self.readings.get(key);
        if known.is_some_and(|reading| reading.owner == Some(owner)) {
            self.remove(key);
        }
    }

    /// Forgets at most `limit` that nobody holds and that are too old; `true`: there may be more.
    pub fn forget_old(&mut self, now: u64, limit: usize) -> bool {
        for _ in 0..limit {
            let oldest = self.order.first_key_value().map(|(_, key)| key.clone());
            let old = oldest.filter(|key| {
                let reading = self.readings.get(key);
                reading.is_some_and(|reading| self.is_forgotten(reading, now))
            });
            match old {
                Some(key) => self.remove(&key),
                None => return false,
            }
        }
        true
    }

    /// `false`: there is none.
    pub fn forget_first(&mut self) -> bool {
        let first = self.order.first_key_value().map(|(_, key)| key.clone());
        first.as_ref().inspect(|key| self.remove(key)).is_some()
    }

    pub fn restore(&mut self, key: &BookmarkKey, mut bookmark: Bookmark, saved: u64, now: u64) {
        let saved = saved.min(now);
        if self.readings.contains_key(key) {
            // somebody reads already, and knows better
            return;
        }
        if self.is_old(saved, now) {
            return self.change_again(key);
        }
        self.cut(&mut bookmark);
        self.turn += 1;
        let reading = Reading {
            owner: None,
            touched: saved,
            place: Place {
                is_held: false,
                since: saved,
                turn: self.turn,
            },
            written: saved,
            bookmark: Some(bookmark),
        };
        self.insert(key, reading);
    }

    /// The engine is to have it as it is here.
    pub fn change_again(&mut self, key: &BookmarkKey) {
        match self.readings.get_key_value(key) {
            Some((key, _)) => self.changes.note(key.clone()),
            None => self.changes.note_gone(Arc::new(key.clone())),
        }
    }

    /// As many changes, the first of them first.
    pub fn take_changes(&mut self, limit: usize) -> Vec<BookmarkChange> {
        let mut taken = Vec::new();
        while taken.len() < limit {
            let Some(key) = self.changes.pop() else {
                break;
            };
            let reading = self.readings.get_mut(&key);
            let value = reading.and_then(|reading| {
                let bookmark = reading.bookmark.as_ref()?;
                reading.written = reading.touched;
                Some(codec::value_bytes(bookmark, reading.touched))
            });
            taken.push((codec::key_bytes(&key), value));
        }
        taken
    }

    fn keep_for(&self) -> u64 {
        self.limits.keep_for.as_millis() as u64
    }

    fn is_old(&self, touched: u64, now: u64) -> bool {
        now.saturating_sub(touched) >= self.keep_for()
    }

    /// A held one is saved by its connection; were it taken for its age, a leap of the clock would take them all.
    fn is_forgotten(&self, reading: &Reading, now: u64) -> bool {
        !reading.place.is_held && self.is_old(reading.touched, now)
    }

    /// How many readings of that principal may be here.
    fn max_of(&self, principal: &str) -> usize {
        match principal {
            "" => (self.limits.anonymous / SHARDS).max(1),
            _ => self.limits.per_principal,
        }
    }

    fn cut(&self, bookmark: &mut Bookmark) {
        if bookmark.positions.len() > self.limits.topics {
            bookmark.positions.truncate(self.limits.topics);
            bookmark.complete = false;
        }
        bookmark.positions.shrink_to_fit();
    }

    fn next_place(&mut self, is_held: bool, now: u64) -> Place {
        self.newest = self.newest.max(now);
        self.turn += 1;
        Place {
            is_held,
            since: self.newest,
            turn: self.turn,
        }
    }

    /// From now on it is the last that was saved. Answers its shared name.
    fn touch(&mut self, key: &BookmarkKey, is_held: bool, now: u64) -> Option<Arc<BookmarkKey>> {
        let place = self.next_place(is_held, now);
        let reading = self.readings.get_mut(key)?;
        reading.touched = now;
        let before = std::mem::replace(&mut reading.place, place);
        let shared = self.order.remove(&before)?;
        self.order.insert(place, shared.clone());
        if let Some(places) = self.principals.get_mut(&key.principal) {
            places.remove(&before);
            places.insert(place);
        }
        Some(shared)
    }

    /// Saves one that is there.
    fn put(&mut self, key: &BookmarkKey, bookmark: Bookmark, is_held: bool, now: u64) {
        let rewrite_after = self.keep_for() / TIME_LAG;
        let Some(reading) = self.readings.get_mut(key) else {
            return;
        };
        let has_moved = reading.bookmark.as_ref() != Some(&bookmark);
        let is_news = has_moved || now.saturating_sub(reading.written) >= rewrite_after;
        self.positions -= reading.positions();
        self.positions += bookmark.positions.len();
        reading.bookmark = Some(bookmark);
        let shared = self.touch(key, is_held, now);
        if let (true, Some(key)) = (is_news && self.limits.are_written, shared) {
            self.changes.note(key);
        }
    }

    /// Adds one that a connection holds.
    fn begin(&mut self, key: &BookmarkKey, owner: u64, bookmark: Option<Bookmark>, now: u64) {
        let is_change = bookmark.is_some() && self.limits.are_written;
        let reading = Reading {
            owner: Some(owner),
            touched: now,
            place: self.next_place(true, now),
            written: 0,
            bookmark,
        };
        self.insert(key, reading);
        if is_change {
            self.change_again(key);
        }
    }

    /// Adds a reading that is new. Over the principal's bound its first goes, which may be this one.
    fn insert(&mut self, key: &BookmarkKey, reading: Reading) {
        let (key, place) = (Arc::new(key.clone()), reading.place);
        let max = self.max_of(&key.principal);
        self.positions += reading.positions();
        self.order.insert(place, key.clone());
        self.readings.insert(key.clone(), reading);
        let places = self.principals.entry(key.principal.clone()).or_default();
        places.insert(place);
        if places.len() > max
            && let Some(first) = places.first()
            && let Some(first) = self.order.get(first).cloned()
        {
            self.remove(&first);
        }
    }

    fn remove(&mut self, key: &BookmarkKey) {
        let Some((key, reading)) = self.readings.remove_entry(key) else {
            return;
        };
        self.order.remove(&reading.place);
        self.positions -= reading.positions();
        if let Some(places) = self.principals.get_mut(&key.principal) {
            places.remove(&reading.place);
            if places.is_empty() {
                self.principals.remove(&key.principal);
            }
        }
        if reading.bookmark.is_some() {
            self.changes.note_gone(key);
        }
    }
}

/// Readings that the engine is to be told of, the first that changed first, each once. What it is told is how they
/// are when it is told.
struct Changes {
    queue: VecDeque<Arc<BookmarkKey>>,
    waiting: HashSet<Arc<BookmarkKey>>,
    max: usize,
}

impl Changes {
    fn new(max: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            waiting: HashSet::new(),
            max,
        }
    }

    /// Bound: the readings of the shard.
    fn note(&mut self, key: Arc<BookmarkKey>) {
        if self.waiting.insert(key.clone()) {
            self.queue.push_back(key);
        }
    }

    /// Beyond `max`, as when the engine fails for long, the engine is not told. What it shows at the next start is
    /// too old by then, or a position from which something repeats.
    fn note_gone(&mut self, key: Arc<BookmarkKey>) {
        if self.queue.len() < self.max {
            self.note(key);
        }
    }

    fn pop(&mut self) -> Option<Arc<BookmarkKey>> {
        let key = self.queue.pop_front()?;
        self.waiting.remove(&key);
        if self.queue.is_empty() {
            // what a burst needed is given back
            self.queue.shrink_to(SPARE_CHANGES);
            self.waiting.shrink_to(SPARE_CHANGES);
        }
        Some(key)
    }
}
