//! Bounds of one call in a test: its time, and its use of the host. Exceeding one ends it as a server would.

use std::mem::{replace, take};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::world;
use crate::Failure;

/// A server's default bounds on one call's use of the host.
const MAX_OPERATIONS: usize = 10_000;
const MAX_BYTES: usize = 64 << 20;

/// Time, operations and bytes that a call has left.
pub(super) struct Left {
    time: Duration,
    operations: usize,
    bytes: usize,
}

impl Left {
    fn whole(time: Duration) -> Self {
        Self { time, operations: MAX_OPERATIONS, bytes: MAX_BYTES }
    }
}

/// Payload of the panic by which the host ends a call, which no code of the plugin's sees.
struct Stopped(Failure);

/// Ends the call.
pub(super) fn stop(code: &'static str, words: &str) -> ! {
    resume_unwind(Box::new(Stopped(Failure::new(code, ["the plugin ", words].concat()))))
}

/// Does `work` as one call with the whole time and fresh bounds. Fails if the host ends the call.
pub(crate) fn one_call<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    let before = world(|world| {
        let left = world.left.replace(Left::whole(world.time_left));
        (left, take(&mut world.subscribed))
    });
    let done = catch_unwind(AssertUnwindSafe(work));
    world(|world| {
        (world.left, world.subscribed) = before;
        world.is_answering = false;
    });
    done.or_else(|payload| match payload.downcast::<Stopped>() {
        Ok(stopped) => Err(stopped.0),
        Err(payload) => resume_unwind(payload),
    })
}

/// Time that the call has left.
pub(super) fn time_left() -> Duration {
    world(|world| world.left.as_ref().map_or(world.time_left, |left| left.time))
}

/// Applies `change` to the remaining bounds and returns its result. Outside a call nothing is bounded.
fn is_enough(change: impl FnOnce(&mut Left) -> bool) -> bool {
    world(|world| world.left.as_mut().is_none_or(change))
}

/// Counts one operation of the host that carries this many bytes.
pub(super) fn operation(bytes: usize) {
    let take = |left: &mut Left| left.operations.checked_sub(1).map(|less| left.operations = less).is_some();
    if !is_enough(take) {
        stop("plugin-limit", "asked for more than its 10000 operations of the host");
    }
    carry(bytes);
}

/// Counts `work`, which looks at stores several times, as one operation.
pub(super) fn as_one<T>(work: impl FnOnce() -> T) -> T {
    operation(0);
    let swap = |operations: usize| {
        world(|world| world.left.as_mut().map_or(0, |left| replace(&mut left.operations, operations)))
    };
    let before = swap(usize::MAX);
    let done = work();
    swap(before);
    done
}

/// Counts bytes that pass through the host.
pub(super) fn carry(bytes: usize) {
    let take = |left: &mut Left| left.bytes.checked_sub(bytes).map(|less| left.bytes = less).is_some();
    if !is_enough(take) {
        stop("plugin-limit", "moved more than its 64 MiB through the host");
    }
}

/// Renews the bounds: a part was taken, or an event came.
pub(crate) fn renew() {
    world(|world| world.left = world.left.take().map(|_| Left::whole(world.time_left)));
}

/// Advances the clocks. A command whose time is up ends there.
pub(super) fn pass(span: Duration) {
    let is_late = world(|world| {
        let left = world.left.as_mut().filter(|_| !world.is_answering);
        let (passed, is_late) = match left {
            Some(left) => {
                let passed = span.min(left.time);
                left.time -= passed;
                (passed, left.time.is_zero())
            }
            None => (span, false),
        };
        world.elapsed = world.elapsed.saturating_add(passed);
        is_late
    });
    if is_late {
        stop("timeout", "was stopped at the deadline");
    }
}

/// Runs the test's own function, which may sleep to be slow. The command waits at most `limit`; the returned
/// flag says if the answer came in time. A command whose own time is up by then ends there.
pub(super) fn answering<T>(limit: Option<Duration>, answer: impl FnOnce() -> T) -> (T, bool) {
    let began = world(|world| {
        world.is_answering = true;
        world.elapsed
    });
    let answered = answer();
    let took = world(|world| {
        world.is_answering = false;
        replace(&mut world.elapsed, began).saturating_sub(began)
    });
    let limit = limit.unwrap_or(Duration::MAX);
    if !took.is_zero() {
        pass(took.min(limit));
    }
    (answered, took < limit)
}
