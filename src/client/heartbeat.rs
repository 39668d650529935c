//! Notices a dead connection: silence is answered by a ping, and 2.5 × `ping_ms` of it by giving up.
//!
//! The broker pings after `ping_ms` of its own; this side waits a quarter longer, so that normally
//! only one of the two speaks.

use std::time::{Duration, Instant};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing to do before `next`.
    Nothing,
    /// Send a ping.
    Ping,
    /// The other side is gone.
    Dead,
}

/// When the other side was heard last, and what is due.
#[derive(Debug)]
pub struct Heartbeat {
    ping: Duration,
    heard: Instant,
    pinged: bool,
}

impl Heartbeat {
    /// `ping` is the broker's `ping_ms`.
    pub fn new(ping: Duration, now: Instant) -> Self {
        Self {
            ping: ping.max(Duration::from_millis(20)),
            heard: now,
            pinged: false,
        }
    }

    /// Any byte from the other side.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = false;
    }

    /// What to do now.
    pub fn due(&mut self, now: Instant) -> Beat {
        let silence = now.saturating_duration_since(self.heard);
        if silence >= self.dead_after() {
            Beat::Dead
        } else if silence >= self.ping_after() && !self.pinged {
            self.pinged = true;
            Beat::Ping
        } else {
            Beat::Nothing
        }
    }

    /// When to ask `due` again.
    pub fn next(&self) -> Instant {
        let after = if self.pinged {
            self.dead_after()
        } else {
            self.ping_after()
        };
        self.heard + after
    }

    fn ping_after(&self) -> Duration {
        self.ping * 5 / 4
    }

    fn dead_after(&self) -> Duration {
        self.ping * 5 / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_pinged_once_and_then_dead() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut heartbeat = Heartbeat::new(Duration::from_millis(1000), start);
        assert_eq!(heartbeat.due(at(1249)), Beat::Nothing);
        assert_eq!(heartbeat.next(), at(1250));
        assert_eq!(heartbeat.due(at(1250)), Beat::Ping);
        assert_eq!(heartbeat.due(at(1300)), Beat::Nothing);
        assert_eq!(heartbeat.next(), at(2500));
        assert_eq!(heartbeat.due(at(2500)), Beat::Dead);
    }

    #[test]
    fn any_byte_starts_it_anew() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut heartbeat = Heartbeat::new(Duration::from_millis(1000), start);
        assert_eq!(heartbeat.due(at(1250)), Beat::Ping);
        heartbeat.heard(at(2000));
        assert_eq!(heartbeat.due(at(2600)), Beat::Nothing);
        assert_eq!(heartbeat.due(at(3250)), Beat::Ping);
    }
}
