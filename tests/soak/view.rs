//! One topic as one reader knows it, and whether everything it is told follows from where it stands.
//!
//! Invariants checked on every event:
//! - seqs only rise; what is jumped over is explained: by the filter, by compact reading (deltas and
//!   `message.started` are left out), or because the message ended long enough ago;
//! - a partial position becomes whole only with the snapshots of all messages that are open there;
//! - nobody is shown the middle of a message whose beginning they lack;
//! - the text held of a message when it ends is the text that was published.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::content::{self, Carrier, source_name};
use crate::filter::Filter;
use crate::heard::{self, Event, Snapshot};
use crate::held::Held;
use crate::oracle::{Plan, Topic, What};
use crate::support::reader::{NOWHERE, split_position};
use crate::tally::{Checked, Fault, Tally, Wrong, must};

#[derive(Clone)]
pub struct View {
    pub topic: Arc<Topic>,
    pub filter: Filter,
    pub merges: bool,
    pub carrier: Carrier,
    /// The reader learns at once that its position became whole (not so from a cursor of several topics).
    pub tells_whole: bool,
    epoch: String,
    pub seq: u64,
    pub partial: bool,
    /// A position was ever told.
    pub begun: bool,
    /// A `gap` has to come before anything else.
    gap_owed: bool,
    held: HashMap<u32, Held>,
    /// Something that the filter leaves out may have been left out of the log, so that reading went on as compact.
    may_be_compact: bool,
    /// Messages that began up to here may be in the middle.
    late: u64,
    /// Snapshots under way.
    joining: Option<Joining>,
    /// Since the position was last whole.
    gaps: Vec<(u64, u64)>,
}

#[derive(Clone)]
struct Joining {
    upto: u64,
    told: HashSet<u32>,
}

/// What a reading was asked to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Snapshot,
    Live,
    Start,
    Last(u64),
    /// A position held, by itself or in a cursor.
    Held,
}

/// How the broker says that a reading begins.
pub struct Beginning<'a> {
    pub epoch: &'a str,
    pub position: Option<&'a str>,
    pub head: u64,
    pub resumed: bool,
}

impl View {
    pub fn new(topic: Arc<Topic>, filter: Filter, merges: bool) -> View {
        View {
            topic,
            filter,
            merges,
            carrier: Carrier::WebSocket,
            tells_whole: true,
            epoch: NOWHERE.to_owned(),
            seq: 0,
            partial: false,
            begun: false,
            gap_owed: false,
            held: HashMap::new(),
            may_be_compact: false,
            late: 0,
            joining: None,
            gaps: Vec::new(),
        }
    }

    /// The position to come back with.
    pub fn position(&self) -> String {
        let tilde = if self.partial { "~" } else { "" };
        format!("{}:{}{tilde}", self.epoch, self.seq)
    }

    /// Whether it could come back with its position: SSE over several topics does not tell the epoch of a
    /// topic that was born later.
    pub fn knows_position(&self) -> bool {
        self.begun && (self.seq == 0 || self.epoch != NOWHERE)
    }

    /// As a reloaded page: the position stays, the text does not.
    pub fn forget_text(&mut self) {
        self.held.clear();
        self.partial = true;
    }

    /// The connection is gone, and with it what was half told.
    pub fn disconnect(&mut self) {
        self.joining = None;
        self.gap_owed = false;
    }

    /// Types whose last event shows in the position. Read as compact, the start of a message that is still open is
    /// passed over; where only a cursor tells positions, nothing shows that it was.
    fn awaited(&self) -> u16 {
        match self.tells_whole {
            true => self.filter.types,
            false => self.filter.types & !(1 << What::Started.type_index()),
        }
    }

    /// What keeps it from being drained, for the words of a fault.
    pub fn lacks(&self, plan: &Plan) -> String {
        match plan.next_of(self.awaited(), self.seq) {
            Some(next) => format!(" lacks {next} of {}, {:?}", plan.head(), plan.what(next)),
            None if self.is_drained(plan) => String::new(),
            None => format!(" is not whole at {}", plan.head()),
        }
    }

