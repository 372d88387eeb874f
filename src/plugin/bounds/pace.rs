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

/// The turns of all calls that compute, as one plugin takes them. First come, first served.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Pace {
    turns: Arc<Semaphore>,
    /// Whether the plugin's last call that told computed for more than a tick.
    computes: Arc<AtomicBool>,
}

impl Pace {
    pub(in crate::plugin) fn new() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let turns = Arc::new(Semaphore::new(processors.saturating_sub(1).max(1)));
        Self { turns, computes: Arc::default() }
    }

    /// The same turns, for another plugin.
    pub(in crate::plugin) fn of_plugin(&self) -> Self {
        Self { turns: Arc::clone(&self.turns), computes: Arc::default() }
    }

    /// To be waited for before a call begins. A call is free to compute for its first tick, since most need no more; but
    /// of a plugin whose calls do, many that begin together would be as many ticks in front of all others.
    pub(in crate::plugin) async fn begin(&self, turn: &Turn) {
        if self.computes.load(Ordering::Relaxed) {
            self.take(turn).await;
        }
    }

    /// A call of the plugin ended within its first tick.
    pub(in crate::plugin) fn ended_at_once(&self) {
        if self.computes.load(Ordering::Relaxed) {
            self.computes.store(false, Ordering::Relaxed);
        }
    }

    async fn take(&self, turn: &Turn) {
        // The turns are never closed.
        if let Ok(taken) = Arc::clone(&self.turns).acquire_owned().await {
            turn.begin(taken);
        }
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
    state.pace.computes.store(true, Ordering::Relaxed);
    let (call, pace) = (Arc::clone(call), state.pace.clone());
    let way = async move {
        yield_now().await;
        pace.take(&call.turn).await;
    };
    UpdateDeadline::YieldCustom(TICKS, Box::pin(way))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn calls_of_a_plugin_that_computes_wait_for_a_turn_before_they_begin() {
        let pace = Pace { turns: Arc::new(Semaphore::new(1)), computes: Arc::default() };
        let (one, other) = (Turn::default(), Turn::default());
        pace.begin(&one).await;
        assert!(!one.is_held.load(Ordering::Relaxed), "most need none");

        pace.computes.store(true, Ordering::Relaxed);
        pace.begin(&one).await;
        let mut waits = pin!(pace.begin(&other));
        assert!(poll!(&mut waits).is_pending());
        assert!(
            poll!(pin!(pace.of_plugin().begin(&Turn::default()))).is_ready(),
            "other plugins do not wait"
        );
        one.end();
        waits.await;
        other.end();

        pace.ended_at_once();
        pace.begin(&one).await;
        assert_eq!(pace.turns.available_permits(), 1);
    }
}
