//! The time of day, how long something takes, and waiting. Works on every target, while `std::time` does so on
//! `wasm32-wasip2` only.

use std::time::Duration;

use crate::host::clock;

/// The time since 1970-01-01T00:00:00Z, by the server's clock, which may be set back.
///
/// With the crate `chrono`: `DateTime::from_timestamp(time.as_secs() as i64, time.subsec_nanos())`.
pub fn unix_time() -> Duration {
    clock::unix_time()
}

/// A moment, good for nothing but to be compared with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant {
    nanoseconds: u64,
}

impl Instant {
    /// This moment.
    pub fn now() -> Self {
        Self { nanoseconds: clock::monotonic() }
    }

    /// How long ago this moment was.
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(clock::monotonic().saturating_sub(self.nanoseconds))
    }
}

/// Waits. It counts as the command's time.
pub fn sleep(span: Duration) {
    clock::sleep(nanoseconds(span));
}

/// As the clock counts; centuries where it does not fit.
pub(crate) fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
