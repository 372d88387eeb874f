//! What a load tells: on its way, and at its end.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::tally::{INTERVAL, Tally, nanos};

/// How a load goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Since it began, warm-up included.
    pub elapsed: Duration,
    /// How long it takes in all.
    pub total: Duration,
    /// Replies since it began.
    pub replies: u64,
}

/// What a load measured.
///
/// A request belongs to the measured time if it began in it (was sent or, in the open loop, due), even if its reply came up
/// to a second after its end. A reply belongs to it if it came in it. So the rate is not raised by replies that came late,
/// and no latency is left out because it was long.
#[derive(Clone, Debug)]
pub struct Report {
    /// Replies that came in the measured time, failures among them.
    pub replies: u64,
    /// The failed ones of these, by what the peer said.
    pub failures: BTreeMap<String, u64>,
    /// Requests of the measured time that were not answered, a second after its end. In the open loop a server that
    /// can't keep up leaves many, whose latencies would be the longest.
    pub unanswered: u64,
    /// How long was measured. Shorter than planned if it was ended early, and zero if that was in the warm-up.
    pub elapsed: Duration,
    /// How long the requests of the measured time took, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Closed loop: what the latencies would have been if requests had gone on being sent at the mean interval while a
    /// reply was late (coordinated omission, corrected by HdrHistogram's method). Open loop: the same as `latency`,
    /// which needs no correction.
    pub corrected: Histogram<u64>,
    /// Replies in each 100 ms of the measured time; the last interval may be shorter.
    pub per_interval: Vec<u64>,
    /// The processor time of the thread that the load ran on, in the measured time.
    pub cpu: Duration,
}

impl Report {
    /// Replies in a second, failed ones among them.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        if self.elapsed.is_zero() { 0.0 } else { self.replies as f64 / self.elapsed.as_secs_f64() }
    }

    /// How much of one processor the generator used: 1.0 is all of it.
    #[must_use]
    pub fn cpu_share(&self) -> f64 {
        if self.elapsed.is_zero() { 0.0 } else { self.cpu.as_secs_f64() / self.elapsed.as_secs_f64() }
    }

    /// The report on a closed loop of so many slots over all connections.
    pub(super) fn closed(tally: Tally, slots: usize, cpu: Duration) -> Self {
        let elapsed = nanos(tally.window.length());
        let sent = tally.begun;
        // Each slot sends its next request at this interval, on the average.
        let interval = elapsed.checked_mul(slots as u64).and_then(|time| time.checked_div(tally.replies));
        let corrected = match interval {
            Some(interval @ 1..) => tally.latency.clone_correct(interval),
            _ => tally.latency.clone(),
        };
        Self { corrected, ..Self::open(tally, sent, cpu) }
    }

    /// The report on a load of `requests` in the measured time.
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
