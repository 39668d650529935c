//! One topic on one shard: its local readers, its coalescing windows, and the bytes they share.
//!
//! Readers at the same place with the same view get the same bytes: the first one encodes, the others
//! find it here. The bytes kept are bounded and only ever a few frames: the log is the buffer.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::dialect::{Encoded, Wire, native_json};
use crate::event::{Epoch, Seq, TopicPath, TypeFilter};
use crate::log::read::ReadView;
use crate::log::shared::Follower;
use crate::log::window::Window;
use crate::log::{Attach, Gap, ReadFrom, ReadLimits, ReadState, Reading, Replay, SharedLog};

/// Encoded frames kept for the next reader at the same place.
const MAX_KEPT_FRAMES: usize = 8;
/// Bytes of them (one larger frame is kept alone).
const MAX_KEPT_BYTES: usize = 256 << 10;

/// Bytes of events in one control frame (one larger event goes alone).
const MAX_CONTROL_FRAME: usize = 256 << 10;

/// How a reader sees the topic and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    pub wire: Wire,
    pub filter: &'a TypeFilter,
    pub coalesce_ms: u64,
    pub state: ReadState,
    /// Where it was told that it stands.
    pub told: ReadState,
}

/// What comes next for a reader.
pub enum Next {
    CaughtUp,
    /// The log was erased.
    Deleted,
    Gap(Gap),
    /// The reader moves over what its filter leaves out.
    Silent(ReadState),
    Frame(Encoded, ReadState),
}

/// Deliveries made of a frame that was encoded for somebody else, for the metrics.
#[derive(Debug, Default)]
pub struct HubCounts {
    pub merged_events: Cell<u64>,
}

struct KeptFrame {
    wire: Wire,
    filter: TypeFilter,
    merge: bool,
    state: ReadState,
    told: ReadState,
    horizon: Seq,
    /// It ends where the frame was full, so that a later horizon gives the same frame.
    full: bool,
    bytes: Encoded,
    to: ReadState,
}

/// What a member of a hub follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The log, shown every `coalesce_ms` (0: at once).
    Events { coalesce_ms: u64 },
    /// Only what clients say to the topic's agents.
    Control,
}

/// The local members of one lane.
struct Class<M> {
    lane: Lane,
    /// `None`: everything is visible at once.
    window: Option<Window>,
    /// The last control event the class was told of.
    newest_control: Seq,
    /// More is visible than at the last look.
    news: bool,
    members: Vec<Option<M>>,
    free: Vec<usize>,
}

/// `M` names a member to whoever owns the hub.
pub struct Hub<M> {
    log: Arc<SharedLog>,
    epoch: Epoch,
    follower: Arc<Follower>,
    classes: RefCell<Vec<Class<M>>>,
    kept: RefCell<VecDeque<KeptFrame>>,
    kept_bytes: Cell<usize>,
    members: Cell<usize>,
    /// Stands in its shard's list of windows that are due.
    pub scheduled: Cell<bool>,
    pub counts: HubCounts,
}

/// A member's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    lane: Lane,
    slot: usize,
}

impl<M: Clone> Hub<M> {
    pub fn new(log: Arc<SharedLog>, follower: Arc<Follower>) -> Rc<Self> {
        let epoch = log.read().epoch().clone();
        Rc::new(Self {
            log,
            epoch,
            follower,
            classes: RefCell::new(Vec::new()),
            kept: RefCell::new(VecDeque::new()),
            kept_bytes: Cell::new(0),
            members: Cell::new(0),
            scheduled: Cell::new(false),
            counts: HubCounts::default(),
        })
    }

    pub fn log(&self) -> &Arc<SharedLog> {
        &self.log
    }

    pub fn topic(&self) -> &TopicPath {
        self.log.path()
    }

    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    pub fn follower(&self) -> &Arc<Follower> {
        &self.follower
    }

    pub fn is_empty(&self) -> bool {
        self.members.get() == 0
    }

    /// Where a reading would begin.
    pub fn attach(&self, from: &ReadFrom, replay: Replay, filter: &TypeFilter) -> Attach {
        self.log.read().attach(from, replay, filter)
    }

    pub fn join(&self, member: M, lane: Lane) -> Place {
        let mut classes = self.classes.borrow_mut();
        let at = classes
            .iter()
            .position(|class| class.lane == lane)
            .unwrap_or_else(|| {
                let window = match lane {
                    Lane::Events { coalesce_ms } if coalesce_ms > 0 => {
                        Some(Window::new(coalesce_ms, self.log.read().head()))
                    }
                    _ => None,
                };
                classes.push(Class {
                    lane,
                    window,
                    newest_control: Seq::ZERO,
                    news: false,
                    members: Vec::new(),
                    free: Vec::new(),
                });
                classes.len() - 1
            });
        let class = &mut classes[at];
        let slot = class.free.pop().unwrap_or_else(|| {
            class.members.push(None);
            class.members.len() - 1
        });
        class.members[slot] = Some(member);
        self.members.set(self.members.get() + 1);
        Place { lane, slot }
    }

