//! The runs of one producer. A run is one life of its process, numbered by its epoch.
//!
//! Invariants:
//! - once a higher epoch attached, no lower one is admitted again;
//! - a run has at most one holder, and its lease does not run while it is held or a stream of it is open;
//! - a run that is not held ends at `expires`, and with it every topic it may have messages open in is named
//!   exactly once.
//!
//! Time is the broker's, in milliseconds. Bound: one run per epoch whose lease has not ended; topics are
//! tidied when their number has doubled.

use std::collections::HashMap;

use crate::event::TopicPath;

/// How long an agent may be silent before its messages are ended for it, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease(u64);

impl Lease {
    pub const MIN_MS: u64 = 1_000;
    pub const MAX_MS: u64 = 600_000;
    /// Of an attached agent, from when its connection drops.
    pub const ATTACHED: Lease = Lease(15_000);
    /// Of one that only publishes.
    pub const PUBLISHING: Lease = Lease(120_000);

    /// `None`: shorter than a second or longer than ten minutes.
    pub fn from_ms(ms: u64) -> Option<Self> {
        (Self::MIN_MS..=Self::MAX_MS)
            .contains(&ms)
            .then_some(Self(ms))
    }

    pub fn ms(self) -> u64 {
        self.0
    }
}

/// Topics of a run before the first tidying.
const MIN_TIDY: usize = 64;
/// A publish that was admitted has reached its topic after that long.
const TIDY_AFTER_MS: u64 = 60_000;
/// Runs of one producer that have a lease at once; one more takes the place of the oldest.
const MAX_RUNS: usize = 16;
/// Runs that gave way and whose messages are still to be ended.
const MAX_GIVEN_WAY: usize = 4096;
/// The highest epoch; every language holds it exactly.
pub const MAX_EPOCH: u64 = (1 << 53) - 1;

/// `H` names who holds a run's lease: a connection.
#[derive(Debug)]
pub struct Runs<H> {
    /// The highest epoch that attached or that the logs know.
    latest: u64,
    /// The highest epoch of a publish that was admitted and may still be refused (`settled`).
    claimed: u64,
    /// Runs before this one were replaced: refused wherever they publish.
    floor: u64,
    live: Vec<Run<H>>,
    /// Runs that gave way to newer ones.
    given_way: Vec<Lost>,
    /// When the last run ended.
    idle_since: u64,
}

#[derive(Debug)]
struct Run<H> {
    epoch: u64,
    lease: Lease,
    holder: Option<H>,
    /// Publish streams of it that are open.
    streams: usize,
    /// When it ends, unless it is held by then.
    expires: u64,
    /// Where it may have messages open, and when it last published there.
    topics: HashMap<TopicPath, u64>,
    tidy_at: usize,
}

impl<H> Run<H> {
    fn new(epoch: u64, lease: Lease, now: u64) -> Self {
        Self {
            epoch,
            lease,
            holder: None,
            streams: 0,
            expires: now + lease.ms(),
            topics: HashMap::new(),
            tidy_at: MIN_TIDY,
        }
    }

    fn is_held(&self) -> bool {
        self.holder.is_some() || self.streams > 0
    }

    fn lost(&mut self) -> Lost {
        let mut topics: Vec<TopicPath> = self.topics.drain().map(|(topic, _)| topic).collect();
        topics.sort_unstable();
        Lost {
            epoch: self.epoch,
            topics,
        }
    }

    fn renew(&mut self, now: u64) {
        self.expires = now + self.lease.ms();
    }
}

/// Another run is ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenced {
    pub current: u64,
}

/// Why a publish is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    Fenced(Fenced),
    /// The producer begins runs faster than old ones can be ended.
    TooManyRuns,
}

/// What an attach brought about.
#[derive(Debug, PartialEq, Eq)]
pub struct Takeover<H> {
    pub epoch: u64,
    /// Connections that held this run or an earlier one.
    pub displaced: Vec<H>,
    /// Topics in which earlier runs may have messages open.
    pub topics: Vec<TopicPath>,
    /// An earlier run was alive.
    pub replaced: bool,
}

