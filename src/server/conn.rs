//! One admitted client's connection.
//!
//! [`Connection::poll_serve`] is the way of a request: read, permit, route, run, reply. All of it is one task, so that
//! a request whose command ends at once costs no wake-up, channel or lock: the command is polled where it is read, and
//! its reply goes into the buffer that is then written in one piece. Only a command that has to wait, or computes for
//! longer than a tick, becomes a task of its own (`lanes`), and its answer is collected here.

mod orders;

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use self::orders::LastWord;
use super::accept::Shared;
use super::batch::Batch;
use super::builtin::{self, Done};
use super::clock::{Clock, Passed, State};
use super::in_place::{InPlace, Ran};
use super::lanes::{Arrival, Lanes, Ticket, held_bytes};
use super::link::{Link, ReadError};
use super::members::Member;
use super::refusal::Refusal;
use super::session::Session;
use super::{End, Service, once};
use crate::route::Target;
use crate::telemetry::RequestId;
use crate::watermark;
use crate::wire::{CommandError, Fault, GREETING, Request, encode_part};

/// Replies that may be waiting for the client to read them, in bytes, before no further request is run.
const MAX_UNWRITTEN_BYTES: usize = 256 << 10;

/// Whether further requests are read.
#[derive(Debug)]
enum Reading {
    Open,
    /// No more. The last word, if any, is said once all that came before it is answered.
    Ended(End, Option<LastWord>),
}

/// A connection and what is under way on it.
pub(super) struct Connection {
    link: Link,
    lanes: Lanes,
    batch: Batch,
    session: Session,
    reading: Reading,
    clock: Clock,
    is_flushing: bool,
    /// Whether the last pass put its flush off.
    is_deferred: bool,
    in_place: InPlace,
    is_listening: bool,
}

