//! HTTP on one connection: its requests, one after the other, within their bounds.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::health::{Check, report};
use super::pace::Turn;
use super::page::{Body, Door, Page, Refused, Then, page};
use super::site::Site;

/// The largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 8 << 10;

/// Longest time from one response to the next request's whole head: how long a connection may be idle, and a
/// visitor trickle.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Longest life of a connection, then of its last request. So nobody holds a place by reading slowly, and
/// each client is authenticated anew every minute.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
const LAST_REQUEST_TIME: Duration = Duration::from_secs(5);

/// Bytes that are still read, and discarded, after the last response, and the longest wait for them: closing
/// a socket with unread bytes would destroy what was sent last.
const LINGER_BYTES: u64 = 64 << 10;
const LINGER_TIME: Duration = Duration::from_secs(1);

/// The content type of words, and of the metrics.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

impl Site {
    /// Answers the requests on `stream`, from a visitor who came through `door`.
    pub async fn serve<S>(&self, stream: S, door: &Door)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let answer = service_fn(|request| {
            Box::pin(async move { Ok::<_, Infallible>(self.answer(request, door).await) })
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .half_close(true)
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), answer);
        if timeout(CONNECTION_TIME, poll_fn(|cx| connection.poll_without_shutdown(cx))).await.is_err() {
            Pin::new(&mut connection).graceful_shutdown();
            let last = poll_fn(|cx| connection.poll_without_shutdown(cx));
            if timeout(LAST_REQUEST_TIME, last).await.is_err() {
                return;
            }
        }
        close(connection.into_parts().io.into_inner()).await;
    }

    async fn answer(&self, request: Request<Incoming>, door: &Door) -> Response<String> {
        let turn = self.pace.turn().await;
        let (head, body) = request.into_parts();
        let body = if body.is_end_stream() { Body::None } else { Body::Some };
        let mut response = match page(door, &head, body) {
            Ok(page) => self.show(page, turn).await,
            Err(refused) => refusal(refused),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    /// Shows a page, of which the metrics alone take long to compute.
    async fn show(&self, page: Page, turn: Turn<'_>) -> Response<String> {
        let turn = (page == Page::Metrics).then_some(turn);
        let (status, words) = match page {
            // That this runs shows that the runtime schedules tasks.
            Page::Live(detail) => report("livez", &[Check::new("tasks", None)], detail),
            Page::Ready(detail) => report("readyz", &self.content.readiness().await, detail),
            Page::Metrics => match self.content.metrics() {
                Ok(metrics) => return plain(StatusCode::OK, metrics, EXPOSITION),
                Err(words) => (StatusCode::SERVICE_UNAVAILABLE, words + "\n"),
            },
        };
        drop(turn);
        plain(status, words, TEXT)
    }
}

fn refusal(Refused { status, words, then }: Refused) -> Response<String> {
    let mut response = plain(status, format!("{words}\n"), TEXT);
    let headers = response.headers_mut();
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if then == Then::Close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn plain(status: StatusCode, words: String, content_type: HeaderValue) -> Response<String> {
    let mut response = Response::new(words);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Ends a connection so that its visitor can read the last response.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let linger = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Best effort: the visitor may be gone.
    let _ = timeout(LINGER_TIME, linger).await;
}
