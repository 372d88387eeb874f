//! Operations on the state.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::family::Family;
use super::histogram::Histogram;

/// Operations on the state, of all stores.
#[derive(Debug)]
pub struct StateOperations {
    reads: AtomicU64,
    writes: AtomicU64,
    commits: AtomicU64,
    written: Histogram,
}

/// Those of this process. An engine takes a lock for each operation, so numbers that all threads write cost
/// little beside it.
pub static STATE: StateOperations = StateOperations {
    reads: AtomicU64::new(0),
    writes: AtomicU64::new(0),
    commits: AtomicU64::new(0),
    written: Histogram::new(),
};

impl StateOperations {
    /// Counts a read.
    pub fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a write that was answered, `after` it was asked for if it waited for a disk.
    pub fn wrote(&self, after: Option<Duration>) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        if let Some(after) = after {
            self.written.observe(after);
        }
    }

    /// Counts a transaction of one or more writes.
    pub fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) fn families() -> [Family; 3] {
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let of_kind = |kind: &str, number: &AtomicU64| (vec![("operation", kind.to_owned())], count(number));
    [
        Family::counters(
            "lictor_state_operations_total",
            "Operations on the state.",
            [of_kind("read", &STATE.reads), of_kind("write", &STATE.writes)],
        ),
        Family::counter(
            "lictor_state_commits_total",
            "Transactions of one or more writes, each of which waited for the disk.",
            count(&STATE.commits),
        ),
        Family::histograms(
            "lictor_state_write_duration_seconds",
            "Time from the request for a write to its answer, on the disk.",
            [(Vec::new(), STATE.written.read())],
        ),
    ]
}
