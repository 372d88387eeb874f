//! The client of a connection: its identity, its limits, and the service in force for it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, Sleep, sleep};

use crate::authz::{self, Grounds};
use crate::identity::{PeerIdentity, Rejection};
use crate::plugin::{ClientLimit, Exchange, Plugin};
use crate::route::Target;
use crate::server::rate_limit::RateLimit;
use crate::server::refusal::Refusal;
use crate::server::registry::ConnectionHandle;
use crate::server::service::Service;
use crate::server::shared::Shared;
use crate::server::traces::{Answered, TracesOfClient};
use crate::telemetry::{CommandEvent, ConnectionId, Recorder};
use crate::wire::{Code, CommandError, NEEDS_SEQUENCE, Request, Sent, encode_reply};

/// Longest time for which a client's commands go on running while it is unknown if the client is still
/// admitted: half of the second within which a revocation is in force.
const MAX_DOUBT: Duration = Duration::from_millis(500);

/// A client of which it is unknown if it is still admitted.
struct Doubt {
    /// The check, which yields the identity to go on with.
    recheck: Pin<Box<dyn Future<Output = Result<PeerIdentity, Rejection>> + Send>>,
    /// Time for which its commands go on running; `None` once that is over.
    patience: Option<Pin<Box<Sleep>>>,
}

/// An admitted client on one connection.
pub(in crate::server) struct Session {
    /// The service in force when the connection last checked; its requests begin under that.
    pub(in crate::server) service: Arc<Service>,
    pub(in crate::server) identity: PeerIdentity,
    pub(in crate::server) limit: ClientLimit,
    rate: Option<RateLimit>,
    recorder: Recorder,
    doubt: Option<Doubt>,
    pub(in crate::server) handle: Arc<ConnectionHandle>,
    pub(in crate::server) server: Arc<Shared>,
    /// Number of requests that were read.
    pub(in crate::server) requests: u64,
    /// The rule by which its requests are traced, if any is.
    pub(super) traces: Option<TracesOfClient>,
    /// The server's own end of the connection.
    local: Option<SocketAddr>,
    /// The time at the last look at the clock. Looking costs as much as a part of a small command, so one
    /// look serves all requests that are read, and all replies that are encoded, at once.
    pub(super) now: Instant,
    /// Set if the process held too much memory when the connection's task was last woken.
    pub(super) memory_is_short: bool,
}

impl Session {
    pub(super) fn new(
        handle: Arc<ConnectionHandle>,
        service: Arc<Service>,
        server: Arc<Shared>,
        local: Option<SocketAddr>,
    ) -> Self {
        let identity = handle.identity();
        let (limit, rate) = (service.client_limits.of(&identity), service.rate_limits.of(&identity));
        let recorder = service.log.recorder(identity.name_shared());
        let traces = service.traces.as_ref().map(|traces| traces.of(&identity));
        Self {
            service,
            identity,
            limit,
            rate,
            recorder,
            doubt: None,
            handle,
            server,
            requests: 0,
            traces,
            local,
            now: Instant::now(),
            memory_is_short: false,
        }
    }

    /// Looks at the clock.
    pub(super) fn look(&mut self) -> Instant {
        self.now = Instant::now();
        self.now
    }

