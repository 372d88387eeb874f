//! Counters of a running load: one set for all connections, so that frequently written memory stays in cache.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::LoadError;

/// The length of one interval of [`Tally::per_interval`].
pub(super) const INTERVAL: Duration = Duration::from_millis(100);

/// The longest latency recorded exactly, in nanoseconds: an hour. Longer ones count as this.
const MAX_LATENCY_NANOS: u64 = 3_600_000_000_000;

/// The measured part of a load, in nanoseconds since the start; the end is exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) begin: u64,
    pub(super) end: u64,
}

/// Counters. A request is measured if it began in the window, whenever its reply comes; a reply, if it came
/// in the window.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) window: Window,
    /// Replies since the start, measured or not.
    pub(super) all_replies: u64,
    /// Replies in the measured time.
    pub(super) replies: u64,
    /// The failures among them.
    pub(super) failures: BTreeMap<String, u64>,
    /// Requests that were sent and began in the measured time.
    pub(super) begun: u64,
    /// The latencies of the answered ones, in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// Replies by arrival time.
    pub(super) per_interval: Vec<u64>,
}

impl Window {
    /// The window of a load measured for `time` after `warm_up`.
    pub(super) fn new(warm_up: Duration, time: Duration) -> Self {
        let begin = nanos(warm_up);
        Self { begin, end: begin.saturating_add(nanos(time)) }
    }

    /// Returns true if `time` is in the window.
    pub(super) fn contains(self, time: u64) -> bool {
        self.begin <= time && time < self.end
    }

    /// The length of the window.
    pub(super) fn length(self) -> Duration {
        Duration::from_nanos(self.end.saturating_sub(self.begin))
    }
}

impl Tally {
    /// Empty counters.
    pub(super) fn new(window: Window) -> Result<Self, LoadError> {
        let intervals = window.length().as_nanos().div_ceil(INTERVAL.as_nanos());
        Ok(Self {
            window,
            all_replies: 0,
            replies: 0,
            failures: BTreeMap::new(),
            begun: 0,
            latency: histogram()?,
            per_interval: vec![0; usize::try_from(intervals).unwrap_or_default()],
        })
    }

    /// Counts a request that began (was sent, or was due) at `begun`.
    pub(super) fn request(&mut self, begun: u64) {
        self.begun += u64::from(self.window.contains(begun));
    }

    /// Counts the reply, at `now`, to a request that began at `begun`.
    pub(super) fn reply(&mut self, begun: u64, now: u64, failure: Option<String>) {
        self.all_replies += 1;
        if self.window.contains(begun) {
            self.latency.saturating_record(now.saturating_sub(begun));
        }
        if !self.window.contains(now) {
            return;
        }
        self.replies += 1;
        if let Some(failure) = failure {
            *self.failures.entry(failure).or_default() += 1;
        }
        let interval = (now - self.window.begin) as usize / INTERVAL.as_nanos() as usize;
        if let Some(count) = self.per_interval.get_mut(interval) {
            *count += 1;
        }
    }
}

/// An empty histogram of nanoseconds with three significant digits.
pub(super) fn histogram() -> Result<Histogram<u64>, LoadError> {
    Ok(Histogram::new_with_bounds(1, MAX_LATENCY_NANOS, 3)?)
}

/// A time in nanoseconds; 64 bits last for almost six hundred years.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
