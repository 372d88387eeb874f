//! Signals to a connection: to stop, to use another config, to disconnect, to free memory.

use std::task::Context;
use std::time::SystemTime;

use tokio::time::Instant;

use super::{Connection, Reading, Session};
use crate::server::refusal::Refusal;
use crate::server::registry::Disconnect;
use crate::wire::Request;

impl Connection {
    /// Acts on signals.
    pub(super) fn poll_signals(&mut self, cx: &mut Context<'_>) {
        // The task's waker stays the same, so one registration suffices until a signal wakes it.
        if self.is_listening && !self.session.handle.has_signals() && !self.session.is_in_doubt() {
            return;
        }
        self.is_listening = true;
        let signals = self.session.handle.take_signals(cx.waker());
        if signals.stop() {
            self.io.stop_reading();
        }
        if signals.renew() {
            self.renew();
        }
        if let Err(rejection) = self.session.poll_recheck(cx) {
            self.cut_off(Disconnect::revoked(&rejection));
        }
        if self.session.poll_patience(cx) {
            self.in_flight.stop_all_but(
                |_| false,
                "It takes too long to find out whether the client is still admitted",
            );
        }
        if let Some(disconnect) = self.session.handle.take_disconnect() {
            self.cut_off(disconnect);
        }
    }

    /// Continues under the config now in force.
    fn renew(&mut self) {
        let chain = self.io.stream().get_ref().1.peer_certificates().unwrap_or_default();
        match self.session.renew(chain) {
            Ok(()) => {
                let Session { service, identity, .. } = &self.session;
                let now = SystemTime::now();
                let allowed = |request: &Request| service.policy.lets_run(identity, request, now);
                self.in_flight.stop_all_but(allowed, "The permission was withdrawn");
                self.io.set_max_body_bytes(service.limits.body_bytes);
            }
            Err(rejection) => self.cut_off(Disconnect::revoked(&rejection)),
        }
    }

    /// If memory is short, frees what is held for requests that have not begun.
    pub(super) fn shed_if_memory_is_short(&mut self, cx: &mut Context<'_>, until: Instant) {
        if !self.session.memory_is_short {
            return;
        }
        self.in_flight.refuse_waiting();
        if let Some(request) = self.io.shed_body().filter(|_| matches!(self.reading, Reading::Open)) {
            self.accept(request, Some(Refusal::MemoryIsShort), cx, until);
        }
    }
}