    /// Nothing that it would be shown is left.
    pub fn is_drained(&self, plan: &Plan) -> bool {
        let behind = plan.next_of(self.awaited(), self.seq).is_some();
        let snapshots_owed = self.filter.admits_deltas() && plan.open_count(self.seq) > 0;
        self.begun && !behind && !(self.partial && (self.tells_whole || snapshots_owed))
    }

    fn at(&self, what: impl AsRef<str>) -> String {
        format!(
            "{} at {}: {}",
            self.topic.path,
            self.position(),
            what.as_ref()
        )
    }

    /// `compact`: the reader asked to be told the past that way.
    pub fn begin(
        &mut self,
        asked: Asked,
        compact: bool,
        told: &Beginning<'_>,
        acknowledged: u64,
        tally: &mut Tally,
    ) -> Checked {
        let topic = self.topic.clone();
        let plan = topic.plan();
        must(told.head <= plan.head(), Wrong::Unexplained, || {
            self.at(format!("head {} of {} published", told.head, plan.head()))
        })?;
        must(told.head >= acknowledged, Wrong::Lost, || {
            self.at(format!(
                "head {}, but {acknowledged} had been acknowledged",
                told.head
            ))
        })?;
        let Some(position) = told.position else {
            return Err(Fault::new(
                Wrong::Unexplained,
                self.at("a reset is announced"),
            ));
        };
        let (epoch, seq, partial) = split_position(position);
        must(epoch == told.epoch, Wrong::Unexplained, || {
            self.at(format!("begins in another epoch: {position}"))
        })?;
        if asked == Asked::Held {
            if self.partial && self.seq == 0 {
                // owed all that is kept, and no gap for what is not
                let fits = self.topic.may_be_trimmed(&plan, seq);
                must(fits, Wrong::Lost, || {
                    self.at(format!("seq 0~ begins at {seq}"))
                })?;
                self.same_epoch(epoch)?;
                self.seq = seq;
            }
            if compact && !self.partial && told.head > seq {
                self.partial = true;
            }
            self.told_position(&plan, (epoch, seq, partial), tally)?;
            self.gap_owed = !told.resumed;
            if told.resumed {
                tally.resumed += 1
            } else {
                tally.resumed_with_gap += 1
            }
            tally.partial += u64::from(partial);
            return Ok(());
        }
        self.begin_fresh(&plan, asked, compact, told, (epoch, seq, partial))
    }

    fn begin_fresh(
        &mut self,
        plan: &Plan,
        asked: Asked,
        compact: bool,
        told: &Beginning<'_>,
        (epoch, seq, partial): (&str, u64, bool),
    ) -> Checked {
        self.same_epoch(epoch)?;
        let fits = match asked {
            Asked::Snapshot | Asked::Live => seq == told.head,
            Asked::Start => self.topic.may_be_trimmed(plan, seq),
            Asked::Last(n) => {
                let wanted = told.head.saturating_sub(n);
                seq == wanted || (seq > wanted && self.topic.may_be_trimmed(plan, seq))
            }
            Asked::Held => false,
        };
        must(fits, Wrong::Unexplained, || {
            self.at(format!("{asked:?} begins at {seq} of head {}", told.head))
        })?;
        let nothing_lacks =
            seq == told.head && (plan.open_count(seq) == 0 || !self.filter.admits_deltas());
        let may_be_whole = asked == Asked::Live || (seq == 0 && !compact) || nothing_lacks;
        must(partial || may_be_whole, Wrong::Lost, || {
            self.at(format!(
                "{asked:?} begins whole at {seq} without a snapshot"
            ))
        })?;
        (self.seq, self.partial, self.begun) = (seq, partial, true);
        if asked == Asked::Live {
            self.late = seq;
        }
        Ok(())
    }

    fn same_epoch(&mut self, epoch: &str) -> Checked {
        if epoch == NOWHERE && self.epoch == NOWHERE {
            return Ok(());
        }
        let fits = self.topic.is_epoch(epoch) && (self.epoch == NOWHERE || self.epoch == epoch);
        must(fits, Wrong::Unexplained, || {
            self.at(format!("another epoch, {epoch}, without a reset"))
        })?;
        if self.epoch == NOWHERE {
            self.epoch = epoch.to_owned();
        }
        Ok(())
    }

