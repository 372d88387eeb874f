//! Wakes each connection of an open loop when one of its requests is due.
//!
//! The runtime's own timers tick in milliseconds, longer than most replies take: requests would be late, and
//! the server would seem slow. On Linux a kernel timer is used instead.

use std::sync::Arc;
use std::time::Duration;

use super::course::Course;
use super::schedule::Schedule;
use super::{LoadError, Plan};

/// Wakes connections until the measured time ends.
pub(super) async fn pace(course: Arc<Course>, schedule: Schedule, plan: Plan) -> Result<(), LoadError> {
    let timer = Timer::new().map_err(LoadError::Timer)?;
    let end = course.tally().window.end;
    let mut next = 0;
    loop {
        let now = course.now();
        if now >= end {
            return Ok(());
        }
        let first_later = schedule.first_from(now + 1);
        // After a delay, several requests of one connection may be due; one wake-up serves them all.
        let due = (next..first_later).take(plan.connections);
        course.wake(due.map(|number| schedule.connection(number)));
        next = first_later;
        let wait = schedule.due(next).min(end).saturating_sub(course.now());
        timer.sleep(Duration::from_nanos(wait)).await.map_err(LoadError::Timer)?;
    }
}

#[cfg(target_os = "linux")]
use precise::Timer;
#[cfg(not(target_os = "linux"))]
use rough::Timer;

#[cfg(target_os = "linux")]
mod precise {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// A timer accurate to a few microseconds.
    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe, for the sake of types whose descriptor may become another's; this one's can't"
        )]
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            AsyncFd::with_interest(timer, Interest::READABLE).map(Self)
        }

        pub(super) async fn sleep(&self, time: Duration) -> io::Result<()> {
            if time.is_zero() {
                tokio::task::yield_now().await;
                return Ok(());
            }
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let it_value =
                Timespec::try_from(time).map_err(|_| io::Error::other("a time that is too long"))?;
            // Setting a timer clears its expiration, so its count need not be read.
            timerfd_settime(
                &self.0,
                TimerfdTimerFlags::empty(),
                &Itimerspec { it_interval: zero, it_value },
            )?;
            self.0.readable().await?.clear_ready();
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod rough {
    use std::io;
    use std::time::Duration;

    /// A timer that is up to a millisecond late.
    pub(super) struct Timer;

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) async fn sleep(&self, time: Duration) -> io::Result<()> {
            tokio::time::sleep(time).await;
            Ok(())
        }
    }
}
