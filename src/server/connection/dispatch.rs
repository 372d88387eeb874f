//! The way of a request: accepted, permitted, routed, run and answered, each once.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::in_flight::{Waiting, take_back};
use super::keyed;
use super::{Connection, Session};
use crate::authz::Grounds;
use crate::plugin::{Call, DeadlineOf, Exchange, Plugin};
use crate::route::Target;
use crate::server::builtin::{self, Done};
use crate::server::close_reason::CloseReason;
use crate::server::refusal::Refusal;
use crate::telemetry::RequestId;
use crate::wire::{Code, CommandError, Fault, Request};

impl Connection {
    /// Gives a request its id, and dispatches it in order: after the batch, unless the request joins it; a
    /// plain one after the plain one before it, which may still run; any after the replies, once the write
    /// buffer has space for its own.
    pub(super) fn accept(
        &mut self,
        request: Request,
        refusal: Option<Refusal>,
        cx: &mut Context<'_>,
        until: Instant,
    ) {
        self.session.requests += 1;
        let id = RequestId { connection: self.session.id(), number: self.session.requests };
        let refusal = self.session.spend_rate().err().or(refusal);
        let trace = self.session.traces.as_mut().and_then(|traces| traces.trace(&request));
        let exchange = Exchange { trace, ..Exchange::new(id, self.session.now, request) };
        if refusal.is_some() || !self.in_flight.batch_accepts(&exchange, &self.session.service.routes) {
            self.run_batch(cx, until);
        }
        match exchange.request.sequence() {
            None if self.in_flight.plain_waits() => self.in_flight.enqueue(Waiting { exchange, refusal }),
            _ if !self.may_write() => self.in_flight.enqueue(Waiting { exchange, refusal }),
            _ => self.dispatch(exchange, refusal, cx, until),
        }
    }

    /// Permits and routes a request, and runs it: a built-in at once, a plugin's command together with those
    /// that follow (`batch`), a stream or a keyed command as a task. A request that had to wait has been
    /// through none of this.
    pub(super) fn dispatch(
        &mut self,
        mut exchange: Exchange,
        refusal: Option<Refusal>,
        cx: &mut Context<'_>,
        until: Instant,
    ) {
        if let Some(sequence) = exchange.request.sequence()
            && self.in_flight.has(sequence)
        {
            let fault = Fault::InFlight(sequence.clone());
            return self.end_reading(CloseReason::BadRequest, Some(fault));
        }
        let Self { session, in_flight, .. } = self;
        match session.permit_and_route(&exchange.request, refusal) {
            Ok((Target::Plugin(plugin), grounds)) => {
                if grounds == Grounds::Reported {
                    session.report(&mut exchange);
                }
                let is_keyed = exchange.request.idempotency_key().is_some();
                let call = call(session, exchange, plugin);
                if is_keyed || plugin.is_streaming() {
                    return match keyed::begin(session, plugin, &call, in_flight) {
                        Ok(()) => cx.waker().wake_by_ref(),
                        Err(error) => self.reply(call.exchange(), 0, Err(&error)),
                    };
                }
                let takes_many = plugin.takes_many() && !session.service.close_on_error;
                in_flight.push(plugin, call);
                if !takes_many {
                    self.run_batch(cx, until);
                }
            }
            Ok((Target::BuiltIn(built_in), _)) => {
                match builtin::run(built_in, &exchange.request, session, in_flight) {
                    Done::Now(reply) => {
                        session.look();
                        self.reply(&exchange, 0, reply.as_deref());
                    }
                    Done::Later { parts, reply } => {
                        if parts.is_some() {
                            exchange.spent.mark_stream();
                        }
                        in_flight.run_built_in(exchange, parts, reply);
                        cx.waker().wake_by_ref();
                    }
                }
            }
            // Its command qualified it for the batch, but it was refused. Its reply must follow theirs, so it
            // waits for its turn.
            Err(_) if !in_flight.batch_is_empty() => in_flight.enqueue(Waiting { exchange, refusal }),
            Err(refusal) => {
                refusal.count();
                self.reply(&exchange, 0, Err(&refusal.error(&exchange.request)));
            }
        }
    }

    /// Runs the batch. A call that does not end at once becomes a task; those behind it are queued, as are
    /// those for which no time is left.
    pub(super) fn run_batch(&mut self, cx: &mut Context<'_>, until: Instant) {
        let Self { session, in_flight, executor, .. } = self;
        let Some((plugin, calls)) = in_flight.batch() else { return };
        let mut replies = Vec::with_capacity(calls.len());
        let pending = executor.poll(&session.limit, plugin, calls, until, &mut replies, cx);
        session.look();
        let mut batch = in_flight.take_batch();
        let mut calls = batch.drain(..);
        // In this order: zipped the other way, the call after the last reply would be dropped.
        for (reply, call) in replies.into_iter().zip(calls.by_ref()) {
            self.reply(call.exchange(), 0, reply.as_deref());
        }
        if let Some(pending) = pending
            && let Some(call) = calls.next()
        {
            self.in_flight.run(call, pending, None);
            // The task has to be polled once, so that its end wakes this connection.
            cx.waker().wake_by_ref();
        }
        for call in calls.rev() {
            match take_back(call) {
                Ok(exchange) => self.in_flight.enqueue_first(exchange),
                Err(call) => {
                    let error = CommandError::unknown(Code::Internal, "The server failed");
                    self.reply(call.exchange(), 0, Err(&error));
                }
            }
        }
        self.in_flight.reuse(batch);
    }

    /// Encodes and logs the reply to a request, of which `sent` bytes were sent in parts.
    pub(super) fn reply(&mut self, exchange: &Exchange, sent: usize, reply: Result<&[u8], &CommandError>) {
        let replied = self.session.reply(exchange, sent, reply, self.io.unwritten());
        if replied.is_err() && self.session.service.close_on_error {
            self.forget_waiting(CloseReason::CommandError);
            self.end_reading(CloseReason::CommandError, None);
        }
    }
}

/// Makes the call of a request to `plugin` that begins now.
///
/// Its deadline is the sooner of the plugin's, which counts from the command's beginning, and the client's,
/// which counts from the request's arrival: a request waits for its turn on the client's time, not on the
/// plugin's.
fn call(session: &Session, exchange: Exchange, plugin: &Plugin) -> Arc<Call> {
    let limit = session.now + plugin.time_limit();
    let timeout = exchange.request.timeout_ms();
    let of_client = timeout.and_then(|timeout| exchange.arrived.checked_add(Duration::from_millis(timeout)));
    let deadline = of_client.map_or(limit, |of_client| of_client.min(limit));
    let owner = if deadline < limit { DeadlineOf::Client } else { DeadlineOf::Plugin };
    let call = Call::new(exchange, session.identity.clone(), deadline).with_deadline_of(owner);
    Arc::new(if plugin.runs_commands() { call.with_commands(session.server.clone()) } else { call })
}
