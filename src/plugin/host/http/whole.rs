//! `lictor:plugin/http`: one request and its whole response, without handles. Sent like those of `wasi:http`.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, Uri};
use tokio::time::timeout;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody};

use self::bindings::lictor::plugin::http;
use super::fault;
use super::sender::shown_url;
use super::sizes::{
    EXCHANGE_BYTES, FIELD_BYTES, MAX_AUTHORITY_BYTES, MAX_FIELDS_BYTES, MAX_METHOD_BYTES, MAX_PATH_BYTES,
    kept_bytes,
};
use crate::plugin::bindings::lictor::plugin::types::Failure;
use crate::plugin::host::context::HostState;
use crate::plugin::host::interface::Interface;
use crate::text::shown;

mod bindings {
    #![allow(missing_docs, reason = "generated; the documentation stands in wit/")]

    wasmtime::component::bindgen!({
        path: "wit",
        inline: "package lictor:host; world http { import lictor:plugin/http@0.1.0; }",
        imports: { default: async | trappable },
        with: { "lictor:plugin/types": crate::plugin::bindings::lictor::plugin::types },
    });
}

/// Maximum bytes of a response's body.
const MAX_BODY_BYTES: usize = 8 << 20;

/// Characters of a URL that are logged.
const MAX_URL_CHARS: usize = 512;

/// Maximum time that a request leaves to its call.
const TO_ANSWER: Duration = Duration::from_millis(250);

pub(in crate::plugin::host) const INTERFACE: Interface =
    Interface { names: &["lictor:plugin/http"], version: (0, 1), grant: super::INTERFACE.grant, link };

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    http::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)
}

impl http::Host for HostState {
    async fn send(&mut self, request: http::Request) -> wasmtime::Result<Result<http::Response, Failure>> {
        self.volume.check()?;
        self.volume.operation(head_bytes(&request))?;
        let within =
            request.timeout_ms.map_or(Duration::MAX, Duration::from_millis).min(self.time_for_a_request());
        let request = match to_be_sent(request) {
            Ok(request) => request,
            Err(words) => {
                self.log.host_refused(self.label().as_ref(), &format!("an HTTP request: {words}"));
                return Ok(Err(failure("bad-arguments", words)));
            }
        };
        let url = shown_url(request.uri());
        let held = EXCHANGE_BYTES + request.body().size_hint().exact().map_or(0, saturated);
        self.handles.hold_for_now(held, &mut self.memory)?;
        let answered = timeout(within, self.exchange(request, held)).await;
        self.handles.hold_for_now(0, &mut self.memory)?;
        // A body that exceeded the volume ends the call, whatever the request's result.
        self.volume.check()?;
        Ok(answered.unwrap_or(Err(Error::HttpResponseTimeout.into())).map_err(|missing| {
            let told = missing.told();
            // A denial was logged already, with the config line that grants it.
            if told.code != "denied" {
                let error = format!("{}: {}", shown(&url, MAX_URL_CHARS), told.message);
                self.log.host_refused(self.label().as_ref(), &error);
            }
            told
        }))
    }
}

impl HostState {
    /// The call's remaining time, less the time that the plugin needs to report a missing response.
    fn time_for_a_request(&self) -> Duration {
        let left = self.time_left();
        left - (left / 10).min(TO_ANSWER)
    }

    /// Sends `request`, for which `held` bytes are held, and collects the response.
    async fn exchange(&mut self, request: Request<WasiBody>, held: usize) -> Result<http::Response, Missing> {
        let permitted = self.sender().permitted(&request, RequestOptions::default());
        let exchange = permitted.ok_or(Error::HttpRequestDenied)?;
        let (response, connection) = exchange.run(request).await?;
        // The body arrives only while the connection is polled, which ends with the body or before it.
        let mut connection = Pin::from(connection);
        let mut is_open = true;
        let (head, mut body) = response.into_parts();
        let mut collected = Collected { state: self, held, bytes: Vec::new() };
        collected.expect(body.size_hint().lower())?;
        loop {
            let frame = tokio::select! {
                biased;
                frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)) => frame,
                _ = &mut connection, if is_open => {
                    is_open = false;
                    continue;
                }
            };
            match frame.transpose()?.map(Frame::into_data) {
                None => return Ok(answer(&Response::from_parts(head, ()), collected.bytes)),
                Some(Ok(piece)) => collected.add(&piece)?,
                // Trailers, which have no place in the result.
                Some(Err(_)) => {}
            }
        }
    }
}