    fn not_while_owed(&self, what: &str) -> Checked {
        must(!self.gap_owed, Wrong::Unexplained, || {
            self.at(format!("{what} before the gap that is owed"))
        })
    }

    /// A frame says where it begins and ends, an SSE block where the reader stands then.
    pub fn begins_at(&mut self, epoch: &str, after: u64) -> Checked {
        self.not_while_owed("a frame")?;
        self.same_epoch(epoch)?;
        let wrong = if after > self.seq {
            Wrong::Lost
        } else {
            Wrong::Repeated
        };
        must(after == self.seq, wrong, || {
            self.at(format!("a frame that begins after {after}"))
        })
    }

    pub fn told_position(
        &mut self,
        plan: &Plan,
        (epoch, seq, partial): (&str, u64, bool),
        tally: &mut Tally,
    ) -> Checked {
        self.same_epoch(epoch)?;
        must(seq >= self.seq, Wrong::OutOfOrder, || {
            self.at(format!("sent back to {seq}"))
        })?;
        if partial && !self.partial {
            must(
                self.compacted_before(plan, seq + 1),
                Wrong::Unexplained,
                || self.at(format!("partial at {seq} without a reason")),
            )?;
            self.become_compact(tally);
        }
        self.pass_over(plan, seq, tally)?;
        if !partial && self.partial {
            self.become_whole(plan, tally)?;
        }
        self.begun = true;
        Ok(())
    }

    /// Explains everything after the position up to `seq`, which will not come any more.
    fn pass_over(&mut self, plan: &Plan, upto: u64, tally: &mut Tally) -> Checked {
        for seq in self.seq + 1..=upto {
            let Some(event) = plan.get(seq) else {
                return Err(Fault::new(
                    Wrong::Unexplained,
                    self.at(format!("{upto} was never published")),
                ));
            };
            if !self.filter.admits(event.what) {
                self.may_be_compact |= !self.partial && self.topic.may_be_compacted(plan, seq);
                continue;
            }
            // a position `0~` is owed what is kept when it is read
            let forgotten = self.seq == 0 && self.topic.may_be_trimmed(plan, seq);
            if self.partial && (event.what.is_left_out() || forgotten) {
                continue;
            }
            let compacted = !self.partial && self.topic.may_be_compacted(plan, seq);
            must(compacted, Wrong::Lost, || {
                self.at(format!(
                    "event {seq} ({}) was passed over on the way to {upto}",
                    event.what.type_name()
                ))
            })?;
            self.become_compact(tally);
        }
        self.seq = upto;
        Ok(())
    }

    /// Something between the position and `seq` may have been left out since its message ended.
    fn compacted_before(&self, plan: &Plan, seq: u64) -> bool {
        self.may_be_compact || (self.seq + 1..seq).any(|seq| self.topic.may_be_compacted(plan, seq))
    }

    fn become_compact(&mut self, tally: &mut Tally) {
        (self.partial, self.may_be_compact) = (true, false);
        tally.compacted += 1;
    }

    /// The reader lacks nothing any more.
    fn become_whole(&mut self, plan: &Plan, tally: &mut Tally) -> Checked {
        (self.partial, self.may_be_compact) = (false, false);
        let gaps = std::mem::take(&mut self.gaps);
        let joined = self.joining.take();
        if !self.filter.admits_deltas() {
            return Ok(());
        }
        let open = plan.open_at(self.seq);
        let told = joined
            .filter(|joined| joined.upto == self.seq)
            .map(|joined| joined.told)
            .unwrap_or_default();
        if let Some(missing) = open.iter().find(|message| !told.contains(message)) {
            let what = format!("whole without a snapshot of m{missing}, which is open there");
            return Err(Fault::new(Wrong::Lost, self.at(what)));
        }
        // what is held and not open has ended where this reader could not see it
        let ended: Vec<u32> = self
            .held
            .keys()
            .filter(|held| !open.contains(held))
            .copied()
            .collect();
        for message in ended {
            let end = plan.message(message).end.unwrap_or(u64::MAX);
            let in_gap = gaps.iter().any(|(from, to)| (*from..=*to).contains(&end));
            let unseen = !self.filter.admits(What::Interrupted);
            must(in_gap || unseen, Wrong::Lost, || {
                self.at(format!("the end of m{message} at {end} never came"))
            })?;
            tally.ended_in_gap += u64::from(in_gap);
            self.held.remove(&message);
        }
        Ok(())
    }

