//! A hint that a plugin's calls compute.
//!
//! A call may compute for a tick on the thread where its request was read, and nearly all end in it. If a
//! plugin's calls do not, each of them would delay everything else there by a tick. So after such a call the
//! next starts on the [threads for offloaded calls](super::offload), and so on until one ends within a tick.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::Duration;

use wasmtime::UpdateDeadline;

use super::meter::thread_cpu;
use super::offload;
use super::ticker::TICK;
use crate::plugin::call::Call;

/// Ticks after which a computing call yields.
const TICKS: u64 = 1;

/// Ticks until a call that has yielded is checked: at once, before it computes any further.
const AT_ONCE: u64 = 0;

/// Ticks after which a guest that was just entered is checked.
pub(in crate::plugin) const FIRST_TICKS: u64 = 1;

/// A flag shared by all instances of a plugin.
#[derive(Clone, Debug, Default)]
pub(in crate::plugin) struct CpuHint {
    /// Set if the last call that reported computed for more than a tick.
    computes: Arc<AtomicBool>,
}

impl CpuHint {
    /// Returns true if the next call is to start offloaded.
    pub(in crate::plugin) fn starts_offloaded(&self) -> bool {
        self.computes.load(Ordering::Relaxed)
    }

    /// Yields before a call begins, if it is to start offloaded.
    pub(in crate::plugin) async fn begin(&self) {
        if self.starts_offloaded() {
            offload::yield_now().await;
        }
    }

    /// Notes that `call` has ended.
    pub(in crate::plugin) fn ended(&self, call: &Call) {
        if !call.spent().has_computed() {
            self.ended_at_once();
        }
    }

    /// Notes that a call has ended within its first tick.
    pub(in crate::plugin) fn ended_at_once(&self) {
        if self.computes.load(Ordering::Relaxed) {
            self.computes.store(false, Ordering::Relaxed);
        }
    }

    /// Notes that `call` has computed for a tick. Noted once a call: while it goes on, shorter ones may end.
    fn computed_for_a_tick(&self, call: &Call) {
        if call.spent().mark_computing() {
            self.computes.store(true, Ordering::Relaxed);
        }
    }
}

/// Time at which a call was first seen to compute on its current thread.
#[derive(Clone, Copy, Debug)]
pub(in crate::plugin) struct FirstTick {
    on: ThreadId,
    /// Processor time of the thread.
    at: Duration,
}

/// Makes a call that has computed for a tick yield to all others.
///
/// The epoch advances whether the call's thread has a processor or not, and on a busy machine a command of
/// microseconds can see many ticks. So the thread's own time decides, read from the first tick on that the
/// call sees: reading it when the call begins would cost every call more than it saves.
///
/// The call is checked once more as it resumes, and interrupted there if it was stopped meanwhile.
pub(in crate::plugin) fn yield_after_tick(
    call: Option<&Arc<Call>>,
    hint: &CpuHint,
    first_tick: &mut Option<FirstTick>,
) -> UpdateDeadline {
    if let Some(call) = call.filter(|call| call.stop.resume()) {
        return match call.stop.why() {
            Some(_) => UpdateDeadline::Interrupt,
            None => UpdateDeadline::Continue(TICKS),
        };
    }
    let is_known_to_compute = call.is_some_and(|call| call.spent().has_computed());
    if !is_known_to_compute && !has_computed_for_a_tick(first_tick) {
        return UpdateDeadline::Continue(TICKS);
    }
    // The start of an instance, before its first call, tells nothing of its calls.
    let Some(call) = call else {
        return UpdateDeadline::YieldCustom(TICKS, Box::pin(offload::yield_now()));
    };
    hint.computed_for_a_tick(call);
    call.stop.mark_yielded();
    UpdateDeadline::YieldCustom(AT_ONCE, Box::pin(yield_unless_stopped(Arc::clone(call))))
}

/// Yields until `call` may compute again, or is to break off.
async fn yield_unless_stopped(call: Arc<Call>) {
    let mut yielding = pin!(offload::yield_now());
    poll_fn(|cx| if call.stop.why().is_some() { Poll::Ready(()) } else { yielding.as_mut().poll(cx) }).await;
}

fn has_computed_for_a_tick(first: &mut Option<FirstTick>) -> bool {
    let (on, at) = (thread::current().id(), thread_cpu());
    match first {
        // Half a tick: the ticker often wakes late, so consecutive ticks can be closer than `TICK`.
        Some(first) if first.on == on => at.saturating_sub(first.at) >= TICK / 2,
        _ => {
            *first = Some(FirstTick { on, at });
            false
        }
    }
}
