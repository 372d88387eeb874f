//! `wasi:http` and `lictor:plugin/http`: requests that a plugin sends. Granted by `http = ["https://HOST"]`.
//!
//! The path of a request: [`handle`] or, in one piece, [`whole`] counts it, [`sender`] checks its URL against
//! those granted ([`allow`]), then [`exchange`] waits for permits, and [`connect`] looks the host up
//! ([`names`]), drops addresses that are not public ([`address`]) and connects to the rest, so that no second
//! look-up can give another answer. Everything that the server sends is counted as it is [`received`], and
//! its certificate is verified in bounded time ([`Servers`](crate::identity::Servers)). Redirects are not
//! followed: a plugin that follows one sends another request, which is checked like this one.

mod address;
mod allow;
mod connect;
mod exchange;
mod fault;
mod gate;
mod heads;
mod names;
mod received;
mod sender;
mod sizes;
mod trace;
pub(super) mod whole;

use std::mem::take;
use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{self, ErrorCode};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{RequestOptions, WasiHttp, WasiHttpCtxView, WasiHttpView};

pub(super) use self::gate::Gate;
pub(in crate::plugin) use self::gate::Web;
pub(in crate::plugin) use self::sender::Http;
use self::sender::Sender;
use self::sizes::head_bytes;
pub(super) use self::sizes::held_bytes;
use crate::plugin::host::context::HostState;
use crate::plugin::host::handles::Growth;
use crate::plugin::host::interface::{Grant, Interface};

/// The package's version in wasmtime's bindings; plugins of every 0.2 are linked to it.
const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

impl HostState {
    fn new_http(&self) -> Http {
        let (gate, log) = (self.granted.http.clone(), Arc::clone(&self.log));
        let trace = self.call.as_ref().and_then(|call| call.trace()).cloned();
        Http::new(gate, log, (self.label(), trace), self.volume.clone())
    }

    /// Returns the sender of the current call's requests, made on first use.
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

pub(super) const INTERFACE: Interface = Interface {
    names: &["wasi:http/types", "wasi:http/outgoing-handler"],
    version: (0, 2),
    grant: Some(Grant {
        lines: "[plugins.NAME.grants]\nhttp = [\"https://HOST\"]",
        is_in: |grants| grants.http.is_some(),
    }),
    link,
};

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let options = LinkOptions::default();
    types::add_to_linker::<_, WasiHttp>(linker, &(&options).into(), HostState::http)?;
    linker.instance(OUTGOING_HANDLER)?.func_wrap("handle", handle)?;
    heads::link(linker)
}

type Parameters = (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>);
type SendResult = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;

/// `outgoing-handler.handle`: counts the request, refuses it at once if it is not granted, and otherwise
/// begins to send it. Stops a plugin that exceeded its volume.
fn handle(
    mut store: StoreContextMut<'_, HostState>,
    (request, options): Parameters,
) -> wasmtime::Result<(SendResult,)> {
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