    /// In SSE over several topics nothing but what comes tells that the position became whole: a raw event at
    /// `first`, so the reading had reached the head somewhere before it, with no message open.
    fn became_whole_silently(&mut self, plan: &Plan, first: u64, tally: &mut Tally) -> Checked {
        let nothing_open = !self.filter.admits_deltas() || {
            let unseen = |seq: &u64| {
                plan.get(*seq)
                    .is_some_and(|event| !self.filter.admits(event.what))
            };
            let mut reached = first - 1;
            while plan.open_count(reached) > 0 && reached > self.seq && unseen(&reached) {
                reached -= 1;
            }
            plan.open_count(reached) == 0
        };
        must(
            !self.tells_whole && nothing_open,
            Wrong::Unexplained,
            || self.at(format!("{first} comes raw from a partial position")),
        )?;
        self.pass_over(plan, first - 1, tally)?;
        let open = plan.open_count(self.seq);
        if open == 0 {
            return self.become_whole(plan, tally);
        }
        self.partial = false;
        Ok(())
    }

    pub fn event(&mut self, plan: &Plan, event: &Event<'_>, tally: &mut Tally) -> Checked {
        self.not_while_owed("an event")?;
        tally.envelopes += 1;
        if event.kind == "message.snapshot" {
            return self.snapshot(plan, event, tally);
        }
        must(self.joining.is_none(), Wrong::Lost, || {
            self.at("an event before the last of the snapshots")
        })?;
        let Some(seq) = event.seq else {
            return Err(Fault::new(
                Wrong::Altered,
                self.at("an event without a seq"),
            ));
        };
        let first = event.first_seq.unwrap_or(seq);
        must(first > self.seq, Wrong::Repeated, || {
            self.at(format!("{first}..={seq} comes again"))
        })?;
        must(seq <= plan.head() && first <= seq, Wrong::Altered, || {
            self.at(format!("{first}..={seq} was never published"))
        })?;
        let what = plan.get(first).expect("within what was published").what;
        let compact = event.parts.is_some();
        if self.partial && (what.is_left_out() || (what.ends() && !compact)) {
            self.became_whole_silently(plan, first, tally)?;
        }
        if compact && !self.partial {
            must(
                self.compacted_before(plan, first),
                Wrong::Unexplained,
                || self.at(format!("{seq} comes compact without a reason")),
            )?;
            self.become_compact(tally);
        }
        self.pass_over(plan, first - 1, tally)?;
        must(self.filter.admits(what), Wrong::Unexplained, || {
            self.at(format!("{} is filtered out", what.type_name()))
        })?;
        if event.first_seq.is_some() {
            must(self.merges && first < seq, Wrong::Unexplained, || {
                self.at(format!("{first}..={seq} merged"))
            })?;
            content::check_merge(&self.topic, plan, event, first, seq)?;
            tally.merges += 1;
        } else {
            content::check_event(&self.topic, plan, event, seq, self.carrier)?;
        }
        self.seq = seq;
        tally.delivered += seq - first + 1;
        self.fold(plan, event, (first, what), tally)
    }

    /// Takes the event into the texts held.
    fn fold(
        &mut self,
        plan: &Plan,
        event: &Event<'_>,
        (first, what): (u64, What),
        tally: &mut Tally,
    ) -> Checked {
        if !self.filter.admits_deltas() || matches!(what, What::Note(_)) {
            return self.check_compact(plan, event, what, tally).map(|_| ());
        }
        let message = plan.get(first).expect("checked").message;
        match what {
            What::Delta { kind, part, .. } => {
                let delta: heard::Delta<'_> = heard::parse(event.data.get())
                    .map_err(|why| Fault::new(Wrong::Altered, why))?;
                self.open(plan, message, first)?
                    .append((part, kind), &delta.text);
            }
            What::Started => {
                self.open(plan, message, first)?;
            }
            What::Completed { .. } | What::Interrupted => {
                let compact = self.check_compact(plan, event, what, tally)?;
                if !compact {
                    let held = std::mem::take(self.open(plan, message, first)?);
                    held.must_be(&plan.fold(message, first), || {
                        self.at(format!("m{message}, which ends"))
                    })?;
                }
                self.held.remove(&message);
            }
            What::Note(_) => {}
        }
        self.let_go(plan)
    }