    pub fn leave(&self, place: Place) {
        let mut classes = self.classes.borrow_mut();
        let Some(at) = classes.iter().position(|class| class.lane == place.lane) else {
            return;
        };
        let class = &mut classes[at];
        if class.members[place.slot].take().is_some() {
            class.free.push(place.slot);
            self.members.set(self.members.get() - 1);
        }
        if class.free.len() == class.members.len() {
            classes.swap_remove(at);
        }
    }

    /// News: gives each member that may have something to read to `visit`.
    pub fn on_append(&self, now: u64, mut visit: impl FnMut(&M)) {
        self.follower.begin();
        self.update_windows(now);
        for class in self.classes.borrow().iter().filter(|class| class.news) {
            class.members.iter().flatten().for_each(&mut visit);
        }
    }

    fn update_windows(&self, now: u64) {
        let deleted = self.log.is_deleted();
        let log = self.log.read();
        for class in self.classes.borrow_mut().iter_mut() {
            class.news = match (&mut class.window, class.lane) {
                _ if deleted => true,
                (Some(window), _) => window.on_append(&log, now),
                (None, Lane::Control) => {
                    let newest = log.controls().newest();
                    std::mem::replace(&mut class.newest_control, newest) < newest
                }
                (None, Lane::Events { .. }) => true,
            };
        }
    }

    /// The earliest time at which a window shows what it gathered.
    pub fn next_due(&self) -> Option<u64> {
        self.classes
            .borrow()
            .iter()
            .filter_map(|class| class.window.as_ref()?.due())
            .min()
    }

    /// Windows whose time has come: gives their members to `visit`.
    pub fn on_due(&self, now: u64, mut visit: impl FnMut(&M)) {
        for class in self.classes.borrow_mut().iter_mut() {
            class.news = class
                .window
                .as_mut()
                .is_some_and(|window| window.on_due(now));
        }
        for class in self.classes.borrow().iter().filter(|class| class.news) {
            class.members.iter().flatten().for_each(&mut visit);
        }
    }

    fn visible(&self, coalesce_ms: u64) -> Option<Seq> {
        let classes = self.classes.borrow();
        let lane = Lane::Events { coalesce_ms };
        let class = classes.iter().find(|class| class.lane == lane)?;
        class.window.as_ref().map(Window::visible)
    }

    /// Where an agent begins that was not there before, as what newer ones pushed out is gone; and the newest one.
    pub fn control_range(&self) -> (Seq, Seq) {
        let log = self.log.read();
        (log.controls().pushed_out(), log.controls().newest())
    }

    /// What comes next for an agent that is there since `joined` and has the control events up to `after`: some
    /// of them as a frame, if there are any, with their number, and up to which seq it has them all then.
    pub fn next_controls(&self, after: Seq, joined: Seq) -> Option<(Option<Bytes>, u64, Seq)> {
        let (mut entries, mut upto) = self.log.read().controls_after(after, joined);
        if upto <= after {
            return None;
        }
        let mut bytes = 0;
        let fit = entries
            .iter()
            .take_while(|entry| {
                let first = bytes == 0;
                bytes += entry.envelope().len();
                first || bytes <= MAX_CONTROL_FRAME
            })
            .count();
        if fit < entries.len() {
            entries.truncate(fit);
            upto = entries[fit - 1].seq;
        }
        if entries.is_empty() {
            return Some((None, 0, upto));
        }
        let frame = native_json::control(self.topic(), &self.epoch, &entries);
        Some((Some(frame), entries.len() as u64, upto))
    }

    /// What comes next for `reader`.
    pub fn next(&self, reader: Reader<'_>) -> Next {
        if self.log.is_deleted() {
            return Next::Deleted;
        }
        let merge = reader.coalesce_ms > 0;
        let log = self.log.read();
        let visible = if merge {
            self.visible(reader.coalesce_ms).unwrap_or(log.head())
        } else {
            log.head()
        };
        let horizon = if reader.state.partial {
            log.head()
        } else {
            visible
        };
        if reader.state.seq >= horizon && !reader.state.partial {
            return Next::CaughtUp;
        }
        // a frame that was made before the trim would do, but who was told of a gap waits for it
        if let Some(gap) = log.gap_before(reader.state) {
            return Next::Gap(gap);
        }
        if let Some((bytes, to)) = self.find_kept(&reader, merge, horizon) {
            return Next::Frame(bytes, to);
        }
        let view = ReadView {
            filter: reader.filter,
            merge,
        };
        let batch = match log.read(reader.state, visible, view, ReadLimits::FRAME) {
            Reading::CaughtUp => return Next::CaughtUp,
            Reading::Gap(gap) => return Next::Gap(gap),
            Reading::Batch(batch) => batch,
        };
        drop(log);
        // a reader that becomes whole is told at once, with or without an event
        let becomes_whole = reader.told.partial && !batch.to.partial;
        if batch.items.is_empty() && !becomes_whole {
            return Next::Silent(batch.to);
        }
        if merge {
            self.count_merged(&batch);
        }
        let bytes = reader
            .wire
            .batch(self.topic(), &self.epoch, reader.told, &batch);
        self.keep(&reader, merge, horizon, &bytes, batch.to);
        Next::Frame(bytes, batch.to)
    }

