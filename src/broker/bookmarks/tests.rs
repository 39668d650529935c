//! Whatever happens to them, they are what a list of them would be that is searched from end to end; and so is what
//! the engine is told.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::event::{Epoch, Seq};

const LIMITS: BookmarkLimits = BookmarkLimits {
    keep_for: Duration::from_secs(20),
    per_principal: 3,
    anonymous: 2 * SHARDS,
    in_all: 8,
    topics: 12,
    are_written: true,
};
const KEEP_FOR: u64 = 20_000;
const PRINCIPALS: [&str; 4] = ["", "ann", "bob", "cleo"];

fn key(principal: &str, label: &str, channel: &str) -> BookmarkKey {
    BookmarkKey {
        principal: principal.into(),
        label: label.into(),
        channel: channel.into(),
    }
}

fn bookmark(positions: usize, seq: u64, complete: bool) -> Bookmark {
    let position = |at: usize| {
        let topic = TopicPath::parse(&format!("/chat/{at}")).expect("a topic");
        let position = Position {
            epoch: Epoch::parse("k3v9x2ma").expect("an epoch"),
            seq: Seq(seq),
            partial: seq % 2 == 1,
        };
        (topic, position)
    };
    Bookmark {
        positions: (0..positions).map(position).collect(),
        complete,
    }
}

#[derive(Debug, Clone)]
enum Op {
    TakeOver(BookmarkKey, u64),
    Save(BookmarkKey, u64, Bookmark),
    Release(BookmarkKey, u64, Bookmark),
    Forget(BookmarkKey, u64),
    Wait(u64),
    Sweep,
    Flush { limit: usize, fails: bool },
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || {
        let channel = prop::sample::select(vec!["/chat/0", "/chat/*"]);
        (prop::sample::select(PRINCIPALS.to_vec()), 0..4u8, channel).prop_map(
            |(principal, label, channel)| key(principal, &format!("sub-{label}"), channel),
        )
    };
    let owner = || 1..4u64;
    let positions = prop_oneof![3 => 0..2usize, 1 => 2..15usize];
    let saved = (positions, 0..4u64, any::<bool>());
    let saved = saved.prop_map(|(positions, seq, complete)| bookmark(positions, seq, complete));
    let last = saved.clone();
    let op = prop_oneof![
        8 => (key(), owner()).prop_map(|(key, owner)| Op::TakeOver(key, owner)),
        16 => (key(), owner(), saved).prop_map(|(key, owner, saved)| Op::Save(key, owner, saved)),
        6 => (key(), owner(), last).prop_map(|(key, owner, last)| Op::Release(key, owner, last)),
        2 => (key(), owner()).prop_map(|(key, owner)| Op::Forget(key, owner)),
        3 => prop::sample::select(vec![900, 1000, 3000, 9000, 20_000]).prop_map(Op::Wait),
        2 => Just(Op::Sweep),
        3 => (1..6usize, any::<bool>()).prop_map(|(limit, fails)| Op::Flush { limit, fails }),
        1 => Just(Op::Restart),
    ];
    prop::collection::vec(op, 1..120)
}

/// The naive one.
struct Known {
    key: BookmarkKey,
    owner: Option<u64>,
    is_held: bool,
    touched: u64,
    saved: u64,
    bookmark: Option<Bookmark>,
}

impl Known {
    fn is_forgotten(&self, now: u64) -> bool {
        !self.is_held && now - self.touched >= KEEP_FOR
    }
}

struct World {
    bookmarks: Bookmarks,
    naive: Vec<Known>,
    /// What the engine has.
    disk: BTreeMap<Vec<u8>, Vec<u8>>,
    now: u64,
}

impl World {
    fn new() -> Self {
        Self {
            bookmarks: Bookmarks::new(LIMITS),
            naive: Vec::new(),
            disk: BTreeMap::new(),
            now: 1_000_000,
        }
    }