    /// Ends of messages that the filter leaves out: their text is whole now.
    fn let_go(&mut self, plan: &Plan) -> Checked {
        if self.filter.admits(What::Interrupted) || self.held.len() < 64 {
            return Ok(());
        }
        let seq = self.seq;
        let ended = |message: &u32| plan.message(*message).end.is_some_and(|end| end <= seq);
        let ended: Vec<u32> = self.held.keys().copied().filter(ended).collect();
        for message in ended {
            if let Some(held) = self.held.remove(&message) {
                held.must_be(&plan.fold(message, seq), || {
                    self.at(format!("m{message}, which ended"))
                })?;
            }
        }
        Ok(())
    }

    /// An end event in a compact reading has the whole message with it.
    fn check_compact(
        &mut self,
        plan: &Plan,
        event: &Event<'_>,
        what: What,
        tally: &mut Tally,
    ) -> Checked<bool> {
        let seq = event.seq.unwrap_or_default();
        let Some(parts) = &event.parts else {
            let bare = event.started.is_none();
            must(bare, Wrong::Unexplained, || {
                self.at(format!("{seq} has `started` without parts"))
            })?;
            return Ok(false);
        };
        must(what.ends(), Wrong::Unexplained, || {
            self.at(format!("{seq} has parts and ends nothing"))
        })?;
        let message = plan.get(seq).expect("checked").message;
        Held::told(parts)?.must_be(&plan.ended(message), || {
            self.at(format!("m{message}, told with its end"))
        })?;
        let started = event.started.map(|raw| raw.get());
        self.check_started(plan, message, started, seq)?;
        tally.compacts += 1;
        Ok(true)
    }

    fn check_started(&self, plan: &Plan, message: u32, told: Option<&str>, upto: u64) -> Checked {
        let started = plan.message(message).started.filter(|seq| *seq <= upto);
        let expected = started.map(|seq| content::data_of(plan, seq, self.carrier));
        must(told == expected.as_deref(), Wrong::Altered, || {
            self.at(format!(
                "`started` of m{message}: {told:?} instead of {expected:?}"
            ))
        })
    }

    /// A message whose beginning the reader has.
    fn open(&mut self, plan: &Plan, message: u32, seq: u64) -> Checked<&mut Held> {
        let spoken = plan.message(message);
        if !self.held.contains_key(&message) {
            let begins = (spoken.first..seq).all(|before| {
                plan.get(before).is_none_or(|event| {
                    event.message != message
                        || matches!(event.what, What::Note(_))
                        || !self.filter.admits(event.what)
                })
            });
            let late = spoken.first <= self.late;
            must(begins || late, Wrong::Lost, || {
                self.at(format!("{seq} continues m{message}, which began unseen"))
            })?;
            let held = if begins {
                Held::default()
            } else {
                Held::late()
            };
            self.held.insert(message, held);
        }
        Ok(self.held.get_mut(&message).expect("just made"))
    }

