//! The deadlines of one connection.
//!
//! The deadline that holds depends on what the connection does; [`Timeouts`] is told that and reports the
//! deadlines that have passed. It decides nothing and knows neither the stream nor the requests.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::server::close_reason::CloseReason;
use crate::server::service::ConnectionLimits;
use crate::wire::Phase;

/// A connection's state, as far as its deadlines depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity {
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
    /// The connection is closed.
    Closes(CloseReason),
}

/// Times of a connection's last events.
#[derive(Debug)]
pub(super) struct Timeouts {
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

impl Timeouts {
    /// Starts the timeouts; they are checked at `first` at the latest.
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
        activity: Activity,
        limits: &ConnectionLimits,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Passed> {
        let (deadline, passed) = self.deadline(activity, limits, now);
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

    fn deadline(&mut self, activity: Activity, limits: &ConnectionLimits, now: Instant) -> (Instant, Passed) {
        let phase = (activity.phase, activity.request);
        if self.phase != phase || !activity.reads {
            self.phase = phase;
            self.phase_began = now;
        }
        if activity.writes {
            return (self.written + limits.write_timeout, Passed::Closes(CloseReason::NotReading));
        }
        match activity.phase {
            Phase::Head if activity.reads => (self.phase_began + limits.head_timeout, Passed::Slow("head")),
            Phase::Body if activity.reads => (self.phase_began + limits.body_timeout, Passed::Slow("body")),
            _ if activity.is_idle => (self.active + limits.idle_timeout, Passed::Closes(CloseReason::Idle)),
            // Each command has its own deadline.
            _ => (now + limits.idle_timeout, Passed::Closes(CloseReason::Idle)),
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

    const IDLE: Activity =
        Activity { phase: Phase::Idle, request: 0, reads: true, writes: false, is_idle: true };

    /// Polls `timeouts` `seconds` after the start, with the tokio clock paused.
    async fn at(timeouts: &mut Timeouts, start: Instant, seconds: f64, activity: Activity) -> Option<Passed> {
        let now = start + Duration::from_secs_f64(seconds);
        match poll!(std::future::poll_fn(|cx| timeouts.poll(activity, &LIMITS, now, cx))) {
            Poll::Ready(passed) => Some(passed),
            Poll::Pending => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_state_has_its_deadline() {
        let start = Instant::now();
        let head = Activity { phase: Phase::Head, ..IDLE };
        let body = Activity { phase: Phase::Body, ..IDLE };
        let writes = Activity { writes: true, ..body };
        for (state, before, after, passed) in [
            (IDLE, 99.0, 100.0, Passed::Closes(CloseReason::Idle)),
            (head, 0.9, 1.0, Passed::Slow("head")),
            (body, 1.9, 2.0, Passed::Slow("body")),
            (writes, 2.9, 3.0, Passed::Closes(CloseReason::NotReading)),
        ] {
            let mut timeouts = Timeouts::new(start, start + LIMITS.idle_timeout);
            assert_eq!(at(&mut timeouts, start, 0.0, state).await, None);
            assert_eq!(at(&mut timeouts, start, before, state).await, None, "{state:?}");
            assert_eq!(at(&mut timeouts, start, after, state).await, Some(passed), "{state:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_head_has_its_own_time_and_only_while_the_server_reads() {
        let start = Instant::now();
        let mut timeouts = Timeouts::new(start, start + LIMITS.idle_timeout);
        let head = |request| Activity { phase: Phase::Head, request, ..IDLE };
        assert_eq!(at(&mut timeouts, start, 0.9, head(1)).await, None);
        assert_eq!(at(&mut timeouts, start, 1.8, head(2)).await, None);
        let unread = Activity { reads: false, is_idle: false, ..head(2) };
        assert_eq!(at(&mut timeouts, start, 50.0, unread).await, None);
        assert_eq!(at(&mut timeouts, start, 50.9, head(2)).await, None);
        assert_eq!(at(&mut timeouts, start, 51.0, head(2)).await, Some(Passed::Slow("head")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_under_way_keeps_the_connection() {
        let start = Instant::now();
        let mut timeouts = Timeouts::new(start, start + LIMITS.idle_timeout);
        assert_eq!(at(&mut timeouts, start, 1000.0, Activity { is_idle: false, ..IDLE }).await, None);
        assert_eq!(at(&mut timeouts, start, 1000.0, IDLE).await, Some(Passed::Closes(CloseReason::Idle)));
    }
}
