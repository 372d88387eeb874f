//! The span of a request, and the header by which its server continues the trace.

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use wasmtime_wasi_http::{Error, WasiBody};

use super::allow::{Host, Origin};
use crate::telemetry::traces::{Context, Kind, Span, TRACEPARENT};

/// The methods whose names a span has. Another may be any word of the plugin's.
const METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
    Method::OPTIONS,
    Method::TRACE,
];

/// Name of another method.
const OTHER: &str = "_OTHER";

/// Begins the span of `request` in the trace of its call, if that is traced, and has the server continue the
/// trace. Neither its path nor its query is told: they may be secret.
pub(super) fn begin(
    trace: Option<&Context>,
    origin: &Origin,
    request: &mut Request<WasiBody>,
) -> Option<Span> {
    let trace = trace?;
    let mut span = trace.span("HTTP", Kind::Client);
    let here = span.as_ref().map_or(trace, Span::context);
    if let Ok(value) = HeaderValue::try_from(here.traceparent().to_string()) {
        request.headers_mut().insert(HeaderName::from_static(TRACEPARENT), value);
    }
    if let Some(span) = &mut span {
        let is_known = METHODS.contains(request.method());
        span.rename(if is_known { request.method().as_str() } else { "HTTP" });
        let method = if is_known { request.method().as_str() } else { OTHER };
        span.note("http.request.method", method.to_owned());
        let host = match &origin.host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        };
        span.note("server.address", host);
        span.note("server.port", origin.port);
        span.note("url.scheme", origin.scheme.name());
    }
    span
}

/// Notes what came of a request.
pub(super) fn note(span: &mut Span, answer: Result<StatusCode, &Error>) {
    match answer {
        Ok(status) => {
            span.note("http.response.status_code", status.as_u16());
            if status.is_client_error() || status.is_server_error() {
                span.fail(status.as_str().to_owned());
            }
        }
        Err(error) => span.fail(match error {
            Error::DnsTimeout | Error::ConnectionTimeout | Error::ConnectionReadTimeout => "timeout",
            Error::DestinationIpProhibited => "denied",
            _ => OTHER,
        }),
    }
}