    fn snapshot(&mut self, plan: &Plan, event: &Event<'_>, tally: &mut Tally) -> Checked {
        let told: Snapshot<'_> = heard::parse(event.data.get())
            .map_err(|why| Fault::new(Wrong::Altered, self.at(why)))?;
        let upto = told.upto;
        let bare = event.seq.is_none() && event.id.is_none() && event.parts.is_none();
        must(bare, Wrong::Altered, || {
            self.at("a snapshot with a seq, id or parts")
        })?;
        must(self.filter.admits_deltas(), Wrong::Unexplained, || {
            self.at("a snapshot past the filter")
        })?;
        must(
            upto >= self.seq && upto <= plan.head(),
            Wrong::OutOfOrder,
            || self.at(format!("a snapshot of {upto}")),
        )?;
        if !self.partial {
            must(
                self.compacted_before(plan, upto + 1),
                Wrong::Unexplained,
                || self.at(format!("a snapshot of {upto} without a reason")),
            )?;
            self.become_compact(tally);
        }
        let number = told
            .message_id
            .strip_prefix('m')
            .and_then(|number| number.parse().ok());
        let message: u32 = number
            .filter(|number| plan.has_message(*number))
            .ok_or_else(|| {
                Fault::new(
                    Wrong::Altered,
                    self.at(format!("a snapshot of {}", told.message_id)),
                )
            })?;
        let open = plan.open_at(upto);
        must(open.contains(&message), Wrong::Altered, || {
            self.at(format!("m{message} is not open at {upto}"))
        })?;
        self.check_started(plan, message, told.started.map(|raw| raw.get()), upto)?;
        let source = plan
            .get(plan.message(message).first)
            .and_then(|event| source_name(&self.topic, event.source));
        must(
            told.source.as_deref() == source.as_deref(),
            Wrong::Altered,
            || self.at(format!("source {:?} of m{message}", told.source)),
        )?;
        let held = Held::told(&told.parts)?;
        held.must_be(&plan.fold(message, upto), || {
            self.at(format!("m{message}, told as of {upto}"))
        })?;
        self.held.insert(message, held);
        (tally.snapshots, tally.delivered) = (tally.snapshots + 1, tally.delivered + 1);

        let joining = self.joining.get_or_insert_with(|| Joining {
            upto,
            told: HashSet::new(),
        });
        let (same, fresh) = (joining.upto == upto, joining.told.insert(message));
        let complete = joining.told.len() == open.len();
        must(same, Wrong::OutOfOrder, || {
            self.at(format!("snapshots of {upto} among those of another seq"))
        })?;
        must(fresh, Wrong::Repeated, || {
            self.at(format!("the snapshot of m{message} comes again"))
        })?;
        if complete {
            self.pass_over(plan, upto, tally)?;
            self.become_whole(plan, tally)?;
        }
        Ok(())
    }

    pub fn gap(&mut self, from: u64, to: u64, tally: &mut Tally) -> Checked {
        let topic = self.topic.clone();
        let plan = topic.plan();
        if !self.tells_whole && from > self.seq {
            // the cursor has moved over what compact reading leaves out
            self.pass_over(&plan, from - 1, tally)?;
        }
        must(
            from == self.seq + 1 && to >= from,
            Wrong::Unexplained,
            || self.at(format!("a gap {from}..={to}")),
        )?;
        must(
            to <= plan.head() && topic.may_be_trimmed(&plan, to),
            Wrong::Lost,
            || {
                self.at(format!(
                    "a gap {from}..={to} that retention does not explain, head {}",
                    plan.head()
                ))
            },
        )?;
        must(self.joining.is_none(), Wrong::Lost, || {
            self.at("a gap among snapshots")
        })?;
        (self.seq, self.partial, self.gap_owed) = (to, true, false);
        self.gaps.push((from, to));
        tally.gaps += 1;
        tally.gone += to + 1 - from;
        Ok(())
    }

    /// At the end, when nothing more comes: everything is here and is what was published.
    pub fn check_final(&self) -> Checked {
        let plan = self.topic.plan();
        must(self.is_drained(&plan), Wrong::Lost, || {
            self.at(format!("not at the end, {}", plan.head()))
        })?;
        if !self.filter.admits_deltas() {
            return Ok(());
        }
        for (message, held) in &self.held {
            held.must_be(&plan.fold(*message, self.seq), || {
                self.at(format!("m{message} at the end"))
            })?;
        }
        let open = plan.open_at(self.seq);
        let missing = open.iter().find(|message| {
            let spoken = plan.message(**message);
            let has_text = spoken
                .deltas
                .first()
                .is_some_and(|first| u64::from(*first) <= self.seq);
            has_text && spoken.first > self.late && !self.held.contains_key(message)
        });
        must(missing.is_none(), Wrong::Lost, || {
            self.at(format!("nothing is held of m{missing:?}"))
        })
    }
}
