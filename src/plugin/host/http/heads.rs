//! Heads of requests that a plugin builds, and their bounds: `set-method` and its like, in front of
//! wasmtime's, which either bound or count nothing. Each is an operation of the host that carries its bytes.

use std::any::Any;

use hyper::HeaderMap;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::HeaderResult;
use wasmtime_wasi_http::p2::bindings::http::types::{
    HeaderError, HostFields, HostOutgoingRequest as _, Method, Scheme,
};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
};
use wasmtime_wasi_http::{FieldMap, WasiHttpView as _};

use crate::plugin::instance::HostState;

/// The longest method, in bytes. Registered ones have at most 17.
pub(super) const MAX_METHOD_BYTES: usize = 32;

/// The longest path with its query, in bytes.
pub(super) const MAX_PATH_BYTES: usize = 16 << 10;

/// The longest host with its port, in bytes; DNS names have at most 253.
pub(super) const MAX_AUTHORITY_BYTES: usize = 1 << 10;

/// Bytes that a header field takes beside its name and value: its entry in a map that grew, or its place in
/// the list of values of its name.
const FIELD_BYTES: usize = 224;

/// Bytes that an unsent body takes: two pieces that no connection took, and the trailer after them.
const BODY_BYTES: usize = 2 * super::BODY_PIECE_BYTES + (64 << 10);

/// Bytes that a request in flight takes, and its response until its body was read: both heads, data read and
/// written ahead, TLS, and the request's body.
pub(super) const EXCHANGE_BYTES: usize = 256 << 10;

/// The package's version in wasmtime's bindings.
const TYPES: &str = "wasi:http/types@0.2.12";

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
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum()
}

/// Bytes of a request's first line and of the host that it names.
pub(super) fn line_bytes(request: &HostOutgoingRequest) -> usize {
    let texts = [&request.authority, &request.path_with_query];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    texts + method_bytes(&request.method) + request.scheme.as_ref().map_or(0, scheme_bytes)
}

fn method_bytes(method: &Method) -> usize {
    match method {
        Method::Other(name) => name.len(),
        _ => "CONNECT".len(),
    }
}

fn scheme_bytes(scheme: &Scheme) -> usize {
    match scheme {
        Scheme::Other(name) => name.len(),
        Scheme::Http | Scheme::Https => "https".len(),
    }
}

type Store<'a> = StoreContextMut<'a, HostState>;

/// The result in `wasi:http` for a refused text.
const REFUSED: Result<(), ()> = Err(());

/// Links the functions; must run after wasmtime's own are linked.
pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    link_lines(linker)?;
    link_fields(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

type OfRequest<T> = (Resource<HostOutgoingRequest>, T);

fn link_lines(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: Store<'_>, (request, method): OfRequest<Method>| match counted(
            &mut store,
            method_bytes(&method),
            MAX_METHOD_BYTES,
        )? {
            Some(state) => Ok((state.http().set_method(request, method)?,)),
            None => Ok((REFUSED,)),
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-scheme",
        |mut store: Store<'_>, (request, scheme): OfRequest<Option<Scheme>>| match counted(
            &mut store,
            scheme.as_ref().map_or(0, scheme_bytes),
            MAX_METHOD_BYTES,
        )? {
            Some(state) => Ok((state.http().set_scheme(request, scheme)?,)),
            None => Ok((REFUSED,)),
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: Store<'_>, (request, path): OfRequest<Option<String>>| match counted(
            &mut store,
            path.as_ref().map_or(0, String::len),
            MAX_PATH_BYTES,
        )? {
            Some(state) => Ok((state.http().set_path_with_query(request, path)?,)),
            None => Ok((REFUSED,)),
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: Store<'_>, (request, authority): OfRequest<Option<String>>| match counted(
            &mut store,
            authority.as_ref().map_or(0, String::len),
            MAX_AUTHORITY_BYTES,
        )? {
            Some(state) => Ok((state.http().set_authority(request, authority)?,)),
            None => Ok((REFUSED,)),
        },
    )
}

fn link_fields(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[static]fields.from-list",
        |mut store: Store<'_>, (entries,): (Vec<(String, Vec<u8>)>,)| {
            let bytes = entries.iter().map(|(name, value)| name.len() + value.len()).sum();
            let state = count(&mut store, bytes)?;
            Ok((told(state.http().from_list(entries))?,))
        },
    )?;
    types.func_wrap(
        "[method]fields.set",
        |mut store: Store<'_>, (fields, name, values): (Fields, String, Vec<Vec<u8>>)| {
            let state = count(&mut store, name.len() + values.iter().map(Vec::len).sum::<usize>())?;
            Ok((told(state.http().set(fields, name, values))?,))
        },
    )?;
    types.func_wrap(
        "[method]fields.append",
        |mut store: Store<'_>, (fields, name, value): (Fields, String, Vec<u8>)| {
            let state = count(&mut store, name.len() + value.len())?;
            Ok((told(state.http().append(fields, name, value))?,))
        },
    )?;
    types.func_wrap("[method]fields.clone", |mut store: Store<'_>, (fields,): (Fields,)| {
        let bytes = super::fields_bytes(store.data_mut().handles().get(&fields)?);
        let state = count(&mut store, bytes)?;
        Ok((HostFields::clone(&mut state.http(), fields)?,))
    })
}

type Fields = Resource<FieldMap>;

/// Passes a header's error to the plugin; any other error ends the call.
fn told<T>(done: HeaderResult<T>) -> wasmtime::Result<Result<T, HeaderError>> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

/// Counts an operation that carries `bytes`, and returns the state for it, unless `bytes` exceeds `most`.
fn counted<'a>(
    store: &'a mut Store<'_>,
    bytes: usize,
    most: usize,
) -> wasmtime::Result<Option<&'a mut HostState>> {
    let state = count(store, bytes)?;
    Ok((bytes <= most).then_some(state))
}

fn count<'a>(store: &'a mut Store<'_>, bytes: usize) -> wasmtime::Result<&'a mut HostState> {
    let state = store.data_mut();
    state.volume.operation(bytes)?;
    Ok(state)
}

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
