//! Calls that compute for longer than a tick take turns, fewer at once than there are processors.
//!
//! A call that gives way each tick goes to the end of its thread's queue, so that with many of them all else waits for a
//! tick of each. So they wait here instead, and leave a processor to what takes no time: commands that end within a
//! tick, connections, what comes back from waiting.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use wasmtime::UpdateDeadline;

use crate::plugin::instance::HostState;

/// Ticks between two times that a call gives way.
const TICKS: u64 = 1;

/// The turns of all calls that compute. First come, first served.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Pace(Arc<Semaphore>);

impl Pace {
    pub(in crate::plugin) fn new() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Semaphore::new(processors.saturating_sub(1).max(1))))
    }
}

/// The turn that a call has, for the poll that it is in.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Turn {
    /// Whether there is one; most calls never have any, and need not lock to know. Begun and ended within one poll.
    is_held: AtomicBool,
    held: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Turn {
    fn begin(&self, turn: OwnedSemaphorePermit) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
        self.is_held.store(true, Ordering::Relaxed);
    }

    /// To be called after each poll of the call: one that waits, be it for its next turn, holds none.
    pub(in crate::plugin) fn end(&self) {
        if self.is_held.load(Ordering::Relaxed) {
            self.is_held.store(false, Ordering::Relaxed);
            self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

/// What a call does that has computed for a tick: it gives way to all else, and goes on at its turn.
pub(in crate::plugin) fn give_way(state: &HostState) -> UpdateDeadline {
    let Some(call) = &state.call else { return UpdateDeadline::Yield(TICKS) };
    // For whoever polls a call without ending its turns: it must not wait for itself.
    call.turn.end();
    let (call, turns) = (Arc::clone(call), Arc::clone(&state.pace.0));
    let way = async move {
        yield_now().await;
        // The turns are never closed.
        if let Ok(turn) = turns.acquire_owned().await {
            call.turn.begin(turn);
        }
    };
    UpdateDeadline::YieldCustom(TICKS, Box::pin(way))
}
