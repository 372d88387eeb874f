//! How long something takes, and waiting. Works on every target, while `std::time` does so on `wasm32-wasip2` only.

use std::time::Duration;

use crate::bindings::wasi::clocks::monotonic_clock;

/// A moment, good for nothing but to be compared with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant {
    nanoseconds: u64,
}

impl Instant {
    /// This moment.
    pub fn now() -> Self {
        Self { nanoseconds: monotonic_clock::now() }
    }

    /// How long ago this moment was.
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(monotonic_clock::now().saturating_sub(self.nanoseconds))
    }
}

/// Waits. It counts as the command's time.
pub fn sleep(span: Duration) {
    monotonic_clock::subscribe_duration(nanoseconds(span)).block();
}

/// As the clock counts; centuries where it does not fit.
pub(crate) fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