    fn run(&mut self, op: Op) {
        self.now += 1;
        let now = self.now;
        match op {
            Op::TakeOver(key, owner) => {
                let given = self.bookmarks.take_over(&key, owner, now);
                assert_eq!(given, self.naive_take_over(&key, owner));
            }
            Op::Save(key, owner, bookmark) => {
                self.bookmarks.save(&key, owner, bookmark.clone(), now);
                self.naive_save(&key, owner, bookmark);
            }
            Op::Release(key, owner, bookmark) => {
                self.bookmarks.release(&key, owner, bookmark.clone(), now);
                self.naive_release(&key, owner, bookmark);
            }
            Op::Forget(key, owner) => {
                self.bookmarks.forget(&key, owner);
                let is_it = |known: &Known| known.key == key && known.owner == Some(owner);
                self.naive.retain(|known| !is_it(known));
            }
            Op::Wait(time) => self.now += time,
            Op::Sweep => {
                self.bookmarks.sweep(now);
                self.naive.retain(|known| !known.is_forgotten(now));
            }
            Op::Flush { limit, fails } => {
                let changes = self.bookmarks.take_changes(limit);
                assert!(changes.len() <= limit);
                if fails {
                    let keys = changes.into_iter().map(|(key, _)| key).collect();
                    self.bookmarks.give_back(keys);
                } else {
                    self.write(changes);
                }
            }
            Op::Restart => self.restart(),
        }
        assert_eq!(self.bookmarks.len(), self.naive.len());
    }

    fn naive_take_over(&mut self, key: &BookmarkKey, owner: u64) -> Option<Bookmark> {
        let now = self.now;
        let mut naive = self.naive.iter();
        if naive.any(|known| known.key == *key && known.owner > Some(owner)) {
            return None;
        }
        self.naive
            .retain(|known| known.key != *key || !known.is_forgotten(now));
        if let Some(known) = self.naive.iter_mut().find(|known| known.key == *key) {
            (known.owner, known.is_held, known.touched) = (Some(owner), true, now);
            return known.bookmark.clone();
        }
        self.naive_begin(key, owner, None);
        None
    }

    fn naive_save(&mut self, key: &BookmarkKey, owner: u64, bookmark: Bookmark) {
        let bookmark = cut(bookmark);
        let known = self.naive.iter_mut().find(|known| known.key == *key);
        match known.map(|known| (known.owner, known)) {
            None => self.naive_begin(key, owner, Some(bookmark)),
            Some((Some(present), known)) if present <= owner => {
                (known.owner, known.is_held) = (Some(owner), true);
                (known.touched, known.saved) = (self.now, self.now);
                known.bookmark = Some(bookmark);
            }
            Some(_) => {}
        }
        self.naive_make_room();
    }

    fn naive_release(&mut self, key: &BookmarkKey, owner: u64, bookmark: Bookmark) {
        for known in &mut self.naive {
            if known.key == *key && known.owner == Some(owner) {
                known.is_held = false;
                (known.touched, known.saved) = (self.now, self.now);
                known.bookmark = Some(cut(bookmark.clone()));
            }
        }
        self.naive_make_room();
    }

    fn naive_begin(&mut self, key: &BookmarkKey, owner: u64, bookmark: Option<Bookmark>) {
        self.naive.push(Known {
            key: key.clone(),
            owner: Some(owner),
            is_held: true,
            touched: self.now,
            saved: self.now,
            bookmark,
        });
        self.naive_bound(key);
        self.naive_make_room();
    }

    /// Those that are bounded together: of a principal, and of nobody in particular those of a slot.
    fn naive_bound(&mut self, key: &BookmarkKey) {
        let bookmarks = &self.bookmarks;
        let is_with = |known: &&Known| {
            known.key.principal == key.principal
                && std::ptr::eq(bookmarks.slot(&known.key), bookmarks.slot(key))
        };
        let together = self.naive.iter().filter(is_with);
        let together: Vec<_> = together.map(|known| known.key.clone()).collect();
        let max = match &*key.principal {
            "" => LIMITS.anonymous / SHARDS,
            _ => LIMITS.per_principal,
        };
        if together.len() > max {
            self.naive_forget_first(|known| together.contains(&known.key));
        }
    }

    fn naive_make_room(&mut self) {
        let positions = |known: &Known| known.bookmark.as_ref().map_or(0, |b| b.positions.len());
        while self.naive.len() > LIMITS.in_all
            || self.naive.iter().map(positions).sum::<usize>() > LIMITS.in_all * POSITIONS_EACH
        {
            self.naive_forget_first(|_| true);
        }
    }

