//! Sizes of requests: their bounds, the bytes that they carry, and the bytes that the host keeps for them.

use std::any::Any;

use hyper::HeaderMap;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::bindings::http::types::{Method, Scheme};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
};

/// Bytes of the fields of one header that a plugin makes, including the host's overhead for keeping them.
pub(super) const MAX_FIELDS_BYTES: usize = 16 << 10;

/// Bytes of a request's body that the host keeps until the connection takes them. Small, since a plugin can
/// make many bodies and send none.
pub(super) const BODY_PIECE_BYTES: usize = 16 << 10;

/// The longest method, in bytes. Registered ones have at most 17.
pub(super) const MAX_METHOD_BYTES: usize = 32;

/// The longest path with its query, in bytes.
pub(super) const MAX_PATH_BYTES: usize = 16 << 10;

/// The longest host with its port, in bytes; DNS names have at most 253.
pub(super) const MAX_AUTHORITY_BYTES: usize = 1 << 10;

/// Bytes that a header field takes beside its name and value: its entry in a map that grew, or its place in
/// the list of values of its name.
const KEPT_FIELD_BYTES: usize = 224;

/// Bytes that an unsent body takes: two pieces that no connection took, and the trailer after them.
const BODY_BYTES: usize = 2 * BODY_PIECE_BYTES + (64 << 10);

/// Bytes that a request in flight takes, and its response until its body was read: both heads, data read and
/// written ahead, TLS, and the request's body.
pub(super) const EXCHANGE_BYTES: usize = 256 << 10;

/// Bytes that `entry` takes, if it belongs to HTTP.
pub(in crate::plugin::host) fn held_bytes(entry: &(dyn Any + Send)) -> Option<usize> {
    if let Some(fields) = entry.downcast_ref::<FieldMap>() {
        return Some(kept_bytes(fields));
    }
    if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
        let body = if request.body.is_some() { BODY_BYTES } else { 0 };
        return Some(line_bytes(request) + kept_bytes(&request.headers) + body);
    }
    if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
        let body = if response.body.is_some() { BODY_BYTES } else { 0 };
        return Some(kept_bytes(&response.headers) + body);
    }
    if let Some(response) = entry.downcast_ref::<HostIncomingResponse>() {
        let body = if response.body.is_some() { EXCHANGE_BYTES } else { 0 };
        return Some(kept_bytes(&response.headers) + body);
    }
    if let Some(begun) = entry.downcast_ref::<HostFutureIncomingResponse>() {
        return Some(if matches!(begun, HostFutureIncomingResponse::Consumed) { 0 } else { EXCHANGE_BYTES });
    }
    (entry.is::<HostIncomingBody>() || entry.is::<HostFutureTrailers>()).then_some(EXCHANGE_BYTES)
}

/// Bytes that the host keeps for `fields`.
pub(super) fn kept_bytes(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + KEPT_FIELD_BYTES).sum()
}

/// Bytes of a request's first line and of the host that it names.
pub(super) fn line_bytes(request: &HostOutgoingRequest) -> usize {
    let texts = [&request.authority, &request.path_with_query];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    texts + method_bytes(&request.method) + request.scheme.as_ref().map_or(0, scheme_bytes)
}

pub(super) fn method_bytes(method: &Method) -> usize {
    match method {
        Method::Other(name) => name.len(),
        _ => "CONNECT".len(),
    }
}

pub(super) fn scheme_bytes(scheme: &Scheme) -> usize {
    match scheme {
        Scheme::Other(name) => name.len(),
        Scheme::Http | Scheme::Https => "https".len(),
    }
}

/// Approximate bytes of a request's head.
pub(super) fn head_bytes(request: &HostOutgoingRequest) -> usize {
    line_bytes(request) + fields_bytes(&request.headers)
}

/// Bytes of a header's fields with their separators.
pub(super) fn fields_bytes(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum()
}

/// Bytes of a colon, a space and the end of a line.
pub(super) const FIELD_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    #[test]
    fn a_header_is_counted_for_no_less_than_its_map_takes() {
        for (count, same) in [(1, false), (7, false), (200, false), (200, true)] {
            let mut fields = HeaderMap::new();
            for number in 0..count {
                let name = if same { "n".to_owned() } else { format!("n{number}") };
                fields.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_static("v"));
            }
            // An entry of the map has 104 bytes, one of its list of further values 72, and both grow by
            // doubling.
            let entries = fields.capacity() * 2 * 4 + fields.keys_len().next_power_of_two() * 104;
            let values = (fields.len() - fields.keys_len()).next_power_of_two() * 72;
            assert!(kept_bytes(&fields) >= values + entries / 2, "{count} {same}");
        }
    }
}
