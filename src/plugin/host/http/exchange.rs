//! One request and its response, on a connection of their own.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::ext::on_informational;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use ipnet::IpNet;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Sleep, sleep, timeout};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::allow::Origin;
use super::connect::{Stream, connect};
use super::fault;
use super::gate::Gate;
use super::sizes::fields_bytes;
use super::trace;
use crate::plugin::host::stdio::{CallLabel, PluginLog};
use crate::plugin::host::volume::Volume;
use crate::telemetry::metrics::Counter;
use crate::telemetry::traces::Context as TraceContext;

/// Maximum bytes of a response's header, of the informational responses before it, and of unread data.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Maximum fields in a response's header.
const MAX_FIELDS: usize = 256;

/// Approximate bytes of an informational response's status line and of the empty line after its fields.
const STATUS_LINE_BYTES: usize = 32;

type Received = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// Future that wasmtime polls in a task, which ends when the plugin drops its handle: the response, and the
/// work that must continue while its body is read.
pub(super) type Sending = Box<dyn Future<Output = Result<Received, Error>> + Send>;

type Connection = http1::Connection<TokioIo<Box<dyn Stream>>, RequestBody>;

/// One request that may be sent.
pub(super) struct Exchange {
    pub(super) gate: Arc<Gate>,
    pub(super) origin: Origin,
    /// Networks to which its name may lead beside the public one.
    pub(super) networks: Vec<IpNet>,
    pub(super) log: Arc<PluginLog>,
    /// The call that the plugin is handling.
    pub(super) call: CallLabel,
    /// The call's place in its trace, if it is traced.
    pub(super) trace: Option<TraceContext>,
    pub(super) volume: Volume,
    /// The instance's own permits.
    pub(super) permits: Arc<Semaphore>,
    pub(super) call_ended: watch::Receiver<()>,
    pub(super) times: RequestOptions,
}

impl Exchange {
    /// Sends `request`, whose URL is granted.
    pub(super) async fn run(self, mut request: Request<WasiBody>) -> Result<Received, Error> {
        let mut span = trace::begin(self.trace.as_ref(), &self.origin, &mut request);
        let received = tokio::select! {
            biased;
            () = ended(self.call_ended.clone()) => Err(Error::ConnectionTerminated),
            received = self.exchange(request) => received,
        };
        if let Some(span) = &mut span {
            trace::note(span, received.as_ref().map(|(response, _)| response.status()));
        }
        received
    }

    async fn exchange(&self, request: Request<WasiBody>) -> Result<Received, Error> {
        let of_instance = acquire(&self.permits).await?;
        let of_plugin = acquire(&self.gate.requests).await?;
        let of_all = acquire(&self.gate.web.requests).await?;
        let url = format!("{}{}", self.origin, request.uri().path());
        let most = self.times.connect_timeout;
        let connected = connect(&self.gate, &self.origin, &self.networks, &self.volume, most).await;
        let stream = connected.inspect_err(|error| {
            if matches!(error, Error::DestinationIpProhibited) {
                self.log.denied(
                    Some(&self.call),
                    &url,
                    "its host leads to no public address of another machine, nor to one of its `networks`",
                    "add the address's network to `networks` of this URL in `http`, or `--http-network` of the command line",
                );
            }
        })?;
        let (response, connection) = self.send(request, stream).await?;
        let call_ended = self.call_ended.clone();
        let rest = async move {
            let _permits = (of_instance, of_plugin, of_all);
            let Some(connection) = connection else { return Ok(()) };
            tokio::select! {
                biased;
                () = ended(call_ended) => {}
                // The plugin learns of the failure from the body.
                result = connection => if let Err(error) = result {
                    tracing::debug!(target: "lictor::plugin", %error, "an HTTP connection broke off");
                }
            }
            Ok(())
        };
        Ok((response, Box::new(rest)))
    }

