//! What a connection's requests are run with, apart from its state.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Service;
use super::lanes::Ticket;
use crate::identity::PeerIdentity;
use crate::plugin::{Call, Plugin, Seat, Share};
use crate::telemetry::{CommandEvent, ConnectionId, RequestId};
use crate::wire::{CommandError, Request};

/// An admitted client on one connection.
pub(super) struct Session {
    pub(super) service: Arc<Service>,
    pub(super) identity: PeerIdentity,
    pub(super) share: Share,
    pub(super) id: ConnectionId,
    /// Requests that were read.
    pub(super) requests: u64,
}

impl Session {
    /// A place for the client's calls.
    pub(super) fn seat(&self) -> Seat {
        Seat::new(self.identity.clone(), Some(self.share.clone()))
    }

    /// A call of `plugin` by `request`, which arrived at `arrived` and begins at `now`.
    ///
    /// It ends by the sooner of the plugin's limit, which begins with the command, and the client's, which begins with the
    /// arrival of its request: it waits for its turn on the client's time, not on the plugin's.
    pub(super) fn call(
        &self,
        request: Request,
        plugin: &Plugin,
        id: RequestId,
        arrived: Instant,
        now: Instant,
    ) -> Arc<Call> {
        let limit = now + plugin.timeout();
        let of_client =
            request.timeout_ms().and_then(|timeout| arrived.checked_add(Duration::from_millis(timeout)));
        let deadline = of_client.map_or(limit, |of_client| of_client.min(limit));
        let call = Call::new(request, self.identity.clone(), id, deadline);
        Arc::new(if plugin.runs_commands() { call.with_commands(self.service.clone()) } else { call })
    }

    /// Logs a request that was answered, or whose command was stopped.
    pub(super) fn log(&self, ticket: &Ticket, result: Result<usize, &CommandError>) {
        self.service.log.record(&CommandEvent {
            id: ticket.id,
            client: self.identity.name(),
            command: &ticket.command,
            via: None,
            began: ticket.arrived.into_std(),
            result,
            arguments: ticket.arguments.as_deref(),
        });
    }
}
