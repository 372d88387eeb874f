//! Flow control of a connection: reading, writing, and the timeouts on both.

use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::timeouts::{Activity, Passed};
use super::{Connection, Reading};
use crate::server::close_reason::CloseReason;
use crate::telemetry::metrics::Counter;
use crate::watermark;
use crate::wire::Fault;

/// Bytes of unread replies at which no further request is run.
const MAX_UNWRITTEN_BYTES: usize = 256 << 10;

impl Connection {
    /// Returns true if another request may be read. If memory is short, that is one at a time, each after the
    /// client has taken the reply before.
    pub(super) fn may_read(&self) -> bool {
        let limits = &self.session.service.limits;
        matches!(self.reading, Reading::Open)
            // Those that were read and have not begun come first.
            && !self.in_flight.has_next()
            && self.in_flight.len() + self.batch.len() < limits.in_flight
            && self.in_flight.held_bytes() + self.batch.held_bytes() < limits.in_flight_bytes
            && self.may_write()
            && !self.session.is_in_doubt()
            && (!watermark::is_passed() || self.io.unwritten_bytes() == 0)
    }

    pub(super) fn may_write(&self) -> bool {
        self.io.unwritten_bytes() < MAX_UNWRITTEN_BYTES
    }

    /// Writes the encoded replies, in as few TLS records as possible.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<std::io::Result<()>> {
        let before = self.io.unwritten_bytes();
        if before == 0 && !self.is_flushing {
            return Poll::Ready(Ok(()));
        }
        if !self.is_flushing {
            self.timeouts.note_write(now);
        }
        self.is_flushing = true;
        let flushed = self.io.poll_flush(cx);
        if self.io.unwritten_bytes() < before {
            self.timeouts.note_write(now);
        }
        let flushed = ready!(flushed);
        self.is_flushing = false;
        Poll::Ready(flushed)
    }

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
