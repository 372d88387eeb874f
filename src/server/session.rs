//! What a connection's requests are run with, apart from its state.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Service;
use super::accept::Shared;
use super::lanes::Ticket;
use super::members::Member;
use super::rates::Rate;
use crate::identity::{PeerIdentity, Rejection};
use crate::plugin::{Call, Plugin, Seat, Share};
use crate::telemetry::{CommandEvent, ConnectionId, RequestId};
use crate::wire::{CommandError, Request};

/// An admitted client on one connection.
pub(super) struct Session {
    /// What was there when the connection looked last; its requests begin with that.
    pub(super) service: Arc<Service>,
    pub(super) identity: PeerIdentity,
    pub(super) share: Share,
    rate: Option<Rate>,
    pub(super) member: Arc<Member>,
    pub(super) server: Arc<Shared>,
    /// Requests that were read.
    pub(super) requests: u64,
}

impl Session {
    pub(super) fn new(member: Arc<Member>, service: Arc<Service>, server: Arc<Shared>) -> Self {
        let identity = member.identity.clone();
        let (share, rate) = (service.shares.of(&identity), service.rates.of(&identity));
        Self { service, identity, share, rate, member, server, requests: 0 }
    }

    /// Goes on with what there is now.
    ///
    /// # Errors
    ///
    /// When its client is not admitted any more.
    pub(super) fn renew(&mut self) -> Result<(), Rejection> {
        let service = self.server.service();
        service.roster.check(&self.identity, SystemTime::now())?;
        (self.share, self.rate) = (service.shares.of(&self.identity), service.rates.of(&self.identity));
        self.service = service;
        Ok(())
    }

    /// Counts a request; whether it is more than the client may send.
    pub(super) fn is_over_rate(&self) -> bool {
        self.rate.as_ref().is_some_and(Rate::is_over)
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.member.id
    }

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