    /// Continues under the service now in force. If the client's admission depends on its `chain` of
    /// authorities, that is [checked](Self::poll_recheck) on another thread.
    ///
    /// # Errors
    ///
    /// If the client is no longer admitted.
    pub(super) fn renew(&mut self, chain: &[CertificateDer<'_>]) -> Result<(), Rejection> {
        let (service, now) = (self.server.service(), SystemTime::now());
        let checked = service.roster.check_without_chain(&self.identity, now).transpose()?;
        (self.limit, self.rate) =
            (service.client_limits.of(&self.identity), service.rate_limits.of(&self.identity));
        self.recorder = service.log.recorder(self.identity.name_shared());
        self.traces = service.traces.as_ref().map(|traces| traces.of(&self.identity));
        self.service = Arc::clone(&service);
        let Some(identity) = checked else {
            let (server, identity) = (Arc::clone(&self.server), self.identity.clone());
            let chain: Vec<_> = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
            let recheck = async move {
                let (client, unverified) = (identity.name_shared(), identity.unverified());
                let by = Arc::clone(&service);
                let check = move |chain: &[CertificateDer<'static>]| by.roster.check(&identity, chain, now);
                let verdict = server.verifiers.of_client(&service.rechecks, &client, chain, check).await;
                verdict.unwrap_or(Err(unverified))
            };
            // A doubt that goes on keeps its time.
            let patience = match self.doubt.take() {
                Some(doubt) => doubt.patience,
                None => Some(Box::pin(sleep(MAX_DOUBT))),
            };
            self.doubt = Some(Doubt { recheck: Box::pin(recheck), patience });
            return Ok(());
        };
        self.doubt = None;
        self.admit_as(identity);
        Ok(())
    }

    /// Polls the check of the client's chain, if one is under way.
    ///
    /// # Errors
    ///
    /// If the client is no longer admitted.
    pub(super) fn poll_recheck(&mut self, cx: &mut Context<'_>) -> Result<(), Rejection> {
        let Some(doubt) = &mut self.doubt else { return Ok(()) };
        let Poll::Ready(checked) = doubt.recheck.as_mut().poll(cx) else { return Ok(()) };
        self.doubt = None;
        checked.map(|identity| self.admit_as(identity))
    }

    /// Returns true, once, if the doubt has lasted so long that the client's commands have to stop.
    pub(super) fn poll_patience(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(Doubt { patience, .. }) = &mut self.doubt else { return false };
        let is_over = patience.as_mut().is_some_and(|time| time.as_mut().poll(cx).is_ready());
        if is_over {
            *patience = None;
        }
        is_over
    }

    /// Returns true while it is unknown if the client is still admitted. None of its requests begins
    /// meanwhile.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    fn admit_as(&mut self, identity: PeerIdentity) {
        self.identity = identity;
        self.handle.set_identity(self.identity.clone());
    }

    /// Spends one request of the client's rate.
    ///
    /// # Errors
    ///
    /// If none is left.
    pub(super) fn spend_rate(&self) -> Result<(), Refusal> {
        self.rate.as_ref().map_or(Ok(()), RateLimit::spend)
    }

    /// Permits and routes a request; returns the grounds of the permission, too. One with a `refusal` goes no
    /// further than permission.
    ///
    /// # Errors
    ///
    /// The refusal, if it is not to run.
    pub(super) fn permit_and_route(
        &self,
        request: &Request,
        refusal: Option<Refusal>,
    ) -> Result<(Target<'_, Arc<Plugin>>, Grounds), Refusal> {
        let Service { policy, routes, .. } = &*self.service;
        let permit = authz::permit(&self.identity, request, policy, SystemTime::now)
            .ok_or_else(|| Refusal::denied(request, routes))?;
        match refusal.map_or_else(|| routes.route(&permit).ok_or(Refusal::Unknown), Err)? {
            Target::Plugin(_) if self.memory_is_short => Err(Refusal::MemoryIsShort),
            target => Ok((target, permit.grounds())),
        }
    }

    /// Reports a request that runs although no pattern allows it, once however often it is dispatched.
    #[cold]
    pub(super) fn report(&self, exchange: &mut Exchange) {
        if !std::mem::replace(&mut exchange.is_reported, true) {
            let closest = || self.service.policy.closest(&self.identity, &exchange.request);
            self.recorder.report(self.id(), &exchange.request, None, closest);
        }
    }

    /// The time at the last look at the clock.
    pub(in crate::server) fn now(&self) -> Instant {
        self.now
    }

    pub(in crate::server) fn id(&self) -> ConnectionId {
        self.handle.id
    }

    /// Encodes the reply to a request, of which `sent` bytes were sent in parts, into `out`, and logs it.
    ///
    /// # Errors
    ///
    /// If the client was told a failure.
    pub(super) fn reply(
        &self,
        exchange: &Exchange,
        sent: usize,
        reply: Result<&[u8], &CommandError>,
        out: &mut BytesMut,
    ) -> Result<(), ()> {
        let unframeable;
        let reply = match encode_reply(exchange.request.sequence(), reply, out) {
            Sent::Whole => reply,
            Sent::Unframeable => {
                unframeable = CommandError::unknown(Code::ReplyUnframeable, NEEDS_SEQUENCE);
                Err(&unframeable)
            }
        };
        self.log(exchange, reply.map(|rest| sent + rest.len()));
        reply.map_or(Err(()), |_| Ok(()))
    }

    /// Logs a request that was answered, or whose command was stopped, and ends its span.
    pub(super) fn log(&self, exchange: &Exchange, result: Result<usize, &CommandError>) {
        let closest = match result {
            Err(CommandError { code: Code::Forbidden, .. }) => {
                self.service.policy.closest(&self.identity, &exchange.request)
            }
            _ => None,
        };
        let event = CommandEvent {
            id: exchange.id,
            request: &exchange.request,
            via: None,
            began: exchange.arrived.into_std(),
            ended: self.now.into_std(),
            result,
            closest: closest.as_deref(),
            spent: &exchange.spent,
        };
        self.recorder.record(&event);
        if self.server.watchers.are_there() {
            self.server.watchers.tell(&self.recorder, &event, Some(&self.handle));
        }
        if let Some(trace) = &exchange.trace {
            let answered = Answered {
                exchange,
                client: &self.identity,
                peer: self.handle.peer,
                local: self.local,
                routes: &self.service.routes,
                error: result.err(),
            };
            answered.end(trace, self.now.into_std());
        }
    }
}
