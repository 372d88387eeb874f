//! `wasi:http` and `lictor:plugin/http`: requests that a plugin sends. Granted by `http = ["https://HOST"]`.
//!
//! The path of a request: [`handle`] or, in one piece, [`whole`] counts it and checks its URL against those
//! granted ([`allow`]), then [`exchange`] waits for permits, and [`connect`] looks the host up ([`names`]),
//! drops addresses that are not public ([`address`]) and connects to the rest, so that no second look-up
//! can give another answer. Everything that the server sends is counted as it is [`received`], and its
//! certificate is verified in bounded time ([`Servers`](crate::identity::Servers)). Redirects are not
//! followed: a plugin that follows one sends another request, which is checked like this one.

mod address;
mod allow;
mod connect;
mod exchange;
mod fault;
mod heads;
mod names;
mod received;
pub(super) mod whole;

use std::mem::take;
use std::sync::Arc;

use hyper::{HeaderMap, Method, Request, Uri};
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio_rustls::TlsConnector;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{self, ErrorCode};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{
    RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use self::allow::{Allowed, Denial, Origin, Scheme};
use self::exchange::{Exchange, Sending};
pub(super) use self::heads::held_bytes;
use super::handles::Growth;
use super::interface::{Grant, Interface};
use super::{CallLabel, HttpGrant, PluginLog, Volume};
use crate::plugin::instance::HostState;

/// Requests that one instance may have in flight; more wait.
const MAX_REQUESTS_OF_INSTANCE: usize = 8;

/// Bytes of the fields of one header that a plugin makes, including the host's overhead for keeping them.
const MAX_FIELDS_BYTES: usize = 16 << 10;

/// Bytes of a request's body that the host keeps until the connection takes them. Small, since a plugin can
/// make many bodies and send none.
const BODY_PIECE_BYTES: usize = 16 << 10;

/// The package's version in wasmtime's bindings; plugins of every 0.2 are linked to it.
const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

/// Look-ups of names in flight at the same time, of all plugins: each takes a thread. More wait.
const MAX_LOOKUPS: usize = 32;

/// The same for one plugin, so that a slow name server of one leaves permits to the others.
const MAX_LOOKUPS_OF_PLUGIN: usize = 8;

/// State shared by the requests of all plugins.
pub(in crate::plugin) struct Web {
    requests: usize,
    places: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
    /// Made at the first request that needs it.
    tls: OnceCell<TlsConnector>,
}

impl Web {
    pub(in crate::plugin) fn new(requests: usize) -> Self {
        let [places, lookups] = [requests, MAX_LOOKUPS].map(|count| Arc::new(Semaphore::new(count)));
        Self { requests, places, lookups, tls: OnceCell::new() }
    }
}

/// One plugin's grant, in the form in which requests are checked.
pub(in crate::plugin) struct Gate {
    allowed: Vec<Allowed>,
    /// This plugin's share of the permits, half of them.
    places: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
    web: Arc<Web>,
}

impl Gate {
    pub(super) fn new(grant: &HttpGrant, web: Arc<Web>) -> Self {
        let allowed = grant.urls.iter().filter_map(|(url, networks)| Allowed::parse(url, networks)).collect();
        let counts = [web.requests.div_ceil(2), MAX_LOOKUPS_OF_PLUGIN];
        let [places, lookups] = counts.map(|count| Arc::new(Semaphore::new(count)));
        Self { allowed, places, lookups, web }
    }
}

/// The requests of one call. Dropping it cuts off those in flight: none outlives its call.
pub(in crate::plugin) struct Http {
    context: WasiHttpCtx,
    sender: Sender,
    /// Never sent to: waiting on its other end is waiting for the end of the call.
    _ends_with_call: watch::Sender<()>,
}

/// Sends requests for wasmtime's implementation.
struct Sender {
    gate: Option<Arc<Gate>>,
    log: Arc<PluginLog>,
    /// The call that the plugin is handling; `None` while it describes itself, when it may send nothing.
    call: Option<CallLabel>,
    volume: Volume,
    places: Arc<Semaphore>,
    call_ended: watch::Receiver<()>,
    /// True if the last request was refused.
    has_denied: bool,
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
    fn permitted(&self, request: &Request<WasiBody>, times: RequestOptions) -> Option<Exchange> {
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
            volume: self.volume.clone(),
            places: Arc::clone(&self.places),
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
fn shown_url(url: &Uri) -> String {
    let authority = url.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{}://{host}{}", url.scheme_str().unwrap_or_default(), url.path())
}

impl HostState {
    fn new_http(&self) -> Http {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(MAX_FIELDS_BYTES);
        let (ends_with_call, call_ended) = watch::channel(());
        let sender = Sender {
            gate: self.granted.http.clone(),
            log: Arc::clone(&self.log),
            call: self.label(),
            volume: self.volume.clone(),
            places: Arc::new(Semaphore::new(MAX_REQUESTS_OF_INSTANCE)),
            call_ended,
            has_denied: false,
        };
        Http { context, sender, _ends_with_call: ends_with_call }
    }
}

impl HostState {
    /// The sender of the current call's requests, made on first use.
    fn sender(&mut self) -> &mut Sender {
        let http = self.http.take().unwrap_or_else(|| Box::new(self.new_http()));
        &mut self.http.insert(http).sender
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let http = self.http.take().unwrap_or_else(|| Box::new(self.new_http()));
        let Http { context, sender, .. } = &mut **self.http.insert(http);
        WasiHttpCtxView {
            hooks: sender,
            table: self.handles.open(Growth::Much, &mut self.memory),
            ctx: context,
        }
    }
}

pub(super) const INTERFACE: Interface = Interface {
    names: &["wasi:http/types", "wasi:http/outgoing-handler"],
    version: (0, 2),
    grant: Some(Grant {
        lines: "[plugins.NAME.grants]\nhttp = [\"https://HOST\"]",
        is_in: |grants| grants.http.is_some(),
    }),
    link,
};

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let options = LinkOptions::default();
    types::add_to_linker::<_, WasiHttp>(linker, &(&options).into(), HostState::http)?;
    linker.instance(OUTGOING_HANDLER)?.func_wrap("handle", handle)?;
    heads::link(linker)
}

type Parameters = (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>);
type Answer = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;

/// `outgoing-handler.handle`: counts the request, refuses it at once if it is not granted, and otherwise
/// begins to send it. Stops a plugin that exceeded its volume.
fn handle(
    mut store: StoreContextMut<'_, HostState>,
    (request, options): Parameters,
) -> wasmtime::Result<(Answer,)> {
    let state = store.data_mut();
    let size = head_bytes(state.handles().get(&request)?);
    state.volume.check()?;
    state.volume.operation(size)?;
    let begun = match state.http().handle(request, options) {
        Ok(begun) => begun,
        Err(error) => return Ok((Err(error.downcast()?),)),
    };
    let has_denied = state.http.as_mut().is_some_and(|http| take(&mut http.sender.has_denied));
    if has_denied {
        state.handles().delete(begun)?;
        return Ok((Err(ErrorCode::HttpRequestDenied),));
    }
    Ok((Ok(begun),))
}

/// Approximate bytes of a request's head.
fn head_bytes(request: &HostOutgoingRequest) -> usize {
    heads::line_bytes(request) + fields_bytes(&request.headers)
}

/// Bytes of a header's fields with their separators.
fn fields_bytes(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum()
}

/// Bytes of a colon, a space and the end of a line.
const FIELD_BYTES: usize = 4;
