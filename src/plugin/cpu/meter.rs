//! The time that a call has computed: the processor time of its polls, without the waiting time between them.

use std::task::Poll;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::ticker::TICK;
use crate::telemetry::Spent;
use crate::telemetry::metrics::OfPlugin;

/// Adds up a call's processor time, and stops it past a limit.
///
/// Reading a thread's clock is a system call, a fifth of the cost of a whole warm call, so a call's first
/// poll is not measured. A call that computes yields at the next tick, so a first poll that did not end the
/// call counts as one tick. Most calls end in it.
///
/// The metrics have the time of calls that have computed for a tick; the limit counts that of all.
pub(in crate::plugin) struct Meter<'a> {
    limit: Option<Duration>,
    counted: Option<(&'a OfPlugin, &'a Spent)>,
    used: Duration,
    has_polled: bool,
    /// Cleared behind a call's first step, whose first poll alone counts as a tick in the metrics.
    is_first_step: bool,
    clock: fn() -> Duration,
}

/// A call computed for longer than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) struct CpuSpent {
    /// The limit.
    pub(in crate::plugin) limit: Duration,
    /// The time used.
    pub(in crate::plugin) used: Duration,
}

impl<'a> Meter<'a> {
    /// Makes a meter for one call; without a limit it measures only for the metrics. `counted` are the
    /// metrics of its plugin, and what it has spent.
    pub(in crate::plugin) fn new(
        limit: Option<Duration>,
        counted: Option<(&'a OfPlugin, &'a Spent)>,
    ) -> Self {
        Self {
            limit,
            counted,
            used: Duration::ZERO,
            has_polled: false,
            is_first_step: true,
            clock: thread_cpu,
        }
    }

    /// Makes a meter for a call that was polled once without one.
    pub(in crate::plugin) fn after_one_poll(
        limit: Option<Duration>,
        counted: Option<(&'a OfPlugin, &'a Spent)>,
    ) -> Self {
        let meter = Self { has_polled: true, ..Self::new(limit, counted) };
        meter.count(TICK);
        Self { used: TICK, ..meter }
    }

    /// Begins the call's next step, for which the whole limit holds anew.
    pub(in crate::plugin) fn begin_step(&mut self) {
        (self.used, self.has_polled, self.is_first_step) = (Duration::ZERO, false, false);
    }

    /// Polls the call by `poll`. Must not be called again after an error.
    pub(in crate::plugin) fn poll<T>(&mut self, poll: impl FnOnce() -> Poll<T>) -> Poll<Result<T, CpuSpent>> {
        let is_measured = self.has_polled && (self.limit.is_some() || self.has_computed());
        let began = is_measured.then(self.clock);
        self.has_polled = true;
        let polled = poll();
        if self.has_computed() || (self.limit.is_some() && polled.is_pending()) {
            let used = began.map_or(TICK, |began| (self.clock)().saturating_sub(began));
            self.used += used;
            if began.is_some() || self.is_first_step {
                self.count(used);
            }
        }
        match (polled, self.limit) {
            (Poll::Ready(answer), _) => Poll::Ready(Ok(answer)),
            (Poll::Pending, Some(limit)) if self.used > limit => {
                Poll::Ready(Err(CpuSpent { limit, used: self.used }))
            }
            (Poll::Pending, _) => Poll::Pending,
        }
    }

    fn has_computed(&self) -> bool {
        self.counted.is_some_and(|(_, spent)| spent.has_computed())
    }

    fn count(&self, used: Duration) {
        if let Some((metrics, spent)) = self.counted
            && spent.has_computed()
        {
            metrics.computed(used);
            spent.add_computed(used);
        }
    }
}

/// The processor time of this thread.
///
/// Uses the C library, since calls ask in the middle of computing: `rustix` first looks up the kernel's vDSO,
/// which it can do neither on the stack of a call nor under valgrind.
pub(in crate::plugin) fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
        static READ: Cell<u32> = const { Cell::new(0) };
    }

    fn fake() -> Duration {
        READ.set(READ.get() + 1);
        NOW.get()
    }

    fn pass(millis: u64) {
        NOW.set(NOW.get() + Duration::from_millis(millis));
    }

    fn meter(limit_millis: u64) -> Meter<'static> {
        Meter { clock: fake, ..Meter::new(Some(Duration::from_millis(limit_millis)), None) }
    }

    /// Polls once: computes for `millis` and stays pending.
    fn computes(meter: &mut Meter<'_>, millis: u64) -> Poll<Result<(), CpuSpent>> {
        meter.poll(|| {
            pass(millis);
            Poll::Pending
        })
    }

    #[test]
    fn a_call_that_ends_at_once_costs_no_look_at_the_clock() {
        let before = READ.get();
        assert_eq!(meter(1).poll(|| Poll::Ready(7)), Poll::Ready(Ok(7)));
        assert_eq!(
            Meter { clock: fake, ..Meter::new(None, None) }.poll(|| Poll::Ready(7)),
            Poll::Ready(Ok(7))
        );
        assert_eq!(READ.get(), before);
    }

    #[test]
    fn polls_are_added_up_and_the_time_between_them_is_not() {
        let mut meter = meter(10);
        assert_eq!(computes(&mut meter, 0), Poll::Pending);
        for _ in 0..3 {
            pass(1000);
            assert_eq!(computes(&mut meter, 3), Poll::Pending);
        }
        pass(1000);
        let spent = CpuSpent { limit: Duration::from_millis(10), used: Duration::from_millis(11) };
        assert_eq!(computes(&mut meter, 1), Poll::Ready(Err(spent)));
    }

    #[test]
    fn a_call_that_ends_as_it_goes_over_has_ended() {
        let mut meter = meter(5);
        assert_eq!(computes(&mut meter, 0), Poll::Pending);
        let last = meter.poll(|| {
            pass(100);
            Poll::Ready("done")
        });
        assert_eq!(last, Poll::Ready(Ok("done")));
    }

    #[test]
    fn without_a_limit_nothing_is_too_long() {
        let mut meter = Meter { clock: fake, ..Meter::new(None, None) };
        for _ in 0..5 {
            assert_eq!(computes(&mut meter, 1_000_000), Poll::Pending);
        }
    }
}
