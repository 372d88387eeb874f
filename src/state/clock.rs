//! Where engines take the time from, so that a test can hold it still. It knows no engine.

use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock: expiry is kept over restarts, so it can't count from the start of the process.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// The machine's clock. If it is set back, entries live longer by as much.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
