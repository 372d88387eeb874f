//! Calls that compute for longer than a tick take turns, fewer at once than there are processors.
//!
//! A call that gives way each tick goes to the end of its thread's queue, so that with many of them all else waits for a
//! tick of each. So they wait here instead, and leave a processor to what takes no time: commands that end within a
//! tick, connections, what comes back from waiting.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use wasmtime::UpdateDeadline;

use crate::plugin::instance::HostState;
use crate::plugin::ticker::TICK;

/// Ticks between two times that a call gives way.
const TICKS: u64 = 1;

/// The turns of all calls that compute, as one plugin takes them. First come, first served.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Pace {
    turns: Arc<Semaphore>,
    first_ticks: Arc<FirstTicks>,
    /// Whether the plugin's last call that told computed for more than a tick.
    computes: Arc<AtomicBool>,
}

impl Pace {
    pub(in crate::plugin) fn new() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Self::of(u32::try_from(processors).unwrap_or(u32::MAX))
    }

    fn of(processors: u32) -> Self {
        let turns = Arc::new(Semaphore::new(processors.saturating_sub(1).max(1) as usize));
        Self { turns, first_ticks: Arc::new(FirstTicks::new(processors)), computes: Arc::default() }
    }

    /// The same turns, for another plugin.
    pub(in crate::plugin) fn of_plugin(&self) -> Self {
        Self { computes: Arc::default(), ..self.clone() }
    }

    /// Whether a call has to wait for a turn before it begins. Most need none: a call is free to compute for its first
    /// tick, in which nearly all end. But many at once of a plugin whose calls do not would be as many ticks in front of
    /// all others, so these wait while more first ticks were used than there is room for.
    pub(in crate::plugin) fn has_to_wait(&self) -> bool {
        self.computes.load(Ordering::Relaxed) && self.first_ticks.are_overdrawn()
    }

    /// To be waited for before a call begins.
    pub(in crate::plugin) async fn begin(&self, turn: &Turn) {
        if self.has_to_wait() {
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

/// The first ticks of calls, which are computed without a turn: at most a quarter of all processors' time, and a few at
/// once. More would not help: while one processor computes by turns, the others together do no more than that. Counted by the generic cell rate algorithm (ITU-T I.371, annex A), whose one number is the time until which what
/// was used is paid for.
#[derive(Debug)]
struct FirstTicks {
    started: Instant,
    paid_until: AtomicU64,
    /// What one of them costs, in nanoseconds.
    cost: u64,
    /// How far beyond now may be paid for.
    credit: u64,
}

impl FirstTicks {
    fn new(processors: u32) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let cost = nanos(4 * TICK / processors.max(1));
        Self { started: Instant::now(), paid_until: AtomicU64::new(0), cost, credit: nanos(2 * TICK) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn are_overdrawn(&self) -> bool {
        self.paid_until.load(Ordering::Relaxed) > self.now() + self.credit
    }

    fn use_one(&self) {
        let now = self.now();
        let used = |paid_until: u64| Some(paid_until.max(now).saturating_add(self.cost));
        // It gives a value whatever there was.
        let _ = self.paid_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, used);
    }
}

/// The turn that a call has, for the poll that it is in.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Turn {
    /// Whether there is one; most calls never have any, and need not lock to know. Begun and ended within one poll.
    is_held: AtomicBool,
    held: Mutex<Option<OwnedSemaphorePermit>>,
    /// Whether its call has had one, or has computed for a tick without.
    has_come: AtomicBool,
}

impl Turn {
    fn begin(&self, turn: OwnedSemaphorePermit) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
        self.has_come.store(true, Ordering::Relaxed);
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
    if !call.turn.has_come.swap(true, Ordering::Relaxed) {
        state.pace.first_ticks.use_one();
    }
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
    async fn calls_of_a_plugin_that_computes_wait_once_too_many_have_begun() {
        let pace = Pace::of(1);
        let (one, other) = (Turn::default(), Turn::default());
        // Most plugins do not, however many do.
        (0..1000).for_each(|_| pace.first_ticks.use_one());
        pace.begin(&one).await;
        assert!(!one.is_held.load(Ordering::Relaxed));

        pace.computes.store(true, Ordering::Relaxed);
        pace.begin(&one).await;
        let mut waits = pin!(pace.begin(&other));
        assert!(poll!(&mut waits).is_pending());
        assert!(!pace.of_plugin().has_to_wait(), "other plugins do not wait");
        one.end();
        waits.await;
        other.end();

        pace.ended_at_once();
        assert!(!pace.has_to_wait());
        assert_eq!(pace.turns.available_permits(), 1);
    }

    #[test]
    fn some_first_ticks_are_free_and_those_of_long_ago_are_forgotten() {
        let ticks = FirstTicks { started: Instant::now() - Duration::from_secs(10), ..FirstTicks::new(2) };
        assert!(!ticks.are_overdrawn());
        ticks.use_one();
        assert!(!ticks.are_overdrawn());
        (0..100).for_each(|_| ticks.use_one());
        assert!(ticks.are_overdrawn());
        let later = FirstTicks { started: ticks.started - Duration::from_secs(1), ..ticks };
        assert!(!later.are_overdrawn());
    }
}
