//! Heads of requests that a plugin builds, and their bounds: `set-method` and its like, in front of
//! wasmtime's, which either bound or count nothing. Each is an operation of the host that carries its bytes.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::HeaderResult;
use wasmtime_wasi_http::p2::bindings::http::types::{
    HeaderError, HostFields, HostOutgoingRequest as _, Method, Scheme,
};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::{FieldMap, WasiHttpView as _};

use super::sizes::{
    MAX_AUTHORITY_BYTES, MAX_METHOD_BYTES, MAX_PATH_BYTES, fields_bytes, method_bytes, scheme_bytes,
};
use crate::plugin::host::context::HostState;

/// The package's version in wasmtime's bindings.
const TYPES: &str = "wasi:http/types@0.2.12";

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
        let bytes = fields_bytes(store.data_mut().handles().get(&fields)?);
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
