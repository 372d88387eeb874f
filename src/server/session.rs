//! What a connection's requests are run with, apart from its state.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, Sleep, sleep};

use super::accept::Shared;
use super::lanes::{Arrival, Lanes, Ticket, held_bytes};
use super::members::Member;
use super::rates::Rate;
use super::refusal::{Refusal, Refused};
use super::{End, Service};
use crate::authz;
use crate::identity::{PeerIdentity, Rejection};
use crate::plugin::{Call, DeadlineOf, Plugin, Seat, Share, invoke_streaming, pipe};
use crate::route::Target;
use crate::telemetry::{CommandEvent, ConnectionId, Recorder, RequestId};
use crate::watermark;
use crate::wire::{Code, CommandError, Request, Sent, encode_reply};

/// What is said where a plain reply can't carry what a command gives.
const NEEDS_SEQUENCE: &str = "Reply needs a Sequence header";

/// How long it may be unknown whether a client is still admitted until what runs of it is stopped: half of the second within
/// which a revocation is in force.
const MAX_DOUBT: Duration = Duration::from_millis(500);

/// That it is not known whether a client is still admitted.
struct Doubt {
    /// What finds out, and as whom.
    recheck: Pin<Box<dyn Future<Output = Result<PeerIdentity, Rejection>> + Send>>,
    /// Until what runs goes on all the same; nothing once that is over.
    patience: Option<Pin<Box<Sleep>>>,
}

/// An admitted client on one connection.
pub(super) struct Session {
    /// What was there when the connection looked last; its requests begin with that.
    pub(super) service: Arc<Service>,
    pub(super) identity: PeerIdentity,
    pub(super) share: Share,
    rate: Option<Rate>,
    recorder: Recorder,
    doubt: Option<Doubt>,
    pub(super) member: Arc<Member>,
    pub(super) server: Arc<Shared>,
    /// Requests that were read.
    pub(super) requests: u64,
}

impl Session {
    pub(super) fn new(member: Arc<Member>, service: Arc<Service>, server: Arc<Shared>) -> Self {
        let identity = member.identity();
        let (share, rate) = (service.shares.of(&identity), service.rates.of(&identity));
        let recorder = service.log.recorder(identity.name_shared());
        Self { service, identity, share, rate, recorder, doubt: None, member, server, requests: 0 }
    }

    /// Goes on with what there is now. Where its client may be admitted by another `chain` of authorities than before, which
    /// it showed when it came, that is [looked at](Self::poll_recheck) elsewhere.
    ///
    /// # Errors
    ///
    /// When its client is not admitted any more.
    pub(super) fn renew(&mut self, chain: &[CertificateDer<'_>]) -> Result<(), Rejection> {
        let (service, now) = (self.server.service(), SystemTime::now());
        let checked = service.roster.check_without_chain(&self.identity, now).transpose()?;
        (self.share, self.rate) = (service.shares.of(&self.identity), service.rates.of(&self.identity));
        self.recorder = service.log.recorder(self.identity.name_shared());
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
            // Doubt that goes on does not begin anew.
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

    /// What came of a look at the client's chain: whether it is admitted. Nothing while there is none, or it is not done.
    ///
    /// # Errors
    ///
    /// When its client is not admitted any more.
    pub(super) fn poll_recheck(&mut self, cx: &mut Context<'_>) -> Result<(), Rejection> {
        let Some(doubt) = &mut self.doubt else { return Ok(()) };
        let Poll::Ready(checked) = doubt.recheck.as_mut().poll(cx) else { return Ok(()) };
        self.doubt = None;
        checked.map(|identity| self.admit_as(identity))
    }

    /// Whether doubt has lasted so long that what runs has to stop. Said once.
    pub(super) fn poll_patience(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(Doubt { patience, .. }) = &mut self.doubt else { return false };
        let is_over = patience.as_mut().is_some_and(|time| time.as_mut().poll(cx).is_ready());
        if is_over {
            *patience = None;
        }
        is_over
    }

    /// Whether it is not known yet if the client is still admitted. Nothing of it is begun meanwhile.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    fn admit_as(&mut self, identity: PeerIdentity) {
        self.identity = identity;
        self.member.set_identity(self.identity.clone());
    }

    /// Spends one request of the client's rate.
    ///
    /// # Errors
    ///
    /// That it is more than the client may send.
    pub(super) fn spend_rate(&self) -> Result<(), Refusal> {
        self.rate.as_ref().map_or(Ok(()), Rate::spend)
    }

    /// Permits and routes a request; one with a `refusal` that was decided before goes no further than permission.
    pub(super) fn target(
        &self,
        request: Request,
        refusal: Option<Refusal>,
    ) -> Result<Target<'_, Arc<Plugin>>, Refused> {
        let Service { policy, routes, .. } = &*self.service;
        let permit = authz::permit(&self.identity, request, policy);
        let permit = permit.map_err(|denied| Refused::denied(denied, routes))?;
        if let Some(refusal) = refusal {
            return Err(Refused { request: permit.into_request(), refusal });
        }
        match routes.route(permit).map_err(Refused::unrouted)? {
            Target::Plugin(_, _, request) if watermark::is_passed() => {
                Err(Refused { request, refusal: Refusal::MemoryIsShort })
            }
            target => Ok(target),
        }
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
        let limit = now + plugin.time_limit();
        let of_client =
            request.timeout_ms().and_then(|timeout| arrived.checked_add(Duration::from_millis(timeout)));
        let deadline = of_client.map_or(limit, |of_client| of_client.min(limit));
        let whose = if deadline < limit { DeadlineOf::Client } else { DeadlineOf::Plugin };
        let call = Call::new(request, self.identity.clone(), id, deadline).with_deadline_of(whose);
        Arc::new(if plugin.runs_commands() { call.with_commands(self.server.clone()) } else { call })
    }

