//! The requests that are traced: a part of all, and those whose caller is believed that it records them.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::rate_limit::{RateLimit, RateLimits};
use crate::identity::PeerIdentity;
use crate::network::PeerAddress;
use crate::plugin::{Exchange, Plugin};
use crate::route::Routes;
use crate::telemetry::metrics::Counter;
use crate::telemetry::traces::{Attribute, Sampler, TRACEPARENT, Trace, Traceparent, Tracer};
use crate::units::Ratio;
use crate::wire::{CommandError, Request};

/// Requests of one client in a second, and as many at once, that are recorded because their caller asks for
/// it. Beyond, they are chosen like any other.
const MAX_ASKED_PER_SECOND: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// The rule by which requests are traced.
#[derive(Debug)]
pub struct Traces {
    tracer: Tracer,
    sample: Ratio,
    /// The clients whose `traceparent` is believed.
    believed: RateLimits,
}

impl Traces {
    /// Traces `sample` of the requests, and those whose caller asks for it if it is one of the clients
    /// `believed`; what these have used up of their rates carries over from `old`.
    pub fn new(
        tracer: Tracer,
        sample: Ratio,
        believed: impl Iterator<Item = Arc<str>>,
        old: Option<&Self>,
    ) -> Self {
        let believed = believed.map(|client| (client, Some(MAX_ASKED_PER_SECOND)));
        let believed = match old {
            Some(old) => old.believed.renewed(believed),
            None => RateLimits::new(believed),
        };
        Self { tracer, sample, believed }
    }

    /// The rule for the requests of `client` on one connection.
    pub(super) fn of(&self, client: &PeerIdentity) -> TracesOfClient {
        let (tracer, sampler) = (self.tracer.clone(), Sampler::new(self.sample));
        TracesOfClient { tracer, sampler, believed: self.believed.of(client) }
    }
}

/// The rule by which one client's requests on one connection are traced.
pub(super) struct TracesOfClient {
    tracer: Tracer,
    sampler: Sampler,
    /// The rate within which a caller's flag counts; `None` if its `traceparent` is not believed.
    believed: Option<RateLimit>,
}

impl TracesOfClient {
    /// Begins the trace of a request, or joins that of its caller.
    #[inline]
    pub(super) fn trace(&mut self, request: &Request) -> Option<Box<Trace>> {
        if self.believed.is_some()
            && let Some(caller) = traceparent(request)
        {
            return Some(self.join(caller));
        }
        self.sampler.chooses().then(|| self.begin())
    }

    #[cold]
    fn begin(&self) -> Box<Trace> {
        Box::new(Trace::new(self.tracer.clone()))
    }

    fn join(&mut self, caller: Traceparent) -> Box<Trace> {
        let is_sampled = caller.is_sampled() && (self.is_within_rate() || self.sampler.chooses());
        Box::new(Trace::joining(self.tracer.clone(), caller, is_sampled))
    }

    fn is_within_rate(&self) -> bool {
        let is_within = self.believed.as_ref().is_some_and(|rate| rate.spend().is_ok());
        if !is_within {
            Counter::TracesOverRate.count();
        }
        is_within
    }
}

/// Returns the context of the caller's trace. Of several, none is known to be the caller's.
fn traceparent(request: &Request) -> Option<Traceparent> {
    let is_one = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case(TRACEPARENT);
    let mut found = request.headers().filter(is_one).map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(value), None) => Traceparent::parse(value),
        _ => None,
    }
}

/// The facts about a request that its span tells.
pub(super) struct Answered<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) client: &'a PeerIdentity,
    pub(super) peer: PeerAddress,
    /// The server's own end of the connection.
    pub(super) local: Option<SocketAddr>,
    pub(super) routes: &'a Routes<Arc<Plugin>>,
    pub(super) error: Option<&'a CommandError>,
}

impl Answered<'_> {
    /// Ends the span of the request at `now`.
    #[cold]
    pub(super) fn end(self, trace: &Trace, now: std::time::Instant) {
        if !trace.is_sampled() {
            return;
        }
        let Self { exchange, client, peer, local, routes, error } = self;
        let command = exchange.request.command();
        let method = if routes.has(command) { command } else { UNKNOWN };
        let failure = error.map(|error| error.code.as_str());
        let mut attributes = rpc(method, failure);
        attributes.extend([
            ("lictor.request", exchange.id.to_string().into()),
            ("enduser.id", client.name().to_owned().into()),
            ("network.peer.address", peer.ip().to_string().into()),
        ]);
        routes.goes_to(command, |plugin| {
            attributes.push(("lictor.plugin", plugin.name().to_owned().into()));
            true
        });
        if let Some(local) = local {
            let ip = PeerAddress::from(local).ip();
            attributes
                .extend([("server.address", ip.to_string().into()), ("server.port", local.port().into())]);
        }
        trace.end(method, (exchange.arrived.into_std(), now), attributes, failure);
    }
}

/// The name of a command that does not exist: its text may be anything.
pub(super) const UNKNOWN: &str = "_OTHER";

/// The attributes of a command's span. The code has two names: OpenTelemetry's conventions for RPC renamed it
/// within their release candidates, and backends read the one or the other.
pub(super) fn rpc(method: &str, failure: Option<&'static str>) -> Vec<Attribute> {
    let code = failure.unwrap_or("ok");
    vec![
        ("rpc.system.name", "lictor".into()),
        ("rpc.method", method.to_owned().into()),
        ("rpc.status_code", code.into()),
        ("rpc.response.status_code", code.into()),
    ]
}
