//! One request and its response, through WASI's handles.
//!
//! Invariant: each handle is dropped before the one it came from; otherwise the host traps. Rust drops locals
//! in reverse order of declaration, which is why some are declared where they are.

use std::borrow::Cow;

use super::{Error, Request, Response};
use crate::bindings::wasi::clocks::monotonic_clock;
use crate::bindings::wasi::http::outgoing_handler;
use crate::bindings::wasi::http::types::{
    Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme, http_error_code,
};
use crate::bindings::wasi::io::poll::{Pollable, poll};
use crate::bindings::wasi::io::streams::{InputStream, StreamError};
use crate::clock::nanoseconds;

/// Limit of `blocking-write-and-flush`.
const WRITE_BYTES: usize = 4096;
/// Most bytes read at once.
const READ_BYTES: usize = 64 * 1024;

pub(crate) fn send(request: Request) -> Result<Response, Error> {
    let deadline = request.timeout.map(|span| monotonic_clock::now().saturating_add(nanoseconds(span)));
    let outgoing = outgoing(&request)?;
    // Opening a body sends it, even an empty one, and some servers refuse a `GET` with a body.
    let body = if request.body.is_empty() { None } else { outgoing.body().ok() };
    let answer = outgoing_handler::handle(outgoing, Some(options(&request)))?;
    if let Some(body) = body {
        write(body, &request.body)?;
    }

    wait(answer.subscribe(), deadline)?;
    let answer =
        answer.get().and_then(Result::ok).ok_or(Error::Unavailable(Cow::Borrowed("no answer came")))??;
    let status = answer.status();
    // A separate statement, so that the headers' handle is dropped at its end.
    let headers = answer.headers().entries();
    let body = answer.consume().map_err(|()| broken_off())?;
    let body = read(&body, request.body_bytes, deadline)?;
    Ok(Response { status, headers, body })
}

fn outgoing(request: &Request) -> Result<OutgoingRequest, Error> {
    let url = request.parsed()?;
    let fields = Fields::new();
    for (name, value) in &request.headers {
        let refused = |_| Error::bad(&["the header ", name, " can't be sent"].concat());
        fields.append(name, value).map_err(refused)?;
    }
    let has_length = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if !request.body.is_empty() && !has_length {
        // Without it the body would be sent in chunks, which not every server accepts. A host that refuses
        // the header knows better.
        let _ = fields.append("content-length", request.body.len().to_string().as_bytes());
    }
    let outgoing = OutgoingRequest::new(fields);
    let method = method(&request.method);
    let scheme = if url.is_https { Scheme::Https } else { Scheme::Http };
    let path: Cow<'_, str> = match url.path {
        "" => Cow::Borrowed("/"),
        query if query.starts_with('?') => Cow::Owned(["/", query].concat()),
        path => Cow::Borrowed(path),
    };
    outgoing.set_method(&method).map_err(|()| Error::bad("the method can't be one"))?;
    outgoing.set_scheme(Some(&scheme)).map_err(|()| Error::bad("the URL's scheme can't be one"))?;
    outgoing.set_authority(Some(url.authority)).map_err(|()| Error::bad("the URL's host can't be one"))?;
    outgoing.set_path_with_query(Some(&path)).map_err(|()| Error::bad("the URL's path can't be one"))?;
    Ok(outgoing)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.into()),
    }
}

/// Bounds each step by the time for the whole, so that the host closes an exchange that nobody waits for. A
/// host may not support one of these options; then the deadline alone applies.
fn options(request: &Request) -> RequestOptions {
    let options = RequestOptions::new();
    if let Some(span) = request.timeout.map(nanoseconds) {
        let _ = options.set_connect_timeout(Some(span));
        let _ = options.set_first_byte_timeout(Some(span));
        let _ = options.set_between_bytes_timeout(Some(span));
    }
    options
}

/// Writes the body. A server that answers early may read none of it, which is no error: its answer counts.
fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), Error> {
    let stream = body.write().map_err(|()| broken_off())?;
    for piece in bytes.chunks(WRITE_BYTES) {
        if stream.blocking_write_and_flush(piece).is_err() {
            return Ok(());
        }
    }
    drop(stream);
    Ok(OutgoingBody::finish(body, None)?)
}

fn read(body: &IncomingBody, most: usize, deadline: Option<u64>) -> Result<Vec<u8>, Error> {
    let stream = body.stream().map_err(|()| broken_off())?;
    let mut bytes = Vec::new();
    loop {
        wait(stream.subscribe(), deadline)?;
        // Asks for one byte beyond the limit, to detect a body that is too long.
        let wanted = (most - bytes.len()).saturating_add(1).min(READ_BYTES);
        let Some(piece) = read_piece(&stream, wanted)? else { return Ok(bytes) };
        if piece.len() > most - bytes.len() {
            return Err(Error::TooLarge(most));
        }
        if bytes.is_empty() { bytes = piece } else { bytes.extend_from_slice(&piece) }
    }
}

/// Reads the next bytes; `None` at the end.
fn read_piece(stream: &InputStream, wanted: usize) -> Result<Option<Vec<u8>>, Error> {
    match stream.read(wanted as u64) {
        Ok(piece) => Ok(Some(piece)),
        Err(StreamError::Closed) => Ok(None),
        Err(StreamError::LastOperationFailed(error)) => Err(match http_error_code(&error) {
            Some(code) => code.into(),
            None => Error::Unavailable(Cow::Owned(error.to_debug_string())),
        }),
    }
}

fn wait(until: Pollable, deadline: Option<u64>) -> Result<(), Error> {
    let Some(deadline) = deadline else {
        until.block();
        return Ok(());
    };
    let too_late = monotonic_clock::subscribe_instant(deadline);
    // Both may be ready; then the response wins.
    if poll(&[&until, &too_late]).contains(&0) { Ok(()) } else { Err(Error::TimedOut) }
}

fn broken_off() -> Error {
    Error::Unavailable(Cow::Borrowed("the request was broken off"))
}
