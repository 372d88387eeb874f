//! How many calls may begin to compute where requests are read.
//!
//! A call is free to compute there for its first tick, in which nearly all end. But many at once of a plugin whose calls
//! do not would be as many ticks in front of all else, so that these begin on the [threads](crate::plugin::compute) on
//! which they would go on.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::UpdateDeadline;

use crate::plugin::compute;
use crate::plugin::instance::HostState;
use crate::plugin::ticker::TICK;

/// Ticks between two times that a call gives way.
const TICKS: u64 = 1;

/// The first ticks of all calls, as one plugin takes them.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Pace {
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
        Self { first_ticks: Arc::new(FirstTicks::new(processors)), computes: Arc::default() }
    }

    /// The same first ticks, for another plugin.
    pub(in crate::plugin) fn of_plugin(&self) -> Self {
        Self { computes: Arc::default(), ..self.clone() }
    }

    /// Whether a call has to begin elsewhere: the plugin's calls compute, and more first ticks were used than there is room
    /// for.
    pub(in crate::plugin) fn begins_elsewhere(&self) -> bool {
        self.computes.load(Ordering::Relaxed) && self.first_ticks.are_overdrawn()
    }

    /// To be waited for before a call begins.
    pub(in crate::plugin) async fn begin(&self) {
        if self.begins_elsewhere() {
            compute::give_way().await;
        }
    }

    /// A call of the plugin ended within its first tick.
    pub(in crate::plugin) fn ended_at_once(&self) {
        if self.computes.load(Ordering::Relaxed) {
            self.computes.store(false, Ordering::Relaxed);
        }
    }

    fn computed_for_a_tick(&self) {
        self.computes.store(true, Ordering::Relaxed);
        if !compute::is_here() {
            self.first_ticks.use_one();
        }
    }
}

/// The first ticks of calls, which are computed where requests are read: at most a quarter of all processors' time, and a few at
/// once. Counted by the generic cell rate algorithm (ITU-T I.371, annex A), whose one number is the time until which what was
/// used is paid for.
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

/// What a call does that has computed for a tick: it gives way to all else, and goes on at its turn.
pub(in crate::plugin) fn give_way(state: &HostState) -> UpdateDeadline {
    // What an instance does before its first call is bounded by whoever makes it.
    if state.call.is_some() {
        state.pace.computed_for_a_tick();
    }
    UpdateDeadline::YieldCustom(TICKS, Box::pin(compute::give_way()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_a_plugin_that_computes_begin_elsewhere_once_too_many_have_begun_here() {
        let pace = Pace::of(4);
        pace.computed_for_a_tick();
        assert!(!pace.begins_elsewhere(), "a few may");
        (0..1000).for_each(|_| pace.computed_for_a_tick());
        assert!(pace.begins_elsewhere());
        assert!(!pace.of_plugin().begins_elsewhere(), "those of other plugins do not");
        pace.ended_at_once();
        assert!(!pace.begins_elsewhere());
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