    fn count_merged(&self, batch: &crate::log::Batch) {
        let merged = |item: &crate::log::Item| match item {
            crate::log::Item::Merged(entries) => entries.len() as u64 - 1,
            _ => 0,
        };
        let more: u64 = batch.items.iter().map(merged).sum();
        self.counts
            .merged_events
            .set(self.counts.merged_events.get() + more);
    }

    fn find_kept(
        &self,
        reader: &Reader<'_>,
        merge: bool,
        horizon: Seq,
    ) -> Option<(Encoded, ReadState)> {
        let kept = self.kept.borrow();
        let frame = kept.iter().rev().find(|frame| {
            frame.state == reader.state
                && frame.told == reader.told
                && (frame.horizon == horizon || (frame.full && frame.to.seq <= horizon))
                && frame.wire == reader.wire
                && frame.merge == merge
                && frame.filter == *reader.filter
        })?;
        Some((frame.bytes.clone(), frame.to))
    }

    fn keep(&self, reader: &Reader<'_>, merge: bool, horizon: Seq, bytes: &Encoded, to: ReadState) {
        if self.members.get() < 2 {
            return;
        }
        let mut kept = self.kept.borrow_mut();
        let size = bytes.len();
        while kept.len() >= MAX_KEPT_FRAMES
            || (!kept.is_empty() && self.kept_bytes.get() + size > MAX_KEPT_BYTES)
        {
            if let Some(oldest) = kept.pop_front() {
                self.kept_bytes
                    .set(self.kept_bytes.get() - oldest.bytes.len());
            }
        }
        self.kept_bytes.set(self.kept_bytes.get() + size);
        kept.push_back(KeptFrame {
            wire: reader.wire,
            filter: reader.filter.clone(),
            merge,
            state: reader.state,
            told: reader.told,
            horizon,
            full: to.partial || (!reader.state.partial && to.seq < horizon),
            bytes: bytes.clone(),
            to,
        });
    }

    /// Lets go of kept frames; called at each tick, so that an idle topic holds none.
    pub fn forget_frames(&self) {
        self.kept.borrow_mut().clear();
        self.kept.borrow_mut().shrink_to_fit();
        self.kept_bytes.set(0);
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::dialect::Encoding;
    use crate::event::NewEvent;
    use crate::log::fold::epoch_of;
    use crate::log::shared::Wake;
    use crate::log::{Publish, Retention, TopicLog};

    struct NoWake;

    impl Wake for NoWake {
        fn wake(&self, _: &TopicPath) {}
    }

    fn publish(log: &SharedLog, count: usize) {
        let event = || NewEvent::build("a.b".into(), None, Bytes::from_static(b"1"));
        let publish = Publish {
            events: (0..count).map(|_| event().expect("valid")).collect(),
            principal: "".into(),
            source: None,
            producer: None,
            lease_ms: None,
        };
        let (answer, _) = log.publish(&publish, 1).expect("it is not erased");
        answer.expect("valid");
    }

    #[test]
    fn a_frame_made_before_the_trim_hides_no_gap() {
        let topic = TopicPath::parse("/a").expect("a topic");
        let retention = Retention {
            events: 10,
            ..Retention::default()
        };
        let log = TopicLog::new(epoch_of("storetest", 1), retention, 0);
        let log = Arc::new(SharedLog::new(topic, log));
        let hub: Rc<Hub<u8>> = Hub::new(
            log.clone(),
            log.follow(Arc::new(NoWake)).expect("not retired"),
        );
        for member in 0..2 {
            hub.join(member, Lane::Events { coalesce_ms: 0 });
        }
        publish(&log, 5);
        let filter = TypeFilter::everything();
        let state = ReadState {
            seq: Seq(2),
            partial: false,
        };
        let reader = Reader {
            wire: Wire::Native(Encoding::Json),
            filter: &filter,
            coalesce_ms: 0,
            state,
            told: state,
        };
        assert!(matches!(hub.next(reader), Next::Frame(..)));
        log.change(|log| log.free_memory(usize::MAX));
        let gap = match hub.next(reader) {
            Next::Gap(gap) => gap,
            _ => panic!("a frame instead of the gap"),
        };
        assert_eq!((gap.from, gap.to), (Seq(3), Seq(5)));
    }
}
