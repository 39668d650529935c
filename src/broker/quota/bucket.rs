//! A bucket that fills with what is taken and drains with time: whole numbers, no timer, no rounding.
//!
//! Invariant: what was let through in any span of time is at most the burst (or the last batch, if that is
//! larger) and what the rate allows in that span. What is in the bucket does not depend on the rate, so a
//! rate may change under it.

/// What a bucket lets through: `amount` in `per_ms`, and `burst` at once. Amount zero: everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    amount: u64,
    per_ms: u64,
    burst: u64,
}

impl Bound {
    /// Burst zero: what one second allows.
    pub fn per_second(amount: u64, burst: u64) -> Self {
        Self {
            amount,
            per_ms: 1_000,
            burst: if burst == 0 { amount } else { burst },
        }
    }

    /// What one minute allows may come at once.
    pub fn per_minute(amount: u64) -> Self {
        Self {
            amount,
            per_ms: 60_000,
            burst: amount,
        }
    }

    /// What `n` add to a level. An absurd bound saturates: it lets everything through.
    fn cost(self, n: u64) -> u64 {
        n.saturating_mul(self.per_ms)
    }

    /// What drains in that time.
    fn drained(self, ms: u64) -> u64 {
        self.amount.saturating_mul(ms)
    }
}

/// What was taken and has not drained yet, times the bound's `per_ms`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    level: u64,
    /// When the level was that, in the caller's milliseconds.
    at: u64,
}

impl Bucket {
    fn level(&self, bound: Bound, now: u64) -> u64 {
        let elapsed = now.saturating_sub(self.at);
        self.level.saturating_sub(bound.drained(elapsed))
    }

    /// How many milliseconds it takes until `n` may be taken; `None`: they may be now. A batch larger than the
    /// burst may when the bucket is empty.
    pub fn wait(&self, bound: Bound, n: u64, now: u64) -> Option<u64> {
        if bound.amount == 0 || n == 0 {
            return None;
        }
        let after = self.level(bound, now).saturating_add(bound.cost(n));
        let over = after.saturating_sub(bound.cost(bound.burst.max(n)));
        (over > 0).then(|| over.div_ceil(bound.amount))
    }

    /// Takes `n`, whether they may be taken or not: `wait` was asked before.
    pub fn take(&mut self, bound: Bound, n: u64, now: u64) {
        if bound.amount == 0 || n == 0 {
            return;
        }
        self.level = self.level(bound, now).saturating_add(bound.cost(n));
        self.at = self.at.max(now);
    }

    /// Gives back what was taken at `taken_at` and not used: what can have drained of it since is gone, so that
    /// nobody gets more than if it had never been taken.
    pub fn give_back(&mut self, bound: Bound, n: u64, taken_at: u64, now: u64) {
        if bound.amount == 0 {
            return;
        }
        self.level = self.level(bound, now);
        self.at = self.at.max(now);
        let gone = bound.drained(self.at.saturating_sub(taken_at));
        let left = bound.cost(n).saturating_sub(gone);
        self.level = self.level.saturating_sub(left);
    }

    /// Whether one that was never used would let through as much.
    pub fn is_empty(&self, bound: Bound, now: u64) -> bool {
        bound.amount == 0 || self.level(bound, now) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(bucket: &mut Bucket, bound: Bound, n: u64, now: u64) -> Result<(), u64> {
        match bucket.wait(bound, n, now) {
            Some(wait) => Err(wait),
            None => {
                bucket.take(bound, n, now);
                Ok(())
            }
        }
    }

    #[test]
    fn quota_bucket_refuses_beyond_its_burst_and_says_when() {
        let bound = Bound::per_second(10, 5);
        let mut bucket = Bucket::default();
        assert_eq!(take(&mut bucket, bound, 5, 1000), Ok(()));
        assert_eq!(take(&mut bucket, bound, 1, 1000), Err(100));
        assert_eq!(take(&mut bucket, bound, 1, 1099), Err(1));
        assert_eq!(take(&mut bucket, bound, 1, 1100), Ok(()));
        // a clock that another thread read earlier gives nothing
        assert_eq!(take(&mut bucket, bound, 1, 1000), Err(100));
    }

    #[test]
    fn quota_bucket_without_a_burst_has_one_period() {
        let mut bucket = Bucket::default();
        assert_eq!(
            take(&mut bucket, Bound::per_second(3, 0), 3, 0),
            Ok(()),
            "a second's worth"
        );
        assert_eq!(take(&mut bucket, Bound::per_second(3, 0), 1, 0), Err(334));
        let mut bucket = Bucket::default();
        assert_eq!(take(&mut bucket, Bound::per_minute(2), 2, 0), Ok(()));
        assert_eq!(take(&mut bucket, Bound::per_minute(2), 1, 0), Err(30_000));
    }

    #[test]
    fn quota_bucket_lets_an_oversized_batch_through_when_it_is_empty() {
        let bound = Bound::per_second(10, 5);
        let mut bucket = Bucket::default();
        assert_eq!(take(&mut bucket, bound, 20, 0), Ok(()));
        assert_eq!(take(&mut bucket, bound, 1, 0), Err(1600));
        assert_eq!(take(&mut bucket, bound, 20, 1999), Err(1));
        assert!(bucket.is_empty(bound, 2000));
        assert_eq!(take(&mut bucket, bound, 20, 2000), Ok(()));
    }

    #[test]
    fn quota_bucket_without_a_rate_or_with_an_absurd_one_lets_everything_through() {
        for bound in [
            Bound::per_second(0, 0),
            Bound::per_second(u64::MAX, u64::MAX),
        ] {
            let mut bucket = Bucket::default();
            for _ in 0..3 {
                assert_eq!(take(&mut bucket, bound, u64::MAX / 2, u64::MAX), Ok(()));
            }
        }
    }

    #[test]
    fn quota_bucket_gets_back_only_what_has_not_drained() {
        let bound = Bound::per_minute(60);
        let mut bucket = Bucket::default();
        bucket.take(bound, 1, 0);
        bucket.give_back(bound, 1, 0, 0);
        assert!(bucket.is_empty(bound, 0));
        bucket.take(bound, 1, 0);
        // by then it has drained, and this one is another's
        bucket.take(bound, 1, 1000);
        bucket.give_back(bound, 1, 0, 1000);
        assert_eq!(bucket.level(bound, 1000), bound.cost(1));
    }
}
