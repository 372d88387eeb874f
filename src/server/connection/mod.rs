//! One admitted client's connection.
//!
//! [`Connection::poll_budgeted`] is the loop: read, run, reply, flush. A request's own way, from permission
//! to its reply, is `Connection::dispatch` in `dispatch.rs`. All of it is one task, so that a request whose
//! command ends at once costs no wake-up, channel or lock: the executor polls the command where its request
//! was read, and the replies are written in one piece. Only a command that has to wait, or computes for more
//! than a tick, becomes a task of its own (`in_flight`).

mod close;
mod dispatch;
mod flow;
mod in_flight;
mod io;
mod keyed;
mod reply_budget;
mod running;
mod session;
mod signals;
mod timeouts;

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

pub(super) use self::in_flight::InFlight;
use self::in_flight::Waiting;
use self::io::{FramedIo, ReadError};
use self::running::Finished;
pub(super) use self::session::Session;
use self::timeouts::Timeouts;
use super::close_reason::{CloseMessage, CloseReason};
use super::refusal::Refusal;
use super::registry::ConnectionHandle;
use super::service::Service;
use super::shared::Shared;
use crate::plugin::Executor;
use crate::watermark;
use crate::wire::{GREETING, encode_part};

/// Bytes of unread replies at which no further request is run.
const MAX_UNWRITTEN_BYTES: usize = 256 << 10;

/// State of reading requests.
#[derive(Debug)]
enum Reading {
    Open,
    /// No more are read. The message, if any, follows the replies to those before it.
    Ended(CloseReason, Option<CloseMessage>),
}

/// A connection and its requests in flight.
pub(super) struct Connection {
    io: FramedIo,
    in_flight: InFlight,
    executor: Executor,
    session: Session,
    reading: Reading,
    timeouts: Timeouts,
    is_flushing: bool,
    /// Set if the last pass deferred its flush.
    is_deferred: bool,
    /// Set while a signal would wake the task.
    is_listening: bool,
}

