//! What a connection is told from outside, and what it says last.

use std::io;
use std::task::Context;

use tokio::time::Instant;

use super::{Connection, Reading};
use crate::server::end::End;
use crate::server::lanes::Arrival;
use crate::server::members::Cut;
use crate::server::refusal::Refusal;
use crate::server::session::Session;
use crate::telemetry::metrics::Counter;
use crate::text::shown;
use crate::watermark;
use crate::wire::{Code, CommandError, Fault, encode_farewell, encode_fault};

/// Characters of what TLS says that are logged; some of it may be the peer's.
const MAX_ERROR_CHARS: usize = 200;

/// What the client reads last.
#[derive(Debug)]
pub(super) enum LastWord {
    /// Its bytes were no request.
    Fault(Fault),
    /// It is cut off.
    Farewell(String),
}

impl Connection {
    /// Does what the connection is told from outside.
    pub(super) fn poll_orders(&mut self, cx: &mut Context<'_>) {
        // The task's waker stays the same, so one registration does until it has woken.
        if self.is_listening && !self.session.member.has_orders() && !self.session.is_in_doubt() {
            return;
        }
        self.is_listening = true;
        let orders = self.session.member.take_orders(cx.waker());
        if orders.stop() {
            self.end_reading(End::Stopping, None);
        }
        if orders.renew() {
            let chain = self.link.stream().get_ref().1.peer_certificates().unwrap_or_default();
            match self.session.renew(chain) {
                Ok(()) => {
                    let Session { service, identity, .. } = &self.session;
                    let allowed = |command: &str| service.policy.allows(identity, command);
                    self.lanes.stop_all_but(allowed, "The permission was withdrawn");
                    self.link.set_max_body_bytes(service.limits.body_bytes);
                }
                Err(rejection) => self.cut_off(Cut::revoked(&rejection)),
            }
        }
        if let Err(rejection) = self.session.poll_recheck(cx) {
            self.cut_off(Cut::revoked(&rejection));
        }
        if self.session.poll_patience(cx) {
            self.lanes.stop_all_but(
                |_| false,
                "It takes too long to find out whether the client is still admitted",
            );
        }
        if let Some(cut) = self.session.member.take_cut() {
            self.cut_off(cut);
        }
    }

    /// Where memory is short, gives up what is held of requests that have not begun.
    pub(super) fn shed_if_memory_is_short(&mut self, now: Instant, cx: &mut Context<'_>, until: Instant) {
        if !watermark::is_passed() {
            return;
        }
        self.lanes.refuse_waiting();
        if let Some(request) = self.link.shed_body().filter(|_| matches!(self.reading, Reading::Open)) {
            self.accept((request, Some(Refusal::MemoryIsShort)), now, cx, until);
        }
    }

    /// Hears of the client's end where no request is read, so that what runs for nobody is stopped.
    pub(super) fn listen(&mut self, cx: &mut Context<'_>) {
        if self.may_read() {
            return;
        }
        if let Err(error) = self.link.read_ahead(cx) {
            self.read_failed(&error);
        } else if matches!(self.reading, Reading::Open) && self.link.is_read_out() {
            self.end_reading(End::Closed, None);
            cx.waker().wake_by_ref();
        }
    }

    /// Nothing more can be read. A fault of TLS is no end that a client comes to by mischance, so it is told.
    pub(super) fn read_failed(&mut self, error: &io::Error) {
        let connection = self.session.id();
        let end = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(fault) => {
                let client = self.session.identity.name();
                let fault = fault.to_string();
                let error = shown(&fault, MAX_ERROR_CHARS);
                tracing::warn!(target: "lictor::connection", %connection, client, %error, "TLS fault");
                End::TlsFault
            }
            None => {
                tracing::debug!(target: "lictor::connection", %connection, %error, "cannot read");
                End::Gone
            }
        };
        self.end_reading(end, None);
    }

    /// Stops what runs and says why; what waits is answered in its turn.
    fn cut_off(&mut self, Cut { end, words, detail }: Cut) {
        if matches!(self.reading, Reading::Ended(End::Gone | End::TlsFault | End::Revoked | End::Kicked, _)) {
            return;
        }
        let (connection, client) = (self.session.id(), self.session.identity.name());
        let thumbprint = self.session.identity.thumbprint();
        tracing::warn!(target: "lictor::connection", %connection, client, %thumbprint, reason = words, detail, "cut off");
        self.lanes.stop_all_but(|_| false, end.as_str());
        self.reading = Reading::Ended(end, Some(LastWord::Farewell(words)));
    }

    /// Answers a request whose turn comes after its client was cut off; gives back any other.
    pub(super) fn refuse_if_cut_off(&mut self, arrival: Arrival) -> Option<Arrival> {
        let Reading::Ended(end @ (End::Revoked | End::Kicked), _) = self.reading else {
            return Some(arrival);
        };
        let ticket = self.session.ticket(arrival);
        self.reply(&ticket, Err(&CommandError::not_run(Code::Cancelled, end.as_str())));
        None
    }

    /// What was accepted is answered first; then the last word is what the client reads last.
    pub(super) fn has_only_last_word_left(&self) -> bool {
        matches!(self.reading, Reading::Ended(_, Some(_))) && self.lanes.is_empty()
    }

    /// Counts by which bound no further request is read, where one is to be read.
    pub(super) fn count_held_back(&self) {
        let limits = &self.session.service.limits;
        if matches!(self.reading, Reading::Ended(..)) {
            return;
        }
        if !self.has_room_to_write() {
            Counter::UnwrittenFull.count();
        } else if self.lanes.len() >= limits.in_flight {
            Counter::InFlightFull.count();
        } else if self.lanes.held_bytes() >= limits.in_flight_bytes {
            Counter::InFlightBytesFull.count();
        }
    }

    pub(super) fn say_last_word(&mut self) {
        let Reading::Ended(_, word) = &mut self.reading else { return };
        match word.take() {
            Some(LastWord::Fault(fault)) => {
                encode_fault(&fault, self.link.unwritten());
                count(&fault);
                let (connection, client) = (self.session.id(), self.session.identity.name());
                tracing::info!(target: "lictor::connection", %connection, client, %fault, "bad request");
            }
            Some(LastWord::Farewell(words)) => encode_farewell(&words, self.link.unwritten()),
            None => {}
        }
    }
}

/// Counts a fault by which a bound was kept.
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