    fn naive_forget_first(&mut self, among: impl Fn(&Known) -> bool) {
        let each = self.naive.iter().enumerate();
        let first = each
            .filter(|(_, known)| among(known))
            .min_by_key(|(_, known)| (known.is_held, known.touched));
        let first = first.map(|(at, _)| at).expect("there is one");
        self.naive.remove(first);
    }

    fn write(&mut self, changes: Vec<BookmarkChange>) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.disk.insert(key, value)),
                None => drop(self.disk.remove(&key)),
            }
        }
    }

    /// The engine has all there is; its times may lag a little.
    fn flush(&mut self) {
        loop {
            let changes = self.bookmarks.take_changes(5);
            if changes.is_empty() {
                break;
            }
            self.write(changes);
        }
        self.naive.retain(|known| known.bookmark.is_some());
        let mut on_disk = self.disk.clone();
        for known in &mut self.naive {
            let bytes = on_disk.remove(&codec::key_bytes(&known.key));
            let (bookmark, time) = codec::value_of(&bytes.expect("written")).expect("whole");
            assert_eq!(Some(bookmark), known.bookmark);
            assert!(time <= known.touched && known.saved < time + KEEP_FOR / 8);
            (known.touched, known.saved) = (time, time);
        }
        assert!(on_disk.is_empty(), "nobody has these: {on_disk:?}");
    }

    fn restart(&mut self) {
        self.flush();
        self.bookmarks = Bookmarks::new(LIMITS);
        for (key, value) in &self.disk {
            assert!(self.bookmarks.restore(key, value, self.now));
        }
        for known in &mut self.naive {
            (known.owner, known.is_held) = (None, false);
        }
        let now = self.now;
        self.naive.retain(|known| !known.is_forgotten(now));
        // those of nobody in particular are spread anew
        let keys: Vec<_> = self.naive.iter().map(|known| known.key.clone()).collect();
        for key in keys {
            self.naive_bound(&key);
        }
    }
}

fn cut(mut bookmark: Bookmark) -> Bookmark {
    if bookmark.positions.len() > LIMITS.topics {
        bookmark.positions.truncate(LIMITS.topics);
        bookmark.complete = false;
    }
    bookmark
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn they_are_what_a_naive_list_would_be(ops in ops()) {
        let mut world = World::new();
        for op in ops {
            world.run(op);
        }
        world.flush();
    }

    #[test]
    fn no_bytes_are_trusted(key in prop::collection::vec(any::<u8>(), 0..40), value in prop::collection::vec(any::<u8>(), 0..80)) {
        let bookmarks = Bookmarks::new(LIMITS);
        bookmarks.restore(&key, &value, 1000);
        prop_assert!(bookmarks.len() <= 1);
    }
}

#[test]
fn only_the_latest_owner_saves_and_forgets() {
    let bookmarks = Bookmarks::new(LIMITS);
    let reading = key("ann", "sub", "/chat/0");
    assert_eq!(bookmarks.take_over(&reading, 1, 1000), None);
    bookmarks.save(&reading, 1, bookmark(1, 5, true), 2000);
    let kept = bookmarks.take_over(&reading, 2, 3000);
    assert_eq!(kept, Some(bookmark(1, 5, true)));
    // the one before is closed late
    bookmarks.save(&reading, 1, bookmark(1, 4, true), 3001);
    bookmarks.forget(&reading, 1);
    let kept = bookmarks.take_over(&reading, 3, 4000);
    assert_eq!(kept, Some(bookmark(1, 5, true)));
    bookmarks.forget(&reading, 3);
    assert_eq!(bookmarks.take_over(&reading, 4, 5000), None);
}

#[test]
fn a_dead_connection_takes_nothing_back() {
    let bookmarks = Bookmarks::new(LIMITS);
    let reading = key("ann", "sub", "/chat/0");
    bookmarks.take_over(&reading, 2, 1000);
    bookmarks.save(&reading, 2, bookmark(1, 5, true), 1001);
    assert_eq!(bookmarks.take_over(&reading, 1, 1002), None);
    bookmarks.save(&reading, 1, bookmark(1, 4, true), 1003);
    bookmarks.release(&reading, 1, bookmark(1, 4, true), 1004);
    bookmarks.forget(&reading, 1);
    // still held, and still the newer one's
    bookmarks.sweep(1004 + 2 * KEEP_FOR);
    bookmarks.save(&reading, 2, bookmark(1, 6, true), 1005 + 2 * KEEP_FOR);
    let kept = bookmarks.take_over(&reading, 3, 1006 + 2 * KEEP_FOR);
    assert_eq!(kept, Some(bookmark(1, 6, true)));
}

