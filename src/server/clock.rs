//! The deadlines of one connection.
//!
//! The deadline that holds depends on what the connection does; [`Clock`] is told that and reports the
//! deadlines that have passed. It decides nothing and knows neither the link nor the lanes.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{ConnectionLimits, End};
use crate::wire::Phase;

/// A connection's state, as far as its deadlines depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// Position of the byte stream within a request.
    pub(super) phase: Phase,
    /// Number of requests read; tells one head from the next.
    pub(super) request: u64,
    /// Set while the server reads. If it does not, the client is not to blame for being slow.
    pub(super) reads: bool,
    /// Set while something waits for the client to take it.
    pub(super) writes: bool,
    /// Set if no request is running.
    pub(super) is_idle: bool,
}

/// Consequence of a deadline that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// This part of a request was too slow.
    Slow(&'static str),
    /// The connection ends.
    Ends(End),
}

/// Times of a connection's last events.
#[derive(Debug)]
pub(super) struct Clock {
    /// The last byte, request or reply.
    active: Instant,
    /// The phase of reading, the number of its request, and the time when it began.
    phase: (Phase, u64),
    phase_began: Instant,
    /// The last time at which the client took some of the waiting bytes.
    written: Instant,
    sleep: Pin<Box<Sleep>>,
    is_armed: bool,
}

impl Clock {
    /// Makes a clock that looks at its deadlines at `first` at the latest.
    pub(super) fn new(now: Instant, first: Instant) -> Self {
        Self {
            active: now,
            phase: (Phase::Idle, 0),
            phase_began: now,
            written: now,
            sleep: Box::pin(sleep_until(first)),
            is_armed: false,
        }
    }

    /// Notes that a byte, a request or a reply came.
    pub(super) fn note_activity(&mut self, now: Instant) {
        self.active = now;
    }

    /// Notes that the client took something, or that there is something for it to take.
    pub(super) fn note_write(&mut self, now: Instant) {
        self.written = now;
    }

    /// Returns the consequence of a passed deadline; if none has passed, wakes the task when the next one
    /// comes.
    pub(super) fn poll(
        &mut self,
        state: State,
        limits: &ConnectionLimits,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Passed> {
        let (deadline, passed) = self.deadline(state, limits, now);
        if deadline <= now {
            return Poll::Ready(passed);
        }
        // A timer that fires too early costs one more look; moving it at every request would cost more.
        if !self.is_armed || deadline < self.sleep.deadline() || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(deadline);
            self.is_armed = true;
            if self.sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(passed);
            }
        }
        Poll::Pending
    }

    fn deadline(&mut self, state: State, limits: &ConnectionLimits, now: Instant) -> (Instant, Passed) {
        let phase = (state.phase, state.request);
        if self.phase != phase || !state.reads {
            self.phase = phase;
            self.phase_began = now;
        }
        if state.writes {
            return (self.written + limits.write_timeout, Passed::Ends(End::NotReading));
        }
        match state.phase {
            Phase::Head if state.reads => (self.phase_began + limits.head_timeout, Passed::Slow("head")),
            Phase::Body if state.reads => (self.phase_began + limits.body_timeout, Passed::Slow("body")),
            _ if state.is_idle => (self.active + limits.idle_timeout, Passed::Ends(End::Idle)),
            // Each command has its own deadline.
            _ => (now + limits.idle_timeout, Passed::Ends(End::Idle)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::poll;

    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        in_flight: 1,
        in_flight_bytes: 1,
        body_bytes: 1,
        head_timeout: Duration::from_secs(1),
        body_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(100),
        write_timeout: Duration::from_secs(3),
        slice: Duration::from_millis(1),
    };

    const IDLE: State = State { phase: Phase::Idle, request: 0, reads: true, writes: false, is_idle: true };

    /// Polls the clock `seconds` after the start, with the tokio clock paused.
    async fn at(clock: &mut Clock, start: Instant, seconds: f64, state: State) -> Option<Passed> {
        let now = start + Duration::from_secs_f64(seconds);
        match poll!(std::future::poll_fn(|cx| clock.poll(state, &LIMITS, now, cx))) {
            Poll::Ready(passed) => Some(passed),
            Poll::Pending => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_state_has_its_deadline() {
        let start = Instant::now();
        let head = State { phase: Phase::Head, ..IDLE };
        let body = State { phase: Phase::Body, ..IDLE };
        let writes = State { writes: true, ..body };
        for (state, before, after, passed) in [
            (IDLE, 99.0, 100.0, Passed::Ends(End::Idle)),
            (head, 0.9, 1.0, Passed::Slow("head")),
            (body, 1.9, 2.0, Passed::Slow("body")),
            (writes, 2.9, 3.0, Passed::Ends(End::NotReading)),
        ] {
            let mut clock = Clock::new(start, start + LIMITS.idle_timeout);
            assert_eq!(at(&mut clock, start, 0.0, state).await, None);
            assert_eq!(at(&mut clock, start, before, state).await, None, "{state:?}");
            assert_eq!(at(&mut clock, start, after, state).await, Some(passed), "{state:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_head_has_its_own_time_and_only_while_the_server_reads() {
        let start = Instant::now();
        let mut clock = Clock::new(start, start + LIMITS.idle_timeout);
        let head = |request| State { phase: Phase::Head, request, ..IDLE };
        assert_eq!(at(&mut clock, start, 0.9, head(1)).await, None);
        assert_eq!(at(&mut clock, start, 1.8, head(2)).await, None);
        let unread = State { reads: false, is_idle: false, ..head(2) };
        assert_eq!(at(&mut clock, start, 50.0, unread).await, None);
        assert_eq!(at(&mut clock, start, 50.9, head(2)).await, None);
        assert_eq!(at(&mut clock, start, 51.0, head(2)).await, Some(Passed::Slow("head")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_under_way_keeps_the_connection() {
        let start = Instant::now();
        let mut clock = Clock::new(start, start + LIMITS.idle_timeout);
        assert_eq!(at(&mut clock, start, 1000.0, State { is_idle: false, ..IDLE }).await, None);
        assert_eq!(at(&mut clock, start, 1000.0, IDLE).await, Some(Passed::Ends(End::Idle)));
    }
}
