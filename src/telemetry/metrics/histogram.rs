//! Histograms of durations, from 10 µs, a small command, to a minute.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in nanoseconds. One more has no bound.
const BOUNDS: [u64; 21] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Number of buckets.
pub(super) const BUCKETS: usize = BOUNDS.len() + 1;

/// Returns the bucket of a duration. Most commands fall into the first few.
pub(super) fn bucket(nanos: u64) -> usize {
    BOUNDS.iter().position(|bound| nanos <= *bound).unwrap_or(BOUNDS.len())
}

/// Returns a duration in nanoseconds.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A histogram that several threads write.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
}

impl Histogram {
    pub(super) const fn new() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum_nanos: AtomicU64::new(0) }
    }

    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        let nanos = nanos(duration);
        self.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns the counts.
    pub fn read(&self) -> Distribution {
        let buckets = self.buckets.each_ref().map(|count| count.load(Ordering::Relaxed));
        Distribution { buckets, sum_nanos: self.sum_nanos.load(Ordering::Relaxed) }
    }
}

/// The counts of a histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    pub(super) buckets: [u64; BUCKETS],
    pub(super) sum_nanos: u64,
}

impl Distribution {
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(super) fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.sum_nanos).as_secs_f64()
    }

    /// The buckets with their upper bounds in seconds, none of which counts what is in another.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|nanos| Duration::from_nanos(*nanos).as_secs_f64());
        bounds.chain([f64::INFINITY]).zip(self.buckets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_holds_it() {
        assert!(BOUNDS.is_sorted());
        for (nanos, found) in [(0, 0), (10_000, 0), (10_001, 1), (60_000_000_000, 20), (60_000_000_001, 21)] {
            assert_eq!(bucket(nanos), found, "{nanos}");
        }
        let mut some = Distribution { sum_nanos: 20_000 + 3_600_000_000_000, ..Distribution::default() };
        (some.buckets[1], some.buckets[21]) = (1, 1);
        assert_eq!((some.count(), some.sum_seconds()), (2, 3600.00002));
        assert_eq!((some.buckets()[1], some.buckets()[21]), ((0.000_025, 1), (f64::INFINITY, 1)));
    }
}