#[test]
fn a_leap_of_the_clock_takes_only_what_nobody_holds() {
    let bookmarks = Bookmarks::new(LIMITS);
    let (held, left) = (key("ann", "held", "/chat/0"), key("ann", "left", "/chat/0"));
    for reading in [&held, &left] {
        bookmarks.take_over(reading, 1, 1000);
        bookmarks.save(reading, 1, bookmark(1, 5, true), 1000);
    }
    bookmarks.release(&left, 1, bookmark(1, 6, true), 1000);
    let leapt = 1000 + 1000 * KEEP_FOR;
    bookmarks.sweep(leapt);
    assert_eq!(bookmarks.len(), 1);
    let kept = bookmarks.take_over(&held, 2, leapt);
    assert_eq!(kept, Some(bookmark(1, 5, true)));
    assert_eq!(bookmarks.take_over(&left, 2, leapt), None);
}

#[test]
fn a_quiet_reader_outlasts_those_that_left() {
    let bookmarks = Bookmarks::new(LIMITS);
    let quiet = key("ann", "quiet", "/chat/0");
    bookmarks.take_over(&quiet, 1, 1000);
    bookmarks.save(&quiet, 1, bookmark(1, 5, true), 1000);
    // of its own principal, and of all others
    for at in 0..20u64 {
        let principal = PRINCIPALS[at as usize % 4];
        let left = key(principal, &format!("left-{at}"), "/chat/0");
        bookmarks.take_over(&left, 2 + at, 2000 + at);
        bookmarks.release(&left, 2 + at, bookmark(1, at, true), 2000 + at);
    }
    let kept = bookmarks.take_over(&quiet, 30, 3000);
    assert_eq!(kept, Some(bookmark(1, 5, true)));
}

#[test]
fn a_reader_that_had_to_go_comes_back_with_its_next_save() {
    let bookmarks = Bookmarks::new(LIMITS);
    let of = |at: usize| key("ann", &format!("sub-{at}"), "/chat/0");
    for at in 0..=LIMITS.per_principal {
        bookmarks.take_over(&of(at), 1, 1000);
    }
    assert_eq!(bookmarks.len(), LIMITS.per_principal);
    // a release comes too late for that
    bookmarks.release(&of(0), 1, bookmark(1, 5, true), 1001);
    assert!(bookmarks.take_changes(10).is_empty());
    bookmarks.save(&of(0), 1, bookmark(1, 5, true), 1002);
    assert_eq!(bookmarks.len(), LIMITS.per_principal);
    assert_eq!(bookmarks.take_changes(10).len(), 1, "the engine has it too");
    let kept = bookmarks.take_over(&of(0), 2, 1003);
    assert_eq!(kept, Some(bookmark(1, 5, true)));
}

#[test]
fn what_was_restored_is_saved_only_by_who_took_it_over() {
    let bookmarks = Bookmarks::new(LIMITS);
    let reading = key("ann", "sub", "/chat/0");
    let value = codec::value_bytes(&bookmark(1, 5, true), 1000);
    assert!(bookmarks.restore(&codec::key_bytes(&reading), &value, 1001));
    bookmarks.save(&reading, 1, bookmark(1, 6, true), 1002);
    bookmarks.release(&reading, 1, bookmark(1, 6, true), 1002);
    let kept = bookmarks.take_over(&reading, 2, 1003);
    assert_eq!(kept, Some(bookmark(1, 5, true)));
}

#[test]
fn everybody_on_the_net_pushes_out_nobody_with_a_name() {
    let limits = BookmarkLimits {
        in_all: 200,
        anonymous: 100,
        ..LIMITS
    };
    let bookmarks = Bookmarks::new(limits);
    let ann = key("ann", "sub", "/chat/0");
    bookmarks.take_over(&ann, 1, 1000);
    bookmarks.save(&ann, 1, bookmark(1, 5, true), 1000);
    bookmarks.release(&ann, 1, bookmark(1, 5, true), 1000);
    for at in 0..2000u64 {
        bookmarks.take_over(&key("", &format!("sub-{at}"), "/chat/0"), 2 + at, 1001 + at);
        assert!(bookmarks.len() <= 1 + limits.anonymous);
    }
    assert!(bookmarks.len() > limits.anonymous / 2);
    assert!(bookmarks.take_over(&ann, 5000, 4000).is_some());
}