/// A publish that wants to be admitted.
#[derive(Debug)]
pub struct Admission<'a, H> {
    pub epoch: u64,
    /// `None`: as before.
    pub lease: Option<Lease>,
    /// It comes from this connection and does not name its run itself.
    pub holder: Option<&'a H>,
    /// Where it may open a message; `None`: it is only a sign of life.
    pub topic: Option<&'a TopicPath>,
}

/// A run whose lease ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost {
    pub epoch: u64,
    pub topics: Vec<TopicPath>,
}

impl<H: Clone + PartialEq> Runs<H> {
    pub fn new(now: u64) -> Self {
        Self {
            latest: 0,
            claimed: 0,
            floor: 0,
            live: Vec::new(),
            given_way: Vec::new(),
            idle_since: now,
        }
    }

    /// The highest epoch that attached or that the logs know.
    pub fn latest(&self) -> u64 {
        self.latest
    }

    /// What logs remember of it.
    pub fn raise_latest(&mut self, epoch: u64) {
        self.latest = self.latest.max(epoch);
    }

    /// All that was admitted is in the logs, or was refused and counts for nothing.
    pub fn settled(&mut self) {
        self.claimed = 0;
    }

    fn highest(&self) -> u64 {
        self.latest.max(self.claimed)
    }

    /// `epoch`: `None` takes the next one. The same epoch takes over from whoever holds it, if there is a `holder`.
    pub fn attach(
        &mut self,
        epoch: Option<u64>,
        holder: Option<H>,
        lease: Lease,
        now: u64,
    ) -> Result<Takeover<H>, Fenced> {
        let current = self.highest();
        let fenced = Fenced { current };
        let epoch = match epoch {
            Some(epoch) if epoch < current => return Err(fenced),
            Some(epoch) => epoch,
            None if current < MAX_EPOCH => current + 1,
            None => return Err(fenced),
        };
        let mut displaced = Vec::new();
        let mut topics = Vec::new();
        let mut replaced = false;
        self.live.retain_mut(|run| {
            let is_other = |known: &mut H| holder.as_ref().is_none_or(|holder| known != holder);
            if run.epoch == epoch {
                if holder.is_some() {
                    displaced.extend(run.holder.take_if(is_other));
                }
                return true;
            }
            displaced.extend(run.holder.take_if(is_other));
            topics.extend(run.topics.drain().map(|(topic, _)| topic));
            // a higher one is what a refused publish left
            replaced |= run.epoch < epoch;
            false
        });
        topics.sort_unstable();
        topics.dedup();
        (self.latest, self.floor) = (epoch, epoch);
        let run = self.run_mut(epoch, lease, now);
        run.holder = holder.or(run.holder.take());
        run.lease = lease;
        run.renew(now);
        Ok(Takeover {
            epoch,
            displaced,
            topics,
            replaced,
        })
    }

    fn run_mut(&mut self, epoch: u64, lease: Lease, now: u64) -> &mut Run<H> {
        let at = self.live.iter().position(|run| run.epoch == epoch);
        let at = at.unwrap_or_else(|| {
            self.live.push(Run::new(epoch, lease, now));
            self.live.len() - 1
        });
        &mut self.live[at]
    }

    /// A publish: refused, or a sign of life. Answers whether the run's topics should be tidied.
    pub fn admit(&mut self, publish: Admission<'_, H>, now: u64) -> Result<bool, Turned> {
        let current = self.highest();
        if publish.epoch < self.floor {
            return Err(Turned::Fenced(Fenced { current }));
        }
        let live = self.live.iter_mut().find(|run| run.epoch == publish.epoch);
        if let Some(holder) = publish.holder
            && live.as_ref().and_then(|run| run.holder.as_ref()) != Some(holder)
        {
            return Err(Turned::Fenced(Fenced { current }));
        }
        if live.is_none()
            && publish.topic.is_some()
            && self.live.len() >= MAX_RUNS
            && !self.give_way()
        {
            return Err(Turned::TooManyRuns);
        }
        let live = self.live.iter_mut().find(|run| run.epoch == publish.epoch);
        self.claimed = self.claimed.max(publish.epoch);
        let run = match (live, publish.topic) {
            (Some(run), _) => run,
            (None, Some(_)) => self.run_mut(publish.epoch, Lease::PUBLISHING, now),
            (None, None) => return Ok(false),
        };
        run.lease = publish.lease.unwrap_or(run.lease);
        run.renew(now);
        let Some(topic) = publish.topic else {
            return Ok(false);
        };
        match run.topics.get_mut(topic) {
            Some(last) => *last = now,
            None => {
                run.topics.insert(topic.clone(), now);
            }
        }
        Ok(run.topics.len() > run.tidy_at)
    }

