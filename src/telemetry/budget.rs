//! Budgets of events per second, and counts of the events beyond them.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Start of the first second.
pub(super) static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Number of seconds from `start` to `at`.
pub(super) fn second(start: Instant, at: Instant) -> u32 {
    u32::try_from(at.saturating_duration_since(start).as_secs()).unwrap_or(u32::MAX)
}

/// Number of events in the current second, and of those only counted since the last report.
#[derive(Debug, Default)]
pub struct Budget {
    /// The second in the upper half, its number of events in the lower.
    window: AtomicU64,
    unlogged: AtomicU64,
}

/// Marks a second whose budget is used up, in place of its number of events.
pub(super) const CLOSED: u32 = u32::MAX;

impl Budget {
    /// Counts one event at this time; returns true if it is among the first `max` of its second.
    pub fn admits_at(&self, at: Instant, max: u32) -> bool {
        self.admits(second(*START, at), max)
    }

    /// Counts one event that is left out for another reason.
    pub fn leave_out(&self) {
        self.count_unlogged();
    }

    /// Returns the number of events that were left out since the last call.
    pub fn take_left_out(&self) -> u64 {
        self.take_unlogged()
    }

    /// Counts one event in `second`; returns true if it is among the first `max`.
    pub(super) fn admits(&self, second: u32, max: u32) -> bool {
        let seen = self.seen(second);
        if seen < max {
            self.set(second, seen + 1);
        } else {
            self.count_unlogged();
        }
        seen < max
    }

    /// Events in `second`, or in a later one that has begun: an event that began early and ended late must
    /// not reopen an old second.
    pub(super) fn seen(&self, second: u32) -> u32 {
        let (latest, seen) = split(self.window.load(Ordering::Relaxed));
        if latest >= second { seen } else { 0 }
    }

    /// Concurrent threads may count too few, so that a few events too many are written, which is harmless.
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
        // Read first: the count is mostly zero, and then no cache line is taken from other cores.
        if self.unlogged.load(Ordering::Relaxed) == 0 { 0 } else { self.unlogged.swap(0, Ordering::Relaxed) }
    }

    /// Returns true if there was an event in `second` or later.
    pub(super) fn was_used(&self, second: u32) -> bool {
        let (latest, seen) = split(self.window.load(Ordering::Relaxed));
        latest >= second && seen > 0
    }
}

fn split(window: u64) -> (u32, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "its halves")]
    ((window >> 32) as u32, window as u32)
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

    /// Commands that began in different seconds end at the same time.
    #[test]
    fn what_began_in_an_earlier_second_does_not_open_the_present_one_again() {
        let budget = Budget::default();
        let admitted = (0..100).filter(|number| budget.admits(9 - number % 2, 3)).count();
        assert_eq!((admitted, budget.take_unlogged()), (3, 97));
    }
}
