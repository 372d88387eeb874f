//! Timeouts of a connection that pass, and the bounds that hold it back meanwhile.

use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::timeouts::{Activity, Passed};
use super::{Connection, Reading};
use crate::server::close_reason::CloseReason;
use crate::telemetry::metrics::Counter;
use crate::wire::Fault;

impl Connection {
    /// Acts on a timeout that has passed; the task is woken at the next.
    pub(super) fn poll_timeouts(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<CloseReason> {
        let reads = self.may_read();
        if !reads {
            self.count_held_back();
        }
        let activity = Activity {
            phase: self.io.phase(),
            request: self.session.requests,
            reads,
            writes: self.is_flushing,
            is_idle: self.in_flight.is_empty(),
        };
        match ready!(self.timeouts.poll(activity, &self.session.service.limits, now, cx)) {
            Passed::Slow(part) => {
                self.end_reading(CloseReason::BadRequest, Some(Fault::TooSlow(part)));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Passed::Closes(reason) => Poll::Ready(reason),
        }
    }

    /// Counts the bound that keeps the connection from reading, if one does.
    fn count_held_back(&self) {
        let limits = &self.session.service.limits;
        if matches!(self.reading, Reading::Ended(..)) {
            return;
        }
        if !self.may_write() {
            Counter::UnwrittenFull.count();
        } else if self.in_flight.len() >= limits.in_flight {
            Counter::InFlightFull.count();
        } else if self.in_flight.held_bytes() >= limits.in_flight_bytes {
            Counter::InFlightBytesFull.count();
        }
    }
}