    /// The lease of a run that is alive.
    pub fn lease(&self, epoch: u64) -> Option<Lease> {
        let run = self.live.iter().find(|run| run.epoch == epoch);
        run.map(|run| run.lease)
    }

    /// The oldest run that nobody holds ends before its time.
    fn give_way(&mut self) -> bool {
        let open = self.live.iter().filter(|run| !run.is_held());
        let Some(oldest) = open.map(|run| run.epoch).min() else {
            return false;
        };
        let at = self.live.iter().position(|run| run.epoch == oldest);
        let Some(at) = at.filter(|_| self.given_way.len() < MAX_GIVEN_WAY) else {
            return false;
        };
        self.given_way.push(self.live.swap_remove(at).lost());
        true
    }

    /// Topics in which nothing was published for a while, with the epoch of the run. If nothing is open there
    /// they may be forgotten (`forget_topics`).
    pub fn quiet_topics(&mut self, now: u64) -> Vec<(u64, TopicPath)> {
        let mut quiet = Vec::new();
        for run in &mut self.live {
            let topics = run.topics.iter();
            let old = topics.filter(|(_, last)| **last + TIDY_AFTER_MS <= now);
            quiet.extend(old.map(|(topic, _)| (run.epoch, topic.clone())));
            run.tidy_at = (run.topics.len() * 2).max(MIN_TIDY);
        }
        quiet
    }

    /// Nothing of the run is open there; it stays where it published meanwhile.
    pub fn forget_topic(&mut self, epoch: u64, topic: &TopicPath, now: u64) {
        let run = self.live.iter_mut().find(|run| run.epoch == epoch);
        let Some(run) = run else { return };
        let is_quiet = |last: &u64| *last + TIDY_AFTER_MS <= now;
        if run.topics.get(topic).is_some_and(is_quiet) {
            run.topics.remove(topic);
        }
        run.tidy_at = (run.topics.len() * 2).max(MIN_TIDY);
    }

    /// The connection is gone: from now on the lease runs.
    pub fn release(&mut self, holder: &H, now: u64) {
        for run in &mut self.live {
            if run.holder.as_ref() == Some(holder) {
                run.holder = None;
                run.renew(now);
            }
        }
    }

    /// A publish stream of this run is open: the lease does not run. `lease`: `None`: as before.
    pub fn open_stream(
        &mut self,
        epoch: u64,
        lease: Option<Lease>,
        now: u64,
    ) -> Result<(), Fenced> {
        if epoch < self.floor {
            let current = self.highest();
            return Err(Fenced { current });
        }
        self.latest = self.latest.max(epoch);
        let run = self.run_mut(epoch, Lease::PUBLISHING, now);
        run.streams += 1;
        run.lease = lease.unwrap_or(run.lease);
        Ok(())
    }

    pub fn close_stream(&mut self, epoch: u64, now: u64) {
        if let Some(run) = self.live.iter_mut().find(|run| run.epoch == epoch) {
            run.streams = run.streams.saturating_sub(1);
            run.renew(now);
        }
    }

    /// When the next run ends, as things stand.
    pub fn next_expiry(&self) -> Option<u64> {
        if !self.given_way.is_empty() {
            return Some(0);
        }
        let open = self.live.iter().filter(|run| !run.is_held());
        open.map(|run| run.expires).min()
    }

    /// The runs whose lease has ended.
    pub fn expire(&mut self, now: u64) -> Vec<Lost> {
        let mut lost = std::mem::take(&mut self.given_way);
        self.live.retain_mut(|run| {
            let stays = run.is_held() || run.expires > now;
            if !stays {
                lost.push(run.lost());
            }
            stays
        });
        if !lost.is_empty() {
            self.idle_since = now;
        }
        lost
    }

