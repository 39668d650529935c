//! One time for a whole run: microseconds since it began, and an alarm that rings at a moment.
//!
//! All moments of a run are read from one monotonic clock, so a moment that was written into an event by the
//! publishing side can be compared with the one at which a reader saw it.

use std::io;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since the run began.
    pub fn now_us(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub fn at(self, us: u64) -> Instant {
        self.0 + Duration::from_micros(us)
    }
}

/// Rings at a moment, to about 50 µs. The runtime's own timer counts whole milliseconds, which is more than a
/// delivery takes at light load.
#[cfg(target_os = "linux")]
pub struct Alarm(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Alarm {
    pub fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; the timer is ours alone, and closed with this"
        )]
        let timer = tokio::io::unix::AsyncFd::new(timer)?;
        Ok(Self(timer))
    }

    /// Returns at `when`. It may be dropped and asked anew.
    pub async fn ring(&mut self, when: Instant) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let wait = when.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            // whoever is always late must not keep the others from their turn
            tokio::task::yield_now().await;
            return Ok(());
        }
        let value = Timespec::try_from(wait).map_err(io::Error::other)?;
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: value,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        let mut rang = [0u8; 8];
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut rang)?));
            if let Ok(read) = read {
                return read.map(drop);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Returns at `when`. It may be dropped and asked anew.
    pub async fn ring(&mut self, when: Instant) -> io::Result<()> {
        tokio::time::sleep_until(when.into()).await;
        Ok(())
    }
}
