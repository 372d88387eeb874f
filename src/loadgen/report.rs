//! Results of a load: progress while it runs, and the final report.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::tally::{INTERVAL, Tally, nanos};

/// The progress of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Time since the start, including the warm-up.
    pub elapsed: Duration,
    /// The planned total time.
    pub total: Duration,
    /// Replies since the start.
    pub replies: u64,
}

/// The measurements of a load.
///
/// A request counts as measured if it began in the measured time (was sent or, in the open loop, due), even
/// if its reply came up to a second after the end. A reply counts if it came in the measured time. So late
/// replies do not raise the rate, and no latency is left out because it was long.
#[derive(Clone, Debug)]
pub struct Report {
    /// Replies in the measured time, including failures.
    pub replies: u64,
    /// The failures among them, by the peer's description.
    pub failures: BTreeMap<String, u64>,
    /// Requests of the measured time still unanswered a second after its end. In the open loop a server that
    /// can't keep up leaves many, whose latencies would be the longest.
    pub unanswered: u64,
    /// The measured time. Shorter than planned if the load was ended early, and zero if that was in the
    /// warm-up.
    pub elapsed: Duration,
    /// Latencies of the measured requests, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Closed loop: the latencies if requests had continued at the mean interval while a reply was late
    /// (coordinated omission, corrected by HdrHistogram's method). Open loop: the same as `latency`, which
    /// needs no correction.
    pub corrected: Histogram<u64>,
    /// Replies in each 100 ms of the measured time; the last interval may be shorter.
    pub per_interval: Vec<u64>,
    /// CPU time of the load's thread during the measured time.
    pub cpu: Duration,
}

impl Report {
    /// Replies per second, including failures.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        if self.elapsed.is_zero() { 0.0 } else { self.replies as f64 / self.elapsed.as_secs_f64() }
    }

    /// The fraction of one CPU that the generator used: 1.0 is a whole one.
    #[must_use]
    pub fn cpu_share(&self) -> f64 {
        if self.elapsed.is_zero() { 0.0 } else { self.cpu.as_secs_f64() / self.elapsed.as_secs_f64() }
    }

    /// Reports on a closed loop with `slots` slots over all connections.
    pub(super) fn closed(tally: Tally, slots: usize, cpu: Duration) -> Self {
        let elapsed = nanos(tally.window.length());
        let sent = tally.begun;
        // The mean interval at which each slot sends its next request.
        let interval = elapsed.checked_mul(slots as u64).and_then(|time| time.checked_div(tally.replies));
        let corrected = match interval {
            Some(interval @ 1..) => tally.latency.clone_correct(interval),
            _ => tally.latency.clone(),
        };
        Self { corrected, ..Self::open(tally, sent, cpu) }
    }

    /// Reports on a load with `requests` requests in the measured time.
    pub(super) fn open(mut tally: Tally, requests: u64, cpu: Duration) -> Self {
        let elapsed = tally.window.length();
        let intervals = elapsed.as_nanos().div_ceil(INTERVAL.as_nanos());
        tally.per_interval.truncate(usize::try_from(intervals).unwrap_or(usize::MAX));
        Self {
            replies: tally.replies,
            failures: tally.failures,
            unanswered: requests.saturating_sub(tally.latency.len()),
            elapsed,
            corrected: tally.latency.clone(),
            latency: tally.latency,
            per_interval: tally.per_interval,
            cpu,
        }
    }
}