    /// Whether this run holds a lease.
    pub fn is_live(&self, epoch: u64) -> bool {
        self.live.iter().any(|run| run.epoch == epoch)
    }

    /// Nothing is live, since when.
    pub fn idle_since(&self) -> Option<u64> {
        let none = self.live.is_empty() && self.given_way.is_empty();
        none.then_some(self.idle_since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicPath {
        TopicPath::parse(name).expect("a topic")
    }

    fn publish<'a>(epoch: u64, topic: &'a TopicPath) -> Admission<'a, u8> {
        Admission {
            epoch,
            lease: None,
            holder: None,
            topic: Some(topic),
        }
    }

    fn of<'a>(holder: &'a u8, epoch: u64, topic: &'a TopicPath) -> Admission<'a, u8> {
        Admission {
            holder: Some(holder),
            ..publish(epoch, topic)
        }
    }

    #[test]
    fn each_attach_without_an_epoch_replaces_the_one_before() {
        let a = topic("/a");
        let mut runs = Runs::new(0);
        let first = runs
            .attach(None, Some(1), Lease::ATTACHED, 0)
            .expect("free");
        assert_eq!((first.epoch, first.replaced), (1, false));
        runs.admit(of(&1, 1, &a), 5).expect("it holds the run");
        let second = runs
            .attach(None, Some(2), Lease::ATTACHED, 10)
            .expect("next");
        assert_eq!(
            second,
            Takeover {
                epoch: 2,
                displaced: vec![1],
                topics: vec![a.clone()],
                replaced: true
            }
        );
        assert_eq!(
            runs.admit(publish(1, &a), 11),
            Err(Turned::Fenced(Fenced { current: 2 })),
            "wherever it publishes"
        );
        let lower = runs.attach(Some(1), Some(3), Lease::ATTACHED, 12);
        assert_eq!(lower, Err(Fenced { current: 2 }));
    }

    #[test]
    fn the_same_run_on_a_new_connection_takes_over_and_keeps_its_messages() {
        let a = topic("/a");
        let mut runs = Runs::new(0);
        runs.attach(Some(7), Some(1), Lease::ATTACHED, 0)
            .expect("free");
        runs.admit(of(&1, 7, &a), 1).expect("it holds the run");
        let again = runs
            .attach(Some(7), Some(2), Lease::ATTACHED, 2)
            .expect("same");
        assert_eq!((again.displaced, again.topics), (vec![1], vec![]));
        assert_eq!(
            runs.admit(of(&1, 7, &a), 3),
            Err(Turned::Fenced(Fenced { current: 7 }))
        );
        assert_eq!(runs.admit(of(&2, 7, &a), 3), Ok(false));
        // the old connection's end changes nothing
        runs.release(&1, 4);
        assert_eq!((runs.next_expiry(), runs.expire(u64::MAX)), (None, vec![]));
        runs.release(&2, 5);
        assert_eq!(runs.next_expiry(), Some(5 + Lease::ATTACHED.ms()));
        let lost = runs.expire(5 + Lease::ATTACHED.ms());
        assert_eq!(
            lost,
            [Lost {
                epoch: 7,
                topics: vec![a]
            }]
        );
        assert!(runs.idle_since().is_some());
    }

    #[test]
    fn any_publish_renews_and_the_run_keeps_its_length() {
        let a = topic("/a");
        let short = Lease::from_ms(1_000).expect("allowed");
        let mut runs = Runs::new(0);
        let first = Admission {
            lease: Some(short),
            ..publish(1, &a)
        };
        runs.admit(first, 0).expect("free");
        assert_eq!(runs.next_expiry(), Some(1_000));
        let heartbeat = Admission {
            topic: None,
            ..publish(1, &a)
        };
        runs.admit(heartbeat, 900).expect("current");
        assert_eq!(runs.next_expiry(), Some(1_900));
        assert_eq!(runs.expire(1_899), []);
        assert_eq!(runs.expire(1_900).len(), 1);
    }

