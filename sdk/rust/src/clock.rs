//! Time of day, elapsed time, and waiting. Works on every target; `std::time` only on `wasm32-wasip2`.

use std::time::Duration;

use crate::host::clock;

/// Returns the time since 1970-01-01T00:00:00Z by the server's clock, which may be set back.
///
/// With the crate `chrono`: `DateTime::from_timestamp(time.as_secs() as i64, time.subsec_nanos())`.
pub fn unix_time() -> Duration {
    clock::unix_time()
}

/// A moment, which can only be compared with other moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant {
    nanoseconds: u64,
}

impl Instant {
    /// Returns the present moment.
    pub fn now() -> Self {
        Self { nanoseconds: clock::monotonic() }
    }

    /// Returns the time since this moment.
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(clock::monotonic().saturating_sub(self.nanoseconds))
    }
}

/// Waits. The wait counts toward the command's time.
pub fn sleep(span: Duration) {
    clock::sleep(nanoseconds(span));
}

/// Converts to the clock's unit; saturates, after centuries.
pub(crate) fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
