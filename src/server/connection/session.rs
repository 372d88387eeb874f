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

use crate::authz::{self, Denied, Permit};
use crate::identity::{PeerIdentity, Rejection};
use crate::plugin::{Call, ClientLimit, DeadlineOf, Exchange, Plugin};
use crate::route::Target;
use crate::server::rate_limit::RateLimit;
use crate::server::refusal::{Refusal, Refused};
use crate::server::registry::ConnectionHandle;
use crate::server::service::Service;
use crate::server::shared::Shared;
use crate::server::traces::{Answered, TracesOfClient};
use crate::telemetry::{CommandEvent, ConnectionId, Recorder};
use crate::watermark;
use crate::wire::{Code, CommandError, NEEDS_SEQUENCE, Sent, encode_reply};

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

    /// Permits and routes an exchange. One with a `refusal` goes no further than permission.
    ///
    /// # Errors
    ///
    /// The refusal, if it is not to run.
    pub(super) fn target(
        &self,
        exchange: Exchange,
        refusal: Option<Refusal>,
    ) -> Result<Target<'_, Arc<Plugin>, Exchange>, (Exchange, Refusal)> {
        let Exchange { id, arrived, request, mut is_reported, spent, trace } = exchange;
        let target = match authz::permit(&self.identity, request, &self.service.policy) {
            Ok(permit) => self.route(permit, refusal),
            Err(denied) => self.target_of_denied(denied, refusal, &mut is_reported),
        };
        let again = |request| Exchange { id, arrived, request, is_reported, spent, trace };
        match target {
            Ok(target) => Ok(target.map(again)),
            Err(Refused { request, refusal }) => Err((again(request), refusal)),
        }
    }

    /// Routes a request that no pattern allows, and reports it once, if denials of the client are only
    /// reported.
    #[cold]
    fn target_of_denied(
        &self,
        denied: Denied,
        refusal: Option<Refusal>,
        is_reported: &mut bool,
    ) -> Result<Target<'_, Arc<Plugin>>, Refused> {
        let Service { policy, routes, .. } = &*self.service;
        let permit = authz::report(&self.identity, denied, policy, SystemTime::now());
        let permit = permit.map_err(|denied| Refused::denied(denied, routes))?;
        let target = self.route(permit, refusal)?;
        if let Target::Plugin(_, request) = &target
            && !std::mem::replace(is_reported, true)
        {
            self.recorder.report(self.id(), request, None, || policy.closest(&self.identity, request));
        }
        Ok(target)
    }

    fn route(&self, permit: Permit, refusal: Option<Refusal>) -> Result<Target<'_, Arc<Plugin>>, Refused> {
        if let Some(refusal) = refusal {
            return Err(Refused { request: permit.into_request(), refusal });
        }
        match self.service.routes.route(permit).map_err(Refused::unrouted)? {
            Target::Plugin(_, request) if watermark::is_passed() => {
                Err(Refused { request, refusal: Refusal::MemoryIsShort })
            }
            target => Ok(target),
        }
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.handle.id
    }

    /// Makes the call of a request to `plugin` that begins now.
    ///
    /// Its deadline is the sooner of the plugin's, which counts from the command's beginning, and the
    /// client's, which counts from the request's arrival: a request waits for its turn on the client's time,
    /// not on the plugin's.
    pub(super) fn call(&self, exchange: Exchange, plugin: &Plugin) -> Arc<Call> {
        let limit = self.now + plugin.time_limit();
        let timeout = exchange.request.timeout_ms();
        let of_client =
            timeout.and_then(|timeout| exchange.arrived.checked_add(Duration::from_millis(timeout)));
        let deadline = of_client.map_or(limit, |of_client| of_client.min(limit));
        let owner = if deadline < limit { DeadlineOf::Client } else { DeadlineOf::Plugin };
        let call = Call::new(exchange, self.identity.clone(), deadline).with_deadline_of(owner);
        Arc::new(if plugin.runs_commands() { call.with_commands(self.server.clone()) } else { call })
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
        self.recorder.record(&CommandEvent {
            id: exchange.id,
            request: &exchange.request,
            via: None,
            began: exchange.arrived.into_std(),
            ended: self.now.into_std(),
            result,
            closest: closest.as_deref(),
            spent: &exchange.spent,
        });
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