/// A response's body as it arrives. Counted twice, since the plugin gets a copy of it.
struct Collected<'a> {
    state: &'a mut HostState,
    /// Bytes that the request takes beside the body.
    held: usize,
    bytes: Vec<u8>,
}

impl Collected<'_> {
    /// Fails if `more` bytes are too many.
    fn expect(&mut self, more: u64) -> Result<(), Missing> {
        let bytes = self.bytes.len().saturating_add(saturated(more));
        if bytes > MAX_BODY_BYTES {
            return Err(Missing::TooLarge("the server's answer has more than 8 MiB"));
        }
        let HostState { handles, memory, .. } = &mut *self.state;
        let held = handles.hold_for_now(self.held + 2 * bytes, memory);
        held.map_err(|_too_much| {
            Missing::TooLarge("the server's answer is larger than the plugin's memory allows")
        })
    }

    fn add(&mut self, piece: &[u8]) -> Result<(), Missing> {
        self.expect(piece.len() as u64)?;
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

/// The reason for a missing response.
enum Missing {
    /// Its body has more bytes than allowed.
    TooLarge(&'static str),
    /// The request failed.
    Fault(Error),
}

impl From<Error> for Missing {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

impl Missing {
    fn told(&self) -> Failure {
        match self {
            Self::TooLarge(words) => failure("failed", *words),
            Self::Fault(error) => {
                let (code, words) = fault::told(error);
                failure(code, words)
            }
        }
    }
}

fn failure(code: &str, words: impl Into<String>) -> Failure {
    Failure { code: code.to_owned(), message: words.into() }
}

fn saturated(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Approximate bytes of a request's head.
fn head_bytes(request: &http::Request) -> usize {
    let fields = request.headers.iter().map(|(name, value)| name.len() + value.len() + FIELD_BYTES);
    request.method.len() + request.url.len() + fields.sum::<usize>()
}

/// Converts the request for sending, or describes its fault.
fn to_be_sent(request: http::Request) -> Result<Request<WasiBody>, String> {
    let method = Some(request.method).filter(|method| method.len() <= MAX_METHOD_BYTES);
    let method = method.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    let uri = url(&request.url).map_err(|words| format!("the URL {words}"))?;
    let headers = fields(request.headers, request.body.len())?;
    let body = WasiBody::new(Whole(Some(request.body.into()).filter(|body: &Bytes| !body.is_empty())));
    let mut sent = Request::new(body);
    *sent.method_mut() = method.ok_or("the method can't be one")?;
    *sent.uri_mut() = uri;
    *sent.headers_mut() = headers;
    Ok(sent)
}

fn url(text: &str) -> Result<Uri, &'static str> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has a space or another character that has to be written as %XX");
    }
    let (scheme, rest) = text.split_once("://").ok_or("does not begin with https:// or http://")?;
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "http" | "https") {
        return Err("does not begin with https:// or http://");
    }
    let rest = rest.split_once('#').map_or(rest, |(before, _fragment)| before);
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // A user name would appear in logs, and is not sent.
    if authority.contains('@') {
        return Err("has a user's name in it; a header says who asks");
    }
    if authority.is_empty() || authority.len() > MAX_AUTHORITY_BYTES {
        return Err("names no host");
    }
    if path.len() > MAX_PATH_BYTES {
        return Err("is too long");
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let uri = Uri::builder().scheme(scheme.as_str()).authority(authority).path_and_query(path).build();
    uri.map_err(|_| "can't be one")
}

/// The header fields of a request whose body has `length` bytes.
fn fields(headers: Vec<(String, String)>, length: usize) -> Result<HeaderMap, String> {
    let mut fields = HeaderMap::new();
    for (name, value) in headers {
        let refuse = |why| format!("the header {}{why}", shown(&name, 64));
        let known = HeaderName::try_from(&name).map_err(|_| refuse(" can't be sent: it is no name"))?;
        if DEFAULT_FORBIDDEN_HEADERS.contains(&known) {
            return Err(refuse(" is the host's to send"));
        }
        if known == CONTENT_LENGTH && value.trim() != length.to_string() {
            return Err(refuse(" is not the body's length; it is sent without being set"));
        }
        let value = HeaderValue::try_from(value)
            .map_err(|_| refuse(" can't be sent: its value has control characters"))?;
        fields.try_append(known, value).map_err(|_| "there are too many headers")?;
    }
    match kept_bytes(&fields) <= MAX_FIELDS_BYTES {
        true => Ok(fields),
        false => Err(format!("the headers are larger than {} KiB", MAX_FIELDS_BYTES >> 10)),
    }
}

fn answer(head: &Response<()>, body: Vec<u8>) -> http::Response {
    let text = |value: &HeaderValue| match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
    };
    let headers = head.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
    http::Response { status: head.status().as_u16(), headers: headers.collect(), body }
}

/// A request's body, in one piece.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(method: &str, url: &str, headers: &[(&str, &str)]) -> Result<String, String> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (method, url) = (method.to_owned(), url.to_owned());
        let request = http::Request { method, url, headers, body: b"four".to_vec(), timeout_ms: None };
        to_be_sent(request).map(|request| format!("{} {}", request.method(), request.uri()))
    }

    #[test]
    fn a_request_is_what_the_plugin_wrote() {
        for (url, sent) in [
            ("https://a.example", "https://a.example/"),
            ("HTTP://a.example:80/b?c=d/e#f", "http://a.example:80/b?c=d/e"),
            ("http://[::1]:8080?x", "http://[::1]:8080/?x"),
        ] {
            assert_eq!(verdict("PURGE", url, &[("X-a", "1"), ("x-a", "grüße")]), Ok(format!("PURGE {sent}")));
        }
        assert!(verdict("GET", "http://a", &[("content-length", "4")]).is_ok());
    }

    #[test]
    fn what_cannot_be_sent_is_told() {
        let long = format!("http://a/{}", "x".repeat(MAX_PATH_BYTES));
        let large = "x".repeat(MAX_FIELDS_BYTES);
        for (method, url, headers, words) in [
            ("", "http://a", [].as_slice(), "the method"),
            ("GE T", "http://a", &[], "the method"),
            (&"M".repeat(33), "http://a", &[], "the method"),
            ("GET", "", &[], "does not begin with"),
            ("GET", "a.example/b", &[], "does not begin with"),
            ("GET", "ftp://a", &[], "does not begin with"),
            ("GET", "http://", &[], "names no host"),
            ("GET", "http:///b", &[], "names no host"),
            ("GET", "http://a/b c", &[], "%XX"),
            ("GET", "http://a/grüße", &[], "%XX"),
            ("GET", "http://a/\n", &[], "%XX"),
            ("GET", "http://user:word@a/", &[], "user's name"),
            ("GET", "http://a:b:c/", &[], "the URL can't be one"),
            ("GET", &long, &[], "too long"),
            ("GET", "http://a", &[("Host", "b")], "the header Host is the host's"),
            ("GET", "http://a", &[("transfer-encoding", "chunked")], "is the host's"),
            ("GET", "http://a", &[("a b", "c")], "the header a b can't"),
            ("GET", "http://a", &[("a", "c\r\nd: e")], "control characters"),
            ("GET", "http://a", &[("Content-Length", "5")], "not the body's length"),
            ("GET", "http://a", &[("a", &large)], "larger than 16 KiB"),
        ] {
            let told = verdict(method, url, headers).expect_err(words);
            assert!(told.contains(words), "{told}");
        }
    }
}
