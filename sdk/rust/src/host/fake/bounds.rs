//! What one call of a test may use: its time, and what it asks of the host. Where that is used up, the call ends as a server
//! would end it.

use std::mem::{replace, take};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::world;
use crate::Failure;

/// What one call may ask of the host, by default on a server.
const MAX_OPERATIONS: usize = 10_000;
const MAX_BYTES: usize = 64 << 20;

/// What is left of that for a call, and of its time.
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

/// How a call ends that the host ends: the payload of a panic, which no code of the plugin's sees.
struct Stopped(Failure);

/// Ends the call.
pub(super) fn stop(code: &'static str, words: &str) -> ! {
    resume_unwind(Box::new(Stopped(Failure::new(code, ["the plugin ", words].concat()))))
}

/// Does `work` as one call, which has the whole time and may ask as much as any. Fails where the host ends it.
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

/// How much time the call has left.
pub(super) fn time_left() -> Duration {
    world(|world| world.left.as_ref().map_or(world.time_left, |left| left.time))
}

/// What `change` makes of what is left, if it is enough. Where no call is under way, anything is.
fn is_enough(change: impl FnOnce(&mut Left) -> bool) -> bool {
    world(|world| world.left.as_mut().is_none_or(change))
}

/// One operation of the host that carries so many bytes.
pub(super) fn operation(bytes: usize) {
    let take = |left: &mut Left| left.operations.checked_sub(1).map(|less| left.operations = less).is_some();
    if !is_enough(take) {
        stop("plugin-limit", "asked for more than its 10000 operations of the host");
    }
    carry(bytes);
}

/// Does `work`, which looks at stores several times, as one operation.
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

/// So many bytes go through the host.
pub(super) fn carry(bytes: usize) {
    let take = |left: &mut Left| left.bytes.checked_sub(bytes).map(|less| left.bytes = less).is_some();
    if !is_enough(take) {
        stop("plugin-limit", "moved more than its 64 MiB through the host");
    }
}

/// A part was taken, or an event came: the bounds begin anew.
pub(crate) fn renew() {
    world(|world| world.left = world.left.take().map(|_| Left::whole(world.time_left)));
}

/// Lets time pass. A command whose time is up ends there.
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

/// Has the test's own function answer, which may sleep to be slow. The command waits for it no longer than `limit`; whether
/// the answer came by then is told beside it. A command whose own time is up by then ends there.
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
