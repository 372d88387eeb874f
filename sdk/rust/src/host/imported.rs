//! The imports of a component, under the names that the rest of this crate uses.

pub(crate) use crate::bindings::lictor::plugin::{call, events, files, output, request, state};
pub(crate) use crate::bindings::wasi::config::store as config;
pub(crate) use crate::bindings::wasi::keyvalue;
pub(crate) use crate::bindings::wasi::logging::logging;
pub(crate) use crate::http::exchange as http;

pub(crate) mod clock {
    use std::time::Duration;

    use crate::bindings::wasi::clocks::{monotonic_clock, wall_clock};

    pub(crate) fn monotonic() -> u64 {
        monotonic_clock::now()
    }

    pub(crate) fn unix_time() -> Duration {
        let now = wall_clock::now();
        Duration::new(now.seconds, now.nanoseconds)
    }

    pub(crate) fn sleep(nanoseconds: u64) {
        monotonic_clock::subscribe_duration(nanoseconds).block();
    }
}

pub(crate) mod random {
    pub(crate) use crate::bindings::wasi::random::random::{get_random_bytes, get_random_u64};
}
