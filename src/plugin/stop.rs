//! Stopped calls: the reason, the owner of the deadline, and the location in the plugin's code.
//!
//! A call that computes yields at each tick, in the middle of the plugin's code. To stop it there, it is
//! polled once more: it breaks off at the next check of the epoch, which is due at once, as if it trapped.
//! So wasmtime reports the location. A call that ends before its second tick pays nothing for this.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cpu::meter::CpuSpent;

/// Reason for which a call is stopped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stopped {
    /// Its deadline.
    AtDeadline,
    /// Its stream made no progress for too long.
    Stalled,
    /// Processor time beyond its limit.
    Computed(CpuSpent),
}

/// Owner of the deadline that ends a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadlineOf {
    /// Its plugin's `timeout`.
    #[default]
    Plugin,
    /// Its client's `Timeout-Ms`.
    Client,
    /// The deadline of the call that runs it.
    Parent,
}

/// State for stopping a call.
#[derive(Debug, Default)]
pub(super) struct Stop {
    pub(super) deadline_of: DeadlineOf,
    has_yielded: AtomicBool,
    why: OnceLock<Stopped>,
}

impl Stop {
    /// Notes that the plugin yields in the middle of its code.
    pub(super) fn mark_yielded(&self) {
        self.has_yielded.store(true, Ordering::Relaxed);
    }

    /// Notes that the plugin resumes; returns true if it had yielded in the middle of its code.
    pub(super) fn resume(&self) -> bool {
        self.has_yielded.swap(false, Ordering::Relaxed)
    }

    pub(super) fn has_yielded(&self) -> bool {
        self.has_yielded.load(Ordering::Relaxed)
    }

    /// Has the call break off for `why`. Set once: only the task that runs a call stops it, and then runs it
    /// no more.
    pub(super) fn stop_for(&self, why: Stopped) {
        let _ = self.why.set(why);
    }

    /// Returns the reason for which the call is to break off, if it is.
    pub(super) fn why(&self) -> Option<Stopped> {
        self.why.get().copied()
    }
}
