//! Calls that are stopped: why, by whose deadline, and where in its plugin's code each one was.
//!
//! A call that computes is set aside at each tick, in the middle of the plugin's code. To be stopped there it is polled once
//! more: it breaks off at the next look at the epoch, which is due at once, as if it trapped. So wasmtime tells the place. A call
//! that ends before that costs nothing: all of this begins with a call's second tick.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use super::bounds::CpuSpent;
use super::invoke::Call;

/// Why a call is stopped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stopped {
    /// Its deadline has passed.
    AtDeadline,
    /// Nothing came of its stream for too long.
    Stalled,
    /// It computed for longer than it may.
    Computed(CpuSpent),
}

/// Whose deadline ends a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadlineOf {
    /// Its plugin's `timeout`.
    #[default]
    Plugin,
    /// Its client's `Timeout-Ms`.
    Client,
    /// The call's that runs it.
    Parent,
}

/// What a call has for its end.
#[derive(Debug, Default)]
pub(super) struct Stop {
    pub(super) deadline_of: DeadlineOf,
    is_set_aside: AtomicBool,
    why: OnceLock<Stopped>,
}

impl Stop {
    /// The plugin gives way in the middle of its code.
    pub(super) fn set_aside(&self) {
        self.is_set_aside.store(true, Ordering::Relaxed);
    }

    /// The plugin goes on where it gave way; tells whether it did.
    pub(super) fn resume(&self) -> bool {
        self.is_set_aside.swap(false, Ordering::Relaxed)
    }

    pub(super) fn is_set_aside(&self) -> bool {
        self.is_set_aside.load(Ordering::Relaxed)
    }

    /// Why the call is to break off, where it is.
    pub(super) fn why(&self) -> Option<Stopped> {
        self.why.get().copied()
    }
}

/// Has `running`, which runs `call`, break off where it was set aside; gives what came of that. None where the call was not
/// computing: it waits, and its plugin's code is not run again.
pub(super) async fn break_off<F: Future>(
    call: &Call,
    why: Stopped,
    mut running: Pin<&mut F>,
) -> Option<F::Output> {
    if !call.stop.is_set_aside() {
        return None;
    }
    // It is set once: each call is stopped by whoever runs it, and then no longer run.
    let _ = call.stop.why.set(why);
    poll_fn(|cx| {
        Poll::Ready(match running.as_mut().poll(cx) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        })
    })
    .await
}