    #[test]
    fn a_newer_run_that_only_publishes_leaves_the_older_one_its_lease() {
        let (a, b) = (topic("/a"), topic("/b"));
        let mut runs = Runs::new(0);
        runs.admit(publish(1, &a), 0).expect("free");
        runs.admit(publish(2, &b), 50_000).expect("newer");
        runs.admit(publish(1, &a), 60_000)
            .expect("fencing is per topic until somebody attaches");
        assert_eq!(runs.expire(170_000).len(), 1, "the newer one was silent");
        assert!(runs.is_live(1) && !runs.is_live(2));
    }

    #[test]
    fn an_epoch_that_was_only_claimed_is_not_given() {
        let a = topic("/a");
        let mut runs: Runs<u8> = Runs::new(0);
        runs.admit(publish(u64::MAX, &a), 0).expect("free");
        let early = runs.attach(None, Some(1), Lease::ATTACHED, 1);
        assert_eq!(early, Err(Fenced { current: u64::MAX }), "it may be kept");
        runs.settled();
        runs.raise_latest(4);
        let taken = runs.attach(None, Some(1), Lease::ATTACHED, 1);
        let taken = taken.expect("the publish was refused");
        assert_eq!((taken.epoch, taken.replaced), (5, false));
    }

    #[test]
    fn an_open_stream_keeps_the_lease() {
        let mut runs: Runs<u8> = Runs::new(0);
        runs.open_stream(1, None, 0).expect("free");
        assert_eq!((runs.next_expiry(), runs.expire(u64::MAX)), (None, vec![]));
        runs.close_stream(1, 10);
        assert_eq!(runs.next_expiry(), Some(10 + Lease::PUBLISHING.ms()));
    }

    #[test]
    fn a_producer_has_a_bounded_number_of_runs() {
        let a = topic("/a");
        let mut runs: Runs<u8> = Runs::new(0);
        for epoch in 0..MAX_RUNS as u64 {
            runs.admit(publish(epoch, &a), 0).expect("there is room");
        }
        runs.admit(publish(100, &a), 0).expect("the oldest goes");
        assert_eq!((runs.live.len(), runs.is_live(0)), (MAX_RUNS, false));
        assert_eq!(runs.next_expiry(), Some(0));
        let gone = Lost {
            epoch: 0,
            topics: vec![a.clone()],
        };
        assert_eq!(runs.expire(0), [gone]);
        for epoch in 0..MAX_GIVEN_WAY as u64 {
            runs.admit(publish(101 + epoch, &a), 0).expect("so far");
        }
        let more = runs.admit(publish(u64::MAX, &a), 0);
        assert_eq!(more, Err(Turned::TooManyRuns));
    }

    #[test]
    fn a_stream_of_an_attached_run_leaves_its_lease_as_it_is() {
        let short = Lease::from_ms(1_000).expect("allowed");
        let mut runs = Runs::new(0);
        runs.attach(Some(1), Some(1), short, 0).expect("free");
        runs.open_stream(1, None, 0).expect("the same run");
        runs.close_stream(1, 5);
        runs.release(&1, 10);
        assert_eq!(runs.next_expiry(), Some(1_010));
    }

    #[test]
    fn quiet_topics_are_forgotten_unless_something_came_meanwhile() {
        let mut runs: Runs<u8> = Runs::new(0);
        let topics: Vec<_> = (0..65).map(|n| topic(&format!("/a/{n}"))).collect();
        let tidy: Vec<bool> = topics
            .iter()
            .map(|topic| runs.admit(publish(1, topic), 0).expect("current"))
            .collect();
        assert_eq!(tidy.iter().filter(|tidy| **tidy).count(), 1);
        runs.admit(publish(1, &topics[0]), TIDY_AFTER_MS)
            .expect("current");
        assert_eq!(runs.quiet_topics(TIDY_AFTER_MS).len(), 64);
        for topic in &topics {
            runs.forget_topic(1, topic, TIDY_AFTER_MS);
        }
        assert_eq!(runs.expire(u64::MAX)[0].topics, [topics[0].clone()]);
    }

    #[test]
    fn a_lease_lasts_a_second_to_ten_minutes() {
        for bad in [0, 999, 600_001, 86_400_000, u64::MAX] {
            assert_eq!(Lease::from_ms(bad), None);
        }
        assert_eq!(Lease::from_ms(600_000).map(Lease::ms), Some(600_000));
    }
}
