//! The sender of one call's requests: checks each against the grant and begins it.

use std::sync::Arc;

use hyper::{Method, Request, Uri};
use tokio::sync::{Semaphore, watch};
use wasmtime_wasi_http::{RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks};

use super::allow::{self, Denial, Origin, Scheme};
use super::exchange::{Exchange, Sending};
use super::gate::Gate;
use super::sizes::{BODY_PIECE_BYTES, MAX_FIELDS_BYTES};
use crate::plugin::host::stdio::{CallLabel, PluginLog};
use crate::plugin::host::volume::Volume;
use crate::telemetry::traces::Context;

/// Requests that one instance may have in flight; more wait.
const MAX_REQUESTS_OF_INSTANCE: usize = 8;

/// The requests of one call. Dropping it cuts off those in flight: none outlives its call.
pub(in crate::plugin) struct Http {
    pub(super) context: WasiHttpCtx,
    pub(super) sender: Sender,
    /// Never sent to: waiting on its other end is waiting for the end of the call.
    _ends_with_call: watch::Sender<()>,
}

impl Http {
    /// Makes the sender of the requests of `call`, which may be traced.
    pub(super) fn new(
        gate: Option<Arc<Gate>>,
        log: Arc<PluginLog>,
        (call, trace): (Option<CallLabel>, Option<Context>),
        volume: Volume,
    ) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(MAX_FIELDS_BYTES);
        let (ends_with_call, call_ended) = watch::channel(());
        let permits = Arc::new(Semaphore::new(MAX_REQUESTS_OF_INSTANCE));
        let sender = Sender { gate, log, call, trace, volume, permits, call_ended, has_denied: false };
        Self { context, sender, _ends_with_call: ends_with_call }
    }
}

/// Sends requests for wasmtime's implementation.
pub(super) struct Sender {
    gate: Option<Arc<Gate>>,
    log: Arc<PluginLog>,
    /// The call that the plugin is handling; `None` while it describes itself, when it may send nothing.
    call: Option<CallLabel>,
    trace: Option<Context>,
    volume: Volume,
    permits: Arc<Semaphore>,
    call_ended: watch::Receiver<()>,
    /// True if the last request was refused.
    pub(super) has_denied: bool,
}

impl WasiHttpHooks for Sender {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _received: Box<dyn Future<Output = wasmtime_wasi_http::Result<()>> + Send>,
    ) -> Sending {
        match self.permitted(&request, options.unwrap_or_default()) {
            Some(exchange) => Box::new(exchange.run(request)),
            None => {
                self.has_denied = true;
                Box::new(async { Err(wasmtime_wasi_http::Error::HttpRequestDenied) })
            }
        }
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_PIECE_BYTES
    }
}

impl Sender {
    /// Returns the exchange for `request`; `None`, after logging the reason, if it is refused.
    pub(super) fn permitted(&self, request: &Request<WasiBody>, times: RequestOptions) -> Option<Exchange> {
        let denied = |denial: Denial| {
            let advice = denial.advice(&granted_by(request.uri()), self.log.plugin());
            self.log.denied(self.call.as_ref(), &shown_url(request.uri()), denial.reason(), &advice);
        };
        self.exchange(request, times).map_err(denied).ok()
    }

    /// Returns the exchange for `request`, if it may be sent.
    fn exchange(&self, request: &Request<WasiBody>, times: RequestOptions) -> Result<Exchange, Denial> {
        let (Some(gate), Some(call)) = (&self.gate, &self.call) else { return Err(Denial::NoCall) };
        // `CONNECT` would turn the connection into a tunnel for anything.
        if request.method() == Method::CONNECT {
            return Err(Denial::Tunnel);
        }
        let origin = origin(request.uri()).ok_or(Denial::NotGranted)?;
        let networks = allow::check(&gate.allowed, &origin, request.uri().path())?;
        Ok(Exchange {
            gate: Arc::clone(gate),
            origin,
            networks,
            log: Arc::clone(&self.log),
            call: call.clone(),
            trace: self.trace.clone(),
            volume: self.volume.clone(),
            permits: Arc::clone(&self.permits),
            call_ended: self.call_ended.clone(),
            times,
        })
    }
}

fn origin(url: &Uri) -> Option<Origin> {
    let scheme = match url.scheme_str()? {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    Origin::parse(scheme, url.authority()?.as_str())
}

/// The URL to grant for `url`: all of its host. A placeholder for other schemes, or if a user is given.
fn granted_by(url: &Uri) -> String {
    origin(url).map_or_else(|| "https://HOST".to_owned(), |origin| origin.to_string())
}

/// Formats `url` for the log, without its query, user and password, since these may be secret.
pub(super) fn shown_url(url: &Uri) -> String {
    let authority = url.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{}://{host}{}", url.scheme_str().unwrap_or_default(), url.path())
}