impl Connection {
    /// Makes a connection that begins with the greeting.
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        handle: Arc<ConnectionHandle>,
        service: Arc<Service>,
        server: Arc<Shared>,
    ) -> Self {
        let now = Instant::now();
        let limits = service.limits;
        let local = stream.get_ref().0.local_addr().ok();
        Self {
            io: FramedIo::new(stream, limits.body_bytes, GREETING),
            in_flight: InFlight::default(),
            executor: Executor::default(),
            session: Session::new(handle, service, server, local),
            reading: Reading::Open,
            timeouts: Timeouts::new(now, now + limits.idle_timeout),
            is_flushing: false,
            is_deferred: false,
            is_listening: false,
        }
    }

    /// Serves until the end, and stops whatever still runs then.
    pub(super) async fn serve(&mut self) -> CloseReason {
        let reason = std::future::poll_fn(|cx| {
            let polled = self.poll_budgeted(cx);
            self.io.drop_empty();
            polled
        })
        .await;
        let stopped = self.in_flight.stop(reason.as_str()).await;
        self.session.look();
        for Finished { work, reply, .. } in stopped {
            self.session.log(work.exchange(), reply.as_ref().map(Vec::len));
        }
        self.forget_waiting(reason);
        reason
    }

    /// Number of requests that were read.
    pub(super) fn requests(&self) -> u64 {
        self.session.requests
    }

    /// The stream, to be closed.
    pub(super) fn stream(&mut self) -> &mut TlsStream<TcpStream> {
        self.io.stream_mut()
    }

    /// Reads, runs, replies and flushes until there is nothing to do, or until the time budget of a pass is
    /// used up: then it wakes itself, so that other connections are polled first.
    fn poll_budgeted(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let now = self.session.look();
        let until = now + self.session.service.limits.slice;
        self.session.memory_is_short = watermark::is_passed();
        self.io.memory_is_short = self.session.memory_is_short;
        self.poll_signals(cx);
        self.shed_if_memory_is_short(cx, until);
        loop {
            let was_deferred = std::mem::take(&mut self.is_deferred);
            let mut progressed = self.poll_replies(cx);
            if progressed && !was_deferred && self.in_flight.are_running() {
                self.defer_flush(cx);
                return Poll::Pending;
            }
            progressed |= self.run_waiting(cx, until);
            progressed |= self.poll_requests(cx, until);
            self.send_close_message();
            let was_full = !self.may_write();
            // Before the client reads its replies, so that its next request, on any connection, finds the
            // slot free.
            self.executor.release();
            let flushed = self.poll_flush(cx, now);
            // Nothing was held back by a full write buffer, and the stream will wake this task: another round
            // would find nothing to do.
            let is_done = !was_full
                && flushed.is_ready()
                && self.may_read()
                && self.io.is_waiting()
                && !self.in_flight.has_next();
            match flushed {
                Poll::Ready(Ok(())) if self.is_over() => return Poll::Ready(self.close_reason()),
                // With the buffer full nothing was polled, so nothing would wake this task.
                Poll::Ready(Ok(())) => progressed |= was_full,
                Poll::Ready(Err(_)) => return Poll::Ready(CloseReason::Gone),
                // With too much unwritten, only the client can help, by reading.
                Poll::Pending => progressed = self.may_write() && (progressed || was_full),
            }
            if !progressed {
                self.read_ahead(cx);
            }
            if let Reading::Ended(reason @ (CloseReason::Gone | CloseReason::TlsFault), _) = self.reading {
                return Poll::Ready(reason);
            }
            if !progressed {
                break;
            }
            self.timeouts.note_activity(now);
            self.session.handle.record_requests(self.session.requests, now);
            if is_done {
                break;
            }
            if self.session.look() >= until {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        self.poll_timeouts(cx, now)
    }

    /// Encodes the parts of streams, and the replies of commands that have ended.
    fn poll_replies(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progressed = false;
        if let Reading::Ended(reason, _) = self.reading {
            self.in_flight.stop_streams(reason);
        }
        while self.may_write() {
            if let Poll::Ready((sequence, part)) = self.in_flight.poll_part(cx) {
                encode_part(sequence, &part, self.io.unwritten());
            } else if let Poll::Ready(Finished { work, sent, reply }) = self.in_flight.poll_ended(cx) {
                if !progressed {
                    self.session.look();
                }
                self.reply(work.exchange(), sent, reply.as_deref());
            } else {
                break;
            }
            progressed = true;
        }
        progressed
    }

    /// Defers the flush by one scheduler pass, so that calls completing together share a write: the first
    /// completion wakes this task before its siblings have finished.
    fn defer_flush(&mut self, cx: &mut Context<'_>) {
        self.is_deferred = true;
        cx.waker().wake_by_ref();
    }

    /// Runs the waiting requests that may begin. One for which no time is left counts as progress to come.
    fn run_waiting(&mut self, cx: &mut Context<'_>, until: Instant) -> bool {
        let mut progressed = false;
        while self.may_write() && self.in_flight.has_next() && !self.session.is_in_doubt() {
            progressed = true;
            if self.session.look() >= until {
                break;
            }
            let Some(Waiting { exchange, refusal }) = self.in_flight.take_next() else { break };
            let Some(exchange) = self.refuse_if_cut_off(exchange) else { continue };
            // One by one: the next may have to wait for it.
            self.dispatch(exchange, refusal, cx, until);
            self.run_batch(cx, until);
        }
        progressed
    }

    /// Reads and runs requests while there are any, with buffer space for their replies, and time. Polls for
    /// one however late it is: a stream that is not polled wakes nobody.
    fn poll_requests(&mut self, cx: &mut Context<'_>, until: Instant) -> bool {
        let mut progressed = false;
        while self.may_read() && (!progressed || self.session.now < until) {
            let Poll::Ready(read) = self.io.poll_request(cx) else { break };
            progressed = true;
            let arrived = self.session.now;
            match read {
                Some(Ok(request)) => self.accept(request, None, cx, until),
                Some(Err(ReadError::Unread(request))) => {
                    self.accept(request, Some(Refusal::MemoryIsShort), cx, until);
                }
                Some(Err(ReadError::Fault(fault))) => self.end_reading(CloseReason::BadRequest, Some(fault)),
                Some(Err(ReadError::Io(error))) => self.read_failed(&error),
                None if self.io.has_stopped() => self.end_reading(CloseReason::Stopping, None),
                None => self.end_reading(CloseReason::Closed, None),
            }
            // Its reply has looked already, if there was one.
            if self.in_flight.batch_is_empty() && self.session.now == arrived {
                self.session.look();
            }
        }
        self.run_batch(cx, until);
        progressed
    }

    /// Returns true if another request may be read. If memory is short, that is one at a time, each after the
    /// client has taken the reply before.
    pub(super) fn may_read(&self) -> bool {
        let limits = &self.session.service.limits;
        matches!(self.reading, Reading::Open)
            // Those that were read and have not begun come first.
            && !self.in_flight.has_next()
            && self.in_flight.len() < limits.in_flight
            && self.in_flight.held_bytes() < limits.in_flight_bytes
            && self.may_write()
            && !self.session.is_in_doubt()
            && (!self.session.memory_is_short || self.io.unwritten_bytes() == 0)
    }

    pub(super) fn may_write(&self) -> bool {
        self.io.unwritten_bytes() < MAX_UNWRITTEN_BYTES
    }

    /// Writes the encoded replies, in as few TLS records as possible.
    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<std::io::Result<()>> {
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
}
