//! Functions that a plugin may call, one file for each interface.
//!
//! Linking is where a capability is granted: a function that is not linked cannot be called, and a plugin
//! that imports it does not load.
//!
//! A host function runs on a thread that serves others as well, so work that may wait for a disk or for a
//! resolver runs on a thread for blocking work, in wasmtime's functions too. Reads of the state are the
//! exception, for the reason given in `state/sqlite/readers.rs`. Functions that only ask the kernel (clocks,
//! randomness, a socket's address) run in place.

pub(super) mod answer;
pub(super) mod base;
mod bucket;
mod call;
mod config;
pub(super) mod context;
pub(super) mod directories;
mod events;
mod files;
pub(super) mod granted;
pub(super) mod grants;
pub(super) mod handles;
pub(super) mod http;
pub(super) mod interface;
mod keyvalue;
mod lines;
mod listings;
mod logging;
mod output;
mod queue;
mod reply;
mod request;
mod state;
pub(super) mod stdio;
pub(super) mod topics;
mod ungranted;
pub(super) mod volume;
mod wasi;

use wasmtime::component::Linker;

use self::context::HostState;
use self::grants::Grants;
use self::interface::Interface;

/// The interfaces of the host, in the order in which they are linked and listed in messages. One that
/// replaces functions of another comes after it.
pub(super) const INTERFACES: &[Interface] = &[
    output::INTERFACE,
    queue::INTERFACE,
    reply::INTERFACE,
    request::INTERFACE,
    wasi::INTERFACE,
    config::INTERFACE,
    logging::INTERFACE,
    keyvalue::INTERFACE,
    state::INTERFACE,
    files::INTERFACE,
    directories::INTERFACE,
    call::INTERFACE,
    events::INTERFACE,
    http::whole::INTERFACE,
    http::INTERFACE,
];

/// Makes a linker with the interfaces that a plugin with `grants` may use.
pub(super) fn linker(engine: &wasmtime::Engine, grants: &Grants) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    for interface in INTERFACES.iter().filter(|interface| interface.is_granted(grants)) {
        (interface.link)(&mut linker)?;
    }
    Ok(linker)
}
