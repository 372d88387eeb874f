//! One request to a collector: OTLP over HTTP/1.1, on a connection of its own.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::message;
use crate::system_trust::trusting_system;

/// Longest time for one request, from the look-up of the host to the last byte of the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum bytes of an answer's header, and of its body.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Longest pause that a collector may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A collector of spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// True if it speaks TLS.
    pub is_tls: bool,
    /// The name or the address, that of IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path that traces are sent to.
    pub path: String,
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl Collector {
    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// The reason for which spans were not taken.
#[derive(Debug)]
pub(super) struct Untaken {
    pub(super) words: String,
    /// Some if another attempt may succeed, after that time if the collector asks for one.
    pub(super) again: Option<Option<Duration>>,
}

impl Untaken {
    fn for_now(words: impl fmt::Display) -> Self {
        Self { words: words.to_string(), again: Some(None) }
    }

    fn for_good(words: impl fmt::Display) -> Self {
        Self { words: words.to_string(), again: None }
    }
}

/// A connection, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Sends to a collector.
pub(super) struct Sender {
    pub(super) collector: Collector,
    /// Made at the first request that needs it.
    tls: OnceCell<Arc<ClientConfig>>,
}

impl Sender {
    pub(super) fn new(collector: Collector) -> Self {
        Self { collector, tls: OnceCell::new() }
    }

    /// Sends `body` once; returns what of it the collector rejected.
    pub(super) async fn send(&self, body: Bytes) -> Result<message::PartialSuccess, Untaken> {
        let answered = timeout(REQUEST_TIMEOUT, self.exchange(body)).await;
        let (status, pause, body) =
            answered.unwrap_or_else(|_elapsed| Err(Untaken::for_now("it did not answer in time")))?;
        match status {
            StatusCode::OK => {
                let answer = message::Response::decode(body);
                let answer = answer.map_err(|_| Untaken::for_good("its answer is not OTLP"))?;
                Ok(answer.partial_success.unwrap_or_default())
            }
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                Err(Untaken { again: Some(pause), ..Untaken::for_now(refusal(status)) })
            }
            _ => Err(Untaken::for_good(refusal(status))),
        }
    }

    async fn exchange(&self, body: Bytes) -> Result<(StatusCode, Option<Duration>, Bytes), Untaken> {
        let stream = self.connect().await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_ANSWER_BYTES);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(Untaken::for_now)?;
        let request = Request::post(&self.collector.path)
            .header(HOST, self.collector.authority())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(USER_AGENT, concat!("lictor/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close")
            .body(Whole(Some(body)));
        let request = request.map_err(Untaken::for_good)?;
        let answering = async {
            let answer = sender.send_request(request).await.map_err(Untaken::for_now)?;
            let (status, pause) = (answer.status(), pause(&answer));
            Ok((status, pause, collect(answer.into_body()).await?))
        };
        let (mut answering, mut connection) = (pin!(answering), pin!(connection));
        tokio::select! {
            biased;
            answer = &mut answering => answer,
            // The answer's future knows the reason, or has the rest.
            _ = &mut connection => answering.await,
        }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Untaken> {
        let Collector { is_tls, host, port, .. } = &self.collector;
        let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(Untaken::for_now)?;
        if !is_tls {
            return Ok(Box::new(tcp));
        }
        let tls = self.tls.get_or_try_init(async || {
            let made = spawn_blocking(trusting_system).await;
            made.map_err(|error| error.to_string()).and_then(|config| config).map(Arc::new)
        });
        let tls = TlsConnector::from(Arc::clone(tls.await.map_err(Untaken::for_now)?));
        let name = ServerName::try_from(host.clone()).map_err(Untaken::for_good)?;
        Ok(Box::new(tls.connect(name, tcp).await.map_err(Untaken::for_now)?))
    }
}

fn refusal(status: StatusCode) -> String {
    format!("it answered {}", status.as_u16())
}

/// The pause that the answer asks for, in seconds.
fn pause(answer: &Response<Incoming>) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_PAUSE))
}

async fn collect(body: Incoming) -> Result<Bytes, Untaken> {
    let (mut body, mut bytes) = (pin!(body), BytesMut::new());
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let piece = frame.map_err(Untaken::for_now)?.into_data().unwrap_or_default();
        if bytes.len() + piece.len() > MAX_ANSWER_BYTES {
            return Err(Untaken::for_good("its answer is too large"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

/// A request's body, in one piece.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