#[test]
fn another_principal_gets_nothing() {
    let bookmarks = Bookmarks::new(LIMITS);
    let of = |principal| key(principal, "sub", "/chat/0");
    bookmarks.take_over(&of("ann"), 1, 1000);
    bookmarks.save(&of("ann"), 1, bookmark(1, 5, true), 1000);
    for other in ["", "bob", "annie"] {
        assert_eq!(bookmarks.take_over(&of(other), 2, 1001), None, "{other}");
    }
}

#[test]
fn a_reader_of_a_quiet_topic_is_not_written_every_second() {
    let bookmarks = Bookmarks::new(LIMITS);
    let reading = key("ann", "sub", "/chat/0");
    bookmarks.take_over(&reading, 1, 0);
    let mut writes = 0;
    for now in (0..KEEP_FOR).step_by(1000) {
        bookmarks.save(&reading, 1, bookmark(1, 5, true), now);
        writes += bookmarks.take_changes(10).len();
    }
    assert_eq!(writes, 7);
    assert_eq!(bookmarks.take_saves(), 20);
}

#[test]
fn the_clock_may_be_set_back() {
    let bookmarks = Bookmarks::new(LIMITS);
    let of = |label| key("ann", label, "/chat/0");
    bookmarks.take_over(&of("left"), 1, 9_000_000);
    for label in ["a", "b", "c"] {
        bookmarks.take_over(&of(label), 2, 1_000_000);
        bookmarks.save(&of(label), 2, bookmark(1, 5, true), 1_000_000);
    }
    for label in ["a", "b", "c"] {
        let kept = bookmarks.take_over(&of(label), 3, 1_001_000);
        assert!(kept.is_some(), "{label} lost to one that was left");
    }
}

#[test]
fn what_the_engine_cannot_make_sense_of_it_forgets() {
    let bookmarks = Bookmarks::new(LIMITS);
    let reading = codec::key_bytes(&key("ann", "sub", "/chat/0"));
    let value = codec::value_bytes(&bookmark(1, 5, true), 1000);
    assert!(!bookmarks.restore(&reading, &value[1..], 2000));
    assert!(!bookmarks.restore(&[&reading[..], b"x"].concat(), &value, 2000));
    assert_eq!(bookmarks.take_changes(10), vec![(reading.clone(), None)]);
    assert!(bookmarks.restore(&reading, &value, 2000), "it is whole");
    assert!(bookmarks.take_changes(10).is_empty());
    let late = Bookmarks::new(LIMITS);
    assert!(late.restore(&reading, &value, 1000 + KEEP_FOR));
    assert_eq!(
        (late.len(), late.take_changes(10)),
        (0, vec![(reading, None)])
    );
}

#[test]
fn bounds_hold_for_many_threads() {
    let limits = BookmarkLimits {
        in_all: 500,
        anonymous: 500,
        ..LIMITS
    };
    let bookmarks = Bookmarks::new(limits);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let bookmarks = &bookmarks;
            scope.spawn(move || {
                for now in 0..5000 {
                    let principal = PRINCIPALS[(now % 4) as usize];
                    let reading = key(principal, &format!("{thread}-{now}"), "/chat/*");
                    bookmarks.take_over(&reading, thread, now);
                    bookmarks.save(&reading, thread, bookmark(14, now, true), now);
                    if now % 3 > 0 {
                        bookmarks.release(&reading, thread, bookmark(14, now, true), now);
                    }
                    bookmarks.sweep(now);
                    assert!(bookmarks.len() <= limits.in_all + 4);
                }
            });
        }
    });
    assert!(bookmarks.len() <= limits.in_all);
    assert!(bookmarks.positions() <= limits.in_all * POSITIONS_EACH);
    let mut told = 0;
    while let taken @ 1.. = bookmarks.take_changes(100).len() {
        told += taken;
    }
    assert!(told > bookmarks.len(), "what is there, and what is gone");
}
