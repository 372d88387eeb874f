//! `wasi:http` and `lictor:plugin/http`: requests that a plugin sends. Granted by `http = ["https://HOST"]`.
//!
//! What a request goes through: [`handle`] or, in one piece, [`whole`] counts it and checks its URL against those granted ([`allow`]), then
//! [`exchange`] waits for a place, and [`connect`] looks the host up ([`names`]), drops what is not public ([`address`]) and connects
//! to what is left, so that no second look-up can give another answer. All that the server sends is counted as it is
//! [`received`], and its certificate is verified in bounded time ([`Servers`](crate::identity::Servers)). Nothing follows a redirect: a plugin that does
//! sends another request, which is checked as this one was.

mod address;
mod allow;
mod connect;
mod exchange;
mod fault;
mod heads;
mod names;
mod received;
mod whole;

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
use super::{CallLabel, HttpGrant, PluginLog, Volume};
use crate::plugin::instance::HostState;

/// Requests that one instance has under way at the same time; more wait.
const MAX_REQUESTS_OF_INSTANCE: usize = 8;

/// Bytes of the fields of one header that a plugin makes, with what the host needs to keep them.
const MAX_FIELDS_BYTES: usize = 16 << 10;

/// Bytes of a request's body that the host keeps until the connection takes them. A plugin can make many bodies and send
/// none, so that this is small.
const BODY_PIECE_BYTES: usize = 16 << 10;

/// The package's version in wasmtime's bindings, which plugins of each 0.2 are linked to.
const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

/// Look-ups of names that are under way at the same time, of all plugins: each takes a thread. More wait.
const MAX_LOOKUPS: usize = 32;

/// The same of one plugin, so that one whose name server is slow leaves the others theirs.
const MAX_LOOKUPS_OF_PLUGIN: usize = 8;

/// What all plugins' requests share.
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
    /// This plugin's share of the places, half of them.
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

/// The requests of one call. When it is dropped, those under way are cut off: none outlives its call.
pub(in crate::plugin) struct Http {
    context: WasiHttpCtx,
    sender: Sender,
    /// Never sent to: whoever waits on its other end waits for the end of the call.
    _ends_with_call: watch::Sender<()>,
}

/// What sends requests: wasmtime's implementation asks it to.
struct Sender {
    gate: Option<Arc<Gate>>,
    log: Arc<PluginLog>,
    /// What the plugin is at; nothing while it describes itself, when it may send nothing.
    call: Option<CallLabel>,
    volume: Volume,
    places: Arc<Semaphore>,
    call_ended: watch::Receiver<()>,
    /// Whether the last request was refused.
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
    /// The way for `request`; nothing where it is refused, which the log then tells.
    fn permitted(&self, request: &Request<WasiBody>, times: RequestOptions) -> Option<Exchange> {
        let denied = |denial: Denial| {
            let advice = denial.advice(&granted_by(request.uri()), self.log.plugin());
            self.log.denied(self.call.as_ref(), &shown_url(request.uri()), denial.reason(), &advice);
        };
        self.exchange(request, times).map_err(denied).ok()
    }

    /// The way for `request`, if it may be sent.
    fn exchange(&self, request: &Request<WasiBody>, times: RequestOptions) -> Result<Exchange, Denial> {
        let (Some(gate), Some(call)) = (&self.gate, &self.call) else { return Err(Denial::NoCall) };
        // It would make a tunnel of the connection, through which anything goes.
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

/// What to grant for `url`: all of its host. Of another scheme there is none, and no host has a user.
fn granted_by(url: &Uri) -> String {
    origin(url).map_or_else(|| "https://HOST".to_owned(), |origin| origin.to_string())
}

/// `url` for the log: without its query, and without a user or a password, since these may be secret.
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
    /// What sends the current call's requests.
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

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let options = LinkOptions::default();
    types::add_to_linker::<_, WasiHttp>(linker, &(&options).into(), HostState::http)?;
    linker.instance(OUTGOING_HANDLER)?.func_wrap("handle", handle)?;
    heads::link(linker)?;
    whole::link(linker)
}

type Parameters = (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>);
type Answer = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;

/// `outgoing-handler.handle`: counts the request, refuses at once what is not granted, begins to send the rest. A plugin
/// that asked for more than its volume is stopped here.
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

/// What a request's head comes to, about.
fn head_bytes(request: &HostOutgoingRequest) -> usize {
    heads::line_bytes(request) + fields_bytes(&request.headers)
}

/// What the fields of a header come to, with what divides them.
fn fields_bytes(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum()
}

/// A colon, a space and the end of a line.
const FIELD_BYTES: usize = 4;