    /// Begins a command that streams, of `plugin` by `request`, as one of `lanes`.
    ///
    /// # Errors
    ///
    /// What its client is to be told: there is no way to send it a stream, or no time left.
    #[expect(clippy::result_large_err, reason = "the ticket goes back to be answered, once a stream")]
    pub(super) fn stream(
        &self,
        ticket: Ticket,
        request: Request,
        plugin: &Arc<Plugin>,
        lanes: &mut Lanes,
    ) -> Result<(), (Ticket, CommandError)> {
        if ticket.sequence.is_none() {
            let error = CommandError::not_run(Code::ReplyUnframeable, NEEDS_SEQUENCE);
            return Err((ticket, error));
        }
        let now = Instant::now();
        let call = self.call(request, plugin, ticket.id, ticket.arrived, now);
        if let Err(error) = call.check_deadline(now) {
            return Err((ticket, error));
        }
        let (outlet, parts) = pipe();
        let command = invoke_streaming(self.seat(), Arc::clone(plugin), Arc::clone(&call), outlet);
        let command = plugin.aside(Box::pin(command));
        lanes.run(ticket, call, command, Some(parts));
        Ok(())
    }

    /// Puts the reply to a request into `out`, and logs it.
    ///
    /// # Errors
    ///
    /// When the client was told a failure.
    pub(super) fn reply(
        &self,
        ticket: &Ticket,
        answer: Result<&[u8], &CommandError>,
        out: &mut BytesMut,
    ) -> Result<(), ()> {
        let unframeable;
        let answer = match encode_reply(ticket.sequence.as_ref(), answer, out) {
            Sent::Whole => answer,
            Sent::Unframeable => {
                unframeable = CommandError::unknown(Code::ReplyUnframeable, NEEDS_SEQUENCE);
                Err(&unframeable)
            }
        };
        self.log(ticket, answer.map(|rest| ticket.sent + rest.len()));
        answer.map_or(Err(()), |_| Ok(()))
    }

    /// Logs a request whose turn never came; nobody waits for its answer any more.
    pub(super) fn log_forgotten(&self, arrival: Arrival, end: End) {
        self.log(&self.ticket(arrival), Err(&CommandError::not_run(Code::Cancelled, end.as_str())));
    }

    /// What is kept of a request that is answered without being run.
    pub(super) fn ticket(&self, Arrival { id, at: arrived, request, .. }: Arrival) -> Ticket {
        let (arguments, sequence) = (self.service.log.arguments(&request), request.sequence().cloned());
        let (command, bytes) = (request.command().into(), held_bytes(&request, &arguments));
        Ticket { id, sequence, command, arguments, arrived, bytes, sent: 0 }
    }

    /// Logs a request that was answered, or whose command was stopped.
    pub(super) fn log(&self, ticket: &Ticket, result: Result<usize, &CommandError>) {
        self.recorder.record(&CommandEvent {
            id: ticket.id,
            command: &ticket.command,
            via: None,
            began: ticket.arrived.into_std(),
            result,
            arguments: ticket.arguments.as_deref(),
        });
    }
}
