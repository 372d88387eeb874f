//! Whether a plugin's calls compute.
//!
//! A call is free to compute for a tick where its request was read, and nearly all end in it. But each call of a plugin
//! whose calls do not would be a tick in front of all else there. So after one that did not, the next begins on the
//! [threads](crate::plugin::compute) on which it would go on, and so on until one ends sooner.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::Duration;

use wasmtime::UpdateDeadline;

use super::thread_cpu;
use crate::plugin::call::Call;
use crate::plugin::compute;
use crate::plugin::instance::HostState;
use crate::plugin::ticker::TICK;

/// Ticks between two times that a call gives way.
const TICKS: u64 = 1;

/// Ticks until the next look of a call that has given way: that is due at once, before it computes any further.
const AT_ONCE: u64 = 0;

/// What is known of one plugin's calls.
#[derive(Clone, Debug, Default)]
pub(in crate::plugin) struct Pace {
    /// Whether the last call that told computed for more than a tick.
    computes: Arc<AtomicBool>,
}

impl Pace {
    /// Whether a call is to begin elsewhere.
    pub(in crate::plugin) fn begins_elsewhere(&self) -> bool {
        self.computes.load(Ordering::Relaxed)
    }

    /// To be waited for before a call begins.
    pub(in crate::plugin) async fn begin(&self) {
        if self.begins_elsewhere() {
            compute::give_way().await;
        }
    }

    /// `call` has ended.
    pub(in crate::plugin) fn ended(&self, call: &Call) {
        if !call.has_computed() {
            self.ended_at_once();
        }
    }

    /// A call has ended within its first tick.
    pub(in crate::plugin) fn ended_at_once(&self) {
        if self.computes.load(Ordering::Relaxed) {
            self.computes.store(false, Ordering::Relaxed);
        }
    }

    /// `call` has computed for a tick. It tells so once: while it goes on, shorter ones may end.
    fn computed_for_a_tick(&self, call: &Call) {
        if call.mark_computing() {
            self.computes.store(true, Ordering::Relaxed);
        }
    }
}

/// When a call was first seen to compute, or first since it goes on on another thread.
#[derive(Clone, Copy, Debug)]
pub(in crate::plugin) struct FirstTick {
    on: ThreadId,
    /// By the clock of that thread's computing.
    at: Duration,
}

/// What a call does that has computed for a tick: it gives way to all else, and goes on at its turn.
///
/// The epoch goes on whether the call's thread has a processor or not, and on a busy machine a command of microseconds can
/// see many ticks. So what counts is the time of the thread, which is looked at from the first tick on that the call sees:
/// to look when it begins would cost every call more than it saves.
///
/// It is looked at once more as it goes on, and is interrupted there where it was stopped meanwhile.
pub(in crate::plugin) fn give_way(state: &mut HostState) -> UpdateDeadline {
    if let Some(call) = state.call.as_ref().filter(|call| call.stop.resume()) {
        return match call.stop.why() {
            Some(_) => UpdateDeadline::Interrupt,
            None => UpdateDeadline::Continue(TICKS),
        };
    }
    let is_known_to_compute = state.call.as_ref().is_some_and(|call| call.has_computed());
    if !is_known_to_compute && !has_computed_for_a_tick(&mut state.first_tick) {
        return UpdateDeadline::Continue(TICKS);
    }
    // What an instance does before its first call says nothing of its calls.
    let Some(call) = &state.call else {
        return UpdateDeadline::YieldCustom(TICKS, Box::pin(compute::give_way()));
    };
    state.pace.computed_for_a_tick(call);
    call.stop.set_aside();
    UpdateDeadline::YieldCustom(AT_ONCE, Box::pin(wait_for_turn(Arc::clone(call))))
}

/// Gives way until `call` may compute again, or is to break off.
async fn wait_for_turn(call: Arc<Call>) {
    let mut turn = pin!(compute::give_way());
    poll_fn(|cx| if call.stop.why().is_some() { Poll::Ready(()) } else { turn.as_mut().poll(cx) }).await;
}

fn has_computed_for_a_tick(first: &mut Option<FirstTick>) -> bool {
    let (on, at) = (thread::current().id(), thread_cpu());
    match first {
        // Half of one, as two ticks are seldom as far from each other as they should be.
        Some(first) if first.on == on => at.saturating_sub(first.at) >= TICK / 2,
        _ => {
            *first = Some(FirstTick { on, at });
            false
        }
    }
}
