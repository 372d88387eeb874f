//! The end of a connection.

use std::io;
use std::task::Context;

use super::{Connection, Reading};
use crate::plugin::Exchange;
use crate::server::close_reason::{CloseMessage, CloseReason};
use crate::server::registry::Disconnect;
use crate::telemetry::ERRORS;
use crate::telemetry::metrics::Counter;
use crate::text::shown;
use crate::wire::{Code, CommandError, Fault, encode_farewell, encode_fault};

/// Characters of TLS errors that are logged; some may be the peer's.
const MAX_ERROR_CHARS: usize = 200;

impl Connection {
    /// Reads no further request. A fault is told to the client after its replies.
    pub(super) fn end_reading(&mut self, reason: CloseReason, fault: Option<Fault>) {
        if matches!(self.reading, Reading::Open) || !reason.is_orderly() {
            self.reading = Reading::Ended(reason, fault.map(CloseMessage::Fault));
        }
    }

    /// Returns true if all requests are answered and no more are read.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.reading, Reading::Ended(_, None)) && self.in_flight.is_empty()
    }

    pub(super) fn close_reason(&self) -> CloseReason {
        match self.reading {
            Reading::Ended(reason, _) => reason,
            Reading::Open => CloseReason::Closed,
        }
    }

    /// Notices a disconnect while no request is read, so that commands that run for nobody are stopped.
    pub(super) fn read_ahead(&mut self, cx: &mut Context<'_>) {
        if self.may_read() {
            return;
        }
        if let Err(error) = self.io.read_ahead(cx) {
            self.read_failed(&error);
        } else if matches!(self.reading, Reading::Open) && self.io.is_read_out() {
            self.end_reading(CloseReason::Closed, None);
            cx.waker().wake_by_ref();
        }
    }

    /// Ends reading after an error. A violation of TLS is no accident of the client's, so it is logged as a
    /// warning.
    pub(super) fn read_failed(&mut self, error: &io::Error) {
        let connection = self.session.id();
        let reason = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(fault) => {
                let client = self.session.identity.name();
                let fault = fault.to_string();
                let error = shown(&fault, MAX_ERROR_CHARS);
                tracing::warn!(target: "lictor::connection", %connection, client, %error, "TLS fault");
                CloseReason::TlsFault
            }
            None => {
                tracing::debug!(target: "lictor::connection", %connection, %error, "cannot read");
                CloseReason::Gone
            }
        };
        self.end_reading(reason, None);
    }

    /// Stops the running commands and ends reading; waiting requests are answered in order.
    pub(super) fn cut_off(&mut self, Disconnect { reason, words, detail }: Disconnect) {
        if let Reading::Ended(reason, _) = self.reading
            && (reason.is_cut_off() || matches!(reason, CloseReason::Gone | CloseReason::TlsFault))
        {
            return;
        }
        let (connection, client) = (self.session.id(), self.session.identity.name());
        let thumbprint = self.session.identity.thumbprint();
        tracing::warn!(target: "lictor::connection", %connection, client, %thumbprint, reason = words, detail, "cut off");
        self.in_flight.stop_all_but(|_| false, reason.as_str());
        // It lasts until its client has taken the last words, and must not keep out the next one meanwhile.
        self.session.server.registry.count_out(&self.session.handle);
        self.reading = Reading::Ended(reason, Some(CloseMessage::Farewell(words)));
    }

    /// Answers a request that is dequeued after its client was disconnected; returns any other.
    pub(super) fn refuse_if_cut_off(&mut self, exchange: Exchange) -> Option<Exchange> {
        let reason = match self.reading {
            Reading::Ended(reason, _) if reason.is_cut_off() => reason,
            _ => return Some(exchange),
        };
        self.reply(&exchange, 0, Err(&CommandError::not_run(Code::Cancelled, reason.as_str())));
        None
    }

    /// Gives up the requests that wait.
    pub(super) fn forget_waiting(&mut self, reason: CloseReason) {
        for exchange in self.in_flight.forget_waiting() {
            self.session.log(&exchange, Err(&CommandError::not_run(Code::Cancelled, reason.as_str())));
        }
    }

    /// Encodes the message that the client reads last, if there is one and every request is answered.
    pub(super) fn send_close_message(&mut self) {
        let Reading::Ended(_, message @ Some(_)) = &mut self.reading else { return };
        if !self.in_flight.is_empty() {
            return;
        }
        match message.take() {
            Some(CloseMessage::Fault(fault)) => {
                encode_fault(&fault, self.io.unwritten());
                count(&fault);
                let client = self.session.identity.name_shared();
                ERRORS.add_fault(client, self.session.id(), &fault.to_string());
                let (connection, client) = (self.session.id(), self.session.identity.name());
                tracing::info!(target: "lictor::connection", %connection, client, %fault, "bad request");
            }
            Some(CloseMessage::Farewell(words)) => encode_farewell(&words, self.io.unwritten()),
            None => {}
        }
    }
}

/// Counts a fault that enforced a bound.
fn count(fault: &Fault) {
    match fault {
        Fault::HeadTooLong | Fault::TooManyArguments { .. } | Fault::TooManyHeaders { .. } => {
            Counter::HeadsTooLarge.count();
        }
        Fault::TooLarge { .. } => Counter::BodiesTooLarge.count(),
        Fault::TooSlow("head") => Counter::HeadsTimedOut.count(),
        Fault::TooSlow(_) => Counter::BodiesTimedOut.count(),
        _ => {}
    }
}
