//! What a connection's requests are run with, apart from its state.

use std::sync::Arc;

use super::Service;
use super::lanes::Ticket;
use crate::identity::PeerIdentity;
use crate::plugin::{Seat, Share};
use crate::telemetry::{CommandEvent, ConnectionId};
use crate::wire::CommandError;

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
