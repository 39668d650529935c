//! What an authorizer said, kept for a while, and the questions that are under way. Plain: the caller brings the time.
//!
//! Bounds: `MAX_KEPT` answers, over which the oldest goes; `MAX_ASKED` questions under way, over which nobody is asked.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Answer, Key};
use crate::auth::error::AuthError;

const MAX_KEPT: usize = 10_000;
const MAX_ASKED: usize = 1_024;
/// The longest that a no is kept: who was let in meanwhile need not wait.
const LONGEST_NO: Duration = Duration::from_secs(10);

/// What became of a question. `None`: it cannot be said at the moment.
pub type Outcome = Option<Answer>;
/// Told the outcome; `None` before that.
pub type Asked = watch::Receiver<Option<Outcome>>;

/// See the module.
#[derive(Default)]
pub struct Answers {
    kept: HashMap<Key, Kept>,
    /// In the order in which they came; an entry whose number is no longer that of its key says nothing.
    order: VecDeque<(Key, u64)>,
    next: u64,
    asked: HashMap<Key, Asked>,
}

struct Kept {
    answer: Answer,
    until: Instant,
    number: u64,
}

/// What somebody who wants to know does.
pub enum Found {
    Answer(Answer),
    /// Somebody else asked the same.
    Wait(Asked),
    /// Nobody did: ask, and say what came of it.
    Ask(watch::Sender<Option<Outcome>>),
}

impl Answers {
    pub fn find(&mut self, key: &Key, now: Instant) -> Result<Found, AuthError> {
        let kept = self.kept.get(key).filter(|kept| now < kept.until);
        if let Some(kept) = kept {
            return Ok(Found::Answer(kept.answer.clone()));
        }
        // one whose asker is gone is asked anew
        let asked = self.asked.get(key);
        let asked = asked.filter(|asked| asked.has_changed().is_ok());
        if let Some(asked) = asked {
            return Ok(Found::Wait(asked.clone()));
        }
        if self.asked.len() >= MAX_ASKED {
            return Err(AuthError::Unavailable);
        }
        let (sender, receiver) = watch::channel(None);
        self.asked.insert(key.clone(), receiver);
        Ok(Found::Ask(sender))
    }

    /// A question is no longer under way. `ttl`: how long its answer is good.
    pub fn ended(&mut self, key: &Key, outcome: &Outcome, ttl: Duration, now: Instant) {
        self.asked.remove(key);
        let Some(answer) = outcome else { return };
        let ttl = match answer.authorized {
            true => ttl,
            false => ttl.min(LONGEST_NO),
        };
        if ttl.is_zero() {
            return;
        }
        let kept = Kept {
            answer: answer.clone(),
            until: now + ttl,
            number: self.next,
        };
        self.kept.insert(key.clone(), kept);
        self.order.push_back((key.clone(), self.next));
        self.next += 1;
        if self.order.len() > MAX_KEPT
            && let Some((oldest, number)) = self.order.pop_front()
            && self.kept.get(&oldest).map(|kept| kept.number) == Some(number)
        {
            self.kept.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::authorizer::Operation;

    fn key(number: usize) -> Key {
        Key {
            token: [0; 32],
            operation: Operation::Publish,
            channel: Some(format!("/a/{number}").into()),
        }
    }

    fn answer(authorized: bool) -> Outcome {
        Some(Answer {
            authorized,
            subject: None,
        })
    }

    fn is_kept(answers: &mut Answers, number: usize, now: Instant) -> bool {
        let key = key(number);
        let kept = matches!(answers.find(&key, now), Ok(Found::Answer(_)));
        answers.asked.clear();
        kept
    }

    #[test]
    fn a_yes_is_kept_for_its_time_and_a_no_for_ten_seconds() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        let ttl = Duration::from_secs(300);
        answers.ended(&key(1), &answer(true), ttl, now);
        answers.ended(&key(2), &answer(false), ttl, now);
        answers.ended(&key(3), &None, ttl, now);
        answers.ended(&key(4), &answer(true), Duration::ZERO, now);
        let kept = |answers: &mut Answers, seconds| {
            let now = now + Duration::from_secs(seconds);
            [1, 2, 3, 4].map(|number| is_kept(answers, number, now))
        };
        assert_eq!(kept(&mut answers, 9), [true, true, false, false]);
        assert_eq!(kept(&mut answers, 10), [true, false, false, false]);
        assert_eq!(kept(&mut answers, 300), [false; 4]);
    }

    #[test]
    fn the_oldest_goes_and_what_was_asked_again_is_not_old() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        let ttl = Duration::from_secs(300);
        for number in 0..MAX_KEPT {
            answers.ended(&key(number), &answer(true), ttl, now);
        }
        answers.ended(&key(0), &answer(true), ttl, now);
        answers.ended(&key(MAX_KEPT), &answer(true), ttl, now);
        assert!(is_kept(&mut answers, 0, now));
        assert!(!is_kept(&mut answers, 1, now));
        assert!(is_kept(&mut answers, 2, now));
        assert!(answers.kept.len() <= MAX_KEPT && answers.order.len() <= MAX_KEPT);
    }

    #[test]
    fn equal_questions_wait_for_one_and_there_are_so_many() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        let first = answers.find(&key(0), now);
        let Ok(Found::Ask(sender)) = first else {
            panic!("nobody asked");
        };
        assert!(matches!(answers.find(&key(0), now), Ok(Found::Wait(_))));
        drop(sender);
        let again = answers.find(&key(0), now);
        assert!(matches!(again, Ok(Found::Ask(_))), "its asker is gone");
        let others: Vec<_> = (1..MAX_ASKED).map(|n| answers.find(&key(n), now)).collect();
        assert!(others.iter().all(|one| matches!(one, Ok(Found::Ask(_)))));
        let more = answers.find(&key(MAX_ASKED), now);
        assert!(matches!(more, Err(AuthError::Unavailable)));
    }
}