impl Connection {
    /// A connection that begins with the greeting.
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        member: Arc<Member>,
        service: Arc<Service>,
        server: Arc<Shared>,
    ) -> Self {
        let now = Instant::now();
        let limits = service.limits;
        Self {
            link: Link::new(stream, limits.body_bytes, GREETING),
            lanes: Lanes::default(),
            batch: Batch::default(),
            session: Session::new(member, service, server),
            reading: Reading::Open,
            clock: Clock::new(now, now + limits.idle_timeout),
            is_flushing: false,
            is_deferred: false,
            in_place: InPlace::default(),
            is_listening: false,
        }
    }

    /// Serves until the end, and stops what still runs then.
    pub(super) async fn serve(&mut self) -> End {
        let end = std::future::poll_fn(|cx| self.poll_serve(cx)).await;
        for (ticket, error) in self.lanes.stop(end.as_str()).await {
            self.session.log(&ticket, Err(&error));
        }
        self.forget_waiting(end);
        end
    }

    /// Requests that were read.
    pub(super) fn requests(&self) -> u64 {
        self.session.requests
    }

    /// The stream, to be closed.
    pub(super) fn stream(&mut self) -> &mut TlsStream<TcpStream> {
        self.link.stream_mut()
    }

    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let polled = self.poll_turn(cx);
        self.link.drop_empty();
        polled
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let now = Instant::now();
        let until = now + self.session.service.limits.slice;
        self.poll_orders(cx);
        self.shed_if_memory_is_short(now, cx, until);
        loop {
            let was_deferred = std::mem::take(&mut self.is_deferred);
            let mut progressed = self.poll_answers(cx);
            if progressed && !was_deferred && self.lanes.are_running() {
                self.defer_flush(cx);
                return Poll::Pending;
            }
            progressed |= self.run_waiting(cx, until);
            progressed |= self.poll_requests(cx, now, until);
            if self.has_only_last_word_left() {
                self.say_last_word();
            }
            let was_full = !self.has_room_to_write();
            // Before a client reads its answers: what it does next, be it on another connection, finds all given back.
            self.in_place.leave();
            let flushed = self.poll_flush(cx, now);
            // Nothing is left, and nothing had to wait for room: another round would find no more.
            let waits_for_client = self.may_read() && self.link.is_waiting() && flushed.is_ready();
            let is_done = waits_for_client && !was_full && !self.lanes.has_next();
            match flushed {
                Poll::Ready(Ok(())) if self.is_over() => return Poll::Ready(self.end()),
                // What had to wait for room was not asked, and would wake nobody.
                Poll::Ready(Ok(())) => progressed |= was_full,
                Poll::Ready(Err(_)) => return Poll::Ready(End::Gone),
                // With too much unwritten, only the client's reading can help.
                Poll::Pending => progressed = self.has_room_to_write() && (progressed || was_full),
            }
            if !progressed {
                self.listen(cx);
            }
            if let Reading::Ended(end @ (End::Gone | End::TlsFault), _) = self.reading {
                return Poll::Ready(end);
            }
            if !progressed {
                break;
            }
            self.clock.note_activity(now);
            self.session.member.record_requests(self.session.requests, now);
            if is_done {
                break;
            }
            if Instant::now() >= until {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        self.poll_deadline(cx, now)
    }

    /// Sends what streams gave, and the answers of commands that have ended.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progressed = false;
        if let Reading::Ended(end, _) = self.reading {
            self.lanes.stop_streams(end);
        }
        while self.has_room_to_write() {
            if let Poll::Ready((sequence, part)) = self.lanes.poll_part(cx) {
                encode_part(sequence, &part, self.link.unwritten());
            } else if let Poll::Ready((ticket, answer)) = self.lanes.poll_ended(cx) {
                self.reply(&ticket, answer.as_deref());
            } else {
                break;
            }
            progressed = true;
        }
        progressed
    }

    /// Defers the flush by one scheduler pass, so that calls completing together share a write: the first completion wakes this
    /// task before its siblings have finished.
    fn defer_flush(&mut self, cx: &mut Context<'_>) {
        self.is_deferred = true;
        cx.waker().wake_by_ref();
    }

    /// Runs the requests that wait and whose turn has come. Those that there is no time for are progress to come.
    fn run_waiting(&mut self, cx: &mut Context<'_>, until: Instant) -> bool {
        let mut progressed = false;
        while self.has_room_to_write() && self.lanes.has_next() && !self.session.is_in_doubt() {
            progressed = true;
            let now = Instant::now();
            if now >= until {
                break;
            }
            let Some(arrival) = self.lanes.take_next() else { break };
            let Some(arrival) = self.refuse_if_cut_off(arrival) else { continue };
            // One by one: the next may have to wait for it.
            self.run(arrival, now, cx, until);
            self.run_batch(cx, until);
        }
        progressed
    }

    /// Reads and runs requests while there are any, and room for them and for their replies, and time. It looks for one
    /// however late it is: what was not looked for would wake nobody.
    fn poll_requests(&mut self, cx: &mut Context<'_>, began: Instant, until: Instant) -> bool {
        let mut progressed = false;
        let mut now = began;
        while self.may_read() && (!progressed || now < until) {
            let Poll::Ready(read) = self.link.poll_request(cx) else { break };
            progressed = true;
            match read {
                Some(Ok(request)) => self.accept((request, None), now, cx, until),
                Some(Err(ReadError::Unread(request))) => {
                    self.accept((request, Some(Refusal::MemoryIsShort)), now, cx, until);
                }
                Some(Err(ReadError::Fault(fault))) => self.end_reading(End::BadRequest, Some(fault)),
                Some(Err(ReadError::Io(error))) => self.read_failed(&error),
                None => self.end_reading(End::Closed, None),
            }
            if self.batch.is_empty() {
                now = Instant::now();
            }
        }
        self.run_batch(cx, until);
        progressed
    }

    /// Where memory is short, requests are read one by one, each once the client has taken the reply before.
    fn may_read(&self) -> bool {
        let limits = &self.session.service.limits;
        // What was read and not begun comes first.
        matches!(self.reading, Reading::Open)
            && !self.lanes.has_next()
            && self.lanes.len() + self.batch.len() < limits.in_flight
            && self.lanes.held_bytes() + self.batch.held_bytes() < limits.in_flight_bytes
            && self.has_room_to_write()
            && !self.session.is_in_doubt()
            && (!watermark::is_passed() || self.link.unwritten_bytes() == 0)
    }

    fn has_room_to_write(&self) -> bool {
        self.link.unwritten_bytes() < MAX_UNWRITTEN_BYTES
    }

    /// Gives a request its id and its place in the order: behind the batch, unless it joins that; a plain one behind the plain
    /// one before it, which may run on; any behind answers that have left no room for its own.
    fn accept(
        &mut self,
        (request, refusal): (Request, Option<Refusal>),
        now: Instant,
        cx: &mut Context<'_>,
        until: Instant,
    ) {
        self.session.requests += 1;
        let id = RequestId { connection: self.session.id(), number: self.session.requests };
        let refusal = self.session.spend_rate().err().or(refusal);
        let arrival = Arrival { id, at: now, refusal, request };
        if !self.batch.accepts(&arrival, &self.session.service.routes) {
            self.run_batch(cx, until);
        }
        match arrival.request.sequence() {
            None if self.lanes.plain_waits() => self.lanes.wait(arrival),
            _ if !self.has_room_to_write() => self.lanes.wait(arrival),
            _ => self.run(arrival, now, cx, until),
        }
    }

    /// The way of one request: permit, route, run, reply. Each is done once; a request that waits has been through none.
    ///
    /// What goes to a plugin is put to the batch, to be run with what comes next; all else is answered at once.
    fn run(&mut self, arrival: Arrival, now: Instant, cx: &mut Context<'_>, until: Instant) {
        let Arrival { id, at: arrived, refusal, request } = arrival;
        let sequence = request.sequence().cloned();
        if let Some(sequence) = &sequence
            && self.lanes.is_in_flight(sequence)
        {
            let fault = Fault::InFlight(sequence.clone());
            return self.end_reading(End::BadRequest, Some(fault));
        }
        let Self { session, lanes, .. } = self;
        let arguments = session.service.log.arguments(&request);
        let (bytes, has_key) = (held_bytes(&request, &arguments), request.idempotency_key().is_some());
        let ticket = |command: Arc<str>| Ticket { id, sequence, command, arguments, arrived, bytes, sent: 0 };

        match session.target(request, refusal) {
            Ok(Target::Plugin(command, plugin, request)) if has_key || plugin.is_streaming() => {
                match once::begin(session, ticket(Arc::clone(command)), request, plugin, lanes) {
                    Ok(()) => cx.waker().wake_by_ref(),
                    Err((ticket, error)) => self.reply(&ticket, Err(&error)),
                }
            }
            Ok(Target::Plugin(command, plugin, request)) => {
                let ticket = ticket(Arc::clone(command));
                let takes_many = plugin.takes_many() && !session.service.close_on_error;
                self.batch.push(ticket, plugin, session.call(request, plugin, id, arrived, now));
                if !takes_many {
                    self.run_batch(cx, until);
                }
            }
            Ok(Target::BuiltIn(built_in, request)) => {
                let ticket = ticket(request.command().into());
                match builtin::run(built_in, &request, session, lanes) {
                    Done::Now(answer) => self.reply(&ticket, answer.as_deref()),
                    Done::Later(command) => {
                        lanes.run_own(ticket, command);
                        cx.waker().wake_by_ref();
                    }
                }
            }
            // It was to join the batch by its command. Its reply comes after theirs, so it waits for its turn instead.
            Err(refused) if !self.batch.is_empty() => {
                lanes.wait(Arrival { id, at: arrived, refusal, request: refused.request });
            }
            Err(refused) => {
                refused.count();
                self.reply(&ticket(refused.request.command().into()), Err(&refused.error()));
            }
        }
    }

    /// Runs the calls of the batch, here as far as they end at once. One that does not becomes a task, and those behind it
    /// wait for their turn, as do those that there is no time for.
    fn run_batch(&mut self, cx: &mut Context<'_>, until: Instant) {
        let Self { session, batch, in_place, .. } = self;
        let Some((plugin, calls)) = batch.calls() else { return };
        let Ran { answers, runs_on } = in_place.run(|| session.seat(), plugin, calls, until, cx);
        let runs_on = runs_on.map(|command| plugin.aside(command));
        let mut batch = std::mem::take(batch);
        for (ticket, answer) in batch.tickets.iter().zip(&answers) {
            self.reply(ticket, answer.as_deref());
        }
        if let Some(command) = runs_on {
            let (ticket, call) = batch.take(answers.len());
            self.lanes.run(ticket, call, command, None);
            // The task has to be asked once, so that its end wakes this connection.
            cx.waker().wake_by_ref();
        }
        for left in batch.empty(answers.len()).rev() {
            match left {
                Ok(arrival) => self.lanes.wait_first(arrival),
                Err(answered) => self.reply(&answered.0, Err(&answered.1)),
            }
        }
        self.batch = batch;
    }

    fn reply(&mut self, ticket: &Ticket, answer: Result<&[u8], &CommandError>) {
        let replied = self.session.reply(ticket, answer, self.link.unwritten());
        if replied.is_err() && self.session.service.close_on_error {
            self.forget_waiting(End::CommandError);
            self.end_reading(End::CommandError, None);
        }
    }

    /// Gives up the plain requests whose turn has not come.
    fn forget_waiting(&mut self, end: End) {
        self.lanes.forget_waiting().into_iter().for_each(|arrival| self.session.log_forgotten(arrival, end));
    }

    fn end_reading(&mut self, end: End, fault: Option<Fault>) {
        if matches!(self.reading, Reading::Open) || !end.is_orderly() {
            self.reading = Reading::Ended(end, fault.map(LastWord::Fault));
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.reading, Reading::Ended(_, None)) && self.lanes.is_empty()
    }

    fn end(&self) -> End {
        match self.reading {
            Reading::Ended(end, _) => end,
            Reading::Open => End::Closed,
        }
    }

    /// Writes what there is for the client, all of it in as few TLS records as it fits in.
    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<std::io::Result<()>> {
        let before = self.link.unwritten_bytes();
        if before == 0 && !self.is_flushing {
            return Poll::Ready(Ok(()));
        }
        if !self.is_flushing {
            self.clock.note_write(now);
        }
        self.is_flushing = true;
        let flushed = self.link.poll_flush(cx);
        if self.link.unwritten_bytes() < before {
            self.clock.note_write(now);
        }
        let flushed = ready!(flushed);
        self.is_flushing = false;
        Poll::Ready(flushed)
    }

    /// Acts on a deadline that has passed, and sees to it that the task is woken at the next.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<End> {
        let reads = self.may_read();
        if !reads {
            self.count_held_back();
        }
        let state = State {
            phase: self.link.phase(),
            request: self.session.requests,
            reads,
            writes: self.is_flushing,
            is_idle: self.lanes.is_empty(),
        };
        match ready!(self.clock.poll(state, &self.session.service.limits, now, cx)) {
            Passed::Slow(part) => {
                self.end_reading(End::BadRequest, Some(Fault::TooSlow(part)));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Passed::Ends(end) => Poll::Ready(end),
        }
    }
}