    /// Returns the response and, unless the connection ended with it, the connection, which must be polled
    /// while bodies flow.
    async fn send(
        &self,
        request: Request<WasiBody>,
        stream: Box<dyn Stream>,
    ) -> Result<(Response<WasiBody>, Option<Connection>), Error> {
        let mut request = self.ready_to_send(request)?;
        let too_many = Arc::new(Notify::new());
        bound_informational(&mut request, Arc::clone(&too_many));
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_FIELDS);
        let made = builder.handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = made.map_err(|error| fault::of_exchange(&error))?;
        let mut connection = Some(connection);
        let first_byte = self.times.first_byte_timeout.unwrap_or(Duration::MAX);
        let mut response = pin!(timeout(first_byte, sender.send_request(request)));
        let response = loop {
            tokio::select! {
                biased;
                response = &mut response => break response,
                () = too_many.notified() => return Err(Error::HttpResponseHeaderSectionSize(None)),
                // The response's future reports the reason.
                _ = async { drive(connection.as_mut()).await }, if connection.is_some() => connection = None,
            }
        };
        let response = response.map_err(|_elapsed| Error::ConnectionReadTimeout)?;
        let response = response.map_err(|error| fault::of_exchange(&error))?;
        let between_bytes = self.times.between_bytes_timeout;
        let body = |inner| WasiBody::new(ResponseBody { inner, between_bytes, waiting: None });
        Ok((response.map(body), connection))
    }

    /// Rewrites the request for the server: only the path in its first line, and the granted host in its
    /// header, replacing any that the plugin set.
    fn ready_to_send(&self, request: Request<WasiBody>) -> Result<Request<RequestBody>, Error> {
        let (mut parts, body) = request.into_parts();
        let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let target = Uri::try_from(format!("{}{query}", parts.uri.path()));
        parts.uri = target.map_err(|_| Error::HttpRequestUriInvalid)?;
        let host = HeaderValue::try_from(self.origin.authority());
        parts.headers.insert(HOST, host.map_err(|_| Error::HttpRequestUriInvalid)?);
        Ok(Request::from_parts(parts, RequestBody { inner: body, volume: self.volume.clone() }))
    }
}

/// Notifies `too_many` once the informational responses (1xx) before the response exceed the size limit of
/// its header: hyper skips any number of them.
fn bound_informational(request: &mut Request<RequestBody>, too_many: Arc<Notify>) {
    let bytes = AtomicUsize::new(0);
    on_informational(request, move |informational| {
        let head = STATUS_LINE_BYTES + fields_bytes(informational.headers());
        if bytes.fetch_add(head, Ordering::Relaxed) + head > MAX_HEAD_BYTES {
            too_many.notify_one();
        }
    });
}

async fn drive(connection: Option<&mut Connection>) {
    if let Some(connection) = connection {
        // The response's future gets its error as well.
        let _ = connection.await;
    }
}

async fn acquire(permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Ok(permit);
    }
    Counter::HttpDelayed.count();
    Arc::clone(permits).acquire_owned().await.map_err(|_closed| Error::ConnectionLimitReached)
}

/// Waits for the end of the call: its instance then drops the other end.
async fn ended(mut call: watch::Receiver<()>) {
    while call.changed().await.is_ok() {}
}

/// A request's body, counted while it is sent.
struct RequestBody {
    inner: WasiBody,
    volume: Volume,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        let counted = self.volume.carry(frame_bytes(&frame));
        Poll::Ready(Some(counted.map(|()| frame).map_err(|_spent| Error::HttpRequestBodySize(None))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A response's body as the plugin reads it.
struct ResponseBody {
    inner: Incoming,
    between_bytes: Option<Duration>,
    /// Runs while the plugin waits for a piece.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            let Some(between_bytes) = self.between_bytes else { return Poll::Pending };
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(between_bytes)));
            ready!(waiting.as_mut().poll(context));
            return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
        };
        self.waiting = None;
        Poll::Ready(frame.map(|frame| frame.map_err(|error| fault::of_body(&error))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn frame_bytes(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or_else(|| frame.trailers_ref().map_or(0, fields_bytes), Bytes::len)
}
