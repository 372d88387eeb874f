//! How many events are written in each second, how those beyond are counted, and the thread that tells the counts.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{commands, events};

/// What seconds are counted from.
pub(super) static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The number of the second that `at` lies in, after `start`.
pub(super) fn second(start: Instant, at: Instant) -> u32 {
    u32::try_from(at.saturating_duration_since(start).as_secs()).unwrap_or(u32::MAX)
}

/// The number of events in the current second, and of those that were only counted since they were told last.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// The second in the upper half, its events in the lower.
    window: AtomicU64,
    unlogged: AtomicU64,
}

/// As many events as there are in a second of which no more are written.
pub(super) const CLOSED: u32 = u32::MAX;

impl Budget {
    /// Counts one event in `second`, and says whether it is among the first `max` of it.
    pub(super) fn admits(&self, second: u32, max: u32) -> bool {
        let seen = self.seen(second);
        if seen < max {
            self.set(second, seen + 1);
        } else {
            self.count_unlogged();
        }
        seen < max
    }

    /// Events in `second`, or in a later one if that has begun: what began early and ended late has no second anew.
    pub(super) fn seen(&self, second: u32) -> u32 {
        let (latest, seen) = split(self.window.load(Ordering::Relaxed));
        if latest >= second { seen } else { 0 }
    }

    /// Threads that meet here may count too few, so that some events too many are written, which does no harm.
    pub(super) fn set(&self, second: u32, seen: u32) {
        let (latest, _) = split(self.window.load(Ordering::Relaxed));
        self.window.store(u64::from(latest.max(second)) << 32 | u64::from(seen), Ordering::Relaxed);
    }

    pub(super) fn count(&self, second: u32) {
        self.set(second, self.seen(second).saturating_add(1));
    }

    pub(super) fn count_unlogged(&self) {
        self.unlogged.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn take_unlogged(&self) -> u64 {
        // A read first: most of the time there is nothing, and then no cache line is taken from the others.
        if self.unlogged.load(Ordering::Relaxed) == 0 { 0 } else { self.unlogged.swap(0, Ordering::Relaxed) }
    }

    /// Whether there was an event in `second` or later.
    pub(super) fn was_used(&self, second: u32) -> bool {
        let (latest, seen) = split(self.window.load(Ordering::Relaxed));
        latest >= second && seen > 0
    }
}

fn split(window: u64) -> (u32, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "its halves")]
    ((window >> 32) as u32, window as u32)
}

/// A thread that tells once a second what was only counted. It belongs to no runtime: it goes on whatever holds those up.
#[derive(Debug)]
pub(super) struct Reporter {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Reporter {
    pub(super) fn start() -> Self {
        let (stop, stopped) = mpsc::channel();
        let report = move || {
            loop {
                let waited = stopped.recv_timeout(Duration::from_secs(1));
                let is_over = waited != Err(RecvTimeoutError::Timeout);
                let second = second(*START, Instant::now());
                events::report(if is_over { events::END } else { second });
                commands::report(second);
                if is_over {
                    return;
                }
            }
        };
        // Without it the log is as before, only that nothing tells what was counted.
        let thread = thread::Builder::new().name("lictor-log".to_owned()).spawn(report).ok();
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.stop.take();
        // A panic there has been told by its hook.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_number_and_the_next_begins_anew() {
        let budget = Budget::default();
        let admitted = (0..10).filter(|_| budget.admits(1, 3)).count();
        assert_eq!((admitted, budget.take_unlogged()), (3, 7));
        assert!(budget.admits(2, 3) && budget.was_used(2) && !budget.was_used(3));
        assert_eq!(budget.take_unlogged(), 0);
    }

    /// Commands that began in different seconds end side by side.
    #[test]
    fn what_began_in_an_earlier_second_does_not_open_the_present_one_again() {
        let budget = Budget::default();
        let admitted = (0..100).filter(|number| budget.admits(9 - number % 2, 3)).count();
        assert_eq!((admitted, budget.take_unlogged()), (3, 97));
    }
}
